// Tells damage of an instance's log from a torn tail, before the instance is opened for writing.
//
// A crash may leave the end of a log torn: what had not been synced is cut short, or was never written. Nothing of it was
// acknowledged as synced, and kill -9 alone never takes a logged byte. Bytes that went bad later look the same to the engine, but
// not to us, since rows say of each other what must be there. A damage is refused where something vouches for what it took:
//
//   a row behind it, of the same opening, names a later group than the last in front of it as synced; where the log begins with the
//     damage, what was in front of it may have been trimmed, so then a group that is intact behind it
//   a row behind it, of the same opening, is intact and the damaged bytes were written: a crash leaves bytes out, it does not alter
//     them
//   the epoch record of a later opening names records as the end of the log that are not there
//   the data instance holds records (applied_lsn) past the end of what is left
//   the engine knows that the file had been synced (a table of the log instance is newer)
//
// Anything else is a torn tail: the log is cut off before it. What cannot be told: damage in the last write of an opening that
// ended in a crash, and with it bytes behind it that are damaged too, unless the data instance or a later opening vouches for it.
#ifndef CHRONOLITH_STORAGE_LOG_JUDGE_H_
#define CHRONOLITH_STORAGE_LOG_JUDGE_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronolith/kv_engine.h"
#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "format/series_id.h"
#include "format/wal_record.h"
#include "storage/log_end.h"

namespace chronolith {

// What the judge needs to know of a shard.
struct JudgedShard {
  ShardId id = 0;
  FamilyId wal_family = 0;    // of the log instance
  FamilyId index_family = 0;  // of the data instance
  FamilyId chunk_family = 0;
};

// What the state rows of a shard's two families say; nothing where they were never written, or cannot be read: then they vouch for
// nothing, and the shard is quarantined later.
struct StoredState {
  index_rows::State index;
  ChunkState chunks;
  bool damaged = false;
  Lsn least() const { return std::min(index.applied_lsn, chunks.applied_lsn); }
  Lsn most() const { return std::max(index.applied_lsn, chunks.applied_lsn); }
};
Result<StoredState> ReadStoredState(KvEngine* data, const JudgedShard& shard);

// For the log instance. Thread safety: one thread. Memory: one row, and a few bytes a shard and a damage.
class WalJudge : public LogJudge {
 public:
  // Called where damage is given up, before anything is changed, with the shards that have nothing behind it. Its error refuses.
  using GiveUp = std::function<Status(const std::vector<ShardId>& ends_unknown)>;

  // `data`: the data instance, open; outlives this. `give_up` empty: what is damaged is refused.
  WalJudge(KvEngine* data, const std::vector<JudgedShard>& shards, GiveUp give_up, std::string remedy);

  Status Begin(KvEngine* stored) override;
  void OnReplayed(FamilyId family, std::string_view key, std::string_view value) override;
  void OnRow(FamilyId family, std::string_view key, std::string_view value) override;
  void OnDamage(const LogDamage& damage) override;
  Result<std::optional<std::size_t>> Decide() override;
  bool GivesUpDamage() const override { return !given_up_.ok(); }

  // After Decide: why the log would have been refused, had it not been given up.
  const Status& given_up() const { return given_up_; }
  bool refused() const { return refused_; }
  // After Decide: what a cut takes, for the log of the host.
  std::string CutAway() const;

 private:
  struct ShardLog {
    JudgedShard shard;
    Lsn applied_least = 0;  // the data instance holds all up to here
    Lsn applied_most = 0;   // and something of up to here
    std::unique_ptr<LogEnd> replayed;
    Lsn end = 0;         // of what can be read in front of the damage
    Lsn at = 0;          // last LSN seen, `end` at first
    bool behind = true;  // a row of it is behind the last damage
  };
  struct Found {
    LogDamage damage;
    bool first = false;              // no row is in front, and there were some: trimmed or flushed, with their log files
    std::uint64_t group_before = 0;  // last one in front, of the same opening; 0: none
    std::uint64_t group_behind = 0;  // first one behind, of the same opening; 0: none
    std::uint64_t synced = 0;        // largest that a row behind, of the same opening, names as synced
    bool later_opening = false;      // something of one is behind
  };
  struct Missing {
    ShardId shard;
    Lsn first;
    Lsn last;
    bool vouched;  // by an epoch record or by the data instance
  };

  ShardLog* Find(FamilyId family);
  void EndReplay();
  Result<std::optional<std::size_t>> Judge();
  static bool Vouched(const Found& found);
  void Miss(const ShardLog& log, Lsn first, Lsn last, bool vouched);
  Status Refusal(const std::string& place) const;

  KvEngine* const data_;
  const GiveUp give_up_;
  const std::string remedy_;
  Status given_up_;
  bool refused_ = false;
  std::vector<ShardLog> shards_;
  std::vector<Found> found_;
  std::vector<Missing> missing_;
  Status hole_;  // in what can be read, of each shard that has one
  bool replay_ended_ = false;
  std::uint64_t last_group_ = 0;
  std::string scratch_;
};

// For the data instance, whose log holds epochs and the store's identity, each synced when it was written. An epoch lost from its
// end does no harm, since the log instance has it too, acquired before; a lost identity is noticed by its absence. So a tail with
// nothing behind it is cut, and damage in the middle is refused.
class SyncedLogJudge : public LogJudge {
 public:
  // `affected`: what the log holds of the shards; `remedy`: what to do. Both end the refusal.
  SyncedLogJudge(bool give_up, std::string affected, std::string remedy)
      : give_up_(give_up), affected_(std::move(affected)), remedy_(std::move(remedy)) {}
  Status Begin(KvEngine*) override { return Status::Ok(); }
  void OnRow(FamilyId, std::string_view, std::string_view) override {}
  void OnDamage(const LogDamage& damage) override { found_.push_back(damage); }
  Result<std::optional<std::size_t>> Decide() override;
  bool GivesUpDamage() const override { return !given_up_.ok(); }
  const Status& given_up() const { return given_up_; }
  bool refused() const { return refused_; }

 private:
  const bool give_up_;
  const std::string affected_;
  const std::string remedy_;
  Status given_up_;
  bool refused_ = false;
  std::vector<LogDamage> found_;
};

// The damaged places of an instance's log, for messages, found without changing it. Empty where there are none, or where the engine
// cannot be asked: a process has the instance open for writing. kDataLoss, kIoError: it cannot be read so far as to tell; a place
// that is known is in the message.
Result<std::vector<std::string>> DamagedPlaces(EngineFactory* factory, const std::string& path, EngineOptions options);
// `why` an instance cannot be opened read-only, with these places where they are the reason: the engine may not tell. Sets `found`
// (may be null) where there are any.
Status NamingDamage(Status why, EngineFactory* factory, const std::string& path, const EngineOptions& options,
                    bool* found = nullptr);

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_LOG_JUDGE_H_
