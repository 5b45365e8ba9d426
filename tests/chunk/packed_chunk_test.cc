#include "chunk/packed_chunk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/contract/seed.h"

namespace chronolith {
namespace {

using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
const double kStale = std::bit_cast<double>(std::uint64_t{0x7ff0000000000002});

std::vector<Sample> Regular(std::size_t n, const std::function<double(std::size_t)>& value) {
  std::vector<Sample> samples;
  for (std::size_t i = 0; i < n; ++i) samples.push_back({1'700'000'000'000 + static_cast<Timestamp>(i) * 15'000, value(i)});
  return samples;
}

// All samples, read by the iterator `step` at a time, as the XOR chunk that they make.
std::string ReadBy(std::string_view packed, std::size_t step) {
  PackedIterator it;
  it.Reset(packed);
  std::vector<Sample> samples;
  std::vector<Timestamp> t(step);
  std::vector<double> v(step);
  while (const std::size_t n = it.Decode(t.data(), v.data(), step)) {
    for (std::size_t i = 0; i < n; ++i) samples.push_back({t[i], v[i]});
  }
  EXPECT_TRUE(it.ok());
  EXPECT_EQ(samples.size(), it.count());
  return EncodeXor(samples);
}

// The packed form; empty where the packer left the chunk as it was. Every way to read it gives what was packed.
std::string PackAndRead(const std::vector<Sample>& samples) {
  const std::string chunk = EncodeXor(samples);
  FloatPacker packer;
  std::string packed;
  if (!packer.Pack(chunk, &packed)) return {};
  EXPECT_TRUE(IsPacked(packed));
  EXPECT_FALSE(IsPacked(chunk));
  EXPECT_LT(packed.size(), chunk.size());
  for (const std::size_t step : {1U, 2U, 7U, 128U, 1000U}) EXPECT_EQ(ReadBy(packed, step), chunk) << step;
  PackedIterator times;
  times.Reset(packed);
  std::size_t read = 0;
  for (Timestamp t = 0; times.Decode(&t, nullptr, 1) == 1; ++read) EXPECT_EQ(t, samples.at(read).timestamp);
  EXPECT_EQ(read, samples.size());
  FloatIterator it(packed);
  for (std::size_t i = 0; it.Next(); ++i) {
    EXPECT_EQ(it.sample().timestamp, samples[i].timestamp);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(it.sample().value), std::bit_cast<std::uint64_t>(samples[i].value));
  }
  EXPECT_TRUE(it.ok());
  std::string unpacked;
  EXPECT_TRUE(Unpack(packed, &unpacked).ok());
  EXPECT_EQ(unpacked, chunk);
  return packed;
}

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    char two[3];
    std::snprintf(two, sizeof(two), "%02x", static_cast<unsigned char>(c));
    hex += two;
  }
  return hex;
}

std::string Bytes(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

// Counts in steps of 3, 4 and 5, a reset, a stale marker, one time that is 7 ms late.
std::vector<Sample> Counts() {
  std::vector<Sample> samples = Regular(12, [](std::size_t i) { return static_cast<double>(100 + 3 * i + i % 3); });
  samples[5].value = 0;
  samples[11].value = kStale;
  samples[8].timestamp += 7;
  return samples;
}

TEST(PackedChunk, Version1HasTheseBytes) {
  EXPECT_EQ(
      Hex(PackAndRead(Counts())),
      "0000010c80a0abfef962987542161b42850a75ce1d"  // mark, version, samples, times: 2 digits of radix 22 in 9 bits, above -14
      "80010b020000000000f07f"                      // order 0, one value without m: the last
      "448401009d57d14d32beeffddd9f45");            // 4 digits of radix 132 in 29 bits
  EXPECT_EQ(Hex(PackAndRead(Regular(16, [](std::size_t i) { return static_cast<double>(i % 2 == 0 ? i / 2 : 15 - i / 2); }))),
            "0000811080a0abfef9629875"  // steady
            "000400f0e1d2c3b4a59687");  // order 0, 4 bits each
}

// By the packer of before there were digits.
TEST(PackedChunk, ColumnsOfWholeBitsAreRead) {
  std::string unpacked;
  ASSERT_TRUE(Unpack(Bytes("0000010c80a0abfef9629875051bce39e75c05d501"  // times: 5 bits each above -14
                           "81010b020000000000f07f"                      // order 1
                           "c80108e1017575727500e77575727571"),
                     &unpacked)
                  .ok());
  EXPECT_EQ(unpacked, EncodeXor(Counts()));
}

TEST(PackedChunk, TakesTheBitsThatTheValuesNeed) {
  std::mt19937_64 rng(TestSeed());
  struct Case {
    const char* name;
    std::function<double(std::size_t)> value;
    std::size_t bytes;  // of 240 samples, at most
  };
  double counter = 1e6;
  double gauge = 50;
  double walk = 1000;
  const Case cases[] = {
      {"constant", [](std::size_t) { return 42.5; }, 32},
      {"constant, full mantissa", [](std::size_t) { return M_PI; }, 40},
      {"steady counter", [](std::size_t i) { return 1e9 + 1000 * static_cast<double>(i); }, 40},
      {"accelerating", [](std::size_t i) { return static_cast<double>(i * i); }, 40},
      {"counter of 0 to 999", [&](std::size_t) { return counter += static_cast<double>(rng() % 1000); }, 40 + 300},
      {"gauge of steps -10 to 10", [&](std::size_t) { return gauge += static_cast<double>(rng() % 21) - 10; }, 30 + 132},
      {"percent with two decimals", [&](std::size_t) { return static_cast<double>(rng() % 10'000) / 100; }, 40 + 420},
      {"pages of 4 KiB", [&](std::size_t) { return 4096 * static_cast<double>(1000 + rng() % 64); }, 40 + 180},
      {"quarters", [&](std::size_t) { return static_cast<double>(rng() % 16) / 4; }, 40 + 120},
      {"walk with full mantissas", [&](std::size_t) { return walk += static_cast<double>(rng() >> 11) / 0x1p53 - 0.5; }, 40 + 1350},
      {"negative", [&](std::size_t) { return -static_cast<double>(1 + rng() % 255) / 10; }, 40 + 241},
      {"two resets", [](std::size_t i) { return static_cast<double>(7 * (i % 90)); }, 60},
  };
  for (const Case& c : cases) {
    const std::string packed = PackAndRead(Regular(240, c.value));
    EXPECT_FALSE(packed.empty()) << c.name;
    EXPECT_LE(packed.size(), c.bytes) << c.name;
  }
}

// Digits of every radix that is worth it and of its neighbours, the highest and lowest among them; words of any number of digits.
TEST(PackedChunk, DigitsComeBack) {
  std::mt19937_64 rng(TestSeed());
  std::size_t packed = 0;
  for (std::uint64_t radix = 2; radix < 4200; radix += 1 + radix / 64) {
    const std::size_t n = 8 + rng() % 120;
    packed += !PackAndRead(Regular(n, [&](std::size_t i) {
                 return static_cast<double>(i % 5 == 0 ? 0 : i % 5 == 1 ? radix - 1 : rng() % radix) - 1000;
               })).empty();
  }
  EXPECT_GT(packed, 50U);
}

TEST(PackedChunk, DigitsAreSmallerThanBits) {
  std::mt19937_64 rng(TestSeed());
  for (const std::uint64_t radix : {3U, 5U, 9U, 17U, 21U, 33U, 65U, 130U}) {
    const std::string packed =
        PackAndRead(Regular(1000, [&](std::size_t i) { return static_cast<double>(i < 2 ? i * (radix - 1) : rng() % radix); }));
    ASSERT_FALSE(packed.empty()) << radix;
    EXPECT_LT(static_cast<double>(packed.size()), 25 + 125 * 1.05 * std::log2(static_cast<double>(radix))) << radix;
  }
}

TEST(PackedChunk, MalformedDigits) {
  // 12 samples, 15 s apart, order 0; a column of 6 words of 2 digits, 9 bits each.
  const std::string front{"\0\0\x81\x0c\0\x98\x75\0", 8};
  const std::string words(7, '\x55');
  std::string out;
  EXPECT_TRUE(Unpack(front + "\x42\x15" + '\0' + words, &out).ok());
  for (const std::string& column : {
           "\x41\x15" + std::string(8, '\0'),                // one digit
           std::string("\x42\0", 2) + std::string(8, '\0'),  // radix 0
           "\x42\x01" + std::string(8, '\0'),                // radix 1
           "\x42\x81\x80\x04" + std::string(12, '\0'),       // 65537 squared is beyond 32 bits
           "\x61\x02" + std::string(9, '\0'),                // 33 digits of radix 2
           "\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + std::string(9, '\0'), "\x42\x15" + std::string(7, '\0'),  // cut
           "\x42\x15" + std::string(9, '\0'),                                                                         // bytes over
       }) {
    EXPECT_EQ(Unpack(front + column, &out).code(), StatusCode::kDataLoss);
  }
  // Words above radix^digits - 1 are no digits, and are read as some.
  EXPECT_TRUE(Unpack(front + "\x42\x15" + '\0' + std::string(7, '\xff'), &out).ok());
}

TEST(PackedChunk, LeavesWhatItCannotMakeSmaller) {
  std::mt19937_64 rng(TestSeed());
  EXPECT_TRUE(PackAndRead(Regular(240, [&](std::size_t) { return std::bit_cast<double>(rng()); })).empty());
  EXPECT_TRUE(PackAndRead(Regular(7, [](std::size_t i) { return static_cast<double>(i); })).empty());
  FloatPacker packer;
  std::string packed;
  EXPECT_FALSE(packer.Pack("", &packed));
  EXPECT_FALSE(packer.Pack(std::string_view("\0\0", 2), &packed));
  const std::string chunk = EncodeXor(Regular(100, [](std::size_t i) { return static_cast<double>(i); }));
  EXPECT_FALSE(packer.Pack(chunk.substr(0, chunk.size() / 2), &packed));
  // Bits behind the last sample, as no writer of ours leaves them, would not come back.
  EXPECT_TRUE(packer.Pack(chunk, &packed));
  EXPECT_FALSE(packer.Pack(chunk + "x", &packed));
}

TEST(PackedChunk, AnyValuesComeBackBitForBit) {
  const double odd[] = {kNaN, kStale, -kNaN, std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                        -0.0};
  const double plain[] = {0,      1,          -1,      0.1,    1e-300, 5e-324, 1e300, std::numeric_limits<double>::max(),
                          0x1p53, 0x1p53 + 2, -0x1p62, 0x1p63, 1e15,   0.3,    1e22,  123456789.125,
                          1e-12};
  std::mt19937_64 rng(TestSeed());
  std::size_t packed = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::size_t kinds = 1 + rng() % 3;
    std::vector<double> some;
    for (std::size_t i = 0; i < kinds; ++i)
      some.push_back(rng() % 3 == 0 ? odd[rng() % std::size(odd)] : plain[rng() % std::size(plain)]);
    std::vector<Sample> samples = Regular(8 + rng() % 300, [&](std::size_t i) {
      return i % 9 == 0 ? some[rng() % kinds] : some[0] + static_cast<double>(rng() % 100) * (round % 2 == 0 ? 1 : 0.01);
    });
    for (Sample& s : samples) {
      if (round % 3 == 0) s.timestamp += static_cast<Timestamp>(rng() % 50);
      if (round % 50 == 0 && rng() % 20 == 0) s.timestamp = static_cast<Timestamp>(rng());
    }
    packed += !PackAndRead(samples).empty();
  }
  EXPECT_GT(packed, 500U);  // the test is of these
}

TEST(PackedChunk, TimesAtTheEndsOfTheRange) {
  std::vector<Sample> samples = Regular(20, [](std::size_t i) { return static_cast<double>(i); });
  samples.front().timestamp = std::numeric_limits<Timestamp>::min();
  samples.back().timestamp = std::numeric_limits<Timestamp>::max();
  EXPECT_FALSE(PackAndRead(samples).empty());
}

TEST(PackedChunk, LargestChunk) {
  EXPECT_FALSE(PackAndRead(Regular(kXorMaxSamples, [](std::size_t i) { return static_cast<double>(i % 1000); })).empty());
}

TEST(PackedChunk, DamageIsReportedAndNeverReadPast) {
  std::mt19937_64 rng(TestSeed());
  std::vector<Sample> samples =
      Regular(60, [&](std::size_t i) { return i % 20 == 7 ? kStale : static_cast<double>(rng() % 500) / 10; });
  samples[30].timestamp += 12;
  const std::string packed = PackAndRead(samples);
  ASSERT_FALSE(packed.empty());
  std::string out;
  for (std::size_t n = 3; n < packed.size(); ++n) {
    const std::string cut = packed.substr(0, n);  // of its own, so that a sanitizer sees a read behind it
    const Status s = Unpack(cut, &out);
    EXPECT_EQ(s.code(), StatusCode::kDataLoss) << n;
    EXPECT_THAT(s.message(), HasSubstr("packed float chunk"));
  }
  EXPECT_EQ(Unpack(packed + "x", &out).code(), StatusCode::kDataLoss);
  for (std::size_t bit = 0; bit < packed.size() * 8; ++bit) {
    std::string flipped = packed;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    EXPECT_TRUE(!Unpack(flipped, &out).ok() || out.size() > 2);
  }
}

}  // namespace
}  // namespace chronolith
