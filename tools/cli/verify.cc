// chronolith verify: whether a store's files say what they should, each for itself and of each other.
#include "ops/verify.h"

#include <memory>
#include <string>

#include "tools/cli/common.h"
#include "tools/cli/inspect.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {
namespace {

struct VerifyFlags {
  FilesFlags files;
  ops::VerifyOptions options;
  bool fast = false;
  std::uint64_t memory_limit = kToolMemoryBytes;
  Format format = Format::kTable;
};

std::string N(std::uint64_t n) { return std::to_string(n); }
std::string ShardText(const ops::VerifyProblem& problem) { return problem.shard ? N(*problem.shard) : "all"; }

void PrintJson(const ops::VerifyReport& report, bool fast, Output* out) {
  JsonWriter json(out);
  json.BeginObject().Key("file_bytes").Unsigned(report.file_bytes).Key("decoded").Bool(!fast).Key("shards").BeginArray();
  for (const ops::ShardVerification& s : report.shards) {
    json.BeginObject().Key("shard").Unsigned(s.shard).Key("series").Unsigned(s.series).Key("chunks").Unsigned(s.chunks);
    json.Key("samples").Unsigned(s.samples).Key("rows").Unsigned(s.rows).Key("row_bytes").Unsigned(s.row_bytes);
    json.Key("log_records").Unsigned(s.log_records).Key("problems").Unsigned(s.problems).EndObject();
  }
  json.EndArray().Newline();
  json.Key("problems_total").Unsigned(report.problems_total).Key("problems").BeginArray();
  for (const ops::VerifyProblem& p : report.problems) {
    json.BeginObject().Key("kind").String(NameOf(p.kind));
    if (p.shard) json.Key("shard").Unsigned(*p.shard);
    json.Key("where").String(p.where).Key("what").String(p.what).Key("do").String(AdviceOn(p.kind)).EndObject().Newline();
  }
  json.EndArray().Key("notes").BeginArray();
  for (const std::string& note : report.notes) json.String(note);
  json.EndArray().EndObject().Newline();
}

void PrintCsv(const ops::VerifyReport& report, Output* out) {
  Table table({"kind", "shard", "where", "what", "do"});
  for (const ops::VerifyProblem& p : report.problems) {
    table.Add({std::string(NameOf(p.kind)), ShardText(p), p.where, p.what, std::string(AdviceOn(p.kind))});
  }
  table.PrintCsv(out);
}

void PrintTables(const ops::VerifyReport& report, bool fast, Output* out) {
  Table table(
      {"shard", "series", "chunks", fast ? "samples (not decoded)" : "samples", "rows", "row bytes", "log records", "problems"});
  ops::ShardVerification total;
  for (const ops::ShardVerification& s : report.shards) {
    table.Add(
        {N(s.shard), N(s.series), N(s.chunks), N(s.samples), N(s.rows), HumanBytes(s.row_bytes), N(s.log_records), N(s.problems)});
    total.series += s.series;
    total.chunks += s.chunks;
    total.samples += s.samples;
    total.rows += s.rows;
    total.row_bytes += s.row_bytes;
    total.log_records += s.log_records;
  }
  table.Add({"total", N(total.series), N(total.chunks), N(total.samples), N(total.rows), HumanBytes(total.row_bytes),
             N(total.log_records), N(report.problems_total)});
  table.Print(out);
  *out << HumanBytes(report.file_bytes) << " of files were read and match their checksums"
       << (report.problems_total > 0 ? ", but for:\n" : ".\n");
  for (const ops::VerifyProblem& p : report.problems) {
    *out << "\n"
         << NameOf(p.kind) << (p.shard ? ", shard " + N(*p.shard) : "") << ", " << p.where << "\n  " << p.what
         << "\n  do: " << AdviceOn(p.kind) << "\n";
  }
}

int Verify(const VerifyFlags& flags) {
  ops::VerifyOptions options = flags.options;
  options.decode = !flags.fast;
  options.store.log_path = flags.files.log_dir;
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  context.memory_limit_bytes = flags.memory_limit;
  context.logger = MakeOptions({}).logger;
  Result<ops::VerifyReport> report = Cancelled("interrupted");
  {
    WorkProgress progress;
    context.progress = &progress;
    report = ops::VerifyStore(flags.files.db, options, context);
  }
  if (!report.ok()) {
    return FailOrUsage(report.status(), "it is not known whether all is sound; the same command begins anew");
  }
  Output out;
  switch (flags.format) {
    case Format::kTable:
      PrintTables(*report, flags.fast, &out);
      break;
    case Format::kJson:
      PrintJson(*report, flags.fast, &out);
      break;
    case Format::kCsv:
      PrintCsv(*report, &out);
      break;
  }
  if (Status s = out.Finish(); !s.ok()) return Fail(s);
  for (const std::string& note : report->notes) std::fprintf(stderr, "chronolith: %s\n", note.c_str());
  if (report->problems_total == 0) return kExitOk;
  const std::uint64_t unnamed = report->problems_total - report->problems.size();
  PrintError(N(report->problems_total) + (report->problems_total == 1 ? " problem" : " problems") +
             (unnamed > 0 ? ", " + N(unnamed) + " of them not named" : ""));
  return kExitProblems;
}

}  // namespace

void AddVerify(CLI::App* app, Run* run) {
  auto flags = std::make_shared<VerifyFlags>();
  CLI::App* command = app->add_subcommand("verify", "Check every checksum, and log, index and chunks against each other");
  AddFilesFlags(command, &flags->files);
  command->add_option("--shard", flags->options.shards, "only this shard, and not what all share; may be given several times")
      ->option_text("N");
  command->add_flag("--fast", flags->fast, "do not decode the samples in chunks");
  command
      ->add_option("--io-limit", flags->options.bytes_per_second,
                   "read at most so much a second on average, such as 50MiB (no bound)")
      ->transform(CLI::AsSizeValue(false))
      ->option_text("BYTES");
  AddMemoryLimit(command, &flags->memory_limit);
  AddFormat(command, &flags->format);
  command->footer(
      "Reads all files and changes none, also beside a process that writes: what is wrong is then told when a second look finds "
      "it\n"
      "again, and what was written since it began is not looked at.\n"
      "Exit codes: 0 all is sound, 1 failure, 2 wrong arguments, 3 problems were found: each with kind, shard, place and what to "
      "do.\n"
      "Examples:\n"
      "  chronolith verify metrics.db\n"
      "  chronolith verify metrics.db --shard 3 --fast\n"
      "  chronolith verify metrics.db --io-limit 50MiB --format json");
  command->callback([flags, run] { *run = [flags] { return Verify(*flags); }; });
}

}  // namespace chronolith::cli
