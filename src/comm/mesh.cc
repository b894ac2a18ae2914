#include "comm/mesh.h"

#include <cmath>

#include "base/error.h"

namespace puyu {
namespace {

std::string why_not(const Mesh& m, int64_t ranks, const MeshLimits& limits) {
  if (m.ranks() != ranks) return cat(to_string(m), " = ", m.ranks(), " ranks, but ", ranks, " were started");
  if (limits.kv_heads % m.tensor != 0)
    return cat("the model's ", limits.kv_heads, " key/value heads cannot be split over ", m.tensor, " tensor ranks");
  if (limits.ffn % m.tensor != 0)
    return cat("the ", limits.ffn, " columns of the model's feed-forward cannot be split over ", m.tensor,
               " tensor ranks");
  if (limits.vocabulary % m.tensor != 0)
    return cat("the model's vocabulary of ", limits.vocabulary, " cannot be split over ", m.tensor, " tensor ranks");
  const int64_t chunks = m.pipeline > 1 ? limits.chunks : 1;
  if (m.pipeline * chunks > limits.layers)
    return cat("the model's ", limits.layers, " blocks cannot be split over ", m.pipeline, " pipeline ranks",
               chunks > 1 ? cat(" of ", chunks, " chunks") : "");
  return "";
}

// How far apart two meshes are: the sum of |log| of the factors between their sizes.
double distance(const Mesh& a, const Mesh& b) {
  auto factor = [](int64_t x, int64_t y) {
    return std::abs(std::log(static_cast<double>(x)) - std::log(static_cast<double>(y)));
  };
  return factor(a.data, b.data) + factor(a.tensor, b.tensor) + factor(a.pipeline, b.pipeline) +
         factor(a.context, b.context);
}

Mesh nearest_mesh(const Mesh& wanted, int64_t ranks, const MeshLimits& limits) {
  Mesh best{ranks, 1, 1};
  for (int64_t t = 1; t <= ranks; ++t)
    for (int64_t p = 1; ranks % t == 0 && p <= ranks / t; ++p)
      for (int64_t c = 1; ranks / t % p == 0 && c <= ranks / t / p; ++c) {
        if (ranks / t / p % c != 0) continue;
        const Mesh m{ranks / t / p / c, t, p, c};
        if (why_not(m, ranks, limits).empty() && distance(m, wanted) < distance(best, wanted) - 1e-9) best = m;
      }
  return best;
}

}  // namespace

std::string to_string(const Mesh& m) {
  return cat(m.data, " data x ", m.tensor, " tensor x ", m.pipeline, " pipeline",
             m.context > 1 ? cat(" x ", m.context, " context") : "");
}

Mesh fit_mesh(Mesh m, int64_t ranks, const MeshLimits& limits) {
  CHECK(ranks >= 1);
  constexpr int64_t kMost = 1 << 20;
  for (auto [name, v] : {std::pair{"tensor", m.tensor}, {"pipeline", m.pipeline}, {"context", m.context}})
    if (v < 1 || v > kMost) fail("[mesh] ", name, ": expected 1 to ", kMost, ", got ", v);
  if (m.data < 0 || m.data > kMost)
    fail("[mesh] data: expected 0 (what the others leave) to ", kMost, ", got ", m.data);
  if (m.data == 0) m.data = std::max<int64_t>(1, ranks / m.tensor / m.pipeline / m.context);
  if (const std::string why = why_not(m, ranks, limits); !why.empty())
    fail("[mesh] ", why, "; the nearest possible mesh is ", to_string(nearest_mesh(m, ranks, limits)));
  return m;
}

Coordinates coordinates(const Mesh& m, int64_t rank) {
  CHECK(0 <= rank && rank < m.ranks());
  const int64_t share = rank / m.tensor / m.context;
  return {share % m.data, rank % m.tensor, share / m.data, rank / m.tensor % m.context};
}

}  // namespace puyu
