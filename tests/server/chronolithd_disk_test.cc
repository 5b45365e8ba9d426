// chronolithd on a disk that fills up, as a user meets it: what it answers meanwhile, and that it goes on without a restart.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mount.h>

#include <memory>

#include "tests/server/server_process.h"
#include "tests/support/peer_process.h"
#include "tests/support/skip.h"
#include "tests/support/small_disk.h"
#include "tests/support/temp_directory.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kDiskBytes = 150 << 20;
constexpr std::int64_t kTime = 1'760'000'000'000;
std::string disk_path;  // "": this machine does not let us mount one

class ChronolithdDiskTest : public CliTest {
 protected:
  void Start(const std::string& db) {
    server_ = std::make_unique<ServerProcess>(
        std::vector<std::string>{"--db", db, "--listen", "127.0.0.1:0", "--shards", "2", "--ack-level", "synced"});
    ASSERT_GT(server_->port(), 0) << server_->err();
    ASSERT_TRUE(server_->WaitUntilReady()) << server_->err();
  }
  // The status of the answer to one more sample, which is remembered where it is acknowledged.
  int Write() {
    const std::string time = std::to_string(kTime + 1000 * written_++);
    const std::string body =
        R"({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "g", "gauge": {"dataPoints": [{"asDouble": 1, "timeUnixNano": ")" +
        time + R"(000000"}]}}]}]}]})";
    const int status = HttpCall(server_->port(), "POST", "/v1/metrics", body, {"Content-Type: application/json"}).status;
    if (status == 200) acknowledged_.push_back(time);
    return status;
  }
  std::string Get(const std::string& path) { return HttpCall(server_->port(), "GET", path).body; }
  // Of what was acknowledged, what `text` lacks.
  std::vector<std::string> Missing(const std::string& text) const {
    std::vector<std::string> missing;
    for (const std::string& time : acknowledged_) {
      if (text.find(time) == std::string::npos) missing.push_back(time);
    }
    return missing;
  }
  void StopAndFindAll(const std::string& db) {
    const ProcessResult result = server_->Stop(SIGTERM);
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    const ProcessResult all = Cli({"export", "--db", db, "--to", "csv"});
    EXPECT_EQ(all.exit_code, kOk) << all.err;
    EXPECT_EQ(Missing(all.out), std::vector<std::string>{});
  }

  std::unique_ptr<ServerProcess> server_;
  std::int64_t written_ = 0;
  std::vector<std::string> acknowledged_;
};

TEST_F(ChronolithdDiskTest, ALogThatFailedIsOpenedAgainOnceTheDiskTakesWrites) {
  setenv("LD_PRELOAD", STUCK_DISK, 1);
  setenv("CHRONOLITH_TEST_FULL_DISK", Path("full").c_str(), 1);
  Start(db_);
  unsetenv("LD_PRELOAD");
  ASSERT_EQ(Write(), 200);
  WriteFile("full", "");
  EXPECT_EQ(Write(), 503);
  ASSERT_TRUE(server_->WaitForLog("the log is still closed: the disk of " + db_ + " takes no writes")) << server_->err();
  EXPECT_EQ(Write(), 503);
  const HttpAnswer ready = HttpCall(server_->port(), "GET", "/-/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_THAT(ready.body, HasSubstr("the log failed"));
  EXPECT_THAT(Get("/metrics"), HasSubstr("\nchronolith_wal_failed 1\n"));
  EXPECT_EQ(Missing(Get("/api/v1/export?match[]=g")), std::vector<std::string>{});  // reads go on

  std::filesystem::remove(Path("full"));
  ASSERT_TRUE(server_->WaitForLog("the log was opened again and replayed: writes are taken")) << server_->err();
  ASSERT_TRUE(server_->WaitUntilReady()) << server_->err();
  EXPECT_EQ(Write(), 200);
  const std::string metrics = Get("/metrics");
  EXPECT_THAT(metrics, HasSubstr("\nchronolith_wal_failed 0\n"));
  EXPECT_THAT(metrics, HasSubstr("\nchronolith_server_log_reopenings_total{result=\"ok\"} 1\n"));
  EXPECT_EQ(Missing(Get("/api/v1/export?match[]=g")), std::vector<std::string>{});
  StopAndFindAll(db_);
}

TEST_F(ChronolithdDiskTest, ADiskThatAnotherFillsStopsWritesUntilThereIsRoom) {
  if (disk_path.empty()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  SmallDisk disk(disk_path);
  for (int cycle = 0; cycle < 3; ++cycle) {
    if (cycle == 0) Start(disk.Store());
    ASSERT_EQ(Write(), 200);
    disk.Crowd(0);
    int status = 200;
    while (status == 200) status = Write();
    EXPECT_THAT(status, ::testing::AnyOf(429, 503));  // the store saw it, or its log met the end of the disk first
    EXPECT_THAT(Write(), ::testing::AnyOf(429, 503));
    EXPECT_EQ(Missing(Get("/api/v1/export?match[]=g")), std::vector<std::string>{});
    EXPECT_THAT(Get("/metrics"), HasSubstr("chronolith_otlp_points_total{result=\"failed\"} "));
    EXPECT_THAT(Get("/metrics"),
                ::testing::ContainsRegex("chronolith_http_requests_total\\{handler=\"/v1/metrics\",code=\"(429|503)\"\\} [1-9]"));
    disk.MakeRoom();
    while (status != 200) {
      status = Write();
      ASSERT_THAT(status, ::testing::AnyOf(200, 429, 503)) << server_->err();
    }
    EXPECT_EQ(Missing(Get("/api/v1/export?match[]=g")), std::vector<std::string>{});
  }
  StopAndFindAll(disk.Store());
}

}  // namespace
}  // namespace chronolith::testing

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  chronolith::testing_support::TempDirectory directory;
  if (chronolith::testing::MountSmallDisk(directory.path(), chronolith::testing::kDiskBytes)) {
    chronolith::testing::disk_path = directory.path();
  }
  const int rc = RUN_ALL_TESTS();
  if (!chronolith::testing::disk_path.empty()) umount(directory.path().c_str());
  return rc;
}
