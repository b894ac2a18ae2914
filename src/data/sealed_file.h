// The frame of the binary files that data verbs build once and map afterwards (domain lists, classifiers, n-gram
// models, benchmark n-grams). Little endian: 64 bytes of header, then the body.
//   0-7 magic   8-11 version   12-15 zero   16-23 bytes of the body   24-31 XXH3-64 of the body and the fields
//   32-63 four numbers whose meaning is the format's
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace puyu {

using SealedFields = std::array<uint64_t, 4>;

class SealedWriter {
 public:
  SealedWriter(const std::string& path, std::string_view magic, uint32_t version);
  void write(std::string_view bytes);
  template <class T>
  void write_values(const T* values, size_t n) {
    write({reinterpret_cast<const char*>(values), n * sizeof(T)});
  }
  void pad();  // zeros up to a multiple of 8 bytes
  uint64_t bytes() const { return bytes_; }
  void commit(const SealedFields& fields);

 private:
  AtomicFile file_;
  Hasher hash_;
  std::string magic_;
  uint32_t version_;
  uint64_t bytes_ = 0;
};

class SealedFile {
 public:
  // Error when the file is not what its header says; `make` tells how to make it again ("puyu data domains").
  SealedFile(const std::string& path, std::string_view magic, uint32_t version, const char* make);
  std::string_view body() const { return body_; }
  uint64_t field(size_t i) const { return fields_[i]; }
  uint64_t checksum() const { return checksum_; }
  const std::string& path() const { return file_.path(); }
  [[noreturn]] void damaged(const std::string& what) const;

 private:
  MappedFile file_;
  std::string_view body_;
  SealedFields fields_{};
  uint64_t checksum_ = 0;
  const char* make_;
};

// A value at a byte offset of a mapped body; the caller has checked the bounds.
template <class T>
T load_at(const char* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

}  // namespace puyu
