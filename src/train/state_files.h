// The tensors of a training state as files: one layout for every number of ranks and every ZeRO level, safetensors with
// whole tensors under their names. Each rank writes the elements it owns at their places, and reads those it holds.
#pragma once
#include "train/zero.h"

namespace puyu {

// By all ranks; an Error of one is thrown by all. dtype: f32, or bf16 (the masters rounded).
void write_model_folder(const std::string& dir, Zero& state, DType dtype);  // model.safetensors and config.json
void write_moments(const std::string& path, Zero& state);                   // m.NAME and v.NAME, f32

// By all ranks. Error when the file's tensors are not this model's.
void read_masters(const std::string& path, Zero& state);  // and the bf16 copies
void read_moments(const std::string& path, Zero& state);

}  // namespace puyu
