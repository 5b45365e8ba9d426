// One bit of a stored file is flipped, in every kind of file, and the store is opened and read in a process of its own.
//
// Whatever is answered without an error is right. What touches live data is told: by quarantining a shard while the other serves,
// by an error of the read that needs it; by refusing the store, with what that costs each shard, but only where all shards share
// the file; or, in the last write of the log, which cannot be told from a torn end, by cutting it and keeping the files. What no
// read meets is found by a scrub.
//
//   bit_flip_test --flips 1-20000    the full run; each number is a seed of its own
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "plugins/rocksdb/rocksdb_engine.h"
#include "tests/crash/faulty_store.h"
#include "tests/support/files.h"
#include "tests/support/number_range.h"
#include "tests/support/sanitized.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

NumberRange flips;

constexpr Timestamp kT = 1'700'000'000'000;
constexpr int kSeries = 40;

enum Kind { kLog, kDataLog, kTable, kLogTable, kManifest, kCurrent, kOptions, kStore, kIdentity, kKinds };
constexpr const char* kKindNames[] = {"log",     "log of data", "table", "table of log", "MANIFEST",
                                      "CURRENT", "OPTIONS",     "STORE", "IDENTITY"};
enum Outcome { kRefused, kQuarantined, kReadError, kTornEnd, kScrubbed, kHarmless, kOutcomes };
constexpr const char* kOutcomeNames[] = {"refused",           "quarantined",      "error of a read",
                                         "cut as a torn end", "found by a scrub", "without effect"};

// What the children share with the test.
struct Shared {
  int samples = 0;  // of each series
  std::uint64_t next = 0;
  std::uint64_t counts[kKinds][kOutcomes] = {};
  char failure[2000] = "";
  std::uint64_t log_end_before_last = 0;
  std::uint64_t given_up = 0;
  std::uint64_t given_up_samples = 0;
};

int KindOf(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  const bool log = path.find("/log/") != std::string::npos;
  if (name == "STORE") return kStore;
  if (name.ends_with(".log")) return log ? kLog : kDataLog;
  if (name.ends_with(".sst")) return log ? kLogTable : kTable;
  if (name.starts_with("MANIFEST")) return kManifest;
  if (name == "CURRENT") return kCurrent;
  if (name.starts_with("OPTIONS")) return kOptions;
  return name == "IDENTITY" ? kIdentity : -1;
}

class BitFlip : public testing::Test {
 protected:
  BitFlip() : path_(directory_ / "db"), made_(directory_ / "made") {
    shared_ = new (mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Shared;
  }

  // In a child: RocksDB's threads do not outlive a fork. Returns what waitpid says.
  template <typename Work>
  static int InChild(const Work& work) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      work();
      _exit(0);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return status;
  }

  std::string Fail(const std::string& text) {
    std::snprintf(shared_->failure, sizeof(shared_->failure), "%s", text.c_str());
    return text;
  }

  static double Value(int series, int i) { return std::sqrt(1.0 + series * 1000 + i); }

  // Stored rows in several tables of each shard, then, in another life, a log of both instances behind the last checkpoint. Each
  // life ends with a kill.
  void Make(bool first_life) {
    auto opened = Storage::Open(TinyStoreOptions(), made_);
    if (!opened.ok()) return (void)Fail(opened.status().ToString());
    Storage& store = **opened;
    int& at = shared_->samples;
    const auto write = [&](int samples, AckLevel level) {
      std::vector<TimeSeries> batch(kSeries);
      for (int s = 0; s < kSeries; ++s) {
        batch[static_cast<std::size_t>(s)].labels = ModelSeries(s);
        for (int i = at; i < at + samples; ++i) batch[static_cast<std::size_t>(s)].samples.push_back({kT + i * 100, Value(s, i)});
      }
      at += samples;
      if (Status s = store.Write(batch, {.level = level}).status; !s.ok()) (void)Fail(s.ToString());
    };
    for (int round = 0; first_life && round < 3; ++round) {
      write(40, AckLevel::kLogged);
      if (Status s = store.Checkpoint(); !s.ok()) (void)Fail(s.ToString());
    }
    if (first_life) _exit(0);
    for (int i = 0; i < 8; ++i) write(3, i % 2 == 0 ? AckLevel::kSynced : AckLevel::kLogged);
    shared_->log_end_before_last = fs::file_size(NewestLog(made_));
    write(1, AckLevel::kLogged);
    _exit(0);
  }
  // The family that a table file is of: its properties, which RocksDB does not compress, name it under
  // "rocksdb.column.family.name", of which 22 bytes are those of the key before.
  static std::string FamilyOf(const std::string& table) {
    for (const std::string family : {"default", "meta", "index.0", "index.1", "chunk.0", "chunk.1", "wal.0", "wal.1"}) {
      if (table.find(std::string("\x16\x04") + static_cast<char>(family.size()) + "name" + family) != std::string::npos)
        return family;
    }
    return "";
  }
  static std::string NewestLog(const std::string& store) {
    std::string newest;
    for (const auto& entry : fs::directory_iterator(store + "/log")) {
      if (entry.path().extension() == ".log") newest = std::max(newest, entry.path().string());
    }
    return newest;
  }

  ShardModel::Contents Expected(int samples) const {
    ShardModel::Contents all;
    for (int s = 0; s < kSeries; ++s) {
      for (int i = 0; i < samples; ++i) all[s][kT + i * 100] = Value(s, i);
    }
    return all;
  }

  void Load() {
    for (const auto& entry : fs::recursive_directory_iterator(made_)) {
      const std::string name = entry.path().string().substr(made_.size());
      if (entry.is_directory()) directories_.push_back(name);
      if (!entry.is_regular_file()) continue;
      files_[name] = ReadFile(entry.path().string());
      if (name.ends_with(".sst")) {
        EXPECT_NE(FamilyOf(files_[name]), "") << name;
      }
      const int kind = KindOf(name);
      if (kind >= 0 && !files_[name].empty()) of_kind_[static_cast<std::size_t>(kind)].push_back(name);
    }
  }

  // One flip, in a child. Returns what is wrong; "" where nothing is.
  std::string Try(std::uint64_t number) {
    std::mt19937_64 rng(number);
    const std::size_t kind = number % kKinds;
    const std::string& name = of_kind_[kind][rng() % of_kind_[kind].size()];
    std::string bytes = files_.at(name);
    const std::size_t at = rng() % bytes.size();
    const unsigned bit = static_cast<unsigned>(rng() % 8);
    bytes[at] = static_cast<char>(bytes[at] ^ (1U << bit));
    const std::string where = name + ", byte " + std::to_string(at) + ", bit " + std::to_string(bit);
    std::snprintf(shared_->failure, sizeof(shared_->failure), "the process died after the flip in %s", where.c_str());

    fs::remove_all(path_);
    fs::create_directories(path_);
    for (const std::string& directory : directories_) fs::create_directories(path_ + directory);
    for (const auto& [file, content] : files_) WriteFile(path_ + file, file == name ? bytes : content);
    const bool last_write = kind == kLog && made_ + name == NewestLog(made_) && at >= shared_->log_end_before_last;
    int outcome = kHarmless;
    const std::string wrong = Look(static_cast<Kind>(kind), name, last_write, &outcome);
    if (!wrong.empty()) return where + ": " + wrong;
    ++shared_->counts[kind][outcome];
    shared_->failure[0] = '\0';
    return "";
  }

  // What is wrong with refusing the whole store for this.
  std::string Refusal(Kind kind, const std::string& name, const Status& refused) const {
    const auto says = [&](const std::string& text) { return refused.message().find(text) != std::string::npos; };
    if (kind == kOptions || kind == kIdentity) return "refused, though nothing depends on it";
    if (kind == kStore) {  // a flip in what says that it is one, or in the version, is told before the checksum
      const bool other = refused.code() == StatusCode::kFailedPrecondition && (says("is no database") || says("format version"));
      if (!other && (refused.code() != StatusCode::kDataLoss || !says("Affected: all shards"))) return "refused for another reason";
      return says(path_ + name) ? "" : "the refusal does not name the file";
    }
    if (refused.code() != StatusCode::kDataLoss) return "refused for another reason";
    const bool each =
        says("shards 0 to 1") || (says("shard 0 ") && says("shard 1 ")) || (kind == kLog && says("no shard lacks a record"));
    if (!each) return "what is affected is not said of each shard";
    if (kind == kLog || kind == kDataLog) {
      if (!says("chronolith recover --accept-data-loss " + path_)) return "the refusal does not say what salvages";
      return says(path_ + name + ", bytes ") ? "" : "the refusal does not name file and place";
    }
    if (kind == kTable) {
      const std::string family = FamilyOf(files_.at(name));
      if (family != "default" && family != "meta") return "the store is refused for a table of " + family;
    }
    // Where the end of a MANIFEST is taken for torn, an older state of the instance is opened, and each log lacks what was trimmed.
    if (kind == kManifest && says("no shard is left to serve")) return says(path_ + "/log") ? "" : "the refusal names no log";
    if (!says("Affected: all that ")) return "what is affected is not said";
    const std::string instance = path_ + name.substr(0, name.rfind('/'));
    if (kind == kCurrent) return says("opening '" + instance + "'") ? "" : "the refusal does not name the instance";
    return says(path_ + name) ? "" : "the refusal does not name the file";
  }

  std::string Look(Kind kind, const std::string& name, bool last_write, int* outcome) {
    auto opened = Storage::Open(TinyStoreOptions(), path_);
    if (!opened.ok()) {
      *outcome = kRefused;
      if (const std::string wrong = Refusal(kind, name, opened.status()); !wrong.empty())
        return wrong + ": " + opened.status().ToString();
      return kind == kLog || kind == kDataLog ? GiveUp(kind == kDataLog ? 0 : 3) : "";
    }
    Storage& store = **opened;
    bool quarantined[kModelShards] = {};
    bool any = false;
    for (const ShardStats& shard : store.Stats().shards) {
      quarantined[shard.shard] = !shard.quarantine.empty();
      any = any || quarantined[shard.shard];
    }
    if (any && kind != kTable) return "a shard is quarantined";
    if (any) {
      if (Status s = store.Checkpoint(); !s.ok()) return "a checkpoint beside a quarantined shard: " + s.ToString();
    }
    const ShardModel::Contents whole = Expected(samples_);
    ShardModel::Contents found;
    Status status;
    bool partial = false;
    if (ReadContents(&store, &found, &status)) {
      if (any) return "a read of all shards says ok, one is quarantined";
      if (found == whole) {
        const auto labels = store.LabelValues("i", {});
        const auto ids = store.SeriesIds({});
        if (labels.ok() && labels->values.size() != kSeries) return "label values are missing";
        if (ids.ok() && ids->size() != kSeries) return "series are missing";
        if (!labels.ok() || !ids.ok()) *outcome = kReadError;
        return *outcome == kHarmless ? Scrub(&store, kind, name, outcome) : "";
      }
      if (last_write && found == Expected(samples_ - 1)) {
        *outcome = kTornEnd;
        return HasEvidence() ? "" : "the last write is gone and nothing was kept";
      }
      return "a wrong answer";
    }
    *outcome = any ? kQuarantined : kReadError;
    if (status.code() != StatusCode::kDataLoss) return "a read fails with " + status.ToString();
    if (!ReadContents(&store, &found, &status, {.skip_damaged = true}, &partial))
      return "also without what is damaged: " + status.ToString();
    if (!partial) return "a partial answer does not say so";
    std::uint64_t whole_shards = 0;
    for (std::uint32_t k = 0; k < kModelShards; ++k) {
      bool complete = true;
      for (const auto& [series, points] : whole) {
        if (ModelShardOf(series) != k) continue;
        const auto it = found.find(series);
        complete = complete && it != found.end() && it->second == points;
        if (it == found.end()) continue;
        for (const auto& [t, value] : it->second) {
          if (!points.contains(t) || points.at(t) != value) return "a wrong value in a partial answer";
        }
      }
      whole_shards += complete ? 1 : 0;
    }
    return whole_shards + 1 >= kModelShards ? "" : "the other shard does not serve";
  }

  // A log that was refused, opened with the loss accepted: nothing is there that was never written, and no more than one write, or
  // nothing, is missing.
  std::string GiveUp(std::size_t missing_max) {
    ShardModel::Contents left;
    for (const bool accept : {true, false}) {
      Options options = TinyStoreOptions();
      options.accept_data_loss = accept;
      auto opened = Storage::Open(options, path_);
      if (!opened.ok()) return (accept ? "with the loss accepted: " : "after the loss was accepted: ") + opened.status().ToString();
      ShardModel::Contents found;
      Status status;
      if (!ReadContents(opened->get(), &found, &status)) return "with the loss accepted, a read fails with " + status.ToString();
      if (!accept) return found == left ? "" : "what was left of an accepted loss changed";
      std::set<Timestamp> missing;
      ShardModel::Contents whole = Expected(samples_);
      for (auto& [series, points] : whole) {
        for (const auto& [t, value] : points) {
          const auto it = found[series].find(t);
          if (it == found[series].end()) {
            missing.insert(t);
          } else if (it->second != value) {
            return "a wrong value after an accepted loss";
          }
        }
        if (found[series].size() > points.size()) return "samples that were never written";
      }
      if (found.size() != whole.size()) return "series that were never written";
      if (missing.size() > missing_max)
        return std::to_string(missing.size()) + " timestamps are missing, not " + std::to_string(missing_max) + " at most";
      if (!missing.empty() && (*opened)->Stats().losses.empty()) return "a loss that nothing tells of";
      shared_->given_up += 1;
      shared_->given_up_samples += missing.size();
      left = found;
    }
    return "";
  }

  bool HasEvidence() const {
    for (const auto& entry : fs::directory_iterator(path_ + "/log")) {
      if (entry.is_directory()) return true;
    }
    return false;
  }

  // No read met the damage: a scrub does, wherever it is in a table that is there still. Opening has written a new MANIFEST.
  std::string Scrub(Storage* store, Kind kind, const std::string& name, int* outcome) {
    const bool table = kind == kTable || kind == kLogTable;
    const bool live = table && fs::exists(path_ + name);
    const Result<ScrubReport> report = store->Scrub();
    if (!report.ok()) return "the scrub fails: " + report.status().ToString();
    if (report->problems_total > 0) *outcome = kScrubbed;
    if (report->problems_total == 0 && live) return "a scrub finds nothing";
    const auto named = [&](const ScrubProblem& p) { return p.status.message().find(path_ + name) != std::string::npos; };
    if (live && std::none_of(report->problems.begin(), report->problems.end(), named)) return "a scrub does not name the file";
    return kind == kOptions || kind == kIdentity || kind == kStore
               ? (report->problems_total == 0 ? "" : "a scrub finds damage where none counts")
               : "";
  }

  testing_support::TempDirectory directory_;
  const std::string path_;
  const std::string made_;
  Shared* shared_;
  int samples_ = 0;
  std::map<std::string, std::string> files_;
  std::vector<std::string> directories_;
  std::array<std::vector<std::string>, kKinds> of_kind_;
};

TEST_F(BitFlip, InAnyFileIsToldOrHarmlessAndNeverAWrongAnswer) {
  for (const bool first_life : {true, false}) {
    const int made = InChild([&] { Make(first_life); });
    ASSERT_TRUE(WIFEXITED(made)) << shared_->failure;
    ASSERT_STREQ(shared_->failure, "");
  }
  samples_ = shared_->samples;
  ASSERT_EQ(samples_, 145);
  Load();
  for (std::size_t kind = 0; kind < kKinds; ++kind)
    ASSERT_FALSE(of_kind_[kind].empty()) << "no file of the kind " << kKindNames[kind];
  shared_->next = flips.first;
  while (shared_->next <= flips.last && !HasFailure()) {
    const int status = InChild([&] {
      while (shared_->next <= flips.last) {
        const std::uint64_t number = shared_->next++;
        if (const std::string wrong = Try(number); !wrong.empty()) return (void)Fail(wrong);
        if (number % 1000 == 0) std::printf("flip %llu is done\n", static_cast<unsigned long long>(number)), std::fflush(stdout);
      }
    });
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0 && shared_->failure[0] == '\0')
        << "CHRONOLITH_TEST_SEED=" << shared_->next - 1 << " repeats it: " << shared_->failure;
  }
  std::printf("flips %llu-%llu\n", static_cast<unsigned long long>(flips.first), static_cast<unsigned long long>(flips.last));
  std::uint64_t told = 0;
  for (int kind = 0; kind < kKinds; ++kind) {
    std::printf("  %-12s", kKindNames[kind]);
    for (int outcome = 0; outcome < kOutcomes; ++outcome) {
      if (shared_->counts[kind][outcome] > 0)
        std::printf("  %s %llu", kOutcomeNames[outcome], static_cast<unsigned long long>(shared_->counts[kind][outcome]));
      if (outcome != kHarmless) told += shared_->counts[kind][outcome];
    }
    std::printf("\n");
  }
  std::printf("  of the logs that were refused %llu opened with the loss accepted; it was %llu timestamps in all\n",
              static_cast<unsigned long long>(shared_->given_up), static_cast<unsigned long long>(shared_->given_up_samples));
  EXPECT_TRUE(told > 0 || flips.first == flips.last);
}

}  // namespace
}  // namespace chronolith

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  chronolith::flips =
      chronolith::RangeOf(argc, argv, "--flips", {1, chronolith::testing_support::kSanitized ? 200U : 500U}, {1, 20'000});
  return RUN_ALL_TESTS();
}
