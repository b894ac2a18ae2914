// The whole way from files to a corpus and token shards, on files made here.
#include "data/pipeline.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "data/compress.h"
#include "data/pipeline_run.h"

namespace puyu {
namespace {
namespace fs = std::filesystem;

std::string gzip(const std::string& text) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data())), z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data()), z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string story(uint64_t seed) {
  const char* stops[] = {"the", "of", "and", "to", "that"};
  Rng rng(seed);
  std::string out;
  for (int w = 0; w < 150; ++w) {
    bool stop = rng.below(4) == 0;
    if (stop) out += stops[rng.below(5)];
    for (int k = 0; k < 3 && !stop; ++k) out += "bdfgklmnprst"[rng.below(12)], out += "aeiou"[rng.below(5)];
    out += w % 12 == 11 ? ".\n" : " ";
  }
  return out + "That is the end of it.\n";
}

struct PipelineTest : ::testing::Test {
  test::TempDir folder;
  std::string dir = folder.path;
  PipelineConfig config;
  void SetUp() override { config.input = {dir + "/in"}; }
  void put(const std::string& name, const std::string& bytes) {
    make_directories(fs::path(dir + "/in/" + name).parent_path().string());
    std::ofstream(dir + "/in/" + name, std::ios::binary) << bytes;
  }
  void put_corpus() {
    for (int i = 0; i < 300; ++i) put(cat("books/", i, ".txt"), story(i) + std::string(i % 7 * 500, ' '));
    for (int i = 0; i < 300; i += 10)
      put(cat("copies/", i, ".txt"), story(i) + (i % 20 ? "the end and a bit more." : ""));
    std::string lines = "not json\n{\"id\": 3}\n";
    for (int i = 0; i < 50; ++i)
      lines += "{\"text\": \"你好，这是第" + std::to_string(i) + "篇中文的文章，内容是测试的文字" +
               std::to_string(i * 7919) + "。\"}\n";
    put("web/a.jsonl.gz", gzip(lines));
    put("code/a.py",
        "def f(x):\n    return x + 1\n\n\ndef g(x):\n    return f(x) * 2\n\n\nclass A:\n    pass\n\nprint(g(3), f(4), "
        "A)\n");
  }
  std::map<std::string, std::string> output(const std::string& out) {
    std::map<std::string, std::string> files;
    for (const std::string& f : list_files(out))
      if (!f.ends_with("run.json")) files[f.substr(out.size())] = read_file(f);
    return files;
  }
};

std::string json_text(const std::string& text) {
  std::string quoted = Json(text).dump();
  return quoted.substr(1, quoted.size() - 2);
}

// Completion markers of all stages.
size_t markers(const std::string& out) {
  size_t n = 0;
  for (const char* folder : {"/work", "/work/merge"}) {
    std::error_code gone;
    for (fs::directory_iterator it(out + folder, gone), end; !gone && it != end; it.increment(gone))
      n += it->path().extension() == ".json" || it->path().filename().string().starts_with("pairs-");
  }
  return n;
}

void expect_adds_up(const Funnel& f) {
  ASSERT_EQ(f.stages.size(), 6u);
  for (size_t i = 0; i < f.stages.size(); ++i) {
    const Stage& s = f.stages[i];
    int64_t out = s.kept.documents;
    for (const auto& [rule, a] : s.dropped) out += a.documents;
    EXPECT_EQ(s.in.documents, out) << s.name;
    EXPECT_EQ(s.in.documents, i ? f.stages[i - 1].kept.documents : s.in.documents) << s.name;
  }
  int64_t left = 0;
  for (const auto& [group, a] : f.languages) left += a.documents;
  EXPECT_EQ(left, f.stages.back().kept.documents);
}

TEST_F(PipelineTest, BytesDoNotDependOnWorkersOrOrderAndTheLedgerAddsUp) {
  put_corpus();
  config.input.clear();
  for (std::string name : {"books", "copies", "web", "code"})
    config.source.push_back({name, dir + "/in/" + name, name == "books" || name == "copies" ? "en" : ""});
  Funnel one = run_pipeline(config, dir + "/one", 1);
  expect_adds_up(one);
  std::reverse(config.source.begin(), config.source.end());
  for (int workers : {2, 7}) {
    std::string out = cat(dir, "/", workers);
    EXPECT_EQ(one, run_pipeline(config, out, workers));
    EXPECT_EQ(output(dir + "/one"), output(out)) << workers;
  }
  // In sixteen shards or more: the same documents in the same order.
  auto text = [](const std::string& corpus) {
    std::string all;
    for_each_document(corpus, [&](Document&& d) { all += to_json_line(d); });
    return all;
  };
  config.shard_bytes = static_cast<int64_t>(text(dir + "/one").size() / 17);
  run_pipeline(config, dir + "/sharded", 2);
  EXPECT_GE(corpus_shards(dir + "/sharded").size(), 16u);
  EXPECT_EQ(text(dir + "/one"), text(dir + "/sharded"));
  EXPECT_EQ(one.stages[0].dropped["bad_json"].documents, 1);
  EXPECT_EQ(one.stages[0].dropped["no_text_field"].documents, 1);
  EXPECT_EQ(one.stages[4].dropped["same_text"].documents, 15);
  EXPECT_EQ(one.stages[5].dropped["similar_text"].documents, 15);
  EXPECT_EQ(one.languages["zh"].documents, 50);
  EXPECT_EQ(one.languages["code"].documents, 1);
  InputStream ledger(dir + "/one/ledger.jsonl.zst");
  int64_t drops = 0, want = one.stages[0].in.documents - one.stages.back().kept.documents;
  for (std::string line; ledger.read_line(line);) drops += Json::parse(line).at("action").as_string() == "drop";
  EXPECT_EQ(drops, want);
}

TEST_F(PipelineTest, FinishedRunsAndUnitsAreReused) {
  put_corpus();
  Funnel first = run_pipeline(config, dir + "/out", 2);
  auto time = fs::last_write_time(dir + "/out/docs-00000.jsonl.zst");
  EXPECT_EQ(run_pipeline(config, dir + "/out", 2), first);
  EXPECT_EQ(fs::last_write_time(dir + "/out/docs-00000.jsonl.zst"), time);
  config.en.min_words = 1000;  // other rules: made anew
  EXPECT_EQ(run_pipeline(config, dir + "/out", 2).languages["en"].documents, 0);
}

// Killed with SIGKILL again and again, the run ends with the bytes of a straight one, and what was done stays done.
TEST_F(PipelineTest, KilledRunsGoOnToTheSameBytes) {
  put_corpus();
  for (int i = 0; i < 40; ++i) {  // units of their own
    std::string lines;
    for (int k = 0; k < 40; ++k) lines += "{\"text\": \"" + json_text(story(1000 + i * 40 + k % 20)) + "\"}\n";
    put(cat("big/", i, ".jsonl"), lines + std::string(600000, ' ') + "\n");
  }
  config.shard_bytes = 100000;
  run_pipeline(config, dir + "/whole", 2);
  const std::string out = dir + "/killed";
  size_t done_before = 0;
  int kills = 0;
  for (int round = 0; round < 60 && !file_exists(out + "/run.json"); ++round) {
    pid_t pid = fork();
    if (pid == 0) {
      setpgid(0, 0);  // with its workers
      try {
        run_pipeline(config, out, 2);
      } catch (const std::exception&) { _exit(1); }
      _exit(0);
    }
    setpgid(pid, pid);
    // Killed when a few more markers are there than before.
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
      if (markers(out) >= done_before + 5) {
        kill(-pid, SIGKILL);
        waitpid(pid, &status, 0);
        ++kills;
        break;
      }
      usleep(500);
    }
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    if (file_exists(out + "/run.json")) break;
    size_t done = markers(out);
    EXPECT_GE(done, done_before);
    done_before = done;
  }
  EXPECT_GE(kills, 3);
  // The reading of what was killed is not done again.
  run_pipeline(config, out, 2);
  EXPECT_EQ(output(dir + "/whole"), output(out));
}

TEST_F(PipelineTest, DoneTasksAreNotRunAgain) {
  put_corpus();
  puyu::Run run = open_run(config, dir + "/out");
  prepare_folder(run);
  TaskStage read = stage_tasks(run, "read");
  ASSERT_GE(read.count, 2);
  EXPECT_EQ(run_tasks(read, {1}, 1).tasks, 1);
  EXPECT_EQ(run_stage(read, 3).tasks, read.count - 1);
  EXPECT_EQ(run_stage(read, 3).tasks, 0);
  // A damaged piece of work is found by its checksum.
  std::string path = run.unit_path(0, ".keys"), bytes = read_file(path);
  bytes[bytes.size() / 2] ^= 1;
  write_file(path, bytes);
  try {
    run_stage(stage_tasks(run, "gather"), 1);
    FAIL() << "expected an error";
  } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find(path), std::string::npos) << e.what(); }
}

// Duplicate search alone on corpora of ours: ids stay, and sharding of the input changes nothing.
TEST_F(PipelineTest, DedupAloneKeepsIdsAndDoesNotSeeShards) {
  put_corpus();
  config.stages = {"normalise", "language", "filter"};
  for (int64_t bytes : {int64_t{1} << 30, int64_t{20000}}) {
    config.shard_bytes = bytes;
    run_pipeline(config, dir + (bytes == 20000 ? "/many" : "/one"), 2);
  }
  ASSERT_EQ(corpus_shards(dir + "/one").size(), 1u);
  ASSERT_GE(corpus_shards(dir + "/many").size(), 16u);
  std::set<std::string> ids;
  for_each_document(dir + "/one", [&](Document&& d) { ids.insert(d.id); });
  PipelineConfig alone;
  alone.stages = {"exact_duplicates", "near_duplicates"};
  alone.reader.keep_ids = true;
  for (std::string from : {"one", "many"}) {
    alone.input = corpus_shards(dir + "/" + from);
    for (int workers : {1, 2, 7}) run_pipeline(alone, cat(dir, "/", from, workers), workers);
  }
  auto want = output(dir + "/one1");
  ASSERT_EQ(want.size(), 5u);
  for (std::string other : {"/one2", "/one7", "/many1", "/many2", "/many7"}) {
    auto got = output(dir + other);
    for (const char* file : {"/docs-00000.jsonl.zst", "/clusters.jsonl.zst", "/examples.json", "/funnel.json"})
      EXPECT_EQ(want[file], got[file]) << other << file;
  }
  int64_t kept = 0;
  for_each_document(dir + "/one1", [&](Document&& d) { kept += static_cast<int64_t>(ids.count(d.id)); });
  // The clusters say who went for whom.
  InputStream clusters(dir + "/one1/clusters.jsonl.zst");
  int64_t dropped = 0;
  for (std::string line; clusters.read_line(line);) {
    Json cluster = Json::parse(line);
    for (const Json& m : cluster.at("dropped").as_array()) {
      ++dropped;
      EXPECT_GE(m.at("similarity").as_double(), 0.7);
    }
  }
  EXPECT_GT(dropped, 20);
  EXPECT_EQ(dropped + kept, static_cast<int64_t>(ids.size()));
}

TEST(Executor, ADeadWorkerIsNamed) {
  TaskStage stage{"doomed",
                  6,
                  [](int64_t) { return false; },
                  [](int64_t i) {
                    if (i == 4) raise(SIGKILL);
                  },
                  [](int64_t) { return 1; },
                  [](int64_t i) { return cat("file ", i); }};
  try {
    run_stage(stage, 2);
    FAIL() << "expected an error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("signal 9 (Killed) at task 4: file 4"), std::string::npos) << e.what();
  }
  stage.run = [](int64_t i) {
    if (i == 3) throw Error("[test] task three is broken");
  };
  for (int workers : {1, 3}) EXPECT_THROW(run_stage(stage, workers), Error);
}

TEST_F(PipelineTest, DamageHasAReason) {
  std::string good = story(1);
  std::string zipped = gzip(story(2) + story(3)), flipped = zipped;
  put("a/truncated.txt.gz", zipped.substr(0, zipped.size() / 2));
  flipped[flipped.size() / 2] ^= 0x55;
  put("a/damaged.txt.gz", flipped);
  {
    ZstdFile z(dir + "/in/a/t.jsonl.zst");
    z.write("{\"text\": \"" + std::string(9999, 'x') + "\"}\n");
    z.commit();
  }
  std::string zst = read_file(dir + "/in/a/t.jsonl.zst");
  put("a/t.jsonl.zst", zst.substr(0, zst.size() - 3));
  put("a/binary.txt", std::string("\0\1\2\3", 4));
  put("a/empty.txt", "");
  put("a/invalid.txt", good + "\xff\xfe tail.\n");
  put("a/deep.html", [] {
    std::string s;
    for (int i = 0; i < 9999; ++i) s += "<div>";
    return s;
  }());
  put("a/alias.1", ".so man1/x.1\n");
  Funnel f = run_pipeline(config, dir + "/out", 2);
  expect_adds_up(f);
  auto& d = f.stages[0].dropped;
  for (const char* reason : {"truncated_gzip", "truncated_zstd", "binary", "empty", "too_deep", "alias"})
    EXPECT_EQ(d[reason].documents, 1) << reason;
  EXPECT_EQ(d["damaged_gzip"].documents + d["truncated_gzip"].documents, 2);
  EXPECT_EQ(f.stages[1].changed["invalid_utf8"], 1);
  EXPECT_EQ(f.languages["en"].documents, 1);
  EXPECT_NE(explain_document(dir + "/out", "binary.txt").find("dropped in read by binary"), std::string::npos);
  EXPECT_NE(explain_document(dir + "/out", "a/invalid.txt").find("kept, en"), std::string::npos);
  EXPECT_EQ(explain_document(dir + "/out", "nothing"), "");
}

TEST_F(PipelineTest, BadInputIsAnError) {
  EXPECT_THROW(run_pipeline(config, dir + "/out", 1), Error);
  make_directories(dir + "/in");
  EXPECT_THROW(run_pipeline(config, dir + "/out", 1), Error);
  put("x/a.txt", story(1));
  config.input = {dir + "/in/x", dir + "/in"};  // the same source and path twice
  EXPECT_THROW(run_pipeline(config, dir + "/out", 1), Error);
  EXPECT_THROW(corpus_shards(dir + "/in"), Error);
}

TEST(Document, JsonRoundTripAndDates) {
  Document d;
  d.id = document_id("s", "p", 1), d.content = "a\n\"中文\"\t\x01", d.title = "t", d.language = "zh",
  d.date = "2022-09";
  d.source = "s", d.url = "p#1", d.scores["language"] = 0.5;
  std::string reason, line = to_json_line(d);
  auto back = parse_document(line, reason);
  ASSERT_TRUE(back) << reason;
  EXPECT_EQ(to_json_line(*back), line);
  EXPECT_EQ(back->content, d.content);
  EXPECT_EQ(iso_date("September 2022"), "2022-09");
  EXPECT_EQ(iso_date("2022年9月1日"), "2022-09-01");
  EXPECT_EQ(iso_date("1 January 1999"), "1999-01-01");
  EXPECT_EQ(iso_date("2023-04-05T06:07:08Z"), "2023-04-05");
  EXPECT_EQ(iso_date("unknown"), "");
}

TEST(Document, Languages) {
  EXPECT_EQ(code_language("a/b.d/x.py"), "python");
  EXPECT_EQ(code_language("vector", "// <vector> -*- C++ -*-\n"), "cpp");
  EXPECT_EQ(code_language("run", "#!/usr/bin/env python3\n"), "python");
  EXPECT_EQ(code_language("README"), "");
  EXPECT_EQ(language_group("python") + language_group("zh") + language_group("fr"), "codezhother");
}

}  // namespace
}  // namespace puyu
