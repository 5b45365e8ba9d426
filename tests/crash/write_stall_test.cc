// WriteStall: a store whose log instance cannot flush, because its disk holds each new table file. Its memtables fill up, and
// RocksDB would make writers wait. Callers return all the same, and what they wrote goes on when the disk does.
#include <gtest/gtest.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/storage.h"
#include "plugins/rocksdb/rocksdb_engine.h"
#include "tests/support/gate.h"
#include "tests/support/temp_directory.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;
constexpr int kSamples = 2000;  // a write

// While it is closed, no table file of the log instance is created. Thread safety: safe.
class HeldFlushes : public rocksdb::FileSystemWrapper {
 public:
  HeldFlushes() : rocksdb::FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "HeldFlushes"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override {
    if (name.ends_with(".sst") && name.find("/log/") != std::string::npos) gate.Pass();
    return FileSystemWrapper::NewWritableFile(name, options, file, debug);
  }

  Gate gate;
};

Deadline Soon() { return std::chrono::steady_clock::now() + std::chrono::milliseconds(100); }

TEST(WriteStall, NoCallerIsHeldPastItsDeadlineAndNothingThatWasQueuedIsLost) {
  testing_support::TempDirectory directory;
  const auto flushes = std::make_shared<HeldFlushes>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(flushes);
  Options options;
  options.engines = std::make_shared<EngineRegistry>();
  ASSERT_TRUE(options.engines->Register(MakeRocksDbEngineFactory(env.get())).ok());
  options.shards = 2;
  options.checkpoint_bytes = 64 << 10;  // the log instance's memtables hold 8 MiB at least
  options.backpressure_wait_ms = 100;
  options.background_threads = 2;
  auto store = Storage::Open(options, directory / "db");
  ASSERT_TRUE(store.ok()) << store.status().ToString();

  flushes->gate.Close();
  Timestamp t = kT;  // the last that was sent
  std::uint64_t noise = 1;
  const auto write = [&](Deadline deadline) {
    TimeSeries series{.labels = {{"__name__", "n"}, {"n", std::to_string(t / kSamples % 4)}}};
    for (int i = 0; i < kSamples; ++i) {
      noise = noise * 6364136223846793005ULL + 1442695040888963407ULL;
      series.samples.push_back({++t, static_cast<double>(noise >> 11)});
    }
    return (*store)->Write(series, {.deadline = deadline}).status;
  };
  // By its deadline, or by backpressure_wait_ms where this thread was not run for that long.
  const auto ended = [](const Status& s) {
    return s.code() == StatusCode::kDeadlineExceeded || s.code() == StatusCode::kResourceExhausted;
  };
  Status status;
  for (int i = 0; i < 20'000 && (*store)->Stats().stalled_groups == 0; ++i) {
    status = write(Soon());
    EXPECT_TRUE(status.ok() || ended(status)) << status.ToString();
  }
  ASSERT_GT((*store)->Stats().stalled_groups, 0U);
  EXPECT_TRUE(ended(status)) << status.ToString();

  // Each of these returns, while nothing is flushed.
  const Deadline past = std::chrono::steady_clock::now();
  EXPECT_EQ(write(past).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(write(kNoDeadline).code(), StatusCode::kResourceExhausted);
  const WriteResult queued =
      (*store)->Write(TimeSeries{.labels = {{"__name__", "q"}}, .samples = {{kT, 1}}}, {.level = AckLevel::kQueued});
  EXPECT_TRUE(queued.ok()) << queued.status.ToString();
  EXPECT_TRUE(ended((*store)->Wait(queued.token, AckLevel::kSynced, Soon())));
  EXPECT_TRUE(ended((*store)->Delete({Matcher::Equal("__name__", "q")}, {}, {.deadline = Soon()}).status));
  EXPECT_EQ((*store)->Flush().code(), StatusCode::kResourceExhausted);
  EXPECT_FALSE((*store)->Stats().log_failed);
  EXPECT_GT((*store)->Stats().log_engine.write_stalls, 0U);

  flushes->gate.Open();
  do {
    status = (*store)->Flush();  // waits, for backpressure_wait_ms at a time
  } while (status.code() == StatusCode::kResourceExhausted);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_TRUE(write(kNoDeadline).ok());
  ASSERT_TRUE((*store)->Close().ok());
  store = Storage::Open(options, directory / "db");
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  std::vector<bool> found(static_cast<std::size_t>(t - kT + 1));
  auto set = (*store)->Select({}, {});
  ASSERT_TRUE(set.ok()) << set.status().ToString();
  while ((*set)->Next()) {
    while ((*set)->samples().Next() != ValueType::kNone)
      found.at(static_cast<std::size_t>((*set)->samples().timestamp() - kT)) = true;
  }
  EXPECT_TRUE((*set)->status().ok());
  EXPECT_EQ(std::count(found.begin(), found.end(), true), t - kT);
  EXPECT_FALSE(found.front()) << "the delete went on, too";
  std::printf("%lld samples written before and during the stall\n", static_cast<long long>(t - kT));
}

}  // namespace
}  // namespace chronolith
