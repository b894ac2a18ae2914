// What a source file imports, found by a pattern for each kind of import statement of its language, and where such an
// import can lie in a repository.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace puyu {

// The imports as paths that a file of the repository may end in, the likelier first: "from a.b import c" in Python
// gives "a/b.py", "a/b/__init__.py", "a/b/c.py", ... One list for each import, in the order of the text.
struct Import {
  std::vector<std::string> paths;  // the first of them that is there is meant
  bool relative = false;           // to the importing file's folder, and nowhere else
};
std::vector<Import> find_imports(std::string_view language, std::string_view path, std::string_view content);

std::string folder_of(std::string_view path);  // "a/b" of "a/b/c.py"; "" at the top

}  // namespace puyu
