// chronolith export prometheus-block: the series of a database as blocks that Prometheus takes as its own.
#include <cstdio>
#include <string>
#include <vector>

#include "interop/time_text.h"
#include "ops/prometheus_export.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

namespace {

struct BlockFlags {
  StoreFlags store;
  std::string directory;
  SelectionFlags selection;
  std::string duration = "2h";
  bool quiet = false;
  Format format = Format::kTable;
};

Status PrintReport(const BlockFlags& flags, const ops::PrometheusExportReport& report) {
  Output out;
  if (flags.format == Format::kJson) {
    JsonWriter json(&out);
    json.BeginObject().Key("directory").String(flags.directory).Key("blocks").BeginArray();
    for (const auto& block : report.blocks) {
      json.BeginObject().Key("ulid").String(block.ulid).Key("start").Integer(block.start).Key("end").Integer(block.end);
      json.Key("series").Unsigned(block.series).Key("samples").Unsigned(block.samples).Key("kept").Bool(block.kept).EndObject();
    }
    json.EndArray().Key("samples").Unsigned(report.samples).Key("histograms").Unsigned(report.histograms);
    json.Key("left_out").Unsigned(report.left_out).EndObject().Newline();
    return out.Finish();
  }
  Table table({"block", "start", "end", "series", "samples", ""});
  for (const auto& block : report.blocks) {
    table.Add({block.ulid, interop::FormatTime(block.start), interop::FormatTime(block.end), std::to_string(block.series),
               std::to_string(block.samples), block.kept ? "was there" : "written"});
  }
  if (flags.format == Format::kCsv) {
    table.PrintCsv(&out);
  } else {
    table.Print(&out);
  }
  return out.Finish();
}

int ExportBlocks(const BlockFlags& flags) {
  auto selection = ParseSelection(flags.selection);
  if (!selection.ok()) return FailUsage(selection.status());
  const auto duration = interop::ParseDuration(flags.duration);
  if (!duration.ok()) return FailUsage(duration.status());
  const auto store = OpenForReadingAll(flags.store, flags.quiet);
  if (!store.ok()) return FailOrInterrupted(store.status(), "nothing was written");
  ops::PrometheusExportOptions options;
  options.selectors = std::move(selection->selectors);
  options.range = selection->range;
  options.block_ms = *duration;
  ops::PrometheusExportReport report;
  Status s;
  {
    WorkProgress progress(flags.quiet);
    ops::OpsContext context;
    context.cancelled = InterruptFlag();
    context.progress = &progress;
    s = ops::ExportPrometheusBlocks(context, store->storage.get(), flags.directory, options, &report);
  }
  if (Status printed = PrintReport(flags, report); !printed.ok()) return Fail(printed);
  if (!s.ok()) return FailReading(store->OfSource(s), "the blocks above are complete, and the same command goes on behind them");
  if (report.left_out > 0) {
    std::fprintf(stderr, "left out: %llu histograms with custom buckets, for which a block has no encoding\n",
                 static_cast<unsigned long long>(report.left_out));
    return kExitProblems;
  }
  return kExitOk;
}

}  // namespace

void AddExportPrometheus(CLI::App* exporting, Run* run) {
  auto flags = std::make_shared<BlockFlags>();
  CLI::App* command =
      exporting->add_subcommand("prometheus-block", "Write blocks that Prometheus, promtool and Thanos take as theirs");
  AddStoreFlags(command, &flags->store);
  flags->store.memory_limit = kToolMemoryBytes;
  AddMemoryLimit(command, &flags->store.memory_limit);
  command->add_option("OUTDIR", flags->directory, "directory for the blocks; made where it is missing")->required();
  AddSelection(command, &flags->selection);
  command->add_option("--block-duration", flags->duration, "of each block, which begins at a multiple of it (2h)")
      ->check(CLI::Validator(
          [](std::string& text) {
            const auto ms = interop::ParseDuration(text);
            if (!ms.ok()) return ms.status().message();
            return std::string(*ms > 0 ? "" : "must be more than 0");
          },
          "", ""))
      ->option_text("DURATION");
  command->add_flag("-q,--quiet", flags->quiet, "no progress on stderr");
  AddFormat(command, &flags->format);
  command->footer(
      "Works on a database that another process is writing. A block has its name when all of it is synced; its ULID follows\n"
      "from its samples, so that an export that was ended goes on with the same command.\n"
      "Where nobody writes and the log is more than a 64th of --memory-limit, a copy of it is stored among temporary files\n"
      "(TMPDIR) and read instead; who would write is refused meanwhile.\n\n"
      "Examples:\n"
      "  chronolith export prometheus-block --db metrics.db blocks && promtool tsdb list blocks\n"
      "  chronolith export prometheus-block --db metrics.db --match '{job=\"node\"}' --block-duration 1d /var/lib/prometheus");
  command->callback([flags, run] { *run = [flags] { return ExportBlocks(*flags); }; });
}

}  // namespace chronolith::cli
