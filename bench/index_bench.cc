// The index alone: a million series of nine labels (container metrics) in 16 shards.
//
//   build/release/bench/index_bench        INDEX_BENCH_SERIES=1000000 INDEX_BENCH_ENGINE=rocksdb
//
// One world is built once, in the order of the benchmarks: insert, checkpoint, queries, reopen. CPU figures are of the whole
// process.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/hash.h"
#include "chronolith/engine_registry.h"
#include "index/index_shard.h"
#include "index/label_validation.h"
#include "index/postings_merge.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kShards = 16;

std::size_t SeriesCount() {
  const char* n = std::getenv("INDEX_BENCH_SERIES");
  return n != nullptr ? std::strtoull(n, nullptr, 10) : 1'000'000;
}

double ProcessCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double ResidentBytes() {
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  double total = 0;
  double resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

std::string EncodedLabels(std::size_t i) {
  static const char* const kGroups[] = {"cpu", "memory", "network", "fs", "blkio"};
  static const char* const kKinds[] = {"usage_seconds", "rss_bytes", "receive_bytes", "transmit_bytes", "reads",
                                       "writes",        "failures",  "cache",         "throttled",      "tasks"};
  const std::size_t pod = i / 50;
  char pod_name[64];
  std::snprintf(pod_name, sizeof(pod_name), "svc-%zu-%08x", pod % 60, static_cast<unsigned>(pod * 2654435761U));
  const auto n = [](std::size_t v) { return std::to_string(v); };
  const Labels labels{{"__name__", std::string("container_") + kGroups[i % 50 / 10] + "_" + kKinds[i % 10] + "_total"},
                      {"namespace", "ns-" + n(pod % 25)},
                      {"pod", pod_name},
                      {"container", "c" + n(pod % 3)},
                      {"instance", "10.1." + n(pod % 250) + "." + n(pod % 200) + "-9100"},
                      {"job", "kubelet"},
                      {"node", "node-" + n(pod % 400)},
                      {"image", "registry/app-" + n(pod % 60) + "@v1." + n(pod % 9)},
                      {"cluster", "prod-eu-" + n(pod % 2)}};
  return std::string(labels.encoded());
}

class World {
 public:
  static World& Get() {
    static auto* const world = new World();  // lives as long as the process: benchmarks share it
    return *world;
  }

  void Open(bool with_cache) {
    shards.clear();
    cache = std::make_unique<PostingsCache>(32 << 20);
    for (std::uint32_t k = 0; k < kShards; ++k) {
      shards.push_back(std::make_unique<IndexShard>(
          engine.get(), IndexShardOptions{.shard = k, .family = k, .epoch = 0, .cache = with_cache ? cache.get() : nullptr}));
      if (!shards.back()->Load().ok()) std::abort();
    }
  }
  SeriesKey Key(std::size_t i) const { return {hashes[i], labels[i]}; }
  IndexShard& ShardOf(std::size_t i) { return *shards[hashes[i] >> 60]; }

  void Fill() {
    if (filled) return;
    filled = true;
    const double rss = ResidentBytes();
    const double cpu = ProcessCpuSeconds();
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const std::size_t k = hashes[i] >> 60;
      if (!shards[k]->Insert(next_ordinal[k]++, Key(i), i + 1)) std::abort();
    }
    insert_ns = (ProcessCpuSeconds() - cpu) * 1e9 / static_cast<double>(labels.size());
    rss_per_series = (ResidentBytes() - rss) / static_cast<double>(labels.size());
    for (const auto& shard : shards)
      bytes_per_series += static_cast<double>(shard->memory_bytes()) / static_cast<double>(labels.size());
  }
  void Checkpoint() {
    Fill();
    if (checkpointed) return;
    checkpointed = true;
    const double cpu = ProcessCpuSeconds();
    for (std::uint32_t k = 0; k < kShards; ++k) {
      const Status s = shards[k]->Checkpoint({labels.size(), next_ordinal[k], next_ordinal[k]});
      if (!s.ok()) std::fprintf(stderr, "%s\n", s.ToString().c_str()), std::abort();
    }
    checkpoint_ns = (ProcessCpuSeconds() - cpu) * 1e9 / static_cast<double>(labels.size());
    std::vector<FamilyId> families;
    for (std::uint32_t k = 0; k < kShards; ++k) families.push_back(k);
    if (!engine->Flush(families).ok()) std::abort();
    checkpoint_flush_ns = (ProcessCpuSeconds() - cpu) * 1e9 / static_cast<double>(labels.size());
    for (const auto& shard : shards) {
      bytes_per_series_after += static_cast<double>(shard->memory_bytes()) / static_cast<double>(labels.size());
    }
  }

  std::vector<std::string> labels;
  std::vector<std::uint64_t> hashes;
  std::unique_ptr<KvEngine> engine;
  std::unique_ptr<PostingsCache> cache;
  std::vector<std::unique_ptr<IndexShard>> shards;
  std::vector<Ordinal> next_ordinal = std::vector<Ordinal>(kShards);
  bool filled = false;
  bool checkpointed = false;
  double insert_ns = 0, rss_per_series = 0, bytes_per_series = 0, checkpoint_ns = 0, checkpoint_flush_ns = 0,
         bytes_per_series_after = 0;

 private:
  World() {
    for (std::size_t i = 0; i < SeriesCount(); ++i) {
      labels.push_back(EncodedLabels(i));
      hashes.push_back(StableHash(labels.back()));
    }
    const char* name = std::getenv("INDEX_BENCH_ENGINE");
    const auto registry = EngineRegistry::Default();
    auto factory = registry->Find(name != nullptr ? name : "rocksdb");
    if (!factory.ok()) factory = registry->Find("memory");
    EngineOptions options;
    for (std::uint32_t k = 0; k < kShards; ++k) {
      options.families.push_back({.name = "index." + std::to_string(k),
                                  .role = FamilyRole::kIndex,
                                  .merge = std::make_shared<PostingsMergeFunction>(),
                                  .drop_filter = std::make_shared<EmptyPostingsFilter>()});
    }
    const std::string path = (std::filesystem::temp_directory_path() / "chronolith_index_bench").string();
    std::filesystem::remove_all(path);
    auto opened = (*factory)->Open(path, options);
    if (!opened.ok()) std::fprintf(stderr, "%s\n", opened.status().ToString().c_str()), std::abort();
    engine = std::move(opened).value();
    Open(true);
  }
};

void BM_ValidateLabels(benchmark::State& state) {
  const std::string labels = EncodedLabels(4711);
  for (auto _ : state) benchmark::DoNotOptimize(ValidateLabels(labels, {}));
}
BENCHMARK(BM_ValidateLabels);

void BM_Insert(benchmark::State& state) {
  World& world = World::Get();
  for (auto _ : state) world.Fill();
  state.counters["cpu_ns_per_series"] = world.insert_ns;
  state.counters["rss_bytes_per_series"] = world.rss_per_series;
  state.counters["index_bytes_per_series"] = world.bytes_per_series;
}
BENCHMARK(BM_Insert)->Iterations(1)->Unit(benchmark::kMillisecond);

void BM_FindResident(benchmark::State& state) {
  World& world = World::Get();
  world.Fill();
  std::mt19937_64 random(1);
  std::vector<std::uint32_t> order(1 << 16);
  for (auto& i : order) i = static_cast<std::uint32_t>(random() % world.labels.size());
  std::size_t at = 0;
  for (auto _ : state) {
    const std::size_t i = order[++at & 0xffff];
    if (!world.ShardOf(i).FindResident(world.Key(i)).has_value()) std::abort();
  }
}
BENCHMARK(BM_FindResident);

std::vector<CompiledMatcher> TwoEqual(std::size_t ns) {
  std::vector<CompiledMatcher> compiled;
  const std::vector<Matcher> matchers{Matcher::Equal("__name__", "container_cpu_usage_seconds_total"),
                                      Matcher::Equal("namespace", "ns-" + std::to_string(ns % 25))};
  if (!CompiledMatcher::CompileAll(matchers, &compiled).ok()) std::abort();
  return compiled;
}

void SelectLoop(benchmark::State& state, const std::vector<CompiledMatcher>& matchers) {
  World& world = World::Get();
  std::uint64_t found = 0;
  for (auto _ : state) {
    found = 0;
    for (const auto& shard : world.shards) {
      auto set = shard->Select(matchers);
      if (!set.ok()) std::abort();
      found += set->size();
    }
  }
  state.counters["matches"] = static_cast<double>(found);
}

void BM_SelectBeforeCheckpoint(benchmark::State& state) {
  World::Get().Fill();
  SelectLoop(state, TwoEqual(7));
}
BENCHMARK(BM_SelectBeforeCheckpoint)->Unit(benchmark::kMicrosecond);

void BM_Checkpoint(benchmark::State& state) {
  World& world = World::Get();
  for (auto _ : state) world.Checkpoint();
  state.counters["cpu_ns_per_series"] = world.checkpoint_ns;
  state.counters["with_flush_cpu_ns_per_series"] = world.checkpoint_flush_ns;
  state.counters["index_bytes_per_series_after"] = world.bytes_per_series_after;
}
BENCHMARK(BM_Checkpoint)->Iterations(1)->Unit(benchmark::kMillisecond);

void BM_SelectCached(benchmark::State& state) {
  World::Get().Checkpoint();
  SelectLoop(state, TwoEqual(7));
}
BENCHMARK(BM_SelectCached)->Unit(benchmark::kMicrosecond);

void BM_SelectRegexCached(benchmark::State& state) {
  World::Get().Checkpoint();
  std::vector<CompiledMatcher> compiled;
  const std::vector<Matcher> matchers{Matcher::Regex("pod", "svc-1-0.*"), Matcher::NotEqual("container", "c2")};
  if (!CompiledMatcher::CompileAll(matchers, &compiled).ok()) std::abort();
  SelectLoop(state, compiled);
}
BENCHMARK(BM_SelectRegexCached)->Unit(benchmark::kMicrosecond);

void BM_SelectWithLabels(benchmark::State& state) {
  World& world = World::Get();
  world.Checkpoint();
  const auto matchers = TwoEqual(7);
  std::vector<Labels> labels;
  for (auto _ : state) {
    for (const auto& shard : world.shards) {
      auto set = shard->Select(matchers);
      if (!set.ok() || !shard->LabelsOf(set->ToVector(), &labels).ok()) std::abort();
      benchmark::DoNotOptimize(labels);
    }
  }
}
BENCHMARK(BM_SelectWithLabels)->Unit(benchmark::kMicrosecond);

// Without a cache of ours: every look-up reads the engine's rows.
void BM_SelectCold(benchmark::State& state) {
  World::Get().Checkpoint();
  World::Get().Open(false);
  SelectLoop(state, TwoEqual(7));
  World::Get().Open(true);
}
BENCHMARK(BM_SelectCold)->Unit(benchmark::kMicrosecond);

void BM_SelectRegexCold(benchmark::State& state) {
  World::Get().Checkpoint();
  World::Get().Open(false);
  std::vector<CompiledMatcher> compiled;
  const std::vector<Matcher> matchers{Matcher::Regex("pod", "svc-1-.*"), Matcher::NotEqual("container", "c2")};
  if (!CompiledMatcher::CompileAll(matchers, &compiled).ok()) std::abort();
  SelectLoop(state, compiled);
  World::Get().Open(true);
}
BENCHMARK(BM_SelectRegexCold)->Unit(benchmark::kMicrosecond);

// All series of a reopened store, in the batches that a shard gets of a scrape of 1000; a series that is resident meanwhile is
// found as such.
void BM_FindStored(benchmark::State& state) {
  World& world = World::Get();
  world.Checkpoint();
  world.Open(true);
  std::vector<std::vector<SeriesKey>> batches(kShards);
  std::vector<std::optional<Ordinal>> found;
  double cpu = 0;
  for (auto _ : state) {
    cpu = ProcessCpuSeconds();
    for (std::size_t i = 0; i < world.labels.size(); ++i) {
      std::vector<SeriesKey>& batch = batches[world.hashes[i] >> 60];
      batch.push_back(world.Key(i));
      if (batch.size() < 64 && i + 64 * kShards < world.labels.size()) continue;
      if (!world.ShardOf(i).FindStored(batch, &found).ok()) std::abort();
      for (const auto& ordinal : found) {
        if (!ordinal.has_value()) std::abort();
      }
      batch.clear();
    }
  }
  state.counters["cpu_ns_per_series"] = (ProcessCpuSeconds() - cpu) * 1e9 / static_cast<double>(world.labels.size());
}
BENCHMARK(BM_FindStored)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace chronolith

BENCHMARK_MAIN();
