// From source files to repositories: the documents of a cleaned corpus, one a file (its source the repository, its url
// the path inside), become one document a repository, the files in the order of their imports (code_order.h). Cleaning,
// duplicates and scores come before this, file by file, as in InternLM2's report 3.1.2.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/code_order.h"
#include "data/document.h"

namespace puyu {

struct RepositoriesOptions {
  std::string order = "topological";
  bool describe = false;
  int64_t min_bytes = 0, max_bytes = int64_t{4} << 20;
  std::vector<std::string> libraries;
  template <class F>
  void fields(F&& f) {
    f("order", order, "topological, or depth-first (long-context fine-tuning)");
    f("describe", describe, "before the repository and each file a description made of its own words");
    f("min_bytes", min_bytes, "shorter repositories are left out");
    f("max_bytes", max_bytes, "longer repositories are left out");
    f("libraries", libraries, "only repositories that import one of these (pandas, numpy, …); empty: all");
  }
};

struct RepositoriesResult {
  int64_t files = 0, repositories = 0, too_short = 0, too_long = 0, other_libraries = 0;
};
// corpus: documents of one source follow one another, as in a corpus of ours; Error when a source comes back.
using FileSource = std::function<void(const std::function<void(Document&&)>&)>;
RepositoriesResult join_repositories(const FileSource& corpus, const RepositoriesOptions& options,
                                     const std::function<void(const Document&)>& write);

}  // namespace puyu
