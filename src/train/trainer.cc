#include "train/trainer.h"

#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "base/config.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/signal.h"
#include "text/tokenizer.h"
#include "train/checkpoint_writer.h"
#include "train/loader.h"
#include "train/memory.h"
#include "train/schedule.h"
#include "train/state_files.h"

namespace puyu {
namespace {
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }
// Seconds since `t`, which moves to now.
double lap(Clock::time_point& t) {
  const auto now = Clock::now();
  return std::chrono::duration<double>(now - std::exchange(t, now)).count();
}

DType parse_dtype(const std::string& s) { return s == "bf16" ? DType::kBF16 : DType::kF32; }
Recompute parse_recompute(const std::string& s) {
  return s == "full" ? Recompute::kFull : s == "selective" ? Recompute::kSelective : Recompute::kNone;
}

// The groups of this rank; a mesh that cannot be is refused, with the nearest that can.
std::shared_ptr<const Ranks> make_ranks(const TrainOptions& o, const ModelConfig& c, Comm& world) {
  const Mesh& m = o.parallel.mesh;
  if (m.pipeline > 1)
    fail("[train] parallel.pipeline: pipeline ranks are not there yet; leave it at 1, and split blocks with ",
         "parallel.tensor or memory with parallel.zero = 3");
  const TensorMode mode = parse_tensor_mode(o.parallel.tensor_mode);
  MeshLimits limits{c.num_kv_heads, c.num_layers, c.intermediate_size, c.vocab_size};
  if (mode == TensorMode::kIsp) limits.ffn = limits.vocabulary = 0;  // whole on each rank
  return std::make_shared<Ranks>(world, fit_mesh(m, world.size(), limits), mode);
}

Learner make_learner(const TrainOptions& o, Comm& world) {
  const DType dtype = parse_dtype(o.dtype);
  const auto source = o.init_from.empty() ? nullptr : open_model_source(o.init_from);
  const ModelConfig config = source ? source->config() : o.model;
  Zero state(config, Head::kLanguage, dtype, make_ranks(o, config, world), static_cast<int>(o.parallel.zero));
  Arena scratch("load", 1 << 20);
  Ctx ctx{Device::kCpu, &scratch};
  state.fill([&](const FlatTensor& t, size_t index, Tensor whole) {
    if (source)
      source->read(ctx, t.name, whole);
    else
      init_tensor(whole, t.spec, t.layer, static_cast<uint64_t>(o.seed), index);
  });
  return {std::move(state), o.optimizer, parse_recompute(o.recompute)};
}

// Ranks on one machine share its cores, unless the launcher or the user has said otherwise.
void share_threads(const TrainOptions& o, const Comm& world) {
  if (o.threads > 0) return set_num_threads(static_cast<int>(o.threads));
  if (world.size() == 1 || std::getenv("OMP_NUM_THREADS")) return;
  cpu_set_t mine;
  CPU_ZERO(&mine);
  const auto online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  if (::sched_getaffinity(0, sizeof mine, &mine) == 0 && CPU_COUNT(&mine) < online) return;
  set_num_threads(std::max(1, online / world.ranks_on_node()));
}

struct ValidSet {
  std::string name;
  StepShare share;
};

struct LmTotals {
  LmSums sums;
  double squared_lengths = 0;  // of the sequences: attention's share of the FLOPs
  void add(const LmSums& s) { sums.logp += s.logp, sums.tokens += s.tokens, sums.correct += s.correct; }
  // Of all ranks, known to each.
  void add_ranks(Comm& comm) {
    double v[] = {sums.logp, static_cast<double>(sums.tokens), static_cast<double>(sums.correct), squared_lengths};
    sum_over_ranks(comm, v);
    sums.logp = v[0], sums.tokens = static_cast<int64_t>(v[1]), sums.correct = static_cast<int64_t>(v[2]);
    squared_lengths = v[3];
  }
  double mean(double v) const { return v / static_cast<double>(sums.tokens); }
};

int64_t longest_sequence(const TrainOptions& o) {
  int64_t n = 0;
  for (const PhaseOptions& p : o.phases) n = std::max(n, p.seq_len);
  return n;
}

class Trainer {
 public:
  Trainer(const TrainOptions& o, std::string run_dir, bool resume, Comm& world);
  TrainReport run();

 private:
  void enter_phase(size_t phase);
  void check_data();
  bool step();  // false: interrupted before it was done, nothing changed but the gradients
  bool accumulate(const StepShare& share, LmTotals& totals);
  std::vector<ValidLoss> validate();
  void log_step(const StepMetrics& m);
  void log_memory();
  void save(SaveKind kind = SaveKind::kCheckpoint);
  void report_saved(const std::string& path);
  bool stop_asked() { return any_rank(world_, interrupted()); }
  bool first() const { return world_.rank() == 0; }

  const TrainOptions& o_;
  Comm& world_;
  std::string run_dir_;
  Learner learner_;
  Comm& data_;  // the ranks that split the batch
  Loader loader_;
  std::vector<ValidSet> valid_;
  TrainState state_;  // after the last whole step
  size_t phase_ = 0;
  std::optional<RunLog> log_;  // of rank 0
  TrainReport report_;
  Clock::time_point start_ = Clock::now(), last_save_ = Clock::now();
  int64_t saved_step_ = -1;
  std::optional<CheckpointWriter> writer_;
  double save_seconds_ = 0;  // of writer_ that metrics.jsonl has
};

Trainer::Trainer(const TrainOptions& o, std::string run_dir, bool resume, Comm& world)
    : o_(o),
      world_(world),
      run_dir_(std::move(run_dir)),
      learner_(make_learner(o, world)),
      data_(learner_.state().ranks().data()),
      loader_(o.data, static_cast<uint64_t>(o.seed), longest_sequence(o), o.verify_data) {
  together(world, [&] {
    if (!first()) return;
    make_directories(run_dir_);
    if (!resume && (file_exists(run_dir_ + "/metrics.jsonl") || !list_checkpoints(run_dir_).empty()))
      fail("[train] ", run_dir_, " already holds a run; continue it with --resume or choose another --out");
  });
  if (auto saved = resume ? load_latest(run_dir_, learner_) : std::nullopt) state_ = std::move(*saved);
  check_data();
  if (state_.phase < 0 || state_.phase >= static_cast<int64_t>(o.phases.size()))
    fail("[train] ", run_dir_, ": the checkpoint is in phase ", state_.phase, ", the options have ", o.phases.size());
  enter_phase(static_cast<size_t>(state_.phase));  // of the last step done; the next may begin another one
  if (state_.step > 0) loader_.restore(state_.loader);
  saved_step_ = report_.resumed_from = state_.step;
  report_.parameters = learner_.state().config().num_params();
  for (const DataSource& v : o.valid) {
    Loader l({v}, 0, longest_sequence(o), o.verify_data);
    if (l.tokenizer_fingerprint() != loader_.tokenizer_fingerprint())
      fail("[train] ", v.path, ": made with another tokenizer than the training data");
    valid_.push_back({l.info()[0].name, l.next_share(std::min(o.valid_tokens, l.tokens()), o.phases[0].seq_len,
                                                     o.micro_tokens, data_.rank(), data_.size())});
  }
  TrainOptions all = o;
  writer_.emplace(CheckpointWriter::Options{run_dir_, o.tokenizer, to_json(list_fields(all)), o.keep_checkpoints,
                                            o.background_saves},
                  learner_);
  if (!first()) return;
  log_.emplace(run_dir_, state_.step);
  write_manifest(run_dir_, list_fields(all));
}

// The tokenizer must be the data's, and a checkpoint goes on only with the tokens it was trained on.
void Trainer::check_data() {
  if (!o_.tokenizer.empty() && Tokenizer::load(o_.tokenizer).fingerprint() != loader_.tokenizer_fingerprint())
    fail("[train] tokenizer ", o_.tokenizer, " is not the one the shards were made with (", o_.data[0].path, ")");
  const std::string tokenizer = hex64(loader_.tokenizer_fingerprint()), data = hex64(loader_.fingerprint());
  if (state_.step > 0 && state_.tokenizer_fingerprint != tokenizer)
    fail("[train] ", run_dir_, ": the checkpoint was trained with tokenizer ", state_.tokenizer_fingerprint,
         ", the data is of tokenizer ", tokenizer, "; use the data the run began with");
  if (state_.step > 0 && state_.data_fingerprint != data)
    fail("[train] ", run_dir_, ": the data (names, documents, tokens) is not what the checkpoint was trained on; ",
         "start a new run with init_from = the checkpoint's folder");
  state_.tokenizer_fingerprint = tokenizer, state_.data_fingerprint = data;
}

void Trainer::enter_phase(size_t phase) {
  phase_ = phase;
  const PhaseOptions& p = o_.phases[phase];
  if (p.rope_theta > 0) learner_.set_rope_theta(p.rope_theta);
  loader_.set_mixture(p.weights);
}

bool Trainer::accumulate(const StepShare& share, LmTotals& totals) {
  if (share.counted == 0)
    fail("[train] step ", state_.step + 1, ": its documents are of one token each, nothing to predict");
  std::vector<float> coef;
  for (int64_t round = 0; round < share.rounds; ++round) {
    if (stop_asked()) return false;
    learner_.begin_round(round + 1 == share.rounds);
    if (round >= static_cast<int64_t>(share.micros.size())) {
      learner_.idle_round(true);
      continue;
    }
    const MicroBatch& m = share.micros[static_cast<size_t>(round)];
    coef.assign(m.target.size(), static_cast<float>(-1.0 / static_cast<double>(share.counted)));
    totals.add(learner_.accumulate_lm(m.batch, m.target, coef));
    for (size_t i = 1; learner_.counts_tokens() && i < m.batch.cu.size(); ++i) {
      const double n = m.batch.cu[i] - m.batch.cu[i - 1];
      totals.squared_lengths += n * n;
    }
  }
  totals.add_ranks(world_);
  return true;
}

bool Trainer::step() {
  const auto begin = Clock::now();
  auto t = begin;
  if (const size_t phase = phase_of(o_, state_.step); phase != phase_) enter_phase(phase);
  const PhaseOptions& p = o_.phases[phase_];
  const int64_t batch_tokens = p.batch_tokens ? p.batch_tokens : o_.batch_tokens;
  StepMetrics m;
  m.phase = p.name, m.lr = learning_rate(o_, state_.step);
  const double waited = learner_.wait_seconds();
  m.save_seconds = writer_->stalled_seconds() - std::exchange(save_seconds_, writer_->stalled_seconds());
  const StepShare share = loader_.next_share(batch_tokens, p.seq_len, o_.micro_tokens, data_.rank(), data_.size());
  m.data_seconds = lap(t);
  LmTotals totals;
  if (!accumulate(share, totals)) return false;
  m.model_seconds = lap(t);
  const StepResult r = learner_.apply(m.lr);
  m.optimizer_seconds = lap(t);
  m.reduce_seconds = learner_.wait_seconds() - waited;

  m.step = ++state_.step;
  state_.phase = static_cast<int64_t>(phase_);
  state_.optimizer_step = learner_.step();
  state_.consumed_tokens += batch_tokens;
  state_.loader = loader_.state();
  m.loss = -totals.mean(totals.sums.logp), m.accuracy = totals.mean(static_cast<double>(totals.sums.correct));
  m.grad_norm = r.grad_norm, m.skipped = r.skipped;
  m.tokens = totals.sums.tokens, m.consumed_tokens = state_.consumed_tokens;
  m.seconds = std::chrono::duration<double>(t - begin).count();
  const auto tokens = static_cast<double>(batch_tokens);
  m.tgs = tokens / m.seconds / world_.size();
  const double flops = learner_.state().config().train_flops_per_token(totals.squared_lengths / tokens);
  if (o_.peak_tflops > 0) m.mfu = flops * m.tgs / (o_.peak_tflops * 1e12);
  const bool last = m.step == total_steps(o_);
  if (last || (o_.valid_every > 0 && m.step % o_.valid_every == 0)) m.valid = validate();
  m.time = static_cast<double>(std::time(nullptr));
  if (m.step == report_.resumed_from + 1) log_memory();
  if (first()) {
    log_->add(m);
    log_step(m);
  }

  state_.skipped += r.skipped;
  state_.skipped_in_a_row = r.skipped ? state_.skipped_in_a_row + 1 : 0;
  if (state_.skipped_in_a_row >= o_.max_skipped)
    fail("[train] step ", m.step, ": the gradient was inf or NaN ", state_.skipped_in_a_row,
         " steps in a row; lower lr, look at the data, and go on from an earlier checkpoint in ", run_dir_,
         "/checkpoints");
  return true;
}

void Trainer::log_memory() {
  const std::string table = memory_by_rank(world_, learner_.memory());
  if (first()) log_info("memory\n", table);
}

std::vector<ValidLoss> Trainer::validate() {
  std::vector<ValidLoss> out;
  std::vector<float> logp;
  for (const ValidSet& set : valid_) {
    LmTotals totals;
    for (const MicroBatch& m : set.share.micros) {
      logp.resize(m.target.size());
      totals.add(learner_.logprobs(m.batch, m.target, logp));
    }
    for (auto done = static_cast<int64_t>(set.share.micros.size()); done < set.share.rounds; ++done)
      learner_.idle_round(false);
    totals.add_ranks(world_);
    const double loss = -totals.mean(totals.sums.logp);
    out.push_back({set.name, loss, totals.mean(static_cast<double>(totals.sums.correct)), totals.sums.tokens});
    log_info("valid ", set.name, ": loss ", loss, "  ppl ", std::exp(loss));
  }
  return out;
}

void Trainer::log_step(const StepMetrics& m) {
  if (m.skipped)
    log_warn("step ", m.step, ": the gradient is inf or NaN; step skipped");
  else if (const auto& s = log_->steps(); s.size() > 1 && m.loss > 1.5 * s[s.size() - 2].loss)
    log_warn("step ", m.step, ": loss ", m.loss, " after ", s[s.size() - 2].loss, ": a spike");
  const int64_t total = total_steps(o_);
  if (m.step % o_.log_every != 0 && m.step != total && m.step != report_.resumed_from + 1) return;
  const double per_step = seconds_since(start_) / static_cast<double>(m.step - report_.resumed_from);
  char text[256];
  std::snprintf(text, sizeof text,
                "step %ld/%ld  loss %.4f  ppl %.2f  acc %.3f  grad_norm %.3f  lr %.2e  tgs %.0f  data %.0f%% model "
                "%.0f%% optimizer %.0f%%",
                long(m.step), long(total), m.loss, std::exp(m.loss), m.accuracy, m.grad_norm, m.lr, m.tgs,
                100 * m.data_seconds / m.seconds, 100 * m.model_seconds / m.seconds,
                100 * m.optimizer_seconds / m.seconds);
  char reduce[32] = "";
  if (world_.size() > 1) std::snprintf(reduce, sizeof reduce, " (waits %.0f%%)", 100 * m.reduce_seconds / m.seconds);
  char mfu[32] = "";
  if (m.mfu > 0) std::snprintf(mfu, sizeof mfu, "  mfu %.1f%%", 100 * m.mfu);
  log_info(text, reduce, mfu, "  ETA ", format_duration(per_step * static_cast<double>(total - m.step)));
}

void Trainer::save(SaveKind kind) {
  if (kind == SaveKind::kCheckpoint) {
    if (saved_step_ == state_.step) return;
    saved_step_ = state_.step, last_save_ = Clock::now();
  }
  writer_->begin(state_, kind);
}

void Trainer::report_saved(const std::string& path) {
  if (!path.empty()) log_info("saved ", path);
}

TrainReport Trainer::run() {
  const int64_t total = total_steps(o_), end = o_.stop_at > 0 ? std::min(o_.stop_at, total) : total;
  const Ranks& ranks = learner_.state().ranks();
  if (world_.size() > 1)
    log_info(data_.size(), " data ranks, ZeRO ", o_.parallel.zero,
             ranks.context().size() > 1 ? cat(", each of ", ranks.context().size(), " context ranks") : "",
             ranks.tensor().size() > 1
                 ? cat(", each of ", ranks.tensor().size(), " tensor ranks (", o_.parallel.tensor_mode, ")")
                 : "");
  log_info("training ", format_count(static_cast<double>(report_.parameters), "parameters"), " on ",
           format_count(static_cast<double>(loader_.tokens()), "tokens"), ", ", num_threads(), " threads",
           state_.step ? cat(", resumed at step ", state_.step) : "");
  while (state_.step < end && !stop_asked()) {
    if (!step()) break;
    const bool by_steps = o_.checkpoint_every > 0 && state_.step % o_.checkpoint_every == 0;
    const bool late = o_.checkpoint_minutes > 0 && seconds_since(last_save_) > 60 * o_.checkpoint_minutes;
    if (by_steps || any_rank(world_, late))
      save();
    else if (o_.snapshot_every > 0 && state_.step % o_.snapshot_every == 0)
      save(SaveKind::kSnapshot);
    report_saved(writer_->poll());
  }
  if (state_.step > 0) save();
  report_saved(writer_->finish());
  report_.interrupted = state_.step < total;
  if (!report_.interrupted) {
    report_.model_dir = run_dir_ + "/model";
    write_model_folder(report_.model_dir, learner_.state(), learner_.weights().compute);
    together(world_, [&] {
      if (first()) copy_tokenizer(o_.tokenizer, report_.model_dir);
    });
  }
  for (const auto& s : loader_.info())
    log_info("data ", s.name, ": ", s.epochs, " epochs of ", format_count(static_cast<double>(s.tokens), "tokens"));
  report_.skipped = state_.skipped;
  if (first()) report_.steps = log_->steps();
  return std::move(report_);
}

}  // namespace

const std::vector<ValidLoss>& TrainReport::valid() const {
  static const std::vector<ValidLoss> none;
  for (size_t i = steps.size(); i-- > 0;)
    if (!steps[i].valid.empty()) return steps[i].valid;
  return none;
}

TrainReport train(const TrainOptions& options, const std::string& run_dir, bool resume, Comm& world) {
  options.validate();
  world.set_patience(options.parallel.patience);
  share_threads(options, world);
  if (world.rank() > 0) set_log_level(LogLevel::kError);  // one rank speaks for all
  return Trainer(options, run_dir, resume, world).run();
}

TrainReport train(const TrainOptions& options, const std::string& run_dir, bool resume) {
  return train(options, run_dir, resume, *self_comm());
}

}  // namespace puyu
