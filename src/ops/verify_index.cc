// verify: rows of index.<k>: labels, hash rows and postings against each other.
//
// The family is read once, in order of keys. Of each series a sum modulo 2^64: the labels row adds the hashes of all that must
// refer to the series, hash rows and postings take away what does. Where a sum is not 0 the series is looked at by name.
#include <map>

#include "base/coding.h"
#include "base/hash.h"
#include "index/row_reader.h"
#include "index/symbols.h"
#include "ops/verify_pass.h"
#include "partition/partition_map.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

using index_rows::LongRow;

constexpr std::uint64_t kSliceBytes = 1 << 20;  // between looks at pace and cancel flag
constexpr std::uint64_t kSumsAtOnceMin = 1024;
constexpr std::size_t kNamedMax = 1000;  // series that are looked at by name
constexpr std::size_t kLongKeyBytes = 1 + sizeof(Ordinal);

// A hash of labels and one of a pair may be the same bytes' where a series has one label only.
std::uint64_t Term(std::uint64_t hash_of_labels) { return hash_of_labels * 0x9e3779b97f4a7c15ULL + 1; }

std::string SeriesText(Ordinal ordinal) { return "series " + std::to_string(ordinal); }

class IndexCheck {
 public:
  IndexCheck(ShardLook* look, const PartitionMap& map)
      : look_(look),
        map_(map),
        name_(FamilyName("index", look->shard)),
        family_(IndexFamily(look->shard)),
        rows_(look->store->data(), family_),
        next_(look->index.next_ordinal),
        progress_(look, look->store->data()->Stats().families[family_].file_bytes) {}

  Status Run() {
    const std::uint64_t at_once = std::max<std::uint64_t>(look_->sums_bytes_max / sizeof(std::uint64_t), kSumsAtOnceMin);
    for (std::uint64_t from = 0; from == 0 || from < next_; from += at_once) {
      first_ = from == 0;
      from_ = from;
      sums_.assign(static_cast<std::size_t>(std::min(at_once, next_ - std::min(from, next_))), 0);
      if (Status s = Scan(); !s.ok()) return s;
      if (!compare_) break;
      if (Status s = Compare(); !s.ok()) return s;
    }
    look_->series_known = labels_read_;
    look_->figures.series = look_->live.size();
    if (!compare_) {
      look_->problems.Note(name_ + ": labels, postings and hash rows were not compared with each other, since not all can be read");
    } else if (look_->doubtful.empty() && !found_ && look_->live.size() != look_->index.series) {
      Add(ProblemKind::kOrder, "s",
          "says that there are " + std::to_string(look_->index.series) + " series; there are " +
              std::to_string(look_->live.size()));
    }
    return Status::Ok();
  }

 private:
  void Add(ProblemKind kind, const std::string& where, std::string what) {
    found_ = true;
    look_->problems.Add(kind, name_ + "/" + where, std::move(what));
  }
  void BadRow(std::string_view key, const Status& why) {
    if (first_) Add(ProblemKind::kRow, index_rows::PrintableKey(key), why.message());
  }

  // ---- Reading ----

  Status Scan() {
    std::string from;
    while (true) {
      auto opened = look_->store->data()->NewIterator(family_, {.lower = from, .fill_cache = false});
      Status s = opened.status();
      std::string last = from;
      if (opened.ok()) {
        KvIterator& it = **opened;
        std::uint64_t bytes = 0;
        for (it.Seek(from); it.Valid(); it.Next()) {
          OnRow(it.key(), it.value());
          last.assign(it.key());
          bytes += it.key().size() + it.value().size();
          if (bytes < kSliceBytes) continue;
          if (Status t = progress_.Read(std::exchange(bytes, 0)); !t.ok()) return t;
        }
        if (Status t = progress_.Read(bytes); !t.ok()) return t;
        s = it.status();
      }
      EndLongRow();
      if (s.ok()) return s;
      // A cursor does not tell where it might go on: with the next kind of rows.
      compare_ = false;
      if (last.empty() || last[0] <= index_rows::kLabelsPrefix) labels_read_ = false;
      if (first_) {
        Add(ProblemKind::kRow, index_rows::PrintableKey(last), "rows behind this one cannot be read: " + s.message());
      }
      if (last.empty() || last[0] >= index_rows::kStatePrefix) return look_->flow->context().CheckCancelled();
      from.assign(1, static_cast<char>(last[0] + 1));
    }
  }

  void OnRow(std::string_view key, std::string_view value) {
    if (first_) {
      ++look_->figures.rows;
      look_->figures.row_bytes += key.size() + value.size();
    }
    switch (key.empty() ? '\0' : key[0]) {
      case index_rows::kStatePrefix:
        return;  // LookAtStates
      case index_rows::kLabelsPrefix:
      case index_rows::kMetadataPrefix:
        return OnLongRow(key, value);
      case index_rows::kHashPrefix:
        return OnHashes(key, value);
      case index_rows::kPostingsPrefix:
        return OnPostings(key, value);
      default:
        return BadRow(key, DataLoss("there are no such rows"));
    }
  }

  // Long rows come in parts, neighbours in the order of keys. Parts beyond those that the first names are left from longer ones.
  void OnLongRow(std::string_view key, std::string_view value) {
    if (key.size() == kLongKeyBytes) {
      EndLongRow();
      if (Status s = index_rows::DecodeLongRow(key, value, &long_row_); !s.ok()) {
        if (key[0] == index_rows::kLabelsPrefix) look_->doubtful.Add(OrdinalOf(key));
        return BadRow(key, s);
      }
      long_key_.assign(key);
      parts_read_ = 1;
      return;
    }
    const bool expected = !long_key_.empty() && key.starts_with(long_key_) && parts_read_ < long_row_.parts &&
                          key == index_rows::PartKey(key[0], OrdinalOf(long_key_), static_cast<std::uint16_t>(parts_read_));
    std::string_view payload;
    const Status s = expected ? index_rows::AppendPart(key, value, &long_row_) : index_rows::OpenValue(key, value, &payload);
    if (!s.ok()) return BadRow(key, s);
    if (expected) ++parts_read_;
  }

  static Ordinal OrdinalOf(std::string_view key) { return LoadBigEndian<Ordinal>(key.data() + 1); }

  void EndLongRow() {
    if (long_key_.empty()) return;
    const std::string key = std::exchange(long_key_, {});
    const Ordinal ordinal = OrdinalOf(key);
    const bool labels = key[0] == index_rows::kLabelsPrefix;
    Metadata metadata;
    Status s = index_rows::CheckComplete(key, long_row_);
    if (s.ok() && !labels && !index_rows::DecodeMetadata(long_row_.bytes, &metadata))
      s = index_rows::Damaged(key, "malformed metadata");
    if (!s.ok()) {
      if (labels) look_->doubtful.Add(ordinal);
      return BadRow(key, s);
    }
    if (ordinal >= next_) return UseOfLater(index_rows::PrintableKey(key), ordinal);
    if (labels) OnLabels(ordinal);
  }

  void OnLabels(Ordinal ordinal) {
    if (first_ && long_row_.removed && long_row_.removed_lsn > look_->index.applied_lsn) look_->doubtful.Add(ordinal);
    if (long_row_.removed) return;
    const std::uint64_t hash = StableHash(long_row_.bytes);
    if (first_) {
      look_->live.Add(ordinal);
      const std::string where = "l " + std::to_string(ordinal);
      if (hash != long_row_.hash) Add(ProblemKind::kLabels, where, "its labels are not those that its hash was made of");
      if (map_.ShardFor(hash) != look_->shard) {
        Add(ProblemKind::kLabels, where, "its labels belong to shard " + std::to_string(map_.ShardFor(hash)));
      }
    }
    std::uint64_t sum = Term(hash) + AllSeriesTerm();
    std::string_view rest = long_row_.bytes;
    std::string_view pair;
    Label label;
    while (!rest.empty()) {
      if (!NextPair(&rest, &pair, &label)) {
        if (first_) Add(ProblemKind::kLabels, "l " + std::to_string(ordinal), "its labels do not decode");
        look_->doubtful.Add(ordinal);
        return;
      }
      sum += StableHash(pair);
    }
    AddTo(ordinal, sum);
  }

  static std::uint64_t AllSeriesTerm() {
    static const std::uint64_t kTerm = [] {
      std::string encoded;
      Labels::AppendEncoded("", "", &encoded);
      return StableHash(encoded);
    }();
    return kTerm;
  }

  void AddTo(Ordinal ordinal, std::uint64_t term) {
    if (ordinal >= from_ && ordinal - from_ < sums_.size()) sums_[ordinal - from_] += term;
  }

  void OnHashes(std::string_view key, std::string_view value) {
    if (Status s = index_rows::DecodeHashValue(key, value, &hashes_); !s.ok() || key.size() != 1 + sizeof(std::uint64_t)) {
      compare_ = false;
      return BadRow(key, s.ok() ? DataLoss("malformed key") : s);
    }
    const std::uint64_t hash = LoadBigEndian<std::uint64_t>(key.data() + 1);
    if (first_ && hashes_.added.size() > 1) CheckTwins(hash);
    for (const Ordinal ordinal : hashes_.added) {
      if (ordinal >= next_) {
        UseOfLater("h " + std::to_string(hash), ordinal);
      } else {
        AddTo(ordinal, -Term(hash));
      }
    }
  }

  // Hashes may collide; labels may not be there twice.
  void CheckTwins(std::uint64_t hash) {
    std::vector<std::optional<LongRow>> rows;
    if (!rows_.ReadLong(index_rows::kLabelsPrefix, hashes_.added, &rows).ok()) return;  // told when they come
    std::map<std::string, Ordinal> seen;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!rows[i] || rows[i]->removed || hashes_.added[i] >= next_) continue;
      const auto [former, fresh] = seen.emplace(rows[i]->bytes, hashes_.added[i]);
      if (fresh) continue;
      Add(ProblemKind::kOrdinal, "h " + std::to_string(hash),
          "series " + std::to_string(former->second) + " and " + std::to_string(hashes_.added[i]) + " have the same labels");
    }
  }

  void OnPostings(std::string_view key, std::string_view value) {
    postings_.clear();
    Status s = index_rows::DecodePostings(key, value, &postings_);
    if (s.ok() && !index_rows::ParsePairKey(key, &parsed_)) s = DataLoss("malformed key");
    if (!s.ok()) {
      compare_ = false;
      return BadRow(key, s);
    }
    for (const index_rows::PostingSets& entry : postings_) {
      std::string_view pair = entry.text;
      if (!parsed_.folded()) {
        pair_.clear();
        Labels::AppendEncoded(parsed_.name, parsed_.value, &pair_);
        pair = pair_;
      }
      const std::uint64_t term = StableHash(pair);
      for (const Ordinal ordinal : entry.added.ToVector()) {
        if (ordinal >= next_) {
          UseOfLater(TextOf(pair), ordinal);
        } else {
          AddTo(ordinal, -term);
        }
      }
    }
  }

  static std::string TextOf(std::string_view pair) {
    std::string_view whole;
    Label label;
    return NextPair(&pair, &whole, &label) ? PairText(label.name, label.value) : "malformed";
  }

  // A row of a checkpoint that was cut short, if the log creates the series.
  void UseOfLater(const std::string& where, Ordinal ordinal) {
    if (!first_ || look_->LogUnknown() || look_->LogCreates(ordinal) || look_->LogUnknown() || unknown_.Contains(ordinal)) return;
    unknown_.Add(ordinal);
    Add(ProblemKind::kOrdinal, where,
        SeriesText(ordinal) + " was never given out: the index has those below " + std::to_string(next_) +
            ", and the log creates none such");
  }

  // ---- By name ----

  Status Compare() {
    OrdinalSet differing;
    std::uint64_t more = 0;
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      const auto ordinal = static_cast<Ordinal>(from_ + i);
      if (sums_[i] == 0 || look_->doubtful.Contains(ordinal)) continue;
      if (named_ < kNamedMax) {
        differing.Add(ordinal);
        ++named_;
      } else {
        ++more;
      }
    }
    if (more > 0)
      look_->problems.Note(name_ + ": " + std::to_string(more) + " more series differ between labels, hash rows and postings");
    if (differing.empty()) return Status::Ok();
    found_ = true;
    return NameDifferences(look_, differing);
  }

  ShardLook* const look_;
  const PartitionMap& map_;
  const std::string name_;
  const FamilyId family_;
  const RowReader rows_;
  const std::uint64_t next_;
  RowProgress progress_;
  bool first_ = true;    // of several readings, each for a range of series
  bool compare_ = true;  // all rows that are compared could be read
  bool labels_read_ = true;
  bool found_ = false;
  std::uint64_t from_ = 0;
  std::vector<std::uint64_t> sums_;
  std::uint64_t named_ = 0;
  OrdinalSet unknown_;
  std::string long_key_;  // of the long row that is being put together; "": none
  LongRow long_row_;
  std::uint64_t parts_read_ = 0;
  index_rows::HashSets hashes_;
  std::vector<index_rows::PostingSets> postings_;
  index_rows::ParsedPairKey parsed_;
  std::string pair_;
};

}  // namespace

Status LookAtIndex(ShardLook* look) {
  if (!look->index_readable) return Status::Ok();
  const Result<PartitionMap> map = PartitionMap::Decode(look->store->manifest().partition_map);
  if (!map.ok()) {
    look->problems.Add(ProblemKind::kInstance, std::string(kStoreFile),
                       "its partition map does not decode: " + map.status().message());
    return Status::Ok();
  }
  return IndexCheck(look, *map).Run();
}

}  // namespace chronolith::ops
