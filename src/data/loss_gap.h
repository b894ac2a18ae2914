// Whether a model has seen a benchmark (Skywork, Wei et al. 2023; InternLM2 report 5.4, table 20): its mean loss a
// token on the benchmark's test set, on its training set, and on a reference set of the same kind that was written
// afterwards.
//   delta1 = test - reference   well below 0: the test set is known
//   delta2 = test - train       well above 0: the training set was learnt by heart
// The errors are those of the means over samples, so that a small difference is not taken for a finding.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace puyu {

class LossScorer;

struct SetLoss {
  double mean = 0, error = 0;                // nats a token; standard error over samples
  int64_t samples = 0, tokens = 0, cut = 0;  // cut: samples longer than the model's context
};
SetLoss mean_loss(LossScorer& scorer, const std::vector<std::string>& texts);

struct LossTest {
  SetLoss test, train, reference;
  double delta1() const { return test.mean - reference.mean; }
  double delta2() const { return test.mean - train.mean; }
};
Json to_json(const LossTest& t);
// Samples of a JSONL file (.gz and .zst too): question and answer, or text, content. Of more than `limit` those at even
// distances. Errors name the line.
std::vector<std::string> read_samples(const std::string& path, int64_t limit);

}  // namespace puyu
