// A real Prometheus, and what it says of a database, for tests of both ways of its blocks.
#ifndef CHRONOLITH_TESTS_TOOLS_PROMETHEUS_PEER_H_
#define CHRONOLITH_TESTS_TOOLS_PROMETHEUS_PEER_H_

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "chronolith/types.h"
#include "tests/support/peer_process.h"

namespace chronolith::testing {

// Samples by series (label by label, as Prometheus orders them); values as bits, because NaN is not itself.
using PrometheusPoints = std::map<std::map<std::string, std::string>, std::map<Timestamp, std::uint64_t>>;

// Prometheus' answers do not tell one NaN from another.
inline std::uint64_t ValueBits(double v) { return std::bit_cast<std::uint64_t>(std::isnan(v) ? std::nan("") : v); }

inline std::string UrlEncoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    char code[4];
    std::snprintf(code, sizeof(code), "%%%02X", static_cast<unsigned char>(c));
    out += std::isalnum(static_cast<unsigned char>(c)) != 0 ? std::string(1, c) : code;
  }
  return out;
}

// `directory` gets data, log and configuration.
inline PeerProcess::Setup PrometheusServer(const std::string& directory, const std::string& configuration,
                                           const std::string& data = "") {
  std::ofstream(directory + "/prometheus.yml") << configuration;
  const std::string storage = data.empty() ? directory + "/data" : data;
  return {.args =
              [directory, storage](int port) {
                return std::vector<std::string>{FindProgram("prometheus"),
                                                "--config.file=" + directory + "/prometheus.yml",
                                                "--storage.tsdb.path=" + storage,
                                                "--storage.tsdb.retention.time=100y",
                                                "--web.enable-admin-api",
                                                "--web.enable-remote-write-receiver",
                                                "--enable-feature=exemplar-storage,native-histograms",
                                                "--web.listen-address=127.0.0.1:" + std::to_string(port)};
              },
          .ready_path = "/-/ready",
          .log_file = directory + "/prometheus.log"};
}

// `directory` gets its log.
inline PeerProcess::Setup NodeExporter(const std::string& directory) {
  return {.args =
              [](int port) {
                return std::vector<std::string>{FindProgram("prometheus-node-exporter"),
                                                "--collector.disable-defaults",
                                                "--collector.cpu",
                                                "--collector.meminfo",
                                                "--collector.loadavg",
                                                "--web.listen-address=127.0.0.1:" + std::to_string(port)};
              },
          .ready_path = "/metrics",
          .log_file = directory + "/exporter.log"};
}

inline nlohmann::json PrometheusQuery(int port, const std::string& query, Timestamp at) {
  char time[40];
  std::snprintf(time, sizeof(time), "%.3f", static_cast<double>(at) / 1000);
  const HttpAnswer answer = HttpCall(port, "GET", "/api/v1/query?query=" + UrlEncoded(query) + "&time=" + time);
  nlohmann::json json = nlohmann::json::parse(answer.body, nullptr, false);
  return answer.status == 200 && !json.is_discarded() ? json["data"]["result"] : nlohmann::json();
}

// All samples of [end - minutes, end], both included. Stale markers are not among them.
inline PrometheusPoints PrometheusRange(int port, const std::string& selector, Timestamp end, int minutes) {
  PrometheusPoints points;
  for (const auto& series : PrometheusQuery(port, selector + "[" + std::to_string(minutes) + "m]", end)) {
    auto& samples = points[series["metric"].get<std::map<std::string, std::string>>()];
    if (!series.contains("values")) continue;
    for (const auto& value : series["values"]) {
      const auto t = static_cast<Timestamp>(std::llround(value[0].get<double>() * 1000));
      samples[t] = ValueBits(std::strtod(value[1].get<std::string>().c_str(), nullptr));
    }
  }
  return points;
}

// What `export --to jsonl` says, without stale markers.
inline PrometheusPoints JsonLinesPoints(const std::string& text) {
  PrometheusPoints points;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    const nlohmann::json line = nlohmann::json::parse(text.substr(at, end - at));
    at = end + 1;
    auto& samples = points[line["metric"].get<std::map<std::string, std::string>>()];
    for (std::size_t i = 0; i < line["values"].size(); ++i) {
      const auto& v = line["values"][i];
      const auto t = line["timestamps"][i].get<Timestamp>();
      if (v.is_string() && v == "StaleNaN") continue;
      const double value = v.is_string() ? std::strtod(v.get<std::string>().c_str(), nullptr)
                           : v.is_null() ? std::nan("")
                                         : v.get<double>();
      samples[t] = ValueBits(value);
    }
  }
  return points;
}

// Keeps what lies in [start, end], and of series only those with something there.
inline PrometheusPoints Within(const PrometheusPoints& points, Timestamp start, Timestamp end) {
  PrometheusPoints within;
  for (const auto& [series, samples] : points) {
    for (const auto& [t, v] : samples) {
      if (t >= start && t <= end) within[series][t] = v;
    }
  }
  return within;
}

inline std::size_t CountSamples(const PrometheusPoints& points) {
  std::size_t n = 0;
  for (const auto& [series, samples] : points) n += samples.size();
  return n;
}

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_TOOLS_PROMETHEUS_PEER_H_
