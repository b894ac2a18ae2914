// A model's matrices in the panels of linear(): as they are, quantised as they are packed, or from the numbers that a
// quantised model's files hold.
#pragma once
#include "model/weights.h"

namespace puyu {

// What the matrices are multiplied in: `stored` of a quantised model, or what is asked for (engine.weights); empty: as
// they are. Error when it is unknown or both differ.
std::string serving_scheme(const std::string& stored, const std::string& asked);

// `w` is the tensor `name` of `weights`; the panels are from `arena`. In a quantised model the scheme counts for what
// its files hold quantised, and nothing else is quantised on the way.
Tensor pack_matrix(Ctx& ctx, Arena& arena, const Weights& weights, const std::string& name, Tensor w,
                   const std::string& scheme);

}  // namespace puyu
