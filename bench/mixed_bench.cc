// Reading beside writing: two threads append at full speed; in every other phase a third one selects and looks labels up, paced to
// a share of one core. Shows what reading adds to the CPU of an appended sample, and how long look-ups take meanwhile.
//   build/release/bench/mixed_bench
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

#include "bench/support.h"

namespace chronolith::bench {
namespace {

constexpr const char* kUsage =
    "usage: mixed_bench [--series 100000] [--preload 240] [--phases 8] [--seconds 4] [--writers 2] [--cores 0.3] [--dir DIR] "
    "[--json]\n"
    "--preload: scrapes that are there, and checkpointed, before; --phases: by turns without and with a reader, of --seconds "
    "each;\n"
    "--cores: the reader's share of one core.\n";

constexpr Timestamp kInterval = 15'000;
constexpr Timestamp kStart = 1'700'000'000'000;
constexpr Timestamp kLookBack = 3'600'000;  // a Select reads the last hour of about a 1250th of the series
constexpr std::size_t kBatch = 1000;

struct alignas(64) Writer {
  std::unique_ptr<Appender> appender;
  std::vector<SeriesRef> refs;
  std::uint64_t scrape = 0;
  std::uint64_t samples = 0;
  double cpu_seconds = 0;
};

// Kinds of reading.
enum Kind : std::size_t { kSelect, kIds, kLabelValues, kLabelNames, kSeries, kKinds };
constexpr std::array<const char*, kKinds> kNames = {"Select and decode one hour", "SeriesIds", "LabelValues with a matcher",
                                                    "LabelNames", "Series"};

struct Reader {
  std::array<std::vector<double>, kKinds> latencies;  // seconds
  std::uint64_t samples_read = 0;
  double cpu_seconds = 0;
};

struct Phase {
  std::uint64_t samples = 0;
  double seconds = 0;
  double cpu_seconds = 0;         // of everything but the reader
  double writer_cpu_seconds = 0;  // of the appending threads alone
  double reader_cpu_seconds = 0;
};

double Percentile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())))];
}

class Mixed {
 public:
  Mixed(Storage* storage, std::uint64_t series, std::size_t writers, double cores)
      : storage_(storage), cores_(cores), writers_(writers) {
    for (std::size_t i = 0; i < writers; ++i) {
      Writer& w = writers_[i];
      w.appender = storage->NewAppender();
      std::vector<Labels> labels;
      for (std::uint64_t n = i; n < series; n += writers) labels.push_back(ContainerLabels(n));
      Check(w.appender->Refs(labels, &w.refs).status);
    }
  }

  // Writes scrapes until `stop`, or `scrapes` of them.
  void Append(Writer* w, std::uint64_t scrapes, const std::atomic<bool>& stop);
  Phase Run(double seconds, bool with_reader);
  void Preload(std::uint64_t scrapes) {
    const std::atomic<bool> never{false};
    for (Writer& w : writers_) Append(&w, scrapes, never);
    Check(storage_->Checkpoint());
  }
  const Reader& reader() const { return reader_; }

 private:
  void Read(const std::atomic<bool>& stop);
  void ReadOnce(std::size_t kind, FastRandom* random);

  Storage* const storage_;
  const double cores_;
  std::vector<Writer> writers_;
  std::atomic<Timestamp> newest_{kStart};
  Reader reader_;
};

void Mixed::Append(Writer* w, std::uint64_t scrapes, const std::atomic<bool>& stop) {
  const double cpu = ThreadCpuSeconds();
  for (std::uint64_t done = 0; done < scrapes && !stop.load(std::memory_order_relaxed); ++done) {
    const Timestamp t = kStart + static_cast<Timestamp>(w->scrape) * kInterval;
    const double value = static_cast<double>(w->scrape) * 1000;
    for (std::size_t at = 0; at < w->refs.size(); at += kBatch) {
      const std::size_t end = std::min(at + kBatch, w->refs.size());
      for (std::size_t i = at; i < end; ++i) w->appender->Append(w->refs[i], t, value + static_cast<double>(i % 100));
      Check(w->appender->Commit().status);
    }
    w->samples += w->refs.size();
    ++w->scrape;
    newest_.store(t, std::memory_order_relaxed);
  }
  w->cpu_seconds += ThreadCpuSeconds() - cpu;
}

void Mixed::ReadOnce(std::size_t kind, FastRandom* random) {
  const Labels of = ContainerLabels(random->Below(1250));
  const std::vector<Matcher> matchers = {Matcher::Equal("__name__", std::string(of.Get("__name__"))),
                                         Matcher::Equal("namespace", std::string(of.Get("namespace")))};
  const Timestamp newest = newest_.load(std::memory_order_relaxed);
  switch (kind) {
    case kSelect: {
      const std::unique_ptr<SeriesSet> set = Value(storage_->Select(matchers, {newest - kLookBack, newest + 1}));
      std::array<Timestamp, 512> t;
      std::array<double, 512> v;
      while (set->Next()) {
        SampleIterator& samples = set->samples();
        while (const std::size_t n = samples.NextFloats(t.data(), v.data(), t.size())) reader_.samples_read += n;
      }
      Check(set->status());
      break;
    }
    case kIds:
      Check(storage_->SeriesIds(matchers).status());
      break;
    case kLabelValues:
      Check(storage_->LabelValues("namespace", {matchers[0]}).status());
      break;
    case kLabelNames:
      Check(storage_->LabelNames({}).status());
      break;
    case kSeries:
      Check(storage_->Series(matchers).status());
      break;
  }
}

// One kind after the other; sleeps whenever it is ahead of its share of a core.
void Mixed::Read(const std::atomic<bool>& stop) {
  FastRandom random(7);
  const double cpu = ThreadCpuSeconds();
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t n = 0; !stop.load(std::memory_order_relaxed); ++n) {
    const auto begun = std::chrono::steady_clock::now();
    ReadOnce(n % kKinds, &random);
    reader_.latencies[n % kKinds].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    const auto due = start + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::duration<double>((ThreadCpuSeconds() - cpu) / cores_));
    std::this_thread::sleep_until(due);
  }
  reader_.cpu_seconds += ThreadCpuSeconds() - cpu;
}

Phase Mixed::Run(double seconds, bool with_reader) {
  std::atomic<bool> stop{false};
  const double reader_cpu = reader_.cpu_seconds;
  Phase phase;
  for (const Writer& w : writers_) {
    phase.samples -= w.samples;
    phase.writer_cpu_seconds -= w.cpu_seconds;
  }
  Stopwatch watch;
  watch.Start();
  std::vector<std::thread> threads;
  for (Writer& w : writers_) threads.emplace_back([&] { Append(&w, ~0ULL, stop); });
  if (with_reader) threads.emplace_back([&] { Read(stop); });
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (std::thread& t : threads) t.join();
  phase.seconds = watch.ElapsedSeconds();
  Check(storage_->Checkpoint());  // each phase pays for its own samples' checkpoint
  watch.Stop();
  for (const Writer& w : writers_) {
    phase.samples += w.samples;
    phase.writer_cpu_seconds += w.cpu_seconds;
  }
  phase.reader_cpu_seconds = reader_.cpu_seconds - reader_cpu;
  phase.cpu_seconds = watch.cpu_seconds() - phase.reader_cpu_seconds;
  return phase;
}

Table AppendTable(const std::array<Phase, 2>& sums) {
  Table table("Appending without and with a reader", {"reader", "M samples/s", "ns CPU a sample", "ns CPU of the appending threads",
                                                      "reader's cores", "rise of CPU a sample %", "rise, appending threads %"});
  const auto nanos = [](double cpu, const Phase& p) { return cpu * 1e9 / static_cast<double>(p.samples); };
  const auto rise = [&](double Phase::*cpu) { return (nanos(sums[1].*cpu, sums[1]) / nanos(sums[0].*cpu, sums[0]) - 1) * 100; };
  for (std::size_t i = 0; i < 2; ++i) {
    const Phase& p = sums[i];
    table.Add({std::string(i == 0 ? "without" : "with"), static_cast<double>(p.samples) * 1e-6 / p.seconds, nanos(p.cpu_seconds, p),
               nanos(p.writer_cpu_seconds, p), p.reader_cpu_seconds / p.seconds, i == 0 ? 0.0 : rise(&Phase::cpu_seconds),
               i == 0 ? 0.0 : rise(&Phase::writer_cpu_seconds)});
  }
  return table;
}

Table ReadTable(const Reader& reader) {
  Table table("Look-ups beside the writers", {"call", "times", "p50 ms", "p99 ms", "max ms"});
  std::vector<double> lookups;
  const auto add = [&table](const char* name, const std::vector<double>& values) {
    table.Add({std::string(name), static_cast<double>(values.size()), Percentile(values, 0.5) * 1e3, Percentile(values, 0.99) * 1e3,
               Percentile(values, 1) * 1e3});
  };
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    add(kNames[kind], reader.latencies[kind]);
    if (kind != kSelect) lookups.insert(lookups.end(), reader.latencies[kind].begin(), reader.latencies[kind].end());
  }
  add("all look-ups", lookups);
  return table;
}

int Main(int argc, char** argv) {
  const Flags flags(argc, argv, kUsage,
                    {{"series", "100000"},
                     {"preload", "240"},
                     {"phases", "8"},
                     {"seconds", "4"},
                     {"writers", "2"},
                     {"cores", "0.3"},
                     {"dir", ""}});
  const ScratchDirectory directory(flags.Text("dir"));
  const std::unique_ptr<Storage> storage = Value(Storage::Open({}, directory.path() + "/db"));
  std::array<Phase, 2> sums;  // without, with a reader
  Reader reader;
  {
    Mixed mixed(storage.get(), flags.Number("series"), flags.Number("writers"), flags.Real("cores"));
    mixed.Preload(flags.Number("preload"));
    for (std::uint64_t i = 0; i < flags.Number("phases"); ++i) {
      const Phase p = mixed.Run(flags.Real("seconds"), i % 2 == 1);
      Phase& sum = sums[i % 2];
      sum.samples += p.samples;
      sum.seconds += p.seconds;
      sum.cpu_seconds += p.cpu_seconds;
      sum.writer_cpu_seconds += p.writer_cpu_seconds;
      sum.reader_cpu_seconds += p.reader_cpu_seconds;
    }
    reader = mixed.reader();
  }
  Check(storage->Close());
  Print({AppendTable(sums), ReadTable(reader)}, flags.json());
  return 0;
}

}  // namespace
}  // namespace chronolith::bench

int main(int argc, char** argv) { return chronolith::bench::Main(argc, argv); }
