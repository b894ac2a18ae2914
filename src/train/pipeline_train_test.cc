// Whole runs with pipeline ranks: the curve of one rank under every schedule and in products with the other ranks, and
// checkpoints that any other layout continues.
#include "base/file.h"
#include "train/ranks_test_util.h"

namespace puyu {
namespace {
using namespace test;

class PipelineTrainRanks : public TrainRanks {
 protected:
  void SetUp() override {
    TrainRanks::SetUp();
    options.model.num_layers = 4, options.model.num_heads = 8, options.model.num_kv_heads = 4, options.lr = 1e-3;
  }
  void layout(int64_t pipeline, const char* schedule, int64_t chunks, int64_t tensor, const char* mode, int64_t zero,
              int64_t context = 1) {
    ParallelOptions& p = options.parallel;
    p.mesh.pipeline = pipeline, p.mesh.context = context, p.pipeline_schedule = schedule, p.pipeline_chunks = chunks;
    p.mesh.tensor = tensor, p.tensor_mode = mode, p.zero = zero;
  }
  void one_rank() { layout(1, "1f1b", 1, 1, "mtp", 1); }
};

TEST_F(PipelineTrainRanks, EveryScheduleTrainsTheRunOfOne) {
  options.batch_tokens = 131, options.micro_tokens = 40;  // 131 tokens split over nothing
  train(options, dir + "/one", false);
  struct Run {
    int ranks;
    int64_t pipeline;
    const char* schedule;
    int64_t chunks, tensor;
    const char* mode;
    int64_t zero;
    const char* recompute;
    int64_t context = 1;
  };
  for (const Run& r : {Run{2, 2, "1f1b", 1, 1, "mtp", 0, "none"}, Run{4, 4, "zb-h1", 1, 1, "mtp", 1, "full"},
                       Run{2, 2, "interleaved", 2, 1, "mtp", 1, "selective"}, Run{4, 2, "1f1b", 1, 1, "mtp", 3, "none"},
                       Run{4, 2, "zb-h1", 1, 1, "mtp", 2, "none"}, Run{4, 2, "interleaved", 2, 2, "msp", 1, "full"},
                       Run{4, 2, "zb-h1", 1, 2, "fsp", 3, "selective"}, Run{4, 2, "1f1b", 1, 2, "isp", 3, "none"},
                       Run{4, 2, "zb-h1", 1, 1, "mtp", 1, "full", 2}}) {
    layout(r.pipeline, r.schedule, r.chunks, r.tensor, r.mode, r.zero, r.context);
    options.recompute = r.recompute;
    const std::string name =
        cat(r.ranks / r.pipeline / r.tensor / r.context, " x ", r.tensor, " ", r.mode, " x ", r.context, " context x ",
            r.pipeline, " ", r.schedule, ", ZeRO ", r.zero, ", ", r.recompute);
    run_well(r.ranks, name);
    compare(name);
  }
}

TEST_F(PipelineTrainRanks, TiedEmbeddingsTrainTheRunOfOne) {
  options.model.tie_embeddings = true;
  train(options, dir + "/one", false);
  for (int64_t zero : {0, 1, 2, 3}) {
    const char* schedules[] = {"1f1b", "zb-h1", "interleaved", "zb-h1"};
    layout(2, schedules[zero], zero == 2 ? 2 : 1, 1, "mtp", zero);
    const std::string name = cat("tied, ", schedules[zero], ", ZeRO ", zero);
    run_well(4, name);
    compare(name);
  }
}

TEST_F(PipelineTrainRanks, AnyOtherLayoutGoesOn) {
  train(options, dir + "/one", false);
  options.stop_at = 3, layout(4, "1f1b", 1, 1, "mtp", 1);
  run_well(4, "many");
  options.stop_at = 5, layout(1, "1f1b", 1, 2, "msp", 3);
  run_well(4, "many", true);
  options.stop_at = 7, layout(2, "interleaved", 2, 1, "mtp", 2);
  run_well(4, "many", true);
  options.stop_at = 9, one_rank();
  train(options, dir + "/many", true);
  options.stop_at = 10, layout(2, "zb-h1", 1, 2, "mtp", 0);
  run_well(4, "many", true);
  options.stop_at = 11, layout(2, "interleaved", 2, 1, "mtp", 3, 2);
  run_well(4, "many", true);
  options.stop_at = 0, layout(2, "zb-h1", 1, 1, "mtp", 1);
  run_well(2, "many", true);
  compare("many");
  one_rank(), expect_files_of_one("many", 14);
}

TEST_F(PipelineTrainRanks, ResumeIsBitwise) {
  for (const char* schedule : {"1f1b", "zb-h1"}) {
    options.dtype = "bf16", options.stop_at = 0, layout(2, schedule, 1, 1, "mtp", 1);
    const std::string straight = cat("straight_", schedule), stopped = cat("stopped_", schedule);
    run_well(4, straight);
    options.stop_at = 5;
    run_well(4, stopped);
    options.stop_at = 0;
    run_well(4, stopped, true);
    expect_same_bits(straight, stopped, 14);
  }
}

TEST_F(PipelineTrainRanks, TheLogNamesTheLayoutAndItsMemory) {
  layout(2, "interleaved", 2, 2, "msp", 1), options.stop_at = 1, options.log_every = 1;
  const Ran r = run(4, "run");
  EXPECT_EQ(r.code, 0) << r.output;
  EXPECT_NE(
      r.output.find("1 data ranks, ZeRO 1, each of 2 tensor ranks (msp), 2 pipeline ranks (interleaved) of 2 chunks"),
      std::string::npos)
      << r.output;
  for (const char* part : {"micro-batches in flight", "stage messages", "waits"})
    EXPECT_NE(r.output.find(part), std::string::npos) << part << r.output;
}

}  // namespace
}  // namespace puyu
