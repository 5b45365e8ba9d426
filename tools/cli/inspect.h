// What inspect, its page and cardinality share.
#ifndef CHRONOLITH_TOOLS_CLI_INSPECT_H_
#define CHRONOLITH_TOOLS_CLI_INSPECT_H_

#include <string>
#include <vector>

#include "ops/cardinality.h"
#include "ops/inspect.h"
#include "tools/cli/files.h"
#include "tools/cli/output.h"

namespace chronolith::cli {

std::string HumanAge(std::int64_t ms);     // 3 min, 2.5 h, 12 d
std::string WindowName(Timestamp window);  // 2026-01-31 14:00, UTC

// Keys of an object: "state", "complete", "errors".
void JsonCondition(const ops::ShardCondition& condition, JsonWriter* json);
// "These figures are lower bounds: not all of shard 1, 3 could be read."; "": all was.
std::string LowerBounds(const ops::InspectReport& report);
std::string LowerBounds(const ops::CardinalityReport& report);
// Of both, each once.
std::vector<std::string> ProblemsOf(const ops::InspectReport& report, const ops::CardinalityReport& cardinality);

// The page of `inspect --html`.
std::string InspectPage(const ops::OfflineStore& store, const ops::InspectReport& report,
                        const ops::CardinalityReport& cardinality);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_INSPECT_H_
