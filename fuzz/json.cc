// JSON: what parses is written and parses to the same value.
#include "base/json.h"

#include "base/error.h"
#include "base/utf8.h"
#include "fuzz.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  return {R"({"model":"demo","messages":[{"role":"user","content":"你好 \ud83d\ude00\n"}],"temperature":0.7,"n":-1})",
          R"([1,-2.5e-3,true,false,null,"",[],{}])", R"("\u0000\u4e66\\\"")", "9223372036854775807"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    std::string once = Json::parse(fuzz_bytes(data, size)).dump();
    expect(valid_utf8(once) && Json::parse(once).dump() == once);
  } catch (const Error& e) { expect(valid_utf8(e.what())); }
  return 0;
}
