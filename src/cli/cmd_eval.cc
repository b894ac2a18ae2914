// puyu eval: tasks over a model.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "cli/eval_texts.h"
#include "cli/verbs.h"
#include "data/shard.h"
#include "engine/local_generator.h"
#include "eval/runner.h"
#include "serve/remote_generator.h"

namespace puyu {
namespace {

struct EvalOptions {
  std::string model, data, out;
  bool json = false;
  int64_t limit = 0;
  int max_tokens = 64;
  int shots = 5;
  int64_t chunk_bytes = 2048;
  std::string length = "bytes";
  int64_t seed = 1;
  ModelOptions run;
  RemoteOptions remote;
  template <class F>
  void fields(F&& f) {
    f("model", model, "model folder, .gguf file, or http://host:port/v1 of a server with OpenAI's API");
    f("data", data, "folder with the tasks' data (puyu eval list)");
    f("out", out, "folder for results.json, results.md and every sample; none: only the table");
    f("json", json, "print JSON");
    f("limit", limit, "samples a task, spread evenly over it; 0 = all");
    f("max_tokens", max_tokens, "longest answer in tokens");
    f("shots", shots, "examples before an exam question (mmlu, ceval), at most 5");
    f("chunk_bytes", chunk_bytes, "perplexity: text is scored in pieces of about this many bytes");
    f("length", length, "choices compete by log-likelihood per: none (the sum), tokens or bytes");
    f("seed", seed, "order and choice of the wrong answers made by program");
    f("run", run, "how the model runs");
    f("remote", remote, "how a model behind http:// is asked");
  }
};

constexpr const char* kHelp =
    "Asks a model the tasks' questions, greedily, and judges the answers: exact match, exact number, the most likely "
    "of\n"
    "several choices, perplexity. Every number has its standard error. TASK 'all' is every task whose data are "
    "there.\n\n"
    "puyu eval list --data DIR   shows the tasks and whether DIR has what they need\n"
    "A model behind HTTP is asked over its completions and chat completions; its key comes from PUYU_API_KEY. Scoring "
    "needs\n"
    "a server that echoes log-probs of prompts and has /tokenize: puyu serve, vLLM.\n\n"
    "example: puyu eval arithmetic-100 manpages --model runs/demo/sft --data runs/demo/eval --out runs/demo/results\n"
    "         puyu eval mmlu --model http://127.0.0.1:23333/v1 --data data/eval\n";

Length length_of(const std::string& name) {
  if (name == "none") return Length::kNone;
  if (name == "tokens") return Length::kTokens;
  if (name == "bytes") return Length::kBytes;
  throw UsageError(cat("--length: expected none, tokens or bytes, got '", name, "'"));
}

bool has_shards(const std::string& dir) {
  if (!is_directory(dir)) return false;
  for (const std::string& path : list_files(dir)) {
    std::string name = std::filesystem::path(path).filename().string();
    if (name.starts_with("valid-") && name.ends_with(".tok")) return true;
  }
  return false;
}

bool has_data(const TaskInfo& t, const std::string& data) {
  return task_has_data(t, data) || (std::string_view(t.name) == "perplexity" && has_shards(data));
}

int list_tasks(const EvalOptions& o) {
  TextTable table{{"task", "needs", "in --data", "what it asks"}, {}, {}};
  Json j = Json::array();
  for (const TaskInfo& t : known_tasks()) {
    bool there = !o.data.empty() && has_data(t, o.data);
    table.rows.push_back({t.name, t.needs, o.data.empty() ? "–" : there ? "yes" : "no", t.help});
    Json row = Json::object();
    row["task"] = t.name, row["needs"] = t.needs, row["help"] = t.help;
    if (!o.data.empty()) row["there"] = there;
    j.push(std::move(row));
  }
  std::printf("%s", o.json ? (j.dump() + "\n").c_str() : to_text(table).c_str());
  return 0;
}

std::vector<std::string> chosen_tasks(const std::vector<std::string>& names, const std::string& data) {
  if (names != std::vector<std::string>{"all"}) return names;
  std::vector<std::string> out;
  for (const TaskInfo& t : known_tasks())
    if (has_data(t, data)) out.emplace_back(t.name);
  if (out.empty()) fail("[eval] '", data, "' has the data of no task (puyu eval list --data DIR)");
  return out;
}

struct Judged {
  std::unique_ptr<Generator> generator;
  const Tokenizer* tokenizer;
};

Judged open_model(const EvalOptions& o, Json& manifest) {
  if (o.model.starts_with("http://") || o.model.starts_with("https://")) {
    const char* key = std::getenv("PUYU_API_KEY");
    auto remote = std::make_unique<RemoteGenerator>(o.model, o.remote, key ? key : "");
    manifest["remote"]["name"] = remote->name();
    return {std::move(remote), nullptr};
  }
  auto model = std::make_shared<LocalModel>(o.model, o.run);
  manifest["parameters"] = model->weights.config.num_params();
  const Tokenizer* tokenizer = &model->tokenizer;
  return {std::make_unique<LocalGenerator>(std::move(model)), tokenizer};
}

int run(const std::vector<std::string>& argv) {
  EvalOptions o;
  Fields f = list_fields(o);
  if (wants_help(argv, kEvalVerb, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"m", "model"}});
  if (a.positional == std::vector<std::string>{"list"}) return list_tasks(o);
  if (a.positional.empty()) throw UsageError("expected tasks, 'all' or 'list'");
  if (o.model.empty() || o.data.empty()) throw UsageError("expected --model DIR and --data DIR");
  if (o.max_tokens < 1 || o.shots < 0 || o.limit < 0 || o.chunk_bytes < 4)
    throw UsageError("expected --max-tokens of at least 1, --chunk-bytes of at least 4, no negative numbers");
  Length length = length_of(o.length);
  Json manifest = to_json(f);
  const Judged judged = open_model(o, manifest);
  std::vector<EvalTask> tasks = load_tasks(chosen_tasks(a.positional, o.data),
                                           {o.data, o.limit, o.shots, o.chunk_bytes, o.seed}, judged.tokenizer);
  auto results = run_tasks(*judged.generator, tasks, {o.out, o.max_tokens, length, 256, manifest});
  if (o.json)
    std::printf("%s\n", to_json(results).dump().c_str());
  else
    std::printf("%s", to_text(result_table(results)).c_str());
  return 0;
}

}  // namespace

std::vector<EvalText> texts_of_shards(const std::string& dir, const Tokenizer& tokenizer) {
  std::vector<EvalText> out;
  for (const std::string& path : list_files(dir)) {
    std::string name = std::filesystem::path(path).filename().string();
    if (!name.starts_with("valid-") || !name.ends_with(".tok")) continue;
    ShardReader shard(path);
    if (shard.tokenizer_fingerprint() != tokenizer.fingerprint())
      fail("[eval] ", path, ": its tokens are not of the model's tokenizer; give documents as valid.jsonl");
    for (int64_t d = 0; d < shard.documents(); ++d) {
      std::vector<int32_t> ids(static_cast<size_t>(shard.end(d) - shard.begin(d)));
      shard.read(shard.begin(d), static_cast<int64_t>(ids.size()), ids.data());
      out.push_back({cat(name, ":", d), name.substr(6, name.find_first_of("-.", 6) - 6), tokenizer.decode(ids)});
    }
  }
  return out;
}

std::vector<EvalTask> load_tasks(const std::vector<std::string>& names, const TaskOptions& o,
                                 const Tokenizer* tokenizer) {
  std::vector<EvalTask> out;
  for (const std::string& name : names) {
    if (name == "perplexity" && !file_exists(o.data + "/valid.jsonl") && has_shards(o.data)) {
      if (!tokenizer)
        fail("[eval] ", o.data,
             " has the text of 'perplexity' as token shards only, which say nothing to a model behind ",
             "HTTP; give documents as valid.jsonl");
      auto texts = texts_of_shards(o.data, *tokenizer);
      out.push_back(perplexity_task(name, texts, static_cast<size_t>(o.chunk_bytes)));
      limit_samples(out.back(), o.limit);
    } else {
      out.push_back(load_task(name, o));
    }
  }
  return out;
}

const Verb kEvalVerb = {"eval",
                        "puyu eval TASK... --model DIR|http://... --data DIR [--out DIR] [--json]  |  puyu eval list",
                        "ask a model questions and judge its answers", run};

}  // namespace puyu
