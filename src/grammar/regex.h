// Regular expressions as grammars: ECMAScript's syntax as JSON Schema uses it. Characters, `.`, classes with ranges,
// \d \w \s and their opposites, \t \n \v \f \r \0 \xHH \uHHHH \u{H…} \cX, groups (capturing, (?:…), named), |,
// * + ? {m} {m,} {m,n} (lazy ones too: the texts are the same), ^ and $ at the ends of an alternative. Whatever looks
// beyond the text itself has no grammar and is an Error that names it: look-around, back references, \b, flags; so are
// \p{…} and stray brackets.
#pragma once
#include <functional>
#include <string_view>

#include "grammar/grammar.h"

namespace puyu::grammar {

enum class RegexMatch {
  kWhole,   // the text as a whole; ^ and $ may be written
  kSearch,  // some part of the text, unless ^ and $ say otherwise (JSON Schema's `pattern`)
};
using EmitChars = std::function<Sequence(const CodeSet&)>;  // one character of the set, as the draft writes it

// Error: "[regex] byte N of '...': ...".
Sequence regex(Draft& d, std::string_view pattern, RegexMatch match, const EmitChars& chars);
Grammar regex_grammar(std::string_view pattern);  // kWhole
Grammar choice_grammar(const std::vector<std::string>& texts);

}  // namespace puyu::grammar
