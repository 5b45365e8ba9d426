// The index alone: resolving label sets and selecting series, in 1, 4 and 16 shards, against one mutex around one index.
//   write: the series of a label set, one in ten of which is new (and is inserted)
//   read:  ids of the series that two equality matchers select, gathered from all shards
#include <optional>

#include "base/hash.h"
#include "base/mutex.h"
#include "bench/contention.h"
#include "chronolith/engine_registry.h"
#include "index/index_shard.h"
#include "index/postings_merge.h"
#include "partition/partition_map.h"

namespace chronolith::bench {
namespace {

constexpr std::uint64_t kExisting = 100'000;
constexpr std::uint64_t kNew = 400'000;  // label sets made ready for inserting; more than a run gets through
constexpr std::uint64_t kNewOneIn = 10;

struct Prepared {
  std::vector<std::string> labels;
  std::vector<std::uint64_t> hashes;
  std::vector<std::vector<CompiledMatcher>> queries;
  SeriesKey Key(std::uint64_t i) const { return {hashes[i], labels[i]}; }
};

Prepared Prepare() {
  Prepared p;
  for (std::uint64_t i = 0; i < kExisting + kNew; ++i) {
    p.labels.emplace_back(ContainerLabels(i).encoded());
    p.hashes.push_back(StableHash(p.labels.back()));
  }
  for (std::uint64_t i = 0; i < 1250; ++i) {  // every metric with every namespace
    const Labels labels = ContainerLabels(i);
    p.queries.emplace_back();
    Check(CompiledMatcher::CompileAll(std::vector<Matcher>{Matcher::Equal("__name__", std::string(labels.Get("__name__"))),
                                                           Matcher::Equal("namespace", std::string(labels.Get("namespace")))},
                                      &p.queries.back()));
  }
  return p;
}

class Index {
 public:
  Index(const Prepared* prepared, const std::string& path, std::uint32_t shards, bool global_mutex)
      : prepared_(prepared), global_(global_mutex), map_(PartitionMap::Uniform(shards)), cache_(Options().postings_cache_bytes) {
    EngineOptions options;
    for (std::uint32_t i = 0; i < shards; ++i) {
      options.families.push_back(
          {"index." + std::to_string(i), FamilyRole::kIndex, std::make_shared<PostingsMergeFunction>(), nullptr});
    }
    engine_ = Value(Value(EngineRegistry::Default()->Find("rocksdb"))->Open(path, options));
    for (std::uint32_t i = 0; i < shards; ++i) {
      shards_.push_back(std::make_unique<Shard>());
      shards_[i]->index =
          std::make_unique<IndexShard>(engine_.get(), IndexShardOptions{.shard = i, .family = i, .epoch = 0, .cache = &cache_});
      Check(shards_[i]->index->Load().status());
    }
    for (std::uint64_t i = 0; i < kExisting; ++i) Resolve(prepared_->Key(i));
    for (const auto& shard : shards_) Check(shard->index->Checkpoint({1, shard->next, shard->next}));
    before_ = Locks();
  }
  ~Index() {
    shards_.clear();
    Check(engine_->Close());
  }

  std::uint64_t Work(std::uint64_t write_percent, std::size_t thread, const std::atomic<bool>& stop);
  LockWait lock_wait() const {
    LockWait wait = Locks();
    Subtract(before_, &wait);
    return wait;
  }

 private:
  struct alignas(kCacheLine) Shard {
    std::unique_ptr<IndexShard> index;
    MeasuredMutex series_mu;  // one creator at a time, as in the store
    Ordinal next = 0;
  };

  void Resolve(const SeriesKey& key) {
    Shard& shard = *shards_[map_.ShardFor(key.hash)];
    if (shard.index->FindResident(key)) return;
    const MeasuredLock lock(&shard.series_mu);
    if (shard.index->FindResident(key)) return;
    shard.index->Insert(shard.next, key, shard.next + 1);
    ++shard.next;
  }
  std::uint64_t Select(const std::vector<CompiledMatcher>& query) const {
    std::uint64_t found = 0;
    for (const auto& shard : shards_) found += Value(shard->index->Select(query)).size();
    return found;
  }
  LockWait Locks() const {
    std::vector<LockStats> locks = {mu_.Stats("global")};
    for (const auto& shard : shards_) {
      ShardStats stats;
      shard->index->FillStats(&stats);
      locks.insert(locks.end(), stats.locks.begin(), stats.locks.end());
      locks.push_back(shard->series_mu.WriteStats("series"));
    }
    return SumLocks(locks);
  }

  const Prepared* const prepared_;
  const bool global_;
  TimedMutex mu_;
  const PartitionMap map_;
  PostingsCache cache_;
  std::unique_ptr<KvEngine> engine_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::atomic<std::uint64_t> next_new_{kExisting};
  LockWait before_;
};

std::uint64_t Index::Work(std::uint64_t write_percent, std::size_t thread, const std::atomic<bool>& stop) {
  FastRandom random(thread + 1);
  std::uint64_t n = 0;
  for (; !stop.load(std::memory_order_relaxed); ++n) {
    const bool write = random.Below(100) < write_percent;
    std::uint64_t pick = random.Below(kExisting);
    if (write && random.Below(kNewOneIn) == 0) {
      const std::uint64_t fresh = next_new_.fetch_add(1, std::memory_order_relaxed);
      if (fresh < kExisting + kNew) pick = fresh;
    }
    std::unique_lock<TimedMutex> lock(mu_, std::defer_lock);
    if (global_) lock.lock();
    if (write) {
      Resolve(prepared_->Key(pick));
    } else {
      Select(prepared_->queries[pick % prepared_->queries.size()]);
    }
  }
  return n;
}

}  // namespace

Table IndexTable(const ContentionOptions& options) {
  Table table("The index alone, " + std::to_string(kExisting) + " series, " + std::to_string(options.table_threads) + " threads",
              {"load", "index", "k operations/s", "x mutex", "us CPU an operation", "lock wait s", "lock wait p99 us",
               "waits an operation"});
  const Prepared prepared = Prepare();
  const std::pair<const char*, std::uint64_t> kLoads[] = {
      {"write-heavy (90 % writes)", 90}, {"read-heavy (10 % writes)", 10}, {"mixed (50 % writes)", 50}};
  const std::uint32_t kShards[] = {0, 1, 4, 16};  // 0: one, behind a mutex
  for (const auto& [name, write_percent] : kLoads) {
    std::vector<std::function<RunResult()>> runs;
    for (const std::uint32_t shards : kShards) {
      runs.push_back([&options, &prepared, shards, percent = write_percent] {
        const ScratchDirectory directory(options.directory);
        Index index(&prepared, directory.path() + "/data", std::max(1U, shards), shards == 0);
        RunResult result = Compete(
            options.table_threads, options.seconds,
            [&](std::size_t i, const std::atomic<bool>& stop) { return index.Work(percent, i, stop); }, [] {});
        result.lock = index.lock_wait();
        return result;
      });
    }
    const std::vector<RunResult> results = Medians(options.rounds, runs);
    for (std::size_t i = 0; i < results.size(); ++i) {
      const RunResult& r = results[i];
      const auto n = static_cast<double>(r.operations);
      table.Add({std::string(name),
                 kShards[i] == 0 ? "one mutex, one index" : std::to_string(kShards[i]) + (kShards[i] == 1 ? " shard" : " shards"),
                 r.rate() * 1e-3, r.rate() / results[0].rate(), r.cpu_seconds * 1e6 / n, r.lock.wait.sum_seconds, r.lock.p99_us(),
                 static_cast<double>(r.lock.wait.count) / n});
    }
  }
  return table;
}

}  // namespace chronolith::bench
