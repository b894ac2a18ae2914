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

std::string file_hash(const std::string& path) { return hex64(hash64(MappedFile(path).bytes())); }

const char* folder_of(SaveKind kind) { return kind == SaveKind::kSnapshot ? "/snapshots" : "/checkpoints"; }

// f(step, path) of each folder, complete or not.
template <class F>
void each_folder(const std::string& run_dir, SaveKind kind, F&& f) {
  std::error_code ec;
  for (const auto& e : fs::directory_iterator(run_dir + folder_of(kind), ec)) {
    int64_t step = 0;
    if (std::sscanf(e.path().filename().c_str(), "step-%ld", &step) == 1) f(step, e.path().string());
  }
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
  // Checkpoints of earlier versions have none of these.
  s.rollbacks = j.get("rollbacks", int64_t{0});
  if (const Json* list = j.find("skip_steps"))
    for (const Json& step : list->as_array()) s.skip_steps.push_back(step.as_int());
  for (auto [key, to] : {std::pair{"recent_loss", &s.guard.loss}, {"recent_norm", &s.guard.norm}})
    if (const Json* list = j.find(key))
      for (const Json& v : list->as_array()) to->push_back(v.as_double());
  for (const Json& source : j.at("loader").as_array()) s.loader.push_back(source_from_json(source));
  s.tokenizer_fingerprint = j.at("tokenizer_fingerprint").as_string();
  s.data_fingerprint = j.at("data_fingerprint").as_string();
  return s;
}

}  // namespace

void copy_tokenizer(const std::string& tokenizer, const std::string& dir) {
  if (!tokenizer.empty()) save_tokenizer(tokenizer, dir);
}

std::string checkpoint_path(const std::string& run_dir, SaveKind kind, int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "/step-%06ld", long(step));
  return run_dir + folder_of(kind) + name;
}

// Removing starts with the marker, so that a folder half removed is not taken for a checkpoint.
void remove_checkpoint(const std::string& path) {
  std::error_code ec;
  fs::remove(path + "/complete", ec);
  fs::remove_all(path, ec);
  if (ec && ec != std::errc::not_a_directory) log_warn("[checkpoint] cannot remove ", path, ": ", ec.message());
}

std::vector<CheckpointInfo> list_checkpoints(const std::string& run_dir, SaveKind kind) {
  std::vector<CheckpointInfo> out;
  each_folder(run_dir, kind, [&](int64_t step, const std::string& path) {
    if (file_exists(path + "/complete")) out.push_back({step, path});
  });
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return out;
}

std::vector<CheckpointInfo> list_checkpoints(const std::string& run_dir) {
  auto out = list_checkpoints(run_dir, SaveKind::kSnapshot);
  for (CheckpointInfo& c : list_checkpoints(run_dir, SaveKind::kCheckpoint)) out.push_back(std::move(c));
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return out;
}

std::vector<std::string> incomplete_checkpoints(const std::string& run_dir, SaveKind kind) {
  std::vector<std::string> out;
  each_folder(run_dir, kind, [&](int64_t, const std::string& path) {
    if (!file_exists(path + "/complete")) out.push_back(path);
  });
  return out;
}

void complete_checkpoint(const std::string& dir, const TrainState& state, const Json& config) {
  Json j = Json::object();
  j["format"] = "puyu checkpoint";
  j["version"] = kVersion;
  TrainState copy = state;
  j["state"] = to_json(list_fields(copy));
  for (const char* f : kFiles) j["xxh3"][f] = file_hash(dir + "/" + f);
  j["config"] = config;
  const std::string text = j.dump(2) + "\n";
  write_file(dir + "/state.json", text);
  write_file(dir + "/complete", hex64(hash64(text)) + "\n");
}

namespace {

// state.json, after the checksums of all files were compared.
Json verified_state(const std::string& path) {
  const std::string text = read_file(path + "/state.json");
  if (read_file(path + "/complete") != hex64(hash64(text)) + "\n")
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
