#include "train/run_log.h"

#include <cmath>
#include <cstdio>
#include <ctime>
#include <sstream>

#include "base/config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "kernels/cpu/table.h"
#include "train/tensorboard.h"

namespace puyu {
namespace {

double number(const Json& j, std::string_view key) { return j.get(key, std::nan("")); }  // null: inf or NaN

std::string event_record(const StepMetrics& m) {
  std::vector<std::pair<std::string, double>> s{{"train/loss", m.loss},
                                                {"train/acc", m.accuracy},
                                                {"train/grad_norm", m.grad_norm},
                                                {"train/lr", m.lr},
                                                {"speed/tgs", m.tgs}};
  if (m.mfu > 0) {
    s.emplace_back("speed/mfu", m.mfu);
    s.emplace_back("speed/mfu_internevo", m.mfu_internevo), s.emplace_back("speed/mfu_megatron", m.mfu_megatron);
  }
  s.emplace_back("train/ppl", std::exp(m.loss));
  for (const auto& [name, norm] : m.grad_norms) s.emplace_back("train/grad_norm/" + name, norm);
  for (const SourceLoss& l : m.sources) {
    s.emplace_back("data/epochs/" + l.name, l.epochs);
    if (l.tokens > 0) s.emplace_back("train/loss/" + l.name, l.loss), s.emplace_back("train/acc/" + l.name, l.accuracy);
  }
  for (const ValidLoss& v : m.valid) s.emplace_back("valid/loss/" + v.name, v.loss);
  for (const TaskScore& t : m.tasks) s.emplace_back("eval/" + t.task + "/" + t.metric, t.value);
  return tensorboard_scalars(m.time, m.step, s);
}

// Steps 1 … last of metrics.jsonl. A last line without its end is what a killed process was writing.
std::string first_line_of(const char* command) {
  std::string out;
  if (FILE* p = ::popen(command, "r")) {
    char buf[256];
    if (std::fgets(buf, sizeof buf, p)) out = buf;
    ::pclose(p);
  }
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

std::string cpu_model() {
  const std::string text = read_file("/proc/cpuinfo");
  const size_t at = text.find("model name");
  if (at == std::string::npos) return "unknown";
  const size_t begin = text.find(": ", at) + 2;
  return text.substr(begin, text.find('\n', begin) - begin);
}

struct Machine {
  std::string git_commit, cpu, isa, started;
  int64_t threads = 0;
  template <class F>
  void fields(F&& f) {
    f("git_commit", git_commit, ""), f("started", started, ""), f("cpu", cpu, ""), f("isa", isa, ""),
        f("threads", threads, "");
  }
};

}  // namespace

std::string step_line(const StepMetrics& m, int64_t total, int ranks) {
  auto percent = [&](double seconds) { return 100 * seconds / m.seconds; };
  char text[512];
  std::string out;
  auto add = [&](const char* format, auto... values) {
    std::snprintf(text, sizeof text, format, values...);
    out += text;
  };
  add("step %ld/%ld  loss %.4f  ppl %.2f  acc %.3f  grad_norm %.3f  lr %.2e  tokens %ld  tgs %.0f", long(m.step),
      long(total), m.loss, std::exp(m.loss), m.accuracy, m.grad_norm, m.lr, long(m.consumed_tokens), m.tgs);
  add("  data %.0f%% forward %.0f%% backward %.0f%% optimizer %.0f%%", percent(m.data_seconds),
      percent(m.forward_seconds), percent(m.backward_seconds), percent(m.optimizer_seconds));
  if (ranks > 1) add(" (waits %.0f%%)", percent(m.reduce_seconds));
  if (m.save_seconds > 0) add(" save %.1f%%", percent(m.save_seconds));
  if (m.mfu > 0)
    add("  mfu %.1f%% (InternEvo's %.1f%%, Megatron's %.1f%%)", 100 * m.mfu, 100 * m.mfu_internevo,
        100 * m.mfu_megatron);
  return out;
}

Json to_json(const StepMetrics& m) {
  Json j = Json::object();
  j["step"] = m.step;
  j["phase"] = m.phase;
  j["loss"] = m.loss;
  j["ppl"] = std::exp(m.loss);
  j["acc"] = m.accuracy;
  j["grad_norm"] = m.grad_norm;
  j["lr"] = m.lr;
  j["skipped"] = m.skipped;
  j["tokens"] = m.tokens;
  j["consumed_tokens"] = m.consumed_tokens;
  j["seconds"] = m.seconds;
  j["data_seconds"] = m.data_seconds;
  j["model_seconds"] = m.model_seconds;
  j["forward_seconds"] = m.forward_seconds;
  j["backward_seconds"] = m.backward_seconds;
  j["optimizer_seconds"] = m.optimizer_seconds;
  j["reduce_seconds"] = m.reduce_seconds;
  j["save_seconds"] = m.save_seconds;
  j["tgs"] = m.tgs;
  if (m.mfu > 0) j["mfu"] = m.mfu, j["mfu_internevo"] = m.mfu_internevo, j["mfu_megatron"] = m.mfu_megatron;
  j["time"] = m.time;
  for (const auto& [name, norm] : m.grad_norms) j["grad_norms"][name] = norm;
  for (const SourceLoss& l : m.sources) {
    Json& e = j["sources"][l.name];
    if (l.tokens > 0) e["loss"] = l.loss, e["ppl"] = std::exp(l.loss), e["acc"] = l.accuracy;
    e["tokens"] = l.tokens;
    e["epochs"] = l.epochs;
  }
  for (const std::string& event : m.events) j["events"].push(event);
  for (const ValidLoss& v : m.valid) {
    Json& e = j["valid"][v.name];
    e["loss"] = v.loss;
    e["ppl"] = std::exp(v.loss);
    e["acc"] = v.accuracy;
    e["tokens"] = v.tokens;
  }
  for (const TaskScore& t : m.tasks) {
    Json& e = j["tasks"][t.task][t.metric];
    e["value"] = t.value, e["error"] = t.error, e["samples"] = t.samples;
  }
  return j;
}

StepMetrics metrics_from_json(const Json& j) {
  StepMetrics m;
  m.step = j.at("step").as_int(), m.phase = j.at("phase").as_string(), m.skipped = j.at("skipped").as_bool();
  m.loss = number(j, "loss"), m.accuracy = number(j, "acc"), m.grad_norm = number(j, "grad_norm");
  m.lr = number(j, "lr"), m.tokens = j.at("tokens").as_int(), m.consumed_tokens = j.at("consumed_tokens").as_int();
  m.seconds = number(j, "seconds"), m.data_seconds = number(j, "data_seconds");
  m.model_seconds = number(j, "model_seconds"), m.optimizer_seconds = number(j, "optimizer_seconds");
  m.reduce_seconds = j.get("reduce_seconds", 0.0), m.save_seconds = j.get("save_seconds", 0.0);
  m.forward_seconds = j.get("forward_seconds", 0.0), m.backward_seconds = j.get("backward_seconds", 0.0);
  m.mfu_internevo = j.get("mfu_internevo", 0.0), m.mfu_megatron = j.get("mfu_megatron", 0.0);
  if (const Json* norms = j.find("grad_norms"))
    for (const auto& [name, v] : norms->as_object()) m.grad_norms.emplace_back(name, number(*norms, name));
  if (const Json* sources = j.find("sources"))
    for (const auto& [name, v] : sources->as_object())
      m.sources.push_back({name, number(v, "loss"), number(v, "acc"), v.at("tokens").as_int(), number(v, "epochs")});
  if (const Json* events = j.find("events"))
    for (const Json& e : events->as_array()) m.events.push_back(e.as_string());
  m.tgs = number(j, "tgs"), m.mfu = j.get("mfu", 0.0), m.time = number(j, "time");
  if (const Json* valid = j.find("valid"))
    for (const auto& [name, v] : valid->as_object())
      m.valid.push_back({name, number(v, "loss"), number(v, "acc"), v.at("tokens").as_int()});
  if (const Json* tasks = j.find("tasks"))
    for (const auto& [task, metrics] : tasks->as_object())
      for (const auto& [metric, v] : metrics.as_object())
        m.tasks.push_back({task, metric, number(v, "value"), number(v, "error"), v.at("samples").as_int()});
  return m;
}

std::vector<StepMetrics> read_metrics(const std::string& path, int64_t last) {
  std::vector<StepMetrics> out;
  if (last == 0 || !file_exists(path)) return out;
  const std::string text = read_file(path);
  size_t line = 1;
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1, ++line) {
    const Json j = Json::parse(std::string_view(text).substr(at, end - at), cat(path, ":", line));
    if (j.at("step").as_int() > last) break;
    out.push_back(metrics_from_json(j));
  }
  return out;
}

RunLog::RunLog(const std::string& run_dir, int64_t step)
    : metrics_path_(run_dir + "/metrics.jsonl"),
      events_path_(run_dir + "/tensorboard/events.out.tfevents.0000000000.puyu"),
      steps_(read_metrics(metrics_path_, step)) {
  if (static_cast<int64_t>(steps_.size()) != step)
    log_warn("[train] ", metrics_path_, ": ", steps_.size(), " steps before the checkpoint's step ", step,
             "; the curve will have a gap");
  make_directories(run_dir + "/tensorboard");
  std::string lines,
      events = tensorboard_header(steps_.empty() ? static_cast<double>(std::time(nullptr)) : steps_[0].time);
  for (const StepMetrics& m : steps_) lines += to_json(m).dump() + "\n", events += event_record(m);
  write_file(metrics_path_, lines);
  write_file(events_path_, events);
}

void RunLog::add(const StepMetrics& m) {
  append_file(metrics_path_, to_json(m).dump() + "\n");
  append_file(events_path_, event_record(m));
  steps_.push_back(m);
}

void write_manifest(const std::string& run_dir, const Fields& options) {
  Machine m;
  m.git_commit = first_line_of("git rev-parse HEAD 2>/dev/null");
  m.cpu = cpu_model(), m.isa = cpu::isa_name(), m.threads = num_threads();
  char buf[32];
  const std::time_t now = std::time(nullptr);
  std::tm tm{};
  std::strftime(buf, sizeof buf, "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&now, &tm));
  m.started = buf;
  // The machine's part is comments, so that a manifest is a config again: `puyu train runs/NAME/manifest.toml`.
  std::istringstream lines(to_toml(list_fields(m)));
  std::string record, line;
  while (std::getline(lines, line)) record += "# " + line + "\n";
  write_file(run_dir + "/manifest.toml", record + "\n" + to_toml(options));
}

}  // namespace puyu
