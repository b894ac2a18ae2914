// What a tokenizer is made of: its pieces, their scores and kinds, the names of its special tokens, and a few switches.
// Read from our own file (docs/formats.md, "tokenizer") or from a SentencePiece model (sentencepiece.h). Plain data;
// Tokenizer and BpeEncoder build their tables from it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace puyu {

enum class PieceKind : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct Piece {
  std::string text;  // a space is written U+2581, as SentencePiece does; a byte piece is "<0x0A>"
  float score = 0;
  PieceKind kind = PieceKind::kNormal;
};

struct HfBpe;  // hf_bpe.h

struct Vocabulary {
  std::vector<Piece> pieces;
  std::vector<std::pair<int32_t, std::string>> specials;  // id and name, "<|im_start|>"; sorted by id
  bool byte_fallback = true;      // characters that no piece covers become byte pieces, else <unk>
  bool add_dummy_prefix = false;  // text is encoded as if a space stood before it
  // Ours: any bytes come back as they were. SentencePiece's models instead read broken UTF-8 as U+FFFD and U+2581 as a
  // space.
  bool lossless = false;
  // What a folder says beside the tokenizer's own file (tokenizer_config.json). -1: by name, <s> and </s>.
  int32_t bos = -1, eos = -1;
  std::optional<bool> add_bos;  // absent: as the tokenizer's own file has it
  std::string chat_template;    // Jinja, as it stands there
  // Set for tokenizer.json and tiktoken: merges and steps that the fields above do not describe.
  std::shared_ptr<const HfBpe> hf = nullptr;
};

// The names of InternLM2's special tokens, in the order of their ids: every vocabulary we train ends in these.
constexpr std::string_view kChatSpecials[] = {"<|reward|>",       "<|plugin|>", "<|interpreter|>", "<|action_end|>",
                                              "<|action_start|>", "<|im_end|>", "<|im_start|>"};

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581
constexpr int kMaxPieces = (1 << 20) - 1;                // the encoder packs ids into 20 bits

// The byte that a piece "<0x0A>" stands for, or -1.
int byte_of_piece(std::string_view text);
std::string byte_piece(int byte);
std::string with_spaces(std::string text);            // U+2581 becomes a space
std::string with_space_marks(std::string_view text);  // a space becomes U+2581

// Ids in range, no empty or repeated piece, finite scores, exactly one <unk>, all 256 bytes when they are needed.
// Error otherwise.
void check_vocabulary(const Vocabulary& v, const std::string& where);

std::string serialize_vocabulary(const Vocabulary& v);  // the body of our file; its XXH3 is the fingerprint
void write_vocabulary(const Vocabulary& v, const std::string& path);
bool is_vocabulary_file(std::string_view bytes);
Vocabulary parse_vocabulary(std::string_view bytes, const std::string& where);

}  // namespace puyu
