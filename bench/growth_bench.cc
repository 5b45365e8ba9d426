// Whether a store that runs for long stays within its bounds: two threads append at a share of the peak rate that the first seconds
// find, series are replaced all the time, samples come late, a reader selects and looks labels up, a delete comes now and then;
// retention keeps what is stored at a fixed span. Memory, log bytes, file descriptors and series are sampled; the program fails
// where one leaves its bound or still grows in the second half.
//   build/release/bench/growth_bench --minutes 45
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
    "[--hours 6] [--dir DIR] [--json]\n"
    "--share: of the peak rate; --churn: share of the series that is replaced at each scrape; --memory-mib: "
    "Options::memory_limit;\n"
    "--hours: retention, in the time of the samples.\n";

constexpr Timestamp kInterval = 15'000;
constexpr Timestamp kStart = 1'600'000'000'000;
constexpr std::size_t kWriters = 2;
constexpr std::size_t kBatch = 1000;
constexpr double kSampleSeconds = 2;

// ---- What is watched ----

struct Watched {
  double seconds = 0;
  double rss = 0, counted = 0;  // bytes; counted: by the store's budget
  double log_pinned = 0, log_disk = 0, data_disk = 0;
  double files = 0, series = 0;
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
  }
  w.log_disk = DirectoryBytes(path + "/log");
  w.data_disk = DirectoryBytes(path + "/data");
  w.files = OpenFiles();
  return w;
}

// ---- The load ----

class Load {
 public:
  Load(Storage* storage, std::uint64_t series, double churn) : storage_(storage), churn_(churn), next_series_(series) {
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
      threads.emplace_back([&, before = w.samples] {
        while (!stop.load(std::memory_order_relaxed)) {
          Scrape(&w);
          while (rate > 0 && !stop.load(std::memory_order_relaxed) &&
                 static_cast<double>(w.samples - before) > elapsed() * rate / kWriters) {
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

  std::uint64_t samples() const { return writers_[0].samples + writers_[1].samples; }
  std::uint64_t series_made() const { return next_series_.load(); }
  double seconds() const { return seconds_; }

 private:
  struct alignas(64) Writer {
    std::unique_ptr<Appender> appender;
    std::vector<SeriesRef> refs;
    FastRandom random{1};
    std::uint64_t scrape = 0;
    std::uint64_t samples = 0;
    double replace = 0;  // series, so far not replaced
  };

  void Scrape(Writer* w) {
    const Timestamp t = kStart + static_cast<Timestamp>(w->scrape) * kInterval;
    std::vector<Labels> labels;
    std::vector<std::size_t> places;
    w->replace += churn_ * static_cast<double>(w->refs.size());
    for (; w->replace >= 1; w->replace -= 1) {
      labels.push_back(ContainerLabels(next_series_.fetch_add(1)));
      places.push_back(w->random.Below(w->refs.size()));
    }
    std::vector<SeriesRef> refs;
    Check(w->appender->Refs(labels, &refs).status);
    for (std::size_t i = 0; i < refs.size(); ++i) w->refs[places[i]] = refs[i];
    for (std::size_t at = 0; at < w->refs.size(); at += kBatch) {
      const std::size_t end = std::min(at + kBatch, w->refs.size());
      for (std::size_t i = at; i < end; ++i) w->appender->Append(w->refs[i], t, static_cast<double>(w->scrape * 1000 + i % 100));
      // One in a thousand comes up to two hours late.
      const Timestamp late = static_cast<Timestamp>(w->random.Below(2 * 3'600'000));
      w->appender->Append(w->refs[at + w->random.Below(end - at)], t - late, 1);
      Check(w->appender->Commit().status);
      w->samples += end - at + 1;
    }
    ++w->scrape;
    newest_.store(t, std::memory_order_relaxed);
  }

  // About 50 rounds a second.
  void Read(const std::atomic<bool>& stop) {
    FastRandom random(7);
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
      if (n % 3000 == 2999) Check(storage_->Compact().status());  // about each minute
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  Storage* const storage_;
  const double churn_;
  std::atomic<std::uint64_t> next_series_;
  std::atomic<Timestamp> newest_{kStart};
  Writer writers_[kWriters];
  double seconds_ = 0;
};

// ---- The verdict ----

struct Verdict {
  const char* what;
  double value, bound;
};

// By how much the figure rises over the second half, by least squares.
double Rise(const std::vector<Watched>& all, double Watched::*figure) {
  const std::size_t half = all.size() / 2;
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (std::size_t i = half; i < all.size(); ++i) {
    const double at = all[i].seconds;
    n += 1, x += at, y += all[i].*figure, xx += at * at, xy += at * (all[i].*figure);
  }
  const double spread = n * xx - x * x;
  return spread <= 0 ? 0 : (n * xy - x * y) / spread * (all.back().seconds - all[half].seconds);
}
double Max(const std::vector<Watched>& all, double Watched::*figure) {
  double max = 0;
  for (const Watched& w : all) max = std::max(max, w.*figure);
  return max;
}
double Mean(const std::vector<Watched>& all, double Watched::*figure) {
  double sum = 0;
  for (std::size_t i = all.size() / 2; i < all.size(); ++i) sum += all[i].*figure;
  return sum / static_cast<double>(all.size() - all.size() / 2);
}

int Main(int argc, char** argv) {
  const Flags flags(argc, argv, kUsage,
                    {{"minutes", "45"},
                     {"share", "0.8"},
                     {"peak-seconds", "10"},
                     {"series", "50000"},
                     {"churn", "0.0005"},
                     {"memory-mib", "512"},
                     {"hours", "6"},
                     {"dir", ""}});
  const ScratchDirectory directory(flags.Text("dir"));
  const std::string path = directory.path() + "/db";
  Options options;
  options.memory_limit_bytes = flags.Number("memory-mib") << 20;
  options.retention_ms = static_cast<std::int64_t>(flags.Real("hours") * 3'600'000);
  const double baseline = RssBytes();
  const std::unique_ptr<Storage> storage = Value(Storage::Open(options, path));
  std::vector<Watched> all;
  double peak = 0;
  std::uint64_t samples = 0;
  double seconds = 0;
  std::uint64_t series_made = 0;
  {
    Load load(storage.get(), flags.Number("series"), flags.Real("churn"));
    load.Run(flags.Real("peak-seconds"), 0, [](double) {});
    peak = static_cast<double>(load.samples()) / load.seconds();
    const std::uint64_t before = load.samples();
    std::fprintf(stderr, "peak %.1f M samples/s\n", peak * 1e-6);
    load.Run(flags.Real("minutes") * 60, peak * flags.Real("share"), [&](double at) {
      all.push_back(Look(*storage, path, at));
      const Watched& w = all.back();
      if (all.size() % 15 == 0) {
        std::fprintf(
            stderr,
            "%5.0f s: rss %.0f MiB, counted %.0f MiB, log %.0f MiB pinned, %.0f on disk, data %.0f, files %.0f, series %.0f\n", at,
            w.rss / 0x1p20, w.counted / 0x1p20, w.log_pinned / 0x1p20, w.log_disk / 0x1p20, w.data_disk / 0x1p20, w.files,
            w.series);
      }
    });
    samples = load.samples() - before;
    seconds = load.seconds();
    series_made = load.series_made();
  }
  const StorageStats stats = storage->Stats();
  Check(storage->Close());
  if (all.size() < 10) {
    std::fprintf(stderr, "too short to tell\n");
    return 1;
  }
  // The interval of checkpoints: by bytes, but at most an eighth of the memory.
  const double interval = static_cast<double>(std::min(options.checkpoint_bytes, options.memory_limit_bytes / 8));
  const double limit = static_cast<double>(options.memory_limit_bytes);
  const std::vector<Verdict> verdicts = {
      {"resident memory above that before the store was opened, MiB", (Max(all, &Watched::rss) - baseline) / 0x1p20,
       limit / 0x1p20},
      {"memory that the budget counts, MiB", Max(all, &Watched::counted) / 0x1p20, limit / 0x1p20},
      {"rise of resident memory over the second half, % of its mean", Rise(all, &Watched::rss) / Mean(all, &Watched::rss) * 100, 5},
      {"log bytes pinned, MiB", Max(all, &Watched::log_pinned) / 0x1p20, 3 * interval / 0x1p20},
      {"log bytes on disk, MiB", Max(all, &Watched::log_disk) / 0x1p20, 6 * interval / 0x1p20},
      {"rise of log bytes on disk over the second half, % of the interval of checkpoints",
       Rise(all, &Watched::log_disk) / interval * 100, 25},
      {"file descriptors", Max(all, &Watched::files), 1000},
      {"rise of file descriptors over the second half, % of the mean",
       Rise(all, &Watched::files) / Mean(all, &Watched::files) * 100, 10},
      {"rise of series over the second half, % of the mean", Rise(all, &Watched::series) / Mean(all, &Watched::series) * 100, 10},
      {"rise of bytes of data on disk over the second half, % of the mean",
       Rise(all, &Watched::data_disk) / Mean(all, &Watched::data_disk) * 100, 10},
  };
  Table load_table("Load",
                   {"minutes", "peak M samples/s", "M samples/s", "M samples", "series made", "series removed", "checkpoints"});
  double removed = 0;
  for (const ShardStats& s : stats.shards) removed += static_cast<double>(s.series_removed);
  load_table.Add({seconds / 60, peak * 1e-6, static_cast<double>(samples) * 1e-6 / seconds, static_cast<double>(samples) * 1e-6,
                  static_cast<double>(series_made), removed, static_cast<double>(stats.checkpoints)});
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
