// Reading files that may be compressed (gzip, zstd: told by their first bytes) piece by piece, and writing .zst.
// A damaged stream is a per-file failure, so reading reports it as a value (a reason), not as an exception.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/file.h"

namespace puyu {

class InputStream {
 public:
  // Error when the file cannot be opened. offset: where a frame or member begins.
  explicit InputStream(const std::string& path, size_t offset = 0);
  ~InputStream();
  // Appends the next bytes (up to about 1 MiB) to out; false at the end or after damage.
  bool read(std::string& out);
  // Reads on until the end or until out holds more than `most` bytes.
  void read_all(std::string& out, size_t most);
  // The next line without its line end; false at the end. A last line without a line end counts. Of a line longer than
  // `most` its first `most` + 1 bytes are given and the rest is passed over: memory stays bounded.
  bool read_line(std::string& line, size_t most = SIZE_MAX - 1);
  // "" or why reading stopped early: "truncated_gzip", "damaged_gzip", "truncated_zstd", "damaged_zstd".
  const std::string& damage() const;
  size_t file_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> s_;
};

// An atomic .zst file; the bytes depend on the text only.
class ZstdFile {
 public:
  explicit ZstdFile(const std::string& path, int level = 3);
  ~ZstdFile();
  void write(std::string_view text);
  uint64_t end_frame();  // what follows can be read from here: gives the offset
  void commit();

 private:
  struct State;
  std::unique_ptr<State> s_;
};

}  // namespace puyu
