// chronolith replay: the records of a database's log, sent to a target.
#include "ops/replay.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "interop/time_text.h"
#include "tools/cli/common.h"
#include "tools/cli/files.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/log_flags.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/cli/replay_plan.h"
#include "tools/cli/replay_target.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {
namespace {

struct ReplayFlags {
  FilesFlags files;
  LogFlags log;
  TargetFlags target;
  bool pass_damage = false;
  bool dry_run = false;
  std::string cursor;
  std::string cursor_interval = "1s";
  ProgressMode progress = ProgressMode::kAuto;
  std::uint64_t rate_limit = 0;
  int threads = 0;
  std::uint64_t memory_limit = kToolMemoryBytes;
  Format format = Format::kTable;
};

std::string N(std::uint64_t n) { return std::to_string(n); }

// Data of the target is on stdout.
bool TakesStdout(const ReplayFlags& flags) { return flags.target.text.ends_with(":-"); }

constexpr int kSentColumn = 9;

// To nowhere nothing is sent: that it was read is all there is to say.
void PrintTable(const std::string& target, const ops::ReplayReport& report, bool csv, Output* out) {
  const bool checked = target == "null" && !csv;
  const auto sent = [checked](std::vector<std::string> sent_columns, std::vector<std::string> row) {
    if (!checked) row.insert(row.begin() + kSentColumn, sent_columns.begin(), sent_columns.end());
    return row;
  };
  Table table(sent({"sent", "skipped", "refused"},
                   {"shard", "first lsn", "last lsn", "records", "samples", "histograms", "exemplars", "metadata", "deletes",
                    "not selected", "begun after", checked ? "read to" : "delivered to"}));
  for (const ops::ShardReplay& s : report.shards) {
    table.Add(sent(
        {N(s.delivered.sent), N(s.delivered.skipped), N(s.delivered.refused)},
        {N(s.shard), N(s.read.first_lsn), N(s.read.last_lsn), N(s.read.records), N(s.read.samples), N(s.read.histograms),
         N(s.read.exemplars), N(s.read.metadata), N(s.read.deletes), N(s.read.left_out), N(s.resumed_after), N(s.delivered_lsn)}));
  }
  table.Print(csv, out);
  if (csv) return;
  const ops::ScanTotals read = report.Read();
  const ops::Delivered sum = report.Sum();
  *out << N(read.samples) << " samples, " << N(read.items() - read.samples) << " other items in " << N(read.records) << " records, "
       << HumanBytes(read.bytes) << " of log, in " << HumanSeconds(report.seconds) << ": "
       << HumanCount(static_cast<double>(read.samples) / std::max(report.seconds, 1e-9)) << " samples/s\n";
  if (checked) {
    *out << "Nothing was sent: this is what was read, and decodes. --target says where to send it.\n";
  } else {
    *out << "sent " << N(sum.sent) << ", skipped " << N(sum.skipped) << ", refused " << N(sum.refused) << "\n";
  }
}

void JsonShard(const ops::ShardReplay& s, JsonWriter* json) {
  json->BeginObject().Key("shard").Unsigned(s.shard).Key("first_lsn").Unsigned(s.read.first_lsn);
  json->Key("last_lsn").Unsigned(s.read.last_lsn).Key("trimmed_to").Unsigned(s.read.trimmed_to);
  json->Key("resumed_after").Unsigned(s.resumed_after);
  json->Key("delivered_lsn").Unsigned(s.delivered_lsn).Key("records").Unsigned(s.read.records).Key("bytes").Unsigned(s.read.bytes);
  json->Key("series").Unsigned(s.read.series).Key("samples").Unsigned(s.read.samples).Key("histograms").Unsigned(s.read.histograms);
  json->Key("exemplars").Unsigned(s.read.exemplars).Key("metadata").Unsigned(s.read.metadata);
  json->Key("deletes").Unsigned(s.read.deletes).Key("removed_series").Unsigned(s.read.removed);
  json->Key("not_selected").Unsigned(s.read.left_out).Key("sent").Unsigned(s.delivered.sent);
  json->Key("skipped").Unsigned(s.delivered.skipped).Key("refused").Unsigned(s.delivered.refused).EndObject();
}

void PrintJson(const std::string& target, const ops::ReplayReport& report, Output* out) {
  const ops::ScanTotals read = report.Read();
  const ops::Delivered sum = report.Sum();
  JsonWriter json(out);
  json.BeginObject().Key("target").String(target).Key("complete").Bool(report.complete());
  json.Key("seconds").Double(report.seconds).Key("records").Unsigned(read.records).Key("bytes").Unsigned(read.bytes);
  json.Key("samples").Unsigned(read.samples).Key("items").Unsigned(read.items());
  json.Key("samples_per_second").Double(static_cast<double>(read.samples) / std::max(report.seconds, 1e-9));
  json.Key("sent").Unsigned(sum.sent).Key("skipped").Unsigned(sum.skipped).Key("refused").Unsigned(sum.refused);
  json.Key("not_selected").Unsigned(read.left_out);
  const auto strings = [&json](const char* key, const std::vector<std::string>& texts) {
    json.Key(key).BeginArray();
    for (const std::string& text : texts) json.String(text);
    json.EndArray();
  };
  strings("reasons", sum.reasons);
  strings("problems", report.Problems());
  strings("failures", report.Failures());
  json.Key("shards").BeginArray();
  for (const ops::ShardReplay& s : report.shards) JsonShard(s, &json);
  json.EndArray().EndObject().Newline();
}

std::string HowToGoOn(const ReplayFlags& flags) {
  if (flags.dry_run) return "nothing was sent, and the log was not read to its end";
  if (!flags.cursor.empty()) return "the same command goes on from the cursor";
  const std::string& target = flags.target.text;
  if (target == "null") return "the log was not read to its end";
  if (TakesStdout(flags)) return "what was printed is not all";
  if (target.starts_with("jsonl:") || target.starts_with("openmetrics:"))
    return target.substr(target.find(':') + 1) + " was not written";
  return "what was sent is with the target; the same command begins anew, and one with --cursor FILE can be gone on with";
}

int PrintReport(const ReplayFlags& flags, const std::string& target, const ops::ReplayReport& report,
                const std::map<ShardId, ops::Foreseen>& foreseen) {
  const ops::Delivered sum = report.Sum();
  if (flags.dry_run) {
    if (!PrintReplayPlan(flags.format, target, report, foreseen)) return kExitFailure;
  } else if (TakesStdout(flags)) {
    std::fprintf(stderr, "sent %s, skipped %s, refused %s\n", N(sum.sent).c_str(), N(sum.skipped).c_str(), N(sum.refused).c_str());
  } else {
    Output out;
    flags.format == Format::kJson ? PrintJson(target, report, &out)
                                  : PrintTable(target, report, flags.format == Format::kCsv, &out);
    if (Status s = out.Finish(); !s.ok()) return Fail(s);
  }
  const int problems = ReportProblems(report.Problems());
  for (const std::string& why : sum.reasons) std::fprintf(stderr, "refused: %s\n", why.c_str());
  if (report.interrupted) {
    return FailOrInterrupted(Cancelled(""), HowToGoOn(flags));
  }
  if (ReportProblems(report.Failures()) != kExitOk) return kExitFailure;
  return sum.refused > 0 ? kExitProblems : problems;
}

int RunReplay(const ReplayFlags& flags) {
  auto selection = ParseLogFlags(flags.log);
  const auto interval = interop::ParseDuration(flags.cursor_interval);
  const TargetContext target_context{.source = flags.files.db,
                                     .resumable = !flags.cursor.empty(),
                                     .memory_limit_bytes = flags.memory_limit,
                                     .cancelled = InterruptFlag()};
  for (const Status& s : {selection.status(), MakeTarget(flags.target, target_context).status(), interval.status()}) {
    if (!s.ok()) {
      PrintError(s.message());
      return kExitUsage;
    }
  }
  // A database that is written to takes most of the limit.
  const bool to_database = flags.target.text.starts_with("db:");
  auto store = OpenFiles(flags.files, flags.memory_limit,
                         {.data_may_fail = true, .log_held_bytes_max = to_database ? 0 : ops::LogHeldByReader(flags.memory_limit)});
  if (!store.ok()) return FailOpening(store.status(), flags.files);
  auto target = MakeTarget(flags.target, target_context, store->get());
  if (!target.ok()) return Fail(target.status());
  const std::string name = (*target)->name();
  std::map<ShardId, ops::Foreseen> foreseen;
  if (flags.dry_run) target = ops::NewDryRunTarget(std::move(*target), &foreseen);
  ops::ReplayOptions options;
  options.selection = std::move(*selection);
  options.pass_damage = flags.pass_damage;
  options.dry_run = flags.dry_run;
  options.items_per_second = flags.dry_run ? 0 : flags.rate_limit;
  options.threads = flags.threads;
  options.cursor_path = flags.cursor;
  options.cursor_interval = std::chrono::milliseconds(*interval);
  if (flags.progress == ProgressMode::kPlain) {
    options.on_saved = [](std::uint64_t items) { std::fprintf(stderr, "synced %s\n", N(items).c_str()); };
  }
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  context.memory_limit_bytes = flags.memory_limit;
  if (flags.progress != ProgressMode::kNone)
    std::fprintf(stderr, "replay: what is logged now; not what a writer has only queued, or writes from now on\n");
  Result<ops::ReplayReport> report = Cancelled("interrupted");
  {
    WorkProgress progress(flags.progress != ProgressMode::kAuto);
    context.progress = &progress;
    report = ops::Replay(**store, target->get(), options, context);
  }
  if (!report.ok()) return FailReading(report.status(), HowToGoOn(flags));
  target->reset();
  if (report->complete()) TellOfEmptyLog(**store, options.selection);
  return PrintReport(flags, name, *report, foreseen);
}

}  // namespace

void AddReplay(CLI::App* app, Run* run) {
  auto flags = std::make_shared<ReplayFlags>();
  CLI::App* command =
      app->add_subcommand("replay", "Send the records of the log to a file, another database, a remote write endpoint or nowhere");
  AddFilesFlags(command, &flags->files);
  AddTargetFlags(command, &flags->target);
  AddLogFlags(command, &flags->log);
  command
      ->add_option(
          "--cursor", flags->cursor,
          "go on from what this file says was delivered, and keep it: an interrupted replay is resumed by the same command")
      ->option_text("FILE");
  command
      ->add_option(
          "--cursor-interval", flags->cursor_interval,
          "flush what was sent, sync the target and write it so often (1s); a replay that is stopped sends again what it had sent "
          "in up to twice that time")
      ->option_text("DURATION");
  command->add_flag("--dry-run", flags->dry_run,
                    "say what would be sent to the target, from the cursor on, by shard; send nothing, connect to nothing, create "
                    "and change nothing");
  command->add_flag("--skip-damaged", flags->pass_damage, "go on behind records that are lost; the exit code is 3 all the same");
  command->add_option("--rate-limit", flags->rate_limit, "so many samples a second at most, of all shards together (no bound)")
      ->option_text("N");
  command->add_option("--threads", flags->threads, "shards that are read at once (as many as there are cores)")
      ->check(CLI::Range(1, 64))
      ->option_text("N");
  AddMemoryLimit(command, &flags->memory_limit);
  static const std::map<std::string, ProgressMode> kModes = {
      {"auto", ProgressMode::kAuto}, {"plain", ProgressMode::kPlain}, {"none", ProgressMode::kNone}};
  command
      ->add_option(
          "--progress", flags->progress,
          "auto (default: a bar on a terminal, else a line each 10 s), plain (\"synced N\" when the cursor is written), none")
      ->transform(CLI::CheckedTransformer(kModes, CLI::ignore_case).description(""))
      ->option_text("MODE");
  AddFormat(command, &flags->format);
  command->footer(
      "Reads what the log holds: what was written since its last trim, whether or not it is stored. Changes nothing in the "
      "database,\n"
      "and works beside a process that writes: it sees what was logged when it started, not what was only queued. Where the data\n"
      "cannot be opened it reads the log without: series that are older than the log are then counted, and not sent.\n"
      "Exit codes: 0 ok, 1 failure or interrupted, 2 wrong arguments, 3 done, but something was refused or is damaged.\n"
      "Examples:\n"
      "  chronolith replay metrics.db\n"
      "  chronolith replay metrics.db --target jsonl:log.jsonl --match 'up{job=\"node\"}' --since -1h\n"
      "  chronolith replay metrics.db --target db:copy.db --cursor copy.cursor --dry-run\n"
      "  chronolith replay metrics.db --target db:copy.db --cursor copy.cursor\n"
      "  chronolith replay metrics.db --target remote-write:http://localhost:9090/api/v1/write --cursor prometheus.cursor\n"
      "  chronolith replay metrics.db --target jsonl:- --shard 3 --from 3:1200 | gzip > shard3.jsonl.gz");
  command->callback([flags, run] { *run = [flags] { return RunReplay(*flags); }; });
}

}  // namespace chronolith::cli
