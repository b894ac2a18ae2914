#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"

namespace puyu {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail_errno(const char* what, const std::string& path) {
  int e = errno;
  fail("[file] cannot ", what, " '", path, "': ", std::strerror(e),
       e == ENOSPC ? " (free some space and run again; earlier results are intact)" : "");
}

void write_all(int fd, const char* p, size_t n, const std::string& path) {
  while (n > 0) {
    ssize_t w = ::write(fd, p, n);
    if (w < 0 && errno == EINTR) continue;
    if (w < 0) fail_errno("write", path);
    p += w;
    n -= static_cast<size_t>(w);
  }
}

void write_all_at(int fd, uint64_t offset, std::string_view bytes, const std::string& path) {
  for (size_t done = 0; done < bytes.size();) {
    ssize_t w = ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (w < 0 && errno == EINTR) continue;
    if (w < 0) fail_errno("write", path);
    done += static_cast<size_t>(w);
  }
}

// The temporary name of a SharedFile: known to every process.
std::string shared_name(const std::string& path) { return path + ".shared"; }

void sync_directory_of(const std::string& path) {
  fs::path dir = fs::path(path).parent_path();
  int fd = ::open(dir.empty() ? "." : dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // the rename is done; some file systems refuse to open folders
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_errno("open", path);
  struct stat st{};
  if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    ::close(fd);
    fail("[file] '", path, "' is not a regular file");
  }
  size_ = static_cast<size_t>(st.st_size);
  if (size_ > 0) {
    void* p = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
      ::close(fd);
      fail_errno("map", path);
    }
    data_ = static_cast<char*>(p);
  }
  ::close(fd);
}
MappedFile::MappedFile(MappedFile&& o) noexcept
    : path_(std::move(o.path_)), data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
MappedFile& MappedFile::operator=(MappedFile&& o) noexcept {
  std::swap(path_, o.path_);
  std::swap(data_, o.data_);
  std::swap(size_, o.size_);
  return *this;
}
MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), temp_(path_ + ".tmp-XXXXXX") {
  fd_ = ::mkostemp(temp_.data(), O_CLOEXEC);
  if (fd_ < 0) fail_errno("create a file beside", path_);
}
AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temp_.c_str());
}
void AtomicFile::flush() {
  write_all(fd_, buffer_.data(), buffer_.size(), path_);
  buffer_.clear();
}
void AtomicFile::write(std::string_view bytes) {
  size_ += bytes.size();
  if (bytes.size() >= (1u << 20)) {
    flush();
    write_all(fd_, bytes.data(), bytes.size(), path_);
    return;
  }
  buffer_ += bytes;
  if (buffer_.size() >= (1u << 20)) flush();
}
void AtomicFile::write_at(uint64_t offset, std::string_view bytes) {
  flush();
  write_all_at(fd_, offset, bytes, path_);
}
void AtomicFile::commit() {
  flush();
  ::fchmod(fd_, 0644);  // mkostemp made it private
  if (::fsync(fd_) != 0) fail_errno("flush", path_);
  if (::close(std::exchange(fd_, -1)) != 0) {
    ::unlink(temp_.c_str());
    fail_errno("close", path_);
  }
  if (::rename(temp_.c_str(), path_.c_str()) != 0) {
    ::unlink(temp_.c_str());
    fail_errno("rename a finished file to", path_);
  }
  sync_directory_of(path_);
}

void SharedFile::create(const std::string& path, uint64_t size) {
  const std::string temp = shared_name(path);
  const int fd = ::open(temp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) fail_errno("create a file beside", path);
  const bool sized = ::ftruncate(fd, static_cast<off_t>(size)) == 0;
  if (!sized) {
    const int e = errno;
    ::unlink(temp.c_str());
    ::close(fd);
    errno = e;
    fail_errno("write", path);
  }
  ::close(fd);
}
void SharedFile::commit(const std::string& path) {
  if (::rename(shared_name(path).c_str(), path.c_str()) != 0) fail_errno("rename a finished file to", path);
  sync_directory_of(path);
}
void SharedFile::discard(const std::string& path) { ::unlink(shared_name(path).c_str()); }
SharedFile::SharedFile(std::string path) : path_(std::move(path)) {
  fd_ = ::open(shared_name(path_).c_str(), O_WRONLY | O_CLOEXEC);
  if (fd_ < 0) fail_errno("open (is its folder on a file system that all ranks share?)", shared_name(path_));
}
SharedFile::~SharedFile() { ::close(fd_); }
void SharedFile::write_at(uint64_t offset, std::string_view bytes) { write_all_at(fd_, offset, bytes, path_); }
void SharedFile::sync() {
  if (::fsync(fd_) != 0) fail_errno("flush", path_);
}

AtomicFolder::AtomicFolder(std::string target) : target_(std::move(target)) {
  while (target_.size() > 1 && target_.back() == '/') target_.pop_back();
  if (std::filesystem::exists(target_)) fail("'", target_, "' exists; remove it or choose another name");
  temp_ = target_ + ".tmp-XXXXXX";
  if (!::mkdtemp(temp_.data())) fail_errno("create a folder beside", target_);
}
AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!temp_.empty()) std::filesystem::remove_all(temp_, ignored);
}
void AtomicFolder::commit() {
  ::chmod(temp_.c_str(), 0755);  // mkdtemp made it private
  if (::rename(temp_.c_str(), target_.c_str()) != 0) fail_errno("rename a finished folder to", target_);
  temp_.clear();
  sync_directory_of(target_);
}

void drop_mapped_pages(const void* data, size_t size) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t before = (page - reinterpret_cast<uintptr_t>(data) % page) % page;  // of the first, partial page
  if (size < before + page) return;
  char* begin = static_cast<char*>(const_cast<void*>(data)) + before;
  ::madvise(begin, (size - before) / page * page, MADV_DONTNEED);  // a hint: failing is no harm
}

std::string read_file(const std::string& path) {
  if (is_directory(path)) fail("[file] '", path, "' is a folder, expected a file");
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_errno("open", path);
  std::string out;
  char buf[1 << 16];
  for (;;) {
    ssize_t n = ::read(fd, buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      ::close(fd);
      fail_errno("read", path);
    }
    if (n == 0) break;
    out.append(buf, static_cast<size_t>(n));
  }
  ::close(fd);
  return out;
}

void write_file(const std::string& path, std::string_view bytes) {
  AtomicFile f(path);
  f.write(bytes);
  f.commit();
}

void append_file(const std::string& path, std::string_view bytes) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) fail_errno("open", path);
  try {
    write_all(fd, bytes.data(), bytes.size(), path);
  } catch (...) {
    ::close(fd);
    throw;
  }
  ::close(fd);
}

bool file_exists(const std::string& path) {
  std::error_code ec;
  return fs::exists(path, ec);
}
bool is_directory(const std::string& path) {
  std::error_code ec;
  return fs::is_directory(path, ec);
}
void make_directories(const std::string& path) {
  std::error_code ec;
  fs::create_directories(path, ec);
  if (ec) fail("[file] cannot create folder '", path, "': ", ec.message());
}
std::vector<std::string> list_files(const std::string& path) {
  std::vector<std::string> out;
  if (!is_directory(path)) {
    if (!file_exists(path)) fail("[file] '", path, "' does not exist");
    return {path};
  }
  std::error_code ec;
  for (fs::recursive_directory_iterator it(path, ec), end; it != end && !ec; it.increment(ec))
    if (it->is_regular_file(ec)) out.push_back(it->path().string());
  if (ec) fail("[file] cannot list folder '", path, "': ", ec.message());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace puyu
