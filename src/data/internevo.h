// InternEvo's tokenised data (tools/tokenizer.py): FILE.bin holds one document a line, {"tokens": [ids]}, and
// FILE.bin.meta is a NumPy array (.npy, int32 or int64) of rows (offset of the line, number of its tokens). The sign of
// an id is the loss mask: a negative one is read, but is no target; 0 never is one. Read as it is, beside our own
// token shards (data/shard.h).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"

namespace puyu {

bool is_internevo_data(const std::string& path);  // FILE.bin with a FILE.bin.meta beside it

class InternEvoReader {
 public:
  // Checks the index against the file's size, and with verify every line: Error says what is wrong and where. meta: ""
  // = path + ".meta".
  explicit InternEvoReader(const std::string& path, bool verify = true, const std::string& meta = "");
  int64_t tokens() const { return ends_.empty() ? 0 : ends_.back(); }
  int64_t documents() const { return static_cast<int64_t>(ends_.size()); }
  int64_t begin(int64_t doc) const { return doc == 0 ? 0 : end(doc - 1); }
  int64_t end(int64_t doc) const { return ends_[static_cast<size_t>(doc)]; }
  int32_t largest_id() const { return largest_; }  // found by verify; else 0
  // Tokens [from, from + n) of the file. ~id where the token is no target.
  void read(int64_t from, int64_t n, int32_t* out) const;
  const std::string& path() const { return file_.path(); }

 private:
  const std::vector<int32_t>& document(int64_t doc) const;
  MappedFile file_;
  std::vector<int64_t> offsets_, ends_;
  int32_t largest_ = 0;
  mutable int64_t held_ = -1;  // the document read last: its sequences follow one another
  mutable std::vector<int32_t> ids_;
};

}  // namespace puyu
