// Dumps of Wikipedia, papers, repositories and books as files: what becomes a document and what a counted reason.
#include <bzlib.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/program.h"
#include "base/temp_dir_test_util.h"
#include "data/pipeline.h"
#include "data/reader.h"
#include "data/tar.h"

namespace puyu {
namespace {

struct ReadersTest : ::testing::Test {
  test::TempDir folder;
  std::string in = folder.path + "/in";
  Document last;
  void put(const std::string& name, const std::string& bytes) {
    make_directories(std::filesystem::path(in + "/" + name).parent_path().string());
    std::ofstream(in + "/" + name, std::ios::binary) << bytes;
  }
  // "url|content" or "url!reason" of everything under `in`.
  std::vector<std::string> read(const ReaderOptions& options = {}) {
    PipelineConfig config;
    config.input = {in};
    std::vector<std::string> out;
    for (const InputFile& f : list_inputs(config))
      read_documents(
          f, options, [&](Document&& d) { out.push_back(d.url + "|" + d.content), last = d; },
          [&](ReadFailure&& failure) { out.push_back(failure.document.url + "!" + failure.reason); });
    return out;
  }
};
using Strings = std::vector<std::string>;

std::string bzip2(const std::string& s) {
  std::string out(s.size() + s.size() / 100 + 700, '\0');
  auto size = static_cast<unsigned>(out.size());
  BZ2_bzBuffToBuffCompress(out.data(), &size, const_cast<char*>(s.data()), static_cast<unsigned>(s.size()), 1, 0, 0);
  out.resize(size);
  return out;
}

std::string page(const std::string& title, const std::string& rest) {
  return "  <page>\n    <title>" + title + "</title>\n" + rest + "  </page>\n";
}
std::string article(const std::string& text) {
  return "<ns>0</ns><id>1</id><revision><timestamp>2024-03-02T01:02:03Z</timestamp><model>wikitext</model><text "
         "bytes=\"9\" "
         "xml:space=\"preserve\">" +
         text + "</text></revision>";
}
const std::string kSite =
    "<mediawiki xmlns=\"http://www.mediawiki.org/xml/export-0.11/\" "
    "xml:lang=\"de\">\n<siteinfo><base>https://de.wikipedia.org/wiki/Start"
    "</base><namespaces><namespace key=\"6\" case=\"first-letter\">Datei</namespace></namespaces></siteinfo>\n";

TEST_F(ReadersTest, WikipediaDumpsInOneStreamAndMany) {
  const std::string a = page("A &amp; B", article("'''A''' &amp;amp; &lt;b&gt;B&lt;/b&gt; [[Datei:x.jpg|y]] {{t}}")),
                    b = page("R", "<ns>0</ns><redirect title=\"A\" /><revision><text>#REDIRECT</text></revision>"),
                    c = page("Vorlage:T", "<ns>10</ns><revision><text>x</text></revision>"),
                    d = page("J", "<ns>0</ns><revision><model>json</model><text>{}</text></revision>"),
                    e = page("E", article("{{only a template}}")), f = page("Broken", ""), tail = "</mediawiki>\n";
  const Strings want = {"https://de.wikipedia.org/wiki/A_&_B|A & B\n",
                        "https://de.wikipedia.org/wiki/R!redirect",
                        "https://de.wikipedia.org/wiki/Vorlage:T!namespace_10",
                        "https://de.wikipedia.org/wiki/J!not_wikitext",
                        "https://de.wikipedia.org/wiki/E!empty",
                        "https://de.wikipedia.org/wiki/Broken!bad_page"};
  put("dump.xml", kSite + a + b + c + d + e + f + tail);
  EXPECT_EQ(read(), want);
  EXPECT_EQ(last.title, "A & B");
  EXPECT_EQ(last.date, "2024-03-02");
  std::filesystem::remove(in + "/dump.xml");
  put("dump.xml.bz2", bzip2(kSite) + bzip2(a + b + c) + bzip2(d + e + f) + bzip2(tail));
  EXPECT_EQ(read(), want);
  const std::string cut = bzip2(kSite) + bzip2(a + b);
  put("dump.xml.bz2", cut + bzip2(c).substr(0, 60));
  Strings got = read();
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[2], "dump.xml.bz2#2!truncated_bzip2");
  put("dump.xml.bz2", cut + "BZh9 no more");
  EXPECT_EQ(read().back(), "dump.xml.bz2#2!damaged_bzip2");
}

TEST_F(ReadersTest, WikipediaPagesThatAreCutOffOrTooLarge) {
  put("d.xml", kSite + page("Big", article(std::string(100000, 'x'))) + page("B", article("fine")) + "<page><title>C");
  ReaderOptions options;
  options.max_record_bytes = 50000;
  EXPECT_EQ(read(options),
            (Strings{"d.xml#0!too_large", "https://de.wikipedia.org/wiki/B|fine\n", "d.xml#2!truncated_page"}));
}

const std::string kMain =
    "\\documentclass{article}\n\\title{A "
    "Title}\n\\begin{document}\n\\input{sections/one}\n\\input{../outside}\\input{/etc/"
    "passwd}\nEnd.\n\\end{document}\n";

TEST_F(ReadersTest, PapersInFolders) {
  put("paper/main.tex", kMain);
  put("paper/sections/one.tex", "Section \\emph{one}.");
  put("outside.tex", "\\secret");
  std::filesystem::create_symlink(in + "/outside.tex", in + "/paper/link.tex");
  put("paper/second.tex", "\\documentclass{a}\\begin{document}\\input{link}Supplement.\\end{document}");
  EXPECT_EQ(read(), (Strings{"outside.tex!tex_part", "paper/link.tex!tex_part", "paper/main.tex|Section one.\n\nEnd.\n",
                             "paper/second.tex|Supplement.\n", "paper/sections/one.tex!tex_part"}));
}

TEST_F(ReadersTest, PapersInArchives) {
  make_directories(folder.path + "/src/sections");
  write_file(folder.path + "/src/ms.tex", kMain);
  write_file(folder.path + "/src/sections/one.tex", "Section \\emph{one}.");
  write_file(folder.path + "/src/figure.pdf", std::string("%PDF\0", 5));
  make_directories(in);
  // GNU tar is the oracle.
  for (const char* format : {"gnu", "ustar", "pax"}) {
    const ProgramResult r =
        run_program({"tar", "-C", folder.path + "/src", cat("--format=", format), "-czf", in + "/2403.1.tar.gz", "."});
    ASSERT_EQ(r.status, 0) << r.complaint;
    EXPECT_EQ(read(), Strings{"2403.1.tar.gz#ms.tex|Section one.\n\nEnd.\n"}) << format;
    EXPECT_EQ(last.title, "A Title");
    EXPECT_EQ(last.repairs["missing_input"], 2);
  }
  const std::string long_name = std::string(120, 'd') + "/" + std::string(90, 'e') + ".tex";
  make_directories(folder.path + "/long/" + std::string(120, 'd'));
  write_file(folder.path + "/long/" + long_name, kMain);
  for (const char* format : {"gnu", "pax"}) {
    ASSERT_EQ(
        run_program({"tar", "-C", folder.path + "/long", cat("--format=", format), "-cf", in + "/2403.1.tar.gz", "."})
            .status,
        0);
    EXPECT_EQ(read(), Strings{"2403.1.tar.gz#" + long_name + "|End.\n"}) << format;
  }
  std::string tar = read_file(in + "/2403.1.tar.gz");
  put("2403.1.tar.gz", tar.substr(0, tar.find("\\documentclass") + 10));
  EXPECT_EQ(read(), Strings{"2403.1.tar.gz!damaged_tar"});
  ASSERT_EQ(run_program({"tar", "-C", folder.path + "/src", "-cf", in + "/2403.1.tar.gz", "figure.pdf"}).status, 0);
  EXPECT_EQ(read(), Strings{"2403.1.tar.gz!archive_without_tex"});
  ASSERT_EQ(run_program({"tar", "-C", folder.path + "/src", "-cf", in + "/2403.1.tar.gz", "sections"}).status, 0);
  EXPECT_EQ(read(), Strings{"2403.1.tar.gz!no_main_tex"});
  std::filesystem::remove(in + "/2403.1.tar.gz");
  put("0704.0001", kMain);  // as arXiv gives a paper of one file
  EXPECT_EQ(read(), Strings{"0704.0001|End.\n"});
}

TEST_F(ReadersTest, GitRepositoriesBareAndOrdinary) {
  const std::string work = in + "/project";
  auto git = [&](std::vector<std::string> arguments) {
    std::vector<std::string> argv = {
        "git", "-C", work, "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    const ProgramResult r = run_program(argv);
    EXPECT_EQ(r.status, 0) << arguments[0] << ": " << r.complaint;
    return r.status;
  };
  if (run_program({"git", "--version"}).status != 0) GTEST_SKIP() << "no git here";
  put("project/src/a.py", "print(1)\n");
  put("project/README.md", "A project.\n");
  put("project/image.bin", std::string("\0\1", 2));
  put("project/.hidden", "x\n");
  std::filesystem::create_symlink("README.md", work + "/link");
  setenv("GIT_COMMITTER_DATE", "2021-05-06T07:08:09Z", 1);
  ASSERT_EQ(git({"init", "-q"}), 0);
  EXPECT_EQ(read(), Strings{"project!empty_repository"});
  ASSERT_EQ(git({"add", "."}), 0);
  ASSERT_EQ(git({"commit", "-q", "-m", "x"}), 0);
  put("project/not_committed.txt", "not read\n");
  const Strings want = {"project/.hidden!hidden", "project/README.md|A project.\n", "project/image.bin!binary",
                        "project/link!symbolic_link", "project/src/a.py|print(1)\n"};
  EXPECT_EQ(read(), want);
  EXPECT_EQ(last.language, "python");
  EXPECT_EQ(last.date, "2021-05-06");
  // The same as a bare one, whose ids are the same when its name is.
  ASSERT_EQ(git({"clone", "-q", "--bare", work, folder.path + "/bare"}), 0);
  const std::string id = last.id;
  std::filesystem::remove_all(work);
  std::filesystem::rename(folder.path + "/bare", work);
  EXPECT_EQ(read(), want);
  EXPECT_EQ(last.id, id);
  unsetenv("GIT_COMMITTER_DATE");
  // An object that is lost costs its file alone, the commit itself everything.
  const ProgramResult blob = run_program({"git", "--git-dir=" + work, "rev-parse", "HEAD:README.md"});
  ASSERT_EQ(blob.status, 0);
  std::filesystem::remove(work + "/objects/" + blob.out.substr(0, 2) + "/" + blob.out.substr(2, 38));
  Strings lost = want;
  lost[1] = "project/README.md!missing_object";
  EXPECT_EQ(read(), lost);
  std::filesystem::remove_all(work + "/objects");
  make_directories(work + "/objects");
  EXPECT_EQ(read(), Strings{"project!bad_repository"});
}

TEST_F(ReadersTest, BooksWithoutFrameInChapters) {
  auto chapter = [](int n) {
    return cat("CHAPTER ",
               n == 1   ? "I"
               : n == 2 ? "II"
                        : "III",
               "\n\nThis is the first long line of a paragraph that was wrapped\nand this is its end.\n\n",
               "  A verse\n  of two lines\n\n[Illustration]\n\n");
  };
  const std::string frame =
      "The Project Gutenberg eBook of X\r\n\nTitle: X\nRelease date: May 1, 2008 [eBook #1]\nLanguage: English\n\n";
  put("x.txt",
      frame +
          "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n\nCONTENTS\n\nCHAPTER I\nCHAPTER II\nCHAPTER III\n\n\n" +
          chapter(1) + chapter(2) + chapter(3) + "*** END OF THE PROJECT GUTENBERG EBOOK X ***\n\nThe licence.\n");
  Strings got = read();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].find("licence"), std::string::npos);
  EXPECT_EQ(got[0].find("eBook"), std::string::npos);
  EXPECT_NE(got[0].find("paragraph that was wrapped and this is its end.\n\n  A verse\n  of two lines\n"),
            std::string::npos)
      << got[0];
  EXPECT_EQ(last.title, "X");
  EXPECT_EQ(last.language, "en");
  EXPECT_EQ(last.date, "2008-05-01");
  ReaderOptions options;
  options.split_bytes = 200;
  got = read(options);
  ASSERT_EQ(got.size(), 3u);
  EXPECT_NE(got[1].find("#1|CHAPTER II\n"), std::string::npos) << got[1];
  EXPECT_NE(got[2].find("#2|CHAPTER III\n"), std::string::npos) << got[2];
  std::string novel;
  for (const char* n : {"一", "二", "十三", "一百零四"})
    novel += cat("第", n, "回 风起\n\n话说天下大势，分久必合，合久必分。\n\n");
  put("x.txt", novel);
  options.split_bytes = 100;
  got = read(options);
  ASSERT_EQ(got.size(), 4u);
  EXPECT_EQ(got[3].find("x.txt#3|第一百零四回"), 0u) << got[3];
}

}  // namespace
}  // namespace puyu
