#include "base/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace puyu {
namespace {

struct Inner {
  double lr = 3e-4;
  std::vector<int64_t> steps = {1, 2};
  template <class F>
  void fields(F&& f) {
    f("lr", lr, "learning rate");
    f("steps", steps, "a list");
  }
};
struct Source {
  std::string name = "none";
  Inner inner;
  template <class F>
  void fields(F&& f) {
    f("name", name, "which");
    f("inner", inner, "nested");
  }
};
struct Options {
  bool fast = false;
  int layers = 2;
  int64_t tokens = 0;
  double ratio = 0.5;
  std::string path = "a";
  std::vector<double> weights;
  std::vector<std::string> names;
  Inner optimizer;
  std::vector<Source> sources;
  template <class F>
  void fields(F&& f) {
    f("fast", fast, "a flag");
    f("layers", layers, "how many");
    f("tokens", tokens, "budget");
    f("ratio", ratio, "a part");
    f("path", path, "a file");
    f("weights", weights, "numbers");
    f("names", names, "words");
    f("optimizer", optimizer, "AdamW");
    f("sources", sources, "where text comes from");
  }
};

std::string load_error(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  Options o;
  try {
    load_config(o, toml, "run.toml", overrides);
  } catch (const Error& e) { return e.what(); }
  return "";
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Config, ReadsEveryType) {
  Options o;
  load_config(o,
              "fast = true\nlayers = 7\ntokens = 5_000_000_000\nratio = 1\npath = \"语料/甲.txt\"\n"
              "weights = [1, 2.5]\nnames = ['x', '乙']\n[optimizer]\nlr = 1e-3\nsteps = []\n"
              "[[sources]]\nname = \"en\"\n[sources.inner]\nlr = 2.0\n[[sources]]\nname = \"zh\"\n",
              "run.toml");
  EXPECT_TRUE(o.fast);
  EXPECT_EQ(o.layers, 7);
  EXPECT_EQ(o.tokens, 5'000'000'000);
  EXPECT_EQ(o.ratio, 1.0);
  EXPECT_EQ(o.path, "语料/甲.txt");
  EXPECT_EQ(o.weights, (std::vector<double>{1, 2.5}));
  EXPECT_EQ(o.names, (std::vector<std::string>{"x", "乙"}));
  EXPECT_EQ(o.optimizer.lr, 1e-3);
  EXPECT_TRUE(o.optimizer.steps.empty());
  ASSERT_EQ(o.sources.size(), 2u);
  EXPECT_EQ(o.sources[0].inner.lr, 2.0);
  EXPECT_EQ(o.sources[1].name, "zh");
  EXPECT_EQ(o.sources[1].inner.lr, 3e-4) << "absent keys keep their defaults";
}

TEST(Config, ErrorsNameFileLineAndKey) {
  EXPECT_EQ(load_error("fast = true\nlayrs = 3\n"), "[config] run.toml:2: unknown key 'layrs'; did you mean 'layers'?");
  EXPECT_TRUE(has(load_error("zzzzzzzz = 3"), "known keys here: fast, layers"));
  EXPECT_TRUE(has(load_error("\n\n[optimizer]\nlr = 'x'\n"), "run.toml:4: key 'lr': expected a number"));
  EXPECT_TRUE(has(load_error("layers = 2.0"), "run.toml:1: key 'layers': expected an integer"));
  EXPECT_TRUE(has(load_error("layers = 3000000000"), "out of range"));
  EXPECT_TRUE(has(load_error("fast = 1"), "expected true or false"));
  EXPECT_TRUE(has(load_error("optimizer = 1"), "expected a table"));
  EXPECT_TRUE(has(load_error("sources = [1]"), "expected a table"));
  EXPECT_TRUE(has(load_error("[[optimizer]]\nlr = 1.0"), "expected a table"));
  EXPECT_TRUE(has(load_error("weights = [1, 'a']"), "key 'weights': expected a number"));
  EXPECT_TRUE(has(load_error("fast = true\npath = \"unclosed\n"), "run.toml:2"));
  EXPECT_TRUE(has(load_error("layers = 1\nlayers = 2\n"), "run.toml:2"));
  EXPECT_TRUE(has(load_error("path = \"\xFF\"\n"), "run.toml:1"));
}

TEST(Config, Overrides) {
  Options o;
  load_config(o, "[[sources]]\n[[sources]]\n", "run.toml",
              {"layers=9", "optimizer.lr=0.25", "sources.1.inner.steps=4,5", "names=甲,乙", "path=a=b", "fast=true"});
  EXPECT_EQ(o.layers, 9);
  EXPECT_EQ(o.optimizer.lr, 0.25);
  EXPECT_EQ(o.sources[1].inner.steps, (std::vector<int64_t>{4, 5}));
  EXPECT_EQ(o.names, (std::vector<std::string>{"甲", "乙"}));
  EXPECT_EQ(o.path, "a=b");
  EXPECT_TRUE(has(load_error("", {"optimizer.lrr=1"}), "did you mean 'lr'"));
  EXPECT_TRUE(has(load_error("", {"layers=1x"}), "option 'layers': expected an integer, got '1x'"));
  EXPECT_TRUE(has(load_error("", {"layers=99999999999"}), "layers"));
  EXPECT_TRUE(has(load_error("", {"layers="}), "expected an integer"));
  EXPECT_TRUE(has(load_error("", {"layers.x=1"}), "is not a table"));
  EXPECT_TRUE(has(load_error("", {"optimizer=1"}), "is a table"));
  EXPECT_TRUE(has(load_error("", {"sources.0.name=x"}), "has 0 entries"));
  EXPECT_TRUE(has(load_error("[[sources]]", {"sources.-1.name=x"}), "sources.-1.name"));
  EXPECT_TRUE(has(load_error("", {"layers"}), "expected --NAME=VALUE"));
}

TEST(Config, WritesWhatItReads) {
  Options o;
  o.fast = true;
  o.ratio = 1e20;
  o.tokens = INT64_MIN + 1;
  o.path = "引号\" 反斜\\ 制表\t 换行\n \x01 \x7f 完";
  o.weights = {0.1, 3, -0.0, std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  o.names = {"", "a,b", "书"};
  o.sources.resize(2);
  o.sources[1].inner.steps = {};
  o.sources[1].name = "[x]";
  Options back;
  load_config(back, to_toml(list_fields(o)), "manifest.toml");
  EXPECT_EQ(to_toml(list_fields(back)), to_toml(list_fields(o)));
  EXPECT_EQ(back.path, o.path);
  EXPECT_EQ(back.weights, o.weights);
  EXPECT_EQ(back.names, o.names);
  EXPECT_EQ(back.sources[1].name, "[x]");
  o.ratio = std::numeric_limits<double>::quiet_NaN();
  load_config(back, to_toml(list_fields(o)), "manifest.toml");
  EXPECT_TRUE(std::isnan(back.ratio));
  Inner inner;
  EXPECT_EQ(to_json(list_fields(inner)).dump(), R"({"lr":3e-04,"steps":[1,2]})");
}

TEST(Config, Nearest) {
  const std::vector<std::string> known = {"train", "tokenizer", "eval", "lr"};
  EXPECT_EQ(nearest("trian", known), "train");
  EXPECT_EQ(nearest("tokeniser", known), "tokenizer");
  EXPECT_EQ(nearest("xyzzyxyzzy", known), "");
  EXPECT_EQ(nearest("q", known), "") << "a guess that shares no letter is no help";
}

TEST(Config, HelpListsNestedOptionsWithDefaults) {
  Options options;
  std::string help = fields_help(list_fields(options));
  EXPECT_TRUE(has(help, "--optimizer.lr=3e-04")) << help;
  EXPECT_TRUE(has(help, "[[sources]]"));
}

}  // namespace
}  // namespace puyu
