#include "index/postings_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "format/series_id.h"

namespace chronolith {
namespace {

using Kind = PostingsKey::Kind;

SharedPostings SetOf(Ordinal first, Ordinal count) {
  OrdinalSet set;
  for (Ordinal i = 0; i < count; ++i) set.Add(first + i * 3);
  return MakePostings(std::move(set));
}

TEST(PostingsCache, ServesWhatWasPutByKeyAndClient) {
  PostingsCache cache(1 << 20);
  CacheClient a(&cache);
  CacheClient b(&cache);
  a.Put({Kind::kPair, "n", "v"}, a.stamp(), SetOf(1, 3));
  EXPECT_NE(a.Get({Kind::kPair, "n", "v"}), nullptr);
  EXPECT_EQ(b.Get({Kind::kPair, "n", "v"}), nullptr);
  EXPECT_EQ(a.Get({Kind::kMatcher, "n", "v"}), nullptr);
  EXPECT_EQ(a.Get({Kind::kPair, "nv", ""}), nullptr);
  EXPECT_EQ(a.hits(), 1u);
  EXPECT_EQ(a.misses(), 2u);
  EXPECT_EQ(b.misses(), 1u);
  a.Put({Kind::kPair, "n", "v"}, a.stamp(), SetOf(5, 1));
  EXPECT_EQ(a.Get({Kind::kPair, "n", "v"})->set().ToVector(), std::vector<Ordinal>{5});
}

TEST(PostingsCache, StaysWithinItsBytesAndDropsTheLeastRecentlyUsed) {
  PostingsCache cache(256 << 10);
  CacheClient client(&cache);
  client.Put({Kind::kPair, "kept", "v"}, client.stamp(), SetOf(0, 10));
  for (int i = 0; i < 5000; ++i) {
    client.Put({Kind::kPair, "n", std::to_string(i)}, client.stamp(), SetOf(static_cast<Ordinal>(i), 50));
    ASSERT_NE(client.Get({Kind::kPair, "kept", "v"}), nullptr) << i;
    ASSERT_LE(cache.bytes(), cache.bytes_max());
  }
  EXPECT_EQ(cache.bytes(), client.bytes());
  EXPECT_GT(cache.bytes(), cache.bytes_max() / 2);
  EXPECT_EQ(client.Get({Kind::kPair, "n", "0"}), nullptr);
}

TEST(PostingsCache, RefusesWhatWouldPushOutTooMuch) {
  PostingsCache cache(64 << 10);
  CacheClient client(&cache);
  client.Put({Kind::kPair, "n", "v"}, client.stamp(), SetOf(0, 5000));
  EXPECT_EQ(client.Get({Kind::kPair, "n", "v"}), nullptr);
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST(PostingsCache, AFillThatRacedWithAnInvalidationIsRefused) {
  PostingsCache cache(1 << 20);
  CacheClient client(&cache);
  const std::uint64_t before = client.stamp();
  client.BeginStamp();
  client.Invalidate({Kind::kPair, "n", "v"});
  client.Put({Kind::kPair, "n", "v"}, before, SetOf(0, 1));
  EXPECT_EQ(client.Get({Kind::kPair, "n", "v"}), nullptr);
  // A new stamp leaves other pairs alone, and ends the unions.
  client.Put({Kind::kPair, "n", "w"}, client.stamp(), SetOf(0, 1));
  client.Put({Kind::kMatcher, "n", "w"}, client.stamp(), SetOf(0, 1));
  client.BeginStamp();
  EXPECT_NE(client.Get({Kind::kPair, "n", "w"}), nullptr);
  EXPECT_EQ(client.Get({Kind::kMatcher, "n", "w"}), nullptr);
}

TEST(PostingsCache, AClientTakesItsEntriesWithIt) {
  PostingsCache cache(1 << 20);
  CacheClient stays(&cache);
  stays.Put({Kind::kPair, "n", "v"}, stays.stamp(), SetOf(0, 1));
  const std::uint64_t before = cache.bytes();
  {
    CacheClient goes(&cache);
    for (int i = 0; i < 100; ++i) goes.Put({Kind::kPair, "n", std::to_string(i)}, goes.stamp(), SetOf(0, 1));
    EXPECT_GT(cache.bytes(), before);
  }
  EXPECT_EQ(cache.bytes(), before);
  EXPECT_NE(stays.Get({Kind::kPair, "n", "v"}), nullptr);
}

TEST(PostingsCache, WithoutACacheEverythingMisses) {
  CacheClient client(nullptr);
  client.Put({Kind::kPair, "n", "v"}, client.stamp(), SetOf(0, 1));
  client.Invalidate({Kind::kPair, "n", "v"});
  EXPECT_EQ(client.Get({Kind::kPair, "n", "v"}), nullptr);
  EXPECT_EQ(client.misses(), 1u);
}

// Readers fill from "rows" (a counter that a writer raises and then invalidates); no reader that starts after an invalidation may
// be served an older value.
TEST(PostingsCache, NeverServesAnOldValueWhileFillsAndInvalidationsRace) {
  PostingsCache cache(64 << 10);
  CacheClient client(&cache);
  std::atomic<std::uint32_t> rows{0};     // what a read of the rows gives
  std::atomic<std::uint32_t> settled{0};  // everything below was invalidated
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> stale{0};
  std::atomic<std::uint64_t> served{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      std::uint64_t n = 0;
      while (!stop.load()) {
        const std::string text = std::to_string((n++ + static_cast<std::uint64_t>(t)) % 4);
        const PostingsKey key{Kind::kPair, "n", text};
        const std::uint32_t least = settled.load();
        const std::uint64_t stamp = client.stamp();
        if (const SharedPostings cached = client.Get(key); cached != nullptr) {
          served.fetch_add(1);
          if (cached->set().ToVector()[0] < least) stale.fetch_add(1);
        } else {
          client.Put(key, stamp, SetOf(rows.load(), 1));
        }
      }
    });
  }
  for (std::uint32_t round = 1; round <= 3000; ++round) {
    rows.store(round);
    client.BeginStamp();
    for (int k = 0; k < 4; ++k) client.Invalidate({Kind::kPair, "n", std::to_string(k)});
    settled.store(round);
    if (round % 16 == 0) std::this_thread::yield();
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(stale.load(), 0u);
}

}  // namespace
}  // namespace chronolith
