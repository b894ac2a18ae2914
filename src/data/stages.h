// What happens to one document after it is read: normalise, language, filter, safe, quality, decontaminate, those that
// the configuration has. No files, no threads: the pipeline feeds documents in and collects what is left, the counts
// and the ledger's lines.
#pragma once
#include <string>

#include "data/examples.h"
#include "data/funnel.h"
#include "data/pipeline.h"

namespace puyu {

// One line of the ledger. `value` is what was measured, `limit` the bound it broke; `of` the surviving duplicate's id.
std::string ledger_line(const Document& d, const char* stage, const char* action, const std::string& rule, double value,
                        double limit = 0, const std::string& of = "");

struct Judges;

class Stages {
 public:
  Stages(const PipelineConfig& config, const Judges& judges) : config_(config), judges_(judges) {}
  // True when the document is kept (and cleaned in place).
  bool process(Document& d);
  void fail(const ReadFailure& f);
  Funnel funnel;
  std::string ledger;  // lines
  Examples examples;

 private:
  bool normalise(Document& d);
  bool identify(Document& d);
  bool filter(Document& d);
  bool safe(Document& d);  // these in judge_stages.cc
  bool quality(Document& d);
  bool decontaminate(Document& d);
  bool drop(Stage& s, const Document& d, const std::string& rule, double value, double limit, int64_t bytes);
  void change(Stage& s, const Document& d, const std::string& kind, int64_t count);
  const PipelineConfig& config_;
  const Judges& judges_;
};

}  // namespace puyu
