#include "serve/request.h"

#include <algorithm>
#include <limits>
#include <random>

namespace puyu {

std::vector<std::string> read_texts(const Json& v, const std::string& field) {
  if (!v.is_array()) refuse(field, cat("expected a list of strings, got ", v.type_name()));
  std::vector<std::string> out;
  for (size_t i = 0; i < v.size(); ++i) {
    out.push_back(text(v.as_array()[i], cat(field, "[", i, "]")));
    if (out.back().empty()) refuse(cat(field, "[", i, "]"), "expected a text that is not empty");
  }
  return out;
}

namespace {

std::vector<std::string> stops(const Json& v) {
  std::vector<std::string> out;
  if (v.is_string())
    out = {v.as_string()};
  else if (v.is_array())
    for (const Json& s : v.as_array()) out.push_back(text(s, "stop"));
  else
    refuse("stop", cat("expected a string or a list of strings, got ", v.type_name()));
  if (out.size() > 16) refuse("stop", cat("expected at most 16 texts, got ", out.size()));
  if (std::find(out.begin(), out.end(), "") != out.end()) refuse("stop", "expected texts that are not empty");
  return out;
}

// {"ID": BIAS, …}
std::map<int32_t, double> logit_bias(const Json& v) {
  if (!v.is_object()) refuse("logit_bias", cat("expected an object of token ids and numbers, got ", v.type_name()));
  std::map<int32_t, double> out;
  for (const auto& [key, value] : v.as_object()) {
    const bool digits = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
    if (!digits) refuse("logit_bias", cat("expected token ids as keys, got '", key, "'"));
    out[static_cast<int32_t>(std::stol(key))] = number(value, "logit_bias." + key, -100, 100);
  }
  return out;
}

// Beyond OpenAI's: the names are vLLM's and LMDeploy's.
bool further_sampling_field(const std::string& key, const Json& v, SamplingOptions& s) {
  constexpr int kMax = std::numeric_limits<int>::max();
  if (key == "min_tokens")
    s.min_tokens = static_cast<int>(integer(v, key, 0, kMax));
  else if (key == "ignore_eos")
    s.ignore_eos = boolean(v, key);
  else if (key == "bad_words")
    s.bad_words = read_texts(v, key);
  else if (key == "repetition_ngram_size")
    s.repetition_ngram_size = static_cast<int>(integer(v, key, 0, 1000));
  else if (key == "repetition_ngram_threshold")
    s.repetition_ngram_threshold = static_cast<int>(integer(v, key, 2, kMax));
  else
    return false;
  return true;
}

std::string quoted(const ModelNames& names) {
  std::string out;
  for (const std::string& name : names) out += cat(out.empty() ? "'" : ", '", name, "'");
  return out;
}

int64_t random_seed() {
  std::random_device device;
  return static_cast<int64_t>((static_cast<uint64_t>(device()) << 32 | device()) >> 1);
}

}  // namespace

bool read_sampling(const std::string& key, const Json& v, SamplingOptions& s) {
  constexpr int kMax = std::numeric_limits<int>::max();
  if (key == "max_tokens" || key == "max_completion_tokens")
    s.max_tokens = static_cast<int>(integer(v, key, 0, kMax));
  else if (key == "temperature")
    s.temperature = number(v, key, 0, 2);
  else if (key == "top_p")
    s.top_p = number(v, key, 1e-9, 1);
  else if (key == "top_k")
    s.top_k = static_cast<int>(integer(v, key, 0, kMax));
  else if (key == "min_p")
    s.min_p = number(v, key, 0, 0.999999);
  else if (key == "repetition_penalty")
    s.repetition_penalty = number(v, key, 0.01, 100);
  else if (key == "presence_penalty")
    s.presence_penalty = number(v, key, -2, 2);
  else if (key == "frequency_penalty")
    s.frequency_penalty = number(v, key, -2, 2);
  else if (key == "logit_bias")
    s.logit_bias = logit_bias(v);
  else if (key == "seed")
    s.seed = integer(v, key, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
  else if (key == "stop")
    s.stop = stops(v);
  else
    return further_sampling_field(key, v, s);
  return true;
}

ApiRequest begin_request(const Json& body, const ModelNames& models, const SamplingOptions& defaults) {
  ApiRequest r;
  r.sampling = defaults;
  r.sampling.max_tokens = std::numeric_limits<int>::max();
  r.sampling.seed = random_seed();
  const Json* asked = body.find("model");
  if (!asked) refuse("model", cat("missing; this server has ", quoted(models)));
  r.model = text(*asked, "model");
  if (std::find(models.begin(), models.end(), r.model) == models.end())
    throw ApiError(404, cat("the model '", r.model, "' does not exist; this server has ", quoted(models)), "model",
                   "model_not_found");
  return r;
}

// The tools' turn stands after the caller's own system turns, before the first turn of another role.
void add_tools(ApiRequest& r) {
  check_tools(r.tools);
  if (!r.tools.offered()) return;
  std::vector<Message>& m = r.prompts[0].messages;
  m.insert(std::find_if(m.begin(), m.end(), [](const Message& x) { return x.role != "system"; }), tools_turn(r.tools));
  if (r.tools.forced() && r.guided.kind != Guided::Kind::kNone)
    refuse("tool_choice", cat("'", r.guided.field, "' guides the answer already"));
}

}  // namespace puyu
