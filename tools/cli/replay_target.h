// Where a replay goes, from what the user wrote.
#ifndef CHRONOLITH_TOOLS_CLI_REPLAY_TARGET_H_
#define CHRONOLITH_TOOLS_CLI_REPLAY_TARGET_H_

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ops/offline_store.h"
#include "ops/record_sink.h"

namespace chronolith::cli {

struct TargetFlags {
  std::string text = "null";  // "kind" or "kind:where"
  bool overwrite = false;
  // Of remote write:
  std::string protocol = "1.0";
  std::vector<std::string> headers;
  std::string user;
  std::string password_file;
  std::string bearer_token_file;
  std::string ca_file;
  std::string give_up_after = "10m";
};
void AddTargetFlags(CLI::App* command, TargetFlags* flags);

struct TargetContext {
  std::string source;
  bool resumable = false;
  std::uint64_t memory_limit_bytes = 256ULL << 20;  // of the whole replay
  const std::atomic<bool>* cancelled = nullptr;     // outlives the target
};
// Nothing is opened yet; without a store only to see whether the flags make sense. kInvalidArgument names what does not. Other
// errors are of files that the flags name.
Result<std::unique_ptr<ops::RecordTarget>> MakeTarget(const TargetFlags& flags, const TargetContext& context,
                                                      const ops::OfflineStore* store = nullptr);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_REPLAY_TARGET_H_
