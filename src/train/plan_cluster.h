// The machine a run is planned for: what one device can do, what the links between devices can do, and how much of
// either real software gets. docs/plan.md has the equations and where each number comes from.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace puyu {

struct Cluster {
  int64_t nodes = 1;
  int64_t devices = 8;
  double bf16_tflops = 0, f32_tflops = 0;
  double memory_gb = 0, memory_gbs = 0;
  double intra_gbs = 0, intra_us = 0, inter_gbs = 0, inter_us = 0;
  double gemm_share = 0, gemm_half_width = 0, attention_share = 0, memory_share = 0, link_share = 0, overlap = 0;
  template <class F>
  void fields(F&& f) {
    f("nodes", nodes, "machines");
    f("devices", devices, "ranks on a machine: its GPUs, or processes on CPUs");
    f("bf16_tflops", bf16_tflops, "peak of one device in bf16, TFLOP/s, dense");
    f("f32_tflops", f32_tflops, "peak of one device in f32, TFLOP/s");
    f("memory_gb", memory_gb, "memory of one device, 1e9 bytes");
    f("memory_gbs", memory_gbs, "bandwidth of that memory, GB/s");
    f("intra_gbs", intra_gbs, "between devices of one machine: GB/s of each device, one way");
    f("intra_us", intra_us, "latency of one hop inside a machine, microseconds");
    f("inter_gbs", inter_gbs, "between machines: GB/s of each machine (all its network cards), one way");
    f("inter_us", inter_us, "latency of one hop between machines, microseconds");
    f("gemm_share", gemm_share, "share of the peak that wide matrix products get");
    f("gemm_half_width", gemm_half_width, "narrower ones get width / (width + this) of it");
    f("attention_share", attention_share, "share of the peak that attention gets, causal FLOPs");
    f("memory_share", memory_share, "share of the memory's bandwidth that element-wise work and the optimizer get");
    f("link_share", link_share, "share of the links' bandwidth that collectives get");
    f("overlap", overlap, "share of communication that can hide, and of the computation it can hide behind");
  }
  int64_t ranks() const { return nodes * devices; }
  double peak(DType dtype) const { return (dtype == DType::kBF16 ? bf16_tflops : f32_tflops) * 1e12; }
  double memory_bytes() const { return memory_gb * 1e9; }
  double gemm_rate(DType dtype, double width) const {
    return peak(dtype) * gemm_share * width / (width + gemm_half_width);
  }
  double memory_rate() const { return memory_gbs * 1e9 * memory_share; }
  // What a computation of so many seconds leaves of a communication: at most the share `overlap` of either hides.
  double exposed(double communication, double computation) const {
    return communication - overlap * std::min(communication, computation);
  }
  // Throws Error naming the field that cannot be.
  void validate() const;
};

// "a100", "a800", "h100", "h800", "h200"; Error on others, with the nearest.
Cluster cluster_preset(const std::string& name);
std::vector<std::string> cluster_presets();

// A group of ranks that talk: `size` of them, `stride` apart in the numbering of comm/mesh.h. All groups of the same
// kind talk at the same time and share a machine's network cards.
struct Group {
  int64_t size = 1, stride = 1;
};

// Seconds of one operation, rings of Thakur et al. 2005 with the two levels of a cluster; bytes: of the whole tensor.
class Links {
 public:
  explicit Links(const Cluster& c) : c_(c) {}
  double all_gather(Group g, double bytes) const;  // reduce_scatter takes as long
  double all_reduce(Group g, double bytes) const { return 2 * all_gather(g, bytes); }
  double broadcast(Group g, double bytes) const;   // pipelined along a ring
  double all_to_all(Group g, double bytes) const;  // bytes: what one rank holds before
  double send(Group g, double bytes) const;        // to the next rank of the group, all at once

 private:
  struct Span {
    double per_node, nodes, sharing;  // ranks of the group on a machine, machines, groups that share a machine's cards
  };
  Span span(Group g) const;
  double ring_latency(const Span& s) const;  // once around
  double intra() const { return c_.intra_gbs * 1e9 * c_.link_share; }
  double inter() const { return c_.inter_gbs * 1e9 * c_.link_share; }
  const Cluster& c_;
};

}  // namespace puyu
