#include "base/cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_directory.h"

namespace chronolith {
namespace {

class Cgroup : public testing::Test {
 protected:
  void Write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = directory_ / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::optional<std::uint64_t> Limit() { return CgroupMemoryLimit(directory_ / "membership", directory_ / "root"); }

  testing_support::TempDirectory directory_;
};

TEST_F(Cgroup, OfVersion2IsTheLowestOnTheWayUp) {
  Write("membership", "0::/system.slice/host.service\n");
  EXPECT_EQ(Limit(), std::nullopt) << "nothing is mounted";
  Write("root/system.slice/host.service/memory.max", "max\n");
  EXPECT_EQ(Limit(), std::nullopt);
  Write("root/system.slice/memory.max", "3000\n");
  EXPECT_EQ(Limit(), 3000U);
  Write("root/system.slice/host.service/memory.max", "4000\n");
  EXPECT_EQ(Limit(), 3000U);
  Write("root/system.slice/host.service/memory.max", "2000\n");
  EXPECT_EQ(Limit(), 2000U);
}

TEST_F(Cgroup, OfVersion1IsThatOfTheMemoryController) {
  Write("membership", "3:cpu,cpuacct:/a\n2:memory,other:/a/b\n1:name=systemd:/\n0::/\n");
  Write("root/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
  Write("root/cpu/a/memory.limit_in_bytes", "1\n");
  EXPECT_EQ(Limit(), std::nullopt);
  Write("root/memory/a/memory.limit_in_bytes", "5000\n");
  EXPECT_EQ(Limit(), 5000U);
}

TEST_F(Cgroup, InAContainerTheMountedRootIsTheGroup) {
  Write("membership", "0::/host/path/that/is/not/here\n");
  Write("root/memory.max", "7000\n");
  EXPECT_EQ(Limit(), 7000U);
}

TEST_F(Cgroup, WhatCannotBeReadIsNoLimit) {
  EXPECT_EQ(Limit(), std::nullopt) << "no such file";
  Write("membership", "nonsense\n:\n0:\n0::/g\n");
  Write("root/g/memory.max", "12x\n");
  EXPECT_EQ(Limit(), std::nullopt);
  EXPECT_NE(CgroupMemoryLimit(), 0U);
}

}  // namespace
}  // namespace chronolith
