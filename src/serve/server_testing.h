// For tests of the server: a real one on a free port, real sockets, a model that babbles.
#pragma once
#include <utility>  // before Beast: Boost 1.74's awaitable.hpp needs it with gcc 12

#include "serve/server.h"

#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "engine/tiny_model.h"

namespace puyu {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

struct Answer {
  unsigned status;
  std::string body;
};

class ServeTest : public ::testing::Test {
 protected:
  void start(ServeOptions o = {}, EngineOptions engine = {4, 64, 0}) {
    o.port = 0, o.name = "tiny", o.timeout_seconds = o.timeout_seconds == 60 ? 5 : o.timeout_seconds;
    if (!model) model = tiny_model(engine);
    server = std::make_unique<Server>(*model, o);
    thread = std::thread([this] { server->run(); });
  }
  void TearDown() override {
    if (!server) return;
    server->stop();
    thread.join();
  }
  tcp::socket connect() {
    tcp::socket s(io);
    s.connect({asio::ip::make_address("127.0.0.1"), static_cast<uint16_t>(server->port())});
    return s;
  }
  Answer call(const std::string& method, const std::string& path, const std::string& body = "") {
    tcp::socket s = connect();
    http::request<http::string_body> q;
    q.method_string(method), q.target(path), q.version(11);
    q.body() = body;
    q.prepare_payload();
    http::write(s, q);
    boost::beast::flat_buffer buffer;
    http::response<http::string_body> r;
    http::read(s, buffer, r);
    return {r.result_int(), r.body()};
  }
  static std::string chat(const std::string& text, int tokens, bool stream, const std::string& more = "") {
    return cat(R"({"model":"tiny","messages":[{"role":"user","content":")", text, R"("}],"seed":3,"temperature":1,)",
               R"("top_p":1,"max_tokens":)", tokens, R"(,"stream":)", stream, more, "}");
  }
  static std::string content(const Answer& a) {
    EXPECT_EQ(a.status, 200u) << a.body;
    return Json::parse(a.body).at("choices").as_array()[0].at("message").at("content").as_string();
  }
  // The joined deltas of an event stream; `end` gets the last but one event.
  static std::string streamed(const Answer& a, Json* end = nullptr) {
    EXPECT_EQ(a.status, 200u) << a.body;
    std::string out;
    bool done = false;
    for (size_t at = 0, next; (next = a.body.find("\n\n", at)) != std::string::npos; at = next + 2) {
      const std::string line = a.body.substr(at, next - at);
      EXPECT_TRUE(line.starts_with("data: ")) << line;
      EXPECT_FALSE(done);
      if ((done = line == "data: [DONE]")) continue;
      const Json j = Json::parse(line.substr(6));
      if (end) *end = j;
      for (const Json& c : j.at("choices").as_array()) out += c.at("delta").get("content", std::string());
    }
    EXPECT_TRUE(done);
    return out;
  }
  std::string engine_text(const std::string& text, int tokens) {  // a model of its own: the server's is in use
    SamplingOptions o;
    o.seed = 3, o.temperature = 1, o.top_p = 1, o.max_tokens = tokens;
    return LocalGenerator(tiny_model()).generate({{"", {{"user", text, ""}}}}, o)[0].text;
  }
  bool becomes_idle() {
    for (int i = 0; i < 500 && server->pending() > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return server->pending() == 0;
  }

  asio::io_context io;
  std::shared_ptr<LocalModel> model;
  std::unique_ptr<Server> server;
  std::thread thread;
};

}  // namespace puyu
