#include "train/zero.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/rng.h"

namespace puyu {
namespace {

constexpr int64_t kReserve = int64_t{1} << 40;  // address space, not memory
constexpr size_t kReductionsUnderWay = 2;       // parts whose gradients are on their way: bounds memory
constexpr size_t kEmbeddings = 0;

Share overlap(Share a, Share b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }

size_t gradient_group(const std::string& name) {
  auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  if (has("norm")) return 3;
  if (has("attention.")) return 1;
  if (has("feed_forward.")) return 2;
  return has("embed") ? 0 : 4;
}

void copy_floats(Tensor to, Tensor from) {
  CHECK(to.nbytes() == from.nbytes());
  std::memcpy(to.data, from.data, static_cast<size_t>(to.nbytes()));
}

}  // namespace

const char* gradient_group_name(size_t group) {
  static constexpr const char* kNames[kGradientGroups] = {"embeddings", "attention", "mlp", "norms", "head"};
  return kNames[group];
}

Tensor Zero::Pool::take(DType dtype, int64_t elements) {
  if (auto it = free.find(elements); it != free.end()) {
    const Tensor t = it->second;
    free.erase(it);
    return t;
  }
  return arena->alloc(dtype, {elements});
}

Zero::Zero(Weights weights, bool trainable)
    : w_(std::move(weights)),
      trainable_(trainable),
      ranks_(std::make_shared<Ranks>(self_comm())),
      comm_(&ranks_->state()),
      config_(w_.config) {
  model_ = layout_ = flat_layout(w_.config, w_.head);
  keep_held_parts();
  if (trainable) {
    grads_ = make_set("gradients", DType::kF32, true);
    m_ = make_set("adam m", DType::kF32, true);
    v_ = make_set("adam v", DType::kF32, true);
  }
  gathers_.resize(layout_.parts.size());
  scratch_ = std::make_unique<Arena>("sums", kReserve);
  ctx_ = {Device::kCpu, scratch_.get()};
  w_.refresh_copy(ctx_);
}

Zero::Zero(const ModelConfig& config, Head head, DType compute, Comm& data_ranks, int level)
    : Zero(config, head, compute, std::make_shared<Ranks>(data_ranks), level) {}

Zero::Zero(const ModelConfig& config, Head head, DType compute, std::shared_ptr<const Ranks> ranks, int level,
           StateStorage storage)
    : level_(level), storage_(std::move(storage)), ranks_(std::move(ranks)), comm_(&ranks_->state()), config_(config) {
  CHECK(0 <= level && level <= 3 && (masters() == DType::kF32 || compute == DType::kBF16));
  config.validate();
  w_.config = splits_tensors() ? split_config(config, ranks_->tensor().size()) : config;
  w_.head = head, w_.compute = compute;
  model_ = flat_layout(config, head), layout_ = flat_layout(w_.config, head);
  keep_held_parts();
  if (!masters_compute() || compute == DType::kF32) w_.master = make_set("weights", masters(), whole(Set::kMaster));
  if (compute == DType::kBF16 && level <= 2) w_.copy = make_set("weights bf16", DType::kBF16, true);
  w_.use().layers.resize(static_cast<size_t>(config.num_layers));  // level 3: nowhere yet
  grads_ = make_set("gradients", DType::kF32, whole(Set::kGradient));
  m_ = make_set("adam m", DType::kF32, whole(Set::kMoment1), storage_.offload);
  v_ = make_set("adam v", DType::kF32, whole(Set::kMoment2), storage_.offload);
  gathers_.resize(layout_.parts.size());
  gathered_.resize(layout_.parts.size());
  collecting_.resize(layout_.parts.size());
  weight_pool_.arena = std::make_unique<Arena>("gathered weights", kReserve);
  gradient_pool_.arena = std::make_unique<Arena>("gradients on their way", kReserve);
  scratch_ = std::make_unique<Arena>("sums", kReserve);
  ctx_ = {Device::kCpu, scratch_.get()};
}

bool Zero::holds(size_t part) const {
  const auto p = static_cast<int64_t>(part);
  if (p == 0 && tied() && ranks_->last_stage()) return true;
  return ranks_->depth().runs(config_.num_layers, ranks_->stages().rank(), p);
}

// Out of the layout with what other pipeline ranks have.
void Zero::keep_held_parts() {
  std::vector<FlatTensor> kept;
  first_.assign(layout_.parts.size(), 0), of_model_.clear();
  for (size_t i = 0; i < layout_.tensors.size(); ++i) {
    const auto part = static_cast<size_t>(layout_.tensors[i].part);
    if (!holds(part)) continue;
    if (kept.empty() || static_cast<size_t>(kept.back().part) != part) first_[part] = kept.size();
    kept.push_back(layout_.tensors[i]), of_model_.push_back(i);
  }
  layout_.tensors = std::move(kept);
  for (size_t p = 0; p < layout_.parts.size(); ++p)
    if (!holds(p)) layout_.parts[p] = 0;
}

Zero::~Zero() = default;
Zero::Zero(Zero&&) noexcept = default;

ModelConfig Zero::config() const {
  ModelConfig c = config_;
  c.rope_theta = w_.config.rope_theta;  // may change during a run
  return c;
}

bool Zero::whole(Set set) const {
  if (set == Set::kMaster) return level_ == 0 || masters_compute();
  return level_ == 0 || (set == Set::kGradient && level_ == 1);
}

TensorSet& Zero::tensors(Set set) {
  switch (set) {
    case Set::kMaster:
      return masters_compute() ? w_.use_set() : w_.master;
    case Set::kMoment1:
      return m_;
    case Set::kMoment2:
      return v_;
    case Set::kGradient:
      break;
  }
  return grads_;
}

// Contents zero. In pieces: parts of this rank's share, and tensors that point nowhere yet.
TensorSet Zero::make_set(const std::string& name, DType dtype, bool whole, const std::string& folder) const {
  if (whole && !ranks_->splits_depth()) return make_tensor_set(name, w_.config, w_.head, dtype, folder);
  TensorSet s;
  int64_t bytes = 0;
  auto size = [&](size_t p) { return whole ? layout_.parts[p] : share(p).size(); };
  for (size_t p = 0; p < layout_.parts.size(); ++p) bytes += size(p) * dtype_size(dtype) + 128;
  s.arena = make_arena(name, bytes, folder);
  for (size_t p = 0; p < layout_.parts.size(); ++p) s.parts.push_back(s.arena->alloc(dtype, {size(p)}));
  s.tensors.layers.resize(static_cast<size_t>(w_.config.num_layers));
  for (size_t p = 0; whole && p < layout_.parts.size(); ++p)
    if (holds(p)) point(s.tensors, p, s.parts[p]);
  return s;
}

Tensor Zero::own(Set set, size_t part) {
  const Tensor t = tensors(set).parts[part];
  return whole(set) ? t.rows(share(part).begin, share(part).end) : t;
}

// f(tensor, where it and the range overlap, as elements of the part).
void Zero::each_tensor(size_t part, Share range, const std::function<void(const FlatTensor&, Share)>& f) const {
  for (const FlatTensor& t : layout_.tensors) {
    if (static_cast<size_t>(t.part) != part) continue;
    const Share both = overlap(range, {t.begin, t.begin + t.elements()});
    if (both.size() > 0) f(t, both);
  }
}

// The part's tensors become views of `flat`, or of nothing.
void Zero::point(Model<Tensor>& m, size_t part, Tensor flat) const {
  const std::vector<Tensor> parts(part + 1, flat);
  auto t = layout_.tensors.begin() + static_cast<int64_t>(first_[part]);
  auto next = [&](Tensor& to) { to = flat ? flat_tensor(*t, parts) : Tensor{}, ++t; };
  if (part == kEmbeddings) return next(m.tok_embeddings);
  if (part <= m.layers.size())
    return m.layers[part - 1].each(w_.config, [&](const char*, Tensor& to, const Spec&) { next(to); });
  next(m.norm);
  if (t != layout_.tensors.end()) next(m.output);
}

// This rank's share of a tensor of the model: a view of it, or a copy in `arena`.
Tensor Zero::cut(Arena& arena, const FlatTensor& t, Tensor of_model) const {
  if (!splits_tensors() || t.spec.split == Split::kWhole) return of_model;
  const int64_t rank = ranks_->tensor().rank(), rows = t.spec.rows, cols = t.spec.cols;
  if (t.spec.split == Split::kRows) return of_model.rows(rank * rows, (rank + 1) * rows);
  Tensor out = arena.alloc(DType::kF32, {rows, cols});
  for (int64_t r = 0; r < rows; ++r)
    copy_floats(out.rows(r, r + 1).flat(), of_model.rows(r, r + 1).flat().rows(rank * cols, (rank + 1) * cols));
  return out;
}

void Zero::fill(const Fill& f) {
  Arena arena("a tensor", kReserve);
  for (size_t i = 0; i < layout_.tensors.size(); ++i) {
    const FlatTensor &t = layout_.tensors[i], &of_model = model_.tensors[of_model_[i]];
    const auto part = static_cast<size_t>(t.part);
    const std::vector<Tensor>& masters_parts = tensors(Set::kMaster).parts;
    if (whole(Set::kMaster) && masters() == DType::kF32 && !splits_tensors()) {
      f(of_model, of_model_[i], flat_tensor(t, masters_parts));
      continue;
    }
    ScratchScope scope(arena);
    const Spec& s = of_model.spec;
    Tensor all = s.cols ? arena.alloc(DType::kF32, {s.rows, s.cols}) : arena.alloc(DType::kF32, {s.rows});
    f(of_model, of_model_[i], all);
    const Tensor mine = cut(arena, t, all).flat();
    const Share held = whole(Set::kMaster) ? Share{0, layout_.parts[part]} : share(part),
                both = overlap(held, {t.begin, t.begin + t.elements()});
    if (both.size() > 0)
      cast(ctx_, masters_parts[part].rows(both.begin - held.begin, both.end - held.begin),
           mine.rows(both.begin - t.begin, both.end - t.begin));
  }
  refresh_copies();
}

void Zero::refresh_copies() {
  if (level_ == 3 || masters_compute()) return;
  for (size_t p = 0; p < layout_.parts.size(); ++p) {
    const Tensor copy = w_.copy.parts[p];
    if (copy.numel() == 0) continue;
    if (whole(Set::kMaster)) {
      cast(ctx_, copy, w_.master.parts[p]);
      continue;
    }
    const Share mine = share(p);
    if (mine.size() > 0) cast(ctx_, copy.rows(mine.begin, mine.end), w_.master.parts[p]);
    comm_->all_gather(copy);
  }
}

void Zero::enter(int64_t p, Use use) {
  if (comm_->size() == 1 && level_ == 0) return;
  poll();
  const auto part = static_cast<size_t>(p), head = layout_.parts.size() - 1;
  if (use == Use::kForward || (use != Use::kWeights && part != kEmbeddings)) hold_weights(part);
  const bool has_them = tied() && part == kEmbeddings && !ranks_->splits_depth();  // since the head
  if (needs_gradients(use) && !has_them) hold_gradients(part);
  if (part == head && tied()) {  // the head is the embeddings: until the backward pass is through them
    hold_weights(kEmbeddings);
    if (use == Use::kBackward) hold_gradients(kEmbeddings);
  }
  if (level_ < 3) return;
  // The next part is fetched meanwhile: upwards, then downwards; the embeddings are not read on the way back.
  if (use == Use::kForward && part < head && holds(part + 1)) start_gather(part + 1);
  if ((use == Use::kBackward || use == Use::kInputs) && part > kEmbeddings + 1 && holds(part - 1))
    start_gather(part - 1);
}

void Zero::leave(int64_t p, Use use) {
  if (comm_->size() == 1 && level_ == 0) return;
  const auto part = static_cast<size_t>(p), head = layout_.parts.size() - 1;
  const bool with_table = part == head && tied();
  release_weights(part);
  if (with_table && (use == Use::kForward || only_head())) release_weights(kEmbeddings);
  if (needs_gradients(use)) send_gradients(part);
  if (with_table && use == Use::kBackward && only_head()) send_gradients(kEmbeddings);
  poll();
}

void Zero::start_gather(size_t part) {
  if (gathered_[part]) return;
  const Tensor buffer = weight_pool_.take(w_.compute, layout_.parts[part]);
  const Share mine = share(part);
  if (mine.size() > 0) cast(ctx_, buffer.rows(mine.begin, mine.end), w_.master.parts[part]);
  gathered_[part] = buffer;
  gathers_[part] = comm_->start_all_gather(buffer);
}

void Zero::hold_weights(size_t part) {
  if (level_ == 3) start_gather(part);
  if (gathers_[part]) {
    wait(*gathers_[part]);
    gathers_[part].reset();
  }
  if (level_ == 3) point(w_.use(), part, gathered_[part]);
}

void Zero::release_weights(size_t part) {
  if (level_ < 3 || !gathered_[part]) return;
  point(w_.use(), part, {});
  weight_pool_.give_back(std::exchange(gathered_[part], {}));
}

void Zero::hold_gradients(size_t part) {
  if (whole(Set::kGradient)) return;
  Tensor buffer = gradient_pool_.take(DType::kF32, layout_.parts[part]);
  puyu::fill(ctx_, buffer, 0);
  point(grads_.tensors, part, collecting_[part] = buffer);
}

void Zero::send_gradients(size_t part) {
  while (reductions_.size() >= kReductionsUnderWay) finish_oldest_reduction();
  if (whole(Set::kGradient)) {
    const Tensor all = grads_.parts[part];
    if (last_round_)
      reductions_.push_back({part, {}, level_ == 0 ? comm_->start_all_reduce(all) : comm_->start_reduce_scatter(all)});
    return;
  }
  const Tensor buffer = std::exchange(collecting_[part], {});
  point(grads_.tensors, part, {});
  reductions_.push_back({part, buffer, comm_->start_reduce_scatter(buffer)});
}

void Zero::finish_oldest_reduction() {
  Reduction& r = reductions_.front();
  wait(*r.work);
  if (r.buffer) {
    const Share mine = share(r.part);
    if (mine.size() > 0) add(ctx_, grads_.parts[r.part], r.buffer.rows(mine.begin, mine.end));
    gradient_pool_.give_back(r.buffer);
  }
  reductions_.erase(reductions_.begin());
}

void Zero::poll() {
  for (Reduction& r : reductions_) r.work->poll();
  for (Pending& g : gathers_)
    if (g) g->poll();
}

void Zero::wait(Work& work) { wait_seconds_ += timed_wait(work); }

// Tensors that all tensor ranks have, where each saw other tokens: their gradients are added, so that all ranks make
// the same update.
void Zero::sum_whole_tensors() {
  std::vector<Tensor> slices;
  int64_t n = 0;
  for (size_t p = 0; p < layout_.parts.size(); ++p) {
    const Share range = level_ == 0 ? Share{0, layout_.parts[p]} : share(p);
    const Tensor g = level_ == 0 ? grads_.parts[p] : own(Set::kGradient, p);
    each_tensor(p, range, [&](const FlatTensor& t, Share s) {
      if (t.spec.split != Split::kWhole) return;
      slices.push_back(g.rows(s.begin - range.begin, s.end - range.begin));
      n += s.size();
    });
  }
  if (n == 0) return;
  ScratchScope scope(*scratch_);
  const Tensor all = scratch_->alloc(DType::kF32, {n});
  auto each = [&](auto f) {
    int64_t at = 0;
    for (const Tensor& s : slices) f(s, all.rows(at, at + s.numel())), at += s.numel();
  };
  each([](Tensor slice, Tensor in) { copy_floats(in, slice); });
  ranks_->tensor().all_reduce(all);
  each([](Tensor slice, Tensor in) { copy_floats(slice, in); });
}

// The table's gradients as embeddings and as head, on the two ranks that have them: both then make the same update.
void Zero::sum_tied_embeddings() {
  const Tensor g = level_ == 0 ? grads_.parts[kEmbeddings] : own(Set::kGradient, kEmbeddings);
  wait(*ranks_->ends().start_all_reduce(g));
}

// Each rank squares its own piece, whatever the level, and the pieces are added in the order of ranks.
GradientSquares Zero::squared_norms() {
  while (!reductions_.empty()) finish_oldest_reduction();
  if (!std::exchange(whole_summed_, true)) {
    if (ranks_->splits_stream()) sum_whole_tensors();
    if (ranks_->splits_depth() && tied() && holds(kEmbeddings)) sum_tied_embeddings();
  }
  double sums[1 + kGradientGroups] = {};
  for (size_t p = 0; p < layout_.parts.size(); ++p) {
    const Share mine = share(p);
    const Tensor g = own(Set::kGradient, p);
    each_tensor(p, mine, [&](const FlatTensor& t, Share s) {
      if (!counts(t)) return;
      const double square = sum_squares(ctx_, g.rows(s.begin - mine.begin, s.end - mine.begin));
      sums[0] += square, sums[1 + gradient_group(t.name)] += square;
    });
  }
  if (comm().size() > 1) sum_over_ranks(comm(), sums);
  GradientSquares out;
  out.all = sums[0];
  std::copy_n(sums + 1, kGradientGroups, out.groups.begin());
  return out;
}

// Which bits round a tensor's new weights in a step: alike on all ranks that have it.
uint64_t Zero::rounding_key(const FlatTensor& t, int64_t step) const {
  uint64_t name = 0;
  for (char c : t.name) name = mix64(name ^ static_cast<uint8_t>(c));
  return Rng(storage_.seed + name, static_cast<uint64_t>(step)).next();
}

void Zero::update(const AdamW& adam) {
  const bool copies = w_.compute == DType::kBF16 && level_ <= 2 && !masters_compute();
  for (size_t p = 0; p < layout_.parts.size(); ++p) {
    // Level 0 updates all on every rank; else a rank updates its piece and tells the others.
    const Share all{0, layout_.parts[p]}, range = level_ == 0 ? all : share(p);
    auto of = [&](Set set, Share s) {
      const int64_t from = whole(set) ? 0 : range.begin;
      return tensors(set).parts[p].rows(s.begin - from, s.end - from);
    };
    each_tensor(p, range, [&](const FlatTensor& t, Share s) {
      AdamW o = adam;
      if (!t.spec.decay) o.weight_decay = 0;
      if (masters() == DType::kBF16) {
        const int64_t rank = t.spec.split == Split::kWhole ? 0 : ranks_->tensor().rank();
        o.rounding_key = rounding_key(t, adam.step);
        o.first = static_cast<uint32_t>(rank * t.elements() + s.begin - t.begin);
      }
      const Tensor copy = copies ? w_.copy.parts[p].rows(s.begin, s.end) : Tensor{};
      adamw(ctx_, of(Set::kMaster, s), copy, of(Set::kMoment1, s), of(Set::kMoment2, s), of(Set::kGradient, s), o);
    });
    // On their way while the optimizer goes on; the next forward pass waits where it needs them.
    if (level_ == 1 || level_ == 2) gathers_[p] = comm_->start_all_gather(w_.use_set().parts[p]);
  }
}

void Zero::zero_gradients() {
  for (const Tensor& g : grads_.parts)
    if (g.numel() > 0) puyu::fill(ctx_, g, 0);
}

void Zero::each_slice(Set set, bool own_only, const std::function<void(const Slice&)>& f) {
  for (size_t p = 0; p < layout_.parts.size(); ++p) {
    const bool piece = own_only || !whole(set);
    const Share range = piece ? share(p) : Share{0, layout_.parts[p]};
    const Tensor held = piece ? own(set, p) : tensors(set).parts[p];
    each_tensor(p, range, [&](const FlatTensor& t, Share s) {
      if (own_only && !counts(t)) return;
      each_stretch(t, s.begin - t.begin, held.rows(s.begin - range.begin, s.end - range.begin), f);
    });
  }
}

// `data` from element `begin` on of this rank's share of a tensor, as stretches of the model's tensor.
void Zero::each_stretch(const FlatTensor& t, int64_t begin, Tensor data,
                        const std::function<void(const Slice&)>& f) const {
  const FlatTensor& of_model = model_.tensors[of_model_[static_cast<size_t>(&t - layout_.tensors.data())]];
  if (!splits_tensors() || t.spec.split == Split::kWhole) return f({of_model, begin, data});
  const int64_t rank = ranks_->tensor().rank(), cols = t.spec.cols;
  if (t.spec.split == Split::kRows) return f({of_model, begin + rank * t.elements(), data});
  for (int64_t at = begin, end = begin + data.numel(); at < end;) {
    const int64_t row = at / cols, stop = std::min(end, (row + 1) * cols);
    f({of_model, row * of_model.spec.cols + rank * cols + at % cols, data.rows(at - begin, stop - begin)});
    at = stop;
  }
}

std::vector<std::pair<std::string, int64_t>> Zero::memory() const {
  std::vector<std::pair<std::string, int64_t>> out;
  for (const auto* s : {&w_.master, &w_.copy, &grads_, &m_, &v_})
    if (s->arena && s->arena->peak() > 0) out.emplace_back(s->arena->name(), s->arena->peak());
  for (const auto* p : {&weight_pool_, &gradient_pool_})
    if (p->arena && p->arena->peak() > 0) out.emplace_back(p->arena->name(), p->arena->peak());
  int64_t messages = comm_->buffer_bytes();
  if (splits_tensors()) messages += ranks_->tensor().buffer_bytes();
  if (messages > 0) out.emplace_back("messages", messages);
  return out;
}

}  // namespace puyu
