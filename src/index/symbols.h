// Symbols: the interned (name, value) pairs of a shard's resident series. A pair id is dense from 0 and stands for the pair's bytes
// as they occur in Labels::encoded(), so that comparing a series with a label set is comparing runs of bytes.
#ifndef CHRONOLITH_INDEX_SYMBOLS_H_
#define CHRONOLITH_INDEX_SYMBOLS_H_

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "chronolith/labels.h"
#include "index/pod_vector.h"
#include "index/tag_table.h"

namespace chronolith {

using PairId = std::uint32_t;

// Splits one pair off the front of an encoded label set: *pair its bytes, *label its parts. False where the bytes are malformed.
bool NextPair(std::string_view* encoded, std::string_view* pair, Label* label);

// Lets a map keyed by std::string be asked with a std::string_view.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return StableHash(s); }
};

// Memory: the pair's bytes, 4 for its place, 10 to 20 for its slot, 4 for its name's list. Thread safety: as std::vector.
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

  // Ids of all pairs with this name; null: none.
  const PodVector<PairId>* PairsOf(std::string_view name) const;
  using NameMap = absl::flat_hash_map<std::string, PodVector<PairId>, StringHash, std::equal_to<>>;
  const NameMap& names() const { return names_; }

  std::size_t size() const { return offsets_.size() - 1; }
  // True while more pairs, of `bytes` bytes in all, can be told apart by 32-bit offsets below `limit`.
  bool HasRoom(std::size_t bytes, std::uint64_t limit) const {
    return bytes_.size() + bytes < limit && size() + bytes < TagTable::kNone;
  }
  std::size_t memory_bytes() const;

 private:
  static std::uint32_t Tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash); }

  PodVector<char> bytes_;
  PodVector<std::uint32_t> offsets_;  // one more than there are pairs
  TagTable table_;
  NameMap names_;
  std::size_t name_bytes_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_SYMBOLS_H_
