#include "tensor/gguf.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/error.h"

namespace puyu {
namespace {

constexpr uint32_t kVersion = 3;
constexpr int64_t kAlignment = 32;
constexpr uint64_t kMaxEntries = 1 << 20;

size_t scalar_size(GgufType t) {
  switch (t) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
    case GgufType::kString:  // its length, at least
      return 8;
    default:
      return 0;
  }
}

// Reads from the mapped bytes; every step checks what is left.
class Cursor {
 public:
  Cursor(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  template <class T>
  T scalar(const char* what) {
    need(sizeof(T), what);
    T v;
    std::memcpy(&v, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return v;
  }
  std::string text(const char* what) {
    const auto n = scalar<uint64_t>(what);
    need(n, what);
    std::string out(bytes_.substr(at_, n));
    at_ += n;
    return out;
  }
  Json value(GgufType type, const std::string& key) {
    switch (type) {
      case GgufType::kU8:
        return static_cast<int64_t>(scalar<uint8_t>("a value"));
      case GgufType::kI8:
        return static_cast<int64_t>(scalar<int8_t>("a value"));
      case GgufType::kU16:
        return static_cast<int64_t>(scalar<uint16_t>("a value"));
      case GgufType::kI16:
        return static_cast<int64_t>(scalar<int16_t>("a value"));
      case GgufType::kU32:
        return static_cast<int64_t>(scalar<uint32_t>("a value"));
      case GgufType::kI32:
        return static_cast<int64_t>(scalar<int32_t>("a value"));
      case GgufType::kF32:
        return static_cast<double>(scalar<float>("a value"));
      case GgufType::kBool:
        return scalar<uint8_t>("a value") != 0;
      case GgufType::kString:
        return text("a text");
      case GgufType::kI64:
        return scalar<int64_t>("a value");
      case GgufType::kF64:
        return scalar<double>("a value");
      case GgufType::kU64: {
        const auto v = scalar<uint64_t>("a value");
        if (v > INT64_MAX) fail("[gguf] ", path_, ": '", key, "': ", v, " is larger than 63 bits hold");
        return static_cast<int64_t>(v);
      }
      default:
        fail("[gguf] ", path_, ": '", key, "': unknown type ", static_cast<uint32_t>(type));
    }
  }
  void need(uint64_t n, const char* what) const {
    if (n > bytes_.size() - at_)
      fail("[gguf] ", path_, ": ", what, " of ", n, " bytes at byte ", at_, " reaches beyond the end (", bytes_.size(),
           " bytes); is the file cut off?");
  }
  size_t at() const { return at_; }

 private:
  std::string_view bytes_;
  const std::string& path_;
  size_t at_ = 0;
};

GgufValue read_value(Cursor& c, const std::string& key, const std::string& path) {
  GgufValue v;
  v.type = static_cast<GgufType>(c.scalar<uint32_t>("a type"));
  if (v.type != GgufType::kArray) {
    v.value = c.value(v.type, key);
    return v;
  }
  v.element = static_cast<GgufType>(c.scalar<uint32_t>("a type"));
  const auto n = c.scalar<uint64_t>("a count");
  const size_t least = scalar_size(v.element);
  if (least == 0)
    fail("[gguf] ", path, ": '", key, "': arrays of type ", static_cast<uint32_t>(v.element), " are not read");
  if (n > UINT64_MAX / least) fail("[gguf] ", path, ": '", key, "': impossible count ", n);
  c.need(n * least, "an array");
  v.value = Json::array();
  for (uint64_t i = 0; i < n; ++i) v.value.push(c.value(v.element, key));
  return v;
}

struct Info {
  std::string name;
  GgufTensor tensor;
  uint64_t offset = 0;
};

Info read_info(Cursor& c, const std::string& path) {
  Info i;
  i.name = c.text("a tensor's name");
  auto bad = [&](const auto&... why) { fail("[gguf] ", path, ": tensor '", i.name, "': ", why...); };
  const auto dims = c.scalar<uint32_t>("dimensions");
  if (dims < 1 || dims > 4) bad("expected 1 to 4 dimensions, got ", dims);
  int64_t n = 1;
  for (uint32_t d = 0; d < dims; ++d) {
    const auto size = c.scalar<uint64_t>("a dimension");
    if (size == 0 || size > static_cast<uint64_t>(INT64_MAX / 8 / n)) bad("impossible shape");
    n *= static_cast<int64_t>(size);
    i.tensor.shape.insert(i.tensor.shape.begin(), static_cast<int64_t>(size));
  }
  i.tensor.type = static_cast<GgmlType>(c.scalar<uint32_t>("a type"));
  const GgmlFormat* f = ggml_format(i.tensor.type);
  if (!f)
    bad("ggml type ", static_cast<uint32_t>(i.tensor.type),
        " is not read; f32, f16, bf16, q4_0 to q8_0, q4_k, q5_k and q6_k are");
  if (i.tensor.shape.back() % f->block)
    bad("rows of ", i.tensor.shape.back(), " are no multiple of ", f->name, "'s ", f->block);
  i.tensor.bytes = n / f->block * f->bytes;
  i.offset = c.scalar<uint64_t>("an offset");
  return i;
}

void put(std::string& out, const void* p, size_t n) { out.append(static_cast<const char*>(p), n); }
template <class T>
void put(std::string& out, T v) {
  put(out, &v, sizeof(v));
}
void put_text(std::string& out, const std::string& s) {
  put<uint64_t>(out, s.size());
  out += s;
}
void put_value(std::string& out, GgufType type, const Json& v) {
  switch (type) {
    case GgufType::kU32:
      return put(out, static_cast<uint32_t>(v.as_int()));
    case GgufType::kI32:
      return put(out, static_cast<int32_t>(v.as_int()));
    case GgufType::kF32:
      return put(out, static_cast<float>(v.as_double()));
    case GgufType::kBool:
      return put(out, static_cast<uint8_t>(v.as_bool()));
    case GgufType::kString:
      return put_text(out, v.as_string());
    default:
      CHECK(false, "this type is read only");
  }
}
int64_t aligned(int64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }
int64_t bytes_of(const GgufOut& t) {
  int64_t n = 1;
  for (int64_t d : t.shape) n *= d;
  return n / ggml_format(t.type)->block * ggml_format(t.type)->bytes;
}

}  // namespace

int64_t GgufTensor::numel() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

Gguf::Gguf(const std::string& path) : file_(path) {
  const std::string_view all = file_.bytes();
  Cursor c(all, path);
  if (!all.starts_with("GGUF")) fail("[gguf] ", path, ": expected the magic GGUF; this is no GGUF file");
  c.scalar<uint32_t>("the magic");
  version_ = c.scalar<uint32_t>("the version");
  if (version_ != 2 && version_ != 3) fail("[gguf] ", path, ": expected version 2 or 3, got ", version_);
  const auto tensors = c.scalar<uint64_t>("a count"), values = c.scalar<uint64_t>("a count");
  if (tensors > kMaxEntries || values > kMaxEntries)
    fail("[gguf] ", path, ": impossible counts: ", tensors, " tensors, ", values, " key-values");
  for (uint64_t i = 0; i < values; ++i) {
    const std::string key = c.text("a key");
    GgufValue v = read_value(c, key, path);
    if (!metadata_.emplace(key, std::move(v)).second) fail("[gguf] ", path, ": key '", key, "' stands there twice");
  }
  std::vector<Info> infos;
  for (uint64_t i = 0; i < tensors; ++i) infos.push_back(read_info(c, path));
  const int64_t alignment = integer("general.alignment", kAlignment);
  if (alignment < 8 || alignment > 1 << 20 || (alignment & (alignment - 1)))
    fail("[gguf] ", path, ": general.alignment: expected a power of two from 8 on, got ", alignment);
  const auto begin =
      (c.at() + static_cast<size_t>(alignment) - 1) / static_cast<size_t>(alignment) * static_cast<size_t>(alignment);
  const size_t size = begin > all.size() ? 0 : all.size() - begin;
  std::sort(infos.begin(), infos.end(), [](const Info& a, const Info& b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (Info& i : infos) {
    const auto bytes = static_cast<uint64_t>(i.tensor.bytes);
    if (i.offset % static_cast<uint64_t>(alignment) || i.offset < end)
      fail("[gguf] ", path, ": tensor '", i.name, "' at ", i.offset, " overlaps another or is not aligned");
    if (i.offset > size || bytes > size - i.offset)
      fail("[gguf] ", path, ": tensor '", i.name, "' lies outside the file; is it cut off?");
    end = i.offset + bytes;
    i.tensor.data = all.data() + begin + i.offset;
    if (!tensors_.emplace(i.name, i.tensor).second) fail("[gguf] ", path, ": tensor '", i.name, "' stands there twice");
  }
}

const Json* Gguf::find(const std::string& key) const {
  const auto it = metadata_.find(key);
  return it == metadata_.end() ? nullptr : &it->second.value;
}
std::string Gguf::text(const std::string& key) const {
  const Json* v = find(key);
  if (!v || !v->is_string())
    fail("[gguf] ", path(), ": '", key, "': expected a text, got ", v ? v->type_name() : "nothing");
  return v->as_string();
}
int64_t Gguf::integer(const std::string& key) const {
  const Json* v = find(key);
  if (!v || !v->is_int())
    fail("[gguf] ", path(), ": '", key, "': expected an integer, got ", v ? v->type_name() : "nothing");
  return v->as_int();
}
int64_t Gguf::integer(const std::string& key, int64_t fallback) const { return find(key) ? integer(key) : fallback; }
double Gguf::number(const std::string& key, double fallback) const {
  const Json* v = find(key);
  if (v && !v->is_number()) fail("[gguf] ", path(), ": '", key, "': expected a number, got ", v->type_name());
  return v ? v->as_double() : fallback;
}
bool Gguf::boolean(const std::string& key, bool fallback) const {
  const Json* v = find(key);
  if (v && !v->is_bool()) fail("[gguf] ", path(), ": '", key, "': expected true or false, got ", v->type_name());
  return v ? v->as_bool() : fallback;
}

void write_gguf(const std::string& path, const GgufMetadata& metadata, const std::vector<GgufOut>& tensors,
                const std::function<void(int64_t)>& on_tensor) {
  std::string head = "GGUF";
  put(head, kVersion);
  put<uint64_t>(head, tensors.size());
  put<uint64_t>(head, metadata.list.size());
  for (const auto& [key, v] : metadata.list) {
    put_text(head, key);
    put(head, static_cast<uint32_t>(v.type));
    if (v.type != GgufType::kArray) {
      put_value(head, v.type, v.value);
      continue;
    }
    put(head, static_cast<uint32_t>(v.element));
    put<uint64_t>(head, v.value.size());
    for (const Json& e : v.value.as_array()) put_value(head, v.element, e);
  }
  int64_t at = 0;
  for (const GgufOut& t : tensors) {
    put_text(head, t.name);
    put(head, static_cast<uint32_t>(t.shape.size()));
    for (size_t d = t.shape.size(); d-- > 0;) put(head, static_cast<uint64_t>(t.shape[d]));
    put(head, static_cast<uint32_t>(t.type));
    put(head, static_cast<uint64_t>(at));
    at += aligned(bytes_of(t));
  }
  AtomicFile f(path);
  head.resize(static_cast<size_t>(aligned(static_cast<int64_t>(head.size()))), '\0');
  f.write(head);
  for (const GgufOut& t : tensors) {
    std::string bytes = t.data();
    CHECK(static_cast<int64_t>(bytes.size()) == bytes_of(t), "a tensor of another size than announced");
    bytes.resize(static_cast<size_t>(aligned(static_cast<int64_t>(bytes.size()))), '\0');
    f.write(bytes);
    if (on_tensor) on_tensor(bytes_of(t));
  }
  f.commit();
}

}  // namespace puyu
