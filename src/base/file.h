// Files. Every write is atomic: bytes go to a temporary file beside the target, are fsynced, and are renamed over it,
// so a reader sees the old file or the new one and a crash leaves the old one intact.
// All functions throw Error with the path and the system's reason.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace puyu {

// A file's bytes, mapped read-only for the life of the object. An empty file gives an empty view.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& o) noexcept;
  MappedFile& operator=(MappedFile&& o) noexcept;
  ~MappedFile();
  std::string_view bytes() const { return {data_, size_}; }
  const char* data() const { return data_; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  char* data_ = nullptr;
  size_t size_ = 0;
};

// Write in pieces, then commit(). Without commit() the target is untouched and the temporary file is removed.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(std::string_view bytes);
  void write_at(uint64_t offset, std::string_view bytes);  // patch a header; flushes what is buffered
  uint64_t size() const { return size_; }
  void commit();

 private:
  void flush();
  std::string path_, temp_, buffer_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

// A file that several processes write together: one creates it under a temporary name, all open it, write their own
// ranges and sync; then the one commits. Until then the target is as it was.
class SharedFile {
 public:
  static void create(const std::string& path, uint64_t size);
  static void commit(const std::string& path);
  static void discard(const std::string& path);  // does nothing when there is none
  explicit SharedFile(std::string path);
  ~SharedFile();
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  void write_at(uint64_t offset, std::string_view bytes);
  void sync();

 private:
  std::string path_;
  int fd_ = -1;
};

// A folder in the making: files go to path(), commit() renames it to the target, which must not exist. Without commit()
// it is removed with all that is in it.
class AtomicFolder {
 public:
  explicit AtomicFolder(std::string target);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;
  const std::string& path() const { return temp_; }
  void commit();

 private:
  std::string target_, temp_;
};

// Gives up the memory of whole pages in [data, data + size) of a mapped file; they are read again when used again.
void drop_mapped_pages(const void* data, size_t size);

std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view bytes);   // atomic
void append_file(const std::string& path, std::string_view bytes);  // one write(2): for logs and .jsonl
bool file_exists(const std::string& path);
bool is_directory(const std::string& path);
void make_directories(const std::string& path);
// Regular files under `path` (or `path` itself), recursively, sorted by name: the order is part of our formats.
std::vector<std::string> list_files(const std::string& path);

}  // namespace puyu
