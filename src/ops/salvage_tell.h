// Naming what is lost of a shard: series by their labels, as far as these are known. Internal to salvage.
#ifndef CHRONOLITH_OPS_SALVAGE_TELL_H_
#define CHRONOLITH_OPS_SALVAGE_TELL_H_

#include <cstdint>
#include <optional>
#include <string>

#include "ops/salvage_chunks.h"
#include "ops/salvage_labels.h"
#include "ops/salvage_parts.h"

namespace chronolith::ops {

// Thread safety: one thread.
class LossTeller {
 public:
  LossTeller(ShardId shard, std::int64_t window_ms, SalvageLabels* labels, LossList* losses)
      : shard_(shard), window_ms_(window_ms), labels_(labels), losses_(losses) {}

  // A chunk whose row is there.
  void Chunk(const ChunkMeta& meta, const Status& why);
  // Chunk rows that are not: where the series end at which they do, in one window, they are told by name.
  void Gap(const ChunkGap& gap, const std::string& what);
  // What a table held that is gone.
  void Table(const LostTable& table);
  // `loss` of each of these series by name; of all of them in one entry, by number, where they are many.
  void EachOf(SalvageLoss loss, std::uint64_t first, std::uint64_t last);

  // The largest number that a series of the shard may have.
  std::uint64_t last_ordinal() const { return labels_->next_ordinal() == 0 ? ~Ordinal{0} : labels_->next_ordinal() - 1; }

 private:
  Timestamp EndOf(Timestamp window) const { return window > kMaxTimestamp - window_ms_ ? kMaxTimestamp : window + window_ms_; }
  void Series(const std::string& what, std::optional<Timestamp> from, std::optional<Timestamp> to, std::uint64_t first,
              std::uint64_t last);
  void Metadata(const LostTable& table);

  const ShardId shard_;
  const std::int64_t window_ms_;
  SalvageLabels* const labels_;
  LossList* const losses_;
};

// The chunks between two keys of a family, both inclusive. None: there is no chunk between them.
std::optional<ChunkGap> ChunksBetween(const std::string& smallest, const std::string& largest);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SALVAGE_TELL_H_
