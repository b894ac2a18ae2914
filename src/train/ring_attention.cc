#include "train/ring_attention.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace puyu {
namespace {

// A tensor on its way to one rank, and another on its way here.
class Passing {
 public:
  Passing() = default;
  Passing(Comm& comm, Tensor send, int to, Tensor receive, int from)
      : sent_(comm.start_send(send, to)), received_(comm.start_receive(receive, from)) {}
  void poll() {
    if (sent_) sent_->poll(), received_->poll();
  }
  // Seconds that it took.
  double wait() {
    if (!sent_) return 0;
    const double waited = timed_wait(*received_) + timed_wait(*sent_);
    sent_.reset(), received_.reset();
    return waited;
  }

 private:
  Pending sent_, received_;
};

int place(const Comm& ring, int64_t steps) {
  const int n = ring.size();
  return static_cast<int>(((ring.rank() + steps) % n + n) % n);
}

// Each row of qkv is [KV][G + 2][HD]; of kv [KV][2][HD]; of q [KV][G][HD].
struct RowShape {
  Heads heads;
  int64_t kv() const { return 2 * heads.kv * heads.dim; }
  int64_t q() const { return heads.q * heads.dim; }
};

void take_keys(Tensor kv, Tensor qkv, const RowShape& shape) {
  const Heads& h = shape.heads;
  const int64_t e = dtype_size(qkv.dtype), bytes = 2 * h.dim * e;
  auto* to = static_cast<char*>(kv.data);
  const auto* from = static_cast<const char*>(qkv.data);
  for (int64_t t = 0; t < qkv.shape[0]; ++t)
    for (int64_t i = 0; i < h.kv; ++i)
      std::memcpy(to + t * shape.kv() * e + i * bytes,
                  from + (t * h.row() + (i * (h.group() + 2) + h.group()) * h.dim) * e, static_cast<size_t>(bytes));
}

float as_act(float v, float) { return v; }
BF16 as_act(float v, BF16) { return to_bf16(v); }

template <class T>
void join_gradients(T* dqkv, const float* dq, const float* dkv, int64_t rows, const RowShape& shape) {
  const Heads& h = shape.heads;
  const int64_t queries = h.group() * h.dim, keys = 2 * h.dim;
#pragma omp parallel for schedule(static) if (rows > 64)
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t i = 0; i < h.kv; ++i) {
      T* to = dqkv + t * h.row() + i * (queries + keys);
      const float *q = dq + t * shape.q() + i * queries, *k = dkv + t * shape.kv() + i * keys;
      for (int64_t c = 0; c < queries; ++c) to[c] = as_act(q[c], T{});
      for (int64_t c = 0; c < keys; ++c) to[queries + c] = as_act(k[c], T{});
    }
}

void set_zero(Tensor t) { std::memset(t.data, 0, static_cast<size_t>(t.nbytes())); }

}  // namespace

RingPlan plan_ring(const std::vector<int32_t>& cu, const Zigzag& z, int rank) {
  RingPlan plan;
  plan.steps.resize(static_cast<size_t>(ring_steps(cu, z)));
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    const int from = (rank - static_cast<int>(s) + z.ranks) % z.ranks;
    for (int half : {0, 1}) plan.steps[s].spans[half] = ring_spans(cu, z, rank, half, from);
  }
  return plan;
}

double ring_attention(Ctx& ctx, Comm& ring, const RingPlan& plan, Tensor o, Tensor lse, Tensor qkv, Heads heads) {
  ScratchScope scope(*ctx.scratch);
  const RowShape shape{heads};
  const int64_t rows = qkv.shape[0];
  Tensor kv = ctx.scratch->alloc(qkv.dtype, {rows, shape.kv()}),
         next = ctx.scratch->alloc(qkv.dtype, {rows, shape.kv()});
  const Tensor sum = o.dtype == DType::kF32 ? o : ctx.scratch->alloc(DType::kF32, {rows, shape.q()});
  if (!lse) lse = ctx.scratch->alloc(DType::kF32, {rows, heads.q});
  set_zero(sum);
  fill(ctx, lse, kNoKeys);
  take_keys(kv, qkv, shape);
  double waited = 0;
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    Passing keys;
    if (s + 1 < plan.steps.size()) keys = Passing(ring, kv, place(ring, 1), next, place(ring, -1));
    for (const auto& spans : plan.steps[s].spans) {
      attention_part(ctx, sum, lse, qkv, kv, heads, spans.data(), static_cast<int64_t>(spans.size()));
      keys.poll();
    }
    waited += keys.wait();
    std::swap(kv, next);
  }
  if (sum.data != o.data) cast(ctx, o, sum);
  return waited;
}

double ring_attention_backward(Ctx& ctx, Comm& ring, const RingPlan& plan, Tensor dqkv, Tensor do_, Tensor o,
                               Tensor lse, Tensor qkv, Heads heads) {
  ScratchScope scope(*ctx.scratch);
  const RowShape shape{heads};
  const int64_t rows = qkv.shape[0], steps = static_cast<int64_t>(plan.steps.size());
  auto keys_like = [&](DType dtype) { return ctx.scratch->alloc(dtype, {rows, shape.kv()}); };
  Tensor kv = keys_like(qkv.dtype), next = keys_like(qkv.dtype);
  Tensor here = keys_like(DType::kF32), sent = keys_like(DType::kF32), arrived = keys_like(DType::kF32);
  const Tensor dq = ctx.scratch->alloc(DType::kF32, {rows, shape.q()});
  set_zero(dq);
  take_keys(kv, qkv, shape);
  double waited = 0;
  Passing gradients;  // of the keys of the step before, on their way to where those keys are now
  for (int64_t s = 0; s < steps; ++s) {
    Passing keys;
    if (s + 1 < steps) keys = Passing(ring, kv, place(ring, 1), next, place(ring, -1));
    set_zero(here);
    for (const auto& spans : plan.steps[static_cast<size_t>(s)].spans) {
      attention_part_backward(ctx, dq, here, do_, o, lse, qkv, kv, heads, spans.data(),
                              static_cast<int64_t>(spans.size()));
      keys.poll(), gradients.poll();
    }
    if (s > 0) {
      waited += gradients.wait();
      add(ctx, here, arrived);
    }
    // To the next rank, or from the last one home.
    const bool last = s + 1 == steps;
    if (steps > 1) gradients = Passing(ring, here, place(ring, last ? -s : 1), arrived, place(ring, last ? s : -1));
    waited += keys.wait();
    std::swap(kv, next), std::swap(here, sent);
  }
  waited += gradients.wait();
  const Tensor dkv = steps > 1 ? arrived : sent;
  if (dqkv.dtype == DType::kF32)
    join_gradients(dqkv.as<float>(), dq.as<float>(), dkv.as<float>(), rows, shape);
  else
    join_gradients(dqkv.as<BF16>(), dq.as<float>(), dkv.as<float>(), rows, shape);
  return waited;
}

}  // namespace puyu
