// Pipeline parallel training: a rank holds some of the blocks, and all micro-batches of a step go through the ranks one
// behind the other in the order of train/pipeline_schedule.h. The first rank embeds, the last has the head and the
// loss. Hidden states go up and their gradients down as messages between the ranks that hold neighbouring pieces of the
// depth; they are started as soon as there is something to send and received one ahead of their use, so that they
// travel while blocks compute. What is computed is what one rank would compute: a rank's gradients are added up in the
// order of micro-batches.
#pragma once
#include <memory>
#include <vector>

#include "train/learner.h"
#include "train/loader.h"
#include "train/pipeline_schedule.h"

namespace puyu {

class Pipeline final : private PartWatch {
 public:
  // Of a learner whose ranks split the depth; it must outlive this.
  Pipeline(Learner& learner, Schedule schedule);
  ~Pipeline() override;

  // By all ranks: forward and backward of a step's micro-batches; afterwards Learner::apply(). found: of each
  // micro-batch, on the ranks that count tokens (Learner::counts_tokens).
  struct Found {
    const MicroBatch& micro;
    LmSums sums;
    TokenResults each;
  };
  using FoundFn = std::function<void(const Found&)>;
  // before: called before each piece of the work, for who watches that it goes on.
  void accumulate(const StepShare& share, const FoundFn& found, std::function<void()> before = [] {});
  void score(const StepShare& share, const FoundFn& found);  // no gradients

  // Seconds since the beginning: in forward passes with the loss, in backward passes, and waiting for other stages.
  double forward_seconds() const { return forward_seconds_; }
  double backward_seconds() const { return backward_seconds_; }
  double wait_seconds() const { return wait_seconds_; }
  std::vector<std::pair<std::string, int64_t>> memory() const;  // bytes, peaks

 private:
  // Arenas that come and go one by one: micro-batches end in the order in which they began.
  struct Pool {
    std::vector<std::unique_ptr<Arena>> all;
    std::vector<Arena*> free;
    Arena* take(const char* name);
    void give_back(Arena* arena) { free.push_back(arena); }
    int64_t peak() const;
  };
  // One micro-batch in one chunk, from its forward to its last pass.
  struct Flight {
    int64_t micro, chunk;
    Arena* arena;
    std::vector<Saved> saved;
    Arena* later_arena = nullptr;
    std::vector<BlockLater> later;
    Tensor last;  // the head's input: of the last piece
  };
  // Messages of one direction that come to this rank.
  struct Inbox {
    Comm* comm;
    int from, to;  // ranks: who sends to this one; where this one sends
    std::vector<const Learner::Filled*> expected;
    size_t next = 0;  // of expected, the one under way
    Tensor buffer;
    Pending work;
  };
  struct Sent {
    Pending work;
    Tensor buffer;
  };

  void enter(int64_t part, Use use) override;
  void leave(int64_t part, Use use) override;

  void run(const StepShare& share, const std::vector<StageAction>& actions, const FoundFn& found, bool train);
  void prepare(const StepShare& share, const std::vector<StageAction>& actions);
  void forward(const StageAction& a, const FoundFn& found, bool train);
  void backward(const StageAction& a, const FoundFn& found);
  void weights_pass(const StageAction& a);
  void head_forward(const StageAction& a, Tensor x, const FoundFn& found);
  void head_backward(const StageAction& a, Tensor x, Tensor dx, const FoundFn& found);
  void report(const StageAction& a, Tensor logp, Tensor correct, const FoundFn& found) const;
  void walk(const StageAction& a, bool train);

  int64_t piece(const StageAction& a) const { return depth_.piece(rank_, a.chunk); }
  bool is_first(const StageAction& a) const { return piece(a) == 0; }
  bool is_last(const StageAction& a) const { return piece(a) == depth_.pieces() - 1; }
  Share blocks(const StageAction& a) const;
  const Learner::Filled& micro(const StageAction& a) const { return micros_[static_cast<size_t>(a.micro)]; }
  bool is_idle(const StageAction& a) const { return a.micro >= static_cast<int64_t>(micros_.size()); }
  int64_t rows(const Learner::Filled& m) const;

  Tensor take_buffer(const Learner::Filled& m);
  void give_back(Tensor buffer);
  void expect(Inbox& in);
  Tensor receive(Inbox& in);
  void send(Inbox& in, Tensor x);
  void poll();
  void wait(Work& work);
  std::vector<Flight>::iterator flight(const StageAction& a);
  void land(const StageAction& a);

  Learner& learner_;
  Zero& state_;
  const Ranks& ranks_;
  const Schedule schedule_;
  const Depth depth_;
  const int64_t rank_;
  const StepShare* share_ = nullptr;
  std::function<void()> before_ = [] {};
  std::vector<Learner::Filled> micros_;  // of the step
  Pool saved_pool_, later_pool_;
  std::vector<Flight> flights_;
  std::unique_ptr<Arena> message_arena_;
  std::vector<Tensor> buffers_;  // free
  int64_t buffer_rows_ = 0;      // the step's longest
  Inbox up_, down_;
  std::vector<Sent> sent_;
  double forward_seconds_ = 0, backward_seconds_ = 0, wait_seconds_ = 0;
};

}  // namespace puyu
