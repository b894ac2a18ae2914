#include "data/safety.h"

#include <algorithm>
#include <unordered_map>

#include "base/config.h"
#include "base/json.h"
#include "data/compress.h"
#include "data/pipeline.h"

namespace puyu {

Safety::Safety(const SafeOptions& options) : options_(options) {
  if (!options.domains.empty()) domains_.emplace(options.domains);
  for (const std::string& path : options.words) words_.add_file(path);
  words_.build();
  if (!options.words.empty() && words_.size() == 0) fail("[data] safe.words: no word in the lists");
  std::vector<std::string> known = {"all"};
  for (PiiKind k : kPiiKinds) known.emplace_back(pii_name(k));
  for (const std::string& name : options.pii) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail("[data] safe.pii: unknown kind '", name, "'; did you mean '", nearest(name, known), "'?");
    for (PiiKind k : kPiiKinds)
      if (name == "all" || name == pii_name(k)) kinds_.push_back(k);
  }
}

uint64_t Safety::checksum() const {
  uint64_t of[] = {domains_ ? domains_->checksum() : 0, words_.checksum()};
  return hash64({reinterpret_cast<const char*>(of), sizeof of});
}

Verdict Safety::judge(const Document& d) const {
  if (domains_ && d.url.find("://") != std::string::npos)
    if (const std::string* category = domains_->find(d.url)) return {"domain." + *category, 1, 0};
  if (words_.size() == 0) return {};
  WordScore w = words_.score(d.content);
  if (w.hits == 0) return {};
  auto lines = static_cast<double>(1 + std::count(d.content.begin(), d.content.end(), '\n'));
  auto bytes = static_cast<double>(std::max<size_t>(1, d.content.size()));
  const std::tuple<const char*, double, double> bounds[] = {
      {"max_words", w.weight, options_.max_words},
      {"max_words_per_line", w.weight / lines, options_.max_words_per_line},
      {"max_word_share", static_cast<double>(w.bytes) / bytes, options_.max_word_share}};
  for (auto& [rule, value, limit] : bounds)
    if (limit >= 0 && value > limit) return {rule, value, limit};
  return {};
}

std::map<std::string, int64_t> Safety::mask(Document& d) const {
  std::map<std::string, int64_t> counts;
  if (kinds_.empty()) return counts;
  // Together, so that title and text share their tags.
  std::string both = d.title + '\n' + d.content;
  std::vector<PiiTag> tags = mask_pii(both, kinds_);
  if (tags.empty()) return counts;
  size_t end = both.find('\n');
  d.title = both.substr(0, end), d.content = both.substr(end + 1);
  for (PiiTag& t : tags) {
    ++counts[pii_name(t.kind)];
    d.pii.emplace_back(std::move(t.tag), std::move(t.value));
  }
  return counts;
}

std::string Safety::masked(std::string text) const {
  mask_pii(text, kinds_);
  return text;
}

std::string pii_line(const Document& d) {
  Json tags = Json::object();
  for (const auto& [tag, value] : d.pii) tags[tag] = value;
  return Json(Json::Object{{"id", d.id}, {"tags", std::move(tags)}}).dump() + "\n";
}

int64_t restore_corpus(const std::string& corpus_dir, const std::string& key_path, const std::string& out_dir) {
  std::unordered_map<std::string, std::vector<PiiTag>> key;
  InputStream in(key_path);
  for (std::string line; in.read_line(line);) {
    Json j = Json::parse(line, key_path);
    auto& tags = key[j.at("id").as_string()];
    for (const auto& [tag, value] : j.at("tags").as_object()) tags.push_back({tag, value.as_string(), {}});
  }
  if (!in.damage().empty()) fail("[data] ", key_path, ": ", in.damage());
  make_directories(out_dir);
  int64_t restored = 0;
  for (const std::string& path : corpus_shards(corpus_dir)) {
    ZstdFile out(out_dir + path.substr(path.rfind('/')));
    InputStream shard(path);
    std::string reason;
    for (std::string line; shard.read_line(line);) {
      auto d = parse_document(line, reason);
      if (!d) fail("[data] ", path, ": expected a document a line, got ", reason);
      if (auto it = key.find(d->id); it != key.end()) {
        d->content = restore_pii(d->content, it->second), d->title = restore_pii(d->title, it->second);
        ++restored;
      }
      out.write(to_json_line(*d));
    }
    if (!shard.damage().empty()) fail("[data] ", path, ": ", shard.damage());
    out.commit();
  }
  return restored;
}

}  // namespace puyu
