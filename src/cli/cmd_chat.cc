// puyu chat MODEL: a conversation in the terminal.
#include <editline/readline.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "base/signal.h"
#include "cli/verbs.h"
#include "engine/local_generator.h"

namespace puyu {
namespace {

struct Options {
  std::string system;
  SamplingOptions sampling;
  ModelOptions model;
  template <class F>
  void fields(F&& f) {
    f("system", system, "the system message");
    sampling.fields(f);
    model.fields(f);
  }
};

constexpr const char* kCommands =
    "/reset         forget the conversation\n/system TEXT   set the system message and reset\n/help          this "
    "list\n"
    "/exit          leave (also Ctrl-D)\nCtrl-C stops an answer.\n";

// Lines from the terminal with editing and history, or from a pipe as they are.
class LineReader {
 public:
  LineReader() : terminal_(::isatty(0) && ::isatty(1)) {
    if (!terminal_) return;
    if (!std::setlocale(LC_ALL, "")) std::setlocale(LC_ALL, "C.UTF-8");
    const char *xdg = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
    const std::string cache = xdg && *xdg ? xdg : home ? std::string(home) + "/.cache" : "/tmp";
    file_ = cache + "/puyu/chat_history";
    using_history();
    try {
      make_directories(cache + "/puyu");
      if (!file_exists(file_)) return;
      const std::string old = read_file(file_);
      for (size_t at = 0, end; (end = old.find('\n', at)) != std::string::npos; at = end + 1)
        add_history(old.substr(at, end - at).c_str());
    } catch (const Error& e) { log_warn("no history: ", e.what()); }
  }
  std::optional<std::string> next() {
    std::string line;
    if (!terminal_) return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
    char* typed = readline("> ");
    if (!typed) return std::nullopt;
    line = typed;
    std::free(typed);
    if (line.empty()) return line;
    add_history(line.c_str());
    try {
      append_file(file_, line + "\n");
    } catch (const Error&) { terminal_ = true; }  // said at the start already
    return line;
  }

 private:
  bool terminal_;
  std::string file_;
};

class Chat {
 public:
  explicit Chat(LocalModel& model, const Options& o) : model_(model), options_(o) { reset(); }

  void reset() {
    messages_.clear();
    if (!options_.system.empty()) messages_.push_back({"system", options_.system, ""});
  }
  // False when the user leaves.
  bool command(const std::string& line) {
    if (line == "/exit" || line == "/quit") return false;
    if (line == "/reset") {
      reset();
    } else if (line == "/system" || line.starts_with("/system ")) {
      options_.system = line.size() > 8 ? line.substr(8) : "";
      reset();
    } else {
      std::printf("%s", kCommands);
    }
    return true;
  }
  void answer(const std::string& line) {
    messages_.push_back({"user", line, ""});
    Generation g;
    std::vector<Request> requests;
    auto print = [](const std::string& text) {
      std::fwrite(text.data(), 1, text.size(), stdout), std::fflush(stdout);
      return true;
    };
    try {
      requests.push_back(
          model_.request({"", messages_}, options_.sampling, print, [&](const Generation& all) { g = all; }));
      ++options_.sampling.seed;
      model_.engine.run(std::move(requests));
    } catch (const Error& e) {
      messages_.pop_back();
      std::printf("%s\n(/reset begins a new conversation)\n", e.what());
      return;
    }
    std::printf("%s\n", g.reason == FinishReason::kAborted ? " [stopped]" : "");
    clear_interrupt();
    messages_.push_back({"assistant", g.text, ""});
  }

 private:
  LocalModel& model_;
  Options options_;
  std::vector<Message> messages_;
};

int run(const std::vector<std::string>& argv) {
  Options o;
  Fields f = list_fields(o);
  if (wants_help(argv, kChatVerb, std::string("Talks with a model; in the conversation:\n\n") + kCommands, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 1) throw UsageError("expected one MODEL folder");
  o.sampling = read_generation_config(a.positional[0]).sampling;
  parse_args(argv, f);  // again: what the command line says goes before the model's defaults
  LocalModel model(a.positional[0], o.model);
  Chat chat(model, o);
  LineReader lines;
  for (;;) {
    std::optional<std::string> line = lines.next();
    if (interrupted()) {  // Ctrl-C at the prompt: a fresh line
      clear_interrupt();
      std::printf("\n");
      continue;
    }
    if (!line) break;
    if (line->empty()) continue;
    if ((*line)[0] != '/')
      chat.answer(*line);
    else if (!chat.command(*line))
      break;
  }
  return 0;
}

}  // namespace

const Verb kChatVerb = {"chat", "puyu chat MODEL [--system TEXT] [--temperature 0.8] [options]", "talk with a model",
                        run};

}  // namespace puyu
