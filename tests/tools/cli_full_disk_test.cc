// What commands that fill a database say of a disk that is too small: a tmpfs in a mount namespace of the command's own.
#include <gmock/gmock.h>
#include <unistd.h>

#include "tests/support/skip.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class CliFullDisk : public CliTest {
 protected:
  CliFullDisk() { fs::create_directory(Path("small")); }
  // The program, where the directory "small" is a disk of so many KiB.
  ProcessResult OnSmallDisk(int kib, std::vector<std::string> args, std::string_view input = {}) const {
    std::vector<std::string> command = {
        "/usr/bin/env", "unshare", geteuid() == 0 ? "-m" : "-rm",
        "sh",           "-c",      "mount -t tmpfs -o size=" + std::to_string(kib) + "k tmpfs \"$0\" || exit 77; exec \"$@\"",
        Path("small")};
    for (std::string& arg : Command(std::move(args))) command.push_back(std::move(arg));
    return RunProcess(command, input);
  }
  bool CanMount() const {
    return RunProcess(
               {"/usr/bin/env", "unshare", geteuid() == 0 ? "-m" : "-rm", "sh", "-c", "mount -t tmpfs tmpfs \"$0\"", Path("small")})
               .exit_code == 0;
  }

  static std::string Text(int samples) {
    std::string text = "# TYPE n gauge\n";
    for (int i = 0; i < 20; ++i) {
      for (int s = 0; s < samples / 20; ++s) {
        text += "n{i=\"" + std::to_string(i) + "\"} 0." +
                std::to_string(std::uint64_t{7919} * (i + 1) * (s + 1) * (s + 3) % 999'983) + " " +
                std::to_string(1'700'000'000'000 + s * 1000) + "\n";
      }
    }
    return text;
  }
};

TEST_F(CliFullDisk, SalvageLooksForRoomBeforeItWrites) {
  if (!CanMount()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  ASSERT_EQ(Import(Text(20'000), {"--input-format", "prometheus"}).exit_code, kOk);
  const ProcessResult refused = OnSmallDisk(1024, {"salvage", db_, Path("small/target")});
  EXPECT_EQ(refused.exit_code, kFailure) << refused.out;
  EXPECT_THAT(refused.err, HasSubstr(" MiB left, the new database needs about "));
  EXPECT_THAT(refused.err, HasSubstr("another disk"));
}

TEST_F(CliFullDisk, ReshardLooksForRoomBeforeItWrites) {
  if (!CanMount()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  ASSERT_EQ(Import(Text(20'000), {"--input-format", "prometheus"}).exit_code, kOk);
  const ProcessResult refused = OnSmallDisk(1024, {"reshard", db_, Path("small/target"), "--shards", "2"});
  EXPECT_EQ(refused.exit_code, kFailure) << refused.out;
  EXPECT_THAT(refused.err, HasSubstr(" MiB left, the new database needs about "));
  EXPECT_THAT(refused.err, HasSubstr("another disk"));
}

TEST_F(CliFullDisk, APageThatTheDiskDoesNotTakeIsAFailureWithItsReason) {
  if (!CanMount()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  ASSERT_EQ(Import(Text(20), {"--input-format", "prometheus", "--shards", "2"}).exit_code, kOk);
  const ProcessResult failed = OnSmallDisk(4, {"inspect", db_, "--html", Path("small/page.html")});
  EXPECT_EQ(failed.exit_code, kFailure) << failed.out;
  EXPECT_THAT(failed.err, HasSubstr(Path("small/page.html")));
  EXPECT_THAT(failed.err, HasSubstr("No space left on device"));
}

}  // namespace
}  // namespace chronolith::testing
