#include "server/log_reopener.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace chronolith::server {
namespace {

constexpr std::size_t kProbeBytes = 64 << 10;
constexpr std::chrono::minutes kToldApart{1};

prometheus::Counter& Reopenings(prometheus::Registry* registry, const char* result) {
  return prometheus::BuildCounter()
      .Name("chronolith_server_log_reopenings_total")
      .Help("Times that the server opened the store again because its log had failed.")
      .Register(*registry)
      .Add({{"result", result}});
}

// Whether a file there can be written and synced. It is never seen under its name.
Status Probe(const std::string& directory) {
  const int fd = open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) return Status::Ok();  // this file system has no such files: not known
  static constexpr std::array<char, kProbeBytes> kBytes{};
  const ssize_t written = fd < 0 ? -1 : write(fd, kBytes.data(), kBytes.size());
  int error = errno;
  if (written >= 0) error = written < static_cast<ssize_t>(kBytes.size()) ? ENOSPC : fdatasync(fd) == 0 ? 0 : errno;
  if (fd >= 0) close(fd);
  return error == 0 ? Status::Ok() : IoError("the disk of " + directory + " takes no writes: " + std::strerror(error));
}

}  // namespace

LogReopener::LogReopener(Storage* storage, LogReopenerOptions options, prometheus::Registry* registry)
    : storage_(storage),
      options_(std::move(options)),
      reopened_(Reopenings(registry, "ok")),
      failed_(Reopenings(registry, "failed")),
      pause_(options_.interval) {}

LogReopener::~LogReopener() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  wake_.SignalAll();
  if (thread_.joinable()) thread_.join();
}

void LogReopener::Start() {
  thread_ = std::thread([this] { Run(); });
}

void LogReopener::Run() {
  while (true) {
    {
      const auto next = std::chrono::steady_clock::now() + pause_;
      MutexLock lock(&mu_);
      while (!stopping_ && std::chrono::steady_clock::now() < next) wake_.WaitUntil(&mu_, next);
      if (stopping_) return;
    }
    Look();
  }
}

Status LogReopener::Reopen() {
  for (const std::string& directory : options_.directories) {
    if (Status status = Probe(directory); !status.ok()) return status;
  }
  Status status = storage_->Reopen();
  if (status.code() == StatusCode::kResourceExhausted) return status;  // it has not tried
  pause_ = std::min(2 * pause_, options_.interval_max);
  if (!status.ok()) {
    failed_.Increment();
    return status;
  }
  if (options_.on_reopened) options_.on_reopened();
  return status;
}

// It serves, or its replay goes on, or that has failed: then the log is failed again.
void LogReopener::LookAtReplay() {
  const Status ready = storage_->WaitReady(std::chrono::steady_clock::now());
  if (!ready.ok()) return;
  pause_ = options_.interval;
  if (!std::exchange(replaying_, false)) return;
  reopened_.Increment();
  Log(LogLevel::kInfo, "the log was opened again and replayed: writes are taken");
}

void LogReopener::Look() {
  if (!storage_->Stats().log_failed) {
    was_failed_ = false;
    return LookAtReplay();
  }
  if (std::exchange(replaying_, false)) {
    failed_.Increment();
    Log(LogLevel::kWarning, "the log was opened again, and its replay has failed: writes are refused");
  }
  if (!std::exchange(was_failed_, true)) {
    told_ = StatusCode::kOk;
    Log(LogLevel::kWarning, "writes are refused until the log is opened again, which is tried as soon as the disk takes writes");
  }
  const Status status = Reopen();
  if (status.ok()) {
    was_failed_ = false;
    replaying_ = true;
    Log(LogLevel::kInfo, "the log was opened again and is being replayed: each shard takes writes when its own is");
    return LookAtReplay();
  }
  const auto now = std::chrono::steady_clock::now();
  if (status.code() == told_ && now < told_at_ + kToldApart) return;
  told_ = status.code();
  told_at_ = now;
  Log(LogLevel::kWarning, "the log is still closed: " + status.message());
}

void LogReopener::Log(LogLevel level, const std::string& message) const {
  if (options_.logger != nullptr) options_.logger->Log(level, message);
}

}  // namespace chronolith::server
