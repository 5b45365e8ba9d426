#include "ops/reshard.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>

#include "ops/reshard_source.h"
#include "ops/store_compare.h"
#include "storage/store_directory.h"
#include "tests/ops/rich_store.h"
#include "tests/ops/waited_clock.h"
#include "tests/support/directory_image.h"
#include "tests/support/engines.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

using ::testing::HasSubstr;
using namespace testing_support;
namespace fs = std::filesystem;

// Calls a function where a phase begins, and counts what else it is told.
class OnPhase : public ProgressSink {
 public:
  explicit OnPhase(std::function<void(std::string_view)> on) : on_(std::move(on)) {}
  void Begin(std::string_view phase, std::uint64_t, std::string_view) override { on_(phase); }
  void Add(std::uint64_t units) override { added += units; }
  std::uint64_t added = 0;

 private:
  std::function<void(std::string_view)> on_;
};

class ReshardTest : public ::testing::TestWithParam<std::string> {
 protected:
  void Fill(int series = 20, int samples = 150, const std::string& name = "source") {
    Options options;
    options.engine = GetParam();
    options.window_ms = 60 * 60 * 1000;
    const auto store = Storage::Open(options, directory_ / name).value();
    FillRichStore(store.get(), series, samples);
    ASSERT_EQ(store->Close(), Status::Ok());
  }
  Result<ReshardReport> Run(std::uint32_t shards, bool restart = false, ProgressSink* progress = nullptr) {
    ReshardOptions options;
    options.shards = shards;
    options.restart = restart;
    options.batch_items = 500;
    options.sync_items = 1000;
    OpsContext context;
    context.progress = progress;
    context.cancelled = &cancelled_;
    context.memory_limit_bytes = memory_limit_;
    return Reshard(source_, target_, options, context);
  }
  Status Same(const std::string& a, const std::string& b) {
    Options options;
    options.engine = GetParam();
    options.read_only = true;
    const auto one = Storage::Open(options, a).value();
    const auto other = Storage::Open(options, b).value();
    std::vector<StoreFigures> figures;
    return CompareStores(OpsContext(), one.get(), other.get(), {}, &figures);
  }

  TempDirectory directory_;
  const std::string source_ = directory_ / "source";
  const std::string target_ = directory_ / "target";
  const std::string work_ = target_ + ".resharding";
  std::atomic<bool> cancelled_{false};
  std::uint64_t memory_limit_ = OpsContext().memory_limit_bytes;
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ReshardTest);
INSTANTIATE_TEST_SUITE_P(Engines, ReshardTest, EnginesWithDirectories(), EngineName);

TEST_P(ReshardTest, TheCopyShowsTheSameAndTheSourceIsNotTouched) {
  Fill();
  const auto before = LookAtTree(source_);
  const Result<ReshardReport> report = Run(3);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(LookAtTree(source_), before);
  EXPECT_FALSE(fs::exists(work_));
  EXPECT_EQ(report->source_shards, 16u);
  ASSERT_EQ(report->shards.size(), 3u);
  StoreFigures sum;
  std::uint64_t bytes = 0;
  for (const ReshardShard& shard : report->shards) {
    sum.Add(shard);
    bytes += shard.bytes;
    EXPECT_GT(shard.bytes, 0u);
  }
  EXPECT_EQ(sum, report->total);
  EXPECT_EQ(bytes, report->target_bytes);
  EXPECT_EQ(report->total.series, 34u);
  EXPECT_EQ(report->total.histograms, 480u);
  EXPECT_EQ(Same(source_, target_), Status::Ok());
  const StoreManifest made = ReadStoreManifest(target_).value();
  const StoreManifest source = ReadStoreManifest(source_).value();
  EXPECT_EQ(made.shards, 3u);
  EXPECT_EQ(made.window_ms, source.window_ms);
  EXPECT_EQ(made.engine, source.engine);
  EXPECT_NE(made.uuid, source.uuid);
  EXPECT_EQ(made.UuidHex(), report->target_uuid);
  EXPECT_EQ(source.UuidHex(), report->source_uuid);
}

TEST_P(ReshardTest, ABoundOnBytesHolds) {
  Fill();
  WaitedClock clock;
  ReshardOptions options;
  options.shards = 3;
  options.batch_items = 500;
  OpsContext context;
  context.clock = &clock;
  ASSERT_TRUE(Reshard(source_, directory_ / "unbound", options, context).ok());
  EXPECT_EQ(clock.waits(), 0u);
  options.bytes_per_second = 10'000;
  const Result<ReshardReport> report = Reshard(source_, target_, options, context);
  ASSERT_TRUE(report.ok()) << report.status().message();
  // What is read to compare, at the least, has been waited for.
  EXPECT_GE(clock.waited() / 1000, report->target_bytes * 1'000'000 / options.bytes_per_second);
}

TEST_P(ReshardTest, APlanSaysWhatComesOfItAndWritesNothing) {
  Fill();
  ReshardOptions options;
  options.shards = 5;
  const auto before = LookAtTree(directory_.path());
  const Result<ReshardReport> plan = PlanReshard(source_, target_, options, OpsContext());
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ(LookAtTree(directory_.path()), before);
  const Result<ReshardReport> done = Run(5);
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_EQ(plan->total, done->total);
  for (std::size_t k = 0; k < 5; ++k) {
    EXPECT_EQ(static_cast<const StoreFigures&>(plan->shards[k]), static_cast<const StoreFigures&>(done->shards[k])) << k;
    EXPECT_GT(plan->shards[k].bytes, 0u);
  }
  EXPECT_GT(plan->source_log_bytes, 10'000u) << "part of it is only there";
  EXPECT_GT(plan->room_needed, plan->source_bytes + plan->source_log_bytes);
  EXPECT_GT(plan->room_free, 0u);
}

// Each place, once: killed there, then resumed.
TEST_P(ReshardTest, KilledAnywhereTheSameCallGoesOn) {
  Fill();
  const auto before = LookAtTree(source_);
  std::set<std::string> phases;
  bool done = false;
  int kills = 0;
  for (long place = 1; !done; place += place < 6 ? 1 : 5) {
    const chronolith::testing::ProcessResult result =
        chronolith::testing::RunProcess({CHRONOLITH_KILLED_RESHARD, source_, target_, "3", std::to_string(place)});
    done = result.signal != SIGKILL;
    ASSERT_EQ(result.exit_code, done ? 0 : -1) << result.err;
    std::istringstream lines(result.err);
    for (std::string line; std::getline(lines, line);) phases.insert(line);
    kills += done ? 0 : 1;
    const Result<ReshardReport> report = done ? Result<ReshardReport>(ReshardReport()) : Run(3);
    ASSERT_TRUE(report.ok()) << place << ": " << report.status().message();
    ASSERT_EQ(Same(source_, target_), Status::Ok()) << place;
    ASSERT_FALSE(fs::exists(work_));
    fs::remove_all(target_);
  }
  EXPECT_EQ(LookAtTree(source_), before);
  EXPECT_GT(kills, 15);
  EXPECT_EQ(phases, (std::set<std::string>{"copying", "comparing", "replaying its log", "scrubbing", "finishing"}));
}

// Which phases a whole call has, each once.
std::vector<std::string> PhasesOf(const std::function<Status(ProgressSink*)>& call) {
  std::vector<std::string> phases;
  OnPhase note([&](std::string_view begun) {
    if (std::find(phases.begin(), phases.end(), begun) == phases.end()) phases.emplace_back(begun);
  });
  const Status status = call(&note);
  EXPECT_TRUE(status.ok()) << status.message();
  return phases;
}

constexpr std::uint64_t kSmallMemory = 1 << 20;  // less than the log of a source by far

TEST_P(ReshardTest, OfALogThatMemoryDoesNotHoldACopyIsRecovered) {
  Fill();
  const auto before = LookAtTree(source_);
  const Result<ReshardReport> whole = Run(3);
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  fs::rename(target_, directory_ / "whole");
  memory_limit_ = kSmallMemory;
  Result<ReshardReport> copied = ReshardReport();
  const auto phases = PhasesOf([&](ProgressSink* progress) { return (copied = Run(3, false, progress)).status(); });
  EXPECT_EQ(phases.front(), "recovering a copy");
  EXPECT_EQ(copied->total, whole->total);
  EXPECT_EQ(LookAtTree(source_), before);
  EXPECT_EQ(Same(source_, target_), Status::Ok());
  EXPECT_FALSE(fs::exists(work_));
}

// It is the same moment of the source, read in one way or the other.
TEST_P(ReshardTest, WithMoreOrLessMemoryTheSameCallGoesOn) {
  Fill();
  const std::uint64_t plenty = memory_limit_;
  for (const bool less : {false, true}) {
    memory_limit_ = less ? plenty : kSmallMemory;
    OnPhase cancel([&](std::string_view begun) { cancelled_ = begun == "comparing"; });
    ASSERT_EQ(Run(3, false, &cancel).status().code(), StatusCode::kCancelled);
    cancelled_ = false;
    memory_limit_ = less ? kSmallMemory : plenty;
    const auto phases = PhasesOf([&](ProgressSink* progress) { return Run(3, false, progress).status(); });
    EXPECT_THAT(phases, ::testing::Not(::testing::Contains("copying"))) << "what was copied is not copied again";
    EXPECT_EQ(phases.front() == "recovering a copy", less);
    EXPECT_EQ(Same(source_, target_), Status::Ok());
    fs::remove_all(target_);
  }
}

TEST_P(ReshardTest, KilledBesideARecoveredCopyTheSameCallRemovesItAndGoesOn) {
  Fill();
  const auto before = LookAtTree(source_);
  memory_limit_ = kSmallMemory;
  for (const char* const phase : {"recovering a copy", "copying", "comparing"}) {
    const std::vector<std::string> command{CHRONOLITH_KILLED_RESHARD,   source_, target_, "3", "1", phase,
                                           std::to_string(kSmallMemory)};
    const chronolith::testing::ProcessResult result = chronolith::testing::RunProcess(command);
    ASSERT_EQ(result.signal, SIGKILL) << result.err;
    const fs::directory_iterator left(work_);
    EXPECT_TRUE(std::any_of(begin(left), end(left), [](const auto& entry) {
      return entry.path().filename().string().starts_with("chronolith-recover-");
    })) << phase;
    EXPECT_EQ(LookAtTree(source_), before) << phase;
    ASSERT_TRUE(Run(3).ok()) << phase;
    EXPECT_FALSE(fs::exists(work_));
    EXPECT_EQ(LookAtTree(source_), before) << phase;
    ASSERT_EQ(Same(source_, target_), Status::Ok()) << phase;
    fs::remove_all(target_);
  }
}

TEST_P(ReshardTest, WhatIsLeftOfARecoveredCopyGoesWithTheNextCallWhateverComesOfThat) {
  Fill();
  const std::vector<std::string> command{CHRONOLITH_KILLED_RESHARD,   source_, target_, "3", "1", "copying",
                                         std::to_string(kSmallMemory)};
  ASSERT_EQ(chronolith::testing::RunProcess(command).signal, SIGKILL);
  const auto copies = [&] {
    const fs::directory_iterator left(work_);
    return std::count_if(begin(left), end(left),
                         [](const auto& entry) { return entry.path().filename().string().starts_with("chronolith-"); });
  };
  ASSERT_EQ(copies(), 1);
  const Result<ReshardReport> other = Run(4);  // it makes none: there is memory enough
  EXPECT_EQ(other.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(copies(), 0);
  ASSERT_TRUE(Run(3).ok());
  EXPECT_EQ(Same(source_, target_), Status::Ok());
}

// The new database is in its place; what the reshard has used goes, step by step.
TEST_P(ReshardTest, KilledWhileItTidiesUpTheSameCallSaysWhatItHasMade) {
  Fill(5, 20);
  const std::string done_file = target_ + ".resharded";
  Result<ReshardReport> whole = Run(3);
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  fs::remove_all(target_);
  const std::pair<bool, bool> left[] = {{true, false}, {true, true}, {false, true}};  // the directory, the file
  for (int place = 1; place <= 3; ++place) {
    const std::vector<std::string> command{CHRONOLITH_KILLED_RESHARD, source_, target_, "3", std::to_string(place), "finishing"};
    const chronolith::testing::ProcessResult result = chronolith::testing::RunProcess(command);
    ASSERT_EQ(result.signal, SIGKILL) << place << result.err;
    EXPECT_EQ(fs::exists(work_), left[place - 1].first) << place;
    EXPECT_EQ(fs::exists(done_file), left[place - 1].second) << place;
    EXPECT_EQ(Run(4).status().code(), StatusCode::kAlreadyExists) << "another reshard";
    const Result<ReshardReport> report = Run(3);
    ASSERT_TRUE(report.ok()) << place << ": " << report.status().message();
    EXPECT_EQ(report->total, whole->total);
    EXPECT_EQ(report->shards.size(), 3u);
    EXPECT_FALSE(fs::exists(work_));
    EXPECT_FALSE(fs::exists(done_file));
    EXPECT_EQ(Run(3).status().code(), StatusCode::kAlreadyExists);
    ASSERT_EQ(Same(source_, target_), Status::Ok()) << place;
    fs::remove_all(target_);
  }
}

TEST_P(ReshardTest, WhatAKilledOneLeftOfATargetThatWasRemovedDoesNotCount) {
  Fill(5, 20);
  const std::vector<std::string> command{CHRONOLITH_KILLED_RESHARD, source_, target_, "3", "3", "finishing"};
  ASSERT_EQ(chronolith::testing::RunProcess(command).signal, SIGKILL);
  fs::remove_all(target_);
  const Result<ReshardReport> anew = Run(2);
  ASSERT_TRUE(anew.ok()) << anew.status().message();
  EXPECT_EQ(anew->shards.size(), 2u);
  EXPECT_EQ(Same(source_, target_), Status::Ok());
  EXPECT_FALSE(fs::exists(target_ + ".resharded"));
}

TEST_P(ReshardTest, KilledAgainAndAgainItComesToItsEnd) {
  Fill();
  bool done = false;
  int runs = 0;
  // Further each time, since the first phases are told again.
  for (; !done && runs < 60; ++runs) {
    const chronolith::testing::ProcessResult result =
        chronolith::testing::RunProcess({CHRONOLITH_KILLED_RESHARD, source_, target_, "31", std::to_string(2 + runs * 2)});
    done = result.exit_code == 0;
    ASSERT_TRUE(done || result.signal == SIGKILL) << result.err;
  }
  ASSERT_TRUE(done);
  EXPECT_GT(runs, 4);
  EXPECT_EQ(Same(source_, target_), Status::Ok());
}

TEST_P(ReshardTest, CancelledInAnyPhaseItGoesOnBehindWhatIsSynced) {
  Fill();
  for (const char* const phase : {"copying", "comparing", "scrubbing"}) {
    OnPhase cancel([&](std::string_view begun) { cancelled_ = begun == phase; });
    const Result<ReshardReport> cut = Run(3, false, &cancel);
    EXPECT_EQ(cut.status().code(), StatusCode::kCancelled) << phase << cut.status().message();
    EXPECT_FALSE(fs::exists(target_));
    cancelled_ = false;
  }
  std::vector<std::string> phases;
  OnPhase note([&](std::string_view begun) {
    if (phases.empty() || phases.back() != begun) phases.emplace_back(begun);
  });
  const Result<ReshardReport> rest = Run(3, false, &note);
  ASSERT_TRUE(rest.ok()) << rest.status().message();
  EXPECT_EQ(phases, (std::vector<std::string>{"replaying its log", "scrubbing", "finishing"})) << "what was done is not done again";
  EXPECT_EQ(Same(source_, target_), Status::Ok());
}

TEST_P(ReshardTest, AWriterIsRefusedMeanwhileAndRefusesIt) {
  Fill();
  Options options;
  options.engine = GetParam();
  Status writer;
  OnPhase open([&](std::string_view phase) {
    if (phase == "comparing") writer = Storage::Open(options, source_).status();
  });
  ASSERT_TRUE(Run(3, false, &open).ok());
  EXPECT_EQ(writer.code(), StatusCode::kFailedPrecondition) << writer.message();
  EXPECT_THAT(writer.message(), HasSubstr("LOCK"));
  fs::remove_all(target_);
  const auto store = Storage::Open(options, source_).value();
  const Result<ReshardReport> refused = Run(3);
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr(source_ + "/data/LOCK"));
  EXPECT_FALSE(fs::exists(work_)) << "nothing is there to go on with";
}

TEST_P(ReshardTest, WhatWasLeftByAnotherOneIsNotGoneOnWith) {
  Fill();
  OnPhase cancel([&](std::string_view begun) { cancelled_ = begun == "comparing"; });
  ASSERT_FALSE(Run(3, false, &cancel).ok());
  cancelled_ = false;
  const Result<ReshardReport> other = Run(4);
  EXPECT_EQ(other.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(other.status().message(), HasSubstr("to 3 shards"));
  {
    Options options;
    options.engine = GetParam();
    ASSERT_EQ(Storage::Open(options, source_).value()->Write({.labels = RichLabels("new", 1), .samples = {{kRichStart, 1}}}).status,
              Status::Ok());
  }
  const Result<ReshardReport> changed = Run(3);
  EXPECT_EQ(changed.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(changed.status().message(), HasSubstr("opened for writing since"));
  EXPECT_THAT(changed.status().message(), HasSubstr("--restart"));
  const Result<ReshardReport> anew = Run(4, true);
  ASSERT_TRUE(anew.ok()) << anew.status().message();
  EXPECT_EQ(anew->resumed, 0u);
  EXPECT_EQ(Same(source_, target_), Status::Ok());
}

TEST_P(ReshardTest, ADamagedProgressFileAndForeignFilesAreLeftAlone) {
  Fill(5, 20);
  OnPhase cancel([&](std::string_view begun) { cancelled_ = begun == "comparing"; });
  ASSERT_FALSE(Run(3, false, &cancel).ok());
  cancelled_ = false;
  std::ofstream(work_ + "/PROGRESS", std::ios::app) << "x";
  const Result<ReshardReport> damaged = Run(3);
  EXPECT_EQ(damaged.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(damaged.status().message(), HasSubstr(work_ + "/PROGRESS"));
  EXPECT_THAT(damaged.status().message(), HasSubstr("--restart"));
  std::ofstream(work_ + "/notes") << "mine";
  const Result<ReshardReport> foreign = Run(3, true);
  EXPECT_THAT(foreign.status().message(), HasSubstr("it holds notes"));
  EXPECT_TRUE(fs::exists(work_ + "/notes"));
  fs::remove(work_ + "/notes");
  EXPECT_TRUE(Run(3, true).ok());
  EXPECT_EQ(Same(source_, target_), Status::Ok());
}

TEST(ReshardStoreOptions, TheNewDatabaseGetsWhatTheSourceLeaves) {
  OpsContext context;
  const std::uint64_t stores = StoreMemoryBytes(context.memory_limit_bytes), least = 64ULL << 20;
  const auto limit = [&](StoreUse use, std::uint64_t other) {
    return ReshardStoreOptions("memory", use, context, other).memory_limit_bytes;
  };
  EXPECT_EQ(limit(StoreUse::kWrite, 0), stores - least);
  EXPECT_EQ(limit(StoreUse::kWrite, least), stores - least);
  EXPECT_EQ(limit(StoreUse::kWrite, 90ULL << 20), stores - (90ULL << 20));
  EXPECT_EQ(limit(StoreUse::kWrite, 4 * stores), least);
  EXPECT_EQ(limit(StoreUse::kRead, 4 * stores), least);
}

TEST_P(ReshardTest, BadArgumentsAndTargetsThatExistAreRefused) {
  Fill(3, 10);
  for (const std::uint32_t shards : {0u, 32u}) EXPECT_EQ(Run(shards).status().code(), StatusCode::kInvalidArgument);
  ReshardOptions options;
  options.shards = 2;
  EXPECT_EQ(Reshard(source_, source_ + "/", options, OpsContext()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Reshard(directory_ / "none", target_, options, OpsContext()).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(fs::exists(work_));
  fs::create_directory(target_);
  EXPECT_EQ(Run(2).status().code(), StatusCode::kAlreadyExists) << "also where it is empty";
  EXPECT_FALSE(fs::exists(work_));
}

}  // namespace
}  // namespace chronolith::ops
