// Real processes on the default engine: one that is killed with SIGKILL while it writes, one whose disk fills up.
// The children are this program again (exec, because a fork keeps no threads): `storage_process_test --child=NAME DIRECTORY`.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <iostream>
#include <random>
#include <thread>

#include "tests/storage/store_fixture.h"
#include "tests/support/child_check.h"
#include "tests/support/skip.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;
constexpr int kSkipped = 77;

Options ChildOptions() {
  Options options;
  options.shards = 4;
  options.background_threads = 2;
  return options;
}

Labels Numbered(std::uint64_t i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

// ---- Parent's side ----

class Child {
 public:
  Child(const std::string& name, const std::string& directory) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    const std::string flag = "--child=" + name;
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      close(ends[0]);
      close(ends[1]);
      execl("/proc/self/exe", "storage_process_test", flag.c_str(), directory.c_str(), nullptr);
      _exit(126);
    }
    close(ends[1]);
    out_ = fdopen(ends[0], "r");
  }
  ~Child() { std::fclose(out_); }

  // The next line that the child printed; "" at its end.
  std::string Line() {
    char line[256];
    if (std::fgets(line, sizeof(line), out_) == nullptr) return "";
    return std::string(line, std::strcspn(line, "\n"));
  }
  void Kill() { kill(pid_, SIGKILL); }
  int Wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = 0;
  FILE* out_ = nullptr;
};

// ---- Killed while writing ----

// Writes sample after sample, says which were acknowledged, until it is killed.
int WriteUntilKilled(const std::string& directory) {
  auto store = Storage::Open(ChildOptions(), directory);
  if (!store.ok()) {
    std::fprintf(stderr, "%s\n", store.status().ToString().c_str());
    return 1;
  }
  std::uint64_t next = 0;
  for (const auto& [labels, points] : Read(store->get())) next += points.size();
  for (;; ++next) {
    const WriteResult result =
        (*store)->Write(MakeSeries(Numbered(next % 50), {{kT + static_cast<Timestamp>(next), static_cast<double>(next)}}));
    if (!result.ok()) return 1;
    std::printf("%llu\n", static_cast<unsigned long long>(next));
    std::fflush(stdout);
    if (next % 300 == 299 && !(*store)->Checkpoint().ok()) return 1;
  }
}

TEST(Process, EveryAcknowledgedSampleSurvivesSigkill) {
  testing_support::TempDirectory directory;
  const std::string path = directory / "db";
  std::uint64_t acknowledged = 0;  // samples 0 .. acknowledged - 1
  for (int round = 0; round < 6; ++round) {
    Child child("write", path);
    for (int i = 0; i < 200 + round * 150; ++i) {
      const std::string line = child.Line();
      ASSERT_NE(line, "") << "the child ended by itself";
      acknowledged = std::stoull(line) + 1;
    }
    child.Kill();
    for (std::string line = child.Line(); !line.empty(); line = child.Line()) acknowledged = std::stoull(line) + 1;
    EXPECT_EQ(child.Wait(), 128 + SIGKILL);

    auto store = Storage::Open(ChildOptions(), path);
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    std::uint64_t found = 0;
    for (const auto& [labels, points] : Read(store->get())) {
      for (const auto& [t, value] : points) {
        EXPECT_EQ(value, Shown(static_cast<double>(t - kT))) << labels;
        ++found;
      }
    }
    EXPECT_GE(found, acknowledged);
    EXPECT_LE(found, acknowledged + 1) << "at most the one that was on its way";
    acknowledged = found;
    ASSERT_TRUE((*store)->Close().ok());
  }
}

TEST(Process, AStoreThatAnotherProcessHasOpenIsLocked) {
  testing_support::TempDirectory directory;
  const std::string path = directory / "db";
  Child child("write", path);
  ASSERT_NE(child.Line(), "");
  const auto store = Storage::Open(ChildOptions(), path);
  EXPECT_EQ(store.status().code(), StatusCode::kFailedPrecondition) << store.status().ToString();
  EXPECT_THAT(store.status().message(), testing::HasSubstr(path));
  Options read_only = ChildOptions();
  read_only.read_only = true;
  auto reader = Storage::Open(read_only, path);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  EXPECT_FALSE(Read(reader->get()).empty());
  reader->reset();
  child.Kill();
  child.Wait();
}

// The hardest neighbour of a reader: log rows are trimmed and files removed between any two steps of its opening.
TEST(Process, AReaderOpensBesideAWriterThatCheckpointsAllTheTime) {
  testing_support::TempDirectory directory;
  const std::string path = directory / "db";
  auto store = Storage::Open(ChildOptions(), path);
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> logged{0};
  std::atomic<std::uint64_t> checkpoints{0};
  struct Writer {  // stopped also where an assertion returns
    ~Writer() { Stop(); }
    void Stop() {
      stop.store(true);
      if (thread.joinable()) thread.join();
    }
    std::atomic<bool>& stop;
    std::thread thread;
  };
  Writer writer{stop, std::thread([&] {
                  for (std::uint64_t i = 0; !stop.load(); ++i) {
                    const Timestamp t = kT + static_cast<Timestamp>(i);
                    EXPECT_TRUE((*store)->Write(MakeSeries(Numbered(i % 50), {{t, static_cast<double>(i)}})).ok());
                    logged.store(i + 1);
                    if (i % 4 != 3) continue;
                    EXPECT_TRUE((*store)->Checkpoint().ok());
                    checkpoints.fetch_add(1);
                    checkpoints.notify_one();
                  }
                })};
  Options read_only = ChildOptions();
  read_only.read_only = true;
  for (int round = 0; round < 30; ++round) {
    checkpoints.wait(checkpoints.load());
    const std::uint64_t before = logged.load();
    auto reader = Storage::Open(read_only, path);
    ASSERT_TRUE(reader.ok()) << "round " << round << ": " << reader.status().ToString();
    std::uint64_t found = 0;
    for (const auto& [labels, points] : Read(reader->get())) found += points.size();
    EXPECT_GE(found, before) << "round " << round;
  }
  writer.Stop();
  EXPECT_GE(checkpoints.load(), 30U);
  ASSERT_TRUE((*store)->Close().ok());
}

// ---- A full disk ----

// Writes until there is no room, then checks that the failure is clear, that reading goes on, and, with room made by `make_room`,
// that Reopen brings back all that was acknowledged.
int FillUp(const std::string& path, const std::function<bool()>& make_room) {
  Options options = ChildOptions();
  options.checkpoint_bytes = 1 << 20;
  options.backpressure_wait_ms = 200;
  auto opened = Storage::Open(options, path);
  CHILD_CHECK(opened.ok(), opened.status().ToString());
  Storage* const store = opened->get();
  std::mt19937_64 rng(1);
  std::vector<Sample> samples(2000);
  Timestamp t = kT;
  std::uint64_t acknowledged = 0;
  WriteResult result;
  for (int i = 0; i < 20'000; ++i) {
    for (Sample& s : samples) s = {++t, static_cast<double>(rng())};
    result = store->Write(MakeSeries(Numbered(static_cast<std::uint64_t>(i % 10)), samples));
    if (!result.ok()) break;
    acknowledged += samples.size();
  }
  CHILD_CHECK(!result.ok(), "the disk was never full");
  CHILD_CHECK(result.status.code() == StatusCode::kUnavailable || result.status.code() == StatusCode::kResourceExhausted,
              result.status.ToString());
  CHILD_CHECK(acknowledged > 0, "");
  const auto count = [&] {
    std::uint64_t n = 0;
    for (const auto& [labels, points] : Read(store)) n += points.size();
    return n;
  };
  CHILD_CHECK(count() >= acknowledged, std::to_string(count()) + " of " + std::to_string(acknowledged) + " can be read");
  CHILD_CHECK(!store->Write(MakeSeries(Numbered(0), {{kT, 1}})).ok() || result.status.code() == StatusCode::kResourceExhausted, "");
  CHILD_CHECK(make_room(), "cannot make room");
  Status reopened = store->Reopen();
  CHILD_CHECK(reopened.ok(), reopened.ToString());
  CHILD_CHECK(count() >= acknowledged, std::to_string(count()) + " of " + std::to_string(acknowledged) + " came back");
  result = store->Write(MakeSeries(Numbered(0), {{t + 1, 1}}), {.level = AckLevel::kSynced});
  CHILD_CHECK(result.ok(), result.status.ToString());
  CHILD_CHECK(store->Checkpoint().ok(), "checkpoint");
  const Status closed = store->Close();
  CHILD_CHECK(closed.ok(), closed.ToString());
  CHILD_CHECK(!testing::Test::HasFailure(), "");
  return 0;
}

// A disk of its own, in a mount namespace that goes with the process.
int FillASmallDisk(const std::string& directory) {
  if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return kSkipped;
  (void)mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=24m") != 0) return kSkipped;
  return FillUp(directory + "/db", [&] { return mount("tmpfs", directory.c_str(), "tmpfs", MS_REMOUNT, "size=256m") == 0; });
}

// Files that may not grow beyond a size: the write fails with EFBIG.
int FillAFile(const std::string& directory) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return kSkipped;
  rlimit small = limit;
  small.rlim_cur = 3 << 20;
  if (setrlimit(RLIMIT_FSIZE, &small) != 0) return kSkipped;
  return FillUp(directory + "/db", [&] { return setrlimit(RLIMIT_FSIZE, &limit) == 0; });
}

TEST(Process, AFullDiskIsSaidAndNothingAcknowledgedIsLost) {
  testing_support::TempDirectory directory;
  Child child("small_disk", directory.path());
  const int rc = child.Wait();
  if (rc == kSkipped) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  EXPECT_EQ(rc, 0);
}

TEST(Process, AFileThatMayNotGrowIsSaidAndNothingAcknowledgedIsLost) {
  testing_support::TempDirectory directory;
  Child child("small_file", directory.path());
  const int rc = child.Wait();
  if (rc == kSkipped) CHRONOLITH_SKIP_HERE("cannot limit the size of files");
  EXPECT_EQ(rc, 0);
}

}  // namespace
}  // namespace chronolith

int main(int argc, char** argv) {
  using namespace chronolith;  // NOLINT(build/namespaces)
  if (argc == 3 && std::strncmp(argv[1], "--child=", 8) == 0) {
    const std::string name = argv[1] + 8;
    testing::InitGoogleTest();
    if (name == "write") return WriteUntilKilled(argv[2]);
    if (name == "small_disk") return FillASmallDisk(argv[2]);
    if (name == "small_file") return FillAFile(argv[2]);
    return 125;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
