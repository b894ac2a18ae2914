// ZeRO (Rajbhandari et al. 2020): the weights, gradients and Adam moments of a model on the ranks that split its batch.
// A part of the model (embeddings, one block, head) is one flat array, and each rank owns a piece of it:
//
//   level   weights to compute with   f32 masters (bf16)   gradients           moments
//     0     whole                     whole                whole               whole
//     1     whole                     piece                whole               piece
//     2     whole                     piece                piece, summed as    piece
//                                                          each part is done
//     3     gathered for use,         piece                as 2                piece
//           released after
//
// Where tensor ranks split the tensors (train/tensor_parallel.h), "whole" is all of what this rank has of them, and the
// pieces are those of the ranks that have the same: data ranks, and those that share its sequences
// (train/sequence_parallel.h). Where pipeline ranks split the depth (train/pipeline.h), a rank has some of the parts
// and nothing of the others; tied embeddings are on the first and the last, who add up their gradients.
//
// The model sees none of it: it says when a part comes into use and when it is done with (PartWatch), and here its
// weights are gathered, the next part's being fetched meanwhile, and its gradients sent on while the part below
// computes. Sums are those of comm/comm.h, so levels 0 and 1 give the same bits, 2 and 3 too; all four where a rank has
// one micro-batch a step.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "model/model.h"
#include "train/tensor_parallel.h"

namespace puyu {

// Parts of a model whose gradient norms are told apart.
constexpr size_t kGradientGroups = 5;
const char* gradient_group_name(size_t group);  // "embeddings", "attention", "mlp", "norms", "head"
struct GradientSquares {
  double all = 0;
  std::array<double, kGradientGroups> groups{};
};

// How the training state is kept.
struct StateStorage {
  // bf16: only where the model computes in bf16. There is then no second copy of the weights: what computes is what the
  // optimizer updates, rounded stochastically (kernels.h, AdamW) by `seed`, step and place in the model.
  DType masters = DType::kF32;
  uint64_t seed = 0;
  std::string offload;  // a folder: Adam's moments lie in a file there (tensor/arena.h) instead of in memory
};

class Zero final : public PartWatch {
 public:
  // One process; the weights as they are.
  Zero(Weights whole, bool trainable);
  // A training state over `ranks`, whose world must outlive it. config: the whole model's. The weights are 0 until
  // fill().
  Zero(const ModelConfig& config, Head head, DType compute, std::shared_ptr<const Ranks> ranks, int level,
       StateStorage storage = {});
  Zero(const ModelConfig& config, Head head, DType compute, Comm& data_ranks, int level);
  ~Zero() override;
  Zero(Zero&&) noexcept;

  // f(tensor, its number, whole f32 tensor to write), one tensor at a time.
  using Fill = std::function<void(const FlatTensor& t, size_t index, Tensor whole)>;
  void fill(const Fill& f);
  void refresh_copies();  // bf16 from the masters, after these were read

  // What this rank computes with, a share of the model's heads, columns and vocabulary where tensor ranks split it.
  const Weights& weights() const { return w_; }
  Weights& weights() { return w_; }  // level 3: the tensors of use() are there in enter … leave only
  Model<Tensor>& gradients() { return grads_.tensors; }  // from level 2 on: likewise, in the backward pass
  bool trainable() const { return trainable_; }
  Comm& comm() const { return ranks_->world(); }  // all ranks
  const Ranks& ranks() const { return *ranks_; }
  int level() const { return level_; }
  ModelConfig config() const;                          // the whole model's
  const FlatLayout& layout() const { return model_; }  // its tensors
  DType masters() const { return storage_.masters; }
  const StateStorage& storage() const { return storage_; }

  // Before each micro-batch; last: the step's last, in which levels 0 and 1 sum the gradients.
  void begin_round(bool last) { last_round_ = last, whole_summed_ = false; }
  void enter(int64_t part, Use use) override;
  void leave(int64_t part, Use use) override;

  // After the last round, by all ranks. The norms are those of the summed gradients, each parameter counted once.
  GradientSquares squared_norms();
  void update(const AdamW& adam);  // adam.weight_decay: of the tensors that decay
  void zero_gradients();

  // A stretch of one tensor of the model in a set.
  enum class Set { kMaster, kMoment1, kMoment2, kGradient };
  struct Slice {
    const FlatTensor& tensor;
    int64_t begin;  // its first element in the tensor
    Tensor data;    // [n], f32; masters: masters()
  };
  // own: each element on one rank only (to write); else all that this rank holds (to read).
  void each_slice(Set set, bool own, const std::function<void(const Slice&)>& f);

  double wait_seconds() const { return wait_seconds_; }         // spent waiting for other ranks, since the beginning
  std::vector<std::pair<std::string, int64_t>> memory() const;  // bytes of each set on this rank

 private:
  // Buffers for a whole part, used again for parts of the same size.
  struct Pool {
    std::unique_ptr<Arena> arena;
    std::multimap<int64_t, Tensor> free;
    Tensor take(DType dtype, int64_t elements);
    void give_back(Tensor t) { free.emplace(t.numel(), t); }
  };
  struct Reduction {
    size_t part;
    Tensor buffer;  // none: the gradients are whole and stay where they are
    Pending work;
  };

  bool whole(Set set) const;
  // What computes is what the optimizer updates.
  bool masters_compute() const { return level_ <= 2 && w_.compute == masters(); }
  uint64_t rounding_key(const FlatTensor& t, int64_t step) const;
  TensorSet& tensors(Set set);
  TensorSet make_set(const std::string& name, DType dtype, bool whole, const std::string& folder = "") const;
  Share share(size_t part) const { return share_of(layout_.parts[part], comm_->rank(), comm_->size()); }
  bool splits_tensors() const { return ranks_->splits_tensors(); }
  // Of a tensor that all tensor ranks have: whether this rank is the one that counts and writes it.
  bool counts(const FlatTensor& t) const {
    if (t.part == 0 && only_head()) return false;
    return !splits_tensors() || t.spec.split != Split::kWhole || ranks_->tensor().rank() == 0;
  }
  void sum_whole_tensors();
  void sum_tied_embeddings();
  bool tied() const { return w_.config.tie_embeddings && w_.head == Head::kLanguage; }
  // The table is the head's alone: the first pipeline rank embeds, counts it and writes it.
  bool only_head() const { return ranks_->splits_depth() && !ranks_->first_stage(); }
  bool holds(size_t part) const;
  void keep_held_parts();
  void each_stretch(const FlatTensor& t, int64_t begin, Tensor data, const std::function<void(const Slice&)>& f) const;
  Tensor cut(Arena& arena, const FlatTensor& t, Tensor of_model) const;
  Tensor own(Set set, size_t part);  // this rank's piece
  void each_tensor(size_t part, Share range, const std::function<void(const FlatTensor&, Share)>& f) const;
  void point(Model<Tensor>& tensors, size_t part, Tensor flat) const;

  void start_gather(size_t part);
  void hold_weights(size_t part);
  void release_weights(size_t part);
  void hold_gradients(size_t part);
  void send_gradients(size_t part);
  void finish_oldest_reduction();
  void poll();
  void wait(Work& work);

  // In sets that are held in pieces, TensorSet::parts are the pieces, and `tensors` point to buffers while in use.
  Weights w_;
  TensorSet grads_, m_, v_;
  bool trainable_ = true;
  int level_ = 0;
  StateStorage storage_;
  std::shared_ptr<const Ranks> ranks_;
  Comm* comm_ = nullptr;  // ranks_->state()
  ModelConfig config_;
  FlatLayout model_, layout_;     // the whole model; this rank's share of it
  std::vector<size_t> of_model_;  // of each tensor of layout_: its number in model_
  std::vector<size_t> first_;     // of each part: its first tensor in layout_.tensors
  std::unique_ptr<Arena> scratch_;
  Ctx ctx_;

  Pool weight_pool_, gradient_pool_;
  std::vector<Pending> gathers_;    // weights of a part on their way
  std::vector<Tensor> gathered_;    // level 3: the buffer of a part in use or on its way
  std::vector<Tensor> collecting_;  // from level 2 on: the buffer of a part whose gradients are being computed
  std::vector<Reduction> reductions_;
  bool last_round_ = true, whole_summed_ = false;
  double wait_seconds_ = 0;
};

}  // namespace puyu
