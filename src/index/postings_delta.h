// PostingsDelta: postings of series that are not yet in the rows, by pair id.
#ifndef CHRONOLITH_INDEX_POSTINGS_DELTA_H_
#define CHRONOLITH_INDEX_POSTINGS_DELTA_H_

#include <cstdint>
#include <utility>

#include "base/ordinal_set.h"
#include "format/series_id.h"
#include "index/pod_vector.h"
#include "index/symbols.h"

namespace chronolith {

// A short list holds two ordinals in place, then an array, then (from 25 on) a roaring bitmap: a pair that one series has costs 16
// bytes, one that thousands share 2 bytes a series or less, and copying a long list is copying a bitmap.
// Thread safety: as std::vector.
class PostingsDelta {
 public:
  PostingsDelta() = default;
  PostingsDelta(const PostingsDelta&) = delete;
  PostingsDelta& operator=(const PostingsDelta&) = delete;
  ~PostingsDelta();

  void Append(PairId pair, Ordinal ordinal);
  // Adds all of `other`.
  void Merge(const PostingsDelta& other);
  // Gives each pair that has postings the id to(pair), which differ.
  template <typename F>
  void Rename(const F& to) {
    PodVector<List> renamed;
    for (PairId pair = 0; pair < end(); ++pair) {
      if (!Has(pair)) continue;
      const PairId id = to(pair);
      if (id >= renamed.size()) renamed.ResizeZeroed(id + 1);
      renamed[id] = lists_[pair];
    }
    lists_ = std::move(renamed);
  }

  bool Has(PairId pair) const { return pair < lists_.size() && lists_[pair].count != 0; }
  bool Contains(PairId pair, Ordinal ordinal) const;
  void AddTo(PairId pair, OrdinalSet* set) const;
  // Whether a series of the pair is in `within` (null: all) and not in `removed`.
  bool AnyOf(PairId pair, const OrdinalSet* within, const OrdinalSet& removed) const;

  // Pairs are below this.
  PairId end() const { return static_cast<PairId>(lists_.size()); }
  bool empty() const { return lists_.empty(); }
  std::size_t memory_bytes() const;  // O(pairs)

 private:
  static constexpr std::uint32_t kInPlace = 2;
  static constexpr std::uint32_t kFirstArray = 6;  // fills the smallest block of the allocator
  static constexpr std::uint32_t kLastArray = 24;  // then a bitmap
  struct List {
    std::uint32_t count;     // kIsBitmap: `bitmap` holds them
    std::uint32_t capacity;  // of `array`; up to kInPlace: in place
    union {
      Ordinal in_place[kInPlace];
      Ordinal* array;
      roaring_bitmap_s* bitmap;
    };
  };
  static constexpr std::uint32_t kIsBitmap = 0xffffffff;

  static const Ordinal* Items(const List& list) { return list.count <= kInPlace ? list.in_place : list.array; }
  void Grow(List* list);

  PodVector<List> lists_;
  std::size_t array_bytes_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_POSTINGS_DELTA_H_
