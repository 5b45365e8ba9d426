#include "base/heap.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/sanitized.h"

namespace chronolith {
namespace {

std::uint64_t ResidentBytes() {
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// Blocks of 32 KiB of another thread's arena, of which every hundredth stays: the arena cannot shrink from its end.
std::vector<std::unique_ptr<char[]>> FreedBetween(std::size_t blocks) {
  std::vector<std::unique_ptr<char[]>> kept;
  std::thread([&] {
    std::vector<std::unique_ptr<char[]>> all;
    for (std::size_t i = 0; i < blocks; ++i) {
      all.push_back(std::make_unique_for_overwrite<char[]>(32 << 10));
      std::memset(all.back().get(), 1, 32 << 10);
    }
    for (std::size_t i = 99; i < blocks; i += 100) kept.push_back(std::move(all[i]));
  }).join();
  return kept;
}

TEST(Heap, WhatWasFreedGoesBackToTheSystemAboveTheLimitOnly) {
  if (testing_support::kSanitized) return;  // sanitizers bring an allocator of their own
  const auto kept = FreedBetween(6400);     // 200 MiB
  const std::uint64_t before = ResidentBytes();
  ASSERT_GT(before, 200ULL << 20) << "the allocator keeps it";
  EXPECT_FALSE(ReturnFreedMemory(1ULL << 40));
  EXPECT_GT(ResidentBytes(), before - (8ULL << 20));
  EXPECT_TRUE(ReturnFreedMemory(64ULL << 20));
  EXPECT_LT(ResidentBytes(), before - (150ULL << 20));
  EXPECT_FALSE(ReturnFreedMemory(64ULL << 20)) << "nothing is left to give";
  // Memory that is not the allocator's is none that it could give back, however often it is asked.
  constexpr std::size_t kOther = 128 << 20;
  void* const other = mmap(nullptr, kOther, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(other, MAP_FAILED);
  std::memset(other, 1, kOther);
  (void)ReturnFreedMemory(64ULL << 20);
  EXPECT_FALSE(ReturnFreedMemory(64ULL << 20));
  munmap(other, kOther);
}

}  // namespace
}  // namespace chronolith
