// Block lists of sites and words, and the stage that uses them.
#include "data/safety.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "base/utf8.h"
#include "data/compress.h"
#include "data/pipeline.h"
#include "data/pipeline_run.h"

namespace puyu {
namespace {

void put(const std::string& path, const std::string& text) {
  make_directories(path.substr(0, path.rfind('/')));
  std::ofstream(path, std::ios::binary) << text;
}

std::string category(const DomainList& list, std::string_view url) {
  const std::string* c = list.find(url);
  return c ? *c : "";
}

TEST(DomainList, BlocksHostsWhatIsBelowThemAndPaths) {
  test::TempDir dir;
  put(dir.path + "/lists/adult/domains",
      "bad.example\n*.worse.example.\n127.0.0.1 hosts.example # why\nmünchen.example\n");
  put(dir.path + "/lists/adult/urls", "http://mixed.example/gallery/\n10.20.30.40\n[2001:db8::1]\n");
  put(dir.path + "/lists/ads.txt", "# comment\nads.example\nbad.example\nmixed.example/banner\ncom\na b c\n");
  DomainCounts n = build_domain_list({dir.path + "/lists"}, dir.path + "/d.bin");
  EXPECT_EQ(n.entries, 10);
  EXPECT_EQ(n.duplicates, 2);  // bad.example, and mixed.example with paths
  EXPECT_EQ(n.bad_lines, 2);
  DomainList list(dir.path + "/d.bin");
  EXPECT_EQ(category(list, "https://bad.example/x?y#z"), "ads");  // the first list by name
  EXPECT_EQ(category(list, "https://WWW.deep.Bad.example:8080"), "ads");
  EXPECT_EQ(category(list, "http://user:pw@www.worse.example/"), "adult");
  EXPECT_EQ(category(list, "http://hosts.example"), "adult");
  EXPECT_EQ(category(list, "http://xn--mnchen-3ya.example/"), "adult");
  EXPECT_EQ(category(list, "http://www.münchen.example/"), "adult");
  EXPECT_EQ(category(list, "http://mixed.example/gallery/1.html"), "adult");
  EXPECT_EQ(category(list, "http://www.mixed.example/banner"), "ads");
  for (const char* clean :
       {"http://mixed.example/", "http://mixed.example/galleryx", "http://notbad.example/", "http://example/",
        "http://bad.example.org/", "http://1.10.20.30.40/", "http://30.40/", "", "http://", "a/b.txt"})
    EXPECT_EQ(category(list, clean), "") << clean;
  EXPECT_EQ(category(list, "http://10.20.30.40/x"), "adult");
  EXPECT_EQ(category(list, "http://[2001:DB8::1]:80/"), "adult");
  std::string bytes = read_file(dir.path + "/d.bin");
  for (size_t cut : {size_t{0}, size_t{10}, size_t{64}, bytes.size() - 1}) {
    write_file(dir.path + "/cut.bin", bytes.substr(0, cut));
    EXPECT_THROW(DomainList(dir.path + "/cut.bin"), Error) << cut;
  }
  bytes[bytes.size() / 2] ^= 1;
  write_file(dir.path + "/cut.bin", bytes);
  EXPECT_THROW(DomainList(dir.path + "/cut.bin"), Error);
  put(dir.path + "/none.txt", "# nothing\n");
  EXPECT_THROW(build_domain_list({dir.path + "/none.txt"}, dir.path + "/n.bin"), Error);
}

TEST(DomainList, AgreesWithASetOnManyHosts) {
  test::TempDir dir;
  auto host = [](uint64_t i) { return cat("s", mix64(i) % 1000003, ".h", i % 977, ".example"); };
  std::set<std::string> in;
  std::string text;
  for (uint64_t i = 0; i < 30000; ++i) text += host(i * 2) + "\n", in.insert(host(i * 2));
  put(dir.path + "/l.txt", text);
  build_domain_list({dir.path + "/l.txt"}, dir.path + "/d.bin");
  DomainList list(dir.path + "/d.bin");
  EXPECT_EQ(list.entries(), static_cast<int64_t>(in.size()));
  for (uint64_t i = 0; i < 60000; ++i)
    EXPECT_EQ(list.find("http://" + host(i) + "/x") != nullptr, in.count(host(i)) > 0) << host(i);
}

// What the automaton must find, found the slow way.
int64_t naive_count(std::string_view text, const std::set<std::string>& words) {
  int64_t n = 0;
  for (const std::string& w : words)
    for (size_t at = text.find(w); at != std::string_view::npos; at = text.find(w, at + 1)) ++n;
  return n;
}

TEST(WordList, FindsWhatSearchingEachWordFinds) {
  Rng rng(3);
  std::set<std::string> words;
  std::string file;
  const char* chars[] = {"色", "情", "赌", "博", "毒", "品", "あ", "の"};  // no boundaries to mind
  for (int w = 0; w < 400; ++w) {
    std::string word;
    for (uint64_t k = 0, n = 1 + rng.below(5); k < n; ++k) word += chars[rng.below(8)];
    words.insert(word), file += word + "\n";
  }
  WordList list;
  list.add(file, "test");
  list.build();
  EXPECT_EQ(list.size(), words.size());
  for (int t = 0; t < 50; ++t) {
    std::string text;
    for (int k = 0; k < 200; ++k) text += chars[rng.below(8)];
    std::vector<WordHit> hits = list.find_all(text);
    EXPECT_EQ(static_cast<int64_t>(hits.size()), naive_count(text, words));
    for (const WordHit& h : hits) EXPECT_EQ(text.substr(h.begin, h.end - h.begin), list.word(h.word));
  }
}

TEST(WordList, BoundariesExceptionsWeightsAndContexts) {
  WordList list;
  list.add("# words\nass\nbig word\nErotik\n性\t0.5\n!性能\n!中性\npot\t2\twith=smoke|大麻\ncafé\n", "test");
  list.build();
  EXPECT_EQ(list.size(), 6u);
  auto weight = [&](std::string_view t) { return list.score(t).weight; };
  EXPECT_EQ(weight("The ass. ASS! class assess ass_x x-ass"), 3);
  EXPECT_EQ(weight("a big word, a big  word, bigword, big words"), 1);
  EXPECT_EQ(weight("看ass了"), 1) << "ideographs are boundaries";
  EXPECT_EQ(weight("性能和中性，性。性"), 1);
  EXPECT_EQ(weight("a pot of tea"), 0);
  EXPECT_EQ(weight("they smoke pot"), 2);
  EXPECT_EQ(weight("pot，大麻"), 2);
  EXPECT_EQ(weight("pot" + std::string(200, ' ') + "smoke"), 0);
  EXPECT_EQ(weight("un café noir, cafés"), 1);
  EXPECT_EQ(list.score("erotik ERoTiK").hits, 2);
  EXPECT_EQ(list.score("").hits, 0);
  for (const char* bad : {"a\tx\n", "a\t0\n", "a\t1\tnear=b\n", "\t1\n", "!\n", "a\t1\twith=b||c\n", "\xff\n"})
    EXPECT_THROW(WordList().add(bad, "test"), Error) << bad;
}

struct SafeStage : ::testing::Test {
  test::TempDir folder;
  std::string dir = folder.path;
  PipelineConfig config;
  void SetUp() override {
    config.input = {dir + "/in"};
    config.en = FilterRules{};
    config.languages = {"en"};
    std::string text =
        "The river that runs below the town has been the reason of its wealth for as long as people know";
    std::string lines;
    auto add = [&](const std::string& url, const std::string& title, const std::string& content) {
      lines +=
          Json(Json::Object{{"url", url}, {"title", title}, {"language", "en"}, {"content", content}}).dump() + "\n";
    };
    add("http://www.bad.example/1", "t", text + ".");
    add("http://good.example/1", "Write to me@one.example",
        text + ", wrote me@one.example and you@two.example; not [EMAIL_1].");
    add("http://good.example/2", "t", text + " with a blocked word: gamble.");
    add("http://good.example/3", "t", text + ", of 13812345678 and others, and that is the end of the tale.");
    put(dir + "/in/a.jsonl", lines);
    put(dir + "/words.txt", "gamble\n");
    put(dir + "/adult.txt", "bad.example\n");
    build_domain_list({dir + "/adult.txt"}, dir + "/d.bin");
  }
  std::map<std::string, std::string> texts(const std::string& out) {
    std::map<std::string, std::string> all;
    for_each_document(out, [&](Document&& d) { all[d.url] = d.title + "|" + d.content; });
    return all;
  }
};

TEST_F(SafeStage, DropsMasksAndRestores) {
  run_pipeline(config, dir + "/plain", 1);
  config.safe.domains = dir + "/d.bin";
  config.safe.words = {dir + "/words.txt"};
  config.safe.pii = {"email", "phone"};
  Funnel f = run_pipeline(config, dir + "/out", 2);
  Stage s = f.stage("safe");
  EXPECT_EQ(s.in.documents, 4);
  EXPECT_EQ(s.dropped["domain.adult"].documents, 1);
  EXPECT_EQ(s.dropped["max_words"].documents, 1);
  EXPECT_EQ(s.changed["pii_email"], 1);
  EXPECT_EQ(s.changed["pii_phone"], 1);
  EXPECT_EQ(s.kept.documents, 2);
  auto masked = texts(dir + "/out"), plain = texts(dir + "/plain");
  const std::string& one = masked["http://good.example/1"];
  ASSERT_FALSE(one.empty()) << masked.begin()->first;
  EXPECT_NE(one.find("Write to [EMAIL_2]|"), std::string::npos) << one;
  EXPECT_NE(one.find("wrote [EMAIL_2] and [EMAIL_3]; not [EMAIL_1]."), std::string::npos) << one;
  EXPECT_EQ(restore_corpus(dir + "/out", dir + "/out/pii-key.jsonl.zst", dir + "/back"), 2);
  for (auto& [url, text] : texts(dir + "/back")) EXPECT_EQ(text, plain[url]);
  EXPECT_NE(explain_document(dir + "/out", "http://good.example/2").find("dropped in safe by max_words"),
            std::string::npos);
  put(dir + "/words.txt", "nothing\n");  // another list under the same name: not taken for done
  EXPECT_EQ(run_pipeline(config, dir + "/out", 1).stage("safe").kept.documents, 3);
  config.safe.pii = {"emial"};
  EXPECT_THROW(run_pipeline(config, dir + "/out", 1), Error);
}

std::string mode_of(const std::string& path) {
  return static_cast<int>(std::filesystem::status(path).permissions()) == 0600 ? "private" : "open";
}

// Copies whose addresses differ are the same text once these are masked: the key holds those of the documents that
// stay, and neither workers nor shards nor an interruption after the first unit change a byte.
TEST_F(SafeStage, TheKeyHoldsTheDocumentsThatStay) {
  Rng rng(5);
  std::vector<std::string> words(300);
  for (std::string& t : words)
    for (int w = 0; w < 60; ++w) t += cat("w", rng.below(100000), " ");
  for (int i = 0; i < 600; ++i) {  // units of 256 files
    Json d =
        Json::Object{{"url", cat("u", i)},
                     {"language", "en"},
                     {"content", cat(words[static_cast<size_t>(i % 300)], i % 3 ? cat("to a", i, "@x.example") : "")}};
    put(cat(dir, "/many/", 1000 + i, ".jsonl"), d.dump() + "\n");
  }
  config.input = {dir + "/many"}, config.safe.pii = {"email"}, config.shard_bytes = 20000;
  auto output = [](const std::string& out) {
    std::map<std::string, std::string> files;
    for (const std::string& f : list_files(out))
      if (!f.ends_with("/run.json")) files[f.substr(out.size())] = read_file(f);
    return files;
  };
  Funnel f = run_pipeline(config, dir + "/1", 1);
  EXPECT_EQ(f.stage("exact_duplicates").dropped["same_text"].documents, 300);
  ASSERT_GE(corpus_shards(dir + "/1").size(), 3u);
  std::set<std::string> want, got;
  for_each_document(dir + "/1", [&](Document&& d) {
    if (d.content.find("[EMAIL_1]") != std::string::npos) want.insert(d.id);
  });
  EXPECT_EQ(want.size(), 200u);
  const std::string key = dir + "/1/pii-key.jsonl.zst";
  InputStream lines(key);
  for (std::string line; lines.read_line(line);) EXPECT_TRUE(got.insert(Json::parse(line).at("id").as_string()).second);
  EXPECT_EQ(got, want);
  EXPECT_EQ(mode_of(key), "private");
  const Json examples = Json::parse(read_file(dir + "/1/examples.json"));
  EXPECT_EQ(examples.at("exact_duplicates").at("same_text").as_array().size(), 3u);
  EXPECT_EQ(examples.dump().find("@x.example"), std::string::npos);
  run_pipeline(config, dir + "/7", 7);
  {
    puyu::Run run = open_run(config, dir + "/resumed");
    prepare_folder(run);
    ASSERT_EQ(run_tasks(stage_tasks(run, "read"), {0}, 1).tasks, 1);
    EXPECT_EQ(mode_of(run.unit_path(0, ".pii.zst")), "private");
  }
  run_pipeline(config, dir + "/resumed", 2);
  for (const char* other : {"/7", "/resumed"}) EXPECT_EQ(output(dir + "/1"), output(dir + other)) << other;
  config.safe.pii.clear();  // no masks: the old key goes
  run_pipeline(config, dir + "/1", 2);
  EXPECT_FALSE(file_exists(key));
}

TEST_F(SafeStage, StagesAreOnWhenConfiguredAndNamed) {
  for (const char* name : {"safe", "quality", "decontaminate"}) EXPECT_FALSE(has_stage(config, name)) << name;
  EXPECT_TRUE(has_stage(config, "filter"));
  config.safe.pii = {"email"};
  EXPECT_TRUE(has_stage(config, "safe"));
  config.stages = {"safe"};  // alone
  Funnel f = run_pipeline(config, dir + "/out", 1);
  ASSERT_EQ(f.stages.size(), 2u);
  EXPECT_EQ(f.stages[1].name, "safe");
  EXPECT_EQ(f.stages[1].kept.documents, 4);
  config.stages = {"filter"};  // personal data would stay in silently
  try {
    run_pipeline(config, dir + "/out", 1);
    FAIL() << "expected an error";
  } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find("stages: safe has"), std::string::npos) << e.what(); }
  config.stages = {"safe", "saef"};
  EXPECT_THROW(run_pipeline(config, dir + "/out", 1), Error);
}

}  // namespace
}  // namespace puyu
