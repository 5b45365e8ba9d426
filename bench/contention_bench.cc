// Many threads, one sample a write, random series: sharded log, index and store against one global mutex.
//   build/release/bench/contention_bench --part all
// The baselines, which live here only: a mutex around one engine write a sample (KvEngine over RocksDB, one Put of 64 bytes into a
// logged family), and a mutex around one index. Everything else is what a store with default options does.
#include <algorithm>
#include <cstring>
#include <thread>

#include "bench/contention.h"
#include "chronolith/engine_registry.h"

namespace chronolith::bench {

RunResult Compete(std::size_t threads, double seconds, const Worker& worker, const std::function<void()>& drain) {
  std::atomic<bool> start{false};
  std::atomic<bool> stop{false};
  std::vector<std::uint64_t> operations(threads);
  std::vector<std::thread> pool;
  for (std::size_t i = 0; i < threads; ++i) {
    pool.emplace_back([&, i] {
      start.wait(false);
      operations[i] = worker(i, stop);
    });
  }
  Stopwatch watch;
  watch.Start();
  start = true;
  start.notify_all();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (std::thread& t : pool) t.join();
  drain();
  watch.Stop();
  RunResult result;
  for (const std::uint64_t n : operations) result.operations += n;
  result.seconds = watch.seconds();
  result.cpu_seconds = watch.cpu_seconds();
  return result;
}

std::unique_ptr<KvEngine> OpenLogInstance(const std::string& path, std::uint32_t families) {
  EngineOptions options;
  options.instance = InstanceRole::kLog;
  options.write_buffer_bytes = 2 * Options().checkpoint_bytes + (32ULL << 20);
  for (std::uint32_t i = 0; i < families; ++i) {
    options.families.push_back({"wal." + std::to_string(i), FamilyRole::kWal, nullptr, nullptr});
  }
  return Value(Value(EngineRegistry::Default()->Find("rocksdb"))->Open(path, options));
}

RunResult RunGlobalMutexWrites(const ContentionOptions& options, std::size_t threads) {
  constexpr std::size_t kValueBytes = 64;  // series, timestamp, value, and what a record has around them
  const ScratchDirectory directory(options.directory);
  const std::unique_ptr<KvEngine> engine = OpenLogInstance(directory.path() + "/log", 1);
  TimedMutex mu;
  std::uint64_t lsn = 0;
  const auto work = [&](std::size_t thread, const std::atomic<bool>& stop) {
    FastRandom random(thread + 1);
    char key[8];
    char value[kValueBytes] = {};
    std::uint64_t n = 0;
    for (; !stop.load(std::memory_order_relaxed); ++n) {
      const std::uint64_t fields[] = {random.Below(options.series), n, random.Next()};
      std::memcpy(value, fields, sizeof(fields));
      const Op op{Op::Type::kPut, {key, sizeof(key)}, {value, sizeof(value)}};
      const Batch batch{0, "log", 0, {&op, 1}};
      const std::lock_guard lock(mu);
      ++lsn;
      for (std::size_t i = 0; i < sizeof(key); ++i) key[i] = static_cast<char>(lsn >> (56 - 8 * i));
      Check(engine->Write({&batch, 1}, {.durability = Durability::kLogged}).front());
    }
    return n;
  };
  RunResult result = Compete(threads, options.seconds, work, [] {});
  result.lock = SumLocks({mu.Stats("global")});
  Check(engine->Close());
  return result;
}

std::vector<RunResult> Medians(std::uint64_t rounds, const std::vector<std::function<RunResult()>>& runs) {
  std::vector<std::vector<RunResult>> results(runs.size());
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < runs.size(); ++i) results[i].push_back(runs[i]());
  }
  std::vector<RunResult> medians;
  for (auto& r : results) {
    std::sort(r.begin(), r.end(), [](const RunResult& a, const RunResult& b) { return a.rate() < b.rate(); });
    medians.push_back(r[(r.size() - 1) / 2]);
  }
  return medians;
}

namespace {

constexpr const char* kUsage =
    "usage: contention_bench [--part store|wal|index|all] [--threads 1,2,4,8,16,32,64] [--table-threads 64] [--seconds 4]\n"
    "                        [--rounds 1] [--series 10000] [--dir DIR] [--json]\n"
    "store: one sample a write, store against one global mutex; wal, index: the tables of those layers by number of shards.\n"
    "--rounds N runs each N times, in turn, and prints the median.\n";

int Main(int argc, char** argv) {
  const Flags flags(argc, argv, kUsage,
                    {{"part", "all"},
                     {"threads", "1,2,4,8,16,32,64"},
                     {"table-threads", "64"},
                     {"seconds", "4"},
                     {"rounds", "1"},
                     {"series", "10000"},
                     {"dir", ""}});
  ContentionOptions options;
  options.directory = flags.Text("dir");
  options.seconds = flags.Real("seconds");
  options.rounds = std::max<std::uint64_t>(1, flags.Number("rounds"));
  options.series = flags.Number("series");
  options.threads = flags.Numbers("threads");
  options.table_threads = flags.Number("table-threads");
  const std::string& part = flags.Text("part");
  std::vector<Table> tables;
  if (part == "all" || part == "store") tables.push_back(StoreTable(options));
  if (part == "all" || part == "wal") tables.push_back(WalTable(options));
  if (part == "all" || part == "index") tables.push_back(IndexTable(options));
  if (tables.empty()) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  Print(tables, flags.json());
  return 0;
}

}  // namespace
}  // namespace chronolith::bench

int main(int argc, char** argv) { return chronolith::bench::Main(argc, argv); }
