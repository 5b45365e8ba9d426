// Whether a store that runs for long stays within its bounds: two threads append at a share of the peak rate that the first seconds
// find, series are replaced all the time, samples come late, a reader selects and looks labels up, a delete comes now and then;
// retention keeps what is stored at a fixed span, and a compaction comes each time the samples have advanced by four times that, so
// that how many series there are does not follow from how fast the machine is. Memory, log bytes, file descriptors and series are
// sampled; the program fails where one leaves its bound, or where its peak in the second half lies above that in the first.
//
// What is judged begins when the store has come to rest: retention has dropped windows (the samples span it and two windows more),
// two checkpoints and a compaction have passed. Peaks are compared, not slopes: windows are dropped, and checkpoints and
// compactions made, in steps.
//   build/release/bench/growth_bench --minutes 45
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "bench/support.h"

namespace chronolith::bench {
namespace {

constexpr const char* kUsage =
    "usage: growth_bench [--minutes 45] [--share 0.8] [--peak-seconds 10] [--series 50000] [--churn 0.0005] [--memory-mib 512] "
    "[--hours 3] [--dir DIR] [--json]\n"
    "--share: of the peak rate; --churn: share of the series that is replaced at each scrape; --memory-mib: "
    "Options::memory_limit;\n"
    "--hours: retention, in the time of the samples; the windows are a sixth of it.\n";

constexpr Timestamp kInterval = 15'000;
constexpr Timestamp kStart = 1'600'000'000'000;
constexpr std::int64_t kBehindMax = 40;  // scrapes
constexpr std::uint64_t kReset = 4096;   // scrapes after which counters begin anew: their chunks do not grow with time
constexpr std::size_t kWriters = 2;
constexpr std::size_t kBatch = 1000;
constexpr double kSampleSeconds = 2;
constexpr std::int64_t kCompactEvery = 4;  // times retention
constexpr std::size_t kJudgedMin = 40;     // samples

// ---- What is watched ----

struct Watched {
  double seconds = 0;
  double rss = 0, counted = 0;  // bytes; counted: by the store's budget
  double log_pinned = 0, log_disk = 0, data_disk = 0;
  double files = 0, series = 0;
  double checkpoints = 0;
  double allocated = 0, free = 0;  // bytes that the allocator has given out, and holds besides
  double heads = 0, resident = 0;  // of what is counted; series in memory
};

double RssBytes() {
  std::ifstream in("/proc/self/statm");
  double total = 0, resident = 0;
  in >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}
double OpenFiles() {
  std::error_code error;
  double n = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) ++n;
  return n;
}
double DirectoryBytes(const std::string& path) {
  std::error_code error;
  double bytes = 0;
  for (std::filesystem::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::error_code vanished;
    const auto size = it->file_size(vanished);
    if (!vanished) bytes += static_cast<double>(size);
  }
  return bytes;
}

Watched Look(const Storage& storage, const std::string& path, double seconds) {
  const StorageStats stats = storage.Stats();
  Watched w{.seconds = seconds, .rss = RssBytes(), .counted = static_cast<double>(stats.memory_used_bytes)};
  for (const ShardStats& s : stats.shards) {
    w.log_pinned += static_cast<double>(s.wal_bytes_pinned);
    w.series += static_cast<double>(s.series_total);
    w.heads += static_cast<double>(s.head_bytes);
    w.resident += static_cast<double>(s.series_resident);
  }
  w.log_disk = DirectoryBytes(path + "/log");
  w.data_disk = DirectoryBytes(path + "/data");
  w.files = OpenFiles();
  w.checkpoints = static_cast<double>(stats.checkpoints);
  const struct mallinfo2 heap = mallinfo2();
  w.allocated = static_cast<double>(heap.uordblks + heap.hblkhd);
  w.free = static_cast<double>(heap.fordblks);
  return w;
}

// ---- The load ----

class Load {
 public:
  Load(Storage* storage, std::uint64_t series, double churn, std::int64_t retention_ms)
      : storage_(storage), churn_(churn), compact_every_(kCompactEvery * retention_ms), next_series_(series) {
    for (std::size_t i = 0; i < kWriters; ++i) {
      writers_[i].random = FastRandom(i + 1);
      writers_[i].appender = storage->NewAppender();
      std::vector<Labels> labels;
      for (std::uint64_t n = i; n < series; n += kWriters) labels.push_back(ContainerLabels(n));
      Check(writers_[i].appender->Refs(labels, &writers_[i].refs).status);
    }
  }

  // Runs at `rate` samples a second (0: as fast as it goes) and calls `look` every few seconds.
  void Run(double seconds, double rate, const std::function<void(double)>& look) {
    std::atomic<bool> stop{false};
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [start] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
    std::vector<std::thread> threads;
    for (Writer& w : writers_) {
      threads.emplace_back([&, before = w.sent] {
        while (!stop.load(std::memory_order_relaxed)) {
          Scrape(&w);
          while (rate > 0 && !stop.load(std::memory_order_relaxed) &&
                 static_cast<double>(w.sent - before) > elapsed() * rate / kWriters) {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
          }
        }
      });
    }
    threads.emplace_back([&] { Read(stop); });
    for (double next = kSampleSeconds; next <= seconds; next += kSampleSeconds) {
      std::this_thread::sleep_until(
          start + std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(next)));
      look(elapsed());
    }
    stop = true;
    for (std::thread& t : threads) t.join();
    seconds_ = elapsed();
  }

  std::uint64_t samples() const { return writers_[0].accepted + writers_[1].accepted; }
  std::uint64_t series_made() const { return next_series_.load(); }
  double seconds() const { return seconds_; }
  // Milliseconds, in the time of the samples.
  std::int64_t span() const { return newest_.load() - kStart; }
  std::uint64_t refused() const { return refused_.load(); }  // batches
  int compactions() const { return compactions_.load(); }

 private:
  struct alignas(64) Writer {
    std::unique_ptr<Appender> appender;
    std::vector<SeriesRef> refs;
    FastRandom random{1};
    std::uint64_t scrape = 0;
    std::uint64_t sent = 0;  // samples
    std::uint64_t accepted = 0;
    double replace = 0;  // series, so far not replaced
  };

  // How much of it was; a refusal for want of room is counted.
  std::size_t Taken(const WriteResult& result) {
    if (result.status.code() == StatusCode::kResourceExhausted) {
      refused_.fetch_add(1);
    } else {
      Check(result.status);
    }
    return result.accepted;
  }

  void Scrape(Writer* w) {
    // Both scrape by one clock: who was held up for long does not make up for what it missed.
    w->scrape = std::max(w->scrape, static_cast<std::uint64_t>(std::max<std::int64_t>(span() / kInterval - kBehindMax, 0)));
    const Timestamp t = kStart + static_cast<Timestamp>(w->scrape) * kInterval;
    std::vector<Labels> labels;
    std::vector<std::size_t> places;
    w->replace += churn_ * static_cast<double>(w->refs.size());
    for (; w->replace >= 1; w->replace -= 1) {
      labels.push_back(ContainerLabels(next_series_.fetch_add(1)));
      places.push_back(w->random.Below(w->refs.size()));
    }
    std::vector<SeriesRef> refs;
    if (!labels.empty()) Taken(w->appender->Refs(labels, &refs));
    for (std::size_t i = 0; i < refs.size(); ++i) {
      if (refs[i].id != 0) w->refs[places[i]] = refs[i];
    }
    for (std::size_t at = 0; at < w->refs.size(); at += kBatch) {
      const std::size_t end = std::min(at + kBatch, w->refs.size());
      for (std::size_t i = at; i < end; ++i)
        w->appender->Append(w->refs[i], t, static_cast<double>(w->scrape % kReset * 1000 + i % 100));
      // One in a thousand comes up to two hours late.
      const Timestamp late = static_cast<Timestamp>(w->random.Below(2 * 3'600'000));
      w->appender->Append(w->refs[at + w->random.Below(end - at)], t - late, 1);
      w->accepted += Taken(w->appender->Commit());
      w->sent += end - at + 1;
    }
    ++w->scrape;
    newest_.store(std::max(t, newest_.load(std::memory_order_relaxed)), std::memory_order_relaxed);
  }

  // At most 50 rounds a second.
  void Read(const std::atomic<bool>& stop) {
    FastRandom random(7);
    Timestamp compact = newest_.load() + compact_every_;
    for (std::uint64_t n = 0; !stop.load(std::memory_order_relaxed); ++n) {
      const Labels of = ContainerLabels(next_series_.load() - 1 - random.Below(1250));
      const std::vector<Matcher> matchers = {Matcher::Equal("__name__", std::string(of.Get("__name__"))),
                                             Matcher::Equal("namespace", std::string(of.Get("namespace")))};
      const Timestamp newest = newest_.load(std::memory_order_relaxed);
      const auto set = Value(storage_->Select(matchers, {newest - 3'600'000, newest + 1}));
      while (set->Next()) {
        Timestamp t[512];
        double v[512];
        while (set->samples().NextFloats(t, v, std::size(t)) > 0) {
        }
      }
      Check(set->status());
      if (n % 10 == 0) Check(storage_->LabelValues("namespace", {matchers[0]}).status());
      if (n % 50 == 0) Check(storage_->Delete(matchers, {newest - 1'800'000, newest - 1'500'000}).status);
      if (newest >= compact) {
        compact = newest + compact_every_;
        Check(storage_->Compact().status());
        ++compactions_;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  Storage* const storage_;
  const double churn_;
  const std::int64_t compact_every_;  // in the time of the samples
  std::atomic<std::uint64_t> next_series_;
  std::atomic<Timestamp> newest_{kStart};
  std::atomic<int> compactions_{0};
  std::atomic<std::uint64_t> refused_{0};
  Writer writers_[kWriters];
  double seconds_ = 0;
};

// ---- The verdict ----

struct Verdict {
  const char* what;
  double value, bound;
};

double Max(const std::vector<Watched>& all, double Watched::*figure) {
  double max = 0;
  for (const Watched& w : all) max = std::max(max, w.*figure);
  return max;
}
// By how much the peak of the second half lies above that of the first.
double Growth(const std::vector<Watched>& all, double Watched::*figure) {
  const auto half = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  return Max({half, all.end()}, figure) - Max({all.begin(), half}, figure);
}
double GrowthPercent(const std::vector<Watched>& all, double Watched::*figure) {
  return Growth(all, figure) / Max(all, figure) * 100;
}

int Main(int argc, char** argv) {
  const Flags flags(argc, argv, kUsage,
                    {{"minutes", "45"},
                     {"share", "0.8"},
                     {"peak-seconds", "10"},
                     {"series", "50000"},
                     {"churn", "0.0005"},
                     {"memory-mib", "512"},
                     {"hours", "3"},
                     {"dir", ""}});
  const ScratchDirectory directory(flags.Text("dir"));
  const std::string path = directory.path() + "/db";
  Options options;
  options.memory_limit_bytes = flags.Number("memory-mib") << 20;
  options.retention_ms = static_cast<std::int64_t>(flags.Real("hours") * 3'600'000);
  options.window_ms = options.retention_ms / 6;
  const double baseline = RssBytes();
  const std::unique_ptr<Storage> storage = Value(Storage::Open(options, path));
  std::vector<Watched> all;  // since the store came to rest
  double warm_seconds = 0;
  double peak = 0;
  std::uint64_t samples = 0;
  double seconds = 0;
  std::uint64_t series_made = 0;
  std::uint64_t refused = 0;
  {
    Load load(storage.get(), flags.Number("series"), flags.Real("churn"), options.retention_ms);
    load.Run(flags.Real("peak-seconds"), 0, [](double) {});
    peak = static_cast<double>(load.samples()) / load.seconds();
    const std::uint64_t before = load.samples();
    std::size_t looks = 0;
    std::fprintf(stderr, "peak %.1f M samples/s\n", peak * 1e-6);
    load.Run(flags.Real("minutes") * 60, peak * flags.Real("share"), [&](double at) {
      const Watched w = Look(*storage, path, at);
      if (all.empty()) {
        const bool rests =
            load.span() >= options.retention_ms + 2 * options.window_ms && w.checkpoints >= 2 && load.compactions() >= 1;
        if (rests) {
          warm_seconds = at;
          std::fprintf(stderr, "%5.0f s: at rest, judged from here on\n", at);
        }
      }
      if (warm_seconds > 0) all.push_back(w);
      if (++looks % 15 != 0) return;
      std::fprintf(
          stderr,
          "%5.0f s: rss %.0f MiB (allocated %.0f, free %.0f), counted %.0f, heads %.0f, log %.0f pinned, %.0f on disk, data %.0f, "
          "files %.0f, series %.0f, in memory %.0f\n",
          at, w.rss / 0x1p20, w.allocated / 0x1p20, w.free / 0x1p20, w.counted / 0x1p20, w.heads / 0x1p20, w.log_pinned / 0x1p20,
          w.log_disk / 0x1p20, w.data_disk / 0x1p20, w.files, w.series, w.resident);
    });
    samples = load.samples() - before;
    seconds = load.seconds();
    series_made = load.series_made();
    refused = load.refused();
  }
  const StorageStats stats = storage->Stats();
  Check(storage->Close());
  if (all.size() < kJudgedMin) {
    std::fprintf(stderr, "too short to tell: %zu looks since the store came to rest, %zu are the least\n", all.size(), kJudgedMin);
    return 1;
  }
  // The interval of checkpoints: by bytes, but at most an eighth of the memory. The log holds what came since the last one's cut,
  // and while one runs; on disk also what RocksDB frees later, file by file.
  const double interval = static_cast<double>(std::min(options.checkpoint_bytes, options.memory_limit_bytes / 8));
  const double limit = static_cast<double>(options.memory_limit_bytes);
  for (Watched& w : all) w.allocated -= w.counted;
  const std::vector<Verdict> verdicts = {
      {"memory that the budget counts, MiB", Max(all, &Watched::counted) / 0x1p20, limit / 0x1p20},
      // Code of libraries, bookkeeping of RocksDB, what queries hold.
      {"memory allocated beyond what is counted, MiB", Max(all, &Watched::allocated) / 0x1p20, 64 + limit / 16 / 0x1p20},
      // Both of the above, and an eighth: the allocator keeps what was freed until a checkpoint finds more resident than the limit,
      // and fragments.
      {"resident memory above that before the store was opened, MiB", (Max(all, &Watched::rss) - baseline) / 0x1p20,
       64 + (1 + 1.0 / 16 + 1.0 / 8) * limit / 0x1p20},
      {"growth of resident memory, %", GrowthPercent(all, &Watched::rss), 3},
      {"batches refused for want of room", static_cast<double>(refused), 0},
      {"log bytes pinned, MiB", Max(all, &Watched::log_pinned) / 0x1p20, 3 * interval / 0x1p20},
      {"log bytes on disk, MiB", Max(all, &Watched::log_disk) / 0x1p20, 6 * interval / 0x1p20},
      {"growth of log bytes on disk, % of the interval of checkpoints", Growth(all, &Watched::log_disk) / interval * 100, 100},
      {"file descriptors", Max(all, &Watched::files), 1000},
      {"growth of file descriptors, %", GrowthPercent(all, &Watched::files), 15},
      {"growth of series, %", GrowthPercent(all, &Watched::series), 10},
      {"growth of bytes of data on disk, %", GrowthPercent(all, &Watched::data_disk), 10},
  };
  Table load_table("Load", {"minutes", "at rest after s", "peak M samples/s", "M samples/s", "M samples", "series made",
                            "series removed", "checkpoints"});
  double removed = 0;
  for (const ShardStats& s : stats.shards) removed += static_cast<double>(s.series_removed);
  load_table.Add({seconds / 60, warm_seconds, peak * 1e-6, static_cast<double>(samples) * 1e-6 / seconds,
                  static_cast<double>(samples) * 1e-6, static_cast<double>(series_made), removed,
                  static_cast<double>(stats.checkpoints)});
  Table table("Growth", {"what", "found", "bound", "kept"});
  bool kept = true;
  for (const Verdict& v : verdicts) {
    kept = kept && v.value <= v.bound;
    table.Add({std::string(v.what), v.value, v.bound, std::string(v.value <= v.bound ? "yes" : "NO")});
  }
  Print({load_table, table}, flags.json());
  return kept ? 0 : 1;
}

}  // namespace
}  // namespace chronolith::bench

int main(int argc, char** argv) { return chronolith::bench::Main(argc, argv); }
