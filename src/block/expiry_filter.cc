#include "block/expiry_filter.h"

#include "format/chunk_rows.h"

namespace chronolith {

bool ExpiryFilter::ShouldDrop(std::string_view key, std::string_view /*value*/) const {
  ChunkMeta meta;
  return DecodeChunkKey(key, &meta) && meta.window < first_kept_.load(std::memory_order_relaxed);
}

void ExpiryFilter::RaiseFloor(Timestamp floor) {
  const Timestamp window = WindowOf(floor, window_ms_);
  Timestamp now = first_kept_.load(std::memory_order_relaxed);
  while (now < window && !first_kept_.compare_exchange_weak(now, window, std::memory_order_relaxed)) {
  }
}

}  // namespace chronolith
