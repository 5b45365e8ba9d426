// ChunkSet: stored chunks of many series, read at once. The bytes lie in a few large blocks instead of a string a chunk: a full
// scan reads millions of chunks, and an allocation each would cost as much as decoding fifty samples.
#ifndef CHRONOLITH_BLOCK_CHUNK_SET_H_
#define CHRONOLITH_BLOCK_CHUNK_SET_H_

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "base/byte_arena.h"
#include "base/prefetch.h"
#include "format/chunk_row.h"

namespace chronolith {

// What ChunkStore::Read found. Reusable: a second Read replaces the contents and keeps the memory.
// Thread safety: one thread at a time; const access from several threads is safe.
class ChunkSet {
 public:
  // The chunks of the i-th ordinal that was asked for, ascending by (window, creation LSN, sequence, type).
  std::span<const ChunkSlice> Of(std::size_t i) const { return std::span(chunks_).subspan(begin_[i], begin_[i + 1] - begin_[i]); }
  // Fetches what Of(i) views, but not the chunks' bytes, into the processor's cache.
  CHRONOLITH_PREFETCHES void Prefetch(std::size_t i) const {
    for (const ChunkSlice& chunk : Of(i)) {
      __builtin_prefetch(&chunk.meta);
      __builtin_prefetch(&chunk.data);  // in the next line, as a rule
    }
  }
  std::size_t series() const { return begin_.empty() ? 0 : begin_.size() - 1; }
  std::size_t chunks() const { return chunks_.size(); }
  std::size_t payload_bytes() const { return arena_.used_bytes(); }
  ChunkAge newest() const { return newest_; }  // of all chunks

  // For the store: Reset, Add in any order of series (but each series' chunks in key order), Group.
  void Reset() {
    chunks_.clear();
    begin_.clear();
    found_.clear();
    series_.clear();
    newest_ = {};
    arena_.Clear();
  }
  void Add(std::size_t series, const ChunkMeta& meta, std::string_view data) {
    found_.push_back({meta, arena_.Copy(data)});
    series_.push_back(static_cast<std::uint32_t>(series));
    newest_ = std::max(newest_, ChunkAge{meta.epoch, meta.creation_lsn});
  }
  // A counting sort: rows come window by window, readers want them series by series.
  void Group(std::size_t series) {
    begin_.assign(series + 1, 0);
    for (const std::uint32_t s : series_) ++begin_[s + 1];
    for (std::size_t i = 0; i < series; ++i) begin_[i + 1] += begin_[i];
    chunks_.resize(found_.size());
    std::vector<std::uint32_t> next(begin_.begin(), begin_.end() - 1);
    for (std::size_t i = 0; i < found_.size(); ++i) chunks_[next[series_[i]]++] = found_[i];
  }

 private:
  ByteArena arena_;
  std::vector<ChunkSlice> chunks_;     // grouped by series
  std::vector<std::uint32_t> begin_;   // of each series in chunks_, and the end
  std::vector<ChunkSlice> found_;      // in the order of the rows
  std::vector<std::uint32_t> series_;  // of found_[i]
  ChunkAge newest_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_CHUNK_SET_H_
