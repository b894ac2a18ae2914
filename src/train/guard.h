// What is done about a step that looks wrong, decided after its gradients are known and before they are used: a loss
// spike, a gradient norm far from the usual, an inf or NaN. All ranks know the same numbers and decide the same. The
// numbers it remembers are part of the checkpoint, so a run that was interrupted decides as one that was not.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace puyu {

struct GuardOptions {
  double loss_spike = 1.5;
  double norm_outlier = 6;
  int64_t window = 128;
  std::string on_spike = "alert";
  std::string on_outlier = "alert";
  std::string on_nan = "skip";
  int64_t skip_around = 0;
  int64_t max_rollbacks = 3;
  double slow_rank = 1.25;
  int64_t slow_rank_every = 50;
  template <class F>
  void fields(F&& f) {
    f("loss_spike", loss_spike, "a loss above this many times the median of the last 16 is a spike; 0 = never");
    f("norm_outlier", norm_outlier,
      "a gradient norm this many standard deviations above the mean of the window is an outlier; 0 = never");
    f("window", window, "steps that norm_outlier looks back on; it begins when a quarter of them is there");
    f("on_spike", on_spike,
      "alert = say so and train on the batch; skip = leave the batch out; rollback = go back to the newest checkpoint "
      "or snapshot and leave the batch out when it comes again");
    f("on_outlier", on_outlier, "the same for outliers of the gradient norm");
    f("on_nan", on_nan, "skip or rollback, where the loss or a gradient is inf or NaN");
    f("skip_around", skip_around, "after a rollback: batches before and after the bad one that are left out too");
    f("max_rollbacks", max_rollbacks, "end the run instead of rolling back more often");
    f("slow_rank", slow_rank, "alert about ranks that compute this many times longer than the median rank; 0 = never");
    f("slow_rank_every", slow_rank_every, "steps between looks at the ranks");
  }
  void validate() const;  // Error naming the field
};

// The finite losses and norms of the last steps that were trained on, oldest first.
struct GuardMemory {
  std::vector<double> loss, norm;
};

enum class Action { kTrain, kSkip, kRollback };
struct StepVerdict {
  Action action = Action::kTrain;
  std::string kind;  // "": nothing is wrong; else "nan", "loss_spike", "norm_outlier"
  std::string text;  // for people
};
StepVerdict judge_step(const GuardOptions& o, const GuardMemory& memory, double loss, double grad_norm);
void remember_step(const GuardOptions& o, GuardMemory& memory, double loss, double grad_norm);

// Ranks whose busy time is above slow_rank times the median, as one line for people; "" = none.
std::string slow_ranks(const GuardOptions& o, const std::vector<double>& busy_seconds);

// "2-4,10" as sorted numbers; Error names `field`.
std::vector<int64_t> parse_step_list(const std::string& text, const std::string& field);

}  // namespace puyu
