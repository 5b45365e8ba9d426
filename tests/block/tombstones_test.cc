#include "block/tombstones.h"

#include <gtest/gtest.h>

#include <thread>

namespace chronolith {
namespace {

Tombstone Make(Lsn lsn, TimeRange range, std::vector<std::uint32_t> ordinals) {
  Tombstone t;
  t.lsn = lsn;
  t.range = range;
  t.ordinals.AddMany(ordinals);
  return t;
}

ChunkMeta Chunk(Lsn lsn, Timestamp min, Timestamp max) {
  ChunkMeta meta;
  meta.ordinal = 1;
  meta.creation_lsn = lsn;
  meta.min_time = min;
  meta.max_time = max;
  return meta;
}

TEST(Tombstones, HidesOnlyOlderChunksOfItsSeriesInItsRange) {
  Tombstones tombstones;
  tombstones.Add(Make(10, {100, 200}, {1}));
  using Ranges = std::vector<TimeRange>;
  EXPECT_EQ(tombstones.HiddenIn(Chunk(9, 0, 1000)), (Ranges{{100, 200}}));
  EXPECT_EQ(tombstones.HiddenIn(Chunk(9, 150, 160)), (Ranges{{150, 161}}));
  EXPECT_EQ(tombstones.HiddenIn(Chunk(10, 0, 1000)), Ranges{});  // begun by the record after which nothing is hidden
  EXPECT_EQ(tombstones.HiddenIn(Chunk(11, 0, 1000)), Ranges{});
  EXPECT_EQ(tombstones.HiddenIn(Chunk(9, 200, 1000)), Ranges{});
  EXPECT_EQ(tombstones.HiddenIn(Chunk(9, 0, 99)), Ranges{});
  ChunkMeta other = Chunk(9, 0, 1000);
  other.ordinal = 2;
  EXPECT_EQ(tombstones.HiddenIn(other), Ranges{});
}

TEST(Tombstones, HiddenRangesAreJoinedAndTheFloorCounts) {
  Tombstones tombstones;
  tombstones.Add(Make(12, {500, 600}, {1}));
  tombstones.Add(Make(10, {100, 200}, {1}));
  tombstones.Add(Make(11, {200, 300}, {1}));
  tombstones.RaiseFloor(50);
  tombstones.RaiseFloor(20);
  EXPECT_EQ(tombstones.floor(), 50);
  EXPECT_EQ(tombstones.HiddenIn(Chunk(9, 0, 1000)), (std::vector<TimeRange>{{0, 50}, {100, 300}, {500, 600}}));
  EXPECT_EQ(tombstones.HiddenIn(Chunk(11, 60, 1000)), (std::vector<TimeRange>{{500, 600}}));
}

TEST(TombstoneView, WhatLiesOutsideOfTheRangeIsHidden) {
  const TombstoneView view;
  std::vector<TimeRange> hidden;
  const auto hidden_in = [&](TimeRange range) {
    view.HiddenIn(Chunk(9, 100, 199), range, &hidden);
    return hidden;
  };
  using Ranges = std::vector<TimeRange>;
  EXPECT_EQ(hidden_in({100, 200}), Ranges{});
  EXPECT_EQ(hidden_in({101, 199}), (Ranges{{100, 101}, {199, 200}}));
  EXPECT_EQ(hidden_in({0, 100}), (Ranges{{100, 200}}));
  EXPECT_EQ(hidden_in({200, 300}), (Ranges{{100, 200}}));
  EXPECT_EQ(hidden_in({}), Ranges{});
}

TEST(Tombstones, AddIsIdempotentAndDropForgets) {
  Tombstones tombstones;
  tombstones.Add(Make(10, {100, 200}, {1}));
  tombstones.Add(Make(10, {0, 1}, {2}));
  ASSERT_EQ(tombstones.Get()->size(), 1U);
  EXPECT_EQ((*tombstones.Get())[0]->range, (TimeRange{100, 200}));
  tombstones.Drop(11);
  EXPECT_EQ(tombstones.Get()->size(), 1U);
  tombstones.Drop(10);
  EXPECT_TRUE(tombstones.Get()->empty());
}

TEST(TombstoneView, IsUnitedAndCutByLsn) {
  Tombstones tombstones;
  tombstones.Add(Make(10, {100, 200}, {1}));
  tombstones.Add(Make(20, {300, 400}, {1}));
  TombstoneView before = tombstones.View();
  EXPECT_EQ(before.UpTo(9).list().size(), 0U);
  EXPECT_EQ(before.UpTo(10).list().size(), 1U);
  EXPECT_EQ(before.UpTo(20).list().size(), 2U);
  tombstones.Drop(10);
  tombstones.Add(Make(30, {500, 600}, {1}));
  tombstones.RaiseFloor(7);
  before.UnionWith(tombstones.View());
  ASSERT_EQ(before.list().size(), 3U);
  EXPECT_EQ(before.list()[0]->lsn, 10U);
  EXPECT_EQ(before.list()[2]->lsn, 30U);
  EXPECT_EQ(before.floor(), 7);
}

TEST(Tombstones, MayBeReadWhileTheyChange) {
  Tombstones tombstones;
  std::thread writer([&] {
    for (Lsn lsn = 1; lsn <= 200; ++lsn) {
      tombstones.Add(Make(lsn, {0, 10}, {1}));
      if (lsn % 3 == 0) tombstones.Drop(lsn - 1);
      tombstones.RaiseFloor(static_cast<Timestamp>(lsn));
    }
  });
  for (int i = 0; i < 200; ++i) {
    const TombstoneView view = tombstones.View();
    std::vector<TimeRange> hidden;
    view.HiddenIn(Chunk(1, 0, 300), {}, &hidden);
    for (std::size_t j = 1; j < view.list().size(); ++j) ASSERT_LT(view.list()[j - 1]->lsn, view.list()[j]->lsn);
  }
  writer.join();
}

}  // namespace
}  // namespace chronolith
