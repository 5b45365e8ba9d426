#include "tools/cli/files.h"

#include <cstdio>

#include "ops/verify.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/store.h"

namespace chronolith::cli {

namespace {
constexpr char kInterrupted[] = "interrupted while the database was opened; nothing was changed";
}

void AddFilesFlags(CLI::App* command, FilesFlags* flags) {
  command->add_option("DIR,--db", flags->db, "directory of the database")->required()->option_text("DIR");
  command->add_option("--log-dir", flags->log_dir, "directory of its log, where it has been moved since")->option_text("DIR");
}

Result<std::unique_ptr<ops::OfflineStore>> OpenFiles(const FilesFlags& flags, std::uint64_t memory_limit,
                                                     ops::OfflineOptions options) {
  options.log_path = flags.log_dir;
  options.quarantine = true;
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  context.memory_limit_bytes = memory_limit;
  context.logger = MakeOptions({}).logger;
  auto log_in_tables = ops::PutLogInTables(flags.db, options, context);
  if (!log_in_tables.ok()) return log_in_tables.status();
  options.log_in_tables = std::move(*log_in_tables);
  const EndsAtOnce interruptible(kInterrupted);
  return ops::OfflineStore::Open(flags.db, options);
}

namespace {

std::string Where(const FilesFlags& files) { return files.db + (files.log_dir.empty() ? "" : " --log-dir " + files.log_dir); }

// `recover` works where the data can be opened.
void AdviseOnLog(const char* read, bool data, const FilesFlags& files) {
  const std::string where = Where(files);
  ops::OfflineOptions options;
  options.log_path = files.log_dir;
  const std::string give_up =
      data && ops::LogCanBeGivenUp(files.db, options)
          ? "\n`chronolith recover --accept-data-loss --dry-run " + where +
                "` says which records are lost, and without --dry-run\ngives them up, on a copy of the directory; or\n"
          : " recover cannot help, since it needs the log;\n";
  std::fprintf(stderr,
               "%s was read. Put back what is missing or damaged of the log, or restore a backup. Else:%s"
               "`chronolith salvage %s TARGET` copies what is left into a new database.\n",
               read, give_up.c_str(), where.c_str());
}

void AdviseOnData(const char* read, const FilesFlags& files) {
  const std::string where = Where(files);
  std::fprintf(stderr,
               "%s was read. Put back what is missing or damaged of the data, or restore a backup. The log is sound:\n"
               "`chronolith replay %s` and `chronolith dump-wal %s` read it, and\n"
               "`chronolith salvage %s TARGET` copies what is left into a new database.\n",
               read, where.c_str(), where.c_str(), where.c_str());
}

// An instance of another database, or of another copy of this one: no tool reads both.
void AdviseOnForeign(const char* read, const char* instance, const FilesFlags& files) {
  std::fprintf(stderr,
               "%s was read. Put back the %s that belongs to %s, or restore a backup. With what lies there now moved away,\n"
               "`chronolith salvage` copies what is left into a new database.\n",
               read, instance, files.db.c_str());
}

void Advise(const char* read, const Status& log, const Status& data, const FilesFlags& files) {
  if (log.code() == StatusCode::kFailedPrecondition) return AdviseOnForeign(read, "log", files);
  if (!log.ok()) return AdviseOnLog(read, data.ok(), files);
  if (data.code() == StatusCode::kFailedPrecondition) return AdviseOnForeign(read, "data", files);
  if (!data.ok()) AdviseOnData(read, files);
}

bool MeansDamage(const Status& status) {
  return status.code() == StatusCode::kDataLoss || status.code() == StatusCode::kIoError ||
         status.code() == StatusCode::kFailedPrecondition;
}

}  // namespace

int FailOpening(const Status& status, const FilesFlags& files) {
  if (status.code() == StatusCode::kCancelled) {
    PrintError(kInterrupted);
    return kExitFailure;
  }
  Fail(status);
  if (!MeansDamage(status)) return kExitFailure;
  const auto open_one = [&](bool log) {
    ops::OfflineOptions options;
    options.log_path = files.log_dir;
    options.quarantine = true;
    options.log = log;
    options.data = !log;
    return ops::OfflineStore::Open(files.db, options).status();
  };
  const Status log = open_one(true);
  const Status data = open_one(false);
  if (log.ok() || data.ok() || !(log == data))
    Advise("Nothing", log, data, files);  // the same of both: STORE, and it says what to do
  return kExitFailure;
}

int ReportProblems(const std::vector<std::string>& problems, const ops::OfflineStore& store, const FilesFlags& files) {
  const int code = ReportProblems(problems);
  Advise(store.log() == nullptr ? "Only the data" : "Only the log", store.log_failure(), store.data_failure(), files);
  return code;
}

int ReportProblems(const std::vector<std::string>& problems) {
  for (const std::string& problem : problems) PrintError(problem);
  return problems.empty() ? kExitOk : kExitProblems;
}

}  // namespace chronolith::cli
