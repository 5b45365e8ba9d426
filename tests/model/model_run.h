// ModelRun: random operations on a store and on its model (store_model.h), with few series and few timestamps, so that they meet.
// After each batch of operations a Select and look-ups with random matchers and ranges must equal the model.
//
// All choices come from the seed, the shape of the store among them: the number of shards, the duplicate policy, the size of
// chunks. Every fourth seed leaves upkeep to the store's own thread (checkpoints, compactions), whose moments no seed repeats; its
// store keeps for ever, so that what it shows does not depend on them.
#ifndef CHRONOLITH_TESTS_MODEL_MODEL_RUN_H_
#define CHRONOLITH_TESTS_MODEL_MODEL_RUN_H_

#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/chunk/random_histogram.h"
#include "tests/model/store_model.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {

// How often each thing was done. The operations are those up to kTime; the rest are the comparisons after them.
struct ModelMix {
  enum Kind : std::size_t {
    kWrite,
    kAppend,
    kDelete,
    kRefusedDelete,
    kCheckpoint,
    kCompact,
    kSnapshot,
    kRestart,
    kKill,
    kPowerLoss,
    kReopen,
    kTime,
    kSelect,
    kChunks,
    kSeries,
    kLabelNames,
    kLabelValues,
    kMetadata,
    kSamplesWritten,
    kHistogramsWritten,
    kLate,
    kDuplicate,
    kRefused,
    kSamplesRead,
    kKinds
  };
  static constexpr std::array<const char*, kKinds> kNames = {"write",
                                                             "append",
                                                             "delete",
                                                             "delete refused",
                                                             "checkpoint",
                                                             "compact",
                                                             "snapshot",
                                                             "restart",
                                                             "kill",
                                                             "power loss",
                                                             "reopen",
                                                             "time goes on",
                                                             "select",
                                                             "select, raw chunks",
                                                             "series",
                                                             "label names",
                                                             "label values",
                                                             "metadata",
                                                             "samples written",
                                                             "histograms written",
                                                             "of them late",
                                                             "at a timestamp that is there",
                                                             "refused",
                                                             "samples compared"};
  std::array<std::uint64_t, kKinds> count{};
  void Add(const ModelMix& other) {
    for (std::size_t i = 0; i < kKinds; ++i) count[i] += other.count[i];
  }
};

class ModelRun {
 public:
  ModelRun(const std::string& engine, std::uint64_t seed);
  // Stops at the first difference, which is a failure of the test.
  void Run(std::uint64_t operations);
  const ModelMix& mix() const { return mix_; }

 private:
  std::uint64_t Below(std::uint64_t n) { return rng_() % n; }
  bool OneIn(std::uint64_t n) { return Below(n) == 0; }
  std::size_t AnySeries() { return Below(kSeries); }
  double AnyValue();
  AckLevel AnyLevel();
  Timestamp PickTime(std::size_t series);
  TimeRange AnyRange(std::int64_t back, std::int64_t length);
  std::vector<Matcher> AnyMatchers(std::size_t at_most);
  bool Apply(std::size_t series, Timestamp t, ModelValue value);

  ModelMix::Kind Operate();
  ModelMix::Kind Write();
  ModelMix::Kind Append();
  ModelMix::Kind Delete();
  ModelMix::Kind Compact();
  ModelMix::Kind Snapshot();
  ModelMix::Kind Restart();
  void LearnFloor();

  void Compare();     // something at random
  void CompareAll();  // everything, and what the index knows
  void CompareSelect(Storage* store, const std::vector<Matcher>& matchers, TimeRange range, std::uint64_t form);
  void CompareSeries(const std::vector<Matcher>& matchers, TimeRange range);
  void CompareNames(const std::vector<Matcher>& matchers);
  void CompareValues(const std::string& name, const std::vector<Matcher>& matchers);
  void CompareMetadata();

  static constexpr std::size_t kSeries = 24;  // and one more, the probe of the retention floor
  static constexpr std::int64_t kWindowMs = 20'000;
  static constexpr std::int64_t kRetentionMs = 400'000;

  const std::uint64_t seed_;
  std::mt19937_64 rng_;
  RandomHistograms histograms_;
  const bool background_;
  TestStore store_;
  std::shared_ptr<FakeClock> clock_;
  StoreModel model_;
  std::unique_ptr<Appender> appender_;
  std::vector<SeriesRef> refs_;
  CommitToken token_;  // of the last write
  Timestamp now_;
  Timestamp floor_allowed_ = kMinTimestamp;  // a clock that went back later does not lower it
  ModelMix mix_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_MODEL_MODEL_RUN_H_
