// Git repositories as input: their last commit, read through the program git, which runs nothing that a repository
// brings and fetches nothing. A repository is the folder that holds HEAD, objects and refs: "x.git", or ".git" in a
// working tree, whose files are then not read themselves.
#pragma once
#include <string>
#include <vector>

namespace puyu {

bool is_git_folder(const std::string& folder);  // has HEAD, objects and refs

struct GitFile {
  std::string mode, type, id, path;  // "100644", "blob"
  int64_t bytes = 0;
};

struct GitCommit {
  std::string id;       // "" when there is none to be read
  std::string date;     // of the commit, "2024-02-29"
  std::string problem;  // then why: "empty_repository", "bad_repository"
};
// The last commit of HEAD. Error when git is not installed.
GitCommit git_head(const std::string& folder);
// Its files in git's order; false when git cannot read it.
bool git_files(const std::string& folder, const std::string& commit, std::vector<GitFile>& files);

}  // namespace puyu
