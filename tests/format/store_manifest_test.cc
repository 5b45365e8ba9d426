#include "format/store_manifest.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "base/checksum.h"
#include "base/coding.h"
#include "partition/partition_map.h"
#include "tests/format/hex.h"

namespace chronolith {
namespace {

StoreManifest Example() {
  StoreManifest m;
  for (std::size_t i = 0; i < m.uuid.size(); ++i) m.uuid[i] = static_cast<char>(i * 17);
  m.incarnation = 3;
  m.parent = 1;
  m.complete = true;
  m.shards = 16;
  m.window_ms = 7'200'000;
  m.engine = "rocksdb";
  m.log_path = "/fast/log";
  m.partition_map = "map";
  return m;
}

// The manifest's bytes with fields that no manifest has, under a right checksum.
std::string Forged(std::uint64_t shards, std::uint64_t window_ms, std::string_view behind = {}, char flags = 0) {
  std::string bytes(1, '\2');
  bytes.append(16, 'u');
  PutVarint(&bytes, 1);
  PutVarint(&bytes, 0);
  bytes.push_back(flags);
  PutVarint(&bytes, shards);
  PutVarint(&bytes, window_ms);
  for (const std::string_view field : {"memory", "", "map"}) PutBytes(&bytes, field);
  bytes.append(behind);
  PutFixed32(&bytes, Crc32c(bytes));
  return bytes;
}

TEST(StoreManifest, ComesBackFromItsBytes) {
  StoreManifest extreme = Example();
  extreme.incarnation = std::numeric_limits<std::uint64_t>::max();
  extreme.parent = std::numeric_limits<std::uint64_t>::max();
  extreme.shards = 31;
  extreme.window_ms = std::numeric_limits<std::int64_t>::max();
  extreme.engine = std::string(300, 'e');
  extreme.log_path = std::string("\0\xff", 2);
  extreme.partition_map = PartitionMap::Uniform(31).Encode();
  StoreManifest small;
  small.shards = 1;
  small.window_ms = 1;
  for (const StoreManifest& m : {Example(), extreme, small}) {
    const Result<StoreManifest> again = DecodeManifest(EncodeManifest(m));
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    EXPECT_EQ(*again, m);
  }
}

TEST(StoreManifest, Format2HasTheseBytes) {
  EXPECT_EQ(Hex(EncodeManifest(Example())),
            "02"                                // format
            "00112233445566778899aabbccddeeff"  // uuid
            "03"
            "01"
            "01"
            "10"
            "80bab703"              // incarnation, parent, flags, shards, window
            "07726f636b736462"      // engine
            "092f666173742f6c6f67"  // log path
            "036d6170"              // partition map
            "25887983");
  EXPECT_EQ(Example().UuidHex(), "00112233445566778899aabbccddeeff");
}

TEST(StoreManifest, Format1IsReadStill) {
  std::string bytes;
  for (const std::string_view part : {"01", "00112233445566778899aabbccddeeff", "031080bab703", "07726f636b736462",
                                      "092f666173742f6c6f67", "036d6170", "1a93a7e9"}) {
    for (std::size_t i = 0; i < part.size(); i += 2) {
      bytes.push_back(static_cast<char>(std::stoi(std::string(part.substr(i, 2)), nullptr, 16)));
    }
  }
  const Result<StoreManifest> m = DecodeManifest(bytes);
  ASSERT_TRUE(m.ok()) << m.status().ToString();
  StoreManifest expected = Example();
  expected.parent = 0;
  expected.complete = false;
  EXPECT_EQ(*m, expected);
}

TEST(StoreManifest, EveryFlippedBitAndEveryCutIsAnError) {
  const std::string bytes = EncodeManifest(Example());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const Result<StoreManifest> m = DecodeManifest(damaged);
    ASSERT_FALSE(m.ok()) << bit;
    // The version stands before everything else: a build does not know where a newer one has its checksum.
    EXPECT_EQ(m.status().code(), bit < 8 ? StatusCode::kFailedPrecondition : StatusCode::kDataLoss) << bit;
  }
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) ASSERT_FALSE(DecodeManifest(bytes.substr(0, cut)).ok()) << cut;
  EXPECT_FALSE(DecodeManifest(bytes + '\0').ok());
}

TEST(StoreManifest, ANewerFormatIsNamed) {
  std::string bytes = EncodeManifest(Example());
  bytes[0] = 9;
  const Status status = DecodeManifest(bytes).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find('9'), std::string::npos) << status.message();
}

TEST(StoreManifest, MalformedOnesAreRefusedThoughTheirChecksumIsRight) {
  ASSERT_TRUE(DecodeManifest(Forged(1, 1)).ok());
  const struct {
    const char* what;
    std::string bytes;
  } rows[] = {
      {"no shards", Forged(0, 1)},
      {"32 shards", Forged(32, 1)},
      {"2^32 + 1 shards", Forged((1ULL << 32) + 1, 1)},
      {"a window of 0", Forged(1, 0)},
      {"a negative window", Forged(1, 1ULL << 63)},
      {"bytes behind", Forged(1, 1, "x")},
      {"an unknown flag", Forged(1, 1, {}, 2)},
  };
  for (const auto& row : rows) {
    const Result<StoreManifest> m = DecodeManifest(row.bytes);
    ASSERT_FALSE(m.ok()) << row.what;
    EXPECT_EQ(m.status().code(), StatusCode::kDataLoss) << row.what;
  }
}

}  // namespace
}  // namespace chronolith
