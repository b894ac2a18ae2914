// The tokenizer: BPE over characters with byte fallback, as SentencePiece's, so InternLM2's own model gives exactly
// SentencePiece's ids (no pre-tokenizer; best-scored merge first, leftmost on ties); or as Hugging Face's tokenizers do
// it (hf_bpe.h). Special tokens such as
// <|im_start|> are a layer above: plain text never encodes to them. Immutable after loading, safe to share by threads.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace puyu {

struct Vocabulary;

struct TokenSpan {  // of bytes
  size_t begin = 0, end = 0;
  bool operator==(const TokenSpan&) const = default;
};

class Tokenizer {
 public:
  // A puyu tokenizer file, a SentencePiece .model, a Hugging Face tokenizer.json, cl100k_base.tiktoken, or a folder
  // that holds one of them (tokenizer.puyu, tokenizer.json or tokenizer.model, in this order), with
  // tokenizer_config.json.
  static Tokenizer load(const std::string& path);

  // Ids of ordinary text (any bytes; what no piece covers becomes byte tokens). Texts of special tokens are split.
  std::vector<int32_t> encode(std::string_view text) const;
  // As encode, but never the id of a special token, whatever the text: InternLM2's model holds its specials as pieces
  // "[UNUSED_TOKEN_146]", which encode() gives as SentencePiece does. For text from users.
  std::vector<int32_t> encode_untrusted(std::string_view text) const;
  // As encode, but the literal texts of special tokens become their ids: only for trusted text.
  std::vector<int32_t> encode_with_specials(std::string_view text) const;
  // encode() of each text, by all threads.
  std::vector<std::vector<int32_t>> encode_batch(std::span<const std::string_view> texts) const;
  // encode() with the bytes of `text` that each id stands for, in order and without gaps; where U+FFFD stands for a
  // broken byte, or U+2581 in three byte pieces for a space, some are empty. Error for a tokenizer.json that normalises
  // or adds spaces.
  std::vector<int32_t> encode_with_spans(std::string_view text, std::vector<TokenSpan>& spans) const;
  // The bytes of the pieces, joined: may end inside a character when the ids do. Special tokens give their text only
  // with keep_specials. Ids outside the vocabulary are an Error. A dummy prefix (LLaMA) is taken off again, unless the
  // text goes on another one: `continues`.
  std::string decode(std::span<const int32_t> ids, bool keep_specials = false, bool continues = false) const;

  // What the id adds to a text; empty for a special token and for what never stands in a text (<unk>, unused ids).
  std::string_view piece_bytes(int32_t id) const;

  int32_t vocab_size() const;
  int32_t bos() const;  // <s>, or what the folder names; Error when there is none
  int32_t eos() const;  // </s>
  bool has_bos() const;
  bool has_eos() const;
  // What stands before every text that a model of this tokenizer reads: <s>, or nothing (Qwen).
  std::vector<int32_t> prefix() const;
  // The id of a special token by its text, "<|im_end|>"; Error when this tokenizer has none of that name.
  int32_t special(std::string_view text) const;
  bool is_special(int32_t id) const;
  bool is_special(std::string_view text) const;
  uint64_t fingerprint() const;  // hash of pieces, scores, kinds and specials; shards and checkpoints record it

  static Tokenizer from(Vocabulary v);
  const Vocabulary& vocabulary() const;

  void save(const std::string& path) const;  // our format (docs/formats.md), atomic; not for a tokenizer.json

  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

// Puts the tokenizer at `from` (as for load) into a model's folder: in our format, or a tokenizer.json with what stands
// beside it.
void save_tokenizer(const std::string& from, const std::string& folder);

// encode() of a text that comes in parts, cut anywhere: together the same ids, each as soon as no later text can change
// it. A tokenizer.json's patterns look ahead without bound: there all ids come at the end.
class StreamEncoder {
 public:
  explicit StreamEncoder(Tokenizer tokenizer);
  std::vector<int32_t> push(std::string_view part);
  std::vector<int32_t> finish();

 private:
  std::vector<int32_t> take(bool last);
  Tokenizer tokenizer_;
  std::string raw_;      // may end inside a character
  std::string text_;     // as the model reads it, not yet encoded
  size_t next_try_ = 0;  // of text_: to look at a long chunk again and again would be quadratic
  bool after_unknown_ = false;
  bool begun_ = false;
};

// Text from ids one by one, together the same as decode() gives: holds back bytes until they form whole characters, so
// a stream never shows half of one.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool continues = false)
      : tokenizer_(std::move(tokenizer)), continues_(continues) {}
  std::string push(int32_t id);  // what can be shown now
  std::string finish();          // the rest; incomplete bytes become U+FFFD
 private:
  Tokenizer tokenizer_;
  bool continues_;
  std::string pending_;
};

}  // namespace puyu
