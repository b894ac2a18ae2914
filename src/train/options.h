// Everything a pre-training run can be told: the TOML file of `puyu train` (configs/), its --key=value overrides and
// the run's manifest.toml are this list. Names and units are those of the InternLM2 report and of InternEvo.
#pragma once
#include <string>
#include <vector>

#include "comm/mesh.h"
#include "train/guard.h"
#include "train/learner.h"
#include "train/task_eval.h"
#include "train/watch.h"

namespace puyu {

// One stream of documents: a token shard, or a folder of them.
struct DataSource {
  std::string name;
  std::string path;
  double weight = 1;
  int64_t source = -1;
  template <class F>
  void fields(F&& f) {
    f("name", name, "name in reports; empty = the path");
    f("path", path, "a token shard, or a folder: every shard below it");
    f("weight", weight, "share of the tokens, relative to the other sources");
    f("source", source, "only documents with this source number; -1 = all");
  }
};

struct PhaseOptions {
  std::string name;
  int64_t steps = 0;
  int64_t seq_len = 4096;
  int64_t batch_tokens = 0;
  double rope_theta = 0;
  double lr_scale = 1;
  std::vector<double> weights;
  template <class F>
  void fields(F&& f) {
    f("name", name, "name in reports");
    f("steps", steps, "optimizer steps of this phase");
    f("seq_len", seq_len, "longest sequence; longer documents are cut and their rest used");
    f("batch_tokens", batch_tokens, "tokens per optimizer step; 0 = the run's");
    f("rope_theta", rope_theta, "RoPE base of this phase; 0 = the model's");
    f("lr_scale", lr_scale, "factor on the learning rate");
    f("weights", weights, "weights of the data sources in this phase, in their order; empty = the sources' own");
  }
};

// How several ranks (mpirun -n N puyu train ...) share the work. Nothing here changes what is trained, but for
// rounding.
struct ParallelOptions {
  Mesh mesh;
  std::string pipeline_schedule = "1f1b";
  int64_t pipeline_chunks = 1;
  std::string tensor_mode = "mtp";
  int64_t zero = 1;
  double patience = 600;
  template <class F>
  void fields(F&& f) {
    mesh.fields(f);
    f("pipeline_schedule", pipeline_schedule,
      "order of the micro-batches in the pipeline ranks: 1f1b; interleaved = each rank has pipeline_chunks shorter "
      "parts "
      "of the depth: idle for less time, more messages; zb-h1 = gradients of weights wait for idle moments");
    f("pipeline_chunks", pipeline_chunks, "interleaved: parts of the depth on each pipeline rank, 2 or more; else 1");
    f("tensor_mode", tensor_mode,
      "tensor ranks between the products of a block: mtp = all have every token; msp = each has a share of the tokens; "
      "fsp = as msp, and gathers again in the backward pass: least memory; isp = whole weights and a share of the "
      "tokens, "
      "rows exchanged for heads around the attention (with zero = 3 weights are gathered block by block)");
    f("zero", zero,
      "what data ranks do not all keep whole: 1 = optimizer state, 2 = gradients too, 3 = weights too; 0 = nothing");
    f("patience", patience, "seconds to wait for another rank before giving up with its number");
  }
};

// A batch that grows in the first steps (InternEvo's rampup_batch_size): `start` tokens, `increment` more every `every`
// steps, until it is the phase's.
struct BatchRamp {
  int64_t start = 0;
  int64_t increment = 0;
  int64_t every = 0;
  template <class F>
  void fields(F&& f) {
    f("start", start, "tokens of the first steps; 0 = no ramp");
    f("increment", increment, "tokens added each time");
    f("every", every, "steps between increments");
  }
};

struct TrainOptions {
  ModelConfig model;
  std::string init_from;
  std::string tokenizer;
  std::string dtype = "f32";
  std::string masters = "f32";
  std::string offload;
  std::string recompute = "none";
  int64_t seed = 1024;
  int64_t threads = 0;
  int64_t batch_tokens = 65536;
  int64_t micro_tokens = 8192;
  double lr = 3e-4;
  int64_t warmup_steps = 100;
  double min_lr_ratio = 0.1;
  OptimizerOptions optimizer;
  ParallelOptions parallel;
  std::vector<PhaseOptions> phases;
  std::vector<DataSource> data, valid;
  int64_t valid_every = 0;
  int64_t valid_tokens = 65536;
  int64_t checkpoint_every = 0;
  double checkpoint_minutes = 30;
  int64_t keep_checkpoints = 2;
  int64_t snapshot_every = 0;
  bool background_saves = true;
  int64_t log_every = 10;
  int64_t stop_at = 0;
  int64_t max_skipped = 10;
  double peak_tflops = 0;
  BatchRamp batch_ramp;
  std::string skip_batches;
  std::string stop_file;
  std::string alert_url;
  GuardOptions guard;
  WatchOptions watch;
  TaskEvalOptions eval;
  bool verify_data = true;

  template <class F>
  void fields(F&& f) {
    f("init_from", init_from, "start from this model folder; empty = random weights of [model]'s shape");
    f("tokenizer", tokenizer, "the tokenizer of the data; checked against the shards, copied beside the model");
    f("dtype", dtype, "f32 or bf16: type of activations and of the weights that compute");
    f("masters", masters,
      "weights that the optimizer updates: f32, or bf16 with stochastic rounding (dtype bf16; 4 bytes a parameter "
      "less)");
    f("offload", offload, "a folder on a disk that keeps Adam's moments in place of memory; empty = memory");
    f("recompute", recompute, "none, selective (norms and SwiGLU) or full (whole blocks): less memory, more time");
    f("seed", seed, "initial weights and order of the data");
    f("threads", threads, "CPU threads of each rank; 0 = all, shared between the ranks on a machine");
    f("batch_tokens", batch_tokens, "tokens per optimizer step");
    f("micro_tokens", micro_tokens, "most tokens in one forward and backward; bounds memory, not the result");
    f("lr", lr, "peak learning rate");
    f("warmup_steps", warmup_steps, "steps of linear warm-up");
    f("min_lr_ratio", min_lr_ratio, "the cosine ends at this share of lr");
    f("valid_every", valid_every, "steps between validations; 0 = only at the end");
    f("valid_tokens", valid_tokens, "tokens of each validation set");
    f("checkpoint_every", checkpoint_every, "steps between checkpoints; 0 = by time only");
    f("checkpoint_minutes", checkpoint_minutes, "minutes between checkpoints; 0 = by steps only");
    f("keep_checkpoints", keep_checkpoints, "newest checkpoints to keep; 0 = all");
    f("snapshot_every", snapshot_every, "steps between snapshots, of which the newest two stay; 0 = none");
    f("background_saves", background_saves,
      "copy the state and write it while training goes on (12 bytes a parameter more); false = stand still meanwhile");
    f("log_every", log_every, "steps between lines on the terminal; metrics.jsonl has every step");
    f("stop_at", stop_at, "stop and save after this step; 0 = run to the end");
    f("max_skipped", max_skipped, "give up after this many steps in a row with an inf or NaN gradient");
    f("peak_tflops", peak_tflops, "peak of one rank in TFLOP/s, for MFU (puyu bench limits); 0 = print no MFU");
    f("verify_data", verify_data, "check the shards' checksums before the run");
    f("skip_batches", skip_batches, "steps whose batch is read and left out, as '2-4,10' (1 = the first step)");
    f("stop_file", stop_file,
      "a file that stops the run: empty or 'stop' = save and stop, 'save' = save and go on, a number = save and stop "
      "after that step; empty = RUN/stop");
    f("alert_url", alert_url, "http URL that gets alerts as JSON by POST; empty = none");
    f("batch_ramp", batch_ramp, "a smaller batch in the first steps");
    f("guard", guard, "loss spikes, inf and NaN, odd gradient norms, slow ranks");
    f("watch", watch, "limits of time, heartbeat");
    f("eval", eval, "tasks of 'puyu eval' during the run");
    f("model", model, "shape of the model");
    f("optimizer", optimizer, "AdamW");
    f("parallel", parallel, "several ranks");
    f("phases", phases, "phases, one after the other");
    f("data", data, "training data");
    f("valid", valid, "validation sets, each reported by name");
  }
  // Throws Error naming the field that cannot be.
  void validate() const;
};

}  // namespace puyu
