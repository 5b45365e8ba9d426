#include "base/idle_pool.h"

#include <gtest/gtest.h>

namespace chronolith {
namespace {

static_assert(noexcept(std::declval<IdlePool<int>&>().Give(nullptr, 0)), "it is called by destructors");

TEST(IdlePool, TheLastOneBackIsTheFirstOneOut) {
  IdlePool<int> pool(100);
  EXPECT_EQ(pool.Take(), nullptr);
  pool.Give(std::make_unique<int>(1), 10);
  pool.Give(std::make_unique<int>(2), 20);
  pool.Give(nullptr, 5);  // whoever could not make one has none to give
  EXPECT_EQ(pool.bytes(), 30U);
  EXPECT_EQ(*pool.Take(), 2);
  EXPECT_EQ(*pool.Take(), 1);
  EXPECT_EQ(pool.Take(), nullptr);
  EXPECT_EQ(pool.bytes(), 0U);
}

TEST(IdlePool, KeepsNoMoreThanItsBound) {
  IdlePool<int> pool(100);
  pool.Give(std::make_unique<int>(1), 60);
  pool.Give(std::make_unique<int>(2), 41);
  pool.Give(std::make_unique<int>(3), ~std::size_t{0});
  pool.Give(std::make_unique<int>(4), 40);
  EXPECT_EQ(pool.bytes(), 100U);
  EXPECT_EQ(*pool.Take(), 4);
  EXPECT_EQ(*pool.Take(), 1);
  EXPECT_EQ(pool.Take(), nullptr);
}

}  // namespace
}  // namespace chronolith
