// Keys and values in pages: as they are (kv_cache.h has their order), or quantised to 8 or 4 bits. A quantised row (one
// token, one kv head) is [scale f32][zero f32][numbers]; of 4-bit numbers a byte's low half is element i, its high half
// element i + HD / 2.
#include "kernels/cpu/kv_cache.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

typedef uint8_t vb __attribute__((vector_size(16)));
constexpr int64_t kMaxDim = 256;

struct RowParams {
  float scale, zero;
};

PUYU_INLINE void store_bytes(uint8_t* p, vi v, int64_t n) {
  vb b = __builtin_convertvector(v, vb);
  __builtin_memcpy(p, &b, static_cast<size_t>(imin(16, n)));
}
PUYU_INLINE vi load_bytes(const uint8_t* p, int64_t n) {
  vb b = {};
  __builtin_memcpy(&b, p, static_cast<size_t>(imin(16, n)));
  return __builtin_convertvector(b, vi);
}

template <class T>
void quantize_kv_row(uint8_t* row, const T* x, int64_t hd, int bits) {
  alignas(64) float f[kMaxDim + 16] = {};
  for (int64_t i = 0; i < hd; i += 16) store(f + i, load_n(x + i, hd - i));
  float low = f[0], high = f[0];
  for (int64_t i = 1; i < hd; ++i) low = f[i] < low ? f[i] : low, high = f[i] > high ? f[i] : high;
  const auto top = static_cast<float>((1 << bits) - 1);
  const RowParams p{(high - low) / top, low};
  const float inv = high > low ? top / (high - low) : 0;
  __builtin_memcpy(row, &p, sizeof p);
  uint8_t* out = row + sizeof p;
  const int64_t n = bits == 8 ? hd : hd / 2;
  auto number = [&](int64_t i) {  // rounded to the nearest by the low bits of 1.5 * 2^23 + x
    vf t = (load(f + i) - low) * inv + 12582912.0f;
    return (vi)t - 0x4b400000;
  };
  for (int64_t i = 0; i < n; i += 16) {
    alignas(64) float upper[16] = {};
    vi q = number(i);
    if (bits == 4) {
      __builtin_memcpy(upper, f + n + i, sizeof(float) * static_cast<size_t>(imin(16, n - i)));
      vf t = (load(upper) - low) * inv + 12582912.0f;
      q = (q & 15) | (((vi)t - 0x4b400000) & 15) << 4;
    }
    store_bytes(out + i, q, n - i);
  }
}

template <class T>
void read_kv_row(T* x, const uint8_t* row, int64_t hd, int bits) {
  RowParams p;
  __builtin_memcpy(&p, row, sizeof p);
  const uint8_t* in = row + sizeof p;
  const int64_t n = bits == 8 ? hd : hd / 2;
  for (int64_t i = 0; i < n; i += 16) {
    const vi q = load_bytes(in + i, n - i);
    const vi first = bits == 8 ? q : q & 15;
    store_n(x + i, __builtin_convertvector(first, vf) * p.scale + p.zero, n - i);
    if (bits == 4) store_n(x + n + i, __builtin_convertvector(q >> 4, vf) * p.scale + p.zero, n - i);
  }
}

// Key number `key` of a packed page: one column.
template <class T>
void write_packed_key(const Micro& m, const PageForm& form, T* page, int64_t key, const T* x, int64_t hd) {
  auto* column = reinterpret_cast<uint32_t*>(page) + key / m.nr * form.k_panel + key % m.nr;
  const auto* words = reinterpret_cast<const char*>(x);
  for (int64_t w = 0; w < hd / m.per_word; ++w) __builtin_memcpy(column + w * m.nr, words + 4 * w, 4);
}
// Value number `key`: its part of one word in every column. Its neighbour in the word may be there already.
template <class T>
void write_packed_value(const Micro& m, const PageForm& form, T* page, int64_t key, const T* x, int64_t hd) {
  for (int64_t i = 0; i < hd; i += m.nr) {
    T* row = page + (i / m.nr * form.v_panel + key / m.per_word * m.nr) * m.per_word + key % m.per_word;
    for (int64_t c = 0; c < m.nr; ++c) row[c * m.per_word] = x[i + c];
  }
}

}  // namespace

int kv_bits(Tensor pages, int64_t hd) {
  if (pages.dtype != DType::kU8) return 0;
  return pages.shape[3] == hd + 8 ? 8 : 4;
}

void read_kv_tile(Tensor pages, int64_t first_row, int64_t rows, int64_t hd, DType act, void* out) {
  const int bits = kv_bits(pages, hd);
  const auto* from = static_cast<const uint8_t*>(pages.data) + first_row * pages.shape[3];
  with_type(act, [&](auto tag) {
    using T = decltype(tag);
    for (int64_t r = 0; r < rows; ++r) read_kv_row(static_cast<T*>(out) + r * hd, from + r * pages.shape[3], hd, bits);
  });
}

void kv_append(Ctx&, Tensor qkv, Heads heads, const PagedSeqs& s) {
  const int64_t group = heads.group(), hd = heads.dim;
  const int bits = kv_bits(s.k_pages, hd);
  with_type(qkv.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto* base = static_cast<const T*>(qkv.data);
    const int64_t row_bytes = s.k_pages.shape[3] * dtype_size(s.k_pages.dtype);
    const Micro& m = micro_for(qkv.dtype == DType::kBF16);
    const PageForm form = page_form(m, qkv.dtype, hd);
    auto write = [&](Tensor pages, int64_t row, const T* x, auto write_packed) {
      char* to = static_cast<char*>(pages.data) + row * row_bytes;
      if (!bits && form.packed)
        write_packed(m, form, reinterpret_cast<T*>(to - row % kPage * row_bytes), row % kPage, x, hd);
      else if (bits)
        quantize_kv_row(reinterpret_cast<uint8_t*>(to), x, hd, bits);
      else
        __builtin_memcpy(to, x, static_cast<size_t>(row_bytes));
    };
#pragma omp parallel for schedule(static) if (s.cu[s.n] > 64)
    for (int64_t i = 0; i < s.n; ++i)
      for (int64_t t = s.cu[i]; t < s.cu[i + 1]; ++t) {
        const int64_t pos = s.past[i] + (t - s.cu[i]), page = s.table[i * s.max_pages + pos / kPage];
        CHECK(page >= 0 && page < s.k_pages.shape[0], "page outside the cache");
        for (int64_t kv = 0; kv < heads.kv; ++kv) {
          const T* k = base + t * heads.row() + (kv * (group + 2) + group) * hd;
          const int64_t row = (page * heads.kv + kv) * kPage + pos % kPage;
          write(s.k_pages, row, k, write_packed_key<T>), write(s.v_pages, row, k + hd, write_packed_value<T>);
        }
      }
  });
}

}  // namespace puyu::cpu::PUYU_ISA
