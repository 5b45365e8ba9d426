#include "query/series_batch.h"

#include <algorithm>

namespace chronolith {
namespace {

// How often a shard is read again because something changed between its head and its store. Each time is a matter of the
// microseconds between the two, so more than a few do not happen.
constexpr int kReadsMax = 8;

}  // namespace

Status SeriesBatch::LoadShard(const ShardReader& reader, Poll* poll, Shard* shard) {
  // The order of these steps is what makes a query see everything once. Head before store: a checkpoint stores a chunk before the
  // head lets go of it. Tombstones on both sides: one that was there at the start is applied even if compaction, which is done with
  // it, drops it meanwhile; the floor may rise.
  //
  // A series is seen as it was when its head was copied. What came after that must not show: a delete (it would hide an old sample
  // where one written before the delete is not seen yet), and what a checkpoint stored, or a compaction merged, of chunks begun
  // later. Where there is such a thing, the shard is read again.
  for (int reads = 1;; ++reads) {
    const std::uint64_t changes = reader.chunks->changes();
    const ChunkAge newest = reader.head->NewestChunk();
    shard->tombstones = reader.chunks->tombstones().View();
    shard->head.clear();
    reader.head->Collect(shard->ordinals, range_, type_from_, type_to_, &shard->head);
    shard->head.resize(shard->ordinals.size());
    ChunkReadOptions options;
    options.range = range_;
    options.range.start = std::max(range_.start, shard->tombstones.floor());
    options.type_from = type_from_;
    options.type_to = type_to_;
    options.fill_cache = fill_cache_;
    options.poll = [poll] { return poll->Check(); };
    if (Status s = reader.chunks->Read(shard->ordinals, options, &shard->stored); !s.ok()) return s;
    shard->tombstones.UnionWith(reader.chunks->tombstones().View());  // before the look at changes: a later one must not get in
    if (reads == kReadsMax || (reader.chunks->changes() == changes && shard->stored.newest() <= newest)) break;
  }
  bytes_ += shard->stored.payload_bytes() + shard->stored.chunks() * 2 * sizeof(ChunkSlice);
  for (const std::vector<Chunk>& chunks : shard->head) {
    for (const Chunk& chunk : chunks) bytes_ += chunk.data.capacity() + sizeof(Chunk);
  }
  return Status::Ok();
}

Status SeriesBatch::Load(std::span<const SeriesAt> series, TimeRange range, Poll* poll, DamagePolicy* damage) {
  series_.assign(series.begin(), series.end());
  place_.resize(series.size());
  range_ = range;
  bytes_ = 0;
  for (Shard& shard : shards_) {
    shard.series.clear();
    shard.ordinals.clear();
  }
  for (std::uint32_t i = 0; i < series_.size(); ++i) shards_[series_[i].shard].series.push_back(i);
  for (std::size_t k = 0; k < shards_.size(); ++k) {
    Shard& shard = shards_[k];
    if (shard.series.empty()) continue;
    std::sort(shard.series.begin(), shard.series.end(),
              [&](std::uint32_t a, std::uint32_t b) { return series_[a].ordinal < series_[b].ordinal; });
    for (const std::uint32_t i : shard.series) {
      place_[i] = static_cast<std::uint32_t>(shard.ordinals.size());
      shard.ordinals.push_back(series_[i].ordinal);
    }
    if (Status s = poll->Check(); !s.ok()) return s;
    const Status read = LoadShard(context_->shards[k], poll, &shard);
    if (Status s = damage->Filter(context_->shards[k].shard, read); !s.ok()) return s;
    if (!read.ok()) {
      shard.head.assign(shard.ordinals.size(), {});
      shard.stored.Reset();
      shard.stored.Group(shard.ordinals.size());
    }
  }
  return Status::Ok();
}

void SeriesBatch::PartsOf(std::size_t i, SeriesParts* parts) const {
  const Shard& shard = shards_[series_[i].shard];
  parts->Clear();
  parts->AddAll(shard.head[place_[i]], shard.stored.Of(place_[i]), shard.tombstones, range_);
  parts->Sort();
}

}  // namespace chronolith
