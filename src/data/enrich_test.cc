// Retrieval against BM25 computed for every pair, the comparison of corpora by hand, and the examples' choice.
#include "data/enrich.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/examples.h"

namespace puyu {
namespace {

DocumentSource source(const std::vector<Document>& docs) {
  return [docs](const std::function<void(Document&&)>& fn) {
    for (Document d : docs) fn(std::move(d));
  };
}

Document doc(const std::string& id, const std::string& text, const std::string& language = "en",
             const std::string& url = "") {
  Document d;
  d.id = id, d.content = text, d.language = language, d.source = "s", d.url = url;
  return d;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out(1);
  for (char c : text)
    if (c == ' ')
      out.emplace_back();
    else
      out.back() += c;
  return out;
}

TEST(Enrich, IsBm25) {
  Rng rng(7);
  auto text = [&](int n, uint64_t topic) {
    std::string s;
    for (int i = 0; i < n; ++i) s += cat(i ? " " : "", "w", rng.below(3) ? topic * 20 + rng.below(20) : rng.below(200));
    return s;
  };
  std::vector<Document> corpus, seeds;
  for (int i = 0; i < 300; ++i) corpus.push_back(doc(cat("d", i), text(20 + static_cast<int>(rng.below(60)), i % 10)));
  for (int i = 0; i < 4; ++i) seeds.push_back(doc(cat("q", i), text(25, i)));
  corpus.push_back(doc("copy", seeds[0].content));  // a seed itself is not found for it
  EnrichOptions o;
  o.per_seed = 5, o.max_terms = 1000;
  std::set<std::string> written;
  EnrichResult r = enrich(source(seeds), source(corpus), o, [&](const Document& d) { written.insert(d.id); });
  // By definition.
  std::map<std::string, double> df;
  double mean = 0;
  for (const Document& d : corpus) {
    auto w = words(d.content);
    mean += static_cast<double>(w.size()) / static_cast<double>(corpus.size());
    for (const std::string& t : std::set<std::string>(w.begin(), w.end())) ++df[t];
  }
  size_t at = 0;
  std::set<std::string> all;
  for (const Document& q : seeds) {
    std::vector<std::pair<double, std::string>> scores;
    for (const Document& d : corpus) {
      if (d.content == q.content) continue;
      auto w = words(d.content);
      double s = 0;
      for (const std::string& t : words(q.content)) {
        double tf = static_cast<double>(std::count(w.begin(), w.end(), t)), n = df[t];
        s += std::log(1 + (corpus.size() - n + 0.5) / (n + 0.5)) * tf * 2.2 /
             (tf + 1.2 * (0.25 + 0.75 * w.size() / mean));
      }
      scores.emplace_back(-s, d.id);
    }
    std::sort(scores.begin(), scores.end());
    for (size_t k = 0; k < 5; ++k, ++at) {
      ASSERT_LT(at, r.matches.size());
      EXPECT_EQ(r.matches[at].seed, q.id);
      EXPECT_NEAR(r.matches[at].score, -scores[k].first, 1e-9);
      all.insert(r.matches[at].document);
    }
  }
  EXPECT_EQ(at, r.matches.size());
  EXPECT_EQ(written, all);
  EXPECT_EQ(r.chosen, static_cast<int64_t>(all.size()));
}

TEST(Enrich, ChineseByPairsOfIdeographs) {
  std::vector<Document> corpus = {doc("1", "量子力学研究微观粒子的运动规律。", "zh"),
                                  doc("2", "力量和学生、子女的故事。", "zh"), doc("3", "今天天气很好。", "zh")};
  EnrichOptions o;
  o.per_seed = 1;
  EnrichResult r = enrich(source({doc("q", "量子力学", "zh")}), source(corpus), o, [](const Document&) {});
  ASSERT_EQ(r.matches.size(), 1u);
  EXPECT_EQ(r.matches[0].document, "1");
}

TEST(Enrich, CompareByHand) {
  std::vector<Document> have = {doc("1", std::string(300, 'a'), "en", "http://www.a.example.com/1"),
                                doc("2", std::string(100, 'b'), "zh")};
  std::vector<Document> want = {doc("1", std::string(500, 'a'), "en", "http://b.example.com/"),
                                doc("2", std::string(500, 'b'), "zh")};
  Json j = compare_corpora(source(have), source(want));
  const Json& zh = j.at("language").as_array()[0];
  EXPECT_EQ(zh.at("key").as_string(), "zh");
  EXPECT_DOUBLE_EQ(zh.at("share").as_double(), 0.25);
  EXPECT_DOUBLE_EQ(zh.at("reference_share").as_double(), 0.5);
  EXPECT_DOUBLE_EQ(zh.at("lacks_bytes").as_double(), 200);  // 300 of 600
  EXPECT_EQ(j.at("site").as_array()[0].at("key").as_string(), "example.com");
  EXPECT_EQ(site_of("https://news.bbc.co.uk:80/x"), "bbc.co.uk");
  EXPECT_EQ(site_of("http://www.sina.com.cn"), "sina.com.cn");
  EXPECT_EQ(site_of("http://10.1.2.3/"), "10.1.2.3");
  EXPECT_EQ(site_of("a/b.txt"), "");
}

TEST(Examples, DoNotDependOnOrderOrParts) {
  std::vector<int> order(50);
  for (int i = 0; i < 50; ++i) order[i] = i;
  std::string first;
  Rng rng(1);
  for (int t = 0; t < 5; ++t) {
    rng.shuffle(order.begin(), order.end());
    Examples parts[3], all;
    for (int i : order) {
      Document d = doc(cat("id", i), "text");
      Examples& e = parts[rng.below(3)];
      if (e.wants("s", "r", d)) e.add("s", "r", d, "text", i, 0);
    }
    for (Examples& e : parts) all.merge(e);
    if (first.empty()) first = all.to_json().dump();
    EXPECT_EQ(all.to_json().dump(), first);
    EXPECT_EQ(all.of_stage("s").at("r").size(), kExamplesPerRule);
    EXPECT_EQ(Examples::from_json(all.to_json()).to_json(), all.to_json());
  }
}

}  // namespace
}  // namespace puyu
