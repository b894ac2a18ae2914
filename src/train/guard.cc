#include "train/guard.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "base/error.h"

namespace puyu {
namespace {

constexpr size_t kLosses = 16;                      // that the median of the loss is of
constexpr int64_t kLongestList = int64_t{1} << 20;  // steps in skip_batches

double median(std::vector<double> v) {
  const auto mid = v.begin() + static_cast<int64_t>(v.size() / 2);
  std::nth_element(v.begin(), mid, v.end());
  if (v.size() % 2) return *mid;
  return (*mid + *std::max_element(v.begin(), mid)) / 2;
}

Action action_of(const std::string& s) {
  return s == "rollback" ? Action::kRollback : s == "skip" ? Action::kSkip : Action::kTrain;
}

void one_of(const char* field, const std::string& v, std::initializer_list<const char*> known) {
  std::string all;
  for (const char* k : known) {
    if (v == k) return;
    all += (all.empty() ? "" : ", ") + std::string(k);
  }
  fail("[train] guard.", field, ": expected one of ", all, ", got '", v, "'");
}

void drop_old(std::vector<double>& v, size_t keep) {
  if (v.size() > keep) v.erase(v.begin(), v.end() - static_cast<int64_t>(keep));
}

int64_t step_number(std::string_view text, const std::string& field) {
  int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc{} || end != text.data() + text.size() || n < 1)
    fail("[train] ", field, ": expected steps like '2-4,10', got '", text, "'");
  return n;
}

}  // namespace

void GuardOptions::validate() const {
  one_of("on_spike", on_spike, {"alert", "skip", "rollback"});
  one_of("on_outlier", on_outlier, {"alert", "skip", "rollback"});
  one_of("on_nan", on_nan, {"skip", "rollback"});
  if (loss_spike != 0 && !(loss_spike > 1))
    fail("[train] guard.loss_spike: expected 0 or more than 1, got ", loss_spike);
  if (!(norm_outlier >= 0)) fail("[train] guard.norm_outlier: expected 0 or more, got ", norm_outlier);
  if (window < 4) fail("[train] guard.window: expected 4 or more, got ", window);
  if (skip_around < 0 || skip_around > 100000)
    fail("[train] guard.skip_around: expected 0 to 100000, got ", skip_around);
  if (max_rollbacks < 0) fail("[train] guard.max_rollbacks: expected 0 or more, got ", max_rollbacks);
  if (slow_rank != 0 && !(slow_rank > 1)) fail("[train] guard.slow_rank: expected 0 or more than 1, got ", slow_rank);
  if (slow_rank_every < 1) fail("[train] guard.slow_rank_every: expected 1 or more, got ", slow_rank_every);
}

StepVerdict judge_step(const GuardOptions& o, const GuardMemory& memory, double loss, double norm) {
  if (!std::isfinite(loss) || !std::isfinite(norm))
    return {action_of(o.on_nan), "nan", cat("loss ", loss, ", gradient norm ", norm, ": inf or NaN")};
  if (o.loss_spike > 0 && !memory.loss.empty()) {
    const double usual = median(memory.loss);
    if (loss > o.loss_spike * usual)
      return {action_of(o.on_spike), "loss_spike", cat("loss ", loss, " after a median of ", usual, ": a spike")};
  }
  const auto n = static_cast<double>(memory.norm.size());
  if (o.norm_outlier > 0 && n >= static_cast<double>(o.window) / 4) {
    double mean = 0, square = 0;
    for (double v : memory.norm) mean += v / n;
    for (double v : memory.norm) square += (v - mean) * (v - mean) / n;
    const double z = (norm - mean) / std::max(std::sqrt(square), 1e-12 + 1e-3 * mean);
    if (z > o.norm_outlier)
      return {action_of(o.on_outlier), "norm_outlier",
              cat("gradient norm ", norm, ", ", z, " standard deviations above the mean ", mean)};
  }
  return {};
}

void remember_step(const GuardOptions& o, GuardMemory& memory, double loss, double norm) {
  if (!std::isfinite(loss) || !std::isfinite(norm)) return;
  memory.loss.push_back(loss), memory.norm.push_back(norm);
  drop_old(memory.loss, kLosses), drop_old(memory.norm, static_cast<size_t>(o.window));
}

std::string slow_ranks(const GuardOptions& o, const std::vector<double>& busy) {
  if (o.slow_rank == 0 || busy.size() < 2) return "";
  // Of two ranks the median is their mean; the faster one is the measure then.
  const double usual = busy.size() == 2 ? std::min(busy[0], busy[1]) : median(busy);
  std::ostringstream out;
  for (size_t r = 0; r < busy.size(); ++r)
    if (usual > 0 && busy[r] > o.slow_rank * usual)
      out << (out.tellp() > 0 ? ", " : "") << "rank " << r << " computes " << busy[r] / usual
          << " times as long as the median rank";
  return out.str();
}

std::vector<int64_t> parse_step_list(const std::string& text, const std::string& field) {
  std::vector<int64_t> out;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    const size_t dash = part.find('-');
    const int64_t first = step_number(part.substr(0, dash), field);
    const int64_t last = dash == std::string::npos ? first : step_number(part.substr(dash + 1), field);
    if (last < first || last - first > kLongestList) fail("[train] ", field, ": '", part, "' is no range of steps");
    for (int64_t s = first; s <= last; ++s) out.push_back(s);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace puyu
