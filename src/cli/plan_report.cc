#include "cli/plan_report.h"

#include "base/error.h"
#include "base/progress.h"
#include "eval/text_table.h"

namespace puyu {
namespace {

std::string bytes(double n) { return format_count(n, "B"); }
std::string share(double part, double whole) { return fixed(100 * part / whole, 1) + " %"; }
std::string seconds(double s) { return s >= 1 ? fixed(s, 3) + " s" : fixed(1e3 * s, 1) + " ms"; }

}  // namespace

std::string describe(const TrainJob& job, const Cluster& c) {
  return cat(format_count(static_cast<double>(job.model.num_params()), "parameters"), ", ",
             job.dtype == DType::kBF16 ? "bf16" : "f32", ", sequences of ", job.sequence, ", ", job.batch_tokens,
             " tokens a step\n", c.nodes, " x ", c.devices, " ranks of ", fixed(c.peak(job.dtype) / 1e12, 2),
             " TFLOP/s and ", bytes(c.memory_bytes()), " at ", fixed(c.memory_gbs, 0), " GB/s; links ",
             fixed(c.intra_gbs, 0), " GB/s inside a machine",
             c.nodes > 1 ? cat(", ", fixed(c.inter_gbs, 0), " GB/s between") : "", "\n");
}

std::string to_text(const TrainPlan& p) {
  std::string out = cat(to_string(p), "\n\n");
  TextTable memory{{"memory of the fullest rank", "bytes", "share"}, {}, {false, true, true}};
  const double all = p.memory.total();
  for (const auto& [name, n] : p.memory.parts())
    memory.rows.push_back({name, bytes(static_cast<double>(n)), share(static_cast<double>(n), all)});
  memory.rows.push_back({"total", bytes(all), cat(share(all, p.memory_limit), " of the device")});
  TextTable time{{"a step", "time", "share"}, {}, {false, true, true}};
  for (const auto& [name, s] : p.time.parts()) time.rows.push_back({name, seconds(s), share(s, p.time.total())});
  time.rows.push_back({"total", seconds(p.time.total()), ""});
  out += cat(to_text(memory), "\n", to_text(time), "\n", format_count(p.tokens_per_second, "tok/s"), ", tgs ",
             fixed(p.tgs, 0), ", MFU ", fixed(100 * p.mfu, 1), " % (InternEvo's formula ",
             fixed(100 * p.mfu_internevo, 1), " %, Megatron's ", fixed(100 * p.mfu_megatron, 1), " %)\n");
  if (p.fits()) return out + cat("fits: ", bytes(p.memory_limit - all), " left\n");
  return out + cat("DOES NOT FIT: ", bytes(all - p.memory_limit),
                   " too much; try --recompute=full, a higher --parallel.zero, ",
                   "smaller --micro_tokens, or --search\n");
}

Json to_json(const TrainPlan& p) {
  Json j = Json::object();
  const RankLayout& l = p.layout;
  j["layout"] = Json::Object{{"data", l.data},         {"tensor", l.tensor},         {"context", l.context},
                             {"pipeline", l.pipeline}, {"mode", name_of(l.mode)},    {"weight", l.weight},
                             {"zero", l.zero},         {"zero_ranks", l.zero_ranks}, {"schedule", name_of(l.schedule)},
                             {"chunks", l.chunks}};
  j["recompute"] = name_of(p.again), j["micro_tokens"] = p.micro_tokens, j["micro_batches"] = p.micro_batches;
  j["memory"] = Json::object();
  for (const auto& [name, n] : p.memory.parts()) j["memory"][name] = n;
  j["memory_bytes"] = static_cast<int64_t>(p.memory.total()), j["device_bytes"] = static_cast<int64_t>(p.memory_limit);
  j["fits"] = p.fits();
  j["seconds"] = Json::object();
  for (const auto& [name, s] : p.time.parts()) j["seconds"][name] = s;
  j["step_seconds"] = p.time.total(), j["tokens_per_second"] = p.tokens_per_second, j["tgs"] = p.tgs;
  j["mfu"] = p.mfu, j["mfu_internevo"] = p.mfu_internevo, j["mfu_megatron"] = p.mfu_megatron;
  return j;
}

std::string to_text(const SearchResult& r, double spent) {
  std::string out = cat(r.tried, " layouts tried in ", fixed(spent, 2), " s, ", r.fitting, " fit\n\n");
  TextTable table{{"tgs", "MFU", "step", "memory", "layout"}, {}, {true, true, true, true, false}};
  for (const TrainPlan& p : r.best)
    table.rows.push_back({fixed(p.tgs, 0), fixed(100 * p.mfu, 1) + " %", seconds(p.time.total()),
                          bytes(p.memory.total()), to_string(p)});
  out += r.best.empty() ? "none fits\n" : to_text(table);
  out += "\nnot possible:\n";
  for (const auto& why : r.refused) out += cat("  ", why.count, " x ", why.kind, ": ", why.example, "\n");
  return out;
}

Json to_json(const SearchResult& r) {
  Json j = Json::object();
  j["tried"] = r.tried, j["fitting"] = r.fitting;
  j["best"] = Json::array(), j["refused"] = Json::array();
  for (const TrainPlan& p : r.best) j["best"].push(to_json(p));
  for (const auto& why : r.refused)
    j["refused"].push(Json::Object{{"reason", why.kind}, {"count", why.count}, {"example", why.example}});
  return j;
}

}  // namespace puyu
