#include "data/repeats.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <queue>

#include "base/error.h"
#include "base/utf8.h"
#include "data/work_array.h"
#include "text/unicode.h"

namespace puyu {
namespace {

struct Piece {  // a line or paragraph that is long enough
  uint64_t hash;
  int64_t document;
  uint32_t from, to;
};

void each_piece(std::string_view text, bool paragraphs, const std::function<void(size_t, size_t)>& fn) {
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find(paragraphs ? "\n\n" : "\n", at);
    size_t next = end == std::string_view::npos ? text.size() : text.find_first_not_of('\n', end);
    if (next == std::string_view::npos) next = text.size();
    fn(at, next);  // with its line ends: what is left joins up
    at = next;
  }
}

// The place whose document is preferred: there, the first.
class BestPlace {
 public:
  BestPlace(const TextView& corpus, const RepeatOptions& o) : corpus_(corpus), better_(survivor_rule(o.survivor)) {}
  bool operator()(int64_t document_a, int64_t at_a, int64_t document_b, int64_t at_b) const {
    return document_a == document_b ? at_a < at_b : better_(corpus_.keys[document_a], corpus_.keys[document_b]);
  }

 private:
  const TextView& corpus_;
  Preference better_;
};

std::vector<Cut> joined(std::vector<Cut> cuts) {
  std::sort(cuts.begin(), cuts.end());
  std::vector<Cut> out;
  for (const Cut& c : cuts) {
    if (!out.empty() && out.back().document == c.document && out.back().to >= c.from)
      out.back().to = std::max(out.back().to, c.to);
    else
      out.push_back(c);
  }
  return out;
}

uint64_t eight_bytes(const char* p, size_t n) {
  uint64_t v = 0;
  std::memcpy(&v, p, std::min<size_t>(n, 8));
  return __builtin_bswap64(v);
}

struct Entry {
  uint64_t key;
  uint32_t place;
  auto operator<=>(const Entry&) const = default;
};

// Sorts by 8 bytes at a time; what is equal is sorted by the next 8.
void sort_entries(const char* text, Entry* first, Entry* last, size_t from, size_t depth) {
  for (Entry* e = first; e != last; ++e) e->key = eight_bytes(text + e->place + from, depth - from);
  std::sort(first, last);
  if (from + 8 >= depth) return;
  for (Entry *run = first, *end = first; run != last; run = end) {
    while (end != last && end->key == run->key) ++end;
    uint64_t key = run->key;
    if (end - run > 1) sort_entries(text, run, end, from + 8, depth);
    for (Entry* e = run; e != end; ++e) e->key = key;  // the deeper level used it
  }
}

bool is_character_start(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

// Calls group(places) for each set of two or more places of the text with the same `length` bytes after them.
class SuffixGroups {
 public:
  SuffixGroups(const TextView& corpus, int64_t length, int64_t block_bytes, std::string scratch)
      : corpus_(corpus), length_(length), block_(block_bytes), scratch_(std::move(scratch)) {}
  void run(const std::function<void(const std::vector<int64_t>&)>& group) {
    const auto size = static_cast<int64_t>(corpus_.text.size());
    std::vector<int64_t> bases;
    std::vector<WorkArray<uint32_t>> blocks;
    for (int64_t base = 0; base < size; base += block_) {
      std::string path = cat(scratch_, "/block-", bases.size());
      write_array(path, sorted_block(base));
      bases.push_back(base);
      blocks.emplace_back(path, false);
    }
    merge(bases, blocks, group);
  }

 private:
  std::vector<uint32_t> sorted_block(int64_t base) {
    std::vector<uint32_t> places;
    const int64_t end = std::min<int64_t>(base + block_, static_cast<int64_t>(corpus_.text.size()));
    int64_t d = std::upper_bound(corpus_.starts, corpus_.starts + corpus_.count, base) - corpus_.starts - 1;
    for (; d < corpus_.count && corpus_.starts[d] < end; ++d)
      for (int64_t p = std::max(base, corpus_.starts[d]); p < end && p + length_ <= corpus_.starts[d + 1]; ++p)
        if (is_character_start(corpus_.text[static_cast<size_t>(p)])) places.push_back(static_cast<uint32_t>(p - base));
    sort_suffixes(corpus_.text.substr(static_cast<size_t>(base)), places, static_cast<size_t>(length_));
    return places;
  }
  void merge(const std::vector<int64_t>& bases, const std::vector<WorkArray<uint32_t>>& blocks,
             const std::function<void(const std::vector<int64_t>&)>& group) {
    struct Head {
      int64_t place;
      size_t block;
      int64_t at;
    };
    const char* text = corpus_.text.data();
    const auto n = static_cast<size_t>(length_);
    auto later = [&](const Head& a, const Head& b) {
      int c = std::memcmp(text + a.place, text + b.place, n);
      return c != 0 ? c > 0 : a.place > b.place;
    };
    std::priority_queue<Head, std::vector<Head>, decltype(later)> heads(later);
    for (size_t b = 0; b < blocks.size(); ++b)
      if (blocks[b].size()) heads.push({bases[b] + blocks[b][0], b, 0});
    std::vector<int64_t> same;
    auto flush = [&] {
      if (same.size() > 1) group(same);
      same.clear();
    };
    while (!heads.empty()) {
      Head h = heads.top();
      heads.pop();
      if (!same.empty() && std::memcmp(text + same[0], text + h.place, n) != 0) flush();
      same.push_back(h.place);
      if (++h.at < blocks[h.block].size()) {
        h.place = bases[h.block] + blocks[h.block][h.at];
        heads.push(h);
      }
    }
    flush();
  }
  const TextView& corpus_;
  int64_t length_, block_;
  std::string scratch_;
};

}  // namespace

uint64_t line_hash(std::string_view line, int64_t min_chars) {
  std::string plain;
  int64_t chars = 0;
  for (size_t i = 0; i < line.size();) {
    char32_t c = 0;
    size_t n = decode_utf8(line, i, c);
    if (n == 0) n = 1, c = 0xfffd;
    i += n;
    if (is_digit(c))
      plain += '0';
    else if (is_letter(c) || is_han(c))
      append_utf8(plain, fold_case(c)), ++chars;
  }
  return chars < min_chars ? 0 : hash64(plain) | 1;
}

void sort_suffixes(std::string_view text, std::vector<uint32_t>& places, size_t depth) {
  std::vector<Entry> entries;
  entries.reserve(places.size());
  for (uint32_t p : places) entries.push_back({0, p});
  sort_entries(text.data(), entries.data(), entries.data() + entries.size(), 0, depth);
  for (size_t i = 0; i < places.size(); ++i) places[i] = entries[i].place;
}

std::vector<Cut> find_repeated_lines(const TextView& corpus, const RepeatOptions& o, const std::string& scratch) {
  if (o.unit != "line" && o.unit != "paragraph") fail("[data] unit: expected line or paragraph, got '", o.unit, "'");
  const std::string path = scratch + "/pieces";
  ArrayWriter writer(path, sizeof(Piece));
  for (int64_t d = 0; d < corpus.count; ++d)
    each_piece(corpus.document(d), o.unit == "paragraph", [&](size_t from, size_t to) {
      Piece p{line_hash(corpus.document(d).substr(from, to - from), o.min_chars), d, static_cast<uint32_t>(from),
              static_cast<uint32_t>(to)};
      if (p.hash) writer.add(&p, 1);
    });
  writer.commit();
  WorkArray<Piece> pieces(path, false);
  BestPlace better(corpus, o);
  std::vector<Cut> cuts;
  auto hash = [&](int64_t i, uint64_t& h) {
    h = pieces[i].hash;
    return true;
  };
  for_each_bucket(pieces.size(), {o.memory_mb << 20, scratch + "/sort"}, hash,
                  [&](const std::vector<int64_t>& members) {
                    auto before = [&](int64_t a, int64_t b) {
                      return better(pieces[a].document, pieces[a].from, pieces[b].document, pieces[b].from);
                    };
                    int64_t best = *std::min_element(members.begin(), members.end(), before);
                    for (int64_t m : members)
                      if (m != best) cuts.push_back({pieces[m].document, pieces[m].from, pieces[m].to});
                  });
  return joined(std::move(cuts));
}

std::vector<Cut> find_repeated_substrings(const TextView& corpus, const RepeatOptions& o, const std::string& scratch) {
  if (o.min_bytes < 8) fail("[data] min_bytes must be at least 8, got ", o.min_bytes);
  const auto size = static_cast<int64_t>(corpus.text.size());
  // One bit a byte of the corpus for what is found; the rest sorts a block: 16 bytes an entry and 4 a place.
  int64_t block = ((o.memory_mb << 20) - size / 8) / 20;
  if (block < std::max<int64_t>(size / 4096, 1 << 16))
    fail("[data] repeated substrings of ", size, " bytes want at least ",
         (size / 8 + 20 * std::max<int64_t>(size / 4096, 1 << 16)) >> 20, " MB, memory_mb is ", o.memory_mb);
  block = std::min<int64_t>(block, int64_t{1} << 31);
  std::vector<bool> repeated(static_cast<size_t>(size));
  BestPlace better(corpus, o);
  auto document_of = [&](int64_t place) {
    return std::upper_bound(corpus.starts, corpus.starts + corpus.count, place) - corpus.starts - 1;
  };
  SuffixGroups(corpus, o.min_bytes, block, scratch).run([&](const std::vector<int64_t>& places) {
    int64_t best = places[0], best_document = document_of(best);
    for (int64_t p : places) {
      int64_t d = document_of(p);
      if (better(d, p, best_document, best)) best = p, best_document = d;
    }
    for (int64_t p : places) repeated[static_cast<size_t>(p)] = p != best;
  });
  std::vector<Cut> cuts;
  for (int64_t d = 0; d < corpus.count; ++d) {
    std::string_view text = corpus.document(d);
    for (size_t p = 0; p < text.size(); ++p) {
      if (!repeated[static_cast<size_t>(corpus.starts[d]) + p]) continue;
      size_t to = p + static_cast<size_t>(o.min_bytes);
      while (to < text.size() && to > p && !is_character_start(text[to]))
        --to;  // a character is cut whole or not at all
      cuts.push_back({d, static_cast<uint32_t>(p), static_cast<uint32_t>(to)});
      if (cuts.size() > 1 && cuts[cuts.size() - 2].document == d && cuts[cuts.size() - 2].to >= p) {
        cuts[cuts.size() - 2].to = cuts.back().to;
        cuts.pop_back();
      }
    }
  }
  return cuts;
}

}  // namespace puyu
