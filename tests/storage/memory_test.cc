// One bound on the memory: what a store takes of its budget, and replay that keeps within it.
#include <cinttypes>
#include <filesystem>
#include <random>

#include "format/wal_record.h"
#include "tests/contract/seed.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;

class Memory : public EveryEngine {
 protected:
  Memory() {
    store_.options().shards = 2;
    store_.options().window_ms = 10'000'000;
    store_.options().memory_budget = budget_;
    store_.options().ring_bytes = 1 << 20;
  }
  static Labels Numbered(std::uint64_t i) {
    return {{"__name__", "a_metric_with_a_longish_name"}, {"i", std::to_string(i)}, {"pod", "pod-" + std::to_string(i * 7919)}};
  }
  // Random samples, in order, late and twice; histograms; deletes. Nothing is checkpointed.
  void WriteRandomly(std::mt19937_64* rng, int writes) {
    Timestamp now = kT;
    for (int i = 0; i < writes; ++i) {
      const Labels labels = Numbered((*rng)() % 3000);
      TimeSeries series;
      series.labels = labels;
      for (int n = 0; n < 40; ++n) {
        now += static_cast<Timestamp>((*rng)() % 100);
        const Timestamp t = (*rng)() % 8 == 0 ? now - static_cast<Timestamp>((*rng)() % 20'000'000) : now;
        series.samples.push_back({t, std::bit_cast<double>((*rng)() >> 2)});
      }
      if (i % 50 == 0) series.histograms.push_back({now + 1, IntHistogram{.zero_count = 3, .count = 3}});
      if (i % 50 == 1) series.metadata.push_back({MetricType::kGauge, "seconds", "help " + std::to_string(i)});
      const WriteResult result = store_->Write(std::span(&series, 1), {.level = AckLevel::kQueued});
      ASSERT_TRUE(result.ok()) << result.status.ToString();
      if (i % 400 == 399) {
        const Timestamp from = kT + static_cast<Timestamp>((*rng)() % 5'000'000);
        ASSERT_TRUE(store_->Delete({Matcher::Regex("i", std::to_string((*rng)() % 10) + ".*")}, {from, from + 50'000}).ok());
      }
    }
    ASSERT_TRUE(store_->Flush().ok());
  }
  // What was taken is what is held. RocksDB frees the buffers of a flush a moment after it has returned.
  void ExpectSettled() {
    const std::uint64_t taken = budget_->used_bytes();
    const std::uint64_t held = store_->Stats().memory_used_bytes;
    EXPECT_GE(taken, held);
    EXPECT_TRUE(taken == held || !store_.is_memory()) << taken << " taken, " << held << " held";
  }
  std::uint64_t HeadBytes() {
    std::uint64_t bytes = 0;
    for (const ShardStats& s : store_->Stats().shards) bytes += s.head_bytes;
    return bytes;
  }
  const std::shared_ptr<MemoryBudget> budget_ = std::make_shared<MemoryBudget>(1ULL << 30);
};
INSTANTIATE_TEST_SUITE_P(Engines, Memory, AllEngines(), EngineName);

TEST_P(Memory, TheShareOfTheBudgetIsSettledByCheckpointsAndOpening) {
  std::mt19937_64 rng(TestSeed());
  store_.Open();
  ExpectSettled();
  WriteRandomly(&rng, 2000);
  const std::uint64_t head = HeadBytes();
  EXPECT_GT(head, 2U << 20);
  store_.Kill();  // what was replayed is charged
  ExpectSettled();
  EXPECT_GT(budget_->used_bytes(), head / 2);
  store_.Checkpoint();  // and what was stored is not
  ExpectSettled();
  store_.Restart();
  ExpectSettled();
  EXPECT_LT(HeadBytes(), head);
  store_.Close();
  EXPECT_EQ(budget_->used_bytes(), 0U);
}

TEST_P(Memory, AStoreThatIsOnlyReadHasEntriesOfWhatIsNotStored) {
  constexpr std::uint64_t kStored = 20'000;
  store_.Open();
  const auto append = [this](std::uint64_t first, std::uint64_t end, Timestamp t) {
    const auto appender = store_->NewAppender();
    for (std::uint64_t i = first; i < end; ++i) {
      auto ref = appender->Ref(Numbered(i));
      ASSERT_TRUE(ref.ok()) << ref.status().ToString();
      appender->Append(*ref, t, static_cast<double>(i));
    }
    ASSERT_TRUE(appender->Commit().status.ok());
  };
  append(0, kStored, kT);
  store_.Checkpoint();
  store_.Close();
  store_.options().read_only = true;
  store_.Open();
  EXPECT_EQ(HeadBytes(), 0U);
  EXPECT_EQ(Read(store_.get(), {Matcher::Equal("i", "7")}).size(), 1U);
  store_.Close();

  store_.options().read_only = false;
  store_.Open();
  append(7, 8, kT + 1);              // of one that is stored
  append(kStored, kStored + 2, kT);  // and new ones
  ASSERT_TRUE(store_->Delete({Matcher::Equal("i", "9")}, {}).ok());
  const Contents expected = Read(store_.get());
  ASSERT_EQ(expected.size(), kStored + 1);
  store_.KillWithoutOpening();
  store_.options().read_only = true;
  store_.Open();
  EXPECT_GT(HeadBytes(), 0U);
  EXPECT_LT(HeadBytes(), 64 * kStored / 4);
  EXPECT_EQ(Read(store_.get()), expected);
}

TEST_P(Memory, ReplayThatOutgrowsItsPartGoesToTheDataInstance) {
  std::mt19937_64 rng(TestSeed());
  store_.Open();
  WriteRandomly(&rng, 6000);
  const std::uint64_t head = HeadBytes();
  const Contents contents = store_.Read();
  std::size_t series = store_->SeriesIds({}).value().size();
  store_.KillWithoutOpening();
  budget_->ForceReserve(1ULL << 30);  // another user has it all
  store_.Open();
  budget_->Release(1ULL << 30);
  const StorageStats stats = store_->Stats();
  EXPECT_GT(stats.replay_checkpoints, 2U) << "of a head of " << head << " bytes";
  for (const ShardStats& s : stats.shards) EXPECT_GT(s.applied_lsn, 0U);
  const auto check = [&](const char* when) {
    SCOPED_TRACE(when);
    EXPECT_EQ(store_.Read(), contents);
    EXPECT_EQ(store_->SeriesIds({}).value().size(), series);
    EXPECT_EQ(store_->Stats().shards[0].series_total + store_->Stats().shards[1].series_total, series);
  };
  check("replayed in parts");
  store_.Kill();
  EXPECT_EQ(store_->Stats().replay_checkpoints, 0U);
  check("killed again: only the rest is replayed");
  store_.Checkpoint();
  check("stored");
  store_.Compact();
  series = contents.size();  // a series that lost all its samples to deletes leaves
  check("compacted");
  // Late samples for what replay has stored and forgotten still lose and win as they should.
  store_.Write(Numbered(1), {{kT, 42}});
  EXPECT_EQ(store_.Read({Matcher::Equal("i", "1")}, {kT, kT + 1}).begin()->second[kT], Shown(42.0));
  store_.Restart();
  EXPECT_EQ(store_.Read({Matcher::Equal("i", "1")}, {kT, kT + 1}).begin()->second[kT], Shown(42.0));
}

TEST_P(Memory, ReplayKeepsToItsOptionWhereThereIsMore) {
  std::mt19937_64 rng(TestSeed());
  store_.Open();
  WriteRandomly(&rng, 6000);
  const Contents contents = store_.Read();
  store_.Kill();
  EXPECT_EQ(store_->Stats().replay_checkpoints, 0U) << "the default is more than this log";
  store_.KillWithoutOpening();
  store_.options().replay_memory_bytes = 2 << 20;
  store_.Open();
  EXPECT_GT(store_->Stats().replay_checkpoints, 2U);
  EXPECT_EQ(store_.Read(), contents);
}

// What no checkpoint frees, an entry a series, is more than the share: it does not make each look at the memory a checkpoint.
TEST_P(Memory, ReplayIsStoredWhereItHasGrownNotWhereItIsLarge) {
  store_.options().shards = 1;
  store_.Open();
  std::vector<TimeSeries> many;
  for (std::uint64_t i = 0; i < 30'000; ++i) many.push_back({.labels = Numbered(i), .samples = {{kT, 1}}});
  ASSERT_TRUE(store_->Write(many).ok());
  std::mt19937_64 rng(TestSeed());
  std::vector<Sample> samples(1000);
  Timestamp now = kT;
  for (int i = 0; i < 600; ++i) {
    for (Sample& s : samples) s = {now += 1000, std::bit_cast<double>(rng() >> 2)};
    store_.Write(Numbered(static_cast<std::uint64_t>(i) % 20), samples);
  }
  store_.KillWithoutOpening();
  budget_->ForceReserve(1ULL << 30);  // another user has it all
  store_.Open();
  budget_->Release(1ULL << 30);
  const ShardStats shard = store_->Stats().shards[0];
  std::printf("%" PRIu64 " bytes of log, %" PRIu64 " checkpoints, %" PRIu64 " bytes stay\n", shard.replayed_bytes,
              store_->Stats().replay_checkpoints, shard.head_bytes);
  EXPECT_GT(shard.replayed_bytes, 4U << 20);
  EXPECT_GT(shard.head_bytes, 1U << 20);
  EXPECT_GE(store_->Stats().replay_checkpoints, 1U);
  EXPECT_LT(store_->Stats().replay_checkpoints, shard.replayed_bytes / (512 << 10)) << "it looks each 256 KiB of log";
}

// More series than the budget has room for at once: those that a checkpoint has stored leave, and come back when they are written
// to.
TEST_P(Memory, StoredSeriesLeaveWhereMemoryIsScarce) {
  constexpr std::uint64_t kSeries = 60'000, kBatch = 500;
  store_.options().memory_budget = std::make_shared<MemoryBudget>(24ULL << 20);
  store_.options().ring_bytes = 64 << 10;
  store_.options().postings_cache_bytes = 1 << 20;
  store_.Open();
  // Round 0 makes the series; round 1 adds later samples, round 2 earlier ones and replaces that of round 0.
  for (int round = 0; round < 3; ++round) {
    for (std::uint64_t first = 0; first < kSeries; first += kBatch) {
      std::vector<TimeSeries> batch;
      for (std::uint64_t i = first; i < first + kBatch; ++i) {
        const auto value = static_cast<double>(i);
        const std::vector<Sample> samples[] = {{{kT, value}}, {{kT + 1000, value + 1}}, {{kT - 1000, value + 2}, {kT, -value}}};
        batch.push_back({.labels = Numbered(i), .samples = samples[round]});
      }
      const WriteResult result = store_->Write(batch, {.level = AckLevel::kLogged});
      ASSERT_TRUE(result.ok()) << "round " << round << ", series " << first << ": " << result.status.ToString();
    }
  }
  // Not how many are resident: what left comes back when it is written to.
  std::uint64_t released = 0, total = 0;
  for (const ShardStats& s : store_->Stats().shards) {
    released += s.series_released;
    total += s.series_total;
  }
  EXPECT_EQ(total, kSeries);
  EXPECT_GT(released, 0U);
  const auto check = [&](const char* when) {
    SCOPED_TRACE(when);
    const Contents found = store_.Read({Matcher::Regex("i", "[0-9]*7")});
    EXPECT_EQ(found.size(), kSeries / 10);
    for (std::uint64_t i = 7; i < kSeries; i += 10) {
      const auto value = static_cast<double>(i);
      const Points expected{{kT - 1000, Shown(value + 2)}, {kT, Shown(-value)}, {kT + 1000, Shown(value + 1)}};
      const auto points = found.find(Numbered(i).ToString());
      ASSERT_TRUE(points != found.end() && points->second == expected) << "series " << i;
    }
  };
  check("written");
  store_.Kill();
  check("killed");
  store_.Compact();
  check("compacted");
}

class MemoryCrash : public Memory {};
INSTANTIATE_TEST_SUITE_P(Engines, MemoryCrash, testing::Values("memory"), EngineName);

TEST_P(MemoryCrash, ACrashWhileReplayIsStoredLosesNothing) {
  std::mt19937_64 rng(TestSeed());
  store_.options().shards = 1;
  store_.Open();
  WriteRandomly(&rng, 3000);
  const Contents contents = store_.Read();
  store_.KillWithoutOpening();
  int crashed = 0;
  for (const std::uint64_t nth : {1, 2, 3, 5}) {
    for (const CrashKind kind : {CrashKind::kKill, CrashKind::kPowerLoss}) {
      for (const EngineMethod method : {EngineMethod::kFlush, EngineMethod::kWrite}) {
        store_.memory().CrashDuringCall(method, method == EngineMethod::kWrite ? nth * 4 : nth, kind);
        budget_->ForceReserve(1ULL << 30);
        crashed += store_.TryOpen().ok() ? 0 : 1;
        budget_->Release(1ULL << 30);
        store_.KillWithoutOpening();
        for (int tries = 0; !store_.TryOpen().ok(); ++tries) ASSERT_LT(tries, 2) << "a fault that was not met, and no more";
        ASSERT_EQ(store_.Read(), contents) << "call " << nth;
        store_.KillWithoutOpening();
      }
    }
  }
  EXPECT_GT(crashed, 2);
}

TEST_P(MemoryCrash, ReplayThatAcceptsALossIsStoredInPartsInFrontOfIt) {
  std::mt19937_64 rng(TestSeed());
  store_.Open();
  WriteRandomly(&rng, 6000);
  const Contents contents = store_.Read();
  Lsn lsn = store_->Stats().shards[0].last_lsn;
  lsn -= lsn / 8;
  store_.KillWithoutOpening();
  while (!store_.memory().FlipBit(store_.path() + "/log", "wal.0", WalKey(lsn), 77).ok()) ASSERT_GT(--lsn, 0U);
  store_.options().accept_data_loss = true;
  budget_->ForceReserve(1ULL << 30);  // another user has it all
  store_.Open();
  budget_->Release(1ULL << 30);
  store_.options().accept_data_loss = false;
  const StorageStats stats = store_->Stats();
  EXPECT_GT(stats.replay_checkpoints, 2U);
  ASSERT_EQ(stats.losses.size(), 1U);
  ASSERT_EQ(stats.losses[0].lost.size(), 1U);
  EXPECT_EQ(stats.losses[0].lost[0].first, lsn);
  EXPECT_GT(stats.shards[0].applied_lsn, stats.losses[0].lost[0].last);
  const Contents found = store_.Read();
  std::size_t missing = 0;
  for (const auto& [labels, points] : contents) {
    const auto it = found.find(labels);
    for (const auto& [t, value] : points) missing += it == found.end() || !it->second.contains(t) ? 1 : 0;
  }
  EXPECT_GT(missing, 0U);
  EXPECT_LT(missing, contents.size() * 10);
  store_.Kill();
  EXPECT_EQ(store_.Read(), found);
}

TEST_P(MemoryCrash, WhatWasGivenUpInFrontOfWhatWasStoredIsToldAgainAfterACrash) {
  std::mt19937_64 rng(TestSeed());
  store_.options().shards = 1;
  store_.Open();
  WriteRandomly(&rng, 500);
  const Labels uncreated = {{"__name__", "uncreated"}};
  auto appender = store_->NewAppender();
  ASSERT_TRUE(appender->Ref(uncreated).ok());
  appender.reset();
  ASSERT_TRUE(store_->Flush().ok());
  const Lsn lost = store_->Stats().shards[0].last_lsn;
  store_.Write(uncreated, {{kT, 1}, {kT + 1, 2}, {kT + 2, 3}});
  WriteRandomly(&rng, 6000);
  Contents contents = store_.Read();
  ASSERT_EQ(contents.erase(uncreated.ToString()), 1U);
  store_.KillWithoutOpening();
  ASSERT_TRUE(store_.memory().FlipBit(store_.path() + "/log", "wal.0", WalKey(lost), 77).ok());

  const std::string unfinished = store_.path() + "/UNFINISHED";
  int stored_behind = 0;
  for (int crash = 0; crash < 4; ++crash) {
    store_.options().accept_data_loss = true;
    store_.memory().CrashDuringCall(EngineMethod::kFlush, 4, CrashKind::kKill);  // each time a little more is stored
    budget_->ForceReserve(1ULL << 30);                                           // another user has it all
    EXPECT_FALSE(store_.TryOpen().ok());
    budget_->Release(1ULL << 30);
    store_.KillWithoutOpening();
    stored_behind += std::filesystem::exists(unfinished) ? 1 : 0;
    store_.options().accept_data_loss = false;
    EXPECT_EQ(store_.TryOpen().code(), StatusCode::kDataLoss) << "it is given up when that is accepted again, not before";
  }
  EXPECT_GE(stored_behind, 3);
  store_.options().accept_data_loss = true;
  store_.Open();
  store_.options().accept_data_loss = false;
  const StorageStats stats = store_->Stats();
  ASSERT_EQ(stats.losses.size(), 1U);
  ASSERT_EQ(stats.losses[0].lost.size(), 1U);
  EXPECT_EQ(stats.losses[0].lost[0].first, lost);
  EXPECT_EQ(stats.losses[0].lost[0].last, lost);
  EXPECT_EQ(stats.losses[0].uncertain_from, 0U);
  EXPECT_EQ(stats.losses[0].dropped_samples, 3U);
  EXPECT_FALSE(std::filesystem::exists(unfinished));
  EXPECT_EQ(store_.Read(), contents);
  store_.Kill();
  EXPECT_TRUE(store_->Stats().losses.empty());
  EXPECT_EQ(store_.Read(), contents);
}

// It looks for holes only: what it replayed would go to where what is stored begins, and end earlier.
TEST_P(MemoryCrash, AnOpenThatRefusesWhatWasStoredBehindAHoleChangesNothingOfIt) {
  store_.options().shards = 1;
  int stored_behind = 0;
  for (const std::uint64_t nth : {2, 3, 4}) {
    SCOPED_TRACE(nth);
    std::mt19937_64 rng(TestSeed());
    store_.options().accept_data_loss = false;
    store_.Open();
    WriteRandomly(&rng, 4000);
    const Labels uncreated = {{"__name__", "uncreated"}, {"n", std::to_string(nth)}};
    auto appender = store_->NewAppender();
    ASSERT_TRUE(appender->Ref(uncreated).ok());
    appender.reset();
    ASSERT_TRUE(store_->Flush().ok());
    const Lsn lost = store_->Stats().shards[0].last_lsn;
    WriteRandomly(&rng, 1000);
    const Contents contents = store_.Read();
    store_.KillWithoutOpening();
    ASSERT_TRUE(store_.memory().FlipBit(store_.path() + "/log", "wal.0", WalKey(lost), 77).ok());

    store_.options().accept_data_loss = true;
    store_.memory().CrashDuringCall(EngineMethod::kFlush, nth, CrashKind::kKill);  // of the checkpoint at its end
    const bool died = !store_.TryOpen().ok();
    store_.KillWithoutOpening();
    store_.memory().ForgetFaults();
    stored_behind += died && std::filesystem::exists(store_.path() + "/UNFINISHED") ? 1 : 0;
    store_.options().accept_data_loss = false;
    budget_->ForceReserve(1ULL << 30);  // it would be stored in parts
    EXPECT_EQ(store_.TryOpen().ok(), !died);
    budget_->Release(1ULL << 30);
    store_.KillWithoutOpening();
    store_.options().accept_data_loss = true;
    store_.Open();
    EXPECT_EQ(store_.Read(), contents);
    store_.KillWithoutOpening();
  }
  EXPECT_GE(stored_behind, 1);
}

// The engine flushes as a whole: whoever meets the error need not be who it is about.
TEST_P(MemoryCrash, AFlushThatFailsWhileReplayIsStoredIsNoDamageOfTheShardThatMeetsIt) {
  std::mt19937_64 rng(TestSeed());
  store_.Open();
  WriteRandomly(&rng, 6000);
  const Contents contents = store_.Read();
  store_.KillWithoutOpening();
  for (const std::uint64_t nth : {1, 2}) {  // of the index, of the chunks
    store_.memory().FailCall(EngineMethod::kFlush, nth, DataLoss("injected"));
    budget_->ForceReserve(1ULL << 30);
    const Status status = store_.TryOpen();
    budget_->Release(1ULL << 30);
    EXPECT_EQ(status.code(), StatusCode::kDataLoss);
    EXPECT_THAT(status.message(), testing::HasSubstr("injected"));
  }
  store_.Open();
  for (const ShardStats& s : store_->Stats().shards) EXPECT_EQ(s.quarantine, "");
  EXPECT_EQ(store_.Read(), contents);
}

}  // namespace
}  // namespace chronolith
