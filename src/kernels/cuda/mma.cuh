// Products of a warp on the tensor cores, 16 rows at a time: mma.sync m16n8k16 for bf16, m16n8k32 for int8. For f32 the
// same fragments are filled by plain FMAs, so that one kernel serves both types. An element's sum runs over k in steps
// of 16 from 0 up, whatever the tile: bits do not depend on tile sizes.
//
// The fragment of C (16 x 8, PTX ISA "mma.m16n8k16"): lane l holds rows g = l / 4 and g + 8, columns 2 (l % 4) and the
// next: c[0], c[1] of row g, c[2], c[3] of row g + 8.
#pragma once
#include "kernels/cuda/device.cuh"

namespace puyu::PUYU_CUDA {

// Columns of padding after a row in shared memory: rows of 16-byte units then start in different banks.
template <class T>
constexpr int kPad = 16 / static_cast<int>(sizeof(T));

struct FragA {
  uint32_t r[4];
};
struct FragB {
  uint32_t r[2];
};

PUYU_BODY uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(from_float<BF16>(low).bits) | static_cast<uint32_t>(from_float<BF16>(high).bits) << 16;
}

#ifdef PUYU_CUDA_EMULATION
inline void mma_bf16(float (&c)[4], const FragA& a, const FragB& b) {
  uint32_t mine[6] = {a.r[0], a.r[1], a.r[2], a.r[3], b.r[0], b.r[1]};
  const char* all = emulator::exchange(mine, sizeof mine);
  const int l = emulator::lane();
  auto half = [&](int lane, int reg, int hi) {
    return as_float(BF16{static_cast<uint16_t>(emulator::from_lane<uint32_t>(all, lane, reg) >> (16 * hi))});
  };
  for (int i = 0; i < 4; ++i) {
    const int row = l / 4 + 8 * (i / 2), col = 2 * (l % 4) + i % 2;
    float sum = 0;
    for (int k = 0; k < 16; ++k)
      sum += half(row % 8 * 4 + k % 8 / 2, row / 8 + 2 * (k / 8), k % 2) * half(col * 4 + k % 8 / 2, 4 + k / 8, k % 2);
    c[i] += sum;
  }
}
inline void mma_int8(int32_t (&c)[4], const FragA& a, const FragB& b) {
  uint32_t mine[6] = {a.r[0], a.r[1], a.r[2], a.r[3], b.r[0], b.r[1]};
  const char* all = emulator::exchange(mine, sizeof mine);
  const int l = emulator::lane();
  auto byte = [&](int lane, int reg, int at) {
    return static_cast<int>(static_cast<int8_t>(emulator::from_lane<uint32_t>(all, lane, reg) >> (8 * at)));
  };
  for (int i = 0; i < 4; ++i) {
    const int row = l / 4 + 8 * (i / 2), col = 2 * (l % 4) + i % 2;
    for (int k = 0; k < 32; ++k)
      c[i] +=
          byte(row % 8 * 4 + k % 16 / 4, row / 8 + 2 * (k / 16), k % 4) * byte(col * 4 + k % 16 / 4, 4 + k / 16, k % 4);
  }
}
// Four 8 x 8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8.
template <bool kTranspose>
inline void ldmatrix4(uint32_t (&r)[4], const void* row) {
  CHECK(reinterpret_cast<uintptr_t>(row) % 16 == 0, "ldmatrix needs 16-byte rows");
  const char* all = emulator::exchange(&row, sizeof row);
  const int l = emulator::lane();
  for (int m = 0; m < 4; ++m) {
    uint16_t v[2];
    for (int e = 0; e < 2; ++e) {
      const int i = kTranspose ? 2 * (l % 4) + e : l / 4, j = kTranspose ? l / 4 : 2 * (l % 4) + e;
      v[e] = emulator::from_lane<const uint16_t*>(all, 8 * m + i)[j];
    }
    r[m] = v[0] | static_cast<uint32_t>(v[1]) << 16;
  }
}
#else
__device__ __forceinline__ void mma_bf16(float (&c)[4], const FragA& a, const FragB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
}
__device__ __forceinline__ void mma_int8(int32_t (&c)[4], const FragA& a, const FragB& b) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
}
template <bool kTranspose>
__device__ __forceinline__ void ldmatrix4(uint32_t (&r)[4], const void* row) {
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTranspose)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
#endif

PUYU_BODY int lane_id() { return static_cast<int>(threadIdx.x) % 32; }
PUYU_BODY int warp_id() { return static_cast<int>(threadIdx.x) / 32; }

// A [16, 16] at a, k fastest, rows `ld` apart.
PUYU_BODY FragA load_a(const BF16* a, int ld) {
  FragA f;
  const int l = lane_id();
  ldmatrix4<false>(f.r, a + (l % 8 + 8 * (l / 8 % 2)) * ld + 8 * (l / 16));
  return f;
}
// B [16, 16 columns] as two fragments: kColumnRows: memory is [column][k]; else [k][column].
template <bool kColumnRows>
PUYU_BODY void load_b(FragB& first, FragB& second, const BF16* b, int ld) {
  uint32_t r[4];
  const int l = lane_id();
  if constexpr (kColumnRows)
    ldmatrix4<false>(r, b + (l % 8 + 8 * (l / 16)) * ld + 8 * (l / 8 % 2));
  else
    ldmatrix4<true>(r, b + (l % 8 + 8 * (l / 8 % 2)) * ld + 8 * (l / 16));
  first = {{r[0], r[1]}}, second = {{r[2], r[3]}};
}

// c [16, 8 kTiles] += a [16, depth] b, both in shared memory; a: k fastest; b: [column][k] or [k][column]. depth and
// 8 kTiles: multiples of 16.
template <int kTiles, bool kColumnRows>
PUYU_BODY void multiply(float (&c)[kTiles][4], const BF16* a, int lda, const BF16* b, int ldb, int depth) {
  for (int k = 0; k < depth; k += 16) {
    const FragA fa = load_a(a + k, lda);
    PUYU_UNROLL
    for (int n = 0; n < kTiles; n += 2) {
      FragB b0, b1;
      load_b<kColumnRows>(b0, b1, kColumnRows ? b + n * 8 * ldb + k : b + k * ldb + n * 8, ldb);
      mma_bf16(c[n], fa, b0), mma_bf16(c[n + 1], fa, b1);
    }
  }
}
template <int kTiles, bool kColumnRows>
PUYU_BODY void multiply(float (&c)[kTiles][4], const float* a, int lda, const float* b, int ldb, int depth) {
  const int l = lane_id(), row = l / 4, col = 2 * (l % 4);
  for (int k = 0; k < depth; ++k) {
    const float a0 = a[row * lda + k], a1 = a[(row + 8) * lda + k];
    PUYU_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      const int j = n * 8 + col;
      const float b0 = kColumnRows ? b[j * ldb + k] : b[k * ldb + j];
      const float b1 = kColumnRows ? b[(j + 1) * ldb + k] : b[k * ldb + j + 1];
      c[n][0] = fmaf(a0, b0, c[n][0]), c[n][1] = fmaf(a0, b1, c[n][1]);
      c[n][2] = fmaf(a1, b0, c[n][2]), c[n][3] = fmaf(a1, b1, c[n][3]);
    }
  }
}

// c [16, 8 kTiles] += p b, where p [16, 64] is a fragment of C that a product left, rounded to T; b: [k][column] in
// shared memory. f32 goes through `mine`, 16 x kKeyLd floats of the warp's own.
constexpr int kKeyLd = 64 + 4;
template <int kTiles>
PUYU_BODY void multiply_fragment(float (&c)[kTiles][4], const float (&p)[8][4], const BF16* b, int ldb, float*) {
  PUYU_UNROLL
  for (int k = 0; k < 4; ++k) {
    const FragA fa = {{pack_bf16(p[2 * k][0], p[2 * k][1]), pack_bf16(p[2 * k][2], p[2 * k][3]),
                       pack_bf16(p[2 * k + 1][0], p[2 * k + 1][1]), pack_bf16(p[2 * k + 1][2], p[2 * k + 1][3])}};
    PUYU_UNROLL
    for (int n = 0; n < kTiles; n += 2) {
      FragB b0, b1;
      load_b<false>(b0, b1, b + k * 16 * ldb + n * 8, ldb);
      mma_bf16(c[n], fa, b0), mma_bf16(c[n + 1], fa, b1);
    }
  }
}
template <int kTiles>
PUYU_BODY void multiply_fragment(float (&c)[kTiles][4], const float (&p)[8][4], const float* b, int ldb, float* mine) {
  const int l = lane_id();
  __syncwarp();
  PUYU_UNROLL
  for (int n = 0; n < 8; ++n)
    for (int i = 0; i < 4; ++i) mine[(l / 4 + 8 * (i / 2)) * kKeyLd + n * 8 + 2 * (l % 4) + i % 2] = p[n][i];
  __syncwarp();
  multiply<kTiles, false>(c, mine, kKeyLd, b, ldb, 64);
}

}  // namespace puyu::PUYU_CUDA
