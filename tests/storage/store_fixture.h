// The fixture of the store's tests, as a small language: open, write, crash, and compare what is there with what should be.
#ifndef CHRONOLITH_TESTS_STORAGE_STORE_FIXTURE_H_
#define CHRONOLITH_TESTS_STORAGE_STORE_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chronolith/storage.h"
#include "plugins/memory/memory_engine.h"
#include "storage/items.h"
#include "tests/support/directory_image.h"
#include "tests/support/engines.h"
#include "tests/support/temp_directory.h"

namespace chronolith {

// What a store holds: labels -> timestamp -> value, values in a form that compares bit for bit.
using Points = std::map<Timestamp, std::string>;
using Contents = std::map<std::string, Points>;

inline std::string Shown(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.17g/%llx", value, static_cast<unsigned long long>(std::bit_cast<std::uint64_t>(value)));
  return text;
}
inline std::string Shown(Timestamp t, const Histogram& histogram) {
  const std::string bytes = EncodeItem(HistogramSample{t, histogram});
  std::string text = std::holds_alternative<IntHistogram>(histogram) ? "int:" : "float:";
  for (const char c : bytes) {
    char hex[3];
    std::snprintf(hex, sizeof(hex), "%02x", static_cast<unsigned char>(c));
    text += hex;
  }
  return text;
}
inline double StaleMarker() { return std::bit_cast<double>(kStaleNaNBits); }

// Everything that matches; an error becomes a failure of the test.
inline Contents Read(Storage* store, const std::vector<Matcher>& matchers = {}, TimeRange range = {}) {
  Contents contents;
  auto set = store->Select(matchers, range);
  if (!set.ok()) {
    ADD_FAILURE() << set.status().ToString();
    return contents;
  }
  std::string previous;
  while ((*set)->Next()) {
    Points& points = contents[(*set)->labels().ToString()];
    EXPECT_TRUE(points.empty()) << "a series twice";
    SampleIterator& samples = (*set)->samples();
    for (ValueType type = samples.Next(); type != ValueType::kNone; type = samples.Next()) {
      const Timestamp t = samples.timestamp();
      EXPECT_TRUE(points.empty() || points.rbegin()->first < t) << "timestamps do not ascend at " << t;
      points[t] = type == ValueType::kFloat ? Shown(samples.value()) : Shown(t, samples.histogram());
    }
    EXPECT_TRUE(samples.status().ok()) << samples.status().ToString();
  }
  EXPECT_TRUE((*set)->status().ok()) << (*set)->status().ToString();
  return contents;
}

inline TimeSeries MakeSeries(const Labels& labels, std::vector<Sample> samples) {
  TimeSeries series;
  series.labels = labels;
  series.samples = std::move(samples);
  return series;
}

class FakeClock : public Clock {
 public:
  explicit FakeClock(std::int64_t now) : now_(now) {}
  std::int64_t NowMs() const override { return now_.load(); }
  void Set(std::int64_t now) { now_.store(now); }

 private:
  std::atomic<std::int64_t> now_;
};

// One store in a directory of its own, over either engine.
class TestStore {
 public:
  explicit TestStore(const std::string& engine, AdversarialOptions adversarial = {}) {
    options_.engine = engine;
    options_.shards = 4;
    options_.background_threads = 2;
    options_.sync_interval_ms = 0;  // what is synced is decided by the test
    options_.checkpoint_interval_ms = 0;
    options_.backpressure_wait_ms = 240'000;  // nobody is refused because the machine is slow
    options_.scrub_interval_ms = 0;
    options_.block_cache_bytes = 4 << 20;
    if (engine == "memory") {
      memory_ = MakeAdversarialMemoryEngineFactory(std::move(adversarial));
      options_.engines = std::make_shared<EngineRegistry>();
      if (!options_.engines->Register(memory_).ok()) std::abort();
    }
    path_ = directory_ / "db";
  }

  Options& options() { return options_; }
  const std::string& path() const { return path_; }
  MemoryEngineFactory& memory() { return *memory_; }
  bool is_memory() const { return memory_ != nullptr; }
  testing_support::TempDirectory& directory() { return directory_; }
  Storage* operator->() { return store_.get(); }
  Storage* get() { return store_.get(); }

  Status TryOpen() {
    store_.reset();
    auto opened = Storage::Open(options_, path_);
    if (!opened.ok()) return opened.status();
    store_ = std::move(opened).value();
    return Status::Ok();
  }
  void Open() {
    const Status status = TryOpen();
    if (!status.ok()) {
      std::fprintf(stderr, "cannot open: %s\n", status.ToString().c_str());
      ADD_FAILURE() << status.ToString();
      std::abort();  // the rest of the test would follow a null pointer
    }
  }
  void Close() {
    const Status status = store_->Close();
    EXPECT_TRUE(status.ok()) << status.ToString();
    store_.reset();
  }
  void Restart() {
    Close();
    Open();
  }
  // The process dies and starts again. RocksDB: the directory as the operating system has it at this moment is what a killed
  // process would leave; it takes the place of the real one, whose owner goes on to close it elsewhere.
  void KillWithoutOpening() {
    if (is_memory()) {
      memory_->CrashAll(CrashKind::kKill);
      store_.reset();
      return;
    }
    namespace fs = std::filesystem;
    const std::string image = directory_ / "image";
    testing_support::CopyAtOneMoment(path_, image);
    store_.reset();
    fs::remove_all(path_);
    fs::rename(image, path_);
  }
  void Kill() {
    KillWithoutOpening();
    Open();
  }
  // Only the memory engine can lose what was not synced.
  void LosePower() {
    memory_->CrashAll(CrashKind::kPowerLoss);
    store_.reset();
    Open();
  }
  void Checkpoint() {
    const Status status = store_->Checkpoint();
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  void Compact() {
    const auto result = store_->Compact();
    EXPECT_TRUE(result.ok()) << result.status().ToString();
  }
  void Write(const Labels& labels, std::vector<Sample> samples, AckLevel level = AckLevel::kLogged) {
    const WriteResult result = store_->Write(MakeSeries(labels, std::move(samples)), {.level = level});
    EXPECT_TRUE(result.ok()) << result.status.ToString();
  }
  Contents Read(const std::vector<Matcher>& matchers = {}, TimeRange range = {}) {
    return chronolith::Read(store_.get(), matchers, range);
  }

 private:
  testing_support::TempDirectory directory_;
  std::string path_;
  Options options_;
  std::shared_ptr<MemoryEngineFactory> memory_;
  std::unique_ptr<Storage> store_;
};

// Every test runs once for each engine of the build.
class EveryEngine : public testing::TestWithParam<std::string> {
 protected:
  EveryEngine() : store_(GetParam()) {}
  // Runs `check` on the live store, then after everything that must change nothing.
  template <typename Check>
  void ThroughEverything(const Check& check) {
    const auto step = [&](const char* name) {
      SCOPED_TRACE(name);
      check();
    };
    step("live");
    store_.Kill();
    step("killed");
    store_.Checkpoint();
    step("after a checkpoint");
    store_.Kill();
    step("killed after a checkpoint");
    store_.Restart();
    step("restarted");
    store_.Compact();
    step("compacted");
    store_.Restart();
    step("restarted after compaction");
  }
  TestStore store_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_STORAGE_STORE_FIXTURE_H_
