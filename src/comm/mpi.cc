// Collectives out of MPI's point-to-point messages, not MPI's own: their order of additions is the library's choice,
// and they cannot tell which rank they wait for. Each rank sends every other one its piece directly, so a reduction
// moves 2 (n - 1) / n of the tensor through each rank, the least there is, and adds in the order of ranks.
#include "comm/mpi.h"

#define OMPI_SKIP_MPICXX 1  // the C interface only: MPI's C++ bindings are a library that is not always there
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <list>
#include <utility>

// What the leak sanitizer asks at the end of a process. OpenMPI keeps memory, and unloads its plug-ins before, so that
// scripts/lsan.supp cannot name them: ranks are not looked at.
extern "C" int __lsan_is_turned_off();  // NOLINT(bugprone-reserved-identifier)
int __lsan_is_turned_off() { return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr; }  // NOLINT

namespace puyu {
namespace {
using Clock = std::chrono::steady_clock;

constexpr int64_t kMessage = int64_t{1} << 30;  // MPI counts are 32-bit
constexpr int kPointToPoint = 0;                // tag; collectives count upwards from 1
constexpr int kTags = 32000;                    // every MPI has at least 32,767

// Memory for messages that arrive, kept from one operation to the next.
class Buffers {
 public:
  char* take(int64_t bytes) {
    Buffer* best = nullptr;
    for (Buffer& b : list_)
      if (!b.used && b.size >= bytes && (!best || b.size < best->size)) best = &b;
    if (!best) {
      list_.remove_if([&](const Buffer& b) { return !b.used; });  // all are too small
      list_.push_back({std::make_unique<char[]>(static_cast<size_t>(bytes)), bytes});
      best = &list_.back();
    }
    best->used = true;
    return best->data.get();
  }
  void give_back(const char* p) {
    for (Buffer& b : list_)
      if (b.data.get() == p) b.used = false;
  }
  int64_t bytes() const {
    int64_t n = 0;
    for (const Buffer& b : list_) n += b.size;
    return n;
  }

 private:
  struct Buffer {
    std::unique_ptr<char[]> data;
    int64_t size;
    bool used = false;
  };
  std::list<Buffer> list_;
};

struct Group {
  MPI_Comm comm;
  int rank, size;
  std::vector<int> world_ranks;  // for messages: ranks as mpirun numbers them
  double patience = 600;
  Buffers buffers;
};

// Messages of one stage; when they are there, `next` does what follows and may post another stage.
class MpiWork final : public Work {
 public:
  MpiWork(Group& g, const char* name, int tag) : g_(g), name_(name), tag_(tag) {}
  ~MpiWork() override {
    if (!done_ && std::uncaught_exceptions() == 0) MpiWork::wait();
    // On the way to the program's end the messages are still MPI's: their memory stays.
    if (done_ && buffer_) g_.buffers.give_back(buffer_);
  }
  MpiWork(const MpiWork&) = delete;
  MpiWork& operator=(const MpiWork&) = delete;

  void post_send(const void* data, int64_t bytes, int to) {
    each_message(bytes, [&](int64_t at, int n) {
      MPI_Isend(static_cast<const char*>(data) + at, n, MPI_BYTE, to, tag_, g_.comm, add(~to));
    });
  }
  void post_receive(void* data, int64_t bytes, int from) {
    each_message(bytes, [&](int64_t at, int n) {
      MPI_Irecv(static_cast<char*>(data) + at, n, MPI_BYTE, from, tag_, g_.comm, add(from));
    });
  }
  char* buffer(int64_t bytes) { return buffer_ = g_.buffers.take(bytes); }
  void then(std::function<void()> next) { next_ = std::move(next); }

  bool poll() override {
    while (!done_) {
      int all = 0;
      MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all, MPI_STATUSES_IGNORE);
      if (!all) return false;
      requests_.clear(), peers_.clear();
      if (auto next = std::exchange(next_, nullptr))
        next();
      else
        done_ = true;
    }
    return true;
  }
  void wait() override {
    const auto begin = Clock::now();
    for (int64_t i = 0; !poll(); ++i) {
      // Others need the core too. Short messages take microseconds, a slow rank takes milliseconds.
      if (i < 200)
        sched_yield();
      else
        ::usleep(static_cast<useconds_t>(std::min<int64_t>(i - 199, 200)));
      if (i % 64 == 63 && std::chrono::duration<double>(Clock::now() - begin).count() > g_.patience) give_up();
    }
  }

 private:
  template <class F>
  void each_message(int64_t bytes, F&& f) {
    for (int64_t at = 0; at < bytes; at += kMessage) f(at, static_cast<int>(std::min(kMessage, bytes - at)));
  }
  MPI_Request* add(int peer) {
    peers_.push_back(peer);
    return &requests_.emplace_back(MPI_REQUEST_NULL);
  }
  [[noreturn]] void give_up() {
    std::vector<int> silent, full;  // whose messages have not come; who has not taken ours
    for (size_t i = 0; i < requests_.size(); ++i) {
      int done = 0;
      MPI_Test(&requests_[i], &done, MPI_STATUS_IGNORE);
      const bool from = peers_[i] >= 0;
      if (!done) (from ? silent : full).push_back(g_.world_ranks[static_cast<size_t>(from ? peers_[i] : ~peers_[i])]);
    }
    if (silent.empty())
      fail("[comm] ", name_, ": rank ", list(full), " has not taken what was sent for ", g_.patience,
           " s; it hangs or has died");
    fail("[comm] ", name_, ": nothing came from rank ", list(silent), " for ", g_.patience, " s; it hangs or has died");
  }
  static std::string list(std::vector<int> ranks) {
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    std::string out;
    for (int r : ranks) out += (out.empty() ? "" : ", ") + std::to_string(r);
    return out;
  }

  Group& g_;
  const char* name_;
  int tag_;
  bool done_ = false;
  char* buffer_ = nullptr;
  std::vector<MPI_Request> requests_;
  std::vector<int> peers_;  // of each request: the rank it comes from, or ~ the rank it goes to
  std::function<void()> next_;
};

float read(float v) { return v; }
float read(BF16 v) { return to_float(v); }
void store(float& to, float v) { to = v; }
void store(BF16& to, float v) { to = to_bf16(v); }

// mine = from[0] + from[1] + … in this order, in f32.
template <class T>
void add_in_order(T* mine, const std::vector<const T*>& from, int64_t n) {
  constexpr int64_t kBlock = 1024;
#pragma omp parallel for schedule(static) if (n > 64 * kBlock)
  for (int64_t b = 0; b < n; b += kBlock) {
    const int64_t count = std::min(kBlock, n - b);
    float sum[kBlock];
    for (int64_t i = 0; i < count; ++i) sum[i] = read(from[0][b + i]);
    for (size_t r = 1; r < from.size(); ++r) {
      const T* p = from[r] + b;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) sum[i] += read(p[i]);
    }
    for (int64_t i = 0; i < count; ++i) store(mine[b + i], sum[i]);
  }
}

class MpiComm final : public Comm {
 public:
  MpiComm(MPI_Comm comm, bool owns_mpi, double patience) : owns_mpi_(owns_mpi) {
    g_.comm = comm, g_.patience = patience;
    MPI_Comm_rank(comm, &g_.rank);
    MPI_Comm_size(comm, &g_.size);
    int world = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &world);
    g_.world_ranks.resize(static_cast<size_t>(g_.size));
    MPI_Allgather(&world, 1, MPI_INT, g_.world_ranks.data(), 1, MPI_INT, comm);
  }
  ~MpiComm() override {
    if (std::uncaught_exceptions() > 0) return;  // the program ends by abort()
    MPI_Comm_free(&g_.comm);
    if (owns_mpi_) MPI_Finalize();
  }

  int rank() const override { return g_.rank; }
  int size() const override { return g_.size; }

  Pending start_all_reduce(Tensor x) override {
    auto work = start("all_reduce");
    post_reduction(*work, x, [this, w = work.get(), x] { post_gather(*w, x); });
    return work;
  }
  Pending start_reduce_scatter(Tensor x) override {
    auto work = start("reduce_scatter");
    post_reduction(*work, x, {});
    return work;
  }
  Pending start_all_gather(Tensor x) override {
    auto work = start("all_gather");
    post_gather(*work, x);
    return work;
  }
  // A binomial tree: in round k the first 2^k ranks (counted from root) have it.
  Pending start_broadcast(Tensor x, int root) override {
    auto work = start("broadcast");
    const int n = g_.size, me = (g_.rank - root + n) % n;
    const int low = me == 0 ? n : me & -me;  // the sender's distance: the lowest bit of me
    auto send = [this, w = work.get(), x, n, me, low, root] {
      for (int d = 1; d < low && me + d < n; d *= 2) w->post_send(x.data, x.nbytes(), (me + d + root) % n);
    };
    if (me == 0) {
      send();
    } else {
      work->post_receive(x.data, x.nbytes(), (me - low + root) % n);
      work->then(send);
    }
    return work;
  }
  Pending start_all_to_all(Tensor to, Tensor from) override {
    CHECK(to.nbytes() == from.nbytes() && to.size(0) % g_.size == 0);
    auto work = start("all_to_all");
    const int64_t share = to.nbytes() / g_.size;
    auto *out = static_cast<char*>(to.data), *in = static_cast<char*>(from.data);
    each_other([&](int r) {
      work->post_receive(out + r * share, share, r);
      work->post_send(in + r * share, share, r);
    });
    std::memcpy(out + g_.rank * share, in + g_.rank * share, static_cast<size_t>(share));
    return work;
  }
  Pending start_send(Tensor x, int to) override {
    CHECK(to >= 0 && to < g_.size && to != g_.rank);
    auto work = std::make_unique<MpiWork>(g_, "send", kPointToPoint);
    work->post_send(x.data, x.nbytes(), to);
    return work;
  }
  Pending start_receive(Tensor x, int from) override {
    CHECK(from >= 0 && from < g_.size && from != g_.rank);
    auto work = std::make_unique<MpiWork>(g_, "receive", kPointToPoint);
    work->post_receive(x.data, x.nbytes(), from);
    return work;
  }
  void barrier() override {
    auto work = start("barrier");
    std::vector<char> flags(static_cast<size_t>(g_.size));
    each_other([&](int r) {
      work->post_receive(&flags[static_cast<size_t>(r)], 1, r);
      work->post_send(&flags[static_cast<size_t>(g_.rank)], 1, r);
    });
    work->wait();
  }

  std::unique_ptr<Comm> split(int color) override {
    MPI_Comm part{};
    MPI_Comm_split(g_.comm, color, g_.rank, &part);
    return std::make_unique<MpiComm>(part, false, g_.patience);
  }
  int64_t buffer_bytes() const override { return g_.buffers.bytes(); }
  int ranks_on_node() const override {
    MPI_Comm node{};
    int n = 0;
    MPI_Comm_split_type(g_.comm, MPI_COMM_TYPE_SHARED, g_.rank, MPI_INFO_NULL, &node);
    MPI_Comm_size(node, &n);
    MPI_Comm_free(&node);
    return n;
  }
  void set_patience(double seconds) override { g_.patience = seconds; }
  [[noreturn]] void abort(int code) override {
    MPI_Abort(MPI_COMM_WORLD, code);
    std::_Exit(code);
  }

 private:
  std::unique_ptr<MpiWork> start(const char* name) {
    return std::make_unique<MpiWork>(g_, name, 1 + static_cast<int>(started_++ % kTags));
  }
  // The ranks after this one first, so that not all begin with rank 0.
  template <class F>
  void each_other(F&& f) {
    for (int i = 1; i < g_.size; ++i) f((g_.rank + i) % g_.size);
  }
  static char* at(Tensor x, int64_t element) { return static_cast<char*>(x.data) + element * dtype_size(x.dtype); }

  void post_gather(MpiWork& work, Tensor x) {
    const Share mine = share_of(x.numel(), g_.rank, g_.size);
    each_other([&](int r) {
      const Share p = share_of(x.numel(), r, g_.size);
      work.post_receive(at(x, p.begin), p.size() * dtype_size(x.dtype), r);
      work.post_send(at(x, mine.begin), mine.size() * dtype_size(x.dtype), r);
    });
  }
  void post_reduction(MpiWork& work, Tensor x, std::function<void()> after) {
    CHECK(x.dtype == DType::kF32 || x.dtype == DType::kBF16);
    const Share mine = share_of(x.numel(), g_.rank, g_.size);
    const int64_t bytes = mine.size() * dtype_size(x.dtype);
    char* in = work.buffer(bytes * g_.size);
    each_other([&](int r) {
      const Share p = share_of(x.numel(), r, g_.size);
      work.post_receive(in + r * bytes, bytes, r);
      work.post_send(at(x, p.begin), p.size() * dtype_size(x.dtype), r);
    });
    work.then([this, x, mine, bytes, in, after = std::move(after)] {
      if (x.dtype == DType::kF32)
        add<float>(x, mine, in, bytes);
      else
        add<BF16>(x, mine, in, bytes);
      if (after) after();
    });
  }
  template <class T>
  void add(Tensor x, Share mine, const char* in, int64_t bytes) const {
    T* own = x.as<T>() + mine.begin;
    std::vector<const T*> from;
    for (int r = 0; r < g_.size; ++r) from.push_back(r == g_.rank ? own : reinterpret_cast<const T*>(in + r * bytes));
    add_in_order(own, from, mine.size());
  }

  Group g_;
  bool owns_mpi_;
  int64_t started_ = 0;
};

}  // namespace

bool mpi_built_in() { return true; }

std::unique_ptr<Comm> mpi_world() {
  int have = 0;
  MPI_Initialized(&have);
  CHECK(!have, "world_comm() is called once");
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &have);
  MPI_Comm world{};
  MPI_Comm_dup(MPI_COMM_WORLD, &world);
  return std::make_unique<MpiComm>(world, true, 600);
}

}  // namespace puyu
