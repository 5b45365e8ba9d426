// Crashes: what was acknowledged at a level that survives is there, what is missing is a suffix per shard, and loss is never
// silent.
#include <algorithm>
#include <functional>
#include <random>
#include <set>

#include "format/wal_record.h"
#include "tests/contract/seed.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

using testing::HasSubstr;

constexpr Timestamp kT = 1'700'000'000'000;

class Recovery : public EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, Recovery, AllEngines(), EngineName);
class RecoveryOfDirectories : public EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, RecoveryOfDirectories, EnginesWithDirectories(), EngineName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RecoveryOfDirectories);

Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

// ---- Cycles of writing and crashing ----

// Writes of one series (hence one shard) at a time, each with its place in the order and the level it was acknowledged at.
class AcknowledgedWrites {
 public:
  void Wrote(int series, Timestamp t, AckLevel level) { writes_[series].push_back({t, level}); }

  // What is there must be all that was acknowledged at `surviving` or higher, and a prefix of the rest. What was lost is forgotten.
  void CheckAfterCrash(Storage* store, AckLevel surviving) {
    for (auto& [series, writes] : writes_) {
      const Contents contents = Read(store, {Matcher::Equal("i", std::to_string(series))});
      const auto it = contents.find(Numbered(series).ToString());
      const Points& points = it == contents.end() ? none_ : it->second;
      std::size_t kept = 0;
      while (kept < writes.size() && points.contains(writes[kept].t)) ++kept;
      for (std::size_t i = kept; i < writes.size(); ++i) {
        EXPECT_FALSE(points.contains(writes[i].t)) << "series " << series << ": a hole before " << writes[i].t;
        EXPECT_LT(writes[i].level, surviving) << "series " << series << " lost an acknowledged write at " << writes[i].t;
      }
      EXPECT_EQ(points.size(), kept) << "series " << series << " has samples that nobody wrote";
      writes.resize(kept);
      for (auto& write : writes) write.level = AckLevel::kSynced;  // recovery has synced what it found
    }
  }

 private:
  struct Write {
    Timestamp t;
    AckLevel level;
  };
  std::map<int, std::vector<Write>> writes_;
  const Points none_{};
};

TEST(RecoveryCycles, AcknowledgedWritesSurviveAndTheRestIsAPrefix) {
  const std::uint64_t seed = TestSeed();
  std::mt19937_64 rng(seed);
  AdversarialOptions adversarial;
  adversarial.seed = seed;
  adversarial.spontaneous_flush_probability = 0.05;
  TestStore store("memory", adversarial);
  store.options().window_ms = 10'000;
  store.options().max_samples_per_chunk = 16;
  store.options().commit_interval_ms = 1000;  // what is queued stays queued for a while
  store.Open();
  AcknowledgedWrites model;
  Timestamp t = kT;
  for (int cycle = 0; cycle < 60; ++cycle) {
    SCOPED_TRACE("cycle " + std::to_string(cycle));
    const int writes = static_cast<int>(rng() % 60);
    for (int i = 0; i < writes; ++i) {
      const int series = static_cast<int>(rng() % 12);
      const auto level = static_cast<AckLevel>(rng() % 8 == 0 ? 2 : rng() % 2);
      t += 1 + static_cast<Timestamp>(rng() % 500);
      store.Write(Numbered(series), {{t, static_cast<double>(t)}}, level);
      model.Wrote(series, t, level);
      if (rng() % 40 == 0) store.Checkpoint();
      if (rng() % 150 == 0) store.Compact();
    }
    if (rng() % 2 == 0) {
      store.Kill();
      model.CheckAfterCrash(store.get(), AckLevel::kLogged);
    } else {
      store.LosePower();
      model.CheckAfterCrash(store.get(), AckLevel::kSynced);
    }
    if (testing::Test::HasFailure()) break;
  }
}

TEST_P(Recovery, AcknowledgedWritesSurviveManyKills) {
  store_.Open();
  AcknowledgedWrites model;
  Timestamp t = kT;
  for (int cycle = 0; cycle < 8; ++cycle) {
    SCOPED_TRACE("cycle " + std::to_string(cycle));
    for (int i = 0; i < 200; ++i) {
      store_.Write(Numbered(i % 7), {{++t, 1}}, i % 3 == 0 ? AckLevel::kQueued : AckLevel::kLogged);
      model.Wrote(i % 7, t, i % 3 == 0 ? AckLevel::kQueued : AckLevel::kLogged);
    }
    if (cycle % 3 == 1) store_.Checkpoint();
    store_.Kill();
    model.CheckAfterCrash(store_.get(), AckLevel::kLogged);
  }
}

TEST_P(Recovery, CloseKeepsWhatWasOnlyQueued) {
  store_.options().commit_interval_ms = 100'000;
  store_.Open();
  for (int i = 0; i < 100; ++i) store_.Write(Numbered(i), {{kT, 1}}, AckLevel::kQueued);
  store_.Restart();
  EXPECT_EQ(store_.Read().size(), 100U);
}

// ---- Identity ----

TEST_P(Recovery, IdsAreNeverUsedTwice) {
  store_.Open();
  std::set<std::uint64_t> seen;
  int next = 0;
  for (int cycle = 0; cycle < 4; ++cycle) {
    SCOPED_TRACE("cycle " + std::to_string(cycle));
    auto appender = store_->NewAppender();
    for (int i = 0; i < 30; ++i) {
      const SeriesRef ref = appender->Ref(Numbered(next++)).value();
      EXPECT_TRUE(seen.insert(ref.id).second) << "an id was given to two series";
      appender->Append(ref, kT, 1);
    }
    EXPECT_TRUE(appender->Commit().ok());
    appender.reset();
    if (cycle % 2 == 1) store_.Checkpoint();
    if (cycle == 2) {  // all series go; their ids do not come back
      EXPECT_TRUE(store_->Delete({Matcher::Equal("__name__", "n")}, {}).ok());
      store_.Checkpoint();
      const auto compacted = store_->Compact();
      ASSERT_TRUE(compacted.ok()) << compacted.status().ToString();
      EXPECT_EQ(compacted->series_removed, 90U);
      EXPECT_EQ(store_.Read().size(), 0U);
    }
    store_.Kill();
  }
  EXPECT_EQ(store_.Read().size(), 30U);
}

TEST_P(Recovery, PositionsInTheLogOnlyRise) {
  store_.Open();
  std::vector<Lsn> before(4, 0);
  std::vector<std::uint64_t> epochs(4, 0);
  for (int cycle = 0; cycle < 6; ++cycle) {
    for (int i = 0; i < 20; ++i) store_.Write(Numbered(i), {{kT + cycle, 1}});
    if (cycle % 2 == 0) store_.Checkpoint();
    const StorageStats stats = store_->Stats();
    for (std::size_t k = 0; k < 4; ++k) {
      EXPECT_GT(stats.shards[k].last_lsn, before[k]);
      EXPECT_GT(stats.shards[k].epoch, epochs[k]);
      before[k] = stats.shards[k].last_lsn;
      epochs[k] = stats.shards[k].epoch;
    }
    if (cycle % 3 == 0) {
      store_.Restart();
    } else {
      store_.Kill();
    }
  }
}

TEST_P(Recovery, DeletesSurvive) {
  store_.Open();
  std::vector<Sample> samples;
  for (int i = 0; i < 100; ++i) samples.push_back({kT + i, 1.0 * i});
  store_.Write(Numbered(1), samples);
  store_.Checkpoint();
  ASSERT_TRUE(store_->Delete({Matcher::Equal("i", "1")}, {kT + 10, kT + 90}).ok());
  for (int i = 0; i < 3; ++i) {
    store_.Kill();
    EXPECT_EQ(store_.Read()[Numbered(1).ToString()].size(), 20U) << i;
    if (i == 1) store_.Checkpoint();
  }
}

// A value that replay brings back stands against stored ones of the same timestamp, which may lie in an overlay.
TEST_P(Recovery, AValueWrittenAgainBehindTheLastCheckpointStays) {
  store_.Open();
  store_.Write(Numbered(1), {{kT, 1}, {kT + 1, 1}, {kT + 2, 1}});
  store_.Checkpoint();
  store_.Write(Numbered(1), {{kT, 2}, {kT + 1, 2}});
  store_.Checkpoint();
  store_.Write(Numbered(1), {{kT, 3}});
  const Contents expected = {{Numbered(1).ToString(), {{kT, Shown(3.0)}, {kT + 1, Shown(2.0)}, {kT + 2, Shown(1.0)}}}};
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), expected); });
}

TEST_P(Recovery, TheRetentionFloorSurvives) {
  const auto clock = std::make_shared<FakeClock>(kT);
  store_.options().clock = clock;
  store_.options().retention_ms = 3'600'000;
  store_.options().window_ms = 600'000;
  store_.Open();
  for (int i = 0; i < 300; ++i) store_.Write(Numbered(1), {{kT - 18'000'000 + i * 60'000, 1.0 * i}});
  store_.Write(Numbered(2), {{kT - 10'000'000, 1}});
  store_.Write(Numbered(3), {{kT + 1'000'000'000'000, 1}});  // the future expires nothing
  store_.Checkpoint();
  const Timestamp floor = kT - 3'600'000;
  const auto check = [&](const char* when) {
    SCOPED_TRACE(when);
    const Contents contents = store_.Read();
    EXPECT_EQ(contents.size(), 2U);
    ASSERT_TRUE(contents.contains(Numbered(1).ToString()));
    EXPECT_GE(contents.at(Numbered(1).ToString()).begin()->first, floor);
    EXPECT_EQ(contents.at(Numbered(1).ToString()).size(), 60U);
    EXPECT_EQ(store_->Write(MakeSeries(Numbered(4), {{floor - 1, 1}})).status.code(), StatusCode::kInvalidArgument);
  };
  check("live");
  store_.Kill();
  check("killed");
  clock->Set(0);  // a clock that jumps back does not bring expired samples back
  store_.Restart();
  store_.Checkpoint();
  check("with a clock of 1970");
  store_.Compact();
  check("compacted");
  const auto series = store_->Series({}).value().values;
  EXPECT_TRUE(std::none_of(series.begin(), series.end(), [](const Labels& l) { return l == Numbered(2); }))
      << "expired series leave the index";
}

TEST_P(Recovery, RetentionBySizeDropsTheOldestWindows) {
  store_.options().window_ms = 60'000;
  store_.options().retention_bytes = 640 << 10;  // sizes are estimated in blocks of some 32 KiB
  store_.Open();
  std::mt19937_64 rng(1);
  for (int w = 0; w < 40; ++w) {
    std::vector<Sample> samples;
    for (int i = 0; i < 6000; ++i) samples.push_back({kT + w * 60'000 + i * 10, static_cast<double>(rng())});
    store_.Write(Numbered(1), samples);
    if (w % 8 == 7) store_.Checkpoint();
  }
  store_.Checkpoint();
  const Points points = store_.Read()[Numbered(1).ToString()];
  ASSERT_FALSE(points.empty());
  EXPECT_GT(points.begin()->first, kT + 10 * 60'000);
  EXPECT_EQ(points.rbegin()->first, kT + 39 * 60'000 + 5999 * 10);
  store_.Kill();
  EXPECT_EQ(store_.Read()[Numbered(1).ToString()], points);
}

// ---- Loss is loud ----

TEST_P(RecoveryOfDirectories, ALogThatWasRemovedIsDataLoss) {
  store_.Open();
  store_.Write(Numbered(1), {{kT, 1}});
  store_.Checkpoint();
  store_.Close();
  std::filesystem::remove_all(store_.path() + "/log");
  const Status status = store_.TryOpen();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("log"));
}

TEST_P(RecoveryOfDirectories, DataThatWasRemovedIsDataLoss) {
  store_.Open();
  store_.Write(Numbered(1), {{kT, 1}});
  store_.Checkpoint();
  store_.Close();
  std::filesystem::remove_all(store_.path() + "/data");
  const Status status = store_.TryOpen();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("data"));
}

TEST_P(RecoveryOfDirectories, CopiesOfDifferentStoresAreNotMixed) {
  TestStore other(GetParam());
  for (TestStore* store : {&store_, &other}) {
    store->Open();
    store->Write(Numbered(1), {{kT, 1}});
    store->Close();
  }
  namespace fs = std::filesystem;
  fs::remove_all(store_.path() + "/log");
  fs::copy(other.path() + "/log", store_.path() + "/log", fs::copy_options::recursive);
  const Status status = store_.TryOpen();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("mixed"));
}

TEST_P(RecoveryOfDirectories, AnOlderCopyOfTheDataIsRefusedOrComplete) {
  namespace fs = std::filesystem;
  store_.Open();
  store_.Write(Numbered(1), {{kT, 1}});
  store_.Checkpoint();
  store_.Close();
  const std::string old = store_.directory() / "old";
  fs::copy(store_.path() + "/data", old, fs::copy_options::recursive);
  store_.Open();
  for (int i = 0; i < 50; ++i) store_.Write(Numbered(i), {{kT + 1, 2}});
  store_.Checkpoint();
  store_.Close();
  fs::remove_all(store_.path() + "/data");
  fs::rename(old, store_.path() + "/data");
  const Status status = store_.TryOpen();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("trimmed"));
}

TEST(RecoveryDamage, AFlippedBitInTheLogIsDataLossThatNamesTheShard) {
  TestStore store("memory");
  store.options().shards = 1;
  store.Open();
  for (int i = 0; i < 20; ++i) store.Write(Numbered(i), {{kT, 1}});
  store.KillWithoutOpening();
  // The epoch's record is LSN 1; the first write begins a row at LSN 2.
  const Status flipped = store.memory().FlipBit(store.path() + "/log", "wal.0", WalKey(2), 77);
  ASSERT_TRUE(flipped.ok()) << flipped.ToString();
  const Status status = store.TryOpen();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("0"));
}

// ---- A checkpoint, a compaction, a delete cut off anywhere ----

struct CutOff {
  EngineMethod method;
  CrashKind kind;
  bool crash;
};

class EveryCall : public testing::TestWithParam<CutOff> {};
std::string CutOffName(const testing::TestParamInfo<CutOff>& info) {
  static constexpr const char* kNames[] = {"Open",    "Write",  "Read",    "AcquireEpoch", "Flush",
                                           "SyncLog", "Expire", "Compact", "Copy"};
  return std::string(kNames[static_cast<std::size_t>(info.param.method)]) + (!info.param.crash                     ? "Fails"
                                                                             : info.param.kind == CrashKind::kKill ? "Killed"
                                                                                                                   : "LosesPower");
}
constexpr CutOff Fails(EngineMethod method) { return {method, CrashKind::kKill, false}; }
constexpr CutOff Killed(EngineMethod method) { return {method, CrashKind::kKill, true}; }
constexpr CutOff LosesPower(EngineMethod method) { return {method, CrashKind::kPowerLoss, true}; }
INSTANTIATE_TEST_SUITE_P(Calls, EveryCall,
                         testing::Values(Fails(EngineMethod::kWrite), Fails(EngineMethod::kFlush), Fails(EngineMethod::kSyncLog),
                                         Fails(EngineMethod::kCompact), Fails(EngineMethod::kRead), Killed(EngineMethod::kWrite),
                                         LosesPower(EngineMethod::kWrite), Killed(EngineMethod::kFlush),
                                         LosesPower(EngineMethod::kFlush), LosesPower(EngineMethod::kSyncLog),
                                         LosesPower(EngineMethod::kCompact), LosesPower(EngineMethod::kRead)),
                         CutOffName);

class EveryOpening : public testing::TestWithParam<CutOff> {};
INSTANTIATE_TEST_SUITE_P(Calls, EveryOpening,
                         testing::Values(Fails(EngineMethod::kOpen), Fails(EngineMethod::kRead), Fails(EngineMethod::kAcquireEpoch),
                                         Fails(EngineMethod::kWrite), Fails(EngineMethod::kSyncLog),
                                         LosesPower(EngineMethod::kRead), LosesPower(EngineMethod::kAcquireEpoch),
                                         LosesPower(EngineMethod::kWrite), LosesPower(EngineMethod::kSyncLog),
                                         Killed(EngineMethod::kWrite)),
                         CutOffName);

// A short script of synced writes with checkpoints, deletes and a compaction between. Each step that the store acknowledges goes
// into `expected`; `maybe` is what it may hold beyond, of the step that failed.
bool RunScript(TestStore* store, Contents* expected, Contents* maybe) {
  *maybe = *expected;
  const WriteOptions synced{.level = AckLevel::kSynced};
  const auto write = [&](int series, Timestamp t, double value) {
    (*maybe)[Numbered(series).ToString()][t] = Shown(value);
    if (!(*store)->Write(MakeSeries(Numbered(series), {{t, value}}), synced).ok()) return false;
    *expected = *maybe;
    return true;
  };
  for (int i = 0; i < 4; ++i) {
    if (!write(i, kT, i) || !write(i, kT + 5, i)) return false;
  }
  if (!(*store)->Checkpoint().ok()) return false;
  for (int i = 2; i < 6; ++i) {
    if (!write(i, kT + 10, i) || !write(i, kT + 5, i + 100)) return false;  // in order, and a duplicate
  }
  auto& series = (*maybe)[Numbered(2).ToString()];
  series.erase(kT + 10);
  series.erase(kT + 5);
  if (!(*store)->Delete({Matcher::Equal("i", "2")}, {kT + 5, kT + 11}, synced).ok()) return false;
  *expected = *maybe;
  if (!write(2, kT + 7, 7)) return false;
  if (!(*store)->Checkpoint().ok()) return false;
  if (!write(2, kT + 8, 8)) return false;
  if (!(*store)->Compact().ok()) return false;
  return write(0, kT + 20, 9);
}

// A store whose engine calls of one method are counted, and of which one is cut off.
struct CutStore {
  CutStore(const CutOff& which, std::uint64_t seed) : cut(which), store("memory", Adversarial(seed)) {
    store.options().shards = 2;
    store.options().background_threads = 1;
  }
  AdversarialOptions Adversarial(std::uint64_t seed) {
    AdversarialOptions adversarial;
    adversarial.seed = seed;
    adversarial.on_call = [this](EngineMethod method, const std::string&) {
      if (method == cut.method) calls.fetch_add(1);
      return Status::Ok();
    };
    return adversarial;
  }
  void CutCall(std::uint64_t k) {
    calls.store(0);
    if (cut.crash) {
      store.memory().CrashDuringCall(cut.method, k, cut.kind);
    } else {
      store.memory().FailCall(cut.method, k, IoError("injected"));
    }
  }
  // What is there is one of the two, now and after everything that must not change it.
  void Check(Contents expected, Contents maybe) {
    const std::function<void()> steps[] = {[&] { store.Checkpoint(); }, [&] { store.Compact(); }, [&] { store.LosePower(); },
                                           [] {}};
    for (const auto& step : steps) {
      const Contents found = store.Read();
      EXPECT_TRUE(found == expected || found == maybe)
          << testing::PrintToString(found) << "\nexpected " << testing::PrintToString(expected);
      if (testing::Test::HasFailure()) return;
      expected = maybe = found;
      step();
    }
    store.Write(Numbered(9), {{kT, 1}});
  }

  const CutOff cut;
  std::atomic<std::uint64_t> calls{0};
  TestStore store;
};

TEST_P(EveryCall, CutOffAtAnyOfThemLosesNothing) {
  for (std::uint64_t k = 1; k < 400; ++k) {
    SCOPED_TRACE("call " + std::to_string(k));
    CutStore c(GetParam(), k);
    c.store.Open();
    c.CutCall(k);
    Contents expected;
    Contents maybe;
    const bool finished = RunScript(&c.store, &expected, &maybe);
    if (c.calls.load() < k) {
      EXPECT_TRUE(finished);
      EXPECT_GT(k, 1U) << "the script has no such call";
      return;
    }
    // A process that dies after the failure, one that reopens the store, one that closes it.
    Status status;
    if (!c.cut.crash && k % 3 == 0) {
      status = c.store->Reopen();
    } else {
      if (c.cut.crash || k % 3 == 1) c.store.memory().CrashAll(c.cut.kind);
      status = c.store.TryOpen();
    }
    ASSERT_TRUE(status.ok()) << status.ToString();
    c.Check(expected, maybe);
    if (testing::Test::HasFailure()) return;
  }
  FAIL() << "the script has more calls than were tried";
}

TEST_P(EveryOpening, CutOffAtAnyCallLosesNothing) {
  int without_scrub_state = 0;
  for (std::uint64_t k = 1; k < 400; ++k) {
    SCOPED_TRACE("call " + std::to_string(k));
    CutStore c(GetParam(), k);
    c.store.Open();
    Contents expected;
    Contents maybe;
    ASSERT_TRUE(RunScript(&c.store, &expected, &maybe));
    c.store.Write(Numbered(7), {{kT, 7}}, AckLevel::kSynced);  // something to replay
    expected[Numbered(7).ToString()][kT] = Shown(7);
    c.store.KillWithoutOpening();  // all of it is synced: no other crash would lose more
    c.CutCall(k);
    const Status status = c.store.TryOpen();
    if (c.calls.load() < k) {
      EXPECT_TRUE(status.ok()) << status.ToString();
      EXPECT_GT(k, 1U) << "opening has no such call";
      return;
    }
    // A shard whose rows cannot be read is quarantined, and nothing is lost by that. What the scrub remembers it can do without.
    if (status.ok()) {
      EXPECT_EQ(c.cut.method, EngineMethod::kRead);
      const Status read = c.store->Series({}).status();
      if (read.ok()) {
        EXPECT_EQ(c.store.Read(), expected);
        EXPECT_EQ(++without_scrub_state, 1);
      } else if (!c.cut.crash) {
        EXPECT_EQ(read.code(), StatusCode::kDataLoss);
      }
    }
    if (c.cut.crash || k % 2 == 0) c.store.memory().CrashAll(c.cut.kind);
    c.store.Open();
    c.Check(expected, expected);
    if (testing::Test::HasFailure()) return;
  }
  FAIL() << "opening has more calls than were tried";
}

}  // namespace
}  // namespace chronolith
