// Select over 20,000 series of 1,500 samples on disk (RocksDB, 16 shards): samples a second, one thread.
//   build/release/bench/query_bench
// What is on disk is what a checkpoint leaves: chunks of 240 samples in windows of two hours, samples every 15 s.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/hash.h"
#include "block/chunk_store.h"
#include "chronolith/engine_registry.h"
#include "chunk/xor_chunk.h"
#include "head/head_view.h"
#include "index/index_shard.h"
#include "index/postings_merge.h"
#include "query/select.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kShards = 16;
constexpr std::uint32_t kSeries = 20'000;
constexpr std::uint32_t kScrapes = 1'500;
constexpr std::int64_t kWindowMs = 2 * 60 * 60 * 1000;
constexpr Timestamp kStart = 1'700'006'400'000;  // the start of a window

void Check(const Status& s) {
  if (s.ok()) return;
  std::fprintf(stderr, "%s\n", s.ToString().c_str());
  std::abort();
}

class EmptyHead : public HeadView {
 public:
  ChunkAge NewestChunk() const override { return {}; }
  void Collect(std::span<const Ordinal> ordinals, TimeRange, ChunkType, ChunkType,
               std::vector<std::vector<Chunk>>* chunks) const override {
    chunks->assign(ordinals.size(), {});
  }
  void OrdinalsWithData(TimeRange, OrdinalSet*) const override {}
};

// One store, made at the first use; gone with the program.
class Store {
 public:
  explicit Store(bool walk)
      : path_(std::filesystem::temp_directory_path() / ("query_bench_" + std::to_string(getpid()) + (walk ? "w" : "c"))) {
    std::filesystem::remove_all(path_);
    EngineOptions options;
    for (std::uint32_t k = 0; k < kShards; ++k) {
      options.families.push_back(
          {"index." + std::to_string(k), FamilyRole::kIndex, std::make_shared<PostingsMergeFunction>(), nullptr});
      options.families.push_back({"chunk." + std::to_string(k), FamilyRole::kChunk, nullptr, nullptr});
    }
    auto factory = EngineRegistry::Default()->Find("rocksdb");
    Check(factory.status());
    auto engine = (*factory)->Open(path_, options);
    Check(engine.status());
    engine_ = std::move(*engine);
    auto context = std::make_shared<QueryContext>();
    for (std::uint32_t k = 0; k < kShards; ++k) {
      index_.push_back(std::make_unique<IndexShard>(engine_.get(),
                                                    IndexShardOptions{.shard = k, .family = 2 * k, .epoch = 0, .cache = &cache_}));
      Check(index_.back()->Load().status());
      ChunkStoreOptions store;
      store.shard = k;
      store.family = 2 * k + 1;
      store.window_ms = kWindowMs;
      chunks_.push_back(std::make_unique<ChunkStore>(engine_.get(), store));
      context->shards.push_back({k, index_[k].get(), &head_, chunks_[k].get()});
    }
    context_ = std::move(context);
    Fill(walk);
  }
  ~Store() {
    context_.reset();
    chunks_.clear();
    index_.clear();
    Check(engine_->Close());
    std::filesystem::remove_all(path_);
  }

  std::shared_ptr<const QueryContext> context() const { return context_; }

 private:
  void Fill(bool walk) {
    std::mt19937_64 random(1);
    std::vector<Ordinal> next(kShards, 0);
    std::vector<std::vector<Chunk>> pending(kShards);
    for (std::uint32_t i = 0; i < kSeries; ++i) {
      // As exporters have them: a few hundred metrics on a few dozen machines; created in another order than that of the labels.
      const std::uint32_t n = i * 7919 % kSeries;
      const Labels labels{{"__name__", "node_metric_" + std::to_string(n % 400) + "_total"},
                          {"instance", "machine-" + std::to_string(n / 400) + ".example.org:9100"},
                          {"job", "node"},
                          {"mode", "idle"},
                          {"region", "eu-west"}};
      const std::uint64_t hash = StableHash(labels.encoded());
      const std::uint32_t k = static_cast<std::uint32_t>(hash >> 60);
      const Ordinal ordinal = next[k]++;
      if (!index_[k]->Insert(ordinal, {hash, labels.encoded()}, ordinal + 1)) std::abort();
      double value = static_cast<double>(random() % 1'000'000);
      std::vector<Sample> samples;
      const auto flush = [&] {
        if (samples.empty()) return;
        Chunk chunk;
        chunk.meta.window = WindowOf(samples.front().timestamp, kWindowMs);
        chunk.meta.ordinal = ordinal;
        chunk.meta.creation_lsn = static_cast<Lsn>((samples.front().timestamp - kStart) / 15'000 + 1);
        chunk.meta.min_time = samples.front().timestamp;
        chunk.meta.max_time = samples.back().timestamp;
        chunk.meta.samples = static_cast<std::uint32_t>(samples.size());
        chunk.data = EncodeXor(samples);
        pending[k].push_back(std::move(chunk));
        samples.clear();
      };
      for (std::uint32_t s = 0; s < kScrapes; ++s) {
        const Timestamp t = kStart + static_cast<Timestamp>(s) * 15'000;
        value += walk ? static_cast<double>(static_cast<std::int64_t>(random() % 2001) - 1000) / 64 : 1000;
        if (samples.size() == 240 || (!samples.empty() && WindowOf(t, kWindowMs) != WindowOf(samples.front().timestamp, kWindowMs)))
          flush();
        samples.push_back({t, value});
      }
      flush();
    }
    for (std::uint32_t k = 0; k < kShards; ++k) {
      Check(index_[k]->Checkpoint({.applied_lsn = kSeries, .next_ordinal = next[k], .series = next[k]}));
      Check(chunks_[k]->Write({pending[k].begin(), pending[k].end()}));
      Check(engine_->Flush(FamilyId{2 * k + 1}));
    }
  }

  const std::filesystem::path path_;
  std::unique_ptr<KvEngine> engine_;
  PostingsCache cache_{32 << 20};
  EmptyHead head_;
  std::vector<std::unique_ptr<IndexShard>> index_;
  std::vector<std::unique_ptr<ChunkStore>> chunks_;
  std::shared_ptr<const QueryContext> context_;
};

Store& StoreOf(bool walk) {
  static Store counters(false);
  static Store walks(true);
  return walk ? walks : counters;
}

std::unique_ptr<SeriesSet> Select(const Store& store, TimeRange range = {}) {
  auto set = SelectSeries(store.context(), {}, range, {});
  Check(set.status());
  return std::move(*set);
}

void BM_SelectDecodeAll(benchmark::State& state) {
  const Store& store = StoreOf(state.range(0) != 0);
  state.SetLabel(state.range(0) != 0 ? "random walk" : "counter");
  std::vector<Timestamp> timestamps(1024);
  std::vector<double> values(1024);
  std::uint64_t samples = 0;
  for (auto _ : state) {
    std::uint64_t seen = 0;
    double sum = 0;
    const auto set = Select(store);
    while (set->Next()) {
      SampleIterator& it = set->samples();
      while (const std::size_t n = it.NextFloats(timestamps.data(), values.data(), timestamps.size())) {
        seen += n;
        sum += values[n - 1];
      }
      Check(it.status());
    }
    Check(set->status());
    if (seen != std::uint64_t{kSeries} * kScrapes) std::abort();
    benchmark::DoNotOptimize(sum);
    samples += seen;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(samples));
}
BENCHMARK(BM_SelectDecodeAll)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void BM_SelectOneByOne(benchmark::State& state) {
  const Store& store = StoreOf(false);
  std::uint64_t samples = 0;
  for (auto _ : state) {
    double sum = 0;
    const auto set = Select(store);
    while (set->Next()) {
      SampleIterator& it = set->samples();
      for (; it.Next() == ValueType::kFloat; ++samples) sum += it.value();
    }
    Check(set->status());
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(samples));
}
BENCHMARK(BM_SelectOneByOne)->Unit(benchmark::kMillisecond);

void BM_SelectRawChunks(benchmark::State& state) {
  const Store& store = StoreOf(false);
  std::uint64_t samples = 0;
  std::uint64_t bytes = 0;
  for (auto _ : state) {
    const auto set = Select(store);
    while (set->Next()) {
      ChunkIterator& it = set->chunks();
      for (; it.Next(); bytes += it.chunk().data.size()) samples += it.chunk().samples;
    }
    Check(set->status());
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(samples));
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(BM_SelectRawChunks)->Unit(benchmark::kMillisecond);

// Labels and order only: the range has no samples.
void BM_SelectNothing(benchmark::State& state) {
  const Store& store = StoreOf(false);
  for (auto _ : state) {
    const auto set = Select(store, {0, 1});
    if (set->Next()) std::abort();
    Check(set->status());
  }
}
BENCHMARK(BM_SelectNothing)->Unit(benchmark::kMillisecond);

void BM_SelectOneSeries(benchmark::State& state) {
  const Store& store = StoreOf(false);
  for (auto _ : state) {
    auto set =
        SelectSeries(store.context(),
                     {Matcher::Equal("__name__", "node_metric_7_total"), Matcher::Equal("instance", "machine-3.example.org:9100")},
                     {kStart, kStart + 3'600'000}, {});
    Check(set.status());
    if (!(*set)->Next()) std::abort();
    while ((*set)->samples().Next() != ValueType::kNone) {
    }
    if ((*set)->Next()) std::abort();
  }
}
BENCHMARK(BM_SelectOneSeries)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace chronolith

BENCHMARK_MAIN();
