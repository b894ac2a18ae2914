// JSON's own rules for the schema compiler: white space, strings, numbers, integers in a range, any value. White space
// stands only where models write it: after { [ : and , and before } and ], a space or a newline with up to 20 spaces or
// tabs. Numbers stay within what base/json reads exactly or finitely.
#pragma once
#include <optional>

#include "grammar/draft.h"

namespace puyu::grammar {

class JsonRules {
 public:
  explicit JsonRules(Draft& draft) : d_(draft) {}
  Sequence space();
  Sequence string();  // any string, with its quotes
  Sequence string_char();
  // A character of the set inside a string: as it is, or escaped where JSON wants it.
  Sequence chars_in_string(const CodeSet& set);
  Sequence quoted(const Sequence& inside);
  Sequence integer();
  Sequence number();
  Sequence integer_between(int64_t low, int64_t high);  // both at most kMaxInteger from 0
  Sequence value();
  Sequence object();
  Sequence array();
  // A key that is none of these (no escapes in it), with its quotes.
  Sequence other_key(const std::vector<std::string>& keys);
  // item (, item)* between brackets, at least `min` and at most `max` of them.
  Sequence list(char open, const Sequence& item, char close, int64_t min, int64_t max);

  static constexpr int64_t kMaxInteger = 999'999'999'999'999'999;

 private:
  template <class F>
  Sequence once(std::optional<int32_t>& rule, const char* name, F&& write);
  Sequence digits_between(const std::string& low, const std::string& high);
  Sequence natural_between(int64_t low, int64_t high);
  Sequence key_after(const std::vector<std::u32string>& keys, size_t begin, size_t end, size_t offset);
  Draft& d_;
  std::optional<int32_t> space_, string_, char_, integer_, number_, value_, object_, array_;
};

}  // namespace puyu::grammar
