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
// Around damaged shards. `options`: which of the instances the command can do without. `memory_limit`: of the command; a log that
// is too large for it is read from a copy.
Result<std::unique_ptr<ops::OfflineStore>> OpenFiles(const FilesFlags& flags, std::uint64_t memory_limit,
                                                     ops::OfflineOptions options);
// After it has failed: what is damaged, and what to do. Returns kExitFailure.
int FailOpening(const Status& status, const FilesFlags& files);
// Errors on stderr, one a problem; kExitProblems where there is one.
int ReportProblems(const std::vector<std::string>& problems);
// The same, and what to do where one of the instances could not be opened.
int ReportProblems(const std::vector<std::string>& problems, const ops::OfflineStore& store, const FilesFlags& files);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_FILES_H_
