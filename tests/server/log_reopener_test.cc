// What the reopener does and says of a store whose log has failed, over an engine that a test breaks.
#include "server/log_reopener.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "chronolith/engine_registry.h"
#include "plugins/memory/memory_engine.h"
#include "tests/support/gate.h"
#include "tests/support/temp_directory.h"

namespace chronolith::server {
namespace {

class Messages : public Logger {
 public:
  void Log(LogLevel, std::string_view message) override {
    MutexLock lock(&mu_);
    messages_.emplace_back(message);
    changed_.SignalAll();
  }
  // Waits for `n` that begin so.
  void Await(std::string_view beginning, int n = 1) {
    MutexLock lock(&mu_);
    while (Count(beginning) < n) changed_.Wait(&mu_);
  }
  int CountOf(std::string_view beginning) {
    MutexLock lock(&mu_);
    return Count(beginning);
  }

 private:
  int Count(std::string_view beginning) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return static_cast<int>(
        std::count_if(messages_.begin(), messages_.end(), [&](const std::string& m) { return m.starts_with(beginning); }));
  }
  Mutex mu_;
  CondVar changed_;
  std::vector<std::string> messages_ ABSL_GUARDED_BY(mu_);
};

constexpr const char* kReplaying = "the log was opened again and is being replayed";
constexpr const char* kReplayed = "the log was opened again and replayed: writes are taken";
constexpr const char* kReplayFailed = "the log was opened again, and its replay has failed";

class LogReopenerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    AdversarialOptions adversary;
    adversary.on_call = [this](EngineMethod method, const std::string& path) {
      if (method == EngineMethod::kOpen) opener_ = std::this_thread::get_id();
      if (!path.ends_with("/log")) return Status::Ok();
      if (method == EngineMethod::kWrite && fail_writes_) return IoError("broken");
      if (method == EngineMethod::kRead && opener_ != std::this_thread::get_id()) {  // replay has threads of its own
        replay_.Pass();
        if (fail_replay_) return IoError("cannot be read");
      }
      return Status::Ok();
    };
    Options options;
    options.engine = "memory";
    options.engines = std::make_shared<EngineRegistry>();
    ASSERT_TRUE(options.engines->Register(MakeAdversarialMemoryEngineFactory(adversary)).ok());
    options.shards = 1;
    options.wait_for_replay = false;
    options.scrub_interval_ms = 0;
    auto storage = Storage::Open(options, dir_ / "db");
    ASSERT_TRUE(storage.ok()) << storage.status().ToString();
    storage_ = std::move(*storage);
    ASSERT_TRUE(storage_->WaitReady(kNoDeadline).ok());
    ASSERT_TRUE(Write(1).ok());
  }
  void StartReopener() {
    reopener_ = std::make_unique<LogReopener>(storage_.get(),
                                              LogReopenerOptions{.directories = {dir_ / "db"},
                                                                 .logger = messages_,
                                                                 .on_reopened = [this] { ++reopened_; },
                                                                 .interval = std::chrono::milliseconds(1),
                                                                 .interval_max = std::chrono::milliseconds(2)},
                                              &registry_);
    reopener_->Start();
  }
  void BreakLog() {
    fail_writes_ = true;
    EXPECT_FALSE(Write(2).ok());
    EXPECT_TRUE(storage_->Stats().log_failed);
    fail_writes_ = false;
  }
  Status Write(int i) {
    return storage_->Write(std::vector<TimeSeries>{{.labels = {{"__name__", "m"}}, .samples = {{i, 1.0}}}}).status;
  }
  double Reopenings(const std::string& result) {
    for (const prometheus::MetricFamily& family : registry_.Collect()) {
      if (family.name != "chronolith_server_log_reopenings_total") continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        if (metric.label[0].value == result) return metric.counter.value;
      }
    }
    return -1;
  }

  const testing_support::TempDirectory dir_;
  std::atomic<bool> fail_writes_{false}, fail_replay_{false};
  std::atomic<std::thread::id> opener_{};
  Gate replay_;
  std::shared_ptr<Messages> messages_ = std::make_shared<Messages>();
  std::atomic<int> reopened_{0};
  prometheus::Registry registry_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<LogReopener> reopener_;
};

TEST_F(LogReopenerTest, SaysThatWritesAreTakenWhenTheLogIsReplayed) {
  BreakLog();
  replay_.Close();
  StartReopener();
  messages_->Await(kReplaying);
  replay_.AwaitHeld(1);
  EXPECT_EQ(messages_->CountOf(kReplayed), 0);
  EXPECT_EQ(Reopenings("ok"), 0);
  EXPECT_EQ(reopened_, 1) << "what was told before may be lost";
  replay_.Open();
  messages_->Await(kReplayed);
  EXPECT_EQ(Reopenings("ok"), 1);
  EXPECT_EQ(Reopenings("failed"), 0);
  EXPECT_TRUE(Write(3).ok());
}

TEST_F(LogReopenerTest, AReplayThatFailsIsAFailedOpeningAndTriedAgain) {
  BreakLog();
  fail_replay_ = true;
  StartReopener();
  messages_->Await(kReplayFailed, 2);
  EXPECT_EQ(messages_->CountOf(kReplayed), 0);
  EXPECT_EQ(Reopenings("ok"), 0);
  EXPECT_GE(Reopenings("failed"), 2);
  fail_replay_ = false;
  messages_->Await(kReplayed);
  EXPECT_EQ(Reopenings("ok"), 1);
  EXPECT_TRUE(Write(3).ok());
}

}  // namespace
}  // namespace chronolith::server
