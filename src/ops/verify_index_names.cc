// verify: which rows of index.<k> are wrong about series of which it is known that some are.
#include <map>

#include "base/coding.h"
#include "base/hash.h"
#include "index/row_reader.h"
#include "index/symbols.h"
#include "ops/verify_pass.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

using index_rows::LongRow;

std::string SeriesText(Ordinal ordinal) { return "series " + std::to_string(ordinal); }

class Naming {
 public:
  explicit Naming(ShardLook* look)
      : look_(look),
        name_(FamilyName("index", look->shard)),
        family_(IndexFamily(look->shard)),
        rows_(look->store->data(), family_) {}

  Status Run(const OrdinalSet& differing) {
    std::map<Ordinal, Labels> labels;
    for (const Ordinal ordinal : differing.ToVector()) {
      std::vector<std::optional<LongRow>> rows;
      if (Status s = rows_.ReadLong(index_rows::kLabelsPrefix, {&ordinal, 1}, &rows); !s.ok() || !rows[0] || rows[0]->removed)
        continue;
      NameMissing(ordinal, labels[ordinal] = Labels::FromEncoded(std::move(rows[0]->bytes)));
      if (Status s = look_->flow->context().CheckCancelled(); !s.ok()) return s;
    }
    return NameExtra(differing, labels);
  }

 private:
  void Add(ProblemKind kind, const std::string& where, std::string what) {
    look_->problems.Add(kind, name_ + "/" + where, std::move(what));
  }

  void NameMissing(Ordinal ordinal, const Labels& labels) {
    const std::string who = SeriesText(ordinal) + ", " + labels.ToString();
    const std::uint64_t hash = StableHash(labels.encoded());
    std::vector<std::vector<Ordinal>> listed;
    if (rows_.ReadHashes({&hash, 1}, &listed).ok() && std::find(listed[0].begin(), listed[0].end(), ordinal) == listed[0].end()) {
      Add(ProblemKind::kHash, "h " + std::to_string(hash), "does not list " + who + ": writes to it would make a second series");
    }
    if (!Lists("", "", ordinal)) Add(ProblemKind::kPosting, PairText("", ""), "does not list " + who);
    for (const Label& label : labels) {
      if (!Lists(label.name, label.value, ordinal)) {
        Add(ProblemKind::kPosting, PairText(label.name, label.value), "does not list " + who + ": queries by this label miss it");
      }
    }
  }

  bool Lists(std::string_view name, std::string_view value, Ordinal ordinal) {
    index_rows::PairKey key = index_rows::MakePairKey(name, value);
    index_rows::AppendHigh(static_cast<std::uint16_t>(ordinal >> 16), &key.bytes);
    std::string row;
    OrdinalSet set;
    return look_->store->data()->Get(family_, key.bytes, &row).ok() &&
           index_rows::ReadPostings(key.bytes, row, key.text, &set).ok() && set.Contains(ordinal);
  }

  // Who refers to one of them without a right to: read once more.
  Status NameExtra(const OrdinalSet& differing, const std::map<Ordinal, Labels>& labels) {
    const auto who = [&](Ordinal ordinal) {
      const auto found = labels.find(ordinal);
      return SeriesText(ordinal) + (found == labels.end() ? ", which has no labels" : ", which is " + found->second.ToString());
    };
    for (const char prefix : {index_rows::kHashPrefix, index_rows::kPostingsPrefix}) {
      const std::string lower(1, prefix);
      auto it =
          look_->store->data()->NewIterator(family_, {.lower = lower, .upper = index_rows::PrefixEnd(lower), .fill_cache = false});
      if (!it.ok()) return Status::Ok();
      std::uint64_t rows = 0;
      for ((*it)->Seek(lower); (*it)->Valid(); (*it)->Next()) {
        if (++rows % 4096 == 0) {
          if (Status s = look_->flow->context().CheckCancelled(); !s.ok()) return s;
        }
        if (prefix == index_rows::kHashPrefix) {
          ExtraHashes((*it)->key(), (*it)->value(), differing, labels, who);
        } else {
          ExtraPostings((*it)->key(), (*it)->value(), differing, labels, who);
        }
      }
    }
    return Status::Ok();
  }

  template <typename Who>
  void ExtraHashes(std::string_view key, std::string_view value, const OrdinalSet& differing,
                   const std::map<Ordinal, Labels>& labels, const Who& who) {
    if (!index_rows::DecodeHashValue(key, value, &hashes_).ok()) return;
    const std::uint64_t hash = LoadBigEndian<std::uint64_t>(key.data() + 1);
    for (const Ordinal ordinal : hashes_.added) {
      if (!differing.Contains(ordinal)) continue;
      const auto found = labels.find(ordinal);
      if (found != labels.end() && StableHash(found->second.encoded()) == hash) continue;
      Add(ProblemKind::kHash, "h " + std::to_string(hash), "leads to " + who(ordinal));
    }
  }

  template <typename Who>
  void ExtraPostings(std::string_view key, std::string_view value, const OrdinalSet& differing,
                     const std::map<Ordinal, Labels>& labels, const Who& who) {
    postings_.clear();
    if (!index_rows::DecodePostings(key, value, &postings_).ok() || !index_rows::ParsePairKey(key, &parsed_)) return;
    for (index_rows::PostingSets& entry : postings_) {
      if (entry.added.IntersectionSize(differing) == 0) continue;
      Label label{parsed_.name, parsed_.value};
      std::string_view text = entry.text;
      std::string_view pair;
      if (parsed_.folded() && !NextPair(&text, &pair, &label)) continue;
      entry.added.IntersectWith(differing);
      for (const Ordinal ordinal : entry.added.ToVector()) {
        const auto found = labels.find(ordinal);
        const bool all = label.name.empty() && label.value.empty();
        if (found != labels.end() && (all || found->second.Get(label.name) == label.value)) continue;
        Add(ProblemKind::kPosting, PairText(label.name, label.value), "lists " + who(ordinal));
      }
    }
  }

  ShardLook* const look_;
  const std::string name_;
  const FamilyId family_;
  const RowReader rows_;
  index_rows::HashSets hashes_;
  std::vector<index_rows::PostingSets> postings_;
  index_rows::ParsedPairKey parsed_;
};

}  // namespace

std::string PairText(std::string_view name, std::string_view value) {
  return name.empty() && value.empty() ? "all series" : Matcher::Equal(std::string(name), std::string(value)).ToString();
}

Status NameDifferences(ShardLook* look, const OrdinalSet& differing) { return Naming(look).Run(differing); }

}  // namespace chronolith::ops
