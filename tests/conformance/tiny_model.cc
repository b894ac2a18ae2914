// tiny_model DIR: a small model of random weights, for tests that serve one.
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "engine/tiny_model.h"

int main(int argc, char** argv) try {
  if (argc != 2) return std::fputs("usage: tiny_model DIR\n", stderr), 2;
  const auto model = puyu::tiny_model();
  std::filesystem::create_directories(argv[1]);
  model->weights.config.max_position = 1024;  // room for tools, calls and their results
  puyu::save_model(argv[1], model->weights, puyu::DType::kF32);
  model->tokenizer.save(std::string(argv[1]) + "/tokenizer.puyu");
  return 0;
} catch (const puyu::Error& e) { return std::fprintf(stderr, "%s\n", e.what()), 1; }
