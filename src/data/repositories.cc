#include "data/repositories.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "data/code_imports.h"

namespace puyu {
namespace {

// Whether some file imports a module of that name ("import numpy.linalg", "import { x } from 'three'").
bool imports_one_of(const std::vector<RepositoryFile>& files, const std::vector<std::string>& libraries) {
  for (const RepositoryFile& f : files)
    for (const Import& import : find_imports(f.language, f.path, f.content))
      for (const std::string& path : import.paths)
        if (std::any_of(libraries.begin(), libraries.end(), [&](const std::string& l) {
              return path.starts_with(l) && (path.size() == l.size() || path[l.size()] == '/' || path[l.size()] == '.');
            }))
          return true;
  return false;
}

// Code as it was before it became Markdown (PipelineConfig::code_markdown).
std::string without_fence(std::string text) {
  if (!text.starts_with("```")) return text;
  const size_t begin = text.find('\n'), end = text.rfind("\n```");
  return begin == text.npos || end == text.npos || end < begin ? text : text.substr(begin + 1, end - begin);
}

// A document's path inside its source; documents of one file end in #N.
RepositoryFile file_of(Document&& d) {
  const bool code = language_group(d.language) == "code";
  return {std::move(d.url), code ? d.language : "", code ? without_fence(std::move(d.content)) : std::move(d.content)};
}

}  // namespace

RepositoriesResult join_repositories(const FileSource& corpus, const RepositoriesOptions& o,
                                     const std::function<void(const Document&)>& write) {
  if (o.order != "topological" && o.order != "depth-first")
    fail("[data] repositories: order: expected topological or depth-first, got '", o.order, "'");
  RepositoriesResult r;
  std::vector<RepositoryFile> files;
  std::string source, date;
  std::set<std::string> seen;
  auto flush = [&] {
    if (files.empty()) return;
    if (!seen.insert(source).second)
      fail("[data] repositories: the files of '", source, "' do not follow one another; make a corpus of them first");
    const MarkdownOptions how = {o.order == "topological" ? FileOrder::kTopological : FileOrder::kDepthFirst,
                                 o.describe};
    Document d;
    d.content = repository_markdown(source, files, how);
    d.id = document_id(source, "", 0), d.title = d.source = d.url = source, d.language = "code", d.date = date;
    const auto bytes = static_cast<int64_t>(d.content.size());
    if (!o.libraries.empty() && !imports_one_of(files, o.libraries))
      ++r.other_libraries;
    else if (bytes < o.min_bytes || bytes > o.max_bytes)
      ++(bytes < o.min_bytes ? r.too_short : r.too_long);
    else
      ++r.repositories, write(d);
    files.clear(), date.clear();
  };
  corpus([&](Document&& d) {
    if (d.source != source) flush();
    source = d.source, date = std::max(date, d.date);
    ++r.files;
    files.push_back(file_of(std::move(d)));
  });
  flush();
  return r;
}

}  // namespace puyu
