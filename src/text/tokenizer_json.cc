#include "text/tokenizer_json.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "text/hf_bpe.h"

namespace puyu {
namespace {

using Kind = SplitStep::Kind;
using Behavior = SplitStep::Behavior;

constexpr int64_t kMaxHoles = 1 << 16;  // ids without a piece

// Every key must be one that is understood.
void only(const Json& j, const std::string& at, std::initializer_list<const char*> keys) {
  if (!j.is_object()) fail(at, ": expected an object, got ", j.type_name());
  for (const auto& [key, value] : j.as_object())
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) fail(at, ".", key, ": not supported");
}
const Json* given(const Json& j, const char* key) {
  const Json* v = j.find(key);
  return v && !v->is_null() ? v : nullptr;
}
std::string type_of(const Json& j, const std::string& at) {
  const Json* t = j.find("type");
  if (!t || !t->is_string()) fail(at, ".type: expected a text");
  return t->as_string();
}
// The parts of a Sequence, or the thing itself.
std::vector<std::pair<std::string, Json>> steps(const Json& j, const std::string& at, const char* list) {
  if (j.is_null()) return {};
  if (type_of(j, at) != "Sequence") return {{at, j}};
  only(j, at, {"type", list});
  std::vector<std::pair<std::string, Json>> out;
  const Json::Array& all = j.at(list).as_array();
  for (size_t i = 0; i < all.size(); ++i) out.emplace_back(cat(at, ".", list, "[", i, "]"), all[i]);
  return out;
}

void read_normalizer(const Json& j, HfBpe& hf) {
  for (const auto& [at, n] : steps(j, "normalizer", "normalizers")) {
    const std::string type = type_of(n, at);
    if (type == "NFC") {
      only(n, at, {"type"});
      hf.normalize.push_back({NormalizeStep::Kind::kNfc, "", ""});
    } else if (type == "Prepend") {
      only(n, at, {"type", "prepend"});
      hf.normalize.push_back({NormalizeStep::Kind::kPrepend, "", n.at("prepend").as_string()});
    } else if (type == "Replace") {
      only(n, at, {"type", "pattern", "content"});
      only(n.at("pattern"), at + ".pattern", {"String"});
      const std::string& from = n.at("pattern").at("String").as_string();
      if (from.empty()) fail(at, ".pattern.String: is empty");
      hf.normalize.push_back({NormalizeStep::Kind::kReplace, from, n.at("content").as_string()});
    } else {
      fail(at, ".type: '", type, "' is not supported; expected NFC, Prepend, Replace or Sequence");
    }
  }
}

SplitStep pattern_step(SplitPattern p, Behavior b = Behavior::kIsolated, bool invert = false) {
  SplitStep s{.kind = Kind::kPattern, .behavior = b, .invert = invert};
  s.pattern = std::move(p);
  return s;
}

SplitStep read_split(const Json& p, const std::string& at) {
  only(p, at, {"type", "pattern", "behavior", "invert"});
  only(p.at("pattern"), at + ".pattern", {"Regex", "String"});
  const Json* regex = p.at("pattern").find("Regex");
  const std::string name = p.at("behavior").as_string();
  const std::pair<const char*, Behavior> kNames[] = {{"Isolated", Behavior::kIsolated},
                                                     {"Removed", Behavior::kRemoved},
                                                     {"MergedWithPrevious", Behavior::kMergedWithPrevious},
                                                     {"MergedWithNext", Behavior::kMergedWithNext}};
  for (auto [known, behavior] : kNames)
    if (name == known)
      return pattern_step(
          regex ? SplitPattern(regex->as_string()) : SplitPattern::literal(p.at("pattern").at("String").as_string()),
          behavior, p.get("invert", false));
  fail(at, ".behavior: '", name, "' is not supported");
}

void read_metaspace(const Json& p, const std::string& at, HfBpe& hf) {
  only(p, at, {"type", "replacement", "str_rep", "add_prefix_space", "prepend_scheme", "split"});
  if (p.get("replacement", std::string(kSpaceMark)) != kSpaceMark)
    fail(at, ".replacement: expected '", kSpaceMark, "'");
  const std::string scheme = p.get("prepend_scheme", std::string(p.get("add_prefix_space", true) ? "always" : "never"));
  SplitStep s{.kind = Kind::kMetaspace};
  if (scheme == "always")
    s.prefix = SplitStep::Prefix::kAlways;
  else if (scheme == "first")
    s.prefix = SplitStep::Prefix::kFirst;
  else if (scheme != "never")
    fail(at, ".prepend_scheme: '", scheme, "' is not supported");
  hf.split.push_back(std::move(s));
  if (p.get("split", true))
    hf.split.push_back(pattern_step(SplitPattern::literal(kSpaceMark), Behavior::kMergedWithNext));
}

void read_pre_tokenizer(const Json& j, HfBpe& hf) {
  for (const auto& [at, p] : steps(j, "pre_tokenizer", "pretokenizers")) {
    const std::string type = type_of(p, at);
    if (hf.byte_level) fail(at, ": nothing can follow ByteLevel");
    if (type == "Split") {
      hf.split.push_back(read_split(p, at));
    } else if (type == "ByteLevel") {
      only(p, at, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
      hf.byte_level = true;
      if (p.get("add_prefix_space", true)) hf.split.push_back({.kind = Kind::kPrefixSpace});
      if (p.get("use_regex", true)) hf.split.push_back(pattern_step(SplitPattern(kGpt2Pattern)));
    } else if (type == "Metaspace") {
      read_metaspace(p, at, hf);
    } else if (type == "Digits") {
      only(p, at, {"type", "individual_digits"});
      hf.split.push_back(pattern_step(SplitPattern(p.get("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)")));
    } else {
      fail(at, ".type: '", type, "' is not supported; expected Split, ByteLevel, Metaspace, Digits or Sequence");
    }
  }
}

// What decoding does must be what Tokenizer::decode does: bytes, or U+2581 as spaces and the first of them dropped.
void read_decoder(const Json& j, const HfBpe& hf, Vocabulary& v) {
  bool bytes = false;
  for (const auto& [at, d] : steps(j, "decoder", "decoders")) {
    const std::string type = type_of(d, at);
    if (type == "ByteLevel") {
      bytes = true;
    } else if (type == "Replace") {
      only(d, at, {"type", "pattern", "content"});
      if (d.at("pattern").at("String").as_string() != kSpaceMark || d.at("content").as_string() != " ")
        fail(at, ": expected to replace '", kSpaceMark, "' by a space");
    } else if (type == "Strip") {
      only(d, at, {"type", "content", "start", "stop"});
      if (d.at("content").as_string() != " " || d.at("start").as_int() > 1 || d.at("stop").as_int() != 0)
        fail(at, ": expected to strip one leading space");
      v.add_dummy_prefix = d.at("start").as_int() == 1;
    } else if (type == "Metaspace") {
      v.add_dummy_prefix =
          d.get("prepend_scheme", std::string(d.get("add_prefix_space", true) ? "always" : "never")) != "never";
    } else if (type != "ByteFallback" && type != "Fuse") {
      fail(at, ".type: '", type, "' is not supported");
    }
  }
  if (bytes != hf.byte_level)
    fail("decoder: expected ", hf.byte_level ? "ByteLevel, as the pre_tokenizer" : "no ByteLevel");
}

void read_post_processor(const Json& j, HfBpe& hf) {
  for (const auto& [at, p] : steps(j, "post_processor", "processors")) {
    const std::string type = type_of(p, at);
    if (type == "ByteLevel") continue;  // offsets only
    if (type != "TemplateProcessing") fail(at, ".type: '", type, "' is not supported");
    only(p, at, {"type", "single", "pair", "special_tokens"});
    hf.prefix.clear();
    for (const Json& item : p.at("single").as_array()) {
      if (item.find("Sequence")) break;  // what follows the text is not for prompts: they are continued
      const std::string& name = item.at("SpecialToken").at("id").as_string();
      for (const Json& id : p.at("special_tokens").at(name).at("ids").as_array())
        hf.prefix.push_back(static_cast<int32_t>(std::clamp<int64_t>(id.as_int(), -1, kMaxPieces)));
    }
  }
}

std::pair<std::string, std::string> read_merge(const Json& m, size_t index) {
  const std::string at = cat("model.merges[", index, "]");
  if (m.is_array()) {
    if (m.size() != 2) fail(at, ": expected two pieces");
    return {m.as_array()[0].as_string(), m.as_array()[1].as_string()};
  }
  const std::string& text = m.as_string();
  const size_t space = text.find(' ');
  if (space == text.npos || text.find(' ', space + 1) != text.npos)
    fail(at, ": expected 'left right', got '", text, "'");
  return {text.substr(0, space), text.substr(space + 1)};
}

BpeParts read_model(const Json& m, HfBpe& hf, Vocabulary& v, std::string& unknown) {
  only(m, "model",
       {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback",
        "ignore_merges", "vocab", "merges"});
  if (const std::string type = m.get("type", std::string("BPE")); type != "BPE")
    fail("model.type: '", type, "' is not supported; expected BPE");
  if (const Json* d = given(m, "dropout"); d && d->as_double() != 0)
    fail("model.dropout: not supported, expected none");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (const Json* text = given(m, key); text && !text->as_string().empty()) fail("model.", key, ": not supported");
  hf.fuse_unknown = m.get("fuse_unk", false);
  hf.ignore_merges = m.get("ignore_merges", false);
  v.byte_fallback = m.get("byte_fallback", false);
  unknown = m.get("unk_token", std::string());
  BpeParts parts;
  int64_t last = -1;
  const Json::Object& vocab = m.at("vocab").as_object();
  for (const auto& [text, id] : vocab) last = std::max(last, id.as_int());
  if (last >= kMaxPieces || last - static_cast<int64_t>(vocab.size()) > kMaxHoles)
    fail("model.vocab: ", vocab.size(), " pieces, but ids up to ", last);
  parts.pieces.resize(static_cast<size_t>(last + 1));
  for (const auto& [text, id] : vocab) {
    if (id.as_int() < 0 || text.empty())
      fail("model.vocab: '", text, "': expected a text and an id, got ", id.as_int());
    std::string& piece = parts.pieces[static_cast<size_t>(id.as_int())];
    if (!piece.empty()) fail("model.vocab: '", piece, "' and '", text, "' have one id");
    piece = text;
  }
  const Json::Array& merges = m.at("merges").as_array();
  for (size_t i = 0; i < merges.size(); ++i) parts.merges.push_back(read_merge(merges[i], i));
  return parts;
}

}  // namespace

void set_pieces(BpeParts parts, HfBpe& hf, Vocabulary& v) {
  if (parts.merges.size() > kMaxPieces) fail("model.merges: more than ", kMaxPieces);
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t id = 0; id < parts.pieces.size(); ++id) {
    const std::string& text = parts.pieces[id];
    Piece p{text, 0, text.empty() ? PieceKind::kUnused : PieceKind::kNormal};
    if (!text.empty()) ids.emplace(text, static_cast<int32_t>(id));
    if (hf.byte_level && !text.empty() && !letters_to_bytes(text, p.text)) p = {text, 0, PieceKind::kUserDefined};
    if (!hf.byte_level && v.byte_fallback && byte_of_piece(text) >= 0) p.kind = PieceKind::kByte;
    v.pieces.push_back(std::move(p));
  }
  auto find = [&](const std::string& text) {
    const auto it = ids.find(text);
    if (it == ids.end()) fail("model.merges: '", text, "' is no piece of the vocabulary");
    return it->second;
  };
  for (const auto& [left, right] : parts.merges) {
    const auto rank = static_cast<uint32_t>(hf.merges.size());
    const Merge m{find(left), find(right), find(left + right), rank};
    hf.merges.push_back(m);
    Piece& made = v.pieces[static_cast<size_t>(m.made)];
    if (made.score == 0) made.score = -static_cast<float>(rank) - 1;  // for formats that know scores only
  }
  std::array<int, 256> seen{};
  for (const Piece& p : v.pieces) {
    if (p.kind == PieceKind::kByte) ++seen[static_cast<size_t>(byte_of_piece(p.text))];
    if (hf.byte_level && p.kind == PieceKind::kNormal && p.text.size() == 1)
      ++seen[static_cast<unsigned char>(p.text[0])];
  }
  if (hf.byte_level || v.byte_fallback)
    for (size_t b = 0; b < 256; ++b)
      if (seen[b] == 0) fail("model.vocab: no piece for the byte ", b);
}

void add_token(AddedToken t, HfBpe& hf, Vocabulary& v) {
  if (t.text.empty() || t.id < 0 || t.id >= kMaxPieces || t.id > static_cast<int64_t>(v.pieces.size()) + kMaxHoles)
    fail("added_tokens: '", t.text, "' has the id ", t.id);
  if (static_cast<size_t>(t.id) >= v.pieces.size())
    v.pieces.resize(static_cast<size_t>(t.id) + 1, Piece{"", 0, PieceKind::kUnused});
  Piece& p = v.pieces[static_cast<size_t>(t.id)];
  const std::string stands = hf.byte_level && p.kind == PieceKind::kNormal ? bytes_to_letters(p.text) : p.text;
  if (!p.text.empty() && stands != t.text)
    fail("added_tokens: id ", t.id, " of '", t.text, "' is that of '", stands, "' already");
  p = {t.text, p.score, t.special ? PieceKind::kControl : PieceKind::kUserDefined};
  if (t.special) v.specials.emplace_back(t.id, t.text);
  hf.added.push_back(std::move(t));
}

Vocabulary parse_tokenizer_json(std::string_view bytes, const std::string& where) try {
  const Json j = Json::parse(bytes, where);
  // truncation and padding are for batches of training; transformers switches both off too.
  only(j, "tokenizer",
       {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
        "model"});
  auto part = [&](const char* key) { return given(j, key) ? *given(j, key) : Json(); };
  Vocabulary v;
  auto hf = std::make_shared<HfBpe>();
  std::string unknown;
  read_normalizer(part("normalizer"), *hf);
  read_pre_tokenizer(part("pre_tokenizer"), *hf);
  BpeParts parts = read_model(j.at("model"), *hf, v, unknown);
  set_pieces(std::move(parts), *hf, v);
  read_decoder(part("decoder"), *hf, v);
  if (const Json* added = given(j, "added_tokens"))
    for (const Json& t : added->as_array()) {
      only(t, "added_tokens", {"id", "content", "special", "lstrip", "rstrip", "single_word", "normalized"});
      const bool special = t.get("special", false);
      const int64_t id = t.at("id").as_int();
      add_token(
          {static_cast<int32_t>(std::clamp<int64_t>(id, -1, kMaxPieces)), t.at("content").as_string(), special,
           t.get("lstrip", false), t.get("rstrip", false), t.get("single_word", false), t.get("normalized", !special)},
          *hf, v);
    }
  read_post_processor(part("post_processor"), *hf);
  for (size_t id = 0; id < v.pieces.size() && !unknown.empty(); ++id)
    if (v.pieces[id].text == unknown && v.pieces[id].kind != PieceKind::kUserDefined) {
      hf->unknown = static_cast<int32_t>(id);
      if (v.pieces[id].kind == PieceKind::kNormal) v.pieces[id].kind = PieceKind::kUnknown;
    }
  for (int32_t id : hf->prefix)
    if (id < 0 || static_cast<size_t>(id) >= v.pieces.size())
      fail("post_processor: id ", id, " is outside the vocabulary");
  if (!hf->prefix.empty()) v.bos = hf->prefix[0];
  std::ranges::sort(v.specials);
  hf->fingerprint = hash64(bytes);
  v.hf = std::move(hf);
  return v;
} catch (const Error& e) {
  const std::string what = e.what();
  fail(what.starts_with("[") ? what : cat("[tokenizer] ", where, ": ", what));
}

namespace {

// Tokens that a SentencePiece model lacks, or names for pieces of it: {"92542": {"content": "<|im_end|>", ...}}.
void add_decoder_tokens(const Json& config, const std::string& where, Vocabulary& v) {
  const Json* list = given(config, "added_tokens_decoder");
  if (!list) return;
  std::map<int64_t, const Json*> by_id;
  for (const auto& [id, t] : list->as_object()) by_id[std::strtoll(id.c_str(), nullptr, 10)] = &t;
  for (const auto& [id, t] : by_id) {
    const std::string& text = t->at("content").as_string();
    const bool special = t->get("special", false);
    if (id < 0 || id > static_cast<int64_t>(v.pieces.size()) || text.empty())
      fail("[tokenizer] ", where, ": added_tokens_decoder: '", text, "' has the id ", id, ", the model has ",
           v.pieces.size(), " pieces");
    if (id == static_cast<int64_t>(v.pieces.size()))
      v.pieces.push_back({text, 0, special ? PieceKind::kControl : PieceKind::kUserDefined});
    const bool named = std::ranges::any_of(v.specials, [&](const auto& s) { return s.first == id; });
    const PieceKind kind = v.pieces[static_cast<size_t>(id)].kind;
    if (special && !named && kind != PieceKind::kUnknown) v.specials.emplace_back(static_cast<int32_t>(id), text);
  }
  std::ranges::sort(v.specials);
  check_vocabulary(v, where);
}

}  // namespace

void apply_tokenizer_config(const Json& config, const std::string& where, Vocabulary& v) {
  auto find = [&](const char* key) -> int32_t {
    const Json* t = given(config, key);
    if (!t) return -1;
    const std::string text = t->is_object() ? t->at("content").as_string() : t->as_string();
    for (const auto& [id, name] : v.specials)
      if (name == text) return id;
    for (size_t id = 0; id < v.pieces.size(); ++id)
      if (v.pieces[id].text == text) return static_cast<int32_t>(id);
    fail("[tokenizer] ", where, ": ", key, " '", text, "' is no token of this tokenizer");
  };
  if (!v.hf) add_decoder_tokens(config, where, v);
  if (config.find("bos_token")) v.bos = find("bos_token");
  if (config.find("eos_token")) v.eos = find("eos_token");
  if (const Json* add = given(config, "add_bos_token")) v.add_bos = add->as_bool();
  if (const Json* t = given(config, "chat_template")) {  // a text, or a list of named ones
    if (t->is_string()) v.chat_template = t->as_string();
    if (t->is_array())
      for (const Json& named : t->as_array())
        if (named.get("name", std::string()) == "default") v.chat_template = named.at("template").as_string();
  }
  if (v.add_bos.value_or(false) && v.bos < 0) v.add_bos = false;  // none to add
}

}  // namespace puyu
