// Guided answers over HTTP: `response_format` of OpenAI, and vLLM's guided_json, guided_regex, guided_choice and
// guided_grammar (GBNF). Compiled guides are kept, so a schema that comes with every request is compiled once and its
// masks serve all answers.
#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "base/json.h"
#include "grammar/mask.h"

namespace puyu {

struct Guided {
  enum class Kind { kNone, kObject, kSchema, kRegex, kChoice, kGrammar };
  Kind kind = Kind::kNone;
  std::string field;  // as the request names it, for errors
  Json value;
};

// Whether this field asks for guidance, which then stands in `out`. ApiError 400 when it is malformed or the second
// one.
bool read_guided(const std::string& key, const Json& v, Guided& out);

class GuideCache {
 public:
  GuideCache(const Tokenizer& tokenizer, std::vector<int32_t> end_ids)
      : tokenizer_(tokenizer), end_ids_(std::move(end_ids)) {}
  // Null for Kind::kNone. ApiError 400 with the field's name when there is no grammar for it. Thread-safe: a grammar
  // that takes long to compile holds up those who want the same one, and nobody else.
  std::shared_ptr<grammar::Guide> get(const Guided& g);

 private:
  struct Entry {
    std::mutex compiling;
    std::shared_ptr<grammar::Guide> guide;
  };
  std::shared_ptr<Entry> entry(const std::string& key);
  static constexpr size_t kKept = 16;  // an automaton may grow to 64 MB
  const Tokenizer& tokenizer_;
  std::vector<int32_t> end_ids_;
  std::once_flag trie_once_;
  std::shared_ptr<const grammar::TokenTrie> trie_;
  std::mutex mutex_;
  std::list<std::pair<std::string, std::shared_ptr<Entry>>> entries_;  // the latest first
};

}  // namespace puyu
