// ExpiryFilter: lets the engine drop the chunk rows of windows below the retention floor when it rewrites files.
#ifndef CHRONOLITH_BLOCK_EXPIRY_FILTER_H_
#define CHRONOLITH_BLOCK_EXPIRY_FILTER_H_

#include <atomic>
#include <cstdint>

#include "chronolith/kv_engine.h"
#include "chronolith/types.h"

namespace chronolith {

// Goes into the FamilySpec of a chunk family and into the ChunkStoreOptions of its store. Windows are dropped whole: a window that
// the floor cuts stays, and readers filter its samples.
// The engine is opened before the floor is known; until RaiseFloor nothing is dropped.
// Thread safety: safe.
class ExpiryFilter : public DropFilter {
 public:
  explicit ExpiryFilter(std::int64_t window_ms) : window_ms_(window_ms) {}

  std::string_view Name() const override { return "chronolith.expired_windows.1"; }
  bool ShouldDrop(std::string_view key, std::string_view value) const override;

  // Only ever raised. The floor must be durable in the log before: what is dropped does not come back.
  void RaiseFloor(Timestamp floor);

 private:
  const std::int64_t window_ms_;
  std::atomic<Timestamp> first_kept_{kMinTimestamp};  // start of the first window that is not wholly below the floor
};

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_EXPIRY_FILTER_H_
