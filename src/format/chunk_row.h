// A row of a `chunk.<k>` family: one encoded chunk of one series. README.md of this folder specifies the bytes.
#ifndef CHRONOLITH_FORMAT_CHUNK_ROW_H_
#define CHRONOLITH_FORMAT_CHUNK_ROW_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "chronolith/types.h"

namespace chronolith {

enum class ChunkType : std::uint8_t {
  kXor = 1,        // float samples, Prometheus' XOR encoding
  kHistogram = 2,  // native histograms, chunk/histogram_chunk.h
  kExemplar = 3,   // exemplars, chunk/exemplar_chunk.h
};

// Identity and properties of a chunk, in the head or stored.
// An in-order chunk takes only timestamps above all of its series' in this head; anything else goes into the overlay chunk of its
// (series, window). Precedence between samples of equal timestamp: see Supersedes.
struct ChunkMeta {
  Timestamp window = 0;        // start of the time window, a multiple of Options::window_ms (floor)
  std::uint32_t ordinal = 0;   // of the series within its shard
  Lsn creation_lsn = 0;        // of the record that began the chunk; (window, ordinal, creation_lsn, type) identifies a chunk
  ChunkType type = ChunkType::kXor;
  bool overlay = false;
  std::uint64_t epoch = 0;     // the shard's, when the chunk was begun
  Timestamp min_time = 0;
  Timestamp max_time = 0;      // inclusive
  std::uint32_t samples = 0;

  // Under "the last write wins", whether this chunk's sample beats that of `other` at an equal timestamp: the later epoch; within
  // an epoch an overlay chunk over an in-order one (it takes only timestamps that were not new any more); else the later creation.
  bool Supersedes(const ChunkMeta& other) const {
    return std::tie(epoch, overlay, creation_lsn) > std::tie(other.epoch, other.overlay, other.creation_lsn);
  }
  bool SameChunk(const ChunkMeta& other) const {
    return window == other.window && ordinal == other.ordinal && creation_lsn == other.creation_lsn && type == other.type;
  }
};

struct Chunk {
  ChunkMeta meta;
  std::string data;  // encoded as meta.type says
};

}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_CHUNK_ROW_H_
