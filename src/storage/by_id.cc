// What tools need of a store beside the public interface: its series by their ids, and its retention floor.
#include <algorithm>

#include "storage/storage_impl.h"

namespace chronolith {
namespace {

// Calls `read(shard, ordinals, places)` for each shard that some of the refs are of: ascending ordinals, each of refs[places[i]].
template <typename Read>
Status EachShard(const QueryContext& context, std::span<const SeriesRef> refs, const Read& read) {
  std::vector<std::size_t> places;
  std::vector<Ordinal> ordinals;
  for (const ShardReader& shard : context.shards) {
    places.clear();
    ordinals.clear();
    for (std::size_t i = 0; i < refs.size(); ++i) {
      if (ShardOf(refs[i]) == shard.shard) places.push_back(i);
    }
    if (places.empty()) continue;
    std::sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) { return refs[a].id < refs[b].id; });
    for (const std::size_t i : places) ordinals.push_back(OrdinalOf(refs[i]));
    if (Status s = read(shard, ordinals, places); !s.ok()) return s;
  }
  return Status::Ok();
}

}  // namespace

Result<Lookup<SeriesRef>> StorageImpl::MatchingIds(const std::vector<Matcher>& matchers, const LookupOptions& options,
                                                   const WorkBounds& bounds) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(options.deadline, options.skip_replaying, bounds.cancelled);
  if (!readers.ok()) return readers.status();
  return LookupSeriesIds(**readers, matchers, options, bounds);
}

Status StorageImpl::LabelsOf(std::span<const SeriesRef> refs, std::vector<Labels>* labels, bool skip_replaying) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, skip_replaying);
  if (!readers.ok()) return readers.status();
  labels->assign(refs.size(), Labels());
  std::vector<Labels> found;
  return EachShard(**readers, refs, [&](const ShardReader& shard, std::span<const Ordinal> ordinals, const auto& places) {
    Status s = shard.index->LabelsOf(ordinals, &found);
    for (std::size_t i = 0; s.ok() && i < places.size(); ++i) (*labels)[places[i]] = std::move(found[i]);
    return s;
  });
}

Result<bool> StorageImpl::VisitLabels(Deadline deadline, const std::atomic<bool>* cancelled, const VisitSeries& visit) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(deadline, true);
  if (!readers.ok()) return readers.status();
  return chronolith::VisitLabels(**readers, deadline, cancelled, visit);
}

Result<ListEnd> StorageImpl::VisitLabelStrings(const std::string* name, std::span<const std::vector<Matcher>> selectors,
                                               const LookupOptions& options, const VisitString& visit) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(options.deadline, options.skip_replaying);
  if (!readers.ok()) return readers.status();
  if (name == nullptr) return VisitLabelNames(**readers, selectors, options, {}, visit);
  return VisitLabelValues(**readers, *name, selectors, options, {}, visit);
}

Result<Lookup<std::string>> StorageImpl::LabelStrings(const std::string* name, std::span<const std::vector<Matcher>> selectors,
                                                      const LookupOptions& options, const WorkBounds& bounds) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(options.deadline, options.skip_replaying, bounds.cancelled);
  if (!readers.ok()) return readers.status();
  if (name == nullptr) return LookupLabelNames(**readers, selectors, options, bounds);
  return LookupLabelValues(**readers, *name, selectors, options, bounds);
}

Result<HeadExtent> StorageImpl::HeadExtents() const {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (!reopen_failure_.ok()) return reopen_failure_;
  HeadExtent all;
  for (std::size_t i = 0; i < core().size(); ++i) {
    const Shard& shard = core().shard(i);
    if (!shard.serving.load(std::memory_order_acquire) || !shard.quarantine.ok()) continue;
    const HeadExtent one = shard.head->Extent();
    all.chunks += one.chunks;
    all.min_time = std::min(all.min_time, one.min_time);
    all.max_time = std::max(all.max_time, one.max_time);
  }
  return all;
}

Status StorageImpl::MetadataOf(std::span<const SeriesRef> refs, std::vector<std::optional<Metadata>>* metadata) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  metadata->assign(refs.size(), std::nullopt);
  std::vector<std::optional<Metadata>> found;
  return EachShard(**readers, refs, [&](const ShardReader& shard, std::span<const Ordinal> ordinals, const auto& places) {
    Status s = shard.index->MetadataOf(ordinals, &found);
    for (std::size_t i = 0; s.ok() && i < places.size(); ++i) (*metadata)[places[i]] = std::move(found[i]);
    return s;
  });
}

Status StorageImpl::MayHaveExemplars(std::span<const SeriesRef> refs, TimeRange range, const std::atomic<bool>* cancelled,
                                     std::vector<bool>* may) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  may->assign(refs.size(), false);
  std::vector<bool> found;
  return EachShard(**readers, refs, [&](const ShardReader& shard, std::span<const Ordinal> ordinals, const auto& places) {
    Status s = chronolith::MayHaveExemplars(**readers, shard.shard, ordinals, range, cancelled, &found);
    for (std::size_t i = 0; s.ok() && i < places.size(); ++i) (*may)[places[i]] = found[i];
    return s;
  });
}

Result<std::vector<Exemplar>> StorageImpl::ExemplarsOf(SeriesRef ref, TimeRange range) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  return SelectExemplars(**readers, ShardOf(ref), OrdinalOf(ref), range);
}

Result<std::unique_ptr<SeriesWalk>> StorageImpl::Walk(std::vector<KnownSeries> series, TimeRange range, const WorkBounds& bounds) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  return WalkSeries(*readers, std::move(series), range, bounds);
}

Result<Timestamp> StorageImpl::Floor() {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  Timestamp floor = kMinTimestamp;
  for (const ShardReader& shard : (*readers)->shards) floor = std::max(floor, shard.chunks->tombstones().floor());
  return floor;
}

Status StorageImpl::RaiseFloor(Timestamp floor) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  Core& c = core();
  if (c.options().read_only) return FailedPrecondition("the store is open read-only");
  if (Status status = c.AwaitAll(kNoDeadline); !status.ok()) return status;
  if (!c.quarantine().ok()) return c.quarantine();
  return c.RaiseFloor(floor);
}

}  // namespace chronolith
