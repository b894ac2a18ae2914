// Parquet files: columns of texts and times of the top level, row by row, in the memory of one page a column.
// Encodings: plain and dictionary; levels in RLE; compressed by nothing, Snappy, gzip or zstd; data pages of both
// versions, their checksums verified where they have some. Anything else is refused by name, and nested columns are.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/parquet_format.h"

namespace puyu {

// The values of one column chunk, in order.
class ParquetColumnReader {
 public:
  // file: all of it; pages above max_page_bytes are refused.
  ParquetColumnReader(std::string_view file, const ParquetColumn& column, const ParquetChunk& chunk,
                      size_t max_page_bytes);
  ~ParquetColumnReader();
  ParquetColumnReader(ParquetColumnReader&&) noexcept;
  // The next row's value; nullopt: null. Texts as they are, integers as 4 or 8 bytes, times of the column as
  // "2024-02-29T10:11:12". Valid until the next call. ParquetError at damage and behind the last value.
  std::optional<std::string_view> next();

 private:
  struct State;
  std::unique_ptr<State> s_;
};

// The column of the first of these names that is there, or null. ParquetError when it is not one of texts or times.
const ParquetColumn* find_parquet_column(const ParquetFooter& footer, std::initializer_list<const char*> names);

}  // namespace puyu
