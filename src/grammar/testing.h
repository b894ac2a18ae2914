// For tests: a vocabulary of all bytes and some longer tokens, and random answers through a mask.
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "grammar/mask.h"

namespace puyu::grammar {

inline std::vector<std::string> test_vocabulary() {
  std::vector<std::string> v{""};  // id 0 is the end
  for (int b = 0; b < 256; ++b) v.emplace_back(1, static_cast<char>(b));
  for (const char* s :
       {"\"", "{\"", "\":", "\": ", "\",", "\"}",  "}]",  "[{", "true", "false",   "null",     "name",     "age",
        "12", "0.",  "1.5", "e+",   "\\n", "\\\"", "\\u", "你", "好",   "你好",    "\xE4\xBD", "\x80\xF0", "abc",
        "ab", "a b", ", ",  "\n  ", "[",   "]]",   "[[",  "-1", "00",   "2024-01", "yes",      "no",       "\"a\""})
    v.emplace_back(s);
  v.emplace_back("");
  return v;
}
inline std::shared_ptr<Guide> test_guide(Grammar g, std::vector<std::string> vocabulary = test_vocabulary()) {
  return std::make_shared<Guide>(std::move(g), std::make_shared<const TokenTrie>(vocabulary), std::vector<int32_t>{0});
}
inline std::vector<int32_t> allowed(TokenMask& mask, size_t vocabulary) {
  std::vector<float> logits(vocabulary, 1.0f);
  mask.allow(logits);
  std::vector<int32_t> out;
  for (size_t i = 0; i < logits.size(); ++i)
    if (std::isfinite(logits[i])) out.push_back(static_cast<int32_t>(i));
  return out;
}
// A random answer; after `steps` tokens it heads for the end of a JSON text. Empty: it found no end.
inline std::optional<std::string> random_answer(Guide& guide, Rng& rng, int steps = 60) {
  const auto v = test_vocabulary();
  auto mask = guide.mask();
  std::string text;
  for (int i = 0; i < steps + 3000; ++i) {
    const std::vector<int32_t> ids = allowed(*mask, v.size() + 2);
    if (ids.empty()) return {};
    int32_t id = ids[rng.below(ids.size())];
    if (i >= steps)
      for (int32_t want : {0x01 + '0', 0x01 + ':', 0x01 + ']', 0x01 + '}', 0x01 + 'b', 0x01 + '"', 0})
        if (std::find(ids.begin(), ids.end(), want) != ids.end()) id = want;
    if (id == 0) return text;
    text += v[static_cast<size_t>(id)];
    mask->accept(id);
    if (mask->finished()) return text;
  }
  return {};
}

}  // namespace puyu::grammar
