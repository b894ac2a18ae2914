// Git repositories to documents: every file of the last commit as if it lay in a folder.
#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "base/program.h"
#include "base/utf8.h"
#include "data/git.h"
#include "data/reading.h"

namespace puyu {
namespace {

std::vector<std::string> git(const std::string& folder, std::initializer_list<std::string> arguments) {
  // Other people's repositories; no object is fetched that a partial clone lacks.
  std::vector<std::string> argv = {
      "git", "--no-replace-objects", "-c", "safe.directory=*", "-c", "protocol.allow=never", "--git-dir=" + folder};
  argv.insert(argv.end(), arguments);
  return argv;
}

ProgramResult run_git(const std::string& folder, std::initializer_list<std::string> arguments) {
  ProgramResult r = run_program(git(folder, arguments));
  if (r.status == 127) fail("[data] ", folder, " is a git repository, and git cannot be started: install git");
  return r;
}

// The objects of `git cat-file --batch`, in the order they were asked for.
class Blobs {
 public:
  Blobs(const std::string& folder, const std::string& ids) : program_(git(folder, {"cat-file", "--batch"}), ids) {}
  // False when git does not give it: it is missing or damaged, and after damage git gives nothing more.
  bool next(const GitFile& file, std::string& content) {
    size_t end = std::string::npos;
    while ((end = buffer_.find('\n', at_)) == std::string::npos)
      if (!fill()) return false;
    const bool found = std::string_view(buffer_).substr(at_, end - at_) == cat(file.id, " blob ", file.bytes);
    at_ = end + 1;
    if (!found) return false;  // "ID missing"
    const auto size = static_cast<size_t>(file.bytes);
    while (buffer_.size() - at_ < size + 1)
      if (!fill()) return false;
    content = buffer_.substr(at_, size);
    at_ += size + 1;
    return true;
  }

 private:
  bool fill() {
    buffer_.erase(0, at_), at_ = 0;
    return program_.read(buffer_);
  }
  Program program_;
  std::string buffer_;
  size_t at_ = 0;
};

const char* problem_of(const GitFile& f, int64_t most) {
  return f.path.starts_with('.') || f.path.find("/.") != f.path.npos ? "hidden"  // as in folders
         : f.type == "commit"                                        ? "submodule"
         : f.mode == "120000"                                        ? "symbolic_link"
         : f.bytes > most                                            ? "too_large"
                                                                     : nullptr;
}

}  // namespace

bool is_git_folder(const std::string& folder) {
  return file_exists(folder + "/HEAD") && is_directory(folder + "/objects") && is_directory(folder + "/refs");
}

GitCommit git_head(const std::string& folder) {
  ProgramResult r = run_git(folder, {"log", "-1", "--format=%H %cs", "HEAD"});
  const size_t space = r.out.find(' ');
  if (r.status == 0 && space != std::string::npos) return {r.out.substr(0, space), r.out.substr(space + 1, 10), ""};
  const bool none = run_git(folder, {"rev-parse", "--verify", "--quiet", "HEAD"}).status != 0;
  if (!none) log_warn("data: git cannot read ", folder, ": ", r.complaint);
  return {"", "", none ? "empty_repository" : "bad_repository"};
}

bool git_files(const std::string& folder, const std::string& commit, std::vector<GitFile>& files) {
  ProgramResult r = run_git(folder, {"ls-tree", "-r", "-z", "-l", "--full-tree", commit});
  if (r.status != 0) log_warn("data: git cannot read ", folder, ": ", r.complaint);
  for (std::string_view left = r.out; !left.empty();) {  // "100644 blob ID   SIZE\tPATH\0"
    const size_t end = std::min(left.find('\0'), left.size());
    const std::string_view line = left.substr(0, end);
    left.remove_prefix(std::min(end + 1, left.size()));
    GitFile f;
    const size_t a = line.find(' '), b = line.find(' ', a + 1), c = line.find(' ', b + 1), tab = line.find('\t');
    if (a == line.npos || b == line.npos || c == line.npos || tab == line.npos || c > tab) return false;
    f.mode = line.substr(0, a), f.type = line.substr(a + 1, b - a - 1), f.id = line.substr(b + 1, c - b - 1);
    f.path = line.substr(tab + 1);
    const size_t digits = line.find_first_not_of(' ', c);
    std::from_chars(line.data() + digits, line.data() + tab, f.bytes);  // "-" of submodules: 0
    files.push_back(std::move(f));
  }
  return r.status == 0;
}

void read_git(Reading& r) {
  const GitCommit head = git_head(r.file.path);
  if (head.id.empty()) return r.fail_as(r.start(), head.problem, static_cast<size_t>(r.file.bytes));
  std::vector<GitFile> files;
  if (!git_files(r.file.path, head.id, files))
    r.fail_as(r.start(), "bad_repository", static_cast<size_t>(r.file.bytes));
  std::string ids;
  for (const GitFile& f : files)
    if (!problem_of(f, r.options.max_file_bytes)) ids += f.id + "\n";
  Blobs blobs(r.file.path, ids);
  const DocumentSink dated = [&](Document&& d) {
    if (d.date.empty()) d.date = head.date;
    r.document(std::move(d));
  };
  for (const GitFile& f : files) {
    const InputFile inner{"", r.file.source, repair_utf8(r.file.name + "/" + f.path), r.file.language, f.bytes};
    Reading one{inner, r.options, dated, r.failure};
    std::string content;
    if (const char* problem = problem_of(f, r.options.max_file_bytes))
      one.fail_as(one.start(), problem, static_cast<size_t>(f.bytes));
    else if (!blobs.next(f, content))
      one.fail_as(one.start(), "missing_object", static_cast<size_t>(f.bytes));
    else
      read_bytes(one, content, inner.name);
  }
}

}  // namespace puyu
