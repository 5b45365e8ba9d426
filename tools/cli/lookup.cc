// chronolith series, labels, values: what is in the index.
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "interop/family_metadata.h"
#include "ops/series_list.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"

namespace chronolith::cli {

namespace {

struct LookupFlags {
  StoreFlags store;
  std::string name;  // values
  std::vector<std::string> selectors;
  TimeFlags time;
  std::uint64_t limit = 0;
  bool metadata = false;  // series
  bool skip_damaged = false;
  Format format = Format::kTable;
};

LookupOptions LookupOptionsOf(const LookupFlags& flags, TimeRange range) {
  LookupOptions options;
  options.range = range;
  options.limit = flags.limit;
  options.skip_damaged = flags.skip_damaged;
  return options;
}

using Print = std::function<Result<ops::SeriesListResult>(Storage*, const std::vector<std::vector<Matcher>>&, TimeRange, Output*)>;

int RunLookup(const LookupFlags& flags, const Print& print) {
  const auto selection = ParseSelection({flags.selectors, flags.time});
  if (!selection.ok()) return FailUsage(selection.status());
  const auto store = OpenForReading(flags.store);
  if (!store.ok()) return Fail(store.status());
  const EndsAtOnce interruptible("interrupted; what was printed is not all", store->CleanUp());
  Output out;
  const auto left_out = print(store->storage.get(), selection->selectors, selection->range, &out);
  const Status written = out.Finish();
  if (!left_out.ok()) return FailReading(store->OfSource(left_out.status()));
  if (!written.ok()) return Fail(written);
  if (left_out->truncated)
    std::fprintf(stderr, "truncated: --limit %llu left some out\n", static_cast<unsigned long long>(flags.limit));
  return left_out->partial ? Partial() : kExitOk;
}

// Prints the strings that `list` visits.
template <typename List>
Result<ops::SeriesListResult> PrintStrings(Format format, std::string_view header, Output* out, const List& list) {
  JsonWriter json(out);
  if (format == Format::kJson) json.BeginObject().Key(header).BeginArray();
  if (format == Format::kCsv) *out << header << "\n";
  const Result<ops::SeriesListResult> listed = list([&](std::string_view value) {
    if (format == Format::kJson) {
      json.String(value);
    } else {
      *out << (format == Format::kCsv ? CsvField(value) : std::string(value)) << "\n";
    }
  });
  if (listed.ok() && format == Format::kJson) json.EndArray().Key("truncated").Bool(listed->truncated).EndObject().Newline();
  return listed;
}

Result<ops::SeriesListResult> PrintSeries(const LookupFlags& flags, Storage* storage, const ops::SeriesListOptions& options,
                                          Output* out) {
  JsonWriter json(out);
  if (flags.format == Format::kJson) json.BeginObject().Key("series").BeginArray();
  if (flags.format == Format::kCsv) *out << (flags.metadata ? "series,type,unit,help\n" : "series\n");
  const auto listed = ops::ListSeries(storage, options, [&](const Labels& labels, const Metadata& metadata) {
    const std::string_view type = interop::MetricTypeName(metadata.type);
    if (flags.format == Format::kJson) {
      if (!flags.metadata) {
        json.LabelSet(labels);
      } else {
        json.BeginObject().Key("labels").LabelSet(labels).Key("type").String(type);
        json.Key("unit").String(metadata.unit).Key("help").String(metadata.help).EndObject();
      }
      json.Newline();
    } else if (flags.format == Format::kCsv) {
      *out << CsvField(labels.ToString());
      if (flags.metadata) *out << "," << type << "," << CsvField(metadata.unit) << "," << CsvField(metadata.help);
      *out << "\n";
    } else {
      *out << labels.ToString();
      if (flags.metadata) *out << "  # " << type << (metadata.unit.empty() ? "" : " in ") << metadata.unit << ": " << metadata.help;
      *out << "\n";
    }
    return out->status();
  });
  if (listed.ok() && flags.format == Format::kJson) json.EndArray().Key("truncated").Bool(listed->truncated).EndObject().Newline();
  return listed;
}

int Series(const LookupFlags& flags) {
  return RunLookup(flags, [&flags](Storage* storage, const auto& selectors, TimeRange range, Output* out) {
    const std::size_t at_once = ops::SeriesAtOnce(flags.store.memory_limit);
    return PrintSeries(flags, storage, {selectors, LookupOptionsOf(flags, range), flags.metadata, at_once}, out);
  });
}

int LabelNames(const LookupFlags& flags) {
  return RunLookup(flags, [&flags](Storage* storage, const auto& selectors, TimeRange range, Output* out) {
    return PrintStrings(flags.format, "labels", out, [&](const ops::VisitString& visit) {
      return ops::ListLabelNames(storage, selectors, LookupOptionsOf(flags, range), visit);
    });
  });
}

int LabelValues(const LookupFlags& flags) {
  return RunLookup(flags, [&flags](Storage* storage, const auto& selectors, TimeRange range, Output* out) {
    return PrintStrings(flags.format, "values", out, [&](const ops::VisitString& visit) {
      return ops::ListLabelValues(storage, flags.name, selectors, LookupOptionsOf(flags, range), visit);
    });
  });
}

CLI::App* AddLookup(CLI::App* app, const char* name, const char* description, const std::shared_ptr<LookupFlags>& flags) {
  CLI::App* command = app->add_subcommand(name, description);
  AddStoreFlags(command, &flags->store);
  flags->store.memory_limit = kToolMemoryBytes;
  AddMemoryLimit(command, &flags->store.memory_limit);
  AddTimeRange(command, &flags->time);
  command->add_option("--limit", flags->limit, "print at most so many, and say so on stderr; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N");
  AddSkipDamaged(command, &flags->skip_damaged);
  AddFormat(command, &flags->format);
  return command;
}

}  // namespace

void AddLookups(CLI::App* app, Run* run) {
  static constexpr const char* kSelectors = "only series that match one of these; default: all";

  auto series = std::make_shared<LookupFlags>();
  CLI::App* command = AddLookup(app, "series", "List the series that selectors match", series);
  command->add_option("SELECTORS", series->selectors, kSelectors);
  command->add_flag("--metadata", series->metadata, "print type, unit and help text as well");
  command->footer(
      "In order; more than 65,536 series (fewer where --memory-limit is less) come piece by piece, each in order.\n\n"
      "Example:\n  chronolith series --db metrics.db 'up' '{job=\"node\",mode=~\"idle|user\"}' --limit 10");
  command->callback([series, run] { *run = [series] { return Series(*series); }; });

  auto labels = std::make_shared<LookupFlags>();
  command = AddLookup(app, "labels", "List the label names", labels);
  command->add_option("SELECTORS", labels->selectors, kSelectors);
  command->footer("Example:\n  chronolith labels --db metrics.db 'node_cpu_seconds_total'");
  command->callback([labels, run] { *run = [labels] { return LabelNames(*labels); }; });

  auto values = std::make_shared<LookupFlags>();
  command = AddLookup(app, "values", "List the values of a label", values);
  command->add_option("NAME", values->name, "name of the label; __name__ lists the metrics")->required();
  command->add_option("SELECTORS", values->selectors, kSelectors);
  command->footer(
      "Examples:\n  chronolith values --db metrics.db __name__\n  chronolith values --db metrics.db job 'up' --start -1d");
  command->callback([values, run] { *run = [values] { return LabelValues(*values); }; });
}

}  // namespace chronolith::cli
