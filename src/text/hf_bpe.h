// BPE as Hugging Face's tokenizers and tiktoken do it, where it differs from SentencePiece's: joins are a ranked list
// of pairs, text is first normalised and cut into words by patterns, and pieces are either bytes ("byte-level": GPT-2,
// LLaMA 3, Qwen) or characters with U+2581 for a space (LLaMA 2, Mistral). Read from tokenizer.json (tokenizer_json.h),
// from tiktoken's files, or from GGUF. Immutable after construction.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/byte_cuts.h"
#include "text/joins.h"
#include "text/pattern.h"
#include "text/vocabulary.h"

namespace puyu {

struct NormalizeStep {
  enum class Kind { kNfc, kPrepend, kReplace } kind;
  std::string from, to;  // kReplace; kPrepend: to
};
struct SplitStep {
  enum class Kind { kPattern, kPrefixSpace, kMetaspace } kind;
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext } behavior = Behavior::kIsolated;
  bool invert = false;
  std::optional<SplitPattern> pattern = {};
  enum class Prefix { kNever, kFirst, kAlways } prefix = Prefix::kNever;  // kMetaspace: when U+2581 is put before
};
struct AddedToken {
  int32_t id = -1;
  std::string text;
  bool special = false, lstrip = false, rstrip = false, single_word = false, normalized = false;
};
struct Merge {
  int32_t left = 0, right = 0, made = 0;
  uint32_t rank = 0;
};

// What a Vocabulary (vocabulary.h) holds besides its pieces when it is of this kind. Texts of byte-level pieces are
// their bytes.
struct HfBpe {
  std::vector<NormalizeStep> normalize;
  std::vector<SplitStep> split;
  std::vector<AddedToken> added;
  std::vector<Merge> merges;
  bool byte_level = false;      // pieces are bytes
  bool ignore_merges = false;   // a word that is a piece is that piece
  bool fuse_unknown = false;    // a run of unknown characters is one <unk>
  int32_t unknown = -1;         // -1: unknown characters vanish, as in tokenizers
  std::vector<int32_t> prefix;  // of every text: the post-processor's template before $A
  uint64_t fingerprint = 0;
};

extern const char* const kGpt2Pattern;  // of ByteLevel with use_regex
extern const char* const kCl100kPattern;
// GPT-2's letters for bytes: printable bytes are themselves, the others U+0100 and up.
std::string bytes_to_letters(std::string_view bytes);
bool letters_to_bytes(std::string_view letters, std::string& bytes);  // false: a character is no such letter

class HfEncoder {
 public:
  explicit HfEncoder(const Vocabulary& v);  // keeps a reference
  // Appends the ids of text. Added tokens that are special are recognised only with_specials. first: nothing stands
  // before the text.
  void encode(std::string_view text, bool with_specials, std::vector<int32_t>& out, bool first = true) const;

 private:
  // Added tokens by their first byte, the longest first.
  struct Matcher {
    std::array<std::vector<const AddedToken*>, 256> by_first;
    std::vector<AddedToken> tokens;
    bool empty() const { return tokens.empty(); }
    void add(AddedToken t) { tokens.push_back(std::move(t)); }
    void build();
    const AddedToken* at(std::string_view text, bool with_specials) const;
  };
  using Part = std::function<void(std::string_view part, const AddedToken* token, bool first)>;
  static void each_part(const Matcher& m, std::string_view text, bool with_specials, const Part& part);
  std::string normalized(std::string_view text) const;
  void words(size_t step, std::string_view text, bool first, std::vector<int32_t>& out) const;
  void word(std::string_view text, std::vector<int32_t>& out) const;
  void chunk(std::string_view text, std::vector<int32_t>& out) const;
  void byte_word(std::string_view text, std::vector<int32_t>& out) const;
  void join(std::string_view text, std::vector<int32_t>& out) const;
  void symbols_of(std::string_view text, std::vector<int32_t>& out) const;
  Join find(int32_t left, int32_t right) const;
  void add_merges();
  void add_wholes();

  const Vocabulary& v_;
  const HfBpe& hf_;
  Matcher raw_, normalized_;
  struct Entry {
    uint64_t key;
    Join join;
  };
  std::vector<Entry> merges_;                             // open addressing
  std::array<int32_t, 256> byte_ids_{};                   // of one byte; -1: none
  std::unordered_map<char32_t, int32_t> characters_;      // pieces of one character
  std::unordered_map<std::string_view, int32_t> wholes_;  // pieces that encode to themselves
  ByteCuts cuts_;                                         // of byte-level pieces
  uint32_t words_owner_, parts_owner_;                    // in the thread's cache (chunk_cache.h)
  bool cut_at_marks_ = false;  // no piece has a U+2581 after another character, so text falls apart there
};

}  // namespace puyu
