#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_impl.h"
#include "text/tokenizer_json.h"

namespace puyu {
namespace {

constexpr size_t kBatchBytes = 64 << 10;  // encode_batch: texts that a thread takes at a time

std::string find_model(const std::string& path) {
  if (!is_directory(path)) return path;
  for (const char* name : {"/tokenizer.puyu", "/tokenizer.json", "/tokenizer.model"})
    if (file_exists(path + name)) return path + name;
  fail("[tokenizer] ", path, ": expected tokenizer.puyu, tokenizer.json or tokenizer.model in this folder, found none");
}

// How many bytes to take so that none belongs to a character that may still grow.
size_t whole_characters(std::string_view bytes) {
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    auto b = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((b & 0xC0) == 0x80) continue;
    size_t need = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : b >= 0xC0 ? 2 : 1;
    return need > back ? bytes.size() - back : bytes.size();
  }
  return bytes.size();
}

Vocabulary parse(std::string_view bytes, const std::string& file) {
  if (is_vocabulary_file(bytes)) return parse_vocabulary(bytes, file);
  if (file.ends_with(".json")) return parse_tokenizer_json(bytes, file);
  if (file.ends_with("cl100k_base.tiktoken")) return parse_tiktoken_cl100k(bytes, file);
  return parse_sentencepiece(bytes, file);
}

}  // namespace

Tokenizer::Impl::Impl(Vocabulary v) : vocabulary(std::move(v)) {
  if (vocabulary.hf)
    hf.emplace(vocabulary);
  else
    encoder.emplace(vocabulary);
  fingerprint = vocabulary.hf ? vocabulary.hf->fingerprint : hash64(serialize_vocabulary(vocabulary));
  special_ids.resize(vocabulary.pieces.size());
  for (const auto& [id, name] : vocabulary.specials)
    specials[name] = id, special_ids[id] = true, special_starts += name[0];
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    const Piece& p = vocabulary.pieces[id];
    if (p.kind == PieceKind::kByte)
      bytes.emplace_back(1, static_cast<char>(byte_of_piece(p.text)));
    else if (p.kind == PieceKind::kUnknown && !hf)
      unknown = static_cast<int32_t>(id), bytes.emplace_back(" \u2047 ");  // as SentencePiece shows <unk>
    else if (hf && (vocabulary.hf->byte_level || p.kind == PieceKind::kUserDefined))
      bytes.push_back(p.text);
    else
      bytes.push_back(with_spaces(p.text));
  }
  for (const auto& [id, name] : vocabulary.specials) bytes[id] = name;
}

Tokenizer make_tokenizer(Vocabulary v) { return Tokenizer(std::make_shared<const Tokenizer::Impl>(std::move(v))); }

Tokenizer Tokenizer::load(const std::string& path) {
  const std::string file = find_model(path), config = path + "/tokenizer_config.json";
  MappedFile map(file);
  Vocabulary v = parse(map.bytes(), file);
  if (is_directory(path) && file_exists(config) && !is_vocabulary_file(map.bytes()))
    apply_tokenizer_config(Json::parse(read_file(config), config), config, v);
  if (const std::string jinja = path + "/chat_template.jinja"; file_exists(jinja)) v.chat_template = read_file(jinja);
  return make_tokenizer(std::move(v));
}

void save_tokenizer(const std::string& from, const std::string& folder) {
  if (const Tokenizer t = Tokenizer::load(from); !t.vocabulary().hf) return t.save(folder + "/tokenizer.puyu");
  const std::string json = find_model(from), config = from + "/tokenizer_config.json";
  write_file(folder + "/tokenizer.json", read_file(json));
  if (is_directory(from) && file_exists(config)) write_file(folder + "/tokenizer_config.json", read_file(config));
}

void Tokenizer::Impl::encode(std::string_view text, bool spell_specials, std::vector<int32_t>& out) const {
  if (hf)
    hf->encode(text, false, out);
  else
    encoder->encode(text, spell_specials, out);
}

Tokenizer Tokenizer::from(Vocabulary v) { return make_tokenizer(std::move(v)); }
const Vocabulary& Tokenizer::vocabulary() const { return impl_->vocabulary; }

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  impl_->encode(text, false, ids);
  return ids;
}

std::vector<int32_t> Tokenizer::encode_untrusted(std::string_view text) const {
  std::vector<int32_t> ids;
  impl_->encode(text, true, ids);
  return ids;
}

std::vector<int32_t> Tokenizer::encode_with_specials(std::string_view text) const {
  std::vector<int32_t> ids;
  if (impl_->hf) return impl_->hf->encode(text, true, ids), ids;
  size_t start = 0;
  for (size_t i = 0; (i = text.find_first_of(impl_->special_starts, i)) != text.npos;) {
    const std::pair<const std::string, int32_t>* found = nullptr;  // the longest that begins here
    for (const auto& s : impl_->specials)
      if (text.substr(i).starts_with(s.first) && (!found || s.first.size() > found->first.size())) found = &s;
    if (!found) {
      ++i;
      continue;
    }
    impl_->encode(text.substr(start, i - start), false, ids);
    ids.push_back(found->second);
    start = i += found->first.size();
  }
  impl_->encode(text.substr(start), false, ids);
  return ids;
}

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(std::span<const std::string_view> texts) const {
  std::vector<std::vector<int32_t>> out(texts.size());
  // Several texts at a time, so that short ones are worth a thread's while.
  std::vector<size_t> cuts = {0};
  for (size_t i = 0, bytes = 0; i < texts.size(); ++i)
    if ((bytes += texts[i].size() + 64) >= kBatchBytes || i + 1 == texts.size()) cuts.push_back(i + 1), bytes = 0;
  parallel_for(static_cast<int64_t>(cuts.size()) - 1, [&](int64_t k) {
    for (size_t i = cuts[k]; i < cuts[k + 1]; ++i) impl_->encode(texts[i], false, out[i]);
  });
  return out;
}

std::vector<int32_t> Tokenizer::encode_with_spans(std::string_view text, std::vector<TokenSpan>& spans) const {
  std::vector<int32_t> ids;
  spans.clear();
  if (!impl_->hf) return impl_->encoder->encode(text, false, ids, spans), ids;
  ids = encode(text);
  size_t at = 0;
  for (int32_t id : ids) {
    const std::string& piece = impl_->bytes[id];
    if (text.substr(at, piece.size()) != piece)
      fail("[tokenizer] this tokenizer.json changes the text before it encodes it, so its ids have no places in it");
    spans.push_back({at, at + piece.size()});
    at += piece.size();
  }
  if (at != text.size())
    fail("[tokenizer] this tokenizer.json leaves parts of the text out, so its ids have no places in it");
  return ids;
}

void encode_part(const Tokenizer& t, std::string_view text, bool first, std::vector<int32_t>& ids) {
  if (t.impl().hf)
    t.impl().hf->encode(text, false, ids, first);
  else
    t.impl().encode(text, true, ids);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool keep_specials, bool continues) const {
  std::string out;
  bool first = impl_->vocabulary.add_dummy_prefix && !continues;
  for (int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) fail("[tokenizer] id ", id, " is outside the vocabulary of ", vocab_size());
    if (impl_->special_ids[id]) {
      if (keep_specials) out += impl_->bytes[id];
      if (keep_specials && impl_->hf) first = false;  // its space is not at the beginning: tokenizers keeps it
      continue;
    }
    std::string_view piece = impl_->bytes[id];
    if (std::exchange(first, false) && piece.starts_with(' ')) piece.remove_prefix(1);
    out += piece;
  }
  return out;
}

std::string_view Tokenizer::piece_bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) fail("[tokenizer] id ", id, " is outside the vocabulary of ", vocab_size());
  const PieceKind kind = impl_->vocabulary.pieces[id].kind;
  const bool text = kind == PieceKind::kNormal || kind == PieceKind::kByte || kind == PieceKind::kUserDefined;
  return text && !impl_->special_ids[id] ? std::string_view(impl_->bytes[id]) : std::string_view();
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->vocabulary.pieces.size()); }
int32_t Tokenizer::bos() const { return vocabulary().bos >= 0 ? vocabulary().bos : special("<s>"); }
int32_t Tokenizer::eos() const { return vocabulary().eos >= 0 ? vocabulary().eos : special("</s>"); }
bool Tokenizer::has_bos() const { return vocabulary().bos >= 0 || is_special("<s>"); }
bool Tokenizer::has_eos() const { return vocabulary().eos >= 0 || is_special("</s>"); }

std::vector<int32_t> Tokenizer::prefix() const {
  const Vocabulary& v = vocabulary();
  if (v.hf && !v.add_bos) return v.hf->prefix;
  return v.add_bos.value_or(true) ? std::vector{bos()} : std::vector<int32_t>();
}

int32_t Tokenizer::special(std::string_view text) const {
  if (auto it = impl_->specials.find(text); it != impl_->specials.end()) return it->second;
  std::string known;
  for (const auto& s : impl_->specials) known += (known.empty() ? "" : ", ") + s.first;
  fail("[tokenizer] no special token '", text, "' in this vocabulary; it has ", known.empty() ? "none" : known);
}

bool Tokenizer::is_special(int32_t id) const { return id >= 0 && id < vocab_size() && impl_->special_ids[id]; }
bool Tokenizer::is_special(std::string_view text) const { return impl_->specials.contains(text); }
uint64_t Tokenizer::fingerprint() const { return impl_->fingerprint; }
void Tokenizer::save(const std::string& path) const { write_vocabulary(impl_->vocabulary, path); }

std::string StreamDecoder::push(int32_t id) {
  pending_ += tokenizer_.decode({&id, 1}, false, continues_);
  continues_ |= !tokenizer_.is_special(id);  // the first piece alone bears the dummy prefix
  const size_t whole = whole_characters(pending_);
  std::string out = repair_utf8(std::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return out;
}

std::string StreamDecoder::finish() { return repair_utf8(std::exchange(pending_, {})); }

StreamEncoder::StreamEncoder(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}

std::vector<int32_t> StreamEncoder::push(std::string_view part) {
  raw_ += part;
  return tokenizer_.impl().hf ? std::vector<int32_t>() : take(false);
}

std::vector<int32_t> StreamEncoder::finish() {
  if (tokenizer_.impl().hf) return tokenizer_.encode(std::exchange(raw_, {}));
  return take(true);
}

std::vector<int32_t> StreamEncoder::take(bool last) {
  const BpeEncoder& encoder = *tokenizer_.impl().encoder;
  const Vocabulary& v = tokenizer_.vocabulary();
  const size_t whole = last ? raw_.size() : whole_characters(raw_);
  if (!begun_ && !raw_.empty()) begun_ = true, text_ = v.add_dummy_prefix ? " " : "";
  text_ += encoder.prepared(std::string_view(raw_).substr(0, whole));
  raw_.erase(0, whole);
  std::vector<int32_t> ids;
  if (!last && text_.size() < next_try_) return ids;
  if (after_unknown_) ids.push_back(tokenizer_.impl().unknown);  // what follows may belong to it
  const size_t done = encoder.encode_begin(text_, last, ids);
  text_.erase(0, done);
  next_try_ = done ? 0 : text_.size() * 2;
  if (after_unknown_) ids.erase(ids.begin());
  if (!ids.empty()) after_unknown_ = !v.byte_fallback && ids.back() == tokenizer_.impl().unknown;
  return ids;
}

}  // namespace puyu
