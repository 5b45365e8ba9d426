// How long a store takes to be ready after kill -9. recovery_bench.sh runs the two halves:
//   reopen_bench fill --db DIR    writes scrapes of all series; once the last sample is logged, kills itself with SIGKILL
//   reopen_bench open --db DIR    opens; ready is: every shard replayed, one read answered and one logged write taken.
//                                 Then a scrape with full labels over all series, and a count of what is there.
//   reopen_bench ready --db DIR   the same without what comes after: for the memory that replay takes, also in a control group.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "bench/support.h"

namespace chronolith::bench {
namespace {

constexpr const char* kUsage =
    "usage: reopen_bench fill|open|ready --db DIR [--series 1000000] [--scrapes 3] [--batch 1000] [--threads 2] [--json]\n"
    "fill ends by SIGKILL. --threads are the writers of fill; the scrape of open has one.\n";

constexpr Timestamp kInterval = 15'000;
constexpr Timestamp kStart = 1'700'000'000'000;

double ValueOf(std::uint64_t series, std::uint64_t scrape) { return static_cast<double>(series % 1000 + 1000 * scrape); }
Timestamp TimeOf(std::uint64_t scrape) { return kStart + static_cast<Timestamp>(scrape) * kInterval; }

struct Config {
  std::string db;
  std::uint64_t series = 0;
  std::uint64_t scrapes = 0;
  std::uint64_t batch = 0;
  std::uint64_t threads = 0;
};

// One writer's part, [first, end) of the series: all of them once a scrape.
void FillPart(const Config& config, Storage* storage, std::uint64_t first, std::uint64_t end) {
  const std::unique_ptr<Appender> appender = storage->NewAppender();
  std::vector<SeriesRef> refs;
  for (std::uint64_t scrape = 0; scrape < config.scrapes; ++scrape) {
    for (std::uint64_t at = first; at < end; at += config.batch) {
      const std::uint64_t stop = std::min(at + config.batch, end);
      if (scrape == 0) {
        std::vector<Labels> labels;
        std::vector<SeriesRef> made;
        for (std::uint64_t i = at; i < stop; ++i) labels.push_back(ContainerLabels(i));
        Check(appender->Refs(labels, &made).status);
        refs.insert(refs.end(), made.begin(), made.end());
      }
      for (std::uint64_t i = at; i < stop; ++i) appender->Append(refs[i - first], TimeOf(scrape), ValueOf(i, scrape));
      Check(appender->Commit().status);
    }
  }
}

int Fill(const Config& config, bool json) {
  Options options;
  options.error_if_exists = true;
  const std::unique_ptr<Storage> storage = Value(Storage::Open(options, config.db));
  Stopwatch watch;
  watch.Start();
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < config.threads; ++i) {
    threads.emplace_back(
        [&, i] { FillPart(config, storage.get(), config.series * i / config.threads, config.series * (i + 1) / config.threads); });
  }
  for (std::thread& t : threads) t.join();
  watch.Stop();
  const StorageStats stats = storage->Stats();
  std::uint64_t pinned = 0;
  for (const ShardStats& s : stats.shards) pinned += s.wal_bytes_pinned;
  Table table("fill", {"series", "scrapes", "seconds", "checkpoints", "log MB to replay"});
  table.Add({static_cast<double>(config.series), static_cast<double>(config.scrapes), watch.seconds(),
             static_cast<double>(stats.checkpoints), static_cast<double>(pinned) * 1e-6});
  Print({table}, json);
  std::fflush(stdout);
  kill(getpid(), SIGKILL);  // everything is logged, nothing is closed
  return 1;
}

// Reads the newest sample of one series. One that is not as it was written fails the benchmark.
void ReadOne(const Config& config, Storage* storage) {
  const std::uint64_t series = config.series / 2;
  std::vector<Matcher> matchers;
  const Labels labels = ContainerLabels(series);
  for (const Label& l : labels) matchers.push_back(Matcher::Equal(std::string(l.name), std::string(l.value)));
  const std::unique_ptr<SeriesSet> set = Value(storage->Select(matchers, {TimeOf(config.scrapes - 1), TimeOf(config.scrapes)}));
  if (!set->Next()) Check(DataLoss("a series is gone: " + labels.ToString()));
  SampleIterator& samples = set->samples();
  if (samples.Next() != ValueType::kFloat || samples.value() != ValueOf(series, config.scrapes - 1)) {
    Check(DataLoss("the newest sample of " + labels.ToString() + " is not what was written"));
  }
}

void WriteOne(const Config& config, Storage* storage) {
  TimeSeries one{.labels = ContainerLabels(0), .samples = {{TimeOf(config.scrapes), ValueOf(0, config.scrapes)}}};
  Check(storage->Write(one).status);
}

// One sample to every series, with all its labels, from one thread. Making the label sets is not counted.
Stopwatch LabelledScrape(const Config& config, Storage* storage) {
  Stopwatch watch;
  std::vector<TimeSeries> batch(config.batch);
  for (std::uint64_t at = 0; at < config.series; at += config.batch) {
    const std::uint64_t n = std::min(config.batch, config.series - at);
    for (std::uint64_t i = 0; i < n; ++i) {
      batch[i].labels = ContainerLabels(at + i);
      batch[i].samples = {{TimeOf(config.scrapes + 1), ValueOf(at + i, config.scrapes + 1)}};
    }
    watch.Start();
    Check(storage->Write(std::span(batch).first(n)).status);
    watch.Stop();
  }
  return watch;
}

std::uint64_t CountSamples(Storage* storage, std::uint64_t* series) {
  const std::unique_ptr<SeriesSet> set = Value(storage->Select({}, {}));
  std::uint64_t n = 0;
  Timestamp t[256];
  double v[256];
  for (*series = 0; set->Next(); ++*series) {
    SampleIterator& samples = set->samples();
    while (const std::size_t got = samples.NextFloats(t, v, 256)) n += got;
  }
  Check(set->status());
  return n;
}

int Open(const Config& config, bool only_ready, bool json) {
  Options options;
  options.create_if_missing = false;
  Stopwatch open;
  Stopwatch read;
  Stopwatch write;
  open.Start();
  const std::unique_ptr<Storage> storage = Value(Storage::Open(options, config.db));
  open.Stop();
  read.Start();
  ReadOne(config, storage.get());
  read.Stop();
  write.Start();
  WriteOne(config, storage.get());
  write.Stop();
  const StorageStats stats = storage->Stats();
  std::uint64_t replayed = 0;
  for (const ShardStats& s : stats.shards) replayed += s.replayed_bytes;
  if (only_ready) {
    Table table("ready", {"seconds until ready", "replay s", "replayed MB", "checkpoints of replay", "memory limit MB", "memory MB",
                          "peak RSS MB"});
    table.Add({open.seconds() + read.seconds() + write.seconds(), stats.replay_seconds, static_cast<double>(replayed) * 1e-6,
               static_cast<double>(stats.replay_checkpoints), static_cast<double>(stats.memory_limit_bytes) * 1e-6,
               static_cast<double>(stats.memory_used_bytes) * 1e-6, static_cast<double>(PeakRssBytes()) * 1e-6});
    Check(storage->Close());
    Print({table}, json);
    return 0;
  }
  const Stopwatch scrape = LabelledScrape(config, storage.get());
  const std::uint64_t peak = PeakRssBytes();
  std::uint64_t series = 0;
  const std::uint64_t samples = CountSamples(storage.get(), &series);
  const std::uint64_t expected = config.series * (config.scrapes + 1) + 1;
  if (series != config.series || samples != expected) {
    Check(DataLoss(std::to_string(series) + " series with " + std::to_string(samples) + " samples, not " +
                   std::to_string(config.series) + " with " + std::to_string(expected)));
  }
  Check(storage->Close());
  Table table("reopen", {"seconds until ready", "open s", "replay s", "read s", "write s", "CPU s of open", "replayed MB",
                         "labelled scrape s", "labelled scrape CPU s", "peak RSS MB", "series", "samples"});
  table.Add({open.seconds() + read.seconds() + write.seconds(), open.seconds(), stats.replay_seconds, read.seconds(),
             write.seconds(), open.cpu_seconds(), static_cast<double>(replayed) * 1e-6, scrape.seconds(), scrape.cpu_seconds(),
             static_cast<double>(peak) * 1e-6, static_cast<double>(series), static_cast<double>(samples)});
  Print({table}, json);
  return 0;
}

int Main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb != "fill" && verb != "open" && verb != "ready") {
    std::fputs(kUsage, stderr);
    return 2;
  }
  const Flags flags(argc - 1, argv + 1, kUsage,
                    {{"db", ""}, {"series", "1000000"}, {"scrapes", "3"}, {"batch", "1000"}, {"threads", "2"}});
  const Config config{flags.Text("db"), flags.Number("series"), flags.Number("scrapes"), flags.Number("batch"),
                      flags.Number("threads")};
  if (config.db.empty() || config.series == 0 || config.scrapes == 0 || config.batch == 0 || config.threads == 0) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  return verb == "fill" ? Fill(config, flags.json()) : Open(config, verb == "ready", flags.json());
}

}  // namespace
}  // namespace chronolith::bench

int main(int argc, char** argv) { return chronolith::bench::Main(argc, argv); }
