// A model being trained: weights, gradients, Adam moments, and the one training step that pre-training, SFT, reward
// modelling and PPO share. accumulate_*() run forward and backward on one micro-batch and add to the gradients;
// apply() clips, updates and zeroes. Losses are linear in log-probs or values once their coefficients are known, so
// each algorithm only computes coefficients. With several ranks (train/zero.h) each accumulates its own micro-batches,
// and all go through the same number of rounds a step; tensor and context ranks all accumulate the same micro-batch.
// Pipeline ranks accumulate through train/pipeline.h, and apply() as all.
#pragma once
#include <functional>
#include <map>
#include <span>

#include "train/sequence_parallel.h"
#include "train/zero.h"

namespace puyu {

struct OptimizerOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip_grad_norm = 1.0;
  template <class F>
  void fields(F&& f) {
    f("beta1", beta1, "Adam's decay of the first moment");
    f("beta2", beta2, "Adam's decay of the second moment");
    f("eps", eps, "Adam's epsilon");
    f("weight_decay", weight_decay, "decoupled decay, on matrices only");
    f("clip_grad_norm", clip_grad_norm, "gradients are scaled down to this norm; 0 = never");
  }
};

// Of ranks that work on the same sequences (tensor, context) the first counts the tokens and the others have zeros, and
// of pipeline ranks the last one: the sums over all ranks are those of one.
struct LmSums {
  double logp = 0;                  // sum of log p(target) over counted tokens
  double entropy = 0;               // sum of the predictive entropy, when asked for
  int64_t tokens = 0, correct = 0;  // counted tokens (target >= 0); of them argmax == target
};

struct StepResult {
  double grad_norm = 0;
  std::array<double, kGradientGroups> group_norms{};  // in the order of gradient_group_name()
  bool skipped = false;                               // the norm was inf or NaN: weights unchanged
};

// A language loss beside a value head: gradient of sum_t coef[t] * log p(target[t]) through a language head [V, D] that
// itself stays as it is. It keeps the hidden states those of a language model (Yang et al. 2024, arXiv:2406.10216).
struct SideLoss {
  Tensor head;
  std::span<const int32_t> target;
  std::span<const float> coef;
};

class Learner {
 public:
  // trainable = false: no gradients and moments (reference and reward models).
  Learner(Weights weights, OptimizerOptions options, Recompute recompute, bool trainable = true);
  Learner(Zero state, OptimizerOptions options, Recompute recompute);

  // Gradient of sum_t coef[t] * log p(target[t]). target < 0: not counted. Minimising a mean loss: coef = -1 / tokens.
  // each: also what was found at each token, alike on all tensor ranks.
  LmSums accumulate_lm(const Batch& b, std::span<const int32_t> target, std::span<const float> coef,
                       TokenResults* each = nullptr);
  // The same, coefficients computed from the log-probs [T] by f (PPO); two passes through the head. This, entropies and
  // values are not there for tensor and context ranks.
  using CoefFn = std::function<void(std::span<const float> logp, std::span<float> coef)>;
  LmSums accumulate_lm(const Batch& b, std::span<const int32_t> target, const CoefFn& f);
  // Log-probs [T] (0 where target < 0) and optionally entropies, no gradient.
  LmSums logprobs(const Batch& b, std::span<const int32_t> target, std::span<float> logp,
                  std::span<float> entropy = {});
  // A value head: values [T], no gradient; and the gradient of sum_t coef[t] * value[t], coefficients from the values.
  void values(const Batch& b, std::span<float> out);
  void accumulate_values(const Batch& b, const CoefFn& f, const SideLoss* side = nullptr);

  // Several ranks: told before each micro-batch whether it is the step's last round; and the round of a rank that has
  // no micro-batch in it, backward: accumulate_lm(), else logprobs().
  void begin_round(bool last) { state_.begin_round(last); }
  void idle_round(bool backward) { walk_parts(state_, weights().config, backward); }

  // grad_norm over all gradients, then clip, AdamW, bf16 copy, gradients = 0, step + 1.
  StepResult apply(double lr);
  // The same in pieces, for who decides between them: measure(), then update() or discard().
  StepResult measure();
  void update(double lr, const StepResult& measured);
  void discard() { state_.zero_gradients(); }

  // Seconds spent since the beginning in accumulate_*(): forward with the loss (and the gradient of its head, which is
  // computed with it), and backward.
  double forward_seconds() const { return forward_seconds_; }
  double backward_seconds() const { return backward_seconds_; }

  // RoPE base for what follows (the long-context phase raises it); also stored in the config.
  void set_rope_theta(double theta);

  // For train/pipeline.h, which runs the model in pieces.
  // Tokens and targets, filled up to a number that the tensor and context ranks can split with such as predict nothing;
  // where ranks share sequences, this rank's rows of them.
  struct Filled {
    Batch batch;
    std::vector<int32_t> target;
    std::unique_ptr<const SharedSeqs> seqs;  // what the batch refers to
  };
  Filled filled_up(const Batch& b, std::span<const int32_t> target) const;
  // Of all tokens, by all ranks that share them, from what each found at its rows.
  TokenResults put_together(TokenResults found) const { return sequence_ ? sequence_->put_together(found) : found; }
  Sequences sequences(const Batch& b);
  // As fused_cross_entropy (kernels.h), with the head that is there; of tensor ranks each has its part of dx.
  void cross_entropy(const CrossEntropyOut& out, Tensor dx, Tensor dw, Tensor x, std::span<const int32_t> target,
                     const float* coef);
  LmSums sums(std::span<const int32_t> target, const float* logp, const int32_t* correct) const;
  Tensor head_gradient() { return weights().config.tie_embeddings ? gradients().tok_embeddings : gradients().output; }
  Arena& activations() { return *activations_; }

  bool counts_tokens() const { return state_.ranks().first_of_sequences() && state_.ranks().last_stage(); }
  double wait_seconds() const {
    return state_.wait_seconds() + (tensor_ ? tensor_->wait_seconds() : 0) +
           (sequence_ ? sequence_->wait_seconds() : 0);
  }
  Zero& state() { return state_; }
  Weights& weights() { return state_.weights(); }
  Model<Tensor>& gradients() { return state_.gradients(); }
  Ctx& ctx() { return ctx_; }
  int64_t step() const { return step_; }
  void set_step(int64_t s) { step_ = s; }
  Recompute recompute() const { return recompute_; }
  std::vector<std::pair<std::string, int64_t>> memory() const;  // bytes of each part of this rank's memory, peaks

 private:
  Tensor forward(const Batch& b, Pass* pass);
  int64_t filling(int64_t tokens) const;
  void leave_head() { state_.leave(state_.weights().config.num_layers + 1, Use::kForward); }
  LmSums accumulate(const Batch& b, std::span<const int32_t> target, std::span<const float> coef, const CoefFn* f,
                    TokenResults* each = nullptr);
  bool shares(const Batch& b) const { return sequence_ && !b.shared; }  // others have rows of it, not taken yet
  LmSums accumulate_rows(const Batch& b, std::span<const int32_t> target, std::span<const float> coef,
                         TokenResults* each);
  LmSums logprobs_of_rows(const Batch& b, std::span<const int32_t> target, std::span<float> logp);

  Zero state_;
  std::unique_ptr<TensorParallel> tensor_;      // none: one rank has all of each block
  std::unique_ptr<SequenceParallel> sequence_;  // none: one rank has all tokens of its sequences
  OptimizerOptions options_;
  Recompute recompute_;
  std::unique_ptr<Arena> activations_, scratch_, tables_;
  Ctx ctx_;
  Tensor rope_table_;
  double rope_theta_ = 0;
  int64_t step_ = 0;
  double forward_seconds_ = 0, backward_seconds_ = 0;
};

}  // namespace puyu
