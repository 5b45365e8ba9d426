// The whole store, one sample a write: level logged, level queued, and logged with 16 tokens outstanding a thread.
#include <array>

#include "bench/contention.h"

namespace chronolith::bench {
namespace {

constexpr std::size_t kOutstanding = 16;

struct Mode {
  AckLevel level = AckLevel::kLogged;
  std::size_t outstanding = 1;
};

// A thread's series: each series has one writer, so that its samples stay in order. Which shard a series lies in, its hash decides.
struct alignas(kCacheLine) Writer {
  std::unique_ptr<Appender> appender;
  std::vector<SeriesRef> refs;
  CommitToken last;
};

std::vector<Writer> MakeWriters(Storage* storage, std::uint64_t series, std::size_t threads) {
  std::vector<Writer> writers(threads);
  for (std::size_t i = 0; i < threads; ++i) {
    std::vector<Labels> labels;
    for (std::uint64_t n = i; n < std::max<std::uint64_t>(series, threads); n += threads) labels.push_back(ContainerLabels(n));
    writers[i].appender = storage->NewAppender();
    Check(writers[i].appender->Refs(labels, &writers[i].refs).status);
    Check(writers[i].appender->Commit().status);
  }
  return writers;
}

std::uint64_t WriteSamples(Storage* storage, Writer* writer, const Mode& mode, std::size_t thread, const std::atomic<bool>& stop) {
  FastRandom random(thread + 1);
  std::array<CommitToken, kOutstanding> tokens{};  // token of write n at n % outstanding
  WriteOptions options;
  options.level = mode.outstanding > 1 ? AckLevel::kQueued : mode.level;
  std::uint64_t n = 0;
  for (; !stop.load(std::memory_order_relaxed); ++n) {
    CommitToken& slot = tokens[n % mode.outstanding];
    if (mode.outstanding > 1 && slot.generation != 0) Check(storage->Wait(slot, mode.level));
    writer->appender->Append(writer->refs[random.Below(writer->refs.size())], static_cast<Timestamp>(n + 1), random.Uniform());
    WriteResult result = writer->appender->Commit(options);
    Check(result.status);
    slot = result.token;
    writer->last = result.token;
  }
  return n;
}

RunResult RunStore(const ContentionOptions& options, std::size_t threads, const Mode& mode) {
  const ScratchDirectory directory(options.directory);
  const std::unique_ptr<Storage> storage = Value(Storage::Open({}, directory.path() + "/db"));
  std::vector<Writer> writers = MakeWriters(storage.get(), options.series, threads);
  const LockWait before = SumLocks(storage->Stats());
  RunResult result = Compete(
      threads, options.seconds,
      [&](std::size_t i, const std::atomic<bool>& stop) { return WriteSamples(storage.get(), &writers[i], mode, i, stop); },
      [&] {  // whatever the level, the run ends when all is logged
        for (const Writer& w : writers) Check(storage->Wait(w.last, AckLevel::kLogged));
      });
  result.lock = SumLocks(storage->Stats());
  Subtract(before, &result.lock);
  writers.clear();
  Check(storage->Close());
  return result;
}

}  // namespace

Table StoreTable(const ContentionOptions& options) {
  Table table(
      "One sample a write: the store (16 shards, default options) against one global mutex around one engine write",
      {"threads", "write path", "M writes/s", "x mutex", "us CPU a write", "lock wait s", "lock wait p99 us", "waits a write"});
  const std::pair<const char*, Mode> kModes[] = {{"logged", {AckLevel::kLogged, 1}},
                                                 {"queued", {AckLevel::kQueued, 1}},
                                                 {"logged, 16 tokens", {AckLevel::kLogged, kOutstanding}}};
  for (const std::uint64_t threads : options.threads) {
    std::vector<std::function<RunResult()>> runs = {[&] { return RunGlobalMutexWrites(options, threads); }};
    for (const auto& [name, mode] : kModes)
      runs.push_back([&options, threads, mode = mode] { return RunStore(options, threads, mode); });
    const std::vector<RunResult> results = Medians(options.rounds, runs);
    for (std::size_t i = 0; i < results.size(); ++i) {
      const RunResult& r = results[i];
      const auto n = static_cast<double>(r.operations);
      table.Add({static_cast<double>(threads), std::string(i == 0 ? "global mutex" : kModes[i - 1].first), r.rate() * 1e-6,
                 r.rate() / results[0].rate(), r.cpu_seconds * 1e6 / n, r.lock.wait.sum_seconds, r.lock.p99_us(),
                 static_cast<double>(r.lock.wait.count) / n});
    }
  }
  return table;
}

}  // namespace chronolith::bench
