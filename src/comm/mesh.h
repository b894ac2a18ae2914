// How the ranks of a job share the work: data ranks see different sequences, tensor ranks hold different columns of one
// block, pipeline ranks hold different blocks. Ranks are numbered tensor first, then data, then pipeline (as Megatron
// and InternEvo), so that those who talk most are neighbours on one machine.
#pragma once
#include "comm/comm.h"

namespace puyu {

struct Mesh {
  int64_t data = 0;  // 0: what the others leave
  int64_t tensor = 1;
  int64_t pipeline = 1;
  template <class F>
  void fields(F&& f) {
    f("data", data, "ranks that split the batch; 0 = what the others leave");
    f("tensor", tensor, "ranks that split each block");
    f("pipeline", pipeline, "ranks that split the depth");
  }
  int64_t ranks() const { return data * tensor * pipeline; }
  bool operator==(const Mesh&) const = default;
};
std::string to_string(const Mesh& mesh);  // "2 data x 2 tensor x 1 pipeline"

// What of the model a mesh must divide. 0: not split by these tensor ranks.
struct MeshLimits {
  int64_t kv_heads = 1, layers = 1;
  int64_t ffn = 0, vocabulary = 0;
  int64_t chunks = 1;  // that each of several pipeline ranks holds
};

// The mesh for a job of so many ranks, data filled in. Error when the product is not `ranks` or the model cannot be
// split so, with the nearest mesh that is possible: the one that changes the three sizes by the smallest factors.
Mesh fit_mesh(Mesh wanted, int64_t ranks, const MeshLimits& limits);

struct Coordinates {
  int64_t data, tensor, pipeline;
  bool operator==(const Coordinates&) const = default;
};
Coordinates coordinates(const Mesh& mesh, int64_t rank);

}  // namespace puyu
