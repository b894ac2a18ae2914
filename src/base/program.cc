#include "base/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace puyu {
namespace {

constexpr size_t kPiece = 65536, kComplaint = 4000;

// A file without a name that holds `bytes`, open at its beginning.
int open_memory(std::string_view bytes) {
  const int fd = memfd_create("puyu", MFD_CLOEXEC);
  if (fd < 0) fail("[program] no memory for a child's input: ", std::strerror(errno));
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      close(fd);
      fail("[program] no memory for a child's input: ", std::strerror(errno));
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  lseek(fd, 0, SEEK_SET);
  return fd;
}

}  // namespace

Program::Program(const std::vector<std::string>& argv, std::string_view input) {
  std::vector<char*> args;
  for (const std::string& a : argv) args.push_back(const_cast<char*>(a.c_str()));
  args.push_back(nullptr);
  const int in = open_memory(input);
  errors_ = open_memory({});
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    close(in), close(errors_);
    fail("[program] pipe: ", std::strerror(errno));
  }
  out_ = ends[0];
  pid_ = fork();
  if (pid_ == 0) {
    dup2(in, 0), dup2(ends[1], 1), dup2(errors_, 2);
    execvp(args[0], args.data());
    _exit(127);
  }
  const int error = errno;
  close(in), close(ends[1]);
  if (pid_ > 0) return;
  close(out_), close(errors_);
  fail("[program] fork: ", std::strerror(error));
}

Program::~Program() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    wait();
  }
  close(out_), close(errors_);
}

bool Program::read(std::string& out) {
  const size_t old = out.size();
  out.resize(old + kPiece);
  ssize_t n = -1;
  do n = ::read(out_, out.data() + old, kPiece);
  while (n < 0 && errno == EINTR);
  out.resize(old + static_cast<size_t>(n > 0 ? n : 0));
  return n > 0;
}

int Program::wait() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
  pid_ = -1;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::string Program::complaint() const {
  std::string out(kComplaint, '\0');
  const ssize_t n = pread(errors_, out.data(), out.size(), 0);
  out.resize(static_cast<size_t>(n > 0 ? n : 0));
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  return out;
}

ProgramResult run_program(const std::vector<std::string>& argv, std::string_view input) {
  Program p(argv, input);
  ProgramResult r;
  while (p.read(r.out)) {}
  r.status = p.wait();
  r.complaint = p.complaint();
  return r;
}

}  // namespace puyu
