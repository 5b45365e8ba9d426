#include <algorithm>
#include <tuple>

#include "block/chunk_merge.h"
#include "chunk/exemplar_chunk.h"
#include "query/label_order.h"
#include "query/matching.h"
#include "query/poll.h"
#include "query/select.h"
#include "query/series_batch.h"

namespace chronolith {
namespace {

constexpr std::size_t kLabelsAtOnce = 1U << 12;  // some MiB, which nobody counts

// Calls `visit(shard, ordinals, &labels)` for all matching series, so many at a time; labels are empty where one is gone.
template <typename Visit>
Status EachLabels(const QueryContext& context, const std::vector<Matcher>& matchers, TimeRange range, Poll* poll,
                  DamagePolicy* damage, const Visit& visit) {
  std::vector<OrdinalSet> matched;
  if (Status s = MatchSeries(context, matchers, range, 0, poll, damage, &matched); !s.ok()) return s;
  std::vector<Labels> labels;
  for (std::size_t k = 0; k < matched.size(); ++k) {
    const std::vector<Ordinal> ordinals = matched[k].ToVector();
    for (std::size_t begin = 0; begin < ordinals.size(); begin += kLabelsAtOnce) {
      if (Status s = poll->Check(); !s.ok()) return s;
      const auto some = std::span(ordinals).subspan(begin, std::min(kLabelsAtOnce, ordinals.size() - begin));
      const Status read = context.shards[k].index->LabelsOf(some, &labels);
      if (!read.ok()) labels.clear();
      if (Status s = damage->Filter(context.shards[k].shard, read); !s.ok()) return s;
      if (read.ok()) visit(context.shards[k].shard, some, &labels);
    }
  }
  return Status::Ok();
}

}  // namespace

Result<Lookup<Labels>> LookupSeries(const QueryContext& context, const std::vector<Matcher>& matchers,
                                    const LookupOptions& options) {
  if (Status s = CheckRange(options.range); !s.ok()) return s;
  Lookup<Labels> lookup;
  if (options.range.empty()) return lookup;
  Poll poll(options.deadline);
  DamagePolicy damage(options.skip_damaged);
  std::vector<Labels> all;
  const Status read =
      EachLabels(context, matchers, options.range, &poll, &damage, [&](ShardId, const auto&, std::vector<Labels>* some) {
        for (Labels& l : *some) {
          if (!l.empty()) all.push_back(std::move(l));
        }
      });
  if (!read.ok()) return read;
  lookup.partial = damage.skipped();
  for (const std::uint32_t i : SortedByLabels(all)) {
    if (options.limit != 0 && lookup.values.size() == options.limit) {
      lookup.truncated = true;
      break;
    }
    lookup.values.push_back(std::move(all[i]));
  }
  return lookup;
}

Result<bool> VisitLabels(const QueryContext& context, Deadline deadline, const std::atomic<bool>* cancelled,
                         const VisitSeries& visit) {
  Poll poll(deadline, cancelled);
  DamagePolicy damage(true);
  std::vector<SeriesRef> refs;
  const Status read =
      EachLabels(context, {}, {}, &poll, &damage, [&](ShardId shard, const auto& ordinals, std::vector<Labels>* labels) {
        refs.clear();
        for (const Ordinal ordinal : ordinals) refs.push_back(MakeSeriesRef(shard, ordinal));
        visit(refs, *labels);
      });
  if (!read.ok()) return read;
  return !damage.skipped();
}

Result<Lookup<SeriesRef>> LookupSeriesIds(const QueryContext& context, const std::vector<Matcher>& matchers,
                                          const LookupOptions& options, const WorkBounds& bounds) {
  if (Status s = CheckRange(options.range); !s.ok()) return s;
  Lookup<SeriesRef> lookup;
  if (options.range.empty()) return lookup;
  Poll poll(options.deadline, bounds.cancelled);
  std::vector<OrdinalSet> matched;
  DamagePolicy damage(options.skip_damaged);
  if (Status s = MatchSeries(context, matchers, options.range, 0, &poll, &damage, &matched); !s.ok()) return s;
  lookup.partial = damage.skipped();
  std::vector<SeriesRef>& refs = lookup.values;
  std::uint64_t total = 0;
  for (const OrdinalSet& ordinals : matched) total += ordinals.size();
  // The ordinals of a shard stand beside them for a while.
  if (Status s = bounds.Take(total * (sizeof(SeriesRef) + sizeof(Ordinal))); !s.ok()) return s;
  refs.reserve(total);
  for (std::size_t k = 0; k < matched.size(); ++k) {
    for (const Ordinal ordinal : matched[k].ToVector()) refs.push_back(MakeSeriesRef(context.shards[k].shard, ordinal));
  }
  std::sort(refs.begin(), refs.end(), [](SeriesRef a, SeriesRef b) { return a.id < b.id; });
  return lookup;
}

Status MayHaveExemplars(const QueryContext& context, ShardId shard, std::span<const Ordinal> ordinals, TimeRange range,
                        const std::atomic<bool>* cancelled, std::vector<bool>* may) {
  if (Status s = CheckRange(range); !s.ok()) return s;
  const ShardReader* const reader = ReaderOf(context, shard);
  if (reader == nullptr) return NoShard(shard);
  const Poll poll(kNoDeadline, cancelled);
  std::vector<std::vector<Chunk>> head;  // before the store: a checkpoint stores a chunk before the head lets go of it
  reader->head->Collect(ordinals, range, ChunkType::kExemplar, ChunkType::kExemplar, &head);
  ChunkReadOptions options;
  options.range = range;
  options.type_from = options.type_to = ChunkType::kExemplar;
  options.fill_cache = false;
  options.poll = [&poll] { return poll.Check(); };
  if (Status s = reader->chunks->HaveRows(ordinals, options, may); !s.ok()) return s;
  for (std::size_t i = 0; i < head.size(); ++i) {
    if (!head[i].empty()) (*may)[i] = true;
  }
  return Status::Ok();
}

Result<std::vector<Exemplar>> SelectExemplars(const QueryContext& context, ShardId shard, Ordinal ordinal, TimeRange range) {
  if (Status s = CheckRange(range); !s.ok()) return s;
  std::vector<Exemplar> exemplars;
  if (range.empty()) return exemplars;
  const ShardReader* const reader = ReaderOf(context, shard);
  if (reader == nullptr) return NoShard(shard);
  Poll poll(kNoDeadline);
  SeriesBatch batch(&context, ChunkType::kExemplar, ChunkType::kExemplar);
  const SeriesAt at{static_cast<std::uint32_t>(reader - context.shards.data()), ordinal};
  DamagePolicy damage(false);
  if (Status s = batch.Load(std::span(&at, 1), range, &poll, &damage); !s.ok()) return s;
  SeriesParts parts;
  batch.PartsOf(0, &parts);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    ExemplarIterator it(parts[i].chunk.data);
    while (it.Next()) {
      if (!IsHidden(parts.HiddenIn(parts[i]), it.exemplar().timestamp)) exemplars.push_back(it.exemplar());
    }
    if (!it.status().ok()) return BadChunk(parts[i].chunk.meta, it.status());
  }
  SortExemplars(&exemplars);
  return exemplars;
}

}  // namespace chronolith
