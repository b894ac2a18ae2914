#include "engine/local_generator.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "base/signal.h"
#include "engine/gguf_tokenizer.h"

namespace puyu {
namespace {

Weights load_weights(const std::string& dir, const std::string& dtype, Head head) {
  if (dtype != "f32" && dtype != "bf16" && dtype != "auto")
    fail("[model] dtype: expected f32, bf16 or auto, got '", dtype, "'");
  std::optional<DType> compute;
  if (dtype != "auto") compute = dtype == "f32" ? DType::kF32 : DType::kBF16;
  Arena scratch("scratch", int64_t{1} << 30);
  Ctx ctx{Device::kCpu, &scratch};
  return load_for_inference(ctx, dir, head, compute);
}

}  // namespace

const char* finish_reason_name(FinishReason reason) {
  return reason == FinishReason::kStop     ? "stop"
         : reason == FinishReason::kLength ? "length"
         : reason == FinishReason::kLoop   ? "repetition"
                                           : "aborted";
}

LocalModel::LocalModel(const std::string& dir, const ModelOptions& o)
    : LocalModel(load_tokenizer(dir), load_weights(dir, o.dtype, open_model_source(dir)->head()), o.on_device()) {
  generation = read_generation_config(dir);
  for (int32_t id : generation.stop_ids)
    if (!is_stop(id)) stop_ids.push_back(id);
  if (!o.chat_template.empty()) chat = named_chat_style(o.chat_template, tokenizer);
  if (!generation.said.empty()) log_info("[model] generation_config.json: ", generation.said);
  for (const std::string& entry : o.lora) {
    const size_t eq = entry.find('=');
    if (eq == 0 || eq == std::string::npos || eq + 1 == entry.size())
      fail("[model] lora: expected name=FOLDER, got '", entry, "'");
    if (!adapters.emplace(entry.substr(0, eq), engine.add_adapter(entry.substr(eq + 1))).second)
      fail("[model] lora: the name '", entry.substr(0, eq), "' stands there twice");
  }
  if (adapters.size() == 1) default_adapter = adapters.begin()->second;
  if (o.draft_model.empty()) return;
  if (load_tokenizer(o.draft_model).fingerprint() != tokenizer.fingerprint())
    fail("[model] draft_model: '", o.draft_model, "' has another tokenizer than '", dir,
         "'; they do not belong together");
  engine.set_drafter(make_model_drafter(load_weights(o.draft_model, o.dtype, Head::kLanguage), o.device));
}

LocalModel::LocalModel(Tokenizer t, Weights w, const EngineOptions& o)
    : tokenizer(std::move(t)), chat(find_chat_style(tokenizer)), weights(std::move(w)), engine(weights, o) {
  if (tokenizer.vocab_size() > weights.config.vocab_size)
    fail("[model] the tokenizer has ", tokenizer.vocab_size(), " pieces, the model's vocabulary only ",
         weights.config.vocab_size, "; they do not belong together");
  if (tokenizer.has_eos()) stop_ids.push_back(tokenizer.eos());
  for (const char* name : {"<|im_end|>", "<|eot_id|>"})
    if (tokenizer.is_special(name) && !is_stop(tokenizer.special(name))) stop_ids.push_back(tokenizer.special(name));
}

std::vector<int32_t> LocalModel::encode(const Prompt& prompt) const {
  if (!prompt.messages.empty()) return encode_dialogue(tokenizer, chat, prompt.messages);
  std::vector<int32_t> ids = tokenizer.prefix(), rest = tokenizer.encode_untrusted(prompt.text);
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

Request LocalModel::request(const Prompt& prompt, const SamplingOptions& sampling,
                            std::function<bool(const std::string&)> on_text,
                            std::function<void(const Generation&)> on_finish) const {
  struct State {
    TextStream stream;
    Generation all;
  };
  Request r;
  r.prompt = encode(prompt);
  r.sampling = sampling;
  r.adapter = default_adapter;
  r.stop_ids = stop_ids;
  // A word has other ids within a sentence than at its beginning.
  for (const std::string& word : sampling.bad_words)
    for (const std::string& spelled : {word, " " + word})
      if (std::vector<int32_t> ids = tokenizer.encode_untrusted(spelled); !ids.empty()) r.bad_ids.push_back(ids);
  auto s = std::make_shared<State>(State{{tokenizer, sampling.stop, prompt.messages.empty()}, {}});
  s->all.prompt_tokens = static_cast<int64_t>(r.prompt.size());
  r.on_start = [s](int64_t cached) { s->all.cached_tokens = cached; };
  // A model's vocabulary may be padded beyond the tokenizer's: such an id has no text.
  r.on_token = [s, on_text, known = tokenizer.vocab_size(), o = sampling](const Token& token) {
    const bool may_stop = ++s->all.tokens >= o.min_tokens;
    if (o.top_logprobs >= 0) s->all.token_logps.push_back(token);
    const std::string text = token.id < known ? s->stream.push(token.id, may_stop) : std::string();
    s->all.text += text;
    return (text.empty() || !on_text || on_text(text)) && !s->stream.stopped();
  };
  r.on_finish = [s, on_text, on_finish](FinishReason reason) {
    const std::string rest = s->stream.finish();
    s->all.text += rest;
    s->all.reason = reason;
    s->all.stop_text = s->stream.stop_text();
    if (!rest.empty() && on_text && reason != FinishReason::kAborted) on_text(rest);
    if (on_finish) on_finish(s->all);
  };
  return r;
}

std::vector<Generation> LocalGenerator::generate(const std::vector<Prompt>& prompts, const SamplingOptions& options,
                                                 const std::function<void(size_t)>& done) {
  std::vector<Generation> out(prompts.size());
  std::vector<Request> requests;
  std::map<std::vector<int32_t>, uint64_t> seen;
  for (size_t i = 0; i < prompts.size(); ++i) {
    requests.push_back(model_->request(prompts[i], options, {}, [&, i](const Generation& g) {
      out[i] = g;
      if (done && g.reason != FinishReason::kAborted) done(i);
    }));
    requests.back().sample = seen[requests.back().prompt]++;
  }
  model_->engine.run(std::move(requests));
  return out;
}

std::vector<LogLikelihood> LocalGenerator::loglikelihood(const std::vector<Pair>& pairs,
                                                         const std::function<void(size_t)>& done) {
  std::vector<std::vector<int32_t>> sequences;
  std::vector<size_t> context;  // tokens that are given
  for (const Pair& p : pairs) {
    std::vector<int32_t> ids = model_->encode(p.context), all;
    if (p.context.messages.empty()) {
      all = model_->encode({p.context.text + p.continuation, {}});
      // Pieces may grow across the border (" " + "word" = " word"): what both encodings share is given.
      ids.resize(
          static_cast<size_t>(std::mismatch(ids.begin(), ids.end(), all.begin(), all.end()).first - ids.begin()));
    } else {
      all = ids;
      const std::vector<int32_t> rest = model_->tokenizer.encode_untrusted(p.continuation);
      all.insert(all.end(), rest.begin(), rest.end());
    }
    if (all.size() == ids.size()) fail("[engine] a continuation to score is empty; expected some text");
    sequences.push_back(std::move(all));
    context.push_back(ids.size());
  }
  std::vector<LogLikelihood> out(pairs.size());
  const auto add = [&](size_t i, const Engine::Score& s) {
    for (size_t t = context[i] - 1; t < s.logp.size(); ++t)
      out[i].sum += static_cast<double>(s.logp[t]), ++out[i].tokens;
    out[i].greedy = std::all_of(s.greedy.begin() + static_cast<long>(context[i]) - 1, s.greedy.end(),
                                [](uint8_t best) { return best != 0; });
    if (done) done(i);
  };
  model_->engine.score(sequences, add, model_->default_adapter);
  return out;
}

}  // namespace puyu
