// A log that is too large for the memory is read from a copy in tables: it says the same, and nothing of the copy stays.
#include "ops/log_in_tables.h"

#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <thread>

#include "base/table_ranges.h"
#include "ops/log_archive_tail.h"
#include "ops/offline_store.h"
#include "ops/salvage_parts.h"
#include "ops/verify.h"
#include "storage/store_directory.h"
#include "tests/storage/store_fixture.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr Timestamp kT = 1'700'000'000'000;
constexpr int kSeries = 40;

class InterruptsAtTheFirstByte : public ProgressSink {
 public:
  void Begin(std::string_view phase, std::uint64_t, std::string_view) override { phase_ = phase; }
  void Add(std::uint64_t) override { cancelled_ = true; }
  const std::atomic<bool>* cancelled() const { return &cancelled_; }
  const std::string& phase() const { return phase_; }

 private:
  std::atomic<bool> cancelled_{false};
  std::string phase_;
};

struct LastMessage : Logger {
  void Log(LogLevel, std::string_view message) override { last = message; }
  std::string last;
};

class LogInTablesTest : public ::testing::Test {
 protected:
  LogInTablesTest() : store_("rocksdb") {
    fs::create_directory(scratch());
    const char* const before = getenv("TMPDIR");
    if (before != nullptr) before_ = before;
    setenv("TMPDIR", scratch().c_str(), 1);
    small_.memory_limit_bytes = 64 << 10;
  }
  ~LogInTablesTest() override { before_.empty() ? unsetenv("TMPDIR") : setenv("TMPDIR", before_.c_str(), 1); }

  std::string scratch() { return store_.directory() / "scratch"; }
  std::string log() const { return store_.path() + "/log"; }
  std::vector<std::string> Left() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(scratch())) names.push_back(entry.path());
    return names;
  }

  void Write(int from) {
    for (int s = 0; s < kSeries; ++s) {
      TimeSeries series = MakeSeries({{"__name__", "n"}, {"s", std::to_string(s)}}, {});
      for (int i = from; i < from + 100; ++i) series.samples.push_back({kT + i, 0.37 * i * s});
      ASSERT_TRUE(store_->Write(series).ok());
    }
  }
  // Some of its log is in tables, and a part of that trimmed; the rest only in log files.
  void FillAndKill() {
    store_.Open();
    Write(0);
    store_.Checkpoint();
    Write(1000);
    store_.KillWithoutOpening();
    const StoreManifest manifest = ReadStoreManifest(store_.path()).value();
    auto engine = Factory()->Open(log(), LogInstanceOptions(manifest)).value();
    for (FamilyId family = 0; family < LogInstanceOptions(manifest).families.size(); ++family) {
      ASSERT_EQ(engine->Flush(family), Status::Ok());
    }
    ASSERT_EQ(engine->Close(), Status::Ok());
    store_.Open();
    Write(2000);
    Write(3000);
    ASSERT_TRUE(store_->Delete({Matcher::Equal("s", "7")}, {kT + 3000, kT + 3010}).ok());
    store_.KillWithoutOpening();
  }
  static std::shared_ptr<EngineFactory> Factory() { return EngineRegistry::Default()->Find("rocksdb").value(); }
  std::string LogFile() const { return Newest(".log"); }
  std::string Newest(const std::string& ending) const {
    std::string newest;
    for (const auto& entry : fs::directory_iterator(log())) {
      const std::string path = entry.path();
      if (path.ends_with(ending) && entry.file_size() > 0 && path > newest) newest = path;
    }
    EXPECT_FALSE(newest.empty()) << "no " << ending;
    return newest;
  }
  static void FlipByte(const std::string& path, std::uintmax_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const auto byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte ^ 0x10));
    ASSERT_TRUE(file.good());
  }

  std::shared_ptr<LogInTables> Put(const OpsContext& context) {
    auto made = PutLogInTables(store_.path(), {}, context);
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    return made.ok() ? *made : nullptr;
  }
  // By family, all rows of its log.
  using Rows = std::map<FamilyId, std::vector<std::pair<std::string, std::string>>>;
  Rows ReadLog(std::shared_ptr<LogInTables> tables) {
    const auto store = OfflineStore::Open(store_.path(), {.log_in_tables = std::move(tables)});
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    if (!store.ok()) return {};
    EXPECT_EQ((*store)->log_path(), log());
    return RowsOf((*store)->log());
  }
  static Rows RowsOf(KvEngine* log) {
    Rows rows;
    for (FamilyId family = 0; family < log->Stats().families.size(); ++family) {
      const auto it = log->NewIterator(family, {}).value();
      for (it->Seek(""); it->Valid(); it->Next()) rows[family].emplace_back(it->key(), it->value());
      EXPECT_TRUE(it->status().ok()) << it->status().ToString();
    }
    return rows;
  }
  void ExpectReadAsItIs(const OpsContext& context) {
    EXPECT_EQ(Put(context), nullptr);
    EXPECT_THAT(Left(), IsEmpty());
  }

  TestStore store_;
  OpsContext small_;
  std::string before_;
};

TEST_F(LogInTablesTest, SaysWhatTheLogSaysAndLeavesNothing) {
  FillAndKill();
  const Rows rows = ReadLog(nullptr);
  ASSERT_GE(rows.size(), 4U);
  const auto tables = Put(small_);
  ASSERT_NE(tables, nullptr);
  EXPECT_THAT(Left(), IsEmpty()) << "who is killed would leave it";
  for (const FamilyStats& family : tables->rows()->Stats().families) EXPECT_EQ(family.buffered_bytes, 0U) << family.name;
  EXPECT_EQ(ReadLog(tables), rows);
}

// For who opens it once more.
TEST_F(LogInTablesTest, WhereItIsKeptItGoesWithItsObject) {
  FillAndKill();
  const EngineOptions options = LogInstanceOptions(ReadStoreManifest(store_.path()).value());
  const std::string parent = store_.directory() / "parent";
  fs::create_directory(parent);
  auto made = LogInTables::Make({Factory(), store_.path(), log(), options}, small_, {.parent = parent});
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  ASSERT_NE(*made, nullptr);
  EXPECT_THAT((*made)->path(), HasSubstr(parent));
  EngineOptions reading = options;
  reading.read_only = true;
  EXPECT_TRUE(Factory()->Open((*made)->path(), reading).ok());
  made->reset();
  EXPECT_TRUE(fs::is_empty(parent));
}

TEST_F(LogInTablesTest, OfFilesItSaysWhatTheSourceHas) {
  FillAndKill();
  const auto as_it_is = OfflineStore::Open(store_.path(), {}).value();
  const auto copied = OfflineStore::Open(store_.path(), {.log_in_tables = Put(small_)}).value();
  ASSERT_NE(copied->log(), copied->log_files());
  const EngineStats expected = as_it_is->LogStats();
  const EngineStats stats = copied->LogStats();
  EXPECT_EQ(stats.log_bytes, expected.log_bytes);
  EXPECT_EQ(stats.log_files, expected.log_files);
  ASSERT_EQ(stats.families.size(), expected.families.size());
  for (std::size_t i = 0; i < stats.families.size(); ++i) {
    EXPECT_EQ(stats.families[i].file_bytes, expected.families[i].file_bytes);
    EXPECT_EQ(stats.families[i].file_count, expected.families[i].file_count);
    EXPECT_EQ(stats.families[i].buffered_bytes > 0, expected.families[i].buffered_bytes > 0);
  }
  const auto tables = [](KvEngine* engine) {
    std::vector<std::string> names;
    for (const TableRange& table : dynamic_cast<const TableRanges&>(*engine).Tables(WalFamily(0))) names.push_back(table.file);
    return names;
  };
  ASSERT_THAT(tables(as_it_is->log()), Not(IsEmpty()));
  EXPECT_EQ(tables(copied->log_files()), tables(as_it_is->log()));
}

TEST_F(LogInTablesTest, ASmallOneIsReadAsItIs) {
  FillAndKill();
  ExpectReadAsItIs({});
  store_.Open();
  store_.Close();
  OpsContext exact;
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(log())) bytes += entry.path().extension() == ".log" ? entry.file_size() : 0;
  exact.memory_limit_bytes = 4 * bytes;
  ExpectReadAsItIs(exact);
  exact.memory_limit_bytes -= 4;
  EXPECT_NE(Put(exact), nullptr);
}

TEST_F(LogInTablesTest, ADamagedOneIsReadAsItIs) {
  FillAndKill();
  const std::string file = LogFile();
  FlipByte(file, fs::file_size(file) / 2);
  ExpectReadAsItIs(small_);
  const Status opened = OfflineStore::Open(store_.path(), {}).status();
  EXPECT_EQ(opened.code(), StatusCode::kDataLoss);
  EXPECT_THAT(opened.message(), HasSubstr(file));
}

TEST_F(LogInTablesTest, OfADamagedTableItSaysWhatTheSourceSays) {
  std::string table;
  const auto read = [&](std::shared_ptr<LogInTables> tables) {
    const auto store = OfflineStore::Open(store_.path(), {.log_in_tables = std::move(tables)}).value();
    std::pair<Rows, std::vector<std::string>> rows_and_errors;
    for (FamilyId family = 0; family < store->log()->Stats().families.size(); ++family) {
      const auto it = store->log()->NewIterator(family, {}).value();
      for (it->Seek(""); it->Valid(); it->Next()) rows_and_errors.first[family].emplace_back(it->key(), it->value());
      if (it->status().ok()) continue;
      EXPECT_EQ(it->status().code(), StatusCode::kDataLoss);
      rows_and_errors.second.push_back(it->status().message());
    }
    return rows_and_errors;
  };
  const auto compare = [&] {
    const Rows whole = ReadLog(nullptr);
    table = Newest(".sst");
    FlipByte(table, 20);
    const auto as_it_is = read(nullptr);
    ASSERT_EQ(as_it_is.second.size(), 1U);
    EXPECT_THAT(as_it_is.second[0], HasSubstr(table));
    EXPECT_NE(as_it_is.first, whole);
    const auto copied = Put(small_);
    ASSERT_NE(copied, nullptr);
    for (const FamilyStats& family : copied->rows()->Stats().families) EXPECT_EQ(family.buffered_bytes, 0U) << family.name;
    EXPECT_EQ(read(copied), as_it_is);
    EXPECT_THAT(Left(), IsEmpty());
  };
  FillAndKill();
  compare();
  FlipByte(table, 20);  // whole again
  store_.Open();
  Write(4000);
  compare();
  FlipByte(table, 20);
}

TEST_F(LogInTablesTest, OneWhoseFilesAreMissingIsReadAsItIs) {
  FillAndKill();
  fs::remove(Newest(".sst"));
  ExpectReadAsItIs(small_);
  fs::remove(log() + "/CURRENT");
  ExpectReadAsItIs(small_);
}

// As kill -9 leaves it.
TEST_F(LogInTablesTest, ATornEndIsNoDamage) {
  FillAndKill();
  const Rows whole = ReadLog(nullptr);
  const std::string file = LogFile();
  fs::resize_file(file, fs::file_size(file) - 3);
  const Rows rows = ReadLog(nullptr);
  ASSERT_NE(rows, whole);
  const auto tables = Put(small_);
  ASSERT_NE(tables, nullptr);
  EXPECT_EQ(ReadLog(tables), rows);
}

TEST_F(LogInTablesTest, BesideAWriterItHasAllThatWasLogged) {
  FillAndKill();
  store_.Open();
  Write(4000);
  const Rows rows = ReadLog(nullptr);
  const auto tables = Put(small_);
  ASSERT_NE(tables, nullptr);
  EXPECT_THAT(Left(), IsEmpty());
  for (const FamilyStats& family : tables->rows()->Stats().families) EXPECT_EQ(family.buffered_bytes, 0U) << family.name;
  EXPECT_EQ(ReadLog(tables), rows);
  EXPECT_TRUE(tables->IsCurrent());

  Write(5000);
  EXPECT_FALSE(tables->IsCurrent());
  const Rows more = ReadLog(nullptr);
  const auto later = Put(small_);
  ASSERT_NE(later, nullptr);
  store_.Checkpoint();
  store_.Close();
  EXPECT_EQ(ReadLog(tables), rows);
  EXPECT_EQ(ReadLog(later), more);
  EXPECT_NE(rows, more);
  EXPECT_EQ(later->OpenFiles().status(), Status::Ok());
  EXPECT_THAT(Left(), IsEmpty());
}

// A copy without a row that the log had, or with a log that does not reach what is stored, would be a problem.
TEST_F(LogInTablesTest, VerifyFindsNothingBesideOneWhoWritesAndCheckpoints) {
  FillAndKill();
  store_.Open();
  std::atomic<bool> done{false};
  std::atomic<int> writes{0};
  std::thread writer([&] {
    for (int from = 4000; !done; from += 100, ++writes) {
      Write(from);
      if (from % 300 == 0) store_.Checkpoint();
    }
  });
  for (int round = 0, before = 0; round < 15; ++round, before = writes) {
    const Result<VerifyReport> report = VerifyStore(store_.path(), {}, small_);
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    if (!report.ok()) break;
    EXPECT_THAT(report->problems, IsEmpty());
    while (writes == before) std::this_thread::yield();
  }
  done = true;
  writer.join();
  store_.Close();
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(LogInTablesTest, SomebodyMayWriteWhileTheCopyIsRead) {
  FillAndKill();
  const Rows rows = ReadLog(nullptr);
  const auto tables = Put(small_);
  ASSERT_NE(tables, nullptr);
  EXPECT_TRUE(tables->IsCurrent());
  store_.Open();
  store_.Checkpoint();
  store_.Close();
  EXPECT_FALSE(tables->IsCurrent());
  EXPECT_EQ(ReadLog(tables), rows);
}

TEST_F(LogInTablesTest, WithoutRoomItIsReadAsItIsWhichIsSaid) {
  FillAndKill();
  const auto told = std::make_shared<LastMessage>();
  small_.logger = told;
  const StoreManifest manifest = ReadStoreManifest(store_.path()).value();
  const LogInTables::Source source{Factory(), store_.path(), log(), LogInstanceOptions(manifest)};
  const auto made = LogInTables::Make(source, small_, {.spare_bytes = std::numeric_limits<std::uint64_t>::max() / 2});
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_EQ(*made, nullptr);
  EXPECT_THAT(Left(), IsEmpty());
  EXPECT_THAT(told->last, HasSubstr("the memory limit may be passed"));
  EXPECT_THAT(told->last, HasSubstr("or set TMPDIR"));
}

TEST_F(LogInTablesTest, AnInterruptedCopyLeavesNothing) {
  FillAndKill();
  InterruptsAtTheFirstByte interrupts;
  small_.progress = &interrupts;
  small_.cancelled = interrupts.cancelled();
  EXPECT_EQ(PutLogInTables(store_.path(), {}, small_).status().code(), StatusCode::kCancelled);
  EXPECT_EQ(interrupts.phase(), "copying the log");
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(LogInTablesTest, AnInterruptedLookAtTheFilesLeavesNothing) {
  FillAndKill();
  const std::atomic<bool> cancelled{true};
  small_.cancelled = &cancelled;
  EXPECT_EQ(PutLogInTables(store_.path(), {}, small_).status().code(), StatusCode::kCancelled);
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(LogInTablesTest, AnArchiveGetsTheSame) {
  FillAndKill();
  const auto as_it_is = ArchiveTail(store_.path(), "", store_.directory() / "archive1", {});
  const auto copied = ArchiveTail(store_.path(), "", store_.directory() / "archive2", small_);
  ASSERT_TRUE(as_it_is.ok()) << as_it_is.status().ToString();
  ASSERT_TRUE(copied.ok()) << copied.status().ToString();
  EXPECT_GT(copied->rows, 0U);
  EXPECT_EQ(copied->rows, as_it_is->rows);
  EXPECT_EQ(copied->bytes, as_it_is->bytes);
  EXPECT_THAT(Left(), IsEmpty());
}

// The files that verify reads are those of the log, and where it looks again it needs no other copy.
TEST_F(LogInTablesTest, VerifyFindsTheSame) {
  FillAndKill();
  const auto compare = [&] {
    const Result<VerifyReport> as_it_is = VerifyStore(store_.path(), {}, {});
    const Result<VerifyReport> copied = VerifyStore(store_.path(), {}, small_);
    ASSERT_TRUE(as_it_is.ok()) << as_it_is.status().ToString();
    ASSERT_TRUE(copied.ok()) << copied.status().ToString();
    EXPECT_EQ(copied->file_bytes, as_it_is->file_bytes);
    EXPECT_EQ(copied->problems, as_it_is->problems);
    EXPECT_EQ(copied->notes, as_it_is->notes);
    for (std::size_t i = 0; i < as_it_is->shards.size(); ++i) {
      EXPECT_EQ(copied->shards[i].log_records, as_it_is->shards[i].log_records);
      EXPECT_EQ(copied->shards[i].samples, as_it_is->shards[i].samples);
    }
    EXPECT_THAT(Left(), IsEmpty());
  };
  compare();
  std::string table;
  for (const auto& entry : fs::directory_iterator(store_.path() + "/data")) {
    if (entry.path().extension() == ".sst" && entry.path() > table) table = entry.path();
  }
  FlipByte(table, 20);
  compare();
  EXPECT_GT(VerifyStore(store_.path(), {}, small_)->problems_total, 0U);
}

// The damage is taken out of a copy, which then is like any other log.
TEST_F(LogInTablesTest, SalvageStoresWhatItHasMended) {
  FillAndKill();
  FlipByte(LogFile(), fs::file_size(LogFile()) / 2);
  ExpectReadAsItIs(small_);
  const auto opened = [&](const OpsContext& context, SalvageReport* report, std::uint64_t* held) {
    LossList losses(report);
    SalvageScratch scratch("");
    const StoreManifest manifest = ReadStoreManifest(store_.path()).value();
    const auto source = OpenSalvageSource(store_.path(), manifest, &scratch, {}, context, &losses);
    EXPECT_TRUE(source.ok()) << source.status().ToString();
    for (const FamilyStats& family : source->log->Stats().families) *held += family.buffered_bytes;
    return RowsOf(source->log.get());
  };
  SalvageReport of_held, of_stored;
  std::uint64_t held = 0, held_of_stored = 0;
  const Rows rows = opened({}, &of_held, &held);
  EXPECT_EQ(opened(small_, &of_stored, &held_of_stored), rows);
  EXPECT_GT(rows.size(), 4U);
  EXPECT_GT(held, 0U);
  EXPECT_EQ(held_of_stored, 0U);
  ASSERT_EQ(of_stored.losses.size(), 1U);
  ASSERT_EQ(of_held.losses.size(), 1U);
  EXPECT_EQ(of_stored.losses[0].what, of_held.losses[0].what);
  EXPECT_THAT(Left(), IsEmpty());
}

}  // namespace
}  // namespace chronolith::ops
