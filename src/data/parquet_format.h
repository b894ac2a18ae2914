// The metadata of Parquet files (github.com/apache/parquet-format): footer and page headers, structs in Thrift's
// compact protocol. Only what reading columns of text takes is kept; all sizes and offsets are checked against the file
// here or where they are used, since the bytes may be hostile.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace puyu {

// What is wrong with a file, as the reason of a failure: "bad_parquet", "parquet_codec_lz4", ...
class ParquetError : public Error {
 public:
  ParquetError(const std::string& reason_, const std::string& what) : Error("[parquet] " + what), reason(reason_) {}
  std::string reason;
};
[[noreturn]] void bad_parquet(const std::string& what);

enum class ParquetType { kBoolean, kInt32, kInt64, kInt96, kFloat, kDouble, kByteArray, kFixed, kNone };
enum class ParquetTime { kNone, kDays, kMillis, kMicros, kNanos };  // what an integer counts since 1970

struct ParquetColumn {  // of the top level
  std::string name;
  ParquetType type = ParquetType::kNone;
  ParquetTime time = ParquetTime::kNone;
  bool optional = false;
  bool nested = false;  // a group or repeated: lists, maps, structs
  size_t leaf = 0;      // its column chunk in each row group
};

struct ParquetChunk {
  ParquetType type = ParquetType::kNone;
  std::vector<std::string> path;
  int64_t codec = 0, values = 0, bytes = 0, data_offset = -1, dictionary_offset = -1;
  bool elsewhere = false, encrypted = false;
};

struct ParquetGroup {
  int64_t rows = 0;
  std::vector<ParquetChunk> chunks;
};

struct ParquetFooter {
  std::vector<ParquetColumn> columns;
  std::vector<ParquetGroup> groups;
};
// The footer of a whole file.
ParquetFooter read_parquet_footer(std::string_view file);

enum class ParquetPage { kData, kIndex, kDictionary, kDataV2 };
struct ParquetPageHeader {
  ParquetPage type = ParquetPage::kIndex;
  int64_t uncompressed = -1, compressed = -1, values = -1, encoding = -1, level_encoding = -1;
  int64_t definition_bytes = 0, repetition_bytes = 0;  // of version 2
  bool is_compressed = true;                           // of version 2
  bool has_crc = false;
  uint32_t crc = 0;  // of the page as it stands in the file
};
// The header at the beginning of `bytes`; `length` is how many of them it takes.
ParquetPageHeader read_parquet_page_header(std::string_view bytes, size_t& length);

std::string parquet_encoding_name(int64_t encoding);
std::string parquet_codec_name(int64_t codec);

}  // namespace puyu
