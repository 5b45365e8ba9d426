// chronolithd with clients that do not behave, as a user meets them: raw sockets on one side, the built program on the other.
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>

#include "tests/server/raw_client.h"
#include "tests/server/server_process.h"
#include "tests/support/peer_process.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

class ChronolithdLifeTest : public CliTest {
 protected:
  std::vector<std::string> Args(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"--db", db_, "--listen", "127.0.0.1:0"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  // More than the sockets' buffers of a connection take, once it is exported.
  void Fill() {
    std::string text;
    for (int i = 0; i < 400; ++i) {
      for (int s = 0; s < 2000; ++s) {
        text += "load{host=\"" + std::to_string(s) + "\"} 0." + std::to_string(i * 7919 + s) + "1234567 " +
                std::to_string(1'700'000'000'000 + i * 15'000) + "\n";
      }
    }
    const ProcessResult import = Cli({"import", "--db", db_, "--input-format", "prometheus", "--shards", "4", "-"}, text);
    ASSERT_EQ(import.exit_code, kOk) << import.err;
  }
};

TEST_F(ChronolithdLifeTest, ClientsThatDoNotReadTheirExportsStopNobody) {
  Fill();
  ServerProcess server(Args({"--workers", "4"}));
  ASSERT_GT(server.port(), 0) << server.err();
  const auto port = static_cast<std::uint16_t>(server.port());
  while (HttpCall(port, "GET", "/-/ready").status == 503) {
  }
  const std::string all = Get("/api/v1/export?match[]=load");
  std::vector<std::unique_ptr<RawClient>> stuck;
  for (int i = 0; i < 2; ++i) {
    stuck.push_back(std::make_unique<RawClient>(port, 4096));
    ASSERT_TRUE(stuck.back()->Send(all));
    ASSERT_EQ(stuck.back()->Read(/*head=*/true).status, 200);
  }
  RawClient other(port);
  RawAnswer refused = other.Ask(all);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers["retry-after"], "5");
  EXPECT_EQ(other.Ask(Get("/-/healthy")).status, 200);
  EXPECT_EQ(other.Ask(Get("/-/ready")).status, 200);
  EXPECT_EQ(other.Ask(Get("/api/v1/labels")).status, 200);
  const RawAnswer metrics = other.Ask(Get("/metrics"));
  for (const char* line : {"chronolith_http_streams 2\n", "chronolith_http_streams_refused_total 1\n",
                           "chronolith_http_requests_total{handler=\"/api/v1/export\",code=\"503\"} 1\n"}) {
    EXPECT_TRUE(metrics.body.find(line) != std::string::npos) << line;
  }
  stuck.pop_back();
  while (refused.status == 503) refused = other.Ask(all);
  EXPECT_EQ(refused.status, 200) << refused.error;
  EXPECT_EQ(Lines(refused.body).size(), 2000U);
  stuck.pop_back();
  const ProcessResult result = server.Stop(SIGTERM);
  EXPECT_EQ(result.exit_code, kOk) << result.err;
}

}  // namespace
}  // namespace chronolith::testing
