// replay --target remote-write against a real Prometheus and a real VictoriaMetrics: what the log holds is queried back from there.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>

#include "tests/support/peer_process.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;

// Metric and labels as JSON has them, with the samples in order of time: (ms, value).
using Series = std::map<std::string, std::vector<std::pair<std::int64_t, double>>>;

class CliReplayPeer : public CliTest {
 protected:
  static constexpr int kSeries = 200;
  static constexpr int kTimes = 60;

  CliReplayPeer() { setenv("no_proxy", "*", 1); }

  // Ten minutes up to now, in writes of all series at one time; whole seconds, as Prometheus' API shows times.
  void Fill() {
    now_ms_ = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count() * 1000;
    std::string text;
    for (int i = 0; i < kTimes; ++i) {
      const std::int64_t t = now_ms_ - (kTimes - i) * 10'000;
      for (int s = 0; s < kSeries; ++s) {
        const double value = s + i / 8.0;
        const std::string name = "load_" + std::to_string(s % 3);
        const std::string instance = "host " + std::to_string(s);
        text += name + "{instance=\"" + instance + "\"} " + std::to_string(value) + " " + std::to_string(t) + "\n";
        const nlohmann::json labels = {{"__name__", name}, {"instance", instance}};
        written_[labels.dump()].emplace_back(t, value);
      }
    }
    const ProcessResult import = Cli({"import", "--db", db_, "--input-format", "prometheus", "--shards", "4", "-"}, text);
    ASSERT_EQ(import.exit_code, kOk) << import.err;
  }

  PeerProcess::Setup Prometheus(std::vector<std::string> more = {}) {
    WriteFile("prometheus.yml", "global: {}\n");
    return {.args =
                [this, more](int port) {
                  std::vector<std::string> args = {FindProgram("prometheus"), "--config.file=" + Path("prometheus.yml"),
                                                   "--storage.tsdb.path=" + Path("prometheus"),
                                                   "--web.enable-remote-write-receiver",
                                                   "--web.listen-address=127.0.0.1:" + std::to_string(port)};
                  args.insert(args.end(), more.begin(), more.end());
                  return args;
                },
            .ready_path = "/-/ready",
            .log_file = Path("prometheus.log")};
  }
  PeerProcess::Setup VictoriaMetrics() {
    return {.args =
                [this](int port) {
                  return std::vector<std::string>{FindProgram("victoria-metrics"), "-storageDataPath=" + Path("victoria"),
                                                  "-retentionPeriod=1y", "-httpListenAddr=127.0.0.1:" + std::to_string(port)};
                },
            .ready_path = "/health",
            .log_file = Path("victoria.log")};
  }

  ProcessResult Replay(const PeerProcess& peer, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"replay", db_, "--target", "remote-write:" + peer.url() + "/api/v1/write", "--format", "json"});
    return Cli(more);
  }

  Series InPrometheus(const PeerProcess& peer, const std::vector<std::string>& headers = {}) const {
    const HttpAnswer answer =
        HttpCall(peer.port(), "GET",
                 "/api/v1/query?query=%7B__name__=~%22load_.*%22%7D%5B1h%5D&time=" + std::to_string(now_ms_ / 1000), "", headers);
    EXPECT_EQ(answer.status, 200) << answer.body;
    Series found;
    const auto json = nlohmann::json::parse(answer.body, nullptr, false);
    if (json.is_discarded()) return found;
    for (const auto& series : json["data"]["result"]) {
      auto& samples = found[series["metric"].dump()];
      for (const auto& sample : series["values"]) {
        samples.emplace_back(std::llround(sample[0].get<double>() * 1000), std::stod(sample[1].get<std::string>()));
      }
    }
    return found;
  }
  static Series InVictoriaMetrics(const PeerProcess& peer) {
    EXPECT_EQ(HttpCall(peer.port(), "GET", "/internal/force_flush").status, 200);
    const HttpAnswer answer =
        HttpCall(peer.port(), "GET", "/api/v1/export?reduce_mem_usage=0&match[]=%7B__name__=~%22load_.*%22%7D");
    EXPECT_EQ(answer.status, 200) << answer.body;
    Series found;
    for (const std::string& line : Lines(answer.body)) {
      const auto json = nlohmann::json::parse(line);
      auto& samples = found[json["metric"].dump()];
      for (std::size_t i = 0; i < json["values"].size(); ++i) {
        const std::pair<std::int64_t, double> sample(json["timestamps"][i], json["values"][i]);
        if (samples.empty() || samples.back() != sample) samples.push_back(sample);  // a part may have been sent twice
      }
    }
    return found;
  }

  std::int64_t now_ms_ = 0;
  Series written_;
};

TEST_F(CliReplayPeer, PrometheusHasEverySample) {
  PeerProcess peer(Prometheus());
  ASSERT_TRUE(peer.ready()) << peer.Log();
  Fill();
  const ProcessResult result = Replay(peer, {"--cursor", Path("cursor")});
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  const nlohmann::json json = Json(result);
  EXPECT_EQ(json["samples"], kSeries * kTimes);
  EXPECT_EQ(json["sent"], json["items"]);
  EXPECT_EQ(json["target"], "remote-write:" + peer.url() + "/api/v1/write");
  EXPECT_EQ(InPrometheus(peer), written_);
  const ProcessResult again = Replay(peer, {"--cursor", Path("cursor")});
  EXPECT_EQ(again.exit_code, kOk) << again.err;
  EXPECT_EQ(Json(again)["sent"], 0);
}

TEST_F(CliReplayPeer, PrometheusGetsOnlyWhatMatches) {
  PeerProcess peer(Prometheus());
  ASSERT_TRUE(peer.ready()) << peer.Log();
  Fill();
  ASSERT_EQ(Replay(peer, {"--match", "load_1", "--since", std::to_string(now_ms_ - 60'000)}).exit_code, kOk);
  Series wanted;
  for (const auto& [labels, samples] : written_) {
    if (labels.find("load_1") == std::string::npos) continue;
    for (const auto& sample : samples) {
      if (sample.first >= now_ms_ - 60'000) wanted[labels].push_back(sample);
    }
  }
  EXPECT_EQ(InPrometheus(peer), wanted);
}

TEST_F(CliReplayPeer, APasswordIsReadFromAFile) {
  // "secret", by crypt(3).
  WriteFile("web.yml", "basic_auth_users: {alice: $2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}\n");
  PeerProcess::Setup setup = Prometheus({"--web.config.file=" + Path("web.yml")});
  setup.ready_status = 401;
  PeerProcess peer(setup);
  ASSERT_TRUE(peer.ready()) << peer.Log();
  Fill();
  const ProcessResult wrong = Replay(peer, {"--user", "alice", "--password-file", WriteFile("wrong", "guess\n")});
  EXPECT_EQ(wrong.exit_code, kFailure);
  EXPECT_THAT(wrong.err, HasSubstr("401"));
  const ProcessResult right = Replay(peer, {"--user", "alice", "--password-file", WriteFile("right", "secret\n")});
  EXPECT_EQ(right.exit_code, kOk) << right.err;
  EXPECT_EQ(right.err.find("secret"), std::string::npos);
  EXPECT_EQ(InPrometheus(peer, {"Authorization: Basic YWxpY2U6c2VjcmV0"}), written_);
}

TEST_F(CliReplayPeer, SamplesThatPrometheusRefusesAreCountedAndTheOthersArrive) {
  PeerProcess peer(Prometheus());
  ASSERT_TRUE(peer.ready()) << peer.Log();
  Fill();
  ASSERT_EQ(Replay(peer).exit_code, kOk);
  ASSERT_EQ(
      Cli({"import", "--db", db_, "--input-format", "prometheus", "-"},
          "load_0{instance=\"host 0\"} 99 " + std::to_string(now_ms_ - 300'500) + "\nload_new 1 " + std::to_string(now_ms_) + "\n")
          .exit_code,
      kOk);
  const ProcessResult result = Replay(peer, {"--match", "load_new", "--match", "{instance=\"host 0\"}"});
  EXPECT_EQ(result.exit_code, kProblems);
  EXPECT_GE(Json(result)["refused"], 1);
  EXPECT_THAT(result.err, HasSubstr("out of order sample"));
  EXPECT_EQ(InPrometheus(peer).size(), written_.size() + 1);
}

TEST_F(CliReplayPeer, AReceiverThatDoesNotKnowTheProtocolOrIsNotThereIsAFailure) {
  Fill();
  {
    PeerProcess peer(Prometheus());
    ASSERT_TRUE(peer.ready()) << peer.Log();
    const ProcessResult result = Replay(peer, {"--protocol", "2.0"});
    EXPECT_EQ(result.exit_code, kFailure);
    EXPECT_EQ(Json(result)["sent"], 0);
    EXPECT_TRUE(InPrometheus(peer).empty());
  }
  const std::string url = "remote-write:http://127.0.0.1:" + std::to_string(FreePort()) + "/api/v1/write";
  const ProcessResult gone = Cli({"replay", db_, "--target", url, "--give-up-after", "100ms"});
  EXPECT_EQ(gone.exit_code, kFailure);
  EXPECT_THAT(gone.err, ::testing::ContainsRegex("shard [0-9]+: "));
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {"--target", "remote-write:ftp://x"}, {"--target", url, "--protocol", "3"}, {"--target", url, "--password-file", "x"}}) {
    std::vector<std::string> args = {"replay", db_};
    args.insert(args.end(), wrong.begin(), wrong.end());
    EXPECT_EQ(Cli(args).exit_code, kUsage) << wrong[1];
  }
}

TEST_F(CliReplayPeer, VictoriaMetricsHasEverySampleAlsoWhenTheReplayIsKilled) {
  PeerProcess peer(VictoriaMetrics());
  ASSERT_TRUE(peer.ready()) << peer.Log();
  Fill();
  const std::vector<std::string> args = {"replay",
                                         db_,
                                         "--target",
                                         "remote-write:" + peer.url() + "/api/v1/write",
                                         "--cursor",
                                         Path("cursor"),
                                         "--cursor-interval",
                                         "1ms",
                                         "--progress",
                                         "plain",
                                         "--format",
                                         "json"};
  std::vector<std::string> slow = args;
  slow.insert(slow.end(), {"--rate-limit", "1000"});
  Subprocess replay(Command(slow));
  ASSERT_TRUE(replay.WaitUntil([](const std::string&, const std::string& err) {
    const std::size_t at = err.find("synced ", err.find("synced 0\n") + 1);
    return at != std::string::npos && err.find('\n', at) != std::string::npos;
  })) << replay.err();
  replay.Kill(SIGKILL);
  EXPECT_EQ(replay.Wait().signal, SIGKILL);
  const ProcessResult last = Cli(args);
  ASSERT_EQ(last.exit_code, kOk) << last.err;
  EXPECT_LT(Json(last)["sent"], kSeries * kTimes) << "it went on";
  EXPECT_EQ(InVictoriaMetrics(peer), written_);
}

}  // namespace
}  // namespace chronolith::testing
