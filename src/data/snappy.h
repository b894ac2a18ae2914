// Snappy's raw format (github.com/google/snappy, format_description.txt), decompression alone: what most Parquet files
// are compressed with.
#pragma once
#include <string>
#include <string_view>

namespace puyu {

// False when the bytes are no Snappy stream of at most `most` bytes; out then holds what came before.
bool snappy_decompress(std::string_view bytes, size_t most, std::string& out);

}  // namespace puyu
