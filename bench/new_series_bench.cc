// What a new series costs: CPU of the whole process around Refs, Commit and Checkpoint, a series; label sets are made before.
//   build/release/bench/new_series_bench --series 1000000
// The store has default options: checkpoints that start by themselves meanwhile are counted as well.
#include <cstdio>
#include <vector>

#include "bench/support.h"

namespace chronolith::bench {
namespace {

constexpr const char* kUsage =
    "usage: new_series_bench [--series 1000000] [--batch 1000] [--samples 0] [--dir DIR] [--json]\n"
    "--samples N also writes N samples to each new series, in the commit that creates it.\n";

int Main(int argc, char** argv) {
  const Flags flags(argc, argv, kUsage, {{"series", "1000000"}, {"batch", "1000"}, {"samples", "0"}, {"dir", ""}});
  const std::uint64_t series = flags.Number("series");
  const std::uint64_t batch = flags.Number("batch");
  const std::uint64_t samples = flags.Number("samples");
  std::vector<Labels> labels;
  labels.reserve(series);
  for (std::uint64_t i = 0; i < series; ++i) labels.push_back(ContainerLabels(i));

  const ScratchDirectory directory(flags.Text("dir"));
  const std::unique_ptr<Storage> storage = Value(Storage::Open({}, directory.path() + "/db"));
  Stopwatch create;
  Stopwatch checkpoint;
  {
    const std::unique_ptr<Appender> appender = storage->NewAppender();
    std::vector<SeriesRef> refs;
    create.Start();
    for (std::uint64_t first = 0; first < series; first += batch) {
      const std::span<const Labels> some = std::span(labels).subspan(first, std::min(batch, series - first));
      Check(appender->Refs(some, &refs).status);
      for (std::uint64_t s = 0; s < samples; ++s) {
        for (const SeriesRef ref : refs) appender->Append(ref, static_cast<Timestamp>(15'000 * (s + 1)), static_cast<double>(s));
      }
      Check(appender->Commit().status);
    }
    create.Stop();
  }
  const std::uint64_t checkpoints = storage->Stats().checkpoints;
  checkpoint.Start();
  Check(storage->Checkpoint());
  checkpoint.Stop();
  std::uint64_t created = 0;
  for (const ShardStats& s : storage->Stats().shards) created += s.series_total;
  if (created != series) Check(DataLoss("made " + std::to_string(created) + " series, not " + std::to_string(series)));
  Check(storage->Close());

  const auto n = static_cast<double>(series);
  Table table("new series", {"series", "samples each", "us CPU a series", "us CPU to create", "us CPU to checkpoint",
                             "us wall a series", "checkpoints while creating"});
  table.Add({n, static_cast<double>(samples), (create.cpu_seconds() + checkpoint.cpu_seconds()) * 1e6 / n,
             create.cpu_seconds() * 1e6 / n, checkpoint.cpu_seconds() * 1e6 / n,
             (create.seconds() + checkpoint.seconds()) * 1e6 / n, static_cast<double>(checkpoints)});
  Print({table}, flags.json());
  return 0;
}

}  // namespace
}  // namespace chronolith::bench

int main(int argc, char** argv) { return chronolith::bench::Main(argc, argv); }
