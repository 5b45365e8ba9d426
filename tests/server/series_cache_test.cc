#include "server/series_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/hash.h"

namespace chronolith::server {
namespace {

SeriesCache::Key KeyOf(const std::string& bytes) { return {bytes, StableHash(bytes)}; }

std::uint64_t IdOf(SeriesCache* cache, const SeriesCache::Key& key, std::uint32_t now = 0) {
  std::vector<SeriesCache::Value> values;
  cache->Find({&key, 1}, now, &values);
  return values.at(0).ref.id;
}

TEST(SeriesCache, ComparesBytesWhereHashesAreEqual) {
  SeriesCache cache(1 << 20);
  const SeriesCache::Key a{"series a", 42}, b{"series b", 42}, c{"series", 42};
  cache.Insert(a, {{1}, 10}, 0);
  cache.Insert(b, {{2}, 20}, 0);
  EXPECT_EQ(IdOf(&cache, a), 1U);
  EXPECT_EQ(IdOf(&cache, b), 2U);
  EXPECT_EQ(IdOf(&cache, c), 0U);
  cache.Erase(a);
  EXPECT_EQ(IdOf(&cache, a), 0U);
  EXPECT_EQ(IdOf(&cache, b), 2U);
}

TEST(SeriesCache, IsAMapThroughInsertsAndErasures) {
  SeriesCache cache(64 << 20);
  std::unordered_map<std::string, std::uint64_t> model;
  std::mt19937_64 rng(7);
  for (int step = 0; step < 50'000; ++step) {
    const std::string key = "key " + std::to_string(rng() % 3000);
    // Few different hashes: long runs of slots, which erasing has to close.
    const SeriesCache::Key k{key, StableHash(key) & 0xf00000000000001fULL};
    if (rng() % 3 == 0) {
      cache.Erase(k);
      model.erase(key);
    } else {
      cache.Insert(k, {{rng() | 1}, 0}, 0);
      model[key] = IdOf(&cache, k);
    }
    if (step % 1000 == 0) {
      ASSERT_EQ(cache.size(), model.size());
      for (const auto& [bytes, id] : model) {
        ASSERT_EQ(IdOf(&cache, {bytes, StableHash(bytes) & 0xf00000000000001fULL}), id);
      }
    }
  }
}

TEST(SeriesCache, KeepsWhatIsInUseWhenItIsFull) {
  SeriesCache cache(1 << 20);
  std::vector<std::string> keys;
  for (int i = 0; i < 20'000; ++i) keys.push_back(std::string(100, 'x') + std::to_string(i));
  for (const std::string& key : keys) cache.Insert(KeyOf(key), {{1}, 0}, 0);
  EXPECT_LE(cache.bytes(), 1U << 20);
  const std::uint64_t held = cache.size();
  EXPECT_GT(held, 2000U);
  EXPECT_LT(held, 10'000U);
  std::vector<std::string> in;
  for (const std::string& key : keys) {
    if (IdOf(&cache, KeyOf(key), 1) != 0) in.push_back(key);
  }
  ASSERT_EQ(in.size(), held);
  for (const std::string& key : keys) cache.Insert(KeyOf(key + "new"), {{2}, 0}, 2);  // all were used a minute ago
  for (const std::string& key : in) EXPECT_EQ(IdOf(&cache, KeyOf(key), 2), 1U);
  for (int round = 0; round < 40; ++round) {
    for (const std::string& key : keys) cache.Insert(KeyOf(key + "new"), {{2}, 0}, 60);  // an hour later they make room
  }
  std::uint64_t news = 0;
  for (const std::string& key : keys) news += IdOf(&cache, KeyOf(key + "new"), 60) == 2 ? 1 : 0;
  EXPECT_GT(news, held / 2);
  EXPECT_LE(cache.bytes(), 1U << 20);
}

TEST(SeriesCache, IsReadAndWrittenAtOnce) {
  SeriesCache cache(8 << 20);
  std::atomic<bool> stop{false};
  std::vector<std::string> keys;
  for (int i = 0; i < 2000; ++i) keys.push_back("k" + std::to_string(i));
  std::thread writer([&] {
    std::mt19937_64 rng(1);
    while (!stop.load()) {
      const std::size_t i = rng() % keys.size();
      if (rng() % 4 == 0) {
        cache.Erase(KeyOf(keys[i]));
      } else {
        cache.Insert(KeyOf(keys[i]), {{i + 1}, 0}, 0);
      }
    }
  });
  std::vector<SeriesCache::Key> all;
  for (const std::string& key : keys) all.push_back(KeyOf(key));
  std::vector<SeriesCache::Value> values;
  for (int round = 0; round < 300; ++round) {
    cache.Find(all, 0, &values);
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_TRUE(values[i].ref.id == 0 || values[i].ref.id == i + 1);
  }
  stop.store(true);
  writer.join();
}

}  // namespace
}  // namespace chronolith::server
