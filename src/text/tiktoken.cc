#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "text/tokenizer_json.h"

namespace puyu {
namespace {

std::string from_base64(std::string_view text, const std::string& where, int64_t line) {
  std::string out;
  uint32_t bits = 0;
  int have = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (char c : text) {
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+'             ? 62
                      : c == '/'             ? 63
                                             : -1;
    if (value < 0) fail("[tokenizer] ", where, ":", line, ": expected base64, got '", text.substr(0, 20), "'");
    bits = bits << 6 | static_cast<uint32_t>(value), have += 6;
    if (have >= 8) out += static_cast<char>(bits >> (have -= 8) & 255);
  }
  return out;
}

}  // namespace

Vocabulary parse_tiktoken_cl100k(std::string_view bytes, const std::string& where) {
  Vocabulary v;
  auto hf = std::make_shared<HfBpe>();
  hf->byte_level = hf->ignore_merges = true;
  hf->fingerprint = hash64(bytes);
  v.byte_fallback = false;
  hf->split.push_back({.kind = SplitStep::Kind::kPattern, .pattern = SplitPattern(kCl100kPattern)});
  std::string_view rest = bytes;
  for (int64_t line = 1; !rest.empty(); ++line) {
    const std::string_view text = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(text.size() + 1, rest.size()));
    const size_t space = text.find(' ');
    if (space == 0 || space == text.npos || text.substr(space + 1) != std::to_string(line - 1))
      fail("[tokenizer] ", where, ":", line, ": expected a piece in base64 and the rank ", line - 1);
    if (line > kMaxPieces) fail("[tokenizer] ", where, ": more than ", kMaxPieces, " pieces");
    v.pieces.push_back({from_base64(text.substr(0, space), where, line), 0, PieceKind::kNormal});
  }
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t id = 0; id < v.pieces.size(); ++id) ids.emplace(v.pieces[id].text, static_cast<int32_t>(id));
  for (int b = 0; b < 256; ++b)
    if (const char c = static_cast<char>(b); !ids.contains({&c, 1}))
      fail("[tokenizer] ", where, ": no piece for the byte ", b);
  // Any two neighbours that make a piece join, the lowest rank first.
  for (size_t id = 0; id < v.pieces.size(); ++id) {
    const std::string_view text = v.pieces[id].text;
    for (size_t cut = 1; cut < text.size(); ++cut)
      if (const auto l = ids.find(text.substr(0, cut)), r = ids.find(text.substr(cut));
          l != ids.end() && r != ids.end())
        hf->merges.push_back({l->second, r->second, static_cast<int32_t>(id), static_cast<uint32_t>(id)});
  }
  const std::pair<int32_t, const char*> specials[] = {{100257, "<|endoftext|>"},
                                                      {100258, "<|fim_prefix|>"},
                                                      {100259, "<|fim_middle|>"},
                                                      {100260, "<|fim_suffix|>"},
                                                      {100276, "<|endofprompt|>"}};
  for (auto [id, text] : specials) add_token({id, text, true}, *hf, v);
  v.eos = 100257;
  v.hf = std::move(hf);
  return v;
}

}  // namespace puyu
