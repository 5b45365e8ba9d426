// Shard: one vertical slice of a store: log, index, head and stored chunks of one range of label hashes.
#ifndef CHRONOLITH_STORAGE_SHARD_H_
#define CHRONOLITH_STORAGE_SHARD_H_

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "base/counters.h"
#include "base/mutex.h"
#include "base/ordinal_set.h"
#include "block/chunk_store.h"
#include "block/expiry_filter.h"
#include "chronolith/stats.h"
#include "format/series_id.h"
#include "head/head_shard.h"
#include "index/index_shard.h"
#include "wal/sharded_wal.h"

namespace chronolith {

// Locks, in the order in which they are taken: series_mu, then head->mu() (the append lock).
//   append lock  assigns LSNs: log record and head change go together under it, for a whole batch
//   series_mu    one creator or remover of series at a time; held over index changes and their log record, so that a
//                checkpoint which takes it sees every series whose record it covers
struct alignas(kCacheLine) Shard {
  ShardId id = 0;
  FamilyId wal_family = 0;
  FamilyId index_family = 0;
  FamilyId chunk_family = 0;

  // Set last, when the shard has been replayed or quarantined: before, nobody but recovery may look at what is not atomic below.
  std::atomic<bool> serving{false};
  Status quarantine;  // not ok: nothing of the shard is read or written (quarantine.cc); set at open

  WALShard* wal = nullptr;
  std::unique_ptr<IndexShard> index;
  std::unique_ptr<HeadShard> head;
  std::unique_ptr<ChunkStore> chunks;
  std::shared_ptr<ExpiryFilter> expiry;

  MeasuredMutex series_mu;
  // Ordinals below exist (or existed). Raised under series_mu, after the record is in the ring.
  std::atomic<std::uint64_t> next_ordinal{0};

  // Ordinals of removed series (of earlier processes too, once a pass that removes series has looked for them): a reference to one
  // must not be appended to. removals counts changes: a writer looks before it takes the series lock or the append lock and checks
  // under it that nothing changed. Changed under both.
  std::atomic<std::uint64_t> removals{0};
  mutable Mutex removed_mu;
  OrdinalSet removed ABSL_GUARDED_BY(removed_mu);
  // The last of those that this process has removed, oldest first: their labels are kept for stale references.
  std::deque<Ordinal> kept_labels ABSL_GUARDED_BY(removed_mu);
  OrdinalSet purged;  // whose labels are gone, as far as the thread that removes series has seen

  std::atomic<Lsn> applied_lsn{0};
  WalPlace log_end;                     // of the last row of its log, at open
  std::optional<WalPlace> lost_before;  // its log lacks rows in front of here: so may other logs that do not reach it
  bool log_damaged = false;             // why it is quarantined, and what can be given up
  ShardLoss loss;                       // given up at open
  bool has_loss = false;
  Lsn stored_whole = 0;  // up to here what is stored of it was so before anything was given up
  Lsn opened_behind = 0;  // the last LSN that replay found or passed over
  Lsn data_past_log = 0;  // a reader's: up to where the data goes, if that is beyond the end of the log, which was opened before it

  SharedCounter samples_refused;
  SharedCounter series_created;
  SharedCounter series_removed;
  SharedCounter series_released;
  std::atomic<std::uint64_t> series_total{0};
  std::atomic<std::uint64_t> replayed_records{0};
  std::atomic<std::uint64_t> replayed_bytes{0};
  std::atomic<std::uint64_t> replay_records_expected{0};
  std::atomic<double> replay_seconds_left{0};
  std::array<DurationCell, 3> write_latency;  // by AckLevel
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_SHARD_H_
