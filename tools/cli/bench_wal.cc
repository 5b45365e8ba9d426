// chronolith bench wal: many threads, one sample a write, random series: what a lock or a slow group commit would show.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
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

struct WalFlags {
  StoreFlags store;
  int threads = 64;
  std::uint64_t series = 10'000;
  double duration = 5;
  AckLevel level = AckLevel::kLogged;
  std::size_t outstanding = 1;
  bool labels = false;
  ProgressMode progress = ProgressMode::kAuto;
  bool json = false;
};

// A thread's series: each series has one writer, so that its samples stay in order.
struct alignas(64) Writer {
  std::unique_ptr<Appender> appender;
  std::vector<SeriesRef> refs;
  std::vector<TimeSeries> series;  // with --labels: ready to be written
  Status status;
  std::atomic<std::uint64_t> acknowledged{0};
};

class WalBench {
 public:
  WalBench(const WalFlags& flags, Storage* storage)
      : flags_(flags), storage_(storage), writers_(static_cast<std::size_t>(flags.threads)) {}

  Status Prepare();
  Status Run();
  std::uint64_t writes() const {
    std::uint64_t n = 0;
    for (const Writer& w : writers_) n += w.acknowledged.load(std::memory_order_relaxed);
    return n;
  }
  const Stopwatch& watch() const { return watch_; }

 private:
  void Write(Writer* writer, std::size_t index);
  WriteResult WriteOne(Writer* writer, std::size_t pick, Timestamp t, double value, const WriteOptions& options);

  const WalFlags& flags_;
  Storage* storage_;
  std::vector<Writer> writers_;
  std::atomic<bool> stop_{false};
  Stopwatch watch_;
};

// Series are created and logged before the clock starts: bench write measures creation.
Status WalBench::Prepare() {
  for (std::size_t i = 0; i < writers_.size(); ++i) {
    Writer& w = writers_[i];
    w.appender = storage_->NewAppender();
    std::vector<Labels> labels;
    for (std::uint64_t n = i; n < flags_.series; n += writers_.size()) labels.push_back(SyntheticLabels(n));
    if (labels.empty()) return InvalidArgument("bench wal: fewer series than threads");
    const WriteResult created = w.appender->Refs(labels, &w.refs);
    if (!created.ok()) return created.status;
    if (const WriteResult result = w.appender->Commit(); !result.ok()) return result.status;
    if (!flags_.labels) continue;
    for (Labels& l : labels) w.series.push_back({.labels = std::move(l), .samples = {Sample{}}});
  }
  return Status::Ok();
}

WriteResult WalBench::WriteOne(Writer* writer, std::size_t pick, Timestamp t, double value, const WriteOptions& options) {
  if (flags_.labels) {
    writer->series[pick].samples[0] = {t, value};
    return storage_->Write(writer->series[pick], options);
  }
  writer->appender->Append(writer->refs[pick], t, value);
  return writer->appender->Commit(options);
}

void WalBench::Write(Writer* writer, std::size_t index) {
  FastRandom random(index + 1);
  std::deque<CommitToken> tokens;  // written, not yet waited for
  const bool pipelined = flags_.outstanding > 1;
  WriteOptions options;
  options.level = pipelined ? AckLevel::kQueued : flags_.level;
  for (Timestamp t = 1; !stop_.load(std::memory_order_relaxed); ++t) {
    WriteResult result = WriteOne(writer, random.Below(writer->refs.size()), t, random.Uniform(), options);
    if (result.ok() && pipelined) {
      tokens.push_back(result.token);
      if (tokens.size() < flags_.outstanding) continue;
      result.status = storage_->Wait(tokens.front(), flags_.level);
      tokens.pop_front();
    }
    if (!result.ok()) {
      writer->status = result.status;
      return;
    }
    writer->acknowledged.fetch_add(1, std::memory_order_relaxed);
  }
  while (!tokens.empty() && writer->status.ok()) {
    writer->status = storage_->Wait(tokens.front(), flags_.level);
    tokens.pop_front();
    if (writer->status.ok()) writer->acknowledged.fetch_add(1, std::memory_order_relaxed);
  }
}

Status WalBench::Run() {
  const WriteProgress progress(flags_.progress, "bench wal", [this] { return writes(); });
  watch_.Start();
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < writers_.size(); ++i) threads.emplace_back([this, i] { Write(&writers_[i], i); });
  std::this_thread::sleep_for(std::chrono::duration<double>(flags_.duration));
  stop_.store(true, std::memory_order_relaxed);
  for (std::thread& thread : threads) thread.join();
  Status status;
  for (const Writer& w : writers_) {
    if (!w.status.ok()) status = w.status;
  }
  // Queued: the rings are part of the run.
  if (status.ok() && flags_.level == AckLevel::kQueued) {
    const WriteResult last = WriteOne(&writers_[0], 0, kMaxTimestamp / 2, 0, {});
    status = last.status;
    if (status.ok()) status = storage_->Wait(last.token, AckLevel::kLogged);
  }
  watch_.Stop();
  return status;
}

int RunWal(const WalFlags& flags, Storage* storage, Report* report) {
  WalBench bench(flags, storage);
  if (Status s = bench.Prepare(); !s.ok()) return Fail(s);
  const StatTotals before = Sum(storage->Stats());
  if (Status s = bench.Run(); !s.ok()) return Fail(s);
  const StatTotals after = Sum(storage->Stats());
  const auto writes = static_cast<double>(bench.writes());
  report->Add("writes_per_second", writes / bench.watch().seconds());
  report->Add("seconds", bench.watch().seconds());
  report->Add("cpu_seconds", bench.watch().cpu_seconds());
  report->Add("writes", bench.writes());
  report->Add("threads", static_cast<std::uint64_t>(flags.threads));
  report->Add("shards", static_cast<std::uint64_t>(storage->Stats().shards.size()));
  report->Add("series", flags.series);
  report->Add("level", std::string(LevelName(flags.level)));
  report->Add("outstanding", static_cast<std::uint64_t>(flags.outstanding));
  report->Add("full_labels", std::string(flags.labels ? "yes" : "no"));
  report->Add("wal_bytes_per_write", static_cast<double>(after.wal_bytes - before.wal_bytes) / writes);
  const std::uint64_t groups = after.groups - before.groups;
  report->Add("group_records_mean",
              groups == 0 ? 0.0 : static_cast<double>(after.group_records - before.group_records) / static_cast<double>(groups));
  report->Add("ring_full_waits", after.ring_full_waits - before.ring_full_waits);
  report->AddLatency("write",
                     after.write_latency[static_cast<std::size_t>(flags.outstanding > 1 ? AckLevel::kQueued : flags.level)]);
  report->Add("lock_acquisitions", after.lock_acquisitions - before.lock_acquisitions);
  report->Add("lock_wait_seconds", after.lock_wait.sum_seconds - before.lock_wait.sum_seconds);
  report->AddLatency("lock_wait", after.lock_wait);
  return kExitOk;
}

int BenchWal(const WalFlags& flags) {
  const Result<Options> made = MakeWriterOptions(flags.store);
  if (!made.ok()) return Fail(made.status());
  Options options = *made;
  options.error_if_exists = true;
  auto storage = Storage::Open(options, flags.store.db);
  if (!storage.ok()) return Fail(storage.status());
  auto metrics = MetricsServer::Start(flags.store, storage->get());
  if (!metrics.ok()) return Fail(metrics.status());
  Report report;
  int code = RunWal(flags, storage->get(), &report);
  metrics->reset();
  if (Status s = ArchiveAll(flags.store, storage->get()); !s.ok()) code = Fail(s);
  if (Status s = (*storage)->Close(); !s.ok()) code = Fail(s.WithContext("close"));
  if (code != kExitOk) return code;
  report.Add("peak_rss_bytes", PeakRssBytes());
  return report.Print(flags.json);
}

}  // namespace

void AddBenchWal(CLI::App* bench, Run* run) {
  auto flags = std::make_shared<WalFlags>();
  CLI::App* command = bench->add_subcommand("wal", "Write one sample at a time from many threads");
  AddWriterFlags(command, &flags->store);
  command->add_option("--threads", flags->threads, "writers (64)")->check(CLI::Range(1, 1024))->option_text("T");
  command->add_option("--series", flags->series, "series, created before the clock starts (10000)")
      ->check(CLI::Range(1, 100'000'000))
      ->option_text("N");
  command->add_option("--duration", flags->duration, "seconds (5)")->check(CLI::PositiveNumber)->option_text("SECONDS");
  command->add_option("--outstanding", flags->outstanding, "writes of a thread that may wait for their level at a time (1)")
      ->check(CLI::Range(1, 100'000))
      ->option_text("N");
  command->add_flag("--labels", flags->labels, "give all labels with every write instead of a cached reference");
  AddLevel(command, &flags->level);
  AddProgress(command, &flags->progress);
  command->add_flag("--json", flags->json, "one JSON object instead of a table");
  command->footer(
      "The database must not exist yet.\n\nExamples:\n"
      "  chronolith bench wal --db /tmp/w1 --threads 64 --shards 16 --level logged\n"
      "  chronolith bench wal --db /tmp/w2 --threads 1 --labels --level queued --json");
  command->callback([flags, run] { *run = [flags] { return BenchWal(*flags); }; });
}

}  // namespace chronolith::cli
