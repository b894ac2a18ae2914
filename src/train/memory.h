// What each rank holds, as the table a run prints after its first step.
#pragma once
#include "comm/comm.h"

namespace puyu {

// By all ranks: peaks in bytes by name, a column for each rank, or for more than eight ranks the least and the most.
std::string memory_by_rank(Comm& comm, const std::vector<std::pair<std::string, int64_t>>& mine);

}  // namespace puyu
