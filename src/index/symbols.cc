#include "index/symbols.h"

#include "base/coding.h"

namespace chronolith {

bool NextPair(std::string_view* encoded, std::string_view* pair, Label* label) {
  const char* const begin = encoded->data();
  const char* const limit = begin + encoded->size();
  std::uint64_t n = 0;
  const char* at = DecodeVarint(begin, limit, &n);
  if (at == nullptr || n > static_cast<std::uint64_t>(limit - at)) return false;
  label->name = {at, n};
  at = DecodeVarint(at + n, limit, &n);
  if (at == nullptr || n > static_cast<std::uint64_t>(limit - at)) return false;
  label->value = {at, n};
  at += n;
  *pair = {begin, static_cast<std::size_t>(at - begin)};
  encoded->remove_prefix(pair->size());
  return true;
}

Symbols::Symbols() {
  offsets_.push_back(0);
  Intern(std::string_view("\0\0", 2), {});
}

PairId Symbols::Intern(std::string_view pair, std::string_view name) {
  const std::uint64_t hash = StableHash(pair);
  if (const PairId known = Find(pair, hash); known != kNone) return known;
  const auto id = static_cast<PairId>(size());
  bytes_.Append(pair.data(), pair.size());
  offsets_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  table_.Insert(Tag(hash), id);
  next_.push_back(kNone);
  if (id == kAll) return id;
  const std::uint64_t name_hash = StableHash(name);
  if (const std::uint32_t known = FindName(name, name_hash); known != kNone) {
    next_[names_[known].last] = id;
    names_[known].last = id;
  } else {
    name_table_.Insert(Tag(name_hash), names());
    names_.push_back({id, id});
  }
  return id;
}

Label Symbols::LabelOf(PairId id) const {
  std::string_view bytes = BytesOf(id);
  std::string_view pair;
  Label label;
  NextPair(&bytes, &pair, &label);
  return label;
}

Symbols::Pairs Symbols::PairsOf(std::string_view name) const {
  const std::uint32_t id = FindName(name, StableHash(name));
  return {this, id == kNone ? kNone : names_[id].first};
}

std::size_t Symbols::memory_bytes() const {
  return bytes_.memory_bytes() + offsets_.memory_bytes() + table_.memory_bytes() + next_.memory_bytes() + names_.memory_bytes() +
         name_table_.memory_bytes();
}

}  // namespace chronolith
