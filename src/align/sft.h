// Supervised fine-tuning: chat examples packed to micro-batches, loss on the assistant's tokens only, each step's loss
// a mean over its counted tokens.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "align/chat_data.h"
#include "align/text_mix.h"
#include "train/learner.h"

namespace puyu {

struct SftOptions {
  int64_t steps = 1000;  // ends after this many steps …
  double epochs = 0;     // … or, when above 0, after this many passes over the data
  double seconds = 0;    // … or, when above 0, at this time: the schedule follows the clock
  int64_t batch_tokens = 4096;
  double lr = 1e-3;
  double final_lr = 0.1;
  int64_t warmup_steps = 20;
  int64_t valid_every = 200;
  int64_t seed = 1;
  OptimizerOptions optimizer;
  template <class F>
  void fields(F&& f) {
    f("steps", steps, "optimizer steps");
    f("epochs", epochs, "passes over the data; above 0 it replaces steps");
    f("seconds", seconds, "above 0: end at this time; the learning rate follows the clock");
    f("batch_tokens", batch_tokens, "tokens in a step");
    f("lr", lr, "peak learning rate");
    f("final_lr", final_lr, "share of the peak at the end of the cosine");
    f("warmup_steps", warmup_steps, "steps of linear warm-up");
    f("valid_every", valid_every, "steps between measurements of the held-out loss, besides the first and the last");
    f("seed", seed, "order of the examples");
    f("optimizer", optimizer, "AdamW");
  }
};

struct SftPoint {
  int64_t step = 0;
  double seconds = 0, loss = 0, accuracy = 0, lr = 0, grad_norm = 0;  // accuracy: counted tokens predicted right
  double text_loss = 0;                                               // of the text beside the examples
};
struct HeldOutLoss {
  int64_t step = 0;
  double loss = 0;  // nats a counted token
};
struct SftReport {
  std::vector<SftPoint> curve;     // every `kCurveEvery` steps, means since the last point
  std::vector<HeldOutLoss> valid;  // before the first step, every valid_every, after the last; empty without data
  int64_t steps = 0, tokens = 0, counted_tokens = 0, skipped_steps = 0;
  double seconds = 0, final_loss = 0;
  bool interrupted = false;
};

struct SftData {
  const EncodedChats& train;
  const EncodedChats& held_out;  // may be empty
  TextMix* text = nullptr;       // pre-training data added to each step
};
// `after_step` (may be empty) sees each step: metrics, evaluation, checkpoints.
SftReport run_sft(Learner& learner, const SftData& data, const SftOptions& o,
                  const std::function<void(const SftPoint&)>& after_step = {});
// Mean loss in nats over the counted tokens.
double chat_loss(Learner& learner, const EncodedChats& data, int64_t batch_tokens);

}  // namespace puyu
