#include "ops/cardinality.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "base/ordinal_set.h"
#include "chronolith/labels.h"
#include "format/index_rows.h"
#include "format/wal_record.h"
#include "index/row_reader.h"
#include "ops/cardinality_top.h"
#include "ops/inspect.h"
#include "ops/wal_scan.h"
#include "storage/store_directory.h"
#include "wal/sharded_wal.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kPairsPerLook = 8192;  // between looks at the cancel flag

// What a shard's stored index holds and what the log says beyond it. A series is stored where its ordinal lies below `next`: rows
// of a checkpoint that was cut short lie above, and the log has their series.
struct ShardState {
  Lsn applied = 0;
  std::uint64_t next = 0;
  OrdinalSet removed;  // in the log, behind `applied`
  OrdinalSet alive;    // stored, without `removed`
};

using TopPairs = Top<PairCount, decltype(&MoreSeries)>;
using TopNames = Top<NameCount, decltype(&NameHasMoreSeries)>;

// One pair, its key as index rows have it (without the high half; `text` where it does not stand in the key): the order of merging.
struct PairOfLog {
  std::string key;
  std::string text;
  std::uint64_t series = 0;
};

// Pairs of the series that only the log has.
class LogPairs {
 public:
  explicit LogPairs(std::uint64_t memory_limit) : limit_(memory_limit) {}
  // False where there is no room for the series any more: nothing of it is counted.
  bool Add(const Labels& labels) {
    if (used_ > limit_) return false;
    for (const Label& label : labels) {
      index_rows::PairKey key = index_rows::MakePairKey(label.name, label.value);
      if (!key.text.empty()) {
        used_ += key.bytes.size() + key.text.size() + 128;
        ++folded_[{std::move(key.bytes), std::move(key.text)}];
        continue;
      }
      const std::uint64_t cost = 64 + (key.bytes.size() > 15 ? key.bytes.size() + 16 : 0);  // its slot, twice while the map grows
      if (++whole_[std::move(key.bytes)] == 1) used_ += cost;
    }
    return true;
  }
  std::vector<PairOfLog> TakeSorted() {
    std::vector<PairOfLog> pairs;
    pairs.reserve(whole_.size() + folded_.size());
    for (auto it = whole_.begin(); it != whole_.end();) {
      auto node = whole_.extract(it++);
      pairs.push_back({std::move(node.key()), "", node.mapped()});
    }
    whole_ = {};
    for (auto& [key, series] : folded_) pairs.push_back({key.first, key.second, series});
    folded_.clear();
    std::sort(pairs.begin(), pairs.end(),
              [](const PairOfLog& a, const PairOfLog& b) { return std::tie(a.key, a.text) < std::tie(b.key, b.text); });
    return pairs;
  }

 private:
  const std::uint64_t limit_;
  std::uint64_t used_ = 0;
  absl::flat_hash_map<std::string, std::uint32_t> whole_;
  std::map<std::pair<std::string, std::string>, std::uint64_t> folded_;
};

// First pass over a shard's log: which series it creates and removes, and when.
class ChurnReader : public WalVisitor {
 public:
  ChurnReader(ShardState* state, ShardCondition* condition, CardinalityReport* report, const OpsContext& context)
      : state_(state), condition_(condition), report_(report), context_(context) {}
  Status OnRow(ShardId, const WalRowHeader& row, std::string_view) override {
    if (report_->log_from_ms == 0 || row.write_time_ms < report_->log_from_ms) report_->log_from_ms = row.write_time_ms;
    context_.Add(row.records);
    return Status::Ok();
  }
  Status OnRecord(ShardId, Lsn lsn, const WalRowHeader& row, const RecordView& record) override {
    const std::int64_t hour = HourOf(row.write_time_ms) * kHourMs;
    if (record.type == RecordType::kSeries) {
      if (Status s = DecodeSeries(record.body, &entries_); !s.ok()) return s;
      report_->log_hours[hour].created += entries_.size();
      for (const SeriesRecordEntry& entry : entries_) created_ += entry.ordinal >= state_->next ? 1 : 0;
    } else if (record.type == RecordType::kRemoveSeries) {
      if (Status s = DecodeRemoveSeries(record.body, &ordinals_); !s.ok()) return s;
      report_->log_hours[hour].removed += ordinals_.size();
      if (lsn > state_->applied) state_->removed.AddMany(ordinals_);
    }
    return Status::Ok();
  }
  Status OnLoss(ShardId, const WalLoss& loss) override {
    condition_->unread.push_back({"log", loss.why.message()});
    return Status::Ok();
  }
  std::uint64_t created() const { return created_; }

 private:
  ShardState* const state_;
  ShardCondition* const condition_;
  CardinalityReport* const report_;
  const OpsContext& context_;
  std::uint64_t created_ = 0;
  std::vector<SeriesRecordEntry> entries_;
  std::vector<Ordinal> ordinals_;
};

// Second pass, where the first found new series: their labels.
class LabelsReader : public WalVisitor {
 public:
  LabelsReader(const ShardState& state, LogPairs* pairs) : state_(state), pairs_(pairs) {}
  Status OnRecord(ShardId, Lsn, const WalRowHeader&, const RecordView& record) override {
    if (record.type != RecordType::kSeries) return Status::Ok();
    if (Status s = DecodeSeries(record.body, &entries_); !s.ok()) return s;
    for (const SeriesRecordEntry& entry : entries_) {
      if (entry.ordinal < state_.next || state_.removed.Contains(entry.ordinal)) continue;
      ++series_;
      if (!pairs_->Add(Labels::FromEncoded(std::string(entry.labels)))) ++left_out_;
    }
    return Status::Ok();
  }
  Status OnLoss(ShardId, const WalLoss&) override { return Status::Ok(); }  // the first pass has told
  std::uint64_t series_ = 0;
  std::uint64_t left_out_ = 0;

 private:
  const ShardState& state_;
  LogPairs* const pairs_;
  std::vector<SeriesRecordEntry> entries_;
};

// The postings rows of one shard, in the order of their keys.
struct Postings {
  ShardId shard = 0;
  std::unique_ptr<KvIterator> it;
  std::string_view key() const {  // without the high half
    const std::string_view whole = it->key();
    return whole.substr(0, whole.size() - 2);
  }
};

class Counting {
 public:
  Counting(const OfflineStore& store, const CardinalityOptions& options, const OpsContext& context, CardinalityReport* report)
      : store_(store),
        options_(options),
        context_(context),
        report_(report),
        states_(store.shards()),
        log_pairs_(context.memory_limit_bytes / 2),
        names_by_series_(options.top, NameHasMoreSeries),
        names_by_values_(options.top, NameHasMoreValues),
        top_pairs_(options.top, MoreSeries),
        metrics_(options.top, MoreSeries) {}

  Status Run() {
    report_->log_failure = store_.log_failure().message();
    const EngineStats stats = store_.data()->Stats();
    std::uint64_t records = 0;
    for (ShardId i = 0; i < store_.shards(); ++i) records += LogRecordsOf(store_, i);
    context_.Begin("reading the log", records, "records");
    for (ShardId i = 0; i < store_.shards(); ++i) {
      ShardCardinality& shard = report_->shards.emplace_back();
      shard.shard = i;
      shard.bytes = stats.families[IndexFamily(i)].file_bytes + stats.families[ChunkFamily(i)].file_bytes;
      if (Status s = ReadShard(i, &shard); !s.ok()) return s;
    }
    if (Status s = MergePairs(); !s.ok()) return s;
    if (options_.chunks) {
      std::uint64_t bytes = 0;
      for (ShardId i = 0; i < store_.shards(); ++i) bytes += stats.families[ChunkFamily(i)].file_bytes;
      context_.Begin("reading chunks", bytes, "bytes");
      for (ShardId i = 0; i < store_.shards(); ++i) {
        if (!Readable(i)) continue;
        const Status s = ReadChunks(i);
        if (s.code() == StatusCode::kCancelled) return s;
        if (!s.ok()) NoteUnread(i, "chunks", s.message());
      }
    }
    for (ShardCardinality& shard : report_->shards) {
      shard.series += shard.log_series;
      report_->series += shard.series;
      report_->log_series += shard.log_series;
    }
    report_->names_by_series = names_by_series_.Take();
    report_->names_by_values = names_by_values_.Take();
    report_->pairs = top_pairs_.Take();
    report_->metrics = metrics_.Take();
    return context_.CheckCancelled();
  }

 private:
  bool Readable(ShardId i) const { return report_->shards[i].condition.quarantine.empty(); }
  void NoteUnread(ShardId i, std::string part, std::string why) {
    report_->shards[i].condition.unread.push_back({std::move(part), std::move(why)});
  }

  // kCancelled; what is damaged is noted.
  Status ReadShard(ShardId i, ShardCardinality* shard) {
    ShardCondition& condition = shard->condition;
    for (const FamilyId family : {IndexFamily(i), ChunkFamily(i)}) {
      if (condition.quarantine.empty()) condition.quarantine = store_.data()->Damage(family).message();
    }
    if (!condition.quarantine.empty()) return Status::Ok();
    ShardState& state = states_[i];
    const auto stored = RowReader(store_.data(), IndexFamily(i)).ReadState();
    if (!stored.ok()) {  // an open that cannot read it quarantines the shard, too
      condition.quarantine = stored.status().message();
      return Status::Ok();
    }
    if (stored->has_value()) {
      state.applied = (*stored)->applied_lsn;
      state.next = (*stored)->next_ordinal;
    }
    if (store_.log() == nullptr) {
      NoteUnread(i, "log", report_->log_failure);
      if (state.next > 0) state.alive.AddRange(0, static_cast<Ordinal>(state.next - 1));
      return Status::Ok();
    }
    if (store_.unfinished().Contains(i)) NoteUnread(i, "log", std::string(kLogGivenUp));
    ChurnReader churn(&state, &condition, report_, context_);
    WalEnd end;
    const Status read = ReadWal(store_.log(), WalFamily(i), i, 0, context_.cancelled, &churn, nullptr, &end);
    if (read.code() == StatusCode::kCancelled) return read;
    if (!read.ok()) NoteUnread(i, "log", read.message());
    if (state.next > 0) state.alive.AddRange(0, static_cast<Ordinal>(state.next - 1));
    state.alive.Subtract(state.removed);
    if (churn.created() == 0) return Status::Ok();
    LabelsReader labels(state, &log_pairs_);
    const Status again = ReadWal(store_.log(), WalFamily(i), i, 0, context_.cancelled, &labels, nullptr, &end);
    shard->log_series = labels.series_;
    report_->log_series_left_out += labels.left_out_;
    return again.code() == StatusCode::kCancelled ? again : Status::Ok();  // else the first pass has told
  }

  // All shards' postings and those of the log, merged by key: a pair is complete when its key is the smallest no more.
  Status MergePairs() {
    context_.Begin("counting labels", 0, "pairs");
    const std::vector<PairOfLog> log = log_pairs_.TakeSorted();
    std::vector<Postings> cursors;
    for (ShardId i = 0; i < store_.shards(); ++i) {
      if (!Readable(i)) continue;
      const std::string lower(1, index_rows::kPostingsPrefix);
      auto it =
          store_.data()->NewIterator(IndexFamily(i), {.lower = lower, .upper = index_rows::PrefixEnd(lower), .fill_cache = false});
      if (!it.ok()) {
        NoteUnread(i, "index", it.status().message());
        continue;
      }
      (*it)->Seek(lower);
      if ((*it)->Valid()) {
        cursors.push_back({i, std::move(*it)});
      } else if (!(*it)->status().ok()) {
        NoteUnread(i, "index", (*it)->status().message());
      }
    }
    // A heap: its front has the smallest key.
    const auto later = [](const Postings& a, const Postings& b) { return a.key() > b.key(); };
    std::make_heap(cursors.begin(), cursors.end(), later);
    std::size_t at = 0;
    std::uint64_t pairs = 0;
    std::string key;
    while (!cursors.empty() || at < log.size()) {
      if (++pairs % kPairsPerLook == 0) {
        context_.Add(kPairsPerLook);
        if (Status s = context_.CheckCancelled(); !s.ok()) return s;
      }
      key = cursors.empty() || (at < log.size() && log[at].key < cursors.front().key()) ? std::string_view(log[at].key)
                                                                                        : cursors.front().key();
      counts_.clear();
      while (!cursors.empty() && cursors.front().key() == key) {
        std::pop_heap(cursors.begin(), cursors.end(), later);
        Postings& cursor = cursors.back();
        Status s = CountRow(cursor);
        if (s.ok()) {
          cursor.it->Next();
          s = cursor.it->status();
        }
        if (!s.ok()) NoteUnread(cursor.shard, "index", s.message());
        if (s.ok() && cursor.it->Valid()) {
          std::push_heap(cursors.begin(), cursors.end(), later);
        } else {
          cursors.pop_back();
        }
      }
      for (; at < log.size() && log[at].key == key; ++at) counts_[log[at].text] += log[at].series;
      if (Status s = EndPair(key); !s.ok()) return s;
    }
    EndName();
    for (const auto& [name, count] : folded_names_) OfferName(count);
    return Status::Ok();
  }

  Status CountRow(const Postings& cursor) {
    entries_.clear();
    if (Status s = index_rows::DecodePostings(cursor.it->key(), cursor.it->value(), &entries_); !s.ok()) return s;
    for (const index_rows::PostingSets& entry : entries_) {
      const std::uint64_t n = entry.added.IntersectionSize(states_[cursor.shard].alive);
      if (n == 0) continue;
      counts_[entry.text] += n;
      if (cursor.key() == every_) report_->shards[cursor.shard].series += n;
    }
    return Status::Ok();
  }

  Status EndPair(const std::string& key) {
    if (key == every_ || counts_.empty()) return Status::Ok();
    index_rows::ParsedPairKey parsed;
    if (!index_rows::ParsePairKey(key + std::string(2, '\0'), &parsed)) return index_rows::Damaged(key, "malformed key");
    for (const auto& [text, series] : counts_) {
      if (text.empty()) {
        CountPair(parsed.name, parsed.value, series, false);
        continue;
      }
      const Labels labels = Labels::FromEncoded(text);
      if (labels.size() != 1) return index_rows::Damaged(key, "malformed text of a long label");
      const Label label = *labels.begin();
      CountPair(label.name, label.value, series, parsed.name_folded);
    }
    return Status::Ok();
  }

  void CountPair(std::string_view name, std::string_view value, std::uint64_t series, bool name_folded) {
    ++report_->label_pairs;
    if (name == kMetricName && metrics_.Wants(series)) metrics_.Offer({std::string(name), std::string(value), series});
    if (top_pairs_.Wants(series)) top_pairs_.Offer({std::string(name), std::string(value), series});
    if (name_folded) {  // long names are not in the order of keys
      NameCount& count = folded_names_[std::string(name)];
      count.name = name;
      count.series += series;
      ++count.values;
      return;
    }
    if (name_.has_value() && name_->name != name) EndName();
    if (!name_.has_value()) name_ = NameCount{std::string(name), 0, 0};
    name_->series += series;
    ++name_->values;
  }

  void EndName() {
    if (name_.has_value()) OfferName(*name_);
    name_.reset();
  }
  void OfferName(const NameCount& count) {
    ++report_->label_names;
    names_by_series_.Offer(count);
    names_by_values_.Offer(count);
  }

  Status ReadChunks(ShardId i) {
    std::uint64_t series = states_[i].next;
    if (series * ChunkChurn::kBytesPerSeries > context_.memory_limit_bytes / 2) {
      NoteUnread(i, "churn", "it has had " + std::to_string(series) + " series: too many to tell theirs within the memory limit");
      series = 0;
    }
    ChunkChurn churn(series, &report_->windows, &report_->hours);
    const Status s = ScanChunkRows(store_, i, context_, [&](const ChunkMeta& meta, std::uint64_t) {
      report_->shards[i].samples += meta.samples;
      churn.Add(meta);
    });
    churn.End(s.ok());
    return s;
  }

  const OfflineStore& store_;
  const CardinalityOptions& options_;
  const OpsContext& context_;
  CardinalityReport* const report_;
  const std::string every_ = index_rows::MakePairKey("", "").bytes;
  std::vector<ShardState> states_;
  LogPairs log_pairs_;
  std::vector<index_rows::PostingSets> entries_;
  std::map<std::string, std::uint64_t> counts_;  // of one key, by text
  std::optional<NameCount> name_;
  std::map<std::string, NameCount> folded_names_;
  TopNames names_by_series_;
  TopNames names_by_values_;
  TopPairs top_pairs_;
  TopPairs metrics_;
};

double Skew(const std::vector<ShardCardinality>& shards, std::uint64_t ShardCardinality::*field) {
  std::uint64_t most = 0;
  std::uint64_t sum = 0;
  for (const ShardCardinality& shard : shards) {
    most = std::max(most, shard.*field);
    sum += shard.*field;
  }
  return sum == 0 ? 0 : static_cast<double>(most) * static_cast<double>(shards.size()) / static_cast<double>(sum);
}

}  // namespace

double CardinalityReport::SeriesSkew() const { return Skew(shards, &ShardCardinality::series); }
double CardinalityReport::SampleSkew() const { return Skew(shards, &ShardCardinality::samples); }

Result<CardinalityReport> CountCardinality(const OfflineStore& store, const CardinalityOptions& options,
                                           const OpsContext& context) {
  CardinalityReport report;
  if (Status s = Counting(store, options, context, &report).Run(); !s.ok()) return s;
  return report;
}

}  // namespace chronolith::ops
