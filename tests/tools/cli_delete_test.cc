#include <gmock/gmock.h>

#include <set>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CliDelete : public CliTest {
 protected:
  CliDelete() { EXPECT_EQ(Import("a{x=\"1\"} 1 1000\na{x=\"1\"} 2 2000\na{x=\"2\"} 3 1000\nb 4 1000\n").exit_code, kOk); }
  ProcessResult Delete(std::vector<std::string> more) const {
    std::vector<std::string> args = {"delete", "--db", db_, "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  // With their sizes.
  std::set<std::string> Files() const {
    std::set<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(db_)) {
      if (entry.is_regular_file()) files.insert(entry.path().string() + " " + std::to_string(entry.file_size()));
    }
    return files;
  }
  // On a terminal of its own, with `answer` typed.
  ProcessResult DeleteOnATerminal(const std::string& answer) const {
    return RunProcess(
        {"/usr/bin/script", "-qec", std::string(CHRONOLITH_CLI) + " delete --db '" + db_ + "' --match b", "/dev/null"},
        answer + "\n");
  }
  static constexpr const char* kAll[] = {"\"a{x=\"\"1\"\"}\",1000,1", "\"a{x=\"\"1\"\"}\",2000,2", "\"a{x=\"\"2\"\"}\",1000,3",
                                         "b,1000,4"};
};

TEST_F(CliDelete, HidesWhatItSaidItWould) {
  const auto dry = Json(Delete({"--match", "a", "--end", "1970-01-01T00:00:02Z", "--dry-run"}));
  EXPECT_EQ(dry["series"], 2);
  EXPECT_EQ(dry["samples"], 2);
  EXPECT_THAT(Query("{}"), ElementsAre(kAll[0], kAll[1], kAll[2], kAll[3]));
  const ProcessResult real = Delete({"--match", "a", "--end", "1970-01-01T00:00:02Z", "--yes"});
  EXPECT_EQ(real.exit_code, kOk) << real.err;
  EXPECT_EQ(Json(real)["samples"], 2);
  EXPECT_THAT(Query("{}"), ElementsAre(kAll[1], kAll[3]));
  EXPECT_EQ(Cli({"compact", db_}).exit_code, kOk);
  EXPECT_THAT(Query("{}"), ElementsAre(kAll[1], kAll[3]));
}

TEST_F(CliDelete, SeveralSelectorsAreCountedOnce) {
  EXPECT_EQ(Json(Delete({"--match", "a", "--match", "{x=\"1\"}", "--yes"}))["samples"], 3);
  EXPECT_THAT(Query("{}"), ElementsAre(kAll[3]));
}

TEST_F(CliDelete, AsksOnATerminalAndWantsYesOffOne) {
  const std::set<std::string> before = Files();
  const ProcessResult unasked = Delete({"--match", "b"});
  EXPECT_EQ(unasked.exit_code, kUsage);
  EXPECT_THAT(unasked.err, HasSubstr("--yes"));
  EXPECT_EQ(Files(), before) << "it was not even opened for writing";
  const ProcessResult no = DeleteOnATerminal("n");
  EXPECT_EQ(no.exit_code, kFailure);
  EXPECT_THAT(no.out + no.err, HasSubstr("Delete 1 samples of 1 series? [y/N]"));
  EXPECT_THAT(Query("{}"), ElementsAre(kAll[0], kAll[1], kAll[2], kAll[3]));
  EXPECT_EQ(DeleteOnATerminal("y").exit_code, kOk);
  EXPECT_THAT(Query("{}"), ElementsAre(kAll[0], kAll[1], kAll[2]));
}

TEST_F(CliDelete, RefusesWhatCannotBeMeant) {
  EXPECT_EQ(Delete({"--yes"}).exit_code, kUsage);                            // nothing named
  EXPECT_EQ(Delete({"--match", "a{x=~\"(\"}", "--yes"}).exit_code, kUsage);  // no regular expression
  EXPECT_EQ(Delete({"--match", "{}", "--yes"}).exit_code, kUsage);           // everything
  EXPECT_EQ(Cli({"delete", "--db", Path("none"), "--match", "a", "--yes"}).exit_code, kFailure);
  EXPECT_THAT(Query("{}"), ElementsAre(kAll[0], kAll[1], kAll[2], kAll[3]));
  EXPECT_EQ(Json(Delete({"--match", "nothing", "--yes"}))["series"], 0);
}

}  // namespace
}  // namespace chronolith::testing
