// Exams as CSV folders: MMLU and C-Eval.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "eval/task.h"

namespace puyu {
namespace {

struct ExamQuestion {
  std::string question, options[4];
  size_t right = 0;
};

// What differs between the exams.
struct ExamForm {
  const char *name, *split, *suffix;  // test files are DIR/split/SUBJECTsuffix
  size_t first_column;                // the question's
  bool header;
  const char *intro_begin, *intro_end, *answer_word;  // around the subject; before the letter
};
constexpr ExamForm kMmlu = {"mmlu",  "test",   "_test.csv",
                            0,       false,    "The following are multiple choice questions (with answers) about ",
                            ".\n\n", "Answer:"};
constexpr ExamForm kCeval = {
    "ceval", "val", "_val.csv", 1, true, "以下是中国关于", "考试的单项选择题，请选出其中的正确答案。\n\n", "答案："};

std::vector<ExamQuestion> read_exam(const std::string& path, const ExamForm& form) {
  auto rows = parse_csv(read_file(path), path);
  std::vector<ExamQuestion> out;
  for (size_t r = form.header ? 1 : 0; r < rows.size(); ++r) {
    const auto& row = rows[r];
    size_t c = form.first_column;
    if (row.size() < c + 6)
      fail("[eval] ", path, ": row ", r + 1, ": expected a question, four choices and the answer, got ", row.size(),
           " fields");
    const std::string& letter = row[c + 5];
    if (letter.size() != 1 || letter[0] < 'A' || letter[0] > 'D')
      fail("[eval] ", path, ": row ", r + 1, ": expected an answer A to D, got '", letter, "'");
    ExamQuestion q{row[c], {row[c + 1], row[c + 2], row[c + 3], row[c + 4]}, static_cast<size_t>(letter[0] - 'A')};
    out.push_back(std::move(q));
  }
  return out;
}

std::string ask_exam(const ExamQuestion& q, const ExamForm& form) {
  std::string out = q.question + "\n";
  for (size_t i = 0; i < 4; ++i) out += cat(static_cast<char>('A' + i), ". ", q.options[i], "\n");
  return out + form.answer_word;
}

// Letters follow the answer word after a space, as in the original MMLU code; after a Chinese colon without.
std::string letter_text(size_t i, const ExamForm& form) {
  return cat(&form == &kMmlu ? " " : "", static_cast<char>('A' + i));
}

EvalTask exam_task(const std::string& dir, int shots, const ExamForm& form) {
  EvalTask task{form.name, Metric::kChoice, {}};
  for (const std::string& path : list_files(dir + "/" + form.split)) {
    if (!path.ends_with(form.suffix)) continue;
    std::string subject = std::filesystem::path(path).filename().string();
    subject.resize(subject.size() - std::string_view(form.suffix).size());
    std::string title = subject;
    std::replace(title.begin(), title.end(), '_', ' ');
    std::string intro = cat(form.intro_begin, title, form.intro_end);
    if (shots > 0) {
      auto examples = read_exam(cat(dir, "/dev/", subject, "_dev.csv"), form);
      for (size_t i = 0; i < std::min(examples.size(), static_cast<size_t>(shots)); ++i)
        intro += ask_exam(examples[i], form) + letter_text(examples[i].right, form) + "\n\n";
    }
    size_t number = 0;
    for (const ExamQuestion& q : read_exam(path, form)) {
      EvalSample s;
      s.id = cat(subject, "/", number++);
      s.subject = subject;
      s.prompt.text = intro + ask_exam(q, form);
      for (size_t i = 0; i < 4; ++i) s.choices.push_back(letter_text(i, form));
      s.right = q.right;
      s.expected = s.choices[q.right];
      task.samples.push_back(std::move(s));
    }
  }
  return task;
}

}  // namespace

EvalTask mmlu_task(const std::string& dir, int shots) { return exam_task(dir, shots, kMmlu); }
EvalTask ceval_task(const std::string& dir, int shots) { return exam_task(dir, shots, kCeval); }

std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& where) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  size_t i = 0;
  if (text.starts_with("\xEF\xBB\xBF")) i = 3;
  auto end_field = [&] { row.push_back(std::exchange(field, {})); };
  auto end_row = [&] {
    end_field();
    if (row.size() > 1 || !row[0].empty()) rows.push_back(row);
    row.clear();
  };
  while (i < text.size()) {
    if (text[i] == '"' && field.empty()) {
      for (++i;; ++i) {
        if (i >= text.size()) fail("[eval] ", where, ": row ", rows.size() + 1, ": a quoted field does not end");
        if (text[i] != '"')
          field += text[i];
        else if (i + 1 < text.size() && text[i + 1] == '"')
          field += text[i++];
        else
          break;
      }
      ++i;
      continue;
    }
    char c = text[i++];
    if (c == ',')
      end_field();
    else if (c == '\n')
      end_row();
    else if (c != '\r' || i >= text.size() || text[i] != '\n')
      field += c;
  }
  if (!field.empty() || !row.empty()) end_row();
  return rows;
}

}  // namespace puyu
