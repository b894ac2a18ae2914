// Checkpoints: folders checkpoints/step-000123 that are complete or do not count, and snapshots/step-000125 of the same
// form, which only the newest two stay of (train/checkpoint_writer.h writes both). Files are written in this order,
// each atomically: model.safetensors (f32 masters) with config.json, so that a checkpoint is a model folder; the
// tokenizer; optimizer.safetensors (Adam's m and v); state.json with everything else and the XXH3 of the files before;
// and last `complete`, which holds the XXH3 of state.json. Whatever kills the process, the newest folder with a
// `complete` is whole (docs/formats.md, "checkpoint"). The files do not know how many ranks wrote them, and any number
// of ranks at any ZeRO level reads them. All ranks call these functions together and get the same result or Error.
#pragma once
#include <optional>

#include "train/loader.h"

namespace puyu {

// Where a run stands after `step` steps; with the weights and moments, all that the next step depends on.
struct TrainState {
  int64_t step = 0;
  int64_t phase = 0;
  int64_t optimizer_step = 0;  // applied updates; skipped steps do not count
  int64_t consumed_tokens = 0;
  int64_t skipped = 0, skipped_in_a_row = 0;
  int64_t rollbacks = 0;
  std::vector<int64_t> skip_steps;  // whose batches are left out, besides the options': what rollbacks found
  GuardMemory guard;
  std::vector<SourceState> loader;
  std::string tokenizer_fingerprint, data_fingerprint;  // hexadecimal
  template <class F>
  void fields(F&& f) {
    f("step", step, ""), f("phase", phase, ""), f("optimizer_step", optimizer_step, "");
    f("consumed_tokens", consumed_tokens, ""), f("skipped", skipped, "");
    f("rollbacks", rollbacks, ""), f("skip_steps", skip_steps, ""), f("recent_loss", guard.loss, "");
    f("recent_norm", guard.norm, "");
    f("skipped_in_a_row", skipped_in_a_row, ""), f("loader", loader, "");
    f("tokenizer_fingerprint", tokenizer_fingerprint, ""), f("data_fingerprint", data_fingerprint, "");
  }
};

enum class SaveKind { kCheckpoint, kSnapshot };
std::string checkpoint_path(const std::string& run_dir, SaveKind kind, int64_t step);

struct CheckpointInfo {
  int64_t step;
  std::string path;
};
// The complete ones below run_dir, oldest first. Incomplete folders are left out.
std::vector<CheckpointInfo> list_checkpoints(const std::string& run_dir, SaveKind kind);
std::vector<CheckpointInfo> list_checkpoints(const std::string& run_dir);  // checkpoints and snapshots
std::vector<std::string> incomplete_checkpoints(const std::string& run_dir, SaveKind kind);
void remove_checkpoint(const std::string& path);  // the marker first; warns where it cannot

// Writes the tokenizer (what Tokenizer::load takes, or "": nothing) to a model folder.
void copy_tokenizer(const std::string& tokenizer, const std::string& dir);

// The last two files of a checkpoint whose others are there: from now on it counts.
void complete_checkpoint(const std::string& dir, const TrainState& state, const Json& config);

// Checks the folder's checksums, then fills the learner. Throws Error that names the damaged or unfitting file.
TrainState load_checkpoint(const std::string& path, Learner& learner);
// The newest checkpoint that is whole. Damaged ones are passed over with a warning each that says what is wrong; when
// none is left that is an Error. nullopt: the run has none.
std::optional<TrainState> load_latest(const std::string& run_dir, Learner& learner);

}  // namespace puyu
