#include "index/row_reader.h"

#include <memory>
#include <utility>

#include "base/coding.h"
#include "index/symbols.h"

namespace chronolith {
namespace {

// Up to so many high halves (65536 ordinals each) point look-ups beat a scan.
constexpr std::uint32_t kPointHighsMax = 4;
// Rows of one name that are passed by one by one, which costs less than a seek: there may be as many names as series.
constexpr int kSkippedRows = 4;

// From a row of the name whose keys begin with `prefix` to the first row behind them.
void SkipName(const std::string& prefix, KvIterator* it) {
  for (int i = 0; i < kSkippedRows; ++i) {
    it->Next();
    if (!it->Valid() || !it->key().starts_with(prefix)) return;
  }
  it->Seek(index_rows::PrefixEnd(prefix));
}

}  // namespace

Result<std::optional<index_rows::State>> RowReader::ReadState() const {
  std::string value;
  const Status s = engine_->Get(family_, index_rows::StateKey(), &value);
  if (s.code() == StatusCode::kNotFound) return std::optional<index_rows::State>();
  if (!s.ok()) return s;
  Result<index_rows::State> state = index_rows::DecodeState(value);
  if (!state.ok()) return state.status();
  return std::optional<index_rows::State>(*state);
}

Status RowReader::ReadLong(char prefix, std::span<const Ordinal> ordinals,
                           std::vector<std::optional<index_rows::LongRow>>* rows) const {
  rows->assign(ordinals.size(), std::nullopt);
  if (ordinals.empty()) return Status::Ok();
  std::vector<std::string> keys;
  keys.reserve(ordinals.size());
  for (const Ordinal ordinal : ordinals) keys.push_back(index_rows::OrdinalKey(prefix, ordinal));
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::vector<std::string> values;
  std::vector<Status> statuses;
  engine_->MultiGet(family_, views, &values, &statuses);
  for (std::size_t i = 0; i < ordinals.size(); ++i) {
    if (statuses[i].code() == StatusCode::kNotFound) continue;
    if (!statuses[i].ok()) return statuses[i];
    index_rows::LongRow& row = (*rows)[i].emplace();
    if (Status s = index_rows::DecodeLongRow(keys[i], values[i], &row); !s.ok()) return s;
    if (row.parts > 1) {
      if (Status s = ReadParts(prefix, ordinals[i], &row); !s.ok()) return s;
    }
    if (Status s = index_rows::CheckComplete(keys[i], row); !s.ok()) return s;
  }
  return Status::Ok();
}

Status RowReader::ReadParts(char prefix, Ordinal ordinal, index_rows::LongRow* row) const {
  for (std::uint64_t part = 1; part < row->parts; ++part) {
    const std::string key = index_rows::PartKey(prefix, ordinal, static_cast<std::uint16_t>(part));
    std::string value;
    const Status s = engine_->Get(family_, key, &value);
    if (s.code() == StatusCode::kNotFound) return index_rows::Damaged(key, "is missing");
    if (!s.ok()) return s;
    if (Status t = index_rows::AppendPart(key, value, row); !t.ok()) return t;
  }
  return Status::Ok();
}

Status RowReader::ScanLabels(std::uint64_t from, std::uint64_t to, Cache cache, const TakeLong& take,
                             const TakeOrdinal& in_parts) const {
  const auto key_of = [](std::uint64_t ordinal) {
    return ordinal > 0xffffffff ? index_rows::PrefixEnd(std::string(1, index_rows::kLabelsPrefix))
                                : index_rows::OrdinalKey(index_rows::kLabelsPrefix, static_cast<Ordinal>(ordinal));
  };
  const std::string lower = key_of(from);
  Result<std::unique_ptr<KvIterator>> it =
      engine_->NewIterator(family_, {.lower = lower, .upper = key_of(to), .fill_cache = cache == Cache::kFill});
  if (!it.ok()) return it.status();
  index_rows::LongRow row;
  for ((*it)->Seek(lower); (*it)->Valid(); (*it)->Next()) {
    const std::string_view key = (*it)->key();
    if (key.size() != 1 + sizeof(Ordinal)) continue;  // a further part
    if (Status s = index_rows::DecodeLongRow(key, (*it)->value(), &row); !s.ok()) return s;
    const auto ordinal = LoadBigEndian<Ordinal>(key.data() + 1);
    if (row.parts == 1) {
      take(ordinal, row);
    } else if (in_parts) {
      in_parts(ordinal);
    }
  }
  return (*it)->status();
}

Status RowReader::ReadHashes(std::span<const std::uint64_t> hashes, std::vector<std::vector<Ordinal>>* ordinals) const {
  ordinals->assign(hashes.size(), {});
  std::string buffer;
  buffer.reserve(hashes.size() * 9);
  for (const std::uint64_t hash : hashes) index_rows::AppendHashKey(hash, &buffer);
  std::vector<std::string_view> keys;
  keys.reserve(hashes.size());
  for (std::size_t i = 0; i < hashes.size(); ++i) keys.emplace_back(buffer.data() + i * 9, 9);
  std::vector<std::string> values;
  std::vector<Status> statuses;
  engine_->MultiGet(family_, keys, &values, &statuses);
  index_rows::HashSets sets;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    if (statuses[i].code() == StatusCode::kNotFound) continue;
    if (!statuses[i].ok()) return statuses[i];
    if (Status s = index_rows::DecodeHashValue(keys[i], values[i], &sets); !s.ok()) return s;
    (*ordinals)[i] = std::move(sets.added);
  }
  return Status::Ok();
}

Status RowReader::ReadPairs(std::span<const Pair> pairs, std::uint32_t highs, std::vector<OrdinalSet>* sets) const {
  sets->assign(pairs.size(), {});
  if (highs > kPointHighsMax) {
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (Status s = ScanOne(pairs[i], &(*sets)[i]); !s.ok()) return s;
    }
    return Status::Ok();
  }
  std::vector<index_rows::PairKey> pair_keys;
  std::vector<std::string> keys;
  for (const Pair& pair : pairs) {
    pair_keys.push_back(index_rows::MakePairKey(pair.name, pair.value));
    for (std::uint32_t high = 0; high < highs; ++high) {
      keys.push_back(pair_keys.back().bytes);
      index_rows::AppendHigh(static_cast<std::uint16_t>(high), &keys.back());
    }
  }
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::vector<std::string> values;
  std::vector<Status> statuses;
  engine_->MultiGet(family_, views, &values, &statuses);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (statuses[i].code() == StatusCode::kNotFound) continue;
    if (!statuses[i].ok()) return statuses[i];
    const std::size_t pair = i / highs;
    if (Status s = index_rows::ReadPostings(keys[i], values[i], pair_keys[pair].text, &(*sets)[pair]); !s.ok()) return s;
  }
  return Status::Ok();
}

Status RowReader::ScanOne(const Pair& pair, OrdinalSet* set) const {
  const index_rows::PairKey key = index_rows::MakePairKey(pair.name, pair.value);
  Result<std::unique_ptr<KvIterator>> it =
      engine_->NewIterator(family_, {.lower = key.bytes, .upper = index_rows::PrefixEnd(key.bytes)});
  if (!it.ok()) return it.status();
  for ((*it)->Seek(key.bytes); (*it)->Valid(); (*it)->Next()) {
    if (Status s = index_rows::ReadPostings((*it)->key(), (*it)->value(), key.text, set); !s.ok()) return s;
  }
  return (*it)->status();
}

Status RowReader::ScanPairs(const Walk& walk, const Want& want, const Take& take) const {
  const std::string_view* const name = walk.name;
  const std::string all(1, index_rows::kPostingsPrefix);
  const std::string within = name == nullptr ? all : index_rows::PairKeyPrefix(*name, walk.prefix);
  const std::string lower = walk.from.empty() ? within
                            : name == nullptr ? index_rows::NameKeyPrefix(walk.from)
                                              : index_rows::PairKeyPrefix(*name, walk.from);
  Result<std::unique_ptr<KvIterator>> opened =
      engine_->NewIterator(family_, {.lower = lower, .upper = index_rows::PrefixEnd(within)});
  if (!opened.ok()) return opened.status();
  KvIterator& it = **opened;
  index_rows::ParsedPairKey parsed;
  std::vector<index_rows::PostingSets> entries;
  it.Seek(lower);
  while (it.Valid()) {
    const std::string_view key = it.key();
    if (!index_rows::ParsePairKey(key, &parsed)) return index_rows::Damaged(key, "malformed key");
    if (walk.ends != nullptr && walk.ends(parsed.name, parsed.value)) return Status::Ok();
    bool skip_name = false;
    if (!parsed.folded()) {
      if (want(parsed.name, parsed.value)) {
        OrdinalSet ordinals;
        if (Status s = index_rows::ReadPostings(key, it.value(), {}, &ordinals); !s.ok()) return s;
        skip_name = !take(parsed.name, parsed.value, ordinals);
      }
    } else {
      entries.clear();
      if (Status s = index_rows::DecodePostings(key, it.value(), &entries); !s.ok()) return s;
      for (const index_rows::PostingSets& entry : entries) {
        std::string_view rest = entry.text;
        std::string_view pair;
        Label label;
        if (!NextPair(&rest, &pair, &label)) return index_rows::Damaged(key, "malformed text of a long label");
        // A name that stands in the row may share its rows with others: no skipping.
        if ((name == nullptr || label.name == *name) && want(label.name, label.value) &&
            !take(label.name, label.value, entry.added)) {
          skip_name = !parsed.name_folded;
        }
      }
    }
    if (skip_name) {
      SkipName(std::string(key.substr(0, parsed.name_end)), &it);
    } else {
      it.Next();
    }
  }
  return it.status();
}

}  // namespace chronolith
