// chronolith series, labels, values: what is in the index.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "interop/family_metadata.h"
#include "ops/series_list.h"
#include "tools/cli/common.h"
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

// Asks for each selector (or once for everything) and unites the answers.
template <typename Ask>
Result<Lookup<std::string>> Unite(const LookupFlags& flags, const std::vector<std::vector<Matcher>>& selectors, TimeRange range,
                                  Ask ask) {
  const LookupOptions options = LookupOptionsOf(flags, range);
  Lookup<std::string> all;
  const std::vector<std::vector<Matcher>> everything(1);
  for (const auto& matchers : selectors.empty() ? everything : selectors) {
    Result<Lookup<std::string>> found = ask(matchers, options);
    if (!found.ok()) return found.status();
    all.truncated |= found->truncated;
    all.partial |= found->partial;
    all.values.insert(all.values.end(), std::make_move_iterator(found->values.begin()),
                      std::make_move_iterator(found->values.end()));
  }
  if (selectors.size() > 1) {
    std::sort(all.values.begin(), all.values.end());
    all.values.erase(std::unique(all.values.begin(), all.values.end()), all.values.end());
    if (flags.limit > 0 && all.values.size() > flags.limit) {
      all.values.resize(flags.limit);
      all.truncated = true;
    }
  }
  return all;
}

// What of an answer was left out.
struct LeftOut {
  bool truncated = false;
  bool partial = false;
};

using Print = std::function<Result<LeftOut>(Storage*, const std::vector<std::vector<Matcher>>&, TimeRange, Output*)>;

int RunLookup(const LookupFlags& flags, const Print& print) {
  const auto selection = ParseSelection({flags.selectors, flags.time});
  if (!selection.ok()) return FailUsage(selection.status());
  auto storage = OpenForReading(flags.store);
  if (!storage.ok()) return Fail(storage.status());
  Output out;
  const auto left_out = print(storage->get(), selection->selectors, selection->range, &out);
  const bool written = out.Finish();
  if (!left_out.ok()) return FailReading(left_out.status());
  if (!written) return Fail(IoError("cannot write to stdout"));
  if (left_out->truncated)
    std::fprintf(stderr, "truncated: --limit %llu left some out\n", static_cast<unsigned long long>(flags.limit));
  return left_out->partial ? Partial() : kExitOk;
}

LeftOut PrintStrings(const Lookup<std::string>& found, Format format, std::string_view header, Output* out) {
  if (format == Format::kJson) {
    JsonWriter json(out);
    json.BeginObject().Key(header).BeginArray();
    for (const std::string& value : found.values) json.String(value);
    json.EndArray().Key("truncated").Bool(found.truncated).EndObject().Newline();
  } else {
    if (format == Format::kCsv) *out << header << "\n";
    for (const std::string& value : found.values) *out << (format == Format::kCsv ? CsvField(value) : value) << "\n";
  }
  return {found.truncated, found.partial};
}

Result<LeftOut> PrintSeries(const LookupFlags& flags, Storage* storage, const ops::SeriesListOptions& options, Output* out) {
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
    return Status::Ok();
  });
  if (!listed.ok()) return listed.status();
  if (flags.format == Format::kJson) json.EndArray().Key("truncated").Bool(listed->truncated).EndObject().Newline();
  return LeftOut{listed->truncated, listed->partial};
}

int Series(const LookupFlags& flags) {
  return RunLookup(flags, [&flags](Storage* storage, const auto& selectors, TimeRange range, Output* out) -> Result<LeftOut> {
    return PrintSeries(flags, storage, {selectors, LookupOptionsOf(flags, range), flags.metadata}, out);
  });
}

int LabelNames(const LookupFlags& flags) {
  return RunLookup(flags, [&flags](Storage* storage, const auto& selectors, TimeRange range, Output* out) -> Result<LeftOut> {
    const auto found =
        Unite(flags, selectors, range, [storage](const auto& m, const auto& o) { return storage->LabelNames(m, o); });
    if (!found.ok()) return found.status();
    return PrintStrings(*found, flags.format, "labels", out);
  });
}

int LabelValues(const LookupFlags& flags) {
  return RunLookup(flags, [&flags](Storage* storage, const auto& selectors, TimeRange range, Output* out) -> Result<LeftOut> {
    const auto found = Unite(flags, selectors, range,
                             [storage, &flags](const auto& m, const auto& o) { return storage->LabelValues(flags.name, m, o); });
    if (!found.ok()) return found.status();
    return PrintStrings(*found, flags.format, "values", out);
  });
}

CLI::App* AddLookup(CLI::App* app, const char* name, const char* description, const std::shared_ptr<LookupFlags>& flags) {
  CLI::App* command = app->add_subcommand(name, description);
  AddStoreFlags(command, &flags->store);
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
      "In order; more than 65,536 series come piece by piece, each in order, so that memory stays bounded.\n\n"
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
