// What the query tests share: shards over the memory engine, with a real index and chunk store and a head that holds what it is
// told.
#ifndef CHRONOLITH_TESTS_QUERY_QUERY_FIXTURE_H_
#define CHRONOLITH_TESTS_QUERY_QUERY_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/mutex.h"
#include "block/chunk_store.h"
#include "chunk/exemplar_chunk.h"
#include "chunk/histogram_chunk.h"
#include "chunk/xor_chunk.h"
#include "head/head_view.h"
#include "index/index_shard.h"
#include "index/postings_merge.h"
#include "plugins/memory/memory_engine.h"
#include "query/select.h"
#include "tests/contract/seed.h"

namespace chronolith {

inline constexpr std::int64_t kTestWindow = 1000;
inline constexpr std::uint32_t kTestMaxSamples = 20;

// Holds chunks that a test puts in. Thread safety: safe.
class FakeHead : public HeadView {
 public:
  void Put(Chunk chunk) {
    MutexLock lock(&mu_);
    for (Chunk& c : chunks_) {
      if (c.meta.SameChunk(chunk.meta)) {
        c = std::move(chunk);
        return;
      }
    }
    chunks_.push_back(std::move(chunk));
  }
  void Clear() {
    MutexLock lock(&mu_);
    chunks_.clear();
  }
  ChunkAge NewestChunk() const override {
    ReaderMutexLock lock(&mu_);
    return newest_;
  }
  void SetNewest(ChunkAge newest) {
    MutexLock lock(&mu_);
    newest_ = newest;
  }
  bool Holds(const ChunkMeta& meta) const {
    ReaderMutexLock lock(&mu_);
    for (const Chunk& c : chunks_) {
      if (c.meta.SameChunk(meta)) return true;
    }
    return false;
  }
  std::vector<Chunk> Take() {
    MutexLock lock(&mu_);
    return chunks_;
  }

  void Collect(std::span<const Ordinal> ordinals, TimeRange range, ChunkType type_from, ChunkType type_to,
               std::vector<std::vector<Chunk>>* chunks) const override {
    struct Afterwards {
      ~Afterwards() {
        if (const std::function<void()> body = std::exchange(*then, nullptr)) body();
      }
      std::function<void()>* then;
    } afterwards{&after_collect};
    ReaderMutexLock lock(&mu_);
    chunks->assign(ordinals.size(), {});
    for (std::size_t i = 0; i < ordinals.size(); ++i) {
      for (const Chunk& c : chunks_) {
        if (c.meta.ordinal == ordinals[i] && c.meta.type >= type_from && c.meta.type <= type_to &&
            range.Overlaps(c.meta.min_time, c.meta.max_time)) {
          (*chunks)[i].push_back(c);
        }
      }
    }
  }
  // Runs once, after the next Collect: what comes between the reading of head and store.
  mutable std::function<void()> after_collect;

  void OrdinalsWithData(TimeRange range, OrdinalSet* ordinals) const override {
    ReaderMutexLock lock(&mu_);
    for (const Chunk& c : chunks_) {
      if (c.meta.type != ChunkType::kExemplar && range.Overlaps(c.meta.min_time, c.meta.max_time)) ordinals->Add(c.meta.ordinal);
    }
  }

 private:
  mutable Mutex mu_;
  std::vector<Chunk> chunks_ ABSL_GUARDED_BY(mu_);
  ChunkAge newest_ ABSL_GUARDED_BY(mu_){~0ULL, ~0ULL};  // the store's chunks are not newer, unless a test says so
};

// A histogram that tells by its count which one it is; odd ones are integer, even ones float histograms.
inline Histogram TestHistogram(std::uint64_t id) {
  if (id % 2 == 1) {
    IntHistogram h;
    h.count = id;
    h.positive_spans = {{0, 1}};
    h.positive_deltas = {static_cast<std::int64_t>(id)};
    return h;
  }
  FloatHistogram h;
  h.count = static_cast<double>(id);
  h.positive_spans = {{0, 1}};
  h.positive_counts = {static_cast<double>(id)};
  return h;
}
inline std::uint64_t IdOf(const Histogram& histogram) {
  if (const auto* h = std::get_if<IntHistogram>(&histogram)) return h->count;
  return static_cast<std::uint64_t>(std::get<FloatHistogram>(histogram).count);
}

// A sample as the tests compare it: time, whether it is a histogram, and which.
struct Seen {
  Timestamp t = 0;
  bool histogram = false;
  std::uint64_t id = 0;
  friend auto operator<=>(const Seen&, const Seen&) = default;
};
inline void PrintTo(const Seen& s, std::ostream* os) { *os << s.t << (s.histogram ? "h" : "f") << s.id; }

// Encodes `samples` (of one type, ascending), filling in what of `meta` follows from them.
inline Chunk TestChunk(ChunkMeta meta, const std::vector<Seen>& samples) {
  Chunk chunk;
  chunk.meta = meta;
  chunk.meta.window = WindowOf(samples.front().t, kTestWindow);
  chunk.meta.min_time = samples.front().t;
  chunk.meta.max_time = samples.back().t;
  chunk.meta.samples = static_cast<std::uint32_t>(samples.size());
  if (samples.front().histogram) {
    std::vector<HistogramSample> histograms;
    for (const Seen& s : samples) histograms.push_back({s.t, TestHistogram(s.id)});
    chunk.meta.type = ChunkType::kHistogram;
    chunk.data = EncodeHistograms(histograms);
  } else {
    std::vector<Sample> floats;
    for (const Seen& s : samples) floats.push_back({s.t, static_cast<double>(s.id)});
    chunk.meta.type = ChunkType::kXor;
    chunk.data = EncodeXor(floats);
  }
  return chunk;
}

class QueryFixture : public ::testing::Test {
 protected:
  struct Shard {
    std::unique_ptr<IndexShard> index;
    FakeHead head;
    std::unique_ptr<ChunkStore> chunks;
    Ordinal next_ordinal = 0;
  };

  explicit QueryFixture(int shards = 2, DuplicatePolicy policy = DuplicatePolicy::kLastWins) { Open(shards, policy); }
  ~QueryFixture() override {
    context_.reset();
    shards_.clear();
    if (engine_ != nullptr) {
      EXPECT_TRUE(engine_->Close().ok());
    }
  }

  void Open(int shards, DuplicatePolicy policy) {
    context_.reset();
    shards_.clear();
    if (engine_ != nullptr) {
      ASSERT_TRUE(engine_->Close().ok());
    }
    factory_ = MakeAdversarialMemoryEngineFactory({});
    EngineOptions options;
    for (int k = 0; k < shards; ++k) {
      options.families.push_back(
          {"index." + std::to_string(k), FamilyRole::kIndex, std::make_shared<PostingsMergeFunction>(), nullptr});
      options.families.push_back({"chunk." + std::to_string(k), FamilyRole::kChunk, nullptr, nullptr});
    }
    auto engine = factory_->Open("db", options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(*engine);
    auto context = std::make_shared<QueryContext>();
    context->duplicate_policy = policy;
    context->max_samples_per_chunk = kTestMaxSamples;
    for (int k = 0; k < shards; ++k) {
      const auto id = static_cast<std::uint32_t>(k);
      auto shard = std::make_unique<Shard>();
      shard->index = std::make_unique<IndexShard>(engine_.get(),
                                                  IndexShardOptions{.shard = id, .family = 2 * id, .epoch = 0, .cache = &cache_});
      ASSERT_TRUE(shard->index->Load().ok());
      ChunkStoreOptions store;
      store.shard = id;
      store.family = 2 * id + 1;
      store.window_ms = kTestWindow;
      store.max_samples_per_chunk = kTestMaxSamples;
      store.duplicate_policy = policy;
      shard->chunks = std::make_unique<ChunkStore>(engine_.get(), store);
      ASSERT_TRUE(shard->chunks->Load().ok());
      context->shards.push_back({id, shard->index.get(), &shard->head, shard->chunks.get()});
      shards_.push_back(std::move(shard));
    }
    context_ = std::move(context);
  }

  Ordinal AddSeries(int shard, const Labels& labels) {
    Shard& s = *shards_[static_cast<std::size_t>(shard)];
    const Ordinal ordinal = s.next_ordinal++;
    EXPECT_TRUE(s.index->Insert(ordinal, {StableHash(labels.encoded()), labels.encoded()}, ++lsn_));
    return ordinal;
  }

  // Float samples at these times, as one stored chunk; each value is its time.
  void Store(int shard, Ordinal ordinal, Lsn lsn, const std::vector<Timestamp>& times) {
    EXPECT_TRUE(shards_[static_cast<std::size_t>(shard)]->chunks->Write({Floats(ordinal, lsn, times)}).ok());
  }
  static Chunk Floats(Ordinal ordinal, Lsn lsn, const std::vector<Timestamp>& times) {
    std::vector<Seen> samples;
    for (const Timestamp t : times) samples.push_back({t, false, static_cast<std::uint64_t>(t)});
    ChunkMeta meta;
    meta.ordinal = ordinal;
    meta.creation_lsn = lsn;
    return TestChunk(meta, samples);
  }

  static std::vector<Seen> ReadSamples(SampleIterator* it) {
    std::vector<Seen> seen;
    for (ValueType type; (type = it->Next()) != ValueType::kNone;) {
      if (type == ValueType::kFloat) {
        seen.push_back({it->timestamp(), false, static_cast<std::uint64_t>(it->value())});
      } else {
        EXPECT_EQ(type == ValueType::kIntHistogram, std::holds_alternative<IntHistogram>(it->histogram()));
        seen.push_back({it->timestamp(), true, IdOf(it->histogram())});
      }
    }
    EXPECT_TRUE(it->status().ok()) << it->status().ToString();
    return seen;
  }
  // Floats by NextFloats, `capacity` at a time, the rest by Next.
  static std::vector<Seen> ReadInBulk(SampleIterator* it, std::size_t capacity) {
    std::vector<Seen> seen;
    std::vector<Timestamp> t(capacity);
    std::vector<double> v(capacity);
    for (;;) {
      if (const std::size_t n = it->NextFloats(t.data(), v.data(), capacity); n > 0) {
        EXPECT_LE(n, capacity);
        for (std::size_t i = 0; i < n; ++i) seen.push_back({t[i], false, static_cast<std::uint64_t>(v[i])});
        continue;
      }
      const ValueType type = it->Next();
      if (type == ValueType::kNone) break;
      EXPECT_NE(type, ValueType::kFloat);
      seen.push_back({it->timestamp(), true, IdOf(it->histogram())});
    }
    EXPECT_TRUE(it->status().ok()) << it->status().ToString();
    return seen;
  }
  static std::vector<Seen> ReadChunks(ChunkIterator* it) {
    std::vector<Seen> seen;
    while (it->Next()) {
      const RawChunk& chunk = it->chunk();
      const std::size_t before = seen.size();
      if (chunk.encoding == RawChunk::Encoding::kXor) {
        const auto samples = DecodeXor(chunk.data);
        EXPECT_TRUE(samples.ok()) << samples.status().ToString();
        for (const Sample& s : *samples) seen.push_back({s.timestamp, false, static_cast<std::uint64_t>(s.value)});
      } else {
        const auto samples = DecodeHistograms(chunk.data);
        EXPECT_TRUE(samples.ok()) << samples.status().ToString();
        for (const HistogramSample& s : *samples) seen.push_back({s.timestamp, true, IdOf(s.histogram)});
      }
      EXPECT_EQ(seen.size() - before, chunk.samples);
      EXPECT_EQ(seen[before].t, chunk.min_time);
      EXPECT_EQ(seen.back().t, chunk.max_time);
      if (before > 0) {
        EXPECT_LT(seen[before - 1].t, seen[before].t);
      }
    }
    EXPECT_TRUE(it->status().ok()) << it->status().ToString();
    return seen;
  }

  using AllSeen = std::vector<std::pair<std::string, std::vector<Seen>>>;  // labels, samples
  AllSeen SelectAll(const std::vector<Matcher>& matchers, TimeRange range) {
    AllSeen all;
    auto set = SelectSeries(context_, matchers, range, {});
    EXPECT_TRUE(set.ok()) << set.status().ToString();
    if (!set.ok()) return all;
    while ((*set)->Next()) all.emplace_back((*set)->labels().ToString(), ReadSamples(&(*set)->samples()));
    EXPECT_TRUE((*set)->status().ok()) << (*set)->status().ToString();
    return all;
  }

  std::shared_ptr<MemoryEngineFactory> factory_;
  std::unique_ptr<KvEngine> engine_;
  PostingsCache cache_{1 << 20};
  std::vector<std::unique_ptr<Shard>> shards_;
  std::shared_ptr<const QueryContext> context_;
  Lsn lsn_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_QUERY_QUERY_FIXTURE_H_
