// What CheckLog finds in damaged log files of RocksDB, and how it cuts them. Files are edited by name, as a bad disk would.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

#include "plugins/rocksdb/log_check.h"
#include "plugins/rocksdb/newest_log.h"
#include "plugins/rocksdb/rocksdb_engine.h"
#include "tests/contract/engine_fixture.h"
#include "tests/contract/seed.h"
#include "tests/support/files.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

// Remembers what it is told and decides as it was made to.
class RecordingJudge : public LogJudge {
 public:
  explicit RecordingJudge(Result<std::optional<std::size_t>> decision = std::optional<std::size_t>()) : decision_(decision) {}

  Status Begin(KvEngine* stored) override {
    auto cursor = stored->NewIterator(0, {});
    for ((*cursor)->Seek(""); (*cursor)->Valid(); (*cursor)->Next()) ++rows_stored;
    rows_before = rows_stored;
    return (*cursor)->status();
  }
  void OnReplayed(FamilyId family, std::string_view key, std::string_view value) override {
    EXPECT_TRUE(rows.empty() && damages.empty()) << "replayed behind what is told of it";
    EXPECT_EQ(value.size(), 2048U);
    replayed.emplace(family, key);
    rows_before += family == 0 ? 1 : 0;
  }
  void OnRow(FamilyId family, std::string_view key, std::string_view value) override {
    EXPECT_TRUE(rows.emplace(family, key).second) << "twice: " << key;
    EXPECT_EQ(value.size(), 2048U);
    if (!damages.empty()) ++rows_behind;
  }
  void OnDamage(const LogDamage& damage) override { damages.push_back(damage); }
  Result<std::optional<std::size_t>> Decide() override { return decision_; }

  int rows_stored = 0;
  int rows_before = 0;
  int rows_behind = 0;
  std::set<std::pair<FamilyId, std::string>> replayed;
  std::set<std::pair<FamilyId, std::string>> rows;
  std::vector<LogDamage> damages;

 private:
  const Result<std::optional<std::size_t>> decision_;
};

// Decides as it was made to, whatever there is.
class SettledJudge : public LogJudge {
 public:
  SettledJudge(Status decision, bool gives_up) : decision_(std::move(decision)), gives_up_(gives_up) {}
  Status Begin(KvEngine*) override { return Status::Ok(); }
  void OnRow(FamilyId, std::string_view, std::string_view) override {}
  void OnDamage(const LogDamage& damage) override { damages.push_back(damage); }
  Result<std::optional<std::size_t>> Decide() override {
    if (!decision_.ok()) return decision_;
    return std::optional<std::size_t>();
  }
  bool GivesUpDamage() const override { return gives_up_; }

  std::vector<LogDamage> damages;

 private:
  const Status decision_;
  const bool gives_up_;
};

class RocksDbLogCheck : public testing::Test {
 protected:
  static constexpr int kFamilies = 4;
  static constexpr int kRows = 40;  // of each family, 2 KiB each: records of a quarter of a block

  RocksDbLogCheck() {
    options_.instance = InstanceRole::kLog;
    for (int i = 0; i < kFamilies; ++i) options_.families.push_back({"f." + std::to_string(i), FamilyRole::kWal});
    path_ = directory_ / "db";
    auto engine = factory_->Open(path_, options_);
    EXPECT_TRUE(engine.ok()) << engine.status().ToString();
    WriteRows(engine->get(), 10'000, kRows);
    EXPECT_TRUE((*engine)->Close().ok());
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (entry.path().extension() == ".log") log_ = entry.path().string();
    }
    bytes_ = ReadFile(log_);
    EXPECT_GT(bytes_.size(), std::size_t{kRows} * kFamilies * 2048);
  }

  // Keys from `first` on, each in all families in one write.
  void WriteRows(KvEngine* engine, int first, int n) {
    for (int i = first; i < first + n; ++i) {
      const std::string key = std::to_string(i);
      std::string value(2048, '\0');
      for (char& c : value) c = static_cast<char>(rng_());
      const Op op = PutOp(key, value);
      std::vector<Batch> batches;
      for (FamilyId f = 0; f < kFamilies; ++f) batches.push_back({f, key, 0, std::span(&op, 1)});
      for (const Status& s : engine->Write(batches, {})) EXPECT_TRUE(s.ok()) << s.ToString();
    }
  }
  static std::set<std::pair<FamilyId, std::string>> RowsOf(KvEngine* engine) {
    std::set<std::pair<FamilyId, std::string>> rows;
    for (FamilyId f = 0; f < kFamilies; ++f) {
      const auto it = engine->NewIterator(f, {}).value();
      for (it->Seek(""); it->Valid(); it->Next()) rows.emplace(f, it->key());
      EXPECT_TRUE(it->status().ok()) << it->status().ToString();
    }
    return rows;
  }
  Result<std::string> Check(LogJudge* judge) { return factory_->CheckLog(path_, options_, judge); }

  const std::uint64_t seed_ = TestSeed();
  std::mt19937_64 rng_{seed_};
  TempDirectory directory_;
  const std::shared_ptr<EngineFactory> factory_ = MakeRocksDbEngineFactory();
  EngineOptions options_;
  std::string path_;
  std::string log_;
  std::string bytes_;
};

TEST_F(RocksDbLogCheck, AnIntactLogIsNobodysBusiness) {
  RecordingJudge judge;
  const auto kept = Check(&judge);
  ASSERT_TRUE(kept.ok()) << kept.status().ToString();
  EXPECT_EQ(*kept, "");
  EXPECT_EQ(judge.rows.size() + judge.damages.size(), 0U);
  options_.families.clear();
  EXPECT_EQ(factory_->CheckLog(directory_ / "absent", options_, &judge).value(), "");
}

TEST_F(RocksDbLogCheck, AFlippedByteCostsOneWriteAndNothingBehindIt) {
  int not_last = 0;
  int total = 0;
  for (int trial = 0; trial < 150; ++trial) {
    // The header of a fragment, its length above all, is where RocksDB loses its way: half of the flips are there.
    const std::size_t at = trial % 2 == 0 ? rng_() % bytes_.size() : (rng_() % (bytes_.size() / 32768)) * 32768 + rng_() % 7;
    SCOPED_TRACE("byte " + std::to_string(at));
    std::string bytes = bytes_;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 + rng_() % 255));
    WriteFile(log_, bytes);
    RecordingJudge judge;
    const auto kept = Check(&judge);
    ASSERT_TRUE(kept.ok()) << kept.status().ToString();
    EXPECT_EQ(*kept, "");
    EXPECT_EQ(ReadFile(log_), bytes);
    if (judge.damages.empty()) continue;  // padding at the end of a block
    ++total;
    ASSERT_EQ(judge.damages.size(), 1U);
    EXPECT_EQ(judge.rows.size(), std::size_t{kFamilies} * (kRows - 1));
    EXPECT_EQ(judge.rows_stored, 0) << "rows of the log were put into memory";
    EXPECT_EQ(judge.damages[0].ends_log, judge.rows_behind == 0);
    EXPECT_EQ(judge.damages[0].ends_file, judge.rows_behind == 0);
    EXPECT_FALSE(judge.damages[0].unwritten && !judge.damages[0].ends_file);
    EXPECT_EQ(judge.rows_before * kFamilies + judge.rows_behind, kFamilies * (kRows - 1)) << judge.damages[0].place;
    not_last += judge.rows_behind > 0 ? 1 : 0;
  }
  EXPECT_GT(total, 100);
  EXPECT_GT(not_last, 90);
}

TEST_F(RocksDbLogCheck, BytesThatWereNeverWrittenAreTold) {
  for (const std::size_t sector : {std::size_t{20}, std::size_t{64}, std::size_t{200}}) {
    std::string bytes = bytes_;
    bytes.replace(sector * 512, 512, 512, '\0');
    WriteFile(log_, bytes);
    RecordingJudge judge;
    ASSERT_TRUE(Check(&judge).ok());
    ASSERT_EQ(judge.damages.size(), 1U);
    EXPECT_TRUE(judge.damages[0].unwritten);
    EXPECT_FALSE(judge.damages[0].ends_file);
  }
  // Zeroes within a record: a page that was written back when the file ended in it, or bytes that went bad.
  struct {
    std::size_t end;
    std::size_t zeroes;
    bool unwritten;
  } const cases[] = {{7 * 4096, 100, true}, {7 * 4096, 16, true},         {7 * 4096, 500, true},
                     {7 * 4096, 8, false},  {7 * 4096 + 512, 100, false}, {7 * 4096 - 1, 100, false}};
  for (const auto& c : cases) {
    SCOPED_TRACE(std::to_string(c.zeroes) + " zeroes up to byte " + std::to_string(c.end));
    std::string bytes = bytes_;
    bytes[c.end] = 'x';
    bytes[c.end - c.zeroes - 1] = 'x';
    bytes.replace(c.end - c.zeroes, c.zeroes, c.zeroes, '\0');
    WriteFile(log_, bytes);
    RecordingJudge judge;
    ASSERT_TRUE(Check(&judge).ok());
    ASSERT_EQ(judge.damages.size(), 1U);
    EXPECT_EQ(judge.damages[0].unwritten, c.unwritten);
    EXPECT_FALSE(judge.damages[0].ends_file);
  }
  for (const std::size_t cut : {1U, 3000U, 9000U, 32768U}) {
    WriteFile(log_, bytes_.substr(0, bytes_.size() - cut));
    RecordingJudge judge;
    ASSERT_TRUE(Check(&judge).ok());
    ASSERT_EQ(judge.damages.size(), 1U) << cut;
    EXPECT_TRUE(judge.damages[0].unwritten);
    EXPECT_TRUE(judge.damages[0].ends_log);
  }
}

// RocksDB goes on behind damage where the rows of the next file are numbered as if nothing were between.
TEST_F(RocksDbLogCheck, WhatIsReplayedIsWhatAnOpenFinds) {
  WriteFile(log_, bytes_.substr(0, bytes_.size() - 3000));  // torn in the last write
  {
    auto engine = factory_->Open(path_, options_);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    WriteRows(engine->get(), 100, 10);
  }
  ASSERT_EQ(ListLogFiles(path_)->size(), 2U);
  int went_on = 0;
  for (int trial = 0; trial < 60; ++trial) {
    const std::size_t at = trial < 20 ? bytes_.size() - 1 - rng_() % 1000 : rng_() % bytes_.size();
    SCOPED_TRACE("byte " + std::to_string(at));
    std::string bytes = bytes_;  // all of the last write is there again
    bytes[at] = static_cast<char>(bytes[at] ^ (1 + rng_() % 255));
    WriteFile(log_, bytes);
    RecordingJudge judge;
    ASSERT_TRUE(Check(&judge).ok());
    if (judge.damages.empty()) continue;
    EngineOptions reading = options_;
    reading.read_only = true;
    auto opened = factory_->Open(path_, reading);
    reading.extra["wal_recovery_mode"] = "tolerate_tail";
    if (!opened.ok()) opened = factory_->Open(path_, reading);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    EXPECT_EQ(judge.replayed, RowsOf(opened->get()));
    went_on += judge.replayed.contains({0, "100"}) ? 1 : 0;
  }
  EXPECT_GT(went_on, 10);
}

TEST_F(RocksDbLogCheck, WithoutTheRowsOfItsLogAnOpenSaysWhatItSaysWithThem) {
  EngineOptions reading = options_;
  reading.read_only = true;
  EngineOptions left_out = reading;
  left_out.extra["log_rows"] = "left_out";
  {
    const auto engine = factory_->Open(path_, left_out);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    EXPECT_TRUE(RowsOf(engine->get()).empty());
    EXPECT_EQ(RowsOf(factory_->Open(path_, reading).value().get()).size(), std::size_t{kFamilies} * kRows);
  }
  for (const std::size_t at : {bytes_.size() / 3, bytes_.size() - 20}) {
    std::string bytes = bytes_;
    bytes[at] ^= 1;
    WriteFile(log_, bytes);
    EXPECT_EQ(factory_->Open(path_, left_out).status().code(), StatusCode::kDataLoss);
    EXPECT_EQ(factory_->Open(path_, left_out).status(), factory_->Open(path_, reading).status());
  }
  left_out.read_only = false;
  EXPECT_EQ(factory_->Open(path_, left_out).status().code(), StatusCode::kInvalidArgument);
  reading.extra["log_rows"] = "kept";
  EXPECT_EQ(factory_->Open(path_, reading).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(RocksDbLogCheck, TheJudgesErrorIsReturnedAndNothingIsChanged) {
  bytes_[bytes_.size() / 2] ^= 1;
  WriteFile(log_, bytes_);
  RecordingJudge judge(DataLoss("the judge has spoken"));
  EXPECT_EQ(Check(&judge).status(), DataLoss("the judge has spoken"));
  EXPECT_EQ(ReadFile(log_), bytes_);
  EXPECT_EQ(factory_->Open(path_, options_).status().code(), StatusCode::kDataLoss);
}

TEST_F(RocksDbLogCheck, ACutLeavesWhatIsBeforeItAndKeepsTheFile) {
  const std::size_t middle = bytes_.size() / 2;
  bytes_[middle] ^= 1;
  WriteFile(log_, bytes_);
  RecordingJudge judge(std::optional<std::size_t>(0));
  const auto kept = Check(&judge);
  ASSERT_TRUE(kept.ok()) << kept.status().ToString();
  EXPECT_EQ(ReadFile(*kept + "/" + fs::path(log_).filename().string()), bytes_);
  EXPECT_EQ(ReadFile(log_), bytes_.substr(0, fs::file_size(log_)));
  EXPECT_LE(fs::file_size(log_), middle);
  auto engine = factory_->Open(path_, options_);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  RecordingJudge unasked;
  ASSERT_TRUE(unasked.Begin(engine->get()).ok());
  EXPECT_EQ(unasked.rows_before, judge.rows_before);
  EXPECT_GT(unasked.rows_before, kRows / 3);
}

TEST_F(RocksDbLogCheck, ACutTakesTheFilesBehindItAlong) {
  { ASSERT_TRUE(factory_->Open(path_, options_).value()->AcquireEpoch(0, 7).ok()); }  // a second log file
  std::vector<std::string> logs;
  for (const auto& entry : fs::directory_iterator(path_)) {
    if (entry.path().extension() == ".log") logs.push_back(entry.path().filename().string());
  }
  ASSERT_EQ(logs.size(), 2U);
  bytes_[bytes_.size() - 20] ^= 1;
  WriteFile(log_, bytes_);
  RecordingJudge judge(std::optional<std::size_t>(0));
  const auto kept = Check(&judge);
  ASSERT_TRUE(kept.ok()) << kept.status().ToString();
  ASSERT_EQ(judge.damages.size(), 1U);
  EXPECT_TRUE(judge.damages[0].ends_file);
  EXPECT_FALSE(judge.damages[0].ends_log);
  for (const std::string& log : logs) EXPECT_TRUE(fs::exists(*kept + "/" + log));
  EXPECT_EQ(FirstMissingLog(rocksdb::Env::Default(), path_), 0U) << "an empty last file stays";
  auto engine = factory_->Open(path_, options_);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  EXPECT_EQ((*engine)->CurrentEpoch(0).value(), 0U);
}

// An Open that fared better than the look at the instance would drop what is intact behind the damage.
TEST_F(RocksDbLogCheck, AnErrorOfLookingAtADamagedInstanceIsReturned) {
  bytes_[bytes_.size() / 2] ^= 1;
  WriteFile(log_, bytes_);
  RecordingJudge judge(std::optional<std::size_t>(0));
  for (const Status& passing : {IoError("too many open files"), ResourceExhausted("no memory")}) {
    EXPECT_EQ(CheckInstanceLog(nullptr, path_, InstanceRole::kLog, false, &judge,
                               [&](LogReading, const OnPut&) -> Result<LogView> { return passing; })
                  .status(),
              passing);
  }
  // Creation was cut short before there were families: it is Open that makes them.
  const auto kept = CheckInstanceLog(nullptr, path_, InstanceRole::kLog, false, &judge,
                                     [](LogReading, const OnPut&) -> Result<LogView> { return NotFound("no family"); });
  ASSERT_TRUE(kept.ok()) << kept.status().ToString();
  EXPECT_EQ(*kept, "");
  EXPECT_EQ(judge.damages.size(), 0U);
  EXPECT_EQ(ReadFile(log_), bytes_);
}

// RocksDB takes what is missing behind the log files that it finds for the end of the log.
TEST_F(RocksDbLogCheck, NewestLogFilesThatAreGoneAreToldAndGivenUp) {
  EngineOptions reading = options_;
  reading.read_only = true;
  const auto damages = [&] {
    SettledJudge judge(Status::Ok(), false);
    EXPECT_EQ(Check(&judge).value(), "");
    return judge.damages.size();
  };
  for (int opening = 0; opening < 4; ++opening) {
    SCOPED_TRACE(opening);
    {
      auto engine = factory_->Open(path_, options_);
      ASSERT_TRUE(engine.ok()) << engine.status().ToString();
      const Op op = PutOp("a", "b");
      const Batch batch{0, "a", 0, std::span(&op, 1)};
      ASSERT_TRUE((*engine)->Write({&batch, 1}, {})[0].ok());
      const FamilyId all[] = {0, 1, 2, 3};
      if (opening % 2 == 0) {
        ASSERT_TRUE((*engine)->Flush(all).ok());
        ASSERT_TRUE((*engine)->Write({&batch, 1}, {})[0].ok());
      }
    }
    EXPECT_EQ(damages(), 0U);
    const std::string newest = path_ + "/" + ListLogFiles(path_)->back().name;
    const std::string content = ReadFile(newest);
    fs::remove(newest);
    SettledJudge refusing(DataLoss("refused"), false);
    EXPECT_EQ(Check(&refusing).status().code(), StatusCode::kDataLoss);
    ASSERT_EQ(refusing.damages.size(), 1U);
    EXPECT_TRUE(refusing.damages[0].synced && refusing.damages[0].ends_log);
    EXPECT_NE(refusing.damages[0].place.find(path_ + ", whose files from "), std::string::npos) << refusing.damages[0].place;
    EXPECT_EQ(factory_->Open(path_, reading).status().code(), StatusCode::kDataLoss);
    WriteFile(newest, content);
    EXPECT_EQ(damages(), 0U) << "it was put back";
    EXPECT_TRUE(factory_->Open(path_, reading).ok());
    fs::remove(newest);
    SettledJudge accepting(Status::Ok(), true);
    EXPECT_EQ(Check(&accepting).value(), "") << "there is nothing to be kept";
    EXPECT_EQ(accepting.damages.size(), 1U);
    EXPECT_EQ(damages(), 0U) << "given up once";
    EXPECT_TRUE(factory_->Open(path_, reading).ok());
  }
}

// As a crash at any moment, or a reader, would find it.
TEST_F(RocksDbLogCheck, NoLogFileIsMissedWhereNoneWasLost) {
  for (int opening = 0; opening < 20; ++opening) {
    auto engine = factory_->Open(path_, options_);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(FirstMissingLog(rocksdb::Env::Default(), path_), 0U);
      const auto family = static_cast<FamilyId>(rng_() % kFamilies);
      const Op op = PutOp("key", "value");
      const Batch batch{family, "key", 0, std::span(&op, 1)};
      if (rng_() % 4 == 0) {
        ASSERT_TRUE((*engine)->Flush({&family, 1}).ok());
      } else {
        ASSERT_TRUE((*engine)->Write({&batch, 1}, {})[0].ok());
      }
    }
    EXPECT_EQ(FirstMissingLog(rocksdb::Env::Default(), path_), 0U);
  }
}

TEST(LargestLogNumber, TakesRecordsApart) {
  struct Case {
    const char* name;
    std::string record;
    bool decodes;
    std::uint64_t number;
  };
  const std::string new_file("\x67\x00\x0b\x10\x01k\x02kk\x01\x02\x05\x01x\x01", 15);
  const Case cases[] = {
      {"nothing", "", true, 3},
      {"a smaller number", std::string("\x02\x02", 2), true, 3},
      {"a larger one", std::string("\x02\xac\x02", 3), true, 300},
      {"the larger of two", std::string("\x02\x09\x02\x05", 4), true, 9},
      {"behind other fields",
       std::string("\x01\x03"
                   "abc\x03\x07\x04\x07\x09\x00\x0a\x05\xc8\x01\x02\x02\x0b",
                   18),
       true, 11},
      {"behind a new file", new_file + std::string("\x02\x0c", 2), true, 12},
      {"behind a removed file", std::string("\x06\x00\x63\x02\x0d", 5), true, 13},
      {"behind what may be passed over",
       std::string("\x81\x40\x02"
                   "zz\x02\x0e",
                   7),
       true, 14},
      {"a tag that is none", std::string("\x42\x02\x0f", 3), false, 0},
      {"an end in a number", std::string("\x02\xac", 2), false, 0},
      {"an end in a string",
       std::string("\x01\x09"
                   "ab",
                   4),
       false, 0},
      {"an end in a new file", new_file.substr(0, 9), false, 0},
      {"a length beyond all", std::string("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11), false, 0},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    std::uint64_t number = 3;
    EXPECT_EQ(LargestLogNumber(c.record, &number), c.decodes);
    if (c.decodes) {
      EXPECT_EQ(number, c.number);
    }
  }
}

TEST_F(RocksDbLogCheck, AnInstanceThatIsOpenIsLeftAlone) {
  auto engine = factory_->Open(path_, options_);
  ASSERT_TRUE(engine.ok());
  bytes_[bytes_.size() / 2] ^= 1;
  WriteFile(log_, bytes_);
  RecordingJudge judge(std::optional<std::size_t>(0));
  EXPECT_EQ(Check(&judge).value(), "");
  EXPECT_EQ(judge.damages.size(), 0U);
  EXPECT_EQ(ReadFile(log_), bytes_);
}

// As a reader that keeps writers out does, in whatever process.
TEST_F(RocksDbLogCheck, WhoOnlyLooksDoesSoBesideReadersAndChangesNothing) {
  bytes_[bytes_.size() / 2] ^= 1;
  WriteFile(log_, bytes_);
  const int reader = open((path_ + "/LOCK").c_str(), O_RDONLY | O_CLOEXEC);
  struct flock shared {};
  shared.l_type = F_RDLCK;
  shared.l_whence = SEEK_SET;
  ASSERT_EQ(fcntl(reader, F_OFD_SETLK, &shared), 0);
  RecordingJudge cutting(std::optional<std::size_t>(0));
  EXPECT_EQ(Check(&cutting).value(), "");
  EXPECT_EQ(cutting.damages.size(), 0U) << "it would cut beside a reader";
  options_.read_only = true;
  RecordingJudge looking(std::optional<std::size_t>(0));
  EXPECT_EQ(Check(&looking).value(), "");
  EXPECT_EQ(looking.damages.size(), 1U);
  EXPECT_EQ(ReadFile(log_), bytes_);
  close(reader);
}

TEST_F(RocksDbLogCheck, WhoOnlyLooksLeavesAWriterOfTheSameProcessItsLock) {
  auto engine = factory_->Open(path_, options_);
  ASSERT_TRUE(engine.ok());
  const int other = open((path_ + "/LOCK").c_str(), O_RDONLY | O_CLOEXEC);
  bytes_[bytes_.size() / 2] ^= 1;
  WriteFile(log_, bytes_);
  options_.read_only = true;
  RecordingJudge judge;
  EXPECT_EQ(Check(&judge).value(), "");
  EXPECT_EQ(judge.damages.size(), 0U);
  struct flock held {};
  held.l_type = F_RDLCK;
  held.l_whence = SEEK_SET;
  ASSERT_EQ(fcntl(other, F_OFD_GETLK, &held), 0);
  EXPECT_EQ(held.l_type, F_WRLCK);
  close(other);
}

}  // namespace
}  // namespace chronolith
