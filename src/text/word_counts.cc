#include "text/word_counts.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/signal.h"

namespace puyu {
namespace {

constexpr size_t kBatchBytes = 32 << 20;  // documents that are counted at a time
constexpr size_t kParts = 32;             // of the hash range, each with a table of its own

uint64_t hash_of(std::string_view word) { return hash64(word); }
size_t part_of(uint64_t hash) { return hash >> 59; }
// The share that stays is chosen by bits that decide nothing else.
bool stays(uint64_t hash, int halvings) { return (hash >> 32 & ((1u << halvings) - 1)) == 0; }

int64_t count_characters(std::string_view s) {
  return std::ranges::count_if(s, [](char c) { return (c & 0xC0) != 0x80; });
}
// A learner keeps a place for each character, one for each pair, and the growth of those (merge_learner.cc).
int64_t memory_of(int64_t words, int64_t characters) { return 10 * characters + 8 * words; }

// The words of one batch of documents: each thread counts some documents in a small table, then each part of the hash
// range takes what is its own.
void count_batch(const std::vector<std::string>& documents, const WordCutter& cut, int halvings,
                 std::vector<WordTable>& parts) {
  const auto slices = static_cast<size_t>(num_threads()) * 4;
  std::vector<std::vector<WordTable>> local(slices, std::vector<WordTable>(kParts));
  parallel_for(static_cast<int64_t>(slices), [&](int64_t s) {
    for (size_t d = s; d < documents.size(); d += slices)
      cut(documents[d], [&](std::string_view word) {
        const uint64_t hash = hash_of(word);
        if (stays(hash, halvings)) local[s][part_of(hash)].add(word, hash, 1);
      });
  });
  parallel_for(kParts, [&](int64_t p) {
    for (auto& slice : local) {
      slice[p].each([&](std::string_view word, uint64_t n) { parts[p].add(word, hash_of(word), n); });
      slice[p].clear();
    }
  });
}

// Halves the words that stay until they fit. The outcome is that of one look at the end: what fits then has always
// fitted.
void bound(std::vector<WordTable>& parts, int64_t memory_bytes, int& halvings) {
  for (;;) {
    int64_t bytes = 0;
    for (const WordTable& t : parts) bytes += memory_of(static_cast<int64_t>(t.size()), t.characters());
    if (bytes <= memory_bytes) return;
    ++halvings;
    parallel_for(kParts,
                 [&](int64_t p) { parts[p].filter([&](std::string_view w) { return stays(hash_of(w), halvings); }); });
    if (std::ranges::all_of(parts, [](const WordTable& t) { return t.size() == 0; }))
      fail("[tokenizer] memory_mb is too small for any training; raise it");
  }
}

}  // namespace

uint64_t WordTable::head_at(size_t at) const {
  uint64_t head;
  std::memcpy(&head, &buffer_[at], sizeof head);
  return head;
}
void WordTable::set_head(size_t at, uint64_t head) { std::memcpy(&buffer_[at], &head, sizeof head); }

void WordTable::grow() {
  index_.assign(std::max<size_t>(64, index_.size() * 2), 0);
  for (size_t at = 0; at < buffer_.size();) {
    const size_t length = head_at(at) & kLengthMask;
    const uint64_t hash = hash_of({reinterpret_cast<const char*>(&buffer_[at + 2]), length});
    size_t i = hash & (index_.size() - 1);
    while (index_[i]) i = (i + 1) & (index_.size() - 1);
    index_[i] = hash >> 32 << 32 | (at + 1);
    at += slots_of(length);
  }
}

void WordTable::add(std::string_view word, uint64_t hash, uint64_t count) {
  CHECK(word.size() <= kMaxBytes);
  if ((size_ + 1) * 10 > index_.size() * 7) grow();
  const uint64_t tag = hash >> 32;
  size_t i = hash & (index_.size() - 1);
  for (; index_[i]; i = (i + 1) & (index_.size() - 1)) {
    if (index_[i] >> 32 != tag) continue;
    const size_t at = static_cast<uint32_t>(index_[i]) - 1;
    const uint64_t head = head_at(at);
    if ((head & kLengthMask) == word.size() && std::memcmp(&buffer_[at + 2], word.data(), word.size()) == 0)
      return set_head(at, head + (count << kLengthBits));
  }
  const size_t at = buffer_.size();
  if (at + 1 >= UINT32_MAX) fail("[tokenizer] too many distinct words; lower memory_mb");
  index_[i] = tag << 32 | (at + 1);
  buffer_.resize(at + slots_of(word.size()));
  set_head(at, count << kLengthBits | word.size());
  std::memcpy(&buffer_[at + 2], word.data(), word.size());
  ++size_, characters_ += count_characters(word);
}

void WordTable::filter(const std::function<bool(std::string_view)>& keep) {
  WordTable kept;
  each([&](std::string_view word, uint64_t n) {
    if (keep(word)) kept.add(word, hash_of(word), n);
  });
  *this = std::move(kept);
}

CountedWords count_words(const std::function<bool(std::string&)>& next_document, const WordCutter& cut,
                         int64_t memory_bytes) {
  Progress progress("count words", 0, "B");
  CountedWords out;
  out.parts.resize(kParts);
  int halvings = 0;
  std::vector<std::string> batch;
  size_t bytes = 0;
  auto flush = [&] {
    count_batch(batch, cut, halvings, out.parts);
    bound(out.parts, memory_bytes, halvings);
    progress.add(static_cast<int64_t>(bytes));
    batch.clear(), bytes = 0;
    if (interrupted()) fail("[tokenizer] training was interrupted; nothing was written");
  };
  for (std::string text; next_document(text);) {
    bytes += text.size();
    batch.push_back(std::move(text));
    if (bytes >= kBatchBytes) flush();
  }
  flush();
  out.kept_one_of = 1 << halvings;
  for (const WordTable& t : out.parts) out.distinct += static_cast<int64_t>(t.size()), out.characters += t.characters();
  return out;
}

}  // namespace puyu
