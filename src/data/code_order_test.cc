// The order of a repository's files: each of the report's rules on a repository made for it, and on random graphs the
// property that makes it an order.
#include "data/code_order.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "data/code_imports.h"

namespace puyu {
namespace {

using Files = std::vector<RepositoryFile>;
using Paths = std::vector<std::string>;

Paths ordered(Files files) {
  Paths out;
  for (size_t i : dependency_order(files)) out.push_back(files[i].path);
  std::ranges::reverse(files);  // the order of the input is no matter
  Paths again;
  for (size_t i : dependency_order(files)) again.push_back(files[i].path);
  EXPECT_EQ(again, out);
  return out;
}

TEST(CodeOrder, WhatIsUsedComesFirst) {
  EXPECT_EQ(ordered({{"main.py", "python", "import util\nfrom lib.core import run\n"},
                     {"util.py", "python", "import os\n"},
                     {"lib/__init__.py", "python", "from .core import run\n"},
                     {"lib/core.py", "python", "from .. import util\n"}}),
            (Paths{"util.py", "lib/core.py", "lib/__init__.py", "main.py"}));
  EXPECT_EQ(ordered({{"src/app.ts", "typescript", "import { a } from './z/a';\n"},
                     {"src/z/a.ts", "typescript", "export const a = 1;\n"},
                     {"b/Main.java", "java", "import c.d.Used;\n"},
                     {"src/c/d/Used.java", "java", "class Used {}\n"}}),
            (Paths{"src/c/d/Used.java", "b/Main.java", "src/z/a.ts", "src/app.ts"}));
}

TEST(CodeOrder, HeadersBringTheirBodies) {
  EXPECT_EQ(ordered({{"a.cc", "cpp", "#include \"util/z.h\"\nint main() {}\n"},
                     {"util/z.cc", "cpp", "#include \"util/z.h\"\n"},
                     {"util/z.h", "cpp", "void z();\n"}}),
            (Paths{"util/z.h", "util/z.cc", "a.cc"}));
}

TEST(CodeOrder, PackagesStandForTheirFiles) {
  EXPECT_EQ(ordered({{"a/main.go", "go", "import (\n\t\"example.org/m/zed\"\n)\n"},
                     {"zed/one.go", "go", "package zed\n"},
                     {"zed/two.go", "go", "package zed\n"}}),
            (Paths{"zed/one.go", "zed/two.go", "a/main.go"}));
  // "from pkg import b": pkg/__init__.py and pkg/b.py.
  EXPECT_EQ(
      ordered(
          {{"a.py", "python", "from pkg import b\n"}, {"pkg/__init__.py", "python", ""}, {"pkg/b.py", "python", ""}}),
      (Paths{"pkg/__init__.py", "pkg/b.py", "a.py"}));
}

TEST(CodeOrder, CyclesBeginAlphabetically) {
  EXPECT_EQ(ordered({{"c.py", "python", "import a\n"},
                     {"b.py", "python", "import c\n"},
                     {"a.py", "python", "import b\n"},
                     {"0.py", "python", "import b\n"}}),
            (Paths{"a.py", "c.py", "b.py", "0.py"}));
}

TEST(CodeOrder, TheShorterPathIsMeant) {
  const Files files = {
      {"m.py", "python", "import thing\n"}, {"deep/er/thing.py", "python", ""}, {"x/thing.py", "python", ""}};
  EXPECT_EQ(find_dependencies(files)[0], std::vector<size_t>{2});
}

TEST(CodeOrder, OtherTextComesBeforeTheCodeOfItsFolder) {
  EXPECT_EQ(ordered({{"README.md", "", "# x"},
                     {"b/notes.txt", "", "x"},
                     {"b/b.py", "python", ""},
                     {"a.py", "python", "import b.b\n"},
                     {"c/data/d.txt", "", "x"},
                     {"z/only.txt", "", "x"},
                     {"c/data/sub/e.py", "python", "import a\n"}}),
            (Paths{"b/notes.txt", "z/only.txt", "b/b.py", "README.md", "a.py", "c/data/d.txt", "c/data/sub/e.py"}));
}

TEST(CodeOrder, RandomGraphsAreInOrder) {
  Rng rng(3);
  for (int round = 0; round < 60; ++round) {
    const size_t n = 2 + rng.below(40);
    Files files;
    std::vector<std::vector<bool>> reach(n, std::vector<bool>(n));
    for (size_t i = 0; i < n; ++i) files.push_back({cat("m", 100 + i, ".py"), "python", ""});
    for (uint64_t e = rng.below(3 * n); e > 0; --e) {
      const size_t a = rng.below(n), b = rng.below(n);
      files[a].content += cat("import m", 100 + b, "\n");
      reach[a][b] = true;
    }
    for (size_t k = 0; k < n; ++k)
      for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < n; ++j)
          if (reach[i][k] && reach[k][j]) reach[i][j] = true;
    const std::vector<size_t> order = dependency_order(files);
    std::vector<size_t> at(n, n);
    for (size_t i = 0; i < order.size(); ++i) at[order[i]] = i;
    ASSERT_EQ(order.size(), n);
    ASSERT_EQ(std::ranges::count(at, n), 0);  // each file once
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j)
        if (reach[i][j] && !reach[j][i]) { ASSERT_LT(at[j], at[i]) << i << " needs " << j; }
  }
}

TEST(CodeOrder, OneDocument) {
  test::TempDir dir;
  make_directories(dir / "r/.git");
  make_directories(dir / "r/lib");
  write_file(dir / "r/.git/config", "secret");
  write_file(dir / "r/README.md", "About ```this```.\n");
  write_file(dir / "r/main.py", "import lib.a\n");
  write_file(dir / "r/lib/a.py", "x = '```'");
  write_file(dir / "r/picture.png", std::string("\x89PNG\0\0", 6));
  const RepositoryRead r = read_repository(dir / "r", 1000);
  EXPECT_EQ(r.left_out, (std::vector<std::pair<std::string, std::string>>{{"picture.png", "binary"}}));
  EXPECT_EQ(repository_markdown("r", r.files),
            "# r\n\n## lib/a.py\n\n````python\nx = '```'\n````\n\n## README.md\n\nAbout ```this```.\n\n## main.py\n\n"
            "```python\nimport lib.a\n```\n");
  EXPECT_THROW(read_repository(dir / "absent", 1000), Error);
  EXPECT_THROW(dependency_order({{"a", "", ""}, {"a", "", ""}}), Error);
}

}  // namespace
}  // namespace puyu
