// Scrubs of a store on every engine: what is sound has no problems, also beside writers; damaged rows are named; the pace holds;
// and a pass in the background is neither forgotten nor begun anew by restarts.
#include "storage/scrub.h"

#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "format/scrub_state.h"
#include "format/wal_record.h"
#include "storage/pacer.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

using testing::HasSubstr;

constexpr Timestamp kT = 1'700'000'000'000;
constexpr std::int64_t kHourMs = 3'600'000;

class RecordingLogger : public Logger {
 public:
  void Log(LogLevel level, std::string_view message) override {
    if (level != LogLevel::kError || !message.starts_with("scrub: ")) return;
    const std::lock_guard lock(mu_);
    errors_.emplace_back(message);
  }
  std::vector<std::string> errors() {
    const std::lock_guard lock(mu_);
    return errors_;
  }

 private:
  std::mutex mu_;
  std::vector<std::string> errors_;
};

void Await(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::yield();
}

class Scrub : public EveryEngine {
 protected:
  Scrub() {
    store_.options().shards = 2;
    store_.options().logger = logger_;
    store_.options().clock = clock_;
  }
  // Rows in all families: stored ones, and some that only the log has.
  void Fill() {
    // More than a pass reads at once, whatever its pace.
    std::uint64_t x = 1;
    for (int i = 0; i < 40; ++i) {
      std::vector<Sample> samples;
      for (int s = 0; s < 1500; ++s) {
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        samples.push_back({kT + s, std::bit_cast<double>((x >> 12) | 0x3ff0000000000000ULL)});
      }
      store_.Write(Series(i), std::move(samples));
    }
    store_.Checkpoint();
    EXPECT_TRUE(store_->Delete({Matcher::Equal("i", "3")}, {kT, kT + 1}).ok());
    for (int i = 0; i < 40; ++i) store_.Write(Series(i), {{kT + 10'000, 3.0 * i}});
  }
  static Labels Series(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

  ScrubReport MustScrub(const ScrubOptions& options = {}) {
    Result<ScrubReport> report = store_->Scrub(options);
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return report.ok() ? *report : ScrubReport();
  }
  void ExpectSound() {
    const ScrubReport report = MustScrub();
    EXPECT_TRUE(report.complete);
    EXPECT_EQ(report.problems_total, 0U);
    for (const ScrubProblem& p : report.problems) ADD_FAILURE() << p.place << ": " << p.status.ToString();
  }
  ScrubStats Stats() { return store_->Stats().scrub; }

  const std::shared_ptr<RecordingLogger> logger_ = std::make_shared<RecordingLogger>();
  const std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>(kT);
};

TEST(Pacer, NoSecondTakesMoreThanItsBytesAndWhatWasNotUsedIsNotMadeUpFor) {
  constexpr std::uint64_t kRate = 1 << 20;
  constexpr std::uint64_t kSecond = 1'000'000'000;
  Pacer pacer(kRate, 0);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> reads;  // when, bytes
  std::uint64_t now = 5 * kSecond;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t bytes = static_cast<std::uint64_t>(i % 7 + 1) << 16;
    reads.emplace_back(now, bytes);
    now = std::max(now, pacer.Next(bytes, now));
    if (i % 100 == 99) now += 10 * kSecond;  // it was slower for a while
  }
  std::uint64_t read = 0;
  for (std::size_t first = 0, last = 0; last < reads.size(); ++last) {
    read += reads[last].second;
    while (reads[first].first + kSecond <= reads[last].first) read -= reads[first++].second;
    EXPECT_LE(read, kRate + (7 << 16)) << "at " << reads[last].first;
  }
  EXPECT_GE(now - 5 * kSecond, 1000 * (4 << 16) * kSecond / kRate);
  EXPECT_EQ(Pacer(0, 0).Next(1 << 30, 7), 7U);
  Pacer with_credit(1000, 50);
  EXPECT_EQ(with_credit.Next(30, 7), 7U);
  EXPECT_EQ(with_credit.Next(30, 7), 7U + kSecond / 100);
}

TEST(ScrubState, ComesBackAsItWasAndAnyFlippedBitIsRefused) {
  ScrubState state;
  state.last = {
      .started_ms = kT, .finished_ms = kT + 5, .active_ms = 3, .bytes = 1ULL << 40, .rows = 7, .problems = 2, .named = {"a", "b"}};
  state.running = {.started_ms = kT + 9, .step = 12, .behind = std::string("k\0y", 3)};
  const std::string bytes = EncodeScrubState(state);
  const Result<ScrubState> decoded = DecodeScrubState(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(*decoded, state);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(DecodeScrubState(flipped).ok()) << bit;
  }
  for (std::size_t n = 0; n < bytes.size(); ++n)
    EXPECT_EQ(DecodeScrubState(bytes.substr(0, n)).status().code(), StatusCode::kDataLoss);
  state.last.named.assign(100, std::string(1000, 'x'));
  EXPECT_LT(EncodeScrubState(state).size(), 16'000U);
  EXPECT_TRUE(DecodeScrubState(EncodeScrubState(state)).ok());
}

TEST_P(Scrub, ASoundStoreHasNoProblems) {
  store_.Open();
  ExpectSound();
  Fill();
  for (int life = 0; life < 3; ++life) {
    const ScrubReport report = MustScrub();
    EXPECT_TRUE(report.complete);
    EXPECT_EQ(report.problems_total, 0U);
    EXPECT_GT(report.bytes, 1000U);
    EXPECT_GE(report.rows, 40U * 3) << "labels, hash and chunk of each series";
    EXPECT_TRUE(report.quarantined.empty());
    EXPECT_EQ(Stats().last_full_pass_ms, kT);
    EXPECT_GE(Stats().bytes, report.bytes);
    EXPECT_FALSE(Stats().running);
    life == 0 ? store_.Kill() : store_.Compact();
  }
  EXPECT_TRUE(logger_->errors().empty());
}

TEST_P(Scrub, AReadOnlyStoreIsScrubbedAsWell) {
  store_.Open();
  Fill();
  store_.Close();
  store_.options().read_only = true;
  store_.Open();
  ExpectSound();
}

// Only the memory engine gives rows that are wrong; a file's checksum hides them.
class DamagedRows : public Scrub {};

TEST_P(DamagedRows, AreNamedCountedAndLoggedOnce) {
  store_.Open();
  Fill();
  struct Row {
    const char* instance;
    const char* family;
    std::string key;
  };
  const std::string labels = index_rows::OrdinalKey(index_rows::kLabelsPrefix, 2);
  const std::vector<Row> rows = {{"data", "index.0", index_rows::StateKey()},
                                 {"data", "index.1", labels},
                                 {"data", "chunk.1", std::string(kChunkStateKey)},
                                 {"log", "wal.0", std::string(kWalStateKey)}};
  std::uint64_t found = 0;
  for (const Row& row : rows) {
    SCOPED_TRACE(row.family);
    const std::string path = store_.path() + "/" + row.instance;
    ASSERT_TRUE(store_.memory().FlipBit(path, row.family, row.key, 20).ok());
    for (int again = 0; again < 2; ++again) {
      const ScrubReport report = MustScrub();
      ASSERT_EQ(report.problems_total, 1U);
      EXPECT_THAT(report.problems[0].place, HasSubstr(row.family));
      EXPECT_EQ(report.problems[0].status.code(), StatusCode::kDataLoss);
      ASSERT_TRUE(report.problems[0].shard.has_value());
      EXPECT_EQ(*report.problems[0].shard, static_cast<std::uint32_t>(row.family[strlen(row.family) - 1] - '0'));
      EXPECT_EQ(Stats().last_pass_problems, 1U);
    }
    ++found;
    EXPECT_EQ(logger_->errors().size(), found + 2 * found) << "one of each row, and one of each pass that found any";
    EXPECT_EQ(Stats().problems.size(), found);
    ASSERT_TRUE(store_.memory().FlipBit(path, row.family, row.key, 20).ok());
  }
  EXPECT_EQ(store_->Stats().shards[0].scrub_errors, 2U);
  EXPECT_EQ(store_->Stats().shards[1].scrub_errors, 2U);
  EXPECT_THAT(store_->Stats().shards[1].scrub_damage, HasSubstr("index.1"));
  ExpectSound();
}

TEST_P(Scrub, WritesCheckpointsAndCompactionsBesideItAreNoDamage) {
  store_.options().checkpoint_bytes = 64 << 10;  // and those of the store's own
  store_.Open();
  Fill();
  std::atomic<bool> stop{false};
  std::atomic<int> t{0};
  std::thread writer([&] {
    while (!stop) {
      const int at = ++t;
      for (int i = 0; i < 40 && !stop; ++i) store_.Write(Series(i % 7 * 100 + at % 11), {{kT + 20'000 + at, 1.0 * i}});
    }
  });
  std::thread upkeep([&] {
    for (int i = 0; !stop; ++i) i % 4 == 3 ? store_.Compact() : store_.Checkpoint();
  });
  for (int i = 0; i < 30; ++i) ExpectSound();
  stop = true;
  writer.join();
  upkeep.join();
  EXPECT_TRUE(logger_->errors().empty());
}

TEST_P(Scrub, ReopenAndCloseEndAPassThatWaits) {
  store_.Open();
  Fill();
  Status ended;
  // At one byte a second the pass would take hours: it cannot end by itself.
  std::thread scrub([&] { ended = store_->Scrub({.bytes_per_second = 1}).status(); });
  Await([&] { return Stats().bytes > 0; });
  EXPECT_EQ(store_->Scrub().status().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Stats().running);
  EXPECT_TRUE(store_->Reopen().ok());
  scrub.join();
  EXPECT_EQ(ended.code(), StatusCode::kUnavailable) << ended.ToString();
  ExpectSound();
  EXPECT_EQ(Stats().last_full_pass_ms, kT);

  store_.options().scrub_interval_ms = kHourMs;
  store_.options().scrub_bytes_per_second = 1;
  clock_->Set(kT + kHourMs);
  store_.Restart();
  Await([&] { return Stats().bytes > 0; });
  store_.Close();
}

TEST_P(Scrub, ACancelledPassTellsWhatItHasDone) {
  store_.Open();
  Fill();
  std::atomic<bool> cancelled{false};
  ScrubReport report;
  std::thread scrub([&] { report = MustScrub({.bytes_per_second = 1, .cancelled = &cancelled}); });
  Await([&] { return Stats().bytes > 0; });
  cancelled = true;
  scrub.join();
  EXPECT_FALSE(report.complete);
  EXPECT_GT(report.bytes, 0U);
  EXPECT_EQ(Stats().last_full_pass_ms, 0);
  EXPECT_FALSE(Stats().running);
}

TEST_P(Scrub, ThePassInTheBackgroundBeginsWhenItIsDueAndIsRemembered) {
  store_.options().scrub_interval_ms = 24 * kHourMs;
  store_.Open();
  Fill();
  clock_->Set(kT + 24 * kHourMs - 1);
  store_.Restart();
  EXPECT_EQ(Stats().last_full_pass_ms, 0);
  clock_->Set(kT + 24 * kHourMs);
  store_.Restart();
  Await([&] { return Stats().last_full_pass_ms != 0 && !Stats().running; });  // and stored
  EXPECT_EQ(Stats().last_full_pass_ms, kT + 24 * kHourMs);
  EXPECT_EQ(Stats().last_pass_problems, 0U);
  clock_->Set(kT + 47 * kHourMs);
  store_.Kill();
  EXPECT_EQ(Stats().last_full_pass_ms, kT + 24 * kHourMs);
  ExpectSound();  // counts as well
  EXPECT_EQ(Stats().last_full_pass_ms, kT + 47 * kHourMs);
  store_.Close();
  store_.options().read_only = true;
  store_.Open();
  EXPECT_EQ(Stats().last_full_pass_ms, kT + 47 * kHourMs);
}

TEST_P(Scrub, AStoreThatIsRestartedAgainAndAgainIsScrubbedToTheEnd) {
  store_.options().scrub_interval_ms = kHourMs;
  store_.options().scrub_bytes_per_second = 1;  // so each life comes as far as one piece
  store_.Open();
  Fill();
  clock_->Set(kT + kHourMs);
  int lives = 0;
  double before = 0;
  for (; lives < 100 && Stats().last_full_pass_ms == 0; ++lives) {
    store_.Restart();
    Await([&] { return Stats().bytes > 0 || Stats().last_full_pass_ms != 0; });
    const double progress = Stats().progress;
    EXPECT_TRUE(progress >= before || Stats().last_full_pass_ms != 0) << "it began anew";
    before = progress;
  }
  EXPECT_GT(lives, 1);
  EXPECT_EQ(Stats().last_full_pass_ms, kT + kHourMs);
}

// Counts the questions of one thread.
class WatchedClock : public FakeClock {
 public:
  using FakeClock::FakeClock;
  std::int64_t NowMs() const override {
    if (std::this_thread::get_id() == watched_.load()) ++calls_;
    return FakeClock::NowMs();
  }
  void Watch(std::thread::id thread) { watched_ = thread; }
  int calls() const { return calls_.load(); }

 private:
  std::atomic<std::thread::id> watched_{};
  mutable std::atomic<int> calls_{0};
};

TEST(ScrubCutShort, APassThatTheEngineEndsGoesOnAMinuteLater) {
  const auto clock = std::make_shared<WatchedClock>(kT);
  const std::thread::id here = std::this_thread::get_id();
  std::atomic<bool> failing{false};
  std::atomic<int> ends{0};
  AdversarialOptions adversarial;
  adversarial.on_call = [&](EngineMethod method, const std::string& path) {
    if (!failing || method != EngineMethod::kRead || std::this_thread::get_id() == here) return Status::Ok();
    if (!path.ends_with("log")) return Status::Ok();
    clock->Watch(std::this_thread::get_id());
    ++ends;
    return Unavailable("not now");
  };
  TestStore store("memory", adversarial);
  store.options().clock = clock;
  store.options().scrub_interval_ms = kHourMs;
  store.Open();
  store.Write({{"__name__", "n"}}, {{kT, 1}});
  store.Checkpoint();
  // Wakes the background: it asks the clock, and decides.
  const std::atomic<bool> cancelled{true};
  const auto wake = [&] { EXPECT_TRUE(store->Scrub({.cancelled = &cancelled}).ok()); };
  const auto let_it_decide = [&] {
    for (int i = 0; i < 20; ++i) {
      for (const int before = clock->calls(); clock->calls() == before;) wake();
    }
  };
  failing = true;
  clock->Set(kT + kHourMs);
  while (ends == 0) wake();
  let_it_decide();
  EXPECT_EQ(ends, 1);
  clock->Set(kT + kHourMs + 59'999);
  let_it_decide();
  EXPECT_EQ(ends, 1);
  clock->Set(kT + kHourMs + 60'000);
  while (ends == 1) wake();
  let_it_decide();
  EXPECT_EQ(ends, 2);
  clock->Set(kT);  // somebody sets it back: no reason to wait until it is there again
  while (ends == 2) wake();
  failing = false;
  clock->Set(kT + 2 * kHourMs);
  store.Restart();
  Await([&] { return store->Stats().scrub.last_full_pass_ms != 0; });
}

TEST_P(Scrub, AnotherStoreIsNotHeldUpByAPassThatWaits) {
  store_.options().thread_budget = std::make_shared<ThreadBudget>(1);
  store_.options().scrub_interval_ms = kHourMs;
  store_.options().scrub_bytes_per_second = 1;
  store_.Open();
  Fill();
  clock_->Set(kT + kHourMs);
  store_.Restart();
  Await([&] { return Stats().bytes > 0 && store_.options().thread_budget->busy() == 0; });
  store_.Close();
  EXPECT_EQ(store_.options().thread_budget->busy(), 0);
}

INSTANTIATE_TEST_SUITE_P(Engines, Scrub, AllEngines(), EngineName);
INSTANTIATE_TEST_SUITE_P(Memory, DamagedRows, testing::Values("memory"), EngineName);

}  // namespace
}  // namespace chronolith
