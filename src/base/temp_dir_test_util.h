// A folder for one test: empty at its start, gone at its end, and no other's. Tests run side by side, often the same
// binary twice, so a fixed name in the system's temporary folder is another test's file.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace puyu::test {

struct TempDir {
  std::string path = [] {
    std::string name = (std::filesystem::temp_directory_path() / "puyu_test_XXXXXX").string();
    return std::string(mkdtemp(name.data()));
  }();
  TempDir() = default;
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
};

}  // namespace puyu::test
