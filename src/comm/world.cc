// Who started us, and with how many others: the launchers say it in the environment.
#include <cstdlib>

#include "comm/mpi.h"

namespace puyu {
namespace {

// OpenMPI's mpirun, MPICH's and Slurm's PMI, and tasks of srun. 0: not set.
int launched(const char* variable) {
  const char* v = std::getenv(variable);
  return v ? std::atoi(v) : 0;
}

}  // namespace

std::unique_ptr<Comm> world_comm() {
  int processes = 1;
  for (const char* v : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    processes = std::max(processes, launched(v));
  if (processes == 1) return self_comm();
  if (!mpi_built_in())
    fail("[comm] ", processes, " processes were started together, but this program was built without MPI; install ",
         "libopenmpi-dev and openmpi-bin (scripts/install.sh), configure and build again, or start one process");
  auto world = mpi_world();
  if (world->size() == 1)
    fail("[comm] ", processes, " processes were started together, but they do not know of each other; start them ",
         "with mpirun, or with srun --mpi=pmix");
  return world;
}

}  // namespace puyu
