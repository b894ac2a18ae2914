// Code as tokens, by hand; duplicates among code; classes; batches of imports; descriptions; the depth-first order.
#include "data/code_tokens.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "data/classifier.h"
#include "data/code_batches.h"
#include "data/code_describe.h"
#include "data/code_quality.h"
#include "data/pipeline.h"
#include "data/repositories.h"

namespace puyu {
namespace {

std::string shown(std::string_view language, std::string_view text) {
  std::string out;
  for (const CodeToken& t : code_tokens(language, text))
    out += cat(out.empty() ? "" : " ", "INSOC"[static_cast<size_t>(t.kind)], "|", t.text);
  return out;
}

TEST(CodeTokens, ByHand) {
  EXPECT_EQ(shown("cpp", "x+=1.5e-3;"), "I|x O|+= N|1.5e-3 O|;");
  EXPECT_EQ(shown("cpp", "a->b<<=0x1F'FFu // no\n"), "I|a O|-> I|b O|<<= N|0x1F O|' I|FFu C|// no");
  EXPECT_EQ(shown("cpp", "1'000'000 + 0x1e+5"), "N|1'000'000 O|+ N|0x1e O|+ N|5");
  EXPECT_EQ(shown("c", "'\\n' /* \"a\nb */ \"c\\\"d\" '"), "S|'\\n' C|/* \"a\nb */ S|\"c\\\"d\" O|'");
  EXPECT_EQ(shown("cpp", "R\"x(a)\" \")x\";"), "S|R\"x(a)\" \")x\" O|;");
  EXPECT_EQ(shown("python", "s = '''a\n# b'''  # c\nd"), "I|s O|= S|'''a\n# b''' C|# c I|d");
  EXPECT_EQ(shown("rust", "fn f<'a>(x: &'a str)"), "I|fn I|f O|< O|' I|a O|> O|( I|x O|: O|& O|' I|a I|str O|)");
  EXPECT_EQ(shown("javascript", "`a\n${b}` === 1..c"), "S|`a\n${b}` O|=== N|1 O|.. I|c");
  EXPECT_EQ(shown("shell", "echo $# ${#x} # end"), "I|echo I|$ O|# I|$ O|{ O|# I|x O|} C|# end");
  EXPECT_EQ(shown("lua", "--[[ a\nb ]] x -- c"), "C|--[[ a\nb ]] I|x C|-- c");
  EXPECT_EQ(shown("sql", "SELECT 'it' -- x"), "I|SELECT S|'it' C|-- x");
  EXPECT_EQ(shown("python", "变量 = \"值\""), "I|变量 O|= S|\"值\"");
  EXPECT_EQ(shown("c", "/* open"), "C|/* open");
}

// Every byte that is no white space is in exactly one token, in order, whatever the bytes are.
TEST(CodeTokens, CoverEveryByte) {
  Rng rng(5);
  const std::string alphabet = "ab1 \n\"'`/*#-.\\(){}[]R$_+=\xe4\xb8\xad\xff";
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (uint64_t n = rng.below(60); n > 0; --n) text += alphabet[rng.below(alphabet.size())];
    const char* languages[] = {"cpp", "python", "shell", "lua", "javascript", "haskell", "sql", "rust", ""};
    std::string joined, wanted;
    const char* at = text.data();
    for (const CodeToken& t : code_tokens(languages[rng.below(9)], text)) {
      ASSERT_FALSE(t.text.empty());
      for (; at < t.text.data(); ++at) ASSERT_NE(std::string_view(" \n\t\r").find(*at), std::string_view::npos) << text;
      ASSERT_EQ(at, t.text.data()) << text;
      at += t.text.size();
    }
    for (; at < text.data() + text.size(); ++at) ASSERT_TRUE(*at == ' ' || *at == '\n') << text;
  }
}

std::string program(uint64_t seed, int lines, const std::string& indent, const std::string& head) {
  Rng rng(seed);
  std::string out = head;
  for (int i = 0; i < lines; ++i)
    out += cat("def f", rng.below(1000), "(a, b):\n", indent, "if a < ", rng.below(100), ":\n", indent, indent,
               "return g", rng.below(1000), "(a)[", rng.below(9), "]\n", indent, "return b\n");
  return out;
}

TEST(CodeMinhash, IndentationAndCommentsAreNoDifference) {
  const std::string a = program(1, 30, "  ", ""), tabs = program(1, 30, "\t", "# Copyright 2020 A\n# All of it.\n");
  EXPECT_EQ(code_minhash("python", a), code_minhash("python", tabs));
  EXPECT_EQ(code_minhash("python", a), code_minhash("python", "```python\n" + a + "```\n"));
  EXPECT_NE(code_minhash("python", a), code_minhash("python", program(2, 30, "  ", "")));
  // Words alone do not see operators; tokens do.
  std::string other = a;
  for (char& c : other) c = c == '<' ? '>' : c == '[' ? '(' : c == ']' ? ')' : c;
  EXPECT_EQ(minhash(a), minhash(other));
  EXPECT_LT(similarity(code_minhash("python", a), code_minhash("python", other)), 0.9);
  // A file of comments only is held against others by its words.
  EXPECT_EQ(code_minhash("python", "# one two three\n"), minhash("# one two three\n"));
}

// The estimate against the exact Jaccard similarity of the sets of 5-grams of tokens.
TEST(CodeMinhash, EstimatesJaccard) {
  auto grams = [](const std::string& text) {
    std::vector<std::string> words;
    for (const CodeToken& t : code_tokens("python", text)) words.emplace_back(t.text);
    std::set<std::string> out;
    for (size_t i = 0; i + 5 <= words.size(); ++i) {
      std::string gram;
      for (size_t k = 0; k < 5; ++k) gram += words[i + k] + " ";
      out.insert(gram);
    }
    return out;
  };
  double off = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const std::string a = program(seed, 30, "  ", ""), b = a + program(seed + 100, static_cast<int>(seed), "    ", "");
    const std::set<std::string> x = grams(a), y = grams(b);
    double both = 0;
    for (const std::string& g : x) both += static_cast<double>(y.count(g));
    const double j = both / (static_cast<double>(x.size() + y.size()) - both);
    const double estimate = similarity(code_minhash("python", a), code_minhash("python", b));
    EXPECT_NEAR(estimate, j, 4.5 * std::sqrt(j * (1 - j) / kPermutations) + 1e-9) << seed;
    off += estimate - j;
  }
  EXPECT_LT(std::abs(off / 40), 0.03);
}

std::string rule_of(const std::string& language, const std::string& text, CodeRules rules = {}) {
  return judge_code(language, text, rules).rule;
}

TEST(CodeQuality, RulesByHand) {
  const std::string good = program(1, 10, "    ", "# Some functions.\n");
  EXPECT_EQ(rule_of("python", good), "");
  EXPECT_EQ(rule_of("python", "a = 1\n"), "min_lines");
  EXPECT_EQ(rule_of("python", "# This file was GENERATED by a tool.\n" + good), "generated");
  EXPECT_EQ(rule_of("python", good + std::string(30, '\n') + "# generated by hand\n"), "") << "only the head counts";
  EXPECT_EQ(rule_of("python", good + "x = '" + std::string(2000, 'x') + "'\n"), "max_longest_line");
  std::string table = "t = [\n", comments, minified;
  for (int i = 0; i < 50; ++i) {
    table += cat(i * 7919, ", ", i * 104729, ",\n"), comments += "# nothing but words here\n";
    minified += "a=b;c(d);e=f;g(h);i=j;\n";
  }
  EXPECT_EQ(rule_of("python", table + "]\n"), "max_numbers");
  EXPECT_EQ(rule_of("python", comments + "a = 1\n"), "max_comments");
  EXPECT_EQ(rule_of("javascript", minified), "min_token_bytes");
  CodeRules nemo;
  nemo.min_comments = 0.001;
  EXPECT_EQ(rule_of("python", program(1, 10, "    ", ""), nemo), "min_comments");
  const Verdict v = judge_code("python", "a = 1\nb = 2\n", {});
  EXPECT_EQ(v.value, 2);
  EXPECT_EQ(v.limit, 5);
}

TEST(CodeQuality, ClassesOfTheModel) {
  CodeQualityOptions o;
  o.rules = true, o.model = "m", o.languages = {"python"};
  const std::string good = program(1, 10, "    ", "");
  auto of = [&](const std::string& text, std::optional<double> score) {
    return std::string(name_of(classify_code("python", text, o, score).code_class));
  };
  EXPECT_EQ(of(good, 0.9), "high");
  EXPECT_EQ(of(good, 0.7), "moderate");
  EXPECT_EQ(of(good, 0.3), "moderate");
  EXPECT_EQ(of(good, 0.29), "low");
  EXPECT_EQ(of(good, {}), "moderate") << "a language the model is not asked about";
  EXPECT_EQ(of("a = 1\n", 0.9), "low") << "rules come first";
  EXPECT_TRUE(asks_model(o, "python"));
  EXPECT_FALSE(asks_model(o, "cobol"));
  o.drop = {"bad"};
  EXPECT_THROW(check_options(o), Error);
  o.drop = {"low"}, o.low_below = 0.9;
  EXPECT_THROW(check_options(o), Error);
}

// The whole way: duplicates that differ in indentation go, a generated file goes, the model's class stays as a score.
TEST(CodeQuality, InAPipeline) {
  test::TempDir dir;
  std::vector<LabelledText> labelled;
  for (uint64_t i = 0; i < 60; ++i)
    labelled.push_back({program(i, 10, "  ", i % 2 ? "import careful\n" : "import sloppy\n"), "python", i % 2 == 1});
  ClassifierOptions c;
  c.positive = "good", c.bits = 12;
  train_classifier(labelled, c, dir / "m");
  make_directories(dir / "in");
  write_file(dir / "in/a.py", program(201, 20, "  ", "import careful\n"));
  write_file(dir / "in/b.py", program(201, 20, "\t", "# A copy.\nimport careful\n"));
  write_file(dir / "in/c.py", "# generated by x\n" + program(202, 20, "  ", ""));
  write_file(dir / "in/d.py", program(203, 20, "  ", "import sloppy\n"));
  PipelineConfig config;
  config.input = {dir / "in"};
  config.languages = {"code"}, config.code_markdown = true;
  config.stages = {"normalise", "language", "quality", "near_duplicates"};  // the made programs repeat themselves
  config.quality.code.rules = true, config.quality.code.model = dir / "m";
  config.quality.code.low_below = 0, config.quality.code.high_above = 0.5;
  Funnel f = run_pipeline(config, dir / "out", 2);
  EXPECT_EQ(f.stage("quality").dropped["code.low.generated"].documents, 1) << format_funnel(f);
  EXPECT_EQ(f.stage("near_duplicates").dropped["similar_text"].documents, 1);
  std::map<std::string, double> classes;
  for_each_document(dir / "out", [&](Document&& d) {
    classes[d.url.substr(0, 1)] = d.scores.at("code_class");
    EXPECT_TRUE(d.content.starts_with("```python\n")) << d.content;
    EXPECT_TRUE(d.content.ends_with("\n```\n"));
  });
  ASSERT_EQ(classes.size(), 2u);
  EXPECT_EQ(classes["d"], 1);
  EXPECT_EQ(classes.begin()->second, 2);
}

using Files = std::vector<RepositoryFile>;

TEST(CodeBatches, OnlyWhatIsUsed) {
  EXPECT_TRUE(
      is_batch({"all.h", "cpp", "// License\n#ifndef A\n#define A\n#include \"x.h\"\n#include \"y.h\"\n#endif\n"}));
  EXPECT_FALSE(is_batch({"x.h", "cpp", "#include \"y.h\"\nint x();\n"}));
  EXPECT_FALSE(is_batch({"x.h", "cpp", "#define A 1\n"})) << "no import";
  EXPECT_TRUE(is_batch(
      {"p/__init__.py", "python", "\"\"\"Doc\nmore\"\"\"\nfrom .a import (\n    f,\n    g)\n__all__ = [\n 'f']\n"}));
  EXPECT_FALSE(is_batch({"p/__init__.py", "python", "from .a import f\nx = 1\n"}));
  EXPECT_TRUE(is_batch({"index.ts", "typescript", "export * from './a';\nexport { b } from \"./b\";\n"}));
  EXPECT_FALSE(is_batch({"index.ts", "typescript", "export const a = 1;\n"}));
  const Files c = {{"all.h", "cpp", "#include \"x.h\"\n#include \"y.h\"\n"},
                   {"x.h", "cpp", "int count_words(const char*);\n"},
                   {"y.h", "cpp", "struct Yard {};\n"},
                   {"use_x.cc", "cpp", "#include \"all.h\"\nint main() { return count_words(\"a\"); }\n"},
                   {"use_none.cc", "cpp", "#include \"all.h\"\nint other() { return 1; }\n"}};
  auto needs = find_dependencies(c);
  EXPECT_EQ(needs[3], std::vector<size_t>{1});
  EXPECT_EQ(needs[4], std::vector<size_t>{0});
  EXPECT_EQ(needs[0], (std::vector<size_t>{1, 2}));
  const Files py = {{"pkg/__init__.py", "python", "from .a import f\nfrom .b import g\n"},
                    {"pkg/a.py", "python", "def f():\n    pass\n"},
                    {"pkg/b.py", "python", "def g():\n    pass\n"},
                    {"use.py", "python", "from pkg import g\ng()\n"}};
  EXPECT_EQ(find_dependencies(py)[3], std::vector<size_t>{2});
}

TEST(CodeBatches, DefinedNames) {
  using Names = std::set<std::string_view>;
  EXPECT_EQ(defined_names("cpp", "struct A { int f(int); };\n#define B 1\nvoid g() { h(); return i(); }\n"),
            (Names{"A", "B", "f", "g"}));
  EXPECT_EQ(defined_names("python", "X = 1\nclass C:\n    y = 2\n    def m(self):\n        z = k()\n"),
            (Names{"C", "X", "m"}));
}

std::vector<std::string> ordered(const Files& files, FileOrder how) {
  std::vector<std::string> out;
  for (const size_t i : dependency_order(files, how)) out.push_back(files[i].path);
  return out;
}

TEST(CodeOrder, DepthFirstKeepsUsersTogether) {
  const Files files = {
      {"a.py", "python", "import y\n"}, {"b.py", "python", "import x\nimport y\n"}, {"x.py", "python", ""},
      {"y.py", "python", ""},           {"l1.py", "python", "import l2\n"},         {"l2.py", "python", "import l1\n"}};
  EXPECT_EQ(ordered(files, FileOrder::kDepthFirst),
            (std::vector<std::string>{"y.py", "a.py", "x.py", "b.py", "l2.py", "l1.py"}));
  EXPECT_EQ(ordered(files, FileOrder::kTopological),
            (std::vector<std::string>{"l1.py", "l2.py", "x.py", "y.py", "a.py", "b.py"}));
}

TEST(CodeDescribe, InTheFilesOwnWords) {
  const RepositoryFile f = {"a.py", "python",
                            "#!/usr/bin/python\n# Copyright 2020\n\n\"\"\"Reads shards of tokens. More.\"\"\"\n"
                            "def open_shard(p):\n    pass\n"};
  EXPECT_EQ(describe_file(f), "Python, 6 lines. Reads shards of tokens. Defines open_shard.");
  EXPECT_EQ(describe_file({"x.c", "c", "// Adds up\n// all numbers.\nint sum(int n) { return n; }\n"}),
            "C, 3 lines. Adds up all numbers. Defines sum.");
  EXPECT_EQ(describe_file({"x.c", "c", "int a;\n"}), "C, 1 lines.");
  EXPECT_EQ(describe_file({"README.md", "", "x"}), "");
  const Files files = {f, {"README.md", "", "# Shards\n\nTools for shards of tokens.\n"}};
  EXPECT_EQ(describe_repository(files, {1, 0}), "Shards Tools for shards of tokens. 2 files, 1 in python.\n- a.py");
}

TEST(Repositories, OneDocumentEach) {
  std::vector<Document> docs;
  auto add = [&](const char* source, const char* path, const char* language, const std::string& text) {
    Document d;
    d.source = source, d.url = path, d.language = language, d.content = text,
    d.date = "2020-01-0" + cat(docs.size() + 1);
    docs.push_back(d);
  };
  add("r1", "main.py", "python", "```python\nimport numpy\nimport util\n```\n");
  add("r1", "util.py", "python", "x = 1\n");
  add("r2", "a.c", "c", "int a;\n");
  auto source = [&](const std::function<void(Document&&)>& fn) {
    for (Document d : docs) fn(std::move(d));
  };
  std::vector<Document> out;
  auto write = [&](const Document& d) { out.push_back(d); };
  RepositoriesResult r = join_repositories(source, {}, write);
  EXPECT_EQ(r.repositories, 2);
  EXPECT_EQ(out[0].content,
            "# r1\n\n## util.py\n\n```python\nx = 1\n```\n\n## main.py\n\n```python\nimport numpy\nimport util\n```\n");
  EXPECT_EQ(out[0].date, "2020-01-02");
  RepositoriesOptions o;
  o.libraries = {"numpy"}, o.order = "depth-first", o.describe = true;
  out.clear();
  r = join_repositories(source, o, write);
  EXPECT_EQ(r.repositories, 1);
  EXPECT_EQ(r.other_libraries, 1);
  EXPECT_NE(out[0].content.find("2 files, 2 in python."), std::string::npos);
  o = {}, o.min_bytes = 60;
  EXPECT_EQ(join_repositories(source, o, write).too_short, 1);
  o.order = "random";
  EXPECT_THROW(join_repositories(source, o, write), Error);
  add("r1", "late.py", "python", "y = 1\n");
  EXPECT_THROW(join_repositories(source, {}, write), Error);
}

}  // namespace
}  // namespace puyu
