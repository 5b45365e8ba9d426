// chronolith archive: what a log archive holds, and removing its oldest files.
#include <algorithm>
#include <optional>
#include <string>

#include "interop/time_text.h"
#include "ops/log_archive_list.h"
#include "ops/log_archive_tail.h"
#include "tools/cli/common.h"
#include "tools/cli/confirm.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

namespace {

struct ArchiveFlags {
  std::string directory;
  std::string db;
  std::string log_dir;
  std::string before;
  bool dry_run = false;
  bool yes = false;
  Format format = Format::kTable;
};

void PrintList(const ops::ArchiveSummary& summary, Output* out) {
  JsonWriter json(out);
  json.BeginObject().Key("store").String(summary.uuid).Key("incarnation").String(std::to_string(summary.incarnation));
  json.Key("files").Unsigned(summary.segments).Key("bytes").Unsigned(summary.bytes);
  if (summary.mark) json.Key("restorable_to_ms").Integer(summary.mark->time_ms);
  json.Key("runs").BeginArray();
  for (const ops::ArchivedRun& run : summary.runs) {
    json.BeginObject().Key("shard").Unsigned(run.shard).Key("first_lsn").Unsigned(run.first_lsn);
    json.Key("last_lsn").Unsigned(run.last_lsn).Key("first_ms").Integer(run.first_ms).Key("last_ms").Integer(run.last_ms);
    json.Key("rows").Unsigned(run.rows).Key("bytes").Unsigned(run.bytes).EndObject();
  }
  json.EndArray().Key("gaps").BeginArray();
  for (const ArchiveGap& gap : summary.gaps) {
    json.BeginObject().Key("shard").Unsigned(gap.shard).Key("first_lsn").Unsigned(gap.first_lsn);
    json.Key("last_lsn").Unsigned(gap.last_lsn).EndObject();
  }
  json.EndArray().Key("problems").BeginArray();
  for (const std::string& problem : summary.problems) json.String(problem);
  json.EndArray().EndObject().Newline();
}

void PrintTable(const ops::ArchiveSummary& summary, bool csv, Output* out) {
  Table table({"shard", "first LSN", "last LSN", "written from", "to", "rows", "bytes"});
  for (const ops::ArchivedRun& run : summary.runs) {
    table.Add({std::to_string(run.shard), std::to_string(run.first_lsn), std::to_string(run.last_lsn),
               interop::FormatTime(run.first_ms), interop::FormatTime(run.last_ms), std::to_string(run.rows),
               csv ? std::to_string(run.bytes) : HumanBytes(run.bytes)});
  }
  table.Print(csv, out);
  if (csv) return;
  *out << "store " << summary.uuid << " incarnation " << std::to_string(summary.incarnation) << ", "
       << std::to_string(summary.segments) << " files, " << HumanBytes(summary.bytes) << "; "
       << (summary.mark ? "restores go to " + interop::FormatTime(summary.mark->time_ms)
                        : std::string("not restorable to any moment yet"))
       << "\n";
}

int List(const ArchiveFlags& flags) {
  Result<ops::ArchiveSummary> summary = Unavailable("");
  {
    WorkProgress progress;
    ops::OpsContext context;
    context.cancelled = InterruptFlag();
    context.progress = &progress;
    summary = ops::ListArchive(flags.directory, context);
  }
  if (!summary.ok()) return FailOrInterrupted(summary.status(), "the archive was not read to its end");
  const auto json = [&](Output* out) { PrintList(*summary, out); };
  const auto text = [&](bool csv, Output* out) { PrintTable(*summary, csv, out); };
  if (!PrintReport(flags.format, json, text)) return kExitFailure;
  bool lacks = !summary->problems.empty() || !summary->gaps.empty();
  for (const std::string& problem : summary->problems) PrintError(problem);
  for (const ArchiveGap& gap : summary->gaps) {
    PrintError("shard " + std::to_string(gap.shard) + " lacks LSN " + std::to_string(gap.first_lsn) + " to " +
               std::to_string(gap.last_lsn) + ": the archive was away for too long");
  }
  for (std::size_t i = 1; i < summary->runs.size(); ++i) {
    const auto& before = summary->runs[i - 1];
    const auto& run = summary->runs[i];
    if (run.shard != before.shard) continue;
    lacks = true;
    const auto within = [&](const ArchiveGap& gap) { return gap.shard == run.shard && gap.first_lsn == before.last_lsn + 1; };
    if (std::any_of(summary->gaps.begin(), summary->gaps.end(), within)) continue;
    PrintError("shard " + std::to_string(run.shard) + " lacks LSN " + std::to_string(before.last_lsn + 1) + " to " +
               std::to_string(run.first_lsn - 1) + ": a process wrote to the database without this archive");
  }
  return lacks ? kExitProblems : kExitOk;
}

int AddLog(const ArchiveFlags& flags) {
  Result<ops::ArchivedTail> tail = Unavailable("");
  {
    WorkProgress progress;
    ops::OpsContext context;
    context.cancelled = InterruptFlag();
    context.progress = &progress;
    context.logger = MakeOptions({}).logger;
    tail = ops::ArchiveTail(flags.db, flags.log_dir, flags.directory, context);
  }
  if (!tail.ok()) return FailOrInterrupted(tail.status(), "the same command adds the rest");
  Output out;
  if (flags.format == Format::kJson) {
    JsonWriter json(&out);
    json.BeginObject().Key("rows").Unsigned(tail->rows).Key("bytes").Unsigned(tail->bytes);
    json.Key("restorable_to_ms").Integer(tail->time_ms).EndObject().Newline();
  } else {
    const bool csv = flags.format == Format::kCsv;
    Table table({"rows of the log", "bytes", "restores go to"});
    table.Add({std::to_string(tail->rows), csv ? std::to_string(tail->bytes) : HumanBytes(tail->bytes),
               interop::FormatTime(tail->time_ms)});
    table.Print(csv, &out);
  }
  return Finish(&out);
}

int Prune(const ArchiveFlags& flags) {
  const Result<Timestamp> before = interop::ParseTime(flags.before, Clock::System()->NowMs());
  if (!before.ok()) return Fail(before.status());
  Result<ops::PrunedArchive> pruned = ops::PruneArchive(flags.directory, *before, true);
  if (!pruned.ok()) return Fail(pruned.status());
  if (!flags.dry_run && !pruned->removed.empty()) {
    const std::string question = "Remove " + std::to_string(pruned->removed.size()) + " files (" + HumanBytes(pruned->bytes) +
                                 ") of " + flags.directory + "?";
    if (const std::optional<int> code = Refused(question, flags.yes)) return *code;
    pruned = ops::PruneArchive(flags.directory, *before, false);
    if (!pruned.ok()) return Fail(pruned.status());
  }
  Output out;
  if (flags.format == Format::kJson) {
    JsonWriter json(&out);
    json.BeginObject().Key("dry_run").Bool(flags.dry_run).Key("files_removed").Unsigned(pruned->removed.size());
    json.Key("bytes_removed").Unsigned(pruned->bytes).Key("files_left").Unsigned(pruned->segments_left);
    json.Key("bytes_left").Unsigned(pruned->bytes_left).EndObject().Newline();
  } else {
    const bool csv = flags.format == Format::kCsv;
    const auto bytes = [&](std::uint64_t n) { return csv ? std::to_string(n) : HumanBytes(n); };
    Table table({flags.dry_run ? "would be removed" : "removed", "bytes", "left", "bytes left"});
    table.Add({std::to_string(pruned->removed.size()), bytes(pruned->bytes), std::to_string(pruned->segments_left),
               bytes(pruned->bytes_left)});
    table.Print(csv, &out);
  }
  return Finish(&out);
}

}  // namespace

void AddArchive(CLI::App* app, Run* run) {
  auto flags = std::make_shared<ArchiveFlags>();
  CLI::App* command = app->add_subcommand("archive", "Look at an archive of a database's log, and remove its oldest files");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n"
      "  chronolith archive list /archive/metrics\n"
      "  chronolith archive prune /archive/metrics --before -30d --dry-run");
  CLI::App* list = command->add_subcommand("list", "Read an archive: what it holds of each shard, and what it lacks");
  list->add_option("ARCHIVE", flags->directory, "directory of the archive")->required();
  AddFormat(list, &flags->format);
  list->footer(
      "Exit codes: 0 all is there, 1 there is no archive, 3 something is missing or damaged.\n"
      "Example:\n  chronolith archive list /archive/metrics");
  list->callback([flags, run] { *run = [flags] { return List(*flags); }; });

  CLI::App* add =
      command->add_subcommand("add-log", "Add what the log of a database still holds to its archive; the database is only read");
  add->add_option("ARCHIVE", flags->directory, "directory of the archive")->required();
  add->add_option("--db", flags->db, "directory of the database, which no process writes to")->required()->option_text("DIR");
  add->add_option("--log-dir", flags->log_dir, "directory of its log, where it is not DIR/log")->option_text("DIR");
  AddFormat(add, &flags->format);
  add->footer(
      "For the last minutes before a disaster, where the data is lost and the log is not: then `restore --archive` goes to its "
      "end.\n"
      "Example:\n  chronolith archive add-log /archive/metrics --db metrics.db");
  add->callback([flags, run] { *run = [flags] { return AddLog(*flags); }; });

  CLI::App* prune = command->add_subcommand("prune", "Remove the files whose rows were all written before a time");
  prune->add_option("ARCHIVE", flags->directory, "directory of the archive")->required();
  prune->add_option("--before", flags->before, "RFC 3339, milliseconds since 1970, or a duration before now such as -30d")
      ->required()
      ->option_text("TIME");
  prune->add_flag("--dry-run", flags->dry_run, "say what would be removed, and remove nothing");
  AddYes(prune, &flags->yes);
  AddFormat(prune, &flags->format);
  prune->footer(
      "A backup that is older than what is left can be restored as it is, and to no later moment. A process may be archiving\n"
      "meanwhile; the newest file stays.\n"
      "Example:\n  chronolith archive prune /archive/metrics --before -30d --yes");
  prune->callback([flags, run] { *run = [flags] { return Prune(*flags); }; });
}

}  // namespace chronolith::cli
