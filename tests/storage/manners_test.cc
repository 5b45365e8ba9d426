// The manners of an embedded library: no output of its own, no threads left behind, budgets shared between stores.
#include <dirent.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mutex>
#include <set>
#include <thread>

#include "tests/storage/store_fixture.h"
#include "tests/support/skip.h"

namespace chronolith {
namespace {

using testing::HasSubstr;

constexpr Timestamp kT = 1'700'000'000'000;

Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

class RecordingLogger : public Logger {
 public:
  void Log(LogLevel level, std::string_view message) override {
    const std::lock_guard lock(mu_);
    lines_.push_back({level, std::string(message)});
  }
  std::string All() {
    const std::lock_guard lock(mu_);
    std::string all;
    for (const auto& [level, line] : lines_) {
      EXPECT_EQ(line.find('\n'), std::string::npos) << "one line an event: " << line;
      all += line + "\n";
    }
    return all;
  }
  std::size_t Count(LogLevel level) {
    const std::lock_guard lock(mu_);
    std::size_t n = 0;
    for (const auto& line : lines_) n += line.first == level ? 1 : 0;
    return n;
  }

 private:
  std::mutex mu_;
  std::vector<std::pair<LogLevel, std::string>> lines_;
};

std::size_t ThreadsOfThisProcess() {
  std::size_t n = 0;
  DIR* const tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return 0;
  while (const dirent* entry = readdir(tasks)) n += entry->d_name[0] != '.' ? 1 : 0;
  closedir(tasks);
  return n;
}

class Manners : public EveryEngine {
 protected:
  void UseIt() {
    store_.Open();
    for (int i = 0; i < 50; ++i) store_.Write(Numbered(i), {{kT, 1}, {kT + 1000, 2}});
    store_.Checkpoint();
    store_.Write(Numbered(1), {{kT + 2000, 2}});
    EXPECT_TRUE(store_->Delete({Matcher::Equal("i", "3")}, {}).ok());
    store_.Compact();
    (void)store_.Read();
    store_.Write(Numbered(2), {{kT + 3000, 2}});
    store_.Kill();
    store_.Close();
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, Manners, AllEngines(), EngineName);

TEST_P(Manners, NothingIsPrinted) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  UseIt();
  Options wrong = store_.options();
  wrong.shards = 0;
  (void)Storage::Open(wrong, store_.path());
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_P(Manners, TheLoggerIsToldOfReplayAndOfTrouble) {
  const auto logger = std::make_shared<RecordingLogger>();
  store_.options().logger = logger;
  UseIt();
  EXPECT_THAT(logger->All(), HasSubstr("replayed"));
  if (!store_.is_memory()) {
    EXPECT_EQ(logger->Count(LogLevel::kError), 0U) << logger->All();
    return;
  }
  store_.Open();
  store_.memory().FailCall(EngineMethod::kWrite, 1, IoError("injected"));
  EXPECT_FALSE(store_->Write(MakeSeries(Numbered(1), {{kT + 9000, 1}})).ok());
  EXPECT_GE(logger->Count(LogLevel::kError), 1U);
  EXPECT_THAT(logger->All(), HasSubstr("injected"));
}

TEST_P(Manners, CloseJoinsEveryThread) {
  UseIt();  // an engine may keep a pool of its own for the process
  const std::size_t before = ThreadsOfThisProcess();
  if (before == 0) CHRONOLITH_SKIP_HERE("no /proc");
  for (int i = 0; i < 3; ++i) {
    store_.Open();
    store_.Write(Numbered(i), {{kT + 10'000 + i, 1}});
    EXPECT_GT(ThreadsOfThisProcess(), before);
    store_.Close();
  }
  // A joined thread may stay listed for a moment.
  for (int i = 0; i < 1'000'000 && ThreadsOfThisProcess() > before; ++i) sched_yield();
  EXPECT_LE(ThreadsOfThisProcess(), before);
}

TEST_P(Manners, ReplayTellsHowFarItIs) {
  store_.Open();
  for (int i = 0; i < 100; ++i) store_.Write({{"__name__", "m" + std::to_string(i)}}, {{i, 1}});
  std::mutex mu;
  std::map<std::uint32_t, ReplayProgress> told;
  store_.options().on_replay = [&](const ReplayProgress& progress) {
    const std::lock_guard lock(mu);
    EXPECT_FALSE(told[progress.shard].done) << "told after the end";
    told[progress.shard] = progress;
  };
  store_.Kill();
  const std::lock_guard lock(mu);
  EXPECT_EQ(told.size(), static_cast<std::size_t>(store_.options().shards));
  std::uint64_t records = 0;
  for (const auto& [shard, progress] : told) {
    EXPECT_TRUE(progress.done);
    EXPECT_GT(progress.bytes, 0U);
    records += progress.records;
  }
  EXPECT_GE(records, 200U);  // a series and a sample each
}

// Threads and locks do not survive a fork: every call says so, and the child can exit without touching the parent's store.
TEST_P(Manners, AChildProcessIsRefused) {
  store_.Open();
  store_.Write({{"__name__", "m"}}, {{1, 1}});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool refused =
        store_->Write(MakeSeries({{"__name__", "m"}}, {{2, 2}})).status.code() == StatusCode::kFailedPrecondition &&
        store_->Select({}, {}).status().message().find("fork") != std::string::npos &&
        store_->Close().code() == StatusCode::kFailedPrecondition;
    _exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(store_.Read().size(), 1U);
}

TEST_P(Manners, AnOpeningThatFailsLeavesNoThreadAndNoLock) {
  UseIt();
  const std::size_t before = ThreadsOfThisProcess();
  Options refused = store_.options();
  refused.error_if_exists = true;
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Storage::Open(refused, store_.path()).ok());
  for (int i = 0; i < 1'000'000 && ThreadsOfThisProcess() > before; ++i) sched_yield();
  EXPECT_LE(ThreadsOfThisProcess(), before);
  store_.Open();
}

TEST_P(Manners, StoresShareABudget) {
  const auto budget = std::make_shared<MemoryBudget>(512ULL << 20);
  TestStore other(GetParam());
  for (TestStore* store : {&store_, &other}) {
    store->options().memory_budget = budget;
    store->options().memory_limit_bytes = 0;  // not looked at
    store->Open();
  }
  std::vector<Sample> samples(2000);
  std::uint64_t after_first = 0;
  for (TestStore* store : {&store_, &other}) {
    for (int i = 0; i < 120; ++i) {
      for (std::size_t s = 0; s < samples.size(); ++s)
        samples[s] = {kT + static_cast<Timestamp>(s), 1.0 / (1.0 + i + static_cast<double>(s))};
      store->Write(Numbered(i), samples);
    }
    if (after_first == 0) {
      after_first = budget->used_bytes();
      EXPECT_GT(after_first, 0U);
    }
  }
  EXPECT_GT(budget->used_bytes(), after_first);
  EXPECT_EQ(store_->Stats().memory_limit_bytes, budget->limit_bytes());
  store_.Close();
  EXPECT_LT(budget->used_bytes(), 2 * after_first);
  other.Close();
  EXPECT_EQ(budget->used_bytes(), 0U) << "what was taken is given back";
}

TEST_P(Manners, StoresShareThreads) {
  const auto threads = std::make_shared<ThreadBudget>(1);
  store_.options().thread_budget = threads;
  store_.options().checkpoint_bytes = 64 << 10;
  ASSERT_TRUE(threads->TryAcquire());  // another store is at work
  store_.Open();
  std::vector<Sample> samples(1000);
  for (int i = 0; i < 50; ++i) {
    for (std::size_t s = 0; s < samples.size(); ++s)
      samples[s] = {kT + static_cast<Timestamp>(s), 1.0 / (1.0 + i + static_cast<double>(s))};
    store_.Write(Numbered(i), samples);
  }
  EXPECT_EQ(store_->Stats().checkpoints, 0U) << "the background checkpoint has no place";
  store_.Close();  // does not wait for one

  // Replay has the thread that opens, and no other.
  std::mutex mu;
  std::set<std::thread::id> replayed_by;
  store_.options().on_replay = [&](const ReplayProgress&) {
    const std::lock_guard lock(mu);
    replayed_by.insert(std::this_thread::get_id());
  };
  store_.Open();
  EXPECT_EQ(replayed_by, (std::set<std::thread::id>{std::this_thread::get_id()}));
  threads->Release();
  for (int i = 50; store_->Stats().checkpoints == 0 && i < 100'000; ++i) store_.Write(Numbered(i % 50), samples);
  EXPECT_GT(store_->Stats().checkpoints, 0U);
  store_.Close();
  EXPECT_EQ(threads->busy(), 0);
}

// One store's host takes a snapshot of it for long; its upkeep thread waits for that without the place.
TEST(MannersOfThreads, AStoreThatWaitsForItsHostLeavesItsPlaceToOthers) {
  std::atomic<bool> copying{false};
  std::atomic<bool> copied{false};
  std::atomic<bool> slow{true};
  TestStore store("memory", {.on_call = [&](EngineMethod method, const std::string&) {
                    if (method == EngineMethod::kCopy && slow.exchange(false)) {
                      copying.store(true);
                      copying.notify_all();
                      copied.wait(false);
                    }
                    return Status::Ok();
                  }});
  TestStore other("memory");
  const auto threads = std::make_shared<ThreadBudget>(1);
  std::vector<Sample> samples(1000);
  for (std::size_t s = 0; s < samples.size(); ++s)
    samples[s] = {kT + static_cast<Timestamp>(s), 1.0 / (1.0 + static_cast<double>(s))};
  for (TestStore* s : {&store, &other}) {
    s->options().thread_budget = threads;
    s->options().checkpoint_bytes = 64 << 10;
    s->Open();
  }
  const testing_support::TempDirectory directory;
  std::thread host([&] { EXPECT_TRUE(store->Snapshot(directory / "copy").ok()); });
  copying.wait(false);
  const std::uint64_t before = store->Stats().checkpoints;
  for (int i = 0; i < 50; ++i) store.Write(Numbered(i), samples);  // enough for a checkpoint
  for (int i = 0; other->Stats().checkpoints < 5 && i < 100'000; ++i) other.Write(Numbered(i % 50), samples);
  EXPECT_GE(other->Stats().checkpoints, 5U);
  EXPECT_EQ(store->Stats().checkpoints, before);
  copied.store(true);
  copied.notify_all();
  host.join();
  for (int i = 0; store->Stats().checkpoints == before && i < 100'000; ++i) store.Write(Numbered(i % 50), samples);
  EXPECT_GT(store->Stats().checkpoints, before);
  store.Close();
  other.Close();
  EXPECT_EQ(threads->busy(), 0);
}

TEST_P(Manners, AnExceededBudgetRefusesWritesUntilThereIsRoom) {
  const auto budget = std::make_shared<MemoryBudget>(256ULL << 20);
  store_.options().memory_budget = budget;
  store_.options().backpressure_wait_ms = 0;
  store_.Open();
  budget->ForceReserve(1ULL << 30);  // another user of the budget
  std::vector<Sample> samples(2000);
  WriteResult result;
  std::uint64_t written = 0;
  for (int i = 0; i < 400 && result.ok(); ++i) {
    for (std::size_t s = 0; s < samples.size(); ++s)
      samples[s] = {kT + i * 2000 + static_cast<Timestamp>(s), 1.0 / (1.0 + i + static_cast<double>(s))};
    result = store_->Write(MakeSeries(Numbered(1), samples));
    written += result.accepted;
  }
  budget->Release(1ULL << 30);
  if (!result.ok()) {  // the background checkpoint may have kept up with the writer
    EXPECT_EQ(result.status.code(), StatusCode::kResourceExhausted) << result.status.ToString();
    EXPECT_THAT(result.status.message(), HasSubstr("memory"));
    EXPECT_EQ(result.refused.size() + result.accepted, 2000U);
  }
  store_.Checkpoint();
  store_.Write(Numbered(2), {{kT, 1}});
  EXPECT_EQ(store_.Read({Matcher::Equal("i", "1")}).begin()->second.size(), written);
}

}  // namespace
}  // namespace chronolith
