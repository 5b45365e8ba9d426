// Random lives of a tiny store that loses power at random moments, in all ways that its files could take it (FaultyDisk).
//
// One seed is one store with several lives: it is opened, written to at all levels, deletes, checkpoints, compacts, and at some
// change of its files the power fails; also while it is created, opened or closed. Then it must open, and hold per shard all that
// was sent up to a moment that is not before the last acknowledged sync. No LSN that was synced and no id of a series that was
// synced or seen after a power loss is given out again.
//
//   power_loss_test --seeds 1-20000    the full run; take it up again with --seeds N-20000
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/crash/faulty_store.h"
#include "tests/support/number_range.h"
#include "tests/support/sanitized.h"

namespace chronolith {
namespace {

NumberRange seeds;

constexpr int kLives = 3;
constexpr Timestamp kStart = 1'700'000'000'000;

// Where the power failed, over all seeds.
std::map<std::string, int> moments;
std::uint64_t changes_seen = 0;

class PowerLossLife {
 public:
  PowerLossLife(FaultyStore* store, std::uint64_t seed) : store_(*store), rng_(seed) {}

  // True where everything was as it should be.
  bool Run(const std::string& made) {
    const bool create = Below(8) == 0;
    store_.StartFrom(create ? "" : made);
    for (int life = 0; life < kLives; ++life) {
      SCOPED_TRACE("life " + std::to_string(life));
      store_.disk().PowerOffAt(Below(3) == 0 ? 1 + Below(create && life == 0 ? 160 : 90) : 0);
      if (!OpenThroughPowerLosses()) return false;
      if (!Live() || testing::Test::HasFailure()) return false;
      changes_seen += store_.disk().changes();
      LosePower();
    }
    if (!OpenThroughPowerLosses()) return false;
    const Status closed = store_.Close();
    EXPECT_TRUE(closed.ok()) << closed.ToString();
    return !testing::Test::HasFailure();
  }
  std::uint64_t operations_lost() const { return model_.lost(); }

 private:
  std::uint64_t Below(std::uint64_t n) { return rng_() % n; }
  bool off() { return store_.disk().powered_off(); }

  void LosePower() {
    ++moments[off() ? step_ : "idle"];
    store_.Abandon();
    store_.disk().LosePower(&rng_);
  }

  // Opens, and checks what is there. The power may fail meanwhile, again and again.
  bool OpenThroughPowerLosses() {
    for (int attempt = 0;; ++attempt) {
      step_ = "open";
      const Status opened = store_.Open();
      if (opened.ok()) break;
      if (!off() || attempt == 5) {
        ADD_FAILURE() << "it does not open: " << opened.ToString();
        return false;
      }
      LosePower();
      if (attempt < 3 && Below(2) == 0) store_.disk().PowerOffAt(1 + Below(60));
    }
    ShardModel::Contents found;
    Status status;
    if (!ReadContents(store_.get(), &found, &status)) {
      ADD_FAILURE() << "it does not read: " << status.ToString();
      return false;
    }
    const testing::AssertionResult accepted = model_.Accept(found);
    EXPECT_TRUE(accepted);
    CheckNumbers(found);
    return accepted && !testing::Test::HasFailure();
  }

  // LSNs, epochs and ids only rise.
  void CheckNumbers(const ShardModel::Contents& found) {
    const StorageStats stats = store_->Stats();
    for (std::uint32_t k = 0; k < kModelShards; ++k) {
      const ShardStats& shard = stats.shards[k];
      EXPECT_EQ(shard.quarantine, "");
      EXPECT_GT(shard.synced_lsn, synced_lsn_[k]) << "an LSN of shard " << k << " is used twice";
      EXPECT_GT(shard.epoch, epoch_[k]) << "an epoch of shard " << k << " is used twice";
      EXPECT_LE(shard.applied_lsn, shard.synced_lsn) << "the data are ahead of the log";
      epoch_[k] = shard.epoch;
      synced_lsn_[k] = shard.synced_lsn;
    }
    new_series_.clear();
    for (const auto& [series, points] : found) NoteId(series);
  }

  void NoteId(int series) {
    const auto ids = store_->SeriesIds({Matcher::Equal("i", std::to_string(series))});
    ASSERT_TRUE(ids.ok()) << ids.status().ToString();
    for (const SeriesRef ref : *ids) {
      const auto [at, is_new] = series_of_id_.emplace(ref.id, series);
      EXPECT_EQ(at->second, series) << "the id " << ref.id << " is used twice";
    }
  }

  // What was sent so far is synced, so the store said.
  void Acknowledge() {
    model_.Acknowledge();
    for (std::uint32_t k = 0; k < kModelShards; ++k)
      synced_lsn_[k] = std::max(synced_lsn_[k], store_->ReachedLsn(k, AckLevel::kSynced).value());
    for (const int series : new_series_) NoteId(series);
    new_series_.clear();
  }

  // Not ok is right only when the power failed.
  bool Succeeded(const Status& status) {
    EXPECT_TRUE(status.ok() || off()) << step_ << ": " << status.ToString();
    return status.ok();
  }

  Timestamp PickTime() {
    if (Below(5) == 0) return now_ - static_cast<Timestamp>(Below(9000));
    return now_ += 1 + static_cast<Timestamp>(Below(150));
  }

  void Write() {
    step_ = "write";
    const bool large = Below(12) == 0;
    std::map<int, TimeSeries> batch;
    std::vector<ModelPoint> points;
    for (std::uint64_t n = large ? 200 + Below(1200) : 1 + Below(8); n > 0; --n) {
      if (Below(10) == 0 && series_ < 60) new_series_.push_back(series_++);
      const int series = static_cast<int>(Below(static_cast<std::uint64_t>(series_)));
      points.push_back({series, PickTime(), static_cast<double>(rng_() >> 20)});
      TimeSeries& one = batch[series];
      one.labels = ModelSeries(series);
      one.samples.push_back({points.back().t, points.back().value});
    }
    model_.SendWrite(points);
    std::vector<TimeSeries> all;
    for (auto& [series, one] : batch) all.push_back(std::move(one));
    const auto level = static_cast<AckLevel>(Below(3));
    const WriteResult result = store_->Write(all, {.level = level});
    if (Succeeded(result.status) && level == AckLevel::kSynced) Acknowledge();
  }

  void Delete() {
    step_ = "delete";
    const int series = static_cast<int>(Below(static_cast<std::uint64_t>(series_)));
    TimeRange range{now_ - static_cast<Timestamp>(Below(8000)), now_ - static_cast<Timestamp>(Below(1000))};
    if (Below(3) == 0) range = {};
    if (range.start > range.end) std::swap(range.start, range.end);
    model_.SendDelete(series, range);
    const auto level = static_cast<AckLevel>(Below(3));
    const WriteResult result = store_->Delete({Matcher::Equal("i", std::to_string(series))}, range, {.level = level});
    if (Succeeded(result.status) && level == AckLevel::kSynced) Acknowledge();
  }

  bool Live() {
    step_ = "idle";
    if (!off() && Below(8) != 0) store_.disk().PowerOffAt(1 + Below(Below(2) == 0 ? 25 : 120));
    for (std::uint64_t steps = 3 + Below(30); steps > 0 && !off(); --steps) {
      const std::uint64_t what = Below(20);
      if (what < 13) {
        Write();
      } else if (what < 15) {
        Delete();
      } else if (what < 17) {
        step_ = "checkpoint";
        if (Succeeded(store_->Checkpoint())) Acknowledge();
      } else if (what < 18) {
        step_ = "compact";
        (void)Succeeded(store_->Compact().status());
      } else if (what < 19) {
        step_ = "flush";
        if (Succeeded(store_->Flush())) Acknowledge();
      } else if (Below(3) == 0) {
        step_ = "close";
        if (Succeeded(store_.Close())) model_.Acknowledge();
        if (off()) LosePower();
        if (!OpenThroughPowerLosses()) return false;
      }
      if (testing::Test::HasFailure()) return false;
    }
    return true;
  }

  FaultyStore& store_;
  std::mt19937_64 rng_;
  ShardModel model_;
  Timestamp now_ = kStart;
  int series_ = 5;
  std::vector<int> new_series_;  // not known to be synced
  std::map<std::uint64_t, int> series_of_id_;
  std::array<Lsn, kModelShards> synced_lsn_{};
  std::array<std::uint64_t, kModelShards> epoch_{};
  std::string step_;
};

TEST(PowerLoss, TakesNothingThatWasSyncedAndTheStoreAlwaysOpens) {
  FaultyStore store;
  const std::string made = store.directory() / "made";
  ASSERT_TRUE(store.Open().ok());
  ASSERT_TRUE(store.Close().ok());
  std::filesystem::copy(store.path(), made, std::filesystem::copy_options::recursive);

  std::uint64_t lost = 0;
  for (std::uint64_t seed = seeds.first; seed <= seeds.last; ++seed) {
    PowerLossLife life(&store, seed);
    const bool sound = life.Run(made);
    ASSERT_TRUE(sound) << "CHRONOLITH_TEST_SEED=" << seed << " repeats it";
    lost += life.operations_lost();
    if (seed % 1000 == 0) {
      std::printf("seeds %llu-%llu are done\n", static_cast<unsigned long long>(seeds.first),
                  static_cast<unsigned long long>(seed));
      std::fflush(stdout);
    }
  }
  std::printf("seeds %llu-%llu; power losses while:", static_cast<unsigned long long>(seeds.first),
              static_cast<unsigned long long>(seeds.last));
  for (const auto& [moment, times] : moments) std::printf(" %s %d", moment.c_str(), times);
  std::printf("; %llu unsynced operations lost, none synced\n", static_cast<unsigned long long>(lost));
}

}  // namespace
}  // namespace chronolith

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  chronolith::seeds =
      chronolith::RangeOf(argc, argv, "--seeds", {1, chronolith::testing_support::kSanitized ? 60U : 500U}, {1, 20'000});
  return RUN_ALL_TESTS();
}
