// Tables of the log that are damaged and hold records that are stored nowhere else: what Options::accept_data_loss gives up of
// them.
#include <fstream>

#include "base/table_ranges.h"
#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "storage/store_directory.h"
#include "tests/storage/log_loss_fixture.h"
#include "tests/support/memory_archive.h"

namespace chronolith {
namespace {

class LogTable : public LogLossTest {
 protected:
  std::string NewestTable(std::uint32_t shard) {
    std::string table;
    WithLog([&](KvEngine* engine) {
      const auto* const ranges = dynamic_cast<const TableRanges*>(engine);
      ASSERT_NE(ranges, nullptr);
      const std::vector<TableRange> tables = ranges->Tables(1 + shard);
      ASSERT_FALSE(tables.empty());
      table = store_.path() + "/log/" + tables.back().file;
    });
    return table;
  }
  void Flush(KvEngine* engine) {
    std::vector<FamilyId> families;
    for (int k = 0; k < store_.options().shards; ++k) families.push_back(1 + static_cast<FamilyId>(k));
    EXPECT_EQ(engine->Flush(families), Status::Ok());
  }
  // In its first block, which is one of rows: an open does not look at it.
  static void FlipBit(const std::string& table) {
    std::fstream file(table, std::ios::in | std::ios::out | std::ios::binary);
    const auto byte = static_cast<char>(file.get());
    file.seekp(0).put(static_cast<char>(byte ^ 1));
    ASSERT_TRUE(file.good());
  }
  // A table of the shard, and rows behind it in log files. The other shards have nothing as new as those, which would make them
  // suspects of a hole in log files.
  std::string TableInFrontOfRows() {
    Fill();
    store_.Open();
    for (int round = 0; round < 3; ++round, ++t_) {
      for (const auto& [i, shard] : shards_) {
        if (shard != bad_) continue;
        store_.Write(Numbered(i), {{t_, 1.0 * i}});
        contents_[Numbered(i).ToString()][t_] = Shown(1.0 * i);
      }
    }
    store_.KillWithoutOpening();
    const Rows rows = LogRows(bad_);
    const auto split = std::prev(rows.end(), 4);  // the last is the state row
    behind_ = split->first;
    SetLogRows(bad_, Rows(rows.begin(), split));
    WithLog([this](KvEngine* engine) { Flush(engine); });
    std::string table = NewestTable(bad_);
    WithLog([&](KvEngine* engine) {
      std::vector<Op> ops;
      for (auto it = split; it != rows.end(); ++it) ops.push_back({Op::Type::kPut, it->first, it->second});
      const Batch batch{1 + bad_, {}, engine->CurrentEpoch(1 + bad_).value(), ops};
      EXPECT_EQ(engine->Write({&batch, 1}, {.durability = Durability::kSynced})[0], Status::Ok());
    });
    return table;
  }
  // Killed behind the note of what may be lost; with `dropped` also behind the MANIFEST's change.
  void Interrupted(const std::string& table, bool dropped, bool end_noted = true) {
    FlipBit(table);
    std::ofstream(store_.path() + "/UNFINISHED") << (end_noted ? std::to_string(bad_) + " " : "") << bad_ << "t \n";
    std::string manifest;
    std::getline(std::ifstream(store_.path() + "/log/CURRENT"), manifest);
    std::ofstream(store_.path() + "/log/" + manifest + ".cut") << "the beginning of";
    if (dropped) {
      EngineOptions options = LogInstanceOptions(ReadStoreManifest(store_.path()).value());
      options.read_only = true;
      options.create_if_missing = false;
      options.extra["drop_damaged_tables"] = std::filesystem::path(table).filename();
      EXPECT_EQ(EngineRegistry::Default()->Find("rocksdb").value()->Open(store_.path() + "/log", options).status(), Status::Ok());
    }
    store_.Open();
    EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{bad_});
    store_.Close();
    Accept();
    EXPECT_FALSE(std::filesystem::exists(store_.path() + "/UNFINISHED"));
    store_.Restart();
    EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{});
    EXPECT_EQ(store_.Read(), contents_);
  }
  // What the data instance says that it holds of the shard's log.
  void StoredUpTo(Lsn lsn) {
    EngineOptions options = DataInstanceOptions(ReadStoreManifest(store_.path()).value());
    options.create_if_missing = false;
    auto engine = EngineRegistry::Default()->Find("rocksdb").value()->Open(store_.path() + "/data", options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    const auto put = [&](FamilyId family, const std::string& key, const auto& change) {
      std::string value;
      ASSERT_EQ((*engine)->Get(family, key, &value), Status::Ok());
      const std::string changed = change(value);
      const Op op{Op::Type::kPut, key, changed};
      const Batch batch{family, {}, (*engine)->CurrentEpoch(family).value(), {&op, 1}};
      EXPECT_EQ((*engine)->Write({&batch, 1}, {.durability = Durability::kSynced})[0], Status::Ok());
    };
    put(ChunkFamily(bad_), std::string(kChunkStateKey), [&](const std::string& value) {
      ChunkState state;
      EXPECT_EQ(DecodeChunkState(kChunkStateKey, value, &state), Status::Ok());
      state.applied_lsn = lsn;
      return EncodeChunkState(state).value;
    });
    put(IndexFamily(bad_), index_rows::StateKey(), [&](const std::string& value) {
      index_rows::State state = index_rows::DecodeState(value).value();
      state.applied_lsn = lsn;
      return index_rows::EncodeState(state);
    });
    EXPECT_EQ((*engine)->Close(), Status::Ok());
  }
  void Accept() {
    store_.options().accept_data_loss = true;
    store_.Open();
    store_.options().accept_data_loss = false;
    EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{});
    ASSERT_EQ(store_->Stats().losses.size(), 1U) << "no other shard has lost anything, or is said to";
    EXPECT_EQ(store_->Stats().losses[0].shard, bad_);
    const Contents found = store_.Read();
    for (const auto& [i, shard] : shards_) {
      const std::string labels = Numbered(i).ToString();
      EXPECT_EQ(found.at(labels).size() < contents_.at(labels).size(), shard == bad_) << labels;
      contents_[labels] = found.at(labels);
    }
  }

  std::string behind_;  // of TableInFrontOfRows: the first of those rows
};
INSTANTIATE_TEST_SUITE_P(Engines, LogTable, testing::Values("rocksdb"), EngineName);

TEST_P(LogTable, ItsEndIsGivenUpForItsShardOnly) {
  Fill();
  WithLog([this](KvEngine* engine) { Flush(engine); });
  FlipBit(NewestTable(bad_));
  EXPECT_FALSE(store_.TryOpen().ok());
  Accept();
  EXPECT_TRUE(store_->Stats().losses[0].lost.empty());
  EXPECT_GT(store_->Stats().losses[0].uncertain_from, 0U);
  store_.Kill();
  EXPECT_EQ(store_.Read(), contents_);
  EXPECT_TRUE(store_->Stats().losses.empty());
}

TEST_P(LogTable, AHoleOfItIsOneOfItsShardOnly) {
  FlipBit(TableInFrontOfRows());
  Accept();
  ASSERT_EQ(store_->Stats().losses[0].lost.size(), 1U);
  EXPECT_EQ(WalKey(store_->Stats().losses[0].lost[0].last + 1), behind_);
  store_.Kill();
  EXPECT_EQ(store_.Read(), contents_);
}

TEST_P(LogTable, KilledBeforeItIsDroppedTheNextOpenEndsIt) {
  Fill();
  WithLog([this](KvEngine* engine) { Flush(engine); });
  Interrupted(NewestTable(bad_), false);
}

TEST_P(LogTable, KilledBehindThatTheNextOpenEndsIt) {
  Fill();
  WithLog([this](KvEngine* engine) { Flush(engine); });
  Interrupted(NewestTable(bad_), true);
}

// Where the shard's end is noted as well the hole says nothing of others by itself.
TEST_P(LogTable, AHoleThatAnInterruptedOpenLeftIsOneOfItsShardOnly) { Interrupted(TableInFrontOfRows(), true, false); }

// A checkpoint may store the first records of a row. What the others were shows nowhere but in the data instance, which goes
// further than what is left of the log.
TEST_P(LogTable, ARowThatBeginsInWhatIsStoredAndEndsBehindItLeavesItsEndUnknown) {
  Fill();
  store_.Open();
  for (const auto& [i, shard] : shards_) {
    if (shard != bad_) continue;
    TimeSeries series = MakeSeries(Numbered(i), {});
    for (int s = 0; s < 5000; ++s) series.samples.push_back({t_ + s, 1.0 * s});  // several records, in one row
    EXPECT_TRUE(store_->Write(series).ok());
    break;
  }
  const Lsn end = store_->Stats().shards[bad_].last_lsn;
  store_.KillWithoutOpening();
  const Rows rows = LogRows(bad_);
  const std::string last = std::prev(rows.upper_bound(WalKey(end)))->first;
  Lsn stored = 0;
  while (WalKey(stored) != last) ++stored;
  ASSERT_LT(stored, end);
  StoredUpTo(stored);
  WithLog([this](KvEngine* engine) { Flush(engine); });
  FlipBit(NewestTable(bad_));
  store_.options().accept_data_loss = true;
  store_.Open();
  ASSERT_EQ(store_->Stats().losses.size(), 1U);
  EXPECT_EQ(store_->Stats().losses[0].shard, bad_);
  EXPECT_EQ(store_->Stats().losses[0].uncertain_from, stored + 1);
  EXPECT_GT(store_->Stats().shards[bad_].last_lsn, end) << "what was given out before";
}

// It gives up, stores what is left, and cannot trim the log beyond the hole: so it has not come to its end.
TEST_P(LogTable, WhatAnOpenGaveUpIsKnownUntilOneComesToItsEnd) {
  FlipBit(TableInFrontOfRows());
  const auto archive = std::make_shared<MemoryArchive>();
  archive->Take(0);
  store_.options().log_archiver = archive;
  store_.options().accept_data_loss = true;
  EXPECT_EQ(store_.TryOpen().code(), StatusCode::kUnavailable);
  std::string known;
  std::getline(std::ifstream(store_.path() + "/UNFINISHED"), known);
  const std::string shard = std::to_string(bad_);
  EXPECT_THAT(known, testing::MatchesRegex(shard + " " + shard + "t " + shard + "-[0-9]+ "));
  store_.options().accept_data_loss = false;
  store_.options().log_archiver = nullptr;
  store_.Open();
  EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{bad_});
  store_.Close();
  Accept();
  EXPECT_FALSE(std::filesystem::exists(store_.path() + "/UNFINISHED"));
  store_.Restart();
  EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{});
  EXPECT_EQ(store_.Read(), contents_);
}

// Beside a damaged log file, of which the shards lose what they lose of it.
TEST_P(LogTable, ADamagedLogFileBesideItIsGivenUpToo) {
  Fill();
  WithLog([this](KvEngine* engine) { Flush(engine); });
  const std::string table = NewestTable(bad_);
  const Contents before = contents_;
  store_.Open();
  WriteRound();
  store_.KillWithoutOpening();
  FlipBit(table);
  std::string log;
  for (const auto& entry : std::filesystem::directory_iterator(store_.path() + "/log")) {
    if (entry.path().extension() == ".log" && entry.file_size() > 0) log = entry.path();
  }
  FlipBit(log);
  store_.options().accept_data_loss = true;
  store_.Open();
  EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{});
  const Contents found = store_.Read();
  for (const auto& [i, shard] : shards_) {
    if (shard == bad_) continue;
    const std::string labels = Numbered(i).ToString();
    for (const auto& [t, value] : before.at(labels)) EXPECT_TRUE(found.at(labels).at(t) == value) << labels;
  }
}

}  // namespace
}  // namespace chronolith
