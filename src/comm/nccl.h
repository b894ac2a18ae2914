// NCCL behind the seam: tensors of a GPU go through NCCL, tensors of the CPU (and the small things that ranks tell each
// other) through the Comm it is made from, which also brings the ranks together. nccl.cc where there is a CUDA and an
// NCCL, nccl_stub.cc elsewhere.
//
// Two things differ from MPI's: NCCL chooses the order of additions (the same from run to run on the same machines),
// and it rounds bf16 sums at every rank, so gradients are summed in f32. Work::wait() does not stop the CPU: it makes
// the compute stream wait, so arithmetic that was queued later comes after the message.
#pragma once
#include "comm/comm.h"
#include "tensor/device.h"

namespace puyu {

bool nccl_built_in();
// One GPU a rank: the rank on a node takes the GPU of its number there. NCCL starts with the first tensor of a GPU.
// compute: the stream whose work makes and uses the tensors.
std::unique_ptr<Comm> nccl_comm(std::unique_ptr<Comm> host, Stream compute);

}  // namespace puyu
