#include "storage/writer.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <bit>

#include "base/failpoint.h"
#include "chunk/packed_chunk.h"

namespace chronolith {
namespace {

constexpr std::size_t kItemsRecordBytes = 40 << 10;

Refusal::What WhatOf(const Item& item) {
  switch (TypeOf(item)) {
    case ItemType::kHistogram:
      return Refusal::What::kHistogram;
    case ItemType::kExemplar:
      return Refusal::What::kExemplar;
    case ItemType::kMetadata:
      return Refusal::What::kMetadata;
  }
  return Refusal::What::kSeries;
}

// What the next item of the batch would meet as well, after another wait.
bool EndsTheBatch(const Status& status) {
  return status.code() == StatusCode::kResourceExhausted || status.code() == StatusCode::kUnavailable ||
         status.code() == StatusCode::kDeadlineExceeded || status.code() == StatusCode::kCancelled;
}

Status UnknownReference() { return NotFound("unknown series reference: get one with Appender::Ref of this store"); }

Status HeldUntilTheDeadline(const Shard& shard) {
  return ResourceExhausted("another write that changes series of shard " + std::to_string(shard.id) + " waited until the deadline");
}

bool Rejects(const Core& core) { return core.options().duplicate_policy == DuplicatePolicy::kReject; }

Timestamp TimeOf(const Item& item) {
  if (const auto* histogram = std::get_if<HistogramSample>(&item)) return histogram->timestamp;
  if (const auto* exemplar = std::get_if<Exemplar>(&item)) return exemplar->timestamp;
  return kMaxTimestamp;  // metadata has none and never expires
}

}  // namespace

void Writer::AddItem(SeriesRef ref, Item item, std::uint32_t index) {
  const std::uint32_t shard = ShardOf(ref);
  if (shard >= kShardsMax) {
    unknown_.push_back({index, WhatOf(item)});
    return;
  }
  touched_ |= 1U << shard;
  buckets_[shard].items.push_back({OrdinalOf(ref), index, std::move(item)});
}

void Writer::Clear() {
  for (; touched_ != 0; touched_ &= touched_ - 1) {
    Bucket& bucket = buckets_[static_cast<std::size_t>(std::countr_zero(touched_))];
    bucket.samples.clear();
    bucket.items.clear();
    if (bucket.held_bytes() > kBucketBytesKept) bucket = {};
  }
  unknown_.clear();
}

std::size_t Writer::held_bytes() const {
  std::size_t bytes = 0;
  for (const Bucket& bucket : buckets_) bytes += bucket.held_bytes();
  return bytes;
}

// ---- Resolving ----

void Writer::ResolveMissing(Core* core, Deadline deadline, std::vector<SeriesRef>* refs, std::vector<Refusal>* refused) {
  struct OfShard {
    std::vector<std::size_t> at;
    std::vector<SeriesKey> keys;
  };
  std::array<OfShard, kShardsMax> by_shard;
  const Deadline ready_by = core->ReadyDeadline(deadline);
  for (const Missing& m : missing_) {
    // Only valid label sets are ever inserted, so what was found needed no validation.
    if (Status status = ValidateLabels(m.key.encoded, core->label_limits()); !status.ok()) {
      refused->push_back({m.at, Refusal::What::kSeries, 0, std::move(status)});
      continue;
    }
    by_shard[m.shard].at.push_back(m.at);
    by_shard[m.shard].keys.push_back(m.key);
  }
  for (std::size_t s = 0; s < core->size(); ++s) {
    OfShard& p = by_shard[s];
    if (p.keys.empty()) continue;
    Shard& shard = core->shard(s);
    std::vector<std::optional<Ordinal>> found;
    Status status = core->Await(shard, ready_by);
    const std::uint64_t evictions = status.ok() ? shard.index->evictions() : 0;
    if (status.ok()) status = shard.index->FindStored(p.keys, &found);
    std::vector<SeriesKey> missing;
    for (std::size_t i = 0; status.ok() && i < p.keys.size(); ++i) {
      if (!found[i]) missing.push_back(p.keys[i]);
    }
    std::vector<std::optional<Ordinal>> created;
    if (status.ok() && !missing.empty()) status = Create(core, &shard, missing, evictions, deadline, &created);
    std::size_t next = 0;
    for (std::size_t i = 0; i < p.keys.size(); ++i) {
      std::optional<Ordinal> ordinal;
      if (i < found.size() && found[i]) {
        ordinal = found[i];
      } else if (next < created.size()) {
        ordinal = created[next++];
      }
      if (ordinal) {
        (*refs)[p.at[i]] = MakeSeriesRef(shard.id, *ordinal);
      } else {
        refused->push_back({p.at[i], Refusal::What::kSeries, 0, status});
      }
    }
  }
}

Status Writer::Create(Core* core, Shard* shard, std::span<const SeriesKey> keys, std::uint64_t evictions, Deadline deadline,
                      std::vector<std::optional<Ordinal>>* ordinals) {
  if (!shard->series_mu.LockUntil(deadline)) return HeldUntilTheDeadline(*shard);
  MeasuredLock series_lock(&shard->series_mu, AdoptLock{});
  // Another creator may have been faster, and a checkpoint after it may have evicted the series already.
  std::vector<std::optional<Ordinal>> found;
  for (const SeriesKey& key : keys) found.push_back(shard->index->FindResident(key));
  if (shard->index->evictions() != evictions) {
    if (Status status = shard->index->FindStored(keys, &found); !status.ok()) return status;
  }
  std::uint64_t next = shard->next_ordinal.load(std::memory_order_relaxed);
  absl::flat_hash_map<std::string, Ordinal> in_batch;
  std::vector<std::string_view> labels;
  std::vector<std::uint64_t> hashes;
  bool all = true;
  const std::uint64_t room = core->options().max_series - std::min(core->options().max_series, core->series_total());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const SeriesKey& key = keys[i];
    std::optional<Ordinal> ordinal = found[i];
    if (!ordinal) {
      const auto [it, is_new] = in_batch.try_emplace(std::string(key.encoded), static_cast<Ordinal>(next + labels.size()));
      if (is_new && (labels.size() >= room || next + labels.size() >= 0xffffffffULL)) {
        in_batch.erase(it);
        ordinals->push_back(std::nullopt);  // those behind it may exist
        all = false;
        continue;
      }
      ordinal = it->second;
      if (is_new) {
        labels.push_back(key.encoded);
        hashes.push_back(key.hash);
      }
    }
    ordinals->push_back(ordinal);
  }
  if (!labels.empty()) {
    record_.clear();
    const std::size_t records = AppendSeriesRecords(static_cast<Ordinal>(next), labels, &record_);
    // Large batches go through the ring in whole records that fit.
    std::string_view left = record_;
    std::size_t inserted = 0;
    for (std::size_t r = 0; r < records; ++r) {
      std::string_view rest = left;
      RecordView view;
      std::vector<SeriesRecordEntry> entries;
      Status status = NextRecord(&rest, &view);
      if (status.ok()) status = DecodeSeries(view.body, &entries);
      const std::string_view one = left.substr(0, left.size() - rest.size());
      // A record is smaller than what HasRoom may be asked for.
      if (status.ok() && !shard->index->HasRoom(static_cast<Ordinal>(next + inserted), entries.size(), one.size())) {
        status = ResourceExhausted("the index of shard " + std::to_string(shard->id) + " has no room for more resident series");
      }
      if (status.ok()) status = core->wal().Reserve(shard->id, one.size(), deadline);
      if (!status.ok()) {
        // What was inserted stays; the caller refuses the rest.
        for (std::optional<Ordinal>& ordinal : *ordinals) {
          if (ordinal && *ordinal >= next + inserted) ordinal.reset();
        }
        return status;
      }
      left = rest;
      Lsn lsn;
      {
        MeasuredLock append_lock(&shard->head->mu());
        shard->head->EnsureOrdinals(next + inserted + entries.size());
        CHRONOLITH_FAILPOINT("series.publish");
        lsn = shard->wal->Append(one, 1);
        CHRONOLITH_FAILPOINT("series.published");
      }
      // Before anybody can find the series: a writer refuses ordinals from here on as unknown.
      shard->next_ordinal.store(next + inserted + entries.size(), std::memory_order_release);
      for (const SeriesRecordEntry& entry : entries) {
        if (!shard->index->Insert(entry.ordinal, {hashes[inserted], labels[inserted]}, lsn)) {
          core->wal().Fail(DataLoss("a series in the log is not in the index"));  // HasRoom said otherwise
        }
        ++inserted;
      }
      CHRONOLITH_FAILPOINT("series.inserted");
      shard->series_created.Add(entries.size());
      shard->series_total.fetch_add(entries.size(), std::memory_order_relaxed);
      core->AddSeries(static_cast<std::int64_t>(entries.size()));
    }
  }
  if (all) return Status::Ok();
  if (labels.size() >= room) {
    return ResourceExhausted("the store has " + std::to_string(core->series_total()) + " series, the limit (max_series) is " +
                             std::to_string(core->options().max_series));
  }
  return ResourceExhausted("shard " + std::to_string(shard->id) + " has used all 2^32 series ordinals");
}

// ---- Committing ----

void Writer::RefuseSamples(std::span<const SampleEntry> samples, const Status& reason, Shard* shard, WriteResult* result) {
  for (const SampleEntry& s : samples) result->refused.push_back({s.index, Refusal::What::kSample, 0, reason});
  shard->samples_refused.Add(samples.size());
}

void Writer::Validate(Shard* shard, Bucket* bucket, WriteResult* result) {
  const Timestamp floor = shard->chunks->tombstones().floor();
  const std::uint64_t next = shard->next_ordinal.load(std::memory_order_acquire);
  const auto reason = [&](std::uint64_t ordinal, Timestamp t) -> Status {
    if (ordinal >= next) return UnknownReference();
    if (t < floor) {
      return InvalidArgument("timestamp " + std::to_string(t) + " lies before the retention floor " + std::to_string(floor));
    }
    return InvalidArgument("timestamp " + std::to_string(t) + " is the largest of its type, which is reserved");
  };
  bool all_fine = true;
  for (const SampleEntry& s : bucket->samples) {
    all_fine &= (s.ordinal < next) & (s.timestamp >= floor) & (s.timestamp != kMaxTimestamp);
  }
  if (!all_fine) {
    const auto bad = [&](const SampleEntry& s) {
      if (s.ordinal < next && s.timestamp >= floor && s.timestamp != kMaxTimestamp) return false;
      RefuseSamples({&s, 1}, reason(s.ordinal, s.timestamp), shard, result);
      return true;
    };
    bucket->samples.erase(std::remove_if(bucket->samples.begin(), bucket->samples.end(), bad), bucket->samples.end());
  }
  const auto bad = [&](const PendingItem& p) {
    Status status = ValidateItem(p.item);
    if (status.ok() && (p.ordinal >= next || TimeOf(p.item) < floor)) status = reason(p.ordinal, TimeOf(p.item));
    if (status.ok() && std::holds_alternative<Exemplar>(p.item) && !std::get<Exemplar>(p.item).labels.empty()) {
      status = ValidateLabels(std::get<Exemplar>(p.item).labels.encoded(), LabelLimits{}).WithContext("exemplar");
    }
    if (status.ok()) return false;
    result->refused.push_back({p.index, WhatOf(p.item), 0, std::move(status)});
    return true;
  };
  bucket->items.erase(std::remove_if(bucket->items.begin(), bucket->items.end(), bad), bucket->items.end());
}

std::uint64_t Writer::ReplaceRemoved(Core* core, Shard* shard, Bucket* bucket, Deadline deadline, WriteResult* result) {
  const std::uint64_t seen = shard->removals.load(std::memory_order_acquire);
  if (seen == 0) return seen;
  struct Successor {
    std::optional<Ordinal> ordinal;
    Status missing = UnknownReference();  // why there is none
  };
  absl::flat_hash_map<Ordinal, Successor> moved;
  {
    MutexLock lock(&shard->removed_mu);
    for (const SampleEntry& s : bucket->samples) {
      if (shard->removed.Contains(s.ordinal)) moved.try_emplace(s.ordinal);
    }
    for (const PendingItem& p : bucket->items) {
      if (shard->removed.Contains(p.ordinal)) moved.try_emplace(p.ordinal);
    }
  }
  if (moved.empty()) return seen;
  // Who removed them marked them under this mutex and took them out of the index before letting it go: once it was free, resolving
  // cannot find an old series again.
  Status passed = HeldUntilTheDeadline(*shard);
  if (shard->series_mu.LockUntil(deadline)) {
    shard->series_mu.Unlock();
    passed = Status::Ok();
  }
  std::vector<Replaced> replaced;
  for (auto& [from, to] : moved) {
    if (!passed.ok()) {
      to.missing = passed;
      continue;
    }
    std::vector<Labels> labels;
    if (Status status = shard->index->LabelsOf({&from, 1}, &labels, true); !status.ok()) {
      to.missing = std::move(status);
      continue;
    }
    if (labels[0].empty()) continue;
    std::vector<SeriesRef> refs;
    std::vector<Refusal> refused;
    Resolve(core, labels, deadline, &refs, &refused);
    if (!refused.empty()) to.missing = std::move(refused[0].reason);
    if (refs[0].id != 0 && OrdinalOf(refs[0]) != from) to.ordinal = OrdinalOf(refs[0]);  // the same labels hash to the same shard
    if (to.ordinal) replaced.push_back({from, *to.ordinal});
  }
  CarryMetadata(core, shard, std::move(replaced), deadline);
  const auto move = [&](auto& entry, Refusal::What what) {
    const auto it = moved.find(entry.ordinal);
    if (it == moved.end()) return false;
    if (it->second.ordinal) {
      entry.ordinal = *it->second.ordinal;
      return false;
    }
    result->refused.push_back({entry.index, what, 0, it->second.missing});
    return true;
  };
  std::erase_if(bucket->samples, [&](SampleEntry& s) { return move(s, Refusal::What::kSample); });
  std::erase_if(bucket->items, [&](PendingItem& p) { return move(p, WhatOf(p.item)); });
  return seen;
}

void Writer::CarryMetadata(Core* core, Shard* shard, std::vector<Replaced> replaced, Deadline deadline) {
  // Of several that one series replaces the newest comes first.
  std::sort(replaced.begin(), replaced.end(), [](const Replaced& a, const Replaced& b) { return a.from > b.from; });
  std::vector<Ordinal> successors;
  for (const Replaced& r : replaced) successors.push_back(r.to);
  std::vector<std::optional<Metadata>> own;
  if (!shard->index->MetadataOf(successors, &own).ok()) return;
  for (std::size_t i = 0; i < replaced.size(); ++i) {
    if (own[i]) continue;
    Result<std::optional<Metadata>> old = shard->index->MetadataOf(replaced[i].from);
    if (!old.ok() || !*old) continue;
    const PendingItem item{replaced[i].to, 0, std::move(**old)};
    record_.clear();
    ItemsRecordBuilder builder(&record_);
    builder.Add(TypeOf(item.item), item.ordinal, EncodeItem(item.item));
    const std::size_t records = builder.Finish();
    if (!shard->series_mu.LockUntil(deadline)) return;
    MeasuredLock series_lock(&shard->series_mu, AdoptLock{});
    // Looked at again: under the lock nobody else writes metadata or removes series.
    const Result<std::optional<Metadata>> newer = shard->index->MetadataOf(item.ordinal);
    if (!newer.ok() || *newer) continue;
    {
      MutexLock removed_lock(&shard->removed_mu);
      if (shard->removed.Contains(item.ordinal)) continue;
    }
    const std::uint64_t removals = shard->removals.load(std::memory_order_relaxed);
    if (!LogItems(core, shard, {&item, 1}, records, removals, deadline).ok()) return;
  }
}

// kCancelled: a series was removed meanwhile; look again.
Status Writer::CommitSamples(Core* core, Shard* shard, std::span<const SampleEntry> samples, std::uint64_t removals,
                             Deadline deadline) {
  record_.clear();
  AppendSamplesRecord(samples, &record_);
  if (Status status = core->wal().Reserve(shard->id, record_.size(), deadline); !status.ok()) return status;
  MeasuredLock lock(&shard->head->mu());
  if (shard->removals.load(std::memory_order_relaxed) != removals) [[unlikely]] {
    shard->wal->Unreserve(record_.size());
    return Cancelled("a series was removed");
  }
  CHRONOLITH_FAILPOINT("samples.publish");
  const Lsn lsn = shard->wal->Append(record_, 1);
  CHRONOLITH_FAILPOINT("samples.published");
  shard->head->Append(samples, lsn);
  CHRONOLITH_FAILPOINT("samples.appended");
  return Status::Ok();
}

Status Writer::CommitItems(Core* core, Shard* shard, std::span<const PendingItem> items, std::uint64_t removals, Deadline deadline,
                           std::size_t* taken) {
  record_.clear();
  ItemsRecordBuilder builder(&record_);
  *taken = 0;
  for (const PendingItem& p : items) {
    const std::string bytes = EncodeItem(p.item);
    if (*taken > 0 && record_.size() + bytes.size() > kItemsRecordBytes) break;
    builder.Add(TypeOf(p.item), p.ordinal, bytes);
    ++*taken;
  }
  const std::size_t records = builder.Finish();
  // Metadata is a change of the index: see Shard. The lock comes before the reservation, because its holder may wait for room.
  if (!shard->series_mu.LockUntil(deadline)) return HeldUntilTheDeadline(*shard);
  MeasuredLock series_lock(&shard->series_mu, AdoptLock{});
  if (const auto* histogram = std::get_if<HistogramSample>(&items[0].item); histogram != nullptr && Rejects(*core)) {
    bool repeated = false;
    const Status status = CheckDuplicate(*shard, items[0].ordinal, histogram->timestamp, histogram->histogram, &repeated);
    if (repeated || !status.ok()) return status;
  }
  return LogItems(core, shard, items.first(*taken), records, removals, deadline);
}

Status Writer::LogItems(Core* core, Shard* shard, std::span<const PendingItem> items, std::size_t records, std::uint64_t removals,
                        Deadline deadline) {
  if (Status status = core->wal().Reserve(shard->id, record_.size(), deadline); !status.ok()) return status;
  if (shard->removals.load(std::memory_order_relaxed) != removals) {
    shard->wal->Unreserve(record_.size());
    return Cancelled("a series was removed");
  }
  Lsn lsn;
  {
    MeasuredLock lock(&shard->head->mu());
    CHRONOLITH_FAILPOINT("items.publish");
    lsn = shard->wal->Append(record_, records);
    CHRONOLITH_FAILPOINT("items.published");
    for (const PendingItem& p : items) {
      if (const auto* histogram = std::get_if<HistogramSample>(&p.item)) shard->head->AppendHistogram(p.ordinal, *histogram, lsn);
      if (const auto* exemplar = std::get_if<Exemplar>(&p.item)) shard->head->AppendExemplar(p.ordinal, *exemplar, lsn);
    }
    CHRONOLITH_FAILPOINT("items.appended");
  }
  for (const PendingItem& p : items) {
    if (const auto* metadata = std::get_if<Metadata>(&p.item)) shard->index->SetMetadata(p.ordinal, *metadata, lsn);
  }
  return Status::Ok();
}

Status Writer::CheckDuplicate(const Shard& shard, Ordinal ordinal, Timestamp t, const std::variant<double, Histogram>& value,
                              bool* repeated) {
  *repeated = false;
  const TimeRange at{t, t + 1};
  bool other = false;
  const auto look = [&](const ChunkMeta& meta, std::string_view data) -> Status {
    if (!at.Overlaps(meta.min_time, meta.max_time)) return Status::Ok();
    const std::vector<TimeRange> hidden = shard.chunks->tombstones().HiddenIn(meta);
    if (std::any_of(hidden.begin(), hidden.end(), [&](const TimeRange& r) { return r.Contains(t); })) return Status::Ok();
    if (meta.type == ChunkType::kXor) {
      for (FloatIterator it(data); it.Next() && it.sample().timestamp <= t;) {
        if (it.sample().timestamp != t) continue;
        const auto* given = std::get_if<double>(&value);
        const bool same =
            given != nullptr && std::bit_cast<std::uint64_t>(*given) == std::bit_cast<std::uint64_t>(it.sample().value);
        (same ? *repeated : other) = true;
      }
      return Status::Ok();
    }
    Result<std::vector<HistogramSample>> samples = DecodeHistograms(data);
    if (!samples.ok()) return samples.status();
    for (const HistogramSample& sample : *samples) {
      if (sample.timestamp != t) continue;
      const auto* given = std::get_if<Histogram>(&value);
      // Encoded forms are compared: a stale marker is a NaN and equals nothing.
      const bool same = given != nullptr && EncodeHistograms({&sample, 1}) == EncodeItem(HistogramSample{t, *given});
      (same ? *repeated : other) = true;
    }
    return Status::Ok();
  };
  // The head first, then the store: a chunk that a checkpoint moves between the two looks is found in one of them.
  std::vector<std::vector<Chunk>> open;
  shard.head->Collect({&ordinal, 1}, at, ChunkType::kXor, ChunkType::kHistogram, &open);
  for (const Chunk& chunk : open[0]) {
    if (Status status = look(chunk.meta, chunk.data); !status.ok()) return status;
  }
  ChunkSet stored;
  ChunkReadOptions read;
  read.range = at;
  if (Status status = shard.chunks->Read({&ordinal, 1}, read, &stored); !status.ok()) return status;
  for (const ChunkSlice& slice : stored.Of(0)) {
    if (Status status = look(slice.meta, slice.data); !status.ok()) return status;
  }
  if (!other || *repeated) return Status::Ok();
  return AlreadyExists("a sample with another value is there at timestamp " + std::to_string(t) + " (DuplicatePolicy::kReject)");
}

void Writer::CommitRejecting(Core* core, Shard* shard, Bucket* bucket, Deadline deadline, WriteResult* result) {
  std::uint64_t removals = ReplaceRemoved(core, shard, bucket, deadline, result);
  for (std::size_t at = 0; at < bucket->samples.size();) {
    const SampleEntry s = bucket->samples[at];
    bool repeated = false;
    Status status;
    if (!shard->series_mu.LockUntil(deadline)) {
      status = HeldUntilTheDeadline(*shard);
    } else {
      // Between the look and the write no other writer may take the timestamp.
      MeasuredLock series_lock(&shard->series_mu, AdoptLock{});
      status = CheckDuplicate(*shard, s.ordinal, s.timestamp, s.value, &repeated);
      if (status.ok() && !repeated) status = CommitSamples(core, shard, {&s, 1}, removals, deadline);
    }
    if (status.code() == StatusCode::kCancelled) {
      bucket->samples.erase(bucket->samples.begin(), bucket->samples.begin() + static_cast<std::ptrdiff_t>(at));
      at = 0;
      removals = ReplaceRemoved(core, shard, bucket, deadline, result);
      continue;
    }
    if (status.ok()) {
      ++result->accepted;
    } else if (EndsTheBatch(status)) {
      RefuseSamples(std::span(bucket->samples).subspan(at), status, shard, result);
      return;
    } else {
      RefuseSamples({&s, 1}, status, shard, result);
    }
    ++at;
  }
}

void Writer::CommitBucket(Core* core, Shard* shard, Bucket* bucket, Deadline deadline, WriteResult* result) {
  Validate(shard, bucket, result);
  std::uint64_t removals = ReplaceRemoved(core, shard, bucket, deadline, result);
  if (Rejects(*core)) {
    CommitRejecting(core, shard, bucket, deadline, result);
  } else {
    for (std::size_t at = 0; at < bucket->samples.size();) {
      const std::size_t n = std::min(kSamplesPerRecordMax, bucket->samples.size() - at);
      const Status status = CommitSamples(core, shard, {bucket->samples.data() + at, n}, removals, deadline);
      if (status.code() == StatusCode::kCancelled) {
        bucket->samples.erase(bucket->samples.begin(), bucket->samples.begin() + static_cast<std::ptrdiff_t>(at));
        at = 0;
        removals = ReplaceRemoved(core, shard, bucket, deadline, result);
        continue;
      }
      if (!status.ok()) {
        RefuseSamples(std::span(bucket->samples).subspan(at), status, shard, result);
        break;
      }
      result->accepted += n;
      at += n;
    }
  }
  for (std::size_t at = 0; at < bucket->items.size();) {
    std::span<const PendingItem> left = std::span<const PendingItem>(bucket->items).subspan(at);
    if (Rejects(*core)) left = left.first(1);  // one may repeat the one before
    std::size_t taken = 0;
    const Status status = CommitItems(core, shard, left, removals, deadline, &taken);
    if (status.code() == StatusCode::kCancelled) {
      bucket->items.erase(bucket->items.begin(), bucket->items.begin() + static_cast<std::ptrdiff_t>(at));
      at = 0;
      removals = ReplaceRemoved(core, shard, bucket, deadline, result);
      continue;
    }
    if (EndsTheBatch(status)) {
      for (std::size_t i = at; i < bucket->items.size(); ++i) {
        result->refused.push_back({bucket->items[i].index, WhatOf(bucket->items[i].item), 0, status});
      }
      return;
    }
    for (const PendingItem& p : left.first(taken)) {
      if (status.ok()) {
        ++result->accepted;
      } else {
        result->refused.push_back({p.index, WhatOf(p.item), 0, status});
      }
    }
    at += taken;
  }
}

WriteResult Writer::Commit(Core* core, const WriteOptions& options, const Status& admitted) {
  WriteResult result;
  const std::uint64_t start = NowNanos();
  Status status;
  if (core->options().read_only) status = FailedPrecondition("the store is open read-only");
  if (status.ok() && core->wal().failed()) status = core->wal().failure();
  if (status.ok()) status = admitted;
  for (const Unknown& u : unknown_) result.refused.push_back({u.index, u.what, 0, UnknownReference()});
  const std::uint32_t touched = touched_;
  const Deadline ready_by = core->ReadyDeadline(options.deadline);
  for (std::uint32_t m = touched; m != 0; m &= m - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(m));
    Bucket& bucket = buckets_[i];
    const bool exists = i < core->size();
    Status reason = status;
    if (reason.ok()) reason = exists ? core->Await(core->shard(i), ready_by) : UnknownReference();
    if (reason.ok()) [[likely]] {
      CommitBucket(core, &core->shard(i), &bucket, options.deadline, &result);
      continue;
    }
    if (status.ok() && exists) core->shard(i).samples_refused.Add(bucket.samples.size());
    for (const SampleEntry& s : bucket.samples) result.refused.push_back({s.index, Refusal::What::kSample, 0, reason});
    for (const PendingItem& p : bucket.items) result.refused.push_back({p.index, WhatOf(p.item), 0, reason});
  }
  Clear();
  result.token = core->wal().Ticket();
  if (status.ok()) {
    if (options.level == AckLevel::kQueued) {
      core->wal().NotifyQueued();
    } else {
      status = core->wal().Wait(result.token, options.level, options.deadline);
    }
  }
  result.status = status.ok() && !result.refused.empty() ? result.refused.front().reason : status;
  const std::uint64_t nanos = NowNanos() - start;
  for (std::uint32_t m = touched & ((1U << core->size()) - 1); m != 0; m &= m - 1) {
    core->shard(static_cast<std::size_t>(std::countr_zero(m)))
        .write_latency[static_cast<std::size_t>(options.level)]
        .Observe(nanos);
  }
  return result;
}

}  // namespace chronolith
