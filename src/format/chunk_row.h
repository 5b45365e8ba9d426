// A chunk: one encoded run of samples of one series. How it becomes a row of a family `chunk.<k>`: chunk_rows.h.
#ifndef CHRONOLITH_FORMAT_CHUNK_ROW_H_
#define CHRONOLITH_FORMAT_CHUNK_ROW_H_

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "chronolith/types.h"

namespace chronolith {

// Sequence numbers from here on belong to chunks that compaction made: a head never begins one.
inline constexpr std::uint32_t kCompactedSequence = 1U << 31;

enum class ChunkType : std::uint8_t {
  kXor = 1,        // float samples, Prometheus' XOR encoding
  kHistogram = 2,  // native histograms, chunk/histogram_chunk.h
  kExemplar = 3,   // exemplars, chunk/exemplar_chunk.h
};

// Identity and properties of a chunk, in the head or stored.
// An in-order chunk takes only timestamps above all of its series' in this head; anything else goes into the overlay chunk of its
// (series, window). Precedence between samples of equal timestamp: see Supersedes.
struct ChunkMeta {
  Timestamp window = 0;       // start of the time window, a multiple of Options::window_ms (floor)
  std::uint32_t ordinal = 0;  // of the series within its shard
  Lsn creation_lsn = 0;       // of the record that began the chunk; of a compacted chunk: the newest of those that went into it
  // Tells chunks of equal creation_lsn apart: 0, 1, ... where one record fills several chunks of a series and window (a head counts
  // them in the order in which it begins them, so that a replay gives the same numbers), kCompactedSequence + n made by compaction.
  std::uint32_t sequence = 0;
  ChunkType type = ChunkType::kXor;
  bool overlay = false;
  std::uint64_t epoch = 0;  // the shard's, when the chunk was begun
  Timestamp min_time = 0;
  Timestamp max_time = 0;  // inclusive
  std::uint32_t samples = 0;

  // Under "the last write wins", whether this chunk's sample beats that of `other` at an equal timestamp: the later epoch; within
  // an epoch an overlay chunk over an in-order one (it takes only timestamps that were not new any more); else the later creation.
  bool Supersedes(const ChunkMeta& other) const {
    return std::tie(epoch, overlay, creation_lsn, sequence) >
           std::tie(other.epoch, other.overlay, other.creation_lsn, other.sequence);
  }
  // (window, ordinal, creation_lsn, sequence, type) identifies a chunk.
  bool SameChunk(const ChunkMeta& other) const {
    return window == other.window && ordinal == other.ordinal && creation_lsn == other.creation_lsn && sequence == other.sequence &&
           type == other.type;
  }
};

// When a chunk was begun; of a compacted one, when the newest of those that went into it was. Ascends in a shard.
struct ChunkAge {
  std::uint64_t epoch = 0;
  Lsn creation_lsn = 0;
  friend auto operator<=>(const ChunkAge&, const ChunkAge&) = default;
};

struct Chunk {
  ChunkMeta meta;
  std::string data;  // encoded as meta.type says
};

// A chunk whose bytes belong to somebody else: to Chunk what std::string_view is to std::string.
struct ChunkSlice {
  ChunkSlice() = default;
  ChunkSlice(const ChunkMeta& m, std::string_view bytes) : meta(m), data(bytes) {}
  ChunkSlice(const Chunk& chunk) : meta(chunk.meta), data(chunk.data) {}

  ChunkMeta meta;
  std::string_view data;
};

}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_CHUNK_ROW_H_
