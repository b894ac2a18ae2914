#include "eval/score.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"
#include "base/error.h"
#include "base/utf8.h"

namespace puyu {
namespace {

// One character's plain form: full-width ASCII, CJK punctuation and quotes, minus signs and spaces.
char32_t plain_form(char32_t c) {
  if (c >= 0xFF01 && c <= 0xFF5E) return c - 0xFEE0;
  switch (c) {
    case U'\u3000':
    case U'\u00A0':
      return U' ';
    case U'。':
      return U'.';
    case U'、':
      return U',';
    case U'−':
      return U'-';
    case U'“':
    case U'”':
    case U'「':
    case U'」':
    case U'『':
    case U'』':
      return U'"';
    case U'‘':
    case U'’':
      return U'\'';
    default:
      return c;
  }
}

std::string plain_text(std::string_view text) {
  std::string out;
  char32_t c;
  for (size_t i = 0; i < text.size();) {
    size_t n = decode_utf8(text, i, c);
    if (n == 0) c = 0xFFFD, n = 1;
    append_utf8(out, plain_form(c));
    i += n;
  }
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
// ASCII only: Chinese writes no spaces, so a minus after a Chinese character is a sign ("等于-7").
bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_trimmed(char c) { return is_space(c) || std::string_view(".,;:!?\"'`").find(c) != std::string_view::npos; }

// The digits of "12" or "1,234,567" at i; moves i behind them.
std::string read_digits(std::string_view s, size_t& i) {
  size_t begin = i;
  while (i < s.size() && is_digit(s[i])) ++i;
  std::string out(s.substr(begin, i - begin));
  auto group_at = [&](size_t k) {
    return k + 3 < s.size() && s[k] == ',' && is_digit(s[k + 1]) && is_digit(s[k + 2]) && is_digit(s[k + 3]) &&
           (k + 4 == s.size() || !is_digit(s[k + 4]));
  };
  if (out.size() > 3) return out;
  for (; group_at(i); i += 4) out += s.substr(i + 1, 3);
  return out;
}

std::string canonical(std::string_view whole, std::string_view fraction, bool negative) {
  whole.remove_prefix(std::min(whole.find_first_not_of('0'), whole.size()));
  fraction = fraction.substr(0, fraction.find_last_not_of('0') + 1);
  bool zero = whole.empty() && fraction.empty();
  return cat(negative && !zero ? "-" : "", whole.empty() ? "0" : whole, fraction.empty() ? "" : ".", fraction);
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::string out;
  for (char c : plain_text(text)) {
    if (is_space(c)) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
  }
  while (!out.empty() && is_trimmed(out.back())) out.pop_back();
  auto first = std::find_if_not(out.begin(), out.end(), is_trimmed);
  return {first, out.end()};
}

bool exact_match(std::string_view got, std::string_view expected) {
  return normalize_answer(got) == normalize_answer(expected);
}

std::vector<std::string> find_numbers(std::string_view text) {
  std::string s = plain_text(text);
  std::vector<std::string> out;
  for (size_t i = 0; i < s.size();) {
    if (!is_digit(s[i])) {
      ++i;
      continue;
    }
    bool negative = i > 0 && s[i - 1] == '-' && (i == 1 || !is_word(s[i - 2]));
    std::string whole = read_digits(s, i), fraction;
    if (i + 1 < s.size() && s[i] == '.' && is_digit(s[i + 1])) {
      size_t begin = ++i;
      while (i < s.size() && is_digit(s[i])) ++i;
      fraction = s.substr(begin, i - begin);
    }
    out.push_back(canonical(whole, fraction, negative));
  }
  return out;
}

std::string extract_number(std::string_view text, Pick pick) {
  auto numbers = find_numbers(text);
  if (numbers.empty()) return "";
  return pick == Pick::kFirst ? numbers.front() : numbers.back();
}

size_t pick_choice(const std::vector<LogLikelihood>& scores, const std::vector<std::string>& choices, Length length) {
  CHECK(!scores.empty() && scores.size() == choices.size());
  auto value = [&](size_t i) {
    double size = length == Length::kTokens  ? static_cast<double>(scores[i].tokens)
                  : length == Length::kBytes ? static_cast<double>(choices[i].size())
                                             : 1;
    return scores[i].sum / std::max(size, 1.0);
  };
  size_t best = 0;
  for (size_t i = 1; i < scores.size(); ++i)
    if (value(i) > value(best)) best = i;
  return best;
}

Estimate ratio(const std::vector<Item>& items) {
  double values = 0, weights = 0;
  for (const Item& i : items) values += i.value, weights += i.weight;
  if (items.empty() || weights <= 0) return {NAN, NAN, static_cast<int64_t>(items.size())};
  double mean = values / weights, squares = 0;
  std::map<std::string, double> clusters;
  for (const Item& i : items) {
    double residual = i.value - mean * i.weight;
    if (i.cluster.empty())
      squares += residual * residual;
    else
      clusters[i.cluster] += residual;
  }
  for (const auto& [name, residual] : clusters) squares += residual * residual;
  return {mean, std::sqrt(squares) / weights, static_cast<int64_t>(items.size())};
}

Estimate perplexity(const Estimate& m) { return {std::exp(m.value), std::exp(m.value) * m.error, m.n}; }

}  // namespace puyu
