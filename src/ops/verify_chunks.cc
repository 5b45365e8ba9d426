// verify: rows of chunk.<k>: samples against what row and key say of them, and against index and log.
#include <map>

#include "block/tombstones.h"
#include "chunk/exemplar_chunk.h"
#include "chunk/histogram_chunk.h"
#include "chunk/packed_chunk.h"
#include "ops/verify_pass.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kSliceBytes = 1 << 20;  // between looks at pace and cancel flag

// What a chunk turned out to hold.
struct Decoded {
  std::uint32_t header = 0;
  std::uint64_t samples = 0;
  Timestamp min_time = kMaxTimestamp;
  Timestamp max_time = kMinTimestamp;
  bool ascending = true;
  Status status;

  void Add(Timestamp t) {
    ascending = ascending && (samples == 0 || t > max_time);
    ++samples;
    min_time = std::min(min_time, t);
    max_time = std::max(max_time, t);
  }
  // Several: without a branch a sample.
  void Add(const Timestamp* t, std::size_t n) {
    Add(t[0]);
    bool up = true;
    for (std::size_t i = 1; i < n; ++i) {
      up &= t[i - 1] < t[i];
      min_time = std::min(min_time, t[i]);
      max_time = std::max(max_time, t[i]);
    }
    ascending = ascending && up;
    samples += n - 1;
  }
};

// `values`: room for 256 of them; null where an iterator need not decode them to know that they can be.
template <typename Iterator>
Decoded DecodeFloats(std::string_view payload, double* values) {
  Decoded found;
  Iterator it;
  it.Reset(payload);
  found.header = it.count();
  Timestamp times[256];
  for (std::size_t n = it.Decode(times, values, 256); n > 0; n = it.Decode(times, values, 256)) {
    found.Add(times, n);
  }
  found.status = it.status();
  return found;
}

Decoded DecodeFloats(std::string_view payload) {
  if (IsPacked(payload)) return DecodeFloats<PackedIterator>(payload, nullptr);
  double values[256];
  return DecodeFloats<XorIterator>(payload, values);
}

template <typename Iterator>
Decoded DecodeOthers(std::string_view payload) {
  Decoded found;
  Iterator it(payload);
  found.header = it.count();
  while (it.Next()) {
    if constexpr (std::is_same_v<Iterator, HistogramIterator>) {
      found.Add(it.sample().timestamp);
    } else {
      found.Add(it.exemplar().timestamp);
    }
  }
  found.status = it.status();
  return found;
}

class ChunkCheck {
 public:
  explicit ChunkCheck(ShardLook* look)
      : look_(look),
        name_(FamilyName("chunk", look->shard)),
        family_(ChunkFamily(look->shard)),
        window_ms_(look->store->manifest().window_ms),
        progress_(look, FileBytes(look)) {}

  Status Run() {
    if (Status s = ReadTombstones(); !s.ok()) return s;
    auto opened = look_->store->data()->NewIterator(family_, {.fill_cache = false});
    if (!opened.ok()) return Unreadable("", opened.status());
    KvIterator& it = **opened;
    std::uint64_t bytes = 0;
    for (it.Seek(""); it.Valid(); it.Next()) {
      const std::string_view key = it.key();
      const std::string_view value = it.value();
      OnRow(key, value);
      ++look_->figures.rows;
      look_->figures.row_bytes += key.size() + value.size();
      last_.assign(key);
      if ((bytes += key.size() + value.size()) < kSliceBytes) continue;
      if (Status s = progress_.Read(std::exchange(bytes, 0)); !s.ok()) return s;
    }
    if (!it.status().ok()) return Unreadable(last_, it.status());
    return progress_.Read(bytes);
  }

 private:
  static std::uint64_t FileBytes(ShardLook* look) {
    return look->store->data()->Stats().families[ChunkFamily(look->shard)].file_bytes;
  }
  void Add(ProblemKind kind, const std::string& where, std::string what) {
    look_->problems.Add(kind, name_ + "/" + where, std::move(what));
  }
  // A cursor does not tell where it might go on.
  Status Unreadable(std::string_view behind, const Status& why) {
    Add(ProblemKind::kRow, behind.empty() ? "" : Where(behind),
        std::string(behind.empty() ? "its rows cannot be read: " : "rows behind this one cannot be read: ") + why.message());
    return look_->flow->context().CheckCancelled();
  }
  static std::string Where(std::string_view key) {
    ChunkMeta meta;
    if (!key.starts_with(kChunkKeyTag) || !DecodeChunkKey(key, &meta)) return index_rows::PrintableKey(key);
    return "window " + std::to_string(meta.window) + " series " + std::to_string(meta.ordinal) + " lsn " +
           std::to_string(meta.creation_lsn) + " sequence " + std::to_string(meta.sequence) + " type " +
           std::to_string(static_cast<int>(meta.type));
  }

  Status ReadTombstones() {
    struct Parts {
      Tombstone whole;
      std::uint64_t found = 0;
      std::uint64_t parts = 0;
    };
    std::map<Lsn, Parts> all;
    auto it = look_->store->data()->NewIterator(
        family_, {.lower = std::string(1, kTombstoneKeyTag), .upper = std::string(1, kTombstoneKeyTag + 1), .fill_cache = false});
    if (!it.ok()) return Unreadable("", it.status());
    for ((*it)->Seek(std::string(1, kTombstoneKeyTag)); (*it)->Valid(); (*it)->Next()) {
      TombstonePart part;
      if (Status s = DecodeTombstone((*it)->key(), (*it)->value(), &part); !s.ok()) continue;  // told when its row comes
      Parts& parts = all[part.tombstone.lsn];
      parts.whole.lsn = part.tombstone.lsn;
      parts.whole.range = part.tombstone.range;
      parts.whole.ordinals.UnionWith(part.tombstone.ordinals);
      parts.parts = part.parts;
      ++parts.found;
    }
    Tombstones tombstones;
    for (auto& [lsn, parts] : all) {
      if (parts.found != parts.parts && lsn <= look_->chunks.applied_lsn) {
        Add(ProblemKind::kTombstone, "delete of LSN " + std::to_string(lsn),
            "has " + std::to_string(parts.found) + " of " + std::to_string(parts.parts) + " rows");
      }
      CheckLsn("delete of LSN " + std::to_string(lsn), lsn);
      tombstones.Add(std::move(parts.whole));
    }
    tombstones.RaiseFloor(std::max(look_->chunks.floor, look_->log.floor));
    hidden_ = tombstones.View();
    return Status::Ok();
  }

  void CheckLsn(const std::string& where, Lsn lsn) {
    if (look_->LogUnknown() || look_->LogReaches(lsn)) return;
    Add(ProblemKind::kOrder, where,
        "is of LSN " + std::to_string(lsn) + ", but the log ends at LSN " + std::to_string(look_->log.last));
  }

  void OnRow(std::string_view key, std::string_view value) {
    if (key == kChunkStateKey) {
      ChunkState state;
      if (Status s = DecodeChunkState(key, value, &state); !s.ok() && look_->chunks_readable)
        Add(ProblemKind::kRow, "s", s.message());
      return;
    }
    if (key.starts_with(kTombstoneKeyTag)) {
      TombstonePart part;
      if (Status s = DecodeTombstone(key, value, &part); !s.ok()) Add(ProblemKind::kRow, Where(key), s.message());
      return;
    }
    ChunkMeta meta;
    std::string_view payload;
    Status s = DecodeChunkKey(key, &meta) ? DecodeChunkValue(key, value, &meta, &payload, &buffer_) : BadChunkKey(key);
    if (!s.ok()) return Add(ProblemKind::kRow, Where(key), s.message());
    ++look_->figures.chunks;
    look_->figures.samples += meta.samples;
    if (WindowOf(meta.min_time, window_ms_) != meta.window || WindowOf(meta.max_time, window_ms_) != meta.window) {
      Add(ProblemKind::kChunk, Where(key),
          "its samples, from " + std::to_string(meta.min_time) + " to " + std::to_string(meta.max_time) +
              ", are of another window");
    }
    CheckSeries(key, meta);
    if (meta.creation_lsn > look_->log.last) CheckLsn(Where(key), meta.creation_lsn);
    if (look_->decode) CheckSamples(key, meta, payload);
  }

  // Chunks of one series of a window follow each other.
  void CheckSeries(std::string_view key, const ChunkMeta& meta) {
    if (!look_->index_readable || !look_->series_known || meta.ordinal == known_) return;
    if (meta.ordinal >= look_->index.next_ordinal) {
      if (look_->LogUnknown() || look_->LogCreates(meta.ordinal) || look_->LogUnknown()) return;
      return Add(ProblemKind::kOrdinal, Where(key),
                 "series " + std::to_string(meta.ordinal) + " was never given out: the index has those below " +
                     std::to_string(look_->index.next_ordinal));
    }
    if (look_->live.Contains(meta.ordinal) || look_->doubtful.Contains(meta.ordinal)) {
      known_ = meta.ordinal;
      return;
    }
    // Series without visible data are removed; their chunks go later. Exemplars keep no series.
    hidden_.HiddenIn(meta, {}, &scratch_);
    const bool hidden = !scratch_.empty() && scratch_.front().start <= meta.min_time && scratch_.front().end > meta.max_time;
    if (hidden || meta.type == ChunkType::kExemplar) return;
    Add(ProblemKind::kOrdinal, Where(key),
        "has " + std::to_string(meta.samples) + " visible samples of series " + std::to_string(meta.ordinal) +
            ", which the index does not know");
  }

  void CheckSamples(std::string_view key, const ChunkMeta& meta, std::string_view payload) {
    const Decoded found = meta.type == ChunkType::kXor         ? DecodeFloats(payload)
                          : meta.type == ChunkType::kHistogram ? DecodeOthers<HistogramIterator>(payload)
                                                               : DecodeOthers<ExemplarIterator>(payload);
    if (!found.status.ok()) return Add(ProblemKind::kChunk, Where(key), found.status.message());
    if (found.samples != meta.samples || found.header != meta.samples) {
      return Add(ProblemKind::kChunk, Where(key),
                 "holds " + std::to_string(found.samples) + " samples, its row says " + std::to_string(meta.samples));
    }
    if (found.min_time != meta.min_time || found.max_time != meta.max_time) {
      return Add(ProblemKind::kChunk, Where(key),
                 "its samples are from " + std::to_string(found.min_time) + " to " + std::to_string(found.max_time) +
                     ", its row says from " + std::to_string(meta.min_time) + " to " + std::to_string(meta.max_time));
    }
    if (!found.ascending && meta.type != ChunkType::kExemplar) Add(ProblemKind::kChunk, Where(key), "its timestamps do not ascend");
  }

  ShardLook* const look_;
  const std::string name_;
  const FamilyId family_;
  const std::int64_t window_ms_;
  RowProgress progress_;
  TombstoneView hidden_;
  std::vector<TimeRange> scratch_;
  std::string buffer_;
  std::optional<Ordinal> known_;
  std::string last_;
};

}  // namespace

Status LookAtChunks(ShardLook* look) {
  if (look->store->data() == nullptr || !look->store->data()->Damage(ChunkFamily(look->shard)).ok()) return Status::Ok();
  return ChunkCheck(look).Run();
}

}  // namespace chronolith::ops
