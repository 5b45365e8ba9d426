// TagTable: an open-addressing hash table of (32-bit tag of a hash, 32-bit id), 8 bytes a slot. It keeps no keys: the caller
// compares what an id stands for, so two keys of equal hash stay two entries.
#ifndef CHRONOLITH_INDEX_TAG_TABLE_H_
#define CHRONOLITH_INDEX_TAG_TABLE_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>

namespace chronolith {

// Linear probing, at most 4/5 full, removal by backward shift (no tombstones). A slot's home is a mix of its tag, so that growing
// needs no hashes from outside. Thread safety: as std::vector.
class TagTable {
 public:
  static constexpr std::uint32_t kNone = 0xffffffff;  // never an id

  // The first id with `tag` for which `equal(id)` holds; kNone: there is none.
  template <typename Equal>
  std::uint32_t Find(std::uint32_t tag, const Equal& equal) const {
    if (slots_ == nullptr) return kNone;
    for (std::size_t at = Home(tag);; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.id == kNone) return kNone;
      if (slot.tag == tag && equal(slot.id)) return slot.id;
    }
  }

  void Prefetch(std::uint32_t tag) const {
    if (slots_ != nullptr) __builtin_prefetch(&slots_[Home(tag)]);
  }

  void Insert(std::uint32_t tag, std::uint32_t id) {
    if (slots_ == nullptr || (size_ + 1) * 5 > (mask_ + 1) * 4) Resize(slots_ == nullptr ? 16 : (mask_ + 1) * 2);
    Place({tag, id});
    ++size_;
  }

  // Takes out the entry (tag, id); false: there is none.
  bool Erase(std::uint32_t tag, std::uint32_t id) {
    if (slots_ == nullptr) return false;
    std::size_t at = Home(tag);
    while (slots_[at].id != id || slots_[at].tag != tag) {
      if (slots_[at].id == kNone) return false;
      at = (at + 1) & mask_;
    }
    // Invariant of linear probing: no empty slot between an entry's home and its place. Close the gap.
    for (std::size_t next = (at + 1) & mask_; slots_[next].id != kNone; next = (next + 1) & mask_) {
      if (((next - Home(slots_[next].tag)) & mask_) >= ((next - at) & mask_)) {
        slots_[at] = slots_[next];
        at = next;
      }
    }
    slots_[at].id = kNone;
    --size_;
    return true;
  }

  std::size_t size() const { return size_; }
  std::size_t memory_bytes() const { return slots_ == nullptr ? 0 : (mask_ + 1) * sizeof(Slot); }

 private:
  struct Slot {
    std::uint32_t tag;
    std::uint32_t id;
  };

  // Fibonacci hashing: the top bits of the product depend on all bits of the tag.
  std::size_t Home(std::uint32_t tag) const { return static_cast<std::size_t>((tag * 0x9e3779b97f4a7c15ULL) >> shift_); }
  void Place(Slot slot) {
    std::size_t at = Home(slot.tag);
    while (slots_[at].id != kNone) at = (at + 1) & mask_;
    slots_[at] = slot;
  }
  void Resize(std::size_t capacity) {
    const std::unique_ptr<Slot[]> old = std::move(slots_);
    const std::size_t old_capacity = old == nullptr ? 0 : mask_ + 1;
    slots_ = std::make_unique_for_overwrite<Slot[]>(capacity);
    std::memset(static_cast<void*>(slots_.get()), 0xff, capacity * sizeof(Slot));
    mask_ = capacity - 1;
    shift_ = 64 - std::countr_zero(capacity);
    for (std::size_t i = 0; i < old_capacity; ++i) {
      if (old[i].id != kNone) Place(old[i]);
    }
  }

  std::unique_ptr<Slot[]> slots_;
  std::size_t mask_ = 0;
  int shift_ = 63;
  std::size_t size_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_TAG_TABLE_H_
