#include "index/postings_delta.h"

#include <roaring/roaring.h>

#include <algorithm>
#include <cstdlib>
#include <span>

namespace chronolith {
namespace {

constexpr std::size_t kBitmapOverhead = 120;  // header, container and allocator of a bitmap with one container

}  // namespace

PostingsDelta::~PostingsDelta() {
  for (List& list : lists_) {
    if (list.count == kIsBitmap) {
      roaring_bitmap_free(list.bitmap);
    } else if (list.count > kInPlace) {
      std::free(list.array);
    }
  }
}

void PostingsDelta::Append(PairId pair, Ordinal ordinal) {
  if (pair >= lists_.size()) lists_.ResizeZeroed(pair + 1);
  List& list = lists_[pair];
  if (list.count == kIsBitmap) {
    roaring_bitmap_add(list.bitmap, ordinal);
    return;
  }
  if (list.count < kInPlace) {
    list.in_place[list.count++] = ordinal;
    return;
  }
  if (list.count == kInPlace || list.count == list.capacity) Grow(&list);
  if (list.count == kIsBitmap) {
    roaring_bitmap_add(list.bitmap, ordinal);
  } else {
    list.array[list.count++] = ordinal;
  }
}

// From in place to an array, to one of twice the size, to a bitmap.
void PostingsDelta::Grow(List* list) {
  const std::uint32_t capacity = list->count == kInPlace ? kFirstArray : list->capacity * 2;
  if (capacity > kLastArray) {
    roaring_bitmap_t* bitmap = roaring_bitmap_create();
    roaring_bitmap_add_many(bitmap, list->count, list->array);
    std::free(list->array);
    array_bytes_ -= list->capacity * sizeof(Ordinal);
    list->bitmap = bitmap;
    list->count = kIsBitmap;
    return;
  }
  const bool was_in_place = list->count == kInPlace;
  const Ordinal in_place[kInPlace] = {list->in_place[0], list->in_place[1]};
  auto* array = static_cast<Ordinal*>(std::realloc(was_in_place ? nullptr : list->array, capacity * sizeof(Ordinal)));
  if (array == nullptr) std::abort();
  if (was_in_place) {
    array[0] = in_place[0];
    array[1] = in_place[1];
  } else {
    array_bytes_ -= list->capacity * sizeof(Ordinal);
  }
  list->array = array;
  list->capacity = capacity;
  array_bytes_ += capacity * sizeof(Ordinal);
}

void PostingsDelta::Merge(const PostingsDelta& other) {
  for (PairId pair = 0; pair < other.end(); ++pair) {
    if (!other.Has(pair)) continue;
    OrdinalSet set;
    other.AddTo(pair, &set);
    for (const Ordinal ordinal : set.ToVector()) Append(pair, ordinal);
  }
}

bool PostingsDelta::Contains(PairId pair, Ordinal ordinal) const {
  if (!Has(pair)) return false;
  const List& list = lists_[pair];
  if (list.count == kIsBitmap) return roaring_bitmap_contains(list.bitmap, ordinal);
  return std::find(Items(list), Items(list) + list.count, ordinal) != Items(list) + list.count;
}

void PostingsDelta::AddTo(PairId pair, OrdinalSet* set) const {
  if (!Has(pair)) return;
  const List& list = lists_[pair];
  if (list.count == kIsBitmap) {
    roaring_bitmap_or_inplace(set->raw(), list.bitmap);
  } else {
    set->AddMany(std::span<const Ordinal>(Items(list), list.count));
  }
}

bool PostingsDelta::AnyOf(PairId pair, const OrdinalSet* within, const OrdinalSet& removed) const {
  if (!Has(pair)) return false;
  const List& list = lists_[pair];
  if (list.count != kIsBitmap) {
    for (const Ordinal ordinal : std::span<const Ordinal>(Items(list), list.count)) {
      if ((within == nullptr || within->Contains(ordinal)) && !removed.Contains(ordinal)) return true;
    }
    return false;
  }
  if (removed.empty()) return within == nullptr || roaring_bitmap_intersect(list.bitmap, within->raw());
  OrdinalSet live;
  AddTo(pair, &live);
  if (within != nullptr) live.IntersectWith(*within);
  live.Subtract(removed);
  return !live.empty();
}

std::size_t PostingsDelta::memory_bytes() const {
  std::size_t bitmaps = 0;
  for (const List& list : lists_) {
    if (list.count == kIsBitmap) bitmaps += kBitmapOverhead + roaring_bitmap_portable_size_in_bytes(list.bitmap);
  }
  return lists_.memory_bytes() + array_bytes_ + bitmaps;
}

}  // namespace chronolith
