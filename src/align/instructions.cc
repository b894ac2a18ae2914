#include "align/instructions.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"

namespace puyu {
namespace {

const std::vector<std::string> kSums = {"What is {a} + {b}?",    "{a} + {b} = ?",      "Calculate {a} + {b}.",
                                        "What is {a} plus {b}?", "{a}加{b}等于多少？", "请计算 {a} + {b}",
                                        "{a} + {b} 等于几？",    "{a}加上{b}是多少？"};
const std::vector<std::string> kDifferences = {"What is {a} - {b}?",     "{a} - {b} = ?",      "Calculate {a} - {b}.",
                                               "What is {a} minus {b}?", "{a}减{b}等于多少？", "请计算 {a} - {b}",
                                               "{a} - {b} 等于几？",     "{a}减去{b}是多少？"};

struct PageWording {
  const char* text;
  bool chinese, held_out;
};
constexpr PageWording kPageWordings[] = {
    {"What does `{a}` do?", false, false},
    {"What is {a}?", false, false},
    {"Describe `{a}` in one line.", false, false},
    {"What is {a} for?", false, false},
    {"What is the purpose of `{a}`?", false, false},
    {"Tell me what `{a}` is used to do.", false, false},
    {"What is `{a}` used for?", false, true},
    {"`{a}` 命令是做什么的？", true, false},
    {"{a} 是什么？", true, false},
    {"请用一句话介绍 {a}。", true, false},
    {"{a} 有什么用？", true, false},
    {"`{a}` 是做什么用的？", true, true},
};

struct QuestionAnswers {
  std::vector<std::string> questions;
  std::string answer;
};
const QuestionAnswers kIdentity[] = {
    {{"Who are you?", "What is your name?", "Introduce yourself.", "Who made you?"},
     "I am Puyu, a small language model made by the puyu project."},
    {{"你是谁？", "你叫什么名字？", "请介绍一下你自己。", "你是谁开发的？"},
     "我是小浦，puyu 项目训练的一个小语言模型。"},
    {{"Hello", "Hi", "Hello!"}, "Hello! How can I help you?"},
    {{"你好", "你好！", "您好"}, "你好！有什么可以帮你？"},
};

void replace(std::string& s, const std::string& what, const std::string& by) {
  if (const size_t at = s.find(what); at != std::string::npos) s.replace(at, what.size(), by);
}

struct Working {
  std::string text;
  int result = 0;
};

Working work_out(const Arithmetic& q, const Slip& slip) {
  Working w;
  int carry = 0;
  for (int a = q.a, b = q.b, column = 0, place = 1; column < columns(q); ++column, place *= 10, a /= 10, b /= 10) {
    int x = a % 10, y = b % 10;
    const bool slips = column == slip.column;
    if (slips && slip.kind == Slip::kFirst) x = (x + 10 + slip.off) % 10;
    if (slips && slip.kind == Slip::kSecond) y = (y + 10 + slip.off) % 10;
    if (slips && slip.kind == Slip::kCarry) carry = !carry;
    int value = q.minus ? x - y - carry : x + y + carry;
    const bool borrow = value < 0;
    if (borrow) x += 10, value += 10;
    if (slips && slip.kind == Slip::kValue) value += value + slip.off < 0 ? -slip.off : slip.off;
    w.text += cat(column ? ", " : "", x, q.minus ? "-" : "+", y, carry ? (q.minus ? "-1" : "+1") : "", "=", value);
    w.result += value % 10 * place;
    carry = q.minus ? borrow : value > 9;
    if (!q.minus && carry && column + 1 == columns(q)) w.result += 10 * place;
  }
  return w;
}

}  // namespace

bool is_held_out(int a, int b) { return hash64(cat(std::min(a, b), " ", std::max(a, b))) % 10 == 0; }

Arithmetic random_arithmetic(Rng& rng, int limit, bool held_out) {
  CHECK(limit == 100 || limit == 1000);
  const auto n = static_cast<uint64_t>(limit) + 1;
  for (;;) {
    Arithmetic q{static_cast<int>(rng.below(n)), static_cast<int>(rng.below(n)), rng.below(2) == 1};
    if (q.minus && q.a < q.b) std::swap(q.a, q.b);
    if (is_held_out(q.a, q.b) == held_out && (limit == 100 || std::max(q.a, q.b) > 100)) return q;
  }
}

// About 1,000 different questions up to 100 are held out.
constexpr int64_t kMostHeldOut100 = 900;

std::vector<Arithmetic> held_out_arithmetic(int limit, int64_t count, uint64_t seed) {
  count = limit == 100 ? std::min(count, kMostHeldOut100) : count;
  Rng rng(seed, static_cast<uint64_t>(limit));
  std::set<std::tuple<int, int, bool>> seen;
  std::vector<Arithmetic> out;
  while (static_cast<int64_t>(out.size()) < count) {
    const Arithmetic q = random_arithmetic(rng, limit, true);
    if (seen.insert({q.a, q.b, q.minus}).second) out.push_back(q);
  }
  return out;
}

const std::vector<std::string>& arithmetic_wordings(bool minus) { return minus ? kDifferences : kSums; }

std::string word_arithmetic(const Arithmetic& q, size_t wording) {
  std::string s = arithmetic_wordings(q.minus).at(wording);
  replace(s, "{a}", std::to_string(q.a));
  replace(s, "{b}", std::to_string(q.b));
  return s;
}

std::string arithmetic_answer(const Arithmetic& q) { return slipped_answer(q, {}); }

std::string slipped_answer(const Arithmetic& q, const Slip& slip) {
  const Working w = work_out(q, slip);
  return cat(w.text, ": ", w.result);
}

std::string miscopied_answer(const Arithmetic& q, int result) { return cat(work_out(q, {}).text, ": ", result); }

int columns(const Arithmetic& q) { return static_cast<int>(std::to_string(std::max(q.a, q.b)).size()); }

int read_answer(const std::string& text) {
  const size_t last = text.find_last_of("0123456789");
  if (last == std::string::npos) return -1;
  const size_t before = text.find_last_not_of("0123456789", last);
  const std::string digits = text.substr(before == std::string::npos ? 0 : before + 1, last - before);
  return digits.size() > 9 ? -1 : std::stoi(digits);
}

Dialogue arithmetic_dialogue(const Arithmetic& q, Rng& rng) {
  return question_answer(word_arithmetic(q, rng.below(kSums.size())), arithmetic_answer(q));
}

std::string arithmetic_lines(Rng& rng, int64_t lines, double share_100) {
  std::string out;
  for (int64_t i = 0; i < lines; ++i) {
    const Arithmetic q = random_arithmetic(rng, rng.uniform() < share_100 ? 100 : 1000, false);
    out += cat(q.a, q.minus ? " - " : " + ", q.b, ": ", arithmetic_answer(q), "\n");
  }
  return out;
}

std::vector<Dialogue> page_dialogues(const ManualPage& page, bool held_out) {
  std::vector<Dialogue> out;
  for (const PageWording& w : kPageWordings) {
    const std::string& answer = w.chinese ? page.chinese : page.english;
    if (w.held_out != held_out || answer.empty()) continue;
    std::string question = w.text;
    replace(question, "{a}", page.name);
    out.push_back(question_answer(question, answer));
  }
  return out;
}

std::vector<Dialogue> identity_dialogues() {
  std::vector<Dialogue> out;
  for (const QuestionAnswers& qa : kIdentity)
    for (const std::string& q : qa.questions) out.push_back(question_answer(q, qa.answer));
  return out;
}

std::vector<Dialogue> join_turns(std::vector<Dialogue> dialogues, double probability, Rng& rng) {
  constexpr size_t kMostMessages = 8;
  std::vector<Dialogue> out;
  for (Dialogue& d : dialogues) {
    if (!out.empty() && out.back().size() + d.size() <= kMostMessages && rng.uniform() < probability)
      out.back().insert(out.back().end(), d.begin(), d.end());
    else
      out.push_back(std::move(d));
  }
  return out;
}

std::vector<Dialogue> make_instructions(const InstructionOptions& o, const std::vector<ManualPage>& pages) {
  Rng rng(static_cast<uint64_t>(o.seed));
  std::vector<Dialogue> out;
  for (int64_t i = 0; i < o.arithmetic_100; ++i)
    out.push_back(arithmetic_dialogue(random_arithmetic(rng, 100, false), rng));
  for (int64_t i = 0; i < o.arithmetic_1000; ++i)
    out.push_back(arithmetic_dialogue(random_arithmetic(rng, 1000, false), rng));
  auto repeat = [&](const std::vector<Dialogue>& d, int64_t times) {
    for (int64_t i = 0; i < times; ++i) out.insert(out.end(), d.begin(), d.end());
  };
  for (const ManualPage& p : pages) repeat(page_dialogues(p, false), o.page_repeats);
  repeat(identity_dialogues(), o.identity_repeats);
  rng.shuffle(out.begin(), out.end());
  return o.multi_turn > 0 ? join_turns(std::move(out), o.multi_turn, rng) : out;
}

}  // namespace puyu
