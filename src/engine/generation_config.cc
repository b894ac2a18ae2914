#include "engine/generation_config.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/sampler.h"

namespace puyu {
namespace {

void read_stop_ids(const Json& j, std::vector<int32_t>& to) {
  const Json* ids = j.find("eos_token_id");
  if (!ids || ids->is_null()) return;
  const Json list = ids->is_array() ? *ids : Json(Json::Array{*ids});
  for (const Json& id : list.as_array()) {
    const int64_t v = id.as_int();
    if (v < 0 || v > std::numeric_limits<int32_t>::max()) fail("eos_token_id: ", v, " is no token id");
    if (std::find(to.begin(), to.end(), v) == to.end()) to.push_back(static_cast<int32_t>(v));
  }
}

void read_sampling(const Json& j, const std::string& path, GenerationConfig& out) {
  SamplingOptions& s = out.sampling;
  auto say = [&](const char* key, auto value) { out.said += cat(out.said.empty() ? "" : ", ", key, " ", value); };
  auto number = [&](const char* key, double& to) {
    if (const Json* v = j.find(key); v && !v->is_null()) say(key, to = v->as_double());
  };
  number("temperature", s.temperature);
  number("top_p", s.top_p);
  number("min_p", s.min_p);
  number("repetition_penalty", s.repetition_penalty);
  if (const Json* k = j.find("top_k"); k && !k->is_null()) say("top_k", s.top_k = static_cast<int>(k->as_int()));
  if (!j.get("do_sample", true)) s.temperature = 0, say("do_sample", "false");
  validate(s);
  // What changes the answers of transformers and has no counterpart here.
  const std::pair<const char*, double> neutral[] = {
      {"num_beams", 1},      {"no_repeat_ngram_size", 0},       {"typical_p", 1},
      {"epsilon_cutoff", 0}, {"encoder_repetition_penalty", 1}, {"penalty_alpha", 0}};
  for (auto [key, value] : neutral)
    if (const Json* v = j.find(key); v && v->is_number() && v->as_double() != value)
      log_warn("[model] ", path, ": ", key, " is not supported; answers are sampled without it");
}

}  // namespace

GenerationConfig read_generation_config(const std::string& folder) {
  GenerationConfig out;
  for (const char* name : {"/generation_config.json", "/config.json"}) {
    const std::string path = folder + name;
    if (!file_exists(path)) continue;
    const Json j = Json::parse(read_file(path), path);
    try {
      if (out.stop_ids.empty()) read_stop_ids(j, out.stop_ids);
      if (path.ends_with("generation_config.json")) read_sampling(j, path, out);
    } catch (const Error& e) { fail("[model] ", path, ": ", e.what()); }
  }
  return out;
}

}  // namespace puyu
