#include "base/file.h"
#include "base/temp_dir_test_util.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace puyu {
namespace {
namespace fs = std::filesystem;

struct FileTest : ::testing::Test {
  test::TempDir folder;
  std::string dir = folder.path;
  std::string path = dir + "/文件.txt";
  size_t entries() const { return static_cast<size_t>(std::distance(fs::directory_iterator(dir), {})); }
};

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "";
}

TEST_F(FileTest, WritesAndReadsBytes) {
  std::string bytes("a\0b\xFF", 4);
  write_file(path, bytes);
  EXPECT_EQ(read_file(path), bytes);
  EXPECT_EQ(MappedFile(path).bytes(), bytes);
  append_file(path, "z");
  EXPECT_EQ(read_file(path), bytes + "z");
  write_file(path, "");
  EXPECT_EQ(MappedFile(path).bytes(), "");
  struct stat st{};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0644u);
}

TEST_F(FileTest, LargeAndSmallPiecesKeepTheirOrder) {
  std::string want;
  AtomicFile f(path);
  for (int i = 0; i < 40; ++i) {
    std::string piece(i % 4 == 0 ? (1u << 20) + 7 : 1000 + 37u * static_cast<unsigned>(i),
                      static_cast<char>('a' + i % 26));
    f.write(piece);
    want += piece;
  }
  f.write_at(3, "HEAD");
  want.replace(3, 4, "HEAD");
  EXPECT_EQ(f.size(), want.size());
  f.write("end");
  f.commit();
  EXPECT_TRUE(read_file(path) == want + "end");
}

TEST_F(FileTest, WithoutCommitTheOldFileStays) {
  write_file(path, "old");
  {
    AtomicFile f(path);
    f.write(std::string(3 << 20, 'x'));
    EXPECT_EQ(read_file(path), "old");
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(entries(), 1u) << "the temporary file is gone";
}

TEST_F(FileTest, AFailedWriteLeavesTheOldFile) {
  write_file(path, "old");
  rlimit before{}, small{};
  getrlimit(RLIMIT_FSIZE, &before);
  small = {1 << 20, before.rlim_max};
  auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  std::string error = error_of([&] { write_file(path, std::string(3 << 20, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(error.find("cannot write '" + path + "'"), std::string::npos) << error;
  EXPECT_NE(error.find("too large"), std::string::npos) << error;
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, AFullDiskSaysSo) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full on this machine";
  std::string error = error_of([] { append_file("/dev/full", "x"); });
  EXPECT_NE(error.find("free some space"), std::string::npos) << error;
}

TEST_F(FileTest, ErrorsNameThePathAndTheReason) {
  EXPECT_NE(error_of([&] { read_file(path); }).find("'" + path + "': No such file"), std::string::npos);
  EXPECT_NE(error_of([&] { MappedFile f(path); }).find("No such file"), std::string::npos);
  EXPECT_NE(error_of([&] { read_file(dir); }).find("is a folder"), std::string::npos);
  EXPECT_NE(error_of([&] { MappedFile f(dir); }).find("not a regular file"), std::string::npos);
  EXPECT_NE(error_of([&] { write_file(dir + "/no/such/x", "a"); }).find("No such file"), std::string::npos);
  EXPECT_NE(error_of([&] { list_files(dir + "/no"); }).find("does not exist"), std::string::npos);
  write_file(path, "a");
  EXPECT_NE(error_of([&] { make_directories(path + "/sub"); }).find("cannot create folder"), std::string::npos);
}

TEST_F(FileTest, ListsRecursivelyAndSorted) {
  make_directories(dir + "/b/c");
  for (const char* name : {"/z", "/b/y", "/b/c/x", "/a"}) write_file(dir + name, "");
  EXPECT_EQ(list_files(dir), (std::vector<std::string>{dir + "/a", dir + "/b/c/x", dir + "/b/y", dir + "/z"}));
  EXPECT_EQ(list_files(dir + "/a"), std::vector<std::string>{dir + "/a"});
}

TEST_F(FileTest, SharedFileHasItsNameWhenAllHaveWritten) {
  write_file(path, "old");
  SharedFile::create(path, 6);
  {
    SharedFile a(path), b(path);
    b.write_at(3, "def");
    a.write_at(0, "abc");
    a.sync(), b.sync();
  }
  EXPECT_EQ(read_file(path), "old");
  SharedFile::commit(path);
  EXPECT_EQ(read_file(path), "abcdef");
  EXPECT_NE(error_of([&] { SharedFile f(path); }).find("ranks share"), std::string::npos);
  SharedFile::create(path, 3);
  SharedFile::discard(path);
  EXPECT_EQ(list_files(dir), std::vector<std::string>{path});
}

TEST_F(FileTest, MappingsMove) {
  write_file(path, "abc");
  MappedFile a(path), b(std::move(a)), c;
  c = std::move(b);
  EXPECT_EQ(c.bytes(), "abc");
  EXPECT_EQ(c.path(), path);
}

}  // namespace
}  // namespace puyu
