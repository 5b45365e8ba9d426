// RowReader: reads the rows of one family index.<k> from the engine and checks them.
#ifndef CHRONOLITH_INDEX_ROW_READER_H_
#define CHRONOLITH_INDEX_ROW_READER_H_

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ordinal_set.h"
#include "chronolith/kv_engine.h"
#include "format/index_rows.h"

namespace chronolith {

// Thread safety: stateless beside the engine. Nothing here takes a lock of the index; call it without any.
class RowReader {
 public:
  RowReader(KvEngine* engine, FamilyId family) : engine_(engine), family_(family) {}

  // nullopt: the family has none yet.
  Result<std::optional<index_rows::State>> ReadState() const;

  // The long rows ('l' or 'm') of the ordinals; nullopt where there is none.
  Status ReadLong(char prefix, std::span<const Ordinal> ordinals, std::vector<std::optional<index_rows::LongRow>>* rows) const;

  // Labels rows of [from, to) in order; `take` gets each that is of one part, `in_parts`, where it is not null, the other ordinals.
  using TakeLong = std::function<void(Ordinal ordinal, const index_rows::LongRow& row)>;
  using TakeOrdinal = std::function<void(Ordinal ordinal)>;
  enum class Cache { kFill, kLeave };  // the engine's
  Status ScanLabels(std::uint64_t from, std::uint64_t to, Cache cache, const TakeLong& take,
                    const TakeOrdinal& in_parts = nullptr) const;

  // Ordinals listed for each hash. One MultiGet.
  Status ReadHashes(std::span<const std::uint64_t> hashes, std::vector<std::vector<Ordinal>>* ordinals) const;

  // Postings of each (name, value): (*sets)[i] is set to pairs[i]'s. `highs`: high halves run from 0 to below it. One MultiGet, or
  // a scan a pair where there are many high halves.
  struct Pair {
    std::string_view name;
    std::string_view value;
  };
  Status ReadPairs(std::span<const Pair> pairs, std::uint32_t highs, std::vector<OrdinalSet>* sets) const;

  // What a scan walks: the postings of `name` whose values begin with `prefix` and do not come before `from`, of which one is
  // empty; name null: of all names that do not come before `from`. Ends at a row for which `ends` says so: it gets the beginnings
  // of name and value, all of them but of very long ones, and those of the rows behind are not less.
  struct Walk {
    const std::string_view* name = nullptr;
    std::string_view prefix;
    std::string_view from;
    std::function<bool(std::string_view name, std::string_view value)> ends = nullptr;  // null: at its end
  };
  // `want` is asked before a row is decoded; `take` gets the ordinals of one row (a part of the postings where there are several
  // high halves) and returns whether to go on with this name.
  using Want = std::function<bool(std::string_view name, std::string_view value)>;
  using Take = std::function<bool(std::string_view name, std::string_view value, const OrdinalSet& ordinals)>;
  Status ScanPairs(const Walk& walk, const Want& want, const Take& take) const;

 private:
  Status ScanOne(const Pair& pair, OrdinalSet* set) const;
  Status ReadParts(char prefix, Ordinal ordinal, index_rows::LongRow* row) const;

  KvEngine* const engine_;
  const FamilyId family_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_ROW_READER_H_
