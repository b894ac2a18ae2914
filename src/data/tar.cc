#include "data/tar.h"

#include <charconv>
#include <cstdint>

namespace puyu {
namespace {

constexpr size_t kBlock = 512;

std::string_view text_at(std::string_view header, size_t at, size_t most) {
  const std::string_view field = header.substr(at, most);
  return field.substr(0, std::min(field.find('\0'), field.size()));
}

// Octal digits between blanks; false for anything else, the base-256 form of files above 8 GiB too.
bool octal_at(std::string_view header, size_t at, size_t most, uint64_t& out) {
  std::string_view field = text_at(header, at, most);
  while (field.starts_with(' ')) field.remove_prefix(1);
  while (field.ends_with(' ')) field.remove_suffix(1);
  auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), out, 8);
  return error == std::errc() && end == field.data() + field.size();
}

// The sum of the header's bytes, its own field taken as blanks.
bool has_checksum(std::string_view header) {
  uint64_t want = 0, sum = 0;
  for (size_t i = 0; i < kBlock; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
  return octal_at(header, 148, 8, want) && want == sum;
}

// "27 path=some/name\n" of a pax header.
std::string pax_path(std::string_view records) {
  std::string path;
  while (!records.empty()) {
    size_t length = 0;
    auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    if (error != std::errc() || length == 0 || length > records.size()) break;
    const std::string_view record = records.substr(0, length);
    if (const size_t at = record.find(" path="); at == static_cast<size_t>(end - records.data()))
      path = record.substr(at + 6, length - at - 7);
    records.remove_prefix(length);
  }
  return path;
}

}  // namespace

bool is_tar(std::string_view bytes) {
  return bytes.size() >= kBlock && bytes.substr(257, 5) == "ustar" && has_checksum(bytes.substr(0, kBlock));
}

bool read_tar(std::string_view bytes, const std::function<void(std::string name, std::string_view content)>& file) {
  std::string long_name;
  while (bytes.size() >= kBlock) {
    const std::string_view header = bytes.substr(0, kBlock);
    if (header.find_first_not_of('\0') == std::string_view::npos) return true;  // the end
    uint64_t size = 0;
    if (!has_checksum(header) || !octal_at(header, 124, 12, size) || size > bytes.size() - kBlock) return false;
    const std::string_view content = bytes.substr(kBlock, size);
    const char type = header[156];
    std::string name(text_at(header, 0, 100));
    if (header.substr(257, 6) == std::string_view("ustar\0", 6))
      if (const std::string_view prefix = text_at(header, 345, 155); !prefix.empty())
        name = std::string(prefix) + "/" + name;
    if (type == 'L') {
      long_name = content.substr(0, std::min(content.find('\0'), content.size()));
    } else if (type == 'x') {
      long_name = pax_path(content);
    } else {
      if (type == '0' || type == '\0') file(long_name.empty() ? name : long_name, content);
      long_name.clear();
    }
    bytes.remove_prefix(std::min<uint64_t>(bytes.size(), kBlock + (size + kBlock - 1) / kBlock * kBlock));
  }
  return bytes.empty();  // some writers leave out the blocks of the end
}

}  // namespace puyu
