#include "tensor/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"

namespace puyu {
namespace {

constexpr size_t kMaxHeader = 100u << 20;  // the reference implementation's limit

struct Name {
  DType dtype;
  const char* text;
};
constexpr Name kNames[] = {{DType::kF32, "F32"}, {DType::kBF16, "BF16"}, {DType::kF16, "F16"}, {DType::kI32, "I32"},
                           {DType::kI64, "I64"}, {DType::kI8, "I8"},     {DType::kU8, "U8"}};

std::optional<DType> parse_dtype(const std::string& s) {
  for (const Name& n : kNames)
    if (s == n.text) return n.dtype;
  return std::nullopt;
}

Tensor parse_entry(const std::string& name, const Json& j, std::string_view data, const std::string& path,
                   int64_t& begin, int64_t& end) {
  auto bad = [&](const auto&... why) { fail("[safetensors] ", path, ": tensor '", name, "': ", why...); };
  Tensor t;
  auto dtype = parse_dtype(j.at("dtype").as_string());
  if (!dtype) bad("unsupported dtype '", j.at("dtype").as_string(), "'");
  t.dtype = *dtype;
  const auto& shape = j.at("shape").as_array();
  if (shape.size() > 4) bad("rank ", shape.size(), ", at most 4 is supported");
  int64_t n = 1;
  for (const Json& s : shape) {
    int64_t v = s.as_int();
    if (v < 0 || (v > 0 && n > INT64_MAX / 8 / v)) bad("impossible shape");
    n *= v;
    t.shape[t.rank++] = v;
  }
  const auto& off = j.at("data_offsets").as_array();
  if (off.size() != 2) bad("data_offsets must be [begin, end]");
  begin = off[0].as_int(), end = off[1].as_int();
  if (begin < 0 || end < begin || static_cast<uint64_t>(end) > data.size())
    bad("data_offsets [", begin, ", ", end, "] lie outside the ", data.size(), " bytes of data; is the file cut off?");
  if (end - begin != t.nbytes())
    bad("shape ", shape_string(t), " needs ", t.nbytes(), " bytes, data_offsets give ", end - begin);
  t.data = const_cast<char*>(data.data()) + begin;
  return t;
}

}  // namespace

const char* safetensors_dtype(DType t) {
  return std::find_if(std::begin(kNames), std::end(kNames), [&](const Name& n) { return n.dtype == t; })->text;
}

SafeTensors::SafeTensors(const std::string& path) : file_(path) {
  std::string_view all = file_.bytes();
  uint64_t n = 0;
  if (all.size() < 8) fail("[safetensors] ", path, ": ", all.size(), " bytes is too short for a header");
  std::memcpy(&n, all.data(), 8);
  if (n > kMaxHeader || n > all.size() - 8)
    fail("[safetensors] ", path, ": header of ", n, " bytes in a file of ", all.size(),
         "; not a safetensors file, or cut off");
  data_begin_ = 8 + n;
  Json header = Json::parse(all.substr(8, n), path);
  std::vector<std::pair<int64_t, int64_t>> ranges;
  try {
    for (const auto& [name, entry] : header.as_object()) {
      if (name == "__metadata__") {
        for (const auto& [k, v] : entry.as_object()) metadata_[k] = v.as_string();
        continue;
      }
      int64_t b = 0, e = 0;
      tensors_[name] = parse_entry(name, entry, data(), path, b, e);
      ranges.emplace_back(b, e);
    }
  } catch (const Error& e) {
    if (std::string_view(e.what()).starts_with("[safetensors]")) throw;
    fail("[safetensors] ", path, ": header: ", e.what());
  }
  std::sort(ranges.begin(), ranges.end());
  int64_t at = 0;
  for (auto [b, e] : ranges) {
    if (b != at)
      fail("[safetensors] ", path, ": tensors overlap or leave a hole at byte ", std::min(b, at), " of the data");
    at = e;
  }
  if (static_cast<uint64_t>(at) != data().size())
    fail("[safetensors] ", path, ": the header describes ", at, " bytes of data, the file has ", data().size(),
         "; it is cut off or has trailing bytes");
}

const Tensor* SafeTensors::find(const std::string& name) const {
  auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

std::string safetensors_header(const std::vector<PendingTensor>& tensors,
                               const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) {
    Json m = Json::object();
    for (const auto& [k, v] : metadata) m[k] = v;
    header["__metadata__"] = std::move(m);
  }
  int64_t at = 0;
  for (const PendingTensor& t : tensors) {
    Json shape = Json::array(), offsets = Json::array();
    int64_t bytes = dtype_size(t.dtype);
    for (int64_t n : t.shape) shape.push(n), bytes *= n;
    offsets.push(at);
    offsets.push(at += bytes);
    Json e = Json::object();
    e["dtype"] = safetensors_dtype(t.dtype);
    e["shape"] = std::move(shape);
    e["data_offsets"] = std::move(offsets);
    CHECK(!header.find(t.name), "two tensors have one name");
    header[t.name] = std::move(e);
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // the data starts 8-byte aligned
  return text;
}

std::string safetensors_begin(std::string_view header) {
  const uint64_t n = header.size();
  return cat(std::string_view(reinterpret_cast<const char*>(&n), 8), header);
}

uint64_t write_safetensors(const std::string& path, std::string_view header, const std::vector<PendingTensor>& tensors,
                           const std::function<void(int64_t)>& on_tensor) {
  AtomicFile f(path);
  f.write(safetensors_begin(header));
  Hasher hash;
  for (const PendingTensor& t : tensors) {
    int64_t want = dtype_size(t.dtype), got = 0;
    for (int64_t s : t.shape) want *= s;
    t.data([&](std::string_view bytes) {
      hash.update(bytes);
      f.write(bytes);
      got += static_cast<int64_t>(bytes.size());
    });
    CHECK(got == want, "a tensor gave another number of bytes than its shape says");
    if (on_tensor) on_tensor(want);
  }
  f.commit();
  return hash.digest();
}

std::vector<PendingTensor> pending(const std::vector<NamedTensor>& tensors) {
  std::vector<PendingTensor> list;
  for (const auto& [name, t] : tensors)
    list.push_back({name, t.dtype, {t.shape, t.shape + t.rank}, [t = t](const auto& write) {
                      write({static_cast<const char*>(t.data), static_cast<size_t>(t.nbytes())});
                    }});
  return list;
}

uint64_t write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                           const std::map<std::string, std::string>& metadata) {
  const std::vector<PendingTensor> list = pending(tensors);
  return write_safetensors(path, safetensors_header(list, metadata), list);
}

}  // namespace puyu
