// Load on an OpenAI endpoint: sends streamed requests at a rate and notes when each token came. What the times mean is
// as in LMDeploy's and SGLang's serving benchmark: time to first token (TTFT) ends with the first event that carries
// text, inter-token latencies (ITL) lie between such events, and the latency ends with the stream.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "serve/http_client.h"

namespace puyu {

struct LoadOptions {
  double request_rate = 0;      // requests per second, with exponential times between them (Poisson); 0: all at once
  int64_t max_concurrency = 0;  // requests in work at once; those that are due wait for a place; 0: no bound
  int64_t seed = 1;
};

struct LoadOutcome {
  std::string error;                                               // empty: the answer was whole
  double start = 0;                                                // seconds since the load began
  double ttft = 0;                                                 // seconds; 0 when no text came
  double latency = 0;                                              // seconds
  std::vector<double> itl;                                         // seconds
  int64_t input_tokens = 0, output_tokens = 0, cached_tokens = 0;  // by the server's usage
};

struct LoadResult {
  double seconds = 0;                 // from the first request to the last answer
  std::vector<LoadOutcome> outcomes;  // one a request, in their order; failures among them
  int64_t most_at_once = 0;
};

// Requests must ask for "stream": true and "stream_options": {"include_usage": true}. on_done: after each. When
// `should_stop` says so, what is in work or not yet sent fails as "interrupted".
LoadResult run_load(const Url& url, const ClientOptions& client, const std::vector<ClientRequest>& requests,
                    const LoadOptions& options, const std::function<void(const LoadOutcome&)>& on_done = {},
                    const std::function<bool()>& should_stop = {});

}  // namespace puyu
