// What a reshard would make.
#include <algorithm>
#include <span>

#include "base/hash.h"
#include "ops/disk_room.h"
#include "ops/process_pace.h"
#include "ops/reshard_source.h"
#include "ops/series_piece.h"
#include "partition/partition_map.h"

namespace chronolith::ops {
namespace {

// Adds what the chunks of the source would be of each shard.
Status Spread(Storage* store, const PartitionMap& map, const OpsContext& context, const ProcessPace& pace, ReshardReport* report) {
  const Result<std::vector<SeriesRef>> ids = store->SeriesIds({});
  if (!ids.ok()) return ids.status();
  context.Begin("looking", ids->size(), "series");
  for (std::size_t begin = 0; begin < ids->size(); begin += kCopyAtOnce) {
    const auto refs = std::span(*ids).subspan(begin, std::min(kCopyAtOnce, ids->size() - begin));
    auto piece = SeriesPiece::Open(store, refs, {.cancelled = context.cancelled});
    if (!piece.ok()) return piece.status();
    while ((*piece)->Next()) {
      ReshardShard& shard = report->shards[map.ShardFor(StableHash((*piece)->labels().encoded()))];
      StoreFigures figures;
      ChunkIterator* const chunks = (*piece)->chunks();
      while (chunks != nullptr && chunks->Next()) {
        const RawChunk& chunk = chunks->chunk();
        (chunk.encoding == RawChunk::Encoding::kXor ? figures.samples : figures.histograms) += chunk.samples;
        shard.bytes += chunk.data.size();
      }
      if (chunks != nullptr && !chunks->status().ok()) return chunks->status();
      const auto exemplars = (*piece)->Exemplars();
      const auto metadata = (*piece)->SeriesMetadata();
      if (!exemplars.ok()) return exemplars.status();
      if (!metadata.ok()) return metadata.status();
      figures.exemplars = exemplars->size();
      figures.metadata = metadata->has_value() ? 1 : 0;
      figures.series = figures.items() > 0 ? 1 : 0;
      shard.Add(figures);
      report->total.Add(figures);
      context.Add(1);
    }
    if (Status s = (*piece)->status(); !s.ok()) return s;
    if (Status s = pace.Wait(); !s.ok()) return s;
  }
  return Status::Ok();
}

}  // namespace

Result<ReshardReport> PlanReshard(const std::string& source, const std::string& target, const ReshardOptions& options,
                                  const OpsContext& context) {
  if (Status s = CheckReshard(source, target, options); !s.ok()) return s;
  Result<ReshardSource> opened = ReshardSource::Open(source, options, context);
  if (!opened.ok()) return opened.status();
  const Result<DiskRoom> room = RoomFor(WithoutSlash(target));
  if (!room.ok()) return room.status();
  const Result<ProcessPace> pace = ProcessPace::Start(context, options.bytes_per_second);
  if (!pace.ok()) return pace.status();
  ReshardReport report;
  report.source_uuid = opened->moment.uuid;
  report.source_shards = opened->manifest.shards;
  report.source_bytes = opened->data_bytes;
  report.source_log_bytes = opened->log_bytes;
  report.room_needed = opened->RoomNeeded(context);
  report.room_free = room->free;
  report.shards.resize(options.shards);
  const Status status = Spread(opened->store.get(), PartitionMap::Uniform(options.shards), context, *pace, &report);
  const Status closed = opened->store->Close();
  if (!status.ok()) return status;
  if (!closed.ok()) return closed;
  return report;
}

}  // namespace chronolith::ops
