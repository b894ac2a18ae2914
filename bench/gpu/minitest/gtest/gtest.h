// The few things of googletest that src/kernels/kernels_test.cc uses, for a bare CUDA machine that has no googletest:
// the same rows run there. Only bench/gpu builds with this folder in its include path.
//   gpu_check [--only=PART] [--skip=PART]: tests whose name holds PART; exit code 1 when one fails
#pragma once
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace testing {

struct Message {
  std::ostringstream text;
  template <class T>
  Message& operator<<(const T& v) {
    if constexpr (requires { v.text.str(); })
      text << v.text.str();
    else if constexpr (requires { text << v; })
      text << v;
    return *this;
  }
};

struct State {
  bool failed = false, skipped = false;
  std::vector<std::string> traces;
};
inline State& state() {
  static State s;
  return s;
}

// Receives what the test says about a failure, and prints it.
struct Report {
  const char* file;
  int line;
  std::string what;
  bool skip = false;
  void operator=(const Message& m) const {
    std::printf("%s:%d: %s: %s\n", file, line, skip ? "Skipped" : what.c_str(), m.text.str().c_str());
    for (const std::string& t : state().traces) std::printf("  at %s\n", t.c_str());
    (skip ? state().skipped : state().failed) = true;
  }
};
struct Trace {
  explicit Trace(const Message& m) { state().traces.push_back(m.text.str()); }
  ~Trace() { state().traces.pop_back(); }
};

class Test {
 public:
  virtual ~Test() = default;
  virtual void SetUp() {}
  virtual void TearDown() {}
  virtual void TestBody() = 0;
};
template <class P>
class TestWithParam : public Test {
 public:
  using ParamType = P;
  static const P& GetParam() { return *current(); }
  static const P*& current() {
    static const P* p = nullptr;
    return p;
  }
};

struct Case {
  std::string name;
  std::function<Test*()> make;
};
inline std::map<std::string, std::vector<Case>>& cases() {  // of each fixture
  static std::map<std::string, std::vector<Case>> c;
  return c;
}
inline std::vector<std::function<void(const std::function<void(const std::string&, const std::function<Test*()>&)>&)>>&
suites() {
  static std::vector<std::function<void(const std::function<void(const std::string&, const std::function<Test*()>&)>&)>>
      s;
  return s;
}
inline bool add_case(const char* fixture, const char* name, std::function<Test*()> make) {
  cases()[fixture].push_back({name, std::move(make)});
  return true;
}
template <class P>
struct ParamInfo {
  P param;
  size_t index;
};
template <class T>
std::vector<T> ValuesIn(std::vector<T> v) {
  return v;
}
template <class Fixture, class Name>
bool add_suite(const char* fixture, std::vector<typename Fixture::ParamType> params, Name name) {
  suites().push_back([=](const auto& run) {
    for (size_t i = 0; i < params.size(); ++i)
      for (const Case& c : cases()[fixture]) {
        Fixture::current() = &params[i];
        run(c.name + "/" + name(ParamInfo<typename Fixture::ParamType>{params[i], i}), c.make);
      }
  });
  return true;
}

inline int run_all(int argc, char** argv) {
  std::string only, skip;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--only=", 7) == 0) only = argv[i] + 7;
    if (std::strncmp(argv[i], "--skip=", 7) == 0) skip = argv[i] + 7;
  }
  int passed = 0, failed = 0, skipped = 0;
  for (const auto& suite : suites())
    suite([&](const std::string& name, const std::function<Test*()>& make) {
      if (name.find(only) == std::string::npos || (!skip.empty() && name.find(skip) != std::string::npos)) return;
      state() = {};
      std::unique_ptr<Test> t(make());
      t->SetUp();
      t->TestBody();
      t->TearDown();
      std::printf("%s %s\n", state().failed ? "FAILED" : state().skipped ? "skipped" : "ok", name.c_str());
      ++(state().failed ? failed : state().skipped ? skipped : passed);
    });
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed > 0 || passed == 0;
}

}  // namespace testing

#define PUYU_CAT2(a, b) a##b
#define PUYU_CAT(a, b) PUYU_CAT2(a, b)
#define TEST_P(fixture, name)                                                                          \
  class fixture##_##name : public fixture {                                                            \
   public:                                                                                             \
    void TestBody() override;                                                                          \
  };                                                                                                   \
  [[maybe_unused]] const bool fixture##_##name##_added =                                               \
      ::testing::add_case(#fixture, #name, []() -> ::testing::Test* { return new fixture##_##name; }); \
  void fixture##_##name::TestBody()
#define INSTANTIATE_TEST_SUITE_P(prefix, fixture, params, naming) \
  [[maybe_unused]] const bool fixture##_##prefix##_added = ::testing::add_suite<fixture>(#fixture, params, naming)

#define PUYU_FAIL(what) ::testing::Report{__FILE__, __LINE__, what} = ::testing::Message()
#define PUYU_EXPECT(cond, what) \
  if (cond) {                   \
  } else                        \
    PUYU_FAIL(what)
#define PUYU_ASSERT(cond, what) \
  if (cond) {                   \
  } else                        \
    return PUYU_FAIL(what)
#define EXPECT_EQ(a, b) PUYU_EXPECT((a) == (b), #a " == " #b)
#define EXPECT_LE(a, b) PUYU_EXPECT((a) <= (b), #a " <= " #b)
#define EXPECT_NEAR(a, b, tol) PUYU_EXPECT(std::fabs((a) - (b)) <= (tol), #a " near " #b)
#define ASSERT_EQ(a, b) PUYU_ASSERT((a) == (b), #a " == " #b)
#define ASSERT_LE(a, b) PUYU_ASSERT((a) <= (b), #a " <= " #b)
#define SCOPED_TRACE(message) const ::testing::Trace PUYU_CAT(trace_, __LINE__)(::testing::Message() << message)
#define GTEST_SKIP() return ::testing::Report{__FILE__, __LINE__, "", true} = ::testing::Message()
