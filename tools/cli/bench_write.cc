// chronolith bench write: the workload of `promtool tsdb bench write`.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tools/cli/bench_common.h"
#include "tools/cli/common.h"
#include "tools/cli/progress.h"
#include "tools/cli/store.h"

namespace chronolith::cli {

namespace {

enum class Values : std::uint8_t { kCounter, kWalk };

struct WriteFlags {
  StoreFlags store;
  std::string series_file;
  std::uint64_t series = 0;
  std::uint64_t scrapes = 0;
  double duration = 0;
  int threads = 2;
  std::uint64_t batch = 1000;
  std::uint64_t block_scrapes = 100;
  std::uint64_t outstanding = 8;
  std::int64_t interval_ms = 30'000;
  AckLevel level = AckLevel::kLogged;
  Values values = Values::kCounter;
  ProgressMode progress = ProgressMode::kAuto;
  bool json = false;
};

// What promtool counts from, and by.
constexpr double kCounterStart = 123456789;
constexpr double kCounterStep = 1000;

constexpr std::size_t kCreateBatch = 4096;  // label sets a thread holds at a time

// One thread's share of the series. Of a series only its reference is kept (and the walk's last value): memory is measured.
struct alignas(64) Share {
  std::unique_ptr<Appender> appender;
  std::vector<Labels> labels;  // while creating
  std::vector<SeriesRef> refs;
  std::vector<double> walk;
  Status status;
  // Commits on their way, as a ring: the oldest is waited for before the next is begun.
  struct InFlight {
    CommitToken token;
    std::uint64_t samples = 0;
  };
  std::vector<InFlight> in_flight;
  std::size_t next = 0;
  std::atomic<std::uint64_t> acknowledged{0};
};

class WriteBench {
 public:
  WriteBench(const WriteFlags& flags, Storage* storage)
      : flags_(flags), storage_(storage), shares_(static_cast<std::size_t>(flags.threads)) {
    for (Share& share : shares_) {
      share.appender = storage->NewAppender();
      share.in_flight.resize(flags.outstanding);
    }
  }

  // Reads label sets with the clock stopped, creates series with the clock running, in turn, so that memory stays small.
  Status Create();
  Status Append();

  std::uint64_t samples() const {
    std::uint64_t n = 0;
    for (const Share& share : shares_) n += share.acknowledged.load(std::memory_order_relaxed);
    return n;
  }
  std::uint64_t series() const { return series_; }
  const Stopwatch& all() const { return all_; }        // creating and appending
  const Stopwatch& create() const { return create_; }  // creating alone

 private:
  template <typename Work>
  Status OnThreads(Work work);
  void CreateShare(Share* share);
  void AppendShare(Share* share, std::size_t index);
  bool Reach(Share* share, Share::InFlight* commit);
  bool AppendBatch(Share* share, FastRandom* random, std::size_t first, std::size_t last, std::uint64_t scrape);

  const WriteFlags& flags_;
  Storage* storage_;
  std::vector<Share> shares_;
  std::uint64_t series_ = 0;
  Stopwatch all_;
  Stopwatch create_;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
};

template <typename Work>
Status WriteBench::OnThreads(Work work) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < shares_.size(); ++i) threads.emplace_back([&, i] { work(&shares_[i], i); });
  for (std::thread& thread : threads) thread.join();
  for (const Share& share : shares_) {
    if (!share.status.ok()) return share.status;
  }
  return Status::Ok();
}

void WriteBench::CreateShare(Share* share) {
  if (share->labels.empty()) return;
  std::vector<SeriesRef> refs;
  const WriteResult result = share->appender->Refs(share->labels, &refs);
  if (!result.ok()) share->status = result.status.WithContext("creating series");
  share->refs.insert(share->refs.end(), refs.begin(), refs.end());
}

Status WriteBench::Create() {
  auto file = flags_.series_file.empty() ? Result<std::unique_ptr<SeriesFile>>(std::unique_ptr<SeriesFile>())
                                         : SeriesFile::Open(flags_.series_file);
  if (!file.ok()) return file.status();
  for (Share& share : shares_) share.refs.reserve(flags_.series / shares_.size() + kCreateBatch);
  const std::uint64_t want = flags_.series == 0 ? ~0ULL : flags_.series;
  bool more = true;
  while (more && series_ < want) {
    for (Share& share : shares_) {
      const std::size_t n = std::min<std::uint64_t>(kCreateBatch, want - series_);
      if (*file != nullptr) {
        if (Status s = (*file)->Next(n, &share.labels); !s.ok()) return s;
      } else {
        share.labels.clear();
        for (std::size_t i = 0; i < n; ++i) share.labels.push_back(SyntheticLabels(series_ + i));
      }
      more = share.labels.size() == n;
      series_ += share.labels.size();
    }
    all_.Start();
    create_.Start();
    const Status status = OnThreads([this](Share* share, std::size_t) { CreateShare(share); });
    create_.Stop();
    all_.Stop();
    if (!status.ok()) return status;
  }
  for (Share& share : shares_) {
    share.labels = {};
    share.refs.shrink_to_fit();
    if (flags_.values == Values::kWalk) share.walk.assign(share.refs.size(), 0.0);
  }
  if (series_ == 0) return InvalidArgument(flags_.series_file + " holds no label set");
  if (flags_.series > series_) {
    return InvalidArgument(flags_.series_file + " holds " + std::to_string(series_) + " label sets, fewer than --series " +
                           std::to_string(flags_.series));
  }
  return Status::Ok();
}

bool WriteBench::AppendBatch(Share* share, FastRandom* random, std::size_t first, std::size_t last, std::uint64_t scrape) {
  Appender& appender = *share->appender;
  const Timestamp t = static_cast<Timestamp>(scrape + 1) * flags_.interval_ms;
  if (flags_.values == Values::kCounter) {
    const double value = kCounterStart + kCounterStep * static_cast<double>(scrape + 1);
    for (std::size_t i = first; i < last; ++i) appender.Append(share->refs[i], t, value);
  } else {
    for (std::size_t i = first; i < last; ++i) {
      share->walk[i] += random->Uniform() - 0.5;
      appender.Append(share->refs[i], t, share->walk[i]);
    }
  }
  const WriteResult result = appender.Commit({.level = AckLevel::kQueued});
  if (!result.ok()) {
    share->status = result.status;
    return false;
  }
  Share::InFlight& oldest = share->in_flight[share->next];
  if (!Reach(share, &oldest)) return false;
  oldest = {result.token, result.accepted};
  share->next = (share->next + 1) % share->in_flight.size();
  return true;
}

// Waits until the commit has its level; at level queued it has.
bool WriteBench::Reach(Share* share, Share::InFlight* commit) {
  if (commit->samples == 0) return true;
  if (flags_.level != AckLevel::kQueued) share->status = storage_->Wait(commit->token, flags_.level);
  if (share->status.ok()) share->acknowledged.fetch_add(commit->samples, std::memory_order_relaxed);
  commit->samples = 0;
  return share->status.ok();
}

// As promtool does: some scrapes of one batch of series, then of the next batch.
void WriteBench::AppendShare(Share* share, std::size_t index) {
  FastRandom random(index + 1);
  const std::uint64_t scrapes = flags_.scrapes == 0 ? ~0ULL : flags_.scrapes;
  for (std::uint64_t block = 0; block < scrapes; block += flags_.block_scrapes) {
    const std::uint64_t block_end = block + std::min(flags_.block_scrapes, scrapes - block);
    for (std::size_t first = 0; first < share->refs.size(); first += flags_.batch) {
      const std::size_t last = std::min<std::size_t>(first + flags_.batch, share->refs.size());
      for (std::uint64_t scrape = block; scrape < block_end; ++scrape) {
        if (!AppendBatch(share, &random, first, last, scrape)) return;
      }
      if (std::chrono::steady_clock::now() >= deadline_) return;
    }
    if (share->refs.empty()) return;
  }
}

Status WriteBench::Append() {
  const double left = flags_.duration > 0 ? std::max(0.0, flags_.duration - all_.seconds()) : 0;
  if (flags_.duration > 0) {
    deadline_ = std::chrono::steady_clock::now() +
                std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(left));
  }
  const WriteProgress progress(flags_.progress, "bench write", [this] { return samples(); });
  all_.Start();
  Status status = OnThreads([this](Share* share, std::size_t index) { AppendShare(share, index); });
  for (Share& share : shares_) {
    for (Share::InFlight& commit : share.in_flight) {
      // At level queued too: until all is logged, so that no level leaves work behind.
      if (status.ok() && commit.samples > 0) status = storage_->Wait(commit.token, std::max(flags_.level, AckLevel::kLogged));
      if (status.ok() && !Reach(&share, &commit)) status = share.status;
    }
  }
  all_.Stop();
  return status;
}

void Describe(const WriteFlags& flags, const WriteBench& bench, const StorageStats& timed, Report* report) {
  const auto samples = static_cast<double>(bench.samples());
  const StatTotals totals = Sum(timed);
  report->Add("samples_per_second", samples / bench.all().seconds());
  report->Add("seconds", bench.all().seconds());
  report->Add("cpu_seconds", bench.all().cpu_seconds());
  report->Add("samples", bench.samples());
  report->Add("series", bench.series());
  report->Add("threads", static_cast<std::uint64_t>(flags.threads));
  report->Add("batch", flags.batch);
  report->Add("block_scrapes", flags.block_scrapes);
  report->Add("outstanding", flags.outstanding);
  report->Add("interval_ms", static_cast<std::uint64_t>(flags.interval_ms));
  report->Add("level", LevelName(flags.level));
  report->Add("values", std::string(flags.values == Values::kWalk ? "walk" : "counter"));
  report->Add("checkpoints", timed.checkpoints);
  report->Add("create_seconds", bench.create().seconds());
  report->Add("create_cpu_seconds", bench.create().cpu_seconds());
  report->Add("wal_bytes_per_sample", static_cast<double>(totals.wal_bytes) / samples);
  report->Add("group_records_mean",
              totals.groups == 0 ? 0.0 : static_cast<double>(totals.group_records) / static_cast<double>(totals.groups));
  report->Add("ring_full_waits", totals.ring_full_waits);
  report->AddLatency("commit", totals.write_latency[static_cast<std::size_t>(AckLevel::kQueued)]);
  report->AddLatency("lock_wait", totals.lock_wait);
}

int RunWrite(const WriteFlags& flags, Storage* storage, Report* report) {
  {
    WriteBench bench(flags, storage);
    if (Status s = bench.Create(); !s.ok()) return Fail(s);
    if (Status s = bench.Append(); !s.ok()) return Fail(s.WithContext("after " + std::to_string(bench.samples()) + " samples"));
    Describe(flags, bench, storage->Stats(), report);
  }
  Stopwatch checkpoint;
  checkpoint.Start();
  if (Status s = storage->Checkpoint(); !s.ok()) return Fail(s.WithContext("checkpoint"));
  checkpoint.Stop();
  const StatTotals totals = Sum(storage->Stats());
  const DiskUsage disk = DiskUsageOf(flags.store.db);
  report->Add("checkpoint_seconds", checkpoint.seconds());
  report->Add("checkpoint_cpu_seconds", checkpoint.cpu_seconds());
  report->Add("chunk_bytes_per_sample", totals.chunk_samples == 0 ? 0.0
                                                                  : static_cast<double>(totals.chunk_payload_bytes) /
                                                                        static_cast<double>(totals.chunk_samples));
  report->Add("disk_bytes_after_checkpoint", disk.bytes);
  report->Add("disk_allocated_bytes_after_checkpoint", disk.allocated);
  return kExitOk;
}

int BenchWrite(const WriteFlags& flags) {
  if (flags.series_file.empty() && flags.series == 0) {
    PrintError("bench write: give --series-file, --series or both");
    return kExitUsage;
  }
  const Result<Options> made = MakeWriterOptions(flags.store);
  if (!made.ok()) return Fail(made.status());
  Options options = *made;
  options.error_if_exists = true;  // samples of an earlier run would be overwritten, which is another workload
  auto storage = Storage::Open(options, flags.store.db);
  if (!storage.ok()) return Fail(storage.status());
  auto metrics = MetricsServer::Start(flags.store, storage->get());
  if (!metrics.ok()) return Fail(metrics.status());
  Report report;
  int code = RunWrite(flags, storage->get(), &report);
  metrics->reset();
  if (Status s = ArchiveAll(flags.store, storage->get()); !s.ok()) code = Fail(s);
  if (Status s = (*storage)->Close(); !s.ok()) code = Fail(s.WithContext("close"));
  if (code != kExitOk) return code;
  report.Add("peak_rss_bytes", PeakRssBytes());
  return report.Print(flags.json);
}

}  // namespace

void AddBenchWrite(CLI::App* bench, Run* run) {
  auto flags = std::make_shared<WriteFlags>();
  CLI::App* command = bench->add_subcommand("write", "Append scrapes of many series: the workload of promtool tsdb bench write");
  AddWriterFlags(command, &flags->store);
  command->add_option("--series-file", flags->series_file, "label sets, one JSON object a line; without it they are made up")
      ->option_text("FILE");
  command->add_option("--series", flags->series, "use so many of them; 0: all")->check(CLI::NonNegativeNumber)->option_text("N");
  CLI::Option* scrapes =
      command->add_option("--scrapes", flags->scrapes, "samples of each series (1500, or without bound where --duration is given)")
          ->check(CLI::NonNegativeNumber)
          ->option_text("M");
  command->add_option("--duration", flags->duration, "stop after so many seconds")
      ->check(CLI::NonNegativeNumber)
      ->option_text("SECONDS");
  command->add_option("--threads", flags->threads, "writers; the series are split among them (2)")
      ->check(CLI::Range(1, 1024))
      ->option_text("T");
  command->add_option("--batch", flags->batch, "samples a commit (1000)")->check(CLI::Range(1, 10'000'000))->option_text("N");
  command
      ->add_option("--outstanding", flags->outstanding,
                   "commits of a thread on their way to the level before it waits for the oldest (8; 1 waits for each)")
      ->check(CLI::Range(1, 10'000))
      ->option_text("N");
  command
      ->add_option("--block-scrapes", flags->block_scrapes,
                   "scrapes of one batch of series before the next batch's turn (100, as promtool does; 1 is scrape after scrape)")
      ->check(CLI::Range(1, 1'000'000'000))
      ->option_text("N");
  command->add_option("--interval-ms", flags->interval_ms, "between scrapes (30000, as promtool)")
      ->check(CLI::Range(1, 86'400'000))
      ->option_text("MS");
  static const std::map<std::string, Values> kValues = {{"counter", Values::kCounter}, {"walk", Values::kWalk}};
  command
      ->add_option("--values", flags->values,
                   "counter (default: counting up by 1000) or walk (random walk of full-precision doubles)")
      ->transform(CLI::CheckedTransformer(kValues, CLI::ignore_case).description(""))
      ->option_text("KIND");
  AddLevel(command, &flags->level);
  AddProgress(command, &flags->progress);
  command->add_flag("--json", flags->json, "one JSON object instead of a table");
  command->footer(
      "Time runs from the first series created until all samples are logged; reading FILE is not counted, a checkpoint that falls\n"
      "into it is. The database must not exist yet.\n\n"
      "Example:\n"
      "  chronolith bench write --db /tmp/bench --series-file series.json --series 20000 --scrapes 1500 --threads 2 --json");
  command->callback([flags, scrapes, run] {
    if (scrapes->count() == 0 && flags->duration == 0) flags->scrapes = 1500;
    *run = [flags] { return BenchWrite(*flags); };
  });
}

}  // namespace chronolith::cli
