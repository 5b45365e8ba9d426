// Options::wait_for_replay off: each shard serves as soon as its own log has been replayed.
#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/hash.h"
#include "format/series_id.h"
#include "partition/partition_map.h"
#include "tests/storage/log_loss_fixture.h"

namespace chronolith {
namespace {

Deadline Now() { return std::chrono::steady_clock::now(); }
Labels Series(int i) { return {{"__name__", "m"}, {"i", std::to_string(i)}}; }

class Readiness : public LogLossTest {
 protected:
  Readiness() {
    store_.options().on_replay = [this](const ReplayProgress& progress) {
      std::unique_lock lock(mu_);
      told_.push_back(progress);
      changed_.notify_all();
      if (progress.done && progress.shard == held_) changed_.wait(lock, [&] { return held_ != progress.shard; });
    };
  }
  ~Readiness() override { LetGo(); }

  // A killed store whose shards all have something to replay; notes which series are where.
  void Fill() {
    store_.Open();
    for (int i = 0; i < kSeries; ++i) store_.Write(Series(i), {{kT, static_cast<double>(i)}});
    for (int i = 0; i < kSeries; ++i) {
      const auto id = store_->SeriesIds({Matcher::Equal("i", std::to_string(i))});
      shard_of_.push_back(static_cast<int>(ShardOf(id->front())));
    }
    everything_ = store_.Read();
    told_.clear();
  }
  // From the next opening on, the end of this shard's replay waits.
  void Hold(std::uint32_t shard) {
    const std::lock_guard lock(mu_);
    held_ = shard;
    told_.clear();
    changed_.notify_all();
    store_.options().wait_for_replay = false;
  }
  // The next Close or Reopen finds a shard that is held: from within it, once it has ended the waits for replay, calls `let_go`.
  // `token`: of the last write.
  void WhenItEnds(CommitToken token, const std::function<void()>& let_go) {
    store_->OnReached(token, AckLevel::kSynced, [this, let_go](const Status&) {
      ended_ = store_->WaitReady(Now() + std::chrono::minutes(2));
      if (ended_.code() == StatusCode::kUnavailable) {
        for (std::thread& thread : waiting_) thread.join();
        let_go();
      } else {  // or nothing would ever end
        LetGo();
        for (std::thread& thread : waiting_) thread.join();
      }
    });
  }
  // Called in a thread of its own, ends because the store does.
  void Waits(const char* what, const std::function<Status()>& call) {
    waiting_.emplace_back([what, call] { EXPECT_EQ(call().code(), StatusCode::kUnavailable) << what; });
  }
  bool TellsOf(std::uint32_t shard) const {
    return std::any_of(told_.begin(), told_.end(), [&](const ReplayProgress& p) { return p.shard == shard; });
  }
  void AwaitHeld() {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this] { return TellsOf(held_); });
  }
  void LetGo() {
    const std::lock_guard lock(mu_);
    held_ = kNone;
    changed_.notify_all();
  }
  int SeriesIn(std::uint32_t shard) {
    for (int i = 0; i < kSeries; ++i) {
      if (shard_of_[static_cast<std::size_t>(i)] == static_cast<int>(shard)) return i;
    }
    ADD_FAILURE() << "no series in shard " << shard;
    return 0;
  }
  Contents Without(std::uint32_t shard) {
    Contents rest = everything_;
    for (int i = 0; i < kSeries; ++i) {
      if (shard_of_[static_cast<std::size_t>(i)] == static_cast<int>(shard)) rest.erase(Series(i).ToString());
    }
    return rest;
  }

  static constexpr std::uint32_t kNone = ~0U;
  std::mutex mu_;
  std::condition_variable changed_;
  std::uint32_t held_ = kNone;
  std::vector<ReplayProgress> told_;
  std::vector<int> shard_of_;
  Contents everything_;
  std::vector<std::thread> waiting_;
  Status ended_;
};
INSTANTIATE_TEST_SUITE_P(Engines, Readiness, AllEngines(), EngineName);

TEST_P(Readiness, AShardServesWhileAnotherIsStillReplayed) {
  Fill();
  Hold(2);
  store_.Kill();
  for (const std::uint32_t shard : {0U, 1U, 3U}) {  // each waits until its shard serves
    const int i = SeriesIn(shard);
    store_.Write(Series(i), {{kT + 1, 1}});
    everything_[Series(i).ToString()][kT + 1] = Shown(1);
  }
  const WriteResult refused = store_->Write(MakeSeries(Series(SeriesIn(2)), {{kT + 1, 1}}), {.deadline = Now()});
  EXPECT_EQ(refused.status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.status.message(), HasSubstr("still being replayed: shard 2"));
  ASSERT_EQ(refused.refused.size(), 1U);
  EXPECT_EQ(store_->ReachedLsn(2, AckLevel::kQueued).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(store_->ReachedLsn(1, AckLevel::kSynced).ok());

  // A query is for all shards: it waits up to its deadline, or does without.
  SelectOptions select;
  select.deadline = Now();
  EXPECT_EQ(store_->Select({}, {}, select).status().code(), StatusCode::kResourceExhausted);
  const std::atomic<bool> cancelled{true};
  EXPECT_EQ(store_->Select({}, {}, {.cancelled = &cancelled}).status().code(), StatusCode::kCancelled);
  auto some = store_->Select({}, {}, {.skip_replaying = true});
  ASSERT_TRUE(some.ok()) << some.status().ToString();
  Contents seen;
  while ((*some)->Next()) {
    SampleIterator& samples = (*some)->samples();
    Points& points = seen[(*some)->labels().ToString()];
    while (samples.Next() != ValueType::kNone) points[samples.timestamp()] = Shown(samples.value());
  }
  EXPECT_TRUE((*some)->partial());
  EXPECT_EQ(seen, Without(2));
  const auto labels = store_->Series({Matcher::Equal("__name__", "m")}, {.skip_replaying = true});
  ASSERT_TRUE(labels.ok());
  EXPECT_TRUE(labels->partial);
  EXPECT_EQ(labels->values.size(), Without(2).size());
  EXPECT_EQ(store_->LabelNames({}, {.deadline = Now()}).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(store_->Delete({Matcher::Equal("__name__", "m")}, {}, {.deadline = Now()}).status.code(),
            StatusCode::kResourceExhausted);

  AwaitHeld();
  const Status not_ready = store_->WaitReady(Now());
  EXPECT_EQ(not_ready.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(not_ready.message(), HasSubstr("shard 2 (100 %)"));
  const StorageStats stats = store_->Stats();
  for (const ShardStats& shard : stats.shards) EXPECT_EQ(shard.serving, shard.shard != 2) << shard.shard;
  EXPECT_GT(stats.shards[2].replayed_records, 0U);
  EXPECT_GE(stats.shards[2].replay_records_expected, stats.shards[2].replayed_records);

  LetGo();
  EXPECT_TRUE(store_->WaitReady().ok());
  EXPECT_TRUE(store_->Stats().shards[2].serving);
  EXPECT_EQ(store_.Read(), everything_);
  store_.Write(Series(SeriesIn(2)), {{kT + 1, 1}});
  everything_[Series(SeriesIn(2)).ToString()][kT + 1] = Shown(1);
  store_.Checkpoint();
  EXPECT_EQ(store_.Read(), everything_);
  store_.Kill();
  EXPECT_EQ(store_.Read(), everything_) << "a query waits";
}

TEST_P(Readiness, WhoHasNoDeadlineWaits) {
  Fill();
  Hold(1);
  store_.Kill();
  std::vector<std::thread> waiting;
  waiting.emplace_back([this] { EXPECT_EQ(store_.Read(), everything_); });
  waiting.emplace_back([this] { EXPECT_TRUE(store_->Checkpoint().ok()); });
  waiting.emplace_back([this] { EXPECT_TRUE(store_->Compact().ok()); });
  waiting.emplace_back([this] { EXPECT_TRUE(store_->Exemplars(Series(SeriesIn(1)), {}).ok()); });
  waiting.emplace_back([this] { EXPECT_TRUE(store_->WaitReady().ok()); });
  store_.Write(Series(SeriesIn(0)), {{kT, 0}});
  LetGo();
  for (std::thread& thread : waiting) thread.join();
}

// A crash half-way through raising the retention floor left it in one log only.
TEST_P(Readiness, TheRetentionFloorIsOneBeforeAShardServes) {
  Fill();
  store_.KillWithoutOpening();
  Rows rows = LogRows(3);
  const auto last = std::prev(rows.upper_bound(WalKey(~0ULL)));
  WalRowHeader header = HeaderOf(3, last->first, last->second);
  header.first_lsn += header.records;
  header.records = 1;
  ++header.group;
  std::string record;
  AppendFloorRecord(kT + 100, &record);
  WalRowEncoder().Append(3, header, record, false, &rows[WalKey(header.first_lsn)]);
  SetLogRows(3, rows);

  Hold(3);
  store_.Open();
  Contents above;
  for (const std::uint32_t shard : {0U, 1U, 2U}) {
    const Labels labels = Series(SeriesIn(shard));
    store_.Write(labels, {{kT + 200, 2}});  // waits until it serves
    above[labels.ToString()][kT + 200] = Shown(2);
    const WriteResult late = store_->Write(MakeSeries(labels, {{kT + 99, 1}}));
    EXPECT_EQ(late.status.code(), StatusCode::kInvalidArgument) << late.status.ToString();
    EXPECT_EQ(late.refused.size(), 1U);
  }
  auto set = store_->Select({}, {}, {.skip_replaying = true});
  ASSERT_TRUE(set.ok()) << set.status().ToString();
  Contents seen;
  while ((*set)->Next()) {
    SampleIterator& samples = (*set)->samples();
    while (samples.Next() != ValueType::kNone) seen[(*set)->labels().ToString()][samples.timestamp()] = Shown(samples.value());
  }
  EXPECT_EQ(seen, above);
  LetGo();
  EXPECT_TRUE(store_->WaitReady().ok());
  EXPECT_EQ(store_.Read(), above);
  store_.Kill();
  EXPECT_EQ(store_.Read(), above);
}

TEST_P(Readiness, SeriesOfShardsThatAreStillReplayedCountForTheLimit) {
  Fill();
  store_.Checkpoint();  // state rows have these, logs the next ones
  for (int i = kSeries; i < 2 * kSeries; ++i) store_.Write(Series(i), {{kT, static_cast<double>(i)}});
  store_.options().max_series = 2 * kSeries + 1;
  Hold(3);
  store_.Kill();
  for (const std::uint32_t shard : {0U, 1U, 2U}) store_.Write(Series(SeriesIn(shard)), {{kT + 1, 1}});  // waits until it serves
  std::size_t accepted = 0;
  const auto write_new = [&](int first) {
    for (int i = first; i < first + kSeries; ++i) {
      if (PartitionMap::Uniform(4).ShardFor(StableHash(Series(i).encoded())) == 3) continue;
      const WriteResult result = store_->Write(MakeSeries(Series(i), {{kT, 1}}));
      accepted += result.accepted;
      if (result.accepted == 0) {
        EXPECT_THAT(result.status.message(), HasSubstr("max_series"));
      }
    }
  };
  write_new(2 * kSeries);
  EXPECT_EQ(accepted, 1U);
  LetGo();
  EXPECT_TRUE(store_->WaitReady().ok());
  write_new(3 * kSeries);
  EXPECT_EQ(accepted, 1U);
  EXPECT_EQ(store_.Read().size(), 2U * kSeries + 1);
}

TEST_P(Readiness, TellsHowFarReplayIs) {
  Fill();
  store_.Kill();  // waits: the default
  std::map<std::uint32_t, ReplayProgress> last;
  for (const ReplayProgress& progress : told_) last[progress.shard] = progress;
  ASSERT_EQ(last.size(), 4U);
  for (const auto& [shard, progress] : last) {
    EXPECT_TRUE(progress.done);
    EXPECT_GT(progress.records, 0U);
    EXPECT_EQ(progress.records_expected, progress.records) << "nothing is added to a log that is replayed";
    EXPECT_EQ(progress.seconds_left, 0);
  }
  EXPECT_TRUE(store_->WaitReady(Now()).ok());
}

TEST_P(Readiness, ClosingMeanwhileEndsReplayAndLosesNothing) {
  Fill();
  store_.options().background_threads = 1;  // one shard after the other
  Hold(1);
  store_.Kill();
  const WriteResult written = store_->Write(MakeSeries(Series(SeriesIn(0)), {{kT + 5, 5}}));
  EXPECT_TRUE(written.ok()) << written.status.ToString();
  everything_[Series(SeriesIn(0)).ToString()][kT + 5] = Shown(5);
  AwaitHeld();
  WhenItEnds(written.token, [this] { LetGo(); });
  EXPECT_TRUE(store_->Close().ok());
  EXPECT_EQ(ended_.code(), StatusCode::kUnavailable) << ended_.ToString();
  EXPECT_FALSE(TellsOf(2) || TellsOf(3)) << "replayed all the same";
  store_.Open();
  EXPECT_EQ(store_.Read(), everything_);
}

TEST_P(Readiness, ReopeningMeanwhileEndsWaitsAndLosesNothing) {
  Fill();
  store_.options().background_threads = 1;
  Hold(kNone);
  store_.Kill();
  const std::unique_ptr<Appender> appender = store_->NewAppender();
  const auto first = appender->Ref(Series(SeriesIn(0)));
  const auto last = appender->Ref(Series(SeriesIn(3)));
  ASSERT_TRUE(first.ok() && last.ok());
  EXPECT_TRUE(store_->WaitReady().ok());
  Hold(1);
  EXPECT_TRUE(store_->Reopen().ok());
  appender->Append(*first, kT + 5, 5);
  const WriteResult written = appender->Commit();
  EXPECT_TRUE(written.ok()) << written.status.ToString();
  everything_[Series(SeriesIn(0)).ToString()][kT + 5] = Shown(5);

  AwaitHeld();
  Waits("Select", [this] { return store_->Select({}, {}).status(); });
  Waits("Series", [this] { return store_->Series({}).status(); });
  Waits("SeriesIds", [this] { return store_->SeriesIds({}).status(); });
  Waits("Exemplars", [this] { return store_->Exemplars(Series(SeriesIn(3)), {}).status(); });
  Waits("SeriesMetadata", [this] { return store_->SeriesMetadata(Series(SeriesIn(3))).status(); });
  Waits("Delete", [this] { return store_->Delete({Matcher::Equal("i", "no")}, {}).status; });
  Waits("Checkpoint", [this] { return store_->Checkpoint(); });
  Waits("Compact", [this] { return store_->Compact().status(); });
  Waits("Scrub", [this] { return store_->Scrub().status(); });
  Waits("WaitReady", [this] { return store_->WaitReady(); });
  WhenItEnds(written.token, [this] { Hold(3); });  // the next time, so it lets go of the other
  EXPECT_TRUE(store_->Reopen().ok());
  EXPECT_EQ(ended_.code(), StatusCode::kUnavailable) << ended_.ToString();

  // A reference from before both, to a shard that is still replayed.
  appender->Append(*last, kT + 6, 6);
  EXPECT_EQ(appender->Commit({.deadline = Now()}).refused.size(), 1U);
  LetGo();
  EXPECT_TRUE(store_->WaitReady().ok());
  appender->Append(*last, kT + 6, 6);
  EXPECT_TRUE(appender->Commit().ok());
  everything_[Series(SeriesIn(3)).ToString()][kT + 6] = Shown(6);
  EXPECT_EQ(store_.Read(), everything_);
}

// Stops whoever tells that a shard is quarantined, until it is let go. Relaxed: nothing but the store orders the two threads.
class StoppingLogger : public Logger {
 public:
  void Log(LogLevel, std::string_view message) override {
    if (message.find("is quarantined") == std::string_view::npos || let_go.load(std::memory_order_relaxed)) return;
    stopped.store(true, std::memory_order_relaxed);
    while (!let_go.load(std::memory_order_relaxed)) std::this_thread::yield();
  }
  std::atomic<bool> stopped{false};
  std::atomic<bool> let_go{false};
};

// ThreadSanitizer tells what Stats reads of a shard that recovery is at.
TEST_P(Readiness, StatsDoNotLookAtAShardThatIsBeingQuarantined) {
  Fill();
  store_.KillWithoutOpening();
  Rows rows = LogRows(0);
  rows.erase(Nth(&rows, 2));
  SetLogRows(0, rows);
  const auto logger = std::make_shared<StoppingLogger>();
  store_.options().logger = logger;
  store_.options().wait_for_replay = false;
  store_.Open();
  while (!logger->stopped.load(std::memory_order_relaxed)) std::this_thread::yield();
  const StorageStats stats = store_->Stats();
  logger->let_go.store(true, std::memory_order_relaxed);
  EXPECT_EQ(stats.shards.at(0).quarantine, "");
  EXPECT_FALSE(stats.shards.at(0).serving);
  EXPECT_TRUE(stats.losses.empty());
  EXPECT_TRUE(store_->WaitReady().ok());
  EXPECT_NE(store_->Stats().shards.at(0).quarantine, "");
}

TEST(ReadinessOfLogs, AShardThatCannotBeReadFailsTheStoreUntilItIsReopened) {
  std::atomic<bool> broken{false};
  TestStore store("memory", {.on_call = [&](EngineMethod method, const std::string& path) {
                    const bool fails = broken.load() && method == EngineMethod::kRead && path.ends_with("log");
                    return fails ? IoError("injected") : Status::Ok();
                  }});
  store.Open();
  store.Write(Series(0), {{kT, 1}});
  const Contents before = store.Read();
  store.KillWithoutOpening();
  store.options().wait_for_replay = false;
  std::atomic<bool> armed{true};
  store.options().on_replay = [&](const ReplayProgress&) { broken.store(armed.exchange(false)); };  // for the next shard's log
  store.options().background_threads = 1;
  store.Open();
  const Status failed = store->WaitReady();
  EXPECT_EQ(failed.code(), StatusCode::kUnavailable);
  EXPECT_THAT(failed.message(), HasSubstr("injected"));
  EXPECT_EQ(store->Write(MakeSeries(Series(0), {{kT + 1, 1}})).status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(store->Select({}, {}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store->Checkpoint().code(), StatusCode::kUnavailable);
  broken.store(false);
  EXPECT_TRUE(store->Reopen().ok());
  EXPECT_TRUE(store->WaitReady().ok());
  EXPECT_EQ(store.Read(), before);
}

}  // namespace
}  // namespace chronolith
