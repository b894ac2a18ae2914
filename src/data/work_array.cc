#include "data/work_array.h"

#include <cstring>

#include "base/error.h"

namespace puyu {
namespace {

constexpr char kMagic[8] = {'P', 'U', 'Y', 'U', 'A', 'R', 'R', '1'};
struct Header {
  char magic[8];
  uint64_t record_bytes, count, checksum;
};
static_assert(sizeof(Header) == 32);

}  // namespace

ArrayWriter::ArrayWriter(const std::string& path, size_t record_bytes) : file_(path), record_bytes_(record_bytes) {
  Header h{};
  file_.write({reinterpret_cast<const char*>(&h), sizeof h});
}

void ArrayWriter::add(const void* records, size_t count) {
  std::string_view bytes(static_cast<const char*>(records), count * record_bytes_);
  hash_.update(bytes);
  file_.write(bytes);
  count_ += count;
}

void ArrayWriter::commit() {
  Header h{{}, record_bytes_, count_, hash_.digest()};
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  file_.write_at(0, {reinterpret_cast<const char*>(&h), sizeof h});
  file_.commit();
}

std::string_view array_bytes(const MappedFile& file, size_t record_bytes, bool verify) {
  Header h{};
  if (file.size() >= sizeof h) std::memcpy(&h, file.data(), sizeof h);
  std::string_view bytes = file.bytes().substr(std::min(file.size(), sizeof h));
  bool sound = std::memcmp(h.magic, kMagic, sizeof kMagic) == 0 && h.record_bytes == record_bytes &&
               bytes.size() / record_bytes == h.count && bytes.size() % record_bytes == 0;
  if (!sound || (verify && hash64(bytes) != h.checksum))
    fail("[data] ", file.path(), ": ", sound ? "checksum mismatch" : "not the records that belong here",
         "; delete this file and run again");
  return bytes;
}

}  // namespace puyu
