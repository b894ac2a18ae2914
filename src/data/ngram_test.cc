// n-gram models against Kneser-Ney computed straight from its definition, with maps.
#include "data/ngram_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "base/rng.h"
#include "base/temp_dir_test_util.h"

namespace puyu {
namespace {

using Words = std::vector<std::string>;

// Chen & Goodman's modified Kneser-Ney, interpolated, recursive, by definition. Words come first to last.
class Reference {
 public:
  Reference(const std::vector<Words>& sentences, int order) : order_(order) {
    std::set<std::string> vocabulary = {"</s>", "<unk>"};
    std::map<Words, std::set<std::string>> before;
    for (const Words& s : sentences) {
      Words t = {"<s>"};
      t.insert(t.end(), s.begin(), s.end());
      t.push_back("</s>");
      vocabulary.insert(s.begin(), s.end());
      for (size_t i = 1; i < t.size(); ++i)
        for (size_t n = 1; n <= static_cast<size_t>(order) && n <= i + 1; ++n) {
          Words g(t.begin() + i + 1 - n, t.begin() + i + 1);
          ++counts_[g];
          if (n > 1) before[Words(g.begin() + 1, g.end())].insert(g[0]);
        }
    }
    size_ = vocabulary.size();
    for (auto& [g, c] : counts_)
      if (static_cast<int>(g.size()) < order && g[0] != "<s>") c = static_cast<double>(before[g].size());
    for (auto& [g, c] : counts_) {
      auto& n = count_of_counts_[g.size()];
      if (c < 5) ++n[static_cast<int>(c)];
      Words context(g.begin(), g.end() - 1);
      followers_[context].push_back(c);
    }
  }
  double discount(size_t n, double c) {
    auto& k = count_of_counts_[n];
    double d[] = {0.5, 1, 1.5};
    if (k[1] && k[2] && k[3] && k[4]) {
      double y = k[1] / (k[1] + 2.0 * k[2]);
      double closed[] = {1 - 2 * y * k[2] / k[1], 2 - 3 * y * k[3] / k[2], 3 - 4 * y * k[4] / k[3]};
      if (closed[0] >= 0 && closed[0] <= 1 && closed[1] >= 0 && closed[1] <= 2 && closed[2] >= 0 && closed[2] <= 3)
        std::copy(closed, closed + 3, d);
    }
    return d[std::min(static_cast<int>(c), 3) - 1];
  }
  double p(const std::string& w, Words context) {  // context: first to last
    if (context.size() >= static_cast<size_t>(order_)) context.erase(context.begin());
    double lower = context.empty() ? 1.0 / static_cast<double>(size_) : p(w, Words(context.begin() + 1, context.end()));
    auto f = followers_.find(context);
    if (f == followers_.end()) return lower;
    double sum = 0, left = 0;
    for (double c : f->second) sum += c, left += discount(context.size() + 1, c);
    Words g = context;
    g.push_back(w);
    double c = counts_.count(g) ? counts_[g] : 0;
    return (c > 0 ? (c - discount(g.size(), c)) / sum : 0) + left / sum * lower;
  }

 private:
  int order_;
  size_t size_ = 0;
  std::map<Words, double> counts_;
  std::map<size_t, std::map<int, int>> count_of_counts_;
  std::map<Words, std::vector<double>> followers_;
};

std::vector<Words> sentences(uint64_t seed, int n) {
  Rng rng(seed);
  std::vector<Words> out;
  for (int i = 0; i < n; ++i) {
    Words s;
    uint64_t last = 0;
    for (uint64_t k = 0, length = 1 + rng.below(9); k < length; ++k) {
      last = rng.below(3) ? (last * 7 + rng.below(3)) % 40 : rng.below(40);
      s.push_back("w" + std::to_string(last));
    }
    out.push_back(s);
  }
  return out;
}

std::string text_of(const std::vector<Words>& sentences) {
  std::string out;
  for (const Words& s : sentences) {
    for (const std::string& w : s) out += w + " ";
    out += "\n";
  }
  return out;
}

TextSource source(const std::string& text) {
  return [text](const std::function<void(std::string_view)>& fn) { fn(text); };
}

double reference_log10(Reference& r, const std::vector<Words>& sentences, const NgramModel& m, int order) {
  double sum = 0;
  for (const Words& s : sentences) {
    Words context = {"<s>"};
    auto add = [&](const std::string& w) {
      sum += std::log10(r.p(w, context));
      context.push_back(w);
      if (context.size() >= static_cast<size_t>(order)) context.erase(context.begin());
    };
    for (const std::string& w : s) add(m.word(w) == kUnknownWord ? "<unk>" : w);
    add("</s>");
  }
  return sum;
}

TEST(Ngram, PerplexityIsThatOfTheDefinition) {
  test::TempDir dir;
  for (int order : {2, 3, 5}) {
    auto train = sentences(1, 400), held = sentences(2, 60);
    held.push_back({"never", "seen", "w1"});
    std::string path = cat(dir.path, "/m", order);
    NgramOptions o;
    o.order = order;
    NgramCounts counts = train_ngram(source(text_of(train)), o, path);
    NgramModel m(path);
    Reference r(train, order);
    for (const auto& part : {train, held}) {
      TextScore s = m.score(text_of(part));
      double want = reference_log10(r, part, m, order);
      EXPECT_NEAR(s.log10, want, 1e-6 * std::abs(want)) << order;
      EXPECT_EQ(s.sentences, static_cast<int64_t>(part.size()));
    }
    EXPECT_EQ(m.score(text_of(held)).unknown, 2);
    EXPECT_EQ(counts.sentences, 400);
    EXPECT_EQ(counts.grams.size(), static_cast<size_t>(order));
  }
}

TEST(Ngram, ProbabilitiesSumToOne) {
  test::TempDir dir;
  NgramOptions o;
  o.order = 3;
  train_ngram(source(text_of(sentences(3, 300))), o, dir.path + "/m");
  NgramModel m(dir.path + "/m");
  std::vector<std::vector<uint32_t>> contexts = {{kBeginWord},
                                                 {m.word("w1")},
                                                 {m.word("w1"), m.word("w7")},
                                                 {m.word("w3"), kBeginWord},
                                                 {kUnknownWord, m.word("w2")},
                                                 {}};
  for (const auto& context : contexts) {
    double sum = 0;
    for (uint32_t w = 1; w < m.vocabulary(); ++w)
      if (w != kBeginWord) sum += std::pow(10, m.log10(w, context));
    EXPECT_NEAR(sum, 1, 1e-5) << context.size();
  }
}

TEST(Ngram, MemoryDoesNotChangeABit) {
  test::TempDir dir;
  std::string text = text_of(sentences(4, 20000));
  NgramOptions o;
  o.order = 4;
  train_ngram(source(text), o, dir.path + "/much");
  o.memory = 1 << 20;  // many temporary files
  train_ngram(source(text), o, dir.path + "/little");
  EXPECT_EQ(read_file(dir.path + "/much"), read_file(dir.path + "/little"));
  EXPECT_EQ(list_files(dir.path).size(), 2u) << "no temporary files are left";
}

TEST(Ngram, ArpaThereAndBack) {
  test::TempDir dir;
  NgramOptions o;
  o.order = 3, o.min_count = 2;
  auto train = sentences(5, 200);
  train.push_back({"once"});
  train_ngram(source(text_of(train)), o, dir.path + "/m");
  NgramModel m(dir.path + "/m");
  EXPECT_EQ(m.word("once"), kUnknownWord);
  export_arpa(m, dir.path + "/m.arpa");
  import_arpa(dir.path + "/m.arpa", dir.path + "/back");
  EXPECT_EQ(NgramModel(dir.path + "/back").score(text_of(train)).log10, m.score(text_of(train)).log10);
  export_arpa(NgramModel(dir.path + "/back"), dir.path + "/back.arpa");
  EXPECT_EQ(read_file(dir.path + "/m.arpa"), read_file(dir.path + "/back.arpa"));
}

// A model written by hand: p(b | a) = 10^-0.3; p(a | b) backs off: 10^(-0.1 - 1).
TEST(Ngram, ArpaByHandAndBroken) {
  test::TempDir dir;
  std::string good =
      "\\data\\\nngram 1=5\nngram "
      "2=1\n\n\\1-grams:\n-2\t<unk>\n-99\t<s>\t-0.5\n-1.5\t</s>\n-1\ta\t-0.2\n-1.2\tb\t-0.1\n\n"
      "\\2-grams:\n-0.3\ta b\n\n\\end\\\n";
  auto import = [&](const std::string& text) {
    write_file(dir.path + "/x.arpa", text);
    import_arpa(dir.path + "/x.arpa", dir.path + "/x");
    return NgramModel(dir.path + "/x");
  };
  NgramModel m = import(good);
  EXPECT_FLOAT_EQ(static_cast<float>(m.log10(m.word("b"), {m.word("a")})), -0.3f);
  EXPECT_FLOAT_EQ(static_cast<float>(m.log10(m.word("a"), {m.word("b")})), -1.1f);
  EXPECT_FLOAT_EQ(static_cast<float>(m.score("a b c").log10), -0.5f - 1 - 0.3f - 0.1f - 2 - 1.5f);
  auto broken = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    EXPECT_THROW(import(text.replace(text.find(from), from.size(), to)), Error) << to;
  };
  broken("ngram 2=1", "ngram 2=2");
  broken("ngram 2=1", "ngram 3=1");
  broken("-0.3\ta b", "x\ta b");
  broken("-0.3\ta b", "-0.3\ta");
  broken("-1.2\tb\t-0.1", "-1.2\ta\t-0.1");
  broken("\\end\\", "");
  broken("\\data\\", "");
}

TEST(Ngram, BadFilesAndOptionsAreErrors) {
  test::TempDir dir;
  NgramOptions o;
  o.order = 6;
  EXPECT_THROW(train_ngram(source("a b"), o, dir.path + "/m"), Error);
  o.order = 2;
  EXPECT_THROW(train_ngram(source("... !"), o, dir.path + "/m"), Error);
  train_ngram(source("a b c\na b"), o, dir.path + "/m");
  std::string bytes = read_file(dir.path + "/m");
  for (size_t n : {size_t{0}, size_t{63}, bytes.size() - 8}) {
    write_file(dir.path + "/bad", bytes.substr(0, n));
    EXPECT_THROW(NgramModel(dir.path + "/bad"), Error) << n;
  }
  bytes[bytes.size() - 3] ^= 4;
  write_file(dir.path + "/bad", bytes);
  EXPECT_THROW(NgramModel(dir.path + "/bad"), Error);
}

}  // namespace
}  // namespace puyu
