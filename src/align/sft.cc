#include "align/sft.h"

#include "align/loop.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/signal.h"

namespace puyu {
namespace {

constexpr int64_t kCurveEvery = 20;

// Means over the steps since the last point of the curve.
struct Window {
  SftPoint sum;
  int64_t n = 0;
  void add(const SftPoint& p) {
    sum.loss += p.loss, sum.accuracy += p.accuracy, sum.grad_norm += p.grad_norm;
    sum.step = p.step, sum.seconds = p.seconds, sum.lr = p.lr;
    ++n;
  }
  void flush(std::vector<SftPoint>& curve) {
    if (n == 0) return;
    const auto d = static_cast<double>(n);
    sum.loss /= d, sum.accuracy /= d, sum.grad_norm /= d;
    curve.push_back(sum);
    *this = {};
  }
};

}  // namespace

SftReport run_sft(Learner& learner, const EncodedChats& data, const SftOptions& o,
                  const std::function<void(const SftPoint&)>& after_step) {
  if (data.size() == 0) fail("[align] fine-tuning: expected at least one example, got none");
  const Stopwatch clock;
  const CosineSchedule schedule{o.lr, o.final_lr, o.warmup_steps};
  ChatStream stream(data, static_cast<uint64_t>(o.seed));
  ChatBatch b;
  SftReport r;
  Window window;
  Progress bar("finetune", o.seconds > 0 || o.epochs > 0 ? 0 : o.steps * o.batch_tokens, "tok");
  for (;; ++r.steps) {
    const double progress = o.seconds > 0  ? clock.seconds() / o.seconds
                            : o.epochs > 0 ? stream.epochs() / o.epochs
                                           : static_cast<double>(r.steps) / static_cast<double>(o.steps);
    if (progress >= 1 || (r.interrupted = interrupted())) break;
    stream.next(o.batch_tokens, b);
    if (b.counted == 0) continue;
    const std::vector<float> coef(b.target.size(), -1.0f / static_cast<float>(b.counted));
    const LmSums sums = learner.accumulate_lm(b.batch, b.target, coef);
    const double lr = schedule.at(r.steps, progress);
    const StepResult step = learner.apply(lr);
    r.skipped_steps += step.skipped;
    r.tokens += b.batch.tokens();
    r.counted_tokens += b.counted;
    const auto n = static_cast<double>(b.counted);
    const SftPoint p{r.steps + 1, clock.seconds(), -sums.logp / n, static_cast<double>(sums.correct) / n,
                     lr,          step.grad_norm};
    window.add(p);
    if (p.step % kCurveEvery == 0) window.flush(r.curve);
    bar.add(b.batch.tokens());
    bar.note(cat("loss ", p.loss));
    if (after_step) after_step(p);
  }
  window.flush(r.curve);
  r.seconds = clock.seconds();
  r.final_loss = r.curve.empty() ? 0 : r.curve.back().loss;
  return r;
}

}  // namespace puyu
