#include "tests/support/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern char** environ;

namespace chronolith::testing {

namespace {

void Check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "subprocess: %s: %s\n", what, std::strerror(errno));
  std::abort();
}

void Close(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

// Appends what can be read; closes at the end.
void Drain(int* fd, std::string* to) {
  char buffer[65536];
  const ssize_t n = read(*fd, buffer, sizeof(buffer));
  if (n > 0) {
    to->append(buffer, static_cast<std::size_t>(n));
  } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
    Close(fd);
  }
}

}  // namespace

Subprocess::Subprocess(const std::vector<std::string>& args) {
  std::signal(SIGPIPE, SIG_IGN);  // a program that ends early must not end the test
  int in[2];
  int out[2];
  int err[2];
  Check(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0, "pipe2");
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGINT);  // ignored where the tests run in a script's background
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  errno = posix_spawn(&pid_, argv[0], &actions, &attributes, argv.data(), environ);
  Check(errno == 0, argv[0]);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(in[0]);
  close(out[1]);
  close(err[1]);
  stdin_ = in[1];
  stdout_ = out[0];
  stderr_ = err[0];
  fcntl(stdin_, F_SETFL, O_NONBLOCK);
}

Subprocess::~Subprocess() {
  if (pid_ >= 0) {
    Kill(SIGKILL);
    Wait();
  }
}

bool Subprocess::Pump(std::string_view* input, int timeout_ms) {
  pollfd fds[3] = {{stdout_, POLLIN, 0}, {stderr_, POLLIN, 0}, {input == nullptr ? -1 : stdin_, POLLOUT, 0}};
  if (stdout_ < 0 && stderr_ < 0) return false;
  const int n = poll(fds, 3, timeout_ms);
  if (n < 0) return errno == EINTR;
  if (n == 0) return false;
  if (fds[0].revents != 0) Drain(&stdout_, &out_);
  if (fds[1].revents != 0) Drain(&stderr_, &err_);
  if (fds[2].revents != 0) {
    const ssize_t written = write(stdin_, input->data(), input->size());
    if (written > 0) {
      input->remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EAGAIN && errno != EINTR) {
      Close(&stdin_);
    }
  }
  return true;
}

bool Subprocess::Write(std::string_view text) {
  while (!text.empty() && stdin_ >= 0) {
    if (!Pump(&text, 120'000)) break;
  }
  return text.empty();
}

void Subprocess::CloseInput() { Close(&stdin_); }

bool Subprocess::WaitUntil(const std::function<bool(const std::string&, const std::string&)>& done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(8);
  while (!done(out_, err_)) {
    if (std::chrono::steady_clock::now() > deadline || !Pump(nullptr, 120'000)) return done(out_, err_);
  }
  return true;
}

void Subprocess::Kill(int signal) { kill(pid_, signal); }

ProcessResult Subprocess::Wait() {
  CloseInput();
  while (stdout_ >= 0 || stderr_ >= 0) {
    if (!Pump(nullptr, 120'000)) break;
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  Close(&stdout_);
  Close(&stderr_);
  ProcessResult result;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.out = std::move(out_);
  result.err = std::move(err_);
  return result;
}

ProcessResult RunProcess(const std::vector<std::string>& args, std::string_view input) {
  Subprocess process(args);
  process.Write(input);
  return process.Wait();
}

}  // namespace chronolith::testing
