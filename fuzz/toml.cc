// TOML configuration: what is read is written and reads back the same.
#include "base/config.h"
#include "base/error.h"
#include "fuzz.h"

using namespace puyu;

namespace {
struct Part {
  std::string name;
  std::vector<double> weights;
  template <class F>
  void fields(F&& f) {
    f("name", name, "");
    f("weights", weights, "");
  }
};
struct Options {
  bool flag = false;
  int small = 0;
  int64_t big = 0;
  double ratio = 0;
  std::vector<std::string> words;
  Part part;
  std::vector<Part> parts;
  template <class F>
  void fields(F&& f) {
    f("flag", flag, "");
    f("small", small, "");
    f("big", big, "");
    f("ratio", ratio, "");
    f("words", words, "");
    f("part", part, "");
    f("parts", parts, "");
  }
};
}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {
      "flag = true\nsmall = -3\nbig = 5_000_000_000\nratio = 1e-3\nwords = [\"甲\", 'b']\n[part]\nname = \"x\\u4e66\"\n"
      "weights = [1, 2.5]\n[[parts]]\nname = \"\"\"a\nb\"\"\"\n[[parts]]\nweights = [inf, -nan]\n",
      "part = { name = 'y', weights = [] } # comment\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    Options o, back;
    load_config(o, std::string(fuzz_bytes(data, size)), "fuzz.toml");
    std::string once = to_toml(list_fields(o));
    load_config(back, once, "once.toml");
    expect(to_toml(list_fields(back)) == once);
  } catch (const Error&) {}
  return 0;
}
