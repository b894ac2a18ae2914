// puyu demo: runs the stations of demo.h, prints the table of results, writes the report, ends in a chat.
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signal.h"
#include "cli/demo.h"
#include "cli/verbs.h"
#include "eval/text_table.h"

namespace puyu {

DemoPaths::DemoPaths(const std::string& o)
    : out(o),
      data(o + "/data"),
      tokenizer(o + "/tokenizer.puyu"),
      tokens(o + "/tokens"),
      arithmetic(o + "/tokens/arithmetic.tok"),
      pretrain(o + "/pretrain"),
      finetune(o + "/finetune"),
      reward(o + "/reward"),
      rlhf(o + "/rlhf"),
      tasks(o + "/finetune/eval"),
      report(o + "/report.html") {}

const Json& Stations::run(const std::string& name, const std::string& inputs, const std::function<Json()>& work) {
  chain_ += cat(name, "\n", inputs, "\n");
  const std::string path = cat(out_, "/stations/", name, ".json"), key = cat(hash64(chain_));
  if (file_exists(path)) {
    Json j = Json::parse(read_file(path), path);
    if (j.at("key").as_string() == key) {
      log_info(name, ": done before, reused");
      return done_.emplace_back(Done{name, j.at("seconds").as_double(), true, j.at("result")}).result;
    }
  }
  log_info("── ", name);
  const auto start = std::chrono::steady_clock::now();
  Json result = work();
  if (interrupted()) throw Interrupted{};
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Json j = Json::object();
  j["key"] = key;
  j["seconds"] = seconds;
  j["result"] = result;
  make_directories(out_ + "/stations");
  write_file(path, j.dump(1) + "\n");
  return done_.emplace_back(Done{name, seconds, false, std::move(result)}).result;
}

const Json& Stations::result(const std::string& name) const {
  for (const Done& d : done_)
    if (d.name == name) return d.result;
  fail("[demo] station '", name, "' has not run");
}

namespace {

template <class T>
std::string options_of(const T& options) {
  T copy = options;
  return to_toml(list_fields(copy));
}

// The corpus as far as it matters for reuse: names and sizes.
std::string corpus_listing(const std::string& corpus) {
  Hasher h;
  for (const auto& f : list_files(corpus)) h.update(f), h.update(cat(MappedFile(f).size()));
  return cat(corpus, " ", h.digest());
}

void run_chain(const DemoOptions& o, const DemoPaths& p, Stations& s) {
  s.run("data", corpus_listing(o.corpus), [&] { return demo_data(o, p); });
  s.run("tokenizer", options_of(o.tokenizer), [&] { return demo_tokenizer(o, p); });
  s.run("tokens", cat(o.arithmetic_documents), [&] { return demo_tokens(o, p); });
  s.run("pretrain", options_of(o.pretrain), [&] { return demo_pretrain(o, p); });
  s.run("finetune", options_of(o.finetune), [&] { return demo_finetune(o, p); });
  s.run("eval-base", "", [&] { return demo_eval("base", p.model(p.pretrain), p); });
  s.run("eval-sft", "", [&] { return demo_eval("sft", p.model(p.finetune), p); });
  s.run("reward", options_of(o.reward), [&] { return demo_reward(o, p); });
  s.run("rlhf", options_of(o.rlhf), [&] { return demo_rlhf(o, p); });
  s.run("eval-rlhf", "", [&] { return demo_eval("rlhf", p.model(p.rlhf), p); });
}

std::string percent(const Json& e) {
  char buf[48];
  std::snprintf(buf, sizeof buf, "%.1f ± %.1f %%", 100 * e.at("value").as_double(), 100 * e.at("error").as_double());
  return buf;
}

void print_results(const Stations& s) {
  TextTable times{{"station", "time"}, {}, {}};
  double total = 0;
  for (const auto& d : s.done()) {
    times.rows.push_back({d.name, format_duration(d.seconds) + (d.reused ? "  (reused)" : "")});
    total += d.seconds;
  }
  times.rows.push_back({"all", format_duration(total)});
  std::printf("\n%s\n", to_text(times).c_str());
  TextTable t{{"task", "metric", "base", "SFT", "RLHF"}, {}, {}};
  const Json &base = s.result("eval-base").at("results"), &sft = s.result("eval-sft").at("results"),
             &rl = s.result("eval-rlhf").at("results");
  for (size_t i = 0; i < rl.size(); ++i) {
    const Json& r = rl.as_array()[i];
    const bool share = r.at("share").as_bool();
    auto cell = [&](const Json& all) {
      const Json& e = all.as_array().at(i);
      return share ? percent(e) : cat(e.at("value").as_double());
    };
    t.rows.push_back({r.at("task").as_string(), r.at("metric").as_string(), cell(base), cell(sft), cell(rl)});
  }
  std::printf("%s\n", to_text(t).c_str());
}

int finish(const DemoOptions& o, const DemoPaths& p, const Stations& s) {
  write_file(p.report, demo_report(o, s));
  print_results(s);
  std::printf("report: %s\nmodel:  %s   (puyu chat, puyu serve)\n\n", p.report.c_str(), p.model(p.rlhf).c_str());
  std::fflush(stdout);
  if (!o.chat) return 0;
  if (isatty(STDIN_FILENO)) return kChatVerb.run({p.model(p.rlhf)});
  std::vector<std::string> answers = demo_answers(p.model(p.rlhf));
  for (size_t i = 0; i < answers.size(); ++i)
    std::printf("> %s\n%s\n\n", demo_questions()[i].c_str(), answers[i].c_str());
  return 0;
}

int run(const std::vector<std::string>& argv) {
  DemoOptions o;
  Fields f = list_fields(o);
  if (wants_help(
          argv, kDemoVerb,
          "Stations: data, tokenizer, tokens, pretrain, finetune, reward, rlhf, and an evaluation after each kind of "
          "training.\n"
          "Finished stations are reused; Ctrl-C and the same command again goes on where it stopped.\n"
          "The text comes from scripts/fetch_corpus.sh, or is your own: puyu demo --corpus=my/text --out=runs/mine\n",
          f))
    return 0;
  Args a = parse_args(argv, f);
  if (!a.positional.empty()) throw UsageError(cat("unexpected '", a.positional[0], "'"));
  if (!is_directory(o.corpus))
    fail("[demo] there is no folder '", o.corpus,
         "'; run scripts/fetch_corpus.sh, or give your own text with --corpus=DIR");
  DemoPaths p(o.out);
  make_directories(o.out);
  Stations s(o.out);
  try {
    run_chain(o, p, s);
  } catch (const Interrupted&) {
    log_warn("stopped; the same command goes on where it stopped");
    return 1;
  }
  return finish(o, p, s);
}

}  // namespace

const Verb kDemoVerb = {"demo", "puyu demo [--corpus=DIR] [--out=DIR] [options]",
                        "the whole chain on real text, in minutes", run};

}  // namespace puyu
