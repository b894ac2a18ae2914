// Parquet files of texts, written from the specification for tests and fuzz seeds.
#pragma once
#include <zlib.h>
#include <zstd.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace puyu::test {

struct ParquetTexts {
  std::string name;
  std::vector<std::optional<std::string>> values;
  int repetition = 1;           // 0 required, 1 optional, 2 repeated
  int type = 6, converted = 0;  // a text; of integers (1: INT32, 2: INT64) the values are their bytes
};

struct ParquetWriterOptions {
  int codec = 0;  // 0 none, 1 snappy, 2 gzip, 6 zstd
  bool dictionary = false, second_version = false, checksums = true;
  size_t page_rows = 1000, group_rows = 1000;
};

// Thrift's compact protocol: fields with ids in ascending order.
class ThriftWriter {
 public:
  std::string out;
  void begin() { last_.push_back(0); }
  void end() { out += '\0', last_.pop_back(); }
  void i32(int id, int64_t v) { field(id, 5), zigzag(v); }
  void i64(int id, int64_t v) { field(id, 6), zigzag(v); }
  void boolean(int id, bool v) { field(id, v ? 1 : 2); }
  void text(int id, const std::string& s) { field(id, 8), varint(s.size()), out += s; }
  void structure(int id) { field(id, 12), begin(); }
  void list(int id, int type, size_t n) {
    field(id, 9);
    if (n < 15)
      out += static_cast<char>(n << 4 | static_cast<size_t>(type));
    else
      out += static_cast<char>(0xf0 | type), varint(n);
  }
  void element(const std::string& s) { varint(s.size()), out += s; }
  void varint(uint64_t v) {
    for (; v >= 128; v >>= 7) out += static_cast<char>(v | 128);
    out += static_cast<char>(v);
  }

 private:
  void field(int id, int type) {
    out += static_cast<char>((id - last_.back()) << 4 | type);
    last_.back() = id;
  }
  void zigzag(int64_t v) { varint(static_cast<uint64_t>(v) << 1 ^ static_cast<uint64_t>(v >> 63)); }
  std::vector<int> last_;
};

inline std::string bytes_of(uint32_t v) { return {reinterpret_cast<const char*>(&v), 4}; }

inline std::string varint_of(uint64_t v) {
  ThriftWriter w;
  w.varint(v);
  return w.out;
}

// Numbers of `width` bits, packed in one run, or each in a run of its own.
inline std::string runs_of(const std::vector<uint32_t>& numbers, int width, bool packed) {
  std::string out;
  if (!packed) {
    for (uint32_t n : numbers) {
      out += varint_of(1 << 1);
      for (int i = 0; i < (width + 7) / 8; ++i) out += static_cast<char>(n >> (8 * i));
    }
    return out;
  }
  const size_t groups = (numbers.size() + 7) / 8;
  out = varint_of(groups << 1 | 1);
  std::string bits(groups * static_cast<size_t>(width), '\0');
  for (size_t i = 0; i < numbers.size(); ++i)
    for (int b = 0; b < width; ++b)
      if (numbers[i] >> b & 1) {
        const size_t at = i * static_cast<size_t>(width) + static_cast<size_t>(b);
        bits[at / 8] = static_cast<char>(bits[at / 8] | 1 << at % 8);
      }
  return out + bits;
}

inline std::string compressed(const std::string& s, int codec) {
  if (codec == 1) {  // literals, the shortest form of the format
    std::string out = varint_of(s.size());
    for (size_t at = 0; at < s.size(); at += 50) {
      const std::string piece = s.substr(at, 50);
      out += static_cast<char>((piece.size() - 1) << 2) + piece;
    }
    return out;
  }
  if (codec == 2) {
    z_stream z{};
    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&z, s.size()) + 64, '\0');
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(s.data())), z.avail_in = static_cast<uInt>(s.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data()), z.avail_out = static_cast<uInt>(out.size());
    deflate(&z, Z_FINISH);
    out.resize(z.total_out);
    deflateEnd(&z);
    return out;
  }
  if (codec == 6) {
    std::string out(ZSTD_compressBound(s.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), s.data(), s.size(), 3));
    return out;
  }
  return s;
}

class ParquetWriter {
 public:
  explicit ParquetWriter(const ParquetWriterOptions& options) : o_(options) {}
  std::string write(const std::vector<ParquetTexts>& columns) {
    const size_t rows = columns.empty() ? 0 : columns[0].values.size();
    ThriftWriter footer;
    footer.begin();
    footer.i32(1, 1);
    footer.list(2, 12, columns.size() + 1);
    footer.begin(), footer.text(4, "schema"), footer.i32(5, static_cast<int64_t>(columns.size())), footer.end();
    for (const ParquetTexts& c : columns) {
      footer.begin();
      footer.i32(1, c.type), footer.i32(3, c.repetition), footer.text(4, c.name), footer.i32(6, c.converted);
      footer.end();
    }
    footer.i64(3, static_cast<int64_t>(rows));
    const size_t groups = (rows + o_.group_rows - 1) / o_.group_rows;
    footer.list(4, 12, groups);
    for (size_t g = 0; g < groups; ++g) {
      const size_t from = g * o_.group_rows, to = std::min(rows, from + o_.group_rows);
      footer.begin();
      footer.list(1, 12, columns.size());
      for (const ParquetTexts& c : columns) write_chunk(c, from, to, footer);
      footer.i64(2, 0), footer.i64(3, static_cast<int64_t>(to - from));
      footer.end();
    }
    footer.end();
    return out_ + footer.out + bytes_of(static_cast<uint32_t>(footer.out.size())) + "PAR1";
  }

 private:
  static std::string plain(const ParquetTexts& c, const std::string& value) {
    return (c.type == 6 ? bytes_of(static_cast<uint32_t>(value.size())) : "") + value;
  }
  static int width_of(size_t values) {
    int width = 0;
    while ((size_t{1} << width) < values) ++width;
    return width;
  }
  void page(int type, int64_t values, int encoding, const std::string& levels, const std::string& body, bool optional) {
    const bool second = type == 3;
    const std::string plain_levels = !optional || type == 2 ? ""
                                     : second               ? levels
                                                            : bytes_of(static_cast<uint32_t>(levels.size())) + levels;
    const std::string stored =
        second ? plain_levels + compressed(body, o_.codec) : compressed(plain_levels + body, o_.codec);
    ThriftWriter h;
    h.begin();
    h.i32(1, type), h.i32(2, static_cast<int64_t>(plain_levels.size() + body.size()));
    h.i32(3, static_cast<int64_t>(stored.size()));
    if (o_.checksums)
      h.i32(4, static_cast<int32_t>(
                   crc32(0, reinterpret_cast<const Bytef*>(stored.data()), static_cast<uInt>(stored.size()))));
    h.structure(type == 2 ? 7 : second ? 8 : 5);
    h.i32(1, values);
    if (second)
      h.i32(2, 0), h.i32(3, values), h.i32(4, encoding), h.i32(5, static_cast<int64_t>(plain_levels.size())),
          h.i32(6, 0);
    else
      h.i32(2, encoding);
    if (type == 0) h.i32(3, 3), h.i32(4, 3);
    h.end(), h.end();
    out_ += h.out + stored;
  }
  void write_chunk(const ParquetTexts& c, size_t from, size_t to, ThriftWriter& footer) {
    const size_t start = out_.size();
    std::map<std::string, uint32_t> numbers;
    std::string words;
    for (size_t i = from; o_.dictionary && i < to; ++i)
      if (c.values[i] && numbers.emplace(*c.values[i], static_cast<uint32_t>(numbers.size())).second)
        words += plain(c, *c.values[i]);
    if (o_.dictionary) page(2, static_cast<int64_t>(numbers.size()), 0, "", words, false);
    const size_t data = out_.size();
    for (size_t at = from; at < to; at += o_.page_rows) {
      const size_t stop = std::min(to, at + o_.page_rows);
      std::vector<uint32_t> levels, indices;
      std::string body;
      for (size_t i = at; i < stop; ++i) {
        levels.push_back(c.values[i].has_value());
        if (!c.values[i]) continue;
        if (o_.dictionary)
          indices.push_back(numbers[*c.values[i]]);
        else
          body += plain(c, *c.values[i]);
      }
      const int width = width_of(numbers.size());
      if (o_.dictionary) body = static_cast<char>(width) + runs_of(indices, width, at % 2 == 0);
      page(o_.second_version ? 3 : 0, static_cast<int64_t>(stop - at), o_.dictionary ? 8 : 0,
           runs_of(levels, 1, at % 3 == 0), body, c.repetition == 1);
    }
    footer.begin();
    footer.i64(2, static_cast<int64_t>(start));
    footer.structure(3);
    footer.i32(1, c.type);
    footer.list(2, 5, 1), footer.varint(0);
    footer.list(3, 8, 1), footer.element(c.name);
    footer.i32(4, o_.codec), footer.i64(5, static_cast<int64_t>(to - from));
    footer.i64(6, 0), footer.i64(7, static_cast<int64_t>(out_.size() - start));
    footer.i64(9, static_cast<int64_t>(data));
    if (o_.dictionary) footer.i64(11, static_cast<int64_t>(start));
    footer.end(), footer.end();
  }
  ParquetWriterOptions o_;
  std::string out_ = "PAR1";
};

}  // namespace puyu::test
