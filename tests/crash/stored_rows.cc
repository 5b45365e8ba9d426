#include "tests/crash/stored_rows.h"

#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/coding.h"
#include "base/hash.h"
#include "block/tombstones.h"
#include "chronolith/engine_registry.h"
#include "chronolith/kv_engine.h"
#include "chronolith/labels.h"
#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "index/postings_merge.h"
#include "index/row_reader.h"

namespace chronolith::crash {
namespace {

class ShardRows {
 public:
  ShardRows(KvEngine* engine, int shard, FamilyId index, std::vector<std::string>* problems)
      : engine_(engine), name_("shard " + std::to_string(shard) + ": "), index_(index), rows_(engine, index), problems_(problems) {}

  void Check() {
    if (Status s = ReadLabels(); !s.ok()) return Problem(s.ToString());
    if (Status s = ReadHashes(); !s.ok()) return Problem(s.ToString());
    if (Status s = ReadPostings(); !s.ok()) return Problem(s.ToString());
    Compare("hash", wanted_hashes_, hashes_, [](std::uint64_t hash) { return std::to_string(hash); });
    Compare("postings", wanted_postings_, postings_, [](const auto& pair) { return pair.first + "=\"" + pair.second + "\""; });
    if (Status s = CheckState(); !s.ok()) return Problem(s.ToString());
    if (Status s = CheckMetadata(); !s.ok()) return Problem(s.ToString());
    if (Status s = CheckChunks(); !s.ok()) return Problem(s.ToString());
  }

 private:
  using Ordinals = std::set<Ordinal>;
  using Pair = std::pair<std::string, std::string>;

  void Problem(const std::string& text) { problems_->push_back(name_ + text); }

  // Both ways.
  template <typename Key, typename Print>
  void Compare(const char* kind, const std::map<Key, Ordinals>& wanted, const std::map<Key, Ordinals>& found, const Print& print) {
    const auto each = [&](const std::map<Key, Ordinals>& some, const std::map<Key, Ordinals>& others, const char* what) {
      for (const auto& [key, ordinals] : some) {
        const auto it = others.find(key);
        for (const Ordinal ordinal : ordinals) {
          if (it == others.end() || !it->second.contains(ordinal))
            Problem(std::string("the row of ") + kind + " " + print(key) + what + std::to_string(ordinal));
        }
      }
    };
    each(wanted, found, " lacks ordinal ");
    each(found, wanted, " holds, though no label row says so, ordinal ");
  }

  Status ReadLabels() {
    const auto take = [&](Ordinal ordinal, const index_rows::LongRow& row) {
      (row.removed ? removed_ : live_).insert(ordinal);
      if (row.hash != StableHash(row.bytes)) Problem("the label row of " + std::to_string(ordinal) + " has the hash of others");
      if (row.removed) return;
      wanted_hashes_[row.hash].insert(ordinal);
      wanted_postings_[{}].insert(ordinal);
      const Labels labels = Labels::FromEncoded(row.bytes);
      for (const Label& label : labels) wanted_postings_[Pair(label.name, label.value)].insert(ordinal);
    };
    return rows_.ScanLabels(0, 1ULL << 32, RowReader::Cache::kFill, take);
  }

  template <typename Take>
  Status Scan(FamilyId family, char prefix, const Take& take) {
    const std::string lower(1, prefix);
    Result<std::unique_ptr<KvIterator>> it = engine_->NewIterator(family, {.lower = lower, .upper = index_rows::PrefixEnd(lower)});
    if (!it.ok()) return it.status();
    for ((*it)->Seek(lower); (*it)->Valid(); (*it)->Next()) {
      if (Status s = take((*it)->key(), (*it)->value()); !s.ok()) return s;
    }
    return (*it)->status();
  }

  // Rows of sets that have become empty may stay until the engine drops them.
  Status ReadHashes() {
    return Scan(index_, index_rows::kHashPrefix, [&](std::string_view key, std::string_view value) {
      index_rows::HashSets sets;
      Status s = index_rows::DecodeHashValue(key, value, &sets);
      if (s.ok() && !sets.added.empty())
        hashes_[LoadBigEndian<std::uint64_t>(key.data() + 1)].insert(sets.added.begin(), sets.added.end());
      return s;
    });
  }
  Status ReadPostings() {
    return rows_.ScanPairs(
        {}, [](std::string_view, std::string_view) { return true; },
        [&](std::string_view name, std::string_view value, const OrdinalSet& ordinals) {
          const std::vector<Ordinal> all = ordinals.ToVector();
          if (!all.empty()) postings_[Pair(name, value)].insert(all.begin(), all.end());
          return true;
        });
  }

  Status CheckState() {
    const Result<std::optional<index_rows::State>> state = rows_.ReadState();
    if (!state.ok()) return state.status();
    if (!*state) return live_.empty() ? Status::Ok() : DataLoss("there is no state row of the index");
    if ((*state)->series != live_.size())
      Problem("the state row counts " + std::to_string((*state)->series) + " series, there are " + std::to_string(live_.size()));
    for (const Ordinals* some : {&live_, &removed_}) {
      if (!some->empty() && *some->rbegin() >= (*state)->next_ordinal) Problem("the state row would give out an ordinal again");
    }
    return Status::Ok();
  }

  Status CheckMetadata() {
    return Scan(index_, index_rows::kMetadataPrefix, [&](std::string_view key, std::string_view) {
      const auto ordinal = LoadBigEndian<Ordinal>(key.data() + 1);
      if (!live_.contains(ordinal) && !removed_.contains(ordinal))
        Problem("there is metadata and no label row of ordinal " + std::to_string(ordinal));
      return Status::Ok();
    });
  }

  Status CheckChunks() {
    const FamilyId family = index_ + 1;
    Tombstones tombstones;
    std::string value;
    Status s = engine_->Get(family, kChunkStateKey, &value);
    if (s.ok()) {
      ChunkState state;
      if (s = DecodeChunkState(kChunkStateKey, value, &state); !s.ok()) return s;
      tombstones.RaiseFloor(state.floor);
    } else if (s.code() != StatusCode::kNotFound) {
      return s;
    }
    std::map<Lsn, Tombstone> deletes;
    s = Scan(family, kTombstoneKeyTag, [&](std::string_view key, std::string_view row) {
      TombstonePart part;
      Status decoded = DecodeTombstone(key, row, &part);
      if (!decoded.ok()) return decoded;
      const auto [it, is_new] = deletes.try_emplace(part.tombstone.lsn, part.tombstone);
      if (!is_new) it->second.ordinals.UnionWith(part.tombstone.ordinals);
      return decoded;
    });
    if (!s.ok()) return s;
    for (auto& [lsn, tombstone] : deletes) tombstones.Add(std::move(tombstone));
    return Scan(family, kChunkKeyTag, [&](std::string_view key, std::string_view row) {
      ChunkMeta meta;
      std::string_view payload;
      std::string buffer;
      if (!DecodeChunkKey(key, &meta)) return BadChunkKey(key);
      Status decoded = DecodeChunkValue(key, row, &meta, &payload, &buffer);
      if (!decoded.ok() || live_.contains(meta.ordinal)) return decoded;
      const std::vector<TimeRange> hidden = tombstones.HiddenIn(meta);
      if (hidden.size() == 1 && hidden[0].Contains(meta.min_time) && hidden[0].Contains(meta.max_time)) return decoded;
      Problem("chunk " + index_rows::PrintableKey(key) + " is of ordinal " + std::to_string(meta.ordinal) +
              (removed_.contains(meta.ordinal) ? ", which is removed" : ", which has no label row"));
      return decoded;
    });
  }

  KvEngine* const engine_;
  const std::string name_;
  const FamilyId index_;
  const RowReader rows_;
  std::vector<std::string>* const problems_;
  Ordinals live_;
  Ordinals removed_;
  std::map<std::uint64_t, Ordinals> wanted_hashes_;
  std::map<std::uint64_t, Ordinals> hashes_;
  std::map<Pair, Ordinals> wanted_postings_;
  std::map<Pair, Ordinals> postings_;
};

}  // namespace

std::vector<std::string> CheckStoredRows(const std::string& path, int shards) {
  EngineOptions options;
  options.create_if_missing = false;
  options.read_only = true;
  options.families.push_back({"meta", FamilyRole::kMeta, nullptr, nullptr});
  const auto merge = std::make_shared<PostingsMergeFunction>();
  for (int i = 0; i < shards; ++i) {
    options.families.push_back({"index." + std::to_string(i), FamilyRole::kIndex, merge, nullptr});
    options.families.push_back({"chunk." + std::to_string(i), FamilyRole::kChunk, nullptr, nullptr});
  }
  const Result<std::shared_ptr<EngineFactory>> factory = EngineRegistry::Default()->Find("rocksdb");
  if (!factory.ok()) return {factory.status().ToString()};
  Result<std::unique_ptr<KvEngine>> engine = (*factory)->Open(path + "/data", options);
  if (!engine.ok()) return {"the data instance cannot be opened: " + engine.status().ToString()};
  std::vector<std::string> problems;
  for (int i = 0; i < shards; ++i) ShardRows(engine->get(), i, static_cast<FamilyId>(1 + 2 * i), &problems).Check();
  if (const Status status = (*engine)->Close(); !status.ok()) problems.push_back(status.ToString());
  return problems;
}

}  // namespace chronolith::crash
