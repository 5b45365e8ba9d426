// chronolith import: metrics as text into a database.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "interop/csv_text.h"
#include "interop/openmetrics.h"
#include "interop/time_text.h"
#include "ops/writing_store.h"
#include "tools/cli/common.h"
#include "tools/cli/import_reader.h"
#include "tools/cli/import_sink.h"
#include "tools/cli/input.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

namespace {

constexpr std::string_view kAddsTheRest = "what was taken is there, and the same command adds the rest";

enum class ImportForm : std::uint8_t { kExposition, kJsonLines, kCsv };

struct ImportFlags {
  ImportForm form = ImportForm::kExposition;
  StoreFlags store;
  std::vector<std::string> files;
  interop::TextFormat input_format = interop::TextFormat::kAuto;
  std::string timestamp;
  interop::CsvColumns columns;
  std::string delimiter = ",";
  AckLevel level = AckLevel::kLogged;
  std::size_t batch = 5000;
  std::size_t max_errors = 20;
  bool strict = false;
  bool dry_run = false;
  ProgressMode progress = ProgressMode::kAuto;
  Format format = Format::kTable;
};

struct Totals {
  std::uint64_t bytes = 0;
  double seconds = 0;
  std::vector<std::string> failed_files;
  std::string interrupted;  // where; "": not
  bool unwritten = false;   // the database did not take the last lines that were read
};

struct SeriesCount {
  std::uint64_t total = 0;
  std::uint64_t created = 0;  // since the store was opened
};
// None of no store.
SeriesCount CountSeries(const Storage* storage) {
  SeriesCount count;
  if (storage == nullptr) return count;
  for (const ShardStats& shard : storage->Stats().shards) {
    count.total += shard.series_total;
    count.created += shard.series_created;
  }
  return count;
}

// 0: not known, as of a stream.
std::uint64_t BytesOf(const std::vector<std::string>& files) {
  std::uint64_t total = 0;
  for (const std::string& file : files) {
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(file, error);  // not of "-"
    if (error) return 0;
    total += bytes;
  }
  return total;
}

// Reads one file to its end, or to the first error. kCancelled: interrupted.
Status ImportFile(const std::string& path, ImportReader* reader, ImportSink* sink, WorkProgress* progress, Totals* totals) {
  auto input = TextInput::Open(path);
  if (!input.ok()) return input.status();
  const std::string name = path == "-" ? "stdin" : path;
  sink->SetFile(name);
  reader->Begin(**input);
  std::uint64_t shown = 0;
  const std::uint64_t lines_before = reader->lines();
  Status status;
  while (status.ok() && sink->fatal().ok()) {
    const auto piece = (*input)->Next();
    status = piece.status();
    if (!piece.ok() || piece->empty()) break;
    status = reader->Feed(*piece);
    progress->Add((*input)->file_bytes() - shown);
    shown = (*input)->file_bytes();
  }
  if (status.ok() && sink->fatal().ok()) {
    status = reader->Finish(name);
  } else {
    reader->Abandon();
  }
  sink->Flush();
  totals->bytes += (*input)->bytes();
  totals->unwritten = !sink->fatal().ok();
  if (totals->unwritten) status = sink->fatal();
  if (status.code() == StatusCode::kCancelled)
    totals->interrupted = "line " + std::to_string(reader->lines() - lines_before) + " of " + name;
  if (totals->unwritten) return status;
  return status.code() == StatusCode::kInvalidArgument ? status.WithContext(name) : status;  // strict; others name the file
}

// Of the reader; a series that was forgotten is looked up again.
std::size_t SeriesCacheBytes(const ImportFlags& flags) { return std::max<std::uint64_t>(flags.store.memory_limit / 16, 1 << 20); }

std::unique_ptr<ImportReader> NewReader(const ImportFlags& flags, ImportSink* sink) {
  const std::size_t cache_bytes = SeriesCacheBytes(flags);
  if (flags.form == ImportForm::kJsonLines) return NewJsonLinesReader(flags.strict, cache_bytes, sink);
  if (flags.form == ImportForm::kCsv) return NewCsvReader(flags.columns, flags.delimiter[0], flags.strict, cache_bytes, sink);
  interop::ParserOptions options;
  options.format = flags.input_format;
  options.strict = flags.strict;
  options.series_cache_bytes = cache_bytes;
  if (!flags.timestamp.empty()) options.default_timestamp = *interop::ParseTime(flags.timestamp, Clock::System()->NowMs());
  return NewExpositionReader(options, sink);
}

void PrintJson(const ImportSink& sink, const Totals& totals, std::uint64_t lines, SeriesCount series, bool dry_run, Output* out) {
  JsonWriter json(out);
  json.BeginObject();
  json.Key("dry_run").Bool(dry_run).Key("interrupted").Bool(!totals.interrupted.empty());
  json.Key("samples").Unsigned(sink.samples()).Key("series").Unsigned(series.total).Key("new_series").Unsigned(series.created);
  json.Key("histograms").Unsigned(sink.histograms()).Key("exemplars").Unsigned(sink.exemplars());
  json.Key("metadata").Unsigned(sink.metadata());
  json.Key("lines").Unsigned(lines).Key("bytes").Unsigned(totals.bytes).Key("seconds").Double(totals.seconds);
  json.Key("refused").Unsigned(sink.refused()).Key("refusals").BeginArray();
  for (const RefusedLine& r : sink.refusals()) {
    json.BeginObject().Key("file").String(r.file).Key("line").Unsigned(r.line).Key("reason").String(r.reason).EndObject();
  }
  json.EndArray().Key("failed_files").BeginArray();
  for (const std::string& file : totals.failed_files) json.String(file);
  json.EndArray().EndObject().Newline();
}

// The summary: data for scripts goes to stdout, the line for people to stderr.
Status PrintSummary(const ImportFlags& flags, const ImportSink& sink, const Totals& totals, std::uint64_t lines,
                    SeriesCount series) {
  Output out;
  if (flags.format == Format::kJson) {
    PrintJson(sink, totals, lines, series, flags.dry_run, &out);
  } else if (flags.format == Format::kCsv) {
    Table table({"samples", "series", "new_series", "exemplars", "metadata", "lines", "bytes", "seconds", "refused"});
    table.Add({std::to_string(sink.samples()), std::to_string(series.total), std::to_string(series.created),
               std::to_string(sink.exemplars()), std::to_string(sink.metadata()), std::to_string(lines),
               std::to_string(totals.bytes), FixedPoint(totals.seconds, 3), std::to_string(sink.refused())});
    table.PrintCsv(&out);
  } else {
    const std::string of_series = flags.dry_run ? "nothing was written"
                                                : std::to_string(series.total) + " series in the database, " +
                                                      std::to_string(series.created) + " of them new";
    std::fprintf(stderr, "%s %llu samples in %.2f s (%s/s); %s; %llu refused\n", flags.dry_run ? "read" : "imported",
                 static_cast<unsigned long long>(sink.samples()), totals.seconds,
                 HumanCount(totals.seconds > 0 ? static_cast<double>(sink.samples()) / totals.seconds : 0).c_str(),
                 of_series.c_str(), static_cast<unsigned long long>(sink.refused()));
  }
  return out.Finish();
}

int FailInterrupted(const ImportFlags& flags, const Totals& totals) {
  const std::string_view rest =
      flags.dry_run ? "; nothing was written"
      : totals.unwritten
          ? ", while the database had no room for the last lines. The same import again adds what is missing, and what is there "
            "already stays as it is"
          : "; what was read up to there is in the database. The same import again adds the rest, and what is there already stays "
            "as it is";
  PrintError("interrupted behind " + totals.interrupted + std::string(rest));
  return kExitFailure;
}

int ImportInto(const ImportFlags& flags, Storage* storage) {
  ImportSink sink(storage, flags.level, flags.batch, flags.max_errors);
  const std::unique_ptr<ImportReader> reader = NewReader(flags, &sink);
  Totals totals;
  (void)InterruptFlag();  // from here on reading ends where it was interrupted
  const auto start = std::chrono::steady_clock::now();
  bool stopped = false;
  {
    const bool bar = flags.progress == ProgressMode::kAuto;
    const WriteProgress progress(bar ? ProgressMode::kNone : flags.progress, "import", [&sink] { return sink.samples(); });
    WorkProgress work(!bar);
    work.Begin("import", BytesOf(flags.files), "bytes");
    for (const std::string& path : flags.files) {
      if (Status s = ImportFile(path, reader.get(), &sink, &work, &totals); !s.ok()) {
        stopped = s.code() == StatusCode::kCancelled;
        if (stopped) break;
        const Status told = ops::OfFullDisk(s, flags.store.db);
        PrintError(told.message() + (ops::IsOfFullDisk(told) && !sink.fatal().ok() ? "; " + std::string(kAddsTheRest) : ""));
        totals.failed_files.push_back(path);
        stopped = !sink.fatal().ok() || flags.strict;
        if (stopped) break;
      }
    }
    if (sink.fatal().ok() && storage != nullptr && flags.level == AckLevel::kQueued) {
      if (Status s = storage->Flush(); !s.ok())
        return FailOrInterrupted(ops::OfFullDisk(s.WithContext("flush"), flags.store.db), kAddsTheRest);
    }
  }
  totals.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Status printed = PrintSummary(flags, sink, totals, reader->lines(), CountSeries(storage));
  if (!printed.ok()) return Fail(printed);
  if (!totals.interrupted.empty()) return FailInterrupted(flags, totals);
  const bool strict_stop = flags.strict && sink.fatal().ok() && sink.refused() > 0;
  if (!totals.failed_files.empty() && !strict_stop) return kExitFailure;
  return sink.refused() > 0 ? kExitProblems : kExitOk;
}

int Import(ImportFlags flags) {
  if (flags.files.empty()) flags.files.emplace_back("-");
  if (flags.dry_run) return ImportInto(flags, nullptr);
  StoreFlags beside_cache = flags.store;
  beside_cache.memory_limit -= std::min<std::uint64_t>(SeriesCacheBytes(flags), beside_cache.memory_limit / 2);
  const Result<Options> options = MakeWriterOptions(beside_cache);
  if (!options.ok()) return Fail(options.status());
  auto storage = OpenShowingReplay(*options, flags.store.db);
  if (!storage.ok()) return Fail(storage.status());
  auto metrics = MetricsServer::Start(flags.store, storage->get());
  if (!metrics.ok()) return Fail(metrics.status());
  ops::HeedCancel(InterruptFlag(), storage->get());
  const int code = ImportInto(flags, storage->get());
  metrics->reset();
  return FinishWriting(flags.store, storage->get(), code);
}

}  // namespace

namespace {

// What all forms take.
void AddSharedFlags(CLI::App* command, ImportFlags* flags) {
  flags->store.memory_limit = kToolMemoryBytes;
  AddWriterFlags(command, &flags->store);
  command->add_option("FILES", flags->files, "text files, gzip or not; - is stdin (default)");
  command->add_option("--batch", flags->batch, "samples a write (5000)")->check(CLI::Range(1, 1'000'000))->option_text("N");
  command->add_option("--max-errors", flags->max_errors, "refused lines to show (20); all are counted")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N");
  command->add_flag("--strict", flags->strict, "stop at the first refused line");
  command->add_flag("--dry-run", flags->dry_run,
                    "read everything, say how much it is and which lines are wrong; write nothing. (What the database itself would "
                    "refuse is not known)");
  AddLevel(command, &flags->level);
  AddProgress(command, &flags->progress);
  command->get_option("--progress")
      ->description("auto (default: a bar on a terminal, else a line each 10 s), plain (\"logged N\" lines on stderr), none");
  AddFormat(command, &flags->format);
}

void AddJsonLines(CLI::App* import, Run* run) {
  auto flags = std::make_shared<ImportFlags>();
  flags->form = ImportForm::kJsonLines;
  CLI::App* command = import->add_subcommand("jsonl", "Read JSON lines: those of export --to jsonl, or of VictoriaMetrics' export");
  AddSharedFlags(command, flags.get());
  command->footer(
      "Examples:\n"
      "  chronolith import jsonl --db copy.db dump.jsonl\n"
      "  curl -s localhost:8428/api/v1/export -d 'match[]={job=\"node\"}' | chronolith import jsonl --db metrics.db");
  command->callback([flags, run] { *run = [flags] { return Import(*flags); }; });
}

void AddCsv(CLI::App* import, Run* run) {
  using Unit = interop::CsvColumns::Unit;
  static const std::map<std::string, Unit> kUnits = {
      {"s", Unit::kSeconds}, {"ms", Unit::kMilliseconds}, {"us", Unit::kMicroseconds}, {"ns", Unit::kNanoseconds}};
  auto flags = std::make_shared<ImportFlags>();
  flags->form = ImportForm::kCsv;
  CLI::App* command = import->add_subcommand("csv", "Read comma-separated values with a header line");
  AddSharedFlags(command, flags.get());
  interop::CsvColumns& columns = flags->columns;
  command->add_option("--time-column", columns.time, "column of the time (timestamp)")->option_text("NAME");
  command->add_option("--time-unit", columns.unit, "of times that are numbers: s, ms (default), us, ns; others are RFC 3339")
      ->transform(CLI::CheckedTransformer(kUnits, CLI::ignore_case).description(""))
      ->option_text("UNIT");
  command->add_option("--value-column", columns.values, "columns of values (value); empty fields have none; may be repeated")
      ->allow_extra_args(false)
      ->option_text("NAME");
  command->add_option("--series-column", columns.series, "column of metric{label=\"value\"} (series)")->option_text("NAME");
  command->add_option("--metric", columns.metric, "metric name, where no column __name__ has it (the value column's)")
      ->option_text("NAME");
  command->add_option("--delimiter", flags->delimiter, "one character (,)")
      ->check(CLI::Validator([](std::string& text) { return text.size() == 1 ? "" : "must be one character"; }, "", ""))
      ->option_text("C");
  command->footer(
      "Without a series column, all columns but time and values are labels.\n\n"
      "Examples:\n"
      "  chronolith import csv --db copy.db dump.csv\n"
      "  chronolith import csv --db rooms.db --time-column at --value-column temperature --value-column humidity rooms.csv");
  command->callback([flags, run] { *run = [flags] { return Import(*flags); }; });
}

}  // namespace

void AddImport(CLI::App* app, Run* run) {
  auto flags = std::make_shared<ImportFlags>();
  CLI::App* command = app->add_subcommand("import", "Read metrics into a database");
  command->require_subcommand(0, 1);
  AddSharedFlags(command, flags.get());
  command->get_option("--db")->required(false);  // its subcommands have their own
  static const std::map<std::string, interop::TextFormat> kFormats = {{"auto", interop::TextFormat::kAuto},
                                                                      {"prometheus", interop::TextFormat::kPrometheus},
                                                                      {"openmetrics", interop::TextFormat::kOpenMetrics}};
  command
      ->add_option("--input-format", flags->input_format,
                   "auto (default), prometheus (timestamps in milliseconds) or openmetrics (in seconds)")
      ->transform(CLI::CheckedTransformer(kFormats, CLI::ignore_case).description(""))
      ->option_text("FORMAT");
  command
      ->add_option("--timestamp", flags->timestamp,
                   "for samples without one: now, RFC 3339 or milliseconds; without it they are refused")
      ->check(Checked([](const std::string& text) { return interop::ParseTime(text, 0); }))
      ->option_text("TIME");
  AddJsonLines(command, run);
  AddCsv(command, run);
  AddImportPrometheus(command, run);
  command->footer(
      "Without a subcommand: OpenMetrics 1.0 or Prometheus text.\n"
      "Lines that are refused do not stop the others; the exit code is then 3.\n\n"
      "Examples:\n"
      "  chronolith import --db metrics.db dump.om.gz\n"
      "  curl -s localhost:9100/metrics | chronolith import --db metrics.db --timestamp now");
  command->callback([command, flags, run] {
    if (!command->get_subcommands().empty()) return;
    if (flags->store.db.empty()) throw CLI::RequiredError("--db");
    *run = [flags] { return Import(*flags); };
  });
}

}  // namespace chronolith::cli
