#include "block/chunk_store.h"

#include <algorithm>
#include <map>

#include "base/coding.h"
#include "base/failpoint.h"
#include "chunk/packed_chunk.h"

namespace chronolith {
namespace {

constexpr std::string_view kFirstChunkKey = "c";
constexpr std::string_view kPastChunkKeys = "d";
// A seek costs about as much as this many steps, and steps read blocks in order.
constexpr int kStepsBeforeSeek = 8;
constexpr std::uint32_t kRowsOfALook = 256;  // of OrdinalsWithData, whether to stop
constexpr std::uint64_t kRowsBetweenPolls = 1024;
constexpr std::uint64_t kUntidyFraction = 8;
constexpr std::uint64_t kExpiredSliceBytes = 4ULL << 20;
constexpr std::string_view kTombstoneAtomicityKey = "t";

// The key range of all windows that can hold samples of `range`.
std::string LowerKey(TimeRange range, std::int64_t window_ms) { return ChunkWindowPrefix(WindowOf(range.start, window_ms)); }
std::string UpperKey(TimeRange range) { return ChunkWindowPrefix(range.end); }

}  // namespace

ChunkStore::ChunkStore(KvEngine* engine, const ChunkStoreOptions& options)
    : engine_(engine), options_(options), name_("chunk." + std::to_string(options.shard)) {}

ChunkStore::~ChunkStore() = default;

Result<std::unique_ptr<KvIterator>> ChunkStore::NewIterator(std::string lower, std::string upper, bool fill_cache) const {
  IterateOptions options;
  options.lower = std::move(lower);
  options.upper = std::move(upper);
  options.fill_cache = fill_cache;
  Result<std::unique_ptr<KvIterator>> it = engine_->NewIterator(options_.family, options);
  if (!it.ok()) return Named(it.status());
  return it;
}

Result<ChunkState> ChunkStore::Load() {
  MutexLock lock(&rows_mu_);
  ChunkState state;
  std::string value;
  if (const Status s = engine_->Get(options_.family, kChunkStateKey, &value); s.ok()) {
    if (const Status decoded = DecodeChunkState(kChunkStateKey, value, &state); !decoded.ok()) return Named(decoded);
  } else if (s.code() != StatusCode::kNotFound) {
    return Named(s);
  }
  if (const Status s = LoadTombstones(state); !s.ok()) return Named(s);
  tombstones_.RaiseFloor(state.floor);
  state_ = state;
  continued_ = state.applied_lsn > 0;
  return state;
}

Status ChunkStore::LoadTombstones(const ChunkState& state) {
  struct Parts {
    Tombstone whole;
    std::uint64_t found = 0;
    std::uint64_t parts = 0;
  };
  std::map<Lsn, Parts> all;
  Result<std::unique_ptr<KvIterator>> it =
      NewIterator(std::string(1, kTombstoneKeyTag), std::string(1, kTombstoneKeyTag + 1), true);
  if (!it.ok()) return it.status();
  for ((*it)->Seek(std::string(1, kTombstoneKeyTag)); (*it)->Valid(); (*it)->Next()) {
    TombstonePart part;
    if (Status s = DecodeTombstone((*it)->key(), (*it)->value(), &part); !s.ok()) return s;
    Parts& parts = all[part.tombstone.lsn];
    parts.whole.lsn = part.tombstone.lsn;
    parts.whole.range = part.tombstone.range;
    parts.whole.ordinals.UnionWith(part.tombstone.ordinals);
    parts.parts = part.parts;
    ++parts.found;
  }
  if (Status s = (*it)->status(); !s.ok()) return s;
  for (auto& [lsn, parts] : all) {
    if (parts.found == parts.parts) {
      tombstones_.Add(std::move(parts.whole));
      stored_tombstones_.insert(lsn);
    } else if (lsn <= state.applied_lsn) {
      return DataLoss("tombstone of LSN " + std::to_string(lsn) + " has " + std::to_string(parts.found) + " of " +
                      std::to_string(parts.parts) + " rows");
    }  // else: a crash cut its writing short, and the log still has it
  }
  return Status::Ok();
}

Status ChunkStore::Write(std::vector<ChunkSlice> chunks, Packing packing) {
  std::sort(chunks.begin(), chunks.end(), [](const ChunkSlice& a, const ChunkSlice& b) {
    return std::tie(a.meta.window, a.meta.ordinal, a.meta.creation_lsn, a.meta.sequence, a.meta.type) <
           std::tie(b.meta.window, b.meta.ordinal, b.meta.creation_lsn, b.meta.sequence, b.meta.type);
  });
  MutexLock lock(&rows_mu_);
  ChunkRowWriter writer(engine_, options_.family, options_.epoch);
  FloatPacker packer;
  std::string packed;
  std::string value;
  std::uint64_t payload_bytes = 0;
  std::uint64_t samples = 0;
  for (const ChunkSlice& chunk : chunks) {
    const ChunkKey key = EncodeChunkKey(chunk.meta);
    const std::string_view key_view(key.data(), key.size());
    std::string_view payload = chunk.data;
    if (packing == Packing::kFloats && chunk.meta.type == ChunkType::kXor && packer.Pack(payload, &packed)) payload = packed;
    if (Status s = EncodeChunkValue(key_view, chunk.meta, payload, &value); !s.ok()) return Named(s);
    writer.Put(key_view, value);
    if (Status s = writer.EndGroup(key_view.substr(0, 9)); !s.ok()) return Named(s);  // a window's rows share their placement
    if (chunk.meta.overlay || continued_) untidy_[chunk.meta.window] += key.size() + value.size();
    payload_bytes += payload.size();
    samples += chunk.meta.samples;
  }
  if (Status s = writer.Flush(); !s.ok()) return Named(s);
  rows_written_.Add(chunks.size());
  payload_bytes_.Add(payload_bytes);
  samples_.Add(samples);
  return Status::Ok();
}

Status ChunkStore::WriteTombstones(Lsn up_to) {
  ChunkRowWriter writer(engine_, options_.family, options_.epoch);
  std::vector<Lsn> written;
  const auto list = tombstones_.Get();
  for (const auto& tombstone : *list) {
    if (tombstone->lsn > up_to || stored_tombstones_.contains(tombstone->lsn)) continue;
    for (const ChunkFamilyRow& row : EncodeTombstone(*tombstone)) {
      writer.Put(row.key, row.value);
      if (Status s = writer.EndGroup(kTombstoneAtomicityKey); !s.ok()) return s;
    }
    written.push_back(tombstone->lsn);
  }
  if (Status s = writer.Flush(); !s.ok()) return s;
  stored_tombstones_.insert(written.begin(), written.end());
  return Status::Ok();
}

Status ChunkStore::Finish(const ChunkState& state) {
  MutexLock lock(&rows_mu_);
  if (Status s = WriteTombstones(state.applied_lsn); !s.ok()) return Named(s);
  CHRONOLITH_FAILPOINT("checkpoint.tombstones_written");
  ChunkRowWriter writer(engine_, options_.family, options_.epoch);
  const ChunkFamilyRow row = EncodeChunkState(state);
  writer.Put(row.key, row.value);
  if (Status s = writer.EndGroup(row.key); !s.ok()) return Named(s);
  if (Status s = writer.Flush(); !s.ok()) return Named(s);
  state_ = state;
  continued_ = false;
  return Status::Ok();
}

// Calls `visit(i, &meta, iterator)` at each row of ordinals[i] of the types that are wanted, where `meta` has the identity only; a
// status that is not ok ends the walk.
template <typename Visit>
Status ChunkStore::Walk(std::span<const Ordinal> ordinals, const ChunkReadOptions& options, const Visit& visit) const {
  if (ordinals.empty() || options.range.empty()) return Status::Ok();
  Result<std::unique_ptr<KvIterator>> made =
      NewIterator(LowerKey(options.range, options_.window_ms), UpperKey(options.range), options.fill_cache);
  if (!made.ok()) return made.status();
  KvIterator& it = **made;

  std::size_t next = 0;  // in ordinals: the first that is not passed in the current window
  bool first = true;
  Timestamp window = 0;
  int skipped = 0;
  std::uint64_t rows = 0;
  it.Seek(ChunkSeriesPrefix(WindowOf(options.range.start, options_.window_ms), ordinals[0]));
  while (it.Valid()) {
    if (options.poll && ++rows % kRowsBetweenPolls == 0) {
      if (Status s = options.poll(); !s.ok()) return s;
    }
    ChunkMeta meta;
    if (!DecodeChunkKey(it.key(), &meta)) return Named(BadChunkKey(it.key()));
    if (first || meta.window != window) {
      first = false;
      window = meta.window;
      next = 0;
    }
    while (next < ordinals.size() && ordinals[next] < meta.ordinal) ++next;
    if (next == ordinals.size()) {  // the next window, whichever it is
      if (window >= options.range.end - 1) break;
      it.Seek(ChunkSeriesPrefix(window + 1, ordinals[0]));
      skipped = 0;
      continue;
    }
    if (ordinals[next] > meta.ordinal) {
      if (++skipped <= kStepsBeforeSeek) {
        it.Next();
      } else {
        it.Seek(ChunkSeriesPrefix(window, ordinals[next]));
        skipped = 0;
      }
      continue;
    }
    skipped = 0;
    if (meta.type >= options.type_from && meta.type <= options.type_to) {
      if (Status s = visit(next, &meta, it); !s.ok()) return Named(s);
    }
    it.Next();
  }
  return Named(it.status());
}

Status ChunkStore::Read(std::span<const Ordinal> ordinals, const ChunkReadOptions& options, ChunkSet* chunks) const {
  chunks->Reset();
  std::string buffer;
  const auto add = [&](std::size_t i, ChunkMeta* meta, const KvIterator& it) {
    std::string_view payload;
    Status s = DecodeChunkValue(it.key(), it.value(), meta, &payload, &buffer);
    if (s.ok() && options.range.Overlaps(meta->min_time, meta->max_time)) chunks->Add(i, *meta, payload);
    return s;
  };
  if (Status s = Walk(ordinals, options, add); !s.ok()) return s;
  chunks->Group(ordinals.size());
  return Status::Ok();
}

Status ChunkStore::HaveRows(std::span<const Ordinal> ordinals, const ChunkReadOptions& options, std::vector<bool>* have) const {
  have->assign(ordinals.size(), false);
  return Walk(ordinals, options, [have](std::size_t i, const ChunkMeta*, const KvIterator&) {
    (*have)[i] = true;
    return Status::Ok();
  });
}

std::uint64_t ChunkStore::EstimateBytes(TimeRange range) const {
  range.start = std::max(range.start, tombstones_.floor());
  if (range.empty()) return 0;
  const Result<std::uint64_t> bytes = engine_->EstimateBytes(options_.family, LowerKey(range, options_.window_ms), UpperKey(range));
  return bytes.ok() ? *bytes : 0;
}

Status ChunkStore::OrdinalsWithData(TimeRange range, OrdinalSet* ordinals, const std::function<bool()>& stop) const {
  range.start = std::max(range.start, tombstones_.floor());  // expired rows may still be there
  if (range.empty()) return Status::Ok();
  Result<std::unique_ptr<KvIterator>> made = NewIterator(LowerKey(range, options_.window_ms), UpperKey(range), false);
  if (!made.ok()) return made.status();
  KvIterator& it = **made;
  std::vector<Ordinal> found;
  std::string buffer;
  int skipped = 0;
  std::uint32_t rows = 0;
  for (it.Seek(LowerKey(range, options_.window_ms)); it.Valid();) {
    if (stop && rows++ % kRowsOfALook == 0 && stop()) return Cancelled("stopped");
    ChunkMeta meta;
    if (!DecodeChunkKey(it.key(), &meta)) return Named(BadChunkKey(it.key()));
    const bool known = !found.empty() && found.back() == meta.ordinal;
    if (!known && meta.type != ChunkType::kExemplar) {
      std::string_view payload;
      if (Status s = DecodeChunkValue(it.key(), it.value(), &meta, &payload, &buffer); !s.ok()) return Named(s);
      if (range.Overlaps(meta.min_time, meta.max_time)) found.push_back(meta.ordinal);
    }
    skipped = known ? skipped + 1 : 0;
    if (skipped <= kStepsBeforeSeek || meta.ordinal == ~Ordinal{0}) {
      it.Next();
    } else {
      it.Seek(ChunkSeriesPrefix(meta.window, meta.ordinal + 1));
      skipped = 0;
    }
    if (found.size() >= (1U << 16)) {
      const Ordinal last = found.back();
      ordinals->AddMany(found);
      found.assign(1, last);
    }
  }
  if (Status s = it.status(); !s.ok()) return Named(s);
  ordinals->AddMany(found);
  return Status::Ok();
}

Status ChunkStore::Expire() {
  const Timestamp floor = tombstones_.floor();
  const Timestamp first_kept = WindowOf(floor, options_.window_ms);
  if (first_kept == kMinTimestamp) return Status::Ok();
  if (options_.expiry != nullptr) options_.expiry->RaiseFloor(floor);
  Status s = engine_->ExpireRange(options_.family, kFirstChunkKey, ChunkWindowPrefix(first_kept));
  // Such an engine drops them by the filter, at its own time; readers filter.
  if (s.code() == StatusCode::kUnimplemented) return Status::Ok();
  return Named(s);
}

Status ChunkStore::CountExpired(Timestamp floor, CompactFigures* figures, const std::function<Status()>& between) const {
  const Timestamp first_kept = WindowOf(floor, options_.window_ms);
  std::string from(kFirstChunkKey);
  for (bool done = first_kept == kMinTimestamp; !done;) {
    Result<std::unique_ptr<KvIterator>> it = NewIterator(from, ChunkWindowPrefix(first_kept), false);
    if (!it.ok()) return it.status();
    std::uint64_t bytes = 0;
    std::string buffer;
    for ((*it)->Seek(from); (*it)->Valid() && bytes < kExpiredSliceBytes; (*it)->Next()) {
      ChunkMeta meta;
      std::string_view payload;
      if (!DecodeChunkKey((*it)->key(), &meta)) return Named(BadChunkKey((*it)->key()));
      if (Status s = DecodeChunkValue((*it)->key(), (*it)->value(), &meta, &payload, &buffer); !s.ok()) return Named(s);
      ++figures->rows_before;
      figures->samples_deleted += meta.samples;
      bytes += (*it)->key().size() + (*it)->value().size();
    }
    figures->bytes_before += bytes;
    done = !(*it)->Valid();
    if (done) {
      if (Status s = (*it)->status(); !s.ok()) return Named(s);
    } else {
      from = (*it)->key();
    }
    *it = nullptr;  // holds files while it waits
    if (Status s = between(); !s.ok()) return s;
  }
  return Status::Ok();
}

Result<std::vector<ChunkStore::WindowSize>> ChunkStore::Windows() const {
  Result<std::unique_ptr<KvIterator>> it = NewIterator(std::string(kFirstChunkKey), std::string(kPastChunkKeys), true);
  if (!it.ok()) return it.status();
  std::vector<WindowSize> windows;
  // Expired windows may still have rows, until the engine gets to them.
  for ((*it)->Seek(ChunkWindowPrefix(WindowOf(tombstones_.floor(), options_.window_ms))); (*it)->Valid();) {
    ChunkMeta meta;
    if (!DecodeChunkKey((*it)->key(), &meta)) return Named(BadChunkKey((*it)->key()));
    const std::string end = ChunkWindowPrefix(meta.window + 1);
    const Result<std::uint64_t> bytes = engine_->EstimateBytes(options_.family, ChunkWindowPrefix(meta.window), end);
    if (!bytes.ok()) return Named(bytes.status());
    windows.push_back({meta.window, *bytes});
    (*it)->Seek(end);
  }
  if (Status s = (*it)->status(); !s.ok()) return Named(s);
  return windows;
}

std::vector<Timestamp> ChunkStore::UntidyWindows(Timestamp before) const {
  std::map<Timestamp, std::uint64_t> untidy;
  {
    MutexLock lock(&rows_mu_);
    untidy = untidy_;
  }
  std::vector<Timestamp> windows;
  const Timestamp floor = tombstones_.floor();
  for (const auto& [window, bytes] : untidy) {
    if (window > before - options_.window_ms) break;
    if (window + options_.window_ms <= floor) continue;
    const Result<std::uint64_t> all =
        engine_->EstimateBytes(options_.family, ChunkWindowPrefix(window), ChunkWindowPrefix(window + 1));
    if (all.ok() && bytes >= *all / kUntidyFraction) windows.push_back(window);
  }
  return windows;
}

void ChunkStore::FillStats(ShardStats* stats) const {
  stats->chunk_rows_written = rows_written_.Get();
  stats->chunk_payload_bytes = payload_bytes_.Get();
  stats->chunk_samples = samples_.Get();
}

}  // namespace chronolith
