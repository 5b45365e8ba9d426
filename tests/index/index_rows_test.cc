// The bytes of index rows: golden, ordered, and refused where damaged.
#include "format/index_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"
#include "index_fixture.h"

namespace chronolith {
namespace {

using namespace index_rows;  // NOLINT(google-build-using-namespace): the tested names

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    char two[3];
    std::snprintf(two, sizeof(two), "%02x", static_cast<unsigned char>(c));
    hex += two;
  }
  return hex;
}

std::string PairKeyBytes(std::string_view name, std::string_view value, std::uint16_t high) {
  std::string key = MakePairKey(name, value).bytes;
  AppendHigh(high, &key);
  return key;
}

TEST(IndexRows, GoldenBytes) {
  EXPECT_EQ(Hex(StateKey()), "73");
  EXPECT_EQ(Hex(EncodeState({300, 7, 5})), "01ac02070551a56b18");
  EXPECT_EQ(Hex(OrdinalKey('l', 0x01020304)), "6c01020304");
  EXPECT_EQ(Hex(PartKey('l', 1, 2)), "6c000000010002");
  std::string hash_key;
  AppendHashKey(0x0102030405060708, &hash_key);
  EXPECT_EQ(Hex(hash_key), "680102030405060708");
  std::string hash_value;
  const std::vector<Ordinal> added{5, 9};
  AppendHashValue(hash_key, added, {}, &hash_value);
  EXPECT_EQ(Hex(hash_value), "010205000000090000000000a76e55");

  EXPECT_EQ(Hex(PairKeyBytes("job", "a", 1)), "706a6f6200016100010001");
  EXPECT_EQ(Hex(PairKeyBytes("", "", 0)), "70000100010000");
  EXPECT_EQ(Hex(PairKeyBytes("n", std::string_view("a\0b", 3), 0)), "706e00016100ff6200010000");
  OrdinalSet few;
  few.Add(0x10002);
  few.Add(0x10005);
  EXPECT_EQ(Hex(EncodePostings(PairKeyBytes("job", "a", 1), {}, few, {})), "01000402000500005aa287db");
  OrdinalSet many;
  for (Ordinal i = 0; i < 1000; ++i) many.Add(i);
  EXPECT_EQ(Hex(EncodePostings(PairKeyBytes("job", "a", 0), {}, many, {})), "0100d10f0f3b300000010000e70301000000e703001971a8c7");

  std::vector<std::pair<std::string, std::string>> rows;
  LongRow row;
  row.hash = 0x1122334455667788;
  EncodeLongRow('l', 3, row, Labels{{"a", "b"}}.encoded(), &rows);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(Hex(rows[0].second), "0100008877665544332211040101610162d599f903");
  std::string metadata;
  EncodeMetadata({MetricType::kCounter, "s", "h"}, &metadata);
  EXPECT_EQ(Hex(metadata), "0101730168");
}

TEST(IndexRows, KeyOrderIsTheOrderOfNamesAndValues) {
  std::mt19937_64 random(TestSeed());
  const auto word = [&](std::size_t longest) {
    std::string s;
    for (std::size_t n = random() % longest; n > 0; --n)
      s.push_back(
          "\0\1\2\xff"
          "ab"[random() % 6]);
    return s;
  };
  for (int round = 0; round < 20000; ++round) {
    const std::string name_a = word(4), name_b = word(4), value_a = word(5), value_b = word(5);
    const std::string a = MakePairKey(name_a, value_a).bytes;
    const std::string b = MakePairKey(name_b, value_b).bytes;
    EXPECT_EQ(a < b, std::tie(name_a, value_a) < std::tie(name_b, value_b));
    EXPECT_EQ(a == b, std::tie(name_a, value_a) == std::tie(name_b, value_b));
    const std::string prefix = PairKeyPrefix(name_a, value_a);
    EXPECT_EQ(b >= prefix && b < PrefixEnd(prefix), name_a == name_b && value_b.starts_with(value_a));
  }
}

TEST(IndexRows, PairKeysReadBack) {
  const std::string long_name(2000, 'n');
  const std::string long_value = std::string(1999, 'v') + std::string(5, '\0');
  for (const std::string& name : {std::string("a"), std::string("a\0b", 3), std::string(), std::string(320, 'n'), long_name}) {
    for (const std::string& value : {std::string("x"), std::string("\0", 1), std::string(), std::string(600, 'v'), long_value}) {
      const std::string key = PairKeyBytes(name, value, 513);
      EXPECT_LE(key.size(), 1024u);
      ParsedPairKey parsed;
      ASSERT_TRUE(ParsePairKey(key, &parsed));
      EXPECT_EQ(parsed.high, 513);
      EXPECT_EQ(parsed.name_folded, name.size() > kNameBytesMax);
      EXPECT_EQ(parsed.value_folded, value.size() > kValueBytesMax);
      if (!parsed.name_folded) {
        EXPECT_EQ(parsed.name, name);
      }
      if (!parsed.value_folded) {
        EXPECT_EQ(parsed.value, value);
      }
      EXPECT_EQ(MakePairKey(name, value).text.empty(), !parsed.folded());
    }
  }
}

TEST(IndexRows, MalformedPairKeysAreRefused) {
  const std::string good = PairKeyBytes("name", "value", 1);
  ParsedPairKey parsed;
  ASSERT_TRUE(ParsePairKey(good, &parsed));
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(ParsePairKey(good.substr(0, n), &parsed)) << n;
  EXPECT_FALSE(ParsePairKey(good + "x", &parsed));
  EXPECT_FALSE(ParsePairKey("x" + good.substr(1), &parsed));
  EXPECT_FALSE(ParsePairKey(std::string("pa\0\x03"
                                        "b\0\x01\0\0",
                                        9),
                            &parsed));
  EXPECT_FALSE(ParsePairKey(std::string("pa\0\x02"
                                        "short\0\x01\0\0",
                                        13),
                            &parsed));
}

TEST(IndexRows, LongLabelsAreReadByPrefixAndInOrder) {
  // A key prefix of a long value prefix takes the folded keys of the values that begin with it.
  const std::string run(700, 'v');
  const std::string key = MakePairKey("n", run + "tail").bytes;
  for (const std::size_t n : {1, 599, 600, 601, 700}) {
    const std::string prefix = PairKeyPrefix("n", run.substr(0, n));
    EXPECT_TRUE(key >= prefix && key < PrefixEnd(prefix)) << n;
  }
  EXPECT_LT(MakePairKey("n", std::string(600, 'v')).bytes, key);
  EXPECT_LT(key, MakePairKey("n", std::string(599, 'v') + "w").bytes);
}

// Every kind of row, sealed, and how to decode it.
struct RowKind {
  std::string name;
  std::string key;
  std::string value;
  Status (*decode)(std::string_view key, std::string_view value);
};

std::vector<RowKind> Kinds() {
  std::vector<RowKind> kinds;
  kinds.push_back({"state", StateKey(), EncodeState({1, 2, 3}),
                   [](std::string_view, std::string_view value) { return DecodeState(value).status(); }});
  std::vector<std::pair<std::string, std::string>> rows;
  EncodeLongRow('l', 3, {}, "labels", &rows);
  kinds.push_back({"labels", rows[0].first, rows[0].second, [](std::string_view key, std::string_view value) {
                     LongRow row;
                     Status s = DecodeLongRow(key, value, &row);
                     return s.ok() ? CheckComplete(key, row) : s;
                   }});
  std::string key;
  std::string value;
  AppendHashKey(7, &key);
  const std::vector<Ordinal> ordinals{1, 2, 70000};
  AppendHashValue(key, ordinals, ordinals, &value);
  kinds.push_back({"hash", key, value, [](std::string_view k, std::string_view v) {
                     HashSets sets;
                     return DecodeHashValue(k, v, &sets);
                   }});
  OrdinalSet few, runs, spread, dense;
  few.Add(1);
  for (Ordinal i = 100; i < 900; ++i) runs.Add(i);
  for (Ordinal i = 0; i < 3000; ++i) spread.Add(i * 20);
  for (Ordinal i = 0; i < 20000; ++i) dense.Add(i * 3 % 65536);
  for (const OrdinalSet* set : {&few, &runs, &spread, &dense}) {
    const std::string posting_key = PairKeyBytes("a", "b", 0);
    kinds.push_back({"postings of " + std::to_string(set->size()), posting_key, EncodePostings(posting_key, {}, *set, few),
                     [](std::string_view k, std::string_view v) {
                       std::vector<PostingSets> entries;
                       return DecodePostings(k, v, &entries);
                     }});
  }
  return kinds;
}

TEST(IndexRows, EveryFlippedBitIsSeen) {
  std::mt19937_64 random(TestSeed());
  for (const RowKind& kind : Kinds()) {
    ASSERT_TRUE(kind.decode(kind.key, kind.value).ok()) << kind.name << ": " << kind.decode(kind.key, kind.value).ToString();
    for (int i = 0; i < 300; ++i) {
      const std::size_t bit = i < 200 ? static_cast<std::size_t>(i) % (kind.value.size() * 8) : random() % (kind.value.size() * 8);
      std::string damaged = kind.value;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
      EXPECT_EQ(kind.decode(kind.key, damaged).code(), StatusCode::kDataLoss) << kind.name << " bit " << bit;
    }
    for (std::size_t n = 0; n < std::min<std::size_t>(kind.value.size(), 100); ++n) {
      EXPECT_EQ(kind.decode(kind.key, kind.value.substr(0, n)).code(), StatusCode::kDataLoss) << kind.name << " cut at " << n;
    }
  }
}

TEST(IndexRows, AValueUnderAnotherKeyIsDamage) {
  const std::string value = EncodePostings(PairKeyBytes("a", "b", 0), {}, {}, {});
  std::vector<PostingSets> entries;
  EXPECT_EQ(DecodePostings(PairKeyBytes("a", "c", 0), value, &entries).code(), StatusCode::kDataLoss);
}

TEST(IndexRows, ANewerVersionIsRefusedByNumber) {
  for (const RowKind& kind : Kinds()) {
    std::string newer = kind.value.substr(0, kind.value.size() - 4);
    newer[0] = 9;
    SealValue(kind.key, &newer);
    const Status s = kind.decode(kind.key, newer);
    EXPECT_EQ(s.code(), StatusCode::kFailedPrecondition) << kind.name;
    EXPECT_NE(s.message().find("version 9"), std::string::npos) << s.ToString();
  }
}

// Behind a right checksum, bytes that no writer of ours makes: refused as damage, never handed to the bitmap library.
TEST(IndexRows, SealedNonsenseIsRefused) {
  std::mt19937_64 random(TestSeed());
  for (const RowKind& kind : Kinds()) {
    for (int round = 0; round < 3000; ++round) {
      std::string payload = kind.value.substr(0, kind.value.size() - 4);
      for (std::size_t n = 1 + random() % 3; n > 0; --n) {
        const std::size_t at = 1 + random() % std::min<std::size_t>(payload.size() - 1, 40);
        payload[at] = static_cast<char>(random());
      }
      if (random() % 4 == 0) payload.resize(1 + random() % (payload.size() - 1));
      SealValue(kind.key, &payload);
      const Status s = kind.decode(kind.key, payload);
      EXPECT_TRUE(s.ok() || s.code() == StatusCode::kDataLoss) << s.ToString();
    }
  }
}

TEST(IndexRows, BitmapsThatAreNotInOrderAreRefused) {
  const std::string key = PairKeyBytes("a", "b", 0);
  const auto sealed = [&](const std::string& set) {
    std::string value;
    BeginValue(&value);
    PutVarint(&value, 0);  // text
    value += set;
    PutVarint(&value, 0);  // removed
    SealValue(key, &value);
    std::vector<PostingSets> entries;
    return DecodePostings(key, value, &entries).code();
  };
  const auto list = [](std::vector<std::uint16_t> items) {
    std::string set;
    PutVarint(&set, items.size() << 1);
    for (const std::uint16_t i : items) set.append(reinterpret_cast<const char*>(&i), 2);
    return set;
  };
  const auto bitmap = [](std::uint64_t count, const std::string& bytes) {
    std::string set;
    PutVarint(&set, count << 1 | 1);
    PutBytes(&set, bytes);
    return set;
  };
  const auto u16 = [](std::vector<std::uint16_t> items) {
    return std::string(reinterpret_cast<const char*>(items.data()), items.size() * 2);
  };
  const std::string array_head = u16({12346, 0, 1, 0});                 // cookie, one container
  const std::string run_head = u16({12347, 0}) + std::string(1, '\1');  // one container, of runs
  EXPECT_EQ(sealed(list({1, 2})), StatusCode::kOk);
  EXPECT_EQ(sealed(list({2, 1})), StatusCode::kDataLoss);
  EXPECT_EQ(sealed(list({1, 1})), StatusCode::kDataLoss);
  EXPECT_EQ(sealed(bitmap(2, array_head + u16({0, 1, 16, 0, 5, 6}))), StatusCode::kOk);
  EXPECT_EQ(sealed(bitmap(2, array_head + u16({0, 1, 16, 0, 6, 5}))), StatusCode::kDataLoss);
  EXPECT_EQ(sealed(bitmap(3, array_head + u16({0, 1, 16, 0, 5, 6}))), StatusCode::kDataLoss);  // count differs
  EXPECT_EQ(sealed(bitmap(2, array_head + u16({1, 1, 16, 0, 5, 6}))), StatusCode::kDataLoss);  // another high half
  EXPECT_EQ(sealed(bitmap(2, array_head + u16({0, 1, 16, 0, 5}))), StatusCode::kDataLoss);
  EXPECT_EQ(sealed(bitmap(3, run_head + u16({0, 2, 1, 7, 2}))), StatusCode::kOk);
  EXPECT_EQ(sealed(bitmap(4, run_head + u16({0, 3, 2, 7, 1, 8, 1}))), StatusCode::kDataLoss);  // runs overlap
  EXPECT_EQ(sealed(bitmap(3, run_head + u16({0, 2, 1, 65535, 2}))), StatusCode::kDataLoss);    // past the end
  EXPECT_EQ(sealed(bitmap(5000, array_head + u16({0, 4999, 16, 0}) + std::string(8192, '\0'))), StatusCode::kDataLoss);
}

TEST(IndexRows, LongRowsAreSplitAndPutTogether) {
  std::string bytes;
  for (int i = 0; i < 100000; ++i) bytes.push_back(static_cast<char>(i * 7));
  std::vector<std::pair<std::string, std::string>> rows;
  LongRow row;
  row.removed = true;
  row.removed_lsn = 77;
  row.hash = 99;
  EncodeLongRow('l', 5, row, bytes, &rows);
  ASSERT_EQ(rows.size(), 4u);
  for (const auto& [key, value] : rows) EXPECT_LE(value.size(), 64u << 10);
  LongRow read;
  ASSERT_TRUE(DecodeLongRow(rows[0].first, rows[0].second, &read).ok());
  EXPECT_EQ(read.parts, 4u);
  EXPECT_EQ(CheckComplete(rows[0].first, read).code(), StatusCode::kDataLoss);
  for (std::size_t i = 1; i < 4; ++i) ASSERT_TRUE(AppendPart(rows[i].first, rows[i].second, &read).ok());
  EXPECT_TRUE(CheckComplete(rows[0].first, read).ok());
  EXPECT_EQ(read.bytes, bytes);
  EXPECT_TRUE(read.removed);
  EXPECT_EQ(read.removed_lsn, 77u);
  EXPECT_EQ(read.hash, 99u);
}

}  // namespace
}  // namespace chronolith
