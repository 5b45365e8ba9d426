// What replay and dump-wal share: which part of a log is meant.
#ifndef CHRONOLITH_TOOLS_CLI_LOG_FLAGS_H_
#define CHRONOLITH_TOOLS_CLI_LOG_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "ops/wal_scan.h"

namespace chronolith::cli {

struct LogFlags {
  std::vector<std::uint32_t> shards;
  std::vector<std::string> from;
  std::vector<std::string> to;
  std::string since, until;
  std::string written_since, written_until;
  std::vector<std::string> selectors;
};

void AddLogFlags(CLI::App* command, LogFlags* flags);
// kInvalidArgument names the flag. Whether the shards exist is left to who has the store.
Result<ops::LogSelection> ParseLogFlags(const LogFlags& flags);

// After a log without damage: says so on stderr where it holds no records of these shards, and why.
void TellOfEmptyLog(const ops::OfflineStore& store, const ops::LogSelection& selection);

// "SHARD:LSN".
Result<std::pair<ShardId, Lsn>> ParsePlace(const std::string& text);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_LOG_FLAGS_H_
