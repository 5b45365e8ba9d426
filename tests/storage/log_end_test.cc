// How far the log of a shard goes that is not opened: what is stored of it, then what is replayed, row by row.
#include "storage/log_end.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "format/row_keys.h"
#include "format/wal_record.h"
#include "plugins/memory/memory_engine.h"

namespace chronolith {
namespace {

constexpr FamilyId kFamily = 0;

class LogEndTest : public testing::Test {
 protected:
  LogEndTest() {
    EngineOptions options;
    options.instance = InstanceRole::kLog;
    options.families.push_back({"wal.0", FamilyRole::kWal});
    engine_ = factory_->Open("log", options).value();
  }
  // A row of records in one epoch; the first opens it where `previous_end` is given.
  static std::string Row(Lsn first, std::uint32_t records, std::uint64_t epoch = 1, std::optional<Lsn> previous_end = {}) {
    std::string payload;
    if (previous_end) AppendEpochRecord(epoch, *previous_end, &payload);
    for (std::uint32_t i = previous_end ? 1 : 0; i < records; ++i) AppendFloorRecord(static_cast<Timestamp>(i), &payload);
    std::string value;
    WalRowEncoder().Append(0, {.first_lsn = first, .epoch = epoch, .group = first, .records = records}, payload, false, &value);
    return value;
  }
  static std::string State(Lsn trimmed_to) { return EncodeWalState(0, trimmed_to); }
  void Store(std::string_view key, const std::string& value) {
    const Op op{Op::Type::kPut, key, value};
    const Batch batch{kFamily, {}, 0, {&op, 1}};
    ASSERT_EQ(engine_->Write({&batch, 1}, {})[0], Status::Ok());
  }
  void StoreRow(Lsn first, std::uint32_t records) { Store(WalKey(first), Row(first, records)); }
  void Begin() { ASSERT_EQ(end_.ReadStored(engine_.get(), kFamily), Status::Ok()); }
  void Replay(Lsn first, std::uint32_t records, std::uint64_t epoch = 1, std::optional<Lsn> previous_end = {}) {
    end_.OnReplayed(WalKey(first), Row(first, records, epoch, previous_end));
  }
  void ExpectWhole(Lsn last) {
    EXPECT_EQ(end_.hole(), Status::Ok());
    EXPECT_EQ(end_.last(), last);
  }
  void ExpectHoleBehind(Lsn last) {
    EXPECT_EQ(end_.hole().code(), StatusCode::kDataLoss);
    EXPECT_EQ(end_.last(), last);
  }

  const std::shared_ptr<MemoryEngineFactory> factory_ = std::make_shared<MemoryEngineFactory>();
  std::unique_ptr<KvEngine> engine_;
  LogEnd end_{0};
};

TEST_F(LogEndTest, GoesOnBehindWhatIsStoredAndPassesOverWhatIsReplayedOfThat) {
  StoreRow(1, 5);
  StoreRow(6, 5);
  Begin();
  ExpectWhole(10);
  Replay(6, 5);
  Replay(11, 3);
  ExpectWhole(13);
  Replay(14, 2, 2, 13);
  ExpectWhole(15);
}

TEST_F(LogEndTest, EndsInFrontOfAHoleWhateverIsBehind) {
  StoreRow(1, 5);
  Begin();
  Replay(8, 2);
  Replay(10, 2);
  ExpectHoleBehind(5);
  Replay(20, 1);
  ExpectHoleBehind(5);
  end_.OnReplayed(kWalStateKey, State(7));
  ExpectHoleBehind(11);  // the first is trimmed away
  end_.OnReplayed(kWalStateKey, State(19));
  ExpectWhole(20);
}

TEST_F(LogEndTest, EndsInFrontOfARowThatDoesNotDecode) {
  StoreRow(1, 5);
  Begin();
  std::string row = Row(6, 2);
  row[row.size() / 2] ^= 1;
  end_.OnReplayed(WalKey(6), row);
  Replay(8, 2);
  ExpectHoleBehind(5);
  end_.OnReplayed(kWalStateKey, State(7));
  ExpectWhole(9);
}

// Log files may begin with what tables have long since, the state too.
TEST_F(LogEndTest, AnOlderStateTakesNothingBack) {
  Store(kWalStateKey, State(50));
  Begin();
  ExpectWhole(50);
  end_.OnReplayed(kWalStateKey, State(10));
  Replay(11, 5);
  Replay(51, 5);
  ExpectWhole(55);
}

TEST_F(LogEndTest, WhatWasTrimmedNamesNoEpochForWhatIsBehind) {
  Begin();
  Replay(1, 50, 1, 0);
  end_.OnReplayed(kWalStateKey, State(90));  // an opening was among what is lost
  Replay(91, 5, 2);
  ExpectWhole(95);
}

TEST_F(LogEndTest, HolesWithoutEndTakeNoMemoryWithoutEnd) {
  Begin();
  for (Lsn lsn = 2; lsn < 2000; lsn += 2) Replay(lsn, 1);
  ExpectHoleBehind(0);
  end_.OnReplayed(kWalStateKey, State(1997));
  ExpectWhole(1998);
}

}  // namespace
}  // namespace chronolith
