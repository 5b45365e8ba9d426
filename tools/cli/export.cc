// chronolith export: the series of a database as text.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "interop/file_sink.h"
#include "ops/target_path.h"
#include "ops/text_export.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

namespace {

struct ExportFlags {
  StoreFlags store;
  ops::TextForm form = ops::TextForm::kOpenMetrics;
  std::string file = "-";
  SelectionFlags selection;
  bool overwrite = false;
  bool quiet = false;
  Format format = Format::kTable;
};

// Data on stdout leaves the summary to stderr.
Status PrintSummary(const ExportFlags& flags, const ops::TextExportReport& report) {
  const auto number = [](std::uint64_t n) { return std::to_string(n); };
  const auto& left_out = report.left_out;
  Output out;
  if (flags.file != "-" && flags.format == Format::kJson) {
    JsonWriter json(&out);
    json.BeginObject().Key("series").Unsigned(report.series).Key("samples").Unsigned(report.samples);
    json.Key("histograms").Unsigned(report.histograms).Key("exemplars").Unsigned(report.exemplars);
    json.Key("bytes").Unsigned(report.bytes).Key("left_out").BeginObject();
    json.Key("series").Unsigned(left_out.series).Key("histograms").Unsigned(left_out.histograms);
    json.Key("stale_markers").Unsigned(left_out.stale_markers).Key("exemplars").Unsigned(left_out.exemplars);
    json.EndObject().EndObject().Newline();
  } else if (flags.file != "-" && flags.format == Format::kCsv) {
    Table table({"series", "samples", "histograms", "exemplars", "bytes", "left_out"});
    table.Add({number(report.series), number(report.samples), number(report.histograms), number(report.exemplars),
               number(report.bytes), number(left_out.total())});
    table.PrintCsv(&out);
  } else {
    std::fprintf(stderr, "exported %s samples and %s histograms of %s series, %s exemplars, %s\n", number(report.samples).c_str(),
                 number(report.histograms).c_str(), number(report.series).c_str(), number(report.exemplars).c_str(),
                 HumanBytes(report.bytes).c_str());
  }
  if (left_out.total() > 0) {
    std::fprintf(stderr,
                 "left out, as the form has no way to write them: %s histograms, %s stale markers, %s exemplars, %s series\n",
                 number(left_out.histograms).c_str(), number(left_out.stale_markers).c_str(), number(left_out.exemplars).c_str(),
                 number(left_out.series).c_str());
  }
  return out.Finish();
}

Status ExportToStdout(const ops::OpsContext& context, const ops::TextExportOptions& options, Storage* storage,
                      ops::TextExportReport* report) {
  Output out;
  const Status s = ops::ExportText(
      context, storage, options, [&out](std::string_view text) { return (out << text).status(); }, report);
  const Status written = out.Finish();
  return s.ok() ? written : s;
}

// Into a file beside it, which gets its name when all is in it.
Status ExportToFile(const ops::OpsContext& context, const ExportFlags& flags, const ops::TextExportOptions& options,
                    Storage* storage, ops::TextExportReport* report) {
  const std::string partial = flags.file + ".partial";
  std::error_code error;
  if (Status s = ops::CheckFileTarget(flags.file, flags.overwrite); !s.ok()) return s;
  std::filesystem::remove(partial, error);
  FileSink file;
  if (Status s = file.Create(partial); !s.ok()) return s;
  Status s = ops::ExportText(
      context, storage, options, [&file](std::string_view text) { return file.Append(text), Status::Ok(); }, report);
  const Status closed = file.Close();
  if (s.ok()) s = closed;
  if (s.ok()) {
    std::filesystem::rename(partial, flags.file, error);
    if (!error) return Status::Ok();
    s = IoError("cannot rename " + partial + ": " + error.message());
  }
  std::filesystem::remove(partial, error);
  return s;
}

int Export(const ExportFlags& flags) {
  auto selection = ParseSelection(flags.selection);
  if (!selection.ok()) return FailUsage(selection.status());
  const auto store = OpenForReadingAll(flags.store, flags.quiet);
  if (!store.ok()) return FailOrInterrupted(store.status(), "nothing was written");
  ops::TextExportOptions options;
  options.form = flags.form;
  options.selectors = std::move(selection->selectors);
  options.range = selection->range;
  ops::TextExportReport report;
  Status s;
  {
    WorkProgress progress(flags.quiet);
    ops::OpsContext context;
    context.cancelled = InterruptFlag();
    context.progress = &progress;
    s = flags.file == "-" ? ExportToStdout(context, options, store->storage.get(), &report)
                          : ExportToFile(context, flags, options, store->storage.get(), &report);
  }
  if (!s.ok())
    return FailReading(store->OfSource(s), flags.file == "-" ? "what was printed is not all" : flags.file + " was not written");
  if (Status printed = PrintSummary(flags, report); !printed.ok()) return Fail(printed);
  return report.left_out.total() > 0 ? kExitProblems : kExitOk;
}

}  // namespace

void AddExport(CLI::App* app, Run* run) {
  auto flags = std::make_shared<ExportFlags>();
  CLI::App* command = app->add_subcommand("export", "Write the series of a database as text, or as blocks of Prometheus");
  command->require_subcommand(0, 1);
  AddStoreFlags(command, &flags->store);
  flags->store.memory_limit = kToolMemoryBytes;
  AddMemoryLimit(command, &flags->store.memory_limit);
  command->get_option("--db")->required(false);  // its subcommand has its own
  static const std::map<std::string, ops::TextForm> kForms = {
      {"openmetrics", ops::TextForm::kOpenMetrics}, {"jsonl", ops::TextForm::kJsonLines}, {"csv", ops::TextForm::kCsv}};
  command
      ->add_option("--to", flags->form,
                   "openmetrics (default), jsonl (JSON lines: everything that is stored) or csv (series,timestamp,value)")
      ->transform(CLI::CheckedTransformer(kForms, CLI::ignore_case).description(""))
      ->option_text("FORM");
  command->add_option("FILE", flags->file, "where to; - is stdout (default)");
  AddSelection(command, &flags->selection);
  command->add_flag("--overwrite", flags->overwrite, "replace FILE where it exists");
  command->add_flag("-q,--quiet", flags->quiet, "no progress on stderr");
  AddFormat(command, &flags->format);
  AddExportPrometheus(command, run);
  command->footer(
      "Works on a database that another process is writing. FILE gets its name when all is written.\n"
      "Where nobody writes and the log is more than a 64th of --memory-limit, a copy of it is stored among temporary files\n"
      "(TMPDIR) and read instead; who would write is refused meanwhile.\n"
      "What the form has no way to write is left out and counted; the exit code is then 3.\n\n"
      "Examples:\n"
      "  chronolith export --db metrics.db --to jsonl metrics.jsonl\n"
      "  chronolith export --db metrics.db --to csv --match 'node_load1' --start -1d | gzip > load.csv.gz");
  command->callback([command, flags, run] {
    if (!command->get_subcommands().empty()) return;
    if (flags->store.db.empty()) throw CLI::RequiredError("--db");
    *run = [flags] { return Export(*flags); };
  });
}

}  // namespace chronolith::cli
