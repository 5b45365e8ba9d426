// Where the log of a shard ends, of an instance that is not opened.
#ifndef CHRONOLITH_STORAGE_LOG_END_H_
#define CHRONOLITH_STORAGE_LOG_END_H_

#include <string_view>
#include <vector>

#include "wal/sharded_wal.h"

namespace chronolith {

// Reads what is stored of a shard's log, then what is replayed behind that, row by row: so it is told what an open would find, and
// none of it is held. Thread safety: one thread. Memory: one row, and a few bytes a hole.
class LogEnd : private WalVisitor {
 public:
  explicit LogEnd(ShardId shard) : reader_(shard, ~Lsn{0}, this, &end_) {}
  LogEnd(const LogEnd&) = delete;
  LogEnd& operator=(const LogEnd&) = delete;

  // Not ok where it cannot be read; what is wrong in it is a hole.
  Status ReadStored(KvEngine* stored, FamilyId family);
  // A put that is replayed, after ReadStored, in the order of the log. Rows that are stored as well are passed over.
  void OnReplayed(std::string_view key, std::string_view value);

  // Of what is whole: in front of the first hole behind all that was trimmed.
  Lsn last() const;
  // kDataLoss: that hole.
  Status hole() const;

 private:
  struct Hole {
    Lsn front = 0;  // all is there up to here
    Lsn last = 0;   // trimmed up to here it is none
    Status why;
  };
  Status OnRecord(ShardId, Lsn, const WalRowHeader&, const RecordView&) override { return Status::Ok(); }
  Status OnLoss(ShardId, const WalLoss& loss) override;
  void Note(const WalLoss& loss);
  const Hole* First() const;

  WalEnd end_;
  WalRowReader reader_;
  std::vector<Hole> holes_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_LOG_END_H_
