// Grammars of all kinds: what is accepted never leads into a dead end, and its bytes are UTF-8.
#include "base/error.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "grammar/automaton.h"
#include "grammar/gbnf.h"
#include "grammar/regex.h"
#include "grammar/schema.h"

using namespace puyu;
using namespace puyu::grammar;

std::vector<std::string> fuzz_seeds() {
  const std::string object = R"(s{"type":"object","properties":{"a":{"type":"integer","minimum":-3,"maximum":120},)";
  const std::string array = R"(s{"type":"array","prefixItems":[{"pattern":"^a+$"}],"items":{"$ref":"#/$defs/n"},)";
  return {"groot ::= \"(\" root \")\" | [^a-z\\n]{2,3} | x?\nx ::= (\"你\" | . \"\\u4F60\")* # end\n",
          "groot ::= a b\na ::= \"x\"+ | b \"y\"\nb ::= [0-9]*\n", R"(r^(a|b{2,3})*?[^\d\-c-z]\u4f60\s.$)",
          object + R"("b":{"enum":["x",1]}},"required":["a"],"additionalProperties":{"type":"string","minLength":1}})",
          array + R"("minItems":2,"$defs":{"n":{"anyOf":[{"type":"null"},{"$ref":"#"},{"format":"date"}]}}})"};
}

namespace {

std::string walk(const std::shared_ptr<const Grammar>& g, uint64_t seed) {
  Automaton a(g);
  Rng rng(seed);
  std::string text;
  for (int32_t s = a.start(); text.size() < 64 && a.work() < 3'000'000;) {
    if (a.accepting(s) && (!a.open(s) || rng.below(4) == 0)) return text;
    int32_t to = kDead;
    const auto from = rng.below(256);
    for (uint64_t k = 0; k < 256 && to == kDead; ++k) {
      const auto byte = static_cast<uint8_t>(from + k);
      if ((to = a.step(s, byte)) != kDead) text += static_cast<char>(byte);
    }
    expect(to != kDead);
    s = to;
  }
  return "";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = fuzz_bytes(data + 1, size - 1);
  try {
    const auto g = std::make_shared<const Grammar>(data[0] == 'r'   ? regex_grammar(text)
                                                   : data[0] == 's' ? schema_grammar(Json::parse(text))
                                                                    : parse_gbnf(text));
    const std::string answer = walk(g, size);
    expect(valid_utf8(answer));
    if (!answer.empty()) expect(matches(g, answer));
    if (!answer.empty() && data[0] == 's') try {
        Json::parse(answer);
      } catch (const Error& e) { expect(std::string_view(e.what()).find("occurs twice") != std::string_view::npos); }
  } catch (const Error& e) { expect(valid_utf8(e.what())); }
  return 0;
}
