#include "cli/train_eval.h"

#include "base/error.h"
#include "cli/eval_texts.h"
#include "engine/local_generator.h"
#include "eval/runner.h"

namespace puyu {

Evaluate make_evaluate(const TaskEvalOptions& options, const std::string& tokenizer) {
  if (options.tasks.empty()) return {};
  options.validate();
  if (tokenizer.empty()) fail("[train] eval.tasks need the option tokenizer: the model is asked in text");
  const TaskOptions t{options.data, options.limit, static_cast<int>(options.shots), TaskOptions{}.chunk_bytes,
                      TaskOptions{}.seed};
  std::vector<EvalTask> tasks;
  {
    const Tokenizer text = Tokenizer::load(tokenizer);
    tasks = load_tasks(options.tasks, t, &text);
  }
  RunOptions run;
  run.max_tokens = static_cast<int>(options.max_tokens);
  return [tasks = std::move(tasks), run](const std::string& model_dir) {
    LocalGenerator model(std::make_shared<LocalModel>(model_dir));
    std::vector<TaskScore> out;
    for (const TaskResult& task : run_tasks(model, tasks, run))
      for (const Result& r : task.results)
        if (r.subject.empty()) out.push_back({task.name, r.metric, r.estimate.value, r.estimate.error, r.estimate.n});
    return out;
  };
}

}  // namespace puyu
