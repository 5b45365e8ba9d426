// chronolith salvage: copies what is sound of a damaged database into a new one, and lists what is lost.
#include "ops/salvage.h"

#include <memory>
#include <string>

#include "interop/time_text.h"
#include "ops/salvage_list.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {
namespace {

struct SalvageFlags {
  std::string source;
  std::string target;
  ops::SalvageOptions options;
  std::uint64_t memory_limit = kToolMemoryBytes;
  Format format = Format::kTable;
};

std::string N(std::uint64_t n) { return std::to_string(n); }

std::string SeriesText(const ops::SalvageLoss& loss) {
  if (!loss.series.empty()) return loss.series;
  if (!loss.first_ordinal) return "";
  return *loss.first_ordinal == *loss.last_ordinal ? "number " + N(*loss.first_ordinal)
                                                   : "numbers " + N(*loss.first_ordinal) + ".." + N(*loss.last_ordinal);
}

std::string LsnText(const ops::SalvageLoss& loss) {
  if (loss.first_lsn == 0) return "";
  return N(loss.first_lsn) + ".." + (loss.last_lsn == 0 ? "" : N(loss.last_lsn));
}

std::string TimeText(const std::optional<Timestamp>& t) { return t ? interop::FormatTime(*t) : ""; }

Table LossTable(const ops::SalvageReport& report) {
  Table table({"lost", "shard", "series", "from", "until", "samples", "lsn", "what"});
  for (const ops::SalvageLoss& loss : report.losses) {
    table.Add({std::string(NameOf(loss.kind)), loss.shard ? N(*loss.shard) : "", SeriesText(loss), TimeText(loss.start),
               TimeText(loss.end), loss.samples == 0 ? "" : N(loss.samples), LsnText(loss), loss.what});
  }
  return table;
}

void PrintJson(const ops::SalvageReport& report, bool dry_run, Output* out) {
  *out << "{\"dry_run\":" << (dry_run ? "true," : "false,") << SummaryJson(report) << ",\"lost\":[";
  for (std::size_t i = 0; i < report.losses.size(); ++i) *out << (i == 0 ? "\n" : ",\n") << LossJson(report.losses[i]);
  *out << "]}\n";
}

int RunSalvage(const SalvageFlags& flags) {
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  context.memory_limit_bytes = flags.memory_limit;
  Result<ops::SalvageReport> report = Cancelled("interrupted");
  {
    WorkProgress progress;
    context.progress = &progress;
    report = ops::Salvage(flags.source, flags.target, flags.options, context);
  }
  if (!report.ok()) {
    return FailOrUsage(report.status(), flags.options.dry_run ? "nothing was written"
                                                              : flags.target + " is not there, and the same command begins anew");
  }
  Output out;
  if (flags.format == Format::kJson) {
    PrintJson(*report, flags.options.dry_run, &out);
  } else if (flags.format == Format::kCsv) {
    LossTable(*report).PrintCsv(&out);
  } else {
    const std::string samples = N(report->samples + report->histograms) + " samples";
    if (flags.options.dry_run) {
      out << samples << " of " << N(report->series) << " series would be written\n";
    } else {
      out << flags.target << " has " << N(report->series) << " series; " << samples << " were written\n";
    }
    if (!report->losses.empty()) LossTable(*report).Print(&out);
  }
  if (Status s = out.Finish(); !s.ok()) return Fail(s);
  for (const std::string& note : report->notes) std::fprintf(stderr, "chronolith: %s\n", note.c_str());
  if (report->losses_total == 0) return kExitOk;
  const std::uint64_t unnamed = report->losses_total - report->losses.size();
  PrintError("not all could be salvaged: " + N(report->losses_total) + " entries in the list" +
             (unnamed > 0 ? ", of which " + N(unnamed) + " are not printed" : "") +
             (flags.options.dry_run ? "" : "; all of it is in " + flags.target + "/" + ops::kSalvageListName));
  return kExitProblems;
}

}  // namespace

void AddSalvage(CLI::App* app, Run* run) {
  auto flags = std::make_shared<SalvageFlags>();
  CLI::App* command =
      app->add_subcommand("salvage", "Copy what is sound of a damaged database into a new one, and list what is lost");
  command->add_option("SOURCE", flags->source, "directory of the damaged database; nothing in it is changed")
      ->required()
      ->option_text("SOURCE");
  CLI::Option* const target =
      command->add_option("TARGET", flags->target, "directory of the new one: missing or empty")->option_text("TARGET");
  command->add_flag("--dry-run", flags->options.dry_run, "say what would be copied and what is lost, and write nothing")
      ->excludes(target);
  command->add_option("--log-dir", flags->options.log_path, "directory of the source's log, where it has been moved since")
      ->option_text("DIR");
  command->add_flag("--keep-unlabelled", flags->options.keep_unlabelled,
                    "keep samples whose labels are lost, as {__salvaged__=\"SHARD-NUMBER\"}");
  AddMemoryLimit(command, &flags->memory_limit);
  AddFormat(command, &flags->format);
  command->footer(
      "Works where other commands refuse the database; no process should be writing to it. TARGET.salvage beside the target holds "
      "what is being made: it needs room "
      "for\n"
      "the new database and a copy of the log. Interrupted or killed, it leaves no target; the same command begins anew. The list "
      "of\n"
      "what is lost lies in the target, too, as SALVAGED.jsonl.\n"
      "Exit codes: 0 nothing was lost, 1 failure, 2 wrong arguments, 3 done, and what is listed is lost.\n"
      "Examples:\n"
      "  chronolith salvage damaged.db --dry-run\n"
      "  chronolith salvage damaged.db metrics.db\n"
      "  chronolith salvage damaged.db metrics.db --keep-unlabelled --format json > lost.json");
  command->callback([flags, run] {
    if (!flags->options.dry_run && flags->target.empty()) throw CLI::RequiredError("TARGET");
    *run = [flags] { return RunSalvage(*flags); };
  });
}

}  // namespace chronolith::cli
