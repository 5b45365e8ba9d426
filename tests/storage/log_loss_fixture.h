// The fixture of the tests whose logs have lost rows. Rows are taken out of the log instance, changed and put back through its
// engine.
#ifndef CHRONOLITH_TESTS_STORAGE_LOG_LOSS_FIXTURE_H_
#define CHRONOLITH_TESTS_STORAGE_LOG_LOSS_FIXTURE_H_

#include <cstdlib>
#include <functional>
#include <set>

#include "format/wal_record.h"
#include "tests/storage/store_fixture.h"
#include "wal/sharded_wal.h"

namespace chronolith {

using testing::HasSubstr;

inline constexpr Timestamp kT = 1'700'000'000'000;
inline constexpr int kSeries = 40;

inline Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

class LogLossTest : public EveryEngine {
 protected:
  using Rows = std::map<std::string, std::string>;  // of one family, key -> value

  // One write for each series, each a group of its own.
  void WriteRound() {
    for (int i = 0; i < kSeries; ++i) {
      store_.Write(Numbered(i), {{t_, 1.0 * i}});
      contents_[Numbered(i).ToString()][t_] = Shown(1.0 * i);
    }
    ++t_;
  }
  // Stored samples of all series, then some that only the log has; killed.
  void Fill() {
    store_.Open();
    WriteRound();
    auto appender = store_->NewAppender();
    for (int i = 0; i < kSeries; ++i) shards_[i] = static_cast<std::uint32_t>(appender->Ref(Numbered(i)).value().id >> 32) - 1;
    appender.reset();
    std::map<std::uint32_t, int> series;
    for (const auto& [i, shard] : shards_) ++series[shard];
    for (const auto& [shard, n] : series) bad_ = n > series[bad_] ? shard : bad_;
    EXPECT_GE(series[bad_], 8);
    store_.Checkpoint();
    for (int i = 0; i < 3; ++i) WriteRound();
    EXPECT_EQ(store_.Read(), contents_);
    store_.KillWithoutOpening();
  }

  // While the store is closed.
  void WithLog(const std::function<void(KvEngine*)>& edit) {
    EngineOptions options;
    options.instance = InstanceRole::kLog;
    options.create_if_missing = false;
    options.families.push_back({"meta", FamilyRole::kMeta, nullptr, nullptr});
    for (int k = 0; k < store_.options().shards; ++k)
      options.families.push_back({"wal." + std::to_string(k), FamilyRole::kWal, nullptr, nullptr});
    const auto engines = store_.options().engines ? store_.options().engines : EngineRegistry::Default();
    auto engine = engines->Find(store_.options().engine).value()->Open(store_.path() + "/log", options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    edit(engine->get());
    const Status closed = (*engine)->Close();
    EXPECT_TRUE(closed.ok()) << closed.ToString();
  }
  Rows LogRows(std::uint32_t shard) {
    Rows rows;
    WithLog([&](KvEngine* engine) {
      auto it = engine->NewIterator(1 + shard, {}).value();
      for (it->Seek(""); it->Valid(); it->Next()) rows[std::string(it->key())] = it->value();
      EXPECT_TRUE(it->status().ok()) << it->status().ToString();
    });
    return rows;
  }
  void SetLogRows(std::uint32_t shard, const Rows& rows) {
    WithLog([&](KvEngine* engine) {
      const std::string end = "\xff";
      std::vector<Op> ops = {{Op::Type::kDeleteRange, "", end}};
      for (const auto& [key, value] : rows) ops.push_back({Op::Type::kPut, key, value});
      const Batch batch{1 + shard, {}, engine->CurrentEpoch(1 + shard).value(), ops};
      const Outcomes outcomes = engine->Write({&batch, 1}, {.durability = Durability::kSynced});
      EXPECT_TRUE(outcomes[0].ok()) << outcomes[0].ToString();
    });
  }
  static WalRowHeader HeaderOf(std::uint32_t shard, const std::string& key, const std::string& value) {
    WalRowHeader header;
    std::string_view payload;
    std::string scratch;
    const Status status = DecodeWalRow(shard, key, value, &header, &payload, &scratch);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return header;
  }
  // The n-th of the rows that are records.
  static Rows::iterator Nth(Rows* rows, std::size_t n) {
    auto it = rows->lower_bound(WalKey(0));
    for (; n > 0 && it != rows->end(); --n) ++it;
    if (it == rows->end() || it->first[0] != kWalRowPrefix) std::abort();
    return it;
  }

  Contents Without(const std::set<std::uint32_t>& shards) const {
    Contents others;
    for (int i = 0; i < kSeries; ++i) {
      if (!shards.contains(shards_.at(i))) others.insert(*contents_.find(Numbered(i).ToString()));
    }
    return others;
  }
  Contents ReadPartly() {
    Contents contents;
    auto set = store_->Select({}, {}, {.skip_damaged = true});
    EXPECT_TRUE(set.ok()) << set.status().ToString();
    while (set.ok() && (*set)->Next()) {
      Points& points = contents[(*set)->labels().ToString()];
      SampleIterator& samples = (*set)->samples();
      while (samples.Next() != ValueType::kNone) points[samples.timestamp()] = Shown(samples.value());
    }
    EXPECT_TRUE(set.ok() && (*set)->status().ok() && (*set)->partial());
    return contents;
  }
  // One new sample for each series; those of `shards` are refused.
  void WriteAround(const std::set<std::uint32_t>& shards) {
    for (int i = 0; i < kSeries; ++i) {
      const bool refused = shards.contains(shards_.at(i));
      const Status status = store_->Write(MakeSeries(Numbered(i), {{t_, 1.0 * i}})).status;
      EXPECT_EQ(status.code(), refused ? StatusCode::kDataLoss : StatusCode::kOk) << status.ToString();
      if (!refused) contents_[Numbered(i).ToString()][t_] = Shown(1.0 * i);
    }
    ++t_;
  }
  std::set<std::uint32_t> Quarantined() {
    std::set<std::uint32_t> quarantined;
    for (const ShardStats& s : store_->Stats().shards) {
      if (!s.quarantine.empty()) quarantined.insert(s.shard);
    }
    return quarantined;
  }

  std::map<int, std::uint32_t> shards_;  // of the series
  std::uint32_t bad_ = 0;                // that with the most series: its log is damaged
  Contents contents_;
  Timestamp t_ = kT;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_STORAGE_LOG_LOSS_FIXTURE_H_
