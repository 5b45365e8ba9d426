// salvage of a log of which a table is damaged that holds, or hid, records; or of which a recovery that died had stored what is
// behind a hole.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/table_ranges.h"
#include "format/chunk_rows.h"
#include "ops/salvage.h"
#include "storage/store_directory.h"
#include "tests/storage/store_fixture.h"

namespace chronolith::ops {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;
constexpr FamilyId kLog = WalFamily(0);
constexpr FamilyId kChunks = ChunkFamily(0);

class SalvageLogTable : public ::testing::Test {
 protected:
  SalvageLogTable() : store_("rocksdb") { store_.options().shards = 1; }

  void Write(const std::string& name, int samples) {
    TimeSeries series = MakeSeries({{"__name__", name}}, {});
    for (int i = 0; i < samples; ++i) series.samples.push_back({kT + i, 1.0 * i});
    EXPECT_TRUE(store_->Write(series).ok());
  }
  // While the store is closed.
  template <typename Use>
  void With(EngineOptions options, const std::string& path, const Use& use) {
    options.create_if_missing = false;
    auto engine = EngineRegistry::Default()->Find("rocksdb").value()->Open(path, options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    use(engine->get());
    EXPECT_EQ((*engine)->Close(), Status::Ok());
  }
  StoreManifest Manifest() const { return ReadStoreManifest(store_.path()).value(); }
  // What the log has in memory becomes tables; those that it then has.
  std::vector<TableRange> FlushLog() {
    std::vector<TableRange> tables;
    With(LogInstanceOptions(Manifest()), store_.path() + "/log", [&](KvEngine* engine) {
      EXPECT_EQ(engine->Flush({&kLog, 1}), Status::Ok());
      tables = dynamic_cast<const TableRanges&>(*engine).Tables(kLog);
    });
    return tables;
  }
  // The chunks say that they are stored up to here.
  void StoreTo(Lsn applied) {
    With(DataInstanceOptions(Manifest()), store_.path() + "/data", [&](KvEngine* engine) {
      std::string value;
      ChunkState state;
      ASSERT_EQ(engine->Get(kChunks, kChunkStateKey, &value), Status::Ok());
      ASSERT_EQ(DecodeChunkState(kChunkStateKey, value, &state), Status::Ok());
      state.applied_lsn = applied;
      const ChunkFamilyRow row = EncodeChunkState(state);
      const Op op{Op::Type::kPut, row.key, row.value};
      const Batch batch{kChunks, {}, engine->CurrentEpoch(kChunks).value(), {&op, 1}};
      EXPECT_EQ(engine->Write({&batch, 1}, {})[0], Status::Ok());
      EXPECT_EQ(engine->Flush({&kChunks, 1}), Status::Ok());
    });
  }
  void FlipBit(const TableRange& table) const {
    std::fstream file(store_.path() + "/log/" + table.file, std::ios::in | std::ios::out | std::ios::binary);
    const auto byte = static_cast<char>(file.get());
    file.seekp(0).put(static_cast<char>(byte ^ 1));
    ASSERT_TRUE(file.good());
  }
  std::vector<TableRange> TablesThatHideWhatWasDeleted() {
    store_.Open();
    Write("deleted", 10);
    Write("kept", 10);
    store_.KillWithoutOpening();
    const std::size_t with_records = FlushLog().size();
    store_.Open();
    EXPECT_TRUE(store_->Delete({Matcher::Equal("__name__", "deleted")}, {}).ok());
    store_.Checkpoint();
    store_.Compact();
    store_.Checkpoint();
    contents_ = store_.Read();
    EXPECT_EQ(contents_.size(), 1U);
    store_.Close();
    std::vector<TableRange> tables = FlushLog();
    EXPECT_GT(tables.size(), with_records) << "the engine has merged them";
    tables.erase(tables.begin(), tables.begin() + static_cast<std::ptrdiff_t>(std::min(with_records, tables.size())));
    return tables;
  }
  Contents Salvaged(SalvageReport* report) {
    const std::string target = store_.directory() / "target";
    Result<SalvageReport> result = Salvage(store_.path(), target, {}, {});
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    if (!result.ok()) return {};
    *report = std::move(*result);
    Options options;
    options.read_only = true;
    const auto salvaged = Storage::Open(options, target);
    EXPECT_TRUE(salvaged.ok()) << salvaged.status().ToString();
    return salvaged.ok() ? Read(salvaged->get()) : Contents();
  }

  TestStore store_;
  Contents contents_;
};

// The table that is lost says that the records in front of it were trimmed, and the delete's is gone, too.
TEST_F(SalvageLogTable, WhatWasDeletedStaysDeleted) {
  for (const TableRange& table : TablesThatHideWhatWasDeleted()) FlipBit(table);
  SalvageReport report;
  EXPECT_EQ(Salvaged(&report), contents_);
}

TEST_F(SalvageLogTable, WhatWasDeletedStaysDeletedWhereAnInterruptedOpenTookTheTableOut) {
  const std::vector<TableRange> tables = TablesThatHideWhatWasDeleted();
  EngineOptions dropping = LogInstanceOptions(Manifest());
  for (const TableRange& table : tables) {
    FlipBit(table);
    dropping.extra["drop_damaged_tables"] += table.file + ",";
  }
  With(dropping, store_.path() + "/log", [](KvEngine*) {});
  std::ofstream(store_.path() + "/UNFINISHED") << "0t \n";
  SalvageReport report;
  EXPECT_EQ(Salvaged(&report), contents_);
  ASSERT_EQ(report.losses.size(), 1U);
  EXPECT_EQ(report.losses[0].kind, LossKind::kLog);
  EXPECT_EQ(report.losses[0].shard, 0U);
}

TEST_F(SalvageLogTable, ARowThatBeginsInWhatIsStoredAndEndsBehindItIsTold) {
  store_.Open();
  Write("n", 1);
  store_.Checkpoint();
  const Lsn stored = store_->Stats().shards[0].last_lsn;
  Write("n", 5000);  // several records, in one row
  ASSERT_GT(store_->Stats().shards[0].last_lsn, stored + 1);
  store_.KillWithoutOpening();
  const std::vector<TableRange> tables = FlushLog();
  StoreTo(stored + 1);  // as a checkpoint of the first of them
  FlipBit(tables.back());
  SalvageReport report;
  Salvaged(&report);
  ASSERT_EQ(report.losses.size(), 1U);
  EXPECT_EQ(report.losses[0].kind, LossKind::kLog);
  EXPECT_EQ(report.losses[0].first_lsn, stored + 2);
}

TEST_F(SalvageLogTable, WhatIsLostIsToldThoughWhatIsBehindItIsStored) {
  store_.Open();
  Write("n", 1);
  store_.Checkpoint();
  const Lsn whole = store_->Stats().shards[0].last_lsn;
  Write("lost", 1);
  const Lsn lost = store_->Stats().shards[0].last_lsn;
  Write("n", 1);
  const Lsn last = store_->Stats().shards[0].last_lsn;
  store_.KillWithoutOpening();
  With(LogInstanceOptions(Manifest()), store_.path() + "/log", [&](KvEngine* engine) {
    const std::string from = WalKey(whole + 1), to = WalKey(lost + 1);
    const Op op{Op::Type::kDeleteRange, from, to};
    const Batch batch{kLog, {}, engine->CurrentEpoch(kLog).value(), {&op, 1}};
    EXPECT_EQ(engine->Write({&batch, 1}, {.durability = Durability::kSynced})[0], Status::Ok());
  });
  StoreTo(last);
  std::ofstream(store_.path() + "/UNFINISHED") << "0-" << whole << " \n";
  SalvageReport report;
  Salvaged(&report);
  ASSERT_EQ(report.losses.size(), 1U);
  EXPECT_EQ(report.losses[0].kind, LossKind::kLog);
  EXPECT_EQ(report.losses[0].first_lsn, whole + 1);
  EXPECT_EQ(report.losses[0].last_lsn, lost);
}

TEST_F(SalvageLogTable, WhatIsLostIsToldThoughTheLogWasTrimmedBeyondIt) {
  store_.Open();
  Write("n", 1);
  store_.Checkpoint();
  store_.Close();
  SalvageReport report;
  Salvaged(&report);
  EXPECT_TRUE(report.losses.empty());
  std::filesystem::remove_all(store_.directory() / "target");
  std::ofstream(store_.path() + "/UNFINISHED") << "0-1 \n";
  Salvaged(&report);
  ASSERT_EQ(report.losses.size(), 1U);
  EXPECT_EQ(report.losses[0].kind, LossKind::kLog);
  EXPECT_EQ(report.losses[0].first_lsn, 2U);
  EXPECT_EQ(report.losses[0].last_lsn, 0U);
}

}  // namespace
}  // namespace chronolith::ops
