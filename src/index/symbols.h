// Symbols: the interned (name, value) pairs of a shard's resident series. A pair id is dense from 0 and stands for the pair's bytes
// as they occur in Labels::encoded(), so that comparing a series with a label set is comparing runs of bytes.
#ifndef CHRONOLITH_INDEX_SYMBOLS_H_
#define CHRONOLITH_INDEX_SYMBOLS_H_

#include <cstdint>
#include <string_view>

#include "base/hash.h"
#include "chronolith/labels.h"
#include "index/pod_vector.h"
#include "index/tag_table.h"

namespace chronolith {

using PairId = std::uint32_t;

// Splits one pair off the front of an encoded label set: *pair its bytes, *label its parts. False where the bytes are malformed.
bool NextPair(std::string_view* encoded, std::string_view* pair, Label* label);

// Memory: a pair's bytes, 4 for its place, 10 to 20 for its slot, 4 for the next one of its name; 18 to 28 more for each name, of
// which there may be as many as pairs. Thread safety: as std::vector.
class Symbols {
 public:
  static constexpr PairId kNone = TagTable::kNone;
  // The pair ("", ""), which stands for "every series" in the postings.
  static constexpr PairId kAll = 0;

  Symbols();

  // `pair` is the pair's encoded bytes and `hash` their StableHash; kNone: unknown.
  PairId Find(std::string_view pair, std::uint64_t hash) const {
    return table_.Find(Tag(hash), [&](PairId id) { return BytesOf(id) == pair; });
  }
  PairId Intern(std::string_view pair, std::string_view name);

  std::string_view BytesOf(PairId id) const {
    const std::uint32_t begin = offsets_[id];
    return {bytes_.data() + begin, offsets_[id + 1] - begin};
  }
  Label LabelOf(PairId id) const;

  // Ids of the pairs of one name, ascending. Valid until the next Intern.
  class Pairs {
   public:
    class Iterator {
     public:
      Iterator(const Symbols* symbols, PairId at) : symbols_(symbols), at_(at) {}
      PairId operator*() const { return at_; }
      Iterator& operator++() {
        at_ = symbols_->next_[at_];
        return *this;
      }
      bool operator==(const Iterator& other) const { return at_ == other.at_; }

     private:
      const Symbols* symbols_;
      PairId at_;
    };
    Pairs(const Symbols* symbols, PairId first) : symbols_(symbols), first_(first) {}
    Iterator begin() const { return {symbols_, first_}; }
    Iterator end() const { return {symbols_, kNone}; }

   private:
    const Symbols* symbols_;
    PairId first_;
  };
  Pairs PairsOf(std::string_view name) const;
  // All names have ids below this, dense from 0.
  std::uint32_t names() const { return static_cast<std::uint32_t>(names_.size()); }
  std::string_view NameOf(std::uint32_t name) const { return LabelOf(names_[name].first).name; }
  Pairs PairsOf(std::uint32_t name) const { return {this, names_[name].first}; }

  std::size_t size() const { return offsets_.size() - 1; }
  // True while more pairs, of `bytes` bytes in all, can be told apart by 32-bit offsets below `limit`.
  bool HasRoom(std::size_t bytes, std::uint64_t limit) const {
    return bytes_.size() + bytes < limit && size() + bytes < TagTable::kNone;
  }
  std::size_t memory_bytes() const;

 private:
  struct Name {
    PairId first, last;
  };

  static std::uint32_t Tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash); }
  std::uint32_t FindName(std::string_view name, std::uint64_t hash) const {
    return name_table_.Find(Tag(hash), [&](std::uint32_t id) { return NameOf(id) == name; });
  }

  PodVector<char> bytes_;
  PodVector<std::uint32_t> offsets_;  // one more than there are pairs
  TagTable table_;
  PodVector<PairId> next_;  // by pair: the next one of its name
  PodVector<Name> names_;
  TagTable name_table_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_SYMBOLS_H_
