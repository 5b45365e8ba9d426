// Backups beside a writer in another process, restored and compared with what it had logged; interruptions, damage.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <csignal>
#include <map>
#include <set>
#include <thread>

#include "tests/support/skip.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class CliBackup : public CliTest {
 protected:
  std::vector<std::string> WriterCommand(std::uint64_t samples = 0) const {
    std::vector<std::string> command = {CHRONOLITH_CHECKPOINTING_WRITER, db_};
    if (samples > 0) command.push_back(std::to_string(samples));
    return command;
  }
  // A database with so many samples that nobody has open.
  void WriteStore(std::uint64_t samples) const {
    const ProcessResult written = RunProcess(WriterCommand(samples));
    ASSERT_EQ(written.exit_code, 0) << written.err;
    ASSERT_EQ(LastLogged(written.err), samples);
  }
  std::vector<std::string> BackupArgs(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"backup", "--db", db_, "--to", Path("backups"), "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  nlohmann::json Backup(std::vector<std::string> more = {}) const {
    const ProcessResult result = Cli(BackupArgs(std::move(more)));
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return Json(result);
  }
  static std::vector<std::string> RestoreArgs(const std::string& from, const std::string& to) {
    return {"restore", "--from", from, "--to", to, "--format", "json"};
  }
  static nlohmann::json Restore(const std::string& from, const std::string& to) {
    const ProcessResult result = Cli(RestoreArgs(from, to));
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return Json(result);
  }
  // How many samples the database holds; each must be one that the writer writes.
  static std::uint64_t CheckedSamples(const std::string& db) {
    const ProcessResult result = Cli({"query", "--db", db, "--format", "csv", "live"});
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    const std::vector<std::string> rows = Lines(result.out, 1);
    for (const std::string& row : rows) {
      const std::size_t value = row.rfind(',');
      const std::size_t time = row.rfind(',', value - 1);
      EXPECT_EQ(std::stoll(row.substr(time + 1)) - 1'700'000'000'000, std::stoll(row.substr(value + 1))) << row;
    }
    return rows.size();
  }
  // Name, length and last change of each file.
  static std::map<std::string, std::pair<std::uint64_t, std::int64_t>> Tree(const std::string& directory) {
    std::map<std::string, std::pair<std::uint64_t, std::int64_t>> files;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      struct stat info {};
      if (stat(entry.path().c_str(), &info) != 0 || S_ISDIR(info.st_mode)) continue;
      files[entry.path().string()] = {static_cast<std::uint64_t>(info.st_size),
                                      info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
    }
    return files;
  }
  static std::size_t FilesIn(const std::string& directory) {
    std::size_t count = 0;
    std::error_code error;
    for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
      count += it->path().filename() != "LOCK" && it->is_regular_file(error) ? 1 : 0;
    }
    return count;
  }
  // Waits until `directory` holds so many files, or `end` is there.
  static void AwaitFiles(std::size_t files, const std::string& directory, const std::string& end) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (FilesIn(directory) < files && !fs::exists(end)) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << files << " files in " << directory;
      std::this_thread::yield();
    }
  }
  // Runs the program and kills it when `directory` holds so many files; false where it came to its end before.
  static bool KilledAt(std::size_t files, const std::string& directory, const std::string& end,
                       const std::vector<std::string>& args) {
    Subprocess program(Command(args));
    AwaitFiles(files, directory, end);
    program.Kill(SIGKILL);
    const ProcessResult ended = program.Wait();
    EXPECT_TRUE(ended.signal == SIGKILL || ended.exit_code == kOk) << ended.err;
    return ended.signal == SIGKILL;
  }
  static void FlipByte(const std::string& path) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(0, std::ios::end);
    const auto middle = file.tellg() / 2;
    file.seekg(middle);
    const int byte = file.get();
    file.seekp(middle);
    file.put(static_cast<char>(byte ^ 0x10));
    ASSERT_TRUE(file.good());
  }
  static std::string AnyTable(const std::string& directory) {
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().extension() == ".sst") return entry.path().string();
    }
    ADD_FAILURE() << "no table in " << directory;
    return {};
  }
};

TEST_F(CliBackup, BesideAWriterItHoldsAllThatWasLoggedBefore) {
  Subprocess writer(WriterCommand());
  std::vector<std::pair<std::string, std::uint64_t>> taken;  // path, logged before
  for (std::uint64_t i = 0; i < 8; ++i) {
    const std::uint64_t from = LastLogged(writer.err());
    ASSERT_TRUE(writer.WaitUntil([&](const std::string&, const std::string& err) { return LastLogged(err) >= from + 20'000; }))
        << writer.err();
    const std::uint64_t logged = LastLogged(writer.err());
    Subprocess backup(Command(BackupArgs()));
    const auto at_end = [](const std::string& out, const std::string&) { return !out.empty() && out.back() == '\n'; };
    ASSERT_TRUE(backup.WaitUntil(at_end)) << backup.err();
    const ProcessResult done = backup.Wait();
    ASSERT_EQ(done.exit_code, kOk) << done.err;
    taken.emplace_back(Json(done)["path"].get<std::string>(), logged);
  }
  const ProcessResult ended = writer.Wait();
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const std::uint64_t sent = LastLogged(ended.err);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    const auto& [path, logged] = taken[i];
    const std::string copy = Path("copy" + std::to_string(i));
    Restore(path, copy);
    const std::uint64_t samples = CheckedSamples(copy);
    EXPECT_GE(samples, logged) << path;
    EXPECT_LE(samples, sent) << path;
    EXPECT_EQ(Cli({"backup", "verify", path}).exit_code, kOk);
  }
  EXPECT_EQ(CheckedSamples(db_), sent);
}

TEST_F(CliBackup, TheDatabaseIsNotTouched) {
  WriteStore(50'000);
  const auto before = Tree(db_);
  const auto backup = Backup();
  Backup({"--link"});
  EXPECT_EQ(Tree(db_), before);
  EXPECT_EQ(CheckedSamples(backup["path"]), 50'000U) << "a backup can be read where it lies";
}

TEST_F(CliBackup, OnlyNewTablesAreCopied) {
  WriteStore(50'000);
  const auto first = Backup();
  EXPECT_EQ(first["files_shared"], 0);
  EXPECT_EQ(first["parent"], "");
  const auto again = Backup();
  EXPECT_EQ(again["parent"], first["id"]);
  EXPECT_GT(again["files_shared"].get<int>(), 4);
  EXPECT_EQ(again["files_copied"].get<int>() + again["files_shared"].get<int>(), first["files_copied"].get<int>());
  EXPECT_LT(again["bytes_copied"].get<std::uint64_t>(), first["bytes_copied"].get<std::uint64_t>());
  std::set<std::string> tables;
  for (const auto& [path, size] : Tree(again["path"])) {
    if (path.ends_with(".sst")) tables.insert(path);
  }
  EXPECT_EQ(tables.size(), again["files_shared"].get<std::size_t>()) << "each table is linked from the first backup";
  // Each is whole by itself.
  fs::remove_all(first["path"].get<std::string>());
  Restore(Path("backups"), Path("copy"));
  EXPECT_EQ(CheckedSamples(Path("copy")), 50'000U);
  const auto list = Json(Cli({"backup", "list", Path("backups"), "--format", "json"}));
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0]["state"], "complete");
}

TEST_F(CliBackup, ADryRunSaysWhatWouldBeCopiedAndWritesNothing) {
  WriteStore(50'000);
  const auto first = Backup({"--dry-run"});
  EXPECT_FALSE(fs::exists(Path("backups")));
  EXPECT_TRUE(first["dry_run"].get<bool>());
  EXPECT_EQ(first["files_shared"], 0);
  const auto made = Backup();
  // The description of the store is written, not copied.
  EXPECT_EQ(first["files"].get<int>() + 1, made["files"].get<int>());
  EXPECT_EQ(first["bytes_copied"], made["bytes_copied"]);
  const auto before = Tree(Path("backups"));
  const auto second = Backup({"--dry-run"});
  EXPECT_EQ(second["parent"], made["id"]);
  EXPECT_GT(second["files_shared"].get<int>(), 0);
  EXPECT_EQ(Tree(Path("backups")), before);
}

TEST_F(CliBackup, AFlippedByteIsFoundAndNotRestored) {
  WriteStore(50'000);
  const std::string backup = Backup()["path"];
  FlipByte(AnyTable(backup + "/data"));
  const ProcessResult verified = Cli({"backup", "verify", backup, "--format", "json"});
  EXPECT_EQ(verified.exit_code, kProblems);
  ASSERT_EQ(Json(verified)["problems"].size(), 1U);
  EXPECT_THAT(Json(verified)["problems"][0]["file"].get<std::string>(), HasSubstr("data/"));
  const ProcessResult restored = Cli(RestoreArgs(backup, Path("copy")));
  EXPECT_EQ(restored.exit_code, kFailure);
  EXPECT_THAT(restored.err, HasSubstr("is damaged"));
  EXPECT_EQ(Cli({"query", "--db", Path("copy"), "live"}).exit_code, kFailure) << "there is no database";
}

TEST_F(CliBackup, ADamagedDatabaseIsNotBackedUp) {
  WriteStore(50'000);
  FlipByte(AnyTable(db_ + "/data"));
  const ProcessResult result = Cli(BackupArgs());
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_THAT(result.err, HasSubstr(db_ + "/data/"));
  const auto list = Json(Cli({"backup", "list", Path("backups"), "--format", "json"}));
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0]["state"], "incomplete");
}

TEST_F(CliBackup, ARestoredDatabaseDoesNotMixWithItsSource) {
  WriteStore(50'000);
  const auto report = Restore(Backup()["path"], Path("copy"));
  EXPECT_NE(report["incarnation"], report["incarnation_of_backup"]);
  fs::create_directory(Path("mixed"));
  fs::copy(Path("copy/STORE"), Path("mixed/STORE"));
  fs::copy(Path("copy/data"), Path("mixed/data"));
  fs::copy(db_ + "/log", Path("mixed/log"));
  const ProcessResult mixed = Cli({"query", "--db", Path("mixed"), "live"});
  EXPECT_EQ(mixed.exit_code, kFailure);
  EXPECT_THAT(mixed.err, HasSubstr("different copies were mixed"));
  EXPECT_EQ(CheckedSamples(Path("copy")), 50'000U);
  // It takes writes, and its own backups share nothing with the source's.
  const ProcessResult written = Cli({"import", "--db", Path("copy"), "-"}, "new 1 1700000000000\n");
  EXPECT_EQ(written.exit_code, kOk) << written.err;
  const ProcessResult backup = Cli({"backup", "--db", Path("copy"), "--to", Path("backups"), "--format", "json"});
  EXPECT_EQ(Json(backup)["files_shared"], 0) << backup.err;
}

TEST_F(CliBackup, KilledBackupsAreGoneOnWith) {
  WriteStore(100'000);
  const std::size_t files = Backup()["files"].get<std::size_t>();
  fs::remove_all(Path("backups"));
  std::size_t killed = 0;
  for (const std::size_t at : {std::size_t{1}, std::size_t{2}, files / 3, files / 2, files - 3, files - 1, files, files + 1}) {
    if (!KilledAt(at, Path("backups"), "", BackupArgs({"--rate-limit", "256KiB"}))) break;
    ++killed;
    EXPECT_EQ(CheckedSamples(db_), 100'000U);
  }
  EXPECT_GE(killed, 3U);
  const auto done = Backup();
  std::size_t complete = 0;
  for (const auto& entry : Json(Cli({"backup", "list", Path("backups"), "--format", "json"}))) {
    EXPECT_EQ(entry["state"], "complete");
    ++complete;
  }
  EXPECT_GE(complete, 1U);
  EXPECT_EQ(Cli({"backup", "verify", Path("backups")}).exit_code, kOk);
  EXPECT_GT(done["files_resumed"].get<int>() + done["files_shared"].get<int>(), 0);
  Restore(Path("backups"), Path("copy"));
  EXPECT_EQ(CheckedSamples(Path("copy")), 100'000U);
}

TEST_F(CliBackup, KilledRestoresAreGoneOnWith) {
  WriteStore(100'000);
  const std::size_t files = Backup()["files"].get<std::size_t>();
  std::vector<std::string> args = RestoreArgs(Path("backups"), Path("copy"));
  args.insert(args.end(), {"--rate-limit", "256KiB"});
  std::size_t killed = 0;
  for (const std::size_t at : {std::size_t{1}, files / 3, files / 2, files - 2, files, files + 1, files + 3}) {
    if (!KilledAt(at, Path("copy"), Path("copy/STORE"), args)) break;
    ++killed;
    const int expected = fs::exists(Path("copy/STORE")) ? kOk : kFailure;
    EXPECT_EQ(Cli({"query", "--db", Path("copy"), "live"}).exit_code, expected);
  }
  EXPECT_GE(killed, 3U);
  if (!fs::exists(Path("copy/STORE")) || fs::exists(Path("copy/.restore")) || fs::exists(Path("copy/.restored")))
    Restore(Path("backups"), Path("copy"));
  EXPECT_FALSE(fs::exists(Path("copy/.restore")));
  EXPECT_FALSE(fs::exists(Path("copy/.restored")));
  EXPECT_EQ(CheckedSamples(Path("copy")), 100'000U);
}

TEST_F(CliBackup, AnInterruptionSaysHowToGoOn) {
  WriteStore(100'000);
  Subprocess backup(Command(BackupArgs({"--rate-limit", "128KiB"})));
  AwaitFiles(3, Path("backups"), "");
  backup.Kill(SIGINT);
  const ProcessResult interrupted = backup.Wait();
  EXPECT_EQ(interrupted.exit_code, kFailure);
  EXPECT_THAT(interrupted.err, HasSubstr("goes on with what was copied"));
  Backup();

  Subprocess restore(Command({"restore", "--from", Path("backups"), "--to", Path("copy"), "--rate-limit", "128KiB"}));
  AwaitFiles(3, Path("copy"), Path("copy/STORE"));
  restore.Kill(SIGINT);
  EXPECT_THAT(restore.Wait().err, HasSubstr("there is no database yet"));
  const auto report = Restore(Path("backups"), Path("copy"));
  EXPECT_GT(report["files_resumed"].get<int>(), 0);
  EXPECT_EQ(CheckedSamples(Path("copy")), 100'000U);
}

TEST_F(CliBackup, LinkedTablesAreTheDatabasesOwnAndOutliveIt) {
  WriteStore(50'000);
  const auto report = Backup({"--link"});
  EXPECT_GT(report["files_linked"].get<int>(), 0);
  fs::remove_all(db_);
  Restore(Path("backups"), Path("copy"));
  EXPECT_EQ(CheckedSamples(Path("copy")), 50'000U);
}

TEST_F(CliBackup, AcrossFileSystemsItCopies) {
  struct stat here {};
  ASSERT_EQ(stat(directory_.c_str(), &here), 0);
  std::string other;
  for (const char* place : {"/dev/shm", "/run", "/tmp", "/var/tmp"}) {
    struct stat there {};
    if (stat(place, &there) != 0 || here.st_dev == there.st_dev) continue;
    other = std::string(place) + "/chronolith-backup-XXXXXX";
    if (mkdtemp(other.data()) != nullptr) break;
    other.clear();
  }
  if (other.empty()) CHRONOLITH_SKIP_HERE("no second file system that may be written to");
  WriteStore(50'000);
  const ProcessResult result = Cli({"backup", "--db", db_, "--to", other, "--link", "--format", "json"});
  EXPECT_EQ(result.exit_code, kOk) << result.err;
  EXPECT_EQ(Json(result)["files_linked"], 0);
  Restore(other, Path("copy"));
  EXPECT_EQ(CheckedSamples(Path("copy")), 50'000U);
  fs::remove_all(other);
}

TEST_F(CliBackup, RefusesWhatCannotBeRight) {
  WriteStore(1'000);
  EXPECT_EQ(Cli({"backup", "--db", db_}).exit_code, kUsage);
  EXPECT_EQ(Cli({"backup", "--to", Path("backups")}).exit_code, kUsage);
  EXPECT_EQ(Cli({"backup", "--db", Path("none"), "--to", Path("backups")}).exit_code, kFailure);
  EXPECT_EQ(Cli({"backup", "--db", db_, "--to", db_ + "/data/backups"}).exit_code, kUsage);
  EXPECT_FALSE(fs::exists(db_ + "/data/backups"));
  EXPECT_EQ(Cli({"restore", "--from", Path("backups"), "--to", Path("copy")}).exit_code, kFailure);
  const std::string backup = Backup()["path"];
  const ProcessResult occupied = Cli(RestoreArgs(backup, db_));
  EXPECT_EQ(occupied.exit_code, kFailure);
  EXPECT_THAT(occupied.err, HasSubstr("is not empty"));
  EXPECT_EQ(CheckedSamples(db_), 1'000U);
  fs::remove(backup + "/BACKUP");
  EXPECT_EQ(Cli(RestoreArgs(backup, Path("copy"))).exit_code, kFailure);
  EXPECT_EQ(Cli({"backup", "verify", backup}).exit_code, kFailure);
}

}  // namespace
}  // namespace chronolith::testing
