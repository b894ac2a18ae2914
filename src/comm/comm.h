// The seam between ranks: what data, tensor and pipeline parallel training say to each other. A Comm is a group of
// ranks; self.cc is the group of one, mpi.cc speaks MPI. Everything is a sum or a copy of tensors, so a result depends
// on the group's size alone: sums run in f32, over ranks 0, 1, 2 … in this order, rounded to the tensor's type once
// (docs/adr/0006-ranks.md).
//
// Operations are started and then waited for, so that arithmetic goes on between the two. All ranks of a group must
// start the same operations in the same order. A rank that has waited longer than the group's patience gets an Error
// that names the ranks it has heard nothing from.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "tensor/tensor.h"

namespace puyu {

// Elements [begin, end) of n that belong to one of `ranks` ranks, its piece: equal pieces of a multiple of 64 elements,
// the last ones shorter or empty.
struct Share {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const Share&) const = default;
};
Share share_of(int64_t n, int rank, int ranks);

// An operation under way. Its tensors belong to it until it is done; who destroys it early waits for it.
class Work {
 public:
  virtual ~Work() = default;
  virtual bool poll() = 0;  // moves it on; true when it is done
  virtual void wait() = 0;
};
using Pending = std::unique_ptr<Work>;
double timed_wait(Work& work);  // the seconds it took

class Comm {
 public:
  virtual ~Comm() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // x = sum over ranks of x.   x: f32 or bf16
  virtual Pending start_all_reduce(Tensor x) = 0;
  // This rank's piece of x = sum over ranks of that piece; the rest of x is left as it was.   x: f32 or bf16
  virtual Pending start_reduce_scatter(Tensor x) = 0;
  // Every piece of x = that piece on the rank it belongs to.
  virtual Pending start_all_gather(Tensor x) = 0;
  // x = x on the rank `root`.
  virtual Pending start_broadcast(Tensor x, int root) = 0;
  // Rows of `to` that came from rank r = rows that rank r had for this rank, in equal shares: shape[0] is a multiple of
  // size().   to, from: of one shape, not the same memory
  virtual Pending start_all_to_all(Tensor to, Tensor from) = 0;
  // One tensor from one rank to another; between two ranks they arrive in the order they were sent.
  virtual Pending start_send(Tensor x, int to) = 0;
  virtual Pending start_receive(Tensor x, int from) = 0;
  // No rank leaves before every rank has come.
  virtual void barrier() = 0;

  // The ranks that give the same color, ordered by their rank here. Every rank of this group must call it.
  virtual std::unique_ptr<Comm> split(int color) = 0;
  virtual int64_t buffer_bytes() const = 0;  // memory held for messages
  virtual int ranks_on_node() const = 0;     // of this group, on this machine
  virtual void set_patience(double seconds) = 0;
  // Ends the program on every rank with exit code `code`.
  [[noreturn]] virtual void abort(int code) = 0;

  void all_reduce(Tensor x) { start_all_reduce(x)->wait(); }
  void reduce_scatter(Tensor x) { start_reduce_scatter(x)->wait(); }
  void all_gather(Tensor x) { start_all_gather(x)->wait(); }
  void broadcast(Tensor x, int root) { start_broadcast(x, root)->wait(); }
  void all_to_all(Tensor to, Tensor from) { start_all_to_all(to, from)->wait(); }
  void send(Tensor x, int to) { start_send(x, to)->wait(); }
  void receive(Tensor x, int from) { start_receive(x, from)->wait(); }
};

std::unique_ptr<Comm> self_comm();
// All processes that mpirun or srun started together; the group of one for a process that was started alone. Error when
// there are several and this program was built without MPI. Once in a process, on the main thread.
std::unique_ptr<Comm> world_comm();

// Small things that ranks tell each other.
std::vector<std::string> gather_strings(Comm& comm, const std::string& mine);  // one from each rank
void sum_over_ranks(Comm& comm, std::span<double> values);                     // in the order of ranks
bool any_rank(Comm& comm, bool mine);
// Throws on every rank when one of them has an error (mine != ""): "[rank 2] …". An error that all share is said
// plainly.
void fail_together(Comm& comm, const std::string& mine);

// Runs f on every rank; what one of them throws as an Error, all of them throw.
template <class F>
void together(Comm& comm, F&& f) {
  std::string error;
  try {
    f();
  } catch (const Error& e) { error = e.what(); }
  fail_together(comm, error);
}

}  // namespace puyu
