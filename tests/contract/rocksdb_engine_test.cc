// What only the RocksDB engine can show: damage to its files, and what of them a killed process leaves. Files are edited by name,
// as a bad disk would.
#include "plugins/rocksdb/rocksdb_engine.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <random>
#include <set>
#include <thread>

#include "tests/contract/engine_fixture.h"
#include "tests/contract/seed.h"
#include "tests/support/directory_image.h"
#include "tests/support/files.h"
#include "tests/support/verify_files.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> Files(const std::string& directory, const std::string& extension) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() == extension) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}
std::string LargestFile(const std::string& directory, const std::string& extension) {
  const std::vector<std::string> files = Files(directory, extension);
  return *std::max_element(files.begin(), files.end(),
                           [](const auto& a, const auto& b) { return fs::file_size(a) < fs::file_size(b); });
}
void FlipBit(const std::string& path, double place) {
  std::string bytes = ReadFile(path);
  bytes.at(static_cast<std::size_t>(static_cast<double>(bytes.size()) * place)) ^= 0x10;
  WriteFile(path, bytes);
}

class CountingLogger : public Logger {
 public:
  void Log(LogLevel, std::string_view) override { ++lines; }
  std::atomic<int> lines{0};
};

class RocksDbEngine : public testing::Test {
 protected:
  static constexpr int kFamilies = 4;
  static constexpr int kRows = 200;  // of each family

  static EngineOptions Options(InstanceRole role = InstanceRole::kLog) {
    EngineOptions options;
    options.instance = role;
    options.write_buffer_bytes = 32UL << 20;
    for (int i = 0; i < kFamilies; ++i) {
      options.families.push_back({"f." + std::to_string(i), role == InstanceRole::kLog ? FamilyRole::kWal : FamilyRole::kChunk});
    }
    return options;
  }
  Result<std::unique_ptr<KvEngine>> Open(std::string_view name, const EngineOptions& options = Options()) {
    return factory_->Open(directory_ / name, options);
  }
  // Row i of each family in one group, 2 KiB each.
  static constexpr Epoch kEpoch = 100;  // newer than any that is acquired
  static void WriteRow(KvEngine* engine, int i, Durability durability = Durability::kLogged) {
    const std::string key = std::to_string(10'000 + i);
    const std::string value(2048, static_cast<char>('a' + i % 26));
    const Op op = PutOp(key, value);
    std::vector<Batch> batches;
    for (FamilyId f = 0; f < kFamilies; ++f) batches.push_back({f, key, kEpoch, std::span(&op, 1)});
    for (const Status& s : engine->Write(batches, {.durability = durability})) ASSERT_TRUE(s.ok()) << s.ToString();
  }
  // Rows in front, the same in every family; -1 where there is a hole or a wrong value.
  static int RowsOf(KvEngine* engine) {
    int rows[kFamilies] = {};
    for (FamilyId f = 0; f < kFamilies; ++f) {
      auto cursor = engine->NewIterator(f, {});
      for ((*cursor)->Seek(""); (*cursor)->Valid(); (*cursor)->Next(), ++rows[f]) {
        if ((*cursor)->key() != std::to_string(10'000 + rows[f])) return -1;
        if ((*cursor)->value() != std::string(2048, static_cast<char>('a' + rows[f] % 26))) return -1;
      }
      if (!(*cursor)->status().ok() || rows[f] != rows[0]) return -1;
    }
    return rows[0];
  }
  // A copy of the files of a live engine is what kill -9 leaves of it.
  void CopyAsKilled(std::string_view from, std::string_view to) {
    testing_support::CopyAtOneMoment(directory_ / from, directory_ / to);
    fs::remove(fs::path(directory_ / to) / "LOCK");
  }
  void MakeLog(std::string_view killed) {
    auto engine = Open("live");
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    for (int i = 0; i < kRows; ++i) WriteRow(engine->get(), i);
    CopyAsKilled("live", killed);
  }

  TempDirectory directory_;
  const std::shared_ptr<EngineFactory> factory_ = MakeRocksDbEngineFactory();
};

// The family of the store's identity is written once; left in its memtable, it would pin the first log file.
TEST_F(RocksDbEngine, AFlushFreesTheLogAlsoOfFamiliesThatAreHardlyEverWritten) {
  EngineOptions options = Options();
  options.families.push_back({"meta", FamilyRole::kMeta});
  const auto logs = [&] {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_ / "db")) {
      if (entry.path().extension() == ".log") names.insert(entry.path().filename().string());
    }
    return names;
  };
  auto engine = Open("db", options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  const Op op = PutOp("store", "identity");
  const Batch identity{kFamilies, {}, 0, std::span(&op, 1)};
  ASSERT_TRUE((*engine)->Write({&identity, 1}, {.durability = Durability::kSynced})[0].ok());
  for (int i = 0; i < kRows; ++i) WriteRow(engine->get(), i);
  const std::set<std::string> before = logs();
  const std::vector<FamilyId> families = {0, 1, 2, 3};
  ASSERT_TRUE((*engine)->Flush(families).ok());
  ASSERT_TRUE((*engine)->Close().ok());  // has deleted what it had found obsolete
  for (const std::string& log : before) EXPECT_EQ(logs().count(log), 0U) << log;
  engine = Open("db", options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  std::string value;
  EXPECT_TRUE((*engine)->Get(kFamilies, "store", &value).ok());
  EXPECT_EQ(value, "identity");
}

TEST_F(RocksDbEngine, OpensWhatAKilledProcessLeaves) {
  MakeLog("killed");
  for (int i = 0; i < 2; ++i) {
    auto engine = Open("killed");
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    EXPECT_EQ(RowsOf(engine->get()), kRows);
    EXPECT_EQ((*engine)->Stats().families[0].file_count, 0U);  // recovery flushes nothing
    EXPECT_GT((*engine)->Stats().families[0].oldest_log_number, 0U);
  }
}

TEST_F(RocksDbEngine, CutsATornRecordAtTheEndOfTheLogAndWritesOnBehindIt) {
  MakeLog("killed");
  const std::string log = fs::path(LargestFile(directory_ / "killed", ".log")).filename();
  const std::size_t size = fs::file_size(directory_ / ("killed/" + log));
  int trial = 0;
  for (const std::size_t cut : {std::size_t{1}, std::size_t{5}, std::size_t{2000}, std::size_t{8200}, size / 2}) {
    const std::string copy = "torn" + std::to_string(trial++);
    fs::copy(directory_ / "killed", directory_ / copy);
    fs::resize_file(directory_ / (copy + "/" + log), size - cut);
    int rows = 0;
    {
      auto engine = Open(copy);
      ASSERT_TRUE(engine.ok()) << cut << ": " << engine.status().ToString();
      rows = RowsOf(engine->get());
      EXPECT_GE(rows, kRows - 1 - static_cast<int>(cut / 8192) - 1);
      EXPECT_LT(rows, kRows);
      for (int i = rows; i < rows + 10; ++i) WriteRow(engine->get(), i);
    }
    auto engine = Open(copy);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    EXPECT_EQ(RowsOf(engine->get()), rows + 10);
  }
}

TEST_F(RocksDbEngine, RefusesAFlippedBitInTheMiddleOfTheLogAndChangesNothing) {
  MakeLog("killed");
  for (const double place : {0.1, 0.5, 0.8}) {
    fs::remove_all(directory_ / "damaged");
    fs::copy(directory_ / "killed", directory_ / "damaged");
    const std::string log = LargestFile(directory_ / "damaged", ".log");
    FlipBit(log, place);
    const std::string before = ReadFile(log);
    for (int i = 0; i < 2; ++i) {
      const Status s = Open("damaged").status();
      EXPECT_EQ(s.code(), StatusCode::kDataLoss) << s.ToString();
      EXPECT_NE(s.message().find("damaged"), std::string::npos);
    }
    EXPECT_EQ(ReadFile(log), before);

    EngineOptions tolerant = Options();
    tolerant.extra["wal_recovery_mode"] = "tolerate_tail";
    int rows = 0;
    {
      auto engine = Open("damaged", tolerant);
      ASSERT_TRUE(engine.ok()) << engine.status().ToString();
      rows = RowsOf(engine->get());
      EXPECT_NEAR(rows, kRows * place, 3);
      WriteRow(engine->get(), rows);
    }
    EXPECT_FALSE(fs::exists(log));  // strict opens must not meet the damage again
    auto engine = Open("damaged");
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    EXPECT_EQ(RowsOf(engine->get()), rows + 1);
  }
}

TEST_F(RocksDbEngine, CutsZeroesAtTheEndOfTheLogAndRefusesThemInTheMiddle) {
  MakeLog("killed");
  const std::string log = LargestFile(directory_ / "killed", ".log");
  const std::string good = ReadFile(log);
  std::string zeroes = good;
  zeroes.append(100'000, '\0');  // as a file system leaves a file whose length arrived before its bytes
  WriteFile(log, zeroes);
  {
    auto engine = Open("killed");
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    EXPECT_EQ(RowsOf(engine->get()), kRows);
  }
  zeroes = good;
  zeroes.replace(15 * 32768, 32768, 32768, '\0');
  WriteFile(log, zeroes);
  EXPECT_EQ(Open("killed").status().code(), StatusCode::kDataLoss);
}

TEST_F(RocksDbEngine, RowsThatAreTrimmedInTheirMemtableNeverReachAFile) {
  auto engine = Open("db");
  ASSERT_TRUE(engine.ok());
  for (int checkpoint = 0; checkpoint < 5; ++checkpoint) {
    // The row of the epoch goes to a family of its own, and must not pin the log.
    ASSERT_TRUE((*engine)->AcquireEpoch(3, static_cast<Epoch>(checkpoint) + 1).ok());
    for (int i = 0; i < 1000; ++i) WriteRow(engine->get(), i);  // 8 MiB
    for (FamilyId f = 0; f < kFamilies; ++f) {
      const Op trim = DeleteRangeOp("", "99999");
      const Batch batch{f, "", kEpoch, std::span(&trim, 1)};
      ASSERT_TRUE((*engine)->Write(std::span(&batch, 1), {.durability = Durability::kLogged}).at(0).ok());
    }
    const FamilyId all[] = {0, 1, 2, 3};
    ASSERT_TRUE((*engine)->Flush(all).ok());
    (void)(*engine)->Stats();  // waits until RocksDB has removed what the flush left
    const EngineStats stats = (*engine)->Stats();
    for (const FamilyStats& family : stats.families) EXPECT_LT(family.file_bytes, 100'000U);
    EXPECT_LT(stats.log_bytes, 1'000'000U);  // logs whose rows are all flushed are gone
    EXPECT_EQ(stats.write_stalls, 0U);
  }
}

TEST_F(RocksDbEngine, StaysWithinItsWriteBufferBudget) {
  EngineOptions options = Options(InstanceRole::kData);
  options.write_buffer_bytes = 4UL << 20;
  auto engine = Open("db", options);
  ASSERT_TRUE(engine.ok());
  for (int i = 0; i < 4000; ++i) {
    WriteRow(engine->get(), i, Durability::kBuffered);  // 32 MiB
    if (i % 500 != 0) continue;
    std::uint64_t buffered = 0;
    for (const FamilyStats& f : (*engine)->Stats().families) buffered += f.buffered_bytes;
    EXPECT_LT(buffered, 6UL << 20);  // the budget, a quarter of slack, and what was written since the last look
  }
  EXPECT_EQ(RowsOf(engine->get()), 4000);
  EXPECT_GT((*engine)->Stats().write_stalls, 0U);
}

TEST_F(RocksDbEngine, WorksWithABudgetBelowWhatEmptyFamiliesTake) {
  EngineOptions options = Options(InstanceRole::kData);
  options.write_buffer_bytes = 1;
  for (int i = kFamilies; i < 49; ++i) options.families.push_back({"f." + std::to_string(i), FamilyRole::kIndex});
  auto engine = Open("db", options);
  ASSERT_TRUE(engine.ok());
  for (int i = 0; i < kRows; ++i) WriteRow(engine->get(), i, Durability::kBuffered);
  const Op op = PutOp("k", "v");
  for (FamilyId f = kFamilies; f < 49; ++f) {
    const Batch batch{f, "", 0, std::span(&op, 1)};
    EXPECT_TRUE((*engine)->Write(std::span(&batch, 1), {.no_stall = true}).at(0).ok());
  }
  EXPECT_EQ(RowsOf(engine->get()), kRows);
}

TEST_F(RocksDbEngine, NamesTheDamagedTableFile) {
  EngineOptions options = Options(InstanceRole::kData);
  std::string sst;
  {
    auto engine = Open("db", options);
    ASSERT_TRUE(engine.ok());
    for (int i = 0; i < kRows; ++i) WriteRow(engine->get(), i, Durability::kBuffered);
    const FamilyId all[] = {0, 1};
    ASSERT_TRUE((*engine)->Flush(all).ok());
    sst = Files(directory_ / "db", ".sst").at(1);  // of family 1
  }
  FlipBit(sst, 0.3);
  auto engine = Open("db", options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  EXPECT_TRUE(VerifyFiles(engine->get(), 0).ok());
  const Status s = VerifyFiles(engine->get(), 1);
  EXPECT_EQ(s.code(), StatusCode::kDataLoss);
  EXPECT_NE(s.message().find(fs::path(sst).filename().string()), std::string::npos) << s.message();
  EXPECT_NE(s.message().find("f.1"), std::string::npos) << s.message();
}

TEST_F(RocksDbEngine, OpensAroundADamagedTableFileOnlyWhereAsked) {
  EngineOptions options = Options(InstanceRole::kData);
  {
    auto engine = Open("db", options);
    ASSERT_TRUE(engine.ok());
    for (int i = 0; i < kRows; ++i) WriteRow(engine->get(), i, Durability::kBuffered);
    const FamilyId all[] = {0, 1};
    ASSERT_TRUE((*engine)->Flush(all).ok());
  }
  const std::string sst = Files(directory_ / "db", ".sst").at(1);
  const std::string good = ReadFile(sst);
  const std::string name = fs::path(sst).filename().string();
  std::string flipped = good;
  flipped[flipped.size() - 3] ^= 1;  // the magic number
  const std::pair<const char*, std::function<void()>> damages[] = {
      {"bytes instead of", [&] { WriteFile(sst, good.substr(0, 1000)); }},
      {"bytes instead of", [&] { WriteFile(sst, good + "x"); }},
      {"is missing", [&] { fs::remove(sst); }},
      {"is missing", [&] { fs::rename(sst, sst + ".away"); }},
      {"has 0 bytes", [&] { WriteFile(sst, ""); }},
      {"cannot be read", [&] { WriteFile(sst, flipped); }}};
  std::string value;
  for (const auto& [what, damage] : damages) {
    damage();
    options.quarantine = false;
    EXPECT_FALSE(Open("db", options).ok());
    options.quarantine = true;
    for (const bool read_only : {true, false}) {
      options.read_only = read_only;
      auto engine = Open("db", options);
      ASSERT_TRUE(engine.ok()) << engine.status().ToString();
      EXPECT_TRUE((*engine)->Damage(0).ok());
      const Status s = (*engine)->Damage(1);
      EXPECT_EQ(s.code(), StatusCode::kDataLoss);
      EXPECT_NE(s.message().find(what), std::string::npos) << s.message();
      EXPECT_NE(s.message().find(name), std::string::npos) << s.message();
      EXPECT_NE(s.message().find("'f.1'"), std::string::npos) << s.message();
      EXPECT_EQ((*engine)->Stats().families[1].damage, s.message());
      EXPECT_EQ((*engine)->Stats().families[0].damage, "");
      EXPECT_TRUE((*engine)->Get(0, "10000", &value).ok());
      EXPECT_EQ((*engine)->Get(1, "10000", &value), s);
      EXPECT_EQ((*engine)->NewIterator(1, {}).status(), s);
      EXPECT_EQ(VerifyFiles(engine->get(), 1).code(), StatusCode::kDataLoss);
      EXPECT_TRUE((*engine)->CurrentEpoch(1).ok());
      if (read_only) continue;
      const Op op = PutOp("k", "v");
      const Batch batches[] = {{0, "", kEpoch, std::span(&op, 1)}, {1, "", kEpoch, std::span(&op, 1)}};
      const Outcomes outcomes = (*engine)->Write(batches, {});
      EXPECT_TRUE(outcomes[0].ok());
      EXPECT_EQ(outcomes[1], s);
      EXPECT_TRUE((*engine)->Flush(0).ok());
      EXPECT_TRUE((*engine)->Compact(0, "", std::nullopt).ok());
      EXPECT_EQ((*engine)->Flush(1), s);
      EXPECT_EQ((*engine)->Compact(1, "", std::nullopt), s);
    }
    WriteFile(sst, good);
  }
  auto engine = Open("db", options);  // put back: as if nothing had happened
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  EXPECT_TRUE((*engine)->Damage(1).ok());
  EXPECT_TRUE((*engine)->Get(1, "10000", &value).ok());
  EXPECT_TRUE((*engine)->Get(0, "k", &value).ok());
  EXPECT_EQ((*engine)->Get(1, "k", &value).code(), StatusCode::kNotFound);
}

TEST_F(RocksDbEngine, AQuarantineHidesNoDamageOfWhatFamiliesShare) {
  EngineOptions options = Options(InstanceRole::kLog);
  options.quarantine = true;
  EXPECT_EQ(Open("log", options).status().code(), StatusCode::kInvalidArgument);
  options.instance = InstanceRole::kData;
  {
    auto engine = Open("db", options);
    ASSERT_TRUE(engine.ok());
    for (int i = 0; i < kRows; ++i) WriteRow(engine->get(), i, Durability::kBuffered);
    const FamilyId all[] = {0, 1};
    ASSERT_TRUE((*engine)->Flush(all).ok());
    for (int i = 0; i < kRows; ++i) WriteRow(engine->get(), i, Durability::kLogged);
    testing_support::CopyAtOneMoment(directory_ / "db", directory_ / "killed");
  }
  const std::string path = directory_ / "killed";
  const std::string sst = Files(path, ".sst").at(1);
  const std::string manifest = [&] {
    std::string current = ReadFile(path + "/CURRENT");
    current.pop_back();
    return path + "/" + current;
  }();
  // Also together with a bad table file, which alone would be got around.
  for (const std::string& shared : {manifest, path + "/CURRENT", LargestFile(path, ".log")}) {
    for (const bool with_table : {false, true}) {
      SCOPED_TRACE(shared);
      const std::string good = ReadFile(shared);
      const std::string good_table = ReadFile(sst);
      std::string bad = good;
      bad.at(bad.size() / 3) ^= 0x10;
      WriteFile(shared, bad);
      if (with_table) fs::remove(sst);
      const Status s = Open("killed", options).status();
      EXPECT_EQ(s.code(), StatusCode::kDataLoss) << s.ToString();
      EXPECT_NE(s.message().find(fs::path(shared).filename().string()), std::string::npos) << s.message();
      EXPECT_EQ(ReadFile(shared), bad);
      WriteFile(shared, good);
      WriteFile(sst, good_table);
    }
  }
  auto engine = Open("killed", options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  EXPECT_TRUE((*engine)->Damage(1).ok());
  EXPECT_EQ(RowsOf(engine->get()), kRows);
}

// With paranoid_checks=false RocksDB would go on as if nothing had happened.
TEST_F(RocksDbEngine, AFlushThatFailsAroundADamagedFileIsAnError) {
  EngineOptions options = Options(InstanceRole::kData);
  options.quarantine = true;
  {
    auto engine = Open("db", options);
    ASSERT_TRUE(engine.ok());
    for (int i = 0; i < kRows; ++i) WriteRow(engine->get(), i, Durability::kBuffered);
    const FamilyId all[] = {0, 1};
    ASSERT_TRUE((*engine)->Flush(all).ok());
  }
  fs::remove(Files(directory_ / "db", ".sst").at(1));
  auto engine = Open("db", options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  const std::string value(100'000, 'v');
  for (int i = 0; i < 10; ++i) {
    const std::string key = "k" + std::to_string(i);
    const Op op = PutOp(key, std::string_view(value).substr(0, 60'000));
    const Batch batch{0, "", kEpoch, std::span(&op, 1)};
    ASSERT_TRUE((*engine)->Write(std::span(&batch, 1), {}).at(0).ok());
  }
  struct rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const struct rlimit tight = {1000, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const Status s = (*engine)->Flush(0);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, old_handler);
  EXPECT_FALSE(s.ok());
  EXPECT_FALSE((*engine)->Flush(0).ok()) << "until it is opened again";
  EXPECT_GT((*engine)->Stats().background_errors, 0U);
}

// RocksDB alone stops all writes of the instance for a bad block that a compaction meets, and does so again after each open.
TEST_F(RocksDbEngine, DamageThatACompactionMeetsStaysWithinItsFamily) {
  EngineOptions options = Options(InstanceRole::kData);
  const FamilyId all[] = {0, 1, 2, 3};
  std::string sst;
  {
    auto engine = Open("db", options);
    ASSERT_TRUE(engine.ok());
    for (int i = 0; i < kRows; ++i) WriteRow(engine->get(), i, Durability::kBuffered);
    ASSERT_TRUE((*engine)->Flush(all).ok());
    sst = Files(directory_ / "db", ".sst").at(1);  // of family 1
  }
  const std::string good = ReadFile(sst);
  FlipBit(sst, 0.3);
  for (int round = 0; round < 2; ++round) {
    auto engine = Open("db", options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    // Overlapping files, until RocksDB has compacted by itself what it can. It tells of the damage first, then of the error.
    EngineStats stats;
    for (int i = 0; i < 1000 && (stats.background_errors == 0 || i < 10); ++i) {
      WriteRow(engine->get(), i % kRows, Durability::kBuffered);
      ASSERT_TRUE((*engine)->Flush(all).ok());
      stats = (*engine)->Stats();
    }
    EXPECT_GT(stats.background_errors, 0U);
    EXPECT_NE(stats.families[1].damage.find("Corruption"), std::string::npos) << stats.families[1].damage;
    EXPECT_EQ(stats.families[0].damage, "");
    EXPECT_GT(stats.families[1].file_count, 8U);
    EXPECT_EQ((*engine)->Compact(1, "", std::nullopt).code(), StatusCode::kDataLoss);
    EXPECT_FALSE((*engine)->Stats().writes_stopped);
    EXPECT_TRUE((*engine)->Compact(0, "", std::nullopt).ok());
    EXPECT_EQ((*engine)->Stats().families[0].file_count, 1U);
    std::string value;
    EXPECT_TRUE((*engine)->Get(1, "10000", &value).ok());  // written again since, into another file
    auto rows = (*engine)->NewIterator(1, {});
    ASSERT_TRUE(rows.ok());
    for ((*rows)->Seek(""); (*rows)->Valid();) (*rows)->Next();
    EXPECT_EQ((*rows)->status().code(), StatusCode::kDataLoss);
  }
  WriteFile(sst, good);
  auto engine = Open("db", options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  EXPECT_EQ(RowsOf(engine->get()), kRows);
  EXPECT_TRUE((*engine)->Compact(1, "", std::nullopt).ok());
  EXPECT_EQ((*engine)->Stats().families[1].damage, "");
}

TEST_F(RocksDbEngine, ACompactionLeavesTheReserveOfTheDiskAndNothingElseStopsForIt) {
  for (const InstanceRole role : {InstanceRole::kData, InstanceRole::kLog}) {
    const std::string name = role == InstanceRole::kLog ? "log" : "data";
    SCOPED_TRACE(name);
    std::atomic<std::uint64_t> reserve{0};
    std::atomic<int> asked{0};
    EngineOptions options = Options(role);
    options.compaction_reserve = [&] {
      ++asked;
      return reserve.load();
    };
    auto engine = Open(name, options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    const auto flush = [&] {
      for (FamilyId f = 0; f < kFamilies; ++f) {
        const Status s = (*engine)->Flush(f);
        EXPECT_TRUE(s.ok()) << s.ToString();
      }
    };
    // What fits into a small file may always be written.
    reserve = std::numeric_limits<std::uint64_t>::max() / 2;
    WriteRow(engine->get(), 0);
    flush();
    const Status small = (*engine)->Compact(0, "", std::nullopt);
    EXPECT_TRUE(small.ok()) << small.ToString();
    EXPECT_EQ(asked, 0);
    std::mt19937_64 rng(TestSeed());
    std::string noise(64 << 10, '\0');
    for (char& c : noise) c = static_cast<char>(rng());
    for (const std::string key : {"noise 1", "noise 2"}) {
      const Op op = PutOp(key, noise);
      const Batch batch{0, key, kEpoch, std::span(&op, 1)};
      for (const Status& s : (*engine)->Write({&batch, 1}, {.durability = Durability::kLogged}))
        EXPECT_TRUE(s.ok()) << s.ToString();
    }
    flush();
    EXPECT_EQ(asked, 0);  // nor is what a flush writes a compaction's
    const Status refused = (*engine)->Compact(0, "", std::nullopt);
    EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted) << refused.ToString();
    EXPECT_THAT(refused.message(), testing::HasSubstr("bytes of the disk of '" + (directory_ / name)));
    EXPECT_GT(asked, 0);
    for (int i = 1; i < 5; ++i) {
      WriteRow(engine->get(), i);
      flush();
    }
    // RocksDB would try again each second, and write as far as it comes.
    const Status soon = (*engine)->Compact(0, "", std::nullopt);
    EXPECT_EQ(soon.code(), StatusCode::kResourceExhausted) << soon.ToString();
    reserve = 1;  // the store refuses writes now, and leaves the rest to compactions
    const Status again = (*engine)->Compact(0, "", std::nullopt);
    EXPECT_TRUE(again.ok()) << again.ToString();
    std::string value;
    EXPECT_TRUE((*engine)->Get(0, "noise 2", &value, ReadTier::kLatest, kNoDeadline).ok());
    EXPECT_TRUE(value == noise);
    EXPECT_TRUE((*engine)->Close().ok());
  }
}

TEST_F(RocksDbEngine, RefusesADirectoryThatLostItsCurrentFileAndTouchesNothing) {
  MakeLog("killed");
  fs::remove(directory_ / "killed/CURRENT");
  const Status s = Open("killed").status();
  EXPECT_EQ(s.code(), StatusCode::kDataLoss);
  EXPECT_NE(s.message().find("CURRENT"), std::string::npos);
  EXPECT_FALSE(Files(directory_ / "killed", ".log").empty());
}

TEST_F(RocksDbEngine, RefusesPathsAndSettingsItCannotUse) {
  WriteFile(directory_ / "file", "not a directory");
  EXPECT_EQ(Open("file").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Open("file/below").status().code(), StatusCode::kInvalidArgument);
  if (geteuid() != 0) {  // root may do anything
    fs::create_directory(directory_ / "locked");
    fs::permissions(directory_ / "locked", fs::perms::none);
    EXPECT_EQ(Open("locked").status().code(), StatusCode::kPermissionDenied);
    fs::permissions(directory_ / "locked", fs::perms::owner_all);
  }
  const std::pair<const char*, const char*> bad[] = {{"wal_recovery_mode", ""},
                                                     {"wal_recovery_mode", "absolute"},
                                                     {"wal_recovery", "strict"},      // a misspelling
                                                     {"wal_dir", "/nonexistent"},     // of one that is written to
                                                     {"tables_of", "/nonexistent"}};  // of one that may be created
  for (const auto& [key, value] : bad) {
    EngineOptions options = Options();
    options.extra[key] = value;
    const Status s = Open("db", options).status();
    EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
    EXPECT_NE(s.message().find(key), std::string::npos) << s.message();
  }
  EXPECT_FALSE(fs::exists(directory_ / "db"));
}

// A copy with links to tables of which one is damaged takes rows all the same, and says of which file it cannot read.
TEST_F(RocksDbEngine, TablesThatAreLinksAreNotCompactedAndTheirErrorsNameTheSource) {
  constexpr int kTrigger = 4;  // tables at which a compaction would begin
  {
    auto engine = Open("source");
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    for (int i = 0; i + 1 < kTrigger; ++i) {
      WriteRow(engine->get(), i);
      ASSERT_TRUE((*engine)->Flush(FamilyId{0}).ok());
    }
  }
  std::string table;
  fs::create_directory(directory_ / "copy");
  for (const auto& entry : fs::directory_iterator(directory_ / "source")) {
    const std::string name = entry.path().filename();
    if (name == "LOCK") continue;
    if (name.ends_with(".sst")) {
      if (table.empty() || name < table) table = name;
      fs::create_symlink(entry.path(), fs::path(directory_ / "copy") / name);
    } else {
      fs::copy_file(entry.path(), fs::path(directory_ / "copy") / name);
    }
  }
  const std::string damaged = directory_ / ("source/" + table);
  FlipBit(damaged, 0.01);
  EngineOptions options = Options();
  options.create_if_missing = false;
  options.extra["tables_of"] = directory_ / "source";
  const auto read_row_0 = [&](KvEngine* engine) {
    std::string value;
    const Status got = engine->Get(0, "10000", &value, ReadTier::kLatest, kNoDeadline);
    auto it = engine->NewIterator(0, {}).value();
    it->Seek("");
    const std::string_view key = "10000";
    std::vector<std::string> values;
    std::vector<Status> listed;
    engine->MultiGet(0, {&key, 1}, &values, &listed, kNoDeadline);
    for (const Status& s : {got, it->status(), listed.at(0)}) {
      EXPECT_EQ(s.code(), StatusCode::kDataLoss) << s.ToString();
      EXPECT_NE(s.message().find(damaged), std::string::npos) << s.message();
      EXPECT_EQ(s.message().find("copy"), std::string::npos) << s.message();
    }
  };
  constexpr int kMore = 5 * kTrigger;
  {
    auto engine = Open("copy", options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    for (int i = kTrigger; i < kTrigger + kMore; ++i) {
      WriteRow(engine->get(), i);
      ASSERT_EQ((*engine)->Flush(FamilyId{0}), Status::Ok());
    }
    read_row_0(engine->get());
    EXPECT_EQ((*engine)->Close(), Status::Ok());
  }
  options.read_only = true;
  auto engine = Open("copy", options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  fs::remove_all(directory_ / "copy");
  read_row_0(engine->get());
  EXPECT_EQ((*engine)->Stats().families[0].file_count, std::uint64_t{kTrigger - 1 + kMore});
}

TEST_F(RocksDbEngine, AfterAFailedLogWriteTheOutcomeIsUnknownAndNothingMoreIsTaken) {
  auto engine = Open("db");
  ASSERT_TRUE(engine.ok());
  WriteRow(engine->get(), 0, Durability::kSynced);
  // The log may not grow any more: the write fails half-way.
  struct rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const struct rlimit tight = {fs::file_size(LargestFile(directory_ / "db", ".log")) + 100, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const std::string value(4096, 'x');
  const Op op = PutOp("k", value);
  const Batch batch{0, "k", 0, std::span(&op, 1)};
  const Status first = (*engine)->Write(std::span(&batch, 1), {.durability = Durability::kLogged}).at(0);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, old_handler);
  EXPECT_EQ(first.code(), StatusCode::kUnknown) << first.ToString();
  EXPECT_EQ((*engine)->Write(std::span(&batch, 1), {.durability = Durability::kLogged}).at(0).code(), StatusCode::kIoError);
  EXPECT_EQ((*engine)->AcquireEpoch(0, 1).code(), StatusCode::kIoError);
  EXPECT_FALSE((*engine)->SyncLog().ok());
  engine->reset();
  engine = Open("db");
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  EXPECT_EQ(RowsOf(engine->get()), 1);
  WriteRow(engine->get(), 1);
}

TEST_F(RocksDbEngine, RefusesANewerFormatAndDamageOfAnImport) {
  auto engine = Open("db");
  ASSERT_TRUE(engine.ok());
  WriteRow(engine->get(), 0);
  ASSERT_TRUE((*engine)->ExportFamily(0, directory_ / "export").ok());
  auto other = Open("other");
  ASSERT_TRUE(other.ok());
  const std::string manifest = directory_ / "export/CHRONOLITH_EXPORT";
  const std::string good = ReadFile(manifest);
  std::string newer = good;
  newer[4] = 2;
  const std::pair<std::string, StatusCode> rows[] = {{newer, StatusCode::kFailedPrecondition},
                                                     {"", StatusCode::kDataLoss},
                                                     {"something else", StatusCode::kDataLoss},
                                                     {good.substr(0, good.size() - 1), StatusCode::kDataLoss},
                                                     {good + "x", StatusCode::kDataLoss}};
  for (const auto& [bytes, code] : rows) {
    WriteFile(manifest, bytes);
    EXPECT_EQ((*other)->ImportFamily(0, directory_ / "export").code(), code);
  }
  WriteFile(manifest, good);
  const std::string sst = Files(directory_ / "export", ".sst").at(0);
  const std::string rows_file = ReadFile(sst);
  WriteFile(sst, rows_file.substr(0, 20));
  EXPECT_FALSE((*other)->ImportFamily(0, directory_ / "export").ok());
  WriteFile(sst, rows_file);
  const Status s = (*other)->ImportFamily(0, directory_ / "export");  // a failed import leaves the family there and empty
  ASSERT_TRUE(s.ok()) << s.ToString();
  std::string value;
  EXPECT_TRUE((*other)->Get(0, "10000", &value).ok());
}

TEST_F(RocksDbEngine, TalksToTheLoggerAlone) {
  EngineOptions options = Options();
  ASSERT_TRUE(Open("silent", options).ok());
  EXPECT_FALSE(fs::exists(directory_ / "silent/LOG"));
  auto logger = std::make_shared<CountingLogger>();
  options.logger = logger;
  ASSERT_TRUE(Open("heard", options).ok());
  EXPECT_GT(logger->lines, 0);
  EXPECT_FALSE(fs::exists(directory_ / "heard/LOG"));
}

TEST_F(RocksDbEngine, AReaderSurvivesAWriterThatFlushesAndCompacts) {
  auto engine = Open("db", Options(InstanceRole::kData));
  ASSERT_TRUE(engine.ok());
  WriteRow(engine->get(), 0);
  const FamilyId families[] = {0, 1, 2, 3};
  ASSERT_TRUE((*engine)->Flush(families).ok());  // a reader sees what is flushed
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 1; !stop; ++i) {
      WriteRow(engine->get(), i);
      const FamilyId all[] = {0, 1, 2, 3};
      EXPECT_TRUE((*engine)->Flush(all).ok());
      if (i % 4 == 0) (void)(*engine)->Compact(0, "", std::nullopt);
    }
  });
  EngineOptions options = Options(InstanceRole::kData);
  options.read_only = true;
  int opened = 0;
  for (int i = 0; i < 30; ++i) {
    auto reader = Open("db", options);
    if (!reader.ok()) {
      EXPECT_EQ(reader.status().code(), StatusCode::kUnavailable) << reader.status().ToString();
      continue;
    }
    ++opened;
    std::string value;
    EXPECT_TRUE((*reader)->Get(1, "10000", &value).ok());
  }
  stop = true;
  writer.join();
  EXPECT_GT(opened, 0);
}

}  // namespace
}  // namespace chronolith
