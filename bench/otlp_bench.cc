// otlp_bench HOST:PORT PID BATCH SECONDS [CONNECTIONS [IN_FLIGHT [SERIES]]]
//
// Sends gauges of 4 attributes by OTLP over gRPC to a running chronolithd, BATCH points a request, and prints points a second, the
// CPU that process PID used for a point (from /proc), and that of this one. Requests are made before the clock runs: only their
// timestamps change, in place, so that the load costs little beside what gRPC itself does.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "interop/otlp/metrics_service.pb.h"

namespace {

namespace pb = ::opentelemetry::proto::metrics::v1;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
using Steady = std::chrono::steady_clock;

constexpr const char* kMethod = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
constexpr std::uint64_t kPlaceholder = 0x1122334455667788;
constexpr std::uint64_t kStepNanos = 1'000'000'000;

struct Request {
  std::string bytes;
  std::vector<std::size_t> times;  // where the timestamps stand
};

Request MakeRequest(std::uint64_t first, std::uint64_t points) {
  ExportMetricsServiceRequest message;
  auto* resource = message.add_resource_metrics();
  const auto add = [](auto* to, const char* key, const std::string& value) {
    auto* attribute = to->add_attributes();
    attribute->set_key(key);
    attribute->mutable_value()->set_string_value(value);
  };
  add(resource->mutable_resource(), "service.name", "bench");
  add(resource->mutable_resource(), "service.instance.id", "instance-1");
  auto* scope = resource->add_scope_metrics();
  scope->mutable_scope()->set_name("otlp_bench");
  auto* metric = scope->add_metrics();
  metric->set_name("bench.value");
  metric->set_unit("By");
  for (std::uint64_t i = first; i < first + points; ++i) {
    pb::NumberDataPoint* point = metric->mutable_gauge()->add_data_points();
    point->set_time_unix_nano(kPlaceholder);
    point->set_as_double(static_cast<double>(i % 1000));
    add(point, "host.name", "host-" + std::to_string(i % 100));
    add(point, "http.request.method", i % 2 == 0 ? "GET" : "POST");
    add(point, "http.route", "/api/v1/things");
    add(point, "worker", std::to_string(i));
  }
  Request request{message.SerializeAsString(), {}};
  char pattern[9] = {0x19};
  std::memcpy(pattern + 1, &kPlaceholder, 8);
  for (std::size_t at = 0; (at = request.bytes.find({pattern, 9}, at)) != std::string::npos; at += 9)
    request.times.push_back(at + 1);
  if (request.times.size() != points) std::abort();
  return request;
}

// User and system time of a process, in seconds.
double CpuSeconds(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/stat");
  std::string line;
  std::getline(in, line);
  const std::size_t behind_name = line.rfind(')');
  if (behind_name == std::string::npos) return 0;
  unsigned long user = 0, system = 0;
  std::sscanf(line.c_str() + behind_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

struct Call {
  grpc::ClientContext context;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> rpc;
  grpc::ByteBuffer response;
  grpc::Status status;
  std::size_t slot = 0;
};

class Connection {
 public:
  Connection(const std::string& target, std::vector<Request> requests, std::size_t in_flight)
      : requests_(std::move(requests)), in_flight_(std::min(in_flight, requests_.size())) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxSendMessageSize(-1);
    stub_ = std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
    time_ = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) - 3'600 * kStepNanos;
  }

  // Until `end`, then until all are answered.
  void Run(Steady::time_point end, bool once) {
    std::size_t sent = 0, open = 0;
    for (; sent < in_flight_; ++sent, ++open) Send(sent);
    void* tag = nullptr;
    bool ok = false;
    while (open > 0 && queue_.Next(&tag, &ok)) {
      const std::unique_ptr<Call> call(static_cast<Call*>(tag));
      --open;
      if (call->status.ok() && call->response.Length() == 0) {
        points += requests_[call->slot].times.size();
        ++answered;
      } else {
        ++failed;
        error = call->status.ok() ? "partial success" : call->status.error_message();
      }
      if (once ? sent < requests_.size() : Steady::now() < end) {
        Send(sent++ % requests_.size());
        ++open;
      }
    }
  }

  std::uint64_t points = 0, answered = 0, failed = 0;
  std::string error;

 private:
  void Send(std::size_t slot) {
    Request& request = requests_[slot];
    if (slot == 0) time_ += kStepNanos / 100;
    for (const std::size_t at : request.times) std::memcpy(request.bytes.data() + at, &time_, 8);
    auto call = std::make_unique<Call>();
    call->slot = slot;
    const grpc::Slice slice(request.bytes);
    call->rpc = stub_->PrepareUnaryCall(&call->context, kMethod, grpc::ByteBuffer(&slice, 1), &queue_);
    call->rpc->StartCall();
    call->rpc->Finish(&call->response, &call->status, call.get());
    call.release();
  }

  std::vector<Request> requests_;
  const std::size_t in_flight_;
  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::CompletionQueue queue_;
  std::uint64_t time_ = 0;
};

void RunAll(std::vector<std::unique_ptr<Connection>>* connections, Steady::time_point end, bool once) {
  std::vector<std::thread> threads;
  for (auto& connection : *connections) threads.emplace_back([&connection, end, once] { connection->Run(end, once); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "otlp_bench HOST:PORT PID BATCH SECONDS [CONNECTIONS [IN_FLIGHT [SERIES]]]\n");
    return 2;
  }
  const std::string target = argv[1], pid = argv[2];
  const auto number = [&](int i, std::uint64_t otherwise) { return argc > i ? std::strtoull(argv[i], nullptr, 10) : otherwise; };
  const std::uint64_t batch = number(3, 1), seconds = number(4, 10), connections = number(5, 2), in_flight = number(6, 16);
  const std::uint64_t series = number(7, 20'000);
  if (batch == 0 || connections == 0 || in_flight == 0) return 2;

  std::vector<std::unique_ptr<Connection>> all;
  const std::uint64_t each = std::max<std::uint64_t>(1, series / connections / batch);
  for (std::uint64_t c = 0; c < connections; ++c) {
    std::vector<Request> requests;
    for (std::uint64_t r = 0; r < each; ++r) requests.push_back(MakeRequest((c * each + r) * batch, batch));
    all.push_back(std::make_unique<Connection>(target, std::move(requests), in_flight));
  }
  RunAll(&all, {}, true);  // the series exist, and are known
  for (auto& connection : all) connection->points = connection->answered = 0;

  const double server_before = CpuSeconds(pid), own_before = CpuSeconds("self");
  const auto start = Steady::now();
  RunAll(&all, start + std::chrono::seconds(seconds), false);
  const double wall = std::chrono::duration<double>(Steady::now() - start).count();
  const double server = CpuSeconds(pid) - server_before, own = CpuSeconds("self") - own_before;
  std::uint64_t points = 0, answered = 0, failed = 0;
  std::string error;
  for (const auto& connection : all) {
    points += connection->points;
    answered += connection->answered;
    failed += connection->failed;
    if (!connection->error.empty()) error = connection->error;
  }
  const double n = std::max(1.0, static_cast<double>(points));
  std::printf(
      "batch %llu: %.0f points/s, %.0f requests/s, server CPU %.3f us a point (%.1f us a request), client CPU %.3f us a point",
      static_cast<unsigned long long>(batch), static_cast<double>(points) / wall, static_cast<double>(answered) / wall,
      server * 1e6 / n, server * 1e6 / std::max(1.0, static_cast<double>(answered)), own * 1e6 / n);
  std::printf(failed == 0 ? "\n" : ", %llu failed: %s\n", static_cast<unsigned long long>(failed), error.c_str());
  return failed == 0 ? 0 : 1;
}
