#include "grammar/draft.h"

#include <algorithm>

#include "base/error.h"

namespace puyu::grammar {

Sequence operator+(Sequence a, const Sequence& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

void Draft::grow(size_t symbols) {
  symbols_ += symbols;
  if (symbols_ > kMaxSymbols)
    fail("[grammar] '", scope, "': the grammar is too large, expected at most ", kMaxSymbols,
         " symbols; use smaller repetitions, or fewer of them");
}

int32_t Draft::rule(const std::string& name) {
  grow(1);
  rules_.push_back({name, {}});
  return static_cast<int32_t>(rules_.size()) - 1;
}

void Draft::alternative(int32_t rule, Sequence s) {
  grow(s.size() + 1);
  rules_[static_cast<size_t>(rule)].alternatives.push_back(std::move(s));
}

Sequence Draft::bytes(const ByteSet& set) {
  const auto [it, added] = set_ids_.try_emplace(set.to_string(), static_cast<int32_t>(sets_.size()));
  if (added) sets_.push_back(set);
  return {{-1, it->second}};
}

Sequence Draft::literal(std::string_view text) {
  grow(text.size());
  Sequence out;
  for (char c : text) out.push_back(bytes(ByteSet().set(static_cast<unsigned char>(c)))[0]);
  return out;
}

Sequence Draft::chars(const CodeSet& set) {
  std::vector<CodeRange> key = set.ranges();
  if (key.empty()) fail("[grammar] '", scope, "': a character class that no character belongs to");
  if (auto it = classes_.find(key); it != classes_.end()) return it->second;
  ByteSet single;
  std::vector<Sequence> longer;
  for (const std::vector<ByteRange>& ranges : utf8_sequences(set)) {
    Sequence s;
    for (const ByteRange& r : ranges) {
      ByteSet range;
      for (int b = r.low; b <= r.high; ++b) range.set(static_cast<size_t>(b));
      if (ranges.size() == 1)
        single |= range;
      else
        s.push_back(bytes(range)[0]);
    }
    if (!s.empty()) longer.push_back(std::move(s));
  }
  if (single.any()) longer.push_back(bytes(single));
  return classes_[std::move(key)] = any_of(std::move(longer));
}

Sequence Draft::any_of(std::vector<Sequence> alternatives) {
  if (alternatives.size() == 1) return alternatives[0];
  const int32_t r = rule(scope);
  for (Sequence& s : alternatives) alternative(r, std::move(s));
  return {{r, -1}};
}

Sequence Draft::repeat(const Sequence& item, int64_t min, int64_t max) {
  if (item.empty() || max == 0) return {};
  if (min == 1 && max == 1) return item;
  if (std::max(min, max) > static_cast<int64_t>(kMaxSymbols)) grow(kMaxSymbols);
  Sequence one = item;
  if (item.size() > 1) {  // written once, however often it is repeated
    one = {{rule(scope), -1}};
    alternative(one[0].rule, item);
  }
  Sequence tail;  // what may follow after `min` of them
  if (max == kNoLimit) {
    const int32_t star = rule(scope);
    tail = {{star, -1}};
    alternative(star, {one[0], {star, -1}});
    alternative(star, {});
  }
  for (int64_t i = min; i < max; ++i) {
    const int32_t next = rule(scope);
    alternative(next, one + tail);
    alternative(next, {});
    tail = {{next, -1}};
  }
  grow(static_cast<size_t>(min));
  return Sequence(static_cast<size_t>(min), one[0]) + tail;
}

Sequence Draft::one_of_texts(std::vector<std::string> texts) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  if (texts.empty()) fail("[grammar] '", scope, "': expected at least one text to choose from");
  return texts_from(texts, 0, texts.size(), 0);
}

// texts[begin..end) agree in their first `offset` bytes.
Sequence Draft::texts_from(const std::vector<std::string>& texts, size_t begin, size_t end, size_t offset) {
  const std::string &first = texts[begin], &last = texts[end - 1];
  size_t same = offset;
  while (same < first.size() && same < last.size() && first[same] == last[same]) ++same;
  Sequence head = literal(std::string_view(first).substr(offset, same - offset));
  if (begin + 1 == end) return head;
  std::vector<Sequence> rest;
  if (first.size() == same) rest.emplace_back(), ++begin;
  while (begin < end) {
    size_t to = begin;
    while (to < end && texts[to][same] == texts[begin][same]) ++to;
    rest.push_back(texts_from(texts, begin, to, same));
    begin = to;
  }
  return head + any_of(std::move(rest));
}

}  // namespace puyu::grammar
