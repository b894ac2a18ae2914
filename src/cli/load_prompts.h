// What 'puyu bench serve' asks: prompts of random tokens, or the first turns of ShareGPT's conversations, chosen as
// LMDeploy's profile_throughput.py and profile_restful_api.py choose them.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "serve/http_client.h"
#include "text/tokenizer.h"

namespace puyu {

struct LoadPrompt {
  std::vector<int32_t> ids;  // random tokens; then `text` is empty
  std::string text;
  int64_t output_tokens = 0;  // to ask for
};

// Text to ids, as the served model does it: here, or by the server's /tokenize.
struct TokenSource {
  std::function<std::vector<int32_t>(const std::string& text)> encode;  // with <s> before them
  std::function<std::string(const std::vector<int32_t>& ids)> decode;
};
TokenSource local_tokens(const Tokenizer& tokenizer);  // which must outlive it
TokenSource server_tokens(const Url& api, const std::string& api_key);

struct RandomLengths {
  int64_t input = 1024, output = 128;
  double range_ratio = 0;  // lengths are uniform between this share of the longest and the longest
};
// Ids of an ordinary text in random order, so that every prompt is of its own and none is noise to the tokenizer.
std::vector<LoadPrompt> random_prompts(const TokenSource& tokens, const RandomLengths& lengths, int64_t n,
                                       int64_t seed);

// path: JSON, [{"conversations": [{"from", "value"}, …]}, …]. Of conversations with two turns or more the first is
// asked, and the second is as long as the answer to ask for (or `output_tokens`, when that is not 0). In random order,
// dropped when either is below 4 tokens, the prompt above 1,024, or both together above 2,048, until there are n: fewer
// come back when the file has no more. Lengths count <s>, as Hugging Face's tokenizers do. Error names the entry that
// is no conversation.
std::vector<LoadPrompt> sharegpt_prompts(const std::string& path, const TokenSource& tokens, int64_t output_tokens,
                                         int64_t n, int64_t seed);

}  // namespace puyu
