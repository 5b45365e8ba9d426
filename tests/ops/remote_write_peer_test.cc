// Replay's remote write target against real receivers: what is sent is queried back and compared.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <snappy.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "interop/proto_writer.h"
#include "ops/sink_remote_write.h"
#include "tests/interop/remote_write_decoder.h"
#include "tests/support/peer_process.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

using interop::RemoteWriteVersion;
using testing::DecodedRequest;
using ::testing::ElementsAre;
using testing::FindProgram;
using ::testing::HasSubstr;
using testing::HttpCall;
using testing::PeerProcess;
using ::testing::SizeIs;
using testing_support::TempDirectory;

constexpr RecordPlace kPlace{.shard = 0, .lsn = 1};

// A full second of the near past: receivers look at their own clocks.
Timestamp Now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count() * 1000;
}

PeerProcess::Setup Prometheus(const TempDirectory& dir, std::vector<std::string> more = {}) {
  std::ofstream(dir / "prometheus.yml") << "global: {}\n";
  return {.args =
              [&dir, more](int port) {
                std::vector<std::string> args = {FindProgram("prometheus"), "--config.file=" + dir / "prometheus.yml",
                                                 "--storage.tsdb.path=" + dir / "data", "--web.enable-remote-write-receiver",
                                                 "--web.listen-address=127.0.0.1:" + std::to_string(port)};
                args.insert(args.end(), more.begin(), more.end());
                return args;
              },
          .ready_path = "/-/ready",
          .log_file = dir / "log"};
}

PeerProcess::Setup VictoriaMetrics(const TempDirectory& dir) {
  return {.args =
              [&dir](int port) {
                return std::vector<std::string>{FindProgram("victoria-metrics"), "-storageDataPath=" + dir / "data",
                                                "-retentionPeriod=1y", "-httpListenAddr=127.0.0.1:" + std::to_string(port)};
              },
          .ready_path = "/health",
          .log_file = dir / "log"};
}

// A replay with one shard. Pauses are not waited for: peers are ready before.
class Replay {
 public:
  explicit Replay(interop::RemoteWriteOptions http) {
    setenv("no_proxy", "*", 1);
    auto target =
        NewRemoteWriteTarget({.http = std::move(http)}, nullptr, {.sleep = [](std::int64_t, const std::atomic<bool>*) {}});
    if (!target.ok()) std::abort();
    target_ = std::move(*target);
    sink_ = std::move(*target_->NewSink(0));
  }

  Status Send(const std::vector<TimeSeries>& all, Delivered* delivered) {
    for (const TimeSeries& s : all) {
      const Ordinal ordinal = next_++;
      const SeriesEntry entry{ordinal, &s.labels};
      std::vector<SampleEntry> samples;
      std::vector<HistogramEntry> histograms;
      std::vector<ExemplarEntry> exemplars;
      std::vector<MetadataEntry> metadata;
      for (const Sample& x : s.samples) samples.push_back({.ordinal = ordinal, .timestamp = x.timestamp, .value = x.value});
      for (const HistogramSample& x : s.histograms) histograms.push_back({ordinal, &x});
      for (const Exemplar& x : s.exemplars) exemplars.push_back({ordinal, &x});
      for (const Metadata& x : s.metadata) metadata.push_back({ordinal, &x});
      Status status = sink_->OnSeries(kPlace, {&entry, 1});
      if (status.ok() && !metadata.empty()) status = sink_->OnMetadata(kPlace, metadata);
      if (status.ok() && !samples.empty()) status = sink_->OnSamples(kPlace, samples);
      if (status.ok() && !histograms.empty()) status = sink_->OnHistograms(kPlace, histograms);
      if (status.ok() && !exemplars.empty()) status = sink_->OnExemplars(kPlace, exemplars);
      if (!status.ok()) return status;
    }
    return sink_->Flush(delivered);
  }

 private:
  std::unique_ptr<RecordTarget> target_;
  std::unique_ptr<RecordSink> sink_;
  Ordinal next_ = 0;
};

// The series of this name, or with this prefix and anything behind it, as Prometheus' remote read gives them: raw, bit for bit.
DecodedRequest ReadBack(int port, const std::string& name_regex, Timestamp start, Timestamp end) {
  std::string request;
  interop::ProtoWriter to(&request);
  to.Nested(1, [&] {
    to.Int(1, start);
    to.Int(2, end);
    to.Nested(3, [&] {
      to.Uint(1, 2);  // =~
      to.Bytes(2, "__name__");
      to.Bytes(3, name_regex);
    });
  });
  std::string body;
  snappy::Compress(request.data(), request.size(), &body);
  const auto answer =
      HttpCall(port, "POST", "/api/v1/read", body,
               {"Content-Type: application/x-protobuf", "Content-Encoding: snappy", "X-Prometheus-Remote-Read-Version: 0.1.0"});
  if (answer.status != 200) return {.error = std::to_string(answer.status) + " " + answer.body};
  return testing::DecodeReadResponse(testing::Unsnappy(answer.body));
}

std::vector<std::pair<Timestamp, std::uint64_t>> Bits(const std::vector<Sample>& samples) {
  std::vector<std::pair<Timestamp, std::uint64_t>> bits;
  for (const Sample& s : samples) bits.emplace_back(s.timestamp, std::bit_cast<std::uint64_t>(s.value));
  return bits;
}

// 200 series of 50 samples in the last ten minutes. `odd`: with values that only bits tell apart, each series ending in a stale
// marker.
std::vector<TimeSeries> Load(Timestamp now, bool odd) {
  std::vector<TimeSeries> all;
  for (int i = 0; i < 200; ++i) {
    TimeSeries s{
        .labels = {{"__name__", "load_" + std::to_string(i % 7)}, {"instance", std::to_string(i)}, {"ort", "Zürich \"1\"\n"}}};
    for (int k = 0; k < 50; ++k) s.samples.push_back({now - 600'000 + k * 10'000 + i, i + k / 8.0});
    if (odd) {
      s.samples[1].value = std::bit_cast<double>(0xfff8000000000123ULL);  // -0.0 Prometheus keeps, but its remote read says 0
      s.samples[2].value = std::numeric_limits<double>::infinity();
      s.samples[3].value = std::numeric_limits<double>::denorm_min();
      s.samples[4].value = 0.1 + i;
      s.samples.back().value = std::bit_cast<double>(kStaleNaNBits);
    }
    all.push_back(std::move(s));
  }
  return all;
}

TEST(RemoteWriteToPrometheus, EverySampleIsThereBitForBit) {
  const TempDirectory dir;
  PeerProcess peer(Prometheus(dir));
  ASSERT_TRUE(peer.ready()) << peer.Log();
  const Timestamp now = Now();
  const std::vector<TimeSeries> sent = Load(now, /*odd=*/true);
  Replay replay({.url = peer.url() + "/api/v1/write"});
  Delivered d;
  const Status status = replay.Send(sent, &d);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(d.sent, 200U * 50);
  EXPECT_EQ(d.refused + d.skipped, 0U);

  const DecodedRequest back = ReadBack(peer.port(), "load_.*", now - 3'600'000, now);
  EXPECT_EQ(back.error, "");
  std::map<Labels, std::vector<Sample>> found;
  for (const TimeSeries& s : back.series) found[s.labels] = s.samples;
  ASSERT_THAT(found, SizeIs(sent.size()));
  for (const TimeSeries& s : sent) ASSERT_EQ(Bits(found[s.labels]), Bits(s.samples)) << s.labels.ToString();
}

TEST(RemoteWriteToPrometheus, HistogramsAndExemplarsAreThere) {
  const TempDirectory dir;
  PeerProcess peer(Prometheus(dir, {"--enable-feature=native-histograms,exemplar-storage"}));
  ASSERT_TRUE(peer.ready()) << peer.Log();
  const Timestamp now = Now();
  IntHistogram h;
  h.schema = 1;
  h.zero_threshold = 0.001;
  h.zero_count = 2;
  h.count = 13;
  h.sum = 18.25;
  h.positive_spans = {{0, 2}, {1, 1}};
  h.positive_deltas = {3, 1, -1};
  h.negative_spans = {{-2, 1}};
  h.negative_deltas = {1};
  h.count = 2 + 3 + 4 + 3 + 1;
  TimeSeries histogram{.labels = {{"__name__", "rpc_seconds"}, {"job", "api"}}};
  for (int k = 0; k < 5; ++k) {
    h.sum += 1;
    histogram.histograms.push_back({now - 60'000 + k * 10'000, h});
  }
  const TimeSeries counter{.labels = {{"__name__", "calls_total"}},
                           .samples = {{now - 5'000, 7}},
                           .exemplars = {{.labels = {{"trace_id", "abc"}}, .value = 1.5, .timestamp = now - 5'500}},
                           .metadata = {{.type = MetricType::kCounter, .unit = "", .help = "Calls."}}};
  Replay replay({.url = peer.url() + "/api/v1/write"});
  Delivered d;
  const Status status = replay.Send({histogram, counter}, &d);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(d.sent, 5U + 3);

  // Its remote read leaves histograms out; a query gives them with the bounds of their buckets.
  const auto answer = HttpCall(peer.port(), "GET", "/api/v1/query?query=rpc_seconds%5B5m%5D&time=" + std::to_string(now / 1000));
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto result = nlohmann::json::parse(answer.body)["data"]["result"];
  ASSERT_THAT(result, SizeIs(1)) << answer.body;
  ASSERT_THAT(result[0]["histograms"], SizeIs(5)) << answer.body;
  for (std::size_t k = 0; k < 5; ++k) {
    const auto& got = result[0]["histograms"][k];
    EXPECT_EQ(got[0].get<double>() * 1000, static_cast<double>(histogram.histograms[k].timestamp));
    EXPECT_EQ(got[1]["count"], "13");
    EXPECT_EQ(got[1]["sum"], std::to_string(19 + k) + ".25");
    std::vector<std::string> buckets;
    for (const auto& bucket : got[1]["buckets"]) {
      const auto bound = [&](int i) { return std::to_string(std::stod(bucket[static_cast<std::size_t>(i)].get<std::string>())); };
      buckets.push_back(bound(1) + ".." + bound(2) + ": " + bucket[3].get<std::string>());
    }
    EXPECT_THAT(buckets, ElementsAre("-0.500000..-0.353553: 1", "-0.001000..0.001000: 2", "0.707107..1.000000: 3",
                                     "1.000000..1.414214: 4", "2.000000..2.828427: 3"));
  }
  const auto exemplars = HttpCall(peer.port(), "GET",
                                  "/api/v1/query_exemplars?query=calls_total&start=" + std::to_string(now / 1000 - 3600) +
                                      "&end=" + std::to_string(now / 1000 + 60));
  EXPECT_THAT(exemplars.body, HasSubstr(R"("labels":{"trace_id":"abc"},"value":"1.5")"));
}

TEST(RemoteWriteToPrometheus, OneSampleThatItRefusesCostsNothingElse) {
  const TempDirectory dir;
  PeerProcess peer(Prometheus(dir));
  ASSERT_TRUE(peer.ready()) << peer.Log();
  const Timestamp now = Now();
  std::vector<TimeSeries> sent = Load(now, /*odd=*/false);
  Replay replay({.url = peer.url() + "/api/v1/write"});
  Delivered first;
  ASSERT_TRUE(replay.Send({{.labels = sent[120].labels, .samples = {{now - 300'000, 1}}}}, &first).ok());
  sent[7].samples.push_back({now - 2 * 3'600'000, 1});  // it looks back for an hour
  Delivered d;
  const Status status = replay.Send(sent, &d);
  ASSERT_TRUE(status.ok()) << status.ToString();
  // Of series 120 what is not newer than the first sample is late.
  const auto late = static_cast<std::uint64_t>(std::count_if(sent[120].samples.begin(), sent[120].samples.end(),
                                                             [&](const Sample& s) { return s.timestamp <= now - 300'000; }));
  EXPECT_EQ(d.refused, late + 1);
  EXPECT_EQ(d.sent, 200U * 50 - late);
  ASSERT_THAT(d.reasons, SizeIs(10));
  EXPECT_THAT(d.reasons[0], HasSubstr("load_0{instance=\"7\""));
  EXPECT_THAT(d.reasons[0], HasSubstr("answers 400: out of bounds"));
  EXPECT_THAT(d.reasons[1], HasSubstr("answers 400: out of order sample"));

  std::size_t samples = 0;
  for (const TimeSeries& s : ReadBack(peer.port(), "load_.*", now - 3'600'000, now).series) samples += s.samples.size();
  EXPECT_EQ(samples, d.sent + first.sent);
}

TEST(RemoteWriteToPrometheus, AReceiverThatDoesNotKnow2IsNotMistakenForOneThatTookIt) {
  const TempDirectory dir;
  PeerProcess peer(Prometheus(dir));
  ASSERT_TRUE(peer.ready()) << peer.Log();
  Replay replay({.url = peer.url() + "/api/v1/write", .version = RemoteWriteVersion::k2});
  Delivered d;
  const Status status = replay.Send(Load(Now(), /*odd=*/false), &d);
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented) << status.ToString();
  EXPECT_EQ(d.sent, 0U);
}

TEST(RemoteWriteToPrometheus, HistogramsThatAreSwitchedOffThereEndTheReplay) {
  const TempDirectory dir;
  PeerProcess peer(Prometheus(dir));
  ASSERT_TRUE(peer.ready()) << peer.Log();
  Replay replay({.url = peer.url() + "/api/v1/write", .give_up_after_ms = 200});
  IntHistogram h;
  h.zero_count = h.count = 1;
  Delivered d;
  const Status status = replay.Send({{.labels = {{"__name__", "h"}}, .histograms = {{Now(), h}}}}, &d);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);  // it answers 500, which has to be tried again
  EXPECT_THAT(status.message(), HasSubstr("native histograms are disabled"));
}

TEST(RemoteWriteToPrometheus, EncryptionAndPasswordAreThoseOfItsWebConfiguration) {
  const TempDirectory dir;
  const auto made = testing::RunProcess({FindProgram("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                                         dir / "key.pem", "-out", dir / "cert.pem", "-days", "2", "-subj", "/CN=127.0.0.1",
                                         "-addext", "subjectAltName=IP:127.0.0.1"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  // "secret", by crypt(3).
  std::ofstream(dir / "web.yml") << "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
                                    "basic_auth_users: {alice: $2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}\n";
  PeerProcess::Setup setup = Prometheus(dir, {"--web.config.file=" + dir / "web.yml"});
  setup.ready_status = 400;  // to a word of HTTP where TLS is spoken
  PeerProcess peer(setup);
  ASSERT_TRUE(peer.ready()) << peer.Log();
  const std::vector<TimeSeries> sent = {{.labels = {{"__name__", "x"}}, .samples = {{Now(), 1}}}};
  const std::string url = "https://127.0.0.1:" + std::to_string(peer.port()) + "/api/v1/write";
  const auto outcome = [&](interop::RemoteWriteOptions http) {
    http.url = url;
    Delivered d;
    return Replay(std::move(http)).Send(sent, &d);
  };
  EXPECT_EQ(outcome({.user = "alice", .password = "secret", .ca_file = dir / "cert.pem"}), Status::Ok());
  EXPECT_THAT(outcome({.user = "alice", .password = "wrong", .ca_file = dir / "cert.pem"}).message(), HasSubstr("answers 401"));
  const Status untrusted = outcome({.user = "alice", .password = "secret"});
  EXPECT_EQ(untrusted.code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(untrusted.message(), HasSubstr("certificate"));
}

TEST(RemoteWriteToVictoriaMetrics, EverySampleIsThere) {
  const TempDirectory dir;
  PeerProcess peer(VictoriaMetrics(dir));
  ASSERT_TRUE(peer.ready()) << peer.Log();
  const Timestamp now = Now();
  const std::vector<TimeSeries> sent = Load(now, /*odd=*/false);
  Replay replay({.url = peer.url() + "/api/v1/write"});
  Delivered d;
  const Status status = replay.Send(sent, &d);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(d.sent, 200U * 50);
  EXPECT_EQ(d.refused + d.skipped, 0U);

  ASSERT_EQ(HttpCall(peer.port(), "GET", "/internal/force_flush").status, 200);
  const auto exported = HttpCall(peer.port(), "GET", "/api/v1/export?match[]=%7B__name__=~%22load_.*%22%7D");
  ASSERT_EQ(exported.status, 200) << exported.body;
  std::map<Labels, std::vector<Sample>> found;
  std::istringstream lines(exported.body);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    std::vector<Sample> samples;
    for (std::size_t i = 0; i < json["values"].size(); ++i) samples.push_back({json["timestamps"][i], json["values"][i]});
    std::vector<std::pair<std::string, std::string>> labels;
    for (const auto& [name, value] : json["metric"].items()) labels.emplace_back(name, value);
    found[Labels(std::move(labels))] = samples;
  }
  ASSERT_THAT(found, SizeIs(sent.size()));
  for (const TimeSeries& s : sent) ASSERT_EQ(Bits(found[s.labels]), Bits(s.samples)) << s.labels.ToString();
}

TEST(RemoteWriteToVictoriaMetrics, StaleMarkersEndASeries) {
  const TempDirectory dir;
  PeerProcess peer(VictoriaMetrics(dir));
  ASSERT_TRUE(peer.ready()) << peer.Log();
  const Timestamp now = Now() - 60'000;
  Replay replay({.url = peer.url() + "/api/v1/write"});
  Delivered d;
  const double stale = std::bit_cast<double>(kStaleNaNBits);
  ASSERT_TRUE(replay
                  .Send({{.labels = {{"__name__", "goes"}}, .samples = {{now - 30'000, 1}, {now, stale}}},
                         {.labels = {{"__name__", "stays"}}, .samples = {{now - 30'000, 1}, {now, 2}}}},
                        &d)
                  .ok());
  ASSERT_EQ(HttpCall(peer.port(), "GET", "/internal/force_flush").status, 200);
  const auto at = [&](Timestamp t) {
    return HttpCall(peer.port(), "GET",
                    "/api/v1/query?nocache=1&query=%7B__name__=~%22goes%7Cstays%22%7D&time=" + std::to_string(t / 1000))
        .body;
  };
  EXPECT_THAT(at(now - 10'000), HasSubstr("goes"));
  EXPECT_THAT(at(now + 1'000), HasSubstr("stays"));
  EXPECT_THAT(at(now + 1'000), ::testing::Not(HasSubstr("goes")));
}

}  // namespace
}  // namespace chronolith::ops
