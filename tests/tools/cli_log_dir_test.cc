// A log in a directory of its own: given once, moved, and the logs that are not this store's.
#include <gmock/gmock.h>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class CliLogDir : public CliTest {
 protected:
  ProcessResult Read(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"query", "--db", db_, "--format", "csv", "{}"};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  static constexpr std::string_view kOne = "m 1 1000\n";
  static constexpr std::string_view kTwo = "m 2 2000\n";
};

TEST_F(CliLogDir, IsGivenOnceAndFoundFromAnotherWorkingDirectory) {
  fs::create_directories(Path("work"));
  const ProcessResult made = RunProcess(
      {"/bin/sh", "-c", "cd '" + Path("work") + "' && exec '" CHRONOLITH_CLI "' import --db '" + db_ + "' --log-dir ../fast/log/"},
      kOne);
  ASSERT_EQ(made.exit_code, kOk) << made.err;
  EXPECT_TRUE(fs::exists(Path("fast/log/CURRENT")));
  EXPECT_FALSE(fs::exists(db_ + "/log"));
  ASSERT_EQ(Import(kTwo).exit_code, kOk);
  EXPECT_THAT(Query("{}"), ElementsAre("m,1000,1", "m,2000,2"));
  ASSERT_EQ(Import("m 3 3000\n", {"--log-dir", Path("work") + "/../fast/log"}).exit_code, kOk);
}

TEST_F(CliLogDir, AMovedLogIsTakenWhereItIsSaidToBeAndFoundThereFromThenOn) {
  ASSERT_EQ(Import(kOne).exit_code, kOk);
  fs::create_directories(Path("fast"));
  fs::rename(db_ + "/log", Path("fast/log"));
  EXPECT_EQ(Read().exit_code, kFailure);
  // A reader writes nothing down.
  EXPECT_EQ(Lines(Read({"--log-dir", Path("fast/log")}).out, 1), std::vector<std::string>{"m,1000,1"});
  EXPECT_EQ(Read().exit_code, kFailure);
  ASSERT_EQ(Import(kTwo, {"--log-dir", Path("fast/log")}).exit_code, kOk);
  EXPECT_THAT(Query("{}"), ElementsAre("m,1000,1", "m,2000,2"));
  EXPECT_FALSE(fs::exists(db_ + "/log"));
  // And back; then the whole directory.
  fs::rename(Path("fast/log"), db_ + "/log");
  ASSERT_EQ(Import("m 3 3000\n", {"--log-dir", db_ + "/log"}).exit_code, kOk);
  fs::rename(db_, Path("elsewhere"));
  db_ = Path("elsewhere");
  EXPECT_THAT(Query("{}"), ElementsAre("m,1000,1", "m,2000,2", "m,3000,3"));
}

TEST_F(CliLogDir, ALogThatIsNotThereOrNotThisStoresIsRefusedAndNothingIsMade) {
  ASSERT_EQ(Import(kOne).exit_code, kOk);
  const ProcessResult none = Import(kTwo, {"--log-dir", Path("none")});
  EXPECT_EQ(none.exit_code, kFailure);
  EXPECT_THAT(none.err, HasSubstr("log instance"));
  EXPECT_FALSE(fs::exists(Path("none/CURRENT")));
  ASSERT_EQ(Cli({"import", "--db", Path("other")}, kOne).exit_code, kOk);
  const ProcessResult foreign = Import(kTwo, {"--log-dir", Path("other/log")});
  EXPECT_EQ(foreign.exit_code, kFailure);
  EXPECT_THAT(foreign.err, HasSubstr("log and data of different copies"));
  // The store is where it was.
  ASSERT_EQ(Import(kTwo).exit_code, kOk);
  EXPECT_THAT(Query("{}"), ElementsAre("m,1000,1", "m,2000,2"));
}

}  // namespace
}  // namespace chronolith::testing
