#include "base/idle_pool.h"

#include <gtest/gtest.h>

namespace chronolith {
namespace {

static_assert(noexcept(std::declval<IdlePool<int>&>().Give(nullptr)), "it is called by destructors");

TEST(IdlePool, TheLastOneBackIsTheFirstOneOut) {
  IdlePool<int> pool;
  EXPECT_EQ(pool.Take(), nullptr);
  pool.Give(std::make_unique<int>(1));
  pool.Give(std::make_unique<int>(2));
  pool.Give(nullptr);  // whoever could not make one has none to give
  EXPECT_EQ(pool.size(), 2U);
  EXPECT_EQ(*pool.Take(), 2);
  EXPECT_EQ(*pool.Take(), 1);
  EXPECT_EQ(pool.Take(), nullptr);
}

}  // namespace
}  // namespace chronolith
