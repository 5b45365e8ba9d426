// Options::accept_data_loss: a log that has lost records opens, gives up exactly these, says which, and is whole from then on.
#include <fstream>

#include "tests/storage/log_loss_fixture.h"

namespace chronolith {
namespace {

class DataLoss : public LogLossTest {
 protected:
  // Opens with the option, and again without it.
  ShardLoss Accept(std::size_t shards_with_loss = 1) {
    store_.options().accept_data_loss = true;
    store_.Open();
    store_.options().accept_data_loss = false;
    EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{});
    const StorageStats stats = store_->Stats();
    EXPECT_EQ(stats.losses.size(), shards_with_loss);
    for (const ShardLoss& loss : stats.losses) {
      if (loss.shard == bad_) return loss;
      EXPECT_TRUE(loss.lost.empty() && loss.uncertain_from > 0) << "nothing tells how far its log went";
      EXPECT_GT(stats.shards.at(loss.shard).last_lsn, loss.uncertain_from + 1'000'000);
    }
    ADD_FAILURE() << "no loss of shard " << bad_;
    return {};
  }
  // The samples that are missing; nothing else is different.
  std::size_t Missing() {
    std::size_t missing = 0;
    const Contents found = store_.Read();
    for (const auto& [labels, points] : found) {
      for (const auto& [t, value] : points) EXPECT_TRUE(contents_.at(labels).at(t) == value) << labels;
    }
    for (const auto& [labels, points] : contents_) {
      const auto it = found.find(labels);
      missing += points.size() - (it == found.end() ? 0 : it->second.size());
    }
    contents_ = found;
    return missing;
  }
  // Without the option, also after a crash, with all that is written from now on.
  void ExpectWhole() {
    for (int i = 0; i < 3; ++i) {
      WriteRound();
      i == 1 ? store_.Restart() : store_.Kill();
      EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{});
      EXPECT_EQ(store_.Read(), contents_);
      EXPECT_TRUE(store_->Stats().losses.empty());
    }
    store_.Compact();
    EXPECT_EQ(store_.Read(), contents_);
  }
  Lsn LastLsn() { return store_->Stats().shards.at(bad_).last_lsn; }
};
INSTANTIATE_TEST_SUITE_P(Engines, DataLoss, AllEngines(), EngineName);

TEST_P(DataLoss, AHoleCostsItsRecordsAndNothingElse) {
  Fill();
  Rows rows = LogRows(bad_);
  const auto gone = Nth(&rows, 5);
  const WalRowHeader header = HeaderOf(bad_, gone->first, gone->second);
  ASSERT_EQ(header.records, 1U);
  rows.erase(gone);
  SetLogRows(bad_, rows);
  const ShardLoss loss = Accept();
  ASSERT_EQ(loss.lost.size(), 1U);
  EXPECT_EQ(loss.lost[0].first, header.first_lsn);
  EXPECT_EQ(loss.lost[0].last, header.first_lsn);
  EXPECT_EQ(loss.uncertain_from, 0U);
  EXPECT_EQ(loss.dropped_samples, 0U);
  EXPECT_EQ(Missing(), 1U);
  ExpectWhole();
}

TEST_P(DataLoss, RowsThatDoNotDecodeArePassedOverAlsoTheLastOne) {
  Fill();
  Rows rows = LogRows(bad_);
  const Lsn last =
      std::prev(rows.upper_bound(WalKey(~0ULL)))->first == WalKey(0)
          ? 0
          : HeaderOf(bad_, std::prev(rows.upper_bound(WalKey(~0ULL)))->first, std::prev(rows.upper_bound(WalKey(~0ULL)))->second)
                .first_lsn;
  const auto bad = Nth(&rows, 4);
  const Lsn first = HeaderOf(bad_, bad->first, bad->second).first_lsn;
  bad->second[3] ^= 1;
  const auto none = Nth(&rows, 6);
  WalRowHeader header = HeaderOf(bad_, none->first, none->second);
  none->second.clear();
  WalRowEncoder().Append(bad_, header, "no record at all", false, &none->second);
  rows.at(WalKey(last))[3] ^= 1;
  SetLogRows(bad_, rows);
  const ShardLoss loss = Accept();
  ASSERT_EQ(loss.lost.size(), 2U);
  EXPECT_EQ(loss.lost[0].first, first);
  EXPECT_EQ(loss.lost[0].last, first);
  EXPECT_EQ(loss.lost[1].first, header.first_lsn);
  EXPECT_EQ(loss.uncertain_from, last);
  EXPECT_GT(LastLsn(), last + 1'000'000) << "how many records the last row had is not known";
  EXPECT_EQ(Missing(), 3U);
  ExpectWhole();
}

TEST_P(DataLoss, SamplesOfASeriesWhoseCreationIsLostAreDroppedAndItsIdIsNotUsedAgain) {
  Fill();
  store_.Open();
  // A new series in the damaged shard.
  auto appender = store_->NewAppender();
  int n = kSeries;
  std::uint64_t id = 0;
  for (;; ++n) {
    id = appender->Ref(Numbered(n)).value().id;
    if (static_cast<std::uint32_t>(id >> 32) - 1 == bad_) break;
  }
  appender.reset();
  EXPECT_TRUE(store_->Flush().ok());
  const Lsn created = LastLsn();
  for (int i = 0; i < 3; ++i) store_.Write(Numbered(n), {{t_ + i, 1}});
  t_ += 3;
  WriteRound();
  store_.KillWithoutOpening();
  Rows rows = LogRows(bad_);
  ASSERT_EQ(rows.erase(WalKey(created)), 1U) << "the record of the series is a row of its own";
  SetLogRows(bad_, rows);
  const ShardLoss loss = Accept();
  ASSERT_EQ(loss.lost.size(), 1U);
  EXPECT_EQ(loss.lost[0].first, created);
  EXPECT_EQ(loss.dropped_samples, 3U);
  EXPECT_EQ(Missing(), 0U);
  EXPECT_GT(store_->NewAppender()->Ref(Numbered(n)).value().id, id);
  store_.Write(Numbered(n), {{t_, 7}});
  contents_[Numbered(n).ToString()][t_++] = Shown(7.0);
  ExpectWhole();
}

TEST_P(DataLoss, ALogThatEndsBeforeTheDataGoesOnBehindIt) {
  Fill();
  store_.Open();
  WriteRound();
  store_.Checkpoint();
  const Lsn last = LastLsn();
  store_.KillWithoutOpening();
  SetLogRows(bad_, {{std::string(kWalStateKey), EncodeWalState(bad_, 3)}});
  EXPECT_FALSE(store_.TryOpen().ok());
  const ShardLoss loss = Accept(4);
  EXPECT_TRUE(loss.lost.empty()) << "the data instance holds it";
  EXPECT_EQ(loss.uncertain_from, last + 1);
  EXPECT_GT(LastLsn(), last);
  EXPECT_EQ(Missing(), 0U);
  ExpectWhole();
}

TEST_P(DataLoss, ALogTrimmedBeyondTheDataGoesOnFromThere) {
  Fill();
  Rows rows = LogRows(bad_);
  const Lsn first = HeaderOf(bad_, Nth(&rows, 0)->first, Nth(&rows, 0)->second).first_lsn;
  rows[std::string(kWalStateKey)] = EncodeWalState(bad_, first + 4);
  for (int i = 0; i < 5; ++i) rows.erase(Nth(&rows, 0));
  SetLogRows(bad_, rows);
  const ShardLoss loss = Accept();
  ASSERT_EQ(loss.lost.size(), 1U);
  EXPECT_EQ(loss.lost[0].first, first);
  EXPECT_EQ(loss.lost[0].last, first + 4);
  EXPECT_EQ(Missing(), 5U);
  ExpectWhole();
}

// An open that gave up the end of a shard's log and died: the log itself does not show it any more.
TEST_P(DataLoss, WhatADeadOpenLeftUnfinishedIsRefusedUntilItIsAcceptedAgain) {
  Fill();
  std::ofstream(store_.path() + "/UNFINISHED") << bad_ << " \n";
  store_.Open();
  EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{bad_});
  EXPECT_THAT(store_->Stats().shards.at(bad_).quarantine, HasSubstr("chronolith recover --accept-data-loss " + store_.path()));
  store_.Close();
  const ShardLoss loss = Accept();
  EXPECT_GT(loss.uncertain_from, 0U);
  EXPECT_GT(LastLsn(), loss.uncertain_from + 1'000'000);
  EXPECT_FALSE(std::filesystem::exists(store_.path() + "/UNFINISHED"));
  EXPECT_EQ(Missing(), 0U);
  ExpectWhole();
}

TEST_P(DataLoss, WhatADeadOpenGaveUpAndTrimmedMayBeAnythingBehindWhatItFoundWhole) {
  Fill();
  std::ofstream(store_.path() + "/UNFINISHED") << bad_ << "-1 \n";
  store_.Open();
  EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{bad_});
  store_.Close();
  const ShardLoss loss = Accept();
  EXPECT_EQ(loss.uncertain_from, 2U);
  EXPECT_TRUE(loss.lost.empty());
  EXPECT_FALSE(std::filesystem::exists(store_.path() + "/UNFINISHED"));
  EXPECT_EQ(Missing(), 0U);
  ExpectWhole();
}

TEST_P(DataLoss, NothingIsGivenUpOfAWholeStoreNorByAReader) {
  Fill();
  store_.options().accept_data_loss = true;
  store_.Open();
  EXPECT_TRUE(store_->Stats().losses.empty());
  EXPECT_EQ(store_.Read(), contents_);
  store_.Close();
  store_.options().read_only = true;
  EXPECT_EQ(store_.TryOpen().code(), StatusCode::kInvalidArgument);
}

// Cut short anywhere, the open has either come to its end, or the next one refuses the shard again.
TEST(DataLossCutShort, NeedsTheOptionAgain) {
  for (const EngineMethod method : {EngineMethod::kWrite, EngineMethod::kFlush, EngineMethod::kSyncLog}) {
    int refused = 0;
    for (std::uint64_t k = 1; k < 100; ++k) {
      SCOPED_TRACE("call " + std::to_string(k));
      TestStore store("memory");
      store.options().shards = 2;
      store.options().background_threads = 1;
      store.Open();
      for (int i = 0; i < 20; ++i) store.Write(Numbered(i), {{kT, 1.0 * i}});
      store.Checkpoint();
      for (int i = 0; i < 20; ++i) store.Write(Numbered(i), {{kT + 1, 1.0 * i}});
      Lsn lsn = store->Stats().shards[0].last_lsn - 3;
      store.Write(Numbered(0), {{kT + 2, 1.0}}, AckLevel::kSynced);
      store.KillWithoutOpening();
      ASSERT_TRUE(store.memory().FlipBit(store.path() + "/log", "wal.0", WalKey(lsn), 77).ok());
      store.options().accept_data_loss = true;
      store.memory().CrashDuringCall(method, k, CrashKind::kPowerLoss);
      if (store.TryOpen().ok()) break;  // it has no such call
      store.memory().CrashAll(CrashKind::kPowerLoss);
      store.options().accept_data_loss = false;
      store.Open();
      if (!store->Stats().shards[0].quarantine.empty()) {
        ++refused;
        store.options().accept_data_loss = true;
        store.Open();
        EXPECT_EQ(store->Stats().losses.size(), 1U);
      }
      std::size_t samples = 0;
      for (const auto& [labels, points] : store.Read()) samples += points.size();
      EXPECT_EQ(samples, 40U);
      if (HasFailure()) return;
    }
    EXPECT_GT(refused, 0);
  }
}

}  // namespace
}  // namespace chronolith
