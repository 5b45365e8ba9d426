#include "ops/salvage_labels.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "base/hash.h"
#include "index/symbols.h"
#include "ops/log_labels.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

using index_rows::LongRow;

constexpr std::size_t kCachedMax = 20'000;
constexpr std::size_t kRowsAtOnce = 1024;
constexpr std::size_t kLongKeyBytes = 1 + sizeof(Ordinal);
constexpr Ordinal kSlice = 1 << 14;  // divides 1 << 16: the postings of a slice are in rows of one high half
constexpr std::size_t kTogetherMax = 10 * kSlice;

}  // namespace

SalvageLabels::SalvageLabels(KvEngine* index, KvEngine* log, ShardId shard, SalvageReport* report, bool damaged)
    : index_(index),
      family_(IndexFamily(shard)),
      rows_(index, family_),
      log_(log),
      shard_(shard),
      report_(report),
      listed_all_(index != nullptr && !damaged) {
  if (index_ == nullptr) return;
  const auto state = rows_.ReadState();
  if (state.ok() && state->has_value()) next_ordinal_ = (*state)->next_ordinal;
}

void SalvageLabels::NoteLogRow(Lsn row, Ordinal first) {
  if (log_rows_.empty() || log_rows_.back().first < row) log_rows_.emplace_back(row, first);
}

void SalvageLabels::MakeRoom() {
  if (cache_.size() < kCachedMax) return;
  cache_.clear();
  last_row_ = 0;
}

bool SalvageLabels::Find(Ordinal ordinal, Labels* labels) {
  if (const auto found = cache_.find(ordinal); found != cache_.end()) {
    *labels = found->second;
    return true;
  }
  if (ReadLog(ordinal, labels)) return true;
  if (!ReadRow(ordinal, labels) && !FindPutTogether(ordinal, labels)) return false;
  MakeRoom();
  cache_.try_emplace(ordinal, *labels);
  return true;
}

bool SalvageLabels::ReadLog(Ordinal ordinal, Labels* labels) {
  const auto behind =
      std::upper_bound(log_rows_.begin(), log_rows_.end(), ordinal, [](Ordinal o, const auto& row) { return o < row.second; });
  if (behind == log_rows_.begin() || std::prev(behind)->first == last_row_) return false;  // what that row has is known
  const Lsn row = std::prev(behind)->first;
  MakeRoom();  // not while it is read: then what is known of it would be a part
  bool found = false;
  const Status s = ReadSeriesOfRow(log_, shard_, row, [&](Ordinal o, const Labels& l) {
    if (o == ordinal) *labels = l;
    found = found || o == ordinal;
    cache_.try_emplace(o, l);
  });
  if (s.ok()) last_row_ = row;
  return found;
}

bool SalvageLabels::FindPutTogether(Ordinal ordinal, Labels* labels) {
  const Ordinal slice = ordinal / kSlice;
  if (!slices_.contains(slice)) {
    if (put_together_.size() >= kTogetherMax) {
      put_together_.clear();
      slices_.clear();
    }
    slices_.insert(slice);
    PutTogether(slice);
  }
  const auto found = put_together_.find(ordinal);
  if (found == put_together_.end()) return false;
  *labels = Labels::FromEncoded(found->second);
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

OrdinalSet SalvageLabels::WithoutRow(Ordinal slice) const {
  OrdinalSet without;
  std::vector<Ordinal> some;
  std::vector<std::optional<LongRow>> rows;
  for (Ordinal i = 0; i < kSlice; i += kRowsAtOnce) {
    some.resize(kRowsAtOnce);
    std::iota(some.begin(), some.end(), slice * kSlice + i);
    const bool all = rows_.ReadLong(index_rows::kLabelsPrefix, some, &rows).ok();
    for (std::size_t j = 0; j < some.size(); ++j) {
      Labels ignored;
      if (all ? !rows[j].has_value() : !ReadRow(some[j], &ignored)) without.Add(some[j]);
    }
  }
  return without;
}

void SalvageLabels::PutTogether(Ordinal slice) {
  if (index_ == nullptr) return;
  const OrdinalSet without = WithoutRow(slice);
  if (without.empty()) return;
  const auto high = static_cast<std::uint16_t>(slice * kSlice >> 16);
  std::map<Ordinal, std::vector<std::pair<std::string, std::string>>> pairs;
  index_rows::ParsedPairKey parsed;
  (void)ScanAroundDamage(index_rows::kPostingsPrefix, [&](std::string_view key, std::string_view value) {
    std::vector<index_rows::PostingSets> entries;
    if (!index_rows::ParsePairKey(key, &parsed) || parsed.high != high) return true;
    if (!index_rows::DecodePostings(key, value, &entries).ok()) return true;
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
    const Labels labels(std::move(found));
    const std::uint64_t hash = StableHash(labels.encoded());
    std::vector<std::vector<Ordinal>> listed;
    if (!rows_.ReadHashes({&hash, 1}, &listed).ok()) continue;
    if (std::find(listed[0].begin(), listed[0].end(), ordinal) == listed[0].end()) continue;
    put_together_.emplace(ordinal, labels.encoded());
    if (!relabelled_.Contains(ordinal)) ++report_->series_relabelled;
    relabelled_.Add(ordinal);
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
