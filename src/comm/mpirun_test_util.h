// Tests on several ranks: a test starts mpirun on this very binary with one of its tests as the work of each rank.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/mpi.h"

namespace puyu::test {

// Empty where several ranks can run here; else the reason to skip.
inline std::string no_mpirun() {
  if (!mpi_built_in()) return "built without MPI (libopenmpi-dev)";
  if (std::system("mpirun --version >/dev/null 2>&1") != 0) return "no mpirun here (openmpi-bin)";
  return "";
}

// mpirun with what tests need: more ranks than cores, as root, one thread a rank.
inline std::vector<std::string> mpirun_command(int ranks) {
  setenv("OMP_NUM_THREADS", "1", 1);
  return {"mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", std::to_string(ranks)};
}

struct Ran {
  int code = 0;        // 128 + signal when it was killed
  std::string output;  // both streams
};

// Runs the test `filter` of this binary on so many ranks. It must do its own GTEST_SKIP without PUYU_RANKS_CHILD, whose
// value is `argument`.
inline Ran run_on_ranks(int ranks, const std::string& filter, const std::string& argument) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  setenv("PUYU_RANKS_CHILD", argument.c_str(), 1);
  std::string command;
  for (const std::string& a : mpirun_command(ranks)) command += a + " ";
  command += "'" + self + "' '--gtest_filter=" + filter + "' 2>&1";
  Ran out;
  FILE* p = ::popen(command.c_str(), "r");
  unsetenv("PUYU_RANKS_CHILD");
  if (!p) return {1, "cannot start mpirun"};
  char buf[4096];
  for (size_t n; (n = std::fread(buf, 1, sizeof buf, p)) > 0;) out.output.append(buf, n);
  const int status = ::pclose(p);
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return out;
}

// The world of a rank, once in a process; ended after the last test, as MPI asks.
inline Comm& world_of_test() {
  static std::unique_ptr<Comm> world;
  struct End : ::testing::Environment {
    void TearDown() override { world.reset(); }
  };
  if (!world) {
    world = world_comm();
    world->set_patience(60);
    ::testing::AddGlobalTestEnvironment(new End);
  }
  return *world;
}

}  // namespace puyu::test
