// Bad blocks, which an open does not meet: an error of the reads that need them, and of nothing else.
#include "tests/storage/quarantine_fixture.h"

namespace chronolith {
namespace {

using BadBlockTest = QuarantineTest;

// A block that only a read meets: the store opens, and the shard takes writes and checkpoints.
TEST_F(BadBlockTest, ABadBlockFailsTheReadsThatNeedItAndNothingElse) {
  Fill(2000);
  const std::string path = FileOf("chunk.0");
  const std::string good = ReadFile(path);
  ASSERT_GT(good.size(), 100'000U) << "one block only";
  std::string bad = good;
  bad[bad.size() / 2] ^= 1;
  WriteFile(path, bad);
  for (int round = 0; round < 2; ++round) {
    SCOPED_TRACE("open " + std::to_string(round));
    store_.Open();
    for (const ShardStats& s : store_->Stats().shards) EXPECT_EQ(s.quarantine, "");
    auto all = store_->Select({}, {});
    ASSERT_TRUE(all.ok()) << all.status().ToString();
    while ((*all)->Next()) {
    }
    EXPECT_EQ((*all)->status().code(), StatusCode::kDataLoss) << (*all)->status().ToString();
    EXPECT_THAT((*all)->status().message(), testing::AllOf(HasSubstr("shard 0: "), HasSubstr("chunk.0")));
    for (int i = 0; i < kSeries; ++i) {
      if (shards_[i] == 0) continue;
      const Labels labels = Numbered(i);
      EXPECT_EQ(store_.Read({Matcher::Equal("i", std::to_string(i))}).at(labels.ToString()), contents_.at(labels.ToString()));
    }
    EXPECT_EQ(ReadPartly(), Without(0));
    EXPECT_TRUE(store_->Series({}).ok());

    // Its compaction fails, those of the others do not, and checkpoints go on, over enough files that RocksDB compacts by itself.
    for (int i = 0; i < 500 && (i < 16 || store_->Stats().data_engine.background_errors == 0); ++i) {
      Write(1);
      store_.Checkpoint();
    }
    EXPECT_GT(store_->Stats().data_engine.background_errors, 0U);
    const auto compacted = store_->Compact();
    EXPECT_EQ(compacted.status().code(), StatusCode::kDataLoss);
    EXPECT_THAT(compacted.status().message(), HasSubstr("shard 0: "));
    for (const ShardStats& s : store_->Stats().shards) EXPECT_EQ(s.applied_lsn, s.last_lsn) << "shard " << s.shard;
    EXPECT_FALSE(store_->Stats().data_engine.writes_stopped);
    Write(1);
    EXPECT_EQ(ReadPartly(), Without(0));
    store_.KillWithoutOpening();
  }
  WriteFile(path, good);
  store_.Open();
  EXPECT_EQ(store_.Read(), contents_);  // also what the shard took while a block of it was bad
  store_.Compact();
  EXPECT_EQ(store_.Read(), contents_);
}

TEST_F(BadBlockTest, ABadBlockOfAnIndexIsOfItsShardAlone) {
  constexpr std::size_t kMany = 4000;
  std::vector<TimeSeries> many;
  for (std::size_t i = 0; i < kMany; ++i) many.push_back(MakeSeries(Numbered(static_cast<int>(i)), {{kT, 1}}));
  store_.Open();
  ASSERT_TRUE(store_->Write(many).ok());
  store_.Checkpoint();
  const Contents all = store_.Read();
  std::map<std::string, std::uint32_t> shard_of;
  {
    auto appender = store_->NewAppender();
    for (const TimeSeries& one : many) {
      shard_of[one.labels.ToString()] = static_cast<std::uint32_t>(appender->Ref(one.labels).value().id >> 32) - 1;
    }
  }
  store_.Close();
  const std::string path = FileOf("index.0");
  const std::string good = ReadFile(path);
  const auto others =
      static_cast<std::size_t>(std::count_if(shard_of.begin(), shard_of.end(), [](const auto& one) { return one.second != 0; }));
  std::size_t refused = 0;
  std::size_t failed = 0;
  for (int tenth = 1; tenth < 9; ++tenth) {
    SCOPED_TRACE("tenth " + std::to_string(tenth));
    std::string bad = good;
    bad[bad.size() * static_cast<std::size_t>(tenth) / 10] ^= 1;
    WriteFile(path, bad);
    store_.Open();
    const auto series = store_->Series({});
    if (!series.ok()) {
      ++failed;
      EXPECT_EQ(series.status().code(), StatusCode::kDataLoss);
      EXPECT_THAT(series.status().message(), HasSubstr("shard 0"));
    }
    const auto partly = store_->Series({}, {.skip_damaged = true});
    ASSERT_TRUE(partly.ok()) << partly.status().ToString();
    EXPECT_EQ(partly->partial, !series.ok());
    EXPECT_GE(partly->values.size(), others);
    for (const Refusal& r : store_->Write(many).refused) {
      ++refused;
      EXPECT_EQ(r.reason.code(), StatusCode::kDataLoss);
      EXPECT_EQ(shard_of.at(many[r.series].labels.ToString()), 0U);
    }
    store_.Checkpoint();
    store_.Close();
  }
  std::printf("of 8 bad places %zu failed Series, and writes were refused %zu times\n", failed, refused);
  EXPECT_GT(failed, 0U);
  EXPECT_GT(refused, 0U);
  WriteFile(path, good);
  store_.Open();
  EXPECT_EQ(store_.Read(), all);
}

}  // namespace
}  // namespace chronolith
