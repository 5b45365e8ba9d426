#include "ops/salvage_labels.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "base/hash.h"
#include "index/symbols.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

using index_rows::LongRow;

constexpr std::size_t kCachedMax = 20'000;
constexpr std::size_t kRowsAtOnce = 1024;
constexpr std::size_t kLongKeyBytes = 1 + sizeof(Ordinal);

}  // namespace

SalvageLabels::SalvageLabels(KvEngine* index, ShardId shard, SalvageReport* report, bool damaged)
    : index_(index),
      family_(IndexFamily(shard)),
      rows_(index, family_),
      report_(report),
      listed_all_(index != nullptr && !damaged) {
  if (index_ == nullptr) return;
  const auto state = rows_.ReadState();
  if (state.ok() && state->has_value()) next_ordinal_ = (*state)->next_ordinal;
}

bool SalvageLabels::Find(Ordinal ordinal, Labels* labels) {
  if (const auto found = cache_.find(ordinal); found != cache_.end()) {
    *labels = found->second;
    return true;
  }
  if (const auto found = of_log_.find(ordinal); found != of_log_.end()) {
    *labels = Labels::FromEncoded(found->second);
  } else if (!ReadRow(ordinal, labels)) {
    if (!std::exchange(tried_, true)) PutTogether();
    const auto put_together = put_together_.find(ordinal);
    if (put_together == put_together_.end()) return false;
    *labels = put_together->second;
  }
  if (cache_.size() >= kCachedMax) cache_.clear();
  cache_.emplace(ordinal, *labels);
  return true;
}

bool SalvageLabels::ReadRow(Ordinal ordinal, Labels* labels) const {
  if (index_ == nullptr) return false;
  std::vector<std::optional<LongRow>> rows;
  if (!rows_.ReadLong(index_rows::kLabelsPrefix, {&ordinal, 1}, &rows).ok() || !rows[0]) return false;
  *labels = Labels::FromEncoded(std::move(rows[0]->bytes));
  return true;
}

bool SalvageLabels::Knows(Ordinal ordinal) {
  if (index_ == nullptr) return false;
  if (!listed_) {
    listed_.emplace();
    const std::string every = index_rows::MakePairKey("", "").bytes;
    bool sound = true;
    const Status s = ScanAroundDamage(index_rows::kPostingsPrefix, [&](std::string_view key, std::string_view value) {
      if (!key.starts_with(every)) return false;  // they come first
      sound = index_rows::ReadPostings(key, value, "", &*listed_).ok() && sound;
      return true;
    });
    listed_all_ = listed_all_ && sound && s.ok();
  }
  return listed_->Contains(ordinal);
}

bool SalvageLabels::KnowsAll() {
  (void)Knows(0);
  return listed_all_;
}

Status SalvageLabels::ScanAroundDamage(char prefix,
                                       const std::function<bool(std::string_view key, std::string_view value)>& take) const {
  Status first;
  std::string from(1, prefix);
  const std::string upper = index_rows::PrefixEnd(from);
  const auto at = [&](const std::string& key) {
    auto it = index_->NewIterator(family_, {.lower = key, .upper = upper, .fill_cache = false});
    if (it.ok()) (*it)->Seek(key);
    return it;
  };
  while (true) {
    std::string last = from;
    auto it = at(from);
    Status why = it.status();
    if (it.ok()) {
      for (; (*it)->Valid(); (*it)->Next()) {
        last.assign((*it)->key());
        if (!take((*it)->key(), (*it)->value())) return first;
      }
      why = (*it)->status();
    }
    if (why.ok()) return first;
    if (first.ok()) first = why;
    // The nearest key behind at which a cursor can be set: behind all that share ever shorter beginnings.
    bool found = false;
    for (std::size_t n = last.size(); n > 1 && !found; --n) {
      from = index_rows::PrefixEnd(last.substr(0, n));
      const auto next = at(from);
      found = from < upper && next.ok() && (*next)->status().ok();
    }
    if (!found) return first;
  }
}

// Of all that may have been given out: those without a row that can be read.
OrdinalSet SalvageLabels::WithoutRow() const {
  OrdinalSet without;
  std::uint64_t next = next_ordinal_;
  if (next == 0) {  // unknown: as far as postings go
    (void)ScanAroundDamage(index_rows::kPostingsPrefix, [&](std::string_view key, std::string_view value) {
      std::vector<index_rows::PostingSets> entries;
      if (!index_rows::DecodePostings(key, value, &entries).ok()) return true;
      for (const index_rows::PostingSets& entry : entries) {
        for (const Ordinal ordinal : entry.added.ToVector()) next = std::max<std::uint64_t>(next, ordinal + std::uint64_t{1});
      }
      return true;
    });
  }
  std::vector<Ordinal> some;
  std::vector<std::optional<LongRow>> rows;
  for (std::uint64_t begin = 0; begin < next; begin += kRowsAtOnce) {
    some.clear();
    for (std::uint64_t o = begin; o < std::min<std::uint64_t>(begin + kRowsAtOnce, next); ++o)
      some.push_back(static_cast<Ordinal>(o));
    const bool all = rows_.ReadLong(index_rows::kLabelsPrefix, some, &rows).ok();
    for (std::size_t i = 0; i < some.size(); ++i) {
      Labels ignored;
      if (all ? !rows[i].has_value() : !ReadRow(some[i], &ignored)) without.Add(some[i]);
    }
  }
  return without;
}

void SalvageLabels::PutTogether() {
  if (index_ == nullptr) return;
  const OrdinalSet without = WithoutRow();
  if (without.empty()) return;
  std::map<Ordinal, std::vector<std::pair<std::string, std::string>>> pairs;
  index_rows::ParsedPairKey parsed;
  (void)ScanAroundDamage(index_rows::kPostingsPrefix, [&](std::string_view key, std::string_view value) {
    std::vector<index_rows::PostingSets> entries;
    if (!index_rows::DecodePostings(key, value, &entries).ok() || !index_rows::ParsePairKey(key, &parsed)) return true;
    for (index_rows::PostingSets& entry : entries) {
      Label label{parsed.name, parsed.value};
      std::string_view text = entry.text;
      std::string_view whole;
      if (parsed.folded() && !NextPair(&text, &whole, &label)) continue;
      if (label.name.empty() && label.value.empty()) continue;  // all series
      entry.added.IntersectWith(without);
      for (const Ordinal ordinal : entry.added.ToVector()) pairs[ordinal].emplace_back(label.name, label.value);
    }
    return true;
  });
  for (auto& [ordinal, found] : pairs) {
    Labels labels(std::move(found));
    const std::uint64_t hash = StableHash(labels.encoded());
    std::vector<std::vector<Ordinal>> listed;
    if (!rows_.ReadHashes({&hash, 1}, &listed).ok()) continue;
    if (std::find(listed[0].begin(), listed[0].end(), ordinal) == listed[0].end()) continue;
    put_together_.emplace(ordinal, std::move(labels));
    ++report_->series_relabelled;
  }
}

Status SalvageLabels::ForEachMetadata(const std::atomic<bool>* cancelled,
                                      const std::function<Status(Ordinal, const Metadata&)>& take,
                                      const std::function<void(std::optional<Ordinal>, const Status&)>& lost) {
  if (index_ == nullptr) return Status::Ok();
  Status ended;
  const Status s = ScanAroundDamage(index_rows::kMetadataPrefix, [&](std::string_view key, std::string_view value) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) ended = Cancelled("interrupted");
    if (!ended.ok()) return false;
    if (key.size() != kLongKeyBytes) return true;  // a further part
    const auto ordinal = LoadBigEndian<Ordinal>(key.data() + 1);
    LongRow row;
    Metadata metadata;
    Status why = index_rows::DecodeLongRow(key, value, &row);
    if (why.ok() && row.parts > 1) {
      std::vector<std::optional<LongRow>> rows;
      why = rows_.ReadLong(index_rows::kMetadataPrefix, {&ordinal, 1}, &rows);
      if (why.ok() && rows[0]) row = std::move(*rows[0]);
    }
    if (why.ok() && !index_rows::DecodeMetadata(row.bytes, &metadata)) why = index_rows::Damaged(key, "malformed metadata");
    if (!why.ok()) {
      lost(ordinal, why);
      return true;
    }
    ended = take(ordinal, metadata);
    return ended.ok();
  });
  if (!s.ok()) lost(std::nullopt, s);
  return ended;
}

}  // namespace chronolith::ops
