// tiny_model DIR [reward]: a small model of random weights, for tests that serve one; with a value head.
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "engine/tiny_model.h"

int main(int argc, char** argv) try {
  const bool reward = argc == 3 && std::string(argv[2]) == "reward";
  if (argc != 2 && !reward) return std::fputs("usage: tiny_model DIR [reward]\n", stderr), 2;
  const auto model = puyu::tiny_model();
  std::filesystem::create_directories(argv[1]);
  model->weights.config.max_position = 1024;  // room for tools, calls and their results
  if (reward) {
    puyu::Weights w = puyu::make_weights(model->weights.config, puyu::Head::kValue, puyu::DType::kF32);
    puyu::init_weights(w, 1);
    puyu::save_model(argv[1], w, puyu::DType::kF32);
  } else {
    puyu::save_model(argv[1], model->weights, puyu::DType::kF32);
  }
  model->tokenizer.save(std::string(argv[1]) + "/tokenizer.puyu");
  return 0;
} catch (const puyu::Error& e) { return std::fprintf(stderr, "%s\n", e.what()), 1; }
