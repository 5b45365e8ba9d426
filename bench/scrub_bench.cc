// A scrub: how fast a pass reads that nothing holds back, and what a paced one adds to the CPU of a sample appended beside it.
//   build/release/bench/scrub_bench
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "bench/support.h"

namespace chronolith::bench {
namespace {

constexpr const char* kUsage =
    "usage: scrub_bench [--series 100000] [--preload 480] [--phases 8] [--seconds 4] [--rate 8388608] [--dir DIR] [--json]\n"
    "--preload: scrapes that are there, and checkpointed, before; --phases: of appending, by turns without and with a scrub of "
    "--rate\n"
    "bytes a second, of --seconds each.\n";

constexpr Timestamp kInterval = 15'000;
constexpr Timestamp kStart = 1'700'000'000'000;
constexpr std::size_t kBatch = 1000;

struct Phase {
  std::uint64_t samples = 0;
  double seconds = 0;
  double cpu_seconds = 0;  // of the appending thread
  double scrub_cpu_seconds = 0;
  std::uint64_t scrubbed_bytes = 0;
};

class Writer {
 public:
  Writer(Storage* storage, std::uint64_t series) : appender_(storage->NewAppender()) {
    std::vector<Labels> labels;
    for (std::uint64_t n = 0; n < series; ++n) labels.push_back(ContainerLabels(n));
    Check(appender_->Refs(labels, &refs_).status);
  }
  // One scrape of all series; values that do not compress well.
  void Scrape() {
    const Timestamp t = kStart + static_cast<Timestamp>(scrape_++) * kInterval;
    for (std::size_t at = 0; at < refs_.size(); at += kBatch) {
      for (std::size_t i = at; i < std::min(at + kBatch, refs_.size()); ++i)
        appender_->Append(refs_[i], t, static_cast<double>(random_.Below(1'000'000)));
      Check(appender_->Commit().status);
    }
  }
  std::size_t series() const { return refs_.size(); }

 private:
  const std::unique_ptr<Appender> appender_;
  std::vector<SeriesRef> refs_;
  std::uint64_t scrape_ = 0;
  FastRandom random_{1};
};

Phase Run(Storage* storage, Writer* writer, double seconds, std::uint64_t rate) {
  Phase phase;
  std::atomic<bool> stop{false};
  std::thread scrub;
  if (rate > 0) {
    scrub = std::thread([&] {
      const double cpu = ThreadCpuSeconds();
      while (!stop) phase.scrubbed_bytes += Value(storage->Scrub({.bytes_per_second = rate, .cancelled = &stop})).bytes;
      phase.scrub_cpu_seconds = ThreadCpuSeconds() - cpu;
    });
  }
  const double cpu = ThreadCpuSeconds();
  Stopwatch watch;
  watch.Start();
  while (watch.ElapsedSeconds() < seconds) {
    writer->Scrape();
    phase.samples += writer->series();
  }
  phase.seconds = watch.ElapsedSeconds();
  phase.cpu_seconds = ThreadCpuSeconds() - cpu;
  stop = true;
  if (scrub.joinable()) scrub.join();
  return phase;
}

int Main(int argc, char** argv) {
  const Flags flags(
      argc, argv, kUsage,
      {{"series", "100000"}, {"preload", "480"}, {"phases", "8"}, {"seconds", "4"}, {"rate", "8388608"}, {"dir", ""}});
  const ScratchDirectory directory(flags.Text("dir"));
  const std::unique_ptr<Storage> storage = Value(Storage::Open({}, directory.path() + "/db"));
  Table whole("A pass that nothing holds back", {"MB", "rows", "problems", "s", "s of CPU", "MB/s", "MB/s of CPU"});
  Table beside("Appending without and with a paced scrub",
               {"scrub", "M samples/s", "ns CPU a sample, of the appending thread", "scrubbed MB/s", "scrub's cores"});
  {
    Writer writer(storage.get(), flags.Number("series"));
    for (std::uint64_t i = 0; i < flags.Number("preload"); ++i) writer.Scrape();
    Check(storage->Checkpoint());
    for (int i = 0; i < 3; ++i) {
      const double cpu = ThreadCpuSeconds();
      Stopwatch watch;
      watch.Start();
      const ScrubReport report = Value(storage->Scrub());
      const double seconds = watch.ElapsedSeconds();
      const double cpu_seconds = ThreadCpuSeconds() - cpu;
      const double mb = static_cast<double>(report.bytes) * 1e-6;
      whole.Add({mb, static_cast<double>(report.rows), static_cast<double>(report.problems_total), seconds, cpu_seconds,
                 mb / seconds, mb / cpu_seconds});
    }
    std::array<Phase, 2> sums;
    for (std::uint64_t i = 0; i < flags.Number("phases"); ++i) {
      const Phase p = Run(storage.get(), &writer, flags.Real("seconds"), i % 2 == 0 ? 0 : flags.Number("rate"));
      Phase& sum = sums[i % 2];
      sum.samples += p.samples;
      sum.seconds += p.seconds;
      sum.cpu_seconds += p.cpu_seconds;
      sum.scrub_cpu_seconds += p.scrub_cpu_seconds;
      sum.scrubbed_bytes += p.scrubbed_bytes;
    }
    for (std::size_t i = 0; i < 2; ++i) {
      const Phase& p = sums[i];
      beside.Add({std::string(i == 0 ? "without" : "with"), static_cast<double>(p.samples) * 1e-6 / p.seconds,
                  p.cpu_seconds * 1e9 / static_cast<double>(p.samples), static_cast<double>(p.scrubbed_bytes) * 1e-6 / p.seconds,
                  p.scrub_cpu_seconds / p.seconds});
    }
  }
  Check(storage->Close());
  Print({whole, beside}, flags.json());
  return 0;
}

}  // namespace
}  // namespace chronolith::bench

int main(int argc, char** argv) { return chronolith::bench::Main(argc, argv); }
