#include "data/code_order.h"

#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "data/code_imports.h"
#include "data/document.h"

namespace puyu {
namespace {

constexpr size_t kLargestCycle = 512;  // larger ones are written alphabetically

using Graph = std::vector<std::vector<size_t>>;  // what each one needs

std::string name_of(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

// The files of a repository by path and by name.
class Places {
 public:
  explicit Places(const std::vector<RepositoryFile>& files) : files_(files) {
    for (size_t i = 0; i < files.size(); ++i) {
      if (!by_path_.emplace(files[i].path, i).second)
        fail("[data] the repository has two files of the path '", files[i].path, "'");
      by_name_[name_of(files[i].path)].push_back(i);
      by_folder_[folder_of(files[i].path)].push_back(i);
    }
  }
  // The file meant by `path` in a file of `folder`, or -1: beside it, from the top, or else the shortest that ends so.
  int64_t find(const std::string& folder, const std::string& path, bool relative) const {
    if (!relative)
      if (auto it = by_path_.find(folder.empty() ? path : folder + "/" + path); it != by_path_.end()) return at(it);
    if (auto it = by_path_.find(path); it != by_path_.end()) return at(it);
    if (relative) return -1;
    const auto named = by_name_.find(name_of(path));
    if (named == by_name_.end()) return -1;
    int64_t best = -1;
    for (size_t i : named->second)
      if (files_[i].path.ends_with("/" + path) && (best < 0 || shorter(i, static_cast<size_t>(best))))
        best = static_cast<int64_t>(i);
    return best;
  }
  // The files of a Go package: of the folder whose path the import ends in, the longest such.
  std::vector<size_t> go_package(const std::string& name) const {
    for (std::string_view rest = name;;) {
      if (auto it = by_folder_.find(std::string(rest)); it != by_folder_.end()) {
        std::vector<size_t> out;
        for (size_t i : it->second)
          if (files_[i].language == "go" && !files_[i].path.ends_with("_test.go")) out.push_back(i);
        return out;
      }
      const size_t slash = rest.find('/');
      if (slash == rest.npos) return {};
      rest.remove_prefix(slash + 1);
    }
  }

 private:
  static int64_t at(std::map<std::string, size_t>::const_iterator it) { return static_cast<int64_t>(it->second); }
  bool shorter(size_t a, size_t b) const {
    auto key = [&](size_t i) {
      const std::string& p = files_[i].path;
      return std::tuple(std::count(p.begin(), p.end(), '/'), p.size(), std::string_view(p));
    };
    return key(a) < key(b);
  }
  const std::vector<RepositoryFile>& files_;
  std::map<std::string, size_t> by_path_;
  std::map<std::string, std::vector<size_t>> by_name_, by_folder_;
};

// Strongly connected parts of the graph among `nodes` (Tarjan, without recursion on the graph).
std::vector<std::vector<size_t>> components(const Graph& needs, const std::vector<size_t>& nodes) {
  struct Visit {
    size_t node, next = 0;
  };
  constexpr size_t kNew = ~size_t{0};
  std::map<size_t, size_t> index, low;
  std::set<size_t> open(nodes.begin(), nodes.end());  // not yet in a part
  std::vector<size_t> stack;
  std::vector<std::vector<size_t>> out;
  auto seen = [&](size_t n) { return index.contains(n) ? index[n] : kNew; };
  for (size_t root : nodes) {
    if (seen(root) != kNew) continue;
    std::vector<Visit> visits = {{root}};
    while (!visits.empty()) {
      Visit& v = visits.back();
      if (v.next == 0) {
        low[v.node] = index[v.node] = index.size();
        stack.push_back(v.node);
      }
      bool deeper = false;
      while (!deeper && v.next < needs[v.node].size()) {
        const size_t to = needs[v.node][v.next++];
        if (!open.contains(to)) continue;
        if (seen(to) == kNew)
          visits.push_back({to}), deeper = true;
        else
          low[v.node] = std::min(low[v.node], low[to]);
      }
      if (deeper) continue;
      if (v.next == 0) v.next = 1;  // a node that needs nothing
      const size_t done = v.node;
      if (low[done] == index[done]) {
        auto& part = out.emplace_back();
        do part.push_back(stack.back()), open.erase(stack.back()), stack.pop_back();
        while (part.back() != done);
      }
      visits.pop_back();
      if (!visits.empty()) low[visits.back().node] = std::min(low[visits.back().node], low[done]);
    }
  }
  return out;
}

// Appends `nodes` (in any order) so that needs come first. Numbers are in alphabetical order of the paths.
void order(const Graph& needs, const std::vector<size_t>& nodes, std::vector<size_t>& out) {
  std::vector<std::vector<size_t>> parts = components(needs, nodes);
  std::map<size_t, size_t> part_of;
  for (size_t p = 0; p < parts.size(); ++p) {
    std::ranges::sort(parts[p]);
    for (size_t n : parts[p]) part_of[n] = p;
  }
  std::vector<std::set<size_t>> used_by(parts.size());
  std::vector<size_t> waits(parts.size());
  for (size_t n : nodes)
    for (size_t to : needs[n])
      if (part_of.contains(to) && part_of[to] != part_of[n] && used_by[part_of[to]].insert(part_of[n]).second)
        ++waits[part_of[n]];
  std::set<std::pair<size_t, size_t>> ready;  // by the first file
  for (size_t p = 0; p < parts.size(); ++p)
    if (waits[p] == 0) ready.insert({parts[p][0], p});
  while (!ready.empty()) {
    const size_t p = ready.begin()->second;
    ready.erase(ready.begin());
    const auto& part = parts[p];
    if (part.size() > kLargestCycle) {
      out.insert(out.end(), part.begin(), part.end());
    } else {  // a cycle begins with its first file; then the others have one need less
      out.push_back(part[0]);
      if (part.size() > 1) order(needs, {part.begin() + 1, part.end()}, out);
    }
    for (size_t next : used_by[p])
      if (--waits[next] == 0) ready.insert({parts[next][0], next});
  }
}

std::string fence_for(std::string_view content) {
  size_t longest = 0, run = 0;
  for (char c : content) run = c == '`' ? run + 1 : 0, longest = std::max(longest, run);
  return std::string(std::max<size_t>(3, longest + 1), '`');
}

}  // namespace

std::vector<std::vector<size_t>> find_dependencies(const std::vector<RepositoryFile>& files) {
  const Places places(files);
  Graph needs(files.size());
  for (size_t i = 0; i < files.size(); ++i) {
    const RepositoryFile& f = files[i];
    const std::string folder = folder_of(f.path);
    std::set<size_t> found;
    for (const Import& import : find_imports(f.language, f.path, f.content)) {
      if (f.language == "go") {
        for (size_t k : places.go_package(import.paths[0])) found.insert(k);
        continue;
      }
      for (const std::string& path : import.paths) {
        const int64_t k = places.find(folder, path, import.relative);
        if (k < 0) continue;
        found.insert(static_cast<size_t>(k));
        const std::string& header = files[static_cast<size_t>(k)].path;
        if (f.language == "c" || f.language == "cpp")  // what the header declares is in the file beside it
          for (const char* ending : {".c", ".cc", ".cpp", ".cxx"})
            if (const int64_t body = places.find("", header.substr(0, header.rfind('.')) + ending, true); body >= 0)
              found.insert(static_cast<size_t>(body));
        break;
      }
    }
    found.erase(i);
    needs[i].assign(found.begin(), found.end());
  }
  return needs;
}

std::vector<size_t> dependency_order(const std::vector<RepositoryFile>& files) {
  std::vector<size_t> sorted(files.size()), rank(files.size()), code, others;
  for (size_t i = 0; i < files.size(); ++i) sorted[i] = i;
  std::ranges::sort(sorted, {}, [&](size_t i) -> const std::string& { return files[i].path; });
  for (size_t r = 0; r < sorted.size(); ++r) {
    rank[sorted[r]] = r;
    (files[sorted[r]].language.empty() ? others : code).push_back(r);
  }
  Graph needs(files.size());
  const Graph found = find_dependencies(files);
  for (size_t i = 0; i < files.size(); ++i) {
    for (size_t to : found[i]) needs[rank[i]].push_back(rank[to]);
    std::ranges::sort(needs[rank[i]]);
  }
  std::vector<size_t> ordered, out;
  order(needs, code, ordered);
  // What is no code, before the first code file of its folder or below it; without one, at the very beginning.
  auto lies_in = [](const std::string& path, const std::string& folder) {
    return folder.empty() || path.starts_with(folder + "/");
  };
  std::map<size_t, std::vector<size_t>> before;  // by the place in `ordered`
  for (size_t r : others) {
    const std::string folder = folder_of(files[sorted[r]].path);
    auto first = [&](auto&& test) {
      return static_cast<size_t>(std::ranges::find_if(ordered, test) - ordered.begin());
    };
    size_t at = first([&](size_t c) { return folder_of(files[sorted[c]].path) == folder; });
    if (at == ordered.size()) at = first([&](size_t c) { return lies_in(files[sorted[c]].path, folder); });
    before[at == ordered.size() ? 0 : at].push_back(r);
  }
  for (size_t i = 0; i <= ordered.size(); ++i) {
    if (const auto it = before.find(i); it != before.end())
      for (size_t r : it->second) out.push_back(sorted[r]);
    if (i < ordered.size()) out.push_back(sorted[ordered[i]]);
  }
  return out;
}

std::string repository_markdown(const std::string& name, const std::vector<RepositoryFile>& files) {
  std::string out = "# " + name + "\n";
  for (size_t i : dependency_order(files)) {
    const RepositoryFile& f = files[i];
    out += "\n## " + f.path + "\n\n";
    const bool prose = f.language.empty() && (f.path.ends_with(".md") || f.path.ends_with(".markdown"));
    const std::string fence = prose ? "" : fence_for(f.content);
    if (!prose) out += fence + f.language + "\n";
    out += f.content;
    if (!f.content.ends_with('\n')) out += '\n';
    if (!prose) out += fence + "\n";
  }
  return out;
}

RepositoryRead read_repository(const std::string& folder, int64_t max_file_bytes) {
  if (!is_directory(folder)) fail("[data] ", folder, ": expected the folder of a repository");
  RepositoryRead out;
  for (const std::string& path : list_files(folder)) {
    const std::string name = path.substr(folder.size() + !folder.ends_with('/'));
    if (name.starts_with('.') || name.find("/.") != name.npos) continue;  // .git and the like
    MappedFile file(path);
    const std::string_view bytes = file.bytes();
    const char* reason = bytes.empty()                                         ? "empty"
                         : static_cast<int64_t>(bytes.size()) > max_file_bytes ? "too_large"
                         : bytes.substr(0, 8192).find('\0') != bytes.npos      ? "binary"
                                                                               : nullptr;
    if (reason) {
      out.left_out.emplace_back(name, reason);
      continue;
    }
    out.files.push_back({name, code_language(name, bytes), repair_utf8(bytes)});
  }
  if (out.files.empty()) fail("[data] ", folder, ": no text files here");
  return out;
}

}  // namespace puyu
