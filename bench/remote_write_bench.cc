// Load of remote write 1.0 on a server that is running, and what it costs there: CPU by /proc/PID/stat, memory by /proc/PID/status.
//
//   remote_write_bench --port 9201 --pid PID --series 20000 --per-request 500 --connections 2 --rounds 100 [--new] [--path
//   /api/v1/write]
//
// Each round sends one sample of each series, of 9 labels as a node exporter's have, 15 s after the last; with --new each round has
// series of its own. Each connection has its part of the series and one request at a time, so that a receiver that wants order gets
// it. Of eight series four are counters that grow by 0 to 999, two gauges of whole numbers that walk, one a random walk with full
// mantissas, one does not change. Prints one JSON object.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <snappy.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "interop/remote_write_message.h"

namespace chronolith {
namespace {

struct Flags {
  int port = 9201;
  int pid = 0;
  int series = 20'000;
  int per_request = 500;
  int connections = 2;
  int rounds = 100;
  int warm_rounds = 5;
  bool is_new = false;
  std::string values = "mixed";
  std::string path = "/api/v1/write";
};

constexpr int kMetrics = 50;
constexpr std::int64_t kStepMs = 15'000;

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "remote_write_bench: %s\n", what.c_str());
  std::exit(1);
}

double CpuSeconds(int pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  if (!(fields >> user >> system)) Die("no process " + std::to_string(pid));
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

std::uint64_t PeakBytes(int pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmHWM:")) return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  return 0;
}

Labels LabelsOf(int series, int generation) {
  const std::string instance = "host-" + std::to_string(series / 1000) + ".example.com:9100";
  return Labels(
      std::vector<std::pair<std::string, std::string>>{{"__name__", "node_metric_" + std::to_string(series % kMetrics) + "_total"},
                                                       {"cluster", "production-eu-west-1"},
                                                       {"cpu", std::to_string(series / kMetrics % 20)},
                                                       {"datacenter", "frankfurt-2"},
                                                       {"environment", "production"},
                                                       {"instance", instance},
                                                       {"job", "node-exporter"},
                                                       {"mode", "generation-" + std::to_string(generation)},
                                                       {"team", "infrastructure-" + std::to_string(series % 7)}});
}

class Connection {
 public:
  explicit Connection(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int one = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0)
      Die("nobody listens on port " + std::to_string(port));
  }
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The status of the answer.
  int Post(const std::string& path, const std::string& body) {
    std::string request = "POST " + path +
                          " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n"
                          "X-Prometheus-Remote-Write-Version: 0.1.0\r\nUser-Agent: bench\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n\r\n" + body;
    for (std::size_t at = 0; at < request.size();) {
      const ssize_t n = send(fd_, request.data() + at, request.size() - at, MSG_NOSIGNAL);
      if (n <= 0) Die("the server closed the connection");
      at += static_cast<std::size_t>(n);
    }
    std::string answer;
    char buffer[4096];
    std::size_t head = std::string::npos;
    while ((head = answer.find("\r\n\r\n")) == std::string::npos) {
      const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
      if (n <= 0) Die("the server closed the connection: " + answer);
      answer.append(buffer, static_cast<std::size_t>(n));
    }
    const int status = std::atoi(answer.c_str() + 9);
    if (status / 100 != 2) Die("answer: " + answer);
    return status;
  }

 private:
  const int fd_;
};

const std::vector<std::string>& Kinds() {
  static const std::vector<std::string> kinds = {"counters", "gauges", "walks", "constants"};
  return kinds;
}

// The values of one series.
class Values {
 public:
  // `kind`: of Kinds().
  Values(int series, int kind) : kind_(kind), state_(0x9e3779b97f4a7c15ULL * static_cast<std::uint64_t>(series + 1)) {}

  double Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    const std::uint64_t random = state_ >> 11;  // 53 bits
    if (kind_ == 0) value_ += static_cast<double>(random % 1000);
    if (kind_ == 1) value_ += static_cast<double>(random % 21) - 10;
    if (kind_ == 2) value_ += static_cast<double>(random) / 0x1p53 - 0.5;
    return value_;
  }

 private:
  int kind_;
  std::uint64_t state_;
  double value_ = 1000;
};

// What all phases share.
struct Load {
  explicit Load(const Flags& f) : flags(f) {
    // The last round lies a minute before now.
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
    start = 1000 * now.count() - kStepMs * (f.warm_rounds + f.rounds) - 60'000;
    const auto chosen = static_cast<int>(std::find(Kinds().begin(), Kinds().end(), f.values) - Kinds().begin());
    static constexpr int kMixed[] = {0, 0, 0, 0, 1, 1, 2, 3};
    for (int i = 0; i < f.series; ++i) values.emplace_back(i, f.values == "mixed" ? kMixed[i % 8] : chosen);
  }
  const Flags& flags;
  std::int64_t start = 0;
  std::vector<Values> values;
  std::atomic<std::uint64_t> sent{0};
};

// One connection's part of the series, through all rounds of a phase.
void Send(Load* load, int part, int first_round, int rounds) {
  const Flags& flags = load->flags;
  Connection connection(flags.port);
  const int begin = static_cast<int>(static_cast<std::int64_t>(flags.series) * part / flags.connections);
  const int end = static_cast<int>(static_cast<std::int64_t>(flags.series) * (part + 1) / flags.connections);
  std::vector<std::string> labels(static_cast<std::size_t>(end - begin));
  std::vector<Sample> samples(static_cast<std::size_t>(flags.per_request));
  std::vector<interop::RemoteWriteSeries> series;
  std::string message, body;
  for (int round = first_round; round < first_round + rounds; ++round) {
    if (flags.is_new || round == first_round) {
      for (int i = begin; i < end; ++i) {
        std::string& l = labels[static_cast<std::size_t>(i - begin)];
        l.clear();
        interop::AppendRemoteWriteLabels(LabelsOf(i, flags.is_new ? round : 0), &l);
      }
    }
    for (int at = begin; at < end; at += flags.per_request) {
      series.clear();
      for (int i = at; i < std::min(end, at + flags.per_request); ++i) {
        Sample& sample = samples[static_cast<std::size_t>(i - at)];
        sample = {load->start + round * kStepMs, load->values[static_cast<std::size_t>(i)].Next()};
        series.push_back({.labels = labels[static_cast<std::size_t>(i - begin)], .samples = {&sample, 1}});
      }
      interop::EncodeRemoteWrite(interop::RemoteWriteVersion::k1, series, &message);
      snappy::Compress(message.data(), message.size(), &body);
      connection.Post(flags.path, body);
      load->sent.fetch_add(series.size());
    }
  }
}

struct Phase {
  std::uint64_t samples = 0;
  double seconds = 0;
  double cpu = 0;
};

Phase Run(Load* load, int first_round, int rounds) {
  const Flags& flags = load->flags;
  Phase phase;
  load->sent = 0;
  const double cpu = flags.pid > 0 ? CpuSeconds(flags.pid) : 0;
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int part = 0; part < flags.connections; ++part) {
    threads.emplace_back([=] { Send(load, part, first_round, rounds); });
  }
  for (std::thread& thread : threads) thread.join();
  phase.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  phase.cpu = flags.pid > 0 ? CpuSeconds(flags.pid) - cpu : 0;
  phase.samples = load->sent.load();
  return phase;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Load of remote write, and what it costs the server.");
  app.add_option("--port", flags.port);
  app.add_option("--pid", flags.pid, "the server, whose CPU and memory are read");
  app.add_option("--series", flags.series);
  app.add_option("--per-request", flags.per_request);
  app.add_option("--connections", flags.connections);
  app.add_option("--rounds", flags.rounds);
  app.add_option("--warm-rounds", flags.warm_rounds, "before what is measured");
  app.add_flag("--new", flags.is_new, "each round has series of its own");
  app.add_option("--values", flags.values, "mixed, counters, gauges, walks or constants")
      ->check(CLI::IsMember({"mixed", "counters", "gauges", "walks", "constants"}));
  app.add_option("--path", flags.path);
  CLI11_PARSE(app, argc, argv);
  Load load(flags);
  const Phase warm = Run(&load, 0, flags.warm_rounds);
  const Phase phase = Run(&load, flags.warm_rounds, flags.rounds);
  const auto whole = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
  std::printf("{\"samples\": %llu, \"all_samples\": %llu, \"seconds\": %.3f, \"cpu_seconds\": %.2f, \"peak_bytes\": %llu, ",
              whole(phase.samples), whole(warm.samples + phase.samples), phase.seconds, phase.cpu,
              whole(flags.pid > 0 ? PeakBytes(flags.pid) : 0));
  std::printf("\"first_ms\": %lld}\n", static_cast<long long>(load.start));
  return 0;
}

}  // namespace
}  // namespace chronolith

int main(int argc, char** argv) { return chronolith::Main(argc, argv); }
