// A model's matrices in the panels of linear(): as they are, quantised as they are packed, or from the numbers that a
// quantised model's files hold.
#pragma once
#include "model/weights.h"

namespace puyu {

// What the matrices are multiplied in: `stored` of a quantised model, or what is asked for (engine.weights); empty: as
// they are. w4a16 and w4a8 are the same numbers. Error when it is unknown or what is stored cannot become it.
std::string serving_scheme(const std::string& stored, const std::string& asked);

// What the head is multiplied in when the blocks are in `scheme`: 8 bits rather than 4, as it is rather than 4 and f16.
std::string head_scheme(const std::string& scheme);

// `host` reads and quantises on the CPU, `ctx` packs where the panels shall lie. `w` is the tensor `name` of `weights`;
// the panels are from `arena`. In a quantised model the scheme counts for what its files hold quantised and for the
// head, and nothing else is quantised on the way.
Tensor pack_matrix(Ctx& host, Ctx& ctx, Arena& arena, const Weights& weights, const std::string& name, Tensor w,
                   const std::string& scheme);

}  // namespace puyu
