// A real Prometheus that scrapes a real node exporter writes to chronolithd; another, which has nothing of its own, reads from it.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <map>

#include "interop/remote_compression.h"
#include "tests/e2e/e2e_test.h"
#include "tests/server/tls_files.h"
#include "tests/support/remote_read.h"
#include "tests/tools/prometheus_peer.h"

namespace chronolith::testing {
namespace {

constexpr const char* kEverything = "{__name__=~\".+\"}";
// One queue, so that the newest sample of any series tells how far all are; and an answer that asks to come later loses nothing.
const std::string kQueue = "max_shards: 1, retry_on_http_429: true";
constexpr int kMinutes = 30;  // longer than the test

class PrometheusE2e : public E2eTest {
 protected:
  // How many scrapes `port` knows of, and the newest one's time.
  static std::pair<int, Timestamp> Scrapes(int port) {
    const auto now = static_cast<Timestamp>(time(nullptr)) * 1000 + 1000;
    const nlohmann::json count = PrometheusQuery(port, "count_over_time(node_load1[" + std::to_string(kMinutes) + "m])", now);
    const nlohmann::json newest = PrometheusQuery(port, "timestamp(node_load1)", now);
    if (count.size() != 1 || newest.size() != 1) return {0, 0};
    return {std::stoi(count[0]["value"][1].get<std::string>()),
            static_cast<Timestamp>(std::llround(std::stod(newest[0]["value"][1].get<std::string>()) * 1000))};
  }
  static Said Streamed(int port, Timestamp start, Timestamp end) {
    const std::string body =
        interop::CompressBlock(ReadRequest({QueryBytes(start, end, {MatcherBytes(2, "__name__", ".+")})}, {1}));
    const HttpAnswer answer =
        HttpCall(port, "POST", "/api/v1/read", body,
                 {"Content-Encoding: snappy", "Content-Type: application/x-protobuf", "X-Prometheus-Remote-Read-Version: 0.1.0"});
    EXPECT_EQ(answer.status, 200) << answer.body.substr(0, 500);
    std::size_t frames = 0;
    std::vector<Said> said = DecodeStream(answer.body, &frames);
    return said.empty() ? Said() : std::move(said[0]);
  }
  // Chunks of Prometheus reach beyond the range that was asked for.
  static Said Cut(const Said& all, Timestamp start, Timestamp end) {
    Said cut;
    for (const auto& [series, words] : all) {
      for (const std::string& word : words) {
        const Timestamp t = std::stoll(word);
        if (t >= start && t <= end) cut[series].push_back(word);
      }
    }
    return cut;
  }
  static nlohmann::json DataOf(int port, const std::string& path) {
    const HttpAnswer answer = HttpCall(port, "GET", path, "", {});
    EXPECT_EQ(answer.status, 200) << answer.body;
    return nlohmann::json::parse(answer.body)["data"];
  }
  // Both have the same lists, but for the names at their ends that have equally many.
  static void ExpectSameTop(const nlohmann::json& own, const nlohmann::json& theirs, const char* list) {
    SCOPED_TRACE(list);
    ASSERT_EQ(own[list].size(), theirs[list].size());
    ASSERT_FALSE(theirs[list].empty());
    const auto least = theirs[list].back()["value"].get<std::uint64_t>();
    std::map<std::string, std::uint64_t> above[2];
    for (std::size_t i = 0; i < own[list].size(); ++i) {
      EXPECT_EQ(own[list][i]["value"], theirs[list][i]["value"]) << i;
      int side = 0;
      for (const nlohmann::json& one : {own[list][i], theirs[list][i]}) {
        if (one["value"] > least) above[side][one["name"].get<std::string>()] = one["value"];
        ++side;
      }
    }
    EXPECT_EQ(above[0], above[1]);
  }
};

TEST_F(PrometheusE2e, WhatAPrometheusWritesIsReadBackAlikeAlsoAfterAKill) {
  PeerProcess exporter(NodeExporter());
  ASSERT_TRUE(exporter.ready()) << exporter.Log();
  ServerProcess first(Served(0));
  ASSERT_NE(first.port(), 0) << first.err();
  const int port = first.port();

  const std::string url = "http://127.0.0.1:" + std::to_string(port);
  PeerProcess writer(
      PrometheusServer(Directory("writer"),
                       "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
                       "scrape_configs:\n- job_name: node\n  static_configs: [{targets: ['127.0.0.1:" +
                           std::to_string(exporter.port()) + "']}]\nremote_write:\n- url: " + url +
                           "/api/v1/write\n  queue_config: {batch_send_deadline: 200ms, min_backoff: 30ms, max_backoff: 200ms, " +
                           kQueue + "}\n  metadata_config: {send_interval: 1s}\n"));
  ASSERT_TRUE(writer.ready()) << writer.Log();
  PeerProcess reader(PrometheusServer(Directory("reader"), "remote_read: [{url: " + url + "/api/v1/read, read_recent: true}]\n"));
  ASSERT_TRUE(reader.ready()) << reader.Log();

  Await("15 scrapes through chronolithd", [&] { return Scrapes(reader.port()).first >= 15; });
  first.Stop(SIGKILL);
  int before = 0;
  Await("a scrape", [&] { return (before = Scrapes(writer.port()).first) > 0; });
  Await("5 scrapes while chronolithd is gone", [&] { return Scrapes(writer.port()).first >= before + 5; });
  ServerProcess second(Served(port));
  ASSERT_EQ(second.port(), port) << second.err();
  Await("15 more scrapes", [&] { return Scrapes(writer.port()).first >= before + 20; });

  Timestamp end = 0;
  Await("a scrape that succeeds", [&] { return (end = Scrapes(writer.port()).second) > 0; });
  ASSERT_GT(end, 0);
  Await("what was written until then", [&] { return Scrapes(reader.port()).second > end; });
  const PrometheusPoints own = PrometheusRange(writer.port(), kEverything, end, kMinutes);
  ASSERT_GT(CountSamples(own), 500U);
  EXPECT_TRUE(PrometheusRange(reader.port(), kEverything, end, kMinutes) == own) << "PromQL over remote read";

  const Timestamp start = end - kMinutes * 60'000;
  const Said theirs = Cut(Streamed(writer.port(), start, end), start, end);
  EXPECT_GT(theirs.size(), 20U);
  EXPECT_TRUE(Streamed(port, start, end) == theirs) << "streamed chunks";

  const char* const status = "/api/v1/status/tsdb";
  const nlohmann::json counted = DataOf(port, status), of_writer = DataOf(writer.port(), status);
  for (const char* figure : {"numSeries", "numLabelPairs"}) {
    EXPECT_EQ(counted["headStats"][figure], of_writer["headStats"][figure]) << figure;
  }
  EXPECT_GE(counted["headStats"]["maxTime"].get<Timestamp>(), end);
  for (const char* list :
       {"seriesCountByMetricName", "labelValueCountByLabelName", "memoryInBytesByLabelName", "seriesCountByLabelValuePair"}) {
    ExpectSameTop(counted, of_writer, list);
  }
  for (const char* metadata : {"/api/v1/metadata?metric=node_load1", "/api/v1/metadata?metric=node_cpu_seconds_total"}) {
    const nlohmann::json own_metadata = DataOf(writer.port(), metadata);
    EXPECT_EQ(own_metadata.size(), 1U);
    Await("metadata", [&] { return !DataOf(port, metadata).empty(); });
    EXPECT_EQ(DataOf(port, metadata), own_metadata);
  }
}

// All that a Prometheus asks of chronolithd: scrapes, writes and reads of samples, whose answers are longer than what TLS sends at
// once.
TEST_F(PrometheusE2e, OverTlsWithATokenAllAnswersAreWhole) {
  MakeCertificate(directory_, "server");
  WriteFile("web.yml",
            "tls_server_config: {cert_file: server.crt, key_file: server.key}\nbearer_tokens: {prometheus: 0123456789abcdef}\n");
  std::vector<std::string> args = Served(0);
  args.insert(args.end(), {"--web.config.file", Path("web.yml")});
  ServerProcess server(args);
  ASSERT_NE(server.port(), 0) << server.err();
  const std::string address = "127.0.0.1:" + std::to_string(server.port());
  const std::string secure = "tls_config: {ca_file: " + Path("server.crt") + "}, authorization: {credentials: 0123456789abcdef}";
  PeerProcess writer(PrometheusServer(Directory("writer"),
                                      "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"
                                      "scrape_configs: [{job_name: chronolithd, scheme: https, " +
                                          secure + ", static_configs: [{targets: ['" + address +
                                          "']}]}]\nremote_write: [{url: 'https://" + address + "/api/v1/write', " + secure +
                                          ", queue_config: {batch_send_deadline: 200ms, " + kQueue + "}}]\n"));
  ASSERT_TRUE(writer.ready()) << writer.Log();
  PeerProcess reader(PrometheusServer(
      Directory("reader"), "remote_read: [{url: 'https://" + address + "/api/v1/read', " + secure + ", read_recent: true}]\n"));
  ASSERT_TRUE(reader.ready()) << reader.Log();

  const auto scrapes = [](int port) {
    const auto now = static_cast<Timestamp>(time(nullptr)) * 1000 + 1000;
    const nlohmann::json sum = PrometheusQuery(port, "sum_over_time(up[30m])", now);
    const nlohmann::json newest = PrometheusQuery(port, "timestamp(up)", now);
    if (sum.size() != 1 || newest.size() != 1) return std::pair<int, Timestamp>(0, 0);
    return std::pair(std::stoi(sum[0]["value"][1].get<std::string>()),
                     static_cast<Timestamp>(std::llround(std::stod(newest[0]["value"][1].get<std::string>()) * 1000)));
  };
  Await("5 scrapes that succeed", [&] { return scrapes(reader.port()).first >= 5; });
  Timestamp end = 0;
  Await("a scrape that succeeds", [&] { return (end = scrapes(writer.port()).second) > 0; });
  Await("what was written until then", [&] { return scrapes(reader.port()).second > end; });
  const PrometheusPoints own = PrometheusRange(writer.port(), kEverything, end, kMinutes);
  ASSERT_GT(CountSamples(own), 1000U);
  EXPECT_TRUE(PrometheusRange(reader.port(), kEverything, end, kMinutes) == own);
}

}  // namespace
}  // namespace chronolith::testing
