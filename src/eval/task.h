// What is asked of a model: a task is a list of samples and the way they are judged. Tasks are data; the runner knows
// the four ways. Files (docs/formats.md, "evaluation samples") are JSONL, one sample a line:
//   {"id"?, "prompt" | "messages", "answer", "choices"?, "subject"?, "cluster"?}
// "messages" is a chat; when its last message is the assistant's and there is no "answer", that message is the answer.
// With "choices" (texts), "answer" is an index from 0, a letter or one of the texts; "question" may stand for "prompt".
// Errors name the file and the line.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/generator.h"

namespace puyu {

enum class Metric {
  kExactMatch,  // the generated text equals `expected` after normalisation
  kNumber,      // the last number of the generated text equals the one in `expected`
  kChoice,      // the right continuation is the most likely one
  kPerplexity,  // the likelihood of `expected` after `prompt` (mostly empty)
};
const char* metric_name(Metric m);

struct EvalSample {
  std::string id;
  std::string subject;  // results are also given by subject
  std::string cluster;  // samples that are not independent share one (score.h)
  Prompt prompt;
  std::string expected;              // kChoice: the text of the right choice
  std::vector<std::string> choices;  // kChoice: the continuations
  size_t right = 0;                  // kChoice: index of the right one
};

struct EvalTask {
  std::string name;
  Metric metric = Metric::kExactMatch;
  std::vector<EvalSample> samples;
};

std::vector<EvalSample> read_samples(const std::string& path);

// Text for perplexity. Documents are cut into chunks of about `chunk_bytes` at line or character borders; the chunks of
// a document are one cluster. JSONL documents: {"id"?, "content" | "text", "language" | "lang"?}.
struct EvalText {
  std::string id, language, text;
};
std::vector<EvalText> read_texts(const std::string& path);
EvalTask perplexity_task(const std::string& name, const std::vector<EvalText>& texts, size_t chunk_bytes);

// Four choices made of question-answer samples: a sample's own answer among three answers to other questions in the
// same script (Chinese or not), in an order that is a function of the seed. Samples that find no three are left out.
EvalTask choice_task_from_answers(const std::string& name, const std::vector<EvalSample>& samples, uint64_t seed);

// MMLU (test/*.csv without header) and C-Eval (val/*.csv with one): "A. … D. …", `shots` examples from dev/, the
// likelihood of the letter.
EvalTask mmlu_task(const std::string& dir, int shots);
EvalTask ceval_task(const std::string& dir, int shots);

// Rows of comma-separated values (RFC 4180: quoted fields may hold commas, quotes and line breaks).
std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& where);

// The named tasks: what each needs of the data folder.
struct TaskInfo {
  const char *name, *needs, *help;
};
const std::vector<TaskInfo>& known_tasks();

struct TaskOptions {
  std::string data;
  int64_t limit = 0;  // samples a task, spread evenly over it; 0: all
  int shots = 5;
  int64_t chunk_bytes = 2048;
  int64_t seed = 1;
};
bool task_has_data(const TaskInfo& task, const std::string& data);
// Error when the task is unknown (names the nearest one) or its data are missing.
EvalTask load_task(const std::string& name, const TaskOptions& options);
// Keeps `limit` samples, evenly spread.
void limit_samples(EvalTask& task, int64_t limit);

}  // namespace puyu
