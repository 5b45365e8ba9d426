// What all commands share: exit codes, formats, how a command is registered, errors on stderr.
#ifndef CHRONOLITH_TOOLS_CLI_COMMON_H_
#define CHRONOLITH_TOOLS_CLI_COMMON_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "chronolith/storage.h"
#include "tools/cli/output.h"

namespace chronolith::cli {

// Exit codes; part of the program's interface (tools/README.md).
enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,   // the command could not do its work: no such database, I/O error, ...
  kExitUsage = 2,     // wrong arguments; nothing was done
  kExitProblems = 3,  // done, but something was refused or found damaged
};

enum class Format : std::uint8_t { kTable, kJson, kCsv };

// The chosen command: each Add* function registers a subcommand that sets it.
using Run = std::function<int()>;

void AddImport(CLI::App* app, Run* run);
void AddImportPrometheus(CLI::App* importing, Run* run);
void AddExport(CLI::App* app, Run* run);
void AddExportPrometheus(CLI::App* exporting, Run* run);
void AddQuery(CLI::App* app, Run* run);
void AddLookups(CLI::App* app, Run* run);  // series, labels, values
void AddStat(CLI::App* app, Run* run);
void AddRecover(CLI::App* app, Run* run);
void AddCompact(CLI::App* app, Run* run);
void AddDelete(CLI::App* app, Run* run);
void AddBackup(CLI::App* app, Run* run);
void AddRestore(CLI::App* app, Run* run);
void AddArchive(CLI::App* app, Run* run);
void AddInspect(CLI::App* app, Run* run);
void AddCardinality(CLI::App* app, Run* run);
void AddVerify(CLI::App* app, Run* run);
void AddReplay(CLI::App* app, Run* run);
void AddDumpWal(CLI::App* app, Run* run);
void AddReshard(CLI::App* app, Run* run);
void AddSalvage(CLI::App* app, Run* run);
void AddCompletion(CLI::App* app, Run* run);  // completion, man
void AddBench(CLI::App* app, Run* run);
void AddBenchWrite(CLI::App* bench, Run* run);
void AddBenchRead(CLI::App* bench, Run* run);
void AddBenchIndex(CLI::App* bench, Run* run);
void AddBenchWal(CLI::App* bench, Run* run);

// "chronolith: error: ..." on stderr. What the store has logged as an error (NoteLoggedError) is left out: it was said.
void PrintError(std::string_view message);
void NoteLoggedError(std::string_view message);
// Prints a status that is not ok and returns kExitFailure.
int Fail(const Status& status);
// After the last of the output: `code`, or kExitFailure where stdout has not taken it all, after a message.
int Finish(Output* out, int code = kExitOk);
// The same of an operation that may have been interrupted: "interrupted; HOW", which says what there is and how to go on.
int FailOrInterrupted(const Status& status, std::string_view how);
// The same where an argument may be what is wrong (kInvalidArgument): then kExitUsage.
int FailOrUsage(const Status& status, std::string_view interrupted_how = "");
// The same where the arguments are wrong: kExitUsage.
int FailUsage(const Status& status);
// The same for a read that was asked for: a wrong selector (a bad regular expression) is the user's, kExitUsage.
int FailReading(const Status& status, std::string_view interrupted_how = "what was printed is not all");

// After a read that left damaged shards out (--skip-damaged): says so, and returns kExitProblems.
int Partial();

// Options that several commands take.
void AddSkipDamaged(CLI::App* command, bool* skip);
enum class Csv : std::uint8_t { kNo, kYes };
void AddFormat(CLI::App* command, Format* format, Csv csv = Csv::kYes);
void AddLevel(CLI::App* command, AckLevel* level);

// Prints a report: `json(Output*)`, or `text(bool csv, Output*)`. False, after a message, where stdout has not taken it all.
template <typename Json, typename Text>
bool PrintReport(Format format, const Json& json, const Text& text) {
  Output out;
  if (format == Format::kJson) {
    json(&out);
  } else {
    text(format == Format::kCsv, &out);
  }
  return Finish(&out) == kExitOk;
}

struct TimeFlags {
  std::string start;
  std::string end;
};
void AddTimeRange(CLI::App* command, TimeFlags* flags);
// "" is unbounded. kInvalidArgument names the flag.
Result<TimeRange> ParseTimeRange(const TimeFlags& flags);
// Of each selector, one vector of matchers. kInvalidArgument shows the selector and the position in it.
Result<std::vector<std::vector<Matcher>>> ParseSelectors(const std::vector<std::string>& selectors);

// Which samples of which series.
struct SelectionFlags {
  std::vector<std::string> selectors;
  TimeFlags time;
};
void AddSelection(CLI::App* command, SelectionFlags* flags);  // --match, --start, --end
struct Selection {
  std::vector<std::vector<Matcher>> selectors;  // series that match any; none: all
  TimeRange range;
};
Result<Selection> ParseSelection(const SelectionFlags& flags);

// An option whose text `parse` must accept; otherwise it is a usage error with the status' message.
template <typename Parse>
CLI::Validator Checked(Parse parse) {
  return CLI::Validator([parse](std::string& text) { return parse(text).status().message(); }, "", "");
}

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_COMMON_H_
