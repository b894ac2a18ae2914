#include "train/loader.h"

#include <map>

#include "train/train_test_util.h"

namespace puyu {
namespace {
using namespace test;

class LoaderTest : public FolderTest {};

std::vector<int32_t> all_ids(const std::vector<MicroBatch>& micros) {
  std::vector<int32_t> out;
  for (const auto& m : micros) out.insert(out.end(), m.batch.ids.begin(), m.batch.ids.end());
  return out;
}

TEST_F(LoaderTest, EachTokenOfEachDocumentAppearsOnceAnEpochWithItsNextTokenAsTarget) {
  // Ids are unique over the whole shard, so every token and its target can be recognised.
  std::vector<std::vector<int32_t>> docs;
  std::map<int32_t, int32_t> next;
  int32_t id = 0;
  for (int64_t n : {1, 37, 5, 16, 17, 2, 33, 90}) {
    auto& d = docs.emplace_back();
    for (int64_t i = 0; i < n; ++i, ++id) d.push_back(id), next[id] = i + 1 < n ? id + 1 : -1;
  }
  write_shard(dir + "/s", docs);
  Loader l({{"s", dir + "/s", 1, -1}}, 5, 40);  // the document of 90 comes in three pieces
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::map<int32_t, int> seen;
    for (int64_t left = l.tokens(); left > 0; left -= std::min<int64_t>(left, 30))
      for (const MicroBatch& m : l.next(std::min<int64_t>(left, 30), 16, 20)) {
        EXPECT_LE(m.batch.tokens(), 20);
        EXPECT_LE(m.batch.max_len, 16);
        ASSERT_EQ(m.target.size(), m.batch.ids.size());
        int64_t counted = 0;
        for (size_t i = 0; i < m.target.size(); ++i) {
          ++seen[m.batch.ids[i]], counted += m.target[i] >= 0;
          EXPECT_EQ(m.target[i], next[m.batch.ids[i]]);
        }
        EXPECT_EQ(counted, m.counted);
        for (size_t s = 1; s < m.batch.cu.size(); ++s)  // a sequence never joins two documents
          for (int32_t i = m.batch.cu[s - 1]; i + 1 < m.batch.cu[s]; ++i) EXPECT_EQ(m.batch.ids[i + 1], m.target[i]);
      }
    EXPECT_EQ(static_cast<int64_t>(seen.size()), l.tokens());
    for (auto [token, count] : seen) EXPECT_EQ(count, 1) << token;
    EXPECT_EQ(l.state()[0].epoch, epoch + 1);
    EXPECT_DOUBLE_EQ(l.info()[0].epochs, epoch + 1.0);
  }
}

TEST_F(LoaderTest, OrderIsAFunctionOfSeedAndEpochsDiffer) {
  write_shard(dir + "/s", make_documents(50, 30, 3));
  const std::vector<DataSource> data{{"s", dir + "/s", 1, -1}};
  Loader a(data, 1, 64), b(data, 1, 64), c(data, 2, 64);
  const int64_t n = a.tokens();
  auto first = all_ids(a.next(n, 64, 64));
  EXPECT_EQ(first, all_ids(b.next(n, 64, 64)));
  EXPECT_NE(first, all_ids(c.next(n, 64, 64)));
  EXPECT_NE(first, all_ids(a.next(n, 64, 64)));
}

TEST_F(LoaderTest, RestoredStateGoesOnExactly) {
  write_shard(dir + "/a", make_documents(20, 50, 1));
  write_shard(dir + "/b", make_documents(9, 20, 2));
  const std::vector<DataSource> data{{"a", dir + "/a", 3, -1}, {"b", dir + "/b", 1, -1}};
  Loader straight(data, 1, 64);
  for (int step = 0; step < 20; ++step) {
    Loader resumed(data, 1, 64);
    resumed.restore(straight.state());
    EXPECT_EQ(all_ids(straight.next(100, 16, 32)), all_ids(resumed.next(100, 16, 32))) << step;
    EXPECT_EQ(straight.state(), resumed.state());
  }
  auto bad = straight.state();
  bad[1].index = 9;
  EXPECT_THROW(straight.restore(bad), Error);
}

TEST_F(LoaderTest, MicroTokensOnlyGroup) {
  write_shard(dir + "/s", make_documents(50, 30, 3));
  const std::vector<DataSource> data{{"s", dir + "/s", 1, -1}};
  Loader a(data, 1, 64), b(data, 1, 64);
  for (int step = 0; step < 5; ++step) EXPECT_EQ(all_ids(a.next(100, 16, 16)), all_ids(b.next(100, 16, 100)));
}

// Ranks that are put together again are the one rank's step, whatever their number; no rank has more rounds than it
// says.
TEST_F(LoaderTest, RanksShareTheSequencesOfOneRank) {
  write_shard(dir + "/s", make_documents(50, 30, 3));
  const std::vector<DataSource> data{{"s", dir + "/s", 1, -1}};
  for (int ranks : {1, 2, 3, 4, 7, 50})
    for (int64_t batch : {1, 20, 100, 333}) {
      Loader whole(data, 1, 64);
      for (int step = 0; step < 4; ++step) {
        const auto state = whole.state();
        const StepShare all = whole.next_share(batch, 16, 32, 0, 1);
        std::vector<int32_t> ids, target;
        int64_t counted = 0, rounds = 0, least = batch, most = 0;
        for (int r = 0; r < ranks; ++r) {
          Loader l(data, 1, 64);
          l.restore(state);
          const StepShare mine = l.next_share(batch, 16, 32, r, ranks);
          EXPECT_EQ(l.state(), whole.state());
          EXPECT_EQ(mine.counted, all.counted);
          EXPECT_LE(static_cast<int64_t>(mine.micros.size()), mine.rounds);
          rounds = std::max(rounds, static_cast<int64_t>(mine.micros.size()));
          int64_t tokens = 0;
          for (const MicroBatch& m : mine.micros) {
            EXPECT_LE(m.batch.tokens(), 32);
            ids.insert(ids.end(), m.batch.ids.begin(), m.batch.ids.end());
            target.insert(target.end(), m.target.begin(), m.target.end());
            counted += m.counted, tokens += m.batch.tokens();
          }
          least = std::min(least, tokens), most = std::max(most, tokens);
          if (r == ranks - 1) { EXPECT_EQ(mine.rounds, rounds); }
        }
        EXPECT_EQ(ids, all_ids(all.micros));
        std::vector<int32_t> want;
        for (const MicroBatch& m : all.micros) want.insert(want.end(), m.target.begin(), m.target.end());
        EXPECT_EQ(target, want);
        EXPECT_EQ(counted, all.counted);
        EXPECT_LE(most - least, 2 * 16);  // a sequence at either border
      }
    }
}

TEST_F(LoaderTest, MixtureFollowsTheWeightsToOneSequence) {
  write_shard(dir + "/a", make_documents(100, 50, 1));
  write_shard(dir + "/b", make_documents(5, 20, 2));
  Loader l({{"a", dir + "/a", 3, -1}, {"b", dir + "/b", 1, -1}}, 1, 64);
  auto check = [&](double share) {
    for (int i = 0; i < 40; ++i) l.next(100, 16, 32);
    EXPECT_NEAR(static_cast<double>(l.state()[0].taken), share * 4000, 16);
    EXPECT_EQ(l.state()[0].taken + l.state()[1].taken, 4000);
  };
  check(0.75);
  l.set_mixture({0, 1});
  check(0);
  l.set_mixture({1, 9});
  check(0.1);
}

TEST_F(LoaderTest, SourceNumberSelectsDocumentsAndFoldersAreWalked) {
  std::filesystem::create_directories(dir + "/data/zh");
  write_shard(dir + "/data/x", {{1, 1, 1}}, 7, 0);
  write_shard(dir + "/data/zh/y", {{2, 2}, {2, 2}}, 7, 4);
  write_file(dir + "/data/README", "not a shard");
  EXPECT_EQ(Loader({{"", dir + "/data", 1, -1}}, 1, 64).tokens(), 7);
  EXPECT_EQ(all_ids(Loader({{"", dir + "/data", 1, 4}}, 1, 64).next(4, 8, 8)), (std::vector<int32_t>{2, 2, 2, 2}));
  EXPECT_THROW(Loader({{"", dir + "/data", 1, 9}}, 1, 64), Error);
}

// InternEvo's files beside a shard: the sign is the mask of the target, never of the input.
TEST_F(LoaderTest, InternEvosFilesAndTheirMask) {
  std::filesystem::create_directories(dir + "/cn");
  write_file(dir + "/cn/a.bin", "{\"tokens\": [11, -12, 13, 14, -15]}\n");
  std::string meta("\x93NUMPY\x01\x00\x76\x00", 10),
      header = "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), }";
  header.resize(0x75, ' ');
  meta += header + "\n";
  for (int32_t v : {0, 5}) meta.append(reinterpret_cast<const char*>(&v), 4);
  write_file(dir + "/cn/a.bin.meta", meta);
  Loader l({{"cn", dir + "/cn", 1, -1}}, 1, 64);
  EXPECT_EQ(l.largest_id(), 15);
  EXPECT_EQ(l.tokenizer_fingerprint(), 0u);
  const auto m = l.next(5, 3, 8);  // cut after three
  ASSERT_EQ(m.size(), 1u);
  EXPECT_EQ(m[0].batch.ids, (std::vector<int32_t>{11, 12, 13, 14, 15}));
  EXPECT_EQ(m[0].target, (std::vector<int32_t>{-1, 13, 14, -1, -1}));
  EXPECT_EQ(m[0].counted, 2);
  write_shard(dir + "/cn/b", {{1, 2, 30}}, 7);
  Loader both({{"cn", dir + "/cn", 1, -1}}, 1, 64);
  EXPECT_EQ(both.tokens(), 8);
  EXPECT_EQ(both.largest_id(), 30);
  EXPECT_EQ(both.tokenizer_fingerprint(), 7u);
}

TEST_F(LoaderTest, ShardsOfTwoTokenizersAreAnError) {
  write_shard(dir + "/a", {{1, 2}}, 7);
  write_shard(dir + "/b", {{1, 2}}, 8);
  EXPECT_THROW(Loader({{"a", dir + "/a", 1, -1}, {"b", dir + "/b", 1, -1}}, 1, 64), Error);
}

}  // namespace
}  // namespace puyu
