#include "data/tokenizer_report.h"

#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "base/error.h"
#include "base/utf8.h"
#include "text/hf_bpe.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace puyu {
namespace {

bool is_byte_piece(const Tokenizer& t, int32_t id) {
  const Piece& p = t.vocabulary().pieces[static_cast<size_t>(id)];
  if (p.kind == PieceKind::kByte) return true;
  return t.vocabulary().hf && t.vocabulary().hf->byte_level && p.text.size() == 1 && (p.text[0] & 0x80);
}

int64_t count_characters(std::string_view s) {
  return std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

// "hello\n" as it can stand in a line.
std::string shown(std::string_view text) { return Json(repair_utf8(text)).dump(); }

std::string line(const char* format, auto... values) {
  char out[256];
  std::snprintf(out, sizeof out, format, values...);
  return out;
}

}  // namespace

double TokenUse::bytes_per_token() const {
  return static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(tokens, 1));
}
double TokenUse::coverage() const {
  return 1 - static_cast<double>(spelt) / static_cast<double>(std::max<int64_t>(characters, 1));
}

std::string piece_class(const Tokenizer& t, int32_t id) {
  const PieceKind kind = t.vocabulary().pieces[static_cast<size_t>(id)].kind;
  if (t.is_special(id) || kind == PieceKind::kControl || kind == PieceKind::kUnknown) return "special";
  if (is_byte_piece(t, id)) return "bytes";
  const std::string_view text = t.piece_bytes(id);
  bool ascii = true, han = true, digits = true, spaces = true;
  char32_t c = 0;
  for (size_t i = 0, n = 0; i < text.size(); i += n) {
    n = decode_utf8(text, i, c);
    if (n == 0) return "bytes";  // a part of a character (byte-level)
    ascii &= c < 0x80, han &= is_han(c), digits &= c >= '0' && c <= '9', spaces &= is_white_space(c);
  }
  if (spaces) return "spaces";
  if (digits) return "digits";
  if (ascii) return "ascii";
  if (han) return "han";
  return std::any_of(text.begin(), text.end(), [](char b) { return (b & 0x80) == 0; }) ? "mixed" : "other";
}

TokenizerReport::TokenizerReport(Tokenizer tokenizer)
    : tokenizer_(std::move(tokenizer)), counts_(static_cast<size_t>(tokenizer_.vocab_size())) {}

void TokenizerReport::add(std::span<const std::string> texts, std::span<const std::string> languages) {
  CHECK(texts.size() == languages.size());
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const std::vector<std::vector<int32_t>> ids = tokenizer_.encode_batch(views);
  for (size_t i = 0; i < texts.size(); ++i) {
    TokenUse& u = uses_[languages[i]];
    ++u.documents;
    u.bytes += static_cast<int64_t>(texts[i].size());
    u.characters += count_characters(texts[i]);
    u.tokens += static_cast<int64_t>(ids[i].size());
    for (int32_t id : ids[i]) {
      ++counts_[static_cast<size_t>(id)];
      const std::string_view piece = tokenizer_.piece_bytes(id);
      if (piece.empty() || is_byte_piece(tokenizer_, id)) u.spelt += piece.empty() || (piece[0] & 0xC0) != 0x80;
    }
  }
}

std::map<std::string, ScriptPieces> TokenizerReport::pieces() const {
  std::map<std::string, ScriptPieces> out;
  for (int32_t id = 0; id < tokenizer_.vocab_size(); ++id) {
    ScriptPieces& s = out[piece_class(tokenizer_, id)];
    ++s.pieces, s.unused += counts_[static_cast<size_t>(id)] == 0;
    const std::string_view text = tokenizer_.piece_bytes(id);
    if (static_cast<int64_t>(text.size()) > s.longest)
      s.longest = static_cast<int64_t>(text.size()), s.longest_text = text;
  }
  return out;
}

Json TokenizerReport::json() const {
  Json j = Json::object(), languages = Json::object(), kinds = Json::object();
  for (const auto& [name, u] : uses_)
    languages[name] = Json::Object{{"documents", u.documents},
                                   {"bytes", u.bytes},
                                   {"characters", u.characters},
                                   {"tokens", u.tokens},
                                   {"bytes_per_token", u.bytes_per_token()},
                                   {"coverage", u.coverage()}};
  for (const auto& [name, s] : pieces())
    kinds[name] = Json::Object{{"pieces", s.pieces},
                               {"unused", s.unused},
                               {"longest", s.longest},
                               {"longest_text", repair_utf8(s.longest_text)}};
  j["vocab_size"] = static_cast<int64_t>(tokenizer_.vocab_size());
  j["languages"] = std::move(languages), j["pieces"] = std::move(kinds);
  return j;
}

std::string TokenizerReport::text(const std::string& name) const {
  std::string out = cat(name, ": ", tokenizer_.vocab_size(), " pieces\n");
  out +=
      line("  %-12s %10s %12s %12s %12s %10s\n", "language", "documents", "bytes", "tokens", "bytes/token", "coverage");
  for (const auto& [language, u] : uses_)
    out += line("  %-12s %10lld %12lld %12lld %12.3f %9.4f%%\n", language.c_str(), static_cast<long long>(u.documents),
                static_cast<long long>(u.bytes), static_cast<long long>(u.tokens), u.bytes_per_token(),
                100 * u.coverage());
  out += line("  %-12s %10s %10s   %s\n", "pieces", "number", "unused", "longest");
  for (const auto& [kind, s] : pieces()) {
    std::string longest = s.longest ? cat(s.longest, " B ", shown(s.longest_text)) : "";
    if (longest.size() > 80) longest = cat(utf8_prefix(longest, 76), " ...");
    out += line("  %-12s %10lld %10lld   ", kind.c_str(), static_cast<long long>(s.pieces),
                static_cast<long long>(s.unused)) +
           longest + "\n";
  }
  return out;
}

}  // namespace puyu
