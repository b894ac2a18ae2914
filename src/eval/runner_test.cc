#include "eval/runner.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/temp_dir_test_util.h"
#include "base/utf8.h"

namespace puyu {
namespace {

// Answers from a table; log-likelihoods by a rule.
class FakeModel : public Generator {
 public:
  std::map<std::string, std::string> answers;
  std::function<LogLikelihood(const Pair&)> rule;
  size_t calls = 0;
  SamplingOptions last;

  std::vector<Generation> generate(const std::vector<Prompt>& prompts, const SamplingOptions& options,
                                   const std::function<void(size_t)>& done) override {
    ++calls, last = options;
    std::vector<Generation> out;
    for (size_t i = 0; i < prompts.size(); ++i) {
      const Prompt& p = prompts[i];
      out.push_back({answers[p.messages.empty() ? p.text : p.messages.back().content]});
      if (done) done(i);
    }
    return out;
  }
  std::vector<LogLikelihood> loglikelihood(const std::vector<Pair>& pairs,
                                           const std::function<void(size_t)>& done) override {
    ++calls;
    std::vector<LogLikelihood> out;
    for (size_t i = 0; i < pairs.size(); ++i) {
      out.push_back(rule(pairs[i]));
      if (done) done(i);
    }
    return out;
  }
};

class Runner : public testing::Test {
 protected:
  test::TempDir folder;
  std::string dir = folder.path;
  std::string file(const std::string& name, const std::string& text) {
    write_file(dir + "/" + name, text);
    return dir + "/" + name;
  }
  std::string error_of(const std::string& text) {
    try {
      read_samples(file("bad.jsonl", text));
    } catch (const Error& e) { return e.what(); }
    return "no error";
  }
};

TEST_F(Runner, ArithmeticIsJudgedByTheLastNumber) {
  file("arithmetic-100.jsonl",
       R"({"id":"a","messages":[{"role":"user","content":"1+2?"}],"answer":"3"}
{"id":2,"messages":[{"role":"user","content":"5+6=?"},{"role":"assistant","content":"5+6=11"}]}

{"prompt":"7-7=","answer":0}
{"prompt":"8+8=","answer":"16"}
)");
  FakeModel model;
  model.answers = {{"1+2?", "1 加 2 等于 ３。"}, {"5+6=?", "11, of course"}, {"7-7=", "I do not know"}, {"8+8=", "17"}};
  EvalTask task = load_task("arithmetic-100", {.data = dir});
  ASSERT_EQ(task.samples.size(), 4u);
  EXPECT_EQ(task.samples[1].id, "2");
  EXPECT_EQ(task.samples[2].id, "4") << "the line's number";
  auto results = run_tasks(model, {task}, {.out = dir + "/out", .max_tokens = 9, .batch = 3});
  EXPECT_EQ(model.calls, 2u);
  EXPECT_EQ(model.last.temperature, 0);
  EXPECT_EQ(model.last.max_tokens, 9);
  ASSERT_EQ(results.size(), 1u);
  ASSERT_EQ(results[0].results.size(), 1u);
  const Estimate& e = results[0].results[0].estimate;
  EXPECT_EQ(e.value, 0.5);
  EXPECT_EQ(e.error, 0.25);
  EXPECT_EQ(e.n, 4);
  EXPECT_EQ(results[0].unanswered, 1);

  Json j = Json::parse(read_file(dir + "/out/results.json"));
  EXPECT_EQ(j.at("tasks").as_array()[0].at("results").as_array()[0].at("stderr").as_double(), 0.25);
  std::string samples = read_file(dir + "/out/arithmetic-100.samples.jsonl");
  EXPECT_EQ(std::count(samples.begin(), samples.end(), '\n'), 4);
  Json first = Json::parse(samples.substr(0, samples.find('\n')));
  EXPECT_EQ(first.at("got").as_string(), "1 加 2 等于 ３。");
  EXPECT_TRUE(first.at("right").as_bool());
  EXPECT_NE(read_file(dir + "/out/results.md").find("50.0 %"), std::string::npos);
}

TEST_F(Runner, SubjectsAndClusters) {
  file("manpages.jsonl", R"({"prompt":"ls?","answer":"List directory contents","subject":"en","cluster":"ls"}
{"prompt":"ls 是什么?","answer":"列出目录的内容","subject":"zh","cluster":"ls"}
{"prompt":"cp?","answer":"copy files","subject":"en"}
)");
  FakeModel model;
  model.answers = {{"ls?", "list directory contents."}, {"ls 是什么?", "「列出目录的内容。」"}, {"cp?", ""}};
  TaskResult r = run_task(model, load_task("manpages", {.data = dir}), {});
  ASSERT_EQ(r.results.size(), 3u);
  EXPECT_NEAR(r.results[0].estimate.value, 2.0 / 3, 1e-15);
  EXPECT_NEAR(r.results[0].estimate.error, std::sqrt(2 * 4.0 / 9) / 3, 1e-15) << "residuals 1/3 + 1/3 and -2/3";
  EXPECT_EQ(r.results[1].subject, "en");
  EXPECT_EQ(r.results[1].estimate.value, 0.5);
  EXPECT_EQ(r.results[2].estimate.value, 1);
  EXPECT_EQ(r.unanswered, 1);
}

TEST_F(Runner, ChoicesByLikelihood) {
  file("choice.jsonl", R"({"question":"2+2?","choices":["3","4"],"answer":1}
{"question":"sky?","choices":["green","blue"],"answer":"blue"}
{"question":"sea?","choices":["blue","red","green"],"answer":"B"}
)");
  FakeModel model;
  model.rule = [](const auto& p) {
    return LogLikelihood{p.continuation == "4" || p.continuation == "blue" ? -0.1 : -50, false, 1};
  };
  auto results = run_tasks(model, {load_task("choice", {.data = dir})}, {.out = dir});
  EXPECT_NEAR(results[0].results[0].estimate.value, 2.0 / 3, 1e-15);
  EXPECT_NE(read_file(dir + "/choice.samples.jsonl").find("\"scores\":[-50"), std::string::npos);
}

TEST_F(Runner, PerplexityCutsAtCharactersAndLosesNothing) {
  std::string zh, en;
  for (int i = 0; i < 500; ++i) zh += "春眠不觉晓，", en += i % 10 ? "word " : "line\n";
  std::vector<EvalText> texts = {{"d1", "zh", zh}, {"d2", "en", en}, {"d3", "en", "short"}};
  EvalTask task = perplexity_task("perplexity", texts, 100);
  std::string joined;
  for (const EvalSample& s : task.samples) {
    EXPECT_LE(s.expected.size(), 100u);
    EXPECT_TRUE(valid_utf8(s.expected));
    joined += s.expected;
  }
  EXPECT_EQ(joined, zh + en + "short");
  FakeModel model;  // one token a byte, each of probability 1/2 (en) or 1/4 (zh)
  model.rule = [](const auto& p) {
    auto n = static_cast<int64_t>(p.continuation.size());
    return LogLikelihood{-std::log(p.continuation[0] < 0 ? 4.0 : 2.0) * static_cast<double>(n), false, n};
  };
  TaskResult r = run_task(model, task, {});
  ASSERT_EQ(r.results.size(), 6u);
  EXPECT_EQ(r.results[2].subject, "en");
  EXPECT_NEAR(r.results[2].estimate.value, 2, 1e-12);
  EXPECT_NEAR(r.results[2].estimate.error, 0, 1e-12);
  EXPECT_NEAR(r.results[5].estimate.value, 2, 1e-12) << "zh: two bits per byte";
}

TEST_F(Runner, TextLongerThanTheContextNamesTheOption) {
  FakeModel model;
  model.rule = [](const auto&) -> LogLikelihood { throw TooLong("[engine] expected 2 to 10 tokens to score, got 11"); };
  try {
    run_task(model, perplexity_task("perplexity", {{"d1", "en", "some text"}}, 100), {});
    ADD_FAILURE() << "not refused";
  } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find("--chunk_bytes"), std::string::npos) << e.what(); }
  EXPECT_THROW(run_task(model, {"choice", Metric::kChoice, {{"1", "", "", {"q", {}}, "a", {"a", "b"}, 0}}}, {}),
               TooLong);
}

TEST_F(Runner, ManualPageChoicesHaveOneRightAnswer) {
  std::vector<EvalSample> samples;
  for (int i = 0; i < 20; ++i) {
    EvalSample s;
    s.id = std::to_string(i);
    s.prompt.text = cat("what is command", i);
    s.expected = i % 2 ? cat("does thing ", i / 2) : cat("做第", i / 2, "件事");
    samples.push_back(s);
  }
  samples[3].expected = samples[1].expected;  // two commands with one description
  EvalTask task = choice_task_from_answers("manpages-choice", samples, 7);
  ASSERT_EQ(task.samples.size(), 20u);
  size_t places[4] = {};
  for (const EvalSample& s : task.samples) {
    ASSERT_EQ(s.choices.size(), 4u);
    EXPECT_EQ(std::count(s.choices.begin(), s.choices.end(), s.expected), 1);
    EXPECT_EQ(s.choices[s.right], s.expected);
    for (const auto& c : s.choices) EXPECT_EQ(c.starts_with("does"), s.expected.starts_with("does"));
    ++places[s.right];
  }
  for (size_t n : places) EXPECT_GT(n, 0u) << "the right answer moves";
  EXPECT_EQ(task.samples[5].choices, choice_task_from_answers("x", samples, 7).samples[5].choices);
  EXPECT_TRUE(choice_task_from_answers("x", {samples[0], samples[1]}, 7).samples.empty());
}

TEST_F(Runner, BadLinesNameFileAndLine) {
  EXPECT_NE(error_of("{\"prompt\":\"a\",\"answer\":\"b\"}\n{\"prompt\":").find("bad.jsonl:2: "), std::string::npos);
  EXPECT_NE(error_of("\n\n{\"prompt\":\"a\"}").find("bad.jsonl:3: expected a field \"answer\""), std::string::npos);
  EXPECT_NE(error_of("{\"answer\":\"a\"}").find("bad.jsonl:1: expected a field 'prompt'"), std::string::npos);
  EXPECT_NE(error_of("[1]").find("bad.jsonl:1: expected a JSON object"), std::string::npos);
  EXPECT_NE(error_of(R"({"prompt":"a","choices":["x","y"],"answer":2})").find("2 is not an index of 2"),
            std::string::npos);
  EXPECT_NE(error_of(R"({"prompt":"a","choices":["x"],"answer":0})").find("at least 2"), std::string::npos);
  EXPECT_NE(error_of(R"({"messages":[],"answer":"x"})").find("at least one message"), std::string::npos);
  EXPECT_NE(error_of("").find("the file has none"), std::string::npos);
}

TEST_F(Runner, UnknownTaskAndMissingData) {
  auto message = [&](const std::string& name) {
    try {
      load_task(name, {.data = dir});
    } catch (const Error& e) { return std::string(e.what()); }
    return std::string();
  };
  EXPECT_NE(message("manpage").find("did you mean 'manpages'"), std::string::npos);
  EXPECT_NE(message("mmlu").find("does not exist; give --data"), std::string::npos);
}

TEST_F(Runner, LimitsSpreadEvenly) {
  EvalTask task{"t", Metric::kExactMatch, std::vector<EvalSample>(100)};
  for (int i = 0; i < 100; ++i) task.samples[i].id = std::to_string(i);
  limit_samples(task, 4);
  ASSERT_EQ(task.samples.size(), 4u);
  EXPECT_EQ(task.samples[1].id, "25");
  EXPECT_EQ(task.samples[3].id, "75");
}

TEST(Csv, QuotedFields) {
  using Rows = std::vector<std::vector<std::string>>;
  EXPECT_EQ(parse_csv("a,\"b,\"\"c\"\"\nd\",e\r\n1,,3", "x"), (Rows{{"a", "b,\"c\"\nd", "e"}, {"1", "", "3"}}));
  EXPECT_EQ(parse_csv("\n\na\n", "x"), (Rows{{"a"}}));
  EXPECT_EQ(parse_csv("a,\n", "x"), (Rows{{"a", ""}}));
  EXPECT_THROW(parse_csv("a,\"b", "x"), Error);
}

TEST(Exams, RealMmluAndCeval) {
  const char* env = std::getenv("PUYU_TEST_DATA");
  std::string data = env ? env : std::string(PUYU_SOURCE_DIR) + "/../shared/data";
  if (!is_directory(data + "/eval/mmlu")) GTEST_SKIP() << "no test data in " << data;
  EvalTask mmlu = mmlu_task(data + "/eval/mmlu", 5), ceval = ceval_task(data + "/eval/ceval", 0);
  EXPECT_EQ(mmlu.samples.size(), 1811u);  // counted in the data's README
  EXPECT_EQ(ceval.samples.size(), 236u);
  const EvalSample& s = mmlu.samples[0];
  EXPECT_TRUE(s.prompt.text.starts_with(
      "The following are multiple choice questions (with answers) about abstract algebra.\n\nFind all c in Z_3"));
  EXPECT_TRUE(s.prompt.text.ends_with("\nAnswer:"));
  EXPECT_EQ(s.choices[s.right], s.expected);
}

TEST(Table, AlignsChinese) {
  TextTable t{{"任务", "n"}, {{"算术", "5"}, {"ab", "1234"}}, {false, true}};
  EXPECT_EQ(to_text(t), "任务     n\n──────────\n算术     5\nab    1234\n");
  EXPECT_EQ(to_markdown({{"a"}, {{"x|y"}}, {true}}), "|    a |\n|-----:|\n| x\\|y |\n");
}

}  // namespace
}  // namespace puyu
