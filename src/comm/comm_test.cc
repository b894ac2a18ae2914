// Every operation on 1, 2, 3, 4 and 8 ranks against the same sums done here, bit for bit; and what happens when a rank
// does not come.
#include "comm/comm.h"

#include <cmath>
#include <csignal>

#include "base/rng.h"
#include "comm/mpirun_test_util.h"

namespace puyu {
namespace {

using namespace test;

// What rank r has before an operation: known to every rank, so that each can work out the result.
std::vector<float> numbers_of(int rank, int64_t n) {
  Rng rng(7, static_cast<uint64_t>(rank));
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = static_cast<float>(rng.normal() * std::exp(8 * rng.normal()));  // additions do not commute
  return v;
}
std::vector<BF16> rounded(const std::vector<float>& v) {
  std::vector<BF16> out;
  for (float x : v) out.push_back(to_bf16(x));
  return out;
}
template <class T>
std::vector<T> typed(const std::vector<float>& v) {
  if constexpr (std::is_same_v<T, BF16>)
    return rounded(v);
  else
    return v;
}
bool same(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }
bool same(BF16 a, BF16 b) { return a.bits == b.bits; }

// The definition: over ranks in their order, in f32, rounded once.
template <class T>
std::vector<T> sum_of_all(int ranks, int64_t n) {
  std::vector<float> sum(static_cast<size_t>(n), 0);
  for (int r = 0; r < ranks; ++r) {
    const auto v = typed<T>(numbers_of(r, n));
    for (size_t i = 0; i < v.size(); ++i) sum[i] = r == 0 ? to_float(v[i]) : sum[i] + to_float(v[i]);
  }
  return typed<T>(sum);
}

constexpr int64_t kSizes[] = {0, 1, 63, 64, 65, 200, 512, 1000, 70001};

template <class T>
void check_sums(Comm& c) {
  for (int64_t n : kSizes) {
    const std::vector<T> want = sum_of_all<T>(c.size(), n);
    auto x = typed<T>(numbers_of(c.rank(), n));
    c.all_reduce(make_view(x.data(), n));
    for (size_t i = 0; i < x.size(); ++i) ASSERT_TRUE(same(x[i], want[i])) << n << " at " << i;

    const auto before = typed<T>(numbers_of(c.rank(), n));
    auto y = before;
    c.reduce_scatter(make_view(y.data(), n));
    const Share mine = share_of(n, c.rank(), c.size());
    for (int64_t i = 0; i < n; ++i) {
      const auto k = static_cast<size_t>(i);
      const bool in = mine.begin <= i && i < mine.end;
      ASSERT_TRUE(same(y[k], in ? want[k] : before[k])) << n << " at " << i;
    }
    c.all_gather(make_view(y.data(), n));
    for (size_t i = 0; i < y.size(); ++i) ASSERT_TRUE(same(y[i], want[i])) << n << " at " << i;
  }
}

void check_copies(Comm& c) {
  for (int root = 0; root < c.size(); ++root)
    for (int64_t n : kSizes) {
      auto x = numbers_of(c.rank(), n);
      c.broadcast(make_view(x.data(), n), root);
      EXPECT_EQ(x, numbers_of(root, n));
    }
  const int64_t rows = 3 * c.size();
  std::vector<int32_t> to(static_cast<size_t>(rows * 5)), out(to.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = c.rank() * 1000 + static_cast<int32_t>(i);
  c.all_to_all(make_view(to.data(), rows, 5), make_view(out.data(), rows, 5));
  for (int r = 0; r < c.size(); ++r)
    for (int i = 0; i < 15; ++i) EXPECT_EQ(to[r * 15 + i], r * 1000 + c.rank() * 15 + i);
}

// Messages around the ring, two on their way at a time, in order.
void check_point_to_point(Comm& c) {
  if (c.size() == 1) return;
  const int next = (c.rank() + 1) % c.size(), before = (c.rank() + c.size() - 1) % c.size();
  auto a = numbers_of(c.rank(), 70001), b = numbers_of(c.rank() + 100, 5);
  std::vector<float> in_a(a.size()), in_b(b.size());
  Pending s1 = c.start_send(make_view(a.data(), 70001), next), s2 = c.start_send(make_view(b.data(), 5), next);
  c.receive(make_view(in_a.data(), 70001), before);
  c.receive(make_view(in_b.data(), 5), before);
  s1->wait(), s2->wait();
  EXPECT_EQ(in_a, numbers_of(before, 70001));
  EXPECT_EQ(in_b, numbers_of(before + 100, 5));
}

// Many operations under way at once, done in another order than they were started.
void check_overlap(Comm& c) {
  constexpr int64_t n = 3001;
  std::vector<std::vector<float>> x;
  std::vector<Pending> work;
  for (int i = 0; i < 6; ++i) x.push_back(numbers_of(c.rank(), n));
  for (auto& v : x) work.push_back(c.start_all_reduce(make_view(v.data(), n)));
  while (!work.empty()) {
    work.back()->wait();
    work.pop_back();
  }
  for (const auto& v : x) EXPECT_EQ(v, sum_of_all<float>(c.size(), n));
}

void check_small_talk(Comm& c) {
  const auto words = gather_strings(c, std::string(static_cast<size_t>(c.rank()), 'x'));
  for (int r = 0; r < c.size(); ++r) EXPECT_EQ(words[r], std::string(static_cast<size_t>(r), 'x'));
  double v[] = {0.1 * c.rank(), 1};
  sum_over_ranks(c, v);
  double want = 0;
  for (int r = 0; r < c.size(); ++r) want += 0.1 * r;
  EXPECT_EQ(v[0], want);
  EXPECT_EQ(v[1], c.size());
  EXPECT_FALSE(any_rank(c, false));
  EXPECT_TRUE(any_rank(c, c.rank() == c.size() - 1));
  together(c, [] {});
  auto error = [&](const auto& f) -> std::string {
    try {
      together(c, f);
    } catch (const Error& e) { return e.what(); }
    return "";
  };
  EXPECT_EQ(error([] { fail("all of us"); }), "all of us");
  const std::string full = error([&] {
    if (c.rank() == 1) fail("the disk is full");
  });
  EXPECT_EQ(full, c.size() > 1 ? "[rank 1] the disk is full" : "");
  c.barrier();
}

void check_all(Comm& c) {
  check_sums<float>(c);
  check_sums<BF16>(c);
  check_copies(c);
  check_point_to_point(c);
  check_overlap(c);
  check_small_talk(c);
}

TEST(Comm, TheGroupOfOne) { check_all(*self_comm()); }

TEST(Comm, SeveralProcessesWithoutMpiAreRefusedWithWhatToInstall) {
  if (mpi_built_in()) GTEST_SKIP() << "this program was built with MPI";
  setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
  try {
    world_comm();
    ADD_FAILURE() << "four groups of one";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("4 processes were started together"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("libopenmpi-dev"), std::string::npos) << e.what();
  }
  unsetenv("OMPI_COMM_WORLD_SIZE");
}

TEST(Comm, SharesCoverEverythingOnceAndAreAligned) {
  for (int64_t n : kSizes)
    for (int ranks : {1, 2, 3, 8, 100}) {
      int64_t at = 0;
      for (int r = 0; r < ranks; ++r) {
        const Share p = share_of(n, r, ranks);
        EXPECT_EQ(p.begin, at);
        EXPECT_GE(p.size(), 0);
        EXPECT_TRUE(p.end == n || p.end % 64 == 0);
        at = p.end;
      }
      EXPECT_EQ(at, n);
    }
}

// The work of one rank; started by the tests below.
TEST(CommChild, Operations) {
  if (!std::getenv("PUYU_RANKS_CHILD")) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  ASSERT_EQ(world.size(), std::atoi(std::getenv("PUYU_RANKS_CHILD")));
  EXPECT_EQ(world.ranks_on_node(), world.size());
  check_all(world);
  const auto half = world.split(world.rank() % 2);
  EXPECT_EQ(half->size(), (world.size() + 1 - world.rank() % 2) / 2);
  EXPECT_EQ(half->rank(), world.rank() / 2);
  check_all(*half);
  world.barrier();
}

class CommRanks : public ::testing::TestWithParam<int> {};
TEST_P(CommRanks, OperationsAreTheSumsAndCopiesTheySay) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  const Ran r = run_on_ranks(GetParam(), "CommChild.Operations", std::to_string(GetParam()));
  EXPECT_EQ(r.code, 0) << r.output;
  EXPECT_NE(r.output.find("PASSED"), std::string::npos) << r.output;
}
INSTANTIATE_TEST_SUITE_P(Ranks, CommRanks, ::testing::Values(2, 3, 4, 8),
                         [](const auto& i) { return std::to_string(i.param) + "Ranks"; });

// Rank 1 dies (kill) or stops for good; the others wait for it, all, or rank 0 alone for a message of one kind.
TEST(CommChild, OneDoesNotCome) {
  const char* how = std::getenv("PUYU_RANKS_CHILD");
  if (!how) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  world.barrier();
  world.set_patience(1);
  if (world.rank() == 1) ::raise(std::string_view(how) == "kill" ? SIGKILL : SIGSTOP);
  try {
    constexpr int64_t n = 1 << 20;  // more than MPI takes ahead
    std::vector<float> x(n);
    const Tensor t = make_view(x.data(), n);
    if (std::string_view(how) == "send" && world.rank() == 0) world.send(t, 1);
    if (std::string_view(how) == "receive" && world.rank() == 0) world.receive(t, 1);
    world.all_reduce(t.rows(0, 1000));
    ADD_FAILURE() << "a sum without one of its ranks";
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    world.abort(1);
  }
}

TEST(CommRanks, ARankThatStopsIsNamed) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  const Ran r = run_on_ranks(3, "CommChild.OneDoesNotCome", "stop");
  EXPECT_NE(r.code, 0);
  EXPECT_NE(r.output.find("all_reduce: nothing came from rank 1 for 1 s"), std::string::npos) << r.output;
}

TEST(CommRanks, APartnerThatStopsIsNamed) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  Ran r = run_on_ranks(2, "CommChild.OneDoesNotCome", "send");
  EXPECT_NE(r.output.find("send: rank 1 has not taken what was sent for 1 s"), std::string::npos) << r.output;
  r = run_on_ranks(2, "CommChild.OneDoesNotCome", "receive");
  EXPECT_NE(r.output.find("receive: nothing came from rank 1 for 1 s"), std::string::npos) << r.output;
}

TEST(CommRanks, ARankThatIsKilledEndsTheJobWithItsName) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  const Ran r = run_on_ranks(3, "CommChild.OneDoesNotCome", "kill");
  EXPECT_NE(r.code, 0);
  EXPECT_NE(r.output.find("process rank 1"), std::string::npos) << r.output;
  EXPECT_NE(r.output.find("signal 9"), std::string::npos) << r.output;
}

}  // namespace
}  // namespace puyu
