// chronolith query: the samples of the series that a selector matches.
#include <algorithm>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "interop/time_text.h"
#include "interop/value_text.h"
#include "ops/series_scan.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"

namespace chronolith::cli {

namespace {

struct QueryFlags {
  StoreFlags store;
  std::string selector;
  TimeFlags time;
  std::uint64_t limit = 0;
  bool exemplars = false;
  bool skip_damaged = false;
  Format format = Format::kTable;
};

// Writes series and their points in one of the formats, as they come.
class PointWriter {
 public:
  PointWriter(Format format, Output* out) : format_(format), out_(out), json_(out) {
    if (format == Format::kJson) json_.BeginObject().Key("series").BeginArray();
    if (format == Format::kCsv) *out_ << "series,timestamp,value\n";
  }

  void BeginSeries(const Labels& labels) {
    name_ = labels.ToString();
    if (format_ == Format::kTable) *out_ << name_ << "\n";
    if (format_ == Format::kCsv) name_ = CsvField(name_);
    if (format_ == Format::kJson) json_.BeginObject().Key("labels").LabelSet(labels);
  }
  void BeginList(std::string_view name) {
    if (format_ == Format::kJson) json_.Key(name).BeginArray();
  }
  void EndList() {
    if (format_ == Format::kJson) json_.EndArray();
  }
  void EndSeries() {
    if (format_ == Format::kJson) json_.EndObject().Newline();
  }

  void Float(Timestamp t, double value) {
    if (format_ == Format::kJson) {
      json_.BeginArray().Integer(t).String(interop::FormatValue(value)).EndArray();  // a string, as JSON has no NaN
    } else {
      Row(t, interop::FormatValue(value));
    }
  }

  void HistogramPoint(Timestamp t, const Histogram& histogram) {
    if (format_ != Format::kJson) return Row(t, interop::FormatHistogram(histogram));
    json_.BeginArray().Integer(t).BeginObject();
    json_.Key("count").String(interop::FormatValue(interop::HistogramCount(histogram)));
    json_.Key("sum").String(interop::FormatValue(interop::HistogramSum(histogram))).Key("buckets").BeginArray();
    for (const interop::HistogramBucket& b : interop::HistogramBuckets(histogram)) {
      // The numbers of Prometheus' HTTP API: 0 (lower,upper]  1 [lower,upper)  2 both open  3 both closed.
      const int boundaries = b.lower_inclusive ? (b.upper_inclusive ? 3 : 1) : (b.upper_inclusive ? 0 : 2);
      json_.BeginArray().Integer(boundaries).String(interop::FormatValue(b.lower)).String(interop::FormatValue(b.upper));
      json_.String(interop::FormatValue(b.count)).EndArray();
    }
    json_.EndArray().EndObject().EndArray();
  }

  void ExemplarPoint(const Exemplar& exemplar) {
    if (format_ != Format::kJson)
      return Row(exemplar.timestamp, interop::FormatValue(exemplar.value) + " # " + exemplar.labels.ToString());
    json_.BeginObject().Key("timestamp").Integer(exemplar.timestamp).Key("value").String(interop::FormatValue(exemplar.value));
    json_.Key("labels").LabelSet(exemplar.labels).EndObject();
  }

  const Status& status() const { return out_->status(); }

  void Finish(bool truncated) {
    if (format_ == Format::kJson) json_.EndArray().Key("truncated").Bool(truncated).EndObject().Newline();
  }

 private:
  void Row(Timestamp t, const std::string& value) {
    if (format_ == Format::kCsv) {
      *out_ << name_ << "," << std::to_string(t) << "," << CsvField(value) << "\n";
    } else {
      *out_ << "  " << interop::FormatTime(t) << "  " << value << "\n";
    }
  }

  const Format format_;
  Output* out_;
  JsonWriter json_;
  std::string name_;
};

// The samples of the current series, at most `left` of them; false where one more was there.
Result<bool> PrintSamples(SampleIterator& samples, std::uint64_t* left, PointWriter* writer) {
  while (true) {
    const ValueType type = samples.Next();
    if (type == ValueType::kNone) break;
    if (*left == 0) return false;
    --*left;
    if (type == ValueType::kFloat) {
      writer->Float(samples.timestamp(), samples.value());
    } else {
      writer->HistogramPoint(samples.timestamp(), samples.histogram());
    }
  }
  if (Status s = samples.status(); !s.ok()) return s;
  return true;
}

// The same for the series of a set.
Result<bool> PrintSet(const QueryFlags& flags, Storage* storage, SeriesSet& set, TimeRange range, std::uint64_t* left,
                      PointWriter* writer) {
  bool complete = true;
  while (complete && writer->status().ok() && set.Next()) {
    if (*left == 0) return false;  // another series, and a series in a result has a sample
    writer->BeginSeries(set.labels());
    writer->BeginList("samples");
    const auto all = PrintSamples(set.samples(), left, writer);
    if (!all.ok()) return all.status();
    complete = *all;
    writer->EndList();
    if (flags.exemplars) {
      const auto exemplars = storage->Exemplars(set.labels(), range);
      if (!exemplars.ok()) return exemplars.status();
      writer->BeginList("exemplars");
      for (const Exemplar& e : *exemplars) writer->ExemplarPoint(e);
      writer->EndList();
    }
    writer->EndSeries();
  }
  if (Status s = set.status(); !s.ok()) return s;
  return complete;
}

// A Select keeps the labels of all that it matches in memory: many are selected piece by piece.
Result<bool> PrintAll(const QueryFlags& flags, const ReadStore& store, const std::vector<Matcher>& matchers, TimeRange range,
                      Output* out, bool* partial) {
  Storage* const storage = store.storage.get();
  const auto ids = [&] {
    const EndsAtOnce interruptible("interrupted; nothing was printed", store.CleanUp());
    return ops::MatchingIds(storage, {matchers}, {.range = range, .skip_damaged = flags.skip_damaged});
  }();
  if (!ids.ok()) return ids.status();
  *partial = ids->partial;
  PointWriter writer(flags.format, out);
  std::uint64_t left = flags.limit == 0 ? ~0ULL : flags.limit;
  bool complete = true;
  const std::size_t count = ids->values.size();
  const std::size_t at_once = ops::SeriesAtOnce(flags.store.memory_limit);
  for (std::size_t begin = 0; complete && writer.status().ok() && begin < count; begin += at_once) {
    const auto piece = std::span(ids->values).subspan(begin, std::min(at_once, count - begin));
    auto set = storage->Select(matchers, range, {.cancelled = InterruptFlag(), .skip_damaged = flags.skip_damaged, .among = piece});
    if (!set.ok()) return set.status();
    const auto all = PrintSet(flags, storage, **set, range, &left, &writer);
    if (!all.ok()) return all.status();
    complete = *all;
    *partial |= (*set)->partial();
  }
  writer.Finish(!complete);
  return complete;
}

int Query(const QueryFlags& flags) {
  const auto selection = ParseSelection({{flags.selector}, flags.time});
  if (!selection.ok()) return FailUsage(selection.status());
  const auto store = OpenForReading(flags.store);
  if (!store.ok()) return Fail(store.status());
  Output out;
  bool partial = false;
  const auto complete = PrintAll(flags, *store, selection->selectors.front(), selection->range, &out, &partial);
  const Status written = out.Finish();
  if (!complete.ok()) return FailReading(store->OfSource(complete.status()));
  if (!written.ok()) return Fail(written);
  if (!*complete) std::fprintf(stderr, "truncated: --limit %llu left samples out\n", static_cast<unsigned long long>(flags.limit));
  return partial ? Partial() : kExitOk;
}

}  // namespace

void AddQuery(CLI::App* app, Run* run) {
  auto flags = std::make_shared<QueryFlags>();
  CLI::App* command = app->add_subcommand("query", "Print the samples of the series that a selector matches");
  AddStoreFlags(command, &flags->store);
  flags->store.memory_limit = kToolMemoryBytes;
  AddMemoryLimit(command, &flags->store.memory_limit);
  command->add_option("SELECTOR", flags->selector, "as in PromQL: metric{label=\"value\",other=~\"a|b\"}; {} is everything")
      ->required();
  AddTimeRange(command, &flags->time);
  command->add_option("--limit", flags->limit, "print at most so many samples, and say so on stderr; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N");
  command->add_flag("--exemplars", flags->exemplars, "print the series' exemplars as well");
  AddSkipDamaged(command, &flags->skip_damaged);
  AddFormat(command, &flags->format);
  command->footer(
      "Works on a database that another process is writing.\n"
      "Series come in order of their labels; more than 65,536 (fewer where --memory-limit is less) come piece by piece, each in\n"
      "order.\n\n"
      "Examples:\n"
      "  chronolith query --db metrics.db 'node_load1' --start -1h\n"
      "  chronolith query --db metrics.db '{__name__=~\"node_cpu.*\",mode!=\"idle\"}' --limit 100 --format csv");
  command->callback([flags, run] { *run = [flags] { return Query(*flags); }; });
}

}  // namespace chronolith::cli
