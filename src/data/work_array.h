// Plain records in a file, mapped when read: what the steps of a run hand to one another (docs/formats.d/data.md). A
// header (magic, record size, count, XXH3 of the records) tells damage and mistaken files from good ones.
#pragma once
#include <cstdint>
#include <string>
#include <type_traits>

#include "base/file.h"
#include "base/hash.h"

namespace puyu {

class ArrayWriter {
 public:
  ArrayWriter(const std::string& path, size_t record_bytes);
  void add(const void* records, size_t count);
  void commit();

 private:
  AtomicFile file_;
  Hasher hash_;
  size_t record_bytes_;
  uint64_t count_ = 0;
};

// The records of a file with the header checked; Error names the file. verify: the checksum too, which reads it all.
std::string_view array_bytes(const MappedFile& file, size_t record_bytes, bool verify);

template <class T>
class WorkArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  WorkArray() = default;
  explicit WorkArray(const std::string& path, bool verify = true)
      : file_(path), bytes_(array_bytes(file_, sizeof(T), verify)) {}
  const T* data() const { return reinterpret_cast<const T*>(bytes_.data()); }
  int64_t size() const { return static_cast<int64_t>(bytes_.size() / sizeof(T)); }
  const T& operator[](int64_t i) const { return data()[i]; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size(); }
  std::string_view bytes() const { return bytes_; }

 private:
  MappedFile file_;
  std::string_view bytes_;
};

template <class C>
void write_array(const std::string& path, const C& records) {
  ArrayWriter w(path, sizeof(typename C::value_type));
  w.add(records.data(), records.size());
  w.commit();
}

}  // namespace puyu
