// Bitmaps are checked before the bitmap library sees them: what it writes passes, and nothing that it would misread does.
#include "format/roaring_bytes.h"

#include <gtest/gtest.h>
#include <roaring/roaring.h>

#include <random>
#include <string>

#include "base/ordinal_set.h"

namespace chronolith {
namespace {

std::string Bytes(OrdinalSet set, bool runs) {
  if (runs) roaring_bitmap_run_optimize(set.raw());
  std::string bytes(roaring_bitmap_portable_size_in_bytes(set.raw()), '\0');
  roaring_bitmap_portable_serialize(set.raw(), bytes.data());
  return bytes;
}

TEST(RoaringBytes, WhatTheLibraryWritesPasses) {
  std::mt19937_64 rng(1);
  for (const std::uint32_t containers : {0U, 1U, 2U, 3U, 4U, 5U, 40U}) {
    for (const std::uint32_t items : {1U, 4096U, 4097U, 60'000U, 65'536U}) {
      OrdinalSet set;
      for (std::uint32_t c = 0; c < containers; ++c) {
        const std::uint32_t base = (c * 7 + 3) << 16;
        if (c % 2 == 1) {
          set.AddRange(base, base + items - 1);
        } else {
          for (std::uint32_t i = 0; i < items; ++i) set.Add(base | (rng() & 0xffff));
        }
      }
      for (const bool runs : {false, true}) {
        const std::string bytes = Bytes(set, runs);
        const auto shape = CheckRoaring(bytes);
        ASSERT_TRUE(shape.has_value()) << containers << " containers, " << items << " items";
        EXPECT_EQ(shape->containers, containers);
        EXPECT_EQ(shape->items, set.size());
        EXPECT_EQ(shape->first_key, containers > 0 ? 3 : 0);
        EXPECT_FALSE(CheckRoaring(bytes + "x"));
        for (std::size_t cut = 0; cut < bytes.size(); cut += 1 + cut / 3) EXPECT_FALSE(CheckRoaring(bytes.substr(0, cut))) << cut;
      }
    }
  }
}

TEST(RoaringBytes, DisorderAndWrongCountsAreRefused) {
  using namespace std::string_literals;
  const std::string array = "\x3a\x30\0\0\x01\0\0\0\x05\0\x01\0\x10\0\0\0"s;  // one container, key 5, two items
  EXPECT_TRUE(CheckRoaring(array + "\x01\0\x02\0"s));
  EXPECT_FALSE(CheckRoaring(array + "\x02\0\x01\0"s)) << "items out of order";
  EXPECT_FALSE(CheckRoaring(array + "\x01\0\x01\0"s)) << "an item twice";
  const std::string two = "\x3a\x30\0\0\x02\0\0\0\x05\0\0\0\x05\0\0\0\x18\0\0\0\x1a\0\0\0"s;  // two containers with one key
  EXPECT_FALSE(CheckRoaring(two + "\x01\0\x02\0"s));
  const std::string run = "\x3b\x30\0\0\x01\x07\0\x09\0"s;  // one container of runs, key 7, ten items
  EXPECT_TRUE(CheckRoaring(run + "\x01\0\x04\0\x09\0"s));
  EXPECT_FALSE(CheckRoaring(run + "\x01\0\x04\0\x08\0"s)) << "nine items";
  EXPECT_FALSE(CheckRoaring(run + "\x02\0\x04\0\x04\0\x06\0\x04\0"s)) << "runs that overlap";
  EXPECT_FALSE(CheckRoaring(run + "\x01\0\xfd\xff\x09\0"s)) << "a run past the end";
  // More items than an array holds are bits; their number must be that of the bits set.
  std::string bits = "\x3a\x30\0\0\x01\0\0\0\x05\0\0\x20\x10\0\0\0"s + std::string(8192, '\0');  // 8193 items, none set
  EXPECT_FALSE(CheckRoaring(bits));
  EXPECT_FALSE(CheckRoaring("\x3a\x30\0\0\xff\xff\xff\xff"s)) << "more containers than there are keys";
}

}  // namespace
}  // namespace chronolith
