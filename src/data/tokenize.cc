#include "data/tokenize.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/signal.h"
#include "data/pipeline.h"
#include "data/shard.h"

namespace puyu {
namespace {

constexpr size_t kBatch = 256;  // documents encoded in parallel, then written in order

struct Survey {
  std::map<std::string, uint16_t> sources;
  std::map<std::string, uint64_t> held_out_below;  // by group: documents with a smaller or equal hash are held out
  int64_t bytes = 0;
};

uint64_t split_hash(const std::string& id) { return hash64(id, 0x5eed); }

// First pass: the sources, and for each group the hash below which documents are held out.
Survey survey(const std::string& dir, const TokenizeOptions& o) {
  Survey s;
  std::map<std::string, std::vector<uint64_t>> hashes;
  std::set<std::string> names;
  for_each_document(dir, [&](Document&& d) {
    names.insert(d.source);
    hashes[language_group(d.language)].push_back(split_hash(d.id));
    s.bytes += static_cast<int64_t>(d.content.size());
  });
  if (names.size() > 65535) fail("[data] ", dir, ": ", names.size(), " sources; token shards number at most 65535");
  for (const std::string& name : names) s.sources.emplace(name, static_cast<uint16_t>(s.sources.size()));
  for (auto& [group, h] : hashes) {
    auto n = static_cast<int64_t>(h.size());
    int64_t share = std::llround(o.held_out * static_cast<double>(n));
    int64_t count = o.held_out > 0 ? std::max(share, std::min(o.min_held_out, n / 10)) : 0;
    if (count <= 0) continue;
    std::nth_element(h.begin(), h.begin() + (count - 1), h.end());
    s.held_out_below[group] = h[static_cast<size_t>(count - 1)];
  }
  return s;
}

struct Writers {
  std::string dir;
  int width;
  uint64_t fingerprint;
  std::map<std::string, ShardWriter> shards;  // by file name
  ShardWriter& at(const std::string& name) {
    auto it = shards.find(name);
    if (it == shards.end()) it = shards.try_emplace(name, dir + "/" + name, width, fingerprint).first;
    return it->second;
  }
};

std::vector<int32_t> encode_document(const Tokenizer& t, const Document& d, bool end) {
  std::vector<int32_t> ids = t.encode(d.content);
  ids.insert(ids.begin(), t.bos());
  if (end) ids.push_back(t.eos());
  return ids;
}

Json sources_json(const Survey& s, const Writers& w, const Tokenizer& t) {
  Json sources = Json::array(), files = Json::object();
  for (const auto& entry : s.sources) sources.push(entry.first);
  for (const auto& [name, shard] : w.shards)
    files[name] = Json::Object{{"documents", shard.documents()}, {"tokens", shard.tokens()}};
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(t.fingerprint()));
  return Json::Object{{"sources", std::move(sources)}, {"shards", std::move(files)}, {"tokenizer", hex}};
}

}  // namespace

TokenizeResult tokenize_corpus(const std::string& corpus_dir, const Tokenizer& tokenizer, const std::string& out_dir,
                               int workers, const TokenizeOptions& options) {
  Survey s = survey(corpus_dir, options);
  make_directories(out_dir);
  Writers writers{out_dir, tokenizer.vocab_size() < 65536 ? 2 : 4, tokenizer.fingerprint(), {}};
  Progress progress("tokenize", s.bytes, "B");
  TokenizeResult result;
  int before = num_threads();
  set_num_threads(workers);
  std::vector<Document> batch;
  auto flush = [&] {
    std::vector<std::vector<int32_t>> ids(batch.size());
    parallel_for(static_cast<int64_t>(batch.size()),
                 [&](int64_t i) { ids[i] = encode_document(tokenizer, batch[i], options.end_of_text); });
    for (size_t i = 0; i < batch.size(); ++i) {
      std::string group = language_group(batch[i].language);
      auto below = s.held_out_below.find(group);
      bool held_out = below != s.held_out_below.end() && split_hash(batch[i].id) <= below->second;
      auto n = static_cast<int64_t>(ids[i].size()), bytes = static_cast<int64_t>(batch[i].content.size());
      writers.at(held_out ? "valid-" + group + ".tok" : "train.tok")
          .add(ids[i].data(), n, s.sources.at(batch[i].source));
      result.documents += !held_out, result.tokens += held_out ? 0 : n, result.bytes += held_out ? 0 : bytes;
      result.held_out_documents += held_out, result.held_out_tokens += held_out ? n : 0;
      progress.add(bytes);
    }
    batch.clear();
  };
  try {
    for_each_document(corpus_dir, [&](Document&& d) {
      if (interrupted()) fail("[data] interrupted; nothing was written, run the command again");
      batch.push_back(std::move(d));
      if (batch.size() == kBatch) flush();
    });
    flush();
  } catch (...) {
    set_num_threads(before);
    throw;
  }
  set_num_threads(before);
  for (auto& [name, shard] : writers.shards) shard.commit();
  write_file(out_dir + "/sources.json", sources_json(s, writers, tokenizer).dump(2) + "\n");
  return result;
}

}  // namespace puyu
