// Many threads at once: nothing is lost, nothing is torn, readers see what was acknowledged before they asked.
#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;

Labels Named(std::string_view name, int i) { return {{"__name__", name}, {"i", std::to_string(i)}}; }

void RunAll(std::vector<std::function<void()>> bodies) {
  std::vector<std::thread> threads;
  for (auto& body : bodies) threads.emplace_back(std::move(body));
  for (std::thread& thread : threads) thread.join();
}

class Concurrency : public EveryEngine {
 protected:
  Concurrency() {
    store_.options().max_samples_per_chunk = 32;
    store_.options().window_ms = 10'000;
    store_.options().sync_interval_ms = 1;
    store_.options().commit_interval_ms = 1;
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, Concurrency, AllEngines(), EngineName);

constexpr int kWriters = 4;
constexpr int kRounds = 150;

TEST_P(Concurrency, EverythingAtOnceEndsAsExpected) {
  store_.Open();
  std::atomic<int> writing{kWriters};
  std::vector<std::function<void()>> bodies;
  for (int w = 0; w < kWriters; ++w) {
    bodies.push_back([this, w, &writing] {
      std::unique_ptr<Appender> appender = w % 2 == 0 ? store_->NewAppender() : nullptr;
      for (int round = 0; round < kRounds; ++round) {
        const auto level = static_cast<AckLevel>(round % 3);
        const Timestamp t = kT + round * 100;
        // Its own series, one that all share (each at its own timestamps), one that all create at once, and one to be deleted.
        const Labels own = Named("own", w);
        const Labels shared = Named("shared", 0);
        const Labels fresh = Named("fresh", round);
        const Labels doomed = Named("doomed", round % 3);
        if (appender) {
          for (const auto& [labels, time] :
               {std::pair(own, t), std::pair(shared, t + w), std::pair(fresh, t + w), std::pair(doomed, t)}) {
            const auto ref = appender->Ref(labels);
            ASSERT_TRUE(ref.ok()) << ref.status().ToString();
            appender->Append(*ref, time, w);
          }
          const WriteResult result = appender->Commit({.level = level});
          EXPECT_TRUE(result.ok()) << result.status.ToString();
        } else {
          const std::vector<TimeSeries> batch = {MakeSeries(own, {{t, 1.0 * w}}), MakeSeries(shared, {{t + w, 1.0 * w}}),
                                                 MakeSeries(fresh, {{t + w, 1.0 * w}}), MakeSeries(doomed, {{t, 1.0 * w}})};
          const WriteResult result = store_->Write(batch, {.level = level});
          EXPECT_TRUE(result.ok()) << result.status.ToString();
        }
        if (round % 10 == 0) {  // a writer reads its own writes
          const Contents mine = store_.Read({Matcher::Equal("__name__", "own"), Matcher::Equal("i", std::to_string(w))});
          EXPECT_EQ(mine.begin()->second.size(), static_cast<std::size_t>(round + 1));
        }
      }
      writing.fetch_sub(1);
    });
  }
  bodies.push_back([this, &writing] {
    std::size_t seen = 0;
    while (writing.load() > 0) {
      const Contents contents = store_.Read({Matcher::Equal("__name__", "shared")});
      if (!contents.empty()) {
        EXPECT_GE(contents.begin()->second.size(), seen) << "samples vanished";
        seen = contents.begin()->second.size();
      }
      const auto values = store_->LabelValues("i", {Matcher::Equal("__name__", "own")});
      EXPECT_TRUE(values.ok());
      EXPECT_LE(values->values.size(), static_cast<std::size_t>(kWriters));
      EXPECT_TRUE(store_->Series({Matcher::Regex("__name__", "fresh|own")}).ok());
      EXPECT_TRUE(store_->LabelNames({}).ok());
    }
  });
  bodies.push_back([this, &writing] {
    while (writing.load() > 0) {
      store_.Checkpoint();
      EXPECT_TRUE(store_->Delete({Matcher::Equal("__name__", "doomed")}, {}).ok());
      store_.Compact();
      const StorageStats stats = store_->Stats();
      for (const ShardStats& s : stats.shards) EXPECT_LE(s.trimmed_to, s.last_lsn);
    }
  });
  RunAll(std::move(bodies));
  ASSERT_TRUE(store_->Delete({Matcher::Equal("__name__", "doomed")}, {}).ok());

  Contents expected;
  for (int round = 0; round < kRounds; ++round) {
    const Timestamp t = kT + round * 100;
    for (int w = 0; w < kWriters; ++w) {
      expected[Named("own", w).ToString()][t] = Shown(w);
      expected[Named("shared", 0).ToString()][t + w] = Shown(w);
      expected[Named("fresh", round).ToString()][t + w] = Shown(w);
    }
  }
  EXPECT_TRUE(store_.Read() == expected);
  store_.Kill();
  EXPECT_TRUE(store_.Read() == expected) << "killed";
  store_.Checkpoint();
  store_.Compact();
  EXPECT_TRUE(store_.Read() == expected) << "compacted";
  store_.Restart();
  EXPECT_TRUE(store_.Read() == expected) << "restarted";
}

TEST_P(Concurrency, OneSeriesHasOneIdHoweverManyCreateIt) {
  store_.Open();
  constexpr int kThreads = 6;
  constexpr int kMany = 300;
  std::vector<std::vector<SeriesRef>> refs(kThreads);
  std::vector<std::function<void()>> bodies;
  for (int thread = 0; thread < kThreads; ++thread) {
    bodies.push_back([&, thread] {
      auto appender = store_->NewAppender();
      std::vector<Labels> labels;
      for (int i = 0; i < kMany; ++i) labels.push_back(Named("s", i));
      const WriteResult result = appender->Refs(labels, &refs[static_cast<std::size_t>(thread)]);
      EXPECT_TRUE(result.ok()) << result.status.ToString();
    });
  }
  RunAll(std::move(bodies));
  std::set<std::uint64_t> distinct;
  for (const SeriesRef ref : refs[0]) distinct.insert(ref.id);
  EXPECT_EQ(distinct.size(), static_cast<std::size_t>(kMany));
  for (const auto& other : refs) EXPECT_EQ(other, refs[0]);
}

// Under kReject one value a timestamp is accepted, of floats and histograms alike, and that one is what is read.
TEST_P(Concurrency, RejectAcceptsOneOfManyWritersAtATimestamp) {
  store_.options().duplicate_policy = DuplicatePolicy::kReject;
  store_.Open();
  constexpr int kTimes = 200;
  std::vector<std::vector<std::string>> accepted(kWriters, std::vector<std::string>(kTimes));
  std::atomic<int> arrived{0};
  std::vector<std::function<void()>> bodies;
  for (int w = 0; w < kWriters; ++w) {
    bodies.push_back([this, w, &accepted, &arrived] {
      for (int i = 0; i < kTimes; ++i) {
        arrived.fetch_add(1);
        while (arrived.load() < (i + 1) * kWriters) std::this_thread::yield();  // all write this timestamp at once
        TimeSeries series = MakeSeries(Named("r", 0), {});
        IntHistogram histogram;
        histogram.schema = 3;
        histogram.zero_count = histogram.count = static_cast<std::uint64_t>(w + 1);
        histogram.sum = w;
        if (w == 0) {
          series.samples.push_back({kT + i, 0.5});
        } else {
          series.histograms.push_back({kT + i, histogram});
        }
        const WriteResult result = store_->Write(series, {.level = AckLevel::kQueued});
        EXPECT_EQ(result.accepted + result.refused.size(), 1U);
        if (result.accepted == 1) {
          accepted[static_cast<std::size_t>(w)][static_cast<std::size_t>(i)] =
              w == 0 ? Shown(0.5) : Shown(kT + i, Histogram(histogram));
        } else {
          EXPECT_EQ(result.status.code(), StatusCode::kAlreadyExists) << result.status.ToString();
        }
      }
    });
  }
  RunAll(std::move(bodies));
  Points expected;
  for (int i = 0; i < kTimes; ++i) {
    for (const auto& of_writer : accepted) {
      const std::string& value = of_writer[static_cast<std::size_t>(i)];
      if (value.empty()) continue;
      EXPECT_TRUE(expected.emplace(kT + i, value).second) << "accepted twice at " << i;
    }
  }
  EXPECT_EQ(expected.size(), static_cast<std::size_t>(kTimes));
  const Contents read = store_.Read();
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read.begin()->second, expected);
}

TEST_P(Concurrency, CloseLosesNothingThatWasQueued) {
  store_.options().commit_interval_ms = 100'000;
  store_.Open();
  std::vector<std::function<void()>> bodies;
  for (int w = 0; w < kWriters; ++w) {
    bodies.push_back([this, w] {
      for (int i = 0; i < 500; ++i) store_.Write(Named("q", w), {{kT + i, 1}}, AckLevel::kQueued);
    });
  }
  RunAll(std::move(bodies));
  store_.Restart();
  for (const auto& [labels, points] : store_.Read()) EXPECT_EQ(points.size(), 500U) << labels;
  EXPECT_EQ(store_.Read().size(), static_cast<std::size_t>(kWriters));
}

TEST_P(Concurrency, AFullRingHoldsWritersBackAndLosesNothing) {
  store_.options().ring_bytes = 64 << 10;
  store_.options().shards = 1;
  store_.Open();
  std::vector<std::function<void()>> bodies;
  for (int w = 0; w < kWriters; ++w) {
    bodies.push_back([this, w] {
      std::vector<Sample> samples(400);
      for (int i = 0; i < 60; ++i) {
        for (int s = 0; s < 400; ++s) samples[static_cast<std::size_t>(s)] = {kT + i * 400 + s, 1.0 / (1 + s + i)};
        store_.Write(Named("r", w), samples, AckLevel::kQueued);
      }
    });
  }
  RunAll(std::move(bodies));
  store_.Restart();
  EXPECT_EQ(store_.Read().size(), static_cast<std::size_t>(kWriters));
  for (const auto& [labels, points] : store_.Read()) EXPECT_EQ(points.size(), 60U * 400) << labels;
}

TEST_P(Concurrency, TokensAreReachedInOrderAndTellOnce) {
  store_.Open();
  constexpr int kTokens = 200;
  std::mutex mu;
  std::vector<int> told(kTokens * 3, 0);
  std::atomic<int> left{kTokens * 3};
  for (int i = 0; i < kTokens; ++i) {
    const WriteResult result = store_->Write(MakeSeries(Named("t", i % 7), {{kT + i, 1}}), {.level = AckLevel::kQueued});
    ASSERT_TRUE(result.ok());
    for (int level = 0; level < 3; ++level) {
      store_->OnReached(result.token, static_cast<AckLevel>(level), [&, i, level](const Status& status) {
        EXPECT_TRUE(status.ok()) << status.ToString();
        const std::lock_guard lock(mu);
        ++told[static_cast<std::size_t>(i * 3 + level)];
        left.fetch_sub(1);
      });
    }
    if (i % 50 == 0) {
      EXPECT_TRUE(store_->Wait(result.token, AckLevel::kLogged).ok());
    }
  }
  ASSERT_TRUE(store_->Flush().ok());
  while (left.load() > 0) std::this_thread::yield();
  store_.Close();
  for (const int n : told) EXPECT_EQ(n, 1);
}

TEST_P(Concurrency, CallbacksStillWaitingAtCloseAreTold) {
  store_.options().commit_interval_ms = 100'000;
  store_.Open();
  std::atomic<int> told{0};
  for (int i = 0; i < 20; ++i) {
    const WriteResult result = store_->Write(MakeSeries(Named("t", i), {{kT, 1}}), {.level = AckLevel::kQueued});
    store_->OnReached(result.token, AckLevel::kSynced, [&](const Status&) { told.fetch_add(1); });
  }
  store_.Close();
  EXPECT_EQ(told.load(), 20);
}

TEST_P(Concurrency, WritersSurviveReopening) {
  store_.Open();
  std::atomic<bool> done{false};
  std::vector<std::function<void()>> bodies;
  std::vector<int> acknowledged(kWriters, 0);
  for (int w = 0; w < kWriters; ++w) {
    bodies.push_back([this, w, &acknowledged, &done] {
      auto appender = store_->NewAppender();
      SeriesRef ref;
      for (int i = 0; !done.load(); ++i) {
        if (ref.id == 0) {
          const auto got = appender->Ref(Named("w", w));
          if (!got.ok()) continue;
          ref = *got;
        }
        appender->Append(ref, kT + acknowledged[static_cast<std::size_t>(w)], 1);
        const WriteResult result = appender->Commit();
        if (result.ok()) {
          ++acknowledged[static_cast<std::size_t>(w)];
        } else {
          ref = {};
        }
      }
    });
  }
  bodies.push_back([this, &done] {
    for (int i = 0; i < 8; ++i) {
      const Status status = store_->Reopen();
      EXPECT_TRUE(status.ok()) << status.ToString();
      (void)store_.Read();
    }
    done.store(true);
  });
  RunAll(std::move(bodies));
  store_.Kill();
  for (int w = 0; w < kWriters; ++w) {
    const int n = acknowledged[static_cast<std::size_t>(w)];
    if (n == 0) continue;
    const Contents contents = store_.Read({Matcher::Equal("i", std::to_string(w))});
    ASSERT_EQ(contents.size(), 1U);
    const std::size_t found = contents.begin()->second.size();
    EXPECT_GE(found, static_cast<std::size_t>(n));
    EXPECT_LE(found, static_cast<std::size_t>(n) + 1);
  }
}

// One writer has looked for a series in vain; before it creates it, another one does, and a checkpoint stores and evicts it. It is
// one series all the same.
TEST(ConcurrentCreation, OneThatIsCreatedAndEvictedMeanwhileIsNotCreatedAgain) {
  std::atomic<int> reads{2};
  std::function<void()> meanwhile;
  TestStore store("memory", {.on_call = [&](EngineMethod method, const std::string&) {
                    if (method == EngineMethod::kRead && reads.fetch_add(1) == 1) std::thread(meanwhile).join();
                    return Status::Ok();
                  }});
  store.options().shards = 1;
  store.options().window_ms = 1000;
  store.Open();
  const Labels twin = Named("twin", 0);
  store.Write(Named("evicted", 0), {{kT, 1}});  // with a stored series that is not resident, writers look at the rows
  store.Write(Named("newest", 0), {{kT + 5000, 1}});
  ASSERT_TRUE(store->Checkpoint().ok());
  meanwhile = [&] {
    store.Write(twin, {{kT, 1}});
    EXPECT_TRUE(store->Checkpoint().ok());
  };
  // Rows are read for 1,024 new series at a time, so the second read comes after the look for the first of them.
  std::vector<TimeSeries> batch{MakeSeries(twin, {{kT + 1, 2}})};
  for (int i = 0; i < 1024; ++i) batch.push_back(MakeSeries(Named("other", i), {{kT, 1}}));
  reads.store(0);
  const WriteResult written = store->Write(batch);
  EXPECT_TRUE(written.ok()) << written.status.ToString();
  EXPECT_GE(reads.load(), 2) << "the writer did not look at the rows";
  EXPECT_EQ(store->SeriesIds({Matcher::Equal("__name__", "twin")})->size(), 1U);
  EXPECT_EQ(store.Read({Matcher::Equal("__name__", "twin")}), (Contents{{twin.ToString(), {{kT, Shown(1)}, {kT + 1, Shown(2)}}}}));
}

// Compaction is about to remove two series without data, whose labels it has read, when one is written to: both stay, and the other
// one is found again as any that was evicted: by reads the first time, and without any from then on.
TEST(ConcurrentRemoval, WhatStaysBecauseAnotherSeriesWasWrittenToIsFoundWithoutReads) {
  const Labels written = Named("written", 0);
  const Labels other = Named("other", 0);
  int stayed = 0;
  for (int nth = 1, last = 0; last == 0; ++nth) {
    SCOPED_TRACE("read " + std::to_string(nth));
    ASSERT_LT(nth, 500);
    std::atomic<int> reads{0};
    std::atomic<int> at{0};
    std::function<void()> meanwhile;
    TestStore store("memory", {.on_call = [&](EngineMethod method, const std::string&) {
                      if (method == EngineMethod::kRead && reads.fetch_add(1) + 1 == at) std::thread(meanwhile).join();
                      return Status::Ok();
                    }});
    store.options().shards = 1;
    store.options().window_ms = 1000;
    store.Open();
    auto appender = store->NewAppender();
    const SeriesRef ref = appender->Ref(written).value();
    store.Write(written, {{kT, 1}});
    store.Write(other, {{kT, 1}});
    store.Write(Named("newest", 0), {{kT + 5000, 1}});
    store.Checkpoint();  // the silent ones leave the memory
    for (const char* name : {"written", "other"}) ASSERT_TRUE(store->Delete({Matcher::Equal("__name__", name)}, {}).ok());
    store.Checkpoint();
    meanwhile = [&] {
      appender->Append(ref, kT + 5000, 2);
      const WriteResult result = appender->Commit();
      EXPECT_TRUE(result.ok()) << result.status.ToString();
    };
    reads = 0;
    at = nth;
    store.Compact();
    at = 0;
    last = reads < nth ? nth : 0;
    if (store->SeriesIds({Matcher::Equal("__name__", "other")})->size() == 1) {
      ++stayed;
      EXPECT_EQ(store->Stats().shards[0].series_total, 3U);
      EXPECT_TRUE(appender->Ref(other).ok());
      const int before = reads;
      EXPECT_TRUE(appender->Ref(other).ok());
      EXPECT_EQ(reads, before);
    }
    appender.reset();
  }
  EXPECT_GT(stayed, 0);
}

}  // namespace
}  // namespace chronolith
