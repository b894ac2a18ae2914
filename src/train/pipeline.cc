#include "train/pipeline.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"

namespace puyu {
namespace {

constexpr int64_t kReserve = int64_t{1} << 37;  // address space of a micro-batch in flight, not memory

// Adds the seconds of its life to a sum, but for those that were waited in it.
class Busy {
 public:
  Busy(double& sum, const double& waited) : sum_(sum), waited_(waited), before_(waited) {}
  ~Busy() {
    sum_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count() - (waited_ - before_);
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  double& sum_;
  const double& waited_;
  const double before_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// Of each action: whether no later one is of the same pass and chunk.
std::vector<bool> last_of_their_kind(const std::vector<StageAction>& actions) {
  std::vector<bool> out(actions.size(), true);
  for (size_t i = 0; i < actions.size(); ++i)
    for (size_t k = i + 1; k < actions.size() && out[i]; ++k)
      out[i] = actions[k].pass != actions[i].pass || actions[k].chunk != actions[i].chunk;
  return out;
}

}  // namespace

Pipeline::Pipeline(Learner& learner, Schedule schedule)
    : learner_(learner),
      state_(learner.state()),
      ranks_(state_.ranks()),
      schedule_(schedule),
      depth_(ranks_.depth()),
      rank_(ranks_.stages().rank()) {
  CHECK(ranks_.splits_depth());
  message_arena_ = std::make_unique<Arena>("stage messages", int64_t{1} << 40);
  const int n = ranks_.stages().size(), below = (ranks_.stages().rank() + n - 1) % n,
            above = (ranks_.stages().rank() + 1) % n;
  up_.comm = &ranks_.stages(), up_.from = below, up_.to = above;
  down_.comm = &ranks_.stages_back(), down_.from = above, down_.to = below;
}

Pipeline::~Pipeline() = default;

void Pipeline::accumulate(const StepShare& share, const FoundFn& found, std::function<void()> before) {
  before_ = std::move(before);
  run(share, pipeline_actions(schedule_, depth_, share.rounds, rank_), found, true);
}

void Pipeline::score(const StepShare& share, const FoundFn& found) {
  run(share, forward_actions(schedule_, depth_, share.rounds, rank_), found, false);
}

void Pipeline::run(const StepShare& share, const std::vector<StageAction>& actions, const FoundFn& found, bool train) {
  prepare(share, actions);
  const std::vector<bool> last = last_of_their_kind(actions);
  for (size_t i = 0; i < actions.size(); ++i) {
    const StageAction& a = actions[i];
    if (train) before_(), state_.begin_round(last[i]);
    if (is_idle(a))
      walk(a, train);
    else if (a.pass == StagePass::kForward)
      forward(a, found, train);
    else if (a.pass == StagePass::kBackward)
      backward(a, found);
    else
      weights_pass(a);
  }
  for (Sent& s : sent_) wait(*s.work);
  sent_.clear();
}

void Pipeline::prepare(const StepShare& share, const std::vector<StageAction>& actions) {
  share_ = &share;
  micros_.clear();
  buffer_rows_ = 0;
  for (const MicroBatch& m : share.micros) {
    micros_.push_back(learner_.filled_up(m.batch, m.target));
    buffer_rows_ = std::max(buffer_rows_, rows(micros_.back()));
  }
  buffers_.clear(), message_arena_->release(0);
  for (Inbox* in : {&up_, &down_}) in->expected.clear(), in->next = 0;
  for (const StageAction& a : actions) {
    if (is_idle(a)) continue;
    if (a.pass == StagePass::kForward && !is_first(a)) up_.expected.push_back(&micro(a));
    if (a.pass == StagePass::kBackward && !is_last(a)) down_.expected.push_back(&micro(a));
  }
  expect(up_), expect(down_);
}

void Pipeline::forward(const StageAction& a, const FoundFn& found, bool train) {
  const Learner::Filled& m = micro(a);
  const int64_t T = m.batch.tokens();
  Weights& w = learner_.weights();
  Tensor x = is_first(a) ? take_buffer(m) : receive(up_);
  const Busy busy(forward_seconds_, wait_seconds_);
  const Sequences seqs = learner_.sequences(m.batch);
  Flight* f = train ? &flights_.emplace_back(
                          Flight{a.micro, a.chunk, saved_pool_.take("micro-batches in flight"), {}, nullptr, {}, {}})
                    : nullptr;
  if (is_first(a)) embed_forward(learner_.ctx(), w.use(), x, m.batch.ids.data(), T, seqs, *this);
  blocks_forward(learner_.ctx(), f ? *f->arena : learner_.activations(), w.config, w.use(), blocks(a).begin,
                 blocks(a).end, x, T, seqs, f ? &f->saved : nullptr, learner_.recompute(), *this);
  if (!is_last(a)) return send(up_, x);
  if (f)
    f->last = x;
  else
    head_forward(a, x, found);
}

void Pipeline::backward(const StageAction& a, const FoundFn& found) {
  const Learner::Filled& m = micro(a);
  Weights& w = learner_.weights();
  Flight& f = *flight(a);
  Tensor dx = is_last(a) ? take_buffer(m) : receive(down_);
  if (is_last(a)) {
    const Busy busy(forward_seconds_, wait_seconds_);
    head_backward(a, f.last, dx, found);
    give_back(f.last);
  }
  const Busy busy(backward_seconds_, wait_seconds_);
  const Sequences seqs = learner_.sequences(m.batch);
  const bool split = schedule_ == Schedule::kZeroBubble;
  if (split) {
    BlockLater none;
    none.arena = f.later_arena = later_pool_.take("weight gradients put off");
    f.later.assign(f.saved.size(), none);
  }
  blocks_backward(learner_.ctx(), w.config, w.use(), learner_.gradients(), blocks(a).end, dx, seqs, f.saved,
                  learner_.recompute(), split ? &f.later : nullptr, *this);
  if (is_first(a)) {
    embed_backward(learner_.ctx(), learner_.gradients(), dx, m.batch.ids.data(), seqs, *this);
    give_back(dx);
  } else {
    send(down_, dx);
  }
  if (!split) land(a);
}

void Pipeline::weights_pass(const StageAction& a) {
  const Busy busy(backward_seconds_, wait_seconds_);
  const Flight& f = *flight(a);
  for (size_t i = f.later.size(); i-- > 0;) {
    const int64_t block = blocks(a).begin + static_cast<int64_t>(i);
    enter(block + 1, Use::kWeights);
    block_backward_later(learner_.ctx(), learner_.weights().config,
                         learner_.gradients().layers[static_cast<size_t>(block)], f.later[i]);
    leave(block + 1, Use::kWeights);
  }
  land(a);
}

// Log-probs of the targets.
void Pipeline::head_forward(const StageAction& a, Tensor x, const FoundFn& found) {
  const Learner::Filled& m = micro(a);
  const ModelConfig& c = learner_.weights().config;
  const int64_t T = m.batch.tokens();
  Arena& arena = learner_.activations();
  ScratchScope scope(arena);
  Tensor hidden = arena.alloc(x.dtype, {T, c.hidden_size});
  Tensor logp = arena.alloc(DType::kF32, {T}), correct = arena.alloc(DType::kI32, {T});
  norm_forward(learner_.ctx(), c, learner_.weights().use(), hidden, {}, x, learner_.sequences(m.batch), Use::kForward,
               *this);
  learner_.cross_entropy({logp, {}, correct}, {}, {}, hidden, m.target, nullptr);
  leave(c.num_layers + 1, Use::kForward);
  give_back(x);
  report(a, logp, correct, found);
}

// dx = gradient of x, the input of the final norm, of the mean loss of the step's tokens.
void Pipeline::head_backward(const StageAction& a, Tensor x, Tensor dx, const FoundFn& found) {
  const Learner::Filled& m = micro(a);
  const ModelConfig& c = learner_.weights().config;
  const int64_t T = m.batch.tokens();
  Arena& arena = learner_.activations();
  ScratchScope scope(arena);
  Tensor hidden = arena.alloc(x.dtype, {T, c.hidden_size}), dhidden = arena.alloc(x.dtype, {T, c.hidden_size});
  Tensor rstd = arena.alloc(DType::kF32, {x.shape[0]});
  Tensor logp = arena.alloc(DType::kF32, {T}), correct = arena.alloc(DType::kI32, {T});
  const Sequences seqs = learner_.sequences(m.batch);
  const std::vector<float> coef(m.target.size(), static_cast<float>(-1.0 / static_cast<double>(share_->counted)));
  norm_forward(learner_.ctx(), c, learner_.weights().use(), hidden, rstd, x, seqs, Use::kBackward, *this);
  learner_.cross_entropy({logp, {}, correct}, dhidden, learner_.head_gradient(), hidden, m.target, coef.data());
  norm_backward(learner_.ctx(), c, learner_.weights().use(), learner_.gradients(), dx, dhidden, rstd, x, seqs, *this);
  report(a, logp, correct, found);
}

void Pipeline::report(const StageAction& a, Tensor logp, Tensor correct, const FoundFn& found) const {
  const int64_t T = logp.numel();
  TokenResults each = learner_.put_together(
      {{logp.as<float>(), logp.as<float>() + T}, {correct.as<int32_t>(), correct.as<int32_t>() + T}});
  if (!learner_.counts_tokens()) return;
  const MicroBatch& m = share_->micros[static_cast<size_t>(a.micro)];
  each.logp.resize(m.target.size()), each.correct.resize(m.target.size());  // without what was filled up
  const LmSums sums = learner_.sums(m.target, each.logp.data(), each.correct.data());
  found({m, sums, std::move(each)});
}

// What a data rank does that has no micro-batch left while others have: it comes where they all meet.
void Pipeline::walk(const StageAction& a, bool train) {
  const int64_t head = learner_.weights().config.num_layers + 1;
  auto visit = [&](int64_t part, Use use) { enter(part, use), leave(part, use); };
  const Share b = blocks(a);
  if (a.pass == StagePass::kForward) {
    if (is_first(a)) visit(0, Use::kForward);
    for (int64_t i = b.begin; i < b.end; ++i) visit(i + 1, Use::kForward);
    if (is_last(a) && !train) visit(head, Use::kForward);
    return;
  }
  const bool split = schedule_ == Schedule::kZeroBubble, inputs = a.pass == StagePass::kBackward;
  if (is_last(a) && inputs) visit(head, Use::kBackward);
  const Use use = !split ? Use::kBackward : inputs ? Use::kInputs : Use::kWeights;
  for (int64_t i = b.end; i-- > b.begin;) visit(i + 1, use);
  if (is_first(a) && inputs) visit(0, Use::kBackward);
}

Share Pipeline::blocks(const StageAction& a) const {
  return depth_.blocks(learner_.weights().config.num_layers, piece(a));
}

int64_t Pipeline::rows(const Learner::Filled& m) const {
  return m.batch.tokens() / (ranks_.splits_stream() ? ranks_.tensor().size() : 1);
}

// The parts of the model come and go as ZeRO wants; messages of the pipeline move on meanwhile.
void Pipeline::enter(int64_t part, Use use) { state_.enter(part, use); }
void Pipeline::leave(int64_t part, Use use) {
  state_.leave(part, use);
  poll();
}

// act [rows of the micro-batch, D].
Tensor Pipeline::take_buffer(const Learner::Filled& m) {
  const Weights& w = learner_.weights();
  if (buffers_.empty()) buffers_.push_back(message_arena_->alloc(w.compute, {buffer_rows_, w.config.hidden_size}));
  const Tensor t = buffers_.back();
  buffers_.pop_back();
  return t.rows(0, rows(m));
}

void Pipeline::give_back(Tensor buffer) {
  buffer.shape[0] = buffer_rows_;
  buffers_.push_back(buffer);
}

// The next message is taken as soon as it comes.
void Pipeline::expect(Inbox& in) {
  if (in.next == in.expected.size()) return;
  in.buffer = take_buffer(*in.expected[in.next]);
  in.work = in.comm->start_receive(in.buffer, in.from);
}

Tensor Pipeline::receive(Inbox& in) {
  CHECK(in.work);
  wait(*in.work);
  in.work.reset();
  const Tensor out = in.buffer;
  ++in.next;
  expect(in);
  return out;
}

void Pipeline::send(Inbox& in, Tensor x) { sent_.push_back({in.comm->start_send(x, in.to), x}); }

void Pipeline::poll() {
  for (Inbox* in : {&up_, &down_})
    if (in->work) in->work->poll();
  std::erase_if(sent_, [&](Sent& s) {
    if (!s.work->poll()) return false;
    give_back(s.buffer);
    return true;
  });
}

void Pipeline::wait(Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work.wait();
  wait_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Arena* Pipeline::Pool::take(const char* name) {
  if (free.empty()) free.push_back(all.emplace_back(std::make_unique<Arena>(name, kReserve)).get());
  Arena* out = free.back();
  free.pop_back();
  out->release(0);
  return out;
}

int64_t Pipeline::Pool::peak() const {
  int64_t sum = 0;
  for (const auto& a : all) sum += a->peak();
  return sum;
}

std::vector<Pipeline::Flight>::iterator Pipeline::flight(const StageAction& a) {
  const auto f = std::find_if(flights_.begin(), flights_.end(),
                              [&](const Flight& x) { return x.micro == a.micro && x.chunk == a.chunk; });
  CHECK(f != flights_.end());
  return f;
}

void Pipeline::land(const StageAction& a) {
  const auto f = flight(a);
  saved_pool_.give_back(f->arena);
  if (f->later_arena) later_pool_.give_back(f->later_arena);
  flights_.erase(f);
}

std::vector<std::pair<std::string, int64_t>> Pipeline::memory() const {
  std::vector<std::pair<std::string, int64_t>> out{{"micro-batches in flight", saved_pool_.peak()}};
  if (later_pool_.peak() > 0) out.emplace_back("weight gradients put off", later_pool_.peak());
  out.emplace_back(message_arena_->name(), message_arena_->peak());
  return out;
}

}  // namespace puyu
