// Server-sent events: the events do not depend on the pieces in which the bytes come.
#include "serve/sse.h"

#include "base/error.h"
#include "fuzz.h"

using namespace puyu;

namespace {

std::vector<std::string> events(std::string_view stream, size_t piece) {
  std::vector<std::string> out;
  SseParser p(1 << 12);
  try {
    for (size_t i = 0; i < stream.size(); i += piece)
      p.push(stream.substr(i, piece), [&](const std::string& data) { out.push_back(data); });
  } catch (const Error&) { out.emplace_back("too long"); }
  return out;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {"data: {\"choices\":[{\"delta\":{\"content\":\"你\"}}]}\n\ndata: [DONE]\n\n",
          ": ping\r\n\r\ndata: a\rdata:b\r\r", "\xEF\xBB\xBFid: 1\ndata\n\nevent: error\ndata: x\n\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view stream = fuzz_bytes(data, size);
  const auto whole = events(stream, size + 1);
  for (size_t piece : {1, 2, 7}) expect(events(stream, piece) == whole);
  return 0;
}
