#include "train/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "base/config.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "text/tokenizer.h"
#include "train/state_files.h"

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

// Removing starts with the marker, so that a folder half removed is not taken for a checkpoint.
void remove_checkpoint(const std::string& path) {
  std::error_code ec;
  fs::remove(path + "/complete", ec);
  fs::remove_all(path, ec);
  if (ec) log_warn("[checkpoint] cannot remove ", path, ": ", ec.message());
}

// By all ranks: the tensors together, all else by rank 0.
void write_checkpoint(const std::string& dir, Learner& learner, const TrainState& state, const Json& config,
                      const std::string& tokenizer) {
  Comm& comm = learner.state().comm();
  write_model_folder(dir, learner.state(), DType::kF32);
  write_moments(dir + "/optimizer.safetensors", learner.state());
  together(comm, [&] {
    if (comm.rank() != 0) return;
    copy_tokenizer(tokenizer, dir);
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
  });
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
  const bool first = learner.state().comm().rank() == 0;
  if (first) remove_checkpoint(dir);  // what a killed process left there
  try {
    write_checkpoint(dir, learner, state, config, tokenizer);
  } catch (const Error& e) {
    if (first) remove_checkpoint(dir);
    fail("[checkpoint] step ", state.step, " could not be saved: ", e.what(), "; earlier checkpoints are intact");
  }
  const auto all = first ? list_checkpoints(run_dir) : std::vector<CheckpointInfo>{};
  for (size_t i = 0; keep > 0 && i + static_cast<size_t>(keep) < all.size(); ++i) remove_checkpoint(all[i].path);
  return dir;
}

namespace {

// state.json, after the checksums of all files were compared.
Json verified_state(const std::string& path) {
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
  return j;
}

}  // namespace

TrainState load_checkpoint(const std::string& path, Learner& learner) {
  Comm& comm = learner.state().comm();
  std::string text;
  together(comm, [&] {
    if (comm.rank() == 0) text = verified_state(path).at("state").dump();
  });
  text = gather_strings(comm, text)[0];
  TrainState s = state_from_json(Json::parse(text, path + "/state.json"));
  read_masters(path + "/model.safetensors", learner.state());
  read_moments(path + "/optimizer.safetensors", learner.state());
  learner.set_step(s.optimizer_step);
  return s;
}

std::optional<TrainState> load_latest(const std::string& run_dir, Learner& learner) {
  // Rank 0 looks, so that all try the same folders.
  Comm& comm = learner.state().comm();
  std::string found;
  if (comm.rank() == 0)
    for (const CheckpointInfo& c : list_checkpoints(run_dir)) found += c.path + "\n";
  std::vector<std::string> all;
  std::istringstream lines(gather_strings(comm, found)[0]);
  for (std::string line; std::getline(lines, line);) all.push_back(line);
  if (all.empty()) return std::nullopt;
  for (size_t i = all.size(); i-- > 0;) {
    try {
      return load_checkpoint(all[i], learner);
    } catch (const Error& e) { log_warn(e.what(), i > 0 ? "; going back to " + all[i - 1] : ""); }
  }
  fail("[checkpoint] ", run_dir, ": none of its ", all.size(), " checkpoints can be read (see the warnings above)");
}

}  // namespace puyu
