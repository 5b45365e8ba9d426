#include "tools/cli/files.h"

#include <cstdio>

#include "ops/verify.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"

namespace chronolith::cli {

void AddFilesFlags(CLI::App* command, FilesFlags* flags) {
  command->add_option("DIR,--db", flags->db, "directory of the database")->required()->option_text("DIR");
  command->add_option("--log-dir", flags->log_dir, "directory of its log, where it has been moved since")->option_text("DIR");
}

Result<std::unique_ptr<ops::OfflineStore>> OpenFiles(const FilesFlags& flags) {
  ops::OfflineOptions options;
  options.log_path = flags.log_dir;
  options.quarantine = true;
  const EndsAtOnce interruptible("interrupted while the database was opened; nothing was changed");
  return ops::OfflineStore::Open(flags.db, options);
}

Result<std::unique_ptr<ops::OfflineStore>> OpenLogFiles(const FilesFlags& flags) {
  ops::OfflineOptions options;
  options.log_path = flags.log_dir;
  options.quarantine = true;
  options.data_may_fail = true;
  const EndsAtOnce interruptible("interrupted while the database was opened; nothing was changed");
  return ops::OfflineStore::Open(flags.db, options);
}

int FailOpening(const Status& status, const FilesFlags& files) {
  Fail(status);
  ops::OfflineOptions log_only;
  log_only.log_path = files.log_dir;
  log_only.data = false;
  if (ops::OfflineStore::Open(files.db, log_only).ok()) {  // it is the data that is damaged
    const std::string advice(ops::AdviceOn(ops::ProblemKind::kInstance));
    std::fprintf(stderr, "Nothing was read. The log is sound, `chronolith replay` and `dump-wal` read it: %s.\n", advice.c_str());
  } else if (status.code() == StatusCode::kDataLoss) {
    std::fprintf(stderr,
                 "Nothing was read. Get the file back, or restore a backup. Else, where bytes of a log file are damaged,\n"
                 "`chronolith recover --accept-data-loss --dry-run %s` says which records are lost, and without --dry-run\n"
                 "gives them up, on a copy of the directory. `chronolith salvage` copies what is left in any case.\n",
                 files.db.c_str());
  }
  return kExitFailure;
}

int ReportProblems(const std::vector<std::string>& problems) {
  for (const std::string& problem : problems) PrintError(problem);
  return problems.empty() ? kExitOk : kExitProblems;
}

}  // namespace chronolith::cli
