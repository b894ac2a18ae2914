// puyu data benchmarks: what training text must not hold.
#include <cstdio>
#include <filesystem>

#include "base/log.h"
#include "cli/data_tools.h"
#include "data/compress.h"
#include "data/decontaminate.h"
#include "eval/task.h"

namespace puyu {
namespace {

struct BenchmarkOptions {
  std::string data, out;
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("data", data, "folder with the data of 'puyu eval': every task that has its data there");
    f("out", out, "the file to write");
    f("json", json, "print JSON");
  }
};

void add_strings(const Json& j, std::string& text) {
  if (j.is_string()) {
    text += j.as_string() + "\n";
  } else if (j.is_array()) {
    for (const Json& e : j.as_array()) add_strings(e, text);
  } else if (j.is_object()) {
    for (const auto& [key, e] : j.as_object()) add_strings(e, text);
  }
}

// Questions as asked without examples, with their choices and answers.
void add_tasks(const std::string& data, std::vector<BenchmarkText>& out) {
  TaskOptions options;
  options.data = data, options.shots = 0;
  for (const TaskInfo& t : known_tasks()) {
    if (!task_has_data(t, data)) {
      log_info("benchmarks: ", data, " has no data for '", t.name, "' (", t.needs, ")");
      continue;
    }
    for (const EvalSample& s : load_task(t.name, options).samples) {
      std::string text = s.prompt.text + "\n";
      for (const auto& m : s.prompt.messages) text += m.content + "\n";
      for (const std::string& c : s.choices) text += c + "\n";
      out.push_back({t.name, text + s.expected});
    }
  }
}

// Any other benchmark: each line of JSONL, each row of CSV, each element of a JSON list, or the whole file is a text.
void add_file(const std::string& path, std::vector<BenchmarkText>& out) {
  InputStream in(path);
  std::string bytes;
  in.read_all(bytes, size_t{1} << 30);
  if (!in.damage().empty()) fail("[data] ", path, ": ", in.damage());
  std::filesystem::path p(path);
  while (p.extension() == ".gz" || p.extension() == ".zst") p.replace_extension();
  std::string kind = p.extension().string(), parent = p.parent_path().filename().string();
  std::string name = parent.empty() ? p.stem().string() : parent + "/" + p.stem().string();
  if (kind == ".jsonl") {
    for (size_t at = 0, number = 1; at < bytes.size(); ++number) {
      size_t end = std::min(bytes.find('\n', at), bytes.size());
      std::string text;
      if (end > at)
        add_strings(Json::parse(std::string_view(bytes).substr(at, end - at), cat(path, ":", number)), text);
      if (!text.empty()) out.push_back({name, std::move(text)});
      at = end + 1;
    }
  } else if (kind == ".json") {
    Json j = Json::parse(bytes, path);
    const Json* examples = j.is_object() ? j.find("examples") : &j;  // BIG-Bench-Hard's form, or a list
    auto add = [&](const Json& e) {
      std::string text;
      add_strings(e, text);
      if (!text.empty()) out.push_back({name, std::move(text)});
    };
    if (examples && examples->is_array())
      for (const Json& e : examples->as_array()) add(e);
    else
      add(j);
  } else if (kind == ".csv") {
    for (const auto& row : parse_csv(bytes, path)) {
      std::string text;
      for (const std::string& field : row) text += field + "\n";
      out.push_back({name, std::move(text)});
    }
  } else {
    out.push_back({name, std::move(bytes)});
  }
}

int run_benchmarks(const std::vector<std::string>& argv) {
  BenchmarkOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Gathers what documents of a training corpus must not share with benchmarks (decontaminate.benchmarks): windows "
      "of 13\n"
      "words, in Chinese of 50 ideographs. --data takes every task of 'puyu eval' that has its data in the folder; "
      "further\n"
      "benchmarks are files (.jsonl, .json, .csv, text; also .gz) or folders of them.\n\n"
      "example: puyu data benchmarks --data=data/eval more/humaneval.jsonl --out=benchmarks.bin\n";
  if (wants_help(argv, kDataBenchmarks, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"o", "out"}});
  if (o.out.empty() || (o.data.empty() && a.positional.size() < 2))
    throw UsageError("expected --data DIR or FILE..., and --out FILE");
  std::vector<BenchmarkText> texts;
  if (!o.data.empty()) add_tasks(o.data, texts);
  for (size_t i = 1; i < a.positional.size(); ++i) {
    if (!file_exists(a.positional[i])) fail("[data] ", a.positional[i], ": no such file or folder");
    for (const std::string& path : list_files(a.positional[i])) add_file(path, texts);
  }
  BenchmarkCounts c = build_benchmarks(texts, o.out);
  if (o.json)
    std::printf(
        "%s\n",
        Json(Json::Object{{"texts", c.texts}, {"windows", c.windows}, {"too_short", c.too_short}}).dump().c_str());
  else
    std::printf("%lld texts, %lld windows; %lld texts are shorter than a window and cannot be found\n",
                static_cast<long long>(c.texts), static_cast<long long>(c.windows),
                static_cast<long long>(c.too_short));
  return 0;
}

}  // namespace

const Verb kDataBenchmarks = {"data benchmarks", "puyu data benchmarks [FILE...] [--data DIR] --out FILE2",
                              "what of benchmarks a corpus must not hold", run_benchmarks};

}  // namespace puyu
