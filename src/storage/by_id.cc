// What tools need of a store beside the public interface: its series by their ids, and its retention floor.
#include <algorithm>

#include "storage/storage_impl.h"

namespace chronolith {

Status StorageImpl::LabelsOf(std::span<const SeriesRef> refs, std::vector<Labels>* labels) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  labels->assign(refs.size(), Labels());
  for (const ShardReader& shard : (*readers)->shards) {
    std::vector<std::size_t> places;
    std::vector<Ordinal> ordinals;
    for (std::size_t i = 0; i < refs.size(); ++i) {
      if (ShardOf(refs[i]) != shard.shard) continue;
      places.push_back(i);
      ordinals.push_back(OrdinalOf(refs[i]));
    }
    if (ordinals.empty()) continue;
    std::vector<Labels> found;
    if (Status s = shard.index->LabelsOf(ordinals, &found); !s.ok()) return s;
    for (std::size_t i = 0; i < places.size(); ++i) (*labels)[places[i]] = std::move(found[i]);
  }
  return Status::Ok();
}

Result<std::vector<Exemplar>> StorageImpl::ExemplarsOf(SeriesRef ref) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  return SelectExemplars(**readers, ShardOf(ref), OrdinalOf(ref), TimeRange{});
}

Result<std::optional<Metadata>> StorageImpl::MetadataOf(SeriesRef ref) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, false);
  if (!readers.ok()) return readers.status();
  for (const ShardReader& shard : (*readers)->shards) {
    if (shard.shard == ShardOf(ref)) return shard.index->MetadataOf(OrdinalOf(ref));
  }
  return NotFound("there is no shard " + std::to_string(ShardOf(ref)));
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
