#include "engine/gguf_tokenizer.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "text/vocabulary.h"

namespace puyu {
namespace {

const std::string kAt = "tokenizer.ggml.";
// InternLM2's own (tokenizer_config.json); llama.cpp's clients run it.
constexpr const char* kChatTemplate =
    "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const Json::Array& list(const Gguf& f, const std::string& key) {
  const Json* v = f.find(kAt + key);
  if (!v || !v->is_array()) fail("[gguf] ", f.path(), ": '", kAt, key, "': expected a list");
  return v->as_array();
}

}  // namespace

Tokenizer read_gguf_tokenizer(const Gguf& f) {
  if (const std::string model = f.text(kAt + "model"); model != "llama")
    fail("[gguf] ", f.path(), ": tokenizer '", model, "' is not supported; expected 'llama' (SentencePiece's BPE)");
  const Json::Array &tokens = list(f, "tokens"), &scores = list(f, "scores"), &types = list(f, "token_type");
  if (scores.size() != tokens.size() || types.size() != tokens.size())
    fail("[gguf] ", f.path(), ": tokens, scores and token_type have ", tokens.size(), ", ", scores.size(), " and ",
         types.size(), " entries");
  Vocabulary v;
  int64_t bytes = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].is_string() || !scores[i].is_number() || !types[i].is_int() || types[i].as_int() < 1 ||
        types[i].as_int() > 6)
      fail("[gguf] ", f.path(), ": piece ", i, ": expected a text, a score and a type from 1 to 6");
    const auto kind = static_cast<PieceKind>(types[i].as_int());
    v.pieces.push_back({tokens[i].as_string(), static_cast<float>(scores[i].as_double()), kind});
    bytes += kind == PieceKind::kByte;
    if (kind == PieceKind::kControl) v.specials.emplace_back(static_cast<int32_t>(i), tokens[i].as_string());
  }
  // Padding of the model's vocabulary is no piece of the tokenizer's.
  while (!v.pieces.empty() && v.pieces.back().kind == PieceKind::kUnused && v.pieces.back().text.starts_with("[PAD"))
    v.pieces.pop_back();
  v.byte_fallback = bytes == 256;
  v.add_dummy_prefix = f.boolean(kAt + "add_space_prefix", true);
  v.lossless = f.boolean("puyu.tokenizer.lossless", false);
  check_vocabulary(v, f.path());
  return Tokenizer::from(std::move(v));
}

void add_gguf_tokenizer(const Tokenizer& t, int64_t vocab_size, GgufMetadata& to) {
  const Vocabulary& v = t.vocabulary();
  const std::map<int32_t, std::string> specials(v.specials.begin(), v.specials.end());
  Json tokens = Json::array(), scores = Json::array(), types = Json::array();
  int64_t unknown = 0;
  for (size_t i = 0; i < v.pieces.size(); ++i) {
    const Piece& p = v.pieces[i];
    const auto special = specials.find(static_cast<int32_t>(i));
    const bool named = special != specials.end();
    tokens.push(named ? special->second : p.text);
    scores.push(static_cast<double>(p.score));
    types.push(static_cast<int64_t>(named ? PieceKind::kControl : p.kind));
    if (p.kind == PieceKind::kUnknown) unknown = static_cast<int64_t>(i);
  }
  for (int64_t i = static_cast<int64_t>(v.pieces.size()); i < vocab_size; ++i)
    tokens.push(cat("[PAD", i, "]")), scores.push(0.0), types.push(static_cast<int64_t>(PieceKind::kUnused));
  to.add(kAt + "model", "llama");
  to.add(kAt + "pre", "default");
  to.add_array(kAt + "tokens", GgufType::kString, std::move(tokens));
  to.add_array(kAt + "scores", GgufType::kF32, std::move(scores));
  to.add_array(kAt + "token_type", GgufType::kI32, std::move(types));
  to.add_u32(kAt + "bos_token_id", t.bos());
  to.add_u32(kAt + "eos_token_id", t.eos());
  to.add_u32(kAt + "unknown_token_id", unknown);
  to.add_bool(kAt + "add_bos_token", true);
  to.add_bool(kAt + "add_eos_token", false);
  to.add_bool(kAt + "add_space_prefix", v.add_dummy_prefix);
  if (v.lossless) to.add_bool("puyu.tokenizer.lossless", true);
  if (t.is_special("<|im_end|>")) {
    to.add_u32(kAt + "eot_token_id", t.special("<|im_end|>"));
    to.add("tokenizer.chat_template", kChatTemplate);
  }
}

Tokenizer load_tokenizer(const std::string& path) {
  return path.ends_with(".gguf") ? read_gguf_tokenizer(Gguf(path)) : Tokenizer::load(path);
}

}  // namespace puyu
