// chronolithd: the time-series store as a server.
#include <malloc.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

#include "tools/chronolithd/daemon.h"
#include "tools/chronolithd/log.h"
#include "tools/cli/standard_streams.h"

namespace chronolith::daemon {
namespace {

// As those of chronolith (tools/README.md).
enum ExitCode : int { kExitOk = 0, kExitFailure = 1, kExitUsage = 2 };

int Fail(const Status& status, ExitCode code = kExitFailure) {
  std::fprintf(stderr, "chronolithd: error: %s\n", status.message().c_str());
  return code;
}

// A service manager tries again after 1 (chronolithd.service), which is of no use where the arguments are wrong.
int FailToStart(const Status& status) {
  return Fail(status, status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailure);
}

int Print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return kExitOk;
  return Fail(IoError("cannot write to stdout: " + std::generic_category().message(errno)));
}

// Thousands of connections, and the database's files.
void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

// What is large goes back to the system when it is freed. By itself malloc takes the first large block that is freed for a sign
// that more of its size will come, and from then on each thread keeps what its largest request needed.
void ReturnLargeBlocks() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 4 << 20);
#endif
}

// Blocked in all threads, to be taken by sigwait: what they ask for is more than a signal handler may do.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

int Main(int argc, char** argv) {
  cli::KeepStandardStreams();
  CLI::App app("Serves a Chronolith database: takes Prometheus remote write, and OpenTelemetry's metrics by OTLP", "chronolithd");
  app.set_version_flag("--version", "chronolithd " CHRONOLITH_VERSION);
  std::string description;
  AddDescriptions(&app, &description);
  Flags flags;
  AddFlags(&app, &flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (!description.empty()) return Print(description);
    std::ostringstream asked;  // --help, --version
    return app.exit(e, asked) == 0 ? Print(asked.str()) : kExitUsage;
  }
  RaiseFileLimit();
  ReturnLargeBlocks();
  const sigset_t signals = BlockSignals();
  const std::shared_ptr<Logger> logger = NewLogger(flags.log_level);
  flags.store.logger = logger;
  if (Status status = Complete(&flags); !status.ok()) return FailToStart(status);
  Result<std::unique_ptr<Daemon>> daemon = Daemon::Start(flags);
  if (!daemon.ok()) return FailToStart(daemon.status());
  std::printf("listening on %s%s\n", (*daemon)->scheme().c_str(), (*daemon)->address().c_str());
  if (const std::string otlp = (*daemon)->otlp_grpc_address(); !otlp.empty()) std::printf("OTLP over gRPC on %s\n", otlp.c_str());
  if (const std::string otlp = (*daemon)->otlp_http_address(); !otlp.empty())
    std::printf("OTLP over HTTP on %s%s/v1/metrics\n", (*daemon)->scheme().c_str(), otlp.c_str());
  std::fflush(stdout);

  int signal = 0;
  while (signal != SIGTERM && signal != SIGINT) {
    const timespec second{.tv_sec = 1, .tv_nsec = 0};
    signal = sigtimedwait(&signals, nullptr, &second);
    (*daemon)->Reload(signal == SIGHUP);
    (*daemon)->LogOnceServing();
  }
  logger->Log(LogLevel::kInfo, std::string(signal == SIGTERM ? "SIGTERM" : "SIGINT") + ": finishing requests; again: at once");
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  if (Status status = (*daemon)->Stop(); !status.ok()) return Fail(status);
  logger->Log(LogLevel::kInfo, "closed");
  return kExitOk;
}

}  // namespace
}  // namespace chronolith::daemon

int main(int argc, char** argv) {
  try {
    return chronolith::daemon::Main(argc, argv);
  } catch (const std::exception& e) {  // out of memory, and what the standard library throws
    return chronolith::daemon::Fail(chronolith::IoError(e.what()));
  }
}
