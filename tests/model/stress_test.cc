// Everything at once on the memory engine, for the thread sanitizer: rings that are full, group commits, caches that evict, the
// head against checkpoints, compactions, reads and deletes, and a store that is reopened under all of them. What was acknowledged
// must be there at the end of each round; between them the store is restarted or killed.
//
//   model_stress_test                  a fixed number of operations
//   model_stress_test --minutes 30     rounds until the time is over; so does CHRONOLITH_STRESS_MINUTES=30 in the environment
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <thread>

#include "tests/contract/seed.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;
constexpr int kWriters = 3;
constexpr int kSeriesEach = 6;
constexpr int kWrites = 400;  // of each writer in a round

Labels Own(int writer, int i) { return {{"__name__", "own"}, {"writer", std::to_string(writer)}, {"i", std::to_string(i)}}; }
Labels Churned(std::uint64_t i) { return {{"__name__", "churned"}, {"i", std::to_string(i)}, {"group", std::to_string(i % 7)}}; }

// A write that met a reopening may have happened or not: until the next one of its timestamp, one of several values is right.
using Allowed = std::map<Timestamp, std::set<std::string>>;  // "": nothing there

class Round {
 public:
  explicit Round(std::uint64_t seed) : rng_(seed), store_("memory", {.seed = seed, .spontaneous_flush_probability = 0.01}) {
    Options& o = store_.options();
    o.ring_bytes = 64 << 10;
    o.commit_interval_ms = 1;
    o.sync_interval_ms = 1;
    o.window_ms = 2'000;
    o.max_samples_per_chunk = 32;
    o.postings_cache_bytes = 4 << 10;
    o.checkpoint_interval_ms = 10;  // upkeep by the store's own thread as well
    o.shards = 1 + static_cast<int>(rng_() % 4);
    o.wait_for_replay = rng_() % 2 == 0;
    store_.Open();
  }

  void Run(bool reopen) {
    std::vector<std::function<void()>> bodies;
    for (int w = 0; w < kWriters; ++w) bodies.push_back([this, w, seed = rng_()] { Write(w, seed); });
    bodies.push_back([this, seed = rng_()] { Churn(seed); });
    bodies.push_back([this, seed = rng_()] { Read(seed); });
    bodies.push_back([this, seed = rng_()] { Upkeep(seed); });
    bodies.push_back([this] { WaitForTokens(); });
    if (reopen) bodies.push_back([this] { Reopen(); });
    std::vector<std::thread> threads;
    for (auto& body : bodies) threads.emplace_back(std::move(body));
    for (std::thread& thread : threads) thread.join();
    Check("live");
    EXPECT_TRUE(store_->Flush().ok());
    if (rng_() % 2 == 0) {
      store_.Restart();
    } else {
      store_.LosePower();
    }
    Check("after a restart");
    store_.Compact();
    Check("compacted");
    store_.Close();
  }

 private:
  bool Writing() const { return writing_.load() > 0; }
  // While another thread reopens the store a call may be refused, but for no other reason.
  static void ExpectFineOrReopened(const Status& status) {
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::kUnavailable) << status.ToString();
  }

  void Write(int w, std::uint64_t seed) {
    std::mt19937_64 rng(seed);
    std::unique_ptr<Appender> appender = w % 2 == 0 ? store_->NewAppender() : nullptr;
    std::vector<SeriesRef> refs(kSeriesEach);
    std::array<Allowed, kSeriesEach>& mine = allowed_[static_cast<std::size_t>(w)];
    for (int n = 0; n < kWrites; ++n) {
      std::vector<TimeSeries> batch;
      bool refused = false;
      for (int k = 0, many = n % 50 == 0 ? 400 : 1 + static_cast<int>(rng() % 6); k < many; ++k) {
        const auto i = static_cast<std::size_t>(rng() % kSeriesEach);
        const Timestamp late = rng() % 5 == 0 ? static_cast<Timestamp>(rng() % 3'000) : 0;
        batch.push_back(
            MakeSeries(Own(w, static_cast<int>(i)), {{kT + n * 20 + k % 20 - late, static_cast<double>(rng() % 1000)}}));
        if (!appender) continue;
        if (refs[i].id == 0) {
          const auto ref = appender->Ref(batch.back().labels);
          ExpectFineOrReopened(ref.status());
          if (!ref.ok()) {
            batch.pop_back();
            continue;
          }
          refs[i] = *ref;
        }
        appender->Append(refs[i], batch.back().samples[0].timestamp, batch.back().samples[0].value);
      }
      const WriteOptions options{.level = static_cast<AckLevel>(rng() % 3)};
      const WriteResult result = appender ? appender->Commit(options) : store_->Write(batch, options);
      refused = !result.ok();
      if (refused) {
        ExpectFineOrReopened(result.status);
        refs.assign(kSeriesEach, {});
      }
      for (const TimeSeries& series : batch) {
        const auto i = static_cast<std::size_t>(std::stoi(std::string(series.labels.Get("i"))));
        std::set<std::string>& values = mine[i][series.samples[0].timestamp];
        if (!refused) values.clear();
        if (refused && values.empty()) values.insert("");
        values.insert(Shown(series.samples[0].value));
      }
      newest_token_.store(result.token.generation);
      acknowledged_.fetch_add(refused ? 0 : 1);
    }
    writing_.fetch_sub(1);
  }

  // Series come and go, so that ordinals, symbols and references of the index do.
  void Churn(std::uint64_t seed) {
    std::mt19937_64 rng(seed);
    for (std::uint64_t i = 0; Writing(); ++i) {
      ExpectFineOrReopened(
          store_->Write(MakeSeries(Churned(i), {{kT + static_cast<Timestamp>(rng() % 5'000), 1}}), {.level = AckLevel::kQueued})
              .status);
      if (i % 40 == 39) {
        ExpectFineOrReopened(
            store_->Delete({Matcher::Equal("__name__", "churned"), Matcher::Equal("group", std::to_string(rng() % 7))}, {}).status);
      }
    }
  }

  void Read(std::uint64_t seed) {
    std::mt19937_64 rng(seed);
    std::map<std::string, std::size_t> seen;
    while (Writing()) {
      const Matcher matcher = rng() % 3 == 0 ? Matcher::Regex("i", "[0-3]|1.*") : Matcher::Equal("__name__", "own");
      auto set = store_->Select({matcher}, {});
      ExpectFineOrReopened(set.status());
      while (set.ok() && (*set)->Next()) {
        std::size_t n = 0;
        Timestamp previous = kMinTimestamp;
        SampleIterator& samples = (*set)->samples();
        while (samples.Next() != ValueType::kNone) {
          EXPECT_LT(previous, samples.timestamp());
          previous = samples.timestamp();
          ++n;
        }
        if (!samples.status().ok() || (*set)->labels().Get("__name__") != "own") continue;
        std::size_t& before = seen[(*set)->labels().ToString()];
        EXPECT_GE(n, before) << "samples vanished from " << (*set)->labels().ToString();
        before = n;
      }
      if (set.ok()) ExpectFineOrReopened((*set)->status());
      ExpectFineOrReopened(store_->LabelValues("i", {Matcher::NotEqual("group", "3")}).status());
      ExpectFineOrReopened(store_->Series({Matcher::Regex("__name__", "churned|own")}, {.range = {kT, kT + 2'000}}).status());
      ExpectFineOrReopened(store_->LabelNames({}).status());
    }
  }

  void Upkeep(std::uint64_t seed) {
    std::mt19937_64 rng(seed);
    for (std::uint64_t n = 0; Writing(); ++n) {
      if (rng() % 3 == 0) {
        ExpectFineOrReopened(store_->Compact().status());
      } else {
        ExpectFineOrReopened(store_->Checkpoint());
      }
      if (n % 16 == 7) ExpectFineOrReopened(store_->Snapshot(store_.directory() / ("snapshot" + std::to_string(n))));
      for (const ShardStats& s : store_->Stats().shards) EXPECT_LE(s.trimmed_to, s.last_lsn);
    }
  }

  void WaitForTokens() {
    std::atomic<int> waiting{0};
    while (Writing()) {
      const CommitToken token{newest_token_.load()};
      waiting.fetch_add(1);
      store_->OnReached(token, AckLevel::kSynced, [&waiting](const Status& status) {
        ExpectFineOrReopened(status);
        waiting.fetch_sub(1);
      });
      ExpectFineOrReopened(store_->Wait(token, AckLevel::kLogged));
      ExpectFineOrReopened(store_->Flush());
    }
    while (waiting.load() > 0) std::this_thread::yield();
  }

  void Reopen() {
    for (std::uint64_t at = kWrites / 2; Writing(); at += kWrites / 2) {
      while (Writing() && acknowledged_.load() < at) std::this_thread::yield();
      const Status status = store_->Reopen();
      EXPECT_TRUE(status.ok()) << status.ToString();
    }
  }

  void Check(const char* when) {
    SCOPED_TRACE(when);
    const Contents found = store_.Read({Matcher::Equal("__name__", "own")});
    for (int w = 0; w < kWriters; ++w) {
      for (int i = 0; i < kSeriesEach; ++i) {
        const std::string labels = Own(w, i).ToString();
        const auto at = found.find(labels);
        const Points points = at == found.end() ? Points{} : at->second;
        const Allowed& allowed = allowed_[static_cast<std::size_t>(w)][static_cast<std::size_t>(i)];
        for (const auto& [t, value] : points) EXPECT_TRUE(allowed.contains(t)) << labels << " has too much: " << t;
        for (const auto& [t, values] : allowed) {
          const auto point = points.find(t);
          const std::string value = point == points.end() ? "" : point->second;
          EXPECT_TRUE(values.contains(value)) << labels << " at " << t << " has '" << value << "'";
        }
      }
    }
  }

  std::mt19937_64 rng_;
  TestStore store_;
  std::atomic<int> writing_{kWriters};
  std::atomic<std::uint64_t> acknowledged_{0};  // writes
  std::atomic<std::uint64_t> newest_token_{0};
  std::array<std::array<Allowed, kSeriesEach>, kWriters> allowed_;
};

double minutes = 0;
constexpr int kRounds = 6;

TEST(Stress, WhatIsAcknowledgedStaysWhateverHappensBesideIt) {
  const std::uint64_t seed = TestSeed();
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::uint64_t rounds = 0;
  for (; minutes > 0 ? elapsed() < minutes * 60 : rounds < kRounds; ++rounds) {
    Round(seed + rounds).Run(rounds % 2 == 1);
    if (HasFailure()) FAIL() << "in round " << rounds << ", of seed " << seed + rounds;
  }
  std::printf("%llu rounds, %llu writes beside everything else, %.1f s\n", static_cast<unsigned long long>(rounds),
              static_cast<unsigned long long>(rounds * kWriters * kWrites), elapsed());
}

}  // namespace
}  // namespace chronolith

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc == 3 && std::strcmp(argv[1], "--minutes") == 0) {
    chronolith::minutes = std::strtod(argv[2], nullptr);
  } else if (const char* from_environment = std::getenv("CHRONOLITH_STRESS_MINUTES"); argc == 1 && from_environment != nullptr) {
    chronolith::minutes = std::strtod(from_environment, nullptr);
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: model_stress_test [--minutes N]\n");
    return 2;
  }
  return RUN_ALL_TESTS();
}
