// Token shards: documents as token ids in one file, mapped into memory (docs/formats.md, "token shard").
// Layout, little endian: header (64 bytes: magic "PUYUTOK1", version, token width, counts, tokenizer fingerprint,
// XXH3 of the rest), then tokens (u16 or u32), then one end offset (u64) a document, then one u16 source number a
// document.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"

namespace puyu {

class ShardWriter {
 public:
  // token_bytes: 2 when every id < 65536, else 4.
  ShardWriter(const std::string& path, int token_bytes, uint64_t tokenizer_fingerprint);
  ~ShardWriter();
  void add(const int32_t* ids, int64_t n, uint16_t source = 0);
  void commit();  // writes the tables and the header; the file appears whole or not at all
  int64_t tokens() const;
  int64_t documents() const;

 private:
  struct State;
  std::unique_ptr<State> s_;
};

bool is_token_shard(const std::string& path);  // by its magic

class ShardReader {
 public:
  // Checks magic, version, sizes and offsets, and with verify the checksum: Error says what is wrong and where.
  explicit ShardReader(const std::string& path, bool verify = true);
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }
  int token_bytes() const { return token_bytes_; }
  uint64_t tokenizer_fingerprint() const { return fingerprint_; }
  int64_t begin(int64_t doc) const { return doc == 0 ? 0 : end(doc - 1); }
  int64_t end(int64_t doc) const;
  uint16_t source(int64_t doc) const;
  // Tokens [from, from + n) of the shard into out.
  void read(int64_t from, int64_t n, int32_t* out) const;
  const std::string& path() const { return file_.path(); }

 private:
  MappedFile file_;
  int token_bytes_ = 2;
  int64_t tokens_ = 0, documents_ = 0;
  uint64_t fingerprint_ = 0;
  const char *data_ = nullptr, *ends_ = nullptr, *sources_ = nullptr;
};

}  // namespace puyu
