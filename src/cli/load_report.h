// What a load came to, in the words of LMDeploy's and SGLang's "Serving Benchmark Result", as text and as JSON.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/load.h"

namespace puyu {

// Of values in seconds; NaN when there are none. Percentiles lie between the two nearest values, as NumPy's do.
struct Summary {
  explicit Summary(std::vector<double> values);
  double percentile(double p) const;  // p of 0 to 100
  std::vector<double> sorted;
  double mean, std, median, p99;
};

struct LoadReport {
  explicit LoadReport(const LoadResult& result);
  int64_t completed = 0, failed = 0, input_tokens = 0, cached_tokens = 0, output_tokens = 0, most_at_once = 0;
  int64_t without_text = 0;  // answers that carried no text: they have no time to first token
  double seconds = 0;
  Summary e2e, ttft, tpot, itl;
  std::map<std::string, int64_t> errors;  // how often, by reason
};

struct LoadHeader {
  std::string backend, dataset, request_rate, concurrency;
};
std::string to_text(const LoadReport& report, const LoadHeader& header);
// With `each`: also lists with a value for each request, in their order.
Json to_json(const LoadReport& report, const LoadHeader& header, const LoadResult* each);

}  // namespace puyu
