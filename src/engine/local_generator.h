// A model folder that answers: config.json, model.safetensors, a tokenizer (text/tokenizer.h). LocalModel is what
// generate, chat and serve share; LocalGenerator is the Generator over it.
#pragma once
#include <algorithm>
#include <map>
#include <memory>

#include "engine/engine.h"
#include "engine/generation_config.h"
#include "engine/text_stream.h"
#include "text/chat_style.h"

namespace puyu {

const char* finish_reason_name(FinishReason reason);  // stop, length, repetition, aborted

struct ModelOptions {
  std::string device = "cpu";
  std::string dtype = "auto";
  std::string draft_model;
  std::string chat_template;
  std::vector<std::string> lora;
  EngineOptions engine;
  EngineOptions on_device() const {
    EngineOptions o = engine;
    o.device = device;
    return o;
  }
  template <class F>
  void fields(F&& f) {
    f("device", device, "cpu, or cuda = the model and its cache on a GPU");
    f("dtype", dtype, "compute in f32 or bf16; auto = as the files: bf16 where they are half as wide as f32");
    f("draft_model", draft_model, "folder of a smaller model that guesses the next tokens; same answers, sooner");
    f("chat_template", chat_template,
      "how dialogues are written: chatml, llama2, llama3 or mistral; empty = as the model's folder says");
    f("lora", lora, "adapters as name=FOLDER (PEFT's format); a server offers each as a model of that name");
    f("engine", engine, "batching and cache");
  }
};

struct LocalModel {
  explicit LocalModel(const std::string& dir, const ModelOptions& options = {});
  LocalModel(Tokenizer tokenizer, Weights weights, const EngineOptions& options = {});
  LocalModel(const LocalModel&) = delete;
  LocalModel& operator=(const LocalModel&) = delete;

  std::vector<int32_t> encode(const Prompt& prompt) const;
  bool is_stop(int32_t id) const { return std::find(stop_ids.begin(), stop_ids.end(), id) != stop_ids.end(); }
  // A request whose text goes to `on_text` piece by piece (false ends it), then `on_finish` with the whole.
  Request request(const Prompt& prompt, const SamplingOptions& sampling,
                  std::function<bool(const std::string& text)> on_text,
                  std::function<void(const Generation&)> on_finish) const;

  Tokenizer tokenizer;
  ChatStyle chat;
  GenerationConfig generation;  // of the folder; what SamplingOptions are where nobody says otherwise
  Weights weights;
  Engine engine;
  std::vector<int32_t> stop_ids;        // </s>, <|im_end|>, <|eot_id|> and eos_token_id
  std::map<std::string, int> adapters;  // by name, for Request::adapter
  int default_adapter = -1;             // of request(): the only one there is
};

class LocalGenerator : public Generator {
 public:
  explicit LocalGenerator(std::shared_ptr<LocalModel> model) : model_(std::move(model)) {}
  std::vector<Generation> generate(const std::vector<Prompt>& prompts, const SamplingOptions& options,
                                   const std::function<void(size_t)>& done = {}) override;
  std::vector<LogLikelihood> loglikelihood(const std::vector<Pair>& pairs,
                                           const std::function<void(size_t)>& done = {}) override;

 private:
  std::shared_ptr<LocalModel> model_;
};

}  // namespace puyu
