#include "align/sft.h"

#include "align/loop.h"
#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signal.h"

namespace puyu {
namespace {

constexpr int64_t kCurveEvery = 20, kValidTokens = 8192;

// Means over the steps since the last point of the curve.
struct Window {
  SftPoint sum;
  int64_t n = 0;
  void add(const SftPoint& p) {
    sum.loss += p.loss, sum.accuracy += p.accuracy, sum.grad_norm += p.grad_norm;
    sum.text_loss += p.text_loss;
    sum.step = p.step, sum.seconds = p.seconds, sum.lr = p.lr;
    ++n;
  }
  void flush(std::vector<SftPoint>& curve) {
    if (n == 0) return;
    const auto d = static_cast<double>(n);
    sum.loss /= d, sum.accuracy /= d, sum.grad_norm /= d, sum.text_loss /= d;
    curve.push_back(sum);
    *this = {};
  }
};

}  // namespace

double chat_loss(Learner& learner, const EncodedChats& data, int64_t batch_tokens) {
  LmSums total;
  std::vector<float> logp;
  ChatBatch b;
  for (size_t i = 0; i < data.size();) {
    b.clear();
    do append_example(b, data, i++);
    while (i < data.size() && b.batch.tokens() + data.end(i) - data.begin(i) <= batch_tokens);
    logp.resize(b.target.size());
    const LmSums s = learner.logprobs(b.batch, b.target, logp);
    total.logp += s.logp, total.tokens += s.tokens;
  }
  return total.tokens ? -total.logp / static_cast<double>(total.tokens) : 0;
}

SftReport run_sft(Learner& learner, const SftData& data, const SftOptions& o,
                  const std::function<void(const SftPoint&)>& after_step) {
  if (data.train.size() == 0) fail("[align] fine-tuning: expected at least one example, got none");
  const Stopwatch clock;
  const CosineSchedule schedule{o.lr, o.final_lr, o.warmup_steps};
  ChatStream stream(data.train, static_cast<uint64_t>(o.seed));
  ChatBatch b;
  SftReport r;
  Window window;
  Progress bar("finetune", o.seconds > 0 || o.epochs > 0 ? 0 : o.steps * o.batch_tokens, "tok");
  auto validate = [&](int64_t step) {
    if (data.held_out.size() == 0) return;
    r.valid.push_back({step, chat_loss(learner, data.held_out, kValidTokens)});
    log_info("step ", step, "  held-out loss ", r.valid.back().loss);
  };
  validate(0);
  for (;; ++r.steps) {
    const double progress = o.seconds > 0  ? clock.seconds() / o.seconds
                            : o.epochs > 0 ? stream.epochs() / o.epochs
                                           : static_cast<double>(r.steps) / static_cast<double>(o.steps);
    if (progress >= 1 || (r.interrupted = interrupted())) break;
    stream.next(o.batch_tokens, b);
    if (b.counted == 0) continue;
    const std::vector<float> coef(b.target.size(), -1.0f / static_cast<float>(b.counted));
    const LmSums sums = learner.accumulate_lm(b.batch, b.target, coef);
    const double text_loss = data.text ? data.text->accumulate(learner) : 0;
    const double lr = schedule.at(r.steps, progress);
    const StepResult step = learner.apply(lr);
    r.skipped_steps += step.skipped;
    r.tokens += b.batch.tokens();
    r.counted_tokens += b.counted;
    const auto n = static_cast<double>(b.counted);
    const SftPoint p{r.steps + 1, clock.seconds(), -sums.logp / n, static_cast<double>(sums.correct) / n,
                     lr,          step.grad_norm,  text_loss};
    window.add(p);
    if (p.step % kCurveEvery == 0) window.flush(r.curve);
    bar.add(b.batch.tokens());
    bar.note(cat("loss ", p.loss));
    if (after_step) after_step(p);
    if (o.valid_every > 0 && p.step % o.valid_every == 0) validate(p.step);
  }
  window.flush(r.curve);
  if (r.valid.empty() || r.valid.back().step != r.steps) validate(r.steps);
  r.seconds = clock.seconds();
  r.final_loss = r.curve.empty() ? 0 : r.curve.back().loss;
  return r;
}

}  // namespace puyu
