#include "data/parquet_format.h"

#include <cstring>

#include "data/ascii.h"

namespace puyu {
namespace {

constexpr int kMostDepth = 24;
constexpr size_t kMostColumns = 100000;

// Thrift's compact protocol, read from memory. Types: 1, 2 booleans (the value is in the type), 3 byte, 4-6 zigzag
// integers, 7 double, 8 binary, 9 list, 10 set, 11 map, 12 struct.
class Thrift {
 public:
  enum Type : int { kTrue = 1, kFalse, kByte, kI16, kI32, kI64, kDouble, kBinary, kList, kSet, kMap, kStruct };
  explicit Thrift(std::string_view bytes) : bytes_(bytes) {}
  size_t at() const { return at_; }

  // fn(id, type) for each field of a struct; it reads the value or skips it.
  template <class F>
  void each_field(F&& fn) {
    const Deeper deeper(*this);
    for (int64_t id = 0;;) {
      const int head = byte();
      if (head == 0) return;
      id = head >> 4 ? id + (head >> 4) : integer();
      fn(id, head & 15);
    }
  }
  // fn(type) for each element of a list.
  template <class F>
  void each_element(int type, F&& fn) {
    if (type != kList && type != kSet) bad_parquet("expected a list in the metadata");
    const Deeper deeper(*this);
    const int head = byte();
    uint64_t n = static_cast<uint64_t>(head >> 4);
    if (n == 15) n = varint();
    if (n > bytes_.size() - at_) bad_parquet("a list in the metadata is longer than the metadata");  // 1 byte at least
    for (; n; --n) fn(head & 15);
  }
  int64_t integer(int type) {
    if (type == kByte) return static_cast<int8_t>(byte());
    if (type < kI16 || type > kI64) bad_parquet("expected a number in the metadata");
    return integer();
  }
  bool boolean(int type) {
    if (type != kTrue && type != kFalse) bad_parquet("expected true or false in the metadata");
    return type == kTrue;
  }
  std::string_view binary(int type) {
    if (type != kBinary) bad_parquet("expected text in the metadata");
    return take(varint());
  }
  void expect_struct(int type) {
    if (type != kStruct) bad_parquet("expected a structure in the metadata");
  }
  void skip(int type, bool in_list = false) {
    if (type == kTrue || type == kFalse) {
      if (in_list) byte();
    } else if (type == kByte) {
      byte();
    } else if (type >= kI16 && type <= kI64) {
      varint();
    } else if (type == kDouble) {
      take(8);
    } else if (type == kBinary) {
      take(varint());
    } else if (type == kList || type == kSet) {
      each_element(type, [&](int t) { skip(t, true); });
    } else if (type == kMap) {
      skip_map();
    } else if (type == kStruct) {
      each_field([&](int64_t, int t) { skip(t); });
    } else {
      bad_parquet("a type in the metadata that Thrift does not have");
    }
  }

 private:
  struct Deeper {
    explicit Deeper(Thrift& t) : t_(t) {
      if (++t_.depth_ > kMostDepth) bad_parquet("the metadata is nested too deep");
    }
    ~Deeper() { --t_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    Thrift& t_;
  };
  void skip_map() {
    const Deeper deeper(*this);
    const uint64_t n = varint();
    if (n > bytes_.size() - at_) bad_parquet("a map in the metadata is longer than the metadata");
    const int types = n ? byte() : 0;
    for (uint64_t i = 0; i < n; ++i) skip(types >> 4, true), skip(types & 15, true);
  }
  int byte() { return static_cast<unsigned char>(take(1)[0]); }
  uint64_t varint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto b = static_cast<uint64_t>(byte());
      v |= (b & 127) << shift;
      if (b < 128) return v;
    }
    bad_parquet("a number in the metadata does not end");
  }
  int64_t integer() {
    const uint64_t v = varint();
    return static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1);
  }
  std::string_view take(uint64_t n) {
    if (n > bytes_.size() - at_) bad_parquet("the metadata breaks off");
    const std::string_view out = bytes_.substr(at_, n);
    at_ += n;
    return out;
  }
  std::string_view bytes_;
  size_t at_ = 0;
  int depth_ = 0;
};

struct SchemaElement {
  std::string name;
  int64_t type = -1, repetition = 0, children = 0;
  ParquetTime time = ParquetTime::kNone;
};

// LogicalType: a union; 6 is DATE, 8 TIMESTAMP with its unit in field 2.
ParquetTime read_logical_type(Thrift& in) {
  ParquetTime time = ParquetTime::kNone;
  in.each_field([&](int64_t kind, int t) {
    if (kind == 6) time = ParquetTime::kDays;
    if (kind != 8) return in.skip(t);
    in.expect_struct(t);
    in.each_field([&](int64_t field, int type) {
      if (field != 2) return in.skip(type);
      in.expect_struct(type);
      in.each_field([&](int64_t unit, int u) {
        if (unit >= 1 && unit <= 3) time = static_cast<ParquetTime>(static_cast<int>(ParquetTime::kMillis) + unit - 1);
        in.skip(u);
      });
    });
  });
  return time;
}

SchemaElement read_schema_element(Thrift& in) {
  SchemaElement e;
  in.each_field([&](int64_t id, int t) {
    if (id == 1) {
      e.type = in.integer(t);
    } else if (id == 3) {
      e.repetition = in.integer(t);
    } else if (id == 4) {
      e.name = in.binary(t);
    } else if (id == 5) {
      e.children = in.integer(t);
    } else if (id == 6) {
      const int64_t converted = in.integer(t);
      if (e.time != ParquetTime::kNone) return;
      if (converted == 6) e.time = ParquetTime::kDays;
      if (converted == 9) e.time = ParquetTime::kMillis;
      if (converted == 10) e.time = ParquetTime::kMicros;
    } else if (id == 10) {
      in.expect_struct(t);
      if (ParquetTime time = read_logical_type(in); time != ParquetTime::kNone) e.time = time;
    } else {
      in.skip(t);
    }
  });
  return e;
}

ParquetType type_of(int64_t number) {
  if (number < 0 || number >= static_cast<int64_t>(ParquetType::kNone)) bad_parquet("an unknown type of column");
  return static_cast<ParquetType>(number);
}

// The tree, written depth first, as its top level; each leaf has a chunk in every row group.
std::vector<ParquetColumn> top_level(const std::vector<SchemaElement>& schema) {
  if (schema.empty() || schema[0].children < 0) bad_parquet("no schema in the footer");
  std::vector<ParquetColumn> out;
  size_t at = 1, leaf = 0;
  for (int64_t c = 0; c < schema[0].children; ++c) {
    if (at >= schema.size()) bad_parquet("the schema breaks off");
    const SchemaElement& e = schema[at];
    ParquetColumn column{e.name, ParquetType::kNone, e.time, e.repetition == 1, e.children > 0 || e.repetition == 2,
                         leaf};
    if (e.children == 0) column.type = type_of(e.type);
    out.push_back(column);
    for (int64_t open = 1; open > 0; --open, ++at) {  // it and all below
      if (at >= schema.size()) bad_parquet("the schema breaks off");
      if (schema[at].children < 0 || schema[at].children > static_cast<int64_t>(schema.size()))
        bad_parquet("the schema is none");
      leaf += schema[at].children == 0;
      open += schema[at].children;
    }
  }
  if (at != schema.size()) bad_parquet("the schema has elements without a parent");
  return out;
}

void read_column_metadata(Thrift& in, ParquetChunk& c) {
  in.each_field([&](int64_t id, int t) {
    if (id == 1)
      c.type = type_of(in.integer(t));
    else if (id == 3)
      in.each_element(t, [&](int e) { c.path.emplace_back(in.binary(e)); });
    else if (id == 4)
      c.codec = in.integer(t);
    else if (id == 5)
      c.values = in.integer(t);
    else if (id == 7)
      c.bytes = in.integer(t);
    else if (id == 9)
      c.data_offset = in.integer(t);
    else if (id == 11)
      c.dictionary_offset = in.integer(t);
    else
      in.skip(t);
  });
}

ParquetGroup read_group(Thrift& in) {
  ParquetGroup g;
  in.each_field([&](int64_t id, int t) {
    if (id == 3) {
      g.rows = in.integer(t);
    } else if (id == 1) {
      in.each_element(t, [&](int e) {
        in.expect_struct(e);
        ParquetChunk& c = g.chunks.emplace_back();
        in.each_field([&](int64_t field, int type) {
          if (field == 1) c.elsewhere = true;
          if (field == 8 || field == 9) c.encrypted = true;
          if (field != 3) return in.skip(type);
          in.expect_struct(type);
          read_column_metadata(in, c);
        });
      });
    } else {
      in.skip(t);
    }
  });
  if (g.rows < 0) bad_parquet("a row group with less than no rows");
  return g;
}

uint32_t little_endian(std::string_view four) {
  uint32_t v = 0;
  std::memcpy(&v, four.data(), 4);
  return v;
}

}  // namespace

void bad_parquet(const std::string& what) { throw ParquetError("bad_parquet", what); }

ParquetFooter read_parquet_footer(std::string_view file) {
  constexpr std::string_view kMagic = "PAR1";
  if (file.ends_with("PARE")) throw ParquetError("parquet_encrypted", "the file is encrypted");
  if (!file.starts_with(kMagic)) bad_parquet("the file does not begin with PAR1");
  if (file.size() < 12 || !file.ends_with(kMagic))
    throw ParquetError("truncated_parquet", "the file does not end with PAR1: it is cut off");
  const size_t length = little_endian(file.substr(file.size() - 8));
  if (length > file.size() - 12) bad_parquet("the footer is longer than the file");
  Thrift in(file.substr(file.size() - 8 - length, length));
  std::vector<SchemaElement> schema;
  ParquetFooter footer;
  in.each_field([&](int64_t id, int t) {
    if (id == 2) {
      in.each_element(t, [&](int e) {
        in.expect_struct(e);
        if (schema.size() == kMostColumns) bad_parquet("more than 100000 columns");
        schema.push_back(read_schema_element(in));
      });
    } else if (id == 4) {
      in.each_element(t, [&](int e) { in.expect_struct(e), footer.groups.push_back(read_group(in)); });
    } else if (id == 8) {
      throw ParquetError("parquet_encrypted", "columns of the file are encrypted");
    } else {
      in.skip(t);
    }
  });
  footer.columns = top_level(schema);
  return footer;
}

ParquetPageHeader read_parquet_page_header(std::string_view bytes, size_t& length) {
  Thrift in(bytes);
  ParquetPageHeader h;
  auto read_body = [&](int type, int64_t encoding_id, int64_t level_id) {
    in.expect_struct(type);
    in.each_field([&](int64_t id, int t) {
      if (id == 1)
        h.values = in.integer(t);
      else if (id == encoding_id)
        h.encoding = in.integer(t);
      else if (id == level_id)
        h.level_encoding = in.integer(t);
      else if (id == 5 && encoding_id == 4)
        h.definition_bytes = in.integer(t);
      else if (id == 6 && encoding_id == 4)
        h.repetition_bytes = in.integer(t);
      else if (id == 7 && encoding_id == 4)
        h.is_compressed = in.boolean(t);
      else
        in.skip(t);
    });
  };
  int64_t type = -1;
  in.each_field([&](int64_t id, int t) {
    if (id == 1) {
      type = in.integer(t);
    } else if (id == 2) {
      h.uncompressed = in.integer(t);
    } else if (id == 3) {
      h.compressed = in.integer(t);
    } else if (id == 4) {
      h.has_crc = true, h.crc = static_cast<uint32_t>(in.integer(t));
    } else if (id == 5 || id == 7) {
      read_body(t, 2, id == 5 ? 3 : -1);
    } else if (id == 8) {
      read_body(t, 4, -1);
    } else {
      in.skip(t);
    }
  });
  if (type < 0 || type > 3) bad_parquet("an unknown type of page");
  h.type = static_cast<ParquetPage>(type);
  if (h.uncompressed < 0 || h.compressed < 0) bad_parquet("a page without a size");
  if (h.type != ParquetPage::kIndex && h.values < 0) bad_parquet("a page without a number of values");
  length = in.at();
  return h;
}

std::string parquet_encoding_name(int64_t encoding) {
  constexpr const char* kNames[] = {
      "plain",          "group_var_int",       "plain_dictionary",        "rle",
      "bit_packed",     "delta_binary_packed", "delta_length_byte_array", "delta_byte_array",
      "rle_dictionary", "byte_stream_split"};
  return encoding >= 0 && encoding < 10 ? kNames[encoding] : "unknown";
}

std::string parquet_codec_name(int64_t codec) {
  constexpr const char* kNames[] = {"none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4_raw"};
  return codec >= 0 && codec < 8 ? kNames[codec] : "unknown";
}

}  // namespace puyu
