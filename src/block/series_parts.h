// SeriesParts: the chunks of one series as a reader sees them: from head and store, each once, with what is hidden in them.
#ifndef CHRONOLITH_BLOCK_SERIES_PARTS_H_
#define CHRONOLITH_BLOCK_SERIES_PARTS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "block/chunk_set.h"
#include "block/tombstones.h"

namespace chronolith {

struct Part {
  ChunkSlice chunk;
  std::uint32_t hidden_begin = 0;  // in SeriesParts
  std::uint32_t hidden_end = 0;
  bool clean() const { return hidden_begin == hidden_end; }  // every sample is visible
};

// Reusable: Clear keeps the memory. The chunks' bytes belong to the caller. Thread safety: one thread at a time.
class SeriesParts {
 public:
  void Clear() {
    parts_.clear();
    hidden_.clear();
  }
  // Adds a chunk; does nothing where all of it is hidden or outside of `range`.
  void Add(const ChunkSlice& chunk, const TombstoneView& tombstones, TimeRange range);
  // Adds the head's chunks and those of the store that the head does not hold as well (the head's is the newer version).
  void AddAll(std::span<const Chunk> head, std::span<const ChunkSlice> stored, const TombstoneView& tombstones, TimeRange range);
  // Sorts by time; call it after the last Add.
  void Sort();

  bool empty() const { return parts_.empty(); }
  std::size_t size() const { return parts_.size(); }
  const Part& operator[](std::size_t i) const { return parts_[i]; }
  // What is hidden in a part: ascending, disjoint.
  std::span<const TimeRange> HiddenIn(const Part& part) const {
    return std::span(hidden_).subspan(part.hidden_begin, part.hidden_end - part.hidden_begin);
  }

  // A component is a run of parts [i, end) whose time spans overlap, directly or through others: a component of one part needs no
  // merging. Components follow one another in time.
  std::size_t ComponentEnd(std::size_t i) const;

 private:
  std::vector<Part> parts_;
  std::vector<TimeRange> hidden_;
  std::vector<TimeRange> scratch_;
};

// Removes what `hidden` (ascending, disjoint) holds from parallel arrays of ascending timestamps and their values; returns how many
// are left.
std::size_t RemoveHidden(std::span<const TimeRange> hidden, Timestamp* timestamps, double* values, std::size_t n);
bool IsHidden(std::span<const TimeRange> hidden, Timestamp t);

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_SERIES_PARTS_H_
