// Damage in the middle of RocksDB's log files with Options::accept_data_loss: what is intact in front of it and behind it stays.
#include <algorithm>
#include <filesystem>
#include <set>

#include "plugins/rocksdb/rocksdb_engine.h"
#include "storage/log_judge.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/files.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr Timestamp kT = 1'700'000'000'000;
constexpr int kWrites = 42;

Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

class DamagedLog : public testing::Test {
 protected:
  // Sample i is a write of its own; the first seven create the series.
  void WriteOne(int i) { store_.Write(Numbered(i % 7), {{kT + i, 1.0 * i}}, AckLevel::kSynced); }
  void Fill() {
    store_.Open();
    for (int i = 0; i < kWrites; ++i) {
      begins_.push_back(fs::file_size(Log()));
      WriteOne(i);
    }
    begins_.push_back(fs::file_size(Log()));
    store_.KillWithoutOpening();
    Save();
  }
  void Save() {
    fs::remove_all(store_.directory() / "saved");
    fs::copy(store_.path(), store_.directory() / "saved", fs::copy_options::recursive);
  }
  void Restore() {
    fs::remove_all(store_.path());
    fs::copy(store_.directory() / "saved", store_.path(), fs::copy_options::recursive);
  }
  std::string Log(const std::string& instance = "log") const {
    std::string newest;
    for (const auto& entry : fs::directory_iterator(store_.path() + "/" + instance)) {
      if (entry.path().extension() == ".log") newest = std::max(newest, entry.path().string());
    }
    return newest;
  }
  std::vector<std::string> Kept() const {
    std::vector<std::string> kept;
    for (const auto& entry : fs::directory_iterator(store_.path() + "/log")) {
      if (entry.is_directory()) kept.push_back(entry.path().string());
    }
    return kept;
  }
  std::set<int> Found() {
    std::set<int> found;
    for (const auto& [labels, points] : store_.Read()) {
      for (const auto& [t, value] : points) {
        const int i = static_cast<int>(t - kT);
        EXPECT_EQ(value, Shown(1.0 * i));
        found.insert(i);
      }
    }
    return found;
  }

  // The first bytes hold the identity of the store and epochs; then each write, the last but one last.
  std::vector<std::size_t> Places() const {
    std::vector<std::size_t> places = {9, begins_[0] / 2};
    for (int i = 0; i + 1 < kWrites; i += 4) places.push_back(begins_[static_cast<std::size_t>(i)] + 12);
    return places;
  }
  // Flips a bit of `log`, which holds all writes: the store is refused, and with the loss accepted lacks what it hit.
  void ExpectCost(const std::string& log, std::size_t place) {
    SCOPED_TRACE("byte " + std::to_string(place));
    std::string bytes = ReadFile(log);
    bytes[place] = static_cast<char>(bytes[place] ^ 0x10);
    WriteFile(log, bytes);
    const Status refused = store_.TryOpen();
    EXPECT_EQ(refused.code(), StatusCode::kDataLoss);
    EXPECT_THAT(refused.message(), HasSubstr("chronolith recover --accept-data-loss " + store_.path()));
    EXPECT_THAT(refused.message(), HasSubstr(log + ", bytes "));
    store_.options().accept_data_loss = true;
    store_.Open();
    store_.options().accept_data_loss = false;
    const auto hit = std::upper_bound(begins_.begin(), begins_.end(), place) - begins_.begin() - 1;
    std::set<int> expected;
    for (int i = 0; i < kWrites; ++i) {
      if (hit < 0 || (i != hit && (hit >= 7 || i % 7 != hit))) expected.insert(i);
    }
    EXPECT_EQ(Found(), expected);
    std::uint64_t dropped = 0;
    for (const ShardLoss& loss : store_->Stats().losses) dropped += loss.dropped_samples;
    if (hit >= 0) {
      EXPECT_FALSE(store_->Stats().losses.empty());
      EXPECT_EQ(dropped, hit < 7 ? kWrites / 7 - 1U : 0U);
    }
    ASSERT_EQ(Kept().size(), 1U);
    EXPECT_THAT(Kept()[0], HasSubstr("/damaged-"));
    EXPECT_EQ(ReadFile(Kept()[0] + "/" + fs::path(log).filename().string()), bytes);
    for (int i = 0; i < 20; ++i) {
      WriteOne(kWrites + i);
      expected.insert(kWrites + i);
    }
    store_.Kill();
    EXPECT_EQ(Found(), expected);
    store_.Restart();
    EXPECT_EQ(Found(), expected);
    EXPECT_EQ(Kept().size(), 1U) << "the damage was met again";
    EXPECT_FALSE(fs::exists(store_.path() + "/UNFINISHED"));
    store_.Close();
  }

  TestStore store_{"rocksdb"};
  std::vector<std::size_t> begins_;  // of each write in the log
};

TEST_F(DamagedLog, AReaderNamesTheFile) {
  Fill();
  std::string bytes = ReadFile(Log());
  bytes[begins_[20] + 12] = static_cast<char>(bytes[begins_[20] + 12] ^ 0x10);
  WriteFile(Log(), bytes);
  store_.options().read_only = true;
  const Status refused = store_.TryOpen();
  EXPECT_EQ(refused.code(), StatusCode::kDataLoss);
  EXPECT_THAT(refused.message(), HasSubstr("its log is damaged in " + Log() + ", bytes "));
  store_.options().read_only = false;
  EXPECT_TRUE(Kept().empty());
  EXPECT_EQ(ReadFile(Log()), bytes);
}

TEST_F(DamagedLog, CostsTheWritesThatItHitsAndThoseOfSeriesThatTheyCreated) {
  Fill();
  for (const std::size_t place : Places()) {
    Restore();
    ExpectCost(Log(), place);
  }
}

// RocksDB alone then refuses every look at the log: "SST file is ahead of WALs".
TEST_F(DamagedLog, CostsNoMoreWhereATableOfTheLogInstanceIsNewer) {
  Fill();
  const std::string log = Log();
  EngineOptions options;
  options.instance = InstanceRole::kLog;
  options.families.push_back({"meta", FamilyRole::kMeta});
  for (int i = 0; i < store_.options().shards; ++i) options.families.push_back({"wal." + std::to_string(i), FamilyRole::kWal});
  auto engine = MakeRocksDbEngineFactory()->Open(store_.path() + "/log", options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  ASSERT_TRUE((*engine)->Flush(FamilyId{0}).ok());  // and the epochs
  ASSERT_TRUE((*engine)->Close().ok());
  ASSERT_TRUE(fs::exists(log));
  Save();
  for (const std::size_t place : Places()) {
    Restore();
    ExpectCost(log, place);
  }
}

TEST_F(DamagedLog, NoLsnOfAnEndThatMayBeLostIsGivenOutAgain) {
  Fill();
  // A shard that only the damaged write wrote to, of those behind it.
  std::string bytes = ReadFile(Log());
  const std::size_t from = begins_[10] + 12;
  for (std::size_t at = from; at < begins_[kWrites - 1]; at += 8) bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
  Restore();
  WriteFile(Log(), bytes);
  store_.options().accept_data_loss = true;
  store_.Open();
  const StorageStats stats = store_->Stats();
  std::size_t uncertain = 0;
  for (const ShardLoss& loss : stats.losses) {
    if (loss.uncertain_from == 0) continue;
    ++uncertain;
    EXPECT_GT(stats.shards.at(loss.shard).last_lsn, loss.uncertain_from + 1'000'000);
  }
  EXPECT_EQ(uncertain, 3U) << "only the shard of the last write has something behind the damage";
  const std::set<int> found = Found();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(found.contains(i));
  EXPECT_TRUE(found.contains(kWrites - 1));
}

// The data instance's own log holds its identity, epochs and how far a scrub has come: nothing that the log instance cannot
// replace.
TEST_F(DamagedLog, OfTheDataInstanceCostsNothing) {
  store_.Open();
  std::set<int> expected;
  for (int i = 0; i < kWrites; ++i) {
    WriteOne(i);
    expected.insert(i);
    if (i != kWrites / 2) continue;
    store_.Checkpoint();  // its flush empties that log
    store_.Kill();
  }
  store_.KillWithoutOpening();
  fs::copy(store_.path(), store_.directory() / "saved", fs::copy_options::recursive);
  const std::string whole = ReadFile(Log("data"));
  ASSERT_GT(whole.size(), 200U);
  int refused = 0;
  for (std::size_t place = 5; place < whole.size(); place += 31) {
    SCOPED_TRACE("byte " + std::to_string(place));
    Restore();
    const std::string log = Log("data");
    std::string bytes = whole;
    bytes[place] = static_cast<char>(bytes[place] ^ 0x10);
    WriteFile(log, bytes);
    if (const Status status = store_.TryOpen(); !status.ok()) {
      ++refused;
      EXPECT_EQ(status.code(), StatusCode::kDataLoss);
      EXPECT_THAT(status.message(), HasSubstr("chronolith recover --accept-data-loss " + store_.path()));
      EXPECT_THAT(status.message(), HasSubstr(log + ", bytes "));
      store_.options().accept_data_loss = true;
      store_.Open();
      store_.options().accept_data_loss = false;
    }
    EXPECT_TRUE(store_->Stats().losses.empty());
    EXPECT_EQ(Found(), expected);
    std::set<int> more = expected;
    for (int i = 0; i < 20; ++i) {
      WriteOne(kWrites + i);
      more.insert(kWrites + i);
    }
    store_.Kill();
    EXPECT_EQ(Found(), more);
    store_.Close();
  }
  EXPECT_GT(refused, 5);
}

// A table that is newer vouches for it, and no crash tears what had been synced.
TEST(SyncedLogJudge, DamageOfASyncedFileIsNoTornEnd) {
  const LogDamage damage{.place = "data/000004.log, bytes 0 to 9", .synced = true, .ends_file = true, .ends_log = true};
  SyncedLogJudge strict(false, ". Affected: epochs", ". Try this");
  strict.OnDamage(damage);
  EXPECT_EQ(strict.Decide().status().code(), StatusCode::kDataLoss);
  EXPECT_TRUE(strict.refused());
  SyncedLogJudge accepting(true, ". Affected: epochs", "");
  accepting.OnDamage(damage);
  const Result<std::optional<std::size_t>> accepted = accepting.Decide();
  ASSERT_TRUE(accepted.ok()) << accepted.status().ToString();
  EXPECT_FALSE(accepted->has_value());
  EXPECT_TRUE(accepting.GivesUpDamage());
  SyncedLogJudge torn(false, "", "");
  torn.OnDamage({.place = damage.place, .ends_file = true, .ends_log = true});
  EXPECT_EQ(torn.Decide().value(), std::optional<std::size_t>(0));
}

}  // namespace
}  // namespace chronolith
