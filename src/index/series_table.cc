#include "index/series_table.h"

#include <cstring>

namespace chronolith {

bool SeriesTable::HasLabels(Ordinal ordinal, std::string_view encoded, const Symbols& symbols) const {
  const char* const limit = records_.data() + records_.size();
  std::uint64_t pairs = 0;
  std::uint64_t id = 0;
  const char* at = SkipHeader(RecordOf(ordinal), &pairs);
  const char* rest = encoded.data();
  std::size_t left = encoded.size();
  for (; pairs > 0; --pairs) {
    at = DecodeVarint(at, limit, &id);
    const std::string_view pair = symbols.BytesOf(static_cast<PairId>(id));
    if (pair.size() > left || std::memcmp(pair.data(), rest, pair.size()) != 0) return false;
    rest += pair.size();
    left -= pair.size();
  }
  return left == 0;
}

void SeriesTable::AppendLabels(Ordinal ordinal, const Symbols& symbols, std::string* encoded) const {
  std::size_t bytes = 0;
  ForEachPair(ordinal, [&](PairId pair) { bytes += symbols.BytesOf(pair).size(); });
  const std::size_t old_size = encoded->size();
  if (old_size == 0) encoded->reserve(bytes);
  ForEachPair(ordinal, [&](PairId pair) { encoded->append(symbols.BytesOf(pair)); });
}

std::uint64_t SeriesTable::HashOf(Ordinal ordinal, std::string_view encoded) const {
  std::uint64_t header = 0;
  const char* at = DecodeVarint(RecordOf(ordinal), records_.data() + records_.size(), &header);
  return (header & 1) != 0 ? LoadFixed<std::uint64_t>(at) : StableHash(encoded);
}

std::uint64_t SeriesTable::HashOf(Ordinal ordinal, const Symbols& symbols) const {
  std::string encoded;
  AppendLabels(ordinal, symbols, &encoded);
  return HashOf(ordinal, encoded);
}

void SeriesTable::Add(const NewSeries& series, const PodVector<PairId>& pairs) {
  const std::size_t page = series.ordinal / kPageSize;
  if (page >= pages_.size()) pages_.resize(page + 1);
  if (pages_[page] == nullptr) pages_[page] = std::make_unique<Page>();
  pages_[page]->place[series.ordinal % kPageSize] = static_cast<std::uint32_t>(records_.size()) + 1;
  ++pages_[page]->used;
  ++size_;
  if (series.findable) table_.Insert(Tag(series.hash), series.ordinal);

  char buffer[kMaxVarint64Bytes + sizeof(std::uint64_t)];
  char* end = EncodeVarint(buffer, pairs.size() << 1 | (series.own_hash ? 1 : 0));
  if (series.own_hash) {
    StoreFixed(end, series.hash);
    end += sizeof(std::uint64_t);
  }
  records_.Append(buffer, static_cast<std::size_t>(end - buffer));
  for (const PairId pair : pairs) records_.Append(buffer, static_cast<std::size_t>(EncodeVarint(buffer, pair) - buffer));
}

void SeriesTable::HideFromFind(Ordinal ordinal, const Symbols& symbols) { table_.Erase(Tag(HashOf(ordinal, symbols)), ordinal); }

void SeriesTable::Drop(Ordinal ordinal, const Symbols& symbols) {
  HideFromFind(ordinal, symbols);
  std::uint64_t pairs = 0;
  const char* const record = RecordOf(ordinal);
  const char* at = SkipHeader(record, &pairs);
  for (std::uint64_t id = 0; pairs > 0; --pairs) at = DecodeVarint(at, records_.data() + records_.size(), &id);
  dead_bytes_ += static_cast<std::size_t>(at - record);
  const std::size_t page = ordinal / kPageSize;
  pages_[page]->place[ordinal % kPageSize] = 0;
  if (--pages_[page]->used == 0) pages_[page].reset();
  --size_;
}

std::size_t SeriesTable::memory_bytes() const {
  std::size_t pages = 0;
  for (const auto& page : pages_) pages += page != nullptr ? sizeof(Page) : 0;
  return records_.memory_bytes() + table_.memory_bytes() + pages + pages_.size() * sizeof(void*);
}

}  // namespace chronolith
