// Stands in for nccl.cc in builds without CUDA or NCCL.
#include "comm/nccl.h"

namespace puyu {

bool nccl_built_in() { return false; }
std::unique_ptr<Comm> nccl_comm(std::unique_ptr<Comm>, Stream) {
  fail(
      "[comm] this puyu was built without NCCL; install CUDA and NCCL and build with cmake --preset cuda, or train on "
      "the CPU");
}

}  // namespace puyu
