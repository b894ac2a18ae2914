#include "train/options.h"

#include <cmath>

#include "base/error.h"
#include "train/webhook.h"

namespace puyu {
namespace {

void positive(const char* name, double v) {
  if (!(v > 0) || !std::isfinite(v)) fail("[train] ", name, ": expected a positive number, got ", v);
}
void not_negative(const char* name, double v) {
  if (!(v >= 0) || !std::isfinite(v)) fail("[train] ", name, ": expected 0 or more, got ", v);
}
void one_of(const char* name, const std::string& v, std::initializer_list<const char*> known) {
  std::string all;
  for (const char* k : known) {
    if (v == k) return;
    all += (all.empty() ? "" : ", ") + std::string(k);
  }
  fail("[train] ", name, ": expected one of ", all, ", got '", v, "'");
}

void validate_phase(const TrainOptions& o, const PhaseOptions& p, const std::string& at) {
  auto name = [&](const char* field) { return at + field; };
  positive(name("steps").c_str(), static_cast<double>(p.steps));
  positive(name("seq_len").c_str(), static_cast<double>(p.seq_len));
  not_negative(name("rope_theta").c_str(), p.rope_theta);
  not_negative(name("lr_scale").c_str(), p.lr_scale);
  not_negative(name("batch_tokens").c_str(), static_cast<double>(p.batch_tokens));
  if (p.seq_len > o.micro_tokens)
    fail("[train] ", at, "seq_len ", p.seq_len, " does not fit micro_tokens ", o.micro_tokens,
         "; raise micro_tokens to at least seq_len");
  if (o.init_from.empty() && p.seq_len > o.model.max_position)
    fail("[train] ", at, "seq_len ", p.seq_len, " is longer than model.max_position ", o.model.max_position);
  if (p.weights.empty()) return;
  if (p.weights.size() != o.data.size())
    fail("[train] ", at, "weights: expected one for each of the ", o.data.size(), " data sources, got ",
         p.weights.size());
  double sum = 0;
  for (double w : p.weights) not_negative(name("weights").c_str(), w), sum += w;
  positive(name("weights, their sum").c_str(), sum);
}

void validate_ramp(const BatchRamp& r) {
  for (auto [name, v] :
       {std::pair{"batch_ramp.start", r.start}, {"batch_ramp.increment", r.increment}, {"batch_ramp.every", r.every}}) {
    if (r.start == 0 && v != 0) fail("[train] ", name, ": batch_ramp.start is not set");
    if (r.start != 0) positive(name, static_cast<double>(v));
  }
}

}  // namespace

void TrainOptions::validate() const {
  if (init_from.empty()) model.validate();
  one_of("dtype", dtype, {"f32", "bf16"});
  one_of("masters", masters, {"f32", "bf16"});
  if (masters == "bf16" && dtype != "bf16") fail("[train] masters = bf16 needs dtype = bf16, got ", dtype);
  one_of("recompute", recompute, {"none", "selective", "full"});
  positive("batch_tokens", static_cast<double>(batch_tokens));
  positive("micro_tokens", static_cast<double>(micro_tokens));
  positive("lr", lr);
  positive("max_skipped", static_cast<double>(max_skipped));
  positive("log_every", static_cast<double>(log_every));
  positive("valid_tokens", static_cast<double>(valid_tokens));
  not_negative("warmup_steps", static_cast<double>(warmup_steps));
  not_negative("checkpoint_minutes", checkpoint_minutes);
  not_negative("peak_tflops", peak_tflops);
  for (auto [name, v] : {std::pair{"valid_every", valid_every},
                         {"checkpoint_every", checkpoint_every},
                         {"keep_checkpoints", keep_checkpoints},
                         {"snapshot_every", snapshot_every},
                         {"stop_at", stop_at},
                         {"threads", threads}})
    not_negative(name, static_cast<double>(v));
  if (!(min_lr_ratio >= 0 && min_lr_ratio <= 1)) fail("[train] min_lr_ratio: expected 0 to 1, got ", min_lr_ratio);
  if (parallel.zero < 0 || parallel.zero > 3) fail("[train] parallel.zero: expected 0, 1, 2 or 3, got ", parallel.zero);
  one_of("parallel.pipeline_schedule", parallel.pipeline_schedule, {"1f1b", "interleaved", "zb-h1"});
  const bool interleaved = parallel.pipeline_schedule == "interleaved";
  if (interleaved ? parallel.pipeline_chunks < 2 : parallel.pipeline_chunks != 1)
    fail("[train] parallel.pipeline_chunks: expected ", interleaved ? "2 or more" : "1",
         " with pipeline_schedule = ", parallel.pipeline_schedule, ", got ", parallel.pipeline_chunks,
         interleaved ? "" : "; several chunks are for pipeline_schedule = interleaved");
  one_of("parallel.tensor_mode", parallel.tensor_mode, {"mtp", "msp", "fsp", "isp"});
  positive("parallel.patience", parallel.patience);
  guard.validate();
  eval.validate();
  validate_ramp(batch_ramp);
  parse_step_list(skip_batches, "skip_batches");
  if (!alert_url.empty()) parse_http_url(alert_url);
  for (auto [name, v] : {std::pair{"watch.data", watch.data},
                         {"watch.round", watch.round},
                         {"watch.optimizer", watch.optimizer},
                         {"watch.save", watch.save},
                         {"watch.eval", watch.eval},
                         {"watch.heartbeat", watch.heartbeat}})
    not_negative(name, v);
  if (data.empty()) fail("[train] no training data; add a table [[data]] with a path");
  if (phases.empty()) fail("[train] no phases; add a table [[phases]] with steps and seq_len");
  for (const auto* list : {&data, &valid})
    for (const DataSource& d : *list)
      if (d.path.empty()) fail("[train] a table [[", list == &data ? "data" : "valid", "]] has no path");
  for (const DataSource& d : data) positive("data.weight", d.weight);
  for (size_t i = 0; i < phases.size(); ++i) validate_phase(*this, phases[i], cat("phases.", i, "."));
}

}  // namespace puyu
