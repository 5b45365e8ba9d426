// How far a replay has come, in a file: so that another run goes on there.
#ifndef CHRONOLITH_OPS_REPLAY_CURSOR_H_
#define CHRONOLITH_OPS_REPLAY_CURSOR_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "chronolith/result.h"
#include "ops/file_copy.h"
#include "ops/offline_store.h"
#include "ops/record_sink.h"
#include "ops/wal_scan.h"

namespace chronolith::ops {

// Checked lines (ops/checked_lines.h):
//   chronolith replay cursor 1
//   store <uuid, hexadecimal> <incarnation>
//   target <name>
//   selection <LogSelection::ToString>
//   position <of the target>
//   shard <number> <LSN>                     of each shard that is replayed, ascending
//   end <CRC32C of all before, hexadecimal>
// In texts '%' and bytes that are no visible ASCII stand as %XX; "" stands as "%".
struct ReplayCursor {
  std::string store;  // uuid
  std::uint64_t incarnation = 0;
  std::string target;
  std::string selection;
  std::string position;              // RecordTarget::Sync
  std::map<ShardId, Lsn> delivered;  // all up to here is with the target, synced
  friend bool operator==(const ReplayCursor&, const ReplayCursor&) = default;
};

std::string EncodeCursor(const ReplayCursor& cursor);
// kDataLoss: it is damaged; kFailedPrecondition: another version.
Result<ReplayCursor> DecodeCursor(std::string_view text);

// Whether a replay may go on at `cursor`. kFailedPrecondition: it is of another store, another copy of it, another target or
// another selection, or the log has been trimmed beyond it; says what to do.
Status CheckCursor(const ReplayCursor& cursor, const ReplayCursor& wanted, const OfflineStore& store);

// The cursor of a replay that is going on. Without a file it does nothing but let flushes pass.
// Thread safety: safe, after Open.
class CursorKeeper {
 public:
  // `path` "": no file. `on_saved` (may be empty) is told how many items are delivered and synced.
  CursorKeeper(RecordTarget* target, std::string path, std::chrono::milliseconds interval,
               std::function<void(std::uint64_t)> on_saved)
      : target_(target), path_(std::move(path)), interval_(interval), on_saved_(std::move(on_saved)) {}

  // Locks the file, reads and checks it, opens the target where it says, and writes the first one where there is none.
  // kFailedPrecondition: another process uses the cursor; or as CheckCursor.
  Status Open(const OfflineStore& store, const LogSelection& selection);
  // Instead: reads and checks the file, where there is one, and saves nothing from then on. The target is left alone.
  Status Look(const OfflineStore& store, const LogSelection& selection);
  // Where the replay of a shard begins: behind what is delivered. Nullopt: there was no cursor.
  std::optional<Lsn> After(ShardId shard) const;

  // Runs `flush`, no Sync meanwhile; then notes what it has delivered, and saves where the interval has passed.
  Status Flush(ShardId shard, Lsn delivered, std::uint64_t items, const std::function<Status()>& flush);
  // Whether a sink that flushed last at `flushed` is to flush what it has collected since. Each by its own time: that another one
  // has flushed, and the file was written, brings this one no further in it. So the file is behind by two intervals at most.
  bool Due(std::chrono::steady_clock::time_point flushed) const {
    return !path_.empty() && !looking_ && std::chrono::steady_clock::now() - flushed >= interval_;
  }
  // Syncs the target and writes the file.
  Status Save();

 private:
  // What a cursor of this replay would begin with.
  ReplayCursor Wanted(const OfflineStore& store, const LogSelection& selection) const;
  // Takes over the one in the file, where there is one: then resumed_.
  Status Read(const OfflineStore& store, ReplayCursor* cursor);
  Status SaveLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  RecordTarget* const target_;
  const std::string path_;
  const std::chrono::milliseconds interval_;
  const std::function<void(std::uint64_t)> on_saved_;
  std::unique_ptr<PathLock> lock_;
  std::map<ShardId, Lsn> found_;  // what the file said at Open
  bool resumed_ = false;
  bool looking_ = false;

  Mutex mu_;  // shared: a sink is in Flush; exclusive: the target syncs
  Mutex note_mu_;
  ReplayCursor cursor_ ABSL_GUARDED_BY(note_mu_);
  std::uint64_t items_ ABSL_GUARDED_BY(note_mu_) = 0;
  std::atomic<std::chrono::steady_clock::time_point> saved_at_{};
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_REPLAY_CURSOR_H_
