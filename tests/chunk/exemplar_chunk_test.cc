#include "chunk/exemplar_chunk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <string>
#include <vector>

#include "tests/contract/seed.h"

namespace chronolith {
namespace {

using ::testing::HasSubstr;

std::vector<Exemplar> Generate(std::size_t n, std::mt19937_64* rng) {
  std::vector<Exemplar> exemplars;
  std::int64_t t = 1'700'000'000'000;
  for (std::size_t i = 0; i < n; ++i) {
    Exemplar e;
    switch ((*rng)() % 4) {
      case 0:
        break;
      case 1:
        e.labels = {{"trace_id", std::to_string((*rng)())}};
        break;
      default:
        e.labels = {{"span_id", "s"}, {"trace_id", std::to_string((*rng)())}};
    }
    e.value = (*rng)() % 3 == 0 ? 1.5 : std::bit_cast<double>((*rng)() >> ((*rng)() % 64));
    t = (*rng)() % 10 == 0 ? static_cast<std::int64_t>((*rng)()) : static_cast<std::int64_t>(static_cast<std::uint64_t>(t) + 997);
    e.timestamp = t;
    exemplars.push_back(std::move(e));
  }
  return exemplars;
}

bool Same(const Exemplar& a, const Exemplar& b) {
  return a.labels == b.labels && a.timestamp == b.timestamp &&
         std::bit_cast<std::uint64_t>(a.value) == std::bit_cast<std::uint64_t>(b.value);
}

TEST(ExemplarChunk, RandomExemplarsComeBack) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 300; ++round) {
    const std::vector<Exemplar> exemplars = Generate(rng() % 60, &rng);
    Result<std::vector<Exemplar>> back = DecodeExemplars(EncodeExemplars(exemplars));
    ASSERT_TRUE(back.ok()) << back.status().ToString();
    ASSERT_EQ(back->size(), exemplars.size());
    for (std::size_t i = 0; i < exemplars.size(); ++i) ASSERT_TRUE(Same((*back)[i], exemplars[i])) << i;
  }
}

// The bytes of version 1, for ever: what is stored must stay readable.
TEST(ExemplarChunk, Version1HasTheseBytes) {
  const std::vector<Exemplar> exemplars = {
      {{{"trace_id", "abc"}}, 1.5, 1000}, {{{"trace_id", "abd"}}, 1.5, 2000}, {{}, -0.25, 2500}};
  std::string hex;
  for (const char c : EncodeExemplars(exemplars)) {
    char two[3];
    std::snprintf(two, sizeof(two), "%02x", static_cast<unsigned char>(c));
    hex += two;
  }
  EXPECT_EQ(hex, "0103000000d00f62f83f000d0874726163655f696403616263d00f000c0164e7076228800000");
}

TEST(ExemplarAppender, IsAWholeChunkAfterEveryAppendAndWithinItsBound) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<Exemplar> exemplars = Generate(50, &rng);
  ExemplarAppender a;
  for (std::size_t i = 0; i < exemplars.size(); ++i) {
    const std::size_t before = a.data().size();
    a.Append(exemplars[i]);
    ASSERT_LE(a.data().size() - before, ExemplarAppender::MaxBytes(exemplars[i]));
    ASSERT_EQ(DecodeExemplars(a.data())->size(), i + 1);
  }
  EXPECT_EQ(DecodeExemplars(a.Take())->size(), exemplars.size());
  a.Append(exemplars[3]);
  EXPECT_TRUE(Same(DecodeExemplars(a.data())->at(0), exemplars[3]));
}

TEST(ExemplarIterator, EveryCutIsAnErrorThatNamesTheExemplar) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<Exemplar> exemplars = Generate(20, &rng);
  const std::string chunk = EncodeExemplars(exemplars);
  for (std::size_t cut = 0; cut < chunk.size(); ++cut) {
    const std::vector<char> exact(chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(cut));
    ExemplarIterator it(std::string_view(exact.data(), exact.size()));
    std::size_t n = 0;
    while (it.Next()) {
      ASSERT_TRUE(Same(it.exemplar(), exemplars[n]));
      ++n;
    }
    ASSERT_EQ(it.status().code(), StatusCode::kDataLoss);
    if (cut >= 5) {
      ASSERT_THAT(it.status().message(), HasSubstr("exemplar " + std::to_string(n) + " of"));
    }
  }
}

TEST(ExemplarIterator, MalformedChunksAreErrors) {
  const std::string one("\x01\x01\0\0\0", 5);
  const struct {
    const char* what;
    std::string chunk;
    StatusCode code;
  } rows[] = {
      {"nothing", "", StatusCode::kDataLoss},
      {"half a header", std::string("\x01\x01\0", 3), StatusCode::kDataLoss},
      {"version 0", std::string(20, '\0'), StatusCode::kDataLoss},
      {"a newer version", "\x02" + one.substr(1), StatusCode::kFailedPrecondition},
      {"value of 0 bytes", one + std::string("\x02\x10\x00\x00", 4), StatusCode::kDataLoss},
      {"value of 9 bytes", one + std::string("\x02\x09\0\0\0\0\0\0\0\0\0\0\0\0", 14), StatusCode::kDataLoss},
      {"value with bytes behind the last", one + std::string("\x02\x72\0\0\0\0\0\0\0\0\0\0\0\0", 14), StatusCode::kDataLoss},
      {"shares more labels than there are", one + std::string("\x02\x00\x01\x00", 4), StatusCode::kDataLoss},
      {"labels longer than the chunk",
       one + std::string("\x02\x00\x00\x05"
                         "abc",
                         7),
       StatusCode::kDataLoss},
      {"labels that are no pairs",
       one + std::string("\x02\x00\x00\x02\x01"
                         "a",
                         6),
       StatusCode::kDataLoss},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    Result<std::vector<Exemplar>> r = DecodeExemplars(row.chunk);
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.status().code(), row.code);
  }
  EXPECT_TRUE(DecodeExemplars(one + std::string("\x02\x00\x00\x04\x01"
                                                "a\x01"
                                                "b",
                                                8))
                  .ok());
}

TEST(ExemplarIterator, FlippedBytesNeverCrashIt) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 2000; ++round) {
    std::string chunk = EncodeExemplars(Generate(rng() % 20, &rng));
    for (int i = 0; i < 3; ++i) chunk[rng() % chunk.size()] ^= static_cast<char>(1 << rng() % 8);
    ExemplarIterator it(chunk);
    std::uint32_t n = 0;
    while (it.Next()) ++n;
    EXPECT_LE(n, it.count());
  }
}

}  // namespace
}  // namespace chronolith
