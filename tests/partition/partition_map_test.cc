#include "partition/partition_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"
#include "base/hash.h"
#include "chronolith/labels.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kMaxHash = std::numeric_limits<std::uint64_t>::max();

std::uint32_t ByScan(const PartitionMap& map, std::uint64_t hash) {
  std::uint32_t shard = 0;
  for (const PartitionMap::Range& range : map.ranges()) {
    if (range.first <= hash) shard = range.shard;
  }
  return shard;
}

std::string Sealed(std::string bytes) {
  PutFixed32(&bytes, Crc32c(bytes));
  return bytes;
}

// Format, version, then (first, shard) pairs.
std::string Map(std::uint8_t format, std::uint64_t n, std::initializer_list<std::pair<std::uint64_t, std::uint64_t>> ranges) {
  std::string bytes(1, static_cast<char>(format));
  PutVarint(&bytes, 1);
  PutVarint(&bytes, n);
  for (const auto& [first, shard] : ranges) {
    PutFixed64(&bytes, first);
    PutVarint(&bytes, shard);
  }
  return bytes;
}

TEST(PartitionMap, UniformCoversEveryHashWithEqualRanges) {
  std::mt19937_64 random(TestSeed());
  for (std::uint32_t shards = 1; shards <= 31; ++shards) {
    const PartitionMap map = PartitionMap::Uniform(shards);
    ASSERT_EQ(map.ranges().size(), shards);
    EXPECT_EQ(map.ShardFor(0), 0U);
    EXPECT_EQ(map.ShardFor(kMaxHash), shards - 1);
    std::uint64_t least = kMaxHash;
    std::uint64_t most = 0;
    for (std::uint32_t i = 0; i < shards; ++i) {
      const std::uint64_t first = map.ranges()[i].first;
      const std::uint64_t last = i + 1 < shards ? map.ranges()[i + 1].first - 1 : kMaxHash;
      EXPECT_EQ(map.ShardFor(first), i);
      EXPECT_EQ(map.ShardFor(last), i);
      least = std::min(least, last - first);
      most = std::max(most, last - first);
    }
    EXPECT_LE(most - least, 1U) << shards;
    for (int i = 0; i < 200; ++i) {
      const std::uint64_t hash = random();
      ASSERT_EQ(map.ShardFor(hash), ByScan(map, hash)) << hash;
    }
  }
}

TEST(PartitionMap, BalancesTheHashesOfRealLabels) {
  const PartitionMap map = PartitionMap::Uniform(16);
  std::vector<int> series(16);
  for (int i = 0; i < 16000; ++i) {
    const Labels labels({{"__name__", "http_requests_total"},
                         {"instance", "host-" + std::to_string(i % 100) + ":9100"},
                         {"path", "/api/" + std::to_string(i / 100)}});
    ++series[map.ShardFor(StableHash(labels.encoded()))];
  }
  for (const int n : series) EXPECT_NEAR(n, 1000, 160);  // five standard deviations; the hash is pinned, so this cannot flicker
}

TEST(PartitionMap, ComesBackFromItsBytes) {
  for (const std::uint32_t shards : {1U, 2U, 3U, 16U, 31U}) {
    const PartitionMap map = PartitionMap::Uniform(shards);
    const Result<PartitionMap> again = PartitionMap::Decode(map.Encode());
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    EXPECT_EQ(again->version(), map.version());
    EXPECT_EQ(again->Encode(), map.Encode());
  }
}

TEST(PartitionMap, ReadsRangesOfAnySizeAndOwner) {
  const Result<PartitionMap> map = PartitionMap::Decode(Sealed(Map(1, 4, {{0, 7}, {1, 30}, {100, 7}, {kMaxHash, 0}})));
  ASSERT_TRUE(map.ok()) << map.status().ToString();
  EXPECT_EQ(map->ShardFor(0), 7U);
  EXPECT_EQ(map->ShardFor(1), 30U);
  EXPECT_EQ(map->ShardFor(99), 30U);
  EXPECT_EQ(map->ShardFor(100), 7U);
  EXPECT_EQ(map->ShardFor(kMaxHash - 1), 7U);
  EXPECT_EQ(map->ShardFor(kMaxHash), 0U);
}

TEST(PartitionMap, Format1HasTheseBytes) {
  const std::string expected(
      "\x01\x01\x02"
      "\0\0\0\0\0\0\0\0"
      "\0"
      "\0\0\0\0\0\0\0\x80"
      "\x01",
      21);
  EXPECT_EQ(PartitionMap::Uniform(2).Encode(), Sealed(expected));
}

TEST(PartitionMap, EveryFlippedBitAndEveryCutIsAnError) {
  const std::string bytes = PartitionMap::Uniform(3).Encode();
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const Result<PartitionMap> map = PartitionMap::Decode(damaged);
    ASSERT_FALSE(map.ok()) << bit;
    EXPECT_EQ(map.status().code(), StatusCode::kDataLoss) << bit;
  }
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) ASSERT_FALSE(PartitionMap::Decode(bytes.substr(0, cut)).ok()) << cut;
  EXPECT_FALSE(PartitionMap::Decode(bytes + '\0').ok());
}

TEST(PartitionMap, MalformedMapsAreRefusedThoughTheirChecksumIsRight) {
  const struct {
    const char* what;
    std::string bytes;
    StatusCode code;
  } rows[] = {
      {"newer format", Map(2, 1, {{0, 0}}), StatusCode::kFailedPrecondition},
      {"format 0", Map(0, 1, {{0, 0}}), StatusCode::kFailedPrecondition},
      {"no ranges", Map(1, 0, {}), StatusCode::kDataLoss},
      {"first range does not begin at 0", Map(1, 1, {{1, 0}}), StatusCode::kDataLoss},
      {"equal ranges", Map(1, 3, {{0, 0}, {5, 1}, {5, 2}}), StatusCode::kDataLoss},
      {"descending ranges", Map(1, 3, {{0, 0}, {6, 1}, {5, 2}}), StatusCode::kDataLoss},
      {"a shard past 30", Map(1, 1, {{0, 31}}), StatusCode::kDataLoss},
      {"a shard past 2^32", Map(1, 1, {{0, 1ULL << 32}}), StatusCode::kDataLoss},
      {"fewer ranges than announced", Map(1, 2, {{0, 0}}), StatusCode::kDataLoss},
      {"more ranges than announced", Map(1, 1, {{0, 0}, {5, 1}}), StatusCode::kDataLoss},
      {"2^64 - 1 ranges", Map(1, kMaxHash, {{0, 0}}), StatusCode::kDataLoss},
  };
  for (const auto& row : rows) {
    const Result<PartitionMap> map = PartitionMap::Decode(Sealed(row.bytes));
    ASSERT_FALSE(map.ok()) << row.what;
    EXPECT_EQ(map.status().code(), row.code) << row.what << ": " << map.status().ToString();
  }
}

}  // namespace
}  // namespace chronolith
