// Instruction data made by program: arithmetic, manual pages, who-are-you; in English and Chinese.
//
// Arithmetic: sums and differences a - b with a >= b, both in [0, 100] ("up to 100") or both in [0, 1000] with one of
// them above 100 ("up to 1000"). One unordered pair in ten, chosen by its hash, is held out: it appears in training
// data neither as a sum nor as a difference, in no order and no wording. Manual pages: what a page's NAME line says of
// it, asked in several wordings; one wording a language is held out.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "align/chat_data.h"
#include "base/rng.h"

namespace puyu {

struct Arithmetic {
  int a = 0, b = 0;
  bool minus = false;
  int result() const { return minus ? a - b : a + b; }
};

// 1 in 10 pairs {a, b}; the same in either order.
bool is_held_out(int a, int b);
// A random question of the training part or of the held-out part. limit: 100 or 1000; at 1000 one operand is above 100.
Arithmetic random_arithmetic(Rng& rng, int limit, bool held_out);
// `count` different questions, a function of the seed; at most 900 up to 100, of which few are held out.
std::vector<Arithmetic> held_out_arithmetic(int limit, int64_t count, uint64_t seed);

// The wordings, with {a} and {b}; English first.
const std::vector<std::string>& arithmetic_wordings(bool minus);
std::string word_arithmetic(const Arithmetic& q, size_t wording);
// The working column by column, units first, then the result: "7+8=15, 3+5+1=9: 95", "11-6=5, 8-4-1=3: 35". A small
// model that writes its carries down learns this from fewer examples than bare results take.
std::string arithmetic_answer(const Arithmetic& q);
// The mistakes that a half-trained model makes, in one column: its value or one of its digits is off by `off`, or a
// carry is forgotten or made up. What comes after follows from it.
struct Slip {
  enum Kind { kValue, kFirst, kSecond, kCarry };
  int column = -1;  // from the units; -1 = no slip
  Kind kind = kValue;
  int off = 0;  // not 0 but for kCarry
};
std::string slipped_answer(const Arithmetic& q, const Slip& slip);
int columns(const Arithmetic& q);
// The right working, then another result.
std::string miscopied_answer(const Arithmetic& q, int result);
// The number an answer gives: the last run of digits in it; -1 when there is none.
int read_answer(const std::string& text);
Dialogue arithmetic_dialogue(const Arithmetic& q, Rng& rng);
// Plain lines, "37 + 58: 7+8=15, 3+5+1=9: 95", of training pairs: enhancement data for the end of pre-training. One
// document.
std::string arithmetic_lines(Rng& rng, int64_t lines, double share_100);

// What a manual page's NAME line says.
struct ManualPage {
  std::string name;
  std::string english, chinese;  // descriptions; either may be empty
};
// From a page's text or its roff source: the line under NAME, "ls - list directory contents". False when there is none.
bool read_name_line(const std::string& text, std::string& name, std::string& description);
// Collects pages, English and Chinese descriptions by name; the first description of a name in a language is kept.
class ManualPages {
 public:
  void add(const std::string& text);  // any document: its NAME line, if it has one, and the pages it refers to
  // The `count` best known: those with both languages first, then by how often documents refer to them ("ls(1)").
  // Descriptions that are very long are left out.
  std::vector<ManualPage> choose(size_t count) const;
  size_t size() const { return pages_.size(); }

 private:
  std::map<std::string, ManualPage> pages_;
  std::unordered_map<std::string, int64_t> references_;
};
// Every question on the page; held_out picks the wordings that training never uses. Chinese questions are answered from
// the Chinese NAME line when the page has one, English ones likewise.
std::vector<Dialogue> page_dialogues(const ManualPage& page, bool held_out);
std::vector<Dialogue> identity_dialogues();

struct InstructionOptions {
  int64_t arithmetic_100 = 30000;
  int64_t arithmetic_1000 = 60000;
  int64_t page_repeats = 4;
  int64_t identity_repeats = 50;
  double multi_turn = 0;
  int64_t seed = 1;
  template <class F>
  void fields(F&& f) {
    f("arithmetic_100", arithmetic_100, "sums and differences up to 100");
    f("arithmetic_1000", arithmetic_1000, "sums and differences up to 1000");
    f("page_repeats", page_repeats, "times each question on a manual page appears");
    f("identity_repeats", identity_repeats, "times each who-are-you question appears");
    f("multi_turn", multi_turn, "share of questions that come later in a conversation, of up to four turns");
    f("seed", seed, "the same seed makes the same data");
  }
};
// Puts each dialogue, with this probability, behind the one before it, up to four turns.
std::vector<Dialogue> join_turns(std::vector<Dialogue> dialogues, double probability, Rng& rng);
// The training part, shuffled.
std::vector<Dialogue> make_instructions(const InstructionOptions& o, const std::vector<ManualPage>& pages);

}  // namespace puyu
