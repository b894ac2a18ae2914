#include "engine/pack_matrix.h"

#include "base/error.h"

namespace puyu {

std::string serving_scheme(const std::string& stored, const std::string& asked) {
  if (!asked.empty() && !is_scheme(asked))
    fail("[engine] weights: expected ", kSchemes, " or nothing, got '", asked, "'");
  const bool same_numbers = stored.starts_with("w4") && asked.starts_with("w4");
  if (!asked.empty() && !stored.empty() && asked != stored && !same_numbers)
    fail("[engine] weights: the model is stored as ", stored, ", which cannot become ", asked,
         "; leave the option out");
  return asked.empty() ? stored : asked;
}

std::string head_scheme(const std::string& scheme) {
  return scheme == "w4a8" ? "w8a8" : scheme == "w4a16" ? "" : scheme;
}

Tensor pack_matrix(Ctx& ctx, Arena& arena, const Weights& weights, const std::string& name, Tensor w,
                   const std::string& scheme) {
  ScratchScope scope(*ctx.scratch);
  const ModelSource* source = weights.source.get();
  const DType act = scheme == "w4a8" ? DType::kI8 : weights.compute;
  if (source && source->quantized(name)) return pack_quantized(ctx, arena, source->read_numbers(ctx, name), act);
  const bool stored = source && !source->scheme().empty();
  // A file in 4 bits holds the head as it was; in w4a8 it becomes w8a8 here.
  const bool head = name == "output.weight";
  if (!scheme.empty() && (!stored || head)) return pack_quantized(ctx, arena, quantize_weight(ctx, w, scheme), act);
  return pack_weight(ctx, arena.alloc(DType::kU8, {packed_weight_bytes(ctx, w)}).data, w);
}

}  // namespace puyu
