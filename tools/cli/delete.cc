// chronolith delete: hides what selectors and a time range name.
#include <string>
#include <vector>

#include "ops/delete_series.h"
#include "tools/cli/common.h"
#include "tools/cli/confirm.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {
namespace {

struct DeleteFlags {
  StoreFlags store;
  std::vector<std::string> selectors;
  TimeFlags time;
  bool dry_run = false;
  bool yes = false;
  Format format = Format::kTable;
};

// Of a read-only store: nothing is opened for writing, or kept from those who do, before somebody has said yes.
Result<ops::DeleteReport> Count(const StoreFlags& flags, const std::vector<std::vector<Matcher>>& selectors, TimeRange range) {
  const Result<ReadStore> store = OpenForReading(flags);
  if (!store.ok()) return store.status();
  WorkProgress progress;
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  context.progress = &progress;
  Result<ops::DeleteReport> counted = ops::CountMatching(store->storage.get(), selectors, range, context);
  if (!counted.ok()) return store->OfSource(counted.status());
  return counted;
}

int Print(const ops::DeleteReport& report, const DeleteFlags& flags) {
  Output out;
  if (flags.format == Format::kJson) {
    JsonWriter(&out)
        .BeginObject()
        .Key("dry_run")
        .Bool(flags.dry_run)
        .Key("series")
        .Unsigned(report.series)
        .Key("samples")
        .Unsigned(report.samples)
        .EndObject()
        .Newline();
  } else {
    Table table({flags.dry_run ? "would delete of series" : "deleted of series", "samples"});
    table.Add({std::to_string(report.series), std::to_string(report.samples)});
    table.Print(flags.format == Format::kCsv, &out);
  }
  return Finish(&out);
}

int Delete(const DeleteFlags& flags) {
  const auto selectors = ParseSelectors(flags.selectors);
  if (!selectors.ok()) return FailReading(selectors.status());
  const Result<TimeRange> range = ParseTimeRange(flags.time);
  if (!range.ok()) return FailReading(range.status());
  const Result<ops::DeleteReport> report = Count(flags.store, *selectors, *range);
  if (!report.ok()) return FailReading(report.status(), "nothing was deleted");
  if (flags.dry_run || report->series == 0) return Print(*report, flags);
  const std::string question =
      "Delete " + std::to_string(report->samples) + " samples of " + std::to_string(report->series) + " series?";
  if (const std::optional<int> refused = Refused(question, flags.yes)) return *refused;
  Result<Options> options = MakeWriterOptions(flags.store);
  if (!options.ok()) return Fail(options.status());
  options->create_if_missing = false;
  Result<std::unique_ptr<Storage>> store = OpenShowingReplay(*options, flags.store.db);
  if (!store.ok()) return Fail(store.status());
  if (Status s = ops::DeleteMatching(store->get(), *selectors, *range); !s.ok()) return FailReading(s);
  if (Status s = ArchiveAll(flags.store, store->get()); !s.ok()) return Fail(s);
  if (Status s = (*store)->Close(); !s.ok()) return Fail(s);
  return Print(*report, flags);
}

}  // namespace

void AddDelete(CLI::App* app, Run* run) {
  auto flags = std::make_shared<DeleteFlags>();
  CLI::App* command = app->add_subcommand("delete", "Hide samples and exemplars of the series that a selector matches");
  AddStoreFlags(command, &flags->store, true);
  command->add_option("--match", flags->selectors, "selector of series; may be repeated, what any matches is deleted")
      ->required()
      ->option_text("SELECTOR");
  AddTimeRange(command, &flags->time);
  command->add_flag("--dry-run", flags->dry_run, "say what would be deleted; works beside a process that writes");
  AddYes(command, &flags->yes);
  flags->store.memory_limit = kToolMemoryBytes;
  AddMemoryLimit(command, &flags->store.memory_limit);
  AddArchiveFlag(command, &flags->store);
  AddFormat(command, &flags->format);
  command->footer(
      "What is hidden stays so, also after a crash; `compact` gives its space back and drops series that have nothing left.\n"
      "Needs the database for itself, but for --dry-run.\n"
      "Examples:\n"
      "  chronolith delete metrics.db --match 'debug_requests_total{}' --dry-run\n"
      "  chronolith delete metrics.db --match '{job=\"old\"}' --end 2026-01-01T00:00:00Z --yes");
  command->callback([flags, run] { *run = [flags] { return Delete(*flags); }; });
}

}  // namespace chronolith::cli
