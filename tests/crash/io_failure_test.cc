// Every call that a store's engine makes of the file system fails once, one after the other, in a scripted life: create, write,
// delete, checkpoint, compact, close, reopen. It fails with EIO, as a short write or with ENOSPC, once or for good.
//
// Whatever failed: no call that did not do what it promises says ok; what a store shows is right at any time; with the fault gone
// it opens, and holds what was acknowledged. In half of the runs the power fails behind the life, and takes all that was not
// synced: also what a sync that failed should have covered, and a later one did not.
//
//   io_failure_test --calls 1-100000   every call, with every kind of fault; ends behind the last call
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <map>
#include <random>
#include <string>

#include "tests/crash/faulty_store.h"
#include "tests/support/number_range.h"
#include "tests/support/sanitized.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kUsual = 1'000'000;                           // every call, with one kind of fault each
constexpr std::uint64_t kStep = testing_support::kSanitized ? 9 : 1;  // of the usual run
NumberRange calls;

constexpr Timestamp kT = 1'700'000'000'000;

const char* Name(FaultKind kind) {
  return kind == FaultKind::kIoError ? "EIO" : kind == FaultKind::kShortWrite ? "short write" : "ENOSPC";
}

class ScriptedLife {
 public:
  ScriptedLife(FaultyStore* store, bool power_fails) : store_(*store), power_fails_(power_fails) {}

  void Run(Fault fault) {
    store_.StartFrom("");
    store_.disk().Inject(fault);
    Script(fault);
    met_ = store_.disk().failed_call();
    store_.Abandon();
    calls_ = store_.disk().calls();
    store_.disk().Inject({});
    if (power_fails_) {
      std::mt19937_64 rng(1);
      store_.disk().LosePower(&rng, Leftover::kNothing);
    }
    step_ = "healthy";
    const Status opened = store_.Open();
    ASSERT_TRUE(opened.ok()) << "with the fault gone it does not open: " << opened.ToString();
    ASSERT_TRUE(Look(&model_));
    Write(1, 3, AckLevel::kSynced);
    const Status closed = store_.Close();
    EXPECT_TRUE(closed.ok()) << closed.ToString();
    ASSERT_TRUE(store_.Open().ok());
    EXPECT_TRUE(Look(&model_));
    store_.Abandon();
  }
  // The call that failed, and in which step of the life; "" where the fault came too late for it.
  const std::string& met() const { return met_; }
  const std::string& step_met() const { return step_met_; }
  bool refused() const { return refused_; }
  std::uint64_t calls() const { return calls_; }

 private:
  void Script(const Fault& fault) {
    if (!Step("create", store_.Open(), kNothing)) return;
    Write(0, 40, AckLevel::kSynced);
    Write(1, 3, AckLevel::kLogged);
    Write(2, 3, AckLevel::kLogged);
    Recover(fault);
    Delete(0, {kT, kT + 10});
    (void)Step("checkpoint", store_->Checkpoint(), kSynced);
    Recover(fault);
    Write(0, 40, AckLevel::kLogged);
    Write(3, 3, AckLevel::kSynced);
    (void)Look(nullptr);
    (void)Step("checkpoint", store_->Checkpoint(), kSynced);
    (void)Step("compact", store_->Compact().status(), kNothing);
    Recover(fault);
    (void)Look(nullptr);
    Write(4, 3, AckLevel::kQueued);
    Write(1, 3, AckLevel::kLogged);
    (void)Step("flush", store_->Flush(), kSynced);
    Write(5, 3, AckLevel::kSynced);
    (void)Step("close", store_.Close(), kSynced);
    if (!Step("reopen", store_.Open(), kNothing) || !Look(&model_)) return;
    Write(2, 3, AckLevel::kLogged);
    Write(6, 3, AckLevel::kSynced);
    (void)Step("close", store_.Close(), kSynced);
  }

  // `promise`: what all that was sent before has reached where it says ok.
  enum Promise { kNothing, kLogged, kSynced };
  bool Step(const char* name, const Status& status, Promise promise) {
    const std::string failed = store_.disk().failed_call();
    const bool here = !failed.empty() && step_met_.empty();
    if (here) step_met_ = name;
    step_ = name;
    refused_ = refused_ || !status.ok();
    EXPECT_TRUE(status.ok() || !failed.empty()) << name << " failed without a fault: " << status.ToString();
    if (here && MustBeTold(failed)) {
      EXPECT_FALSE(status.ok()) << name << " says ok, although this failed: " << failed;
    }
    if (status.ok() && (promise == kSynced || (promise == kLogged && !power_fails_))) model_.Acknowledge();
    return status.ok();
  }

  // What is written, synced, made or named of what the store lives of; not of what is only about to be removed.
  static bool MustBeTold(const std::string& call) {
    const auto begins = [&](std::initializer_list<const char*> names) {
      return std::any_of(names.begin(), names.end(), [&](const char* name) { return call.starts_with(std::string(name) + " "); });
    };
    if (begins({"Append", "Sync", "Fsync"}))
      return call.ends_with(".log") || call.ends_with(".sst") || call.find("MANIFEST") != std::string::npos;
    // Nothing reads OPTIONS files: without one RocksDB goes on.
    return begins({"Fsync of the directory", "RenameFile", "NewWritableFile"}) && call.find("/OPTIONS-") == std::string::npos;
  }

  void Write(int series, int samples, AckLevel level) {
    TimeSeries one;
    one.labels = ModelSeries(series);
    std::vector<ModelPoint> points;
    for (int i = 0; i < samples; ++i) {
      points.push_back({series, t_, 1.5 * static_cast<double>(t_ - kT)});
      one.samples.push_back({t_, points.back().value});
      t_ += 100;
    }
    model_.SendWrite(points);
    const Status status = store_->Write(one, {.level = level}).status;
    if (!status.ok()) model_.DoubtLast(series);
    if (level == AckLevel::kQueued) {
      EXPECT_TRUE(status.ok() || !store_.disk().failed_call().empty()) << status.ToString();
      return;
    }
    (void)Step("write", status, level == AckLevel::kSynced ? kSynced : kLogged);
  }

  void Delete(int series, TimeRange range) {
    model_.SendDelete(series, range);
    const Status status = store_->Delete({Matcher::Equal("i", std::to_string(series))}, range, {.level = AckLevel::kSynced}).status;
    if (!status.ok()) model_.DoubtLast(series);
    (void)Step("delete", status, kSynced);
  }

  // A log that failed stays failed until the store is reopened, which needs no new process.
  void Recover(const Fault& fault) {
    if (!store_->Stats().log_failed || fault.for_good) return;
    const Status status = store_->Reopen();
    EXPECT_TRUE(status.ok()) << "Reopen after " << store_.disk().failed_call() << ": " << status.ToString();
    if (status.ok()) (void)Look(&model_);
  }

  // What is shown is what some moment explains. `settle`: and it is the truth from now on.
  bool Look(ShardModel* settle) {
    ShardModel::Contents found;
    Status status;
    if (!ReadContents(store_.get(), &found, &status)) {
      EXPECT_FALSE(store_.disk().failed_call().empty()) << status.ToString();
      return false;
    }
    ShardModel now = model_;
    const testing::AssertionResult accepted = (settle == nullptr ? &now : settle)->Accept(found);
    EXPECT_TRUE(accepted) << step_;
    return accepted;
  }

  FaultyStore& store_;
  const bool power_fails_;
  ShardModel model_;
  Timestamp t_ = kT;
  std::string step_;
  std::string step_met_;
  std::string met_;
  std::uint64_t calls_ = 0;
  bool refused_ = false;
};

TEST(IoFailure, OfAnyCallIsToldAndTakesNothingThatWasAcknowledged) {
  FaultyStore store;
  ScriptedLife whole(&store, false);
  whole.Run({});
  ASSERT_EQ(whole.met(), "");
  const bool full = calls.last != kUsual;
  std::map<std::string, int> told;
  std::map<std::string, int> hidden;
  std::uint64_t runs = 0;
  std::uint64_t last = 0;
  for (std::uint64_t k = calls.first; k <= std::min(calls.last, whole.calls() + 50); k += full ? 1 : kStep) {
    for (unsigned how = 0; how < 12; ++how) {
      if (!full && how != k * 5 % 12) continue;
      const Fault fault{k, static_cast<FaultKind>(how % 3), how / 3 % 2 == 1};
      const bool power_fails = how >= 6;
      SCOPED_TRACE("call " + std::to_string(k) + ", " + Name(fault.kind) + (fault.for_good ? " for good" : " once") +
                   (power_fails ? ", then power loss" : ""));
      ScriptedLife life(&store, power_fails);
      life.Run(fault);
      if (testing::Test::HasFailure()) FAIL() << life.met() << " in " << life.step_met();
      ++runs;
      if (life.met().empty()) continue;
      last = std::max(last, k);
      ++(life.refused() ? told : hidden)[life.met().substr(0, life.met().find(' '))];
    }
  }
  EXPECT_GE(last + 20, std::min(calls.last, whole.calls()));
  std::printf("%llu lives of about %llu calls, call 1 to %llu failed; told:", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(whole.calls()), static_cast<unsigned long long>(last));
  for (const auto& [call, n] : told) std::printf(" %s %d", call.c_str(), n);
  std::printf("; without effect:");
  for (const auto& [call, n] : hidden) std::printf(" %s %d", call.c_str(), n);
  std::printf("\n");
}

// RocksDB refuses later writes by itself; the mark tells the next opening that what is in the log may not be on the disk.
TEST(IoFailure, AFailedWriteOrSyncOfTheLogIsMarkedUntilTheNextOpening) {
  std::map<std::string, int> failed;
  for (std::uint64_t k = 1; k <= 4; ++k) {
    FaultyStore store;
    ASSERT_TRUE(store.Open().ok());
    const std::string mark = store.path() + "/log/LOG_FAILED";
    EXPECT_FALSE(std::filesystem::exists(mark));
    (void)store->Stats();  // RocksDB removes files behind its opening, and is waited for here: calls count from now on
    store.disk().Inject({k, FaultKind::kIoError, false});
    TimeSeries one{.labels = ModelSeries(0), .samples = {{kT, 1}}};
    const Status status = store->Write(one, {.level = AckLevel::kSynced}).status;
    const std::string call = store.disk().failed_call();
    if (!call.ends_with(".log")) continue;
    ++failed[call.substr(0, call.find(' '))];
    EXPECT_EQ(status.code(), StatusCode::kUnavailable) << call << ": " << status.ToString();
    EXPECT_TRUE(std::filesystem::exists(mark)) << call;
    ASSERT_TRUE(store->Reopen().ok());
    EXPECT_FALSE(std::filesystem::exists(mark)) << call;
    EXPECT_TRUE(store->Write(one, {.level = AckLevel::kSynced}).ok());
  }
  EXPECT_EQ(failed.size(), 2U) << "both a write and a sync";
}

}  // namespace
}  // namespace chronolith

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  chronolith::calls = chronolith::RangeOf(argc, argv, "--calls", {1, chronolith::kUsual}, {1, 100'000});
  return RUN_ALL_TESTS();
}
