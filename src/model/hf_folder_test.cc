// Hugging Face's folders through ours and back: the same bytes of every file.
#include "model/hf_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "model/hf_config.h"
#include "model/hf_names.h"
#include "tensor/safetensors.h"

namespace puyu {
namespace {

ModelConfig shape() {
  ModelConfig c;
  c.vocab_size = 40, c.hidden_size = 32, c.num_layers = 3, c.num_heads = 4, c.num_kv_heads = 2;
  c.intermediate_size = 48, c.max_position = 64;
  return c;
}

struct Entry {
  std::string name, dtype, shape, bytes;
};

// A shard written by hand, with a header as another program may write it: keys in an order of their own, spaces,
// metadata at the end.
void write_shard(const std::string& path, const std::vector<Entry>& entries, bool odd) {
  std::string header = odd ? "{ " : "{", data;
  std::vector<std::string> items;
  for (const Entry& e : entries) {
    items.push_back(cat("\"", e.name, "\":{\"shape\":", e.shape, odd ? ", " : ",", "\"data_offsets\":[", data.size(),
                        ",", data.size() + e.bytes.size(), "],\"dtype\":\"", e.dtype, "\"}"));
    data += e.bytes;
  }
  if (odd) std::reverse(items.begin(), items.end());
  for (const std::string& item : items) header += item + ",";
  header += R"("__metadata__":{"format":"pt","by":"a test"}})";
  header.append(odd ? 3 : 8 - header.size() % 8, ' ');
  uint64_t n = header.size();
  write_file(path, std::string(reinterpret_cast<const char*>(&n), 8) + header + data);
}

// Random bits, so also infinities and NaNs of every kind: bytes are to survive, not numbers.
std::string random_bytes(Rng& rng, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += static_cast<char>(rng.below(256));
  return out;
}

struct Kind {
  std::string type, dtype;
  size_t shards;
  bool odd, mixed = false;
};

void make_folder(const std::string& dir, const Kind& kind) {
  make_directories(dir);
  const bool llama = kind.type != "internlm2";
  Rng rng(7);
  std::vector<Entry> all;
  auto add = [&](const std::string& name, std::vector<int64_t> dims, const std::string& dtype) {
    int64_t n = dtype == "F32" ? 4 : 2;
    std::string text;
    for (int64_t d : dims) n *= d, text += cat(text.empty() ? "[" : ",", d);
    all.push_back({name, dtype, text + "]", random_bytes(rng, static_cast<size_t>(n))});
  };
  Model<int> model;
  model.each(shape(), Head::kLanguage, [&](const std::string& name, int&, Spec s, int64_t) {
    const std::vector<std::string> names = file_names(name, llama);
    const int64_t rows[] = {32, 16, 16};
    for (size_t i = 0; i < names.size(); ++i)
      add(names[i],
          s.cols ? std::vector<int64_t>{names.size() > 1 ? rows[i] : s.rows, s.cols} : std::vector<int64_t>{s.rows},
          kind.mixed && !s.cols ? "F32" : kind.dtype);
  });
  if (llama) add("model.layers.0.self_attn.rotary_emb.inv_freq", {4}, "F32");  // no tensor of ours
  Json index = Json::object();
  index["metadata"]["total_size"] = 123456, index["metadata"]["note"] = "ours";
  for (size_t s = 0; s < kind.shards; ++s) {
    const std::string file =
        kind.shards == 1 ? "model.safetensors" : cat("model-0000", s + 1, "-of-0000", kind.shards, ".safetensors");
    std::vector<Entry> part;
    for (size_t i = 0; i < all.size(); ++i)
      if (i * kind.shards / all.size() == s) part.push_back(all[i]), index["weight_map"][all[i].name] = file;
    write_shard(dir + "/" + file, part, kind.odd);
  }
  if (kind.shards > 1) write_file(dir + "/model.safetensors.index.json", index.dump(4) + "\n\n");
  write_file(
      dir + "/config.json",
      cat(R"({"architectures":["XForCausalLM"], "model_type":")", kind.type,
          R"(", "vocab_size":40,"hidden_size":32,"num_hidden_layers":3,"num_attention_heads":4,)",
          R"("num_key_value_heads":2,"intermediate_size":48,"rms_norm_eps":1e-05,"rope_theta":1e6,)",
          R"("max_position_embeddings":64,"hidden_act":"silu","torch_dtype":"float16","auto_map":{"a":"b.C"}})"));
  write_file(dir + "/tokenizer.model", random_bytes(rng, 100));
  write_file(dir + "/tokenizer_config.json", "{ \"odd\" : 1 }");
  write_file(dir + "/modeling_x.py", "print('code that came along')\n");
  write_file(dir + "/pytorch_model.bin", "the same weights again");
}

std::map<std::string, std::string> contents(const std::string& dir) {
  std::map<std::string, std::string> out;
  for (const std::string& path : list_files(dir)) out[std::filesystem::relative(path, dir).string()] = read_file(path);
  return out;
}

void expect_same_folder(const std::string& a, const std::string& b, const std::string& what) {
  auto want = contents(a);
  const auto got = contents(b);
  want.erase("pytorch_model.bin");
  for (const auto& [name, bytes] : want) {
    ASSERT_TRUE(got.contains(name)) << what << ": " << name;
    EXPECT_TRUE(got.at(name) == bytes) << what << ": " << name << " differs";
  }
  for (const auto& [name, bytes] : got) EXPECT_TRUE(want.contains(name)) << what << ": " << name << " is new";
}

TEST(HfFolder, ComesBackByteForByte) {
  const Kind kinds[] = {{"internlm2", "F16", 3, false},     {"internlm2", "BF16", 1, false},
                        {"internlm2", "BF16", 2, true},     {"llama", "F16", 3, true},
                        {"llama", "BF16", 1, false},        {"internlm3", "F32", 2, false, true},
                        {"mistral", "BF16", 4, false, true}};
  for (const Kind& kind : kinds) {
    test::TempDir dir;
    const std::string in = dir / "in", ours = dir / "ours", again = dir / "again", out = dir / "out",
                      direct = dir / "direct", what = cat(kind.type, " ", kind.dtype, " ", kind.shards);
    make_folder(in, kind);
    for (const std::string& d : {ours, again, out, direct}) make_directories(d);
    write_ours(in, ours, {}, {});
    EXPECT_EQ(open_model_source(ours)->family(), "internlm2");
    write_ours(ours, again, {}, {});  // ours of ours remembers too
    EXPECT_EQ(read_file(ours + "/model.safetensors"), read_file(again + "/model.safetensors"));
    write_hf(again, out, {}, {});
    expect_same_folder(in, out, what);
    write_hf(in, direct, {}, {});
    expect_same_folder(in, direct, what + " at once");
  }
}

// In f32 and back to f16 the numbers are the same, and so are the files: f32 holds every half.
TEST(HfFolder, AskedDtypesKeepTheLayout) {
  test::TempDir dir;
  const std::string in = dir / "in", wide = dir / "wide", back = dir / "back";
  make_folder(in, {"llama", "F16", 3, false});
  for (const std::string& path : list_files(in))  // numbers this time: NaN payloads do not survive arithmetic
    if (path.ends_with(".safetensors")) {
      std::string bytes = read_file(path);
      uint64_t n = 0;
      std::memcpy(&n, bytes.data(), 8);
      for (size_t i = 8 + n; i + 1 < bytes.size(); i += 2) bytes[i + 1] = static_cast<char>(bytes[i + 1] & 0xbb);
      write_file(path, bytes);
    }
  make_directories(wide), make_directories(back);
  write_hf(in, wide, DType::kF32, {});
  SafeTensors a(in + "/model-00002-of-00003.safetensors"), b(wide + "/model-00002-of-00003.safetensors");
  EXPECT_EQ(a.metadata(), b.metadata());
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const auto& [name, t] : a.tensors()) {
    const Tensor& w = b.tensors().at(name);
    EXPECT_EQ(w.dtype, DType::kF32);
    for (int64_t i = 0; i < t.numel(); ++i)
      ASSERT_EQ(to_float(static_cast<const F16*>(t.data)[i]), w.as<float>()[i]) << name << " " << i;
  }
  const Json config = Json::parse(read_file(wide + "/config.json"));
  EXPECT_EQ(config.at("torch_dtype").as_string(), "float32");
  EXPECT_EQ(config.at("auto_map").at("a").as_string(), "b.C");
  const Json index = Json::parse(read_file(wide + "/model.safetensors.index.json"));
  int64_t total = 0;
  for (const std::string& path : list_files(wide))
    if (path.ends_with(".safetensors")) total += static_cast<int64_t>(SafeTensors(path).data().size());
  EXPECT_EQ(index.at("metadata").at("total_size").as_int(), total);
  EXPECT_EQ(index.at("metadata").at("note").as_string(), "ours");
  EXPECT_NO_THROW(open_model_source(wide));
  write_hf(wide, back, DType::kF16, {});
  const SafeTensors again(back + "/model-00002-of-00003.safetensors");
  for (const auto& [name, t] : again.tensors())
    EXPECT_EQ(0, std::memcmp(t.data, a.tensors().at(name).data, static_cast<size_t>(t.nbytes()))) << name;
}

TEST(HfFolder, DamagedOriginsAreRefused) {
  test::TempDir dir;
  const std::string in = dir / "in", ours = dir / "ours", out = dir / "out";
  make_folder(in, {"llama", "BF16", 2, false});
  make_directories(ours), make_directories(out);
  write_ours(in, ours, {}, {});
  auto refused = [&](const std::string& part) {
    try {
      write_hf(ours, out, {}, {});
      ADD_FAILURE() << "expected an error with '" << part << "'";
    } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what(); }
  };
  const std::string config = ours + "/origin/config.json", bytes = read_file(config),
                    list = ours + "/origin/origin.json";
  write_file(config, bytes + " ");
  refused("is not what was put there");
  write_file(config, bytes);
  const std::string origin = read_file(list);
  Json j = Json::parse(origin);
  j["version"] = 2;
  write_file(list, j.dump());
  refused("version 1");
  j["version"] = 1, j["files"] = Json::array();
  j["files"].push(Json::parse(R"({"name":"../config.json","xxh3":""})"));
  write_file(list, j.dump());
  refused("no file name");
  write_file(list, origin);
  std::filesystem::remove(ours + "/origin/rest.safetensors");
  refused("inv_freq' is missing");
}

}  // namespace
}  // namespace puyu
