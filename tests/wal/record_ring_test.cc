#include "wal/record_ring.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/coding.h"
#include "base/mutex.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

std::string Take(RecordRing* ring) {
  const std::uint64_t tail = ring->Tail();
  std::string scratch;
  std::string bytes(ring->View(ring->Head(), tail, &scratch));
  ring->Consume(tail);
  return bytes;
}

TEST(RecordRing, GivesExactlyItsCapacity) {
  RecordRing ring(64);
  EXPECT_TRUE(ring.Reserve(60));
  EXPECT_FALSE(ring.Reserve(5));
  EXPECT_TRUE(ring.Reserve(4));
  EXPECT_FALSE(ring.Reserve(1));
  EXPECT_EQ(ring.QueuedBytes(), 0U) << "what is only reserved is not queued";
  ring.Unreserve(4);
  EXPECT_TRUE(ring.Reserve(3));
  EXPECT_FALSE(ring.Reserve(65)) << "more than the ring holds, ever";
}

TEST(RecordRing, RoomComesBackOnlyByConsuming) {
  RecordRing ring(64);
  ASSERT_TRUE(ring.Reserve(64));
  ring.Publish(std::string(64, 'x'));
  EXPECT_FALSE(ring.Reserve(1));
  std::string scratch;
  EXPECT_EQ(ring.View(ring.Head(), ring.Tail(), &scratch), std::string(64, 'x'));
  EXPECT_FALSE(ring.Reserve(1)) << "viewed is not consumed";
  ring.Consume(10);
  EXPECT_TRUE(ring.Reserve(10));
  EXPECT_FALSE(ring.Reserve(1));
}

TEST(RecordRing, WrapsAtEveryOffset) {
  std::mt19937_64 random(TestSeed());
  RecordRing ring(64);
  std::deque<char> queued;
  std::uint8_t next = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes(random() % 65, '\0');
    for (char& c : bytes) c = static_cast<char>(next++);
    const bool fits = queued.size() + bytes.size() <= 64;
    ASSERT_EQ(ring.Reserve(bytes.size()).has_value(), fits);
    if (fits) {
      ring.Publish(bytes);
      queued.insert(queued.end(), bytes.begin(), bytes.end());
    } else {
      next = static_cast<std::uint8_t>(next - bytes.size());
    }
    ASSERT_EQ(ring.QueuedBytes(), queued.size());
    const std::uint64_t n = random() % (queued.size() + 1);
    std::string scratch;
    const std::string copied(ring.View(ring.Head(), ring.Head() + n, &scratch));
    ASSERT_EQ(copied, std::string(queued.begin(), queued.begin() + static_cast<std::ptrdiff_t>(n)));
    if (n >= 2) {
      ASSERT_EQ(ring.Load16(ring.Head()), LoadFixed<std::uint16_t>(copied.data()));
    }
    ring.Consume(ring.Head() + n);
    queued.erase(queued.begin(), queued.begin() + static_cast<std::ptrdiff_t>(n));
  }
  EXPECT_GT(ring.Tail(), 64U * 100);
}

// Many writers reserve at once and publish under a lock; one consumer. Nothing is lost, torn, overwritten or out of a writer's
// order.
TEST(RecordRing, CarriesEveryRecordOfManyWritersInTheirOrder) {
  constexpr int kWriters = 3;
  constexpr int kRecords = 4000;
  RecordRing ring(256);
  Mutex append_lock;
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kRecords; ++i) {
        std::string record(8 + static_cast<std::size_t>(i % 40), static_cast<char>(w));
        StoreFixed(record.data(), static_cast<std::uint16_t>(record.size() - 2));
        StoreFixed(record.data() + 2, static_cast<std::uint16_t>(w));
        StoreFixed(record.data() + 4, static_cast<std::uint32_t>(i));
        while (!ring.Reserve(record.size())) std::this_thread::yield();
        if (i % 7 == 0) {  // reserved and not used
          ring.Unreserve(record.size());
          while (!ring.Reserve(record.size())) std::this_thread::yield();
        }
        MutexLock lock(&append_lock);
        ring.Publish(record);
      }
    });
  }
  std::vector<std::uint32_t> next(kWriters, 0);
  std::string bytes;
  for (int left = kWriters * kRecords; left > 0;) {
    bytes = Take(&ring);
    if (bytes.empty()) std::this_thread::yield();
    for (std::size_t at = 0; at < bytes.size(); --left) {
      const std::size_t size = LoadFixed<std::uint16_t>(bytes.data() + at) + std::size_t{2};
      const auto w = LoadFixed<std::uint16_t>(bytes.data() + at + 2);
      ASSERT_LT(w, kWriters);
      ASSERT_EQ(LoadFixed<std::uint32_t>(bytes.data() + at + 4), next[w]++);
      ASSERT_EQ(bytes.substr(at + 8, size - 8), std::string(size - 8, static_cast<char>(w)));
      at += size;
    }
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(ring.QueuedBytes(), 0U);
}

}  // namespace
}  // namespace chronolith
