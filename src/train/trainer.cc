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
#include "train/flops.h"
#include "train/loader.h"
#include "train/memory.h"
#include "train/pipeline.h"
#include "train/plan.h"
#include "train/schedule.h"
#include "train/state_files.h"
#include "train/step_totals.h"
#include "train/stop_file.h"
#include "train/watch.h"
#include "train/webhook.h"

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
  const TensorMode mode = parse_tensor_mode(o.parallel.tensor_mode);
  const int64_t chunks = o.parallel.pipeline_chunks;
  MeshLimits limits{c.num_kv_heads, c.num_layers, c.intermediate_size, c.vocab_size, chunks};
  if (mode == TensorMode::kIsp) limits.ffn = limits.vocabulary = 0;  // whole on each rank
  return std::make_shared<Ranks>(world, fit_mesh(m, world.size(), limits), mode, chunks);
}

Learner make_learner(const TrainOptions& o, Comm& world) {
  const DType dtype = parse_dtype(o.dtype);
  const auto source = o.init_from.empty() ? nullptr : open_model_source(o.init_from);
  const ModelConfig config = source ? source->config() : o.model;
  Zero state(config, Head::kLanguage, dtype, make_ranks(o, config, world), static_cast<int>(o.parallel.zero),
             {parse_dtype(o.masters), static_cast<uint64_t>(o.seed), o.offload});
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

int64_t longest_sequence(const TrainOptions& o) {
  int64_t n = 0;
  for (const PhaseOptions& p : o.phases) n = std::max(n, p.seq_len);
  return n;
}

enum class Outcome { kDone, kStopped, kRolledBack };

class Trainer {
 public:
  Trainer(const TrainOptions& o, std::string run_dir, bool resume, Comm& world, const Evaluate& evaluate);
  TrainReport run();

 private:
  void enter_phase(size_t phase);
  void check_data();
  // kStopped: interrupted before it was done, nothing changed but the gradients.
  Outcome step();
  Outcome train_on(const StepShare& share, int64_t batch_tokens, StepMetrics& m);
  bool accumulate(const StepShare& share, StepTotals& totals);
  bool roll_back(StepMetrics& m);
  void finish_step(StepMetrics& m);
  void look_at_ranks(StepMetrics& m);
  void alert(StepMetrics* m, const std::string& kind, int64_t step, const std::string& text);
  bool is_left_out(int64_t step) const;
  struct Spent {
    double forward, backward, waiting;  // seconds since the beginning
  };
  Spent spent() const;
  std::string layout();
  std::vector<ValidLoss> validate();
  void ask_tasks(StepMetrics& m);
  void log_step(const StepMetrics& m);
  void log_memory();
  bool between_steps();  // saves what is due; false: asked to stop
  void save(SaveKind kind = SaveKind::kCheckpoint);
  void report_saved(const std::string& path);
  void train_steps();
  bool stop_asked() { return any_rank(world_, interrupted()); }
  bool first() const { return world_.rank() == 0; }

  const TrainOptions& o_;
  Comm& world_;
  const Evaluate& evaluate_;
  std::string run_dir_;
  Learner learner_;
  std::optional<Pipeline> pipeline_;  // where ranks split the depth
  Comm& data_;                        // the ranks that split the batch
  Loader loader_;
  std::vector<ValidSet> valid_;
  TrainState state_;  // after the last whole step
  size_t phase_ = 0;
  std::vector<int64_t> skip_batches_;
  std::optional<RunLog> log_;  // of rank 0
  TrainReport report_;
  Clock::time_point start_ = Clock::now(), last_save_ = Clock::now();
  int64_t saved_step_ = -1, steps_here_ = 0;  // steps_here_: done by this process
  std::optional<CheckpointWriter> writer_;
  double save_seconds_ = 0;          // of writer_ that metrics.jsonl has
  double busy_seconds_ = 0;          // of this rank since ranks were compared
  std::vector<std::string> events_;  // for the next line of metrics.jsonl
  StopFile stop_file_;
  Webhook webhook_;  // of rank 0
  std::optional<Watch> watch_;
};

Trainer::Trainer(const TrainOptions& o, std::string run_dir, bool resume, Comm& world, const Evaluate& evaluate)
    : o_(o),
      world_(world),
      evaluate_(evaluate),
      run_dir_(std::move(run_dir)),
      learner_(make_learner(o, world)),
      data_(learner_.state().ranks().data()),
      loader_(o.data, static_cast<uint64_t>(o.seed), longest_sequence(o), o.verify_data),
      skip_batches_(parse_step_list(o.skip_batches, "skip_batches")),
      stop_file_(o.stop_file.empty() ? run_dir_ + "/stop" : o.stop_file),
      webhook_(world.rank() == 0 ? o.alert_url : "") {
  if (learner_.state().ranks().splits_depth())
    pipeline_.emplace(learner_, parse_schedule(o.parallel.pipeline_schedule));
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
    const uint64_t tokenizer = l.tokenizer_fingerprint();
    if (tokenizer != loader_.tokenizer_fingerprint() && tokenizer != 0 && loader_.tokenizer_fingerprint() != 0)
      fail("[train] ", v.path, ": made with another tokenizer than the training data");
    valid_.push_back({l.info()[0].name, l.next_share(std::min(o.valid_tokens, l.tokens()), o.phases[0].seq_len,
                                                     o.micro_tokens, data_.rank(), data_.size())});
  }
  TrainOptions all = o;
  writer_.emplace(CheckpointWriter::Options{run_dir_, o.tokenizer, to_json(list_fields(all)), o.keep_checkpoints,
                                            o.background_saves},
                  learner_);
  watch_.emplace(o.watch, first() ? run_dir_ : "", world.rank(), [this](const std::string& what) {
    if (o_.alert_url.empty()) return;
    try {
      Json j = Json::object();
      j["kind"] = "watch", j["run"] = run_dir_, j["text"] = what;
      http_post(parse_http_url(o_.alert_url), j.dump(), 5);
    } catch (const std::exception& e) { log_error(e.what()); }
  });
  if (!first()) return;
  log_.emplace(run_dir_, state_.step);
  write_manifest(run_dir_, list_fields(all));
}

// The tokenizer must be the data's, and a checkpoint goes on only with the tokens it was trained on.
void Trainer::check_data() {
  const uint64_t made_with = loader_.tokenizer_fingerprint();  // 0: the files do not say
  if (!o_.tokenizer.empty() && made_with != 0 && Tokenizer::load(o_.tokenizer).fingerprint() != made_with)
    fail("[train] tokenizer ", o_.tokenizer, " is not the one the shards were made with (", o_.data[0].path, ")");
  const int64_t vocab = learner_.state().config().vocab_size, largest = o_.verify_data ? loader_.largest_id() : 0;
  if (largest >= vocab)
    fail("[train] the data has token id ", largest, ", the model's vocab_size is ", vocab,
         "; use the tokenizer's vocabulary size or the data of this model's tokenizer");
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

bool Trainer::accumulate(const StepShare& share, StepTotals& totals) {
  if (share.counted == 0)
    fail("[train] step ", state_.step + 1, ": its documents are of one token each, nothing to predict");
  if (pipeline_) {
    if (stop_asked()) return false;
    pipeline_->accumulate(
        share, [&](const Pipeline::Found& f) { totals.add(f.sums), totals.add(f.micro, f.each); },
        [&] { watch_->enter(Watch::Part::kRound, state_.step + 1); });
    totals.add_ranks(world_);
    return true;
  }
  std::vector<float> coef;
  TokenResults each;
  for (int64_t round = 0; round < share.rounds; ++round) {
    watch_->enter(Watch::Part::kRound, state_.step + 1);
    if (stop_asked()) return false;
    learner_.begin_round(round + 1 == share.rounds);
    if (round >= static_cast<int64_t>(share.micros.size())) {
      learner_.idle_round(true);
      continue;
    }
    const MicroBatch& m = share.micros[static_cast<size_t>(round)];
    coef.assign(m.target.size(), static_cast<float>(-1.0 / static_cast<double>(share.counted)));
    totals.add(learner_.accumulate_lm(m.batch, m.target, coef, &each));
    if (learner_.counts_tokens()) totals.add(m, each);
  }
  totals.add_ranks(world_);
  return true;
}

// Said to people at once, and in the step's line of metrics.jsonl (m: none = the next line). All ranks alert the same;
// rank 0 speaks.
void Trainer::alert(StepMetrics* m, const std::string& kind, int64_t step, const std::string& text) {
  (m ? m->events : events_).push_back(kind + ": " + text);
  if (!first()) return;
  log_warn("step ", step, ": ", kind, ": ", text);
  Json j = Json::object();
  j["kind"] = kind, j["run"] = run_dir_, j["step"] = step, j["text"] = text;
  j["time"] = static_cast<int64_t>(std::time(nullptr));
  webhook_.send(j);
}

bool Trainer::is_left_out(int64_t step) const {
  return std::binary_search(skip_batches_.begin(), skip_batches_.end(), step) ||
         std::find(state_.skip_steps.begin(), state_.skip_steps.end(), step) != state_.skip_steps.end();
}

// The newest complete save becomes the state, and the bad step's batch is left out when it comes again. False: there is
// no save.
bool Trainer::roll_back(StepMetrics& m) {
  learner_.discard();
  if (state_.rollbacks >= o_.guard.max_rollbacks)
    fail("[train] step ", m.step, ": ", m.events.back(), "; the run has rolled back ", state_.rollbacks,
         " times already (guard.max_rollbacks); lower lr or look at the data");
  report_saved(writer_->finish());
  auto saved = load_latest(run_dir_, learner_);
  if (!saved) return false;
  saved->rollbacks = state_.rollbacks + 1;
  saved->skip_steps = state_.skip_steps;
  for (int64_t step = m.step - o_.guard.skip_around; step <= m.step + o_.guard.skip_around; ++step)
    if (step > saved->step) saved->skip_steps.push_back(step);
  state_ = std::move(*saved);
  enter_phase(static_cast<size_t>(state_.phase));
  loader_.restore(state_.loader);
  saved_step_ = state_.step;
  if (first()) log_.emplace(run_dir_, state_.step);
  events_ = std::move(m.events);  // the step's own line is not written
  alert(nullptr, "rollback", m.step, cat("back to step ", state_.step));
  return true;
}

// Forward, backward and, unless the guard is against it, the update.
Outcome Trainer::train_on(const StepShare& share, int64_t batch_tokens, StepMetrics& m) {
  auto t = Clock::now();
  const Spent before = spent();
  StepTotals totals;
  totals.sources.resize(o_.data.size());
  if (!accumulate(share, totals)) return Outcome::kStopped;
  m.model_seconds = lap(t);
  m.forward_seconds = spent().forward - before.forward, m.backward_seconds = spent().backward - before.backward;
  totals.tell(m, loader_.info());
  watch_->enter(Watch::Part::kOptimizer, m.step);
  const StepResult r = learner_.measure();
  m.grad_norm = r.grad_norm;
  for (size_t i = 0; i < kGradientGroups; ++i) m.grad_norms.emplace_back(gradient_group_name(i), r.group_norms[i]);
  const StepVerdict verdict = judge_step(o_.guard, state_.guard, m.loss, m.grad_norm);
  if (!verdict.kind.empty()) alert(&m, verdict.kind, m.step, verdict.text);
  if (verdict.action == Action::kRollback && roll_back(m)) return Outcome::kRolledBack;
  m.skipped = verdict.action != Action::kTrain;
  if (m.skipped) {
    learner_.discard();
    m.events.back() +=
        verdict.action == Action::kSkip ? "; step skipped" : "; no checkpoint to go back to, step skipped";
  } else {
    learner_.update(m.lr, r);
    remember_step(o_.guard, state_.guard, m.loss, m.grad_norm);
  }
  m.optimizer_seconds = lap(t);
  m.reduce_seconds = spent().waiting - before.waiting;
  busy_seconds_ += m.model_seconds + m.optimizer_seconds - m.reduce_seconds;
  m.seconds = m.data_seconds + m.model_seconds + m.optimizer_seconds;
  m.tgs = static_cast<double>(batch_tokens) / m.seconds / world_.size();
  if (o_.peak_tflops > 0) {
    const ModelConfig c = learner_.state().config();
    const double share_of_peak = m.tgs / (o_.peak_tflops * 1e12);
    const auto sequence = static_cast<double>(o_.phases[phase_].seq_len);
    m.mfu = share_of_peak * c.train_flops_per_token(totals.squared_lengths / static_cast<double>(batch_tokens));
    m.mfu_internevo = share_of_peak * internevo_flops_per_token(c, sequence, learner_.recompute() == Recompute::kFull);
    m.mfu_megatron = share_of_peak * megatron_lm_flops_per_token(c, sequence);
  }
  return Outcome::kDone;
}

Outcome Trainer::step() {
  auto t = Clock::now();
  if (const size_t phase = phase_of(o_, state_.step); phase != phase_) enter_phase(phase);
  const PhaseOptions& p = o_.phases[phase_];
  const int64_t batch_tokens = batch_tokens_at(o_, state_.step);
  StepMetrics m;
  m.step = state_.step + 1, m.phase = p.name, m.lr = learning_rate(o_, state_.step);
  m.events = std::exchange(events_, {});
  m.save_seconds = writer_->stalled_seconds() - std::exchange(save_seconds_, writer_->stalled_seconds());
  watch_->enter(Watch::Part::kData, m.step);
  const StepShare share = loader_.next_share(batch_tokens, p.seq_len, o_.micro_tokens, data_.rank(), data_.size());
  m.data_seconds = m.seconds = lap(t);
  if (is_left_out(m.step)) {
    m.loss = m.accuracy = m.grad_norm = std::nan(""), m.skipped = true;
    m.events.emplace_back("left_out: the batch is read and not trained on");
  } else if (const Outcome o = train_on(share, batch_tokens, m); o != Outcome::kDone) {
    return o;
  }
  watch_->leave();
  const bool asked = m.skipped && m.tokens == 0;
  state_.step = m.step, state_.phase = static_cast<int64_t>(phase_);
  state_.optimizer_step = learner_.step();
  state_.consumed_tokens += batch_tokens;
  state_.loader = loader_.state();
  if (m.skipped && !asked) ++state_.skipped, ++state_.skipped_in_a_row;
  if (!m.skipped) state_.skipped_in_a_row = 0;
  m.consumed_tokens = state_.consumed_tokens;
  finish_step(m);
  if (state_.skipped_in_a_row >= o_.max_skipped)
    fail("[train] step ", m.step, ": ", m.events.back(), ", ", state_.skipped_in_a_row,
         " steps in a row; lower lr, look at the data, and go on from an earlier checkpoint in ", run_dir_,
         "/checkpoints");
  return Outcome::kDone;
}

// Validation and the log.
void Trainer::finish_step(StepMetrics& m) {
  ++steps_here_;
  watch_->done(m.step);
  look_at_ranks(m);
  const bool last = m.step == total_steps(o_);
  if (last || (o_.valid_every > 0 && m.step % o_.valid_every == 0)) m.valid = validate();
  if (o_.eval.due(m.step, last)) ask_tasks(m);
  m.time = static_cast<double>(std::time(nullptr));
  if (steps_here_ == 1) log_memory();
  if (!first()) return;
  log_->add(m);
  log_step(m);
}

void Trainer::look_at_ranks(StepMetrics& m) {
  if (world_.size() == 1 || m.step % o_.guard.slow_rank_every != 0) return;
  std::vector<double> busy(static_cast<size_t>(world_.size()));
  busy[static_cast<size_t>(world_.rank())] = std::exchange(busy_seconds_, 0);
  sum_over_ranks(world_, busy);
  if (const std::string slow = slow_ranks(o_.guard, busy); !slow.empty()) alert(&m, "slow_rank", m.step, slow);
}

void Trainer::log_memory() {
  auto parts = learner_.memory();
  if (pipeline_)
    for (auto& part : pipeline_->memory()) parts.push_back(std::move(part));
  for (auto& part : writer_->memory()) parts.push_back(std::move(part));
  const std::string table = memory_by_rank(world_, parts);
  if (first()) log_info("memory\n", table);
}

std::vector<ValidLoss> Trainer::validate() {
  std::vector<ValidLoss> out;
  std::vector<float> logp;
  for (const ValidSet& set : valid_) {
    StepTotals totals;
    if (pipeline_) pipeline_->score(set.share, [&](const Pipeline::Found& f) { totals.add(f.sums); });
    for (const MicroBatch& m : set.share.micros) {
      if (pipeline_) break;
      logp.resize(m.target.size());
      totals.add(learner_.logprobs(m.batch, m.target, logp));
    }
    for (auto done = static_cast<int64_t>(set.share.micros.size()); !pipeline_ && done < set.share.rounds; ++done)
      learner_.idle_round(false);
    totals.add_ranks(world_);
    const double loss = -totals.mean(totals.sums.logp);
    out.push_back({set.name, loss, totals.mean(static_cast<double>(totals.sums.correct)), totals.sums.tokens});
    log_info("valid ", set.name, ": loss ", loss, "  ppl ", std::exp(loss));
  }
  return out;
}

void Trainer::ask_tasks(StepMetrics& m) {
  watch_->enter(Watch::Part::kEval, m.step);
  m.tasks = evaluate_tasks(o_.eval, evaluate_, run_dir_, o_.tokenizer, o_.parallel.patience, learner_.state());
  watch_->leave();
  for (const TaskScore& s : m.tasks)
    log_info("eval ", s.task, ": ", s.metric, " ", s.value, " +- ", s.error, " (", s.samples, " samples)");
}

void Trainer::log_step(const StepMetrics& m) {
  const int64_t total = total_steps(o_);
  if (m.step % o_.log_every != 0 && m.step != total && steps_here_ != 1) return;
  const double per_step = seconds_since(start_) / static_cast<double>(steps_here_);
  log_info(step_line(m, total, world_.size()), "  ETA ",
           format_duration(per_step * static_cast<double>(total - m.step)));
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

bool Trainer::between_steps() {
  watch_->enter(Watch::Part::kSave, state_.step);
  const StopRequest request = first() ? stop_file_.ask(state_.step) : StopRequest{};
  const bool late = o_.checkpoint_minutes > 0 && seconds_since(last_save_) > 60 * o_.checkpoint_minutes;
  double asked[] = {request.save || late ? 1.0 : 0.0, request.stop ? 1.0 : 0.0};
  sum_over_ranks(world_, asked);
  if (asked[0] > 0 || (o_.checkpoint_every > 0 && state_.step % o_.checkpoint_every == 0))
    save();
  else if (o_.snapshot_every > 0 && state_.step % o_.snapshot_every == 0)
    save(SaveKind::kSnapshot);
  report_saved(writer_->poll());
  watch_->leave();
  return asked[1] == 0;
}

void Trainer::train_steps() {
  const int64_t total = total_steps(o_), end = o_.stop_at > 0 ? std::min(o_.stop_at, total) : total;
  while (state_.step < end && !stop_asked()) {
    const Outcome outcome = step();
    watch_->leave();
    if (outcome == Outcome::kStopped || (outcome == Outcome::kDone && !between_steps())) break;
  }
  watch_->enter(Watch::Part::kSave, state_.step);
  if (state_.step > 0) save();
  report_saved(writer_->finish());
  watch_->leave();
  if (state_.step < end) alert(nullptr, "stopped", state_.step, cat("asked to stop; saved at step ", state_.step));
}

Trainer::Spent Trainer::spent() const {
  Spent s{learner_.forward_seconds(), learner_.backward_seconds(), learner_.wait_seconds()};
  if (!pipeline_) return s;
  s.forward += pipeline_->forward_seconds(), s.backward += pipeline_->backward_seconds();
  s.waiting += pipeline_->wait_seconds();
  return s;
}

std::string Trainer::layout() {
  const Ranks& r = learner_.state().ranks();
  std::string out = cat(data_.size(), " data ranks, ZeRO ", o_.parallel.zero);
  if (r.context().size() > 1) out += cat(", each of ", r.context().size(), " context ranks");
  if (r.tensor().size() > 1)
    out += cat(", each of ", r.tensor().size(), " tensor ranks (", o_.parallel.tensor_mode, ")");
  if (pipeline_) out += cat(", ", r.depth().ranks, " pipeline ranks (", o_.parallel.pipeline_schedule, ")");
  if (pipeline_ && r.depth().chunks > 1) out += cat(" of ", r.depth().chunks, " chunks");
  return out;
}

TrainReport Trainer::run() {
  const int64_t total = total_steps(o_);
  if (world_.size() > 1) log_info(layout());
  log_info("training ", format_count(static_cast<double>(report_.parameters), "parameters"), " on ",
           format_count(static_cast<double>(loader_.tokens()), "tokens"), ", ", num_threads(), " threads",
           state_.step ? cat(", resumed at step ", state_.step) : "");
  try {
    train_steps();
  } catch (const Error& e) {
    alert(nullptr, "error", state_.step, e.what());
    throw;
  }
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

TrainReport train(const TrainOptions& options, const std::string& run_dir, bool resume, Comm& world,
                  const Evaluate& evaluate) {
  options.validate();
  CHECK(options.eval.tasks.empty() || evaluate);
  world.set_patience(options.parallel.patience);
  share_threads(options, world);
  if (world.rank() > 0) set_log_level(LogLevel::kError);  // one rank speaks for all
  return Trainer(options, run_dir, resume, world, evaluate).run();
}

TrainReport train(const TrainOptions& options, const std::string& run_dir, bool resume) {
  return train(options, run_dir, resume, *self_comm());
}

}  // namespace puyu
