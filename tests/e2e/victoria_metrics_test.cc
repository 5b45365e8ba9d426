// A real vmagent scrapes a real node exporter and writes to chronolithd; what is stored goes as blocks through vmctl into a real
// VictoriaMetrics.
#include <gmock/gmock.h>
#include <signal.h>

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
  PeerProcess::Setup VictoriaMetrics() const {
    return {.args =
                [this](int port) {
                  return std::vector<std::string>{FindProgram("victoria-metrics"), "-storageDataPath=" + Path("victoria"),
                                                  "-retentionPeriod=1y", "-httpListenAddr=127.0.0.1:" + std::to_string(port)};
                },
            .ready_path = "/health",
            .log_file = Path("victoria.log")};
  }
  static std::map<std::map<std::string, std::string>, std::size_t> Counts(const PrometheusPoints& points) {
    std::map<std::map<std::string, std::string>, std::size_t> counts;
    for (const auto& [series, samples] : points) {
      if (!samples.empty()) counts[series] = samples.size();
    }
    return counts;
  }
};

TEST_F(VictoriaMetricsE2e, WhatVmagentWritesArrivesThroughBlocksWithTheSameCounts) {
  PeerProcess exporter(NodeExporter());
  ASSERT_TRUE(exporter.ready()) << exporter.Log();
  ServerProcess server(Served(0));
  ASSERT_NE(server.port(), 0) << server.err();
  {
    PeerProcess agent(Agent(exporter.port(), server.port()));
    ASSERT_TRUE(agent.ready()) << agent.Log();
    Await("20 scrapes", [&] {
      const HttpAnswer answer = HttpCall(server.port(), "GET", "/api/v1/export?match[]=node_load1");
      const PrometheusPoints points = answer.status == 200 ? JsonLinesPoints(answer.body) : PrometheusPoints();
      return !points.empty() && points.begin()->second.size() >= 20;
    });
    agent.Stop(SIGTERM);  // it sends what it has
  }
  ASSERT_EQ(server.Stop(SIGTERM).exit_code, kOk) << server.err();

  const ProcessResult stored = Cli({"export", "--db", db_, "--to", "jsonl"});
  ASSERT_EQ(stored.exit_code, kOk) << stored.err;
  const auto expected = Counts(JsonLinesPoints(stored.out));
  ASSERT_GT(expected.size(), 20U);
  const ProcessResult blocks = Cli({"export", "prometheus-block", "--db", db_, Path("blocks")});
  ASSERT_EQ(blocks.exit_code, kOk) << blocks.err;

  PeerProcess victoria(VictoriaMetrics());
  ASSERT_TRUE(victoria.ready()) << victoria.Log();
  // It wants a terminal, for its progress bars.
  const ProcessResult taken =
      RunProcess({"/usr/bin/script", "-qec",
                  FindProgram("vmctl") + " prometheus -s --vm-disable-progress-bar '--prom-snapshot=" + Path("blocks") +
                      "' --vm-addr=" + victoria.url(),
                  "/dev/null"});
  ASSERT_EQ(taken.exit_code, 0) << taken.out << taken.err;
  ASSERT_EQ(HttpCall(victoria.port(), "GET", "/internal/force_flush").status, 200);
  const HttpAnswer exported = HttpCall(victoria.port(), "GET", "/api/v1/export?match[]=%7B__name__!=%22%22%7D");
  ASSERT_EQ(exported.status, 200) << exported.body;
  EXPECT_TRUE(Counts(JsonLinesPoints(exported.body)) == expected);
}

}  // namespace
}  // namespace chronolith::testing
