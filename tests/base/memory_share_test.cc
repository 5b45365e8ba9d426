#include "base/memory_share.h"

#include <gtest/gtest.h>

namespace chronolith {
namespace {

static_assert(noexcept(std::declval<MemoryShare&>().Grow(1)) && noexcept(std::declval<MemoryShare&>().ShrinkTo(1)));

TEST(MemoryShare, TakesWhatIsThereAndGivesAllOfItBack) {
  MemoryBudget budget(1000);
  {
    MemoryShare a(&budget), b(&budget);
    EXPECT_TRUE(a.Grow(600));
    EXPECT_FALSE(b.Grow(401));
    EXPECT_EQ(b.bytes(), 0U) << "all or nothing";
    EXPECT_TRUE(b.GrowTo(400));
    EXPECT_TRUE(b.GrowTo(300)) << "it holds more already";
    EXPECT_FALSE(b.GrowTo(401));
    EXPECT_EQ(budget.used_bytes(), 1000U);
    a.ShrinkTo(700);
    EXPECT_EQ(a.bytes(), 600U);
    a.ShrinkTo(100);
    EXPECT_TRUE(b.GrowTo(900));
    EXPECT_EQ(budget.used_bytes(), 1000U);
  }
  EXPECT_EQ(budget.used_bytes(), 0U);
}

TEST(MemoryShare, SizesBeyondTheBudgetDoNotWrapAround) {
  MemoryBudget budget(1000);
  MemoryShare share(&budget);
  ASSERT_TRUE(share.Grow(10));
  EXPECT_FALSE(share.Grow(~0ULL));
  EXPECT_FALSE(share.GrowTo(~0ULL));
  EXPECT_EQ(budget.used_bytes(), 10U);
}

}  // namespace
}  // namespace chronolith
