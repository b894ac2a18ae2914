// Repeats of a whole corpus: its text in one file, what is cut out, the corpus without it.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/compress.h"
#include "data/pipeline.h"
#include "data/repeats.h"
#include "data/stages.h"
#include "data/work_array.h"

namespace puyu {
namespace {

struct Gathered {
  WorkArray<char> text;
  std::vector<int64_t> starts = {0};
  std::vector<DedupKey> keys;
  TextView view() const { return {text.bytes(), starts.data(), keys.data(), static_cast<int64_t>(keys.size())}; }
};

Gathered gather_text(const std::string& corpus, const std::string& scratch) {
  Gathered g;
  ArrayWriter text(scratch + "/text", 1);
  for_each_document(corpus, [&](Document&& d) {
    if (d.content.size() >= UINT32_MAX) fail("[data] ", corpus, ": document ", d.id, " is longer than 4 GB");
    text.add(d.content.data(), d.content.size());
    g.starts.push_back(g.starts.back() + static_cast<int64_t>(d.content.size()));
    g.keys.push_back({parse_id(d.id), {}, date_number(d.date), static_cast<uint32_t>(d.content.size()), 0});
  });
  text.commit();
  g.text = WorkArray<char>(scratch + "/text", false);
  return g;
}

class CorpusWriter {
 public:
  CorpusWriter(std::string dir, int64_t shard_bytes) : dir_(std::move(dir)), most_(shard_bytes) {}
  void add(const std::string& line) {
    if (!file_) open();
    file_->write(line);
    bytes_ += static_cast<int64_t>(line.size());
    if (bytes_ >= most_) commit();
  }
  void commit() {
    if (!file_ && count_ == 0) open();  // an empty corpus is a file too
    if (file_) file_->commit();
    file_.reset();
    bytes_ = 0;
  }

 private:
  void open() {
    char name[32];
    std::snprintf(name, sizeof name, "/docs-%05d.jsonl.zst", count_++);
    file_ = std::make_unique<ZstdFile>(dir_ + name);
  }
  std::string dir_;
  int64_t most_, bytes_ = 0;
  int count_ = 0;
  std::unique_ptr<ZstdFile> file_;
};

std::string without(const std::string& text, const Cut* first, const Cut* last) {
  std::string out;
  size_t at = 0;
  for (const Cut* c = first; c != last; ++c) {
    out.append(text, at, c->from - at);
    at = c->to;
  }
  return out.append(text, at);
}

Funnel write_rest(const std::string& corpus, const std::string& out, const std::string& stage,
                  const std::vector<Cut>& cuts, const RepeatOptions& o) {
  Funnel funnel;
  Stage s{stage, {}, {}, {}, {}};
  CorpusWriter docs(out, o.shard_bytes);
  ZstdFile ledger(out + "/ledger.jsonl.zst");
  size_t at = 0;
  int64_t number = 0;
  for_each_document(corpus, [&](Document&& d) {
    size_t first = at;
    for (; at < cuts.size() && cuts[at].document == number; ++at) {}
    ++number;
    auto before = static_cast<int64_t>(d.content.size());
    s.in.add(before);
    if (at > first) {
      d.content = without(d.content, cuts.data() + first, cuts.data() + at);
      auto left = static_cast<int64_t>(d.content.size());
      ++s.changed["cut"];
      ledger.write(ledger_line(d, stage.c_str(), "change", "cut", static_cast<double>(before - left)));
      if (left < o.min_left) {
        s.dropped["little_left"].add(before);
        ledger.write(ledger_line(d, stage.c_str(), "drop", "little_left", static_cast<double>(left),
                                 static_cast<double>(o.min_left)));
        return;
      }
    }
    s.kept.add(static_cast<int64_t>(d.content.size()));
    funnel.languages[language_group(d.language)].add(static_cast<int64_t>(d.content.size()));
    funnel.sources[d.source].add(static_cast<int64_t>(d.content.size()));
    docs.add(to_json_line(d));
  });
  docs.commit();
  ledger.commit();
  funnel.stages.push_back(std::move(s));
  return funnel;
}

}  // namespace

Funnel remove_repeats(const std::string& corpus_dir, const std::string& out_dir, Repeats what, const RepeatOptions& o) {
  namespace fs = std::filesystem;
  corpus_shards(corpus_dir);  // an Error when there is no corpus
  if (file_exists(out_dir) && fs::equivalent(corpus_dir, out_dir)) fail("[data] ", out_dir, ": is the input too");
  const std::string scratch = out_dir + "/work",
                    stage = what == Repeats::kLines ? "repeated_lines" : "repeated_substrings";
  make_directories(scratch);
  fs::remove(out_dir + "/run.json");
  for (const auto& e : fs::directory_iterator(out_dir))
    if (e.path().filename().string().starts_with("docs-")) fs::remove(e.path());
  Gathered g = gather_text(corpus_dir, scratch);
  log_info("data: ", stage, " in ", g.keys.size(), " documents, ",
           format_count(static_cast<double>(g.starts.back()), "B"));
  std::vector<Cut> cuts = what == Repeats::kLines ? find_repeated_lines(g.view(), o, scratch)
                                                  : find_repeated_substrings(g.view(), o, scratch);
  Funnel funnel = write_rest(corpus_dir, out_dir, stage, cuts, o);
  write_file(out_dir + "/funnel.json", to_json(funnel).dump(2) + "\n");
  RepeatOptions shown = o;
  write_file(out_dir + "/run.json",
             Json(Json::Object{{"stage", stage}, {"config", to_json(list_fields(shown))}}).dump(2) + "\n");
  fs::remove_all(scratch);
  return funnel;
}

}  // namespace puyu
