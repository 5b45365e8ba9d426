#include "ops/key_list.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "format/row_keys.h"
#include "format/wal_record.h"
#include "ops/wal_scan.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kRowsPerLook = 4096;  // between looks at the cancel flag

struct Family {
  FamilyId id = 0;
  FamilyRole role = FamilyRole::kMeta;
  bool of_log = false;
  FamilyKeys keys;
};

std::string HexOf(std::uint64_t n) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(n));
  return text;
}

std::string_view NameOf(ChunkType type) {
  switch (type) {
    case ChunkType::kXor:
      return "float";
    case ChunkType::kHistogram:
      return "histogram";
    case ChunkType::kExemplar:
      return "exemplar";
  }
  return "";
}

// The kind of a row, and with `fields` what its key says. The state rows of all families have the key 's'.
RowKind ParseChunkRow(std::string_view key, std::string_view value, std::vector<KeyField>* fields) {
  ChunkMeta meta;
  if (DecodeChunkKey(key, &meta)) {
    if (fields != nullptr) {
      *fields = {{"window", KeyTime{meta.window}},
                 {"ordinal", std::uint64_t{meta.ordinal}},
                 {"lsn", std::uint64_t{meta.creation_lsn}},
                 {"sequence", std::uint64_t{meta.sequence}},
                 {"type", std::string(NameOf(meta.type))}};
    }
    return IsPackedChunkValue(value) ? RowKind::kPackedChunk : RowKind::kChunk;
  }
  Lsn lsn = 0;
  std::uint32_t part = 0;
  if (ParseTombstoneKey(key, &lsn, &part)) {
    if (fields != nullptr) *fields = {{"lsn", std::uint64_t{lsn}}, {"part", std::uint64_t{part}}};
    return RowKind::kTombstone;
  }
  return key == kChunkStateKey ? RowKind::kState : RowKind::kUnknown;
}

RowKind ParseIndexRow(std::string_view key, std::vector<KeyField>* fields) {
  Ordinal ordinal = 0;
  std::uint16_t part = 0;
  if (index_rows::ParseOrdinalKey(key, &ordinal, &part)) {
    if (fields != nullptr) *fields = {{"ordinal", std::uint64_t{ordinal}}, {"part", std::uint64_t{part}}};
    return key.front() == index_rows::kLabelsPrefix ? RowKind::kLabels : RowKind::kMetadata;
  }
  std::uint64_t hash = 0;
  if (index_rows::ParseHashKey(key, &hash)) {
    if (fields != nullptr) *fields = {{"hash", HexOf(hash)}};
    return RowKind::kHash;
  }
  index_rows::ParsedPairKey pair;
  if (index_rows::ParsePairKey(key, &pair)) {
    if (fields != nullptr) {
      *fields = {{pair.name_folded ? "name_begins" : "name", std::move(pair.name)},
                 {pair.value_folded ? "value_begins" : "value", std::move(pair.value)},
                 {"ordinal_high", std::uint64_t{pair.high}}};
    }
    return RowKind::kPostings;
  }
  return key == index_rows::StateKey() ? RowKind::kState : RowKind::kUnknown;
}

RowKind ParseLogRow(std::string_view key, std::vector<KeyField>* fields) {
  Lsn lsn = 0;
  if (ParseWalKey(key, &lsn)) {
    if (fields != nullptr) *fields = {{"lsn", std::uint64_t{lsn}}};
    return RowKind::kLogRow;
  }
  return key == kWalStateKey ? RowKind::kState : RowKind::kUnknown;
}

RowKind ParseRow(FamilyRole role, std::string_view key, std::string_view value, std::vector<KeyField>* fields) {
  RowKind kind = RowKind::kMeta;
  if (role == FamilyRole::kChunk) kind = ParseChunkRow(key, value, fields);
  if (role == FamilyRole::kIndex) kind = ParseIndexRow(key, fields);
  if (role == FamilyRole::kWal) kind = ParseLogRow(key, fields);
  const bool as_it_is = kind == RowKind::kMeta || kind == RowKind::kState || kind == RowKind::kUnknown;
  if (as_it_is && fields != nullptr) *fields = {{"key", index_rows::PrintableKey(key)}};
  return kind;
}

std::vector<Family> FamiliesOf(const OfflineStore& store) {
  std::vector<Family> all;
  const auto add = [&](const EngineOptions& instance, bool of_log) {
    for (FamilyId id = 0; id < instance.families.size(); ++id) {
      const FamilySpec& spec = instance.families[id];
      Family family{
          .id = id, .role = spec.role, .of_log = of_log, .keys = {.family = spec.name, .instance = of_log ? "log" : "data"}};
      if (id != kMetaFamily) family.keys.shard = of_log ? id - WalFamily(0) : (id - IndexFamily(0)) / 2;
      all.push_back(std::move(family));
    }
  };
  add(DataInstanceOptions(store.manifest()), false);
  add(LogInstanceOptions(store.manifest()), true);
  return all;
}

class KeyLister {
 public:
  KeyLister(const OfflineStore& store, const KeyListOptions& options, const OpsContext& context, KeyVisitor* visitor)
      : store_(store), options_(options), context_(context), visitor_(visitor), families_(FamiliesOf(store)) {}

  Result<std::vector<std::string>> Run() {
    if (Status s = Choose(); !s.ok()) return s;
    std::vector<std::string> problems;
    for (const Status& failure : {store_.log_failure(), store_.data_failure()}) {
      if (!failure.ok()) problems.push_back(failure.message());
    }
    context_.Begin("reading", Bytes(), "bytes");
    for (Family& family : families_) {
      FamilyKeys& keys = family.keys;
      if (Status s = visitor_->OnFamily(keys); !s.ok()) return s;
      const Status read = Read(&family);
      if (read.code() == StatusCode::kCancelled || !taken_.ok()) return read;
      if (!read.ok()) keys.problem = read.message();
      if (Status s = visitor_->OnFamilyEnd(keys); !s.ok()) return s;
      const bool told = Engine(family) == nullptr;  // with its instance
      if (!keys.problem.empty() && !told) problems.push_back("family " + keys.family + ": " + keys.problem);
      keys = {};
    }
    return problems;
  }

 private:
  Status Choose() {
    const std::vector<ShardId>& shards = options_.shards;
    if (Status s = LogSelection{.shards = shards}.Check(store_.shards()); !s.ok()) return s;
    const std::vector<std::string>& names = options_.families;
    for (const std::string& name : names) {
      if (std::none_of(families_.begin(), families_.end(), [&](const Family& f) { return f.keys.family == name; })) {
        const std::string last = std::to_string(store_.shards() - 1);
        return InvalidArgument("there is no family '" + name + "': the database has meta and, of shards 0 to " + last +
                               ", index.N, chunk.N and wal.N");
      }
    }
    std::erase_if(families_, [&](const Family& f) {
      const bool named = names.empty() || std::find(names.begin(), names.end(), f.keys.family) != names.end();
      const bool of_shard =
          shards.empty() || (f.keys.shard && std::find(shards.begin(), shards.end(), *f.keys.shard) != shards.end());
      return !named || !of_shard;
    });
    if (families_.empty()) return InvalidArgument("none of the families that --family names is of a shard that --shard names");
    return Status::Ok();
  }

  KvEngine* Engine(const Family& family) const { return family.of_log ? store_.log() : store_.data(); }

  std::uint64_t Bytes() const {
    EngineStats log, data;
    if (store_.log() != nullptr) log = store_.log()->Stats();
    if (store_.data() != nullptr) data = store_.data()->Stats();
    std::uint64_t bytes = 0;
    for (const Family& family : families_) {
      const std::vector<FamilyStats>& stats = (family.of_log ? log : data).families;
      if (family.id < stats.size()) bytes += stats[family.id].buffered_bytes + stats[family.id].file_bytes;
    }
    return bytes;
  }

  Status Read(Family* family) {
    KvEngine* const engine = Engine(*family);
    if (engine == nullptr) return family->of_log ? store_.log_failure() : store_.data_failure();
    FamilyKeys& keys = family->keys;
    if (family->of_log && keys.shard && store_.unfinished().Contains(*keys.shard)) keys.problem = kLogGivenUp;
    auto it = engine->NewIterator(family->id, {.lower = "", .upper = std::nullopt, .fill_cache = false});
    if (!it.ok()) return it.status();
    std::uint64_t rows = 0;
    std::uint64_t bytes = 0;
    for ((*it)->Seek(""); (*it)->Valid(); (*it)->Next()) {
      const std::string_view key = (*it)->key();
      const std::string_view value = (*it)->value();
      if (taken_ = Take(family->role, key, value, &keys); !taken_.ok()) return taken_;
      bytes += key.size() + value.size();
      if (++rows % kRowsPerLook != 0) continue;
      context_.Add(std::exchange(bytes, 0));
      if (Status s = context_.CheckCancelled(); !s.ok()) return s;
    }
    context_.Add(bytes);
    if (Status s = (*it)->status(); !s.ok()) return s;
    return context_.CheckCancelled();
  }

  Status Take(FamilyRole role, std::string_view key, std::string_view value, FamilyKeys* family) {
    const bool listed = options_.limit == 0 || family->listed < options_.limit;
    ListedKey row;
    row.kind = ParseRow(role, key, value, listed ? &row.fields : nullptr);
    row.value_bytes = value.size();
    RowUse& use = family->use[row.kind];
    if (row.kind == RowKind::kUnknown && use.rows == 0 && family->problem.empty()) {
      family->problem =
          "the key '" + index_rows::PrintableKey(key) + "' is of no kind that this build knows; `chronolith verify` says more";
    }
    ++use.rows;
    use.key_bytes += key.size();
    use.value_bytes += value.size();
    if (!listed) return Status::Ok();
    ++family->listed;
    return visitor_->OnKey(row);
  }

  const OfflineStore& store_;
  const KeyListOptions& options_;
  const OpsContext& context_;
  KeyVisitor* const visitor_;
  std::vector<Family> families_;
  Status taken_;  // what the visitor answered last
};

}  // namespace

std::string_view NameOf(RowKind kind) {
  switch (kind) {
    case RowKind::kChunk:
      return "chunk";
    case RowKind::kPackedChunk:
      return "packed chunk";
    case RowKind::kTombstone:
      return "tombstone";
    case RowKind::kLabels:
      return "labels";
    case RowKind::kHash:
      return "labels hash";
    case RowKind::kPostings:
      return "postings";
    case RowKind::kMetadata:
      return "metadata";
    case RowKind::kLogRow:
      return "log row";
    case RowKind::kState:
      return "state";
    case RowKind::kMeta:
      return "meta";
    case RowKind::kUnknown:
      return "unknown";
  }
  return "";
}

std::uint64_t FamilyKeys::rows() const {
  std::uint64_t sum = 0;
  for (const auto& [kind, one] : use) sum += one.rows;
  return sum;
}

Result<std::vector<std::string>> ListKeys(const OfflineStore& store, const KeyListOptions& options, const OpsContext& context,
                                          KeyVisitor* visitor) {
  return KeyLister(store, options, context, visitor).Run();
}

}  // namespace chronolith::ops
