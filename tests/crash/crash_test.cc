// Crash: a process that writes is killed with SIGKILL, at random moments and where it reaches a failpoint; another opens what is
// left and compares it with what was sent and acknowledged (model.h), and writes on.
//
//   crash_test [--cycles=N] [--stores A-B] [gtest's flags]
//
// A store lives for kCyclesAStore kills; --cycles counts from store 1 on. What is written to a store and when it is killed follows
// from CHRONOLITH_TEST_SEED and its number, as far as threads let it, so a run can be cut into ranges of stores.
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <random>
#include <sstream>
#include <thread>

#include "tests/contract/seed.h"
#include "tests/crash/model.h"
#include "tests/crash/stored_rows.h"
#include "tests/support/number_range.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_directory.h"

namespace chronolith::crash {
namespace {

constexpr int kCyclesAStore = 25;
constexpr std::uint64_t kStoresARound = 4;  // which meet all failpoints
std::uint64_t first_store = 1;
std::uint64_t cycles = 100;

struct Failpoint {
  std::string name;
  int kills = 0;
};

std::vector<Failpoint> Failpoints() {
  std::istringstream names(chronolith::testing::RunProcess({CRASH_WRITER, "--failpoints"}).out);
  std::vector<Failpoint> all;
  for (std::string name; std::getline(names, name);) all.push_back({name});
  return all;
}

struct Plan {
  std::string failpoint = "-";
  int hits = 1;
  bool hold = false;     // at the failpoint
  int operations = 120;  // of the writers; 0: only opens the store
  bool close = false;    // after the operations
  bool lying = false;
  std::size_t messages = SIZE_MAX;     // killed after so many
  std::chrono::microseconds later{0};  // and so long after them
};

// One life of the writer: from its start to its end, which is always SIGKILL. What it said is told to the model.
struct Life {
  std::size_t messages = 0;
  bool reached_failpoint = false;
  std::string error;  // it ended by itself
};

Life LiveAndDie(const std::string& path, std::uint64_t seed, const Plan& plan, Model* model) {
  std::vector<std::string> args = {CRASH_WRITER,
                                   path,
                                   std::to_string(seed),
                                   std::to_string(plan.operations),
                                   plan.close ? "close" : "stay",
                                   plan.failpoint,
                                   std::to_string(plan.hits),
                                   plan.hold ? "hold" : "die",
                                   plan.lying ? "yes" : "no"};
  for (std::uint32_t thread = 0; thread < kThreads; ++thread) args.push_back(std::to_string(model->next_number(thread)));
  chronolith::testing::Subprocess writer(args);
  const auto at = [](const std::string& out, std::size_t i) {
    Message message;
    std::memcpy(&message, out.data() + i * sizeof(Message), sizeof(Message));
    return message;
  };
  std::size_t looked_at = 0;
  bool said = true;
  if (plan.messages > 0) {
    said = writer.WaitUntil([&](const std::string& out, const std::string&) {
      for (; looked_at < out.size() / sizeof(Message); ++looked_at) {
        const Message::Kind kind = at(out, looked_at).kind;
        const bool last = kind == (plan.close ? Message::Kind::kClosed : Message::Kind::kFinished);
        if (kind == Message::Kind::kFailpoint || last || looked_at + 1 >= plan.messages) return true;
      }
      return false;
    });
  }
  std::this_thread::sleep_for(plan.later);  // nothing waits for anything here: a kill comes at a random moment
  writer.Kill(SIGKILL);
  const chronolith::testing::ProcessResult result = writer.Wait();
  Life life;
  life.messages = result.out.size() / sizeof(Message);
  for (std::size_t i = 0; i < life.messages; ++i) {
    const Message message = at(result.out, i);
    life.reached_failpoint = life.reached_failpoint || message.kind == Message::Kind::kFailpoint;
    model->OnMessage(message);
  }
  if (!said) life.error = "the writer said nothing more for two minutes";
  if (result.signal != SIGKILL)
    life.error = "the writer ended by itself, exit code " + std::to_string(result.exit_code) + ": " + result.err;
  return life;
}

// Opens what a kill has left, compares, writes on.
class Checker {
 public:
  Checker(std::string path, Model* model) : path_(std::move(path)), model_(model) {}

  std::vector<std::string> Check(std::mt19937_64& rng) {
    auto store = Storage::Open(StoreOptions(), path_);
    if (!store.ok()) return {"cannot be opened: " + store.status().ToString()};
    std::vector<std::string> problems = model_->Check(store->get());
    WriteOn(store->get(), rng, &problems);
    if (rng() % 4 == 0) {
      const Result<CompactResult> compacted = (*store)->Compact();
      if (!compacted.ok()) problems.push_back("compaction: " + compacted.status().ToString());
    }
    const Result<Contents> contents = ReadAll(store->get());
    if (!contents.ok()) {
      problems.push_back("cannot be read after writing on: " + contents.status().ToString());
    } else if (*contents != model_->contents()) {
      problems.push_back("what was found is not there any more after writing on");
    }
    if (const Status status = (*store)->Checkpoint(); !status.ok()) problems.push_back("checkpoint: " + status.ToString());
    if (const Status status = (*store)->Close(); !status.ok()) problems.push_back("close: " + status.ToString());
    const std::vector<std::string> of_rows = CheckStoredRows(path_, StoreOptions().shards);
    problems.insert(problems.end(), of_rows.begin(), of_rows.end());
    return problems;
  }

 private:
  void WriteOn(Storage* store, std::mt19937_64& rng, std::vector<std::string>* problems) {
    for (int i = 0; i < 10; ++i) {
      TimeSeries series{.labels = {{"__name__", "zero"}, {kOwner, kChecker}, {"n", std::to_string(rng() % 8)}}};
      series.samples.push_back({kT + static_cast<Timestamp>(++written_) * kStep, static_cast<double>(written_)});
      const WriteResult result = store->Write(AsWritten(series), {.level = i % 2 == 0 ? AckLevel::kLogged : AckLevel::kSynced});
      if (!result.ok()) return problems->push_back("cannot be written to: " + result.status.ToString());
      model_->Add(series);
    }
  }

  const std::string path_;
  Model* const model_;
  std::uint64_t written_ = 0;
};

// How the next life is to end.
Plan NextPlan(std::mt19937_64& rng, Failpoint* failpoint) {
  Plan plan;
  plan.operations = 120;
  plan.close = rng() % 4 == 0;
  if (failpoint != nullptr) {
    plan.failpoint = failpoint->name;
    plan.hits = failpoint->kills == 0 ? 1 : 1 + static_cast<int>(rng() % 6);
    plan.hold = rng() % 2 == 0;
  } else {
    plan.messages = rng() % 8 == 0 ? 0 : rng() % 250;
    // While it opens the store, or within an operation.
    plan.later = std::chrono::microseconds(plan.messages == 0 ? rng() % 30'000 : rng() % 300);
  }
  return plan;
}

// What a life depends on; no life depends on another's.
std::mt19937_64 RngOf(std::uint64_t seed, std::uint64_t store, int life) {
  std::seed_seq seeds{seed, seed >> 32, store, static_cast<std::uint64_t>(life)};
  return std::mt19937_64(seeds);
}

TEST(Crash, EverythingAcknowledgedSurvivesSigkillAndNothingAppearsThatWasNeverSent) {
  std::vector<Failpoint> failpoints = Failpoints();
  ASSERT_GT(failpoints.size(), 20U);
  const std::uint64_t seed = TestSeed();
  std::uint64_t promised = 0;
  std::uint64_t unpromised = 0;
  std::uint64_t unpromised_found = 0;
  std::uint64_t cycle = 0;
  // Some failpoints take luck to reach. Where a whole round has missed one, stores are added until it is met, up to three rounds.
  const bool whole_rounds = cycles >= kStoresARound * kCyclesAStore;
  std::uint64_t limit = cycles;
  for (std::uint64_t store = first_store; cycle < limit; ++store) {
    testing_support::TempDirectory directory;
    std::mt19937_64 of_store = RngOf(seed, store, kCyclesAStore);
    const std::uint64_t store_seed = of_store();
    std::printf("store %llu in %s\n", static_cast<unsigned long long>(store), (directory / "db").c_str());
    Model model(store_seed);
    Checker checker(directory / "db", &model);
    // Its share of the failpoints, neighbours in different stores: where one is hard to reach, so are the others. A round has all.
    std::vector<Failpoint> own;
    for (std::size_t i = store % kStoresARound; i < failpoints.size(); i += kStoresARound) own.push_back({failpoints[i].name});
    std::shuffle(own.begin(), own.end(), of_store);
    for (int life_number = 0; life_number < kCyclesAStore && cycle < limit; ++life_number, ++cycle) {
      std::mt19937_64 rng = RngOf(seed, store, life_number);
      // The first of those that were reached the fewest times; but some lives end just so.
      Failpoint* failpoint = nullptr;
      if (life_number % 4 != 3) {
        failpoint = &*std::min_element(own.begin(), own.end(), [](const auto& a, const auto& b) { return a.kills < b.kills; });
        std::rotate(own.begin(), own.begin() + (failpoint - own.data()) + 1, own.end());
        failpoint = &own.back();
      }
      const Plan plan = NextPlan(rng, failpoint);
      const Life life = LiveAndDie(directory / "db", store_seed, plan, &model);
      if (life.reached_failpoint) ++failpoint->kills;
      std::string error = life.error;
      const bool again = rng() % 4 == 0;  // while it opens what the kill has left
      // Now, and not behind the check: it is wanted most where the checker dies.
      std::printf("cycle %llu: killed %s%s after %zu messages%s; in flight: %s\n", static_cast<unsigned long long>(cycle),
                  life.reached_failpoint ? "at "
                  : failpoint != nullptr ? "without reaching "
                                         : "at random",
                  failpoint != nullptr ? failpoint->name.c_str() : "", life.messages, again ? ", and again while it is opened" : "",
                  model.InFlight().c_str());
      std::fflush(stdout);
      if (again) {
        Plan opening;
        opening.operations = 0;
        opening.messages = 0;
        opening.later = std::chrono::microseconds(rng() % 30'000);
        error += LiveAndDie(directory / "db", store_seed, opening, &model).error;
      }
      const std::vector<std::string> problems = checker.Check(rng);
      unpromised += model.unpromised();
      unpromised_found += model.unpromised_found();
      std::printf("  of %llu samples not promised %llu are there\n", static_cast<unsigned long long>(model.unpromised()),
                  static_cast<unsigned long long>(model.unpromised_found()));
      EXPECT_EQ(error, "");
      for (const std::string& problem : problems) ADD_FAILURE() << problem;
      if (HasFailure()) directory.Keep();
      ASSERT_FALSE(HasFailure()) << "cycle " << cycle << ": CHRONOLITH_TEST_SEED=" << seed << " crash_test --stores " << store
                                 << "-" << store << "; the store is kept in " << directory / "db";
    }
    promised += model.promised_total();
    for (const Failpoint& one : own) {
      const auto it = std::find_if(failpoints.begin(), failpoints.end(), [&](const auto& f) { return f.name == one.name; });
      it->kills += one.kills;
    }
    const bool missed = std::any_of(failpoints.begin(), failpoints.end(), [](const Failpoint& f) { return f.kills == 0; });
    if (whole_rounds && missed && cycle == limit && limit < cycles + 3 * kStoresARound * kCyclesAStore) limit += kCyclesAStore;
  }
  if (whole_rounds) {
    for (const Failpoint& failpoint : failpoints) EXPECT_GT(failpoint.kills, 0) << failpoint.name << " was never reached";
  }
  std::printf("%llu kills at %zu failpoints and between them: %llu samples promised and there; of %llu others %llu there\n",
              static_cast<unsigned long long>(cycle), failpoints.size(), static_cast<unsigned long long>(promised),
              static_cast<unsigned long long>(unpromised), static_cast<unsigned long long>(unpromised_found));
}

// The test above must see what a store loses that acknowledges as logged what is only queued.
TEST(Crash, AcknowledgingAsLoggedWhatIsOnlyQueuedIsFound) {
  std::mt19937_64 rng(TestSeed());
  bool found = false;
  for (int cycle = 0; cycle < 20 && !found; ++cycle) {
    testing_support::TempDirectory directory;
    Plan plan;
    plan.lying = true;
    plan.messages = 20 + rng() % 300;
    const std::uint64_t seed = rng();
    Model model(seed);
    const Life life = LiveAndDie(directory / "db", seed, plan, &model);
    ASSERT_EQ(life.error, "");
    auto store = Storage::Open(StoreOptions(), directory / "db");
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    const std::vector<std::string> problems = model.Check(store->get());
    found = !problems.empty();
    if (found) std::printf("found in cycle %d: %s\n", cycle, problems.front().c_str());
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace chronolith::crash

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    constexpr std::string_view kCycles = "--cycles=";
    if (arg == "--stores" && i + 1 < argc) {
      const chronolith::NumberRange stores = chronolith::RangeOf(argc, argv, arg, {}, {});
      chronolith::crash::first_store = stores.first;
      chronolith::crash::cycles = (stores.last - stores.first + 1) * chronolith::crash::kCyclesAStore;
      ++i;
    } else if (!arg.starts_with(kCycles) ||
               std::from_chars(arg.data() + kCycles.size(), arg.data() + arg.size(), chronolith::crash::cycles).ec != std::errc()) {
      std::fprintf(stderr, "unknown argument %s\n", argv[i]);
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
