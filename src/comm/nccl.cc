#include "comm/nccl.h"

#include <cuda_runtime_api.h>
#include <nccl.h>
#include <sched.h>

#include <chrono>
#include <cstring>

namespace puyu {
namespace {

void check(cudaError_t e, const char* what) {
  if (e != cudaSuccess) [[unlikely]]
    fail("[nccl] ", what, ": ", cudaGetErrorString(e));
}
void check(ncclResult_t r, const char* what) {
  if (r != ncclSuccess && r != ncclInProgress) [[unlikely]]
    fail("[nccl] ", what, ": ", ncclGetErrorString(r), "; NCCL_DEBUG=INFO says more");
}
cudaStream_t raw(Stream s) { return static_cast<cudaStream_t>(s); }

// How an element travels: sums need its type, copies only its bytes.
ncclDataType_t type_of(const Tensor& x) {
  CHECK(x.dtype == DType::kF32 || x.dtype == DType::kBF16, "sums over ranks: f32 or bf16");
  return x.dtype == DType::kF32 ? ncclFloat32 : ncclBfloat16;
}
char* at(const Tensor& x, int64_t element) { return static_cast<char*>(x.data) + element * dtype_size(x.dtype); }
size_t bytes_of(const Tensor& x, const Share& s) { return static_cast<size_t>(s.size() * dtype_size(x.dtype)); }

class Queued final : public Work {
 public:
  Queued(cudaStream_t messages, cudaStream_t compute) : compute_(compute) {
    check(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming), "event");
    check(cudaEventRecord(done_, messages), "event");
  }
  ~Queued() override {
    if (!waited_) cudaStreamWaitEvent(compute_, done_, 0);
    cudaEventDestroy(done_);
  }
  bool poll() override {
    const cudaError_t e = cudaEventQuery(done_);
    if (e == cudaErrorNotReady) return false;
    check(e, "a message failed");
    return true;
  }
  void wait() override {
    check(cudaStreamWaitEvent(compute_, done_, 0), "event");
    waited_ = true;
  }

 private:
  cudaStream_t compute_;
  cudaEvent_t done_ = nullptr;
  bool waited_ = false;
};

class NcclComm final : public Comm {
 public:
  NcclComm(std::unique_ptr<Comm> host, Stream compute) : host_(std::move(host)), compute_(raw(compute)) {}
  ~NcclComm() override {
    if (comm_) ncclCommDestroy(comm_);
    if (stream_) cudaStreamDestroy(stream_);
  }
  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }

  Pending start_all_reduce(Tensor x) override {
    if (x.device == Device::kCpu) return host_->start_all_reduce(x);
    return queue([&] {
      check(ncclAllReduce(x.data, x.data, static_cast<size_t>(x.numel()), type_of(x), ncclSum, comm_, stream_), "sum");
    });
  }
  // Pieces may be of different sizes, so each rank's is a message of its own; NCCL sends a group of them at once.
  Pending start_reduce_scatter(Tensor x) override {
    if (x.device == Device::kCpu) return host_->start_reduce_scatter(x);
    return each_piece(x, [&](int r, const Share& s) {
      check(ncclReduce(at(x, s.begin), at(x, s.begin), static_cast<size_t>(s.size()), type_of(x), ncclSum, r, comm_,
                       stream_),
            "sum");
    });
  }
  Pending start_all_gather(Tensor x) override {
    if (x.device == Device::kCpu) return host_->start_all_gather(x);
    return each_piece(x, [&](int r, const Share& s) {
      check(ncclBroadcast(at(x, s.begin), at(x, s.begin), bytes_of(x, s), ncclUint8, r, comm_, stream_), "gather");
    });
  }
  Pending start_broadcast(Tensor x, int root) override {
    if (x.device == Device::kCpu) return host_->start_broadcast(x, root);
    return queue([&] {
      check(ncclBroadcast(x.data, x.data, static_cast<size_t>(x.nbytes()), ncclUint8, root, comm_, stream_),
            "broadcast");
    });
  }
  Pending start_all_to_all(Tensor to, Tensor from) override {
    if (to.device == Device::kCpu) return host_->start_all_to_all(to, from);
    CHECK(to.nbytes() == from.nbytes() && to.shape[0] % size() == 0, "all_to_all: equal shares of rows");
    const int64_t share = to.nbytes() / size();
    return grouped([&] {
      for (int r = 0; r < size(); ++r) {
        const auto n = static_cast<size_t>(share);
        check(ncclSend(static_cast<char*>(from.data) + r * share, n, ncclUint8, r, comm_, stream_), "send");
        check(ncclRecv(static_cast<char*>(to.data) + r * share, n, ncclUint8, r, comm_, stream_), "receive");
      }
    });
  }
  Pending start_send(Tensor x, int to) override {
    if (x.device == Device::kCpu) return host_->start_send(x, to);
    return queue(
        [&] { check(ncclSend(x.data, static_cast<size_t>(x.nbytes()), ncclUint8, to, comm_, stream_), "send"); });
  }
  Pending start_receive(Tensor x, int from) override {
    if (x.device == Device::kCpu) return host_->start_receive(x, from);
    return queue(
        [&] { check(ncclRecv(x.data, static_cast<size_t>(x.nbytes()), ncclUint8, from, comm_, stream_), "receive"); });
  }
  void barrier() override {
    if (stream_) wait_for_messages();
    host_->barrier();
  }
  std::unique_ptr<Comm> split(int color) override { return nccl_comm(host_->split(color), compute_); }
  int64_t buffer_bytes() const override { return host_->buffer_bytes(); }  // NCCL does not say what it holds
  int ranks_on_node() const override { return host_->ranks_on_node(); }
  void set_patience(double seconds) override { patience_ = seconds, host_->set_patience(seconds); }
  [[noreturn]] void abort(int code) override {
    if (comm_) ncclCommAbort(comm_);
    host_->abort(code);
  }

 private:
  // NCCL's own start: rank 0 makes a name, the others are told.
  void start() {
    if (comm_) return;
    int gpus = 0;
    check(cudaGetDeviceCount(&gpus), "no GPU that this process can use");
    const int on_node = rank() % host_->ranks_on_node();
    if (on_node >= gpus)
      fail("[nccl] rank ", rank(), " is number ", on_node, " on this machine, which has ", gpus,
           " GPUs; start one rank a GPU");
    check(cudaSetDevice(on_node), "cannot use the GPU");
    ncclUniqueId id{};
    if (rank() == 0) check(ncclGetUniqueId(&id), "cannot start");
    host_->broadcast(make_view(reinterpret_cast<unsigned char*>(&id), static_cast<int64_t>(sizeof id)), 0);
    check(ncclCommInitRank(&comm_, size(), id, rank()), "cannot join");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cannot make a stream");
  }
  // What `send` queues comes after all that the compute stream has now.
  template <class F>
  Pending queue(F&& send) {
    start();
    cudaEvent_t made = nullptr;
    check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "event");
    check(cudaEventRecord(made, compute_), "event");
    check(cudaStreamWaitEvent(stream_, made, 0), "event");
    check(cudaEventDestroy(made), "event");
    send();
    return std::make_unique<Queued>(stream_, compute_);
  }
  template <class F>
  Pending grouped(F&& messages) {
    return queue([&] {
      check(ncclGroupStart(), "group");
      messages();
      check(ncclGroupEnd(), "group");
    });
  }
  template <class F>
  Pending each_piece(const Tensor& x, F&& message) {
    return grouped([&] {
      for (int r = 0; r < size(); ++r)
        if (const Share s = share_of(x.numel(), r, size()); s.size() > 0) message(r, s);
    });
  }
  void wait_for_messages() {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    for (;;) {
      const cudaError_t e = cudaStreamQuery(stream_);
      if (e == cudaSuccess) return;
      if (e != cudaErrorNotReady) check(e, "a message failed");
      ncclResult_t state = ncclSuccess;
      check(ncclCommGetAsyncError(comm_, &state), "state");
      check(state, "a message failed");
      if (patience_ > 0 && std::chrono::duration<double>(Clock::now() - start).count() > patience_)
        fail("[nccl] rank ", rank(), " waited ", patience_, " s for the other ", size() - 1, " ranks");
      sched_yield();
    }
  }

  std::unique_ptr<Comm> host_;
  cudaStream_t compute_;
  cudaStream_t stream_ = nullptr;
  ncclComm_t comm_ = nullptr;
  double patience_ = 0;
};

}  // namespace

bool nccl_built_in() { return true; }
std::unique_ptr<Comm> nccl_comm(std::unique_ptr<Comm> host, Stream compute) {
  return std::make_unique<NcclComm>(std::move(host), compute);
}

}  // namespace puyu
