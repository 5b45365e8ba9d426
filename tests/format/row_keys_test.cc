// Keys taken apart: what the encoders make is read back, anything else is no key of the kind.
#include "format/row_keys.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "format/wal_record.h"

namespace chronolith {
namespace {

// One byte less, one more, and another first byte.
std::vector<std::string> Spoiled(const std::string& key) {
  return {"", key.substr(0, key.size() - 1), key + "x", "x" + key.substr(1)};
}

TEST(RowKeys, OfTheLog) {
  Lsn lsn = 7;
  for (const std::string& bad : Spoiled(WalKey(1))) EXPECT_FALSE(ParseWalKey(bad, &lsn)) << bad;
  EXPECT_EQ(lsn, 7U) << "left alone";
  EXPECT_FALSE(ParseWalKey(kWalStateKey, &lsn));
  for (const Lsn one : {Lsn{0}, Lsn{258}, ~Lsn{0}}) {
    ASSERT_TRUE(ParseWalKey(WalKey(one), &lsn));
    EXPECT_EQ(lsn, one);
  }
}

TEST(RowKeys, OfTombstones) {
  Tombstone tombstone{.lsn = 1ULL << 40, .range = {1, 2}, .ordinals = {}};
  tombstone.ordinals.AddRange(3, 4);
  const std::string key = EncodeTombstone(tombstone)[0].key;
  Lsn lsn = 0;
  std::uint32_t part = 7;
  ASSERT_TRUE(ParseTombstoneKey(key, &lsn, &part));
  EXPECT_EQ(lsn, tombstone.lsn);
  EXPECT_EQ(part, 0U);
  for (const std::string& bad : Spoiled(key)) EXPECT_FALSE(ParseTombstoneKey(bad, &lsn, &part)) << bad;
}

TEST(RowKeys, OfLabelsMetadataAndHashes) {
  Ordinal ordinal = 0;
  std::uint16_t part = 7;
  for (const char prefix : {index_rows::kLabelsPrefix, index_rows::kMetadataPrefix}) {
    const std::string key = index_rows::OrdinalKey(prefix, 0x01020304);
    ASSERT_TRUE(index_rows::ParseOrdinalKey(key, &ordinal, &part));
    EXPECT_EQ(std::pair(ordinal, part), std::pair(Ordinal{0x01020304}, std::uint16_t{0}));
    for (const std::string& bad : Spoiled(key)) EXPECT_FALSE(index_rows::ParseOrdinalKey(bad, &ordinal, &part)) << bad;
    ASSERT_TRUE(index_rows::ParseOrdinalKey(index_rows::PartKey(prefix, 5, 258), &ordinal, &part));
    EXPECT_EQ(std::pair(ordinal, part), std::pair(Ordinal{5}, std::uint16_t{258}));
  }
  std::string key;
  index_rows::AppendHashKey(0x0102030405060708, &key);
  std::uint64_t hash = 0;
  ASSERT_TRUE(index_rows::ParseHashKey(key, &hash));
  EXPECT_EQ(hash, 0x0102030405060708U);
  for (const std::string& bad : Spoiled(key)) EXPECT_FALSE(index_rows::ParseHashKey(bad, &hash)) << bad;
}

TEST(RowKeys, APackedChunkIsToldByItsVersion) {
  for (const auto& [first, packed] :
       {std::pair{1, false}, {2, true}, {3, true}, {3 | 16, true}, {3 | 32, true}, {0, false}, {17, false}}) {
    EXPECT_EQ(IsPackedChunkValue(std::string(1, static_cast<char>(first)) + "rest"), packed) << first;
  }
  EXPECT_FALSE(IsPackedChunkValue(""));
}

}  // namespace
}  // namespace chronolith
