// puyu bench limits: the table of bench_peak.h.
#include <cstdio>

#include "cli/bench.h"
#include "kernels/cpu/table.h"

namespace puyu {

int run_bench_limits(const BenchOptions& o) {
  std::vector<Limit> limits = measure_arithmetic(o.rounds);
  for (Limit& l : measure_reading(o.rounds)) limits.push_back(std::move(l));
  TextTable table{
      {"limit", "how", "threads", "median", "low", "high", "unit"}, {}, {false, false, true, true, true, true, false}};
  Json j = Json::object();
  j["isa"] = cpu::isa_name();
  for (const Limit& l : limits) {
    table.rows.push_back({l.name, l.how, std::to_string(l.threads), fixed(l.rate.median / 1e9, 1),
                          fixed(l.rate.low / 1e9, 1), fixed(l.rate.high / 1e9, 1), "G" + l.unit});
    Json row = Json::object();
    row["limit"] = l.name, row["how"] = l.how, row["threads"] = l.threads, row["unit"] = l.unit;
    row["median"] = l.rate.median, row["low"] = l.rate.low, row["high"] = l.rate.high;
    j["limits"].push(std::move(row));
  }
  if (o.json) return std::printf("%s\n", j.dump().c_str()), 0;
  std::printf("%s\nArithmetic runs in registers, reading streams over 1 GiB; medians of %d. Kernels use: %s.\n",
              to_text(table).c_str(), o.rounds, cpu::isa_name().c_str());
  return 0;
}

}  // namespace puyu
