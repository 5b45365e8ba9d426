#include "base/ordinal_set.h"

#include <roaring/roaring.h>

#include <utility>

namespace chronolith {

OrdinalSet::OrdinalSet() : bitmap_(roaring_bitmap_create()) {}
OrdinalSet::OrdinalSet(const OrdinalSet& other) : bitmap_(roaring_bitmap_copy(other.bitmap_)) {}
OrdinalSet::OrdinalSet(OrdinalSet&& other) noexcept : bitmap_(std::exchange(other.bitmap_, nullptr)) {}
OrdinalSet& OrdinalSet::operator=(OrdinalSet other) noexcept {
  std::swap(bitmap_, other.bitmap_);
  return *this;
}
OrdinalSet::~OrdinalSet() {
  if (bitmap_ != nullptr) roaring_bitmap_free(bitmap_);
}

void OrdinalSet::Add(std::uint32_t ordinal) { roaring_bitmap_add(bitmap_, ordinal); }
void OrdinalSet::AddMany(std::span<const std::uint32_t> ordinals) {
  roaring_bitmap_add_many(bitmap_, ordinals.size(), ordinals.data());
}
void OrdinalSet::AddRange(std::uint32_t first, std::uint32_t last) { roaring_bitmap_add_range_closed(bitmap_, first, last); }
void OrdinalSet::Remove(std::uint32_t ordinal) { roaring_bitmap_remove(bitmap_, ordinal); }
bool OrdinalSet::Contains(std::uint32_t ordinal) const { return roaring_bitmap_contains(bitmap_, ordinal); }
std::uint64_t OrdinalSet::size() const { return roaring_bitmap_get_cardinality(bitmap_); }
bool OrdinalSet::empty() const { return roaring_bitmap_is_empty(bitmap_); }
std::uint64_t OrdinalSet::memory_bytes() const { return sizeof(*this) + roaring_bitmap_size_in_bytes(bitmap_); }
void OrdinalSet::IntersectWith(const OrdinalSet& other) { roaring_bitmap_and_inplace(bitmap_, other.bitmap_); }
void OrdinalSet::UnionWith(const OrdinalSet& other) { roaring_bitmap_or_inplace(bitmap_, other.bitmap_); }
void OrdinalSet::Subtract(const OrdinalSet& other) { roaring_bitmap_andnot_inplace(bitmap_, other.bitmap_); }
std::uint64_t OrdinalSet::IntersectionSize(const OrdinalSet& other) const {
  return roaring_bitmap_and_cardinality(bitmap_, other.bitmap_);
}
std::vector<std::uint32_t> OrdinalSet::ToVector() const {
  std::vector<std::uint32_t> v(size());
  roaring_bitmap_to_uint32_array(bitmap_, v.data());
  return v;
}

}  // namespace chronolith
