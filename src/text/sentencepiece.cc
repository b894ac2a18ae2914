#include "text/sentencepiece.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace puyu {
namespace {

// One field of a protobuf message: varints and fixed numbers in `number`, strings and messages in `bytes`.
struct WireField {
  uint32_t tag = 0;
  uint64_t number = 0;
  std::string_view bytes;
};

struct WireReader {
  std::string_view rest;
  const std::string& where;

  [[noreturn]] void broken() const {
    fail("[tokenizer] ", where, ": not a SentencePiece model, or a truncated one (broken protobuf)");
  }
  uint64_t varint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest.empty()) broken();
      auto b = static_cast<unsigned char>(rest[0]);
      rest.remove_prefix(1);
      v |= static_cast<uint64_t>(b & 127) << shift;
      if (b < 128) return v;
    }
    broken();
  }
  std::string_view take(uint64_t n) {
    if (n > rest.size()) broken();
    std::string_view out = rest.substr(0, n);
    rest.remove_prefix(n);
    return out;
  }
  bool next(WireField& f) {
    if (rest.empty()) return false;
    uint64_t key = varint();
    if (key >> 3 == 0 || key >> 32 != 0) broken();
    f = {static_cast<uint32_t>(key >> 3), 0, {}};
    switch (key & 7) {
      case 0:
        f.number = varint();
        break;
      case 1:
        std::memcpy(&f.number, take(8).data(), 8);
        break;
      case 2:
        f.bytes = take(varint());
        break;
      case 5:
        std::memcpy(&f.number, take(4).data(), 4);
        break;
      default:
        broken();
    }
    return true;
  }
};

Piece read_piece(std::string_view bytes, const std::string& where) {
  WireReader r{bytes, where};
  Piece p;
  for (WireField f; r.next(f);) {
    if (f.tag == 1) p.text = f.bytes;
    if (f.tag == 2) {
      auto bits = static_cast<uint32_t>(f.number);
      std::memcpy(&p.score, &bits, sizeof bits);
    }
    if (f.tag == 3) {
      if (f.number < 1 || f.number > 6) fail("[tokenizer] ", where, ": piece '", p.text, "' is of unknown kind");
      p.kind = static_cast<PieceKind>(f.number);
    }
  }
  return p;
}

void read_trainer_spec(std::string_view bytes, const std::string& where, Vocabulary& v) {
  constexpr const char* kModelTypes[] = {"?", "unigram", "bpe", "word", "char"};
  WireReader r{bytes, where};
  uint64_t type = 1;  // the proto's default is unigram
  v.byte_fallback = false;
  for (WireField f; r.next(f);) {
    if (f.tag == 3) type = f.number;
    if (f.tag == 35) v.byte_fallback = f.number != 0;
    if (f.tag == 24 && f.number != 0)
      fail("[tokenizer] ", where, ": treat_whitespace_as_suffix is not supported; expected a model without it");
  }
  if (type != 2)
    fail("[tokenizer] ", where, ": expected a SentencePiece model of type bpe, got ",
         kModelTypes[type <= 4 ? type : 0]);
}

void read_normalizer_spec(std::string_view bytes, const std::string& where, Vocabulary& v) {
  WireReader r{bytes, where};
  std::string name = "unnamed";
  bool rules = false, remove_extra = true, escape = true;  // the proto's defaults
  v.add_dummy_prefix = true;
  for (WireField f; r.next(f);) {
    if (f.tag == 1) name = f.bytes;
    if (f.tag == 2) rules = !f.bytes.empty();
    if (f.tag == 3) v.add_dummy_prefix = f.number != 0;
    if (f.tag == 4) remove_extra = f.number != 0;
    if (f.tag == 5) escape = f.number != 0;
  }
  if (rules) fail("[tokenizer] ", where, ": expected the identity normaliser, got '", name, "'");
  if (remove_extra || !escape)
    fail("[tokenizer] ", where, ": expected remove_extra_whitespaces = false and escape_whitespaces = true");
}

// InternLM2 names its special tokens after the fact: they are user-defined pieces "[UNUSED_TOKEN_n]" of the model
// (chat/chat_format.md of InternLM2; the reward token from its reward models' configuration).
constexpr std::pair<std::string_view, std::string_view> kInternLm2Specials[] = {
    {"[UNUSED_TOKEN_130]", "<|reward|>"},       {"[UNUSED_TOKEN_141]", "<|plugin|>"},
    {"[UNUSED_TOKEN_142]", "<|interpreter|>"},  {"[UNUSED_TOKEN_143]", "<|action_end|>"},
    {"[UNUSED_TOKEN_144]", "<|action_start|>"}, {"[UNUSED_TOKEN_145]", "<|im_end|>"},
    {"[UNUSED_TOKEN_146]", "<|im_start|>"}};

void name_specials(Vocabulary& v) {
  for (size_t id = 0; id < v.pieces.size(); ++id) {
    const Piece& p = v.pieces[id];
    if (p.kind == PieceKind::kControl) v.specials.emplace_back(id, p.text);
    if (p.kind != PieceKind::kUserDefined) continue;
    for (const auto& [piece, name] : kInternLm2Specials)
      if (p.text == piece) v.specials.emplace_back(id, name);
  }
}

}  // namespace

Vocabulary parse_sentencepiece(std::string_view bytes, const std::string& where) {
  Vocabulary v;
  WireReader r{bytes, where};
  bool trainer = false, normalizer = false;
  for (WireField f; r.next(f);) {
    if (f.tag == 1) v.pieces.push_back(read_piece(f.bytes, where));
    if (f.tag == 2) read_trainer_spec(f.bytes, where, v), trainer = true;
    if (f.tag == 3) read_normalizer_spec(f.bytes, where, v), normalizer = true;
    if (v.pieces.size() > kMaxPieces) break;  // check_vocabulary says so
  }
  if (!trainer || !normalizer)
    fail("[tokenizer] ", where, ": not a SentencePiece model (no ", trainer ? "normaliser" : "trainer", " settings)");
  name_specials(v);
  check_vocabulary(v, where);
  return v;
}

}  // namespace puyu
