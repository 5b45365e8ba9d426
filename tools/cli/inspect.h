// What inspect, its page and cardinality share.
#ifndef CHRONOLITH_TOOLS_CLI_INSPECT_H_
#define CHRONOLITH_TOOLS_CLI_INSPECT_H_

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "ops/cardinality.h"
#include "ops/inspect.h"

namespace chronolith::cli {

struct FilesFlags {
  std::string db;
  std::string log_dir;
};
// DIR or --db, --log-dir: of commands that read a store's files without opening the store.
void AddFilesFlags(CLI::App* command, FilesFlags* flags);
// Around damaged shards.
Result<std::unique_ptr<ops::OfflineStore>> OpenFiles(const FilesFlags& flags);
// After OpenFiles failed for a command that reads the log: also what to do. Returns kExitFailure.
int FailOpeningLog(const Status& status, const FilesFlags& files);
// Errors on stderr, one a problem; kExitProblems where there is one.
int ReportProblems(const std::vector<std::string>& problems);

std::string HumanAge(std::int64_t ms);     // 3 min, 2.5 h, 12 d
std::string WindowName(Timestamp window);  // 2026-01-31 14:00, UTC

// The page of `inspect --html`.
std::string InspectPage(const ops::OfflineStore& store, const ops::InspectReport& report,
                        const ops::CardinalityReport& cardinality);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_INSPECT_H_
