#include "train/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/config.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "text/tokenizer.h"

namespace puyu {
namespace fs = std::filesystem;
namespace {

constexpr int kVersion = 1;
constexpr const char* kFiles[] = {"model.safetensors", "config.json", "optimizer.safetensors"};

std::string hex(uint64_t v) {
  char buf[17];
  std::snprintf(buf, sizeof buf, "%016lx", static_cast<unsigned long>(v));
  return buf;
}
std::string file_hash(const std::string& path) { return hex(hash64(MappedFile(path).bytes())); }

std::vector<NamedTensor> moments(Learner& l) {
  std::vector<NamedTensor> out;
  auto add = [&](Model<Tensor>& m, const char* prefix) {
    m.each(l.weights().config, l.weights().head,
           [&](const std::string& name, Tensor& t, Spec, int64_t) { out.push_back({prefix + name, t}); });
  };
  add(l.moment1(), "m.");
  add(l.moment2(), "v.");
  return out;
}

std::vector<NamedTensor> masters(Learner& l) {
  std::vector<NamedTensor> out;
  l.weights().master.tensors.each(l.weights().config, l.weights().head,
                                  [&](const std::string& name, Tensor& t, Spec, int64_t) { out.push_back({name, t}); });
  return out;
}

void read_tensors(const std::string& path, const std::vector<NamedTensor>& into) {
  SafeTensors file(path);
  if (file.tensors().size() != into.size())
    fail("[checkpoint] ", path, ": expected ", into.size(), " tensors, got ", file.tensors().size());
  for (const auto& [name, t] : into) {
    const Tensor* src = file.find(name);
    if (!src || shape_string(*src) != shape_string(t))
      fail("[checkpoint] ", path, ": tensor '", name, "': expected ", shape_string(t), ", got ",
           src ? shape_string(*src) : "none", "; the model's shape is not the checkpoint's");
    std::copy_n(static_cast<const char*>(src->data), t.nbytes(), static_cast<char*>(t.data));
  }
}

// Removing starts with the marker, so that a folder half removed is not taken for a checkpoint.
void remove_checkpoint(const std::string& path) {
  std::error_code ec;
  fs::remove(path + "/complete", ec);
  fs::remove_all(path, ec);
  if (ec) log_warn("[checkpoint] cannot remove ", path, ": ", ec.message());
}

void write_checkpoint(const std::string& dir, Learner& learner, const TrainState& state, const Json& config,
                      const std::string& tokenizer) {
  make_directories(dir);
  save_model(dir, learner.weights(), DType::kF32);
  copy_tokenizer(tokenizer, dir);
  write_safetensors(dir + "/optimizer.safetensors", moments(learner), {{"format", "pt"}});
  Json j = Json::object();
  j["format"] = "puyu checkpoint";
  j["version"] = kVersion;
  TrainState copy = state;
  j["state"] = to_json(list_fields(copy));
  for (const char* f : kFiles) j["xxh3"][f] = file_hash(dir + "/" + f);
  j["config"] = config;
  const std::string text = j.dump(2) + "\n";
  write_file(dir + "/state.json", text);
  write_file(dir + "/complete", hex(hash64(text)) + "\n");
}

SourceState source_from_json(const Json& j) {
  return {j.at("epoch").as_int(), j.at("index").as_int(), j.at("offset").as_int(), j.at("seen").as_int(),
          j.at("taken").as_int()};
}

TrainState state_from_json(const Json& j) {
  TrainState s;
  s.step = j.at("step").as_int(), s.phase = j.at("phase").as_int();
  s.optimizer_step = j.at("optimizer_step").as_int(), s.consumed_tokens = j.at("consumed_tokens").as_int();
  s.skipped = j.at("skipped").as_int(), s.skipped_in_a_row = j.at("skipped_in_a_row").as_int();
  for (const Json& source : j.at("loader").as_array()) s.loader.push_back(source_from_json(source));
  s.tokenizer_fingerprint = j.at("tokenizer_fingerprint").as_string();
  s.data_fingerprint = j.at("data_fingerprint").as_string();
  return s;
}

}  // namespace

void copy_tokenizer(const std::string& tokenizer, const std::string& dir) {
  if (!tokenizer.empty()) save_tokenizer(tokenizer, dir);
}

std::vector<CheckpointInfo> list_checkpoints(const std::string& run_dir) {
  std::vector<CheckpointInfo> out;
  std::error_code ec;
  for (const auto& e : fs::directory_iterator(run_dir + "/checkpoints", ec)) {
    int64_t step = 0;
    if (std::sscanf(e.path().filename().c_str(), "step-%ld", &step) != 1) continue;
    if (file_exists(e.path().string() + "/complete")) out.push_back({step, e.path().string()});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return out;
}

std::string save_checkpoint(const std::string& run_dir, Learner& learner, const TrainState& state, const Json& config,
                            const std::string& tokenizer, int64_t keep) {
  char name[32];
  std::snprintf(name, sizeof name, "/checkpoints/step-%06ld", long(state.step));
  const std::string dir = run_dir + name;
  remove_checkpoint(dir);  // what a killed process left there
  try {
    write_checkpoint(dir, learner, state, config, tokenizer);
  } catch (const Error& e) {
    remove_checkpoint(dir);
    fail("[checkpoint] step ", state.step, " could not be saved: ", e.what(), "; earlier checkpoints are intact");
  }
  auto all = list_checkpoints(run_dir);
  for (size_t i = 0; keep > 0 && i + static_cast<size_t>(keep) < all.size(); ++i) remove_checkpoint(all[i].path);
  return dir;
}

TrainState load_checkpoint(const std::string& path, Learner& learner) {
  const std::string text = read_file(path + "/state.json");
  if (read_file(path + "/complete") != hex(hash64(text)) + "\n")
    fail("[checkpoint] ", path, "/state.json: checksum mismatch; the file is damaged");
  Json j = Json::parse(text, path + "/state.json");
  if (j.at("version").as_int() != kVersion)
    fail("[checkpoint] ", path, "/state.json: version ", j.at("version").as_int(), ", this program reads version ",
         kVersion);
  for (const char* f : kFiles) {
    const std::string want = j.at("xxh3").at(f).as_string(), got = file_hash(path + "/" + f);
    if (got != want)
      fail("[checkpoint] ", path, "/", f, ": checksum ", got, ", expected ", want, "; the file is damaged or cut off");
  }
  TrainState s = state_from_json(j.at("state"));
  read_tensors(path + "/model.safetensors", masters(learner));
  read_tensors(path + "/optimizer.safetensors", moments(learner));
  learner.weights().refresh_copy(learner.ctx());
  learner.set_step(s.optimizer_step);
  return s;
}

std::optional<TrainState> load_latest(const std::string& run_dir, Learner& learner) {
  auto all = list_checkpoints(run_dir);
  if (all.empty()) return std::nullopt;
  for (size_t i = all.size(); i-- > 0;) {
    try {
      return load_checkpoint(all[i].path, learner);
    } catch (const Error& e) { log_warn(e.what(), i > 0 ? "; going back to " + all[i - 1].path : ""); }
  }
  fail("[checkpoint] ", run_dir, ": none of its ", all.size(), " checkpoints can be read (see the warnings above)");
}

}  // namespace puyu
