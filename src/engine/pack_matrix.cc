#include "engine/pack_matrix.h"

#include "base/error.h"
#include "base/log.h"

namespace puyu {
std::string serving_scheme(const std::string& stored, const std::string& asked) {
  if (!asked.empty() && asked != "w8a8" && asked != "w4a16")
    fail("[engine] weights: expected w8a8, w4a16 or nothing, got '", asked, "'");
  if (!asked.empty() && !stored.empty() && asked != stored)
    fail("[engine] weights: the model is stored as ", stored, ", which cannot become ", asked,
         "; leave the option out");
  if (stored == "w4a8")
    log_warn("[engine] w4a8 runs as w4a16: there is no kernel yet that rounds its activations to int8");
  return asked.empty() ? stored : asked;
}

Tensor pack_matrix(Ctx& ctx, Arena& arena, const Weights& weights, const std::string& name, Tensor w,
                   const std::string& scheme) {
  ScratchScope scope(*ctx.scratch);
  const ModelSource* source = weights.source.get();
  if (source && source->quantized(name))
    return pack_quantized(ctx, arena, source->read_numbers(ctx, name), weights.compute);
  if (!scheme.empty() && !(source && !source->scheme().empty()))
    return pack_quantized(ctx, arena, quantize_weight(ctx, w, scheme), weights.compute);
  return pack_weight(ctx, arena.alloc(DType::kU8, {packed_weight_bytes(ctx, w)}).data, w);
}

}  // namespace puyu
