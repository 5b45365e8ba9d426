// One pass of a scrub over everything that a store keeps: first all files by their checksums, then all rows by those that we write.
//
// Files first: they are read as they lie on the disk, also blocks that no cursor reads. Rows then have what a file's checksum
// cannot vouch for: that what was written was right, and that the families say the same when they are merged.
//
//   step  0      the file STORE, and what the families of the log instance share
//         1      its family meta
//         2, 3   the same of the data instance
//         4 ..   files of shard k: wal.<k>, index.<k>, chunk.<k>
//         ..     rows of shard k: wal.<k>, index.<k>, chunk.<k>
// Quarantined shards are passed by: what is wrong with them is known, and nothing of them is read.
//
// What is added while a pass goes on is checked by the next one, unless it comes before the pass does. Nothing is held while the
// watcher waits: no cursor, no lock.
#ifndef CHRONOLITH_STORAGE_SCRUB_PASS_H_
#define CHRONOLITH_STORAGE_SCRUB_PASS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/kv_engine.h"
#include "chronolith/storage.h"
#include "format/store_manifest.h"
#include "storage/shard.h"

namespace chronolith {

// What is scrubbed. All of it outlives the pass.
struct ScrubSubject {
  KvEngine* log = nullptr;
  KvEngine* data = nullptr;
  const std::vector<std::unique_ptr<Shard>>* shards = nullptr;
  std::string path;  // of the store
  const StoreManifest* manifest = nullptr;
  std::function<bool()> log_failed;  // then the rows of the log may end anywhere, and are left out
  std::function<bool()> has_room;    // on the store's disks
};

// What was checked last: goes on behind it.
struct ScrubPosition {
  std::uint64_t step = 0;
  std::string behind;  // in the order of the step; "": nothing
};

// Called on the thread of the pass.
class ScrubWatcher {
 public:
  virtual ~ScrubWatcher() = default;
  // So much more was read and checked. May wait; false stops the pass.
  virtual bool OnRead(std::uint64_t bytes, std::uint64_t rows) = 0;
  // All before this is checked.
  virtual void OnPosition(const ScrubPosition& position) = 0;
  virtual void OnProblem(ScrubProblem problem) = 0;
};

std::uint64_t ScrubSteps(std::size_t shards);

// kCancelled: the watcher, or `stop`, stopped it. kUnavailable: files vanished under a read-only store. Everything else that goes
// wrong is a problem, and the pass goes on.
Status RunScrubPass(const ScrubSubject& subject, ScrubPosition from, const std::atomic<bool>& stop, ScrubWatcher* watcher);

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_SCRUB_PASS_H_
