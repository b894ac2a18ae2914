// Flash attention (Dao et al. 2022): keys in tiles of 64 aligned to absolute positions, an online softmax per query
// row, never a T x T matrix. One job is a block of query rows of one kv head: all query heads of the group at a run of
// positions (row = position * G + g), so K and V are packed once for the group. Products go through the matmul's
// micro-kernels; every row sees its key tiles in order, so its bits do not depend on the block it is in, on how many
// positions come at once, or on whether keys come from a packed batch or from pages.
#include <cmath>

#include <omp.h>

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/panels.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

constexpr int64_t kKeys = kPage;  // keys a tile
constexpr int64_t kRows = 192;    // query rows a job: a multiple of every mr
constexpr int64_t kMaxDim = 256;
constexpr int64_t kPad = 32;  // columns are padded to a multiple of this (>= every nr)

// Packed depth comes in chunks: the words that a depth of kKeys, and of kRows, takes at most.
constexpr int64_t kDepth = kChunk * kBlock, kRowDepth = 2 * kDepth;
static_assert(kKeys <= kDepth && kRows <= kRowDepth && kMaxDim % kDepth == 0);

int64_t padded(int64_t n) { return ceil_div(n, kPad) * kPad; }

// A right operand: panels of nr columns, `panel` words apart, the blocks of one after another.
struct PackedB {
  const uint32_t* words;
  int64_t panel;
};
// One kv head's keys and values of one sequence in one tile: as rows, or packed in a page.
struct KeyTile {
  const char *k, *v;
  int64_t ld, n;  // row stride in elements; keys that exist in this tile
};
void pack_all_a(const Micro& m, uint32_t* dst, const Operand& o) {
  const int64_t panels = ceil_div(o.outer, m.mr);
  pack_a(m, dst, o, 0, panels, panels);
}
// Columns up to the padded width, so that products cover whole rows of the f32 tile.
PackedB pack_all_b(const Micro& m, uint32_t* dst, const Operand& o, int64_t width) {
  const int64_t panel = m.b_size(o.k, 1), column = (o.k_contiguous ? o.ld : 1) * dtype_size(o.type);
  for (int64_t n = 0; n < width; n += m.nr) {
    Operand part = o;
    part.p = static_cast<const char*>(o.p) + n * column, part.outer = o.outer - n;
    pack_b(m, dst + n / m.nr * panel, part, 0, 1);
  }
  return {dst, panel};
}
// c [rows x width] (+)= a b for packed operands of depth k.
void multiply(const Micro& m, float* c, int64_t ldc, const uint32_t* a, PackedB b, int64_t rows, int64_t width,
              int64_t k, bool add) {
  const int64_t pa = ceil_div(rows, m.mr), blocks = m.blocks(k);
  for (int64_t j = 0; j < width / m.nr; ++j)
    for (int64_t i = 0; i < pa; ++i)
      for (int64_t chunk = 0; chunk * kChunk < blocks; ++chunk)
        m.run[imin(m.mr, rows - i * m.mr) - 1](c + i * m.mr * ldc + j * m.nr, ldc, a + (chunk * pa + i) * m.a_chunk(),
                                               b.words + j * b.panel + chunk * m.b_chunk(),
                                               imin(kChunk, blocks - chunk * kChunk), add || chunk > 0,
                                               nothing_ahead(a));
}
// The first n values of a packed page. What lies behind them may be anything, even no numbers; a probability of zero
// would not silence that, so the end of the last block becomes zeros in a copy.
PackedB packed_values(const Micro& m, uint32_t* copy, const uint32_t* page, int64_t panel, int64_t hd, int64_t n) {
  const int64_t step = kBlock * m.per_word, words = ceil_div(n, m.per_word) * m.nr, all = m.blocks(n) * kBlock * m.nr;
  if (n % step == 0) return {page, panel};
  const bool half = n % m.per_word;
  for (int64_t p = 0; p < hd / m.nr; ++p) {
    uint32_t* to = copy + p * panel;
    __builtin_memcpy(to, page + p * panel, static_cast<size_t>(words) * 4);
    for (int64_t c = words - m.nr; half && c < words; ++c) to[c] &= 0xffff;
    __builtin_memset(to + words, 0, static_cast<size_t>(all - words) * 4);
  }
  return {copy, panel};
}

template <class T>
struct ForwardScratch {
  alignas(64) uint32_t q[(kRows + 32) * kMaxDim], k[kKeys * kMaxDim], v[kDepth * kMaxDim], p[(kRows + 32) * kDepth];
  alignas(64) float s[(kRows + 32) * kKeys], o[(kRows + 32) * kMaxDim], m[kRows], l[kRows];
  alignas(64) T q_copy[kRows * kMaxDim], k_copy[kKeys * kMaxDim], v_copy[kKeys * kMaxDim];  // pages read back
};

// One row of scores against one tile: updates the running maximum and sum, leaves probabilities in s, returns the
// factor by which the row's output so far must shrink. `visible` keys count, the rest become 0.
PUYU_INLINE float softmax_step(float* s, int64_t visible, float scale, float& m, float& l) {
  vf x[4], mx = splat(-3e38f);
  const vi lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int j = 0; j < 4; ++j) {
    x[j] = load(s + 16 * j) * scale;
    if (visible < kKeys) x[j] = lane + 16 * j < static_cast<int32_t>(visible) ? x[j] : splat(-3e38f);
    mx = vmax(mx, x[j]);
  }
  const float tile_max = lane_max(mx), m_new = tile_max > m ? tile_max : m;
  vf sum = {};
  for (int j = 0; j < 4; ++j) {
    const vf e = vexp(x[j] - m_new);
    store(s + 16 * j, e);
    sum += e;
  }
  const float shrink = m == m_new ? 1.0f : vexp(splat(m - m_new))[0];
  l = l * shrink + lane_sum(sum);
  m = m_new;
  return shrink;
}

// Attention of `rows` query rows to keys 0 … keys - 1; row r stands at position first + r / G and has its q at q(r),
// its output at out(r). Tiles are rows, or with a form pages packed in it.
template <class T, class Q, class Tile, class Out>
void forward_block(const Micro& m, ForwardScratch<T>& s, int64_t rows, int64_t group, int64_t first, int64_t keys,
                   int64_t hd, const PageForm* packed, Q&& q_rows, Tile&& tile, Out&& out) {
  m.begin();
  for (int64_t r = 0; r < rows; ++r)
    __builtin_memcpy(s.q_copy + r * hd, q_rows(r), sizeof(T) * static_cast<size_t>(hd));
  const DType type = kDTypeOf<T>;
  const int64_t wide = padded(hd);
  pack_all_a(m, s.q, {s.q_copy, type, hd, true, rows, hd});
  for (int64_t r = 0; r < rows; ++r) s.m[r] = -3e38f, s.l[r] = 0;
  const float scale = 1.0f / std::sqrt(static_cast<float>(hd));
  const int64_t last = imin(first + (rows - 1) / group, keys - 1);  // the last key that the last row sees
  for (int64_t j = 0; j * kKeys <= last; ++j) {
    const KeyTile t = tile(j);
    const auto words = [](const char* p) { return reinterpret_cast<const uint32_t*>(p); };
    const PackedB k =
        packed ? PackedB{words(t.k), packed->k_panel} : pack_all_b(m, s.k, {t.k, type, t.ld, true, t.n, hd}, kKeys);
    const PackedB v = packed ? packed_values(m, s.v, words(t.v), packed->v_panel, hd, t.n)
                             : pack_all_b(m, s.v, {t.v, type, t.ld, false, hd, t.n}, wide);
    multiply(m, s.s, kKeys, s.q, k, rows, kKeys, hd, false);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t visible = imin(first + r / group + 1, keys) - j * kKeys;
      const float shrink = softmax_step(s.s + r * kKeys, visible, scale, s.m[r], s.l[r]);
      if (j > 0 && shrink != 1.0f)
        for (int64_t i = 0; i < wide; i += 16) store(s.o + r * wide + i, load(s.o + r * wide + i) * shrink);
    }
    // The depth is the whole tile, zeros beyond t.n, so a row's additions are the same for any number of keys present.
    pack_all_a(m, s.p, {s.s, DType::kF32, kKeys, true, rows, t.n});
    multiply(m, s.o, wide, s.p, v, rows, wide, t.n, j > 0);
  }
  for (int64_t r = 0; r < rows; ++r) out(r, s.o + r * wide, s.m[r], s.l[r]);
}

template <class T>
PUYU_INLINE void write_row(T* o, const float* acc, float l, int64_t hd) {
  const float inv = 1.0f / l;
  for (int64_t i = 0; i < hd; i += 16) store_n(o + i, load(acc + i) * inv, hd - i);
}

// Calls f(sequence, kv head, first local token, tokens) for every block of query positions, in parallel. length(i):
// queries of sequence i.
template <class Length, class F>
void for_blocks(int64_t n, Heads heads, Length&& length, F&& f) {
  const int64_t step = imax(1, kRows / heads.group());
  int64_t blocks = 0;
  for (int64_t i = 0; i < n; ++i) blocks += ceil_div(length(i), step);
  // Long sequences' last blocks see the most keys: largest first balances the threads.
#pragma omp parallel for schedule(dynamic, 1) if (blocks * heads.kv > 1)
  for (int64_t job = blocks * heads.kv - 1; job >= 0; --job) {
    const int64_t kv = job % heads.kv;
    int64_t b = job / heads.kv, i = 0;
    for (; i < n; ++i) {
      const int64_t here = ceil_div(length(i), step);
      if (b < here) break;
      b -= here;
    }
    f(i, kv, b * step, imin(step, length(i) - b * step));
  }
}
auto lengths_of(const int32_t* cu) {
  return [cu](int64_t i) -> int64_t { return cu[i + 1] - cu[i]; };
}

}  // namespace

void attention_packed(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Heads heads, const PackedSeqs& seqs) {
  CHECK(heads.dim <= kMaxDim && heads.group() <= kRows);
  const int64_t group = heads.group(), hd = heads.dim, width = heads.row();
  const Micro& m = micro_for(qkv.dtype == DType::kBF16);
  with_type(qkv.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* base = qkv.as<T>();
    ScratchScope scope(*ctx.scratch);
    auto* scratch = per_thread<ForwardScratch<T>>(ctx, omp_get_max_threads());
    for_blocks(seqs.n, heads, lengths_of(seqs.cu), [&](int64_t i, int64_t kv, int64_t t0, int64_t tokens) {
      const int64_t begin = seqs.cu[i], len = seqs.cu[i + 1] - begin;
      const T* head = base + begin * width + kv * (group + 2) * hd;
      forward_block<T>(
          m, scratch[omp_get_thread_num()], tokens * group, group, seqs.causal ? t0 : len, len, hd, nullptr,
          [&](int64_t r) { return head + (t0 + r / group) * width + r % group * hd; },
          [&](int64_t j) {
            const T* k = head + j * kKeys * width + group * hd;
            return KeyTile{reinterpret_cast<const char*>(k), reinterpret_cast<const char*>(k + hd), width,
                           imin(kKeys, len - j * kKeys)};
          },
          [&](int64_t r, const float* acc, float mx, float l) {
            const int64_t t = begin + t0 + r / group, h = kv * group + r % group;
            write_row(o.as<T>() + (t * heads.q + h) * hd, acc, l, hd);
            if (lse) lse.as<float>()[t * heads.q + h] = mx + std::log(l);
          });
    });
  });
}

namespace {

// o and lse of one query row, which may have seen other keys, with these: maximum mx and sum l of the softmax, acc =
// sum of exp(score - mx) v.
PUYU_INLINE void merge_row(float* o, float& lse, const float* acc, float mx, float l, int64_t hd) {
  const float part = mx + std::log(l), most = lse > part ? lse : part;
  const float both = most + std::log(std::exp(lse - most) + std::exp(part - most));
  const float old_share = std::exp(lse - both), share = std::exp(part - both) / l;
  for (int64_t i = 0; i < hd; i += 16)
    store_n(o + i, load_n(o + i, hd - i) * old_share + load(acc + i) * share, hd - i);
  lse = both;
}

}  // namespace

void attention_part(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Tensor kv, Heads heads, const AttentionSpan* spans,
                    int64_t n) {
  CHECK(heads.dim <= kMaxDim && heads.group() <= kRows);
  const int64_t group = heads.group(), hd = heads.dim, width = heads.row(), kv_width = 2 * heads.kv * hd;
  const Micro& m = micro_for(qkv.dtype == DType::kBF16);
  with_type(qkv.dtype, [&](auto tag) {
    using T = decltype(tag);
    ScratchScope scope(*ctx.scratch);
    auto* scratch = per_thread<ForwardScratch<T>>(ctx, omp_get_max_threads());
    auto queries = [&](int64_t i) { return spans[i].queries; };
    for_blocks(n, heads, queries, [&](int64_t i, int64_t head, int64_t t0, int64_t tokens) {
      const AttentionSpan& s = spans[i];
      const T* q = qkv.as<T>() + (s.q + t0) * width + head * (group + 2) * hd;
      const T* keys = kv.as<T>() + s.k * kv_width + 2 * head * hd;
      forward_block<T>(
          m, scratch[omp_get_thread_num()], tokens * group, group, s.first + t0, s.keys, hd, nullptr,
          [&](int64_t r) { return q + r / group * width + r % group * hd; },
          [&](int64_t j) {
            const T* k = keys + j * kKeys * kv_width;
            return KeyTile{reinterpret_cast<const char*>(k), reinterpret_cast<const char*>(k + hd), kv_width,
                           imin(kKeys, s.keys - j * kKeys)};
          },
          [&](int64_t r, const float* acc, float mx, float l) {
            const int64_t at = (s.q + t0 + r / group) * heads.q + head * group + r % group;
            merge_row(o.as<float>() + at * hd, lse.as<float>()[at], acc, mx, l, hd);
          });
    });
  });
}

void attention_paged(Ctx& ctx, Tensor o, Tensor qkv, Heads heads, const PagedSeqs& s) {
  CHECK(heads.dim <= kMaxDim && heads.group() <= kRows);
  const int64_t group = heads.group(), hd = heads.dim, width = heads.row();
  const Micro& m = micro_for(qkv.dtype == DType::kBF16);
  with_type(qkv.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T *base = qkv.as<T>(), *k_pages = static_cast<T*>(s.k_pages.data), *v_pages = static_cast<T*>(s.v_pages.data);
    const bool quantised = kv_bits(s.k_pages, hd) != 0;
    const PageForm form = page_form(m, qkv.dtype, hd);
    const bool packed = form.packed && !quantised;
    ScratchScope scope(*ctx.scratch);
    auto* scratch = per_thread<ForwardScratch<T>>(ctx, omp_get_max_threads());
    for_blocks(s.n, heads, lengths_of(s.cu), [&](int64_t i, int64_t kv, int64_t t0, int64_t tokens) {
      const int64_t begin = s.cu[i], len = s.past[i] + s.cu[i + 1] - begin;
      forward_block<T>(
          m, scratch[omp_get_thread_num()], tokens * group, group, s.past[i] + t0, len, hd, packed ? &form : nullptr,
          [&](int64_t r) { return base + (begin + t0 + r / group) * width + (kv * (group + 2) + r % group) * hd; },
          [&](int64_t j) {
            const int64_t row = (s.table[i * s.max_pages + j] * heads.kv + kv) * kPage, at = row * hd;
            if (quantised) {
              ForwardScratch<T>& mine = scratch[omp_get_thread_num()];
              const int64_t keys = imin(kKeys, len - j * kKeys);
              read_kv_tile(s.k_pages, row, keys, hd, qkv.dtype, mine.k_copy);
              read_kv_tile(s.v_pages, row, keys, hd, qkv.dtype, mine.v_copy);
              return KeyTile{reinterpret_cast<const char*>(mine.k_copy), reinterpret_cast<const char*>(mine.v_copy), hd,
                             keys};
            }
            return KeyTile{reinterpret_cast<const char*>(k_pages + at), reinterpret_cast<const char*>(v_pages + at), hd,
                           imin(kKeys, len - j * kKeys)};
          },
          [&](int64_t r, const float* acc, float, float l) {
            write_row(o.as<T>() + ((begin + t0 + r / group) * heads.q + kv * group + r % group) * hd, acc, l, hd);
          });
    });
  });
}

namespace {

// Packed forms of one query block that every key tile reuses.
struct QueryForms {
  uint32_t *q_a, *do_a;  // rows x hd, as left operands
  uint32_t *q_b, *do_b;  // hd columns over depth rows, as right operands
};

struct BackwardScratch {
  alignas(64) uint32_t k_b[kKeys * kMaxDim], v_b[kKeys * kMaxDim], k_d[kDepth * kMaxDim];
  alignas(64) uint32_t p_t[(kKeys + 32) * kRowDepth], ds_t[(kKeys + 32) * kRowDepth], ds[(kRows + 32) * kDepth];
  alignas(64) float s[(kRows + 32) * kKeys], dp[(kRows + 32) * kKeys], dk[(kKeys + 32) * kMaxDim],
      dv[(kKeys + 32) * kMaxDim];
};

// Words that any of the four forms may take.
int64_t form_words(int64_t hd) { return kRowDepth * imax(padded(hd), kDepth); }

// Queries and keys of one sequence and kv head: rows of the first query (its first head) and of the first key, behind
// which v lies; lse and delta of the first query's first head. Query i sees keys 0 … min(first + i, keys - 1).
template <class T>
struct HeadSpan {
  const T *q, *dout, *k;
  const float *lse, *delta;
  int64_t q_ld, k_ld, queries, keys, first;
};

// What a thread computes with.
template <class T>
struct BackwardBuffers {
  BackwardScratch& s;
  float* dq;
  uint32_t* forms;
  T* rows;
};

// All key tiles against all query blocks that see them. keys_done(i, dk, dv), queries_done(r, dq): f32 rows.
template <class T, class Keys, class Queries>
void backward_head(const Micro& m, const BackwardBuffers<T>& buf, const HeadSpan<T>& h, Heads heads, Keys&& keys_done,
                   Queries&& queries_done) {
  m.begin();
  BackwardScratch& s = buf.s;
  float* dq = buf.dq;
  T* rows_buf = buf.rows;
  const int64_t group = heads.group(), hd = heads.dim, wide = padded(hd), len = h.queries, width = h.k_ld;
  const int64_t step = imax(1, kRows / group), blocks = ceil_div(len, step);
  const DType type = kDTypeOf<T>;
  const float scale = 1.0f / std::sqrt(static_cast<float>(hd));
  const int64_t form = form_words(hd);
  auto form_at = [&](int64_t b) {
    uint32_t* f = buf.forms + b * 4 * form;
    return QueryForms{f, f + form, f + 2 * form, f + 3 * form};
  };
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t t0 = b * step, rows = imin(step, len - t0) * group;
    const QueryForms f = form_at(b);
    for (int64_t r = 0; r < rows; ++r)
      __builtin_memcpy(rows_buf + r * hd, h.q + (t0 + r / group) * h.q_ld + r % group * hd,
                       sizeof(T) * static_cast<size_t>(hd));
    pack_all_a(m, f.q_a, {rows_buf, type, hd, true, rows, hd});
    pack_all_b(m, f.q_b, {rows_buf, type, hd, false, hd, rows}, wide);
    for (int64_t r = 0; r < rows; ++r)
      __builtin_memcpy(rows_buf + r * hd, h.dout + ((t0 + r / group) * heads.q + r % group) * hd,
                       sizeof(T) * static_cast<size_t>(hd));
    pack_all_a(m, f.do_a, {rows_buf, type, hd, true, rows, hd});
    pack_all_b(m, f.do_b, {rows_buf, type, hd, false, hd, rows}, wide);
  }
  for (int64_t j = 0; j * kKeys < h.keys; ++j) {
    const int64_t keys = imin(kKeys, h.keys - j * kKeys);
    const T* k = h.k + j * kKeys * width;
    const PackedB k_b = pack_all_b(m, s.k_b, {k, type, width, true, keys, hd}, kKeys);
    const PackedB v_b = pack_all_b(m, s.v_b, {k + hd, type, width, true, keys, hd}, kKeys);
    const PackedB k_d = pack_all_b(m, s.k_d, {k, type, width, false, hd, keys}, wide);
    bool first = true;
    for (int64_t b = imax(0, j * kKeys - h.first) / step; b < blocks; ++b) {
      const int64_t t0 = b * step, rows = imin(step, len - t0) * group;
      const QueryForms f = form_at(b);
      const int64_t panel = m.b_size(rows, 1);
      multiply(m, s.s, kKeys, f.q_a, k_b, rows, kKeys, hd, false);
      multiply(m, s.dp, kKeys, f.do_a, v_b, rows, kKeys, hd, false);
      const vi lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = (t0 + r / group) * heads.q + r % group;
        const auto visible = static_cast<int32_t>(imin(h.first + t0 + r / group + 1, h.keys) - j * kKeys);
        for (int i = 0; i < 4; ++i) {
          float *ps = s.s + r * kKeys + 16 * i, *pd = s.dp + r * kKeys + 16 * i;
          vf p = vexp(load(ps) * scale - h.lse[at]);
          if (visible < kKeys) p = lane + 16 * i < visible ? p : splat(0.0f);
          store(ps, p);
          store(pd, p * (load(pd) - h.delta[at]) * scale);
        }
      }
      pack_all_a(m, s.p_t, {s.s, DType::kF32, kKeys, false, kKeys, rows});
      multiply(m, s.dv, wide, s.p_t, {f.do_b, panel}, kKeys, wide, rows, !first);
      pack_all_a(m, s.ds_t, {s.dp, DType::kF32, kKeys, false, kKeys, rows});
      multiply(m, s.dk, wide, s.ds_t, {f.q_b, panel}, kKeys, wide, rows, !first);
      pack_all_a(m, s.ds, {s.dp, DType::kF32, kKeys, true, rows, keys});
      multiply(m, dq + b * (kRows + 32) * wide, wide, s.ds, k_d, rows, wide, keys, j > 0);
      first = false;
    }
    for (int64_t i = 0; i < keys; ++i) keys_done(j * kKeys + i, s.dk + i * wide, s.dv + i * wide);
  }
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t t0 = b * step, rows = imin(step, len - t0) * group;
    for (int64_t r = 0; r < rows; ++r) queries_done(t0 * group + r, dq + (b * (kRows + 32) + r) * wide);
  }
}

// delta = do . o of every row, and job(i, kv head, buffers, delta) for n sequences of at most `longest` queries, in
// parallel.
template <class T, class F>
void for_heads(Ctx& ctx, Tensor do_, Tensor o, Heads heads, int64_t n, int64_t longest, F&& job) {
  const int64_t hd = heads.dim, rows = o.shape[0] * heads.q, form = form_words(hd), threads = omp_get_max_threads();
  const int64_t blocks = ceil_div(longest, imax(1, kRows / heads.group()));
  ScratchScope scope(*ctx.scratch);
  float* delta = ctx.scratch->alloc_array<float>(rows);
  float* dq = ctx.scratch->alloc_array<float>(threads * blocks * form);
  auto* forms = reinterpret_cast<uint32_t*>(ctx.scratch->alloc_array<int32_t>(threads * blocks * 4 * form));
  auto* scratch = per_thread<BackwardScratch>(ctx, threads);
  T* row_buf = ctx.scratch->alloc(kDTypeOf<T>, {threads, kRows * hd}).template as<T>();
  const T *po = o.as<T>(), *pd = do_.as<T>();
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
      vf acc = {};
      for (int64_t i = 0; i < hd; i += 16) acc += load_n(po + r * hd + i, hd - i) * load_n(pd + r * hd + i, hd - i);
      delta[r] = lane_sum(acc);
    }
    const int64_t me = omp_get_thread_num();
    const BackwardBuffers<T> mine{scratch[me], dq + me * blocks * form, forms + me * blocks * 4 * form,
                                  row_buf + me * kRows * hd};
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < n * heads.kv; ++i) job(i / heads.kv, i % heads.kv, mine, delta);
  }
}

}  // namespace

void attention_backward(Ctx& ctx, Tensor dqkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Heads heads,
                        const PackedSeqs& seqs) {
  CHECK(heads.dim <= kMaxDim && heads.group() <= kRows);
  const int64_t hd = heads.dim, group = heads.group(), width = heads.row();
  const Micro& m = micro_for(qkv.dtype == DType::kBF16);
  int64_t longest = 0;
  for (int64_t i = 0; i < seqs.n; ++i) longest = imax(longest, seqs.cu[i + 1] - seqs.cu[i]);
  with_type(qkv.dtype, [&](auto tag) {
    using T = decltype(tag);
    for_heads<T>(ctx, do_, o, heads, seqs.n, longest, [&](int64_t i, int64_t kv, const auto& buffers, float* delta) {
      const int64_t begin = seqs.cu[i], len = seqs.cu[i + 1] - begin, at = begin * heads.q + kv * group;
      const T* q = qkv.as<T>() + begin * width + kv * (group + 2) * hd;
      T* dq = dqkv.as<T>() + begin * width + kv * (group + 2) * hd;
      backward_head<T>(
          m, buffers,
          {q, do_.as<T>() + at * hd, q + group * hd, lse.as<float>() + at, delta + at, width, width, len, len,
           seqs.causal ? 0 : len},
          heads,
          [&](int64_t key, const float* dk, const float* dv) {
            write_row(dq + key * width + group * hd, dk, 1.0f, hd);
            write_row(dq + key * width + (group + 1) * hd, dv, 1.0f, hd);
          },
          [&](int64_t r, const float* row) { write_row(dq + r / group * width + r % group * hd, row, 1.0f, hd); });
    });
  });
}

void attention_part_backward(Ctx& ctx, Tensor dq, Tensor dkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Tensor kv,
                             Heads heads, const AttentionSpan* spans, int64_t n) {
  CHECK(heads.dim <= kMaxDim && heads.group() <= kRows);
  const int64_t hd = heads.dim, group = heads.group(), width = heads.row(), kv_width = 2 * heads.kv * hd;
  const Micro& m = micro_for(qkv.dtype == DType::kBF16);
  int64_t longest = 0;
  for (int64_t i = 0; i < n; ++i) longest = imax(longest, spans[i].queries);
  auto add_row = [hd](float* to, const float* row) {
    for (int64_t i = 0; i < hd; i += 16) store_n(to + i, load_n(to + i, hd - i) + load(row + i), hd - i);
  };
  with_type(qkv.dtype, [&](auto tag) {
    using T = decltype(tag);
    for_heads<T>(ctx, do_, o, heads, n, longest, [&](int64_t i, int64_t head, const auto& buffers, float* delta) {
      const AttentionSpan& s = spans[i];
      const int64_t at = s.q * heads.q + head * group, key_at = s.k * kv_width + 2 * head * hd;
      float *to_q = dq.as<float>() + at * hd, *to_kv = dkv.as<float>() + key_at;
      backward_head<T>(
          m, buffers,
          {qkv.as<T>() + s.q * width + head * (group + 2) * hd, do_.as<T>() + at * hd, kv.as<T>() + key_at,
           lse.as<float>() + at, delta + at, width, kv_width, s.queries, s.keys, s.first},
          heads,
          [&](int64_t key, const float* dk, const float* dv) {
            add_row(to_kv + key * kv_width, dk), add_row(to_kv + key * kv_width + hd, dv);
          },
          [&](int64_t r, const float* row) { add_row(to_q + (r / group * heads.q + r % group) * hd, row); });
    });
  });
}

}  // namespace puyu::cpu::PUYU_ISA
