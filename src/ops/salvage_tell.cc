#include "ops/salvage_tell.h"

#include <algorithm>
#include <utility>

#include "base/coding.h"
#include "format/index_rows.h"
#include "storage/store_directory.h"

namespace chronolith::ops {

void LossTeller::Chunk(const ChunkMeta& meta, const Status& why) {
  Labels labels;
  labels_->Find(meta.ordinal, &labels);
  losses_->Add({.kind = LossKind::kSamples,
                .shard = shard_,
                .series = labels.empty() ? "" : labels.ToString(),
                .first_ordinal = meta.ordinal,
                .last_ordinal = meta.ordinal,
                .start = meta.window,
                .end = EndOf(meta.window),
                .what = why.message()});
}

void LossTeller::Gap(const ChunkGap& gap, const std::string& what) {
  std::optional<Timestamp> from;
  if (gap.begin) {
    const bool same = gap.end && gap.begin->window == gap.end->window;
    from = EndOf(gap.begin->window);
    Series(what, gap.begin->window, from, gap.begin->ordinal, same ? gap.end->ordinal - 1 : last_ordinal());
    if (same) return;
  }
  Series(what, from, gap.end ? std::optional(gap.end->window) : std::nullopt, 0, last_ordinal());
  if (gap.end && gap.end->ordinal > 0) Series(what, gap.end->window, EndOf(gap.end->window), 0, gap.end->ordinal - 1);
}

void LossTeller::Series(const std::string& what, std::optional<Timestamp> from, std::optional<Timestamp> to, std::uint64_t first,
                        std::uint64_t last) {
  if (first > last || (from && to && *to <= *from)) return;
  SalvageLoss loss{.kind = LossKind::kSamples, .shard = shard_, .start = from, .end = to, .what = what};
  if (from && to && *to - *from <= window_ms_) return EachOf(std::move(loss), first, last);
  loss.first_ordinal = first;
  loss.last_ordinal = last;
  losses_->Add(std::move(loss));
}

void LossTeller::EachOf(SalvageLoss loss, std::uint64_t first, std::uint64_t last) {
  constexpr std::uint64_t kNamedMax = 2000;
  if (last - first >= kNamedMax) {
    loss.first_ordinal = first;
    loss.last_ordinal = last;
    return losses_->Add(std::move(loss));
  }
  for (std::uint64_t o = first; o <= last; ++o) {
    Labels labels;
    const auto ordinal = static_cast<Ordinal>(o);
    if (!labels_->Find(ordinal, &labels) && !labels_->Knows(ordinal) && labels_->KnowsAll()) continue;
    loss.series = labels.empty() ? "" : labels.ToString();
    loss.first_ordinal = loss.last_ordinal = o;
    losses_->Add(loss);
  }
}

void LossTeller::Table(const LostTable& table) {
  if (table.family == IndexFamily(shard_)) return Metadata(table);
  if (table.family != ChunkFamily(shard_)) return;
  const std::optional<ChunkGap> chunks = ChunksBetween(table.smallest, table.largest);
  if (!chunks) return;
  Gap(*chunks, table.file + " is lost, in which such samples may have been, up to what the log still has");
}

// Of the index only metadata is told here: labels are told with the samples that lack them.
void LossTeller::Metadata(const LostTable& table) {
  const auto tag = [](const std::string& key) { return key.empty() ? '\0' : key[0]; };
  if (tag(table.smallest) > index_rows::kMetadataPrefix || tag(table.largest) < index_rows::kMetadataPrefix) return;
  const auto ordinal = [&](const std::string& key, std::uint64_t otherwise) {
    const bool is_one = tag(key) == index_rows::kMetadataPrefix && key.size() > sizeof(Ordinal);
    return is_one ? std::uint64_t{LoadBigEndian<Ordinal>(key.data() + 1)} : otherwise;
  };
  losses_->Add({.kind = LossKind::kMetadata,
                .shard = shard_,
                .first_ordinal = ordinal(table.smallest, 0),
                .last_ordinal = ordinal(table.largest, last_ordinal()),
                .what = table.file + " is lost, in which type, unit and help of such series may have been"});
}

std::optional<ChunkGap> ChunksBetween(const std::string& smallest, const std::string& largest) {
  ChunkGap gap;
  ChunkMeta meta;
  if (DecodeChunkKey(smallest, &meta)) {
    gap.begin = {meta.window, meta.ordinal};
  } else if (!smallest.empty() && smallest[0] > kChunkKeyTag) {
    return std::nullopt;
  }
  if (DecodeChunkKey(largest, &meta)) {
    gap.end = {meta.window, std::uint64_t{meta.ordinal} + 1};
  } else if (!largest.empty() && largest[0] < kChunkKeyTag) {
    return std::nullopt;
  }
  return gap;
}

}  // namespace chronolith::ops
