// The documents of a corpus folder, written one after another in shards: docs-00000.jsonl.zst, …
#pragma once
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "data/compress.h"

namespace puyu {

class CorpusWriter {
 public:
  CorpusWriter(std::string dir, int64_t shard_bytes) : dir_(std::move(dir)), most_(shard_bytes) {}
  void add(const std::string& line) {
    if (!file_) open();
    file_->write(line);
    bytes_ += static_cast<int64_t>(line.size());
    if (bytes_ >= most_) commit();
  }
  void commit() {
    if (!file_ && count_ == 0) open();  // an empty corpus is a file too
    if (file_) file_->commit();
    file_.reset();
    bytes_ = 0;
  }

 private:
  void open() {
    char name[32];
    std::snprintf(name, sizeof name, "/docs-%05d.jsonl.zst", count_++);
    file_ = std::make_unique<ZstdFile>(dir_ + name);
  }
  std::string dir_;
  int64_t most_, bytes_ = 0;
  int count_ = 0;
  std::unique_ptr<ZstdFile> file_;
};

}  // namespace puyu
