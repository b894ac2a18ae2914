// The tensors of a training state as files: one layout for every number of ranks and every ZeRO level, safetensors with
// whole tensors under their names. Each rank writes the elements it owns at their places, and reads those it holds.
//
// A file is planned by all ranks, then each writes its own part of it. Writing sends no messages, so another thread may
// do it while training goes on (train/checkpoint_writer.h).
#pragma once
#include "train/zero.h"

namespace puyu {

// What this rank writes of a file: stretches of tensors, and where each begins in the file.
struct FilePart {
  uint64_t at;
  Tensor data;
};
struct FilePlan {
  std::string path;
  uint64_t size = 0;   // of the whole file
  std::string header;  // of rank 0, who writes it
  DType dtype = DType::kF32;
  std::vector<FilePart> parts;  // views of the state
  int64_t bytes() const;        // of them
};
// f32 where the masters are, or bf16 (masters in f32 are rounded).
FilePlan plan_masters(const std::string& path, Zero& state, DType dtype);
FilePlan plan_moments(const std::string& path, Zero& state);  // m.NAME and v.NAME, f32
// Into a SharedFile that exists; flushed at the end.
void write_parts(const FilePlan& plan);

// model.safetensors and config.json, by all ranks; an Error of one is thrown by all. Nothing is held twice: tensors are
// rounded a piece at a time.
void write_model_folder(const std::string& dir, Zero& state, DType dtype);
std::string model_config_text(const Zero& state);  // config.json

// By all ranks. Error when the file's tensors are not this model's.
void read_masters(const std::string& path, Zero& state);  // and the bf16 copies
void read_moments(const std::string& path, Zero& state);

}  // namespace puyu
