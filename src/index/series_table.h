// SeriesTable: the resident series of a shard, found by labels or by ordinal. Labels are held as pair ids of Symbols.
#ifndef CHRONOLITH_INDEX_SERIES_TABLE_H_
#define CHRONOLITH_INDEX_SERIES_TABLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "format/series_id.h"
#include "index/pod_vector.h"
#include "index/symbols.h"
#include "index/tag_table.h"

namespace chronolith {

// A series' record in the arena: uvarint(number of pairs << 1 | own) | 8 bytes of hash where own is set | uvarint pair id ...
// Common pairs are interned first and have small ids: about 20 bytes for nine labels. The hash stands there only where it is not
// StableHash of the labels. The record's place is looked up in pages indexed by ordinal (4 bytes).
// In all about 40 bytes a series. Thread safety: as std::vector.
class SeriesTable {
 public:
  static constexpr Ordinal kNone = TagTable::kNone;

  // The series with exactly these labels.
  Ordinal Find(std::uint64_t hash, std::string_view encoded, const Symbols& symbols) const {
    return table_.Find(Tag(hash), [&](Ordinal ordinal) { return HasLabels(ordinal, encoded, symbols); });
  }
  bool Contains(Ordinal ordinal) const { return PlaceOf(ordinal) != 0; }
  // Requires Contains(ordinal).
  bool HasLabels(Ordinal ordinal, std::string_view encoded, const Symbols& symbols) const;
  void AppendLabels(Ordinal ordinal, const Symbols& symbols, std::string* encoded) const;
  // `encoded`: its labels.
  std::uint64_t HashOf(Ordinal ordinal, std::string_view encoded) const;
  std::uint64_t HashOf(Ordinal ordinal, const Symbols& symbols) const;
  template <typename F>
  void ForEachPair(Ordinal ordinal, const F& f) const {
    const char* const limit = records_.data() + records_.size();
    std::uint64_t pairs = 0;
    std::uint64_t id = 0;
    const char* at = SkipHeader(RecordOf(ordinal), &pairs);
    for (; pairs > 0; --pairs) {
      at = DecodeVarint(at, limit, &id);
      f(static_cast<PairId>(id));
    }
  }

  // Requires !Contains(ordinal) and ordinal != kNone. `own_hash`: `hash` is not StableHash of the labels. `findable`: by labels
  // too.
  struct NewSeries {
    Ordinal ordinal;
    std::uint64_t hash;
    bool own_hash;
    bool findable;
  };
  void Add(const NewSeries& series, const PodVector<PairId>& pairs);
  // Keeps the record, so that the labels can still be resolved by ordinal.
  void HideFromFind(Ordinal ordinal, const Symbols& symbols);
  void Drop(Ordinal ordinal, const Symbols& symbols);

  template <typename F>
  void ForEach(const F& f) const {
    for (std::size_t p = 0; p < pages_.size(); ++p) {
      if (pages_[p] == nullptr) continue;
      for (std::size_t i = 0; i < kPageSize; ++i) {
        if (pages_[p]->place[i] != 0) f(static_cast<Ordinal>(p * kPageSize + i));
      }
    }
  }

  // True while series of `bytes` bytes of labels in all can be told apart by 32-bit places; a record takes at most 8 for each.
  bool HasRoom(std::size_t bytes) const { return records_.size() + 8 * bytes < 0xffffffffULL; }

  std::size_t size() const { return size_; }  // records
  std::size_t findable() const { return table_.size(); }
  std::size_t dead_bytes() const { return dead_bytes_; }  // of dropped records: freed by building a new table
  std::size_t record_bytes() const { return records_.size(); }
  std::size_t memory_bytes() const;

 private:
  static constexpr std::size_t kPageSize = 1024;
  struct Page {
    std::uint32_t place[kPageSize];  // 1 + offset in records_; 0: not here
    std::uint32_t used;
  };

  static std::uint32_t Tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash); }
  std::uint32_t PlaceOf(Ordinal ordinal) const {
    const std::size_t page = ordinal / kPageSize;
    return page < pages_.size() && pages_[page] != nullptr ? pages_[page]->place[ordinal % kPageSize] : 0;
  }
  const char* SkipHeader(const char* record, std::uint64_t* pairs) const {
    const char* at = DecodeVarint(record, records_.data() + records_.size(), pairs);
    if ((*pairs & 1) != 0) at += sizeof(std::uint64_t);
    *pairs >>= 1;
    return at;
  }
  const char* RecordOf(Ordinal ordinal) const { return records_.data() + PlaceOf(ordinal) - 1; }

  PodVector<char> records_;
  std::vector<std::unique_ptr<Page>> pages_;
  TagTable table_;
  std::size_t size_ = 0;
  std::size_t dead_bytes_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_SERIES_TABLE_H_
