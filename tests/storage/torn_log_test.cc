// A torn end of the log is cut and damage is refused. Log files are edited as a crash or a bad disk would, byte by byte.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

#include "tests/contract/seed.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/directory_image.h"
#include "tests/support/files.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr Timestamp kT = 1'700'000'000'000;

Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

void FlipByte(const std::string& path, std::size_t at) {
  std::string bytes = ReadFile(path);
  bytes.at(at) = static_cast<char>(bytes.at(at) ^ 0x5a);
  WriteFile(path, bytes);
}
// Every file below a directory, with its bytes.
std::map<std::string, std::string> Files(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) files[entry.path().string()] = ReadFile(entry.path().string());
  }
  return files;
}
// RocksDB's newest log file of an instance.
std::string NewestLog(const std::string& instance) {
  std::string newest;
  for (const auto& entry : fs::directory_iterator(instance)) {
    if (entry.path().extension() == ".log") newest = std::max(newest, entry.path().string());
  }
  return newest;
}
std::vector<std::string> KeptDirectories(const std::string& instance) {
  std::vector<std::string> kept;
  for (const auto& entry : fs::directory_iterator(instance)) {
    if (entry.is_directory()) kept.push_back(entry.path().string());
  }
  return kept;
}

class WarningLogger : public Logger {
 public:
  void Log(LogLevel level, std::string_view message) override {
    if (level == LogLevel::kWarning) warnings.append(message).append("\n");
  }
  std::string warnings;  // the store opens and closes on the test's thread
};

class TornLog : public testing::Test {
 protected:
  TornLog() : store_("rocksdb") { store_.options().logger = logger_; }

  std::string Log() const { return NewestLog(store_.path() + "/log"); }
  std::size_t LogBytes() const { return fs::file_size(Log()); }
  // Sample i: of one of seven series, so of all shards in turn.
  void WriteOne(int i, AckLevel level = AckLevel::kLogged) { store_.Write(Numbered(i % 7), {{kT + i, 1.0 * i}}, level); }
  // Sample i in a record that is longer than a sector.
  void WriteLong(int i, AckLevel level = AckLevel::kLogged) {
    std::mt19937_64 rng(static_cast<std::uint64_t>(i));
    std::vector<Sample> samples;
    for (int n = 0; n < 300; ++n) samples.push_back({kT + i * 1000 + n, std::ldexp(static_cast<double>(rng()), -3)});
    store_.Write(Numbered(i % 7), samples, level);
  }
  std::size_t Samples() {
    std::size_t n = 0;
    for (const auto& [labels, points] : store_.Read()) n += points.size();
    return n;
  }
  // New records never land behind torn bytes: many are written, the process dies, and all are there.
  void WriteAThousandAndReopen() {
    const std::size_t before = Samples();
    for (int i = 0; i < 1000; ++i) WriteOne(1'000'000 + i);
    store_.Kill();
    EXPECT_EQ(Samples(), before + 1000);
  }
  void Save() {
    fs::remove_all(store_.directory() / "saved");
    fs::copy(store_.path(), store_.directory() / "saved", fs::copy_options::recursive);
  }
  void Restore() {
    fs::remove_all(store_.path());
    fs::copy(store_.directory() / "saved", store_.path(), fs::copy_options::recursive);
  }
  // Opening is refused, repeatedly, and leaves the log instance byte for byte as it is.
  Status ExpectRefused() {
    const auto before = Files(store_.path() + "/log");
    Status status;
    for (int i = 0; i < 2; ++i) {
      status = store_.TryOpen();
      EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
      EXPECT_TRUE(Files(store_.path() + "/log") == before) << "a refused log was changed";
    }
    return status;
  }

  const std::shared_ptr<WarningLogger> logger_ = std::make_shared<WarningLogger>();
  TestStore store_;
};

TEST_F(TornLog, AnyTornEndIsCutAndWhatIsWrittenAfterwardsStays) {
  const std::uint64_t seed = TestSeed();
  std::mt19937_64 rng(seed);
  constexpr int kWrites = 30;
  store_.Open();
  std::vector<std::size_t> ends;  // of the log after each write
  for (int i = 0; i < kWrites; ++i) {
    WriteOne(i, i < 20 ? AckLevel::kSynced : AckLevel::kLogged);
    ends.push_back(LogBytes());
  }
  store_.KillWithoutOpening();
  Save();
  const std::size_t last_begin = ends[kWrites - 2];
  const std::size_t end = ends[kWrites - 1];
  std::vector<std::size_t> places = {last_begin,     last_begin + 1,  last_begin + 4, last_begin + 6,
                                     last_begin + 7, last_begin + 20, end - 1,        ends[kWrites - 3] + 9};
  int cut = 0;
  for (const std::size_t place : places) {
    for (const int kind : {0, 1, 2}) {  // cut short; zeroes; garbage
      SCOPED_TRACE(std::to_string(place - last_begin) + " bytes into the last write, kind " + std::to_string(kind));
      Restore();
      const std::string log = Log();
      std::string bytes = ReadFile(log).substr(0, place);
      if (kind == 1) bytes.append(end - place + 40'000, '\0');
      for (std::size_t i = 0; kind == 2 && i < end - place + 3000; ++i) bytes.push_back(static_cast<char>(0x80 | rng()));
      // What takes a byte's place may be the same.
      const std::string original = ReadFile(log);
      const auto same = static_cast<std::size_t>(std::mismatch(bytes.begin(), bytes.end(), original.begin(), original.end()).first -
                                                 bytes.begin());
      WriteFile(log, bytes);
      store_.Open();
      const auto whole = std::count_if(ends.begin(), ends.end(), [&](std::size_t e) { return e <= same; });
      EXPECT_EQ(Samples(), static_cast<std::size_t>(whole));
      const std::vector<std::string> kept = KeptDirectories(store_.path() + "/log");
      for (const std::string& directory : kept) EXPECT_EQ(ReadFile(NewestLog(directory)), bytes);
      cut += static_cast<int>(kept.size());
      const bool torn = same < end && (place < last_begin || place > last_begin + 4);
      EXPECT_EQ(kept.size() == 1, kind == 2 || (kind == 1 && torn)) << "wrong bytes are kept, missing ones are not";
      WriteAThousandAndReopen();
    }
  }
  std::printf("%zu torn ends, %d of them cut with the files kept aside\n", 3 * places.size(), cut);
}

TEST_F(TornLog, AFlippedByteInTheMiddleOfASyncedLogIsRefusedWhereverItIs) {
  store_.Open();
  for (int i = 0; i < 40; ++i) WriteOne(i, AckLevel::kSynced);
  const std::size_t last_begin = LogBytes();
  WriteOne(40, AckLevel::kSynced);
  store_.KillWithoutOpening();
  Save();
  int flips = 0;
  for (std::size_t at = 0; at < last_begin; at += 1 + last_begin / 50, ++flips) {
    SCOPED_TRACE("byte " + std::to_string(at));
    Restore();
    FlipByte(Log(), at);
    (void)ExpectRefused();
  }
  std::printf("%d flipped bytes refused, of a log of %zu bytes\n", flips, last_begin);
}

TEST_F(TornLog, TheRefusalNamesTheShardAndTheRecordsLost) {
  store_.Open();
  for (int i = 0; i < 14; ++i) WriteOne(i, AckLevel::kSynced);
  std::vector<Lsn> before;
  for (const ShardStats& shard : store_->Stats().shards) before.push_back(shard.last_lsn);
  const std::size_t begin = LogBytes();
  store_.Write(Numbered(3), {{kT + 100, 1}}, AckLevel::kSynced);
  store_.Write(Numbered(3), {{kT + 101, 1}}, AckLevel::kSynced);
  const std::size_t end = LogBytes();
  std::string lost;
  for (std::size_t k = 0; k < 4; ++k) {
    const Lsn last = store_->Stats().shards[k].last_lsn;
    if (last > before[k]) lost = "shard " + std::to_string(k) + " LSN " + std::to_string(last - 1) + " to " + std::to_string(last);
  }
  for (int i = 20; i < 34; ++i) WriteOne(i, AckLevel::kSynced);
  store_.KillWithoutOpening();
  FlipByte(Log(), begin + 30);
  FlipByte(Log(), end - 10);
  const Status status = ExpectRefused();
  EXPECT_THAT(status.message(), HasSubstr(lost));
  EXPECT_THAT(status.message(), HasSubstr(fs::path(Log()).filename().string()));
  EXPECT_THAT(status.message(), HasSubstr("restore a snapshot or a backup"));
}

TEST_F(TornLog, DamageOfTheLastWriteAloneIsATornEndAndTheEvidenceIsKept) {
  store_.Open();
  for (int i = 0; i < 20; ++i) WriteOne(i);
  const std::size_t last_begin = LogBytes();
  WriteOne(20);
  const std::size_t end = LogBytes();
  store_.KillWithoutOpening();
  Save();
  for (std::size_t at = last_begin; at < end; at += 7) {
    SCOPED_TRACE("byte " + std::to_string(at - last_begin) + " of the last write");
    Restore();
    const std::string log = Log();
    FlipByte(log, at);
    const std::string damaged = ReadFile(log);
    logger_->warnings.clear();
    store_.Open();
    EXPECT_EQ(Samples(), 20U);
    const std::vector<std::string> kept = KeptDirectories(store_.path() + "/log");
    ASSERT_EQ(kept.size(), 1U);
    EXPECT_EQ(ReadFile(kept[0] + "/" + fs::path(log).filename().string()), damaged);
    EXPECT_THAT(logger_->warnings, HasSubstr(kept[0]));
    store_.Restart();
    EXPECT_EQ(KeptDirectories(store_.path() + "/log"), kept) << "the damage was met again";
    WriteAThousandAndReopen();
  }
}

TEST_F(TornLog, ALaterOpeningVouchesForTheEndOfTheOneBefore) {
  store_.Open();
  for (int i = 0; i < 20; ++i) WriteOne(i);
  const std::string first = Log();
  store_.Kill();
  store_.KillWithoutOpening();
  ASSERT_NE(Log(), first);
  FlipByte(first, fs::file_size(first) - 5);
  const Status status = ExpectRefused();
  EXPECT_THAT(status.message(), HasSubstr("LSN"));
}

TEST_F(TornLog, AnEndThatWasCutDoesNotTroubleLaterOpenings) {
  store_.Open();
  for (int i = 0; i < 20; ++i) WriteOne(i);
  store_.KillWithoutOpening();
  for (int cycle = 0; cycle < 4; ++cycle) {
    SCOPED_TRACE(cycle);
    const std::string log = Log();
    std::string bytes = ReadFile(log);
    bytes.resize(bytes.size() - 3);                        // as RocksDB cuts it by itself, again at each opening
    if (cycle % 2 == 1) bytes.append("garbage, garbage");  // as we cut it
    WriteFile(log, bytes);
    store_.Open();
    EXPECT_EQ(Samples(), 19U + 9U * static_cast<std::size_t>(cycle));
    for (int i = 0; i < 10; ++i) WriteOne(100 + cycle * 10 + i);
    store_.KillWithoutOpening();
  }
  store_.Open();
  EXPECT_EQ(Samples(), 19U + 9U * 3U + 10U);
}

TEST_F(TornLog, ASectorThatWasNeverWrittenIsATornEndUnlessSomethingBehindItWasSynced) {
  for (const bool synced : {false, true}) {
    SCOPED_TRACE(synced ? "synced" : "not synced");
    store_.Open();
    for (int i = 0; i < 5; ++i) WriteLong(i);
    const std::size_t begin = LogBytes();
    WriteLong(5, synced ? AckLevel::kSynced : AckLevel::kLogged);
    for (int i = 6; i < 9; ++i) WriteLong(i);
    store_.KillWithoutOpening();
    std::string bytes = ReadFile(Log());
    const std::size_t sector = (begin + 511) / 512 * 512;
    bytes.replace(sector, 512, 512, '\0');
    WriteFile(Log(), bytes);
    if (synced) {
      (void)ExpectRefused();
    } else {
      store_.Open();
      EXPECT_EQ(Samples(), 5U * 300U);
      EXPECT_THAT(logger_->warnings, HasSubstr("LSN"));  // intact ones behind, cut away
      WriteAThousandAndReopen();
      store_.Close();
      fs::remove_all(store_.path());
    }
  }
}

// RocksDB passes over zeroes from where a record should begin to the end of the block, in all its modes, and goes on behind them.
TEST_F(TornLog, ABlockThatWasNeverWrittenIsATornEndAlsoWhereRocksDbPassesOverIt) {
  for (const bool synced : {false, true}) {
    SCOPED_TRACE(synced ? "synced" : "not synced");
    store_.Open();
    for (int i = 0; i < 10; ++i) WriteOne(i);
    const std::size_t begin = LogBytes();
    for (int i = 10; i < 20; ++i) WriteOne(i, synced ? AckLevel::kSynced : AckLevel::kLogged);
    const std::size_t end = LogBytes();
    for (int i = 20; i < 40; ++i) WriteOne(i);
    store_.KillWithoutOpening();
    // The same writes as they would lie if the first block had ended behind the lost ones.
    const std::string bytes = ReadFile(Log());
    ASSERT_LT(bytes.size(), 32768U);
    WriteFile(Log(), bytes.substr(0, begin) + std::string(32768 - begin, '\0') + bytes.substr(end));
    if (synced) {
      EXPECT_THAT(ExpectRefused().message(), HasSubstr("LSN"));
    } else {
      store_.Open();
      EXPECT_EQ(Samples(), 10U);
      EXPECT_EQ(KeptDirectories(store_.path() + "/log").size(), 1U);
      WriteAThousandAndReopen();
      store_.Close();
      fs::remove_all(store_.path());
    }
  }
}

// What had not been synced when the power failed is there by sectors or pages, in no order, and the file ends anywhere: the store
// opens, with all that was synced and no hole.
TEST_F(TornLog, APowerLossNeverRefusesTheStoreNorTakesWhatWasSynced) {
  const std::uint64_t seed = TestSeed();
  std::mt19937_64 rng(seed);
  int cut = 0;
  int most = 0;
  constexpr int kTrials = 40;
  for (int trial = 0; trial < kTrials; ++trial) {
    SCOPED_TRACE("trial " + std::to_string(trial));
    if (trial % 10 == 0) {  // another log
      store_.options().commit_interval_ms = 1;
      fs::remove_all(store_.path());
      store_.Open();
    } else {
      Restore();
    }
    static std::vector<std::size_t> samples;  // after each write
    static std::size_t synced_bytes = 0;
    static int synced_writes = 0;
    if (trial % 10 == 0) {
      samples = {0};
      const int writes = 20 + static_cast<int>(rng() % 40);
      const int last_synced = static_cast<int>(rng() % static_cast<std::uint64_t>(writes));
      for (int i = 0; i < writes; ++i) {
        const bool is_long = rng() % 4 == 0;
        const auto level = i == last_synced || (i < last_synced && rng() % 4 == 0) ? AckLevel::kSynced : AckLevel::kLogged;
        if (is_long) {
          WriteLong(i, level);
        } else {
          WriteOne(1'000'000 + i, level);
        }
        samples.push_back(samples.back() + (is_long ? 300 : 1));
        if (i != last_synced) continue;
        synced_bytes = LogBytes();
        synced_writes = i + 1;
      }
      store_.KillWithoutOpening();
      Save();
    }
    std::string bytes = ReadFile(Log());
    bytes.resize(synced_bytes + rng() % (bytes.size() - synced_bytes + 1));
    const std::size_t unit = rng() % 2 == 0 ? 512 : 4096;
    const std::uint64_t lost_of_8 = rng() % 8;
    for (std::size_t at = synced_bytes / unit * unit; at < bytes.size(); at += unit) {
      if (rng() % 8 >= lost_of_8) continue;
      for (std::size_t i = std::max(at, synced_bytes); i < std::min(at + unit, bytes.size()); ++i) bytes[i] = 0;
    }
    WriteFile(Log(), bytes);
    const Status status = store_.TryOpen();
    ASSERT_TRUE(status.ok()) << status.ToString();
    const auto kept = std::find(samples.begin(), samples.end(), Samples());
    ASSERT_NE(kept, samples.end()) << "a hole";
    const int writes_kept = static_cast<int>(kept - samples.begin());
    EXPECT_GE(writes_kept, synced_writes);
    most = std::max(most, writes_kept - synced_writes);
    cut += static_cast<int>(KeptDirectories(store_.path() + "/log").size());
    for (int i = 0; i < 20; ++i) WriteOne(2'000'000 + i);
    store_.Kill();
    EXPECT_EQ(Samples(), *kept + 20);
    store_.Close();
  }
  std::printf("%d power losses, %d with the torn files kept; up to %d unsynced writes survived\n", kTrials, cut, most);
}

// What was synced last may have been in a log file that a checkpoint freed: no row in front of the damage says so.
TEST_F(TornLog, APowerLossAfterACheckpointFreedTheLogRefusesNothingUnlessItWasSynced) {
  for (const bool synced : {false, true}) {
    SCOPED_TRACE(synced ? "synced" : "not synced");
    store_.Open();
    for (int i = 0; i < 20; ++i) WriteOne(2'000'000 + i, AckLevel::kSynced);
    const std::string first = Log();
    store_.Checkpoint();
    const std::string log = Log();
    ASSERT_NE(log, first);
    for (int i = 0; i < 8; ++i) WriteLong(i, synced && i == 6 ? AckLevel::kSynced : AckLevel::kLogged);
    store_.Close();
    EXPECT_FALSE(fs::exists(first));
    std::string bytes = ReadFile(log);
    ASSERT_GT(bytes.size(), 3U * 4096U);
    WriteFile(log, std::string(4096, '\0') + bytes.substr(4096));
    if (synced) {
      (void)ExpectRefused();
    } else {
      store_.Open();
      EXPECT_EQ(Samples(), 20U);
      EXPECT_EQ(KeptDirectories(store_.path() + "/log").size(), 1U);
      WriteAThousandAndReopen();
      store_.Close();
      fs::remove_all(store_.path());
    }
  }
}

// Damage anywhere but in the last write of all, in a store of several openings with checkpoints between, is never passed over.
TEST_F(TornLog, DamageInAnyOpeningIsRefusedOrHarmless) {
  const std::uint64_t seed = TestSeed();
  std::mt19937_64 rng(seed);
  store_.Open();
  for (int i = 0; i < 60; ++i) WriteLong(i);
  store_.Checkpoint();
  std::size_t last_begin = 0;
  for (int opening = 0; opening < 3; ++opening) {
    for (int i = 0; i < 30; ++i) {
      last_begin = LogBytes();
      if (rng() % 3 == 0) {
        WriteLong(100 + opening * 100 + i);
      } else {
        WriteOne(1'000'000 + opening * 100 + i, rng() % 5 == 0 ? AckLevel::kSynced : AckLevel::kLogged);
      }
    }
    if (opening < 2) store_.Kill();
  }
  const std::size_t all = Samples();
  store_.KillWithoutOpening();
  Save();
  std::vector<std::string> logs;
  for (const auto& [name, bytes] : Files(store_.path() + "/log")) {
    if (name.ends_with(".log") && !bytes.empty()) logs.push_back(name);
  }
  ASSERT_GE(logs.size(), 3U);
  int refused = 0;
  int harmless = 0;
  for (int trial = 0; trial < 100; ++trial) {
    Restore();
    const std::string& log = logs[rng() % logs.size()];
    std::string bytes = ReadFile(log);
    const std::size_t size = log == Log() ? last_begin : bytes.size();
    const std::size_t at = rng() % size;
    SCOPED_TRACE(log + ", byte " + std::to_string(at));
    if (trial % 4 == 0 && at / 512 * 512 + 512 <= size) {
      bytes.replace(at / 512 * 512, 512, 512, '\0');
      // Not synced, it may have been lost with the power.
      if (log == Log()) continue;
    } else {
      bytes[at] = static_cast<char>(bytes[at] ^ (1 + rng() % 255));
    }
    WriteFile(log, bytes);
    const auto before = Files(store_.path() + "/log");
    const Status status = store_.TryOpen();
    if (status.ok()) {
      EXPECT_EQ(Samples(), all);
      store_.Close();
      ++harmless;
      continue;
    }
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
    EXPECT_TRUE(Files(store_.path() + "/log") == before) << "a refused log was changed";
    ++refused;
  }
  std::printf("%zu log files: %d damages refused, %d harmless\n", logs.size(), refused, harmless);
  EXPECT_GT(refused, 20);
}

// A power loss may undo the removal of a log file that was torn by an earlier crash, and whose rows are stored since.
TEST_F(TornLog, AnOldLogThatComesBackDoesNotCutTheNewOne) {
  store_.Open();
  store_.KillWithoutOpening();
  const std::string old_log = Log();
  const std::string torn = ReadFile(old_log).substr(0, LogBytes() - 3);
  WriteFile(old_log, torn);
  store_.Open();
  for (int i = 0; i < 10; ++i) WriteOne(i);
  store_.Checkpoint();
  (void)store_->Stats();  // waits until RocksDB has removed what the checkpoint left
  ASSERT_FALSE(fs::exists(old_log));
  for (int i = 10; i < 20; ++i) WriteOne(i);
  WriteOne(20, AckLevel::kSynced);
  store_.KillWithoutOpening();
  WriteFile(old_log, torn);
  store_.Open();
  EXPECT_EQ(Samples(), 21U);
  EXPECT_TRUE(KeptDirectories(store_.path() + "/log").empty());
}

TEST_F(TornLog, TheDataInstanceVouchesForWhatItHolds) {
  store_.Open();
  for (int i = 0; i < 20; ++i) WriteOne(i);
  const std::string old_log = store_.directory() / "old_log";
  testing_support::CopyAtOneMoment(store_.path() + "/log", old_log);
  store_.Checkpoint();
  store_.KillWithoutOpening();
  fs::remove_all(store_.path() + "/log");
  fs::rename(old_log, store_.path() + "/log");
  FlipByte(Log(), LogBytes() - 5);
  const Status status = ExpectRefused();
  EXPECT_THAT(status.message(), HasSubstr("LSN"));
}

TEST_F(TornLog, TheLogOfTheDataInstanceIsCutAtItsEndAndRefusedInItsMiddle) {
  store_.Open();
  for (int i = 0; i < 20; ++i) WriteOne(i);
  store_.KillWithoutOpening();
  Save();
  const std::string data = store_.path() + "/data";
  const std::size_t bytes = fs::file_size(NewestLog(data));
  FlipByte(NewestLog(data), bytes - 5);
  store_.Open();
  EXPECT_EQ(Samples(), 20U);
  EXPECT_EQ(KeptDirectories(data).size(), 1U);
  WriteAThousandAndReopen();
  store_.Close();

  for (const std::size_t at : {bytes / 2, bytes / 3, bytes - 90}) {
    Restore();
    FlipByte(NewestLog(data), at);
    const auto before = Files(store_.path());
    const Status status = store_.TryOpen();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr("data instance"));
    EXPECT_TRUE(Files(store_.path()) == before) << "files were changed";
  }
}

TEST_F(TornLog, AReaderChangesNothing) {
  store_.Open();
  for (int i = 0; i < 20; ++i) WriteOne(i);
  store_.KillWithoutOpening();
  Save();
  store_.options().read_only = true;
  for (const bool garbage : {false, true}) {
    SCOPED_TRACE(garbage ? "garbage" : "cut short");
    Restore();
    std::string bytes = ReadFile(Log());
    bytes.resize(bytes.size() - 3);
    if (garbage) bytes.append("garbage, garbage");
    WriteFile(Log(), bytes);
    const auto before = Files(store_.path());
    const Status status = store_.TryOpen();
    if (garbage) {
      EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
    } else {
      ASSERT_TRUE(status.ok()) << status.ToString();
      EXPECT_EQ(Samples(), 19U);
      store_.Close();
    }
    EXPECT_TRUE(Files(store_.path()) == before) << "files were changed";
  }
}

}  // namespace
}  // namespace chronolith
