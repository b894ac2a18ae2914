#include "engine/serve_plan.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "engine/pack_matrix.h"

namespace puyu {
namespace {

int64_t matrix_bytes(const Ctx& ctx, int64_t N, int64_t K, DType compute, const std::string& scheme) {
  Tensor t;
  t.rank = 2, t.shape[0] = N, t.shape[1] = K, t.dtype = scheme == "w8a8" ? DType::kI8 : compute;
  if (scheme == "w4a8" || scheme == "w4a16")
    return packed_int4_bytes(ctx, N, K, scheme == "w4a8" ? DType::kI8 : compute);
  return packed_weight_bytes(ctx, t);
}

// The number after `key` in a file of "key number" lines; -1 when there is none.
int64_t read_number(const std::string& path, const std::string& key) {
  std::ifstream f(path);
  for (std::string line; std::getline(f, line);)
    if (line.starts_with(key)) {
      std::istringstream words(line.substr(key.size()));
      int64_t n = -1;
      if (words >> n) return n;
    }
  return -1;
}

}  // namespace

ServePlan plan_serving(const ModelConfig& model, DType compute, const EngineOptions& o, int64_t available) {
  const ModelConfig c = serving_config(model, o);
  const Ctx ctx;
  ServePlan p;
  p.parameters = c.num_params();
  Model<int> tensors;
  tensors.each(c, Head::kLanguage, [&](const std::string& name, int&, Spec s, int64_t layer) {
    const bool head = name == "output.weight", matrix = (layer >= 0 && s.cols > 0) || head;
    const std::string scheme = head ? head_scheme(o.weights) : o.weights;
    p.weight_bytes += matrix ? matrix_bytes(ctx, s.rows, s.cols, compute, scheme)
                             : s.rows * std::max<int64_t>(s.cols, 1) * dtype_size(compute);
  });
  if (c.tie_embeddings)
    p.weight_bytes += matrix_bytes(ctx, c.vocab_size, c.hidden_size, compute, head_scheme(o.weights));
  const int64_t row = 4 * c.hidden_size + c.heads().row() + c.num_heads * c.hd() + 3 * c.intermediate_size;
  p.work_bytes = o.max_tokens_per_step * row * dtype_size(compute) + 2 * o.max_batch * c.vocab_size * 4;
  p.kv_bytes_per_token = KvPages::bytes_per_token(c, compute, o.kv_bits);
  p.cache_tokens = cache_tokens(c, o);
  p.context = std::min(o.context ? o.context : c.context(), p.cache_tokens);
  p.available_bytes = available;
  p.tokens_that_fit = std::max<int64_t>(0, available - p.weight_bytes - p.work_bytes) / p.kv_bytes_per_token;
  return p;
}

int64_t available_memory() {
  int64_t free = read_number("/proc/meminfo", "MemAvailable:") * 1024;
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max", ""),
                used = read_number("/sys/fs/cgroup/memory.current", "");
  if (limit > 0 && used >= 0) free = std::min(free, limit - used);
  return std::max<int64_t>(free, 0);
}

std::string to_text(const ServePlan& p) {
  auto bytes = [](int64_t n) { return format_count(static_cast<double>(n), "B"); };
  auto tokens = [](int64_t n) { return format_count(static_cast<double>(n), "tokens"); };
  return cat("parameters      ", format_count(static_cast<double>(p.parameters), ""), "\nweights         ",
             bytes(p.weight_bytes), "\nworking memory  ", bytes(p.work_bytes), ", about\nkeys and values ",
             bytes(p.kv_bytes_per_token), " a token\ncache           ", tokens(p.cache_tokens), ", ",
             bytes(p.cache_tokens * p.kv_bytes_per_token), " when full\ncontext         ", tokens(p.context),
             "\nmemory free     ", bytes(p.available_bytes), "\nfits            ", tokens(p.tokens_that_fit),
             p.tokens_that_fit >= p.cache_tokens ? ": the whole cache" : "", "\n");
}

std::string warning(const ServePlan& p) {
  if (p.tokens_that_fit >= p.cache_tokens) return "";
  auto bytes = [](int64_t n) { return format_count(static_cast<double>(n), "B"); };
  if (p.tokens_that_fit == 0)
    return cat("[serve] the model needs ", bytes(p.weight_bytes + p.work_bytes), " and ", bytes(p.available_bytes),
               " are free; it will swap or be killed: try --engine.weights=w8a8 or w4a8");
  return cat("[serve] the cache may hold ", p.cache_tokens, " tokens, memory is free for ", p.tokens_that_fit,
             ": set --engine.kv_tokens=", p.tokens_that_fit / kPage * kPage, " or --engine.kv_bits=8");
}

}  // namespace puyu
