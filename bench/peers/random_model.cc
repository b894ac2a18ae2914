// random_model OUT SIZE TOKENIZER.model: a folder of a published InternLM2 shape (1.8b, 7b, 20b) in bf16 with random
// weights, as pre-training begins, for speeds beside peers. Needs 6 bytes a parameter of memory.
#include <cstdio>

#include "base/error.h"
#include "base/file.h"
#include "model/weights.h"

using namespace puyu;

int main(int argc, char** argv) try {
  if (argc != 4) fail("usage: random_model OUT 1.8b|7b|20b TOKENIZER.model");
  Arena scratch("scratch", int64_t{1} << 30);
  Ctx ctx{Device::kCpu, &scratch};
  Weights w = make_weights(published_config(argv[2]), Head::kLanguage, DType::kBF16);
  init_weights(w, 1);
  w.refresh_copy(ctx);
  save_model(argv[1], w, DType::kBF16);
  write_file(std::string(argv[1]) + "/tokenizer.model", read_file(argv[3]));
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
