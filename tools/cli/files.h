// Opening a store's files for commands that read them without opening the store.
#ifndef CHRONOLITH_TOOLS_CLI_FILES_H_
#define CHRONOLITH_TOOLS_CLI_FILES_H_

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "ops/offline_store.h"

namespace chronolith::cli {

struct FilesFlags {
  std::string db;
  std::string log_dir;
};
// DIR or --db, --log-dir.
void AddFilesFlags(CLI::App* command, FilesFlags* flags);
// Around damaged shards.
Result<std::unique_ptr<ops::OfflineStore>> OpenFiles(const FilesFlags& flags);
// For commands that need the log only: without the data where that cannot be opened.
Result<std::unique_ptr<ops::OfflineStore>> OpenLogFiles(const FilesFlags& flags);
// After one of them failed: what is damaged, and what to do. Returns kExitFailure.
int FailOpening(const Status& status, const FilesFlags& files);
// Errors on stderr, one a problem; kExitProblems where there is one.
int ReportProblems(const std::vector<std::string>& problems);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_FILES_H_
