// What operations tell of how far they are: that it moves, and comes to what was announced.
#include <gmock/gmock.h>

#include <map>
#include <mutex>

#include "ops/backup.h"
#include "ops/cardinality.h"
#include "ops/offline_store.h"
#include "ops/reshard.h"
#include "ops/restore.h"
#include "ops/salvage.h"
#include "ops/work_share.h"
#include "tests/ops/rich_store.h"
#include "tests/storage/store_fixture.h"

namespace chronolith::ops {
namespace {

class Recorder : public ProgressSink {
 public:
  struct Phase {
    std::uint64_t total = 0, done = 0;
    std::string unit;
  };
  void Begin(std::string_view phase, std::uint64_t total, std::string_view unit) override {
    const std::lock_guard lock(mu_);
    now_ = phase;
    phases[now_] = {total, 0, std::string(unit)};
  }
  void Add(std::uint64_t units) override {
    const std::lock_guard lock(mu_);
    phases[now_].done += units;
  }

  std::map<std::string, Phase> phases;

 private:
  std::mutex mu_;
  std::string now_;
};

class WorkProgressTest : public ::testing::Test {
 protected:
  // Part of it is stored, part only in the log.
  WorkProgressTest() : store_("rocksdb") {
    store_.options().shards = 3;
    store_.Open();
    testing_support::FillRichStore(store_.get(), 40, 300);
    store_.Close();
    context_.progress = &told_;
  }
  // That the phase was announced, with an extent, and came to it.
  void ExpectDone(const std::string& phase) const {
    ASSERT_TRUE(told_.phases.contains(phase)) << phase;
    EXPECT_GT(TotalOf(phase), 0U) << phase;
    EXPECT_EQ(told_.phases.at(phase).done, TotalOf(phase)) << phase;
  }
  // Bytes that do not move would be shown as 0 B/s.
  void ExpectNothingStandsStill() const {
    for (const auto& [name, phase] : told_.phases) {
      EXPECT_TRUE(phase.unit != "bytes" || phase.total > 0) << name;
      EXPECT_TRUE(!phase.unit.empty() || phase.done == 0) << name;
    }
  }
  std::uint64_t TotalOf(const std::string& phase) const { return told_.phases.at(phase).total; }
  std::string Path(const char* name) { return store_.directory() / name; }

  TestStore store_;
  Recorder told_;
  OpsContext context_;
};

TEST_F(WorkProgressTest, Salvage) {
  ASSERT_TRUE(Salvage(store_.path(), Path("new"), {}, context_).ok());
  ExpectDone("salvaging");
  ExpectNothingStandsStill();
}

TEST_F(WorkProgressTest, BackupAndRestore) {
  ASSERT_TRUE(MakeBackup(store_.path(), Path("backups"), {}, context_).ok());
  ExpectDone("backup");
  ExpectDone("replaying its log");
  ExpectNothingStandsStill();
  told_.phases.clear();
  ASSERT_TRUE(Restore(Path("backups"), Path("copy"), {}, context_).ok());
  for (const char* const phase : {"restore", "replaying its log", "scrubbing"}) ExpectDone(phase);
  EXPECT_EQ(TotalOf("scrubbing"), 100U);
  ExpectNothingStandsStill();
}

TEST_F(WorkProgressTest, Reshard) {
  ReshardOptions options;
  options.shards = 5;
  ASSERT_TRUE(Reshard(store_.path(), Path("five"), options, context_).ok());
  ExpectDone("scrubbing");
  ExpectNothingStandsStill();
}

TEST_F(WorkProgressTest, TheLogThatIsCounted) {
  const auto store = OfflineStore::Open(store_.path());
  ASSERT_TRUE(store.ok());
  ASSERT_TRUE(CountCardinality(**store, {}, context_).ok());
  const Recorder::Phase& log = told_.phases["reading the log"];
  EXPECT_GT(log.total, 0U);
  EXPECT_GE(log.done, log.total) << "records of the last row are not foreseen";
}

TEST_F(WorkProgressTest, AReplayBeginsAnewWithEachExtentThatBecomesKnown) {
  const auto tell = TellReplay(context_, "replay");
  tell({.shard = 0, .records = 10, .records_expected = 100});
  tell({.shard = 0, .records = 20, .records_expected = 100});
  EXPECT_EQ(TotalOf("replay"), 100U);
  EXPECT_EQ(told_.phases["replay"].done, 20U);
  tell({.shard = 1, .records = 5, .records_expected = 50});
  EXPECT_EQ(TotalOf("replay"), 150U);
  EXPECT_EQ(told_.phases["replay"].done, 25U) << "what was done is told again";
  tell({.shard = 1, .records = 52, .records_expected = 52, .done = true});  // the last row's were not known
  EXPECT_EQ(TotalOf("replay"), 152U);
  EXPECT_EQ(told_.phases["replay"].done, 72U);
}

TEST(WorkShare, AddsUpToItsUnits) {
  Recorder told;
  OpsContext context;
  context.progress = &told;
  context.Begin("work", 30, "bytes");
  {
    WorkShare more(context, 10);
    more.Add(7);
    more.Add(7);
  }
  EXPECT_EQ(told.phases["work"].done, 10U);
  { const WorkShare less(context, 20); }
  EXPECT_EQ(told.phases["work"].done, 30U);
}

}  // namespace
}  // namespace chronolith::ops
