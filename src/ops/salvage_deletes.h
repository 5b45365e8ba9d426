// The deletes of a shard: their rows, as far as they can be read, and which are lost. Internal to salvage.
#ifndef CHRONOLITH_OPS_SALVAGE_DELETES_H_
#define CHRONOLITH_OPS_SALVAGE_DELETES_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "block/tombstones.h"
#include "ops/salvage_parts.h"
#include "ops/salvage_tell.h"

namespace chronolith::ops {

// A delete's row is written when a checkpoint stores it, and its record leaves the log after that: what rows do not say the log
// may. So: Read, then the log's deletes are added, then Settle. Thread safety: one thread.
class SalvageDeletes {
 public:
  // Adds those that are whole.
  void Read(KvEngine* chunks, FamilyId family, Tombstones* tombstones);
  // Rows of a table that is gone.
  void AddLostTable(const LostTable& table);
  // Adds what is there of those that are not whole, and tells those that the log does not have either. The log has all behind
  // `trimmed_to`; none: it is lost.
  void Settle(std::optional<Lsn> trimmed_to, ShardId shard, Tombstones* tombstones, LossTeller* teller, LossList* losses) const;

 private:
  struct Broken {
    std::map<std::uint32_t, OrdinalSet> parts;  // those that decode
    std::optional<TimeRange> range;
    std::uint64_t count = 0;  // of parts; 0: not known
    std::string why;
  };
  struct Span {  // inclusive; deletes that may have been there
    Lsn first = 1;
    std::optional<Lsn> last;
    std::string why;
  };
  void Take(std::string_view key, std::string_view value);
  void TellBroken(Lsn lsn, const Broken& broken, ShardId shard, LossTeller* teller) const;

  std::map<Lsn, Broken> broken_;  // while reading: all
  std::vector<Span> spans_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SALVAGE_DELETES_H_
