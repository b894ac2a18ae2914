#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <vector>

#include "base/error.h"

namespace puyu {
namespace {

struct Candidate {
  float weight;  // exp((logit - max) / temperature)
  int32_t id;
};
bool likelier(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
}

void penalise(std::span<float> logits, std::span<const int32_t> used, float penalty) {
  std::vector<int32_t> ids(used.begin(), used.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (int32_t id : ids) {
    float& x = logits[static_cast<size_t>(id)];
    x = x > 0 ? x / penalty : x * penalty;
  }
}

// The first candidate at which the running sum passes u * total.
int32_t draw(std::span<const Candidate> c, double u) {
  double total = 0, sum = 0;
  for (const Candidate& x : c) total += static_cast<double>(x.weight);
  for (const Candidate& x : c) {
    sum += static_cast<double>(x.weight);
    if (sum > u * total) return x.id;
  }
  return std::max_element(c.begin(), c.end(), [](auto& a, auto& b) { return likelier(b, a); })->id;
}

void keep_top_k(std::vector<Candidate>& c, int top_k) {
  const auto k = static_cast<size_t>(top_k);
  if (k >= c.size()) return;
  std::nth_element(c.begin(), c.begin() + static_cast<long>(k), c.end(), likelier);
  c.resize(k);
}

// The shortest prefix of the sorted candidates that holds `top_p` of the mass.
void keep_top_p(std::vector<Candidate>& c, double top_p) {
  double total = 0, sum = 0;
  for (const Candidate& x : c) total += static_cast<double>(x.weight);
  // All candidates below this weight together weigh less than (1 - p) of the total: they need no sorting.
  const double floor = (1 - top_p) * total / static_cast<double>(c.size());
  if (top_p < 1) std::erase_if(c, [&](const Candidate& x) { return static_cast<double>(x.weight) < floor; });
  std::sort(c.begin(), c.end(), likelier);
  size_t n = 0;
  while (n < c.size() && sum < top_p * total) sum += static_cast<double>(c[n++].weight);
  c.resize(std::max<size_t>(n, 1));
}

}  // namespace

void validate(const SamplingOptions& o) {
  auto check = [](bool ok, const char* name, const char* range, double got) {
    if (!ok) fail("[sampling] ", name, ": expected ", range, ", got ", got);
  };
  check(o.temperature >= 0 && o.temperature <= 100, "temperature", "0 to 100", o.temperature);
  check(o.top_p > 0 && o.top_p <= 1, "top_p", "above 0 and at most 1", o.top_p);
  check(o.top_k >= 0, "top_k", "0 or more", o.top_k);
  check(o.min_p >= 0 && o.min_p < 1, "min_p", "0 or more, below 1", o.min_p);
  check(o.repetition_penalty > 0 && o.repetition_penalty <= 100, "repetition_penalty", "above 0 and at most 100",
        o.repetition_penalty);
  check(o.max_tokens > 0, "max_tokens", "1 or more", o.max_tokens);
  check(o.min_tokens >= 0, "min_tokens", "0 or more", o.min_tokens);
  check(std::abs(o.presence_penalty) <= 100, "presence_penalty", "-100 to 100", o.presence_penalty);
  check(std::abs(o.frequency_penalty) <= 100, "frequency_penalty", "-100 to 100", o.frequency_penalty);
  check(o.top_logprobs >= -1 && o.top_logprobs <= 100, "top_logprobs", "-1 to 100", o.top_logprobs);
  check(o.repetition_ngram_size >= 0, "repetition_ngram_size", "0 or more", o.repetition_ngram_size);
  check(o.repetition_ngram_threshold >= 2, "repetition_ngram_threshold", "2 or more", o.repetition_ngram_threshold);
  for (auto [id, bias] : o.logit_bias)
    check(id >= 0 && std::abs(bias) <= 1000, "logit_bias", "ids of the vocabulary and biases of -1000 to 1000", bias);
  for (const std::string& s : o.stop)
    if (s.empty()) fail("[sampling] stop: expected texts that are not empty, got \"\"");
  for (const std::string& s : o.bad_words)
    if (s.empty()) fail("[sampling] bad_words: expected texts that are not empty, got \"\"");
}

void adjust(std::span<float> logits, std::span<const int32_t> answer, const SamplingOptions& o,
            std::span<const int32_t> stop_ids, std::span<const std::vector<int32_t>> bad_ids) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  auto at = [&](int32_t id) -> float& { return logits[static_cast<size_t>(id)]; };
  for (auto [id, bias] : o.logit_bias) at(id) += static_cast<float>(bias);
  if (o.presence_penalty != 0 || o.frequency_penalty != 0) {
    std::map<int32_t, int64_t> counts;
    for (int32_t id : answer) ++counts[id];
    for (auto [id, n] : counts)
      at(id) -= static_cast<float>(o.presence_penalty + o.frequency_penalty * static_cast<double>(n));
  }
  for (const std::vector<int32_t>& bad : bad_ids) {
    const size_t head = bad.size() - 1;
    if (head <= answer.size() && std::equal(bad.begin(), bad.end() - 1, answer.end() - static_cast<long>(head)))
      at(bad.back()) = kNever;
  }
  if (static_cast<int64_t>(answer.size()) < o.min_tokens)
    for (int32_t id : stop_ids) at(id) = kNever;
}

bool changes_logits(const SamplingOptions& o) {
  return !o.logit_bias.empty() || o.presence_penalty != 0 || o.frequency_penalty != 0 || o.min_tokens > 0 ||
         o.repetition_penalty != 1;
}

bool loops(std::span<const int32_t> answer, const SamplingOptions& o) {
  const auto n = static_cast<size_t>(o.repetition_ngram_size);
  if (n == 0 || answer.size() < n) return false;
  const auto last = answer.last(n);
  int seen = 0;
  for (size_t i = 0; i + n <= answer.size(); ++i)
    seen += answer[i] == last[0] && std::equal(last.begin(), last.end(), answer.begin() + static_cast<long>(i));
  return seen >= o.repetition_ngram_threshold;
}

std::vector<int32_t> most_likely(std::span<const float> logits, int n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -std::numeric_limits<float>::infinity()) ids.push_back(static_cast<int32_t>(i));
  const size_t keep = std::min(ids.size(), static_cast<size_t>(n));
  std::partial_sort(ids.begin(), ids.begin() + static_cast<long>(keep), ids.end(), [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  ids.resize(keep);
  return ids;
}

// The largest number, in pieces that fit vector registers; NaN never wins. -infinity when there is none.
static float largest(std::span<const float> x) {
  typedef float Four __attribute__((vector_size(16)));
  constexpr float kLeast = -std::numeric_limits<float>::infinity();
  Four m[4] = {{kLeast, kLeast, kLeast, kLeast}, m[0], m[0], m[0]};
  size_t i = 0;
  for (; i + 16 <= x.size(); i += 16)
    for (size_t j = 0; j < 4; ++j) {
      Four v;
      std::memcpy(&v, x.data() + i + 4 * j, sizeof v);
      m[j] = v > m[j] ? v : m[j];
    }
  float best = kLeast;
  for (const Four& four : m)
    for (int j = 0; j < 4; ++j) best = std::max(best, four[j]);
  for (; i < x.size(); ++i) best = x[i] > best ? x[i] : best;
  return best;
}

int32_t sample(std::span<float> logits, std::span<const int32_t> used, const SamplingOptions& o, Rng rng) {
  if (o.repetition_penalty != 1) penalise(logits, used, static_cast<float>(o.repetition_penalty));
  const float max = largest(logits);
  if (max == -std::numeric_limits<float>::infinity()) return -1;
  // Below this temperature every weight but the best one's would be zero or the division would overflow.
  if (o.temperature < 1e-4) return static_cast<int32_t>(std::find(logits.begin(), logits.end(), max) - logits.begin());
  const float scale = static_cast<float>(1 / o.temperature);
  static thread_local std::vector<Candidate> c;
  c.resize(logits.size());
  for (size_t i = 0; i < c.size(); ++i) c[i] = {std::exp((logits[i] - max) * scale), static_cast<int32_t>(i)};
  if (o.top_k > 0) keep_top_k(c, o.top_k);
  if (o.top_p < 1) keep_top_p(c, o.top_p);
  if (o.min_p > 0) std::erase_if(c, [&](const Candidate& x) { return static_cast<double>(x.weight) < o.min_p; });
  return draw(c, rng.uniform());
}

}  // namespace puyu
