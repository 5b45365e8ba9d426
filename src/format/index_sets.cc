// The sets of ordinals in 'h' and 'p' rows of index_rows.h.
#include <roaring/roaring.h>

#include <algorithm>
#include <optional>

#include "base/coding.h"
#include "format/index_rows.h"
#include "format/roaring_bytes.h"

namespace chronolith::index_rows {
namespace {

// Up to so many a list of halves is no longer than a bitmap of one container with its header.
constexpr std::uint64_t kListMax = 24;

// One container, with key `high`, `count` items.
bool ValidBitmap(std::string_view bytes, std::uint16_t high, std::uint64_t count) {
  const std::optional<RoaringShape> shape = CheckRoaring(bytes);
  return shape && shape->containers == 1 && shape->first_key == high && shape->items == count;
}

// Adds the set at `reader` to `set`, where there is one.
bool ReadSet(ByteReader* reader, std::uint16_t high, OrdinalSet* set) {
  const std::uint64_t head = reader->Varint();
  const std::uint64_t count = head >> 1;
  const std::uint32_t base = static_cast<std::uint32_t>(high) << 16;
  if (!reader->ok() || count > 0x10000) return false;
  if ((head & 1) == 0) {
    const std::string_view items = reader->Bytes(count * sizeof(std::uint16_t));
    if (!reader->ok()) return false;
    std::int32_t last = -1;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::int32_t item = LoadFixed<std::uint16_t>(items.data() + i * sizeof(std::uint16_t));
      if (item <= last) return false;
      last = item;
      if (set != nullptr) set->Add(base | static_cast<std::uint32_t>(item));
    }
    return true;
  }
  const std::string_view bytes = reader->LengthPrefixed();
  if (!reader->ok() || !ValidBitmap(bytes, high, count)) return false;
  if (set == nullptr) return true;
  roaring_bitmap_t* bitmap = roaring_bitmap_portable_deserialize_safe(bytes.data(), bytes.size());
  if (bitmap == nullptr) return false;
  if (set->empty()) {
    std::swap(*set->raw(), *bitmap);
  } else {
    roaring_bitmap_or_inplace(set->raw(), bitmap);
  }
  roaring_bitmap_free(bitmap);
  return true;
}

bool HighOf(std::string_view key, std::uint16_t* high) {
  if (key.size() < sizeof(*high)) return false;
  *high = LoadBigEndian<std::uint16_t>(key.data() + key.size() - sizeof(*high));
  return true;
}

void AppendOrdinals(std::span<const Ordinal> ordinals, std::string* value) {
  PutVarint(value, ordinals.size());
  for (const Ordinal ordinal : ordinals) PutFixed32(value, ordinal);
}

bool ReadOrdinals(ByteReader* reader, std::vector<Ordinal>* ordinals) {
  const std::uint64_t count = reader->Varint();
  if (count > reader->remaining() / sizeof(Ordinal)) return false;
  ordinals->clear();
  ordinals->reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto ordinal = reader->Fixed<Ordinal>();
    if (!ordinals->empty() && ordinal <= ordinals->back()) return false;
    ordinals->push_back(ordinal);
  }
  return reader->ok();
}

void AppendPostingSet(const OrdinalSet& set, std::string* payload) {
  const std::uint64_t count = set.size();
  if (count <= kListMax) {
    PutVarint(payload, count << 1);
    for (const Ordinal ordinal : set.ToVector()) {
      const auto low = static_cast<std::uint16_t>(ordinal);
      payload->append(reinterpret_cast<const char*>(&low), sizeof(low));
    }
    return;
  }
  PutVarint(payload, count << 1 | 1);
  OrdinalSet packed(set);
  roaring_bitmap_run_optimize(packed.raw());
  const std::size_t bytes = roaring_bitmap_portable_size_in_bytes(packed.raw());
  PutVarint(payload, bytes);
  const std::size_t at = payload->size();
  payload->resize(at + bytes);
  roaring_bitmap_portable_serialize(packed.raw(), payload->data() + at);
}

}  // namespace

// ---- Hash rows ----

void AppendHashValue(std::string_view key, std::span<const Ordinal> added, std::span<const Ordinal> removed, std::string* value) {
  const std::size_t begin = value->size();
  BeginValue(value);
  AppendOrdinals(added, value);
  AppendOrdinals(removed, value);
  SealValue(key, value, begin);
}

Status DecodeHashValue(std::string_view key, std::string_view value, HashSets* sets) {
  std::string_view payload;
  if (Status s = OpenValue(key, value, &payload); !s.ok()) return s;
  ByteReader reader(payload);
  if (!ReadOrdinals(&reader, &sets->added) || !ReadOrdinals(&reader, &sets->removed) || !reader.AtEnd()) {
    return Damaged(key, "malformed set of ordinals");
  }
  return Status::Ok();
}

// ---- Postings rows ----

void AppendPostingEntry(std::string_view text, const OrdinalSet& added, const OrdinalSet& removed, std::string* payload) {
  PutBytes(payload, text);
  AppendPostingSet(added, payload);
  AppendPostingSet(removed, payload);
}

std::string EncodePostings(std::string_view key, std::span<const PostingSets> entries) {
  std::string value;
  BeginValue(&value);
  for (const PostingSets& entry : entries) AppendPostingEntry(entry.text, entry.added, entry.removed, &value);
  SealValue(key, &value);
  return value;
}

std::string EncodePostings(std::string_view key, std::string_view text, const OrdinalSet& added, const OrdinalSet& removed) {
  std::string value;
  BeginValue(&value);
  AppendPostingEntry(text, added, removed, &value);
  SealValue(key, &value);
  return value;
}

Status DecodePostings(std::string_view key, std::string_view value, std::vector<PostingSets>* entries) {
  std::string_view payload;
  if (Status s = OpenValue(key, value, &payload); !s.ok()) return s;
  std::uint16_t high = 0;
  if (!HighOf(key, &high)) return Damaged(key, "malformed key");
  ByteReader reader(payload);
  while (reader.ok() && reader.remaining() > 0) {
    PostingSets& entry = entries->emplace_back();
    entry.text = reader.LengthPrefixed();
    if (!ReadSet(&reader, high, &entry.added) || !ReadSet(&reader, high, &entry.removed)) return Damaged(key, "malformed postings");
  }
  return Status::Ok();
}

Status ReadPostings(std::string_view key, std::string_view value, std::string_view text, OrdinalSet* set) {
  std::string_view payload;
  if (Status s = OpenValue(key, value, &payload); !s.ok()) return s;
  std::uint16_t high = 0;
  if (!HighOf(key, &high)) return Damaged(key, "malformed key");
  ByteReader reader(payload);
  while (reader.ok() && reader.remaining() > 0) {
    const bool wanted = reader.LengthPrefixed() == text;
    if (!ReadSet(&reader, high, wanted ? set : nullptr) || !ReadSet(&reader, high, nullptr))
      return Damaged(key, "malformed postings");
  }
  return Status::Ok();
}

}  // namespace chronolith::index_rows
