// What a training run will need and how fast it will be, before it is started: memory of the fullest rank, part by
// part, and the time of a step, split. The equations, their sources and how far they hold: docs/plan.md and
// docs/benchmarks/plan.md. Of the memory of puyu's own runs each part is counted from the code that allocates it
// (model/weights.h, model/block.h), so it is within a few per cent.
#pragma once
#include <string>
#include <vector>

#include "model/block.h"
#include "train/pipeline_schedule.h"
#include "train/plan_cluster.h"

namespace puyu {

// none, selective (norms and SwiGLU), keep_attention (all of a block but attention itself: InternEvo's selective
// checkpoint), full (whole blocks).
enum class Again { kNone, kSelective, kKeepAttention, kFull };
enum class PlanMode { kMtp, kMsp, kFsp, kIsp };  // InternEvo's names
// Whose run: what is kept in which type, what is sent in which pieces.
enum class System { kPuyu, kInternEvo };

struct TrainJob {
  ModelConfig model;
  DType dtype = DType::kBF16;
  int64_t sequence = 4096;
  int64_t batch_tokens = 4194304;
  int64_t micro_tokens = 4096;  // of one data rank, all its context ranks together
  Again again = Again::kNone;
  System system = System::kPuyu;
  int64_t threads = 1;  // of a CPU rank: its kernels' buffers
};

struct RankLayout {
  int64_t data = 0;  // 0: what the others leave
  int64_t tensor = 1, context = 1, pipeline = 1;
  PlanMode mode = PlanMode::kMtp;
  // isp: ranks that share one copy of the weights; 0 = the tensor ranks. In puyu always 1: there ZeRO 3 splits them,
  // over all ranks with the same weights.
  int64_t weight = 0;
  int zero = 1;
  int64_t zero_ranks = 0;  // that split the optimizer state; 0 = all data ranks
  Schedule schedule = Schedule::kOneForwardOneBackward;
  int64_t chunks = 1;  // of a rank, interleaved
  bool operator==(const RankLayout&) const = default;
  int64_t ranks() const { return data * tensor * context * pipeline; }
};

// Why a layout cannot be, with numbers; empty when it can. A short name of the reason for counting.
struct Refusal {
  std::string kind, text;
  explicit operator bool() const { return !text.empty(); }
};

// Bytes on the fullest rank.
struct MemoryPlan {
  double masters = 0, copies = 0, gradients = 0, moments = 0;  // copies: in the type that computes
  double activations = 0;                                      // kept between forward and backward
  double work = 0;                                             // of the block or the head that is being computed
  double logits = 0;
  double gathered = 0, on_their_way = 0, messages = 0;  // whole weights in use, gradients being reduced, buffers
  double total() const {
    return masters + copies + gradients + moments + activations + work + logits + gathered + on_their_way + messages;
  }
  std::vector<std::pair<std::string, int64_t>> parts() const;
};

// Seconds of one optimizer step. Communication: what computation does not hide.
struct TimePlan {
  double forward = 0, backward = 0, again = 0;  // arithmetic of the step on the slowest stage
  double tensor = 0, sequence = 0, weights = 0, gradients = 0, stages = 0;
  double bubble = 0, optimizer = 0;
  double total() const {
    return forward + backward + again + tensor + sequence + weights + gradients + stages + bubble + optimizer;
  }
  std::vector<std::pair<std::string, double>> parts() const;
};

struct TrainPlan {
  RankLayout layout;
  Again again = Again::kNone;
  int64_t micro_tokens = 0, micro_batches = 0;  // of a data rank and step
  MemoryPlan memory;
  double memory_limit = 0;
  TimePlan time;
  double tokens_per_second = 0, tgs = 0;
  double mfu = 0, mfu_internevo = 0, mfu_megatron = 0;
  bool fits() const { return memory.total() <= memory_limit; }
};

// FLOPs a token, forward and backward, as InternEvo counts them (utils/common.py get_megatron_flops, after Narayanan et
// al. 2021, eq. 3): as many key-value heads as query heads, attention not halved; with recompute = true a second
// forward pass is counted.
double megatron_flops_per_token(const ModelConfig& c, double sequence, bool recompute);

// data and weight filled in. The text says what does not divide what.
Refusal why_not(const TrainJob& job, RankLayout& layout, const Cluster& cluster);
// Both need a layout that can be.
MemoryPlan plan_memory(const TrainJob& job, const RankLayout& layout);
TimePlan plan_time(const TrainJob& job, const RankLayout& layout, const Cluster& cluster);
TrainPlan plan_training(const TrainJob& job, const RankLayout& layout,
                        const Cluster& cluster);  // Error when it cannot be

const char* name_of(Again a);
const char* name_of(PlanMode m);
const char* name_of(Schedule s);
// Error naming `field` and what is known.
Again parse_again(const std::string& s);
PlanMode parse_mode(const std::string& s);
Schedule parse_schedule(const std::string& s);
System parse_system(const std::string& s);

// "data 128 · tensor 8 (isp) · zero 1 of 8 · recompute full · micro-batches of 4096"
std::string to_string(const TrainPlan& p);

}  // namespace puyu
