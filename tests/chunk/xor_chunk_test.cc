#include "chunk/xor_chunk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/coding.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

using ::testing::HasSubstr;

double Bits(std::uint64_t bits) { return std::bit_cast<double>(bits); }

std::string Dump(const std::vector<Sample>& samples) {
  std::string s;
  for (const Sample& x : samples) {
    char line[64];
    std::snprintf(line, sizeof(line), "%lld %016llx\n", static_cast<long long>(x.timestamp),
                  static_cast<unsigned long long>(std::bit_cast<std::uint64_t>(x.value)));
    s += line;
  }
  return s;
}

// The format written down once more, one bit at a time and without any cleverness.
class ReferenceEncoder {
 public:
  void Add(std::int64_t t, double value) {
    const auto v = std::bit_cast<std::uint64_t>(value);
    const std::uint64_t delta = static_cast<std::uint64_t>(t) - static_cast<std::uint64_t>(t_);
    if (n_ == 0) {
      Varint(ZigZag(t));
      Put(v, 64);
    } else if (n_ == 1) {
      Varint(delta);
      Xor(v);
    } else {
      const auto dod = static_cast<std::int64_t>(delta - delta_);
      if (dod == 0) {
        Put(0, 1);
      } else if (dod >= -8191 && dod <= 8192) {
        Put(2, 2), Put(static_cast<std::uint64_t>(dod), 14);
      } else if (dod >= -65535 && dod <= 65536) {
        Put(6, 3), Put(static_cast<std::uint64_t>(dod), 17);
      } else if (dod >= -524287 && dod <= 524288) {
        Put(14, 4), Put(static_cast<std::uint64_t>(dod), 20);
      } else {
        Put(15, 4), Put(static_cast<std::uint64_t>(dod), 64);
      }
      Xor(v);
    }
    t_ = t, v_ = v, delta_ = delta;
    ++n_;
  }
  std::string Finish() const {
    std::string out = {static_cast<char>(n_ >> 8), static_cast<char>(n_)};
    for (std::size_t i = 0; i < bits_.size(); i += 8) {
      int byte = 0;
      for (std::size_t j = 0; j < 8; ++j) byte = byte << 1 | (i + j < bits_.size() && bits_[i + j] ? 1 : 0);
      out += static_cast<char>(byte);
    }
    // Prometheus' bit writer begins the next byte with each whole byte that it writes.
    if (bits_.size() % 8 == 0 && whole_bytes_) out += '\0';
    return out;
  }

 private:
  void Put(std::uint64_t v, int n) {
    for (int i = n - 1; i >= 0; --i) bits_.push_back((v >> i) & 1);
    whole_bytes_ = n % 8 == 0;
  }
  void Varint(std::uint64_t v) {
    for (; v >= 0x80; v >>= 7) Put((v & 0x7f) | 0x80, 8);
    Put(v, 8);
  }
  void Xor(std::uint64_t v) {
    const std::uint64_t x = v ^ v_;
    if (x == 0) return Put(0, 1);
    Put(1, 1);
    const int lead = std::min(31, std::countl_zero(x)), trail = std::countr_zero(x);
    if (window_ && lead >= lead_ && trail >= trail_) {
      Put(0, 1);
      return Put(x >> trail_, 64 - lead_ - trail_);
    }
    window_ = true, lead_ = lead, trail_ = trail;
    Put(1, 1), Put(static_cast<std::uint64_t>(lead), 5), Put(static_cast<std::uint64_t>(64 - lead - trail), 6);
    Put(x >> trail, 64 - lead - trail);
  }
  std::vector<bool> bits_;
  std::int64_t t_ = 0;
  std::uint64_t v_ = 0, delta_ = 0;
  int n_ = 0, lead_ = 0, trail_ = 0;
  bool window_ = false, whole_bytes_ = false;
};

std::string Reference(const std::vector<Sample>& samples) {
  ReferenceEncoder e;
  for (const Sample& s : samples) e.Add(s.timestamp, s.value);
  return e.Finish();
}

// Encodes, compares with the reference, decodes in several ways.
void ExpectRoundTrip(const std::vector<Sample>& samples) {
  const std::string chunk = EncodeXor(samples);
  ASSERT_EQ(chunk, Reference(samples)) << Dump(samples);
  Result<std::vector<Sample>> back = DecodeXor(chunk);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  ASSERT_EQ(Dump(*back), Dump(samples));
  XorIterator it(chunk);
  std::vector<Sample> single;
  while (it.Next()) single.push_back(it.sample());
  ASSERT_TRUE(it.ok());
  ASSERT_EQ(Dump(single), Dump(samples));
}

enum class Times { kRegular, kJitter, kWide, kAny };
enum class Values { kConstant, kCounter, kWalk, kAnyBits, kMixed };

std::vector<Sample> Generate(Times times, Values values, std::size_t n, std::mt19937_64* rng) {
  std::vector<Sample> samples;
  std::int64_t t = 1'700'000'000'000;
  double v = 100;
  for (std::size_t i = 0; i < n; ++i) {
    switch (times) {
      case Times::kRegular:
        t += 15'000;
        break;
      case Times::kJitter:
        t += 15'000 + static_cast<std::int64_t>((*rng)() % 21) - 10;
        break;
      case Times::kWide:
        t += static_cast<std::int64_t>((*rng)() >> (44 + (*rng)() % 20));
        break;
      case Times::kAny:
        t = static_cast<std::int64_t>((*rng)());
        break;
    }
    const Values kind = values == Values::kMixed ? static_cast<Values>((*rng)() % 4) : values;
    switch (kind) {
      case Values::kConstant:
        break;
      case Values::kCounter:
        v += 1000;
        break;
      case Values::kWalk:
        v += static_cast<double>(static_cast<std::int64_t>((*rng)() % 2001) - 1000) / 64;
        break;
      default:
        v = Bits((*rng)() >> ((*rng)() % 64) << ((*rng)() % 64));
    }
    samples.push_back({t, v});
  }
  return samples;
}

TEST(XorChunk, RandomSamplesEncodeAsTheReferenceDoesAndComeBack) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 1500; ++round) {
    const auto times = static_cast<Times>(rng() % 4);
    const auto values = static_cast<Values>(rng() % 5);
    const std::size_t n = round < 400 ? rng() % 8 : rng() % 260;
    ASSERT_NO_FATAL_FAILURE(ExpectRoundTrip(Generate(times, values, n, &rng)));
  }
}

TEST(XorChunk, EveryWidthOfDeltaOfDeltasAndItsEdgesComeBack) {
  const std::int64_t edges[] = {0,
                                1,
                                -1,
                                8191,
                                8192,
                                8193,
                                -8190,
                                -8191,
                                -8192,
                                -8193,
                                65535,
                                65536,
                                65537,
                                -65535,
                                -65536,
                                -65537,
                                524287,
                                524288,
                                524289,
                                -524287,
                                -524288,
                                -524289,
                                1LL << 40,
                                -(1LL << 40),
                                std::numeric_limits<std::int64_t>::max(),
                                std::numeric_limits<std::int64_t>::min()};
  for (const std::int64_t dod : edges) {
    std::uint64_t t = 1'000'000, delta = 1'000;
    std::vector<Sample> samples;
    for (int i = 0; i < 4; ++i) {
      samples.push_back({static_cast<std::int64_t>(t), 1.5 * i});
      if (i >= 1) delta += static_cast<std::uint64_t>(dod);
      t += delta;
    }
    SCOPED_TRACE(dod);
    ExpectRoundTrip(samples);
  }
}

TEST(XorChunk, ExtremeTimestampsWrapAroundAndComeBack) {
  ExpectRoundTrip({{kMinTimestamp, 1}, {kMaxTimestamp, 2}, {kMinTimestamp, 3}, {0, 4}, {kMaxTimestamp, 5}, {-1, 6}});
  ExpectRoundTrip({{5, 1}, {5, 2}, {4, 3}, {5, 4}});  // equal and descending times
}

TEST(XorChunk, EveryBitOfAValueIsKept) {
  const double inf = std::numeric_limits<double>::infinity();
  ExpectRoundTrip({{1, Bits(kStaleNaNBits)},
                   {2, Bits(0x7ff8000000000001)},
                   {3, Bits(0x7ff0000000000001)},
                   {4, -0.0},
                   {5, 0.0},
                   {6, inf},
                   {7, -inf},
                   {8, std::numeric_limits<double>::denorm_min()},
                   {9, Bits(0xffffffffffffffff)},
                   {10, Bits(0)},
                   {11, Bits(0x8000000000000001)},
                   {12, Bits(0x7fffffffffffffff)}});
}

TEST(XorChunk, ChunksOfFewSamples) {
  ExpectRoundTrip({});
  ExpectRoundTrip({{-7, 3.25}});
  ExpectRoundTrip({{-7, 3.25}, {8, 3.25}});
  EXPECT_EQ(EncodeXor({}), std::string(2, '\0'));
}

TEST(XorChunk, TheFullestChunkHolds65535Samples) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<Sample> samples = Generate(Times::kAny, Values::kAnyBits, kXorMaxSamples, &rng);
  const std::string chunk = EncodeXor(samples);
  Result<std::vector<Sample>> back = DecodeXor(chunk);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(Dump(*back), Dump(samples));
}

std::size_t SizeOf(const std::vector<Sample>& samples) {
  XorAppender a;
  std::vector<std::uint8_t> buffer((samples.size() + 1) * kXorMaxSampleBytes);
  for (const Sample& s : samples) a.Append(buffer.data(), s.timestamp, s.value);
  return a.size();
}

TEST(XorAppender, StaysWithinTheRoomItAskedFor) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 200; ++round) {
    const std::vector<Sample> samples = Generate(Times::kAny, Values::kAnyBits, 40, &rng);
    XorAppender a;
    std::vector<std::uint8_t> buffer;  // exact allocations: the address sanitizer sees a byte too many
    for (const Sample& s : samples) {
      std::uint32_t capacity = static_cast<std::uint32_t>(buffer.size());
      while (!a.HasRoom(capacity)) ++capacity;
      std::vector<std::uint8_t> grown(capacity + 8, 0xee);
      std::copy(buffer.begin(), buffer.end(), grown.begin());
      const std::uint32_t before = a.size();
      a.Append(grown.data(), s.timestamp, s.value);
      EXPECT_LE(a.size(), before + kXorMaxSampleBytes);
      for (std::size_t i = capacity; i < grown.size(); ++i) ASSERT_EQ(grown[i], 0xee);
      grown.resize(capacity);
      grown.shrink_to_fit();
      buffer = std::move(grown);
    }
  }
}

TEST(XorAppender, CanBeCopiedOutAtAnyMomentAndGoesOn) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<Sample> samples = Generate(Times::kJitter, Values::kMixed, 200, &rng);
  XorAppender a;
  std::vector<std::uint8_t> buffer(200 * kXorMaxSampleBytes);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    a.Append(buffer.data(), samples[i].timestamp, samples[i].value);
    std::string out = "before";
    a.CopyTo(buffer.data(), &out);
    ASSERT_EQ(out, "before" + Reference({samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(i) + 1}));
    ASSERT_GE(out.size() - 6, a.size());
    ASSERT_LE(out.size() - 6, a.size() + 1);
  }
}

TEST(XorIterator, DecodesInPiecesOfAnySize) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 300; ++round) {
    const std::vector<Sample> samples =
        Generate(static_cast<Times>(rng() % 4), static_cast<Values>(rng() % 5), 1 + rng() % 200, &rng);
    const std::string chunk = EncodeXor(samples);
    XorIterator it(chunk);
    std::vector<Sample> back;
    Timestamp t[64];
    double v[64];
    for (;;) {
      const std::size_t n = it.Decode(t, v, 1 + rng() % 64);
      if (n == 0) break;
      for (std::size_t i = 0; i < n; ++i) back.push_back({t[i], v[i]});
    }
    ASSERT_TRUE(it.ok());
    ASSERT_EQ(Dump(back), Dump(samples));
  }
}

TEST(XorIterator, EveryCutIsAnErrorThatNamesTheSample) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 40; ++round) {
    const std::vector<Sample> samples =
        Generate(static_cast<Times>(rng() % 4), static_cast<Values>(rng() % 5), 1 + rng() % 60, &rng);
    const std::string chunk = EncodeXor(samples);
    const bool spare = chunk.size() > SizeOf(samples);  // the last byte carries nothing
    for (std::size_t cut = 0; cut < chunk.size() - spare; ++cut) {
      const std::vector<char> exact(chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(cut));
      XorIterator it(std::string_view(exact.data(), exact.size()));
      std::size_t n = 0;
      while (it.Next()) {
        ASSERT_LT(n, samples.size());
        ASSERT_EQ(it.sample().timestamp, samples[n].timestamp);
        ++n;
      }
      ASSERT_FALSE(it.ok());
      ASSERT_EQ(it.status().code(), StatusCode::kDataLoss);
      ASSERT_LT(n, samples.size());
      if (cut >= 2) {
        ASSERT_THAT(it.status().message(), HasSubstr("sample " + std::to_string(n) + " of"));
      }
    }
  }
}

TEST(XorIterator, MalformedChunksAreErrors) {
  const struct {
    const char* what;
    std::string chunk;
    std::size_t good;  // samples delivered before the error
  } rows[] = {
      {"nothing", "", 0},
      {"half a header", std::string(1, '\0'), 0},
      {"no sample", std::string("\0\1", 2), 0},
      {"timestamp varint too long", std::string("\0\1", 2) + std::string(11, '\x80'), 0},
      {"timestamp varint over 64 bits", std::string("\0\1", 2) + std::string(9, '\xff') + '\x02' + std::string(8, 'v'), 0},
      {"value cut", std::string("\0\1\2", 3) + std::string(7, 'v'), 0},
      {"delta missing", std::string("\0\2\2", 3) + std::string(8, 'v'), 1},
      {"delta varint cut", std::string("\0\2\2", 3) + std::string(8, 'v') + '\x80', 1},
      {"no value for sample 1", std::string("\0\2\2", 3) + std::string(8, 'v') + '\x01', 1},
      {"window reused before any", std::string("\0\2\2", 3) + std::string(8, 'v') + "\x01\x80" + std::string(16, 'x'), 1},
      // '11', 31 leading zeros, 34 bits: one more than there is
      {"window too wide", std::string("\0\2\2", 3) + std::string(8, 'v') + "\x01\xff\x10" + std::string(16, 'x'), 1},
      {"sample 2 missing", std::string("\0\3\2", 3) + std::string(8, 'v') + "\x01\x78", 2},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    XorIterator it(row.chunk);
    std::size_t n = 0;
    while (it.Next()) ++n;
    EXPECT_EQ(n, row.good);
    EXPECT_FALSE(it.ok());
    EXPECT_EQ(it.status().code(), StatusCode::kDataLoss);
    EXPECT_FALSE(it.Next());
    EXPECT_FALSE(DecodeXor(row.chunk).ok());
  }
}

TEST(XorIterator, FlippedBytesNeverCrashIt) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 3000; ++round) {
    std::string chunk = EncodeXor(Generate(static_cast<Times>(rng() % 4), static_cast<Values>(rng() % 5), rng() % 80, &rng));
    for (int i = 0; i < 3; ++i) chunk[rng() % chunk.size()] ^= static_cast<char>(1 << rng() % 8);
    XorIterator it(chunk);
    std::size_t n = 0;
    while (it.Next()) ++n;
    EXPECT_LE(n, it.count());
    EXPECT_EQ(it.ok(), n == it.count());
  }
}

}  // namespace
}  // namespace chronolith
