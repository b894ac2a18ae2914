// Data, losses and formulas of alignment; training itself is in sft_test.cc, reward_test.cc and ppo_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "align/ppo.h"
#include "align/reward.h"
#include "align/testing.h"
#include "base/error.h"
#include "base/file.h"
#include "base/temp_dir_test_util.h"
#include "text/bpe_train.h"

namespace puyu {
namespace {

Tokenizer small_tokenizer() {
  BpeTrainOptions o;
  o.vocab_size = 512;
  o.min_count = 1;
  std::vector<std::string> texts;
  for (size_t i = 0; i < 8; ++i)
    for (bool minus : {false, true}) texts.push_back(word_arithmetic({37, 5, minus}, i) + "\n");
  for (const Dialogue& d : identity_dialogues()) texts.push_back(d[0].content + d[1].content);
  texts.push_back("user\nassistant\nsystem\n" + std::string(kJudgeCorrectness) + kJudgeConciseness);
  size_t at = 0;
  return train_bpe(o, [&](std::string& text) { return at < texts.size() && (text = texts[at++], true); });
}

// Both operands of every arithmetic question in a dialogue.
TEST(ChatData, LossStandsOnTheAnswerOnly) {
  const Tokenizer t = small_tokenizer();
  const Dialogue d = {{"user", "What is 3 + 4?", ""}, {"assistant", "7", ""}};
  const EncodedChats e = encode_dialogues(t, {d}, 100);
  ChatBatch b;
  append_example(b, e, 0);
  std::vector<int32_t> counted, expected = t.encode("7");
  for (int32_t id : b.target)
    if (id >= 0) counted.push_back(id);
  expected.push_back(t.special("<|im_end|>"));
  for (int32_t id : t.encode("\n")) expected.push_back(id);
  EXPECT_EQ(counted, expected);
  // The first counted position is the last token of "<|im_start|>assistant\n".
  const size_t first = encode_chat(t, {d[0]}, true).size() - 1;
  for (size_t i = 0; i < first; ++i) EXPECT_EQ(b.target[i], -1);
  EXPECT_EQ(b.target[first], counted[0]);
  EXPECT_EQ(b.counted, static_cast<int64_t>(counted.size()));
}

TEST(ChatData, EachEpochSeesEveryExampleOnceInItsOwnOrder) {
  EncodedChats data;
  for (int32_t i = 0; i < 50; ++i) data.add({{i, i, i}, {0, 1, 1}});
  auto epoch = [&](ChatStream& s) {
    std::vector<int32_t> seen;
    ChatBatch b;
    for (const double until = std::floor(s.epochs() + 1e-9) + 1; s.epochs() < until;) {
      s.next(10, b);
      EXPECT_LE(b.batch.tokens(), 10);
      for (size_t i = 0; i + 1 < b.batch.cu.size(); ++i) seen.push_back(b.batch.ids[b.batch.cu[i]]);
    }
    return seen;
  };
  ChatStream s(data, 1), again(data, 1);
  const std::vector<int32_t> first = epoch(s);
  EXPECT_EQ(first, epoch(again));
  EXPECT_EQ(std::set<int32_t>(first.begin(), first.end()).size(), 50u);
  EXPECT_EQ(first.size(), 50u);
}

TEST(ChatData, DialoguesComeBackAsWrittenAndErrorsNameTheLine) {
  test::TempDir dir;
  const std::string path = dir / "dialogues.jsonl";
  const std::vector<Dialogue> d = {question_answer("你好\n\"x\"", "7"), identity_dialogues()[0]};
  write_dialogues(path, d);
  const std::vector<Dialogue> back = read_dialogues(path);
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0][0].content, d[0][0].content);
  EXPECT_EQ(back[1][1].content, d[1][1].content);
  write_file(path, "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n{\"messages\": 3}\n");
  try {
    read_dialogues(path);
    FAIL() << "a number is no list of messages";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("dialogues.jsonl:2"), std::string::npos) << e.what();
  }
}

TEST(Instructions, HeldOutPairsNeverAppearInTraining) {
  InstructionOptions o;
  o.arithmetic_100 = 20000, o.arithmetic_1000 = 20000;
  int64_t questions = 0;
  for (const Dialogue& d : make_instructions(o, {})) {
    const std::vector<int> n = numbers_in(d[0].content);
    if (n.size() != 2) continue;
    ++questions;
    ASSERT_FALSE(is_held_out(n[0], n[1])) << d[0].content;
    ASSERT_TRUE(n[0] <= 1000 && n[1] <= 1000) << d[0].content;
  }
  EXPECT_EQ(questions, 40000);
  Rng rng(1);
  for (int limit : {100, 1000}) {
    for (const Arithmetic& q : held_out_arithmetic(limit, 300, 1)) EXPECT_TRUE(is_held_out(q.b, q.a));
    EXPECT_NEAR(static_cast<double>([&] {
                  int n = 0;
                  for (int i = 0; i < 10000; ++i)
                    n += is_held_out(static_cast<int>(rng.below(limit + 1)), static_cast<int>(rng.below(limit + 1)));
                  return n;
                }()),
                1000, 250);
  }
  PreferenceOptions p;
  for (const PreferencePair& pair : make_preferences(p, identity_dialogues(), false)) {
    const std::vector<int> n = numbers_in(pair.prompt[1].content);
    ASSERT_TRUE(n.size() != 2 || !is_held_out(n[0], n[1])) << pair.prompt[1].content;
  }
}

TEST(Instructions, EveryWordingAsksAndEveryAnswerIsRight) {
  for (bool minus : {false, true})
    for (size_t i = 0; i < arithmetic_wordings(minus).size(); ++i) {
      const Arithmetic q{812, 95, minus};
      EXPECT_EQ(numbers_in(word_arithmetic(q, i)), (std::vector<int>{812, 95}));
      EXPECT_EQ(read_answer(arithmetic_answer(q)), q.result());
    }
  EXPECT_EQ(arithmetic_answer({37, 58, false}), "7+8=15, 3+5+1=9: 95");
  EXPECT_EQ(arithmetic_answer({81, 46, true}), "11-6=5, 8-4-1=3: 35");
  EXPECT_EQ(arithmetic_answer({999, 2, false}), "9+2=11, 9+0+1=10, 9+0+1=10: 1001");
  EXPECT_EQ(arithmetic_answer({0, 0, true}), "0-0=0: 0");
  EXPECT_EQ(slipped_answer({37, 58, false}, {0, Slip::kValue, -1}), "7+8=14, 3+5+1=9: 94");
  EXPECT_EQ(slipped_answer({37, 58, false}, {0, Slip::kFirst, 2}), "9+8=17, 3+5+1=9: 97");
  EXPECT_EQ(slipped_answer({37, 58, false}, {1, Slip::kSecond, 9}), "7+8=15, 3+4+1=8: 85");
  EXPECT_EQ(slipped_answer({37, 58, false}, {1, Slip::kCarry, 0}), "7+8=15, 3+5=8: 85");
  EXPECT_EQ(slipped_answer({12, 30, false}, {1, Slip::kCarry, 0}), "2+0=2, 1+3+1=5: 52");
  EXPECT_EQ(read_answer("37 + 58 = 95。"), 95);
  Rng rng(1);
  for (int i = 0; i < 5000; ++i) {
    const Arithmetic q = random_arithmetic(rng, i % 2 ? 100 : 1000, i % 3 == 0);
    ASSERT_EQ(read_answer(arithmetic_answer(q)), q.result());
    ASSERT_NE(read_answer(wrong_answer(q, 0.5, rng)), q.result());
  }
  EXPECT_EQ(read_answer("I do not know"), -1);
}

TEST(Instructions, TurnsAreJoinedWithoutLosingAny) {
  Rng rng(1);
  std::vector<Dialogue> single;
  for (int i = 0; i < 2000; ++i) single.push_back(arithmetic_dialogue(random_arithmetic(rng, 100, false), rng));
  const std::vector<Dialogue> joined = join_turns(single, 0.3, rng);
  std::string before, after;
  size_t longest = 0;
  for (const Dialogue& d : single) before += d[0].content + d[1].content;
  for (const Dialogue& d : joined) {
    longest = std::max(longest, d.size());
    for (size_t i = 0; i < d.size(); ++i) {
      EXPECT_EQ(d[i].role, i % 2 ? "assistant" : "user");
      after += d[i].content;
    }
  }
  EXPECT_EQ(before, after);
  EXPECT_EQ(longest, 8u);
  EXPECT_NEAR(static_cast<double>(joined.size()), 2000 * 0.7, 100);
  EXPECT_EQ(join_turns(single, 0, rng).size(), single.size());
}

TEST(Instructions, PagesInBothLanguagesAndOftenReferredToComeFirst) {
  ManualPages pages;
  for (const char* text : {".SH NAME\naaa \\- a page that nobody names\n.SH X\n",
                           ".SH NAME\nls \\- list files\n.SH SEE ALSO\ngrep(1), tar(1)\n",
                           ".SH NAME\ngrep \\- print matching lines\n.SH SEE ALSO\ntar(1)\n",
                           ".SH NAME\ntar \\- an archiver\n.SH SEE ALSO\n.BR rare (9)\n",
                           ".SH NAME\nzip \\- pack files\n.SH X\n", ".SH NAME\nzip \\- 打包文件\n.SH X\n"})
    pages.add(text);
  std::vector<std::string> names;
  for (const ManualPage& p : pages.choose(4)) names.push_back(p.name);
  EXPECT_EQ(names, (std::vector<std::string>{"zip", "tar", "grep", "aaa"}));
}

TEST(Instructions, NameLinesOfRoffAndOfText) {
  std::string name, description;
  EXPECT_TRUE(read_name_line(".TH LS 1\n.SH NAME\nls \\- list directory contents\n.SH SYNOPSIS\n", name, description));
  EXPECT_EQ(name + "|" + description, "ls|list directory contents");
  EXPECT_TRUE(
      read_name_line("NAME\n       cp, copy - copy files\n         and folders\n\nSYNOPSIS\n", name, description));
  EXPECT_EQ(name + "|" + description, "cp|copy files and folders");
  EXPECT_TRUE(read_name_line("名称\n\nls - 列出目录内容\n\n概述\n", name, description));
  EXPECT_EQ(description, "列出目录内容");
  EXPECT_FALSE(read_name_line("SYNOPSIS\nls - no\n", name, description));
  ManualPages pages;
  pages.add("NAME\nzz - only English\n");
  pages.add("NAME\nls - list directory contents\n");
  pages.add("名称\nls - 列出目录内容\n");
  const std::vector<ManualPage> chosen = pages.choose(1);
  ASSERT_EQ(chosen.size(), 1u);
  EXPECT_EQ(chosen[0].name, "ls");
  std::set<std::string> train, held;
  for (const Dialogue& d : page_dialogues(chosen[0], false)) train.insert(d[0].content);
  for (const Dialogue& d : page_dialogues(chosen[0], true)) held.insert(d[0].content);
  EXPECT_EQ(held.size(), 2u);
  for (const std::string& q : held) EXPECT_FALSE(train.contains(q));
}

TEST(Preference, PairsAreWellFormed) {
  PreferenceOptions o;
  o.arithmetic_100 = o.arithmetic_1000 = o.concise = 500;
  for (bool held_out : {false, true})
    for (const PreferencePair& p : make_preferences(o, identity_dialogues(), held_out)) {
      ASSERT_EQ(p.prompt.size(), 2u);
      EXPECT_EQ(p.prompt[0].role, "system");
      EXPECT_NE(p.chosen, p.rejected);
      if (p.prompt[0].content == kJudgeConciseness) {
        EXPECT_GT(p.rejected.size(), p.chosen.size());
        EXPECT_NE(p.rejected.find(p.chosen), std::string::npos);
        continue;
      }
      const std::vector<int> n = numbers_in(p.prompt[1].content);
      EXPECT_EQ(is_held_out(n[0], n[1]), held_out);
      EXPECT_NE(read_answer(p.chosen), read_answer(p.rejected));
      const int right = read_answer(p.chosen);
      EXPECT_TRUE(right == n[0] + n[1] || right == n[0] - n[1]);
    }
}

TEST(Reward, GradientIsTheFormulasDerivative) {
  auto formula = [](double c, double r, double gamma, double penalty) {
    const double p = 1 / (1 + std::exp(r - c));
    auto barrier = [](double x) { return -(std::log(x + 5) + std::log(5 - x)); };
    return -std::pow(1 - 2 * std::max(0.0, p - 0.5), gamma) * std::log(p) + penalty * 0.5 * (barrier(c) + barrier(r));
  };
  const double h = 1e-6;
  for (double gamma : {0.0, 2.0})
    for (double c : {-4.2, -0.3, 0.0, 1.5, 4.5})
      for (double r : {-3.0, -0.31, 0.4, 2.0}) {
        const PairLoss l = reward_pair_loss(c, r, gamma, 0.02);
        EXPECT_NEAR(l.loss, formula(c, r, gamma, 0.02), 1e-9);
        EXPECT_NEAR(l.d_chosen, (formula(c + h, r, gamma, 0.02) - formula(c - h, r, gamma, 0.02)) / (2 * h), 1e-6);
        EXPECT_NEAR(l.d_rejected, (formula(c, r + h, gamma, 0.02) - formula(c, r - h, gamma, 0.02)) / (2 * h), 1e-6);
      }
  // Outside the barrier's domain the gradient still points back.
  EXPECT_GT(reward_pair_loss(7, 0, 2, 0.02).d_chosen, 0);
  EXPECT_TRUE(std::isfinite(reward_pair_loss(500, -500, 2, 0.02).loss));
}

TEST(Ppo, GaeByHand) {
  // delta = {1 + .5*3 - 2, 0 + .5*1 - 3, 2 + 0 - 1} = {.5, -2.5, 1}; with gamma lambda = .25:
  // A2 = 1, A1 = -2.5 + .25 = -2.25, A0 = .5 - .5625 = -.0625
  const std::vector<float> reward{1, 0, 2}, value{2, 3, 1};
  std::vector<float> a(3), ret(3);
  compute_gae(reward, value, 0.5, 0.5, a, ret);
  EXPECT_EQ(a, (std::vector<float>{-0.0625f, -2.25f, 1}));
  EXPECT_EQ(ret, (std::vector<float>{1.9375f, 0.75f, 2}));
}

TEST(Ppo, RatioIsClippedOnTheSideThatGained) {
  EXPECT_FLOAT_EQ(ppo_coefficient(0, 0, 2, 0.2), 2);
  EXPECT_EQ(ppo_coefficient(std::log(1.3f), 0, 2, 0.2), 0);
  EXPECT_FLOAT_EQ(ppo_coefficient(std::log(0.5f), 0, 2, 0.2), 1);
  EXPECT_EQ(ppo_coefficient(std::log(0.5f), 0, -2, 0.2), 0);
  EXPECT_FLOAT_EQ(ppo_coefficient(std::log(1.5f), 0, -2, 0.2), -3);
}

}  // namespace
}  // namespace puyu
