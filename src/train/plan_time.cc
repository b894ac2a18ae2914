// Time of a step, split. Arithmetic at a share of the peak, element-wise work at a share of the memory's bandwidth,
// collectives by their bytes and hops, and of the communication only what computation does not hide. docs/plan.md names
// each equation's source.
#include <algorithm>

#include "train/plan_sizes.h"

namespace puyu {
namespace {

constexpr double kBucket = 512 << 20;       // InternEvo's reduce_bucket_size
constexpr double kBackwardAttention = 2.5;  // five products where the forward pass has two (Dao 2023, section 3.1)

double d(int64_t v) { return static_cast<double>(v); }

// Seconds of one block and of the head, one micro-batch on one rank.
struct Compute {
  double gemm = 0, attention = 0, memory = 0, norms = 0;  // forward; norms: of memory what selective recompute repeats
  double head = 0;
  double forward() const { return gemm + attention + memory; }
  double backward() const { return 2 * gemm + kBackwardAttention * attention + 2 * memory; }
  double weight_part() const { return gemm; }  // of backward: the gradients of weights
  double again(Again a) const {
    switch (a) {
      case Again::kNone:
        return 0;
      case Again::kSelective:
        return norms;
      case Again::kKeepAttention:
        return gemm + memory;
      case Again::kFull:
        break;
    }
    return forward();
  }
};

Compute compute_of(const TrainJob& job, const RankLayout& l, const Cluster& cluster, const Sizes& sizes) {
  const ModelConfig& c = job.model;
  const double T = d(rank_tokens(job, l)), a = d(dtype_size(job.dtype)), peak = cluster.peak(job.dtype);
  // isp splits tokens and the others split widths, so a rank computes 1 / tensor of the products either way.
  const double t = l.mode == PlanMode::kIsp ? 1 : d(l.tensor);
  const double D = d(c.hidden_size), F = d(c.intermediate_size) / t, Q = d(c.num_heads * c.hd()) / t,
               row = d(c.heads().row()) / t, V = d(c.vocab_size) / t;
  const double gemm = cluster.gemm_rate(job.dtype, D / t);
  Compute k;
  k.gemm = 2 * T * d(sizes.block_matrices()) / t / gemm;
  // Causal: on average half of the sequence is seen; 2 products of 2 FLOPs.
  k.attention = 2 * T * d(job.sequence) * Q / (peak * cluster.attention_share);
  const double norms = a * T * (4 * D + 3 * F);
  k.norms = norms / cluster.memory_rate();
  k.memory = (norms + a * T * (2 * D + 3 * row + Q)) / cluster.memory_rate();
  k.head = 2 * T * V * D / gemm;
  if (job.system == System::kInternEvo) k.head += 8 * T * V / cluster.memory_rate();  // a third of softmax's passes
  return k;
}

// What one block waits for in its forward and backward pass, one micro-batch.
struct Waits {
  double tensor_forward = 0, tensor_backward = 0, sequence_forward = 0, sequence_backward = 0, weights = 0;
};

Waits waits_of(const TrainJob& job, const RankLayout& l, const Cluster& cluster, const Sizes& sizes, const Compute& k) {
  const Links links(cluster);
  const ModelConfig& c = job.model;
  const double T = d(rank_tokens(job, l)), a = d(dtype_size(job.dtype));
  const bool own = job.system == System::kPuyu, isp = l.mode == PlanMode::kIsp;
  const bool repeats = job.again == Again::kFull || job.again == Again::kKeepAttention;
  Waits w;
  if (l.tensor > 1 && !isp) {
    const Group g{l.tensor, 1};
    const double one = links.all_reduce(g, T * d(c.hidden_size) * a);  // msp: the same as gather and scatter
    w.tensor_forward = 2 * one;
    w.tensor_backward = cluster.exposed(2 * one, k.weight_part()) + (repeats ? 2 * one : 0);
    if (l.mode == PlanMode::kFsp) w.tensor_backward += one;  // the inputs of both halves gathered once more
  }
  if (l.tensor > 1 && isp) {
    const Group g{l.tensor, 1};
    const double out = links.all_to_all(g, T * d(c.num_heads * c.hd()) * a),
                 one = links.all_to_all(g, T * d(c.heads().row()) * a) + out;
    w.sequence_forward = one;
    w.sequence_backward = one + (own ? out : 0) + (job.again == Again::kFull ? one : 0);  // puyu sends o twice
  }
  if (l.context > 1) {
    const double heads = d(2 * c.num_kv_heads * c.hd()) / (isp ? 1 : d(l.tensor)), steps = d(l.context - 1);
    const double one = steps * links.send({l.context, l.tensor}, T * heads * a);
    w.sequence_forward += cluster.exposed(one, k.attention);
    const double gradients = own ? 4 / a : 1;  // puyu's are f32
    w.sequence_backward += cluster.exposed((1 + gradients) * one, kBackwardAttention * k.attention);
    if (job.again == Again::kFull) w.sequence_backward += cluster.exposed(one, k.attention);
  }
  const double all = a * d(sizes.block());
  double gathers = 0, scatters = 0;  // of a micro-batch
  if (isp && weight_split(l) > 1) {
    const Group g{weight_split(l), 1};
    gathers = links.all_gather(g, all), scatters = gathers;
  }
  if (l.zero == 3) gathers += links.all_gather(gradient_group(l), all / d(weight_split(l)));
  if (l.zero >= 2) {
    const double bytes = job.system == System::kPuyu ? 4 : a;
    scatters += links.all_gather(gradient_group(l), bytes * d(sizes.block()) / d(weight_split(l)));
  }
  const double back = k.backward() + k.again(job.again);
  w.weights = cluster.exposed(gathers, k.forward()) + cluster.exposed(gathers + scatters, back);
  return w;
}

// Sums of gradients and new weights once a step, on the fullest stage; backward and forward: one micro-batch's time.
void reduce_once(const TrainJob& job, const RankLayout& l, const Cluster& cluster, double elements, double parts,
                 double backward, double forward, TimePlan& out) {
  const Links links(cluster);
  const bool own = job.system == System::kPuyu;
  const double a = d(dtype_size(job.dtype));
  const Group g = gradient_group(l), state = state_group(l);
  if (g.size > 1 && l.zero <= 1) {
    const double bytes = elements * (own ? 4 : a), pieces = own ? parts : std::max(1.0, bytes / kBucket);
    const bool scatter = own && l.zero == 1 && state.size == g.size;
    const double one = scatter ? links.all_gather(g, bytes / pieces) : links.all_reduce(g, bytes / pieces);
    // The last piece has nothing to hide behind.
    out.gradients = std::max(cluster.exposed(one * pieces, backward), one);
  }
  if (state.size > 1 && l.zero >= 1 && l.zero <= 2) {
    if (own) {
      const double one = links.all_gather(state, elements * a / parts);
      out.weights += std::max(cluster.exposed(one * parts, forward), one);
    } else {
      // Every tensor is broadcast by the rank that holds it, one after the other.
      const double tensors = parts * 9;
      out.weights += links.broadcast(state, elements * a / tensors) * tensors;
    }
  }
}

double optimizer_time(const TrainJob& job, const RankLayout& l, const Cluster& cluster, double elements) {
  const double a = d(dtype_size(job.dtype)), gradient = job.system == System::kPuyu ? 4 : a;
  const double shard = elements / d(state_group(l).size), held = l.zero >= 2 ? shard : elements;
  const double copy = job.dtype == DType::kF32 ? 0 : a;
  // Norm: read; AdamW: master and moments in and out, gradient in, copy out; gradients cleared.
  const double bytes = shard * (gradient + 24 + gradient + copy) + held * gradient;
  return bytes / cluster.memory_rate();
}

}  // namespace

double megatron_flops_per_token(const ModelConfig& c, double sequence, bool recompute) {
  const double h = d(c.hidden_size), mlp = d(c.intermediate_size) / h * 1.5;  // SwiGLU has three matrices, not two
  return (recompute ? 4 : 3) * ((8 + 4 * mlp) * h * h + 4 * sequence * h) * d(c.num_layers) + 6 * h * d(c.vocab_size);
}

TimePlan plan_time(const TrainJob& job, const RankLayout& l, const Cluster& cluster, Sizes& sizes) {
  const Compute k = compute_of(job, l, cluster, sizes);
  const Waits w = waits_of(job, l, cluster, sizes, k);
  const double M = d(micro_batches(job, l)), p = d(l.pipeline), a = d(dtype_size(job.dtype));
  // The slowest stage: the one with the head where blocks divide evenly.
  const Depth depth = depth_of(l);
  const int64_t most = depth.blocks_of_rank(job.model.num_layers, 0),
                last = depth.blocks_of_rank(job.model.num_layers, l.pipeline - 1);
  const bool head = d(last) * (k.forward() + k.backward()) + 3 * k.head >= d(most) * (k.forward() + k.backward());
  const double blocks = d(head ? last : most), ends = head ? 1 : 0;

  TimePlan t;
  t.forward = M * (blocks * k.forward() + ends * k.head);
  t.backward = M * (blocks * k.backward() + ends * 2 * k.head);
  t.again = M * blocks * k.again(job.again);
  t.tensor = M * blocks * (w.tensor_forward + w.tensor_backward);
  t.sequence = M * blocks * (w.sequence_forward + w.sequence_backward);
  t.weights = M * blocks * w.weights;
  const double step = (t.forward + t.backward + t.again + t.tensor + t.sequence + t.weights) / M;
  if (l.pipeline > 1) {
    const Group g{l.pipeline, l.data * l.context * l.tensor};
    const double v = l.schedule == Schedule::kInterleaved ? d(l.chunks) : 1;
    // Tensor ranks send a part each, of puyu's where they have one.
    const bool parts = job.system == System::kInternEvo ? l.mode != PlanMode::kIsp
                                                        : l.mode == PlanMode::kMsp || l.mode == PlanMode::kFsp;
    const double share = parts ? d(l.tensor) : 1;
    const double bytes = d(rank_tokens(job, l)) * d(job.model.hidden_size) * a / share;
    t.stages = 2 * M * v * Links(cluster).send(g, bytes);
    t.bubble = (p - 1) / v * step;  // Narayanan et al. 2021, sections 2.2.1 and 2.2.2
    if (l.schedule == Schedule::kZeroBubble) {
      const double weight = blocks * k.weight_part() + ends * k.head;
      t.bubble = (p - 1) * std::max(0.0, step - 2 * weight);  // ZB-H1: Qi et al. 2023, table 1
    }
  }
  const double elements =
      (blocks * d(sizes.block()) + ends * d(sizes.head()) + (l.pipeline == 1 ? d(sizes.embeddings()) : 0)) /
      d(weight_split(l));
  reduce_once(job, l, cluster, elements, blocks + ends + (l.pipeline == 1 ? 1 : 0), (t.backward + t.again) / M,
              t.forward / M, t);
  t.optimizer = optimizer_time(job, l, cluster, elements);
  return t;
}

TimePlan plan_time(const TrainJob& job, const RankLayout& layout, const Cluster& cluster) {
  Sizes sizes(job.model);
  return plan_time(job, layout, cluster, sizes);
}

std::vector<std::pair<std::string, double>> TimePlan::parts() const {
  std::vector<std::pair<std::string, double>> out;
  for (auto [name, v] : {std::pair{"forward", forward},
                         {"backward", backward},
                         {"recompute", again},
                         {"waits: tensor ranks", tensor},
                         {"waits: sequence ranks", sequence},
                         {"waits: weights", weights},
                         {"waits: gradients", gradients},
                         {"waits: stages", stages},
                         {"pipeline bubble", bubble},
                         {"optimizer", optimizer}})
    if (v > 0) out.emplace_back(name, v);
  return out;
}

}  // namespace puyu
