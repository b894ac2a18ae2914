#include "model/hf_folder.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "model/hf_config.h"
#include "model/hf_names.h"
#include "tensor/ggml_blocks.h"
#include "tensor/safetensors.h"

namespace puyu {
namespace {

namespace fs = std::filesystem;
using Write = std::function<void(std::string_view)>;

constexpr const char* kOrigin = "/origin/origin.json";
constexpr const char* kRest = "/origin/rest.safetensors";  // tensors that have no place in our model

bool is_float(DType t) { return t == DType::kF32 || t == DType::kBF16 || t == DType::kF16; }
float float_at(const Tensor& t, int64_t i) {
  if (t.dtype == DType::kF32) return static_cast<const float*>(t.data)[i];
  return t.dtype == DType::kBF16 ? to_float(static_cast<const BF16*>(t.data)[i])
                                 : to_float(static_cast<const F16*>(t.data)[i]);
}
// The bytes of a tensor in another float type, a piece at a time.
void write_as(const Tensor& t, DType dtype, const Write& write) {
  if (t.dtype == dtype) return write({static_cast<const char*>(t.data), static_cast<size_t>(t.nbytes())});
  CHECK(is_float(t.dtype) && is_float(dtype));
  const int64_t piece = 1 << 18;
  std::string out;
  for (int64_t from = 0; from < t.numel(); from += piece) {
    const int64_t n = std::min(piece, t.numel() - from);
    out.resize(static_cast<size_t>(n * dtype_size(dtype)));
    for (int64_t i = 0; i < n; ++i) {
      const float f = float_at(t, from + i);
      if (dtype == DType::kF32)
        reinterpret_cast<float*>(out.data())[i] = f;
      else
        reinterpret_cast<uint16_t*>(out.data())[i] = dtype == DType::kBF16 ? to_bf16(f).bits : f16_bits(f);
    }
    write(out);
  }
}
DType wanted(const Tensor& t, std::optional<DType> asked) { return asked && is_float(t.dtype) ? *asked : t.dtype; }
std::vector<int64_t> shape_of(const Tensor& t) { return {t.shape, t.shape + t.rank}; }

// Weights in other formats, which often lie beside the safetensors.
bool holds_other_weights(const std::string& name) {
  for (const char* end : {".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack"})
    if (name.ends_with(end)) return true;
  return false;
}

Json describe(const std::vector<HfLayout::File>& files) {
  Json list = Json::array();
  for (const auto& f : files) {
    Json j = Json::object();
    j["name"] = f.name, j["xxh3"] = hex64(hash64(f.bytes));
    list.push(std::move(j));
  }
  return list;
}

void save_origin(const std::string& folder, const HfLayout& layout) {
  make_directories(folder + "/origin");
  for (const auto& f : layout.files) write_file(folder + "/origin/" + f.name, f.bytes);
  for (const auto& f : layout.shards) write_file(folder + "/origin/" + f.name + ".header", f.bytes);
  Json j = Json::object();
  j["format"] = "puyu-origin", j["version"] = 1;
  j["files"] = describe(layout.files), j["shards"] = describe(layout.shards);
  write_file(folder + kOrigin, j.dump(2) + "\n");
}

std::vector<HfLayout::File> load_files(const std::string& folder, const Json& list, const std::string& suffix) {
  std::vector<HfLayout::File> out;
  for (const Json& j : list.as_array()) {
    const std::string& name = j.at("name").as_string();
    if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..")
      fail("'", name, "' is no file name");
    out.push_back({name, read_file(folder + "/origin/" + name + suffix)});
    if (hex64(hash64(out.back().bytes)) != j.at("xxh3").as_string())
      fail("'", name, suffix, "' is not what was put there; convert the original again");
  }
  return out;
}

HfLayout load_origin(const std::string& folder) {
  const std::string path = folder + kOrigin;
  HfLayout out;
  try {
    const Json j = Json::parse(read_file(path), path);
    if (j.at("format").as_string() != "puyu-origin" || j.at("version").as_int() != 1)
      fail("expected format puyu-origin, version 1");
    out.files = load_files(folder, j.at("files"), "");
    out.shards = load_files(folder, j.at("shards"), ".header");
  } catch (const Error& e) { fail("[model] ", path, ": ", e.what()); }
  return out;
}

// A folder's tensors by the names in its files.
struct Tensors {
  std::vector<std::unique_ptr<SafeTensors>> files;
  std::map<std::string, Tensor> by_name;
  void open(const std::string& path) {
    files.push_back(std::make_unique<SafeTensors>(path));
    for (const auto& [name, t] : files.back()->tensors()) by_name.emplace(name, t);
  }
};

// Rows of wqkv in our order that belong to part `which` of q, k, v: [kv head][rows], and back.
struct QkvRows {
  int64_t kv, size[3], offset[3], all;  // rows of a kv head
  explicit QkvRows(const ModelConfig& c) : kv(c.num_kv_heads) {
    const int64_t hd = c.hd(), q = c.num_heads / c.num_kv_heads * hd;
    size[0] = q, size[1] = size[2] = hd;
    offset[0] = 0, offset[1] = q, offset[2] = q + hd;
    all = q + 2 * hd;
  }
};

// One entry of a shard, in the order of its bytes.
struct Entry {
  std::string name;
  int64_t begin = 0;
};
std::vector<Entry> entries_of(const Json& header) {
  std::vector<Entry> out;
  for (const auto& [name, e] : header.as_object())
    if (name != "__metadata__") out.push_back({name, e.at("data_offsets").as_array().at(0).as_int()});
  std::stable_sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) { return a.begin < b.begin; });
  return out;
}

// Our tensors under the names that they have in a folder of this config.
class OurTensors {
 public:
  OurTensors(const std::string& folder, const HfConfig& origin, const HfConfig& now) : rows_(origin.model) {
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".safetensors") tensors_.open(entry.path().string());
    if (file_exists(folder + kRest)) tensors_.open(folder + kRest);
    if (now.llama_names == origin.llama_names) return;
    Model<int> model;
    model.each(origin.model, origin.head, [&](const std::string& name, int&, Spec, int64_t) {
      const std::vector<std::string> names = file_names(name, origin.llama_names);
      for (size_t i = 0; i < names.size(); ++i) ours_[names[i]] = {name, names.size() > 1 ? static_cast<int>(i) : -1};
    });
  }
  // As a pending tensor of this name; its dtype as it is or as asked.
  PendingTensor pending(const std::string& name, std::optional<DType> asked) const {
    const auto renamed = ours_.find(name);
    const std::string& ours = renamed == ours_.end() ? name : renamed->second.first;
    const auto it = tensors_.by_name.find(ours);
    if (it == tensors_.by_name.end()) fail("tensor '", ours, "' is missing");
    const Tensor t = it->second;
    const DType dtype = wanted(t, asked);
    const int part = renamed == ours_.end() ? -1 : renamed->second.second;
    std::vector<int64_t> shape = shape_of(t);
    if (part < 0) return {name, dtype, shape, [t, dtype](const Write& write) { write_as(t, dtype, write); }};
    if (t.rank < 1 || t.shape[0] != rows_.kv * rows_.all) fail("tensor '", ours, "': got ", shape_string(t));
    shape[0] = rows_.kv * rows_.size[part];
    return {name, dtype, shape, [t, dtype, part, r = rows_](const Write& write) {
              for (int64_t h = 0; h < r.kv; ++h) {
                const int64_t row = h * r.all + r.offset[part];
                write_as(t.rows(row, row + r.size[part]), dtype, write);
              }
            }};
  }

 private:
  Tensors tensors_;
  QkvRows rows_;
  std::map<std::string, std::pair<std::string, int>> ours_;  // their name -> ours, part of wqkv
};

// The header with the tensors' own dtypes and offsets; everything else as it was.
std::string new_header(const Json& old, const std::vector<PendingTensor>& tensors) {
  std::map<std::string, std::string> metadata;
  if (const Json* m = old.find("__metadata__"))
    for (const auto& [k, v] : m->as_object()) metadata[k] = v.as_string();
  return safetensors_header(tensors, metadata);
}

bool says_the_same(const Json& header, const std::vector<PendingTensor>& tensors) {
  int64_t at = 0;
  for (const PendingTensor& t : tensors) {
    const Json& e = header.at(t.name);
    int64_t bytes = dtype_size(t.dtype);
    for (int64_t n : t.shape) bytes *= n;
    const auto& offsets = e.at("data_offsets").as_array();
    if (offsets.at(0).as_int() != at || offsets.at(1).as_int() != at + bytes ||
        e.at("dtype").as_string() != safetensors_dtype(t.dtype))
      return false;
    at += bytes;
  }
  return true;
}

// What the small files say of dtype and size.
void update_files(HfLayout& layout, DType dtype, int64_t bytes) {
  for (auto& f : layout.files) {
    const bool config = f.name == "config.json", index = f.name == "model.safetensors.index.json";
    if (!config && !index) continue;
    Json j = Json::parse(f.bytes, f.name);
    if (index) j["metadata"]["total_size"] = bytes;
    const char* const name = dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
    if (config) j[j.find("dtype") ? "dtype" : "torch_dtype"] = name;
    f.bytes = j.dump(2) + "\n";
  }
}

const std::string& file_of(const HfLayout& layout, const std::string& name) {
  for (const auto& f : layout.files)
    if (f.name == name) return f.bytes;
  fail("'", name, "' is missing");
}

}  // namespace

HfLayout read_layout(const std::string& folder) {
  if (file_exists(folder + kOrigin)) return load_origin(folder);
  HfLayout out;
  std::string left_out;
  for (const std::string& path : list_files(folder)) {
    const fs::path p(path);
    const std::string name = p.filename().string();
    if (name.ends_with(".safetensors") && !fs::relative(p, folder).has_parent_path())
      out.shards.push_back({name, std::string(SafeTensors(path).header())});
    else if (fs::relative(p, folder).has_parent_path() || holds_other_weights(name))
      left_out += (left_out.empty() ? "" : ", ") + fs::relative(p, folder).string();
    else
      out.files.push_back({name, read_file(path)});
  }
  if (!left_out.empty()) log_info("[convert] left out: ", left_out);
  return out;
}

void write_ours(const std::string& in, const std::string& out, std::optional<DType> dtype, const OnTensor& on_tensor) {
  const HfConfig config = read_hf_config(in);
  const QkvRows rows(config.model);
  Tensors all;
  for (const std::string& path : list_files(in))
    if (path.ends_with(".safetensors") && fs::path(path).parent_path() == fs::path(in)) all.open(path);
  std::set<std::string> used;
  std::vector<PendingTensor> list;
  Model<int> model;
  model.each(config.model, config.head, [&](const std::string& name, int&, Spec, int64_t) {
    std::vector<Tensor> parts;
    for (const std::string& n : file_names(name, config.llama_names)) {
      if (!all.by_name.contains(n)) fail("[model] '", in, "': tensor '", n, "' is missing");
      parts.push_back(all.by_name.at(n)), used.insert(n);
    }
    const DType to = wanted(parts[0], dtype);
    if (parts.size() == 1) {
      list.push_back(
          {name, to, shape_of(parts[0]), [t = parts[0], to](const Write& write) { write_as(t, to, write); }});
      return;
    }
    std::vector<int64_t> shape = shape_of(parts[0]);
    shape[0] = rows.kv * rows.all;
    for (size_t i = 0; i < 3; ++i)
      if (parts[i].dtype != parts[0].dtype || parts[i].shape[0] != rows.kv * rows.size[i])
        fail("[model] '", in, "': q, k and v of '", name, "' do not fit together");
    list.push_back({name, to, shape, [parts, to, rows](const Write& write) {
                      for (int64_t h = 0; h < rows.kv; ++h)
                        for (size_t i = 0; i < 3; ++i)
                          write_as(parts[i].rows(h * rows.size[i], (h + 1) * rows.size[i]), to, write);
                    }});
  });
  write_safetensors(out + "/model.safetensors", safetensors_header(list, {{"format", "pt"}}), list, on_tensor);
  Json ours = to_hf_config(config.model, config.head);
  write_file(out + "/config.json", ours.dump(2) + "\n");
  save_origin(out, read_layout(in));
  std::vector<NamedTensor> rest;
  for (const auto& [name, t] : all.by_name)
    if (!used.contains(name)) rest.push_back({name, t});
  if (file_exists(in + kRest)) {
    Tensors more;
    more.open(in + kRest);
    for (const auto& [name, t] : more.by_name) rest.push_back({name, t});
    write_safetensors(out + kRest, rest, {});
  } else if (!rest.empty()) {
    write_safetensors(out + kRest, rest, {});
  }
}

void write_hf(const std::string& in, const std::string& out, std::optional<DType> dtype, const OnTensor& on_tensor) {
  HfLayout layout = read_layout(in);
  try {
    const HfConfig origin = parse_hf_config(Json::parse(file_of(layout, "config.json"), "config.json"));
    const OurTensors ours(in, origin, read_hf_config(in));
    int64_t bytes = 0;
    bool changed = false;
    DType largest = DType::kF32;
    for (const auto& shard : layout.shards) {
      const Json header = Json::parse(shard.bytes, shard.name);
      std::vector<PendingTensor> list;
      for (const Entry& e : entries_of(header)) {
        list.push_back(ours.pending(e.name, dtype));
        int64_t size = dtype_size(list.back().dtype);
        for (int64_t n : list.back().shape) size *= n;
        bytes += size;
        if (list.back().shape.size() > 1) largest = list.back().dtype;
      }
      const bool same = says_the_same(header, list);
      changed = changed || !same;
      write_safetensors(out + "/" + shard.name, same ? shard.bytes : new_header(header, list), list, on_tensor);
    }
    if (changed) update_files(layout, largest, bytes);
  } catch (const Error& e) { fail("[convert] ", in, ": ", e.what()); }
  for (const auto& f : layout.files) write_file(out + "/" + f.name, f.bytes);
}

void write_folder(Ctx& ctx, const ModelSource& source, const std::string& out, DType dtype, const OnTensor& on_tensor) {
  std::vector<PendingTensor> list;
  Model<int> model;
  model.each(source.config(), source.head(), [&](const std::string& name, int&, Spec s, int64_t) {
    std::vector<int64_t> shape{s.rows};
    if (s.cols) shape.push_back(s.cols);
    list.push_back({name, dtype, shape, [&ctx, &source, name, s, dtype](const Write& write) {
                      ScratchScope scope(*ctx.scratch);
                      const DType read = dtype == DType::kBF16 ? dtype : DType::kF32;
                      Tensor t =
                          s.cols ? ctx.scratch->alloc(read, {s.rows, s.cols}) : ctx.scratch->alloc(read, {s.rows});
                      source.read(ctx, name, t);
                      write_as(t, dtype, write);
                    }});
  });
  write_safetensors(out + "/model.safetensors", safetensors_header(list, {{"format", "pt"}}), list, on_tensor);
  write_file(out + "/config.json", to_hf_config(source.config(), source.head()).dump(2) + "\n");
}

}  // namespace puyu
