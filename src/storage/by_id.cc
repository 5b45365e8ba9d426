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

Result<Lookup<SeriesRef>> StorageImpl::MatchingIds(const std::vector<Matcher>& matchers, const LookupOptions& options) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(options.deadline, options.skip_replaying);
  if (!readers.ok()) return readers.status();
  return LookupSeriesIds(**readers, matchers, options);
}

Status StorageImpl::LabelsOf(std::span<const SeriesRef> refs, std::vector<Labels>* labels) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  labels->assign(refs.size(), Labels());
  std::vector<Labels> found;
  return EachShard(**readers, refs, [&](const ShardReader& shard, std::span<const Ordinal> ordinals, const auto& places) {
    Status s = shard.index->LabelsOf(ordinals, &found);
    for (std::size_t i = 0; s.ok() && i < places.size(); ++i) (*labels)[places[i]] = std::move(found[i]);
    return s;
  });
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

Result<std::unique_ptr<SeriesWalk>> StorageImpl::Walk(std::vector<KnownSeries> series, TimeRange range,
                                                      const std::atomic<bool>* cancelled) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  return WalkSeries(*readers, std::move(series), range, cancelled);
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
  if (c.options().read_only) return FailedPrecondition("the store is open read-only (Options::read_only)");
  if (Status status = c.AwaitAll(kNoDeadline); !status.ok()) return status;
  if (!c.quarantine().ok()) return c.quarantine();
  return c.RaiseFloor(floor);
}

}  // namespace chronolith
