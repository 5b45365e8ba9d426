// chronolith bench read, and the group that holds all benchmarks.
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/cli/bench_common.h"
#include "tools/cli/common.h"
#include "tools/cli/store.h"

namespace chronolith::cli {

namespace {

struct ReadFlags {
  StoreFlags store;
  std::string selector = "{}";
  TimeFlags time;
  int repeat = 1;
  bool chunks = false;
  bool json = false;
};

struct ReadTotals {
  std::uint64_t series = 0;
  std::uint64_t samples = 0;
  std::uint64_t histograms = 0;
  std::uint64_t chunks = 0;
  std::uint64_t chunk_bytes = 0;
  std::uint64_t checksum = 0;  // of all timestamps and values: nothing can be left undecoded
};

Status ReadSamples(SampleIterator& samples, ReadTotals* totals) {
  constexpr std::size_t kCapacity = 1024;
  Timestamp timestamps[kCapacity];
  double values[kCapacity];
  while (true) {
    const std::size_t n = samples.NextFloats(timestamps, values, kCapacity);
    std::uint64_t checksum = 0;
    for (std::size_t i = 0; i < n; ++i)
      checksum += static_cast<std::uint64_t>(timestamps[i]) ^ std::bit_cast<std::uint64_t>(values[i]);
    totals->checksum += checksum;
    totals->samples += n;
    if (n > 0) continue;
    const ValueType type = samples.Next();
    if (type == ValueType::kNone) return samples.status();
    ++totals->samples;
    totals->histograms += type == ValueType::kFloat ? 0 : 1;
  }
}

Status ReadChunks(ChunkIterator& chunks, ReadTotals* totals) {
  while (chunks.Next()) {
    ++totals->chunks;
    totals->samples += chunks.chunk().samples;
    totals->chunk_bytes += chunks.chunk().data.size();
    totals->checksum += static_cast<unsigned char>(chunks.chunk().data.back());
  }
  return chunks.status();
}

Result<ReadTotals> ReadAll(const ReadFlags& flags, Storage* storage, const std::vector<Matcher>& matchers, TimeRange range) {
  auto set = storage->Select(matchers, range);
  if (!set.ok()) return set.status();
  ReadTotals totals;
  while ((*set)->Next()) {
    ++totals.series;
    const Status s = flags.chunks ? ReadChunks((*set)->chunks(), &totals) : ReadSamples((*set)->samples(), &totals);
    if (!s.ok()) return s;
  }
  if (Status s = (*set)->status(); !s.ok()) return s;
  return totals;
}

int BenchRead(const ReadFlags& flags) {
  const auto selection = ParseSelection({{flags.selector}, flags.time});
  if (!selection.ok()) return FailUsage(selection.status());
  Stopwatch open;
  open.Start();
  const auto store = OpenForReading(flags.store);
  open.Stop();
  if (!store.ok()) return Fail(store.status());
  ReadTotals totals;
  double best = 0;
  double sum = 0;
  double cpu = 0;
  for (int i = 0; i < flags.repeat; ++i) {
    Stopwatch watch;
    watch.Start();
    const auto read = ReadAll(flags, store->storage.get(), selection->selectors.front(), selection->range);
    watch.Stop();
    if (!read.ok()) return FailReading(read.status());
    totals = *read;
    best = i == 0 ? watch.seconds() : std::min(best, watch.seconds());
    sum += watch.seconds();
    cpu += watch.cpu_seconds();
  }
  Report report;
  const auto n = static_cast<double>(totals.samples);
  report.Add("samples_per_second", n / best);
  report.Add("samples_per_second_mean", n * flags.repeat / sum);
  report.Add("seconds", best);
  report.Add("cpu_seconds_mean", cpu / flags.repeat);
  report.Add("samples", totals.samples);
  report.Add("histograms", totals.histograms);
  report.Add("series", totals.series);
  if (flags.chunks) {
    report.Add("chunks", totals.chunks);
    report.Add("chunk_bytes", totals.chunk_bytes);
    report.Add("chunk_bytes_per_sample", totals.samples == 0 ? 0.0 : static_cast<double>(totals.chunk_bytes) / n);
  }
  report.Add("repeat", static_cast<std::uint64_t>(flags.repeat));
  report.Add("checksum", totals.checksum);
  report.Add("open_seconds", open.seconds());
  report.Add("peak_rss_bytes", PeakRssBytes());
  return report.Print(flags.json);
}

}  // namespace

void AddBenchRead(CLI::App* bench, Run* run) {
  auto flags = std::make_shared<ReadFlags>();
  CLI::App* command = bench->add_subcommand("read", "Read and decode every sample of a database, on one thread");
  AddStoreFlags(command, &flags->store);
  command->add_option("--selector", flags->selector, "only these series ({})")->option_text("SELECTOR");
  AddTimeRange(command, &flags->time);
  command->add_option("--repeat", flags->repeat, "times; the best one is reported (1)")
      ->check(CLI::Range(1, 1000))
      ->option_text("N");
  command->add_flag("--chunks", flags->chunks, "read encoded chunks instead of samples");
  command->add_flag("--json", flags->json, "one JSON object instead of a table");
  command->footer("Example:\n  chronolith bench read --db /tmp/bench --repeat 3 --json");
  command->callback([flags, run] { *run = [flags] { return BenchRead(*flags); }; });
}

void AddBench(CLI::App* app, Run* run) {
  CLI::App* bench = app->add_subcommand("bench", "Measure writing, reading, the index and the log");
  bench->require_subcommand(1);
  bench->footer(
      "Examples:\n"
      "  chronolith bench write --db /tmp/bench --series 10000\n"
      "  chronolith bench read --db /tmp/bench");
  AddBenchWrite(bench, run);
  AddBenchRead(bench, run);
  AddBenchIndex(bench, run);
  AddBenchWal(bench, run);
}

}  // namespace chronolith::cli
