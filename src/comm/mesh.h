// How the ranks of a job share the work: data ranks see different sequences, context ranks different tokens of the same
// ones, tensor ranks hold different columns of one block (or in isp share a context rank's tokens), pipeline ranks hold
// different blocks. Ranks are numbered tensor first, then context, data and pipeline (as Megatron and InternEvo), so
// that those who talk most are neighbours on one machine.
#pragma once
#include "comm/comm.h"

namespace puyu {

struct Mesh {
  int64_t data = 0;  // 0: what the others leave
  int64_t tensor = 1;
  int64_t pipeline = 1;
  int64_t context = 1;
  template <class F>
  void fields(F&& f) {
    f("data", data, "ranks that split the batch; 0 = what the others leave");
    f("tensor", tensor, "ranks that split each block");
    f("pipeline", pipeline, "ranks that split the depth");
    f("context", context, "ranks that split each sequence, keys going round among them (ring attention)");
  }
  int64_t ranks() const { return data * tensor * pipeline * context; }
  bool operator==(const Mesh&) const = default;
};
std::string to_string(const Mesh& mesh);  // "2 data x 2 tensor x 1 pipeline", and "x 2 context" where there are

// What of the model a mesh must divide. 0: not split by these tensor ranks.
struct MeshLimits {
  int64_t kv_heads = 1, layers = 1;
  int64_t ffn = 0, vocabulary = 0;
  int64_t chunks = 1;  // that each of several pipeline ranks holds
};

// The mesh for a job of so many ranks, data filled in. Error when the product is not `ranks` or the model cannot be
// split so, with the nearest mesh that is possible: the one that changes the sizes by the smallest factors.
Mesh fit_mesh(Mesh wanted, int64_t ranks, const MeshLimits& limits);

struct Coordinates {
  int64_t data, tensor, pipeline, context = 0;
  bool operator==(const Coordinates&) const = default;
};
Coordinates coordinates(const Mesh& mesh, int64_t rank);

}  // namespace puyu
