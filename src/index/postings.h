// Postings: the stored ordinals of a label value (or of a union of values), immutable, as queries and the cache share them.
#ifndef CHRONOLITH_INDEX_POSTINGS_H_
#define CHRONOLITH_INDEX_POSTINGS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/ordinal_set.h"

namespace chronolith {

// Beside the bitmap, runs of 65536 ordinals that it holds as a long sorted array (1024 to 4096 of them) are also kept as plain
// bits, so that intersecting a shorter list is one bit test an ordinal; merging two arrays was 3 of 4 parts of a cached look-up.
// Thread safety: immutable.
class Postings {
 public:
  Postings() = default;
  explicit Postings(OrdinalSet set);

  const OrdinalSet& set() const { return set_; }
  std::uint64_t memory_bytes() const {
    return set_.memory_bytes() + bits_.size() * (kWords * sizeof(std::uint64_t) + sizeof(Bits));
  }

  // Whether Keep is faster than intersecting bitmaps.
  bool has_bits() const { return !bits_.empty(); }
  // Leaves only the ordinals (ascending) that are here; returns how many.
  std::size_t Keep(std::span<std::uint32_t> ordinals) const;

 private:
  static constexpr std::size_t kWords = 1024;
  struct Bits {
    std::uint32_t high;
    std::unique_ptr<std::uint64_t[]> words;
  };

  OrdinalSet set_;
  std::vector<Bits> bits_;  // ascending
};

using SharedPostings = std::shared_ptr<const Postings>;
inline SharedPostings MakePostings(OrdinalSet set) { return std::make_shared<const Postings>(std::move(set)); }

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_POSTINGS_H_
