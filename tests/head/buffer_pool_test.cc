#include "head/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "tests/contract/seed.h"

namespace chronolith {
namespace {

TEST(BufferPool, ClassForIsTheSmallestThatFits) {
  for (std::uint32_t bytes = 0; bytes <= 49152; ++bytes) {
    const std::uint8_t c = BufferPool::ClassFor(bytes);
    ASSERT_GE(BufferPool::kClassBytes[c], bytes);
    if (c > 0) {
      ASSERT_LT(BufferPool::kClassBytes[c - 1], bytes);
    }
  }
}

TEST(BufferPool, UsesFreedBuffersAgain) {
  BufferPool pool;
  std::set<std::uint8_t*> first;
  for (int i = 0; i < 1000; ++i) first.insert(pool.Allocate(2));
  ASSERT_EQ(first.size(), 1000U);
  EXPECT_EQ(pool.used_bytes(), 128000U);
  const std::uint64_t slabs = pool.slab_bytes();
  EXPECT_GE(slabs, 128000U);
  for (std::uint8_t* buffer : first) pool.Free(buffer, 2);
  EXPECT_EQ(pool.used_bytes(), 0U);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(first.contains(pool.Allocate(2)));
  EXPECT_EQ(pool.slab_bytes(), slabs);
}

TEST(BufferPool, TrimReturnsTheSlabsThatHoldNothing) {
  BufferPool pool;
  std::vector<std::uint8_t*> all;
  for (int i = 0; i < 10'000; ++i) all.push_back(pool.Allocate(0));
  std::uint8_t* const other = pool.Allocate(5);
  const std::uint64_t slabs = pool.slab_bytes();
  for (std::size_t i = 0; i < 4000; ++i) pool.Free(all[i], 0);
  pool.Trim();
  EXPECT_EQ(pool.slab_bytes(), slabs) << "most are in use";
  for (std::size_t i = 4000; i < 9999; ++i) pool.Free(all[i], 0);
  pool.Trim();
  EXPECT_EQ(pool.slab_bytes(), 2U * (32 << 10) - (32 << 10) % 384) << "one for each of the two that are left";
  EXPECT_EQ(pool.used_bytes(), 64U + 384U);
  std::memset(all[9999], 1, 64);
  std::memset(other, 2, 384);
  std::set<std::uint8_t*> again{all[9999]};
  for (int i = 0; i < 10'000; ++i) {
    std::uint8_t* const buffer = pool.Allocate(0);
    std::memset(buffer, 3, 64);
    again.insert(buffer);
  }
  EXPECT_EQ(again.size(), 10'001U) << "no buffer twice";
  EXPECT_EQ(all[9999][63], 1);
  EXPECT_EQ(other[383], 2);
}

TEST(BufferPool, LiveBuffersNeverOverlap) {
  std::mt19937_64 random(TestSeed());
  BufferPool pool;
  struct Live {
    std::uint8_t* buffer;
    std::uint8_t size_class;
    std::uint8_t fill;
  };
  std::vector<Live> live;
  for (int i = 0; i < 6000; ++i) {
    const bool grow = i / 1000 % 2 == 0;
    if (live.empty() || (random() % 4 == 0) != grow) {
      const auto c = static_cast<std::uint8_t>(random() % 4 == 0 ? random() % BufferPool::kClassBytes.size() : random() % 8);
      Live added{pool.Allocate(c), c, static_cast<std::uint8_t>(random())};
      std::memset(added.buffer, added.fill, BufferPool::kClassBytes[c]);
      live.push_back(added);
    } else {
      std::swap(live[random() % live.size()], live.back());
      const Live& gone = live.back();
      for (std::uint32_t k = 0; k < BufferPool::kClassBytes[gone.size_class]; ++k) ASSERT_EQ(gone.buffer[k], gone.fill);
      pool.Free(gone.buffer, gone.size_class);
      live.pop_back();
      if (random() % 16 == 0) pool.Trim();
    }
  }
  std::uint64_t used = 0;
  for (const Live& l : live) used += BufferPool::kClassBytes[l.size_class];
  EXPECT_EQ(pool.used_bytes(), used);
}

}  // namespace
}  // namespace chronolith
