// chronolith dump-wal: the records of a database's log, one a line.
#include <cstdio>
#include <memory>
#include <string>

#include "interop/time_text.h"
#include "interop/value_text.h"
#include "ops/wal_dump.h"
#include "tools/cli/common.h"
#include "tools/cli/files.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/log_flags.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {
namespace {

struct DumpFlags {
  FilesFlags files;
  LogFlags log;
  bool content = false;
  bool quiet = false;
  std::uint64_t limit = 0;
  std::uint64_t memory_limit = kToolMemoryBytes;
  Format format = Format::kTable;
};

using ops::DumpedRecord;
using ops::LabelsIn;
using ops::ScannedRecord;

std::string N(std::uint64_t n) { return std::to_string(n); }

std::string SeriesName(const LabelsIn& labels, Ordinal ordinal) {
  const Labels* const found = labels(ordinal);
  return found == nullptr ? "series " + N(ordinal) : found->ToString();
}

// What a record says, in a few words.
std::string Words(const ScannedRecord& r) {
  std::string text;
  const auto add = [&text](std::size_t n, const char* what) {
    if (n > 0) text += (text.empty() ? "" : ", ") + std::to_string(n) + " " + what;
  };
  add(r.samples.size(), "samples");
  add(r.histograms.size(), "histograms");
  add(r.exemplars.size(), "exemplars");
  add(r.metadata.size(), "metadata");
  add(r.series.size(), "series");
  add(r.ordinals.size(), "series");
  switch (r.type) {
    case RecordType::kSeries:
      return text + " from ordinal " + N(r.series.front().ordinal);
    case RecordType::kEpoch:
      return "opens epoch " + N(r.epoch.epoch) + "; the one before ended at " + N(r.epoch.previous_end);
    case RecordType::kFloor:
      return "retention up to " + interop::FormatTime(r.floor);
    case RecordType::kDelete:
      return text + ", " + (r.range.start == kMinTimestamp ? "" : interop::FormatTime(r.range.start)) + " .. " +
             (r.range.end == kMaxTimestamp ? "" : interop::FormatTime(r.range.end));
    default:
      return text;
  }
}

// A line of its own for each thing in the record.
void PrintContent(const ScannedRecord& r, const LabelsIn& labels, Output* out) {
  const auto line = [out](const std::string& text) { *out << "    " << text << "\n"; };
  for (const SeriesRecordEntry& s : r.series) {
    line(N(s.ordinal) + " " + Labels::FromEncoded(std::string(s.labels)).ToString());
  }
  for (const SampleEntry& s : r.samples) {
    line(SeriesName(labels, s.ordinal) + " " + interop::FormatValue(s.value) + " @ " + interop::FormatTime(s.timestamp));
  }
  for (const ops::HistogramEntry& h : r.histograms) {
    line(SeriesName(labels, h.ordinal) + " histogram @ " + interop::FormatTime(h.sample->timestamp));
  }
  for (const ops::ExemplarEntry& e : r.exemplars) {
    line(SeriesName(labels, e.ordinal) + " exemplar " + e.exemplar->labels.ToString() + " " +
         interop::FormatValue(e.exemplar->value) + " @ " + interop::FormatTime(e.exemplar->timestamp));
  }
  for (const ops::MetadataEntry& m : r.metadata) line(SeriesName(labels, m.ordinal) + " metadata: " + m.metadata->help);
  for (const Ordinal ordinal : r.ordinals) line(SeriesName(labels, ordinal));
}

void PrintLine(const DumpedRecord& dumped, const LabelsIn& labels, bool content, Output* out) {
  char head[160];
  if (dumped.record == nullptr) {
    std::snprintf(head, sizeof(head), "%5u %12llu  LOST ", dumped.shard, static_cast<unsigned long long>(dumped.loss->first));
    *out << head << dumped.loss->why.message() << "\n";
    return;
  }
  const ScannedRecord& r = *dumped.record;
  std::snprintf(head, sizeof(head), "%5u %12llu %6llu %9llu  %s  %-13s %6zu  ", dumped.shard,
                static_cast<unsigned long long>(r.place.lsn), static_cast<unsigned long long>(r.place.epoch),
                static_cast<unsigned long long>(r.place.group), interop::FormatTime(r.place.write_time_ms).c_str(),
                std::string(ops::NameOf(r.type)).c_str(), r.bytes);
  *out << head << Words(r);
  if (dumped.min_time() <= dumped.max_time()) {
    *out << ", " << interop::FormatTime(dumped.min_time());
    if (dumped.min_time() < dumped.max_time()) *out << " .. " << interop::FormatTime(dumped.max_time());
  }
  *out << "\n";
  if (content) PrintContent(r, labels, out);
}

class JsonLine {
 public:
  JsonLine(const LabelsIn& labels, Output* out) : labels_(labels), json_(out) {}

  void Print(const DumpedRecord& dumped, bool content) {
    json_.BeginObject().Key("shard").Unsigned(dumped.shard);
    dumped.record == nullptr ? Loss(*dumped.loss) : Record(dumped, content);
    json_.EndObject().Newline();
  }

 private:
  void Loss(const WalLoss& loss) {
    json_.Key("type").String("lost").Key("lsn").Unsigned(loss.first).Key("last_lsn").Unsigned(loss.last);
    json_.Key("why").String(loss.why.message());
  }
  void Record(const DumpedRecord& dumped, bool content) {
    const ScannedRecord& r = *dumped.record;
    json_.Key("lsn").Unsigned(r.place.lsn).Key("epoch").Unsigned(r.place.epoch).Key("group").Unsigned(r.place.group);
    json_.Key("written_ms").Integer(r.place.write_time_ms).Key("type").String(ops::NameOf(r.type)).Key("bytes").Unsigned(r.bytes);
    const auto count = [this](const char* key, std::size_t n) {
      if (n > 0) json_.Key(key).Unsigned(n);
    };
    count("series", r.series.size() + r.ordinals.size());
    count("samples", r.samples.size());
    count("histograms", r.histograms.size());
    count("exemplars", r.exemplars.size());
    count("metadata", r.metadata.size());
    if (dumped.min_time() <= dumped.max_time()) {
      json_.Key("min_time").Integer(dumped.min_time()).Key("max_time").Integer(dumped.max_time());
    }
    if (r.type == RecordType::kEpoch) json_.Key("previous_end").Unsigned(r.epoch.previous_end);
    if (r.type == RecordType::kFloor) json_.Key("floor").Integer(r.floor);
    if (r.type == RecordType::kDelete) json_.Key("start").Integer(r.range.start).Key("end").Integer(r.range.end);
    if (!content) return;
    json_.Key("content").BeginArray();
    Content(r);
    json_.EndArray();
  }
  void Content(const ScannedRecord& r) {
    for (const SeriesRecordEntry& s : r.series) {
      json_.BeginObject().Key("ordinal").Unsigned(s.ordinal);
      json_.Key("labels").LabelSet(Labels::FromEncoded(std::string(s.labels))).EndObject();
    }
    for (const SampleEntry& s : r.samples)
      Begin(s.ordinal).Key("timestamp").Integer(s.timestamp).Key("value").Double(s.value).EndObject();
    for (const ops::HistogramEntry& h : r.histograms) {
      Begin(h.ordinal).Key("histogram").Bool(true).Key("timestamp").Integer(h.sample->timestamp).EndObject();
    }
    for (const ops::ExemplarEntry& e : r.exemplars) {
      Begin(e.ordinal).Key("exemplar").LabelSet(e.exemplar->labels).Key("timestamp").Integer(e.exemplar->timestamp);
      json_.Key("value").Double(e.exemplar->value).EndObject();
    }
    for (const ops::MetadataEntry& m : r.metadata) {
      Begin(m.ordinal).Key("help").String(m.metadata->help).Key("unit").String(m.metadata->unit).EndObject();
    }
    for (const Ordinal ordinal : r.ordinals) Begin(ordinal).EndObject();
  }
  JsonWriter& Begin(Ordinal ordinal) {
    json_.BeginObject().Key("ordinal").Unsigned(ordinal);
    if (const Labels* const labels = labels_(ordinal); labels != nullptr) json_.Key("labels").LabelSet(*labels);
    return json_;
  }

  const LabelsIn& labels_;
  JsonWriter json_;
};

int RunDump(const DumpFlags& flags) {
  auto selection = ParseLogFlags(flags.log);
  if (!selection.ok()) return FailUsage(selection.status());
  auto store = OpenFiles(flags.files, flags.memory_limit,
                         {.data_may_fail = true, .log_held_bytes_max = ops::LogHeldByReader(flags.memory_limit)});
  if (!store.ok()) return FailOpening(store.status(), flags.files);
  ops::DumpOptions options;
  options.selection = std::move(*selection);
  options.limit = flags.limit;
  options.labels = flags.content;
  Output out;
  if (flags.format == Format::kTable) {
    out << "shard          lsn  epoch     group  written                   type           bytes  holds\n";
  }
  Result<ops::DumpReport> report = Cancelled("interrupted");
  {
    WorkProgress progress(flags.quiet);
    ops::OpsContext context;
    context.cancelled = InterruptFlag();
    context.progress = &progress;
    report = ops::DumpLog(**store, options, context, [&](const DumpedRecord& record, const LabelsIn& labels) {
      if (flags.format == Format::kJson) {
        JsonLine(labels, &out).Print(record, flags.content);
      } else {
        PrintLine(record, labels, flags.content, &out);
      }
      return out.status();
    });
  }
  if (Status s = out.Finish(); !s.ok()) return Fail(s);
  if (!report.ok()) return FailReading(report.status());
  if (report->limited) std::fprintf(stderr, "there are more records than --limit %s\n", N(flags.limit).c_str());
  if (report->problems.empty()) TellOfEmptyLog(**store, options.selection);
  return ReportProblems(report->problems);
}

}  // namespace

void AddDumpWal(CLI::App* app, Run* run) {
  auto flags = std::make_shared<DumpFlags>();
  CLI::App* command = app->add_subcommand("dump-wal", "Print the records of the log, one a line");
  AddFilesFlags(command, &flags->files);
  AddLogFlags(command, &flags->log);
  command->add_flag("--records", flags->content, "with what is in each record: series, samples and their labels");
  command->add_option("--limit", flags->limit, "so many records at most (no bound)")->option_text("N");
  command->add_flag("--quiet", flags->quiet, "no progress on stderr");
  AddMemoryLimit(command, &flags->memory_limit);
  AddFormat(command, &flags->format, Csv::kNo);
  command->footer(
      "Shard after shard, in the order of LSNs; json: one object a line. Changes nothing, and works beside a process that writes: "
      "it\n"
      "shows what was logged when it started, not what was only queued. Where records are lost a line says so. Needs STORE and the "
      "log;\n"
      "without the data, series that are older than the log are shown by number.\n"
      "Exit codes: 0 ok, 1 failure, 2 wrong arguments, 3 something is damaged.\n"
      "Examples:\n"
      "  chronolith dump-wal metrics.db --limit 20\n"
      "  chronolith dump-wal metrics.db --shard 3 --from 3:1200 --to 3:1300 --records\n"
      "  chronolith dump-wal metrics.db --match up --written-since -10m --format json");
  command->callback([flags, run] { *run = [flags] { return RunDump(*flags); }; });
}

}  // namespace chronolith::cli
