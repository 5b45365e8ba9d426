#include "base/checksum.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "base/hash.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

std::string Counting(int from, int step) {
  std::string s;
  for (int i = 0; i < 32; ++i) s.push_back(static_cast<char>(from + step * i));
  return s;
}

// RFC 3720, appendix B.4.
TEST(Crc32c, HasTheVectorsOfRfc3720) {
  std::string read10(48, '\0');
  read10[0] = 0x01;
  read10[1] = static_cast<char>(0xc0);
  read10[16] = 0x14;
  read10[22] = 0x04;
  read10[27] = 0x14;
  read10[31] = 0x18;
  read10[32] = 0x28;
  read10[40] = 0x02;
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(Crc32c(Counting(0, 1)), 0x46dd794eU);
  EXPECT_EQ(Crc32c(Counting(31, -1)), 0x113fdb5cU);
  EXPECT_EQ(Crc32c(read10), 0xd9963a56U);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(Crc32c(""), 0U);
}

TEST(Crc32c, OfPartsIsThatOfTheWhole) {
  std::mt19937_64 random(TestSeed());
  std::string bytes(1000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  const std::uint32_t whole = Crc32c(bytes);
  for (std::size_t cut = 0; cut <= bytes.size(); cut += 1 + random() % 17) {
    ASSERT_EQ(Crc32c(bytes.substr(cut), Crc32c(bytes.substr(0, cut))), whole) << cut;
  }
}

TEST(Crc32c, TellsEverySingleFlippedBit) {
  const std::string bytes = "one record of the log, as it lies in a row";
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_NE(Crc32c(damaged), Crc32c(bytes)) << bit;
  }
}

// Persistent: places series on shards and is a key of the index. A change here is a change of format. One length of each branch
// of XXH3: 0, 1-3, 4-8, 9-16, 17-128, 129-240, more.
TEST(StableHash, IsPinned) {
  const auto counting = [](std::size_t n) {
    std::string s;
    for (std::size_t i = 0; i < n; ++i) s.push_back(static_cast<char>(i * 7 + 1));
    return s;
  };
  EXPECT_EQ(StableHash(""), 0x2d06800538d394c2ULL);  // from XXH3's own test vectors
  EXPECT_EQ(StableHash("a"), 0xe6c632b61e964e1fULL);
  EXPECT_EQ(StableHash("abc"), 0x78af5f94892f3950ULL);
  EXPECT_EQ(StableHash(counting(8)), 0x96cc97a6768fd7a9ULL);
  EXPECT_EQ(StableHash(counting(16)), 0x913bd4a8038027a7ULL);
  EXPECT_EQ(StableHash(counting(128)), 0xc4399c7829d0628fULL);
  EXPECT_EQ(StableHash(counting(240)), 0x3c0bb96864e543a1ULL);
  EXPECT_EQ(StableHash(counting(1000)), 0xb8b406a98622d913ULL);
}

}  // namespace
}  // namespace chronolith
