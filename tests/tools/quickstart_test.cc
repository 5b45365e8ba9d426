// tools/quickstart, as a newcomer runs it: on a live exporter, and where none can be had. The runs share build/quickstart, so they
// are tests of one program.
#include <gmock/gmock.h>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Quickstart : public CliTest {
 protected:
  static ProcessResult Run(std::vector<std::string> environment, std::vector<std::string> args) {
    std::vector<std::string> command = {"/usr/bin/env"};
    command.insert(command.end(), environment.begin(), environment.end());
    command.insert(command.end(), {"bash", CHRONOLITH_QUICKSTART});
    command.insert(command.end(), args.begin(), args.end());
    return RunProcess(command, {});
  }
  // An exporter that ends at once, found before the real one.
  std::string PathWithBrokenExporter() const {
    const std::string exporter = WriteFile("prometheus-node-exporter", "#!/bin/sh\necho broken by a test >&2\nexit 1\n");
    std::filesystem::permissions(exporter, std::filesystem::perms::owner_all);
    return "PATH=" + directory_ + ":" + std::getenv("PATH");
  }
};

TEST_F(Quickstart, ShowsSamplesOfALiveExporter) {
  const ProcessResult result = Run({}, {"--require-live", "--scrapes", "3"});
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("node_load1"), HasSubstr("node_cpu_seconds_total"), HasSubstr("Where to go next")));
  EXPECT_THAT(result.err, Not(HasSubstr("THE LIVE PATH FAILED")));
  // What it left is a database with as many samples a series as there were scrapes.
  const ProcessResult query = Cli({"query", "--db", CHRONOLITH_QUICKSTART_DB, "--format", "csv", "node_load1"});
  ASSERT_EQ(query.exit_code, kOk) << query.err;
  EXPECT_EQ(Lines(query.out, 1).size(), 3U) << query.out;
}

TEST_F(Quickstart, SaysThatTheLivePathFailedAndShowsTheRecordedCapture) {
  const ProcessResult result = Run({"-u", "CI", PathWithBrokenExporter()}, {});
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("THE LIVE PATH FAILED"), HasSubstr("recorded capture")));
  EXPECT_THAT(result.out, HasSubstr("node_load1"));
}

TEST_F(Quickstart, FailsWithoutALiveExporterWhereOneIsRequired) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{}, std::vector<std::string>{"--require-live"}}) {
    const ProcessResult result = Run({args.empty() ? "CI=true" : "CI=", PathWithBrokenExporter()}, args);
    EXPECT_EQ(result.exit_code, kFailure) << result.err;
    EXPECT_THAT(result.err, HasSubstr("a live scrape is required"));
  }
}

}  // namespace
}  // namespace chronolith::testing
