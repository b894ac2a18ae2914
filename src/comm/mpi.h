// MPI behind the seam. mpi.cc where there is an MPI, mpi_stub.cc where there is none.
#pragma once
#include "comm/comm.h"

namespace puyu {

bool mpi_built_in();
std::unique_ptr<Comm> mpi_world();  // starts MPI; ends it when the Comm is destroyed

}  // namespace puyu
