#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"
#include "format/wal_record.h"
#include "tests/contract/seed.h"
#include "tests/format/hex.h"

namespace chronolith {
namespace {

struct Row {
  ShardId shard = 3;
  std::string key;
  std::string value;
};

WalRowHeader ExampleHeader() {
  return {.first_lsn = 1000, .epoch = 2, .group = 300, .synced_group = 299, .write_time_ms = 1'700'000'000'000, .records = 2};
}

Row Encode(const WalRowHeader& header, std::string_view payload, bool compress, bool* compressed = nullptr) {
  Row row;
  row.key = WalKey(header.first_lsn);
  WalRowEncoder encoder;
  const bool stored = encoder.Append(row.shard, header, payload, compress, &row.value);
  if (compressed != nullptr) *compressed = stored;
  return row;
}

Status Decode(const Row& row, std::string* payload = nullptr) {
  const std::vector<char> exact(row.value.begin(), row.value.end());
  WalRowHeader header;
  std::string_view view;
  std::string scratch;
  Status status = DecodeWalRow(row.shard, row.key, {exact.data(), exact.size()}, &header, &view, &scratch);
  if (status.ok() && payload != nullptr) payload->assign(view);
  return status;
}

// A row whose checksum is right, whatever is in it.
Row Sealed(std::string covered) {
  Row row;
  row.key = WalKey(5);
  char shard[4];
  StoreFixed(shard, row.shard);
  PutFixed32(&covered, Crc32c(covered, Crc32c(row.key, Crc32c({shard, 4}))));
  row.value = std::move(covered);
  return row;
}

std::string Head(int version, int flags, std::uint64_t raw_bytes) {
  std::string s{static_cast<char>(version), static_cast<char>(flags)};
  for (const std::uint64_t v : {1ULL, 1ULL, 0ULL}) PutVarint(&s, v);
  PutZigZag(&s, 0);
  PutVarint(&s, 1);
  PutVarint(&s, raw_bytes);
  return s;
}

TEST(WalRow, ComesBackWithItsHeader) {
  std::mt19937_64 random(TestSeed());
  const std::vector<WalRowHeader> headers = {
      ExampleHeader(),
      {},
      {.first_lsn = std::numeric_limits<Lsn>::max(),
       .epoch = std::numeric_limits<std::uint64_t>::max(),
       .group = std::numeric_limits<std::uint64_t>::max(),
       .synced_group = std::numeric_limits<std::uint64_t>::max(),
       .write_time_ms = std::numeric_limits<std::int64_t>::min(),
       .records = std::numeric_limits<std::uint64_t>::max()},
  };
  std::string noise(5000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  for (const WalRowHeader& header : headers) {
    for (const std::string& payload : {std::string(), std::string("x"), std::string(60000, 'y'), noise}) {
      for (const bool compress : {false, true}) {
        bool compressed = false;
        const Row row = Encode(header, payload, compress, &compressed);
        EXPECT_EQ(compressed, compress && payload.size() == 60000) << payload.size();
        WalRowHeader again;
        std::string_view view;
        std::string scratch;
        const Status status = DecodeWalRow(row.shard, row.key, row.value, &again, &view, &scratch);
        ASSERT_TRUE(status.ok()) << status.ToString();
        EXPECT_EQ(view, payload);
        EXPECT_EQ(again.first_lsn, header.first_lsn);
        EXPECT_EQ(again.epoch, header.epoch);
        EXPECT_EQ(again.group, header.group);
        EXPECT_EQ(again.synced_group, header.synced_group);
        EXPECT_EQ(again.write_time_ms, header.write_time_ms);
        EXPECT_EQ(again.records, header.records);
      }
    }
  }
}

TEST(WalRow, IsAppendedToWhatIsThere) {
  WalRowEncoder encoder;
  std::string out = "before";
  encoder.Append(3, ExampleHeader(), "payload", false, &out);
  EXPECT_EQ(out.substr(0, 6), "before");
  EXPECT_EQ(out.substr(6), Encode(ExampleHeader(), "payload", false).value);
}

TEST(WalRow, Version1HasTheseBytes) {
  EXPECT_EQ(Hex(Encode(ExampleHeader(), "payload", false).value), "010002ac02ab0280a0abfef96202077061796c6f6164c3ae5df3");
  EXPECT_EQ(Hex(Encode(ExampleHeader(), std::string(100, 'a'), true).value),
            "010102ac02ab0280a0abfef96202641f6101004b506161616161c60e0b5f");
  EXPECT_EQ(Hex(EncodeWalState(3, 300)), "01ac029d1f05b3");
}

TEST(WalRow, EveryFlippedBitAndEveryCutIsAnError) {
  for (const bool compress : {false, true}) {
    bool compressed = false;
    const Row row = Encode(ExampleHeader(), std::string(200, 'a') + "and what else a row may hold", compress, &compressed);
    ASSERT_EQ(compressed, compress);
    ASSERT_TRUE(Decode(row).ok());
    for (std::size_t bit = 0; bit < row.value.size() * 8; ++bit) {
      Row damaged = row;
      damaged.value[bit / 8] = static_cast<char>(damaged.value[bit / 8] ^ (1 << (bit % 8)));
      const Status status = Decode(damaged);
      ASSERT_EQ(status.code(), StatusCode::kDataLoss) << bit << ": " << status.ToString();
      ASSERT_NE(status.message().find("shard 3 at LSN 1000"), std::string::npos) << status.ToString();
    }
    for (std::size_t cut = 0; cut < row.value.size(); ++cut) {
      ASSERT_EQ(Decode({row.shard, row.key, row.value.substr(0, cut)}).code(), StatusCode::kDataLoss) << cut;
    }
    EXPECT_EQ(Decode({row.shard, row.key, row.value + '\0'}).code(), StatusCode::kDataLoss);
  }
}

TEST(WalRow, StraysOfAnotherShardOrKeyAreNoticed) {
  const Row row = Encode(ExampleHeader(), "payload", false);
  ASSERT_TRUE(Decode(row).ok());
  for (const ShardId shard : {0U, 2U, 4U, 0x03000000U, 0xffffffffU}) {
    EXPECT_EQ(Decode({shard, row.key, row.value}).code(), StatusCode::kDataLoss) << shard;
  }
  const std::string keys[] = {WalKey(999),          WalKey(1001),           WalKey(0), "", "r", "s", row.key + '\0',
                              row.key.substr(0, 8), 's' + row.key.substr(1)};
  for (const std::string& key : keys) EXPECT_EQ(Decode({row.shard, key, row.value}).code(), StatusCode::kDataLoss) << Hex(key);
}

TEST(WalRow, ANewerVersionIsNotTakenForDamage) {
  ASSERT_TRUE(Decode(Sealed(Head(1, 0, 3) + "abc")).ok());
  for (const int version : {0, 2, 255}) {
    const Status status = Decode(Sealed(Head(version, 0, 3) + "abc"));
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << version;
    EXPECT_NE(status.message().find("version " + std::to_string(version)), std::string::npos) << status.ToString();
  }
}

TEST(WalRow, MalformedOnesAreRefusedThoughTheirChecksumIsRight) {
  const struct {
    const char* what;
    std::string covered;
  } rows[] = {
      {"no header", std::string("\x01\x00", 2)},
      {"header cut off", Head(1, 0, 3).substr(0, 5)},
      {"payload shorter than announced", Head(1, 0, 4) + "abc"},
      {"payload longer than announced", Head(1, 0, 2) + "abc"},
      {"a payload of 2^64 - 1 bytes", Head(1, 0, std::numeric_limits<std::uint64_t>::max()) + "abc"},
      {"compressed rubbish", Head(1, 1, 100) + "\xff\xff\xff\xff"},
      {"compressed nothing", Head(1, 1, 100)},
      {"a compressed payload of 2^32 bytes", Head(1, 1, 1ULL << 32) + "abc"},
  };
  for (const auto& row : rows) EXPECT_EQ(Decode(Sealed(row.covered)).code(), StatusCode::kDataLoss) << row.what;
}

TEST(WalState, ComesBackAndIsBoundToItsShard) {
  for (const Lsn lsn : {Lsn{0}, Lsn{1}, Lsn{300}, std::numeric_limits<Lsn>::max()}) {
    const std::string value = EncodeWalState(7, lsn);
    Lsn again = 42;
    ASSERT_TRUE(DecodeWalState(7, value, &again).ok());
    EXPECT_EQ(again, lsn);
    EXPECT_EQ(DecodeWalState(8, value, &again).code(), StatusCode::kDataLoss);
    for (std::size_t bit = 0; bit < value.size() * 8; ++bit) {
      std::string damaged = value;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      ASSERT_EQ(DecodeWalState(7, damaged, &again).code(), StatusCode::kDataLoss) << bit;
    }
    for (std::size_t cut = 0; cut < value.size(); ++cut) {
      ASSERT_EQ(DecodeWalState(7, value.substr(0, cut), &again).code(), StatusCode::kDataLoss) << cut;
    }
  }
}

}  // namespace
}  // namespace chronolith
