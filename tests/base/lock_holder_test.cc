#include "base/lock_holder.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace chronolith {
namespace {

using ::testing::StartsWith;

bool Lock(int fd, short type, int command) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return fcntl(fd, command, &lock) == 0;
}

class LockHolderTest : public ::testing::Test {
 protected:
  LockHolderTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "chronolith-lock-XXXXXX").string();
    fd_ = mkstemp(pattern.data());
    path_ = pattern;
  }
  ~LockHolderTest() override {
    close(fd_);
    unlink(path_.c_str());
  }
  // Calls `look` while a child has locked the file.
  template <typename Look>
  void WhileAChildHolds(short type, int command, const Look& look) {
    int ready[2];
    int done[2];
    ASSERT_EQ(pipe(ready), 0);
    ASSERT_EQ(pipe(done), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(done[1]);
      const int fd = open(path_.c_str(), O_RDWR);
      const char locked = Lock(fd, type, command) ? 'y' : 'n';
      (void)!write(ready[1], &locked, 1);
      char end = 0;
      (void)!read(done[0], &end, 1);
      _exit(0);
    }
    char locked = 0;
    EXPECT_EQ(read(ready[0], &locked, 1), 1);
    EXPECT_EQ(locked, 'y');
    look(child);
    for (const int fd : {ready[0], ready[1], done[0], done[1]}) close(fd);
    EXPECT_EQ(waitpid(child, nullptr, 0), child);
  }

  // The kernel tells of a lock on the file.
  bool Told() const {
    struct stat file {};
    EXPECT_EQ(stat(path_.c_str(), &file), 0);
    char number[64];
    std::snprintf(number, sizeof(number), " %02x:%02x:%llu ", major(file.st_dev), minor(file.st_dev),
                  static_cast<unsigned long long>(file.st_ino));
    std::ifstream locks("/proc/locks");
    std::stringstream text;
    text << locks.rdbuf();
    return text.str().find(number) != std::string::npos;
  }

  int fd_ = -1;
  std::string path_;
};

TEST_F(LockHolderTest, AFileWithoutALockHasNone) {
  EXPECT_FALSE(FindLockHolder(path_).known);
  EXPECT_FALSE(FindLockHolder(path_ + ".missing").known);
  EXPECT_THAT(LockedError("m.db", path_).message(), StartsWith("another process writes to m.db (it holds the lock " + path_ + ")"));
}

TEST(LockHolder, TheTextOfTheKernelIsUnderstood) {
  const std::string text =
      "1: POSIX  ADVISORY  WRITE 999999991 fe:00:100 0 EOF\n"
      "1: -> POSIX  ADVISORY  WRITE 999999992 fe:00:200 0 EOF\n"
      "2: OFDLCK ADVISORY  READ  -1 fe:00:200 0 EOF\n"
      "3: FLOCK  ADVISORY  WRITE 999999993 fe:00:300 0 EOF\n"
      "4: POSIX  ADVISORY  READ  999999994 fe:00:400 0 EOF\n"
      "5: POSIX  ADVISORY  WRITE 999999995 fe:00:400 0 EOF\n"
      "6: POSIX  ADVISORY  READ  999999996 fe:00:400 0 EOF\n"
      "7: POSIX  ADVISORY  WRITE 0 fe:00:500 0 EOF\n"  // of another container
      "8: POSIX\n";
  struct Row {
    const char* file;
    bool known;
    bool shared;
    pid_t pid;
    const char* name;
  };
  const Row kRows[] = {
      {"fe:00:100", true, false, 999999991, "process 999999991"}, {"fe:00:200", true, true, 0, "another process"},
      {"fe:00:300", true, false, 999999993, "process 999999993"}, {"fe:00:400", true, false, 999999995, "process 999999995"},
      {"fe:00:500", true, false, 0, "another process"},           {"fe:01:100", false, false, 0, "another process"},
      {"fe:00:10", false, false, 0, "another process"},           {"", false, false, 0, "another process"},
  };
  for (const Row& row : kRows) {
    std::istringstream locks(text);
    const LockHolder holder = FindInLocks(locks, row.file);
    EXPECT_EQ(holder.known, row.known) << row.file;
    EXPECT_EQ(holder.shared, row.shared) << row.file;
    EXPECT_EQ(holder.pid, row.pid) << row.file;
    EXPECT_EQ(holder.Name(), row.name) << row.file;
  }
  EXPECT_EQ((LockHolder{.known = true, .pid = 12, .command = "chronolithd"}).Name(), "process 12 (chronolithd)");
}

// What a kernel says of the locks of a file is not the same everywhere (stacked file systems have two numbers for one).
TEST_F(LockHolderTest, AWriterIsNamedWhereTheKernelTells) {
  WhileAChildHolds(F_WRLCK, F_SETLK, [this](pid_t child) {
    const LockHolder holder = FindLockHolder(path_);
    const Status locked = LockedError("m.db", path_);
    EXPECT_EQ(holder.known, Told());
    EXPECT_EQ(holder.pid, Told() ? child : 0);
    EXPECT_EQ(locked.code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(locked.message(), holder.Name() + " writes to m.db (it holds the lock " + path_ + "): stop it first");
  });
}

TEST_F(LockHolderTest, ALockOfAnOpenFileHasNoProcess) {
  WhileAChildHolds(F_RDLCK, F_OFD_SETLK, [this](pid_t) {
    const LockHolder holder = FindLockHolder(path_);
    EXPECT_EQ(holder.shared, Told());
    EXPECT_EQ(holder.pid, 0);
    EXPECT_THAT(LockedError("m.db", path_).message(),
                StartsWith(Told() ? "another process reads m.db and keeps writers out" : "another process writes to m.db"));
  });
}

TEST_F(LockHolderTest, ThisProcessIsNoOther) {
  ASSERT_TRUE(Lock(fd_, F_WRLCK, F_SETLK));
  EXPECT_EQ(FindLockHolder(path_).pid, Told() ? getpid() : 0);
  EXPECT_THAT(LockedError("m.db", path_).message(), StartsWith(Told() ? "this process has m.db open already" : "another process"));
}

}  // namespace
}  // namespace chronolith
