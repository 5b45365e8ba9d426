// OrdinalSet: a set of series ordinals of one shard, a roaring bitmap with value semantics.
#ifndef CHRONOLITH_BASE_ORDINAL_SET_H_
#define CHRONOLITH_BASE_ORDINAL_SET_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

struct roaring_bitmap_s;

namespace chronolith {

// Thread safety: as a value type; const access from several threads is safe.
class OrdinalSet {
 public:
  OrdinalSet();
  OrdinalSet(const OrdinalSet& other);
  OrdinalSet(OrdinalSet&& other) noexcept;
  OrdinalSet& operator=(OrdinalSet other) noexcept;
  ~OrdinalSet();

  void Add(std::uint32_t ordinal);
  void AddMany(std::span<const std::uint32_t> ordinals);
  void AddRange(std::uint32_t first, std::uint32_t last);  // both inclusive; cheap however long
  void Remove(std::uint32_t ordinal);
  bool Contains(std::uint32_t ordinal) const;
  std::uint64_t size() const;
  bool empty() const;
  std::uint64_t memory_bytes() const;

  void IntersectWith(const OrdinalSet& other);
  void UnionWith(const OrdinalSet& other);
  void Subtract(const OrdinalSet& other);
  std::uint64_t IntersectionSize(const OrdinalSet& other) const;

  std::vector<std::uint32_t> ToVector() const;  // ascending

  const roaring_bitmap_s* raw() const { return bitmap_; }
  roaring_bitmap_s* raw() { return bitmap_; }

 private:
  roaring_bitmap_s* bitmap_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_ORDINAL_SET_H_
