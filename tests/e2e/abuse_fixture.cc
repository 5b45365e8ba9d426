#include "tests/e2e/abuse_fixture.h"

#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/resource.h>

#include <fstream>
#include <utility>

#include "interop/remote_compression.h"
#include "tests/interop/remote_write_decoder.h"
#include "tests/interop/remote_write_encode.h"
#include "tests/support/otlp_requests.h"
#include "tests/support/remote_read.h"

namespace chronolith::testing {
namespace {

using interop::RemoteWriteVersion;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;

constexpr const char* kRoads[] = {"1.0", "2.0", "grpc", "http", "json"};
constexpr const char* kGrpcMark = "OTLP over gRPC on 127.0.0.1:";

std::string GoodOtlp(const std::string& road, std::int64_t value) {
  ExportMetricsServiceRequest request;
  auto* point =
      AddGauge(&request, "good", static_cast<std::uint64_t>(kGoodStart + value * 1000) * 1'000'000, static_cast<double>(value));
  auto* attribute = point->add_attributes();
  attribute->set_key("road");
  attribute->mutable_value()->set_string_value(road);
  return request.SerializeAsString();
}

std::string GoodJson(std::int64_t value) {
  return R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"good","gauge":{"dataPoints":[{"timeUnixNano":")" +
         std::to_string(kGoodStart + value * 1000) + R"(000000","asDouble":)" + std::to_string(value) +
         R"(,"attributes":[{"key":"road","value":{"stringValue":"json"}}]}]}}]}]}]})";
}

}  // namespace

std::string Snappy(std::string_view bytes) { return interop::CompressBlock(bytes); }

std::string Gzip(std::string_view bytes) { return Compress(bytes); }

std::string Repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::string TypeAndEncoding(std::string_view type, std::string_view encoding) {
  std::string lines = "Content-Type: " + std::string(type) + "\r\n";
  if (!encoding.empty()) lines.append("Content-Encoding: ").append(encoding).append("\r\n");
  return lines;
}

void AbuseTest::Start(const std::vector<std::string>& more) {
  std::vector<std::string> args = {"--db", db_, "--listen", "127.0.0.1:0", "--shards", "4", "--workers", "8"};
  for (const char* flag : {"--memory-limit=64MiB", "--max-in-flight-bytes=32MiB", "--otlp-grpc-memory=32MiB",
                           "--series-cache-bytes=8MiB", "--max-body-bytes=4MiB", "--max-decoded-bytes=8MiB", "--log-level=error"}) {
    args.emplace_back(flag);
  }
  args.insert(args.end(), more.begin(), more.end());
  server_ = std::make_unique<ServerProcess>(args);
  ASSERT_GT(server_->port(), 0) << server_->err();
  grpc_port_ = server_->PortBehind(kGrpcMark);
  ASSERT_GT(grpc_port_, 0) << server_->err();
  stub_ = std::make_unique<grpc::GenericStub>(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(grpc_port_), grpc::InsecureChannelCredentials()));
  GoodWorks();
}

void AbuseTest::RaiseFileLimit(std::uint64_t needed) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  ASSERT_GT(files.rlim_max, needed) << "ulimit -Hn: this test opens that many connections";
}

void AbuseTest::TearDown() {
  if (server_ == nullptr) return;
  GoodWorks();
  const double limit = Metric("chronolith_server_memory_limit_bytes");
  const auto peak = static_cast<double>(StatusBytes(server_->pid(), "VmHWM"));
  RecordProperty("peak_mib", std::to_string(peak / (1 << 20)));
  std::printf("memory: %.0f MiB at most, the limit is %.0f MiB\n", peak / (1 << 20), limit / (1 << 20));
  EXPECT_GT(limit, 0);
  EXPECT_LT(peak, 2 * limit);
  client_.reset();
  stub_.reset();
  const ProcessResult end = server_->Stop(SIGTERM);
  EXPECT_EQ(end.exit_code, kOk) << end.err;
  EXPECT_EQ(end.err, "");  // nobody can fill the log with what is wrong
  const ProcessResult verify = Cli({"verify", "--db", db_});
  EXPECT_EQ(verify.exit_code, kOk) << verify.out << verify.err;
}

RawAnswer AbuseTest::Ask(const std::string& request) {
  if (client_ == nullptr) client_ = std::make_unique<RawClient>(port());
  RawAnswer answer = client_->Ask(request);
  if (answer.status == 0 || answer.headers["connection"] == "close") client_.reset();
  return answer;
}

grpc::StatusCode AbuseTest::CallGrpc(std::string_view bytes, const std::string& method) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes.data(), bytes.size());
  grpc::ByteBuffer answer;
  grpc::Status status;
  auto call = stub_->PrepareUnaryCall(&context, method, grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  return status.error_code();
}

void AbuseTest::WriteGood(std::int64_t value) {
  const auto message = [&](RemoteWriteVersion version, const char* road) {
    const TimeSeries series{.labels = {{"__name__", "good"}, {"road", road}},
                            .samples = {{kGoodStart + value * 1000, static_cast<double>(value)}}};
    return Snappy(EncodeRemoteWrite(version, std::span(&series, 1)));
  };
  EXPECT_EQ(PostWrite(kWriteType1, message(RemoteWriteVersion::k1, "1.0")), 204);
  EXPECT_EQ(PostWrite(kWriteType2, message(RemoteWriteVersion::k2, "2.0")), 204);
  EXPECT_EQ(PostOtlp(kOtlpType, GoodOtlp("http", value)), 200);
  EXPECT_EQ(PostOtlp(kJsonType, GoodJson(value)), 200);
  EXPECT_EQ(CallGrpc(GoodOtlp("grpc", value)), grpc::StatusCode::OK);
}

void AbuseTest::GoodWorks() {
  EXPECT_EQ(Stored(), books_);
  const auto value = static_cast<std::int64_t>(good_.size());
  good_.push_back(value);
  good_times_.push_back(kGoodStart + value * 1000);
  WriteGood(value);
  std::map<std::string, nlohmann::json> stored = Stored();
  for (const char* const road : kRoads) {
    nlohmann::json& series = stored[nlohmann::json({{"__name__", "good"}, {"road", road}}).dump()];
    EXPECT_EQ(series["values"], good_) << road;
    EXPECT_EQ(series["timestamps"], good_times_) << road;
  }
  TakeIntoTheBooks();

  const RawAnswer read =
      Ask(Post("/api/v1/read",
               Snappy(ReadRequest({QueryBytes(kGoodStart, kGoodStart + value * 1000, {MatcherBytes(0, "__name__", "good")})})),
               TypeAndEncoding(kWriteType1, "snappy")));
  ASSERT_EQ(read.status, 200) << read.body << read.error;
  const DecodedRequest decoded = DecodeReadResponse(Unsnappy(read.body));
  EXPECT_EQ(decoded.error, "");
  ASSERT_EQ(decoded.series.size(), std::size(kRoads));
  for (const TimeSeries& series : decoded.series) EXPECT_EQ(series.samples.size(), good_.size());
}

std::map<std::string, nlohmann::json> AbuseTest::Stored() {
  const RawAnswer answer = Ask(Get("/api/v1/export?match%5B%5D=%7B__name__!%3D%22%22%7D"));
  EXPECT_EQ(answer.status, 200) << answer.body << answer.error;
  std::map<std::string, nlohmann::json> all;
  for (const std::string& line : Lines(answer.body)) {
    nlohmann::json series = nlohmann::json::parse(line);
    const auto name = series["metric"]["__name__"].get<std::string>();
    const bool left_out =
        std::any_of(left_out_.begin(), left_out_.end(), [&](const std::string& prefix) { return name.starts_with(prefix); });
    if (left_out) continue;
    const std::string labels = series["metric"].dump();
    series.erase("metric");
    EXPECT_TRUE(all.emplace(labels, std::move(series)).second) << labels;
  }
  return all;
}

std::uint64_t AbuseTest::StatusBytes(pid_t pid, const std::string& field) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(field + ":")) return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) << 10;
  }
  return 0;
}

double AbuseTest::Metric(const std::string& name) {
  RawAnswer answer;
  Await("an answer of /metrics", [&] {
    answer = Ask(Get("/metrics"));
    return answer.status != 429;  // where many clients ask for it at once
  });
  for (const std::string& line : Lines(answer.body)) {
    if (line.starts_with(name + " ")) return std::strtod(line.c_str() + name.size(), nullptr);
  }
  ADD_FAILURE() << "no metric " << name;
  return 0;
}

}  // namespace chronolith::testing
