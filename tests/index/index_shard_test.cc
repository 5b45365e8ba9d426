#include "index/index_shard.h"

#include <atomic>
#include <thread>

#include "format/index_rows.h"
#include "index_fixture.h"

namespace chronolith {
namespace {

using IndexShardTest = IndexFixture;

Labels Numbered(int i) {
  return Labels{{"__name__", "m" + std::to_string(i % 10)}, {"id", std::to_string(i)}, {"job", i % 2 == 0 ? "even" : "odd"}};
}

TEST_F(IndexShardTest, AnEmptyIndexAnswersEverythingWithNothing) {
  EXPECT_EQ(Find(KeyOf(Numbered(1))), std::nullopt);
  EXPECT_TRUE(Select({}).empty());
  EXPECT_TRUE(Select({Matcher::NotEqual("a", "b")}).empty());
  EXPECT_TRUE(Names().empty());
  EXPECT_TRUE(Values("a").empty());
  EXPECT_EQ(LabelsOf(0), Labels());
  EXPECT_TRUE(index_->Remove(5, 1).ok());
  EXPECT_EQ(index_->OldestUnwritten(), std::nullopt);
  Checkpoint();
}

TEST_F(IndexShardTest, FindsSeriesInMemoryAndInRows) {
  for (int i = 0; i < 100; ++i) Add(Numbered(i));
  EXPECT_EQ(index_->OldestUnwritten(), std::optional<Lsn>(1));
  for (const bool restarted : {false, true}) {
    for (int i = 0; i < 100; ++i) EXPECT_EQ(Find(KeyOf(Numbered(i))), std::optional<Ordinal>(i)) << restarted;
    EXPECT_EQ(Find(KeyOf(Numbered(100))), std::nullopt);
    EXPECT_EQ(Select({Matcher::Equal("job", "even"), Matcher::Equal("__name__", "m4")}).size(), 10u);
    EXPECT_EQ(Values("job"), (std::vector<std::string>{"even", "odd"}));
    EXPECT_EQ(Names(), (std::vector<std::string>{"__name__", "id", "job"}));
    if (restarted) break;
    Checkpoint();
    EXPECT_EQ(index_->OldestUnwritten(), std::nullopt);
    Close();
    Open();
    EXPECT_EQ(state_.next_ordinal, 100u);
    EXPECT_EQ(state_.applied_lsn, 100u);
    EXPECT_EQ(index_->resident_series(), 0u);
  }
  EXPECT_EQ(index_->resident_series(), 100u);
}

// A hash collision must not merge two label sets: in memory, in rows, in one checkpoint or in two, also after one of them is gone.
TEST_F(IndexShardTest, EqualHashesWithOtherLabelsStayTwoSeries) {
  const Labels a{{"a", "1"}};
  const Labels b{{"a", "2"}};
  const Labels c{{"a", "3"}};
  const auto key = [](const Labels& labels) { return SeriesKey{42, labels.encoded()}; };
  ASSERT_TRUE(index_->Insert(0, key(a), 1));
  EXPECT_EQ(Find(key(b)), std::nullopt);
  ASSERT_TRUE(index_->Insert(1, key(b), 2));
  next_ordinal_ = 2;
  Checkpoint();
  EXPECT_EQ(Find(key(c)), std::nullopt);
  ASSERT_TRUE(index_->Insert(2, key(c), 3));
  next_ordinal_ = 3;
  Checkpoint();
  Close();
  Open();
  EXPECT_EQ(Find(key(b)), std::optional<Ordinal>(1));
  EXPECT_EQ(Find(key(a)), std::optional<Ordinal>(0));
  EXPECT_EQ(Find({42, Labels{{"a", "4"}}.encoded()}), std::nullopt);
  ASSERT_TRUE(index_->Remove(1, 4).ok());
  EXPECT_EQ(Find(key(b)), std::nullopt);
  Checkpoint();
  Close();
  Open();
  EXPECT_EQ(Find(key(b)), std::nullopt);
  EXPECT_EQ(Find(key(c)), std::optional<Ordinal>(2));
  EXPECT_EQ(Find(key(a)), std::optional<Ordinal>(0));
  EXPECT_EQ(Select({Matcher::Equal("a", "2")}), std::vector<Ordinal>{});
  EXPECT_EQ(Select({}), (std::vector<Ordinal>{0, 2}));
}

TEST_F(IndexShardTest, InsertIsIdempotentAndSeesADamagedLog) {
  const Labels a{{"a", "1"}};
  const Labels b{{"a", "2"}};
  EXPECT_TRUE(index_->Insert(0, KeyOf(a), 1));
  EXPECT_TRUE(index_->Insert(0, KeyOf(a), 1));
  EXPECT_FALSE(index_->Insert(0, KeyOf(b), 2));
  EXPECT_FALSE(index_->Insert(1, {1, "\x05malformed"}, 3));
  EXPECT_FALSE(index_->Insert(0xffffffff, KeyOf(b), 4));  // the last ordinal is not one
  EXPECT_EQ(Select({}), std::vector<Ordinal>{0});
  EXPECT_EQ(LabelsOf(0), a);
}

TEST_F(IndexShardTest, ToldRoomIsThereThoughLookUpsTakeSome) {
  for (int i = 0; i < 2000; ++i) Add(Numbered(i));
  Checkpoint();
  Close();
  Open();
  const std::uint64_t known = next_ordinal_;
  // Room for Insert's share and for little more.
  index_ = std::make_unique<IndexShard>(engine_.get(),
                                        IndexShardOptions{.cache = &cache_, .label_bytes_max = IndexShard::kInsertBytesMax + 2000});
  ASSERT_TRUE(index_->Load().ok());
  const auto first = static_cast<Ordinal>(known);
  EXPECT_TRUE(index_->HasRoom(first, 10, IndexShard::kInsertBytesMax));
  Status status;
  for (int i = 0; i < 2000 && status.ok(); i += 7) {
    const Labels labels = Numbered(i);
    const SeriesKey key = KeyOf(labels);
    std::vector<std::optional<Ordinal>> found;
    status = index_->FindStored({&key, 1}, &found);
    EXPECT_EQ(status.ok(), found[0].has_value()) << "not found would make another series of it";
  }
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
  ASSERT_TRUE(index_->HasRoom(first, 1, 100'000));
  const Labels big{{"big", std::string(99'000, 'x')}};
  EXPECT_TRUE(index_->Insert(first, KeyOf(big), 1));
  EXPECT_FALSE(index_->HasRoom(first, 1, 10)) << "the ordinal is taken";
  EXPECT_FALSE(index_->HasRoom(first + 1, 1, IndexShard::kInsertBytesMax));
  const Labels bigger{{"big", std::string(300'000, 'y')}};
  EXPECT_FALSE(index_->Insert(first + 1, KeyOf(bigger), 2));
  EXPECT_FALSE(index_->HasRoom(0xfffffffe, 2, 10)) << "the last ordinal is not one";
  EXPECT_TRUE(index_->HasRoom(0xfffffffe, 1, 10));
}

// A series is removed for good while a look-up of it and another one reads: hash, hash, labels, labels.
TEST_F(IndexShardTest, ALookUpNeverBringsARemovedSeriesBack) {
  for (int at = 1; at <= 4; ++at) {
    SCOPED_TRACE(at);
    const Labels gone{{"gone", std::to_string(at)}};
    const Labels stays{{"stays", std::to_string(at)}};
    const Ordinal ordinal = Add(gone);
    const Ordinal other = Add(stays);
    Checkpoint();
    Close();
    Open();
    int reads = 0;
    during_read_ = [&] {
      if (++reads != at) return;
      during_read_ = nullptr;
      EXPECT_TRUE(index_->Remove(ordinal, ++lsn_).ok());
      Checkpoint();
    };
    const SeriesKey keys[] = {KeyOf(gone), KeyOf(stays)};
    std::vector<std::optional<Ordinal>> found;
    ASSERT_TRUE(index_->FindStored(keys, &found).ok());
    ASSERT_EQ(reads, at);
    EXPECT_EQ(found, (std::vector<std::optional<Ordinal>>{std::nullopt, other}));
    EXPECT_EQ(index_->FindResident(keys[0]), std::nullopt);
    EXPECT_EQ(Find(keys[0]), std::nullopt);
    index_->Evict({&ordinal, 1});
    EXPECT_EQ(Find(keys[0]), std::nullopt);
    EXPECT_TRUE(Select({Matcher::Equal("gone", std::to_string(at))}).empty());
  }
}

TEST_F(IndexShardTest, ARemovedSeriesIsGoneAtOnceAndItsLabelsStay) {
  const Labels a{{"a", "1"}};
  Add(a);
  Add(Numbered(1));
  for (int round = 0; round < 4; ++round) {
    if (round == 1) Checkpoint();
    if (round == 2) {
      ASSERT_TRUE(index_->Remove(0, ++lsn_).ok());
    }
    if (round == 3) {
      Checkpoint();
      Close();
      Open();
    }
    const bool there = round < 2;
    EXPECT_EQ(Find(KeyOf(a)), there ? std::optional<Ordinal>(0) : std::nullopt) << round;
    EXPECT_EQ(Select({Matcher::Equal("a", "1")}).size(), there ? 1u : 0u);
    EXPECT_EQ(Select({Matcher::NotEqual("a", "2")}).size(), there ? 2u : 1u);
    EXPECT_EQ(Values("a").size(), there ? 1u : 0u);
    EXPECT_EQ(LabelsOf(0), there ? a : Labels());
    EXPECT_EQ(LabelsOf(0, true), a);
  }
  // The labels may come back under a new ordinal.
  EXPECT_EQ(Add(a), 2u);
  EXPECT_EQ(Find(KeyOf(a)), std::optional<Ordinal>(2));
  Checkpoint();
  Close();
  Open();
  EXPECT_EQ(Find(KeyOf(a)), std::optional<Ordinal>(2));
  EXPECT_EQ(LabelsOf(0, true), a);
}

TEST_F(IndexShardTest, ASeriesThatCameAndWentBetweenCheckpointsIsOnlyALabelsRow) {
  const Labels a{{"a", "1"}};
  Add(a);
  ASSERT_TRUE(index_->Remove(0, ++lsn_).ok());
  Checkpoint();
  Close();
  Open();
  EXPECT_EQ(Find(KeyOf(a)), std::nullopt);
  EXPECT_TRUE(Select({}).empty());
  EXPECT_TRUE(Names().empty());
  EXPECT_EQ(LabelsOf(0, true), a);
}

TEST_F(IndexShardTest, PurgesTheLabelsOfWhatIsGoneAndHasLeftTheLog) {
  for (int i = 0; i < 5; ++i) Add(Numbered(i));
  for (const Ordinal o : {0U, 3U}) index_->SetMetadata(o, {MetricType::kCounter, "s", "h"}, ++lsn_);
  for (const Ordinal o : {0U, 1U, 2U}) ASSERT_TRUE(index_->Remove(o, ++lsn_).ok());
  const Lsn last = lsn_;
  OrdinalSet gone;
  for (const Ordinal o : {0U, 1U, 2U, 3U}) gone.Add(o);
  OrdinalSet left;
  ASSERT_TRUE(index_->PurgeRemoved(gone, last, &left).ok());
  EXPECT_EQ(left.ToVector(), (std::vector<Ordinal>{0, 1, 2}));
  EXPECT_EQ(LabelsOf(0, true), Numbered(0)) << "its removal is not stored yet";
  Checkpoint();
  gone.Remove(1);
  left = {};
  ASSERT_TRUE(index_->PurgeRemoved(gone, last - 1, &left).ok());
  EXPECT_EQ(left.ToVector(), (std::vector<Ordinal>{2, 3}));
  EXPECT_TRUE(LabelsOf(0, true).empty());
  EXPECT_FALSE(index_->MetadataOf(0).value().has_value());
  EXPECT_EQ(LabelsOf(1, true), Numbered(1)) << "nobody asked for it";
  EXPECT_EQ(LabelsOf(2, true), Numbered(2)) << "its removal is still in the log";
  ASSERT_TRUE(engine_->Flush(FamilyId{0}).ok());
  Close();
  Open();
  EXPECT_TRUE(LabelsOf(0, true).empty());
  EXPECT_EQ(LabelsOf(3), Numbered(3)) << "it lives";
  EXPECT_TRUE(index_->MetadataOf(3).value().has_value());
  EXPECT_EQ(Find(KeyOf(Numbered(0))), std::nullopt);
  EXPECT_EQ(Select({}), (std::vector<Ordinal>{3, 4}));
}

// A checkpoint of several batches, of which an engine has made some durable by itself when the process dies.
TEST_F(IndexShardTest, ARemovalIsWholeHoweverMuchOfItsCheckpointACrashHasLeft) {
  constexpr int kSeries = 12'000;
  for (std::uint64_t batches = 0;; ++batches) {
    SCOPED_TRACE("batches left: " + std::to_string(batches));
    Close();
    factory_ = MakeAdversarialMemoryEngineFactory({});
    Open();
    next_ordinal_ = lsn_ = 0;
    for (int i = 0; i < kSeries; ++i) Add(Numbered(i));
    Checkpoint();
    const auto remove = [&](Lsn lsn) {
      for (Ordinal o = 1; o < kSeries; ++o) ASSERT_TRUE(index_->Remove(o, lsn).ok());
    };
    remove(lsn_ + 1);
    factory_->FailCall(EngineMethod::kWrite, batches + 1, IoError("the process dies here"));
    IndexState state = state_;
    state.applied_lsn = lsn_ + 1;
    const bool complete = index_->Checkpoint(state).ok();
    ASSERT_TRUE(engine_->Flush(FamilyId{0}).ok());
    if (complete) break;
    Close();
    Open();
    ASSERT_EQ(state_.applied_lsn, lsn_) << "the state row is the last";
    remove(++lsn_);
    Checkpoint();
    for (int again = 0; again < 2; ++again) {
      EXPECT_EQ(Select({}), std::vector<Ordinal>{0});
      EXPECT_EQ(Select({Matcher::Regex("job", ".+")}).size(), 1U);
      EXPECT_EQ(Find(KeyOf(Numbered(1))), std::nullopt);
      EXPECT_EQ(Values("id"), std::vector<std::string>{"0"});
      Close();
      Open();
    }
    if (HasFailure()) return;
    ASSERT_LT(batches, 100U);
  }
}

TEST_F(IndexShardTest, EvictsOnlyWhatTheRowsHold) {
  for (int i = 0; i < 10; ++i) Add(Numbered(i));
  const std::vector<Ordinal> all{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  index_->Evict(all);
  EXPECT_EQ(index_->resident_series(), 10u);
  Checkpoint();
  Add(Numbered(10));
  index_->Evict(all);
  EXPECT_EQ(index_->resident_series(), 1u);
  EXPECT_EQ(index_->FindResident(KeyOf(Numbered(3))), std::nullopt);
  EXPECT_EQ(Find(KeyOf(Numbered(3))), std::optional<Ordinal>(3));
  EXPECT_EQ(index_->resident_series(), 2u);
  EXPECT_EQ(LabelsOf(4), Numbered(4));
  EXPECT_EQ(Select({Matcher::Equal("job", "even")}).size(), 6u);
  ASSERT_TRUE(index_->Remove(5, ++lsn_).ok());
  EXPECT_EQ(Find(KeyOf(Numbered(5))), std::nullopt);
  EXPECT_EQ(LabelsOf(5, true), Numbered(5));
}

TEST_F(IndexShardTest, EvictionGivesItsMemoryBack) {
  std::vector<Ordinal> all;
  for (int i = 0; i < 20000; ++i) all.push_back(Add(Numbered(i)));
  Checkpoint();
  const std::uint64_t before = index_->memory_bytes();
  index_->Evict(all);
  EXPECT_LT(index_->memory_bytes(), before / 20);
  EXPECT_EQ(Find(KeyOf(Numbered(77))), std::optional<Ordinal>(77));
}

TEST_F(IndexShardTest, EvictionGivesItsMemoryBackWhileSeriesAreAdded) {
  std::vector<Ordinal> all;
  for (int i = 0; i < 20000; ++i) all.push_back(Add(Numbered(i)));
  Checkpoint();
  const std::uint64_t before = index_->memory_bytes();
  for (int i = 20000; i < 20200; ++i) all.push_back(Add(Numbered(i)));  // their postings are by numbers that change
  index_->Evict(all);
  EXPECT_EQ(index_->resident_series(), 200u);
  EXPECT_LT(index_->memory_bytes(), before / 10);
  Add(Numbered(20200));
  for (const bool stored : {false, true}) {
    SCOPED_TRACE(stored);
    EXPECT_EQ(Select({Matcher::Equal("id", "20100")}), std::vector<Ordinal>{20100});
    EXPECT_EQ(Select({Matcher::Equal("id", "20200")}), std::vector<Ordinal>{20200});
    EXPECT_EQ(Select({Matcher::Equal("id", "77")}), std::vector<Ordinal>{77});
    EXPECT_EQ(Select({Matcher::Equal("job", "even")}).size(), 10101u);
    EXPECT_EQ(Select({}).size(), 20201u);
    EXPECT_EQ(Find(KeyOf(Numbered(20100))), std::optional<Ordinal>(20100));
    Checkpoint();
    Close();
    Open();
  }
}

TEST_F(IndexShardTest, FindStoredCostsNothingWhileAllIsResident) {
  for (int i = 0; i < 10; ++i) Add(Numbered(i));
  Checkpoint();
  factory_->FailCall(EngineMethod::kRead, 1, IoError("no reads expected"));
  EXPECT_EQ(Find(KeyOf(Numbered(11))), std::nullopt);
  std::string value;
  EXPECT_EQ(engine_->Get(0, "s", &value).code(), StatusCode::kIoError);  // the fault was still there
}

TEST_F(IndexShardTest, SeriesThatComeBackInOrderAreReadAhead) {
  constexpr int kSeries = 4000;
  for (int i = 0; i < kSeries; ++i) Add(Numbered(i));
  for (Ordinal i = 500; i < 520; ++i) ASSERT_TRUE(index_->Remove(i, ++lsn_).ok());
  Checkpoint();
  Close();
  Open();
  ASSERT_TRUE(index_->Remove(530, ++lsn_).ok());  // pending
  for (int begin = 0; begin < kSeries; begin += 50) {
    std::vector<Labels> labels;
    for (int i = begin; i < begin + 50; ++i) labels.push_back(Numbered(i));
    std::vector<SeriesKey> keys;
    for (const Labels& l : labels) keys.push_back(KeyOf(l));
    std::vector<std::optional<Ordinal>> found;
    ASSERT_TRUE(index_->FindStored(keys, &found).ok());
    for (int i = begin; i < begin + 50; ++i) {
      const bool removed = (i >= 500 && i < 520) || i == 530;
      EXPECT_EQ(found[static_cast<std::size_t>(i - begin)], removed ? std::nullopt : std::optional<Ordinal>(i)) << i;
    }
    if (begin == 0) {
      EXPECT_EQ(index_->resident_series(), 50u + 256u);
    }
  }
  EXPECT_EQ(index_->resident_series(), 4000u - 21u);
  EXPECT_EQ(Select({}).size(), 4000u - 21u);
  // All is resident again: nothing is read.
  factory_->FailCall(EngineMethod::kRead, 1, IoError("no reads expected"));
  EXPECT_EQ(Find(KeyOf(Numbered(kSeries))), std::nullopt);
}

TEST_F(IndexShardTest, SeriesThatComeBackAtRandomAreNotReadAhead) {
  for (int i = 0; i < 2000; ++i) Add(Numbered(i));
  Checkpoint();
  Close();
  Open();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Find(KeyOf(Numbered(i * 613 % 2000))), std::optional<Ordinal>(i * 613 % 2000));
  EXPECT_EQ(index_->resident_series(), 100u);
}

TEST_F(IndexShardTest, AFailedCheckpointIsWrittenAgainWithTheNext) {
  for (int i = 0; i < 5; ++i) Add(Numbered(i));
  factory_->FailCall(EngineMethod::kWrite, 1, IoError("disk"));
  const Status s = index_->Checkpoint(state_);
  EXPECT_EQ(s.code(), StatusCode::kIoError);
  EXPECT_NE(s.message().find("index shard 0"), std::string::npos);
  EXPECT_EQ(index_->OldestUnwritten(), std::optional<Lsn>(1));
  for (int i = 5; i < 10; ++i) Add(Numbered(i));
  ASSERT_TRUE(index_->Remove(2, ++lsn_).ok());
  EXPECT_EQ(Select({}).size(), 9u);
  Checkpoint();
  EXPECT_EQ(index_->OldestUnwritten(), std::nullopt);
  Close();
  Open();
  EXPECT_EQ(Select({}).size(), 9u);
  EXPECT_EQ(Select({Matcher::Equal("job", "even")}).size(), 4u);
}

TEST_F(IndexShardTest, CutKeepsLaterChangesOutOfTheCheckpoint) {
  Add(Numbered(0));
  index_->Cut();
  Add(Numbered(1));
  Checkpoint();
  EXPECT_EQ(index_->OldestUnwritten(), std::optional<Lsn>(2));
  EXPECT_EQ(Select({}).size(), 2u);
  Close();
  Open();
  EXPECT_EQ(Select({}), std::vector<Ordinal>{0});
}

TEST_F(IndexShardTest, NextOrdinalIsNeverLowered) {
  ASSERT_TRUE(index_->Checkpoint({.applied_lsn = 5, .next_ordinal = 100}).ok());
  ASSERT_TRUE(index_->Checkpoint({.applied_lsn = 6, .next_ordinal = 50}).ok());
  ASSERT_TRUE(engine_->Flush(FamilyId{0}).ok());
  Close();
  Open();
  EXPECT_EQ(state_.next_ordinal, 100u);
  EXPECT_EQ(state_.applied_lsn, 6u);
}

TEST_F(IndexShardTest, KeepsMetadata) {
  Add(Numbered(0));
  const Metadata metadata{MetricType::kCounter, "seconds", std::string(100000, 'h')};
  index_->SetMetadata(0, {MetricType::kGauge, "", "old"}, ++lsn_);
  index_->SetMetadata(0, metadata, ++lsn_);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::optional<Metadata>> of_both;
    ASSERT_TRUE(index_->MetadataOf(std::vector<Ordinal>{0, 1}, &of_both).ok());
    EXPECT_EQ(of_both, (std::vector<std::optional<Metadata>>{metadata, std::nullopt}));
    Result<std::optional<Metadata>> found = index_->MetadataOf(0);
    ASSERT_TRUE(found.ok()) << found.status().ToString();
    ASSERT_TRUE(found->has_value());
    EXPECT_EQ(**found, metadata);
    Checkpoint();
    Close();
    Open();
  }
  EXPECT_FALSE(index_->MetadataOf(1)->has_value());
}

// Few rows of a name are passed by one by one, many by a seek. One name is the beginning of another.
TEST_F(IndexShardTest, NamesOfFewAndOfManyValuesAreListedOnceEach) {
  std::vector<std::string> names;
  for (int values = 1; values <= 12; ++values) {
    names.emplace_back(static_cast<std::size_t>(values), 'n');
    for (int v = 0; v < values; ++v) Add(Labels{{names.back(), "v" + std::to_string(v)}});
  }
  for (const bool stored : {false, true}) {
    if (stored) {
      Checkpoint();
      Close();
      Open();
    }
    EXPECT_EQ(Names(), names) << stored;
    for (const std::string& name : names) EXPECT_EQ(Values(name).size(), name.size()) << stored;
  }
}

TEST_F(IndexShardTest, LabelSetsBeyondOneRowAreKept) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (int i = 0; i < 30; ++i)
    pairs.emplace_back(std::string(1024, 'n') + std::to_string(100 + i), std::string(2048, 'v') + std::to_string(i));
  const Labels large(pairs);
  Add(large);
  Checkpoint();
  Close();
  Open();
  EXPECT_EQ(LabelsOf(0), large);
  EXPECT_EQ(Find(KeyOf(large)), std::optional<Ordinal>(0));
  EXPECT_EQ(Names().size(), 30u);
  EXPECT_EQ(Values(pairs[7].first), std::vector<std::string>{pairs[7].second});
  EXPECT_EQ(Select({Matcher::Equal(pairs[7].first, pairs[7].second)}), std::vector<Ordinal>{0});
  EXPECT_TRUE(Select({Matcher::Equal(pairs[7].first, pairs[8].second)}).empty());
  EXPECT_EQ(Select({Matcher::Regex(pairs[7].first, "v+7")}), std::vector<Ordinal>{0});
  EXPECT_EQ(Select({Matcher::Regex(pairs[7].first, std::string(1500, 'v') + ".*")}), std::vector<Ordinal>{0});
}

// A scan reads those that are near each other and ascend, look-ups the others: both find the same.
TEST_F(IndexShardTest, LabelsOfManySeriesAreTheSameHoweverTheyAreRead) {
  constexpr int kSeries = 3000;
  std::vector<Labels> expected;
  for (int i = 0; i < kSeries; ++i) {
    Labels labels = Numbered(i);
    if (i == 40 || i == kSeries - 1) {  // in several rows
      std::vector<std::pair<std::string, std::string>> pairs;
      for (int p = 0; p < 30; ++p) pairs.emplace_back(std::string(1024, 'n') + std::to_string(100 + p), std::string(2048, 'v'));
      pairs.emplace_back("z", std::to_string(i));
      labels = Labels(pairs);
    }
    Add(labels);
    expected.push_back(labels);
  }
  for (const Ordinal o : {7U, 700U}) ASSERT_TRUE(index_->Remove(o, ++lsn_).ok());
  Checkpoint();
  Close();
  Open();
  for (const std::uint32_t step : {1U, 3U, 4U, 5U}) {
    for (const bool removed_too : {false, true}) {
      std::vector<Ordinal> ordinals;
      for (Ordinal o = 0; o < kSeries; o += step) ordinals.push_back(o);
      ordinals.push_back(kSeries - 1);
      for (const bool ascending : {true, false}) {
        std::vector<Labels> found;
        ASSERT_TRUE(index_->LabelsOf(ordinals, &found, removed_too).ok());
        ASSERT_EQ(found.size(), ordinals.size());
        for (std::size_t i = 0; i < ordinals.size(); ++i) {
          const bool removed = ordinals[i] == 7 || ordinals[i] == 700;
          ASSERT_EQ(found[i], removed && !removed_too ? Labels() : expected[ordinals[i]]) << ordinals[i] << " of each " << step;
        }
        if (ascending) std::swap(ordinals[3], ordinals[100]);
      }
    }
  }
}

TEST_F(IndexShardTest, DamagedRowsAreNamed) {
  for (int i = 0; i < 5; ++i) Add(Numbered(i));
  Checkpoint();
  Close();
  std::string posting = index_rows::MakePairKey("job", "even").bytes;
  index_rows::AppendHigh(0, &posting);
  std::string hash;
  index_rows::AppendHashKey(KeyOf(Numbered(1)).hash, &hash);
  const std::string labels = index_rows::OrdinalKey('l', 2);
  for (const std::string& key : {posting, hash, labels}) ASSERT_TRUE(factory_->FlipBit("db", "index.0", key, 70).ok());
  Open();
  Result<OrdinalSet> selected = index_->Select(Compiled({Matcher::Equal("job", "even")}));
  EXPECT_EQ(selected.status().code(), StatusCode::kDataLoss);
  EXPECT_NE(selected.status().message().find("pjob"), std::string::npos) << selected.status().ToString();
  EXPECT_EQ(Select({Matcher::Equal("job", "odd")}).size(), 2u);
  const Labels one = Numbered(1);
  const SeriesKey bad = KeyOf(one);
  std::vector<std::optional<Ordinal>> found;
  EXPECT_EQ(index_->FindStored({&bad, 1}, &found).code(), StatusCode::kDataLoss);
  std::vector<Labels> read;
  const Ordinal two = 2;
  EXPECT_EQ(index_->LabelsOf({&two, 1}, &read).code(), StatusCode::kDataLoss);
  EXPECT_EQ(index_->Remove(2, 9).code(), StatusCode::kDataLoss);
  Close();
  ASSERT_TRUE(factory_->FlipBit("db", "index.0", "s", 9).ok());
  engine_ = std::move(OpenEngine()).value();
  IndexShard damaged(engine_.get(), {.cache = &cache_});
  EXPECT_EQ(damaged.Load().status().code(), StatusCode::kDataLoss);
}

// Of many at once, which are read in one go: also where the damaged row is of a series between them.
TEST_F(IndexShardTest, ADamagedRowConcernsTheLabelsOfItsSeriesOnly) {
  constexpr Ordinal kSeries = 1200;
  constexpr Ordinal kDamaged = 301;
  for (Ordinal i = 0; i < kSeries; ++i) Add(Numbered(static_cast<int>(i)));
  Checkpoint();
  Close();
  ASSERT_TRUE(factory_->FlipBit("db", "index.0", index_rows::OrdinalKey('l', kDamaged), 70).ok());
  Open();
  std::vector<Ordinal> wanted;
  for (Ordinal i = 0; i < kSeries; ++i) {
    if (i != kDamaged) wanted.push_back(i);
  }
  std::vector<Labels> read;
  const Status s = index_->LabelsOf(wanted, &read);
  ASSERT_TRUE(s.ok()) << s.ToString();
  for (std::size_t i = 0; i < wanted.size(); ++i) ASSERT_EQ(read[i], Numbered(static_cast<int>(wanted[i]))) << wanted[i];
  wanted.insert(wanted.begin() + kDamaged, kDamaged);
  EXPECT_EQ(index_->LabelsOf(wanted, &read).code(), StatusCode::kDataLoss);
}

TEST_F(IndexShardTest, RegexesUseTheirPrefixInRowsToo) {
  for (int i = 0; i < 300; ++i) Add(Labels{{"host", "h" + std::to_string(i)}, {"job", "j"}});
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(Select({Matcher::Regex("host", "h1.*")}).size(), 111u);
    EXPECT_EQ(Select({Matcher::Regex("host", "h1.+")}).size(), 110u);
    EXPECT_EQ(Select({Matcher::Regex("host", "h(1|2)")}).size(), 2u);
    EXPECT_EQ(Select({Matcher::Regex("host", "h1|h2|nope")}).size(), 2u);
    EXPECT_EQ(Select({Matcher::NotRegex("host", "h1.*"), Matcher::Equal("job", "j")}).size(), 189u);
    EXPECT_EQ(Select({Matcher::Regex("host", ".+")}).size(), 300u);
    EXPECT_EQ(Select({Matcher::NotRegex("host", ".+")}).size(), 0u);
    EXPECT_EQ(Select({Matcher::Regex("missing", ".*")}).size(), 300u);
    EXPECT_EQ(Select({Matcher::Equal("missing", "")}).size(), 300u);
    EXPECT_EQ(Select({Matcher::NotRegex("host", ".*")}).size(), 0u);
    if (round == 0) Checkpoint();
    if (round == 1) {
      Close();
      Open();
    }
  }
}

TEST_F(IndexShardTest, HotLookUpsAreServedFromTheCache) {
  for (int i = 0; i < 50; ++i) Add(Numbered(i));
  Checkpoint();
  const std::vector<Matcher> matchers{Matcher::Equal("job", "even"), Matcher::Regex("id", "[0-9]")};
  EXPECT_EQ(Select(matchers).size(), 5u);
  EXPECT_EQ(Select({Matcher::Regex("id", "[0-9]")}).size(), 10u);
  factory_->FailCall(EngineMethod::kRead, 1, IoError("no reads expected"));
  EXPECT_EQ(Select({Matcher::Equal("job", "even")}).size(), 25u);
  EXPECT_EQ(Select({Matcher::Regex("id", "[0-9]")}).size(), 10u);
  std::string value;
  EXPECT_EQ(engine_->Get(0, "s", &value).code(), StatusCode::kIoError);
  ShardStats stats;
  index_->FillStats(&stats);
  EXPECT_GE(stats.postings_cache_hits, 2u);
  EXPECT_GE(stats.postings_cache_misses, 2u);
  EXPECT_GT(stats.postings_cache_bytes, 0u);
  ASSERT_EQ(stats.locks.size(), 2u);
  EXPECT_EQ(stats.locks[0].name, "index_read");
  EXPECT_EQ(stats.locks[1].name, "index_write");
  EXPECT_EQ(stats.index_write_latency.count, 50u);
  EXPECT_GT(stats.index_read_latency.count, 0u);
  // The cache does not outlive the truth.
  Add(Numbered(50));
  EXPECT_EQ(Select({Matcher::Equal("job", "even")}).size(), 26u);
  Checkpoint();
  EXPECT_EQ(Select({Matcher::Equal("job", "even")}).size(), 26u);
  ASSERT_TRUE(index_->Remove(50, ++lsn_).ok());
  Checkpoint();
  EXPECT_EQ(Select({Matcher::Equal("job", "even")}).size(), 25u);
}

TEST_F(IndexShardTest, HotLabelsOfStoredSeriesAreServedFromTheCache) {
  std::vector<Ordinal> all;
  for (int i = 0; i < 50; ++i) {
    Add(Numbered(i));
    all.push_back(static_cast<Ordinal>(i));
  }
  Checkpoint();
  Close();
  Open();
  std::vector<Labels> first;
  std::vector<Labels> second;
  ASSERT_TRUE(index_->LabelsOf(all, &first).ok());
  {
    factory_->FailCall(EngineMethod::kRead, 1, IoError("no reads expected"));
    ASSERT_TRUE(index_->LabelsOf(all, &second).ok());
    EXPECT_EQ(first, second);
    EXPECT_EQ(second[7], Numbered(7));
    std::string value;
    EXPECT_EQ(engine_->Get(0, "s", &value).code(), StatusCode::kIoError) << "the failure was still to come";
  }
  ShardStats stats;
  index_->FillStats(&stats);
  EXPECT_EQ(stats.labels_cache_misses, 50u);
  EXPECT_EQ(stats.labels_cache_hits, 50u);
  // The cache does not outlive the truth, before and after the rows say so.
  ASSERT_TRUE(index_->Remove(7, ++lsn_).ok());
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(index_->LabelsOf(all, &second).ok());
    EXPECT_TRUE(second[7].empty()) << round;
    EXPECT_EQ(second[8], Numbered(8)) << round;
    Checkpoint();
  }
  ASSERT_TRUE(index_->LabelsOf(std::vector<Ordinal>{7}, &second, true).ok());
  EXPECT_EQ(second[0], Numbered(7));
}

// Inserting, removing, evicting and checkpointing while others select: a settled series is in every answer, a removed one in none.
TEST_F(IndexShardTest, ReadersSeeEverySettledSeriesDuringCheckpoints) {
  std::atomic<int> inserted{0};
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  const auto matchers = Compiled({Matcher::Equal("job", "even"), Matcher::NotEqual("id", "3")});
  const auto regex = Compiled({Matcher::Regex("id", ".+"), Matcher::NotRegex("job", "odd")});
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      while (!stop.load()) {
        const int before = inserted.load();
        const Result<OrdinalSet> set = index_->Select(t == 0 ? matchers : regex);
        const int after = inserted.load();
        if (!set.ok()) {
          wrong.fetch_add(1);
          continue;
        }
        // Of the even series below `before` all but the removed ones (every 20th) and those still being removed.
        for (int i = 0; i < before; i += 2) {
          if (i % 20 != 0 && !set->Contains(static_cast<Ordinal>(i))) wrong.fetch_add(1);
        }
        for (const Ordinal ordinal : set->ToVector()) {
          if (ordinal % 2 != 0 || static_cast<int>(ordinal) > after + 1) wrong.fetch_add(1);
          if (ordinal % 20 == 0 && static_cast<int>(ordinal) < before - 40) wrong.fetch_add(1);
        }
      }
    });
  }
  std::thread checkpoints([&] {
    const Labels three = Numbered(3);
    while (!stop.load()) {
      const auto n = static_cast<std::uint64_t>(inserted.load());
      if (!index_->Checkpoint({n, n, n}).ok()) wrong.fetch_add(1);
      std::vector<Ordinal> some;
      for (Ordinal i = 0; i < n; i += 3) some.push_back(i);
      index_->Evict(some);
      const SeriesKey key = KeyOf(three);
      std::vector<std::optional<Ordinal>> found;
      if (n > 3 && (!index_->FindStored({&key, 1}, &found).ok() || found[0] != std::optional<Ordinal>(3))) wrong.fetch_add(1);
    }
  });
  for (int i = 0; i < 3000; ++i) {
    Add(Numbered(i));
    inserted.store(i + 1);
    if (i >= 30 && (i - 20) % 20 == 0) {
      EXPECT_TRUE(index_->Remove(static_cast<Ordinal>(i - 20), ++lsn_).ok());
    }
    if (i == 30) {
      EXPECT_TRUE(index_->Remove(0, ++lsn_).ok());
    }
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
  checkpoints.join();
  EXPECT_EQ(wrong.load(), 0);
}

// An engine that cannot merge: the checkpoint reads, folds and writes.
class NoMergeEngine : public KvEngine {
 public:
  explicit NoMergeEngine(KvEngine* engine) : engine_(engine) {}
  std::string_view Name() const override { return "no-merge"; }
  bool Has(Capability capability) const override { return capability != Capability::kMerge && engine_->Has(capability); }
  Limits limits() const override { return engine_->limits(); }
  Status AcquireEpoch(FamilyId family, Epoch epoch) override { return engine_->AcquireEpoch(family, epoch); }
  Result<Epoch> CurrentEpoch(FamilyId family) override { return engine_->CurrentEpoch(family); }
  Outcomes Write(std::span<const Batch> batches, const EngineWriteOptions& options) override {
    for (const Batch& batch : batches) {
      for (const Op& op : batch.ops) {
        if (op.type == Op::Type::kMerge) return Outcomes(batches.size(), Unimplemented("merge"));
      }
    }
    return engine_->Write(batches, options);
  }
  void WriteAsync(std::span<const Batch> batches, const EngineWriteOptions& options, WriteCallback done) override {
    done(Write(batches, options));
  }
  Status Get(FamilyId family, std::string_view key, std::string* value, ReadTier tier, Deadline deadline) override {
    return engine_->Get(family, key, value, tier, deadline);
  }
  void MultiGet(FamilyId family, std::span<const std::string_view> keys, std::vector<std::string>* values,
                std::vector<Status>* statuses, Deadline deadline) override {
    engine_->MultiGet(family, keys, values, statuses, deadline);
  }
  Result<std::unique_ptr<KvIterator>> NewIterator(FamilyId family, const IterateOptions& options) override {
    return engine_->NewIterator(family, options);
  }
  Status Flush(FamilyId family) override { return engine_->Flush(family); }
  Status Flush(std::span<const FamilyId> families) override { return engine_->Flush(families); }
  Status SyncLog() override { return engine_->SyncLog(); }
  Status ExpireRange(FamilyId f, std::string_view b, std::string_view e) override { return engine_->ExpireRange(f, b, e); }
  Status Compact(FamilyId f, std::string_view b, std::optional<std::string_view> e) override { return engine_->Compact(f, b, e); }
  Result<std::uint64_t> EstimateBytes(FamilyId f, std::string_view b, std::string_view e) override {
    return engine_->EstimateBytes(f, b, e);
  }
  Status CreateCheckpoint(const std::string& path) override { return engine_->CreateCheckpoint(path); }
  Status ExportFamily(FamilyId family, const std::string& path) override { return engine_->ExportFamily(family, path); }
  Status ImportFamily(FamilyId family, const std::string& path) override { return engine_->ImportFamily(family, path); }
  Status VerifyChecksums(FamilyId family, std::string_view after, VerifyVisitor* visitor) override {
    return engine_->VerifyChecksums(family, after, visitor);
  }
  EngineStats Stats() const override { return engine_->Stats(); }
  Status Close() override { return Status::Ok(); }

 private:
  KvEngine* engine_;
};

// A look-up that saw an empty memory, and comes to the cache when the first series has been stored, must not leave there that
// nothing is stored.
TEST_F(IndexShardTest, ALookUpBesideTheFirstCheckpointLeavesNothingWrongInTheCache) {
  const std::vector<CompiledMatcher> matchers = Compiled({Matcher::Equal("__name__", "first")});
  const Labels labels{{"__name__", "first"}};
  for (int round = 0; round < 200; ++round) {
    std::atomic<bool> done{false};
    std::atomic<int> looked{0};
    std::vector<std::thread> readers;
    for (int i = 0; i < 2; ++i) {
      readers.emplace_back([&] {
        while (!done.load()) {
          EXPECT_TRUE(index_->Select(matchers).ok());
          looked.fetch_add(1);
        }
      });
    }
    while (looked.load() < 2) std::this_thread::yield();
    const Ordinal first = Add(labels);
    Checkpoint();
    done.store(true);
    for (std::thread& reader : readers) reader.join();
    ASSERT_EQ(Select({Matcher::Equal("__name__", "first")}), std::vector<Ordinal>{first}) << "round " << round;
    Close();
    factory_ = MakeAdversarialMemoryEngineFactory({});
    next_ordinal_ = 0;
    lsn_ = 0;
    Open();
  }
}

TEST_F(IndexShardTest, WorksOnAnEngineThatCannotMerge) {
  NoMergeEngine engine(engine_.get());
  index_ = std::make_unique<IndexShard>(&engine, IndexShardOptions{.cache = &cache_});
  for (int i = 0; i < 50; ++i) Add(Numbered(i));
  Checkpoint();
  for (int i = 50; i < 100; ++i) Add(Numbered(i));
  ASSERT_TRUE(index_->Remove(4, ++lsn_).ok());
  Checkpoint();
  index_ = std::make_unique<IndexShard>(&engine, IndexShardOptions{.cache = &cache_});
  ASSERT_TRUE(index_->Load().ok());
  EXPECT_EQ(Select({Matcher::Equal("job", "even")}).size(), 49u);
  EXPECT_EQ(Find(KeyOf(Numbered(99))), std::optional<Ordinal>(99));
  EXPECT_EQ(Find(KeyOf(Numbered(4))), std::nullopt);
  EXPECT_EQ(Values("id").size(), 99u);
  index_.reset();
}

TEST_F(IndexShardTest, AFencedCheckpointSaysSo) {
  ASSERT_TRUE(engine_->AcquireEpoch(0, 7).ok());
  IndexShard stale(engine_.get(), {.epoch = 6, .cache = &cache_});
  EXPECT_EQ(stale.Checkpoint({}).code(), StatusCode::kFenced);
  IndexShard current(engine_.get(), {.epoch = 7, .cache = &cache_});
  EXPECT_TRUE(current.Checkpoint({}).ok());
}

}  // namespace
}  // namespace chronolith
