// The demo's stations: each calls the library that its verb calls, and returns what the report shows.
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "cli/demo.h"
#include "cli/eval_texts.h"
#include "cli/rollout.h"
#include "data/shard.h"
#include "data/tokenize.h"
#include "engine/local_generator.h"
#include "eval/runner.h"

namespace puyu {
namespace {

constexpr const char* kLanguages[] = {"en", "zh", "code"};

Json point(std::initializer_list<std::pair<const char*, Json>> members) {
  Json j = Json::object();
  for (const auto& [k, v] : members) j[k] = v;
  return j;
}

std::vector<std::string> greedy_answers(Generator& generator) {
  std::vector<Prompt> prompts;
  for (const std::string& q : demo_questions()) prompts.push_back({"", {{"user", q, ""}}});
  SamplingOptions greedy;
  greedy.temperature = 0;
  greedy.max_tokens = 64;
  std::vector<std::string> out;
  for (const Generation& g : generator.generate(prompts, greedy))  // an untuned model may answer with empty lines only
    out.push_back(g.text.substr(0, g.text.find_last_not_of(" \n") + 1));
  return out;
}

// A stage's folder is started afresh: what an earlier, unfinished run left would be in its way.
void fresh(const std::string& dir) { std::filesystem::remove_all(dir); }

}  // namespace

Json demo_data(const DemoOptions& o, const DemoPaths& p) {
  PipelineConfig config;
  config.input = {o.corpus};
  Funnel funnel = run_pipeline(config, p.data, num_threads());
  std::fprintf(stderr, "%s", format_funnel(funnel).c_str());
  return point({{"funnel", to_json(funnel)}});
}

Json demo_tokenizer(const DemoOptions& o, const DemoPaths& p) {
  std::vector<std::string> texts;
  for_each_document(p.data, [&](Document&& d) { texts.push_back(std::move(d.content)); });
  size_t next = 0;
  Tokenizer t = train_bpe(o.tokenizer, [&](std::string& text) {
    if (next == texts.size()) return false;
    text = std::move(texts[next++]);
    return true;
  });
  t.save(p.tokenizer);
  return point({{"vocab_size", t.vocab_size()}});
}

Json demo_tokens(const DemoOptions& o, const DemoPaths& p) {
  Tokenizer t = Tokenizer::load(p.tokenizer);
  TokenizeResult r = tokenize_corpus(p.data, t, p.tokens, num_threads());
  // Enhancement data for the last phase: plain sums and differences of training pairs.
  const int64_t arithmetic_tokens = write_arithmetic_shard(t, p.arithmetic, o.arithmetic_documents, 0.4, 3);
  return point({{"train_tokens", r.tokens},
                {"bytes", r.bytes},
                {"held_out_tokens", r.held_out_tokens},
                {"arithmetic_tokens", arithmetic_tokens}});
}

Json demo_pretrain(const DemoOptions& o, const DemoPaths& p) {
  TrainOptions t = o.pretrain;
  t.tokenizer = p.tokenizer;
  t.model.vocab_size = Tokenizer::load(p.tokenizer).vocab_size();
  t.data = {{"corpus", p.tokens + "/train.tok", 1}, {"arithmetic", p.arithmetic, 1}};
  for (const char* language : kLanguages)
    if (std::string f = cat(p.tokens, "/valid-", language, ".tok"); file_exists(f)) t.valid.push_back({language, f, 1});
  TrainReport r = train(t, p.pretrain, true);
  if (r.interrupted) return {};
  Json curve = Json::array(), valid = Json::object(), phases = Json::array();
  std::string phase;
  double tokens = 0, seconds = 0;
  for (const StepMetrics& m : r.steps) {
    curve.push(point({{"step", m.step}, {"loss", m.loss}, {"grad_norm", m.grad_norm}, {"lr", m.lr}, {"tgs", m.tgs}}));
    for (const ValidLoss& v : m.valid) valid[v.name].push(point({{"step", m.step}, {"loss", v.loss}}));
    if (m.phase != phase) phases.push(point({{"begin", m.step}, {"name", phase = m.phase}}));
    tokens += static_cast<double>(m.tokens), seconds += m.seconds;
  }
  return point({{"curve", curve},
                {"valid", valid},
                {"phases", phases},
                {"parameters", r.parameters},
                {"tokens", tokens},
                {"tgs", tokens / seconds}});
}

Json demo_finetune(const DemoOptions& o, const DemoPaths& p) {
  fresh(p.finetune);
  FinetuneOptions f = o.finetune;
  f.model = p.model(p.pretrain);
  f.documents = p.data;
  f.text.shards = {p.tokens + "/train.tok"};
  SftReport r = finetune(f, p.finetune);
  if (r.interrupted) return {};
  Json curve = Json::array();
  for (const SftPoint& c : r.curve)
    curve.push(point({{"step", c.step}, {"loss", c.loss}, {"accuracy", c.accuracy}, {"text_loss", c.text_loss}}));
  Json valid = Json::array();
  for (const HeldOutLoss& v : r.valid) valid.push(point({{"step", v.step}, {"loss", v.loss}}));
  return point({{"curve", curve}, {"valid", valid}, {"loss", r.final_loss}, {"tokens", r.tokens}});
}

Json demo_reward(const DemoOptions& o, const DemoPaths& p) {
  fresh(p.reward);
  RewardRunOptions w = o.reward;
  w.model = p.model(p.finetune);
  w.dialogues = p.finetune + "/instructions.jsonl";
  RewardReport r = train_reward(w, engine_rollout(), p.reward);
  if (r.interrupted) return {};
  Json curve = Json::array();
  for (const RewardPoint& c : r.curve)
    curve.push(point({{"step", c.step}, {"loss", c.loss}, {"accuracy", c.accuracy}}));
  return point({{"curve", curve}, {"accuracy", r.accuracy}, {"pairs", r.held_out_pairs}});
}

Json demo_rlhf(const DemoOptions& o, const DemoPaths& p) {
  fresh(p.rlhf);
  RlhfOptions h = o.rlhf;
  h.model = p.model(p.finetune);
  h.reward = p.model(p.reward);
  h.dialogues = p.finetune + "/instructions.jsonl";
  h.preferences = p.reward + "/preferences.jsonl";
  PpoReport r = rlhf(h, engine_rollout(), p.rlhf);
  if (r.interrupted) return {};
  Json curve = Json::array();
  for (const PpoPoint& c : r.curve)
    curve.push(point({{"step", c.step},
                      {"reward", c.score},
                      {"accuracy", c.accuracy},
                      {"ranked", c.ranked},
                      {"kl", c.kl},
                      {"entropy", c.entropy}}));
  return point({{"curve", curve}, {"steps", r.steps}});
}

Json demo_eval(const std::string& stage, const std::string& model, const DemoPaths& p) {
  LocalGenerator generator(std::make_shared<LocalModel>(model));
  std::vector<EvalTask> tasks;
  TaskOptions options;
  options.data = p.tasks;
  for (const char* name : {"arithmetic-100", "arithmetic-1000", "manpages", "manpages-choice"})
    for (const TaskInfo& info : known_tasks())
      if (info.name == std::string_view(name) && task_has_data(info, p.tasks))
        tasks.push_back(load_task(name, options));
  std::vector<EvalText> held_out = texts_of_shards(p.tokens, Tokenizer::load(p.tokenizer));
  if (!held_out.empty()) tasks.push_back(perplexity_task("perplexity", held_out, 2048));
  RunOptions run;
  run.out = cat(p.out, "/eval/", stage);
  Json results = Json::array();
  for (const TaskResult& r : run_tasks(generator, tasks, run))
    for (const Result& e : r.results)
      results.push(point({{"task", e.subject.empty() ? r.name : cat(r.name, " ", e.subject)},
                          {"metric", e.metric},
                          {"share", e.metric != "perplexity" && e.metric != "bits per byte"},
                          {"value", e.estimate.value},
                          {"error", e.estimate.error},
                          {"n", e.estimate.n}}));
  Json answers = Json::array();
  for (const std::string& a : greedy_answers(generator)) answers.push(a);
  return point({{"results", results}, {"answers", answers}});
}

const std::vector<std::string>& demo_questions() {
  static const std::vector<std::string> kQuestions = {
      "Who are you?",        "你是谁？",           "What is 27 + 58?",   "请计算 81 - 46",
      "348加275等于多少？",  "What is 903 - 517?", "What does `ls` do?", "`grep` 命令是做什么的？",
      "What does `tar` do?", "What is 6 + 7?"};
  return kQuestions;
}

std::vector<std::string> demo_answers(const std::string& model) {
  LocalGenerator generator(std::make_shared<LocalModel>(model));
  return greedy_answers(generator);
}

}  // namespace puyu
