#include "data/parquet.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <ctime>

#include "data/snappy.h"

namespace puyu {
namespace {

enum Encoding : int64_t { kPlain = 0, kPlainDictionary = 2, kRle = 3, kRleDictionary = 8 };
enum Codec : int64_t { kNone = 0, kSnappy = 1, kGzip = 2, kZstd = 6 };

template <class T>
T little_endian(std::string_view bytes, size_t at = 0) {
  T v{};
  std::memcpy(&v, bytes.data() + at, sizeof v);
  return v;
}

// Numbers of `width` bits in runs: a header (varint) with its lowest bit 0 repeats one value header >> 1 times, with 1
// packs (header >> 1) * 8 of them from the lowest bit up.
class RunDecoder {
 public:
  RunDecoder() = default;
  RunDecoder(std::string_view bytes, int width) : bytes_(bytes), width_(width) {
    if (width < 0 || width > 32) bad_parquet("numbers of more than 32 bits in runs");
  }
  uint32_t next() {
    while (left_ == 0) start_run();
    --left_;
    if (!packed_) return value_;
    while (bits_ < width_) buffer_ |= static_cast<uint64_t>(byte()) << bits_, bits_ += 8;
    const auto v = static_cast<uint32_t>(buffer_ & ((uint64_t{1} << width_) - 1));
    buffer_ >>= width_, bits_ -= width_;
    return v;
  }

 private:
  void start_run() {
    uint64_t header = 0;
    for (int shift = 0;; shift += 7) {
      if (shift > 28) bad_parquet("a run of numbers is longer than a page");
      const uint8_t b = byte();
      header |= static_cast<uint64_t>(b & 127) << shift;
      if (b < 128) break;
    }
    packed_ = header & 1;
    left_ = packed_ ? (header >> 1) * 8 : header >> 1;
    buffer_ = 0, bits_ = 0, value_ = 0;
    if (packed_) return;
    for (int i = 0; i < (width_ + 7) / 8; ++i) value_ |= static_cast<uint32_t>(byte()) << (8 * i);
  }
  uint8_t byte() {
    if (at_ == bytes_.size()) bad_parquet("a run of numbers breaks off");
    return static_cast<uint8_t>(bytes_[at_++]);
  }
  std::string_view bytes_;
  size_t at_ = 0;
  int width_ = 0, bits_ = 0;
  bool packed_ = false;
  uint32_t value_ = 0;
  uint64_t left_ = 0, buffer_ = 0;
};

// The next value in plain encoding, taken off `bytes`.
std::string_view take_plain(std::string_view& bytes, ParquetType type) {
  size_t length = type == ParquetType::kInt32 ? 4 : 8;
  if (type == ParquetType::kByteArray) {
    if (bytes.size() < 4) bad_parquet("a text's length breaks off");
    length = little_endian<uint32_t>(bytes);
    bytes.remove_prefix(4);
  }
  if (length > bytes.size()) bad_parquet("a value is longer than its page");
  const std::string_view out = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return out;
}

// Gzip members one after another.
bool gunzip(std::string_view bytes, std::string& out) {
  z_stream z{};
  if (inflateInit2(&z, 15 + 32) != Z_OK) return false;
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data())), z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data()), z.avail_out = static_cast<uInt>(out.size());
  int rc = inflate(&z, Z_FINISH);
  while (rc == Z_STREAM_END && z.avail_in > 0 && inflateReset(&z) == Z_OK) rc = inflate(&z, Z_FINISH);
  const bool whole = rc == Z_STREAM_END && z.avail_out == 0;
  inflateEnd(&z);
  return whole;
}

std::string decompress(std::string_view bytes, int64_t codec, size_t size) {
  std::string out;
  bool good = true;
  if (codec == kNone) {
    out = bytes;
  } else if (codec == kSnappy) {
    good = snappy_decompress(bytes, size, out);
  } else if (codec == kGzip || codec == kZstd) {
    // A size that no compressor reaches must not cost its memory.
    if (size / 40000 > bytes.size()) bad_parquet("a page cannot be as large as it says");
    out.resize(size);
    good = codec == kGzip ? gunzip(bytes, out) : ZSTD_decompress(out.data(), size, bytes.data(), bytes.size()) == size;
  } else {
    throw ParquetError("parquet_codec_" + parquet_codec_name(codec), "compression " + parquet_codec_name(codec));
  }
  if (!good || out.size() != size) bad_parquet("a page does not decompress to the size it says");
  return out;
}

std::string format_time(std::string_view value, ParquetTime unit) {
  int64_t v = value.size() == 4 ? little_endian<int32_t>(value) : little_endian<int64_t>(value);
  const int64_t per_second = unit == ParquetTime::kMillis   ? 1000
                             : unit == ParquetTime::kMicros ? 1000000
                             : unit == ParquetTime::kNanos  ? 1000000000
                                                            : 1;
  std::time_t seconds = 0;
  if (unit == ParquetTime::kDays && __builtin_mul_overflow(v, int64_t{86400}, &v)) return "";
  seconds = static_cast<std::time_t>(v / per_second - (v % per_second < 0));
  std::tm tm{};
  char out[64] = "";
  if (!gmtime_r(&seconds, &tm) || !std::strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%S", &tm)) return "";
  return out;
}

}  // namespace

struct ParquetColumnReader::State {
  const ParquetColumn column;
  std::string_view rest;  // of the chunk: pages not yet read
  int64_t codec, values_left;
  size_t max_page_bytes;

  std::string dictionary_page, page, text;
  std::vector<std::string_view> dictionary;
  bool has_dictionary = false;
  std::string_view plain;  // the page's values when they are plain
  bool by_index = false;
  RunDecoder levels, indices;
  bool has_levels = false;
  int64_t in_page = 0;

  State(std::string_view file, const ParquetColumn& c, const ParquetChunk& chunk, size_t most)
      : column(c), codec(chunk.codec), values_left(chunk.values), max_page_bytes(most) {
    if (chunk.encrypted) throw ParquetError("parquet_encrypted", "column '" + c.name + "' is encrypted");
    if (chunk.elsewhere) throw ParquetError("parquet_other_file", "column '" + c.name + "' lies in another file");
    if (chunk.path.size() != 1 || chunk.path[0] != c.name || chunk.type != c.type)
      bad_parquet("a row group's column is not that of the schema");
    int64_t from = chunk.data_offset;
    if (chunk.dictionary_offset > 0) from = std::min(from, chunk.dictionary_offset);
    const auto size = static_cast<int64_t>(file.size());
    if (from < 4 || chunk.bytes < 0 || from > size || chunk.bytes > size - from || values_left < 0)
      bad_parquet("column '" + c.name + "' lies outside of the file");
    rest = file.substr(static_cast<size_t>(from), static_cast<size_t>(chunk.bytes));
  }

  void read_page() {
    size_t length = 0;
    const ParquetPageHeader h = read_parquet_page_header(rest, length);
    rest.remove_prefix(length);
    if (static_cast<uint64_t>(h.compressed) > rest.size()) bad_parquet("a page is longer than its column");
    if (static_cast<uint64_t>(h.uncompressed) > max_page_bytes)
      throw ParquetError("parquet_large_page", "a page has " + std::to_string(h.uncompressed) + " bytes");
    const std::string_view body = rest.substr(0, static_cast<size_t>(h.compressed));
    rest.remove_prefix(body.size());
    if (h.has_crc && crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size()) != h.crc)
      bad_parquet("a page's checksum does not fit");
    if (h.type == ParquetPage::kDictionary) return read_dictionary(h, body);
    if (h.type == ParquetPage::kIndex) return;
    if (h.values > values_left) bad_parquet("more values than the column has");
    values_left -= h.values;
    in_page = h.values;
    std::string_view at = h.type == ParquetPage::kData ? open_first(h, body) : open_second(h, body);
    by_index = h.encoding == kPlainDictionary || h.encoding == kRleDictionary;
    if (!by_index && h.encoding != kPlain)
      throw ParquetError("parquet_encoding_" + parquet_encoding_name(h.encoding),
                         "encoding " + parquet_encoding_name(h.encoding));
    plain = at;
    if (!by_index) return;
    if (!has_dictionary) bad_parquet("a page needs a dictionary that is not there");
    // A page of nulls alone may have no indices at all.
    indices = at.empty() ? RunDecoder() : RunDecoder(at.substr(1), static_cast<unsigned char>(at[0]));
  }

  void read_dictionary(const ParquetPageHeader& h, std::string_view body) {
    if (has_dictionary) bad_parquet("a column with two dictionaries");
    if (h.encoding != kPlain && h.encoding != kPlainDictionary) bad_parquet("a dictionary that is not plain");
    dictionary_page = decompress(body, codec, static_cast<size_t>(h.uncompressed));
    std::string_view left = dictionary_page;
    if (static_cast<uint64_t>(h.values) > left.size()) bad_parquet("a dictionary of more values than bytes");
    for (int64_t i = 0; i < h.values; ++i) dictionary.push_back(take_plain(left, column.type));
    has_dictionary = true;
  }

  // Version 1: levels with their length before them and values, compressed together. Gives the values.
  std::string_view open_first(const ParquetPageHeader& h, std::string_view body) {
    page = decompress(body, codec, static_cast<size_t>(h.uncompressed));
    std::string_view at = page;
    has_levels = column.optional;
    if (!has_levels) return at;
    if (h.level_encoding != kRle)
      throw ParquetError("parquet_encoding_" + parquet_encoding_name(h.level_encoding), "levels are not in RLE");
    if (at.size() < 4) bad_parquet("a page's levels break off");
    const size_t length = little_endian<uint32_t>(at);
    at.remove_prefix(4);
    if (length > at.size()) bad_parquet("a page's levels are longer than the page");
    levels = RunDecoder(at.substr(0, length), 1);
    at.remove_prefix(length);
    return at;
  }

  // Version 2: levels as they are, values compressed or not.
  std::string_view open_second(const ParquetPageHeader& h, std::string_view body) {
    const auto size = static_cast<int64_t>(body.size());
    if (h.definition_bytes < 0 || h.repetition_bytes < 0 || h.definition_bytes > size ||
        h.repetition_bytes > size - h.definition_bytes || h.definition_bytes + h.repetition_bytes > h.uncompressed)
      bad_parquet("a page's levels are longer than the page");
    const auto before = static_cast<size_t>(h.definition_bytes + h.repetition_bytes);
    // The levels point into the file; the file outlives the reader.
    levels =
        RunDecoder(body.substr(static_cast<size_t>(h.repetition_bytes), static_cast<size_t>(h.definition_bytes)), 1);
    has_levels = column.optional;
    const std::string_view values = body.substr(before);
    const size_t want = static_cast<size_t>(h.uncompressed) - before;
    page = want == 0 ? "" : decompress(values, h.is_compressed ? codec : kNone, want);
    return page;
  }

  std::optional<std::string_view> next() {
    while (in_page == 0) {
      if (rest.empty()) bad_parquet("column '" + column.name + "' has fewer values than the file has rows");
      read_page();
    }
    --in_page;
    if (has_levels && levels.next() == 0) return std::nullopt;
    std::string_view value;
    if (by_index) {
      const uint32_t i = indices.next();
      if (i >= dictionary.size()) bad_parquet("a value that its dictionary does not have");
      value = dictionary[i];
    } else {
      value = take_plain(plain, column.type);
    }
    if (column.time == ParquetTime::kNone || column.type == ParquetType::kByteArray) return value;
    return text = format_time(value, column.time);
  }
};

ParquetColumnReader::ParquetColumnReader(std::string_view file, const ParquetColumn& column, const ParquetChunk& chunk,
                                         size_t max_page_bytes)
    : s_(std::make_unique<State>(file, column, chunk, max_page_bytes)) {}
ParquetColumnReader::~ParquetColumnReader() = default;
ParquetColumnReader::ParquetColumnReader(ParquetColumnReader&&) noexcept = default;
std::optional<std::string_view> ParquetColumnReader::next() { return s_->next(); }

const ParquetColumn* find_parquet_column(const ParquetFooter& footer, std::initializer_list<const char*> names) {
  for (const char* name : names)
    for (const ParquetColumn& c : footer.columns) {
      if (c.name != name) continue;
      if (c.nested)
        throw ParquetError("parquet_nested", cat("column '", c.name, "' is nested (a list, map or structure)"));
      const bool time =
          c.time != ParquetTime::kNone && (c.type == ParquetType::kInt32 || c.type == ParquetType::kInt64);
      if (c.type == ParquetType::kByteArray || time) return &c;
    }
  return nullptr;
}

}  // namespace puyu
