// chronolith reshard: a database rewritten to another number of shards.
#include "ops/reshard.h"

#include <cstdio>
#include <map>
#include <string>

#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/measure.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

namespace {

struct ReshardFlags {
  std::string source;
  std::string target;
  ops::ReshardOptions options;
  bool dry_run = false;
  bool verbose = false;
  ProgressMode progress = ProgressMode::kAuto;
  std::uint64_t memory_limit = kToolMemoryBytes;
  Format format = Format::kTable;
};

// For scripts: which part of the work begins, and how many series are synced.
class PlainProgress : public ops::ProgressSink {
 public:
  void Begin(std::string_view phase, std::uint64_t total, std::string_view unit) override {
    std::fprintf(stderr, "%.*s", static_cast<int>(phase.size()), phase.data());
    if (total > 0)
      std::fprintf(stderr, " %llu %.*s", static_cast<unsigned long long>(total), static_cast<int>(unit.size()), unit.data());
    std::fprintf(stderr, "\n");
  }
  void Add(std::uint64_t) override {}
};

void JsonFigures(const ops::StoreFigures& f, JsonWriter* json) {
  json->Key("series").Unsigned(f.series).Key("samples").Unsigned(f.samples).Key("histograms").Unsigned(f.histograms);
  json->Key("exemplars").Unsigned(f.exemplars).Key("metadata").Unsigned(f.metadata);
}

void PrintJson(const ops::ReshardReport& report, const ReshardFlags& flags, double seconds, Output* out) {
  JsonWriter json(out);
  const char* const bytes = flags.dry_run ? "chunk_bytes" : "disk_bytes";
  json.BeginObject().Key("dry_run").Bool(flags.dry_run);
  json.Key("source").BeginObject().Key("path").String(flags.source).Key("store").String(report.source_uuid);
  json.Key("shards").Unsigned(report.source_shards).Key("disk_bytes").Unsigned(report.source_bytes);
  if (flags.dry_run) json.Key("log_bytes").Unsigned(report.source_log_bytes);
  json.EndObject().Key("target").BeginObject().Key("path").String(flags.target).Key("store").String(report.target_uuid);
  json.Key("shards").BeginArray();
  for (std::size_t k = 0; k < report.shards.size(); ++k) {
    json.BeginObject().Key("shard").Unsigned(k);
    JsonFigures(report.shards[k], &json);
    json.Key(bytes).Unsigned(report.shards[k].bytes).EndObject();
  }
  json.EndArray();
  if (!flags.dry_run) json.Key("disk_bytes").Unsigned(report.target_bytes);
  json.EndObject().Key("total").BeginObject();
  JsonFigures(report.total, &json);
  json.EndObject().Key("room_needed").Unsigned(report.room_needed).Key("room_free").Unsigned(report.room_free);
  json.Key("series_resumed").Unsigned(report.resumed).Key("seconds").Double(seconds).EndObject().Newline();
}

void PrintTable(const ops::ReshardReport& report, bool dry_run, bool csv, Output* out) {
  const auto bytes = [csv](std::uint64_t n) { return csv ? std::to_string(n) : HumanBytes(n); };
  Table table({"shard", "series", "samples", "histograms", "exemplars", dry_run ? "chunk bytes" : "disk bytes"});
  std::uint64_t all = 0;
  const auto add = [&](const std::string& name, const ops::StoreFigures& f, std::uint64_t n) {
    table.Add({name, std::to_string(f.series), std::to_string(f.samples), std::to_string(f.histograms), std::to_string(f.exemplars),
               bytes(n)});
  };
  for (std::size_t k = 0; k < report.shards.size(); ++k) {
    add(std::to_string(k), report.shards[k], report.shards[k].bytes);
    all += report.shards[k].bytes;
  }
  if (csv) return table.PrintCsv(out);
  add("total", report.total, all);
  table.Print(out);
}

int Reshard(const ReshardFlags& flags) {
  Result<ops::ReshardReport> done = Unavailable("");
  Stopwatch watch;
  watch.Start();
  {
    const bool plain = flags.progress == ProgressMode::kPlain;
    WorkProgress bar(flags.progress != ProgressMode::kAuto);
    PlainProgress lines;
    ops::OpsContext context;
    context.cancelled = InterruptFlag();
    context.progress = plain ? static_cast<ops::ProgressSink*>(&lines) : &bar;
    context.memory_limit_bytes = flags.memory_limit;
    context.logger = MakeOptions({.verbose = flags.verbose}).logger;
    ops::ReshardOptions options = flags.options;
    if (plain) {
      options.on_synced = [](std::uint64_t n) { std::fprintf(stderr, "synced %llu\n", static_cast<unsigned long long>(n)); };
    }
    done = flags.dry_run ? ops::PlanReshard(flags.source, flags.target, options, context)
                         : ops::Reshard(flags.source, flags.target, options, context);
  }
  const Status& status = done.status();
  if (!done.ok()) {
    return FailOrUsage(status,
                       flags.dry_run ? "nothing was written" : flags.target + " is not there yet, the same command goes on");
  }
  const auto json = [&](Output* out) { PrintJson(*done, flags, watch.ElapsedSeconds(), out); };
  const auto text = [&](bool csv, Output* out) { PrintTable(*done, flags.dry_run, csv, out); };
  if (!PrintReport(flags.format, json, text)) return kExitFailure;
  if (flags.dry_run) {
    std::fprintf(stderr, "%s has %u shards and takes %s, and its log holds %s; the new one may need %s, the disk has %s\n",
                 flags.source.c_str(), done->source_shards, HumanBytes(done->source_bytes).c_str(),
                 HumanBytes(done->source_log_bytes).c_str(), HumanBytes(done->room_needed).c_str(),
                 HumanBytes(done->room_free).c_str());
  } else {
    std::fprintf(stderr, "%s: %zu shards, %s; compared with %s and scrubbed\n", flags.target.c_str(), done->shards.size(),
                 HumanBytes(done->target_bytes).c_str(), flags.source.c_str());
  }
  return kExitOk;
}

}  // namespace

void AddReshard(CLI::App* app, Run* run) {
  auto flags = std::make_shared<ReshardFlags>();
  CLI::App* command = app->add_subcommand("reshard", "Rewrite a database to another number of shards");
  command->add_option("SOURCE", flags->source, "directory of the database; it is only read")->required();
  command->add_option("TARGET", flags->target, "directory of the new one; must not exist")->required();
  command->add_option("--shards", flags->options.shards, "shards of the new database, 1 to 31")
      ->required()
      ->check(CLI::Range(1, 31))
      ->option_text("N");
  command->add_flag("--dry-run", flags->dry_run,
                    "write nothing, say how series and chunks would be spread and what room is needed; works beside a writer");
  command->add_flag("--restart", flags->options.restart, "throw away what an interrupted one has left, and begin anew");
  command->add_option("--log-dir", flags->options.log_path, "directory of the source's log, where it is not SOURCE/log")
      ->option_text("DIR");
  command
      ->add_option("--io-limit", flags->options.bytes_per_second,
                   "read and write at most so much a second on average, such as 50MiB (no bound)")
      ->transform(CLI::AsSizeValue(false))
      ->option_text("BYTES");
  AddMemoryLimit(command, &flags->memory_limit);
  static const std::map<std::string, ProgressMode> kModes = {
      {"auto", ProgressMode::kAuto}, {"plain", ProgressMode::kPlain}, {"none", ProgressMode::kNone}};
  command
      ->add_option(
          "--progress", flags->progress,
          "auto (default: a bar on a terminal, else a line each 10 s), plain (\"synced N\" lines on stderr: so many series "
          "need not be copied again), none")
      ->transform(CLI::CheckedTransformer(kModes, CLI::ignore_case).description(""))
      ->option_text("MODE");
  command->add_flag("-v,--verbose", flags->verbose, "tell on stderr what the stores do");
  AddFormat(command, &flags->format);
  command->footer(
      "A process that writes to SOURCE must be stopped before, and is turned away meanwhile; readers may go on. Everything that\n"
      "SOURCE shows is copied: deleted and expired samples stay behind. TARGET is there when both have been read side by side,\n"
      "compared and TARGET was scrubbed; until then it is TARGET.resharding. Interrupted or killed, the same command goes on.\n"
      "Of a log that is more than a 256th of --memory-limit a copy is recovered there, and read in place of SOURCE.\n"
      "Exit codes: 0 ok, 1 failure, interrupted, or another process writes to SOURCE, 2 wrong arguments.\n"
      "Examples:\n"
      "  chronolith reshard metrics.db metrics-31.db --shards 31 --dry-run\n"
      "  chronolith reshard metrics.db metrics-31.db --shards 31\n"
      "  chronolith reshard metrics.db metrics-4.db --shards 4 --io-limit 50MiB --format json");
  command->callback([flags, run] { *run = [flags] { return Reshard(*flags); }; });
}

}  // namespace chronolith::cli
