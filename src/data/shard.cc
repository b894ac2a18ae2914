#include "data/shard.h"

#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"

namespace puyu {
namespace {

constexpr char kMagic[8] = {'P', 'U', 'Y', 'U', 'T', 'O', 'K', '1'};
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t token_bytes;
  uint64_t tokens, documents, fingerprint;
  uint64_t checksum;  // XXH3 of all bytes after the header
  uint64_t reserved[2];
};
static_assert(sizeof(Header) == 64);

// The tables start 8-byte aligned.
uint64_t padded(uint64_t bytes) { return (bytes + 7) / 8 * 8; }

}  // namespace

struct ShardWriter::State {
  AtomicFile file;
  Hasher hash;
  Header header{};
  std::vector<uint64_t> ends;
  std::vector<uint16_t> sources;
  std::string buffer;
  explicit State(const std::string& path) : file(path) {}
  void put(std::string_view bytes) {
    hash.update(bytes);
    file.write(bytes);
  }
};

ShardWriter::ShardWriter(const std::string& path, int token_bytes, uint64_t fingerprint)
    : s_(std::make_unique<State>(path)) {
  CHECK(token_bytes == 2 || token_bytes == 4);
  std::memcpy(s_->header.magic, kMagic, 8);
  s_->header.version = 1;
  s_->header.token_bytes = static_cast<uint32_t>(token_bytes);
  s_->header.fingerprint = fingerprint;
  s_->file.write({reinterpret_cast<const char*>(&s_->header), sizeof(Header)});
}
ShardWriter::~ShardWriter() = default;

void ShardWriter::add(const int32_t* ids, int64_t n, uint16_t source) {
  if (n == 0) return;
  std::string& b = s_->buffer;
  b.clear();
  for (int64_t i = 0; i < n; ++i) {
    CHECK(ids[i] >= 0 && (s_->header.token_bytes == 4 || ids[i] < 65536), "token id does not fit the shard");
    b.append(reinterpret_cast<const char*>(&ids[i]), s_->header.token_bytes);
  }
  s_->put(b);
  s_->header.tokens += static_cast<uint64_t>(n);
  s_->ends.push_back(s_->header.tokens);
  s_->sources.push_back(source);
}

void ShardWriter::commit() {
  Header& h = s_->header;
  h.documents = s_->ends.size();
  s_->put(std::string(padded(h.tokens * h.token_bytes) - h.tokens * h.token_bytes, '\0'));
  s_->put({reinterpret_cast<const char*>(s_->ends.data()), s_->ends.size() * 8});
  s_->put({reinterpret_cast<const char*>(s_->sources.data()), s_->sources.size() * 2});
  h.checksum = s_->hash.digest();
  s_->file.write_at(0, {reinterpret_cast<const char*>(&h), sizeof h});
  s_->file.commit();
}
int64_t ShardWriter::tokens() const { return static_cast<int64_t>(s_->header.tokens); }
int64_t ShardWriter::documents() const { return static_cast<int64_t>(s_->ends.size()); }

bool is_token_shard(const std::string& path) { return MappedFile(path).bytes().starts_with({kMagic, sizeof kMagic}); }

ShardReader::ShardReader(const std::string& path, bool verify) : file_(path) {
  Header h{};
  if (file_.size() < sizeof h) fail("[shard] ", path, ": ", file_.size(), " bytes is too short for a token shard");
  std::memcpy(&h, file_.data(), sizeof h);
  if (std::memcmp(h.magic, kMagic, 8) != 0) fail("[shard] ", path, ": not a token shard (wrong magic)");
  if (h.version != 1) fail("[shard] ", path, ": version ", h.version, ", this program reads version 1");
  if (h.token_bytes != 2 && h.token_bytes != 4)
    fail("[shard] ", path, ": token width ", h.token_bytes, ", expected 2 or 4");
  constexpr uint64_t kMost = uint64_t{1} << 48;
  if (h.tokens > kMost || h.documents > h.tokens) fail("[shard] ", path, ": header holds impossible counts");
  const uint64_t token_span = padded(h.tokens * h.token_bytes), want = sizeof h + token_span + h.documents * 10;
  if (file_.size() != want)
    fail("[shard] ", path, ": expected ", want, " bytes for ", h.tokens, " tokens in ", h.documents, " documents, got ",
         file_.size(), "; the file is truncated or has trailing bytes, make it again with 'puyu data run'");
  if (verify && hash64(file_.bytes().substr(sizeof h)) != h.checksum)
    fail("[shard] ", path, ": checksum mismatch; the file is damaged, make it again with 'puyu data run'");
  token_bytes_ = static_cast<int>(h.token_bytes);
  tokens_ = static_cast<int64_t>(h.tokens), documents_ = static_cast<int64_t>(h.documents),
  fingerprint_ = h.fingerprint;
  data_ = file_.data() + sizeof h, ends_ = data_ + token_span, sources_ = ends_ + h.documents * 8;
  for (int64_t d = 0, last = 0; d < documents_; last = end(d++))
    if (end(d) <= last || end(d) > tokens_) fail("[shard] ", path, ": document ", d, " has an impossible end offset");
  if (tokens_ != (documents_ ? end(documents_ - 1) : 0)) fail("[shard] ", path, ": tokens after the last document");
}
int64_t ShardReader::end(int64_t doc) const {
  uint64_t v = 0;
  std::memcpy(&v, ends_ + doc * 8, 8);
  return static_cast<int64_t>(v);
}
uint16_t ShardReader::source(int64_t doc) const {
  uint16_t v = 0;
  std::memcpy(&v, sources_ + doc * 2, 2);
  return v;
}
void ShardReader::read(int64_t from, int64_t n, int32_t* out) const {
  CHECK(from >= 0 && n >= 0 && from + n <= tokens_);
  if (token_bytes_ == 4) {
    std::memcpy(out, data_ + from * 4, static_cast<size_t>(n) * 4);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    uint16_t v = 0;
    std::memcpy(&v, data_ + (from + i) * 2, 2);
    out[i] = v;
  }
}

}  // namespace puyu
