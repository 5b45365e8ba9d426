// The handling of real peers that other tests rest on.
#include "tests/support/peer_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>

#include "tests/support/temp_directory.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;

TEST(PeerProcess, IsReadyWhenItsUrlAnswersAndGoneAfterwards) {
  const testing_support::TempDirectory dir;
  pid_t pid = 0;
  int port = 0;
  {
    PeerProcess peer({.args =
                          [&](int p) {
                            return std::vector<std::string>{FindProgram("victoria-metrics"), "-storageDataPath", dir / "data",
                                                            "-httpListenAddr=127.0.0.1:" + std::to_string(p)};
                          },
                      .ready_path = "/health",
                      .log_file = dir / "log"});
    ASSERT_TRUE(peer.ready()) << peer.Log();
    pid = peer.pid();
    port = peer.port();
    EXPECT_EQ(HttpCall(port, "GET", "/health").body, "OK");
    EXPECT_EQ(HttpCall(port, "GET", "/api/v1/query").status, 422) << "the parameter is missing";
  }
  EXPECT_EQ(HttpCall(port, "GET", "/health").status, 0);
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(PeerProcess, SaysWhyItIsNotReady) {
  const testing_support::TempDirectory dir;
  PeerProcess peer({.args =
                        [](int) {
                          return std::vector<std::string>{FindProgram("prometheus"), "--no-such-flag"};
                        },
                    .log_file = dir / "log"});
  EXPECT_FALSE(peer.ready());
  EXPECT_THAT(peer.Log(), HasSubstr("--no-such-flag"));
}

}  // namespace
}  // namespace chronolith::testing
