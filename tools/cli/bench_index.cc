// chronolith bench index: look-ups by labels, cold and cached.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/cli/bench_common.h"
#include "tools/cli/common.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"

namespace chronolith::cli {

namespace {

struct IndexFlags {
  StoreFlags store;
  std::vector<std::string> labels = {"__name__", "namespace"};
  std::size_t queries = 25;
  int repeat = 20;
  bool json = false;
};

// One kind of look-up: its latencies and the mean size of its answers.
struct Measured {
  std::string name;
  Latencies latencies;
  double results = 0;
};

class IndexBench {
 public:
  explicit IndexBench(const IndexFlags& flags) : flags_(flags) {}

  Status Run();
  std::vector<Measured>& measured() { return measured_; }
  double open_seconds() const { return open_.seconds(); }

 private:
  using Query = std::function<Result<std::size_t>(const std::vector<Matcher>&)>;

  Status Open();
  // Pairs (i-th value of the first label, i-th value of the second): no posting list is used twice, so the first pass is cold.
  Status ChooseQueries();
  Status Measure(const std::string& name, int passes, const Query& query);

  const IndexFlags& flags_;
  ReadStore store_;
  std::vector<std::vector<Matcher>> queries_;
  std::vector<Measured> measured_;
  Stopwatch open_;
};

Status IndexBench::Open() {
  if (store_.storage != nullptr) {
    if (Status s = store_.storage->Close(); !s.ok()) return s;
    store_ = {};
  }
  open_ = {};
  open_.Start();
  auto store = OpenForReading(flags_.store);
  open_.Stop();
  if (!store.ok()) return store.status();
  store_ = std::move(*store);
  return Status::Ok();
}

Status IndexBench::ChooseQueries() {
  std::vector<std::vector<std::string>> values;
  for (const std::string& name : flags_.labels) {
    auto found = store_.storage->LabelValues(name, {});
    if (!found.ok()) return found.status();
    if (found->values.empty()) return NotFound("no series has the label " + name + "; choose others with --labels");
    values.push_back(std::move(found->values));
  }
  std::size_t n = flags_.queries;
  for (const auto& v : values) n = std::min(n, v.size());
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<Matcher> matchers;
    for (std::size_t k = 0; k < values.size(); ++k) matchers.push_back(Matcher::Equal(flags_.labels[k], values[k][i]));
    queries_.push_back(std::move(matchers));
  }
  return Status::Ok();
}

Status IndexBench::Measure(const std::string& name, int passes, const Query& query) {
  Measured m;
  m.name = name;
  std::size_t results = 0;
  for (int pass = 0; pass < passes; ++pass) {
    for (const auto& matchers : queries_) {
      const auto start = std::chrono::steady_clock::now();
      const auto found = query(matchers);
      m.latencies.Add(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      if (!found.ok()) return found.status().WithContext(name);
      results += *found;
    }
  }
  m.results = static_cast<double>(results) / static_cast<double>(std::max<std::size_t>(1, m.latencies.count()));
  measured_.push_back(std::move(m));
  return Status::Ok();
}

Status IndexBench::Run() {
  if (Status s = Open(); !s.ok()) return s;
  if (Status s = ChooseQueries(); !s.ok()) return s;
  if (Status s = Open(); !s.ok()) return s;  // forget what choosing has cached; the operating system's page cache stays

  const auto size = [](const auto& found) -> Result<std::size_t> {
    if (!found.ok()) return found.status();
    return found->values.size();
  };
  const Query ids = [this](const auto& matchers) -> Result<std::size_t> {
    const auto found = store_.storage->SeriesIds(matchers);
    if (!found.ok()) return found.status();
    return found->size();
  };
  const Query labels = [this, size](const auto& matchers) { return size(store_.storage->Series(matchers)); };
  const Query values = [this, size](const auto&) { return size(store_.storage->LabelValues(flags_.labels.back(), {})); };
  const Query values_of = [this, size](const auto& m) {
    return size(store_.storage->LabelValues(flags_.labels.back(), {m.front()}));
  };
  const Query names = [this, size](const auto&) { return size(store_.storage->LabelNames({})); };
  const Query prefix = [this](const auto& matchers) -> Result<std::size_t> {
    std::vector<Matcher> regex = matchers;
    regex.back() = Matcher::Regex(regex.back().name, regex.back().value + ".*");
    const auto found = store_.storage->SeriesIds(regex);
    if (!found.ok()) return found.status();
    return found->size();
  };
  struct Step {
    const char* name;
    int passes;
    const Query* query;
  };
  const Step kSteps[] = {{"ids_cold", 1, &ids},
                         {"ids_cached", flags_.repeat, &ids},
                         {"labels_cold", 1, &labels},
                         {"labels_cached", flags_.repeat, &labels},
                         {"label_values", flags_.repeat, &values},
                         {"label_values_matched", flags_.repeat, &values_of},
                         {"label_names", flags_.repeat, &names},
                         {"ids_regex_prefix", flags_.repeat, &prefix}};
  for (const Step& step : kSteps) {
    if (Status s = Measure(step.name, step.passes, *step.query); !s.ok()) return s;
  }
  return Status::Ok();
}

int BenchIndex(const IndexFlags& flags) {
  IndexBench bench(flags);
  if (Status s = bench.Run(); !s.ok()) return Fail(s);
  if (flags.json) {
    Report report;
    for (Measured& m : bench.measured()) {
      report.Add(m.name + "_results_mean", m.results);
      report.Add(m.name + "_mean_ms", m.latencies.Mean() * 1e3);
      report.Add(m.name + "_p50_ms", m.latencies.Percentile(0.5) * 1e3);
      report.Add(m.name + "_p99_ms", m.latencies.Percentile(0.99) * 1e3);
    }
    report.Add("open_seconds", bench.open_seconds());
    report.Add("peak_rss_bytes", PeakRssBytes());
    return report.Print(true);
  }
  Output out;
  Table table({"look-up", "times", "results", "mean", "p50", "p99"});
  for (Measured& m : bench.measured()) {
    table.Add({m.name, std::to_string(m.latencies.count()), FixedPoint(m.results, 1), HumanSeconds(m.latencies.Mean()),
               HumanSeconds(m.latencies.Percentile(0.5)), HumanSeconds(m.latencies.Percentile(0.99))});
  }
  table.Print(&out);
  out << "opened in " << HumanSeconds(bench.open_seconds()) << "; peak memory " << HumanBytes(PeakRssBytes()) << "\n";
  return Finish(&out);
}

}  // namespace

void AddBenchIndex(CLI::App* bench, Run* run) {
  auto flags = std::make_shared<IndexFlags>();
  CLI::App* command = bench->add_subcommand("index", "Look series up by labels in an existing database, cold and cached");
  AddStoreFlags(command, &flags->store);
  command->add_option("--labels", flags->labels, "labels to match by equality, all together (__name__ namespace)")
      ->delimiter(',')
      ->option_text("NAMES");
  command->add_option("--queries", flags->queries, "different look-ups, each with values of its own (25)")
      ->check(CLI::Range(1, 100'000))
      ->option_text("N");
  command->add_option("--repeat", flags->repeat, "passes over them when cached (20)")
      ->check(CLI::Range(1, 100'000))
      ->option_text("N");
  command->add_flag("--json", flags->json, "one JSON object instead of a table");
  command->footer("Example:\n  chronolith bench index --db /tmp/bench --labels __name__,namespace");
  command->callback([flags, run] { *run = [flags] { return BenchIndex(*flags); }; });
}

}  // namespace chronolith::cli
