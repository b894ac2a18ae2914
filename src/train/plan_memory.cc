// Memory of the fullest rank. Which set is whole and which is in pieces is the table of train/zero.h for puyu's own
// runs, and hybrid_zero_optim.py's for InternEvo's.
#include <algorithm>

#include "comm/comm.h"
#include "model/weights.h"
#include "train/plan_sizes.h"

namespace puyu {
namespace {

constexpr int64_t kReserve = int64_t{1} << 40;  // address space, not memory
constexpr double kLogitsChunk = 64 << 20;       // bytes of f32 logits at a time (kernels/cpu/cross_entropy.cc)
constexpr int64_t kThreadBuffers = 900 << 10;   // of attention's backward pass, a thread (kernels/cpu/attention.cc)
constexpr int64_t kQueryRows = 192, kQueryDepth = 256;  // its blocks of queries, and the words of one form of them
constexpr double kBucket = 512 << 20;                   // InternEvo's reduce_bucket_size
constexpr double kInternEvoLogits = 10;                 // bytes each: bf16, then f32 and their gradient

Recompute puyus(Again a) {
  return a == Again::kFull || a == Again::kKeepAttention ? Recompute::kFull
         : a == Again::kSelective                        ? Recompute::kSelective
                                                         : Recompute::kNone;
}

// Both operands of a matrix product [M, K] x [N, K] as the CPU's kernels pack them; on a GPU nothing is packed.
int64_t packed(const TrainJob& job, int64_t M, int64_t N, int64_t K) {
  if (job.threads == 0) return 0;
  Tensor a, b;
  a.rank = b.rank = 2, a.dtype = b.dtype = job.dtype;
  a.shape[0] = M, b.shape[0] = N, a.shape[1] = b.shape[1] = K;
  return packed_weight_bytes({}, a) + packed_weight_bytes({}, b);
}

int64_t bytes_of(const Arena& arena) { return arena.peak(); }

// What ranks that share sequences hold around the attention's backward pass: isp q, k, v and their gradients, o and its
// gradient of the other rows (train/sequence_parallel.cc); a ring keys, their gradients and those of queries in f32
// (train/ring_attention.cc).
int64_t shared_work(const TrainJob& job, const ModelConfig& c, const RankLayout& l, int64_t T) {
  const int64_t a = dtype_size(job.dtype), Q = c.num_heads * c.hd(), keys = 2 * c.num_kv_heads * c.hd();
  int64_t n = 0;
  if (l.mode == PlanMode::kIsp && l.tensor > 1) n += T * a * (c.heads().row() + 2 * Q);
  if (l.context > 1) n += T * (keys * (2 * a + 3 * 4) + Q * 4);
  return n;
}

// The backward pass of a block, in the order of model/block.cc.
int64_t block_work(const TrainJob& job, const ModelConfig& c, const RankLayout& l, int64_t T) {
  const int64_t a = dtype_size(job.dtype), D = c.hidden_size, F = c.intermediate_size, Q = c.num_heads * c.hd(),
                row = c.heads().row(), tokens = T * a;
  int64_t again = 0;
  if (job.again == Again::kSelective) again = tokens * (2 * D + F);
  if (job.again == Again::kFull || job.again == Again::kKeepAttention) {
    Arena arena("plan", kReserve);
    alloc_saved(arena, c, T, job.dtype, Recompute::kNone);
    again = bytes_of(arena);
  }
  const int64_t feed = tokens * (3 * F + D) + std::max({packed(job, D, F, T), packed(job, T, F, D),
                                                        packed(job, F, D, T), packed(job, T, D, F), T / 64 * D * 4});
  // In a ring no run of queries is longer than a chunk, half of the context rank's tokens.
  const int64_t shared = T * (l.mode == PlanMode::kIsp ? l.tensor : 1);
  const int64_t run = l.context > 1 ? std::min(job.sequence, (shared + 1) / 2) : job.sequence;
  const int64_t blocks = (run + kQueryRows - 1) / std::max<int64_t>(1, kQueryRows / c.heads().group());
  const int64_t attention =
      shared_work(job, c, l, T) + 4 * T * c.num_heads +
      job.threads * (kThreadBuffers + blocks * 5 * kQueryDepth * std::max<int64_t>(c.hd(), 128) * 4);
  const int64_t attend = tokens * (Q + row + D) +
                         std::max({attention, packed(job, row, D, T), packed(job, T, D, row), packed(job, D, Q, T)});
  return tokens * D + again + std::max(feed, attend);
}

// The fused head: logits by chunks of tokens, their gradient, and the products with the table.
int64_t head_work(const TrainJob& job, const ModelConfig& c, int64_t T, int64_t split) {
  const int64_t a = dtype_size(job.dtype), D = c.hidden_size, V = c.vocab_size / split;
  const auto fit = static_cast<int64_t>(kLogitsChunk / (4 * static_cast<double>(V)));
  const int64_t chunk = std::min(T, std::clamp<int64_t>(fit, 64, 1024));
  return chunk * V * (4 + a) + std::max({packed(job, chunk, V, D), packed(job, chunk, D, V), packed(job, V, D, chunk)});
}

double pieces(double n, int64_t ranks) {
  return ranks == 1 ? n : static_cast<double>(share_of(static_cast<int64_t>(n), 0, static_cast<int>(ranks)).size());
}

struct Stage {
  int64_t rank, blocks;
  int64_t largest;  // blocks of its largest chunk: memory of a micro-batch in flight is used again for any chunk
  bool first, last;
};
Stage stage_of(const TrainJob& job, const RankLayout& l, int64_t rank) {
  const Depth depth = depth_of(l);
  const int64_t layers = job.model.num_layers;
  return {rank, depth.blocks_of_rank(layers, rank), depth.blocks(layers, rank).size(), rank == 0,
          rank == l.pipeline - 1};
}

// Whole micro-batches whose activations a rank keeps at most, by the schedule (most_in_flight() in
// train/pipeline_schedule.h counts them): Narayanan et al. 2021, section 2.2; ZB-H1 on every rank as many as 1F1B on
// its first (Qi et al. 2023, section 2.3).
double in_flight(const RankLayout& l, int64_t micros, int64_t rank) {
  const auto p = static_cast<double>(l.pipeline), r = static_cast<double>(rank), v = static_cast<double>(l.chunks);
  double n = p - r;
  if (l.pipeline > 1 && l.schedule == Schedule::kInterleaved) n = (p * (v - 1) + 2 * (p - r - 1) + 1) / v;
  if (l.pipeline > 1 && l.schedule == Schedule::kZeroBubble) n = p;
  return std::min(n, static_cast<double>(micros));
}

// Of these, what waits for its weight gradients: one at a time on the first rank, one more on each after it.
double put_off(const RankLayout& l, int64_t micros, int64_t rank) {
  if (l.pipeline == 1 || l.schedule != Schedule::kZeroBubble) return 0;
  return static_cast<double>(std::min(rank + 1, micros));
}

// Messages between stages: one ahead of its use from above and from below, what is computed, and one on its way.
constexpr double kStageMessages = 4;

MemoryPlan stage_memory(const TrainJob& job, const RankLayout& l, Sizes& sizes, const Stage& s) {
  const ModelConfig& c = job.model;
  const auto split = static_cast<double>(weight_split(l)), a = static_cast<double>(dtype_size(job.dtype)),
             blocks = static_cast<double>(s.blocks);
  const bool own = job.system == System::kPuyu;
  const int64_t Z = state_group(l).size;
  const double block = static_cast<double>(sizes.block()) / split,
               embeddings =
                   s.first || (s.last && c.tie_embeddings) ? static_cast<double>(sizes.embeddings()) / split : 0,
               head = s.last ? static_cast<double>(sizes.head()) / split : 0;
  const double whole = block * blocks + embeddings + head,
               piece = pieces(block, Z) * blocks + pieces(embeddings, Z) + pieces(head, Z);
  const bool f32 = job.dtype == DType::kF32;
  MemoryPlan m;
  // InternEvo keeps f32 masters in pieces from ZeRO 1 on, puyu too but where the masters themselves compute.
  m.masters = 4 * (l.zero == 0 || (own && f32 && l.zero <= 2) ? whole : piece);
  if (f32 && !own && l.zero == 3) m.masters = 4 * piece;
  m.copies = f32 ? 0 : l.zero < 3 ? a * whole : own ? 0 : a * piece;
  m.gradients = (own ? 4 : a) * (l.zero <= 1 ? whole : piece);
  m.moments = 8 * (l.zero == 0 ? whole : piece);
  if (l.zero == 3) m.gathered = a * (std::min(2.0, blocks) * block + embeddings + head);
  if (own && l.zero >= 2) m.on_their_way = 4 * (std::min(3.0, blocks) * block + embeddings + head);
  if (!own && gradient_group(l).size > 1) m.on_their_way = 2 * kBucket;
  const double largest = std::max({block, embeddings, head});
  if (own && gradient_group(l).size > 1) m.messages = 4 * largest;
  if (l.mode == PlanMode::kIsp && weight_split(l) > 1) m.gathered += 2 * a * static_cast<double>(sizes.block());

  const int64_t T = rank_tokens(job, l);
  const double row = static_cast<double>(T * c.hidden_size) * a;
  const int64_t micros = micro_batches(job, l);
  const double flying = in_flight(l, micros, s.rank);
  const auto chunks = static_cast<double>(depth_of(l).chunks * s.largest);
  m.activations = flying * static_cast<double>(sizes.kept(job, l)) * chunks;
  m.activations += put_off(l, micros, s.rank) * static_cast<double>(sizes.later(job, l)) * blocks;
  m.activations += s.last ? 2 * row + 12 * static_cast<double>(T) : 0;
  if (own && l.pipeline > 1)
    m.messages += kStageMessages * row;
  else
    m.activations += s.first ? row : row * flying;
  m.work = static_cast<double>(sizes.work(job, l, s.last && own));
  if (s.last && !own)
    m.logits = kInternEvoLogits * static_cast<double>(T * c.vocab_size) /
               static_cast<double>(l.mode == PlanMode::kIsp ? 1 : l.tensor);
  return m;
}

}  // namespace

Sizes::Sizes(const ModelConfig& c) {
  const FlatLayout flat = flat_layout(c, Head::kLanguage);
  embeddings_ = flat.parts.front(), block_ = flat.parts[1], head_ = flat.parts.back();
  for (const FlatTensor& t : flat.tensors)
    if (t.part == 1) ++block_tensors_, block_matrices_ += t.spec.cols ? t.elements() : 0;
}

int64_t Sizes::kept(const TrainJob& job, const RankLayout& l) {
  const int64_t T = rank_tokens(job, l);
  const auto [at, fresh] =
      kept_.try_emplace({T, l.tensor, l.context, static_cast<int>(l.mode), static_cast<int>(job.again)}, 0);
  if (!fresh) return at->second;
  const ModelConfig c = rank_model(job.model, l);
  const int64_t a = dtype_size(job.dtype), row = T * c.hidden_size * a, others = row - row / l.tensor;
  Arena arena("plan", kReserve);
  alloc_saved(arena, c, T, job.dtype, puyus(job.again));
  int64_t n = bytes_of(arena);
  if (job.again == Again::kKeepAttention) n += T * c.num_heads * (c.hd() * a + 4);
  if (job.system == System::kInternEvo && job.again == Again::kNone) n += T * c.intermediate_size * a;  // silu(w1 x)
  // Sequence parallel: what stands outside the products is split over the tensor ranks too; fsp: their inputs as well.
  const bool parts = l.mode == PlanMode::kMsp || l.mode == PlanMode::kFsp;
  if (parts) n -= others * (job.again == Again::kNone || job.again == Again::kSelective ? 2 : 1);
  if (l.mode == PlanMode::kFsp && job.again == Again::kNone) n -= 2 * others;
  return at->second = n;
}

int64_t Sizes::later(const TrainJob& job, const RankLayout& l) const {
  const int64_t T = rank_tokens(job, l), a = dtype_size(job.dtype);
  const ModelConfig c = rank_model(job.model, l);
  const int64_t D = c.hidden_size, F = c.intermediate_size;
  int64_t n = T * a * (2 * D + 2 * F + c.heads().row()) + 2 * D * 4;
  if (job.again != Again::kNone) n += T * a * (2 * D + F);  // else kept since the forward pass
  if (job.again == Again::kFull || job.again == Again::kKeepAttention) n += T * a * c.num_heads * c.hd();
  return n;
}

int64_t Sizes::work(const TrainJob& job, const RankLayout& l, bool head) {
  const int64_t T = rank_tokens(job, l);
  const auto [at, fresh] = work_.try_emplace(
      {T, l.tensor, l.context, static_cast<int>(l.mode) * 2 + (head ? 1 : 0), static_cast<int>(job.again)}, 0);
  if (!fresh) return at->second;
  int64_t n = block_work(job, rank_model(job.model, l), l, T);
  if (head) n = std::max(n, head_work(job, job.model, T, l.mode == PlanMode::kIsp ? 1 : l.tensor));
  return at->second = n;
}

ModelConfig rank_model(const ModelConfig& model, const RankLayout& l) {
  ModelConfig c = model;
  c.head_dim = model.hd();
  if (l.mode == PlanMode::kIsp) return c;
  c.num_heads /= l.tensor, c.num_kv_heads /= l.tensor, c.intermediate_size /= l.tensor;
  return c;
}

int64_t micro_batches(const TrainJob& job, const RankLayout& l) {
  const int64_t each = (job.batch_tokens + l.data - 1) / l.data;
  return (each + job.micro_tokens - 1) / job.micro_tokens;
}

int64_t rank_tokens(const TrainJob& job, const RankLayout& l) {
  const int64_t micro = std::min(job.micro_tokens, (job.batch_tokens + l.data - 1) / l.data);
  const int64_t ranks = l.context * (l.mode == PlanMode::kIsp ? l.tensor : 1);
  return (micro + ranks - 1) / ranks;
}

int64_t weight_split(const RankLayout& l) {
  if (l.mode != PlanMode::kIsp) return l.tensor;
  return l.weight ? l.weight : l.tensor;
}

Group gradient_group(const RankLayout& l) {
  const int64_t split = weight_split(l);
  return {l.data * l.context * l.tensor / split, split};
}

Group state_group(const RankLayout& l) {
  Group g = gradient_group(l);
  if (l.zero == 0) g.size = 1;
  if (l.zero_ranks) g.size = std::min(g.size, l.zero_ranks);
  return g;
}

Depth depth_of(const RankLayout& l) {
  return {l.pipeline, l.schedule == Schedule::kInterleaved && l.pipeline > 1 ? l.chunks : 1};
}

MemoryPlan plan_memory(const TrainJob& job, const RankLayout& l, Sizes& sizes) {
  MemoryPlan first = stage_memory(job, l, sizes, stage_of(job, l, 0));
  if (l.pipeline == 1) return first;
  MemoryPlan last = stage_memory(job, l, sizes, stage_of(job, l, l.pipeline - 1));
  return first.total() >= last.total() ? first : last;
}

MemoryPlan plan_memory(const TrainJob& job, const RankLayout& layout) {
  Sizes sizes(job.model);
  return plan_memory(job, layout, sizes);
}

std::vector<std::pair<std::string, int64_t>> MemoryPlan::parts() const {
  std::vector<std::pair<std::string, int64_t>> out;
  for (auto [name, v] : {std::pair{"weights", masters},
                         {"weights bf16", copies},
                         {"gradients", gradients},
                         {"adam m and v", moments},
                         {"activations", activations},
                         {"scratch", work},
                         {"logits", logits},
                         {"gathered weights", gathered},
                         {"gradients on their way", on_their_way},
                         {"messages", messages}})
    if (v > 0) out.emplace_back(name, static_cast<int64_t>(v));
  return out;
}

}  // namespace puyu
