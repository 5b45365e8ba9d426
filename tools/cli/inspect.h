// What inspect, its page and cardinality share.
#ifndef CHRONOLITH_TOOLS_CLI_INSPECT_H_
#define CHRONOLITH_TOOLS_CLI_INSPECT_H_

#include <string>
#include <string_view>
#include <vector>

#include "ops/cardinality.h"
#include "ops/inspect.h"
#include "ops/key_list.h"
#include "tools/cli/common.h"
#include "tools/cli/files.h"
#include "tools/cli/output.h"

namespace chronolith::cli {

std::string HumanAge(std::int64_t ms);     // 3 min, 2.5 h, 12 d
std::string WindowName(Timestamp window);  // 2026-01-31 14:00, UTC

// Key of an object: "store".
void JsonStore(const ops::OfflineStore& store, JsonWriter* json);
// Keys of an object: "state", "complete", "errors".
void JsonCondition(const ops::ShardCondition& condition, JsonWriter* json);
// "These figures are lower bounds: not all of shard 1, 3 could be read."; "": all was.
std::string LowerBounds(const ops::InspectReport& report);
std::string LowerBounds(const ops::CardinalityReport& report);
// What to say where no row of the log is kept.
std::string WithoutPins(const ops::InspectReport& report, bool log_was_read);
// What a shard's state says nothing about, since its figures do not need it: a sentence, and the key "not_verified".
using Unverified = std::vector<std::string_view>;
std::string NotVerified(const Unverified& parts);
void JsonNotVerified(const Unverified& parts, JsonWriter* json);
// Of both, each once.
std::vector<std::string> ProblemsOf(const ops::InspectReport& report, const ops::CardinalityReport& cardinality);

// The page of `inspect --html`.
std::string InspectPage(const ops::OfflineStore& store, const ops::InspectReport& report,
                        const ops::CardinalityReport& cardinality);

// All of `inspect --what keys`; returns the exit code.
int InspectKeys(const ops::OfflineStore& store, const ops::KeyListOptions& options, Format format, const FilesFlags& files);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_INSPECT_H_
