#include "engine/pack_matrix.h"

#include "base/error.h"
#include "tensor/device.h"

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

Tensor pack_matrix(Ctx& host, Ctx& ctx, Arena& arena, const Weights& weights, const std::string& name, Tensor w,
                   const std::string& scheme) {
  ScratchScope host_scope(*host.scratch), scope(*ctx.scratch);
  auto there = [&](Tensor t) { return t ? place_in(*ctx.scratch, t, ctx.stream) : t; };
  auto pack = [&](const QuantizedWeight& q, DType act) {
    return pack_quantized(ctx, arena, {there(q.q), there(q.scale), there(q.zero)}, act);
  };
  const ModelSource* source = weights.source.get();
  const DType act = scheme == "w4a8" ? DType::kI8 : weights.compute;
  if (source && source->quantized(name)) return pack(source->read_numbers(host, name), act);
  const bool stored = source && !source->scheme().empty();
  // A file in 4 bits holds the head as it was; in w4a8 it becomes w8a8 here.
  const bool head = name == "output.weight";
  if (!scheme.empty() && (!stored || head)) return pack(quantize_weight(host, w, scheme), act);
  w = there(w);
  return pack_weight(ctx, arena.alloc(DType::kU8, {packed_weight_bytes(ctx, w)}).data, w);
}

}  // namespace puyu
