// puyu data task: what the jobs of --executor=slurm run.
#include "base/parallel.h"
#include "cli/data_tools.h"
#include "data/slurm.h"

namespace puyu {
namespace {

struct TaskOptions {
  int64_t index = -1, of = -1;
  template <class F>
  void fields(F&& f) {
    f("index", index, "which share of the tasks, from 0");
    f("of", of, "of how many shares");
  }
};

int run_task(const std::vector<std::string>& argv) {
  TaskOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Runs tasks I, I + N, ... of a stage (read, gather, exact, bands, clusters, write, finish) of a run that\n"
      "'puyu data run --executor=slurm' has started in DIR. Tasks that are done are passed over.\n";
  if (wants_help(argv, kDataTask, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 3) throw UsageError("expected DIR and STAGE");
  if (o.index < 0 || o.of < 1) throw UsageError("expected --index=I and --of=N");
  set_num_threads(1);
  run_stage_part(a.positional[1], a.positional[2], o.index, o.of);
  return 0;
}

}  // namespace

const Verb kDataTask = {"data task", "puyu data task DIR STAGE --index=I --of=N",
                        "a share of a stage's tasks: what the jobs of --executor=slurm run", run_task};

}  // namespace puyu
