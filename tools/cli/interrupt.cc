#include "tools/cli/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tools/cli/common.h"

namespace chronolith::cli {

namespace {

// timeout(1) signals a process and its group, so that one signal comes twice.
constexpr std::int64_t kSameSignalMs = 100;
// Of a command that is still coming to an end; then it says so, on a terminal.
constexpr auto kPatience = std::chrono::milliseconds(500);

std::atomic<bool> interrupted{false};
std::atomic<std::int64_t> interrupted_at_ms{0};
int wake = -1;  // an eventfd: can be read once interrupted

std::int64_t NowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

void OnSignal(int signal) {
  const int error = errno;
  std::int64_t first = 0;
  if (interrupted_at_ms.compare_exchange_strong(first, NowMs())) {
    interrupted.store(true);
    const std::uint64_t one = 1;
    (void)!write(wake, &one, sizeof(one));
  } else if (NowMs() - first >= kSameSignalMs) {
    (void)std::signal(signal, SIG_DFL);
    (void)raise(signal);
  }
  errno = error;
}

// What the first signal does. Never destroyed: its thread outlives main. Thread safety: safe.
class Watcher {
 public:
  void Enter(std::string message, std::function<void()> clean_up) {
    const std::lock_guard lock(mu_);
    stretches_.push_back({std::move(message), std::move(clean_up)});
    changed_.notify_all();
  }
  // Does not return where a signal has come meanwhile: the thread that is to end the process may not have woken yet.
  void Leave() {
    const std::lock_guard lock(mu_);
    if (interrupted.load()) End();
    stretches_.pop_back();
  }
  void LeaveFirst() {
    const std::lock_guard lock(mu_);
    if (interrupted.load()) End();
    stretches_.erase(stretches_.begin());
  }

  [[noreturn]] void Run() {
    while (!WaitForWake()) {
    }
    std::unique_lock lock(mu_);
    const auto at_once = [this] { return !stretches_.empty(); };
    if (!changed_.wait_for(lock, kPatience, at_once) && isatty(STDERR_FILENO) == 1)
      std::fprintf(stderr, "\r\033[Kchronolith: interrupted, coming to an end; Ctrl-C again ends at once\n");
    changed_.wait(lock, at_once);
    End();
  }

 private:
  struct Stretch {
    std::string message;
    std::function<void()> clean_up;
  };

  // With the lock, so that nobody gets out of a stretch any more.
  [[noreturn]] void End() {
    if (isatty(STDERR_FILENO) == 1) std::fprintf(stderr, "\r\033[K");
    for (auto stretch = stretches_.rbegin(); stretch != stretches_.rend(); ++stretch) {
      if (stretch->clean_up) stretch->clean_up();
    }
    PrintError(stretches_.back().message);
    _exit(kExitFailure);
  }

  static bool WaitForWake() {
    pollfd fd{wake, POLLIN, 0};
    return poll(&fd, 1, -1) > 0;
  }

  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<Stretch> stretches_;
};

Watcher* TheWatcher() {
  static auto* const watcher = new Watcher;
  return watcher;
}

bool ends_at_once_by_default = false;

}  // namespace

void HandleInterrupts() {
  wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0) return;  // then signals do what they do by default
  TheWatcher()->Enter("interrupted", {});
  ends_at_once_by_default = true;
  std::thread([] { TheWatcher()->Run(); }).detach();
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction before = {};
    const bool ignored = sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN;
    if (!ignored) (void)sigaction(signal, &action, nullptr);  // a script's background jobs are not for its Ctrl-C
  }
}

const std::atomic<bool>* InterruptFlag() {
  if (std::exchange(ends_at_once_by_default, false)) TheWatcher()->LeaveFirst();
  return &interrupted;
}

bool WaitReadable(int fd) {
  while (!interrupted.load()) {
    pollfd fds[] = {{fd, POLLIN, 0}, {wake, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return true;  // let the read say what is wrong
    if (fds[0].revents != 0) return !interrupted.load();
  }
  return false;
}

EndsAtOnce::EndsAtOnce(std::string message, std::function<void()> clean_up) {
  TheWatcher()->Enter(std::move(message), std::move(clean_up));
}

EndsAtOnce::~EndsAtOnce() { TheWatcher()->Leave(); }

}  // namespace chronolith::cli
