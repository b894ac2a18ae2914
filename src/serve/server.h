// The server: OpenAI's endpoints over one model. The transport has one thread, the engine another, and a few workers
// read bodies, tokenise prompts and compile grammars between them; they exchange messages, so a slow client never holds
// up a step, a step never holds up a client, and a long prompt holds up neither.
#pragma once
#include "engine/local_generator.h"
#include "serve/http.h"

namespace puyu {

struct ServeOptions {
  std::string host = "127.0.0.1";
  int port = 23333;
  std::string name;
  int64_t max_queue = 256;
  int64_t max_body_bytes = 4 << 20;
  double timeout_seconds = 60;
  double grace_seconds = 20;
  std::string api_key, api_key_file, cors_origin;
  double temperature = 0.8;
  double top_p = 0.8;
  template <class F>
  void fields(F&& f) {
    f("host", host, "address to listen on; 0.0.0.0 = every one");
    f("port", port, "port to listen on; 0 = pick a free one and print it");
    f("name", name, "the model's name in the API; empty = the folder's");
    f("max_queue", max_queue, "answers in work or waiting, each choice counts; more are answered 429");
    f("max_body_bytes", max_body_bytes, "longest request body; longer ones are answered 413");
    f("timeout_seconds", timeout_seconds,
      "for a request to arrive whole, and for a reader to take a piece of its answer");
    f("grace_seconds", grace_seconds, "on Ctrl-C or SIGTERM, for answers in work; new requests get 503");
    f("api_key", api_key,
      "key that requests must carry; better in a file or in PUYU_API_KEY: others can see arguments");
    f("api_key_file", api_key_file, "file of keys, one a line");
    f("cors_origin", cors_origin, "web origin whose pages may call the server; * = every one; empty = none");
    f("temperature", temperature, "where a request names none");
    f("top_p", top_p, "where a request names none");
  }
};

class Server {
 public:
  Server(LocalModel& model, const ServeOptions& options);  // binds; Error when it cannot
  ~Server();
  int port() const;
  void run(const std::function<bool()>& should_stop = {});  // until stop(), should_stop() or an engine failure
  void stop();
  int64_t pending() const;  // answers in work or waiting

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace puyu
