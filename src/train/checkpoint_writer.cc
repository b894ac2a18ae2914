#include "train/checkpoint_writer.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"

namespace puyu {
namespace {

constexpr int64_t kSnapshots = 2;  // that stay: one may be half-written when the process is killed
constexpr int kLowPriority = 10;   // of the writing threads: training goes first

// Adds the time of its life to a sum.
class Timed {
 public:
  explicit Timed(double& sum) : sum_(sum) {}
  ~Timed() { sum_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  double& sum_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

void lower_priority() {
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLowPriority);  // Linux: of this thread
}

// With the cores of training: threads of OpenMP, each its pages (they lie where they are first touched).
void copy_tensor(Tensor to, Tensor from) {
  constexpr int64_t kPiece = 1 << 20;
  const int64_t bytes = from.nbytes();
  auto *out = static_cast<char*>(to.data), *in = static_cast<char*>(from.data);
#pragma omp parallel for schedule(static) if (bytes > 4 * kPiece)
  for (int64_t at = 0; at < bytes; at += kPiece)
    std::memcpy(out + at, in + at, static_cast<size_t>(std::min(kPiece, bytes - at)));
}

// Error when a checkpoint of so many bytes does not fit beside what is there.
void check_room(const std::string& run_dir, uint64_t bytes) {
  struct statvfs s{};
  if (::statvfs(run_dir.c_str(), &s) != 0) return;  // the first save says what is wrong
  const uint64_t room = static_cast<uint64_t>(s.f_bavail) * s.f_frsize;
  if (room >= bytes) return;
  auto text = [](uint64_t n) { return format_count(static_cast<double>(n), "B"); };
  fail("[checkpoint] ", run_dir, ": a checkpoint takes ", text(bytes), ", the disk has ", text(room),
       " left; free some, or choose another --out");
}

}  // namespace

CheckpointWriter::CheckpointWriter(Options options, Learner& learner)
    : options_(std::move(options)), learner_(learner) {
  Comm& comm = learner_.state().comm();
  files_[0] = plan_masters("", learner_.state(), learner_.state().masters());
  files_[1] = plan_moments("", learner_.state());
  together(comm, [&] {
    if (comm.rank() != 0) return;
    for (SaveKind kind : {SaveKind::kCheckpoint, SaveKind::kSnapshot})
      for (const std::string& left : incomplete_checkpoints(options_.run_dir, kind)) {
        log_warn("[checkpoint] ", left, " was not finished; it is removed");
        remove_checkpoint(left);
      }
    check_room(options_.run_dir, files_[0].size + files_[1].size);
  });
  if (!options_.background) return;
  const auto parts = static_cast<int64_t>(files_[0].parts.size() + files_[1].parts.size());
  constexpr int64_t kAdded = 128;  // bytes by which an arena rounds up each tensor, at most
  copies_ = make_arena("checkpoint copy", files_[0].bytes() + files_[1].bytes() + parts * kAdded,
                       learner_.state().storage().offload);
  if (learner_.state().storage().offload.empty()) make_real_ = std::thread([this] { touch_copies(); });
}

// Memory is given when it is first touched, which took 350 M parameters six seconds in their first save: so it is
// touched before that, while training goes on.
void CheckpointWriter::touch_copies() {
  lower_priority();
  constexpr int64_t kPiece = 2 << 20;
  const int64_t n = copies_->capacity();
  auto* p = copies_->base();
  for (int64_t at = 0; at < n && !ending_; at += kPiece) std::memset(p + at, 0, static_cast<size_t>(kPiece));
}

CheckpointWriter::~CheckpointWriter() {
  ending_ = true;
  if (make_real_.joinable()) make_real_.join();
  if (thread_.joinable()) thread_.join();
}

void CheckpointWriter::begin(const TrainState& state, SaveKind kind) {
  const double before = stalled_, saying = 1;
  wait();
  if (stalled_ - before > saying)
    log_warn("[checkpoint] step ", state.step, ": waited ", format_duration(stalled_ - before),
             " for the save of step ", state_.step, "; save less often, or to a faster disk");
  const Timed timed(stalled_);
  state_ = state, kind_ = kind, dir_ = checkpoint_path(options_.run_dir, kind, state.step);
  model_config_ = model_config_text(learner_.state());  // now: another phase may change the RoPE base meanwhile
  stage_ = Stage::kWriting;
  prepare();
  if (options_.background) copy_state();
  start([this] {
    for (const FilePlan& f : files_) write_parts(f);
  });
  while (!options_.background && busy()) advance();
}

// The files, empty, and this rank's part of them.
void CheckpointWriter::prepare() {
  Comm& comm = learner_.state().comm();
  files_[0] = plan_masters(dir_ + "/model.safetensors", learner_.state(), learner_.state().masters());
  files_[1] = plan_moments(dir_ + "/optimizer.safetensors", learner_.state());
  try {
    together(comm, [&] {
      if (comm.rank() != 0) return;
      remove_checkpoint(dir_);  // what a killed process left there
      make_directories(dir_);
      for (const FilePlan& f : files_) SharedFile::create(f.path, f.size);
    });
  } catch (const Error& e) {
    error_ = e.what();
    give_up();
  }
}

// Into the same memory each time.
void CheckpointWriter::copy_state() {
  if (make_real_.joinable()) make_real_.join();
  copies_->release(0);
  for (FilePlan& f : files_)
    for (FilePart& part : f.parts) {
      const Tensor copy = copies_->alloc(part.data.dtype, {part.data.numel()});
      copy_tensor(copy, part.data);
      part.data = copy;
    }
}

void CheckpointWriter::start(std::function<void()> work) {
  error_.clear();
  auto guarded = [this, work = std::move(work)] {
    try {
      work();
    } catch (const std::exception& e) { error_ = e.what(); }
  };
  if (!options_.background) {
    guarded();
    return;
  }
  running_ = true;
  thread_ = std::thread([this, guarded = std::move(guarded)] {
    lower_priority();
    guarded();
    running_ = false;
  });
}

std::string CheckpointWriter::poll() {
  const Timed timed(stalled_);
  if (busy()) advance();
  return std::exchange(done_, "");
}

std::string CheckpointWriter::finish() {
  wait();
  return std::exchange(done_, "");
}

void CheckpointWriter::wait() {
  const Timed timed(stalled_);
  while (busy()) {
    advance();
    if (running_) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// One round of messages: are all ranks through the stage?
void CheckpointWriter::advance() {
  const bool running = running_;
  if (!running && thread_.joinable()) thread_.join();
  double count[] = {running ? 1.0 : 0.0, !running && !error_.empty() ? 1.0 : 0.0};
  Comm& comm = learner_.state().comm();
  sum_over_ranks(comm, count);
  if (count[1] > 0) give_up();
  if (count[0] > 0) return;
  if (stage_ == Stage::kWriting) {
    stage_ = Stage::kCommitting;
    if (comm.rank() == 0) start([this] { commit(); });
  } else {
    stage_ = Stage::kIdle;
    done_ = dir_;
  }
}

// By all ranks; each first lets its own thread come to its end.
void CheckpointWriter::give_up() {
  if (thread_.joinable()) thread_.join();
  stage_ = Stage::kIdle;
  Comm& comm = learner_.state().comm();
  std::string why;
  try {
    fail_together(comm, error_);
  } catch (const Error& e) { why = e.what(); }
  if (comm.rank() == 0) remove_checkpoint(dir_);
  fail("[checkpoint] step ", state_.step, " could not be saved: ", why, "; earlier checkpoints are intact");
}

// By rank 0, when all have flushed.
void CheckpointWriter::commit() const {
  for (const FilePlan& f : files_) SharedFile::commit(f.path);
  write_file(dir_ + "/config.json", model_config_);
  copy_tokenizer(options_.tokenizer, dir_);
  complete_checkpoint(dir_, state_, options_.config);
  const int64_t keep = kind_ == SaveKind::kSnapshot ? kSnapshots : options_.keep;
  const auto all = list_checkpoints(options_.run_dir, kind_);
  for (size_t i = 0; keep > 0 && i + static_cast<size_t>(keep) < all.size(); ++i) remove_checkpoint(all[i].path);
}

std::vector<std::pair<std::string, int64_t>> CheckpointWriter::memory() const {
  if (!copies_) return {};
  return {{copies_->name(), copies_->peak()}};
}

}  // namespace puyu
