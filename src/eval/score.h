// How an answer is judged and how sure a number is. Every reported number is an Estimate: value, standard error, n.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/generator.h"

namespace puyu {

// For exact match: full-width forms and Chinese punctuation become ASCII, letters lower case, white space single, and
// quotes and closing punctuation at the ends go ("「列出目录。」" equals "列出目录").
std::string normalize_answer(std::string_view text);
bool exact_match(std::string_view got, std::string_view expected);

// Numbers in a text, in canonical form: "１,０００" and "1000.0" are "1000", "−7" is "-7". A minus sign counts where no
// digit or Latin letter stands before it (so "5-3" holds 5 and 3); a comma joins groups of three digits.
std::vector<std::string> find_numbers(std::string_view text);
enum class Pick { kFirst, kLast };
// The first or last number of a text; "" when it holds none.
std::string extract_number(std::string_view text, Pick pick = Pick::kLast);

// The index of the most likely choice; the first on ties. kBytes divides by the UTF-8 length of the choice (the
// acc_norm of lm-evaluation-harness, which counts characters), kTokens by its tokens.
enum class Length { kNone, kTokens, kBytes };
size_t pick_choice(const std::vector<LogLikelihood>& scores, const std::vector<std::string>& choices, Length length);

struct Estimate {
  double value = 0;
  double error = 0;  // standard error
  int64_t n = 0;     // items
};
// One item's part of a ratio sum(value) / sum(weight). Items of one cluster (chunks of a document, wordings of a
// question) are not independent; an empty cluster name stands alone.
struct Item {
  double value = 0, weight = 1;
  std::string cluster;
};
// m = sum(v) / sum(w), error = sqrt(sum over clusters of (sum of v - m w)^2) / sum(w): the linearised cluster-robust
// error of a ratio (Miller 2024, "Adding Error Bars to Evals", eq. 4, for w = 1). With w = 1, v in {0, 1} and no
// clusters it is the binomial sqrt(p (1 - p) / n). No items: value and error are NaN.
Estimate ratio(const std::vector<Item>& items);
// exp of a mean negative log-likelihood, error by the delta method.
Estimate perplexity(const Estimate& nats_per_token);

}  // namespace puyu
