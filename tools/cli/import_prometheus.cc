// chronolith import prometheus: the data of a Prometheus into a database.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "interop/time_text.h"
#include "ops/prometheus_import.h"
#include "ops/writing_store.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

namespace {

struct PrometheusFlags {
  StoreFlags store;
  std::string directory;
  SelectionFlags selection;
  AckLevel level = AckLevel::kLogged;
  bool dry_run = false;
  bool quiet = false;
  Format format = Format::kTable;
};

void PrintJson(const ops::PrometheusImportReport& report, double seconds, Output* out) {
  JsonWriter json(out);
  const auto strings = [&json](const char* name, const std::vector<std::string>& all) {
    json.Key(name).BeginArray();
    for (const std::string& text : all) json.String(text);
    json.EndArray();
  };
  json.BeginObject();
  json.Key("samples").Unsigned(report.written.samples).Key("histograms").Unsigned(report.written.histograms);
  json.Key("exemplars").Unsigned(report.written.exemplars).Key("metadata").Unsigned(report.written.metadata);
  json.Key("deleted").Unsigned(report.deleted).Key("refused").Unsigned(report.refused).Key("seconds").Double(seconds);
  json.Key("blocks").BeginArray();
  for (const auto& block : report.blocks) {
    json.BeginObject().Key("ulid").String(block.ulid).Key("start").Integer(block.start).Key("end").Integer(block.end);
    json.Key("series").Unsigned(block.series).Key("samples").Unsigned(block.samples).Key("whole").Bool(block.whole).EndObject();
  }
  json.EndArray().Key("log").BeginObject().Key("segments").Unsigned(report.log.segments);
  json.Key("records").Unsigned(report.log.records).Key("bytes").Unsigned(report.log.bytes);
  json.Key("in_blocks").Unsigned(report.log.in_blocks).Key("unknown_refs").Unsigned(report.log.unknown_refs);
  json.Key("torn").String(report.log.torn).EndObject();
  strings("refusals", report.refusals);
  strings("vanished", report.vanished);
  json.Key("problems_total").Unsigned(report.problems_total);
  strings("problems", report.problems);
  json.EndObject().Newline();
}

void PrintTable(const ops::PrometheusImportReport& report, bool csv, Output* out) {
  Table table({"block", "start", "end", "series", "samples", "state"});
  for (const auto& block : report.blocks) {
    table.Add({block.ulid, interop::FormatTime(block.start), interop::FormatTime(block.end), std::to_string(block.series),
               std::to_string(block.samples), block.whole ? "whole" : "damaged"});
  }
  if (csv) {
    table.PrintCsv(out);
  } else {
    table.Print(out);
  }
}

// What people should know, and whether any of it is a problem.
bool Tell(const ops::PrometheusImportReport& report, double seconds, bool dry_run) {
  const auto n = [](std::uint64_t count) { return static_cast<unsigned long long>(count); };
  for (const std::string& problem : report.problems) PrintError(problem);
  if (report.problems_total > report.problems.size()) {
    std::fprintf(stderr, "%llu more problems were counted\n", n(report.problems_total - report.problems.size()));
  }
  for (const std::string& reason : report.refusals) std::fprintf(stderr, "refused: %s\n", reason.c_str());
  for (const std::string& ulid : report.vanished) {
    std::fprintf(stderr, "block %s was removed as it was read, and is in no other: import again, or its retention has passed\n",
                 ulid.c_str());
  }
  if (!report.log.torn.empty()) {
    std::fprintf(stderr, "the log is torn at its end, as it is while Prometheus writes or after it was killed: %s\n",
                 report.log.torn.c_str());
  }
  if (report.log.unknown_refs > 0) {
    std::fprintf(stderr, "left out: %llu items of series that the log does not name\n", n(report.log.unknown_refs));
  }
  const auto& w = report.written;
  std::fprintf(stderr, "%s %llu samples, %llu histograms, %llu exemplars in %.2f s (%s/s); %llu are deleted, %llu were refused\n",
               dry_run ? "would import" : "imported", n(w.samples), n(w.histograms), n(w.exemplars), seconds,
               HumanCount(seconds > 0 ? static_cast<double>(w.samples) / seconds : 0).c_str(), n(report.deleted),
               n(report.refused));
  return report.problems_total > 0 || report.refused > 0 || report.log.unknown_refs > 0;
}

int ImportInto(const PrometheusFlags& flags, const ops::PrometheusImportOptions& options, Storage* storage) {
  ops::PrometheusImportReport report;
  Status s;
  const auto start = std::chrono::steady_clock::now();
  {
    WorkProgress progress(flags.quiet);
    ops::OpsContext context;
    context.cancelled = InterruptFlag();
    context.progress = &progress;
    s = ops::ImportPrometheus(context, storage, flags.directory, options, &report);
  }
  if (s.ok() && storage != nullptr && options.level == AckLevel::kQueued) s = storage->Flush();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto json = [&](Output* out) { PrintJson(report, seconds, out); };
  const auto text = [&](bool csv, Output* out) { PrintTable(report, csv, out); };
  if (!PrintReport(flags.format, json, text)) return kExitFailure;
  if (!s.ok())
    return FailReading(ops::OfFullDisk(s, flags.store.db),
                       flags.dry_run ? "nothing was written" : "what was taken is there, and the same command adds the rest");
  return Tell(report, seconds, flags.dry_run) ? kExitProblems : kExitOk;
}

int ImportPrometheus(const PrometheusFlags& flags) {
  auto selection = ParseSelection(flags.selection);
  if (!selection.ok()) return FailUsage(selection.status());
  std::error_code error;
  if (!std::filesystem::is_directory(flags.directory, error)) {  // before a database is made for nothing
    return Fail(NotFound(flags.directory + " is no directory"));
  }
  const ops::PrometheusImportOptions options{std::move(selection->selectors), selection->range, flags.level};
  if (flags.dry_run) return ImportInto(flags, options, nullptr);
  const Result<Options> writer = MakeWriterOptions(flags.store);
  if (!writer.ok()) return Fail(writer.status());
  auto storage = OpenShowingReplay(*writer, flags.store.db);
  if (!storage.ok()) return Fail(storage.status());
  auto metrics = MetricsServer::Start(flags.store, storage->get());
  if (!metrics.ok()) return Fail(metrics.status());
  ops::HeedCancel(InterruptFlag(), storage->get());
  const int code = ImportInto(flags, options, storage->get());
  metrics->reset();
  return FinishWriting(flags.store, storage->get(), code);
}

}  // namespace

void AddImportPrometheus(CLI::App* importing, Run* run) {
  auto flags = std::make_shared<PrometheusFlags>();
  CLI::App* command = importing->add_subcommand("prometheus", "Read the blocks and the log of a Prometheus, also while it runs");
  flags->store.memory_limit = kToolMemoryBytes;
  AddWriterFlags(command, &flags->store);
  command->add_option("DATADIR", flags->directory, "its --storage.tsdb.path, or one block's directory")->required();
  AddSelection(command, &flags->selection);
  AddLevel(command, &flags->level);
  command->add_flag("--dry-run", flags->dry_run, "read and check everything, write nothing");
  command->add_flag("-q,--quiet", flags->quiet, "no progress on stderr");
  AddFormat(command, &flags->format);
  command->footer(
      "DATADIR is only read, and its lock not taken. What is damaged is named by file and byte, the rest is taken; the exit\n"
      "code is then 3. The same import again changes no sample.\n\n"
      "Examples:\n"
      "  chronolith import prometheus --db metrics.db /var/lib/prometheus/metrics2\n"
      "  chronolith import prometheus --db metrics.db --match '{job=\"node\"}' --start -30d /var/lib/prometheus/metrics2\n"
      "  chronolith import prometheus --db metrics.db --dry-run /var/lib/prometheus/metrics2");
  command->callback([flags, run] { *run = [flags] { return ImportPrometheus(*flags); }; });
}

}  // namespace chronolith::cli
