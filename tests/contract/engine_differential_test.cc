// A long random run of the same operations on the RocksDB engine and the memory engine: they must never differ. The mix of
// operations and the share of key collisions are printed.
#include <algorithm>
#include <array>
#include <cstdio>
#include <random>

#include "tests/contract/engine_fixture.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

constexpr int kOperations = 240'000;
constexpr std::uint64_t kKeys = 3000;

enum Kind {
  kPuts,
  kDeletes,
  kMerges,
  kRangeDeletes,
  kGets,
  kMultiGets,
  kScans,
  kStaleWrites,
  kEpochs,
  kFlushes,
  kCompactions,
  kReopens,
  kKinds
};
constexpr const char* kNames[kKinds] = {"put",       "delete",      "merge",         "range delete", "get",        "multi-get",
                                        "scan rows", "stale write", "epoch acquire", "flush",        "compaction", "reopen"};

class EngineDifferential : public testing::Test {
 protected:
  struct Side {
    std::shared_ptr<EngineFactory> factory;
    std::unique_ptr<KvEngine> engine;
  };

  EngineDifferential() {
    for (const char* name : {"rocksdb", "memory"}) sides_.push_back({*EngineRegistry::Default()->Find(name), nullptr});
    options_.write_buffer_bytes = 256UL << 10;  // small: RocksDB also flushes and compacts when it wants to
    options_.families = {{"plain", FamilyRole::kChunk, nullptr, nullptr},
                         {"merging", FamilyRole::kIndex, std::make_shared<JoinMerge>(), nullptr},
                         {"other", FamilyRole::kMeta, std::make_shared<JoinMerge>(), nullptr}};
  }

  void OpenBoth() {
    for (Side& side : sides_) {
      side.engine.reset();
      auto opened = side.factory->Open(directory_ / "db", options_);
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      side.engine = std::move(opened).value();
    }
  }

  std::uint64_t Below(std::uint64_t n) { return random_() % n; }
  FamilyId AnyFamily() { return static_cast<FamilyId>(Below(options_.families.size())); }
  // Mostly a hot range; of different lengths, with bytes over 127.
  std::string AnyKey() {
    const std::uint64_t n = Below(4) == 0 ? Below(kKeys) : Below(kKeys / 20);
    std::string key = std::to_string(n * 7919 % kKeys);
    if (n % 3 == 0) key.push_back(static_cast<char>(0xf0 + n % 16));
    if (n % 5 == 0) key.append(n % 60, '.');
    return key;
  }
  std::string AnyValue() { return std::string(Below(10) == 0 ? Below(2000) : Below(30), static_cast<char>('a' + Below(26))); }

  template <typename Call>
  void Both(const Call& call) {
    for (Side& side : sides_) call(side.engine.get());
  }

  // A group of one to three batches of one to eight operations.
  void WriteSome() {
    std::vector<std::vector<Op>> ops(1 + Below(3));
    std::vector<Batch> batches;
    std::array<std::string, 64> bytes;
    std::size_t used = 0;
    for (std::vector<Op>& list : ops) {
      const FamilyId family = AnyFamily();
      for (std::uint64_t i = 0, n = 1 + Below(8); i < n; ++i) {
        std::string& key = bytes[used++] = AnyKey();
        std::string& value = bytes[used++];
        const std::uint64_t roll = Below(100);
        if (roll < 55 || (roll < 80 && family == 0)) {
          value = AnyValue();
          list.push_back(PutOp(key, value));
          ++done_[kPuts];
          std::string old;
          collisions_ += sides_[1].engine->Get(family, key, &old).ok() ? 1 : 0;
        } else if (roll < 80) {
          value = std::to_string(Below(1000));
          list.push_back(MergeOp(key, value));
          ++done_[kMerges];
        } else if (roll < 99) {
          list.push_back(DeleteOp(key));
          ++done_[kDeletes];
        } else {
          value = key;
          value.push_back(static_cast<char>(Below(128)));
          list.push_back(DeleteRangeOp(key, value));
          ++done_[kRangeDeletes];
        }
      }
      const bool stale = epochs_[family] > 0 && Below(20) == 0;
      if (stale) ++done_[kStaleWrites];
      batches.push_back({family, list[0].key, stale ? epochs_[family] - 1 : epochs_[family], list});
    }
    const EngineWriteOptions options{.durability = Below(2) == 0 ? Durability::kBuffered : Durability::kLogged};
    const Outcomes expected = sides_[1].engine->Write(batches, options);
    const Outcomes outcomes = sides_[0].engine->Write(batches, options);
    ASSERT_EQ(outcomes.size(), expected.size());
    for (std::size_t i = 0; i < outcomes.size(); ++i) ASSERT_EQ(outcomes[i].code(), expected[i].code()) << outcomes[i].ToString();
  }

  void ReadSome() {
    const FamilyId family = AnyFamily();
    const std::string key = AnyKey();
    std::string values[2];
    const Status s[2] = {sides_[0].engine->Get(family, key, &values[0]), sides_[1].engine->Get(family, key, &values[1])};
    ASSERT_EQ(s[0].code(), s[1].code()) << s[0].ToString();
    ASSERT_EQ(values[0], values[1]);
    ++done_[kGets];
  }

  void MultiGetSome() {
    const FamilyId family = AnyFamily();
    std::vector<std::string> keys;
    for (std::uint64_t i = 0, n = Below(20); i < n; ++i) keys.push_back(AnyKey());
    const std::vector<std::string_view> views(keys.begin(), keys.end());
    std::vector<std::string> values[2];
    std::vector<Status> statuses[2];
    for (int i = 0; i < 2; ++i) sides_[i].engine->MultiGet(family, views, &values[i], &statuses[i]);
    ASSERT_EQ(values[0], values[1]);
    for (std::size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(statuses[0][i].code(), statuses[1][i].code());
    done_[kMultiGets] += static_cast<int>(keys.size());
  }

  void ScanSome(std::uint64_t rows_max) {
    const FamilyId family = AnyFamily();
    IterateOptions options;
    if (Below(2) == 0) options.lower = AnyKey();
    if (Below(2) == 0) options.upper = AnyKey();
    const std::string seek = Below(2) == 0 ? AnyKey() : "";
    auto a = sides_[0].engine->NewIterator(family, options);
    auto b = sides_[1].engine->NewIterator(family, options);
    ASSERT_TRUE(a.ok() && b.ok());
    (*a)->Seek(seek);
    (*b)->Seek(seek);
    for (std::uint64_t i = 0; i < rows_max; ++i) {
      ASSERT_EQ((*a)->Valid(), (*b)->Valid()) << (*a)->status().ToString();
      if (!(*a)->Valid()) break;
      ASSERT_EQ((*a)->key(), (*b)->key());
      ASSERT_EQ((*a)->value(), (*b)->value());
      (*a)->Next();
      (*b)->Next();
      ++done_[kScans];
    }
  }

  void Rare() {
    const FamilyId family = AnyFamily();
    const std::uint64_t roll = Below(100);
    if (roll < 50) {
      Both([&](KvEngine* e) { ASSERT_TRUE(e->Flush(family).ok()); });
      ++done_[kFlushes];
    } else if (roll < 70) {
      ++epochs_[family];
      Both([&](KvEngine* e) { ASSERT_TRUE(e->AcquireEpoch(family, epochs_[family]).ok()); });
      ++done_[kEpochs];
    } else if (roll < 85) {
      const std::string begin = AnyKey();
      Both([&](KvEngine* e) { ASSERT_TRUE(e->Compact(family, begin, std::nullopt).ok()); });
      ++done_[kCompactions];
    } else {
      const FamilyId all[] = {0, 1, 2};
      Both([&](KvEngine* e) {
        ASSERT_TRUE(e->Flush(all).ok());
        ASSERT_TRUE(e->Close().ok());
      });
      OpenBoth();
      ++done_[kReopens];
    }
  }

  int Done() const {
    int sum = 0;
    for (const int n : done_) sum += n;
    return sum;
  }

  TempDirectory directory_;
  std::vector<Side> sides_;
  EngineOptions options_;
  std::mt19937_64 random_{TestSeed()};
  Epoch epochs_[3] = {};
  int done_[kKinds] = {};
  int collisions_ = 0;
};

TEST_F(EngineDifferential, RocksDbAndMemoryNeverDiffer) {
  OpenBoth();
  while (Done() < kOperations && !HasFatalFailure()) {
    const std::uint64_t roll = Below(1000);
    if (roll < 550) {
      WriteSome();
    } else if (roll < 850) {
      ReadSome();
    } else if (roll < 950) {
      MultiGetSome();
    } else if (roll < 996) {
      ScanSome(20);
    } else {
      Rare();
    }
  }
  for (int i = 0; i < 20 && !HasFatalFailure(); ++i) ScanSome(~0ULL);
  for (int i = 0; i < kKinds; ++i) {
    std::printf("%-14s %7d  %5.2f %%\n", kNames[i], done_[i], 100.0 * done_[i] / Done());
    EXPECT_GT(done_[i], 0) << kNames[i];
  }
  std::printf("%d operations; %.1f %% of the puts met a key that had a value\n", Done(), 100.0 * collisions_ / done_[kPuts]);
  EXPECT_GE(Done(), 200'000);
  EXPECT_GT(collisions_, done_[kPuts] / 10);
}

}  // namespace
}  // namespace chronolith
