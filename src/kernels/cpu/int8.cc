// W8A8: int8 weights with a scale an output row, activations quantised a row at a time as they come. Sums are exact
// integers, so nothing depends on blocking or on the instruction set but the rounding of x to int8.
// A packed weight: its panels, then a scale and an offset a column, padded to whole panels.
#include "kernels/cpu/matmul.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

struct PackedInt8 {
  uint32_t* panels;
  float* scale;
  int32_t* offset;
  int64_t n_panels;
};
PackedInt8 parts(const Micro& m, void* data, int64_t N, int64_t K) {
  const int64_t panels = ceil_div(N, m.nr);
  auto* p = static_cast<uint32_t*>(data);
  auto* scale = reinterpret_cast<float*>(p + m.b_size(K, panels));
  return {p, scale, reinterpret_cast<int32_t*>(scale + panels * m.nr), panels};
}

typedef int8_t vc __attribute__((vector_size(16)));

// The scale of a row and its inverse.
struct RowScale {
  float scale, inv;
};
template <class T>
PUYU_INLINE RowScale row_scale(const T* x, int64_t K) {
  vf most{};
  for (int64_t k = 0; k < K; k += 16) {
    vf v = load_n(x + k, K - k);
    most = vmax(most, v > 0 ? v : -v);
  }
  const float max = lane_max(most);
  return {max / 127, max > 0 ? 127 / max : 0};
}
// x * inv rounded to the nearest: 1.5 * 2^23 + x has it in its low bits.
PUYU_INLINE vc rounded(vf x, float inv) {
  return __builtin_convertvector((vi)(x * inv + 12582912.0f) - 0x4b400000, vc);
}

template <class T>
void quantize_row(int8_t* q, float* scale, const T* x, int64_t K) {
  const RowScale s = row_scale(x, K);
  *scale = s.scale;
  for (int64_t k = 0; k < K; k += 16) {
    vc c = rounded(load_n(x + k, K - k), s.inv);
    __builtin_memcpy(q + k, &c, static_cast<size_t>(imin(16, K - k)));
  }
}

// Quantises as it packs: the numbers are those of quantize_rows, plus the micro-kernel's offset.
void pack_quantized(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel, int64_t, int64_t panels,
                    float* row_scales) {
  const int64_t step = kBlock * 4, i0 = panel * o.rows(m), rows = imin(o.rows(m), o.outer - i0), blocks = m.blocks(o.k);
  typedef uint8_t vb __attribute__((vector_size(16)));  // to add an offset of 128 modulo 256
  const auto offset = static_cast<uint8_t>(m.offset);
  auto block = [&](int64_t kb) {
    return dst + (kb / kChunk * panels + panel) * m.a_chunk() + kb % kChunk * m.mr * kBlock;
  };
  with_type(o.type, [&](auto tag) {
    using T = decltype(tag);
    for (int64_t r = 0; r < rows; ++r) {
      const T* x = static_cast<const T*>(o.p) + (i0 + r) * o.ld;
      const RowScale s = row_scale(x, o.k);
      row_scales[i0 + r] = s.scale;
      for (int64_t kb = 0; kb < blocks; ++kb)
        for (int64_t i = 0; i < 4; ++i) {
          const int64_t k = kb * step + i * 16;
          const vb c = (vb)(k < o.k ? rounded(load_n(x + k, o.k - k), s.inv) : vc{}) + offset;
          __builtin_memcpy(block(kb) + r * kBlock + i * 4, &c, 16);
        }
    }
  });
  const int64_t used = ceil_div(rows, m.row_step) * m.row_step;  // rows that the micro-kernel will look at
  for (int64_t kb = 0; kb < blocks; ++kb)
    __builtin_memset(block(kb) + rows * kBlock, 0, static_cast<size_t>(used - rows) * 64);
}

}  // namespace

void quantize_rows(Ctx&, Tensor q, Tensor scale, Tensor x) {
  const int64_t M = x.shape[0], K = x.shape[1];
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto* in = static_cast<const T*>(x.data);
    auto* out = static_cast<int8_t*>(q.data);
    auto* s = static_cast<float*>(scale.data);
#pragma omp parallel for schedule(static) if (M * K > 50000)
    for (int64_t m = 0; m < M; ++m) quantize_row(out + m * K, s + m, in + m * K, K);
  });
}

int64_t packed_int8_bytes(Tensor q) {
  const Micro& m = micro_int8();
  const int64_t panels = ceil_div(q.shape[0], m.nr);
  return (m.b_size(q.shape[1], panels) + 2 * panels * m.nr) * 4;
}

Tensor pack_weight_int8(Ctx&, void* dst, Tensor q, Tensor scale) {
  const Micro& m = micro_int8();
  const int64_t N = q.shape[0], K = q.shape[1];
  const PackedInt8 p = parts(m, dst, N, K);
  const auto* from = static_cast<const int8_t*>(q.data);
  const auto* s = static_cast<const float*>(scale.data);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < p.n_panels; ++i) {
    pack_b(m, p.panels, {q.data, DType::kI8, K, true, N, K}, i, p.n_panels);
    for (int64_t n = i * m.nr; n < (i + 1) * m.nr; ++n) {
      int32_t sum = 0;
      for (int64_t k = 0; n < N && k < K; ++k) sum += from[n * K + k];
      p.scale[n] = n < N ? s[n] : 0;
      p.offset[n] = -m.offset * sum;
    }
  }
  q.data = dst;
  q.layout = Layout::kPacked;
  return q;
}

void linear_int8(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  const int64_t M = x.shape[0], K = x.shape[1], N = w.shape[0];
  ScratchScope scope(*ctx.scratch);
  float* scale = ctx.scratch->alloc_array<float>(M);
  const PackedInt8 p = parts(micro_int8(), w.data, N, K);
  const Dequant dequant{scale, p.scale, p.offset};
  matmul(ctx, {&micro_int8(), pack_quantized, scale}, {x.data, x.dtype, K, true, M, K}, N, p.panels,
         {y.data, y.dtype, N, residual.data, &dequant});
}

}  // namespace puyu::cpu::PUYU_ISA
