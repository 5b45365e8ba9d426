// Appends, checkpoints, reads and the release of idle series at once: a reader sees every sample that was appended before it came.
// Meant for the thread sanitizer as much as for its assertions.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/contract/seed.h"
#include "tests/head/head_harness.h"

namespace chronolith {
namespace {

constexpr int kWriters = 2;
constexpr Ordinal kSeries = 8;  // those of writer w: w, w + 2, ...
constexpr int kSamples = 4000;  // a writer

using ChunkKey = std::tuple<Timestamp, Ordinal, Lsn, std::uint32_t, ChunkType>;

ChunkKey Key(const ChunkMeta& m) { return {m.window, m.ordinal, m.creation_lsn, m.sequence, m.type}; }

class World {
 public:
  World() : head_({.epoch = 1, .window_ms = 500, .max_samples_per_chunk = 60}) {
    MeasuredLock lock(&head_.mu());
    head_.EnsureOrdinals(kSeries);
  }

  // The i-th sample of each of its series is at time i; each tenth comes late, each hundredth is a histogram.
  void Write(int writer, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < kSamples; ++i) {
      const auto ordinal = static_cast<Ordinal>(writer + kWriters * static_cast<int>(random() % (kSeries / kWriters)));
      const int n = appended_[ordinal].load(std::memory_order_relaxed);
      MeasuredLock lock(&head_.mu());
      const Lsn lsn = ++lsn_;
      if (n % 100 == 99) {
        FloatHistogram h;
        h.sum = n;
        head_.AppendHistogram(ordinal, {n, h}, lsn);
      } else if (n % 10 == 4) {  // the next one first
        const SampleEntry samples[] = {{ordinal, 0, n + 1, n + 1.0}, {ordinal, 0, n, n + 0.0}};
        head_.Append(samples, lsn);
        appended_[ordinal].store(n + 2, std::memory_order_release);
        continue;
      } else {
        const SampleEntry sample{ordinal, 0, n, n + 0.0};
        head_.Append({&sample, 1}, lsn);
      }
      if (n % 50 == 0) head_.AppendExemplar(ordinal, {Labels({{"n", std::to_string(n)}}), 1, n}, lsn);
      appended_[ordinal].store(n + 1, std::memory_order_release);
    }
  }

  void Checkpoint(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    {
      MeasuredLock lock(&head_.mu());
      head_.BeginCheckpoint(std::uint64_t{1} << 32);
    }
    CheckpointSlice slice;
    while (head_.TakeSlice(1 + random() % 2000, &slice)) {
      MutexLock lock(&stored_mu_);
      for (const ChunkSlice& chunk : slice.chunks) stored_[Key(chunk.meta)] = {chunk.meta, std::string(chunk.data)};
    }
    if (random() % 4 == 0) {
      head_.AbortCheckpoint();
    } else {
      head_.FinishCheckpoint();
      if (random() % 2 == 0) (void)head_.ReleaseIdle(static_cast<Timestamp>(random() % 1000));
    }
  }

  // Reads one series: head first, then the store, so that nothing is missed that moves from one to the other.
  void Read(Ordinal ordinal) {
    const int least = appended_[ordinal].load(std::memory_order_acquire);
    std::vector<std::vector<Chunk>> from_head;
    head_.Collect({&ordinal, 1}, {}, ChunkType::kXor, ChunkType::kHistogram, &from_head);
    std::map<ChunkKey, Chunk> chunks;
    {
      MutexLock lock(&stored_mu_);
      for (auto it = stored_.begin(); it != stored_.end(); ++it) {
        if (it->second.meta.ordinal == ordinal && it->second.meta.type != ChunkType::kExemplar) chunks.insert(*it);
      }
    }
    for (Chunk& chunk : from_head[0]) {
      // The head's copy may be older by now than what a checkpoint has stored since.
      auto [it, is_new] = chunks.try_emplace(Key(chunk.meta), chunk);
      if (!is_new && it->second.meta.samples < chunk.meta.samples) it->second = std::move(chunk);
    }
    std::vector<bool> seen(static_cast<std::size_t>(kSamples) * 2 + 2);
    for (const auto& [key, chunk] : chunks) {
      for (const auto& [t, value] : DecodeChunk(chunk).samples) seen[static_cast<std::size_t>(t)] = true;
    }
    for (int t = 0; t < least; ++t)
      ASSERT_TRUE(seen[static_cast<std::size_t>(t)]) << "series " << ordinal << " lacks " << t << " of " << least;
    OrdinalSet with_data;
    head_.OrdinalsWithData({}, &with_data);
    (void)head_.memory_bytes();
    ShardStats stats;
    head_.FillStats(&stats);
  }

 private:
  HeadShard head_;
  Lsn lsn_ = 0;  // under the append lock
  std::array<std::atomic<int>, kSeries> appended_{};
  Mutex stored_mu_;
  std::map<ChunkKey, Chunk> stored_ ABSL_GUARDED_BY(stored_mu_);
};

TEST(HeadConcurrency, ReadersMissNothingBesideWritersAndCheckpoints) {
  std::mt19937_64 random(TestSeed());
  World world;
  std::atomic<int> writing{kWriters};
  std::vector<std::thread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w, seed = random()] {
      world.Write(w, seed);
      --writing;
    });
  }
  threads.emplace_back([&, seed = random()] {
    std::mt19937_64 mine(seed);
    while (writing > 0) world.Checkpoint(mine());
  });
  while (writing > 0 && !HasFailure()) world.Read(static_cast<Ordinal>(random() % kSeries));
  for (std::thread& thread : threads) thread.join();
  world.Checkpoint(random());
  for (Ordinal ordinal = 0; ordinal < kSeries; ++ordinal) world.Read(ordinal);
}

}  // namespace
}  // namespace chronolith
