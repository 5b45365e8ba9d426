// What a store may hold after a crash: per shard, all that was sent up to some moment, and that moment is not before the last
// acknowledgement that survives such a crash.
#ifndef CHRONOLITH_TESTS_CRASH_SHARD_MODEL_H_
#define CHRONOLITH_TESTS_CRASH_SHARD_MODEL_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "chronolith/labels.h"
#include "chronolith/storage.h"
#include "chronolith/types.h"
#include "partition/partition_map.h"

namespace chronolith {

inline constexpr std::uint32_t kModelShards = 2;

inline Labels ModelSeries(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }
inline std::uint32_t ModelShardOf(int i) {
  static const PartitionMap map = PartitionMap::Uniform(kModelShards);
  return map.ShardFor(StableHash(ModelSeries(i).encoded()));
}

struct ModelPoint {
  int series;
  Timestamp t;
  double value;
};

// Thread safety: none.
class ShardModel {
 public:
  using Contents = std::map<int, std::map<Timestamp, double>>;

  // Before the call of the store that sends it.
  void SendWrite(const std::vector<ModelPoint>& points) {
    std::array<std::vector<ModelPoint>, kModelShards> parts;
    for (const ModelPoint& p : points) parts[ModelShardOf(p.series)].push_back(p);
    for (std::uint32_t k = 0; k < kModelShards; ++k) {
      if (!parts[k].empty()) shards_[k].sent.push_back({std::move(parts[k])});
    }
  }
  void SendDelete(int series, TimeRange range) {
    shards_[ModelShardOf(series)].sent.push_back({.deleted = series, .range = range});
  }
  // What was sent last was answered with an error, which leaves open whether it happened, also where later writes did.
  void DoubtLast(int series) { shards_[ModelShardOf(series)].sent.back().doubtful = true; }
  // All that was sent so far survives.
  void Acknowledge() {
    for (Shard& s : shards_) s.acknowledged = s.sent.size();
  }

  // All that was sent: what a store shows that lost nothing.
  Contents Now() const {
    Contents all;
    for (const Shard& s : shards_) {
      Contents now = s.base;
      for (const Op& op : s.sent) Apply(op, &now);
      all.merge(now);
    }
    return all;
  }

  // Whether `found` is what a crash may leave; if so it is the truth from now on. Else says why.
  testing::AssertionResult Accept(const Contents& found) {
    std::array<Contents, kModelShards> parts;
    for (const auto& [series, points] : found) parts[ModelShardOf(series)][series] = points;
    for (std::uint32_t k = 0; k < kModelShards; ++k) {
      Shard& s = shards_[k];
      std::vector<std::size_t> doubtful;
      for (std::size_t i = 0; i < s.sent.size(); ++i) {
        if (s.sent[i].doubtful) doubtful.push_back(i);
      }
      Contents promised;
      bool matches = false;
      for (std::uint64_t left_out = 0; !matches && left_out < (1ULL << std::min<std::size_t>(doubtful.size(), 16)); ++left_out) {
        Contents state = s.base;
        std::size_t doubt = 0;
        for (std::size_t i = 0; i <= s.sent.size() && !matches; ++i) {
          if (i > 0 && !(s.sent[i - 1].doubtful && (left_out >> doubt++ & 1) != 0)) Apply(s.sent[i - 1], &state);
          if (i == s.acknowledged) promised = state;
          matches = i >= s.acknowledged && state == parts[k];
          if (matches) lost_ += s.sent.size() - i;
        }
      }
      if (!matches) {
        return testing::AssertionFailure() << "shard " << k << " holds what no moment after the last acknowledgement explains ("
                                           << s.acknowledged << " of " << s.sent.size() << " operations acknowledged); found "
                                           << Differences(promised, parts[k]);
      }
      s = {parts[k], {}, 0};
    }
    return testing::AssertionSuccess();
  }
  // Operations that crashes took, all of them unacknowledged.
  std::uint64_t lost() const { return lost_; }

 private:
  struct Op {
    std::vector<ModelPoint> points;
    int deleted = 0;  // series, where there are no points
    TimeRange range = {};
    bool doubtful = false;
  };
  struct Shard {
    Contents base;
    std::vector<Op> sent;  // since then
    std::size_t acknowledged = 0;
  };

  static void Apply(const Op& op, Contents* to) {
    for (const ModelPoint& p : op.points) (*to)[p.series][p.t] = p.value;
    if (!op.points.empty()) return;
    const auto it = to->find(op.deleted);
    if (it == to->end()) return;
    it->second.erase(it->second.lower_bound(op.range.start), it->second.lower_bound(op.range.end));
    if (it->second.empty()) to->erase(it);
  }

  static std::string Differences(const Contents& promised, const Contents& found) {
    std::string text;
    int missing = 0;
    int more = 0;
    const auto count = [&](const Contents& a, const Contents& b, const char* what, int* n) {
      for (const auto& [series, points] : a) {
        for (const auto& [t, value] : points) {
          const auto at = b.find(series);
          if (at != b.end() && at->second.contains(t) && at->second.at(t) == value) continue;
          if (++*n <= 3) text += std::string(what) + " series " + std::to_string(series) + " at " + std::to_string(t) + "; ";
        }
      }
    };
    count(promised, found, "without the acknowledged", &missing);
    count(found, promised, "with", &more);
    return text + std::to_string(missing) + " missing, " + std::to_string(more) + " beyond what was acknowledged";
  }

  std::array<Shard, kModelShards> shards_;
  std::uint64_t lost_ = 0;
};

// What an open store shows. False: an error, in `status`.
inline bool ReadContents(Storage* store, ShardModel::Contents* contents, Status* status, const SelectOptions& options = {},
                         bool* partial = nullptr) {
  contents->clear();
  auto set = store->Select({}, {}, options);
  *status = set.status();
  if (!set.ok()) return false;
  while ((*set)->Next()) {
    auto& points = (*contents)[std::stoi(std::string((*set)->labels().Get("i")))];
    SampleIterator& samples = (*set)->samples();
    while (samples.Next() != ValueType::kNone) points[samples.timestamp()] = samples.value();
    if (*status = samples.status(); !status->ok()) return false;
  }
  *status = (*set)->status();
  if (partial != nullptr) *partial = (*set)->partial();
  return status->ok();
}

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_CRASH_SHARD_MODEL_H_
