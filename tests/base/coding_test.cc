#include "base/coding.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/contract/seed.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kMax64 = std::numeric_limits<std::uint64_t>::max();
constexpr std::int64_t kMinInt = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();

std::string Bytes(std::initializer_list<int> bytes) {
  std::string s;
  for (const int b : bytes) s.push_back(static_cast<char>(b));
  return s;
}

// The decoder's answer on exactly these bytes: they lie in an allocation of their own, so that a read behind them is seen.
const char* Decode(const std::string& bytes, std::uint64_t* v, std::vector<char>* exact) {
  exact->assign(bytes.begin(), bytes.end());
  return DecodeVarint(exact->data(), exact->data() + exact->size(), v);
}

TEST(Varint, HasTheBytesOfProtocolBuffers) {
  const struct {
    std::uint64_t value;
    std::string bytes;
  } rows[] = {
      {0, Bytes({0})},
      {1, Bytes({1})},
      {127, Bytes({0x7f})},
      {128, Bytes({0x80, 1})},
      {300, Bytes({0xac, 2})},
      {16383, Bytes({0xff, 0x7f})},
      {16384, Bytes({0x80, 0x80, 1})},
      {1ULL << 63, Bytes({0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1})},
      {kMax64, Bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})},
  };
  for (const auto& row : rows) {
    std::string encoded;
    PutVarint(&encoded, row.value);
    EXPECT_EQ(encoded, row.bytes) << row.value;
    std::uint64_t v = 42;
    std::vector<char> exact;
    const char* end = Decode(row.bytes, &v, &exact);
    ASSERT_NE(end, nullptr) << row.value;
    EXPECT_EQ(end, exact.data() + exact.size());
    EXPECT_EQ(v, row.value);
  }
}

TEST(Varint, RefusesWhatIsCutOffOrLongerThan64Bits) {
  const std::string rows[] = {
      "",
      Bytes({0x80}),
      Bytes({0xff}),
      Bytes({0x80, 0x80}),
      Bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}),           // nine bytes, all going on
      Bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}),        // bit 64
      Bytes({0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f}),     // bits 64 to 69
      Bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0}),  // eleven bytes
      Bytes({0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}),  // a zero in eleven bytes
  };
  for (const std::string& row : rows) {
    std::uint64_t v = 42;
    std::vector<char> exact;
    EXPECT_EQ(Decode(row, &v, &exact), nullptr) << row.size() << " bytes";
    EXPECT_EQ(v, 42U) << "an error leaves the value alone";
  }
}

TEST(Varint, EveryPrefixOfEveryEncodingIsRefused) {
  for (int bit = 0; bit < 64; ++bit) {
    for (const std::uint64_t value : {std::uint64_t{1} << bit, (std::uint64_t{1} << bit) - 1, kMax64 << bit}) {
      std::string encoded;
      PutVarint(&encoded, value);
      ASSERT_LE(encoded.size(), static_cast<std::size_t>(kMaxVarint64Bytes));
      std::uint64_t v = 0;
      std::vector<char> exact;
      ASSERT_NE(Decode(encoded, &v, &exact), nullptr);
      ASSERT_EQ(v, value);
      for (std::size_t cut = 0; cut < encoded.size(); ++cut) ASSERT_EQ(Decode(encoded.substr(0, cut), &v, &exact), nullptr);
    }
  }
}

TEST(ZigZag, MapsSmallMagnitudesToSmallNumbersAndBack) {
  const struct {
    std::int64_t value;
    std::uint64_t coded;
  } rows[] = {{0, 0}, {-1, 1}, {1, 2}, {-2, 3}, {2, 4}, {kMaxInt, kMax64 - 1}, {kMinInt, kMax64}};
  for (const auto& row : rows) {
    EXPECT_EQ(ZigZag(row.value), row.coded);
    EXPECT_EQ(UnZigZag(row.coded), row.value);
  }
}

TEST(BigEndian, ByteOrderIsNumericOrder) {
  std::mt19937_64 random(TestSeed());
  std::vector<std::int64_t> values = {kMinInt, kMinInt + 1, -1, 0, 1, kMaxInt - 1, kMaxInt};
  for (int i = 0; i < 500; ++i) values.push_back(static_cast<std::int64_t>(random()) >> (random() % 64));
  for (const std::int64_t a : values) {
    for (const std::int64_t b : values) {
      std::string x, y, p, q;
      PutBigEndian64(&x, OrderedInt64(a));
      PutBigEndian64(&y, OrderedInt64(b));
      ASSERT_EQ(x < y, a < b) << a << " " << b;
      PutBigEndian32(&p, static_cast<std::uint32_t>(a));
      PutBigEndian32(&q, static_cast<std::uint32_t>(b));
      ASSERT_EQ(p < q, static_cast<std::uint32_t>(a) < static_cast<std::uint32_t>(b));
    }
    std::string x;
    PutBigEndian64(&x, OrderedInt64(a));
    EXPECT_EQ(FromOrderedInt64(LoadBigEndian<std::uint64_t>(x.data())), a);
  }
}

TEST(ByteReader, ReadsASequenceToItsEnd) {
  std::string bytes;
  PutVarint(&bytes, 300);
  PutZigZag(&bytes, kMinInt);
  PutFixed32(&bytes, 0xdeadbeef);
  PutFixed64(&bytes, std::bit_cast<std::uint64_t>(-0.0));
  PutBytes(&bytes, "abc");
  PutBytes(&bytes, "");
  ByteReader in(bytes);
  EXPECT_EQ(in.Varint(), 300U);
  EXPECT_EQ(in.SignedVarint(), kMinInt);
  EXPECT_EQ(in.Fixed<std::uint32_t>(), 0xdeadbeefU);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(in.Double()), std::bit_cast<std::uint64_t>(-0.0));
  EXPECT_EQ(in.LengthPrefixed(), "abc");
  EXPECT_FALSE(in.AtEnd());
  EXPECT_EQ(in.LengthPrefixed(), "");
  EXPECT_TRUE(in.AtEnd());
}

TEST(ByteReader, StaysFailedAfterTheFirstMalformedField) {
  using Read = void (*)(ByteReader*);
  const struct {
    const char* what;
    std::string bytes;
    Read read;
  } rows[] = {
      {"varint of nothing", "", [](ByteReader* in) { in->Varint(); }},
      {"varint cut off", Bytes({0x80}), [](ByteReader* in) { in->Varint(); }},
      {"fixed cut off", "abc", [](ByteReader* in) { in->Fixed<std::uint32_t>(); }},
      {"double cut off", "1234567", [](ByteReader* in) { in->Double(); }},
      {"bytes beyond the end", "abc", [](ByteReader* in) { in->Bytes(4); }},
      {"length beyond the end", Bytes({3, 'a', 'b'}), [](ByteReader* in) { in->LengthPrefixed(); }},
      {"a length of 2^64 - 1", Bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'a'}),
       [](ByteReader* in) { in->LengthPrefixed(); }},
      {"Fail", "abc", [](ByteReader* in) { in->Fail(); }},
  };
  for (const auto& row : rows) {
    ByteReader in(row.bytes);
    row.read(&in);
    EXPECT_FALSE(in.ok()) << row.what;
    EXPECT_FALSE(in.AtEnd()) << row.what;
    EXPECT_EQ(in.Varint(), 0U) << row.what;
    EXPECT_EQ(in.Fixed<std::uint8_t>(), 0U) << row.what;
    EXPECT_EQ(in.Bytes(0), "") << row.what;
    EXPECT_FALSE(in.ok()) << row.what;
  }
}

}  // namespace
}  // namespace chronolith
