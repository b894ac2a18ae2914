#include "text/vocabulary.h"

#include <cmath>
#include <cstring>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace puyu {
namespace {

constexpr std::string_view kMagic = "PUYUBPE1";
constexpr uint64_t kVersion = 1;  // the header: magic, u64 version, u64 XXH3 of the body
enum Switch : uint32_t { kByteFallback = 1, kDummyPrefix = 2, kLossless = 4 };

template <class T>
void put(std::string& out, T v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}
void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<uint32_t>(text.size()));
  out += text;
}

struct Cursor {
  std::string_view bytes;
  const std::string& where;
  std::string_view take(size_t n) {
    if (n > bytes.size()) fail("[tokenizer] ", where, ": the file ends early; it is truncated, make it again");
    std::string_view out = bytes.substr(0, n);
    bytes.remove_prefix(n);
    return out;
  }
  template <class T>
  T number() {
    T v;
    std::memcpy(&v, take(sizeof v).data(), sizeof v);
    return v;
  }
  std::string text() { return std::string(take(number<uint32_t>())); }
};

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t at; (at = text.find(from)) != text.npos; text.remove_prefix(at + from.size()))
    out.append(text.substr(0, at)).append(to);
  return out.append(text);
}

}  // namespace

int byte_of_piece(std::string_view text) {
  auto hex = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>' || hex(text[3]) < 0 || hex(text[4]) < 0) return -1;
  return hex(text[3]) * 16 + hex(text[4]);
}
std::string byte_piece(int byte) {
  constexpr char kHex[] = "0123456789ABCDEF";
  return cat("<0x", kHex[byte >> 4], kHex[byte & 15], ">");
}
std::string with_spaces(std::string text) { return replace_all(text, kSpaceMark, " "); }
std::string with_space_marks(std::string_view text) { return replace_all(text, " ", kSpaceMark); }

void check_vocabulary(const Vocabulary& v, const std::string& where) {
  if (v.pieces.empty() || v.pieces.size() > kMaxPieces)
    fail("[tokenizer] ", where, ": expected 1 to ", kMaxPieces, " pieces, got ", v.pieces.size());
  std::unordered_set<std::string_view> seen;
  std::unordered_set<int> bytes;
  int unknowns = 0;
  for (size_t id = 0; id < v.pieces.size(); ++id) {
    const Piece& p = v.pieces[id];
    if (p.text.empty()) fail("[tokenizer] ", where, ": piece ", id, " is empty");
    if (!seen.insert(p.text).second) fail("[tokenizer] ", where, ": piece ", id, " '", p.text, "' occurs twice");
    if (!std::isfinite(p.score)) fail("[tokenizer] ", where, ": piece ", id, " has a score that is not a number");
    if (p.kind < PieceKind::kNormal || p.kind > PieceKind::kByte)
      fail("[tokenizer] ", where, ": piece ", id, " is of unknown kind ", static_cast<int>(p.kind));
    if (p.kind == PieceKind::kUnused)
      fail("[tokenizer] ", where, ": piece ", id, " is of kind UNUSED, which puyu does not support");
    if (p.kind == PieceKind::kByte && !bytes.insert(byte_of_piece(p.text)).second)
      fail("[tokenizer] ", where, ": byte piece ", id, " '", p.text, "' is wrong or repeated");
    unknowns += p.kind == PieceKind::kUnknown;
  }
  if (unknowns != 1) fail("[tokenizer] ", where, ": expected one piece of kind UNKNOWN, got ", unknowns);
  if (bytes.contains(-1)) fail("[tokenizer] ", where, ": a byte piece is not of the form <0x00>");
  if (v.byte_fallback && bytes.size() != 256)
    fail("[tokenizer] ", where, ": byte fallback needs 256 byte pieces, got ", bytes.size());
  for (const auto& [id, name] : v.specials)
    if (id < 0 || static_cast<size_t>(id) >= v.pieces.size() || name.empty())
      fail("[tokenizer] ", where, ": special token '", name, "' has no valid id");
}

std::string serialize_vocabulary(const Vocabulary& v) {
  std::string out;
  put(out, (v.byte_fallback ? kByteFallback : 0u) | (v.add_dummy_prefix ? kDummyPrefix : 0u) |
               (v.lossless ? kLossless : 0u));
  put(out, static_cast<uint32_t>(v.pieces.size()));
  for (const Piece& p : v.pieces) {
    put(out, p.kind);
    put(out, p.score);
    put_text(out, p.text);
  }
  put(out, static_cast<uint32_t>(v.specials.size()));
  for (const auto& [id, name] : v.specials) {
    put(out, id);
    put_text(out, name);
  }
  return out;
}

void write_vocabulary(const Vocabulary& v, const std::string& path) {
  if (v.hf)
    fail("[tokenizer] ", path,
         ": a tokenizer.json cannot be written in puyu's own format; copy its file into the folder");
  std::string body = serialize_vocabulary(v), header(kMagic);
  put(header, kVersion);
  put(header, hash64(body));
  write_file(path, header + body);
}

bool is_vocabulary_file(std::string_view bytes) { return bytes.starts_with(kMagic); }

Vocabulary parse_vocabulary(std::string_view bytes, const std::string& where) {
  Cursor c{bytes, where};
  if (c.take(kMagic.size()) != kMagic) fail("[tokenizer] ", where, ": not a puyu tokenizer file (wrong magic)");
  if (auto version = c.number<uint64_t>(); version != kVersion)
    fail("[tokenizer] ", where, ": version ", version, ", this program reads version ", kVersion);
  if (c.number<uint64_t>() != hash64(c.bytes))
    fail("[tokenizer] ", where, ": checksum mismatch; the file is damaged, make it again with 'puyu tokenizer train'");
  Vocabulary v;
  auto switches = c.number<uint32_t>();
  v.byte_fallback = switches & kByteFallback;
  v.add_dummy_prefix = switches & kDummyPrefix;
  v.lossless = switches & kLossless;
  for (auto n = c.number<uint32_t>(); n > 0; --n) {
    auto kind = c.number<PieceKind>();
    auto score = c.number<float>();
    v.pieces.push_back({c.text(), score, kind});
  }
  for (auto n = c.number<uint32_t>(); n > 0; --n) {
    auto id = c.number<int32_t>();
    v.specials.emplace_back(id, c.text());
  }
  if (!c.bytes.empty()) fail("[tokenizer] ", where, ": ", c.bytes.size(), " bytes too many at the end");
  check_vocabulary(v, where);
  return v;
}

}  // namespace puyu
