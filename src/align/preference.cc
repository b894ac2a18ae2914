#include "align/preference.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signal.h"

namespace puyu {
namespace {

constexpr int64_t kLongest = 64;  // tokens of a sampled answer

Json messages_json(const Dialogue& d) {
  Json list = Json::array();
  for (const Message& m : d) {
    Json j = Json::object();
    j["role"] = m.role;
    j["content"] = m.content;
    list.push(std::move(j));
  }
  return list;
}

bool has_cjk(const std::string& s) {
  return std::any_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xe3; });
}

PreferencePair arithmetic_pair(int limit, bool held_out, double slips, Rng& rng) {
  const Arithmetic q = random_arithmetic(rng, limit, held_out);
  const std::string question = word_arithmetic(q, rng.below(arithmetic_wordings(q.minus).size()));
  return {
      {{"system", kJudgeCorrectness, ""}, {"user", question, ""}}, arithmetic_answer(q), wrong_answer(q, slips, rng)};
}

// The model's own wrong answers, each under the right one.
void add_sampled_pairs(std::vector<PreferencePair>& out, const PreferenceOptions& o, const AnswerSource& source,
                       bool held_out, Rng& rng) {
  constexpr int64_t kRound = 512;
  const int32_t stop = source.tokenizer.special("<|im_end|>");
  const int64_t questions = held_out ? o.sampled / 10 : o.sampled;
  Progress bar("sample", questions, "answers");
  for (int64_t done = 0; done < questions && !interrupted(); done += kRound) {
    const ArithmeticPrompts q =
        draw_arithmetic(source.tokenizer, std::min(kRound, questions - done), o.sampled_share_100, held_out, rng);
    const std::vector<SampledAnswer> answers = source.rollout(source.model, q.prompts, stop, kLongest, rng.next());
    for (size_t i = 0; i < answers.size(); ++i) {
      const std::string text = answer_text(source.tokenizer, answers[i], stop);
      if (read_answer(text) != q.questions[i].result())
        out.push_back(
            {{{"system", kJudgeCorrectness, ""}, q.dialogues[i][0]}, arithmetic_answer(q.questions[i]), text});
    }
    bar.add(static_cast<int64_t>(answers.size()));
    bar.note(cat(out.size(), " wrong"));
  }
}

PreferencePair concise_pair(const std::vector<Dialogue>& sources, Rng& rng) {
  const Dialogue& d = sources[rng.below(sources.size())];
  const std::string& answer = d[1].content;
  return {{{"system", kJudgeConciseness, ""}, d[0]}, answer, ramble(answer, has_cjk(d[0].content), rng)};
}

}  // namespace

const char* const kJudgeCorrectness = "Judge whether the answer is correct.";
const char* const kJudgeConciseness = "Judge whether the answer is concise.";

std::vector<PreferencePair> read_preferences(const std::string& path) {
  std::vector<PreferencePair> out;
  const std::string text = read_file(path);
  int64_t line = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    ++line;
    try {
      const Json j = Json::parse(std::string_view(text).substr(at, end - at));
      PreferencePair p{{}, j.at("chosen").as_string(), j.at("rejected").as_string()};
      for (const Json& m : j.at("prompt").as_array())
        p.prompt.push_back({m.at("role").as_string(), m.at("content").as_string(), ""});
      if (p.prompt.empty()) fail("expected at least one message in \"prompt\"");
      out.push_back(std::move(p));
    } catch (const Error& e) {
      fail("[align] ", path, ":", line, ": expected {\"prompt\": [messages], \"chosen\", \"rejected\"}: ", e.what());
    }
    at = end + 1;
  }
  if (out.empty()) fail("[align] ", path, ": expected one preference pair a line, got an empty file");
  return out;
}

void write_preferences(const std::string& path, const std::vector<PreferencePair>& pairs) {
  AtomicFile file(path);
  for (const PreferencePair& p : pairs) {
    Json j = Json::object();
    j["prompt"] = messages_json(p.prompt);
    j["chosen"] = p.chosen;
    j["rejected"] = p.rejected;
    file.write(j.dump() + "\n");
  }
  file.commit();
}

std::string wrong_answer(const Arithmetic& q, double slips, Rng& rng) {
  if (rng.uniform() < slips) {
    constexpr int kOff[] = {1, -1, 1, -1, 2, -2};
    const auto column = static_cast<int>(rng.below(static_cast<uint64_t>(columns(q))));
    const auto kind = static_cast<Slip::Kind>(rng.below(4));
    const auto digit = static_cast<int>(1 + rng.below(9));
    if (kind == Slip::kFirst || kind == Slip::kSecond) return slipped_answer(q, {column, kind, digit});
    if (kind == Slip::kCarry && column > 0) return slipped_answer(q, {column, kind, 0});
    return slipped_answer(q, {column, Slip::kValue, kOff[rng.below(6)]});
  }
  const int right = q.result();
  constexpr int kPlaces[] = {1, 10, 100};
  for (;;) {
    const int off =
        kPlaces[rng.below(static_cast<uint64_t>(std::min(3, columns(q))))] * static_cast<int>(1 + rng.below(3));
    const int wrong = rng.below(2) ? right + off : right - off;
    if (wrong >= 0) return miscopied_answer(q, wrong);
  }
}

std::string ramble(const std::string& answer, bool chinese, Rng& rng) {
  static const std::vector<std::string> kEnglish = {
      "Well, that is a very good question, let me think about it for a while. ", "As everybody knows, ",
      "There are many things that one could say about this. ", "To be honest, I am happy that you asked. "};
  static const std::vector<std::string> kChinese = {"嗯，这是一个很好的问题，让我好好想一想。", "众所周知，",
                                                    "关于这个问题可以说的实在很多。", "说实话，很高兴你问我这个。"};
  const std::vector<std::string>& fillers = chinese ? kChinese : kEnglish;
  std::string out;
  for (uint64_t i = 0, n = 1 + rng.below(2); i < n; ++i) out += fillers[rng.below(fillers.size())];
  out += answer;
  if (rng.below(2)) out += (chinese ? "。也就是说，" : ". In other words, ") + answer;
  return out;
}

std::vector<PreferencePair> make_preferences(const PreferenceOptions& o, const std::vector<Dialogue>& dialogues,
                                             bool held_out, const AnswerSource* source) {
  Rng rng(static_cast<uint64_t>(o.seed), held_out);
  std::vector<PreferencePair> out;
  if (o.sampled > 0) {
    CHECK(source, "sampled pairs need a model that answers");
    add_sampled_pairs(out, o, *source, held_out, rng);
    const size_t once = out.size();
    log_info(held_out ? "held-out: " : "training: ", once, " wrong answers of the model itself");
    for (int64_t i = 1; i < o.sampled_repeats && !held_out; ++i)
      for (size_t j = 0; j < once; ++j) out.push_back(PreferencePair(out[j]));
  }
  for (int64_t i = 0; i < o.arithmetic_100; ++i) out.push_back(arithmetic_pair(100, held_out, o.slips, rng));
  for (int64_t i = 0; i < o.arithmetic_1000; ++i) out.push_back(arithmetic_pair(1000, held_out, o.slips, rng));
  CHECK(!dialogues.empty());
  for (int64_t i = 0; i < o.concise; ++i) out.push_back(concise_pair(dialogues, rng));
  rng.shuffle(out.begin(), out.end());
  return out;
}

}  // namespace puyu
