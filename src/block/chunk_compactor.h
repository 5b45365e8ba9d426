// ChunkCompactor: one pass over a shard's chunk rows that merges small and overlapping chunks and applies tombstones and the floor.
//
// Readers see the same samples before, during and after it. What that rests on:
//  1. Only settled chunks are touched: those whose creation LSN the state row covers (replay never begins them again) and that the
//     head does not hold (it never writes them again). From reading rows to replacing them the store's row lock keeps checkpoints
//     out.
//  2. Tombstones up to the applied LSN, and no others, are applied; every input is older than the ones left, so these hide in the
//     output what they hid in the inputs.
//  3. The output takes the newest creation LSN and epoch of its inputs, is no overlay (a lone input keeps its flag), and has a
//  sequence
//     number that no row has: keys of outputs and inputs differ, and one batch puts those and deletes these. Cut short, or
//     repeated, the pass loses nothing.
//  4. A merge is left undone where it would change the precedence between one of its inputs and a chunk that stays (one that the
//  head
//     still holds, or one of the other type) at an overlapping time: it comes when that chunk has settled. What is hidden in its
//     inputs goes all the same, input by input.
//  5. A tombstone goes when every row that it could hide something in has been rewritten, and replay cannot reach below it.
// A second pass over the same rows changes nothing, unless rule 4 held something back in the first. Memory: a few MiB of rows at a
// time, or one series' chunks of one window.
#ifndef CHRONOLITH_BLOCK_CHUNK_COMPACTOR_H_
#define CHRONOLITH_BLOCK_CHUNK_COMPACTOR_H_

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "block/chunk_merge.h"
#include "block/chunk_store.h"
#include "block/series_parts.h"

namespace chronolith {

// Thread safety: none; one use an object. The store outlives it.
class ChunkCompactor {
 public:
  ChunkCompactor(ChunkStore* store, const ChunkCompactOptions& options, Lsn trimmed_to,
                 const std::function<bool(const ChunkMeta&)>& in_head, CompactFigures* figures);

  // `between` (if any) is called after each window and every few megabytes, where checkpoints may come; its error ends the pass.
  Status Run(const std::function<Status()>& between);
  // Of one window, without 5.; false where `stop` ended it early.
  Result<bool> RunWindow(Timestamp window, const std::function<bool()>& stop);

 private:
  // A row of the series at hand, or what will be one.
  struct Entry {
    ChunkSlice chunk;
    std::uint64_t row_bytes = 0;
    bool settled = false;   // may be rewritten
    bool verified = false;  // decoded: nothing in it is hidden, whatever its span says
    bool gone = false;      // deleted or merged into another
  };
  // Parts [begin, end) of parts_, to be merged into one run of chunks.
  struct Run_ {
    std::size_t begin = 0;
    std::size_t end = 0;
    bool overlapping = false;
  };

  // Rows of [*from, to), of one window at most; moves *from.
  Status CompactSlice(std::string* from, const std::string& to, bool* done);
  Status CompactSeries() ABSL_EXCLUSIVE_LOCKS_REQUIRED(store_->rows_mu_);
  Status MergeSeries() ABSL_EXCLUSIVE_LOCKS_REQUIRED(store_->rows_mu_);
  Status CompactType(ChunkType type) ABSL_EXCLUSIVE_LOCKS_REQUIRED(store_->rows_mu_);
  void CollectParts(ChunkType type);
  std::vector<Run_> FindRuns(ChunkType type) const;
  bool SomethingBetween(Timestamp after, Timestamp before, ChunkType type) const;
  ChunkMeta OutputMeta(const Run_& run) const;
  bool KeepsPrecedence(const Run_& run) const;
  Status MergeRun(const Run_& run, ChunkType type);
  Status MergeExemplars(const Run_& run, std::uint32_t max_samples, std::vector<EncodedChunk>* encoded, std::uint64_t* hidden);
  std::string_view Packed(const EncodedChunk& chunk);
  Status RewriteInPlace(Entry* entry, const EncodedChunk& encoded);
  Status Replace(const Run_& run, std::vector<EncodedChunk> encoded);
  std::uint32_t FreeSequence(Lsn creation_lsn) const;
  void DeleteRow(Entry* entry);
  Entry& EntryOf(const Part& part);
  void NoteData();
  void NoteBlocked();
  Status DropTombstones();

  ChunkStore* const store_;
  const ChunkCompactOptions options_;
  const Lsn trimmed_to_;
  const std::function<bool(const ChunkMeta&)>& in_head_;
  CompactFigures* const figures_;
  const std::uint32_t max_samples_;

  // Of the pass.
  TombstoneView droppable_;  // tombstones that this pass may have applied everywhere
  std::set<Lsn> blocked_;    // of those: hide something in a row that stays
  std::vector<Ordinal> with_data_;
  ChunkRowWriter writer_;
  FloatPacker packer_;
  std::string packed_;

  // Of the slice.
  TombstoneView tombstones_;
  Lsn applied_lsn_ = 0;
  ByteArena arena_;

  // Of the series.
  std::vector<Entry> entries_;
  SeriesParts parts_;
  ChunkMerge merge_;
  std::string value_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_CHUNK_COMPACTOR_H_
