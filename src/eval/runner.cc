#include "eval/runner.h"

#include <chrono>
#include <cmath>
#include <map>
#include <numbers>
#include <span>

#include "base/check.h"
#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/signal.h"

namespace puyu {
namespace {

// What came of one sample.
struct Outcome {
  std::string got;
  bool right = false, answered = true;
  double nats = 0;  // kPerplexity: -log p
  int64_t tokens = 0, bytes = 0;
  std::vector<double> scores;  // kChoice: log p of each choice
};

bool is_generated(Metric m) { return m == Metric::kExactMatch || m == Metric::kNumber; }

Outcome judge_text(const EvalSample& s, Metric metric, std::string got) {
  Outcome o;
  o.got = std::move(got);
  if (metric == Metric::kNumber) {
    std::string number = extract_number(o.got), expected = extract_number(s.expected);
    if (expected.empty()) fail("[eval] sample '", s.id, "': the expected answer '", s.expected, "' holds no number");
    o.answered = !number.empty();
    o.right = number == expected;
  } else {
    o.answered = !normalize_answer(o.got).empty();
    o.right = exact_match(o.got, s.expected);
  }
  return o;
}

std::vector<Outcome> generate_batch(Generator& model, std::span<const EvalSample> samples, Metric metric,
                                    const RunOptions& options, Progress& progress) {
  SamplingOptions sampling;
  sampling.temperature = 0;
  sampling.max_tokens = options.max_tokens;
  std::vector<Prompt> prompts;
  prompts.reserve(samples.size());
  for (const EvalSample& s : samples) prompts.push_back(s.prompt);
  auto answers = model.generate(prompts, sampling, [&](size_t) { progress.add(1); });
  CHECK(answers.size() == samples.size(), "one answer a prompt");
  std::vector<Outcome> out;
  for (size_t i = 0; i < samples.size(); ++i) out.push_back(judge_text(samples[i], metric, std::move(answers[i].text)));
  return out;
}

std::vector<Outcome> score_batch(Generator& model, std::span<const EvalSample> samples, Metric metric,
                                 const RunOptions& options, Progress& progress) {
  std::vector<Generator::Pair> pairs;
  std::vector<size_t> owner;  // the sample of each pair
  for (size_t i = 0; i < samples.size(); ++i) {
    const EvalSample& s = samples[i];
    if (metric == Metric::kPerplexity) pairs.push_back({s.prompt, s.expected});
    for (const std::string& c : s.choices) pairs.push_back({s.prompt, c});
    owner.resize(pairs.size(), i);
  }
  std::vector<LogLikelihood> scores;
  try {
    scores = model.loglikelihood(pairs, [&](size_t p) {
      if (p + 1 == owner.size() || owner[p + 1] != owner[p]) progress.add(1);
    });
  } catch (const TooLong& e) {
    if (metric != Metric::kPerplexity) throw;
    fail(e.what(), "; a smaller --chunk_bytes cuts the text into shorter pieces");
  }
  CHECK(scores.size() == pairs.size(), "one score a pair");
  std::vector<Outcome> out(samples.size());
  for (size_t i = 0, p = 0; i < samples.size(); ++i) {
    const EvalSample& s = samples[i];
    Outcome& o = out[i];
    if (metric == Metric::kPerplexity) {
      o.nats = -scores[p].sum, o.tokens = scores[p].tokens, o.bytes = static_cast<int64_t>(s.expected.size());
      ++p;
      continue;
    }
    std::vector<LogLikelihood> own(scores.begin() + p, scores.begin() + p + s.choices.size());
    p += s.choices.size();
    for (const LogLikelihood& l : own) {
      if (!std::isfinite(l.sum)) fail("[eval] sample '", s.id, "': the model's log-likelihood is not finite");
      o.scores.push_back(l.sum);
    }
    size_t best = pick_choice(own, s.choices, options.length);
    o.got = s.choices[best];
    o.right = best == s.right;
  }
  return out;
}

Json sample_json(const EvalSample& s, const Outcome& o, Metric metric) {
  Json j = Json::object();
  j["id"] = s.id;
  if (!s.subject.empty()) j["subject"] = s.subject;
  for (const Message& m : s.prompt.messages) {
    Json message = Json::object();
    message["role"] = m.role, message["content"] = m.content;
    j["messages"].push(std::move(message));
  }
  if (!s.prompt.text.empty()) j["prompt"] = s.prompt.text;
  if (metric == Metric::kPerplexity) {
    j["nats"] = o.nats, j["tokens"] = o.tokens, j["bytes"] = o.bytes;
    return j;
  }
  j["expected"] = s.expected, j["got"] = o.got, j["right"] = o.right;
  for (size_t i = 0; i < s.choices.size(); ++i) j["choices"].push(s.choices[i]), j["scores"].push(o.scores[i]);
  return j;
}

// The task's numbers over the samples of one subject, or over all.
void add_results(const EvalTask& task, const std::vector<Outcome>& outcomes, const std::string* subject,
                 std::vector<Result>& out) {
  std::string name = subject ? *subject : "";
  std::vector<Item> items, by_byte;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const EvalSample& s = task.samples[i];
    const Outcome& o = outcomes[i];
    if (subject && s.subject != *subject) continue;
    if (task.metric != Metric::kPerplexity) {
      items.push_back({o.right ? 1.0 : 0.0, 1, s.cluster});
      continue;
    }
    items.push_back({o.nats, static_cast<double>(o.tokens), s.cluster});
    by_byte.push_back({o.nats / std::numbers::ln2, static_cast<double>(o.bytes), s.cluster});
  }
  if (task.metric != Metric::kPerplexity) return out.push_back({metric_name(task.metric), name, ratio(items)});
  out.push_back({"perplexity", name, perplexity(ratio(items))});
  out.push_back({"bits per byte", name, ratio(by_byte)});
}

void write_samples(const EvalTask& task, const std::vector<Outcome>& outcomes, const std::string& out) {
  std::string lines;
  for (size_t i = 0; i < outcomes.size(); ++i)
    lines += sample_json(task.samples[i], outcomes[i], task.metric).dump() + "\n";
  write_file(out + "/" + task.name + ".samples.jsonl", lines);
}

}  // namespace

TaskResult run_task(Generator& model, const EvalTask& task, const RunOptions& options) {
  if (task.samples.empty()) fail("[eval] task '", task.name, "' has no samples");
  auto start = std::chrono::steady_clock::now();
  Progress progress(task.name, static_cast<int64_t>(task.samples.size()), "samples");
  std::vector<Outcome> outcomes;
  std::span<const EvalSample> all(task.samples);
  while (outcomes.size() < all.size()) {
    auto part = all.subspan(outcomes.size(), std::min(all.size() - outcomes.size(), size_t(options.batch)));
    auto batch = is_generated(task.metric) ? generate_batch(model, part, task.metric, options, progress)
                                           : score_batch(model, part, task.metric, options, progress);
    if (interrupted()) fail("[eval] interrupted in task '", task.name, "'; finished tasks are kept");
    outcomes.insert(outcomes.end(), std::move_iterator(batch.begin()), std::move_iterator(batch.end()));
  }
  progress.finish();

  TaskResult result{task.name, {}, 0, 0};
  std::map<std::string, int64_t> subjects;
  for (const EvalSample& s : task.samples) ++subjects[s.subject];
  for (const Outcome& o : outcomes) result.unanswered += o.answered ? 0 : 1;
  add_results(task, outcomes, nullptr, result.results);
  if (subjects.size() > 1)
    for (const auto& [subject, count] : subjects) add_results(task, outcomes, &subject, result.results);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!options.out.empty()) write_samples(task, outcomes, options.out);
  return result;
}

std::vector<TaskResult> run_tasks(Generator& model, const std::vector<EvalTask>& tasks, const RunOptions& options) {
  if (!options.out.empty()) make_directories(options.out);
  std::vector<TaskResult> done;
  for (const EvalTask& task : tasks) {
    done.push_back(run_task(model, task, options));
    if (options.out.empty()) continue;
    Json j = Json::object();
    j["run"] = options.manifest;
    j["tasks"] = to_json(done);
    write_file(options.out + "/results.json", j.dump(2) + "\n");
    write_file(options.out + "/results.md", to_markdown(result_table(done)));
  }
  return done;
}

Json to_json(const std::vector<TaskResult>& results) {
  Json out = Json::array();
  for (const TaskResult& t : results) {
    Json task = Json::object();
    task["task"] = t.name;
    for (const Result& r : t.results) {
      Json j = Json::object();
      j["metric"] = r.metric;
      if (!r.subject.empty()) j["subject"] = r.subject;
      j["value"] = r.estimate.value, j["stderr"] = r.estimate.error, j["n"] = r.estimate.n;
      task["results"].push(std::move(j));
    }
    task["unanswered"] = t.unanswered;
    task["seconds"] = t.seconds;
    out.push(std::move(task));
  }
  return out;
}

TextTable result_table(const std::vector<TaskResult>& results, size_t max_subjects) {
  TextTable table{{"task", "subject", "metric", "value", "± s.e.", "n", "no answer"},
                  {},
                  {false, false, false, true, true, true, true}};
  for (const TaskResult& t : results) {
    size_t subjects = 0;
    for (const Result& r : t.results) subjects += !r.subject.empty() && r.metric != "bits per byte";
    for (const Result& r : t.results) {
      if (!r.subject.empty() && subjects > max_subjects) continue;
      bool share = r.metric != "perplexity" && r.metric != "bits per byte";
      double scale = share ? 100 : 1;
      int digits = share || r.estimate.value >= 100 ? 1 : 3;
      table.rows.push_back({t.name, r.subject, r.metric, fixed(r.estimate.value * scale, digits) + (share ? " %" : ""),
                            fixed(r.estimate.error * scale, digits), std::to_string(r.estimate.n),
                            r.subject.empty() && share ? std::to_string(t.unanswered) : ""});
    }
  }
  return table;
}

}  // namespace puyu
