#include "eval/task.h"

#include <algorithm>
#include <set>

#include "base/config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/utf8.h"

namespace puyu {
namespace {

// f(object, line number) for each line that is not blank; problems get "file:line".
template <class F>
void for_each_line(const std::string& path, F&& f) {
  MappedFile file(path);
  std::string_view rest = file.bytes();
  for (int64_t line = 1; !rest.empty(); ++line) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    try {
      Json j = Json::parse(text, "line");
      if (!j.is_object()) fail("expected a JSON object, got ", j.type_name());
      f(j, line);
    } catch (const Error& e) { fail("[eval] ", path, ":", line, ": ", e.what()); }
  }
}

// A text, or a number as written.
std::string text_of(const Json& j) { return j.is_string() ? j.as_string() : j.dump(); }

std::vector<Message> read_messages(const Json& j) {
  std::vector<Message> out;
  for (const Json& m : j.as_array())
    out.push_back({m.at("role").as_string(), m.at("content").as_string(), m.get<std::string>("name", "")});
  if (out.empty()) fail("expected at least one message in \"messages\"");
  return out;
}

size_t right_choice(const Json& answer, const std::vector<std::string>& choices) {
  if (answer.is_int()) {
    int64_t i = answer.as_int();
    if (i >= 0 && i < static_cast<int64_t>(choices.size())) return static_cast<size_t>(i);
    fail("\"answer\": ", i, " is not an index of ", choices.size(), " choices (from 0)");
  }
  const std::string& text = answer.as_string();
  auto it = std::find(choices.begin(), choices.end(), text);
  if (it != choices.end()) return static_cast<size_t>(it - choices.begin());
  if (text.size() == 1 && text[0] >= 'A' && text[0] < 'A' + static_cast<int>(choices.size()))
    return static_cast<size_t>(text[0] - 'A');
  fail("\"answer\": \"", text, "\" is neither a choice nor a letter of one");
}

EvalSample read_sample(const Json& j, int64_t line) {
  EvalSample s;
  s.id = j.find("id") ? text_of(j.at("id")) : std::to_string(line);
  s.subject = j.get<std::string>("subject", "");
  s.cluster = j.get<std::string>("cluster", "");
  const Json* answer = j.find("answer");
  if (const Json* messages = j.find("messages")) {
    s.prompt.messages = read_messages(*messages);
    if (!answer && s.prompt.messages.back().role == "assistant") {
      s.expected = s.prompt.messages.back().content;
      s.prompt.messages.pop_back();
      if (s.prompt.messages.empty()) fail("expected a question before the assistant's message");
      return s;
    }
  } else {
    s.prompt.text = j.at(j.find("question") ? "question" : "prompt").as_string();
  }
  if (!answer) fail("expected a field \"answer\"");
  const Json* choices = j.find("choices");
  if (!choices) return s.expected = text_of(*answer), s;
  for (const Json& c : choices->as_array()) s.choices.push_back(c.as_string());
  if (s.choices.size() < 2) fail("\"choices\": expected at least 2, got ", s.choices.size());
  s.right = right_choice(*answer, s.choices);
  s.expected = s.choices[s.right];
  return s;
}

bool has_chinese(std::string_view text) {
  char32_t c;
  for (size_t i = 0; i < text.size();) {
    size_t n = decode_utf8(text, i, c);
    if (n == 3 && c >= 0x3400 && c < 0xA000) return true;
    i += std::max<size_t>(n, 1);
  }
  return false;
}

// The next chunk of at most `size` bytes: up to the last line break in its second half, else to a whole character.
std::string_view next_chunk(std::string_view text, size_t size) {
  if (text.size() <= size) return text;
  std::string_view head = utf8_prefix(text, size);
  if (head.empty()) head = text.substr(0, size);
  size_t line = head.rfind('\n');
  return line != std::string_view::npos && line >= size / 2 ? head.substr(0, line + 1) : head;
}

}  // namespace

const char* metric_name(Metric m) {
  constexpr const char* kNames[] = {"exact match", "exact number", "choice accuracy", "perplexity"};
  return kNames[static_cast<int>(m)];
}

std::vector<EvalSample> read_samples(const std::string& path) {
  std::vector<EvalSample> out;
  for_each_line(path, [&](const Json& j, int64_t line) { out.push_back(read_sample(j, line)); });
  if (out.empty()) fail("[eval] ", path, ": expected samples, the file has none");
  return out;
}

std::vector<EvalText> read_texts(const std::string& path) {
  std::vector<EvalText> out;
  for_each_line(path, [&](const Json& j, int64_t line) {
    EvalText t;
    t.id = j.find("id") ? text_of(j.at("id")) : std::to_string(line);
    t.language = j.get<std::string>(j.find("language") ? "language" : "lang", "");
    t.text = j.at(j.find("text") ? "text" : "content").as_string();
    out.push_back(std::move(t));
  });
  if (out.empty()) fail("[eval] ", path, ": expected documents, the file has none");
  return out;
}

EvalTask perplexity_task(const std::string& name, const std::vector<EvalText>& texts, size_t chunk_bytes) {
  EvalTask task{name, Metric::kPerplexity, {}};
  for (const EvalText& t : texts) {
    int chunk = 0;
    for (std::string_view rest = t.text; !rest.empty();) {
      std::string_view piece = next_chunk(rest, std::max<size_t>(chunk_bytes, 4));
      rest.remove_prefix(piece.size());
      if (piece.find_first_not_of(" \t\r\n") == std::string_view::npos) continue;
      EvalSample s;
      s.id = cat(t.id, "#", chunk++);
      s.subject = t.language;
      s.cluster = t.id;
      s.expected = piece;
      task.samples.push_back(std::move(s));
    }
  }
  return task;
}

EvalTask choice_task_from_answers(const std::string& name, const std::vector<EvalSample>& samples, uint64_t seed) {
  std::vector<std::string> pool[2];  // distinct answers by script
  for (int zh : {0, 1}) {
    std::set<std::string> seen;
    for (const EvalSample& s : samples)
      if (has_chinese(s.expected) == (zh == 1) && seen.insert(s.expected).second) pool[zh].push_back(s.expected);
  }
  EvalTask task{name, Metric::kChoice, {}};
  for (const EvalSample& sample : samples) {
    const auto& others = pool[has_chinese(sample.expected) ? 1 : 0];
    if (others.size() < 4) continue;
    EvalSample s = sample;
    Rng rng(seed, hash64(s.id));
    s.choices = {s.expected};
    while (s.choices.size() < 4) {
      const std::string& other = others[rng.below(others.size())];
      if (std::find(s.choices.begin(), s.choices.end(), other) == s.choices.end()) s.choices.push_back(other);
    }
    rng.shuffle(s.choices.begin(), s.choices.end());
    s.right = static_cast<size_t>(std::find(s.choices.begin(), s.choices.end(), s.expected) - s.choices.begin());
    task.samples.push_back(std::move(s));
  }
  return task;
}

const std::vector<TaskInfo>& known_tasks() {
  static const std::vector<TaskInfo> kTasks = {
      {"perplexity", "valid.jsonl", "held-out text by language: perplexity and bits per byte"},
      {"arithmetic-100", "arithmetic-100.jsonl", "sums and differences up to 100: the last number of the answer"},
      {"arithmetic-1000", "arithmetic-1000.jsonl", "sums and differences up to 1000: the last number of the answer"},
      {"manpages", "manpages.jsonl", "what a command does: exact match after normalisation"},
      {"manpages-choice", "manpages.jsonl", "which of four descriptions is the command's, by log-likelihood"},
      {"choice", "choice.jsonl", "your multiple-choice questions, by log-likelihood"},
      {"mmlu", "mmlu", "MMLU (CSV folders dev, test), by log-likelihood of the letter"},
      {"ceval", "ceval", "C-Eval (CSV folders dev, val), by log-likelihood of the letter"},
  };
  return kTasks;
}

bool task_has_data(const TaskInfo& task, const std::string& data) { return file_exists(data + "/" + task.needs); }

void limit_samples(EvalTask& task, int64_t limit) {
  auto n = static_cast<int64_t>(task.samples.size());
  if (limit <= 0 || n <= limit) return;
  std::vector<EvalSample> kept;
  kept.reserve(static_cast<size_t>(limit));
  for (int64_t i = 0; i < limit; ++i) kept.push_back(std::move(task.samples[static_cast<size_t>(i * n / limit)]));
  task.samples = std::move(kept);
}

EvalTask load_task(const std::string& name, const TaskOptions& o) {
  std::vector<std::string> names;
  const TaskInfo* info = nullptr;
  for (const TaskInfo& t : known_tasks()) {
    names.emplace_back(t.name);
    if (name == t.name) info = &t;
  }
  if (!info) {
    std::string near = nearest(name, names);
    fail("[eval] unknown task '", name, "'", near.empty() ? "" : cat(", did you mean '", near, "'?"),
         " (puyu eval list)");
  }
  std::string path = o.data + "/" + info->needs;
  if (!file_exists(path)) fail("[eval] task '", name, "' needs '", path, "', which does not exist; give --data DIR");
  EvalTask task{name, name.starts_with("arithmetic") ? Metric::kNumber : Metric::kExactMatch, {}};
  if (name == "perplexity") {
    task = perplexity_task(name, read_texts(path), static_cast<size_t>(o.chunk_bytes));
  } else if (name == "mmlu") {
    task = mmlu_task(path, o.shots);
  } else if (name == "ceval") {
    task = ceval_task(path, o.shots);
  } else if (name == "manpages-choice") {
    task = choice_task_from_answers(name, read_samples(path), static_cast<uint64_t>(o.seed));
  } else {
    task.samples = read_samples(path);
    if (name == "choice") task.metric = Metric::kChoice;
  }
  for (const EvalSample& s : task.samples)
    if (task.metric == Metric::kChoice && s.choices.empty())
      fail("[eval] ", path, ": sample '", s.id, "' of task '", name, "' has no \"choices\"");
  if (task.samples.empty()) fail("[eval] ", path, ": task '", name, "' found no usable sample");
  limit_samples(task, o.limit);
  return task;
}

}  // namespace puyu
