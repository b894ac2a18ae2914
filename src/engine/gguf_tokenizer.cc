#include "engine/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "text/tokenizer_json.h"

namespace puyu {
namespace {

const std::string kAt = "tokenizer.ggml.", kTemplateKey = "tokenizer.chat_template";
// InternLM2's own (tokenizer_config.json); llama.cpp's clients run it.
constexpr const char* kChatTemplate =
    "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const Json::Array& list(const Gguf& f, const std::string& key) {
  const Json* v = f.find(kAt + key);
  if (!v || !v->is_array()) fail("[gguf] ", f.path(), ": '", kAt, key, "': expected a list");
  return v->as_array();
}

// The patterns behind llama.cpp's names of pre-tokenizers (tokenizer.ggml.pre), of those that puyu reads and writes.
struct Pre {
  const char *name, *pattern;
  bool nfc;
};
constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
std::array<Pre, 3> known_pres() {
  return {{{"llama-bpe", kLlama3Pattern, false}, {"qwen2", kQwen2Pattern, true}, {"gpt-2", kGpt2Pattern, false}}};
}

Tokenizer read_byte_level(const Gguf& f) try {
  Vocabulary v;
  auto hf = std::make_shared<HfBpe>();
  const std::string name = f.text(kAt + "pre");
  const auto pres = known_pres();
  const auto pre = std::ranges::find(pres, name, [](const Pre& p) { return std::string(p.name); });
  if (pre == pres.end()) fail("pre-tokenizer '", name, "' is not supported; expected llama-bpe, qwen2 or gpt-2");
  hf->split.push_back({.kind = SplitStep::Kind::kPattern, .pattern = SplitPattern(pre->pattern)});
  if (pre->nfc) hf->normalize.push_back({NormalizeStep::Kind::kNfc, "", ""});
  hf->byte_level = true, hf->ignore_merges = name == "llama-bpe";
  v.byte_fallback = false;
  const Json::Array &tokens = list(f, "tokens"), &types = list(f, "token_type");
  if (types.size() != tokens.size())
    fail("tokens and token_type have ", tokens.size(), " and ", types.size(), " entries");
  BpeParts parts;
  std::vector<AddedToken> added;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t kind = types[i].as_int();
    const bool piece = kind == static_cast<int64_t>(PieceKind::kNormal);
    parts.pieces.push_back(piece ? tokens[i].as_string() : "");
    if (kind == static_cast<int64_t>(PieceKind::kControl) || kind == static_cast<int64_t>(PieceKind::kUserDefined))
      added.push_back({.id = static_cast<int32_t>(i),
                       .text = tokens[i].as_string(),
                       .special = kind == static_cast<int64_t>(PieceKind::kControl)});
  }
  uint64_t hash = 0;
  for (const Json& m : list(f, "merges")) {
    const std::string& text = m.as_string();
    const size_t space = text.find(' ');
    if (space == text.npos) fail("merges: expected 'left right', got '", text, "'");
    parts.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    hash = hash64(text, hash);
  }
  set_pieces(std::move(parts), *hf, v);
  for (AddedToken& t : added) add_token(std::move(t), *hf, v);
  while (!v.pieces.empty() && v.pieces.back().kind == PieceKind::kUnused) v.pieces.pop_back();
  hf->fingerprint = hash;
  auto id = [&](const char* key) {
    const int64_t i = f.integer(kAt + key, -1);
    if (i >= static_cast<int64_t>(v.pieces.size())) fail(key, ": ", i, " is outside the vocabulary");
    return static_cast<int32_t>(std::max<int64_t>(i, -1));
  };
  v.bos = id("bos_token_id"), v.eos = id("eos_token_id");
  v.add_bos = f.boolean(kAt + "add_bos_token", name == "llama-bpe") && v.bos >= 0;
  if (f.find(kTemplateKey)) v.chat_template = f.text(kTemplateKey);
  v.hf = std::move(hf);
  return Tokenizer::from(std::move(v));
} catch (const Error& e) { fail("[gguf] ", f.path(), ": ", e.what()); }

void add_byte_level(const Tokenizer& t, int64_t vocab_size, GgufMetadata& to) {
  const Vocabulary& v = t.vocabulary();
  const HfBpe& hf = *v.hf;
  const bool nfc = hf.normalize.size() == 1 && hf.normalize[0].kind == NormalizeStep::Kind::kNfc;
  const Pre* pre = nullptr;
  const auto pres = known_pres();
  for (const Pre& p : pres)
    if (hf.byte_level && hf.split.size() == 1 && hf.split[0].pattern && hf.split[0].pattern->source() == p.pattern &&
        hf.normalize.size() == (p.nfc ? 1 : 0) && nfc == p.nfc)
      pre = &p;
  if (!pre)
    fail("[gguf] this tokenizer cuts words in a way that llama.cpp has no name for; it cannot be written to GGUF");
  Json tokens = Json::array(), types = Json::array(), merges = Json::array();
  auto text = [&](int32_t id) { return bytes_to_letters(v.pieces[static_cast<size_t>(id)].text); };
  for (size_t i = 0; i < static_cast<size_t>(std::max<int64_t>(vocab_size, t.vocab_size())); ++i) {
    const bool unused = i >= v.pieces.size() || v.pieces[i].kind == PieceKind::kUnused;
    const PieceKind kind = unused ? PieceKind::kUnused : v.pieces[i].kind;
    tokens.push(unused                       ? cat("[PAD", i, "]")
                : kind == PieceKind::kNormal ? text(static_cast<int32_t>(i))
                                             : v.pieces[i].text);
    types.push(static_cast<int64_t>(kind));
  }
  for (const Merge& m : hf.merges) merges.push(text(m.left) + " " + text(m.right));
  to.add(kAt + "model", "gpt2");
  to.add(kAt + "pre", pre->name);
  to.add_array(kAt + "tokens", GgufType::kString, std::move(tokens));
  to.add_array(kAt + "token_type", GgufType::kI32, std::move(types));
  to.add_array(kAt + "merges", GgufType::kString, std::move(merges));
  if (t.has_bos()) to.add_u32(kAt + "bos_token_id", t.bos());
  if (t.has_eos()) to.add_u32(kAt + "eos_token_id", t.eos());
  to.add_bool(kAt + "add_bos_token", !t.prefix().empty());
  if (!v.chat_template.empty()) to.add(kTemplateKey, v.chat_template);
}

}  // namespace

Tokenizer read_gguf_tokenizer(const Gguf& f) {
  const std::string model = f.text(kAt + "model");
  if (model == "gpt2") return read_byte_level(f);
  if (model != "llama")
    fail("[gguf] ", f.path(), ": tokenizer '", model,
         "' is not supported; expected 'llama' (SentencePiece's BPE) or 'gpt2'");
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
  if (f.find(kTemplateKey)) v.chat_template = f.text(kTemplateKey);
  check_vocabulary(v, f.path());
  return Tokenizer::from(std::move(v));
}

void add_gguf_tokenizer(const Tokenizer& t, int64_t vocab_size, GgufMetadata& to) {
  const Vocabulary& v = t.vocabulary();
  if (v.hf) return add_byte_level(t, vocab_size, to);
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
    to.add(kTemplateKey, kChatTemplate);
  }
}

Tokenizer load_tokenizer(const std::string& path) {
  return path.ends_with(".gguf") ? read_gguf_tokenizer(Gguf(path)) : Tokenizer::load(path);
}

}  // namespace puyu
