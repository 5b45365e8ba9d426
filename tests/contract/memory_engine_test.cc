// What only the memory engine can show: what is left after a crash, and the adversary. The common contract is in
// engine_contract_test.cc.
#include "plugins/memory/memory_engine.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "chronolith/engine_registry.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

constexpr Durability kAll[] = {Durability::kBuffered, Durability::kLogged, Durability::kSynced};

EngineOptions TwoFamilies(InstanceRole role = InstanceRole::kData) {
  EngineOptions options;
  options.instance = role;
  options.families = {{.name = "a"}, {.name = "b"}};
  return options;
}

Status Put(KvEngine* engine, FamilyId family, std::string_view key, Durability durability, Epoch epoch = 0) {
  const Op op{Op::Type::kPut, key, "value"};
  const Batch batch{family, key, epoch, std::span(&op, 1)};
  return engine->Write(std::span(&batch, 1), {.durability = durability}).at(0);
}

bool Has(KvEngine* engine, FamilyId family, std::string_view key, ReadTier tier = ReadTier::kLatest) {
  std::string value;
  return engine->Get(family, key, &value, tier).ok();
}

std::unique_ptr<KvEngine> Open(MemoryEngineFactory* factory, InstanceRole role = InstanceRole::kData) {
  auto engine = factory->Open("db", TwoFamilies(role));
  EXPECT_TRUE(engine.ok()) << engine.status().ToString();
  return std::move(engine).value();
}

AdversarialOptions Exact() { return {.seed = 1, .persist_random_prefix = false}; }

TEST(MemoryEngine, KeepsAfterAKillWhatWasLoggedAndAfterAPowerLossWhatWasSynced) {
  for (const CrashKind kind : {CrashKind::kKill, CrashKind::kPowerLoss}) {
    auto factory = MakeAdversarialMemoryEngineFactory(Exact());
    auto engine = Open(factory.get());
    for (const Durability d : kAll) EXPECT_TRUE(Put(engine.get(), 0, std::to_string(static_cast<int>(d)), d).ok());
    EXPECT_TRUE(Put(engine.get(), 1, "logged last", Durability::kLogged).ok());
    EXPECT_TRUE(factory->Crash("db", kind).ok());
    EXPECT_EQ(Put(engine.get(), 0, "x", Durability::kLogged).code(), StatusCode::kIoError);

    engine = Open(factory.get());
    EXPECT_FALSE(Has(engine.get(), 0, "0"));
    EXPECT_TRUE(Has(engine.get(), 0, "1"));  // a later sync covers it
    EXPECT_TRUE(Has(engine.get(), 0, "2"));
    EXPECT_EQ(Has(engine.get(), 1, "logged last"), kind == CrashKind::kKill);
  }
}

TEST(MemoryEngine, KeepsWhatWasFlushedOrSyncedBeforeAPowerLoss) {
  auto factory = MakeAdversarialMemoryEngineFactory(Exact());
  auto engine = Open(factory.get());
  EXPECT_TRUE(Put(engine.get(), 0, "flushed", Durability::kBuffered).ok());
  EXPECT_TRUE(Put(engine.get(), 1, "not flushed", Durability::kBuffered).ok());
  EXPECT_TRUE(engine->Flush(0).ok());
  EXPECT_TRUE(Put(engine.get(), 1, "logged", Durability::kLogged).ok());
  EXPECT_TRUE(engine->SyncLog().ok());
  EXPECT_TRUE(Has(engine.get(), 0, "flushed", ReadTier::kDurable));
  EXPECT_FALSE(Has(engine.get(), 1, "not flushed", ReadTier::kDurable));
  EXPECT_TRUE(Has(engine.get(), 1, "logged", ReadTier::kDurable));
  factory->CrashAll(CrashKind::kPowerLoss);
  engine = Open(factory.get());
  EXPECT_TRUE(Has(engine.get(), 0, "flushed"));
  EXPECT_FALSE(Has(engine.get(), 1, "not flushed"));
  EXPECT_TRUE(Has(engine.get(), 1, "logged"));
}

TEST(MemoryEngine, RowsThatSurvivedAKillButWereNeverSyncedAreLostByAPowerLoss) {
  auto factory = MakeAdversarialMemoryEngineFactory(Exact());
  auto engine = Open(factory.get());
  EXPECT_TRUE(Put(engine.get(), 0, "k", Durability::kLogged).ok());
  factory->CrashAll(CrashKind::kKill);
  engine = Open(factory.get());
  EXPECT_TRUE(Has(engine.get(), 0, "k"));
  factory->CrashAll(CrashKind::kPowerLoss);
  EXPECT_FALSE(Has(Open(factory.get()).get(), 0, "k"));
}

TEST(MemoryEngine, CloseLosesBufferedRowsOfADataInstanceButALogInstanceLogsEverything) {
  for (const InstanceRole role : {InstanceRole::kData, InstanceRole::kLog}) {
    MemoryEngineFactory factory;
    auto engine = Open(&factory, role);
    EXPECT_TRUE(Put(engine.get(), 0, "buffered", Durability::kBuffered).ok());
    EXPECT_TRUE(Put(engine.get(), 0, "logged", Durability::kLogged).ok());
    EXPECT_TRUE(engine->Close().ok());
    engine = Open(&factory, role);
    EXPECT_EQ(Has(engine.get(), 0, "buffered"), role == InstanceRole::kLog);
    EXPECT_TRUE(Has(engine.get(), 0, "logged"));
  }
}

TEST(MemoryEngine, ACrashKeepsAPrefixOfTheBufferedRowsOfEachFamilyAnother) {
  auto factory = MakeAdversarialMemoryEngineFactory({.seed = TestSeed()});
  bool differed = false;
  for (int round = 0; round < 40; ++round) {
    auto engine = factory->Open("db" + std::to_string(round), TwoFamilies());
    ASSERT_TRUE(engine.ok());
    for (int i = 0; i < 10; ++i) {
      for (FamilyId f : {0U, 1U}) EXPECT_TRUE(Put(engine->get(), f, std::to_string(i), Durability::kBuffered).ok());
    }
    factory->CrashAll(CrashKind::kKill);
    engine = factory->Open("db" + std::to_string(round), TwoFamilies());
    int kept[2] = {};
    for (FamilyId f : {0U, 1U}) {
      while (kept[f] < 10 && Has(engine->get(), f, std::to_string(kept[f]))) ++kept[f];
      for (int i = kept[f]; i < 10; ++i) EXPECT_FALSE(Has(engine->get(), f, std::to_string(i))) << "not a prefix";
    }
    differed |= kept[0] != kept[1];
  }
  EXPECT_TRUE(differed);
}

// A late write of a stale writer lands before the newer epoch is acquired, or never: not after it, not after a power loss.
TEST(MemoryEngine, LateWritesKeepTheOrderOfEpochs) {
  bool landed[2] = {};
  const std::uint64_t seed = TestSeed();
  for (std::uint64_t round = 0; round < 300; ++round) {
    auto factory = MakeAdversarialMemoryEngineFactory({.seed = seed + round,
                                                       .unknown_write_probability = 0.5,
                                                       .late_writes = true,
                                                       .persist_random_prefix = false,
                                                       .allow_several_writers = true});
    auto stale = Open(factory.get());
    auto owner = Open(factory.get());
    const auto put = [](KvEngine* engine, const std::string& key, Epoch epoch) {
      const Op op{Op::Type::kPut, key, "v"};
      const Batch batch{0, {}, epoch, {&op, 1}};
      return engine->Write({&batch, 1}, {.durability = Durability::kLogged})[0];
    };
    ASSERT_TRUE(stale->AcquireEpoch(0, 1).ok());
    std::vector<std::string> doubtful;
    for (int i = 0; i < 8; ++i) {
      const std::string key = "stale" + std::to_string(i);
      if (put(stale.get(), key, 1).code() == StatusCode::kUnknown) doubtful.push_back(key);
    }
    ASSERT_TRUE(owner->AcquireEpoch(0, 2).ok());
    std::map<std::string, bool> seen;
    for (const std::string& key : doubtful) landed[seen[key] = Has(owner.get(), 0, key)] = true;
    for (int i = 0; i < 8; ++i) {
      (void)put(owner.get(), "owner" + std::to_string(i), 2);
      EXPECT_EQ(put(stale.get(), "fenced", 1).code(), StatusCode::kFenced);
    }
    ASSERT_TRUE(owner->AcquireEpoch(0, 3).ok());
    for (const auto& [key, there] : seen) EXPECT_EQ(Has(owner.get(), 0, key), there) << key;
    EXPECT_FALSE(Has(owner.get(), 0, "fenced"));

    // What was under way when the power went never arrives.
    std::vector<std::string> lost;
    for (int i = 0; i < 8; ++i) {
      const std::string key = "lost" + std::to_string(i);
      if (put(owner.get(), key, 3).code() == StatusCode::kUnknown) lost.push_back(key);
    }
    factory->CrashAll(CrashKind::kPowerLoss);
    owner = Open(factory.get());
    ASSERT_TRUE(owner->AcquireEpoch(0, 4).ok());
    for (const std::string& key : lost) EXPECT_FALSE(Has(owner.get(), 0, key)) << key;
  }
  EXPECT_TRUE(landed[false] && landed[true]);
}

TEST(MemoryEngine, ACrashDuringAFlushMayComeBetweenFamilies) {
  bool seen[4] = {};
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    auto factory = MakeAdversarialMemoryEngineFactory({.seed = seed, .persist_random_prefix = false});
    auto engine = Open(factory.get());
    for (FamilyId f : {0U, 1U}) EXPECT_TRUE(Put(engine.get(), f, "k", Durability::kBuffered).ok());
    factory->CrashDuringCall(EngineMethod::kFlush, 1, CrashKind::kPowerLoss);
    const FamilyId both[] = {0, 1};
    EXPECT_EQ(engine->Flush(both).code(), StatusCode::kIoError);
    engine = Open(factory.get());
    seen[(Has(engine.get(), 0, "k") ? 1 : 0) + (Has(engine.get(), 1, "k") ? 2 : 0)] = true;
  }
  for (const bool outcome : seen) EXPECT_TRUE(outcome);
}

TEST(MemoryEngine, FailsTheCallItWasToldToFailAndAppliesNothing) {
  auto factory = MakeAdversarialMemoryEngineFactory(Exact());
  auto engine = Open(factory.get());
  factory->FailCall(EngineMethod::kWrite, 2, IoError("injected"));
  EXPECT_TRUE(Put(engine.get(), 0, "1", Durability::kLogged).ok());
  EXPECT_EQ(Put(engine.get(), 0, "2", Durability::kLogged).code(), StatusCode::kIoError);
  EXPECT_TRUE(Put(engine.get(), 0, "3", Durability::kLogged).ok());
  EXPECT_FALSE(Has(engine.get(), 0, "2"));
  factory->FailCall(EngineMethod::kSyncLog, 1, IoError("injected"));
  EXPECT_EQ(engine->SyncLog().code(), StatusCode::kIoError);
  EXPECT_TRUE(engine->SyncLog().ok());
}

TEST(MemoryEngine, AnUnknownOutcomeIsAppliedOrNotAndALateOneOnlyUntilTheEpochIsRaised) {
  auto factory = MakeAdversarialMemoryEngineFactory(
      {.seed = 7, .unknown_write_probability = 1, .late_writes = true, .allow_several_writers = true});
  auto engine = Open(factory.get());
  ASSERT_TRUE(engine->AcquireEpoch(0, 1).ok());
  int applied = 0;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(Put(engine.get(), 0, std::to_string(i), Durability::kLogged, 1).code(), StatusCode::kUnknown);
    applied += Has(engine.get(), 0, std::to_string(i)) ? 1 : 0;
  }
  EXPECT_GT(applied, 10);
  EXPECT_LT(applied, 90);

  auto usurper = Open(factory.get());
  ASSERT_TRUE(usurper->AcquireEpoch(0, 2).ok());
  const auto count = [&] {
    int n = 0;
    for (int i = 0; i < 100; ++i) n += Has(usurper.get(), 0, std::to_string(i)) ? 1 : 0;
    return n;
  };
  const int settled = count();
  EXPECT_EQ(Put(engine.get(), 0, "stale", Durability::kLogged, 1).code(), StatusCode::kFenced);
  EXPECT_EQ(Put(usurper.get(), 0, "new", Durability::kLogged, 2).code(), StatusCode::kUnknown);
  EXPECT_EQ(count(), settled);
  EXPECT_FALSE(Has(usurper.get(), 0, "stale"));
}

TEST(MemoryEngine, DeferredWritesCompleteInTheOrderOfTheirSubmission) {
  auto factory = MakeAdversarialMemoryEngineFactory({.seed = 1, .defer_async = true});
  auto engine = Open(factory.get());
  std::vector<int> completed;
  const Op ops[] = {{Op::Type::kPut, "k", "1"}, {Op::Type::kPut, "k", "2"}, {Op::Type::kPut, "k", "3"}};
  Batch batches[3];
  for (int i = 0; i < 3; ++i) {
    batches[i] = {0, "k", 0, std::span(&ops[i], 1)};
    engine->WriteAsync(std::span(&batches[i], 1), {}, [&completed, i](const Outcomes& o) {
      EXPECT_TRUE(o.at(0).ok());
      completed.push_back(i);
    });
  }
  EXPECT_FALSE(Has(engine.get(), 0, "k"));
  EXPECT_EQ(factory->CompleteAsync(1), 1U);
  EXPECT_EQ(completed, std::vector<int>({0}));
  EXPECT_TRUE(Put(engine.get(), 0, "other", Durability::kLogged).ok());  // a write comes after those submitted before it
  EXPECT_EQ(completed, std::vector<int>({0, 1, 2}));
  std::string value;
  EXPECT_TRUE(engine->Get(0, "k", &value).ok());
  EXPECT_EQ(value, "3");
}

TEST(MemoryEngine, CallsTheLatencyHookWithoutHoldingLocks) {
  MemoryEngineFactory* self = nullptr;
  int calls = 0;
  auto factory = MakeAdversarialMemoryEngineFactory({.on_call = [&](EngineMethod method, const std::string& path) {
    ++calls;
    if (method == EngineMethod::kFlush) (void)self->Crash(path, CrashKind::kKill);
    return Status::Ok();
  }});
  self = factory.get();
  auto engine = Open(factory.get());
  EXPECT_TRUE(Put(engine.get(), 0, "k", Durability::kLogged).ok());
  EXPECT_EQ(engine->Flush(0).code(), StatusCode::kIoError);
  EXPECT_EQ(calls, 3);
}

TEST(MemoryEngine, FlipBitDamagesAStoredValue) {
  MemoryEngineFactory factory;
  auto engine = Open(&factory);
  EXPECT_TRUE(Put(engine.get(), 0, "k", Durability::kLogged).ok());
  EXPECT_TRUE(factory.FlipBit("db", "a", "k", 3).ok());
  std::string value;
  EXPECT_TRUE(engine->Get(0, "k", &value).ok());
  EXPECT_NE(value, "value");
  EXPECT_EQ(factory.FlipBit("db", "a", "absent", 3).code(), StatusCode::kNotFound);
  EXPECT_EQ(factory.FlipBit("elsewhere", "a", "k", 3).code(), StatusCode::kNotFound);
}

TEST(MemoryEngine, ReadersAndWritersMayRunAtOnce) {
  MemoryEngineFactory factory;
  auto engine = Open(&factory);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        if (t < 2) {
          EXPECT_TRUE(Put(engine.get(), static_cast<FamilyId>(t), std::to_string(i % 97), Durability::kLogged).ok());
          if (i % 100 == 0) (void)engine->Flush(0);
        } else {
          auto cursor = engine->NewIterator(0, {});
          ASSERT_TRUE(cursor.ok());
          int rows = 0;
          for ((*cursor)->Seek(""); (*cursor)->Valid(); (*cursor)->Next()) ++rows;
          EXPECT_LE(rows, 97);
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST(EngineRegistry, TheDefaultOneKnowsTheMemoryEngine) {
  auto registry = EngineRegistry::Default();
  EXPECT_TRUE(registry->Find("memory").ok());
  EXPECT_EQ(registry->Find("no such engine").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(registry->Register(MakeMemoryEngineFactory()).code(), StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace chronolith
