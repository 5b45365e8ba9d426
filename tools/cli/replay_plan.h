// What `replay --dry-run` prints.
#ifndef CHRONOLITH_TOOLS_CLI_REPLAY_PLAN_H_
#define CHRONOLITH_TOOLS_CLI_REPLAY_PLAN_H_

#include <map>
#include <string>

#include "ops/replay.h"
#include "ops/sink_dry_run.h"
#include "tools/cli/common.h"

namespace chronolith::cli {

// `report` is of a replay to the target that made `foreseen` (ops/sink_dry_run.h). False, after a message, where stdout is full.
bool PrintReplayPlan(Format format, const std::string& target, const ops::ReplayReport& report,
                     const std::map<ShardId, ops::Foreseen>& foreseen);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_REPLAY_PLAN_H_
