#include "ops/temporary_directory.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class TemporaryDirectoryTest : public ::testing::Test {
 protected:
  TemporaryDirectoryTest() {
    const char* const before = getenv("TMPDIR");
    if (before != nullptr) before_ = before;
    setenv("TMPDIR", directory_.path().c_str(), 1);
  }
  ~TemporaryDirectoryTest() override { before_.empty() ? unsetenv("TMPDIR") : setenv("TMPDIR", before_.c_str(), 1); }

  std::set<std::string> There() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_.path())) names.insert(entry.path());
    return names;
  }
  // Makes one with a file in it in a process that is then killed.
  void MakeAndDie(const char* purpose) const {
    const pid_t child = fork();
    if (child == 0) {
      const auto made = TemporaryDirectory::Make(purpose);
      if (!made.ok()) _exit(1);
      std::ofstream((*made)->path() + "/file") << "text";
      raise(SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
  }

  std::string before_;
  testing_support::TempDirectory directory_;
};

TEST_F(TemporaryDirectoryTest, GoesWithItsObject) {
  {
    const auto made = TemporaryDirectory::Make("some");
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    EXPECT_THAT((*made)->path(), HasSubstr(directory_.path() + "/chronolith-some-"));
    EXPECT_EQ(There(), std::set<std::string>{(*made)->path()});
    std::ofstream((*made)->path() + "/file") << "text";
  }
  EXPECT_TRUE(There().empty());
}

TEST_F(TemporaryDirectoryTest, WhatADeadProcessLeftGoesWithTheNext) {
  MakeAndDie("some");
  MakeAndDie("other");
  const std::set<std::string> left = There();
  ASSERT_EQ(left.size(), 2U);
  const std::string other = *left.begin();
  { ASSERT_TRUE(TemporaryDirectory::Make("some").ok()); }
  EXPECT_EQ(There(), std::set<std::string>{other}) << "of another purpose";
}

TEST_F(TemporaryDirectoryTest, WhatIsInUseOrNotItsOwnStays) {
  const auto first = TemporaryDirectory::Make("some");
  ASSERT_TRUE(first.ok());
  const std::string file = directory_ / "chronolith-some-file";
  const std::string link = directory_ / "chronolith-some-link";
  const std::string target = directory_ / "target";
  std::ofstream(file) << "text";
  fs::create_directory(target);
  fs::create_symlink(target, link);
  const std::set<std::string> before = There();
  { ASSERT_TRUE(TemporaryDirectory::Make("some").ok()); }
  EXPECT_EQ(There(), before);
}

TEST_F(TemporaryDirectoryTest, WantOfRoomIsToldInBytes) {
  const auto made = TemporaryDirectory::Make("some");
  ASSERT_TRUE(made.ok());
  EXPECT_EQ((*made)->CheckRoom(1), Status::Ok());
  const Status refused = (*made)->CheckRoom(1ULL << 60);
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(), HasSubstr(std::to_string(1ULL << 60) + " bytes"));
  EXPECT_THAT(refused.message(), HasSubstr(directory_.path()));
  EXPECT_THAT(refused.message(), HasSubstr("TMPDIR"));
}

TEST_F(TemporaryDirectoryTest, ElsewhereItIsTheSameWithoutTMPDIR) {
  setenv("TMPDIR", (directory_ / "none").c_str(), 1);
  const auto made = TemporaryDirectory::Make("some", directory_.path());
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_EQ(There(), std::set<std::string>{(*made)->path()});
  const Status refused = (*made)->CheckRoom(1ULL << 60);
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(), HasSubstr(directory_.path()));
  EXPECT_THAT(refused.message(), ::testing::Not(HasSubstr("TMPDIR")));
}

TEST_F(TemporaryDirectoryTest, WithoutATMPDIRItIsAnError) {
  setenv("TMPDIR", (directory_ / "none").c_str(), 1);
  const auto made = TemporaryDirectory::Make("some");
  EXPECT_FALSE(made.ok());
  EXPECT_THAT(made.status().message(), HasSubstr("TMPDIR"));
}

}  // namespace
}  // namespace chronolith::ops
