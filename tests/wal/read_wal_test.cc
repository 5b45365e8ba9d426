// ReadWal on logs that were written row by row, as no writer writes them.
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <string>
#include <vector>

#include "tests/wal/wal_fixture.h"

namespace chronolith {
namespace {

constexpr ShardId kShard = 3;

std::string Floor(std::int64_t value) {
  std::string record;
  AppendFloorRecord(value, &record);
  return record;
}
std::string EpochStart(std::uint64_t epoch, Lsn previous_end) {
  std::string record;
  AppendEpochRecord(epoch, previous_end, &record);
  return record;
}

class ReadWalTest : public ::testing::Test {
 protected:
  ReadWalTest() {
    EngineOptions options;
    options.instance = InstanceRole::kLog;
    options.families.push_back({"wal", FamilyRole::kWal, nullptr, nullptr});
    engine_ = std::move(factory_->Open("log", options)).value();
  }

  void PutRaw(const std::string& key, const std::string& value) {
    const Op op{Op::Type::kPut, key, value};
    const Batch batch{0, {}, 0, {&op, 1}};
    ASSERT_TRUE(engine_->Write({&batch, 1}, {.durability = Durability::kLogged})[0].ok());
  }
  void PutRow(Lsn first, std::uint64_t epoch, const std::vector<std::string>& records, std::uint64_t claimed = 0) {
    std::string payload;
    for (const std::string& record : records) payload.append(record);
    std::string value;
    WalRowEncoder().Append(kShard,
                           {.first_lsn = first, .epoch = epoch, .group = 1, .records = claimed != 0 ? claimed : records.size()},
                           payload, false, &value);
    PutRaw(WalKey(first), value);
  }
  void PutTrimmedTo(Lsn lsn) { PutRaw(std::string(kWalStateKey), EncodeWalState(kShard, lsn)); }

  Status Read(Lsn after = 0, const std::atomic<bool>* stop = nullptr) {
    visitor_ = {};
    rows_.clear();
    return ReadWal(engine_.get(), 0, kShard, after, stop, &visitor_, &rows_, &end_);
  }
  // Reading fails with kDataLoss and says `what`.
  void ExpectLoss(const std::string& what) {
    const Status status = Read();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
    EXPECT_NE(status.message().find(what), std::string::npos) << status.ToString();
    EXPECT_NE(status.message().find("shard 3"), std::string::npos) << "names its shard: " << status.ToString();
  }

  std::shared_ptr<MemoryEngineFactory> factory_ = MakeAdversarialMemoryEngineFactory({});
  std::unique_ptr<KvEngine> engine_;
  CollectingVisitor visitor_;
  std::vector<std::pair<Lsn, std::uint64_t>> rows_;
  WalEnd end_;
};

TEST_F(ReadWalTest, AnEmptyLogHasNoEnd) {
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(end_.last_lsn, 0U);
  EXPECT_EQ(end_.trimmed_to, 0U);
  EXPECT_EQ(end_.records, 0U);
  EXPECT_TRUE(visitor_.contents.empty());
}

TEST_F(ReadWalTest, DeliversEveryRecordWithItsLsn) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20), Floor(30)});
  PutRow(4, 1, {Floor(40)});
  PutRow(5, 2, {EpochStart(2, 4), Floor(60)});
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(visitor_.contents, (LogContents{{1, -1}, {2, 20}, {3, 30}, {4, 40}, {5, -2}, {6, 60}}));
  EXPECT_EQ(end_.last_lsn, 6U);
  EXPECT_EQ(end_.last_epoch, 2U);
  EXPECT_EQ(end_.records, 6U);
  ASSERT_EQ(rows_.size(), 3U);
  EXPECT_EQ(rows_[1].first, 4U);
  EXPECT_EQ(rows_[0].second + rows_[1].second + rows_[2].second, end_.bytes + 3 * kWalKeyBytes);
}

TEST_F(ReadWalTest, DeliversOnlyWhatIsBehindAfter) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20), Floor(30)});
  PutRow(4, 1, {Floor(40)});
  for (Lsn after = 0; after <= 5; ++after) {
    ASSERT_TRUE(Read(after).ok());
    EXPECT_EQ(visitor_.contents.size(), after < 4 ? 4 - after : 0);
    if (after < 4) {
      EXPECT_EQ(visitor_.contents.begin()->first, after + 1);
    }
    EXPECT_EQ(end_.last_lsn, 4U) << "the end is that of the log";
    EXPECT_EQ(rows_.size(), 2U) << "trimming needs all rows";
  }
}

TEST_F(ReadWalTest, ChecksAlsoWhatItDoesNotDeliver) {
  PutRow(1, 1, {EpochStart(1, 0)});
  PutRow(3, 1, {Floor(30)});
  PutRow(4, 1, {Floor(40)});
  EXPECT_EQ(Read(3).code(), StatusCode::kDataLoss);
}

TEST_F(ReadWalTest, NeedsNoVisitorAndNoRows) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20)});
  ASSERT_TRUE(ReadWal(engine_.get(), 0, kShard, 0, nullptr, nullptr, nullptr, &end_).ok());
  EXPECT_EQ(end_.last_lsn, 2U);
}

// ---- Holes and duplicates ----

TEST_F(ReadWalTest, AHoleIsLossAndIsNamed) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20)});
  PutRow(5, 1, {Floor(50)});
  ExpectLoss("LSN 3 to 4");
  EXPECT_EQ(visitor_.contents.size(), 2U) << "nothing behind the hole is delivered";
}

TEST_F(ReadWalTest, AMissingFirstRowIsAHole) {
  PutRow(2, 1, {Floor(20)});
  ExpectLoss("lacks LSN 1:");
}

TEST_F(ReadWalTest, AMissingRowBehindTheTrimmedOnesIsAHole) {
  PutTrimmedTo(10);
  PutRow(13, 1, {Floor(1)});
  ExpectLoss("LSN 11 to 12");
}

TEST_F(ReadWalTest, AnLsnThatIsThereTwiceIsLoss) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20), Floor(30)});
  PutRow(3, 1, {Floor(31)});
  ExpectLoss("LSN 3 twice");
}

TEST_F(ReadWalTest, AnEpochMayBeginBehindAGapThatItVouchesFor) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20)});
  PutRow(10, 2, {EpochStart(2, 2), Floor(110)});  // LSNs 3 to 9 never were
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(visitor_.contents, (LogContents{{1, -1}, {2, 20}, {10, -2}, {11, 110}}));
  EXPECT_EQ(end_.last_lsn, 11U);
}

TEST_F(ReadWalTest, AnEpochsFirstRowDoesNotVouchForWhatItsPredecessorHeld) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20)});
  PutRow(10, 2, {EpochStart(2, 5)});  // epoch 1 had written up to 5
  ExpectLoss("LSN 3 to 5");
}

TEST_F(ReadWalTest, AGapBeforeAnotherRecordIsAHoleInEveryEpoch) {
  PutRow(1, 1, {EpochStart(1, 0)});
  PutRow(5, 2, {Floor(50), EpochStart(2, 1)});
  ExpectLoss("LSN 2 to 4");
}

TEST_F(ReadWalTest, EpochsNeverGoBack) {
  PutRow(1, 1, {EpochStart(1, 0)});
  PutRow(2, 3, {EpochStart(3, 1)});
  PutRow(3, 2, {Floor(666)});  // of a writer that was fenced
  ExpectLoss("epoch 2");
}

TEST_F(ReadWalTest, AnEpochBeginsWithItsRecord) {
  PutRow(1, 1, {EpochStart(1, 0)});
  PutRow(2, 2, {Floor(5)});
  ExpectLoss("epoch 2");
}

TEST_F(ReadWalTest, AnEpochsRecordNamesItsOwnEpoch) {
  PutRow(1, 1, {EpochStart(1, 0)});
  PutRow(2, 2, {EpochStart(7, 1)});
  ExpectLoss("epoch 2");
}

TEST_F(ReadWalTest, AnEpochThatLacksItsPredecessorsEndIsAHole) {
  PutRow(1, 1, {EpochStart(1, 0)});
  PutRow(2, 2, {EpochStart(2, 4)});  // no gap in LSNs, but epoch 1 had written 2 to 4
  ExpectLoss("LSN 2 to 4");
}

// ---- Trimmed logs ----

TEST_F(ReadWalTest, RowsBelowTrimmedToAreSkipped) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20)});  // a range delete that a crash cut off left it
  PutRow(3, 1, {Floor(30), Floor(40)});
  PutTrimmedTo(2);
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(visitor_.contents, (LogContents{{3, 30}, {4, 40}}));
  EXPECT_EQ(end_.trimmed_to, 2U);
  ASSERT_EQ(rows_.size(), 1U);
}

TEST_F(ReadWalTest, AWhollyTrimmedLogEndsAtTrimmedTo) {
  PutTrimmedTo(7);
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(end_.last_lsn, 0U);
  EXPECT_EQ(end_.trimmed_to, 7U);
}

TEST_F(ReadWalTest, ADamagedStateRowIsLoss) {
  PutTrimmedTo(7);
  for (std::size_t bit = 0; bit < 48; ++bit) {
    ASSERT_TRUE(factory_->FlipBit("log", "wal", kWalStateKey, bit).ok());
    ExpectLoss("log state");
    ASSERT_TRUE(factory_->FlipBit("log", "wal", kWalStateKey, bit).ok());
  }
  EXPECT_TRUE(Read().ok());
}

// ---- Damage ----

TEST_F(ReadWalTest, EveryFlippedBitIsLossAndNamesTheRow) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20)});
  PutRow(3, 1, {Floor(30), Floor(40)});
  PutRow(5, 1, {Floor(50)});
  std::string value;
  ASSERT_TRUE(engine_->Get(0, WalKey(3), &value).ok());
  for (std::size_t bit = 0; bit < value.size() * 8; ++bit) {
    ASSERT_TRUE(factory_->FlipBit("log", "wal", WalKey(3), bit).ok());
    ExpectLoss("LSN 3");
    EXPECT_EQ(visitor_.contents, (LogContents{{1, -1}, {2, 20}})) << "never a wrong value";
    ASSERT_TRUE(factory_->FlipBit("log", "wal", WalKey(3), bit).ok());
  }
  EXPECT_TRUE(Read().ok());
}

TEST_F(ReadWalTest, ARowUnderAnotherKeyOrShardIsLoss) {
  PutRow(1, 1, {EpochStart(1, 0)});
  std::string value;
  ASSERT_TRUE(engine_->Get(0, WalKey(1), &value).ok());
  PutRaw(WalKey(2), value);
  ExpectLoss("LSN 2");
  EXPECT_EQ(ReadWal(engine_.get(), 0, kShard + 1, 0, nullptr, &visitor_, nullptr, &end_).code(), StatusCode::kDataLoss);
}

TEST_F(ReadWalTest, ARowMustHoldAsManyRecordsAsItSays) {
  PutRow(1, 1, {EpochStart(1, 0), Floor(20)}, 3);
  ExpectLoss("holds 2 records");
  PutRow(1, 1, {EpochStart(1, 0), Floor(20), Floor(30)}, 2);
  ExpectLoss("holds 3 records");
}

TEST_F(ReadWalTest, ADamagedRecordInASoundRowIsNamed) {
  std::string record = Floor(30);
  record.back() = static_cast<char>(record.back() ^ 1);
  PutRow(1, 1, {EpochStart(1, 0), Floor(20), record});
  ExpectLoss("LSN 3");
}

TEST_F(ReadWalTest, AKeyThatIsNoRowsIsLoss) {
  PutRaw("rx", "value");
  EXPECT_EQ(Read().code(), StatusCode::kDataLoss);
}

// ---- Interruption ----

TEST_F(ReadWalTest, StopsWhenAsked) {
  PutRow(1, 1, {EpochStart(1, 0)});
  std::atomic<bool> stop{true};
  EXPECT_EQ(Read(0, &stop).code(), StatusCode::kCancelled);
  stop = false;
  EXPECT_TRUE(Read(0, &stop).ok());
}

TEST_F(ReadWalTest, AVisitorsErrorEndsTheReadingAndIsPlaced) {
  class Refusing : public WalVisitor {
   public:
    Status OnRecord(ShardId, Lsn lsn, const WalRowHeader&, const RecordView&) override {
      ++calls;
      return lsn == 2 ? InvalidArgument("not this one") : Status::Ok();
    }
    int calls = 0;
  };
  PutRow(1, 1, {EpochStart(1, 0), Floor(20), Floor(30)});
  Refusing refusing;
  const Status status = ReadWal(engine_.get(), 0, kShard, 0, nullptr, &refusing, nullptr, &end_);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "log of shard 3, LSN 2: not this one");
  EXPECT_EQ(refusing.calls, 2);
}

TEST_F(ReadWalTest, AnEnginesErrorIsPassedOn) {
  factory_->FailCall(EngineMethod::kRead, 1, IoError("cannot read"));
  EXPECT_EQ(Read().code(), StatusCode::kIoError);
  factory_->FailCall(EngineMethod::kRead, 2, IoError("cannot read"));
  EXPECT_EQ(Read().code(), StatusCode::kIoError);
}

}  // namespace
}  // namespace chronolith
