#include "train/plan_cluster.h"

#include <algorithm>
#include <cmath>

#include "base/config.h"
#include "base/error.h"

namespace puyu {
namespace {

// Peaks, memory and NVLink are NVIDIA's data sheets (SXM parts, dense). Links between machines: what such machines
// usually have (4 x 200 Gb/s with A100, 8 x 400 Gb/s with H100). The shares are calibrated once, on the A100 results
// that docs/benchmarks/plan.md names; Hopper's on LLM.Q's 61 % (research anchors of the same page).
struct Preset {
  const char* name;
  double bf16, f32, memory, bandwidth, nvlink, network, gemm, attention;
};
constexpr Preset kPresets[] = {
    {"a100", 312, 19.5, 80, 2039, 300, 100, 0.72, 0.61},  {"a800", 312, 19.5, 80, 2039, 200, 100, 0.72, 0.61},
    {"h100", 989.4, 67, 80, 3350, 450, 400, 0.78, 0.50},  {"h800", 989.4, 67, 80, 3350, 200, 400, 0.78, 0.50},
    {"h200", 989.4, 67, 141, 4800, 450, 400, 0.78, 0.50},
};

}  // namespace

std::vector<std::string> cluster_presets() {
  std::vector<std::string> out;
  for (const Preset& p : kPresets) out.emplace_back(p.name);
  return out;
}

Cluster cluster_preset(const std::string& name) {
  for (const Preset& p : kPresets) {
    if (name != p.name) continue;
    Cluster c;
    c.bf16_tflops = p.bf16, c.f32_tflops = p.f32, c.memory_gb = p.memory, c.memory_gbs = p.bandwidth;
    c.intra_gbs = p.nvlink, c.intra_us = 6, c.inter_gbs = p.network, c.inter_us = 8;
    c.gemm_share = p.gemm, c.gemm_half_width = 600, c.attention_share = p.attention, c.memory_share = 0.8;
    c.link_share = 0.85, c.overlap = 0.75;
    return c;
  }
  std::string known;
  for (const std::string& n : cluster_presets()) known += (known.empty() ? "" : ", ") + n;
  const std::string near = nearest(name, cluster_presets());
  fail("[plan] no cluster '", name, "'", near.empty() ? "" : cat("; did you mean '", near, "'?"), " There are ", known,
       ", here (this machine, measured now), or a TOML file as --save_cluster writes it");
}

void Cluster::validate() const {
  auto whole = [](const char* name, int64_t v) {
    if (v < 1 || v > (1 << 20)) fail("[plan] cluster ", name, ": expected 1 to ", 1 << 20, ", got ", v);
  };
  auto positive = [](const char* name, double v) {
    if (!(v > 0) || !std::isfinite(v)) fail("[plan] cluster ", name, ": expected a positive number, got ", v);
  };
  auto share = [](const char* name, double v) {
    if (!(v > 0 && v <= 1)) fail("[plan] cluster ", name, ": expected a share above 0 and up to 1, got ", v);
  };
  whole("nodes", nodes), whole("devices", devices);
  if (ranks() > (1 << 20)) fail("[plan] cluster: ", ranks(), " ranks are more than ", 1 << 20);
  for (auto [name, v] : {std::pair{"bf16_tflops", bf16_tflops},
                         {"f32_tflops", f32_tflops},
                         {"memory_gb", memory_gb},
                         {"memory_gbs", memory_gbs},
                         {"intra_gbs", intra_gbs},
                         {"inter_gbs", inter_gbs}})
    positive(name, v);
  for (auto [name, v] : {std::pair{"intra_us", intra_us}, {"inter_us", inter_us}, {"gemm_half_width", gemm_half_width}})
    if (!(v >= 0) || !std::isfinite(v)) fail("[plan] cluster ", name, ": expected 0 or more, got ", v);
  for (auto [name, v] : {std::pair{"gemm_share", gemm_share},
                         {"attention_share", attention_share},
                         {"memory_share", memory_share},
                         {"link_share", link_share}})
    share(name, v);
  if (!(overlap >= 0 && overlap <= 1)) fail("[plan] cluster overlap: expected 0 to 1, got ", overlap);
}

Links::Span Links::span(Group g) const {
  const int64_t per_node = std::clamp<int64_t>(c_.devices / g.stride, 1, g.size);
  const int64_t nodes = (g.size + per_node - 1) / per_node;
  return {static_cast<double>(per_node), static_cast<double>(nodes),
          static_cast<double>(std::max<int64_t>(1, c_.devices / per_node))};
}

double Links::ring_latency(const Span& s) const {
  const double outside = s.nodes > 1 ? s.nodes : 0;
  return (outside * c_.inter_us + (s.nodes * (s.per_node - 1)) * c_.intra_us) * 1e-6;
}

// Inside a machine each device takes in what the others have; between machines each takes in the other machines' part
// once, over all cards that the group's share of them is. The two run as one pipeline: the slower one counts.
double Links::all_gather(Group g, double bytes) const {
  if (g.size == 1) return 0;
  const Span s = span(g);
  const double inside = bytes * (s.per_node - 1) / s.per_node / intra();
  const double outside = bytes * (s.nodes - 1) / s.nodes * s.sharing / inter();
  return std::max(inside, outside) + ring_latency(s);
}

double Links::broadcast(Group g, double bytes) const {
  if (g.size == 1) return 0;
  const Span s = span(g);
  return bytes / (s.nodes > 1 ? std::min(intra(), inter() / s.sharing) : intra()) + ring_latency(s);
}

double Links::all_to_all(Group g, double bytes) const {
  if (g.size == 1) return 0;
  const Span s = span(g);
  const double ranks = s.per_node * s.nodes;
  const double inside = bytes * (s.per_node - 1) / ranks / intra();
  const double outside = bytes * s.per_node * (s.nodes - 1) * s.per_node / ranks * s.sharing / inter();
  return std::max(inside, outside) + (s.nodes > 1 ? c_.inter_us : c_.intra_us) * 1e-6;
}

double Links::send(Group g, double bytes) const {
  if (g.size == 1) return 0;
  const Span s = span(g);
  if (s.nodes == 1) return bytes / intra() + c_.intra_us * 1e-6;
  return bytes * s.sharing / inter() + c_.inter_us * 1e-6;
}

}  // namespace puyu
