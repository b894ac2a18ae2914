#include "cli/load_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "eval/text_table.h"

namespace puyu {
namespace {

template <class F>
std::vector<double> of_the_answered(const LoadResult& r, F f) {
  std::vector<double> out;
  for (const LoadOutcome& o : r.outcomes)
    if (o.error.empty()) f(o, out);
  return out;
}

std::vector<double> latencies(const LoadResult& r) {
  return of_the_answered(r, [](const LoadOutcome& o, auto& out) { out.push_back(o.latency); });
}
std::vector<double> first_tokens(const LoadResult& r) {
  return of_the_answered(r, [](const LoadOutcome& o, auto& out) {
    if (o.ttft > 0) out.push_back(o.ttft);
  });
}
// The mean time of an answer's tokens after the first.
std::vector<double> per_token(const LoadResult& r) {
  return of_the_answered(r, [](const LoadOutcome& o, auto& out) {
    if (o.ttft > 0 && o.output_tokens > 1)
      out.push_back((o.latency - o.ttft) / static_cast<double>(o.output_tokens - 1));
  });
}
std::vector<double> between_tokens(const LoadResult& r) {
  return of_the_answered(r, [](const LoadOutcome& o, auto& out) { out.insert(out.end(), o.itl.begin(), o.itl.end()); });
}

std::string centred(const std::string& text, char fill) {
  constexpr size_t kWidth = 50;
  const size_t left = (kWidth - text.size()) / 2;
  return std::string(left, fill) + text + std::string(kWidth - text.size() - left, fill) + "\n";
}
std::string row(const std::string& label, const std::string& value) {
  return label + std::string(label.size() < 41 ? 41 - label.size() : 1, ' ') + value + "\n";
}
std::string row(const std::string& label, int64_t value) { return row(label, std::to_string(value)); }
std::string row(const std::string& label, double value) { return row(label, fixed(value, 2)); }

std::string block(const std::string& title, const std::string& name, const Summary& s) {
  return centred(title, '-') + row("Mean " + name + " (ms):", s.mean * 1e3) +
         row("Median " + name + " (ms):", s.median * 1e3) + row("P99 " + name + " (ms):", s.p99 * 1e3);
}

// How many values lie in each of equal steps.
std::string histogram(const std::string& title, const Summary& s) {
  constexpr size_t kSteps = 10, kWidth = 40;
  if (s.sorted.size() < 2 || s.sorted.front() == s.sorted.back()) return "";
  const double low = s.sorted.front(), step = (s.sorted.back() - low) / kSteps;
  std::vector<size_t> counts(kSteps);
  for (double v : s.sorted) ++counts[std::min(kSteps - 1, static_cast<size_t>((v - low) / step))];
  const size_t most = *std::max_element(counts.begin(), counts.end());
  TextTable table{{title, "", ""}, {}, {true, true, false}};
  for (size_t i = 0; i < kSteps; ++i) {
    std::string bar;
    for (size_t k = 0; k < (counts[i] * kWidth + most - 1) / most; ++k) bar += "█";
    table.rows.push_back(
        {"to " + fixed((low + step * static_cast<double>(i + 1)) * 1e3, 1), std::to_string(counts[i]), bar});
  }
  return "\n" + to_text(table);
}

std::string failures(const LoadReport& r) {
  if (r.errors.empty()) return "";
  TextTable table{{"failed", "because"}, {}, {true, false}};
  for (const auto& [reason, n] : r.errors) table.rows.push_back({std::to_string(n), reason});
  return "\n" + to_text(table);
}

void add(Json& j, const std::string& name, const Summary& s) {
  j["mean_" + name + "_ms"] = s.mean * 1e3, j["median_" + name + "_ms"] = s.median * 1e3;
  j["std_" + name + "_ms"] = s.std * 1e3, j["p99_" + name + "_ms"] = s.p99 * 1e3;
}

void add_each(Json& j, const LoadResult& r) {
  for (const char* key : {"input_lens", "output_lens", "cached_lens", "starts", "ttfts", "latencies", "itls", "errors"})
    j[key] = Json::array();
  for (const LoadOutcome& o : r.outcomes) {
    j["input_lens"].push(o.input_tokens), j["output_lens"].push(o.output_tokens),
        j["cached_lens"].push(o.cached_tokens);
    j["starts"].push(o.start), j["ttfts"].push(o.ttft), j["latencies"].push(o.latency);
    Json itl = Json::array();
    for (double s : o.itl) itl.push(s);
    j["itls"].push(std::move(itl));
    j["errors"].push(o.error);
  }
}

}  // namespace

Summary::Summary(std::vector<double> values) : sorted(std::move(values)) {
  std::sort(sorted.begin(), sorted.end());
  const auto n = static_cast<double>(sorted.size());
  mean = n > 0 ? std::accumulate(sorted.begin(), sorted.end(), 0.0) / n : std::numeric_limits<double>::quiet_NaN();
  double squares = 0;
  for (double v : sorted) squares += (v - mean) * (v - mean);
  std = std::sqrt(squares / n);
  median = percentile(50), p99 = percentile(99);
}

double Summary::percentile(double p) const {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double at = p / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

LoadReport::LoadReport(const LoadResult& r)
    : most_at_once(r.most_at_once),
      seconds(r.seconds),
      e2e(latencies(r)),
      ttft(first_tokens(r)),
      tpot(per_token(r)),
      itl(between_tokens(r)) {
  for (const LoadOutcome& o : r.outcomes) {
    if (!o.error.empty()) {
      ++failed, ++errors[o.error];
      continue;
    }
    ++completed;
    input_tokens += o.input_tokens, output_tokens += o.output_tokens, cached_tokens += o.cached_tokens;
    without_text += o.ttft == 0;
  }
}

std::string to_text(const LoadReport& r, const LoadHeader& h) {
  std::string out = "\n" + centred(" Serving Benchmark Result ", '=');
  out += row("Backend:", h.backend) + row("Traffic request rate:", h.request_rate);
  out += row("Max request concurrency:", h.concurrency);
  out += row("Successful requests:", r.completed) + row("Failed requests:", r.failed);
  out += row("Benchmark duration (s):", r.seconds);
  out += row("Total input tokens:", r.input_tokens) + row("Total input tokens (cached):", r.cached_tokens);
  out += row("Total generated tokens:", r.output_tokens);
  const auto per_second = [&](int64_t n) { return static_cast<double>(n) / r.seconds; };
  out += row("Request throughput (req/s):", per_second(r.completed));
  out += row("Input token throughput (tok/s):", per_second(r.input_tokens));
  out += row("Output token throughput (tok/s):", per_second(r.output_tokens));
  out += row("Total token throughput (tok/s):", per_second(r.input_tokens + r.output_tokens));
  out += row("Peak concurrent requests:", r.most_at_once);
  if (r.without_text > 0) out += row("Answers without text:", r.without_text);
  out += block("End-to-End Latency", "E2E Latency", r.e2e);
  out += block("Time to First Token", "TTFT", r.ttft);
  out += block("Time per Output Token (excl. 1st token)", "TPOT", r.tpot);
  out += block("Inter-token Latency", "ITL", r.itl);
  out += std::string(50, '=') + "\n";
  return out + histogram("TTFT (ms)", r.ttft) + histogram("E2E latency (ms)", r.e2e) + failures(r);
}

Json to_json(const LoadReport& r, const LoadHeader& h, const LoadResult* each) {
  Json j = Json::object();
  j["backend"] = h.backend, j["dataset_name"] = h.dataset;
  j["request_rate"] = h.request_rate, j["max_concurrency"] = h.concurrency;
  j["completed"] = r.completed, j["failed"] = r.failed, j["duration"] = r.seconds;
  j["total_input_tokens"] = r.input_tokens, j["total_cached_tokens"] = r.cached_tokens;
  j["total_output_tokens"] = r.output_tokens;
  j["request_throughput"] = static_cast<double>(r.completed) / r.seconds;
  j["input_throughput"] = static_cast<double>(r.input_tokens) / r.seconds;
  j["output_throughput"] = static_cast<double>(r.output_tokens) / r.seconds;
  j["peak_concurrent_requests"] = r.most_at_once, j["answers_without_text"] = r.without_text;
  add(j, "e2e_latency", r.e2e), add(j, "ttft", r.ttft), add(j, "tpot", r.tpot), add(j, "itl", r.itl);
  j["failures"] = Json::object();
  for (const auto& [reason, n] : r.errors) j["failures"][reason] = n;
  if (each) add_each(j, *each);
  return j;
}

}  // namespace puyu
