// Imports that stand for many files, made finer (InternLM2 report 3.1.2: "__init__.py" and "#include xx.h" may bring
// a lot that is never used). A file that holds nothing but imports is a batch; whoever imports it needs those of its
// files whose definitions it names, and the whole batch only where it names none.
#pragma once
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "data/code_order.h"

namespace puyu {

// Names that a file defines, as far as its tokens tell.
std::set<std::string_view> defined_names(std::string_view language, std::string_view content);
// Whether the file holds imports (and comments) only, and at least one.
bool is_batch(const RepositoryFile& file);
// needs[i]: the files that file i imports, ascending; batches among them are replaced by what is used of them.
void refine_batches(const std::vector<RepositoryFile>& files, std::vector<std::vector<size_t>>& needs);

}  // namespace puyu
