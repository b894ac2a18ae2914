// tiny_model DIR [WIDTH]: a small model of random weights, for tests that serve one.
#include <cstdio>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "engine/tiny_model.h"

int main(int argc, char** argv) try {
  if (argc != 2 && argc != 3) return std::fputs("usage: tiny_model DIR [WIDTH]\n", stderr), 2;
  const auto model = puyu::tiny_model({}, argc == 3 ? std::stoll(argv[2]) : 32);
  std::filesystem::create_directories(argv[1]);
  model->weights.config.max_position = 512;  // room for the turn that lists tools
  puyu::save_model(argv[1], model->weights, puyu::DType::kF32);
  model->tokenizer.save(std::string(argv[1]) + "/tokenizer.puyu");
  return 0;
} catch (const puyu::Error& e) { return std::fprintf(stderr, "%s\n", e.what()), 1; }
