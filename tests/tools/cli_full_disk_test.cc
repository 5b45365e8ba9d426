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
  // The program on a disk of so many KiB, and again when the disk has become larger; the disk is then copied to "kept".
  struct Twice {
    ProcessResult first, again;
  };
  Twice OnDiskThatGrows(int kib, std::vector<std::string> args) const {
    const std::string script = "mount -t tmpfs -o size=" + std::to_string(kib) + "k tmpfs \"$0/small\" || exit 77; " +
                               "\"$@\" > \"$0/out\" 2> \"$0/err\"; echo $? > \"$0/code\"; " +
                               "mount -o remount,size=256m \"$0/small\" || exit 78; \"$@\"; code=$?; " +
                               "cp -r \"$0/small\" \"$0/kept\" || exit 79; exit $code";
    std::vector<std::string> command = {"/usr/bin/env", "unshare", geteuid() == 0 ? "-m" : "-rm", "sh", "-c", script, directory_};
    for (std::string& arg : Command(std::move(args))) command.push_back(std::move(arg));
    Twice twice;
    twice.again = RunProcess(command, {});
    twice.first.exit_code = std::atoi(ReadFile(Path("code")).c_str());
    twice.first.out = ReadFile(Path("out"));
    twice.first.err = ReadFile(Path("err"));
    return twice;
  }
  // Names the directory and what to do, and says once that the disk is full.
  static void ExpectNamed(const ProcessResult& failed, const std::string& directory) {
    EXPECT_EQ(failed.exit_code, kFailure) << failed.out << failed.err;
    EXPECT_THAT(failed.err, HasSubstr("the disk of " + directory));
    EXPECT_THAT(failed.err, HasSubstr("free space"));
    std::size_t errors = 0;
    std::size_t words = 0;
    for (const std::string& line : Lines(failed.err)) {
      errors += line.starts_with("chronolith: error:") ? 1 : 0;
      words += line.find("No space left on device") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(errors, 1U) << failed.err;
    EXPECT_EQ(words, 0U) << failed.err;
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

// Whether the log meets the end of the disk (the small ones), or the store sees it come.
TEST_F(CliFullDisk, AnImportNamesTheDiskAndTheSameCommandAddsTheRest) {
  if (!CanMount()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  constexpr int kSamples = 1'000'000;
  const std::string text = WriteFile("all.prom", Text(kSamples));
  const std::string db = Path("small/db");
  for (const int kib : {1024, 3072, 6144}) {
    SCOPED_TRACE(kib);
    std::filesystem::remove_all(Path("kept"));
    const Twice twice = OnDiskThatGrows(
        kib, {"import", "--db", db, "--input-format", "prometheus", "--format", "json", "--progress", "none", text});
    ExpectNamed(twice.first, db);
    EXPECT_THAT(twice.first.err, HasSubstr("the same command adds the rest"));
    EXPECT_LT(Json(twice.first)["samples"], kSamples);
    EXPECT_EQ(Json(twice.first)["refused"], 0);
    ASSERT_EQ(twice.again.exit_code, kOk) << twice.again.err;
    db_ = Path("kept/db");
    EXPECT_EQ(Query("n{i=\"7\"}").size(), std::size_t{kSamples / 20});
    const ProcessResult verified = Cli({"verify", db_, "--format", "json"});
    EXPECT_EQ(verified.exit_code, kOk) << verified.out << verified.err;
  }
}

TEST_F(CliFullDisk, NoCommandThatFillsADatabaseWaitsOrRepeatsItself) {
  if (!CanMount()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  ASSERT_EQ(Import(Text(400'000), {"--input-format", "prometheus", "--shards", "4"}).exit_code, kOk);
  ASSERT_EQ(Cli({"backup", "--db", db_, "--to", Path("backups")}).exit_code, kOk);
  const std::vector<std::vector<std::string>> commands = {
      {"replay", "--db", db_, "--target", "db:" + Path("small/target")},
      {"reshard", db_, Path("small/target"), "--shards", "2"},
      {"restore", "--from", Path("backups"), "--to", Path("small/target")},
      {"salvage", db_, Path("small/target")},
  };
  for (const std::vector<std::string>& command : commands) {
    SCOPED_TRACE(command[0]);
    ExpectNamed(OnSmallDisk(1536, command), Path("small"));
  }
}

TEST_F(CliFullDisk, ARecoveryNamesTheDiskAndTheSameCommandGoesOn) {
  if (!CanMount()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  constexpr int kSamples = 400'000;
  ASSERT_EQ(Import(Text(kSamples), {"--input-format", "prometheus", "--shards", "4"}).exit_code, kOk);
  const std::string script =
      "mount -t tmpfs -o size=256m tmpfs \"$0/small\" || exit 77; cp -r \"$0/db\" \"$0/small/db\" || exit 78; " +
      std::string("mount -o remount,size=$(du -sk \"$0/small\" | cut -f 1)k \"$0/small\" || exit 79; \"$@\"");
  std::vector<std::string> command = {"/usr/bin/env", "unshare", geteuid() == 0 ? "-m" : "-rm", "sh", "-c", script, directory_};
  for (const std::string& arg : Command({"recover", Path("small/db")})) command.push_back(arg);
  const ProcessResult failed = RunProcess(command, {});
  ExpectNamed(failed, Path("small/db"));
  EXPECT_THAT(failed.err, HasSubstr("the same command goes on"));
}

}  // namespace
}  // namespace chronolith::testing
