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

TEST(MemoryShare, TellsWhatWillNeverFitFromWhatOthersHold) {
  MemoryBudget budget(1000);
  MemoryShare other(&budget), share(&budget, /*beside=*/100);
  ASSERT_TRUE(other.Grow(950));
  ASSERT_TRUE(share.Grow(50));
  EXPECT_FALSE(share.Grow(850));
  EXPECT_FALSE(share.hopeless()) << "with what lies beside it, the budget is just enough";
  EXPECT_EQ(share.refusal().code(), StatusCode::kResourceExhausted);
  EXPECT_FALSE(share.Grow(851));
  EXPECT_TRUE(share.hopeless());
  EXPECT_EQ(share.refusal().code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(share.refusal().message().find("1000 bytes"), std::string::npos);
  EXPECT_FALSE(share.GrowTo(~0ULL));
  EXPECT_TRUE(share.hopeless());
  EXPECT_FALSE(share.GrowTo(60)) << "others hold it";
  EXPECT_FALSE(share.hopeless());
  MemoryShare all_beside(&budget, 1001);
  EXPECT_FALSE(all_beside.Grow(1));
  EXPECT_TRUE(all_beside.hopeless());
}

TEST(MemoryShare, AGaugeSaysWhatIsTaken) {
  MemoryBudget budget(1000);
  SharedCounter gauge;
  {
    MemoryShare share(&budget, 0, &gauge);
    ASSERT_TRUE(share.Grow(600));
    share.ForceGrow(600);
    EXPECT_EQ(gauge.Get(), 1200U);
    EXPECT_EQ(budget.used_bytes(), 1200U);
    EXPECT_FALSE(share.Grow(1));
    share.ShrinkTo(10);
    EXPECT_EQ(gauge.Get(), 10U);
  }
  EXPECT_EQ(gauge.Get(), 0U);
  EXPECT_EQ(budget.used_bytes(), 0U);
}

}  // namespace
}  // namespace chronolith
