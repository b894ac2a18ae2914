// The scalar truth: each op as plainly as it can be written, templated on the number type. On double it is the
// reference for values; on std::complex<double> it gives exact derivatives by the complex-step method (Squire & Trapp,
// 1998): df/dx = Im f(x + ih) / h with h so small that nothing cancels. Slow on purpose.
#pragma once
#include <cmath>
#include <complex>
#include <vector>

#include "kernels/kernels.h"

namespace puyu::ref {

template <class S>
using Vec = std::vector<S>;
inline double re(double v) { return v; }
inline double re(const std::complex<double>& v) { return v.real(); }

// y [T, D]
template <class S>
Vec<S> rmsnorm(const Vec<S>& x, const Vec<S>& w, int64_t T, int64_t D, double eps) {
  Vec<S> y(x.size());
  for (int64_t t = 0; t < T; ++t) {
    S ss = 0;
    for (int64_t i = 0; i < D; ++i) ss += x[t * D + i] * x[t * D + i];
    S r = S(1) / std::sqrt(ss / S(static_cast<double>(D)) + S(eps));
    for (int64_t i = 0; i < D; ++i) y[t * D + i] = x[t * D + i] * r * w[i];
  }
  return y;
}

// y [M, N] = x [M, K] w [N, K]^T
template <class S>
Vec<S> linear(const Vec<S>& x, const Vec<S>& w, int64_t M, int64_t N, int64_t K) {
  Vec<S> y(M * N);
  for (int64_t m = 0; m < M; ++m)
    for (int64_t n = 0; n < N; ++n) {
      S s = 0;
      for (int64_t k = 0; k < K; ++k) s += x[m * K + k] * w[n * K + k];
      y[m * N + n] = s;
    }
  return y;
}

// y[t] += b
template <class S>
Vec<S> add_bias(Vec<S> y, const Vec<S>& b) {
  for (size_t i = 0; i < y.size(); ++i) y[i] += b[i % b.size()];
  return y;
}

template <class S>
Vec<S> rope(Vec<S> qkv, const Vec<int32_t>& pos, Heads h, double theta) {
  const int64_t g = h.group(), hd = h.dim;
  for (size_t t = 0; t < pos.size(); ++t)
    for (int64_t kv = 0; kv < h.kv; ++kv)
      for (int64_t s = 0; s <= g; ++s) {
        S* p = qkv.data() + static_cast<int64_t>(t) * h.row() + (kv * (g + 2) + s) * hd;
        for (int64_t i = 0; i < hd / 2; ++i) {
          const double a = pos[t] * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(hd));
          S u = p[i], v = p[i + hd / 2];
          p[i] = u * std::cos(a) - v * std::sin(a);
          p[i + hd / 2] = v * std::cos(a) + u * std::sin(a);
        }
      }
  return qkv;
}

// o [T, H, HD]; lse [T, H] if given
template <class S>
Vec<S> attention(const Vec<S>& qkv, const Vec<int32_t>& cu, Heads h, Vec<S>* lse = nullptr, bool causal = true) {
  const int64_t T = cu.back(), hd = h.dim, g = h.group();
  Vec<S> o(T * h.q * hd);
  if (lse) lse->assign(T * h.q, S(0));
  for (size_t i = 0; i + 1 < cu.size(); ++i)
    for (int64_t t = cu[i]; t < cu[i + 1]; ++t)
      for (int64_t head = 0; head < h.q; ++head) {
        const int64_t kv = head / g;
        const S* q = &qkv[t * h.row() + (kv * (g + 2) + head % g) * hd];
        Vec<S> s;
        double m = -1e300;
        const int64_t end = causal ? t + 1 : cu[i + 1];
        for (int64_t j = cu[i]; j < end; ++j) {
          const S* k = &qkv[j * h.row() + (kv * (g + 2) + g) * hd];
          S d = 0;
          for (int64_t c = 0; c < hd; ++c) d += q[c] * k[c];
          s.push_back(d / S(std::sqrt(static_cast<double>(hd))));
          m = std::max(m, re(s.back()));
        }
        S sum = 0;
        for (S& v : s) v = std::exp(v - S(m)), sum += v;
        for (int64_t j = cu[i]; j < end; ++j) {
          const S* v = &qkv[j * h.row() + (kv * (g + 2) + g + 1) * hd];
          for (int64_t c = 0; c < hd; ++c) o[(t * h.q + head) * hd + c] += s[j - cu[i]] / sum * v[c];
        }
        if (lse) (*lse)[t * h.q + head] = S(m) + std::log(sum);
      }
  return o;
}

template <class S>
Vec<S> swiglu(const Vec<S>& gate, const Vec<S>& up) {
  Vec<S> y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = gate[i] / (S(1) + std::exp(-gate[i])) * up[i];
  return y;
}

// logp [T]
template <class S>
Vec<S> cross_entropy(const Vec<S>& x, const Vec<S>& w, const Vec<int32_t>& target, int64_t V, int64_t D,
                     Vec<S>* entropy = nullptr) {
  const auto T = static_cast<int64_t>(target.size());
  Vec<S> logits = linear(x, w, T, V, D), out(T);
  if (entropy) entropy->assign(T, S(0));
  for (int64_t t = 0; t < T; ++t) {
    double m = -1e300;
    for (int64_t v = 0; v < V; ++v) m = std::max(m, re(logits[t * V + v]));
    S sum = 0;
    for (int64_t v = 0; v < V; ++v) sum += std::exp(logits[t * V + v] - S(m));
    S lse = S(m) + std::log(sum);
    if (target[t] >= 0) out[t] = logits[t * V + target[t]] - lse;
    if (entropy)
      for (int64_t v = 0; v < V; ++v) (*entropy)[t] -= std::exp(logits[t * V + v] - lse) * (logits[t * V + v] - lse);
  }
  return out;
}

// Gradient of f (a scalar function of a complex vector) at x, one complex step per element.
template <class F>
Vec<double> gradient(const Vec<double>& x, F&& f) {
  Vec<std::complex<double>> z(x.begin(), x.end());
  Vec<double> g(x.size());
  constexpr double h = 1e-40;
  for (size_t i = 0; i < x.size(); ++i) {
    z[i] = {x[i], h};
    g[i] = f(z).imag() / h;
    z[i] = x[i];
  }
  return g;
}

}  // namespace puyu::ref
