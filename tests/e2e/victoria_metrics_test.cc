// A real vmagent scrapes a real node exporter and writes to chronolithd; what is stored goes as blocks through vmctl into a real
// VictoriaMetrics, series by series and sample by sample.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <regex>
#include <string_view>

#include "tests/e2e/e2e_test.h"
#include "tests/tools/prometheus_peer.h"

namespace chronolith::testing {
namespace {

class VictoriaMetricsE2e : public E2eTest {
 protected:
  PeerProcess::Setup Agent(int exporter, int server) const {
    WriteFile("scrape.yml",
              "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
              "scrape_configs:\n- job_name: node\n  static_configs: [{targets: ['127.0.0.1:" +
                  std::to_string(exporter) + "']}]\n");
    return {.args =
                [this, server](int port) {
                  return std::vector<std::string>{FindProgram("vmagent"),
                                                  "-promscrape.config=" + Path("scrape.yml"),
                                                  "-remoteWrite.url=http://127.0.0.1:" + std::to_string(server) + "/api/v1/write",
                                                  "-remoteWrite.tmpDataPath=" + Path("agent"),
                                                  "-remoteWrite.flushInterval=200ms",
                                                  "-httpListenAddr=127.0.0.1:" + std::to_string(port)};
                },
            .ready_path = "/health",
            .log_file = Path("agent.log")};
  }
  PeerProcess::Setup VictoriaMetrics(const std::string& name) const {
    return {.args =
                [this, name](int port) {
                  return std::vector<std::string>{FindProgram("victoria-metrics"), "-storageDataPath=" + Path(name),
                                                  "-retentionPeriod=1y", "-httpListenAddr=127.0.0.1:" + std::to_string(port)};
                },
            .ready_path = "/health",
            .log_file = Path(name + ".log")};
  }
  // Both in vmctl's own words; -1 where it did not say.
  struct Taken {
    long found = -1;
    long sent = -1;
  };
  // vmctl before 1.85 (VictoriaMetrics' commit 05cf8a6) ends with 0 and leaves out series: at the end each of its workers chooses
  // at random between stopping and the series that still wait, at most four a worker. It does so with blocks of promtool's too:
  // 136 series of 20 samples, made by `promtool tsdb create-blocks-from openmetrics`, arrived whole in 15 of 60 runs on a busy
  // machine. More workers than series are as good as a cure, for no series has to wait (60 of 60); 255 is the most it can have.
  Taken TakeBlocks(const PeerProcess& victoria) const {
    // It wants a terminal, for its progress bars.
    const ProcessResult result = RunProcess(
        {"/usr/bin/script", "-qec",
         FindProgram("vmctl") + " prometheus -s --vm-disable-progress-bar --vm-concurrency=255 '--prom-snapshot=" + Path("blocks") +
             "' --vm-addr=" + victoria.url(),
         "/dev/null"});
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
    const auto number = [&](const char* words) {
      std::smatch match;
      return std::regex_search(result.out, match, std::regex(words)) ? std::stol(match[1]) : -1;
    };
    return {.found = number("\n  samples: (\\d+);"), .sent = number("\n  total samples: (\\d+);")};
  }
  // All that it holds up to `newest`; of stale markers vmctl makes plain NaN, which VictoriaMetrics does not keep. Without an end
  // VictoriaMetrics takes the beginning of the current second for one.
  static PrometheusPoints Holds(const PeerProcess& victoria, Timestamp newest) {
    EXPECT_EQ(HttpCall(victoria.port(), "GET", "/internal/force_flush").status, 200);
    const HttpAnswer answer =
        HttpCall(victoria.port(), "GET", "/api/v1/export?match[]=%7B__name__!=%22%22%7D&end=" + std::to_string(newest / 1000 + 1));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.status == 200 ? JsonLinesPoints(answer.body) : PrometheusPoints();
  }
  static long Occurrences(std::string_view text, std::string_view word) {
    long n = 0;
    for (std::size_t at = text.find(word); at != text.npos; at = text.find(word, at + word.size())) ++n;
    return n;
  }
  // VictoriaMetrics keeps decimal numbers, of twelve digits or more.
  static bool Alike(std::uint64_t bits, std::uint64_t decimal) {
    const auto value = std::bit_cast<double>(bits);
    return bits == decimal || std::abs(value - std::bit_cast<double>(decimal)) <= std::abs(value) * 1e-12;
  }
  static void ExpectAlike(const PrometheusPoints& held, const PrometheusPoints& expected) {
    ASSERT_EQ(held.size(), expected.size());
    for (const auto& [series, samples] : expected) {
      SCOPED_TRACE(nlohmann::json(series).dump());
      const auto found = held.find(series);
      ASSERT_NE(found, held.end());
      ASSERT_EQ(found->second.size(), samples.size());
      for (const auto& [t, bits] : samples) {
        const auto sample = found->second.find(t);
        ASSERT_NE(sample, found->second.end()) << t;
        ASSERT_PRED2(Alike, bits, sample->second) << t;
      }
    }
  }
  // chronolithd gets 20 scrapes and the stale markers after them, and ends.
  void Scrape() const {
    PeerProcess exporter(NodeExporter());
    ASSERT_TRUE(exporter.ready()) << exporter.Log();
    ServerProcess server(Served(0));
    ASSERT_NE(server.port(), 0) << server.err();
    PeerProcess agent(Agent(exporter.port(), server.port()));
    ASSERT_TRUE(agent.ready()) << agent.Log();
    const auto values = [&](const char* name) {
      const HttpAnswer answer = HttpCall(server.port(), "GET", "/api/v1/export?match[]=" + std::string(name));
      const PrometheusPoints points = answer.status == 200 ? JsonLinesPoints(answer.body) : PrometheusPoints();
      return points.empty() ? std::map<Timestamp, std::uint64_t>() : points.begin()->second;
    };
    Await("20 scrapes", [&] { return values("node_load1").size() >= 20; });
    exporter.Stop(SIGTERM);
    Await("a scrape of nothing", [&] {
      const auto up = values("up");
      return !up.empty() && up.rbegin()->second == ValueBits(0);
    });
    agent.Stop(SIGTERM);  // it sends what it has
    ASSERT_EQ(server.Stop(SIGTERM).exit_code, kOk) << server.err();
  }
};

TEST_F(VictoriaMetricsE2e, WhatVmagentWritesArrivesThroughBlocksSampleBySample) {
  ASSERT_NO_FATAL_FAILURE(Scrape());
  const ProcessResult stored = Cli({"export", "--db", db_, "--to", "jsonl"});
  ASSERT_EQ(stored.exit_code, kOk) << stored.err;
  const PrometheusPoints expected = JsonLinesPoints(stored.out);
  ASSERT_GT(expected.size(), 20U);
  Timestamp newest = 0;
  for (const auto& [series, samples] : expected) {
    for (const auto& [t, bits] : samples) newest = std::max(newest, t);
  }
  const long markers = Occurrences(stored.out, "\"StaleNaN\"");
  EXPECT_GT(markers, 20);
  const ProcessResult blocks = Cli({"export", "prometheus-block", "--db", db_, Path("blocks")});
  ASSERT_EQ(blocks.exit_code, kOk) << blocks.err;

  // A run of vmctl that by its own words left something out says nothing of the blocks.
  constexpr int kRuns = 5;
  for (int run = 1; run <= kRuns; ++run) {
    PeerProcess victoria(VictoriaMetrics("victoria" + std::to_string(run)));
    ASSERT_TRUE(victoria.ready()) << victoria.Log();
    const Taken taken = TakeBlocks(victoria);
    ASSERT_EQ(taken.found, static_cast<long>(CountSamples(expected)) + markers);
    if (taken.sent < taken.found && run < kRuns) continue;
    ASSERT_EQ(taken.sent, taken.found);
    ExpectAlike(Holds(victoria, newest), expected);
    return;
  }
}

}  // namespace
}  // namespace chronolith::testing
