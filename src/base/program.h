// Another program as a child: its arguments as they are (no shell), what it reads given beforehand, what it prints read
// in pieces, what it complains about kept for the error message.
#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace puyu {

class Program {
 public:
  // Starts it; it is found on PATH. `input` is its standard input. Error when there is no process or pipe to be had.
  explicit Program(const std::vector<std::string>& argv, std::string_view input = {});
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();  // ends it (SIGKILL) when it has not been waited for
  // Appends what it prints, up to 64 KiB; false when it has closed its output.
  bool read(std::string& out);
  // Its exit status: 127 when it is not installed, 128 + the signal that ended it.
  int wait();
  std::string complaint() const;  // after wait(): the beginning of what it wrote to standard error, without line ends

 private:
  pid_t pid_ = -1;
  int out_ = -1, errors_ = -1;
};

struct ProgramResult {
  int status = 0;
  std::string out, complaint;
};
// The whole output of a program that prints little.
ProgramResult run_program(const std::vector<std::string>& argv, std::string_view input = {});

}  // namespace puyu
