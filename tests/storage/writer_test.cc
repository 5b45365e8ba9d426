// The write path at its bounds: what is refused leaves nothing behind, and nobody waits for what will not come.
#include "storage/writer.h"

#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "storage/core.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/sleeps.h"

namespace chronolith {
namespace {

using testing::HasSubstr;

constexpr Timestamp kT = 1'700'000'000'000;

Labels Named(std::string_view name, int i = 0) { return {{"__name__", name}, {"i", std::to_string(i)}}; }

// ---- Memory ----

// A batch of one series lies in one shard: each of many such batches leaves its own behind.
TEST(Writer, KeepsABoundedPartOfEachShardsLastBatch) {
  Writer writer;
  constexpr std::uint32_t kShards = 31, kSamples = 50'000;
  for (std::uint32_t shard = 0; shard < kShards; ++shard) {
    const SeriesRef ref = MakeSeriesRef(shard, 7);
    for (std::uint32_t i = 0; i < kSamples; ++i) writer.AddSample(ref, i, 1, i);
    EXPECT_GE(writer.held_bytes(), kSamples * sizeof(SampleEntry));
    writer.Clear();
    for (std::uint32_t i = 0; i < 5000; ++i) writer.AddItem(ref, Exemplar{.labels = {}, .value = 1, .timestamp = i}, i);
    writer.Clear();
    EXPECT_EQ(writer.held_bytes(), 0U);
  }
  for (std::uint32_t shard = 0; shard < kShards; ++shard) {
    for (std::uint32_t i = 0; i < 1000; ++i) writer.AddSample(MakeSeriesRef(shard, 7), i, 1, i);
  }
  writer.Clear();
  EXPECT_GE(writer.held_bytes(), kShards * 1000 * sizeof(SampleEntry)) << "the usual is kept, for speed";
  EXPECT_LE(writer.held_bytes(), kShards * Writer::kBucketBytesKept);
}

// ---- References to removed series ----

// A writer that waited for the end of the compaction here would wait for ever.
TEST(StaleReference, IsResolvedWhileACompactionRuns) {
  std::function<void()> meanwhile;
  TestStore store("memory", {.on_call = [&](EngineMethod method, const std::string&) {
                    if (method == EngineMethod::kCompact && meanwhile) std::thread(std::exchange(meanwhile, nullptr)).join();
                    return Status::Ok();
                  }});
  store.Open();
  const std::unique_ptr<Appender> appender = store->NewAppender();
  const SeriesRef old = appender->Ref(Named("n")).value();
  store.Write(Named("n"), {{kT, 1}});
  ASSERT_TRUE(store->Delete({Matcher::Equal("__name__", "n")}, {}).ok());
  store.Compact();
  WriteResult late;
  meanwhile = [&] {
    appender->Append(old, kT + 1, 2);
    late = appender->Commit();
  };
  store.Compact();
  ASSERT_FALSE(meanwhile) << "no compaction ran";
  EXPECT_TRUE(late.ok()) << late.status.ToString();
  EXPECT_EQ(store.Read(), (Contents{{Named("n").ToString(), {{kT + 1, Shown(2)}}}}));
}

// ---- Beside a compaction ----

TEST(Compact, LetsCheckpointsCome) {
  std::function<void()> on_read;
  std::function<void()> on_compact;
  TestStore store("memory", {.on_call = [&](EngineMethod method, const std::string& path) {
                    // Engine calls are made under locks, so from a thread of its own.
                    const bool data = path.ends_with("/data");
                    if (data && method == EngineMethod::kRead && on_read) std::thread(on_read).join();
                    if (data && method == EngineMethod::kCompact && on_compact) std::thread(on_compact).join();
                    return Status::Ok();
                  }});
  store.options().shards = 1;
  store.options().checkpoint_bytes = 64 << 10;
  store.Open();
  store.Write(Named("n"), {{kT, 1}});
  store.Checkpoint();
  const std::uint64_t before = store->Stats().checkpoints;
  // Compact makes one at its beginning. Then chunks are read, and thereafter what series have data, by who holds the upkeep mutex.
  int reads = 0;
  std::uint64_t at_last_read = 0;
  on_read = [&] {
    at_last_read = store->Stats().checkpoints;
    if (at_last_read == before + 1 && ++reads == 1) {
      std::vector<Sample> samples(20'000);
      for (std::size_t i = 0; i < samples.size(); ++i)
        samples[i] = {kT + static_cast<Timestamp>(i), 1.0 / (1.0 + static_cast<double>(i))};
      EXPECT_TRUE(store->Write(MakeSeries(Named("m"), samples)).ok());
    }
  };
  // Nobody waits for the engine.
  bool checkpointed = false;
  on_compact = [&] { checkpointed = store->Checkpoint().ok(); };
  store.Compact();
  on_read = nullptr;
  on_compact = nullptr;
  EXPECT_GE(reads, 1);
  EXPECT_GE(at_last_read, before + 2) << "what became due while chunks were compacted";
  EXPECT_TRUE(checkpointed);
  EXPECT_EQ(store.Read().size(), 2U);
}

// ---- Deadlines ----

// Whoever creates series or writes items does so under the shard's series mutex, and may wait for room there for seconds.
TEST(Deadline, BoundsTheWaitForAnotherWriteThatChangesSeries) {
  for (const DuplicatePolicy policy : {DuplicatePolicy::kLastWins, DuplicatePolicy::kReject}) {
    TestStore store("memory");
    store.options().shards = 1;
    store.options().duplicate_policy = policy;
    store.options().commit_interval_ms = 100'000;  // nobody but this thread leads a commit, which would have its deadline pass
    auto opened = Core::Open(store.options(), store.path(), nullptr);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    const std::unique_ptr<Core> core = std::move(*opened);
    Writer writer;
    std::vector<SeriesRef> refs;
    std::vector<Refusal> refused;
    const std::vector<Labels> known = {Named("known")};
    writer.Resolve(core.get(), known, kNoDeadline, &refs, &refused);
    ASSERT_TRUE(refused.empty());
    const SeriesRef ref = refs[0];
    Shard& shard = core->shard(0);
    const auto soon = [] { return std::chrono::steady_clock::now() + std::chrono::milliseconds(2); };
    const auto commit = [&](WriteOptions options) { return writer.Commit(core.get(), options, Status::Ok()); };
    {
      MeasuredLock another(&shard.series_mu);
      const std::vector<Labels> fresh = {Named("new")};
      writer.Resolve(core.get(), fresh, soon(), &refs, &refused);
      ASSERT_EQ(refused.size(), 1U);
      EXPECT_EQ(refused[0].reason.code(), StatusCode::kResourceExhausted) << refused[0].reason.ToString();
      EXPECT_EQ(refs[0].id, 0U);
      writer.AddItem(ref, Metadata{}, 0);
      const WriteResult item = commit({.deadline = soon()});
      ASSERT_EQ(item.refused.size(), 1U);
      EXPECT_EQ(item.status.code(), StatusCode::kResourceExhausted) << item.status.ToString();
      writer.AddSample(ref, kT, 1, 0);
      const WriteResult sample = commit({.deadline = soon()});
      EXPECT_EQ(sample.status.code(), policy == DuplicatePolicy::kReject ? StatusCode::kResourceExhausted : StatusCode::kOk)
          << sample.status.ToString();
    }
    EXPECT_EQ(core->series_total(), 1U);
    writer.AddItem(ref, Metadata{}, 0);
    EXPECT_TRUE(commit({.deadline = std::chrono::steady_clock::now() + std::chrono::hours(1)}).ok());
  }
}

// ---- Room ----

TEST(Writer, SeriesThatTheIndexHasNoRoomForAreNotLogged) {
  TestStore store("memory");
  // For indices with room for some hundred series, which the core destroys.
  PostingsCache cache(1 << 20);
  auto rows = MakeMemoryEngineFactory()->Open("rows", {.families = {{.name = "index"}}});
  ASSERT_TRUE(rows.ok());
  auto opened = Core::Open(store.options(), store.path(), nullptr);
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  const std::unique_ptr<Core> core = std::move(*opened);
  std::vector<Lsn> before;
  for (std::size_t i = 0; i < core->size(); ++i) {
    core->shard(i).index = std::make_unique<IndexShard>(rows->get(), IndexShardOptions{.cache = &cache, .label_bytes_max = 6000});
    before.push_back(core->shard(i).wal->last_lsn());
  }
  Writer writer;
  std::size_t created = 0;
  std::size_t refused = 0;
  for (int batch = 0; batch < 200; ++batch) {
    std::vector<Labels> labels;
    for (int i = 0; i < 20; ++i) labels.push_back(Named(std::string(80, 'n') + std::to_string(batch), i));
    std::vector<SeriesRef> refs;
    std::vector<Refusal> refusals;
    writer.Resolve(core.get(), labels, kNoDeadline, &refs, &refusals);
    for (const Refusal& r : refusals) {
      EXPECT_EQ(r.reason.code(), StatusCode::kResourceExhausted) << r.reason.ToString();
      EXPECT_THAT(r.reason.message(), HasSubstr("no room"));
      EXPECT_EQ(refs[r.series].id, 0U);
    }
    for (std::size_t i = 0; i < refs.size(); ++i) {
      if (refs[i].id == 0) continue;
      const SeriesKey key{StableHash(labels[i].encoded()), labels[i].encoded()};
      EXPECT_EQ(core->ShardFor(key.hash).index->FindResident(key), OrdinalOf(refs[i])) << "what is accepted is findable";
    }
    refused += refusals.size();
    created += refs.size() - refusals.size();
  }
  EXPECT_GT(created, 100U);
  EXPECT_GT(refused, 100U);
  std::uint64_t series = 0;
  for (std::size_t i = 0; i < core->size(); ++i) {
    const Shard& shard = core->shard(i);
    series += shard.next_ordinal.load();
    EXPECT_EQ(shard.next_ordinal.load(), shard.index->resident_series());
    EXPECT_LE(shard.wal->last_lsn() - before[i], shard.index->resident_series()) << "no record of a refused series";
  }
  EXPECT_EQ(series, created);
  EXPECT_EQ(core->series_total(), created);
  EXPECT_FALSE(core->wal().failed());
}

TEST(Items, ADeleteOfSparseOrdinalsFitsItsRecords) {
  for (const std::uint32_t step : {1U, 7U, 60'000U, 65'536U, 70'000U, 0U}) {
    SCOPED_TRACE(step);
    std::vector<Ordinal> all;
    for (std::uint64_t o = 0; all.size() < 60'000 && o < 0xffffffff; o += step != 0 ? step : all.size() % 2 == 0 ? 3 : 90'000) {
      all.push_back(static_cast<Ordinal>(o));
    }
    OrdinalSet covered;
    std::size_t records = 0;
    for (std::span<const Ordinal> left = all; !left.empty(); ++records) {
      const std::span<const Ordinal> some = left.first(OrdinalsThatFit(left));
      ASSERT_FALSE(some.empty());
      left = left.subspan(some.size());
      OrdinalSet set;
      set.AddMany(some);
      covered.UnionWith(set);
      std::string record;
      AppendDeleteRecord({kMinTimestamp, kMaxTimestamp}, EncodeOrdinals(set), &record);
      EXPECT_LE(record.size(), kRecordBytesMax);
    }
    EXPECT_EQ(covered.size(), all.size());
    EXPECT_LE(records, all.size() * 10 / kOrdinalBytesMax + 1) << "few records";
  }
  EXPECT_EQ(OrdinalsThatFit({}), 0U);
}

// ---- Memory ----

// A store over its budget that no checkpoint can help: those fail until Relieve.
class OverBudget : public testing::Test {
 protected:
  OverBudget() {
    store_.options().memory_budget = budget_;
    store_.options().backpressure_wait_ms = 0;
  }
  void Exceed() {
    store_.Open();
    broken_ = true;
    budget_->ForceReserve(1ULL << 30);
    std::vector<Sample> samples(2000);
    WriteResult result;
    for (int i = 0; result.ok(); ++i) {
      for (std::size_t s = 0; s < samples.size(); ++s)
        samples[s] = {kT + i * 2000 + static_cast<Timestamp>(s), 1.0 / (1.0 + i + static_cast<double>(s))};
      result = store_->Write(MakeSeries(Named("filler"), samples));
    }
    ASSERT_EQ(result.status.code(), StatusCode::kResourceExhausted) << result.status.ToString();
  }
  void Relieve() {
    broken_ = false;
    budget_->Release(1ULL << 30);
    store_.Checkpoint();
  }
  std::uint64_t SeriesTotal() {
    std::uint64_t n = 0;
    for (const ShardStats& s : store_->Stats().shards) n += s.series_total;
    return n;
  }
  std::vector<Lsn> LastLsns() {
    std::vector<Lsn> lsns;
    for (const ShardStats& s : store_->Stats().shards) lsns.push_back(s.last_lsn);
    return lsns;
  }

  std::atomic<bool> broken_{false};
  std::shared_ptr<MemoryBudget> budget_ = std::make_shared<MemoryBudget>(256ULL << 20);
  TestStore store_{"memory", {.on_call = [this](EngineMethod method, const std::string& path) {
                     const bool data = path.ends_with("/data");
                     return data && method == EngineMethod::kFlush && broken_ ? IoError("injected") : Status::Ok();
                   }}};
};

TEST_F(OverBudget, ARefusedWriterCreatesNoSeries) {
  Exceed();
  const std::uint64_t before = SeriesTotal();
  TimeSeries one = MakeSeries(Named("new", 1), {{kT, 1}, {kT + 1, 2}});
  one.metadata.push_back({});
  const std::vector<TimeSeries> batch = {one, MakeSeries(Named("filler"), {{kT - 1, 1}}), MakeSeries(Named("new", 2), {{kT, 1}})};
  const WriteResult result = store_->Write(batch);
  EXPECT_EQ(result.status.code(), StatusCode::kResourceExhausted) << result.status.ToString();
  EXPECT_EQ(result.accepted, 0U);
  std::vector<std::tuple<std::size_t, Refusal::What, std::size_t>> refused;
  for (const Refusal& r : result.refused) {
    EXPECT_EQ(r.reason, result.status);
    refused.emplace_back(r.series, r.what, r.item);
  }
  using What = Refusal::What;
  EXPECT_EQ(
      refused,
      (std::vector<std::tuple<std::size_t, What, std::size_t>>{
          {0, What::kSample, 0}, {0, What::kSample, 1}, {0, What::kMetadata, 0}, {1, What::kSample, 0}, {2, What::kSample, 0}}));
  auto appender = store_->NewAppender();
  std::vector<SeriesRef> refs;
  const WriteResult none = appender->Refs(std::vector<Labels>{Named("new", 3), Named("new", 4)}, &refs);
  EXPECT_EQ(none.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(none.refused.size(), 2U);
  EXPECT_EQ(refs, std::vector<SeriesRef>(2));
  EXPECT_EQ(SeriesTotal(), before);
  Relieve();
  store_.Write(Named("new", 1), {{kT, 1}});
  EXPECT_EQ(SeriesTotal(), before + 1);
}

// Whoever waits for memory is told when the log fails: no checkpoint will come that could make room.
TEST_F(OverBudget, AFailedLogEndsTheWaitForMemory) {
  broken_ = true;
  budget_->ForceReserve(1ULL << 30);
  store_.options().backpressure_wait_ms = 24 * 3600 * 1000;
  store_.Open();
  ASSERT_TRUE(store_->Flush().ok());
  const std::vector<Lsn> before = LastLsns();
  std::atomic<pid_t> id{0};
  WriteResult last;
  std::thread writer([&] {
    const TimeSeries series = MakeSeries(Named("waits"), {{kT, 1}});
    id = gettid();
    last = store_->Write(series);
  });
  // The store is over its budget from the start: the first thing for which the writer sleeps is memory.
  testing_support::AwaitSleep(id);
  store_.memory().FailCall(EngineMethod::kSyncLog, 1, IoError("injected"));
  EXPECT_EQ(store_->Flush().code(), StatusCode::kUnavailable);
  writer.join();
  EXPECT_EQ(last.status.code(), StatusCode::kUnavailable) << last.status.ToString();
  EXPECT_EQ(SeriesTotal(), 0U) << "it was memory that it waited for: nothing of it came as far as the log";
  EXPECT_EQ(LastLsns(), before);
  budget_->Release(1ULL << 30);
}

// ---- Callbacks ----

class Callbacks : public EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, Callbacks, AllEngines(), EngineName);

// Whatever a callback does with the store meanwhile, Reopen and Close end, and each is told once.
TEST_P(Callbacks, MayCallTheStoreWhileItIsReopenedAndClosed) {
  store_.options().commit_interval_ms = 1;
  for (const bool reopen : {true, false}) {
    store_.Open();
    constexpr int kThreads = 3;
    constexpr int kEach = 100;
    std::atomic<int> told{0};
    std::atomic<int> twice{0};
    std::vector<std::atomic<int>> runs(kThreads * kEach);
    std::vector<std::thread> threads;
    std::atomic<int> left{kThreads};
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          const WriteResult result = store_->Write(MakeSeries(Named("c", t), {{kT + i, 1}}), {.level = AckLevel::kQueued});
          store_->OnReached(result.token, static_cast<AckLevel>(i % 3), [&, n = t * kEach + i](const Status& status) {
            EXPECT_TRUE(status.ok() || status.code() == StatusCode::kUnavailable) << status.ToString();
            EXPECT_TRUE(store_->Series({}).ok());
            (void)store_->Write(MakeSeries(Named("from callback"), {{kT + n, 1}}), {.level = AckLevel::kQueued});
            store_->OnReached({}, AckLevel::kQueued, [&twice](const Status&) { twice.fetch_add(1); });
            runs[static_cast<std::size_t>(n)].fetch_add(1);
            told.fetch_add(1);
          });
        }
        left.fetch_sub(1);
      });
    }
    while (reopen && left.load() > 0) {
      const Status status = store_->Reopen();
      EXPECT_TRUE(status.ok()) << status.ToString();
    }
    for (std::thread& thread : threads) thread.join();
    store_.Close();
    EXPECT_EQ(told.load(), kThreads * kEach);
    EXPECT_EQ(twice.load(), kThreads * kEach);
    for (const std::atomic<int>& n : runs) EXPECT_EQ(n.load(), 1);
  }
}

TEST(Callbacks, AreToldWhatWaitTells) {
  TestStore store("memory");
  store.Open();
  store.Write(Named("reached"), {{kT, 1}}, AckLevel::kSynced);
  const CommitToken reached = store->Write(MakeSeries(Named("reached"), {{kT + 1, 1}})).token;
  store.memory().FailCall(EngineMethod::kWrite, 1, IoError("injected"));
  const WriteResult lost = store->Write(MakeSeries(Named("lost"), {{kT, 1}}));
  EXPECT_EQ(lost.status.code(), StatusCode::kUnavailable);
  const auto compare = [&](CommitToken token, const char* when) {
    for (const AckLevel level : {AckLevel::kQueued, AckLevel::kLogged, AckLevel::kSynced}) {
      std::atomic<bool> told{false};
      Status status;
      store->OnReached(token, level, [&](Status s) {
        status = std::move(s);
        told = true;
      });
      while (!told) std::this_thread::yield();
      EXPECT_EQ(status, store->Wait(token, level)) << when << ", level " << static_cast<int>(level);
    }
  };
  compare(reached, "logged before the failure");
  compare(lost.token, "lost");
  store.memory().FailCall(EngineMethod::kOpen, 1, IoError("injected"));
  EXPECT_FALSE(store->Reopen().ok());
  compare(lost.token, "while the store cannot be reopened");
  const CommitToken late = store->Write(MakeSeries(Named("late"), {{kT, 1}})).token;
  compare(late, "refused by a store that cannot be reopened");
  ASSERT_TRUE(store->Reopen().ok());
  compare(lost.token, "after reopening");
  compare({}, "no token");
}

}  // namespace
}  // namespace chronolith
