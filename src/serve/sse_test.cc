#include "serve/sse.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace puyu {
namespace {

std::vector<std::string> events(std::string_view stream, size_t piece) {
  std::vector<std::string> out;
  SseParser p;
  for (size_t i = 0; i < stream.size(); i += piece)
    p.push(stream.substr(i, piece), [&](const std::string& data) { out.push_back(data); });
  return out;
}

TEST(Sse, TheStandardsExamplesInPiecesOfEverySize) {
  const std::string bom = "\xEF\xBB\xBF";
  const std::pair<std::string, std::vector<std::string>> cases[] = {
      {"data: YHOO\ndata: +2\ndata: 10\n\n", {"YHOO\n+2\n10"}},
      {": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
       {"first event", "second event", " third event"}},
      {"data\n\ndata\ndata\n\ndata:", {"", "\n"}},  // the last one never ends
      {"data:test\n\ndata: test\n\n", {"test", "test"}},
      {"data: a\r\n\r\ndata: b\r\rdata: c\n\n", {"a", "b", "c"}},
      {bom + "data: 你好\n\n" + bom + "data: no name\n\n", {"你好"}},
      {"event: error\ndata: {}\n\nretry: 3\n\ndatax: 1\n\n", {"{}"}},
      {"", {}}};
  for (const auto& [stream, want] : cases)
    for (size_t piece = 1; piece <= stream.size() + 1; ++piece) EXPECT_EQ(events(stream, piece), want) << stream;
}

TEST(Sse, AnEventWithoutEndIsBounded) {
  SseParser p(100);
  auto ignore = [](const std::string&) {};
  p.push("data: " + std::string(60, 'x') + "\n", ignore);
  EXPECT_THROW(p.push("data: " + std::string(60, 'x'), ignore), Error);
  SseParser lines(100);
  EXPECT_THROW(for (int i = 0; i < 200; ++i) lines.push("data\n", ignore), Error);
}

}  // namespace
}  // namespace puyu
