// Which files a run reads, in the order of its output.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "data/git.h"
#include "data/pipeline.h"
#include "data/reading.h"

namespace puyu {
namespace {

int64_t size_of(const std::string& path) {
  struct stat st{};
  return stat(path.c_str(), &st) == 0 ? static_cast<int64_t>(st.st_size) : 0;
}

// "a/b" of "a/b/.git" and of a bare "a/b".
std::string repository_root(const std::string& git_folder) {
  return git_folder.ends_with("/.git") ? git_folder.substr(0, git_folder.size() - 5) : git_folder;
}

// The repositories among the files, by their roots.
std::map<std::string, std::string> find_repositories(const std::vector<std::string>& files) {
  std::map<std::string, std::string> out;
  for (const std::string& path : files)
    if (path.ends_with("/HEAD"))
      if (std::string folder = path.substr(0, path.size() - 5); is_git_folder(folder))
        out.emplace(repository_root(folder), folder);
  return out;
}

// The repository that a path lies in, or end(); of one in another the outer.
std::map<std::string, std::string>::const_iterator holder(const std::map<std::string, std::string>& repositories,
                                                          const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != path.npos; slash = path.find('/', slash + 1))
    if (auto it = repositories.find(path.substr(0, slash)); it != repositories.end()) return it;
  return repositories.end();
}

// A paper changes with every source in its folder and below: one stamp for the folder.
void stamp_papers(std::vector<InputFile>& files, size_t from) {
  std::map<std::string, std::string> stamps;
  auto folder_of = [](const std::string& path) { return path.substr(0, path.rfind('/') + 1); };
  for (size_t i = from; i < files.size(); ++i)
    if (is_latex_name(files[i].name)) stamps[folder_of(files[i].path)];
  for (size_t i = from; i < files.size() && !stamps.empty(); ++i) {
    if (!is_latex_name(files[i].name)) continue;
    struct stat st{};
    stat(files[i].path.c_str(), &st);
    const std::string stamp =
        cat(files[i].name, " ", st.st_size, " ", st.st_mtim.tv_sec, " ", st.st_mtim.tv_nsec, "\n");
    for (std::string folder = folder_of(files[i].path); !folder.empty();
         folder = folder_of(folder.substr(0, folder.size() - 1)))
      if (auto it = stamps.find(folder); it != stamps.end()) it->second += stamp;
  }
  for (size_t i = from; i < files.size(); ++i)
    if (is_latex_name(files[i].name)) files[i].version = hex64(hash64(stamps[folder_of(files[i].path)]));
}

void add_source(std::vector<InputFile>& out, const SourceConfig& s) {
  const size_t from = out.size();
  size_t prefix = is_directory(s.path) ? s.path.size() + !s.path.ends_with('/') : s.path.rfind('/') + 1;
  const std::vector<std::string> files = list_files(s.path);
  const auto repositories = find_repositories(files);
  std::map<std::string, int64_t> bytes;
  for (const std::string& path : files) {
    if (auto it = holder(repositories, path); it != repositories.end()) {
      if (path.starts_with(it->second)) bytes[it->first] += size_of(path);  // not the files of the working tree
      continue;
    }
    std::string name = path.substr(prefix);
    if (name.starts_with('.') || name.find("/.") != std::string::npos) continue;  // markers and the like
    out.push_back({path, s.name, name, s.language, size_of(path)});
  }
  for (const auto& [root, folder] : repositories) {
    if (holder(repositories, root) != repositories.end()) continue;
    std::string name = root.size() < prefix ? s.name : root.substr(prefix);
    out.push_back({folder, s.name, name, s.language, bytes[root], git_head(folder).id});
  }
  stamp_papers(out, from);
}

}  // namespace

std::vector<InputFile> list_inputs(const PipelineConfig& config) {
  namespace fs = std::filesystem;
  std::vector<SourceConfig> sources = config.source;
  for (const std::string& input : config.input) {
    if (!file_exists(input)) fail("[data] ", input, ": no such file or folder; name the input with --input=DIR");
    std::string clean = fs::path(input).lexically_normal().string();
    if (clean.size() > 1 && clean.ends_with('/')) clean.pop_back();
    std::string own = fs::path(clean).filename().string();
    if (!is_directory(clean)) {
      sources.push_back({own, clean, ""});
      continue;
    }
    bool loose = is_git_folder(clean + "/.git");  // files beside the sub-folders make the folder itself one source
    std::vector<std::string> folders;
    for (const auto& e : fs::directory_iterator(clean)) {
      if (e.path().filename().string().starts_with('.')) continue;
      if (e.is_directory())
        folders.push_back(e.path().filename().string());
      else
        loose = true;
    }
    if (loose || folders.empty()) folders = {""};
    for (const std::string& f : folders)
      sources.push_back({f.empty() ? own : f, f.empty() ? clean : clean + "/" + f, ""});
  }
  std::vector<InputFile> files;
  for (const SourceConfig& s : sources) {
    if (s.name.empty() || !file_exists(s.path)) fail("[data] source '", s.name, "': no such path '", s.path, "'");
    add_source(files, s);
  }
  std::sort(files.begin(), files.end(),
            [](auto& a, auto& b) { return std::tie(a.source, a.name, a.path) < std::tie(b.source, b.name, b.path); });
  if (files.empty()) fail("[data] no input files; name folders with --input=DIR1,DIR2 or 'input' in the config");
  return files;
}

}  // namespace puyu
