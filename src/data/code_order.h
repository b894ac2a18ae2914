// A repository as one document (InternLM2 report 3.1.3): files in the order of their dependencies, so that what is used
// stands before what uses it, written as Markdown. The report's rules where the order is open:
//   - an import that fits several files means the one of the shorter path;
//   - of files that may come next, and in a cycle, the alphabetically first begins;
//   - what is no code comes before the first code file of its folder (or, if that holds none, of the folders below, or
//   else at
//     the beginning);
//   - imports that stand for many: __init__.py for its package, a folder for its Go files, and an included header xx.h
//     brings xx.cc with it.
#pragma once
#include <string>
#include <vector>

namespace puyu {

struct RepositoryFile {
  std::string path;      // inside the repository, with "/"
  std::string language;  // of code (document.h); "" for other text
  std::string content;
};

// For each file the files that it needs (indices, ascending, never itself).
std::vector<std::vector<size_t>> find_dependencies(const std::vector<RepositoryFile>& files);
// Indices of all files in their order; it does not depend on the order of `files`. Error when two have one path.
std::vector<size_t> dependency_order(const std::vector<RepositoryFile>& files);
// One document: the name, then each file under its path, code in fences. Files in Markdown stand as they are.
std::string repository_markdown(const std::string& name, const std::vector<RepositoryFile>& files);

struct RepositoryRead {
  std::vector<RepositoryFile> files;
  std::vector<std::pair<std::string, std::string>> left_out;  // path and reason: "binary", "too_large", "empty", ...
};
// All text files below a folder, but hidden ones (.git); broken UTF-8 is repaired.
RepositoryRead read_repository(const std::string& folder, int64_t max_file_bytes);

}  // namespace puyu
