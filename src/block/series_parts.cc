#include "block/series_parts.h"

#include <algorithm>
#include <tuple>

namespace chronolith {
namespace {

// Below this many pairs to compare, comparing them all is quicker than sorting.
constexpr std::size_t kPairsMax = 256;

auto Identity(const ChunkMeta& m) { return std::tie(m.window, m.ordinal, m.creation_lsn, m.sequence, m.type); }
bool EarlierIdentity(const ChunkMeta* a, const ChunkMeta* b) { return Identity(*a) < Identity(*b); }

}  // namespace

void SeriesParts::Add(const ChunkSlice& chunk, const TombstoneView& tombstones, TimeRange range) {
  if (!range.Overlaps(chunk.meta.min_time, chunk.meta.max_time)) return;
  tombstones.HiddenIn(chunk.meta, range, &scratch_);
  Part part;
  part.chunk = chunk;
  part.hidden_begin = static_cast<std::uint32_t>(hidden_.size());
  if (!scratch_.empty()) [[unlikely]] {
    const TimeRange& first = scratch_.front();
    if (first.start <= chunk.meta.min_time && first.end > chunk.meta.max_time) return;  // they are joined: one covers all or none
    hidden_.insert(hidden_.end(), scratch_.begin(), scratch_.end());
  }
  part.hidden_end = static_cast<std::uint32_t>(hidden_.size());
  parts_.push_back(part);
}

void SeriesParts::AddAll(std::span<const Chunk> head, std::span<const ChunkSlice> stored, const TombstoneView& tombstones,
                         TimeRange range) {
  for (const Chunk& chunk : head) Add({chunk.meta, chunk.data}, tombstones, range);
  if (head.empty() || head.size() * stored.size() <= kPairsMax) {
    for (const ChunkSlice& chunk : stored) {
      const auto is_it = [&](const Chunk& h) { return h.meta.SameChunk(chunk.meta); };
      if (!std::any_of(head.begin(), head.end(), is_it)) Add(chunk, tombstones, range);
    }
    return;
  }
  std::vector<const ChunkMeta*> in_head;
  for (const Chunk& chunk : head) in_head.push_back(&chunk.meta);
  std::sort(in_head.begin(), in_head.end(), EarlierIdentity);
  for (const ChunkSlice& chunk : stored) {
    if (!std::binary_search(in_head.begin(), in_head.end(), &chunk.meta, EarlierIdentity)) Add(chunk, tombstones, range);
  }
}

void SeriesParts::Sort() {
  const auto earlier = [](const Part& a, const Part& b) {
    return std::tie(a.chunk.meta.min_time, a.chunk.meta.max_time) < std::tie(b.chunk.meta.min_time, b.chunk.meta.max_time);
  };
  if (!std::is_sorted(parts_.begin(), parts_.end(), earlier)) std::stable_sort(parts_.begin(), parts_.end(), earlier);
}

std::size_t SeriesParts::ComponentEnd(std::size_t i) const {
  Timestamp last = parts_[i].chunk.meta.max_time;
  for (++i; i < parts_.size() && parts_[i].chunk.meta.min_time <= last; ++i) last = std::max(last, parts_[i].chunk.meta.max_time);
  return i;
}

std::size_t RemoveHidden(std::span<const TimeRange> hidden, Timestamp* timestamps, double* values, std::size_t n) {
  std::size_t kept = 0;
  auto range = hidden.begin();
  for (std::size_t i = 0; i < n; ++i) {
    while (range != hidden.end() && range->end <= timestamps[i]) ++range;
    if (range != hidden.end() && range->start <= timestamps[i]) continue;
    timestamps[kept] = timestamps[i];
    values[kept++] = values[i];
  }
  return kept;
}

bool IsHidden(std::span<const TimeRange> hidden, Timestamp t) {
  return std::any_of(hidden.begin(), hidden.end(), [t](const TimeRange& r) { return r.Contains(t); });
}

}  // namespace chronolith
