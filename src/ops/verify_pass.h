// One look at one shard: what its parts share. Internal to verify.
#ifndef CHRONOLITH_OPS_VERIFY_PASS_H_
#define CHRONOLITH_OPS_VERIFY_PASS_H_

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/ordinal_set.h"
#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "ops/file_copy.h"
#include "ops/verify.h"
#include "ops/verify_ahead.h"
#include "wal/sharded_wal.h"

namespace chronolith::ops {

// Problems of one shard, the first kProblemsListedMax by name. Thread safety: one thread.
class ProblemList {
 public:
  explicit ProblemList(std::optional<ShardId> shard = std::nullopt) : shard_(shard) {}
  void Add(ProblemKind kind, std::string where, std::string what) {
    if (++total_ <= kProblemsListedMax) listed_.push_back({kind, shard_, std::move(where), std::move(what)});
  }
  void Note(std::string note) { notes_.push_back(std::move(note)); }
  // Adds those of another list of the same shard.
  void Append(const ProblemList& more) {
    const std::size_t room = kProblemsListedMax - std::min(listed_.size(), kProblemsListedMax);
    listed_.insert(listed_.end(), more.listed_.begin(), more.listed_.begin() + std::min(room, more.listed_.size()));
    total_ += more.total_;
    notes_.insert(notes_.end(), more.notes_.begin(), more.notes_.end());
  }
  // Leaves those that `again` has too.
  void KeepCommon(const ProblemList& again) {
    std::erase_if(listed_, [&](const VerifyProblem& p) {
      return std::find(again.listed_.begin(), again.listed_.end(), p) == again.listed_.end();
    });
    total_ = total_ <= kProblemsListedMax ? listed_.size() : std::min(total_, again.total_);
  }
  std::uint64_t total() const { return total_; }
  const std::vector<VerifyProblem>& listed() const { return listed_; }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::optional<ShardId> shard_;
  std::uint64_t total_ = 0;
  std::vector<VerifyProblem> listed_;
  std::vector<std::string> notes_;
};

// The bytes that all threads read, kept to the pace. Thread safety: safe; who is ahead of its time keeps the others waiting too.
class VerifyFlow {
 public:
  VerifyFlow(const OpsContext& context, std::uint64_t bytes_per_second)
      : context_(context), silent_(context), pace_(silent_, bytes_per_second) {
    silent_.progress = nullptr;
  }
  // kCancelled.
  Status Read(std::uint64_t bytes) {
    MutexLock lock(&mu_);
    return pace_.Pass(bytes);
  }
  const OpsContext& context() const { return context_; }
  const OpsContext& silent() const { return silent_; }  // the same without progress

 private:
  const OpsContext& context_;
  OpsContext silent_;
  Mutex mu_;
  Pace pace_ ABSL_GUARDED_BY(mu_);
};

// What the files of a shard are: how looking at them ended, and what it found.
struct FilesFound {
  Status status;
  ProblemList problems;
};
using ShardFiles = FilesAhead<FilesFound>;

// What the log of a shard says beyond what is stored.
struct LogFacts {
  bool known = false;  // it could be read, and lacks nothing
  Lsn last = 0;
  std::uint64_t next_ordinal = 0;  // above all that its records create
  Timestamp floor = kMinTimestamp;
};

// Of one look at one shard. The parts fill it in this order: states, log, index, chunks. Thread safety: one thread.
struct ShardLook {
  const OfflineStore* store = nullptr;
  ShardId shard = 0;
  bool decode = true;
  std::uint64_t sums_bytes_max = 32ULL << 20;  // for sums of hashes
  VerifyFlow* flow = nullptr;
  ShardFiles* files = nullptr;  // who reads them beside this look; may be null
  // Opens the log as it is now; null where there is none. What is stored may be newer than the log of `store`, which was opened
  // first.
  std::function<Result<std::unique_ptr<OfflineStore>>()> open_log;

  ProblemList problems;
  ShardVerification figures;

  bool index_readable = false;  // the state row; the families are there
  bool chunks_readable = false;
  index_rows::State index;
  ChunkState chunks;
  LogFacts log;
  bool log_read_again = false;
  // Of the index, below its next_ordinal:
  bool series_known = false;  // all labels rows could be read
  OrdinalSet live;            // series with labels
  OrdinalSet doubtful;        // in between: their removal is in the log, or their row is damaged and has been told

  // Whether the log goes so far, or creates the series; where it does not, it is looked at as it is now.
  bool LogReaches(Lsn lsn);
  bool LogCreates(Ordinal ordinal);
  // True where the log cannot tell: it is not there or lacks records.
  bool LogUnknown() const { return !log.known; }
  void ReadLogAgain();
};

// Rows as read count as their files' bytes, which are fewer or more: never beyond these, and in the end all of them.
class RowProgress {
 public:
  RowProgress(ShardLook* look, std::uint64_t file_bytes) : look_(look), left_(file_bytes) {}
  ~RowProgress() { Show(left_); }
  Status Read(std::uint64_t bytes) {
    Show(std::min(bytes, left_));
    return look_->flow->Read(bytes);
  }

 private:
  void Show(std::uint64_t bytes) {
    left_ -= bytes;
    look_->flow->context().Add(bytes);
    if (look_->files != nullptr) look_->files->Follow(bytes);
  }

  ShardLook* const look_;
  std::uint64_t left_;
};

std::string FamilyName(const char* kind, ShardId shard);  // "chunk.3"

// name="value"; "all series" for the pair of empty ones.
std::string PairText(std::string_view name, std::string_view value);
// Of the index: rows that disagree about these series, by name.
Status NameDifferences(ShardLook* look, const OrdinalSet& differing);

// Each adds what it finds to `look`. Not ok: kCancelled only.
Status LookAtStates(ShardLook* look);
Status LookAtLog(ShardLook* look);
Status LookAtIndex(ShardLook* look);
Status LookAtChunks(ShardLook* look);

// The files of one family, or those that the families of an instance share. `engine` is what a reader has open; where files vanish
// under it, `reopen` gives another.
using ReopenEngine = std::function<Result<KvEngine*>()>;
using OnFileBytes = std::function<void(std::uint64_t)>;  // so many were read
Status LookAtFiles(KvEngine* engine, FamilyId family, const std::string& instance, const ReopenEngine& reopen, VerifyFlow* flow,
                   ProblemList* problems, const OnFileBytes& on_bytes);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_VERIFY_PASS_H_
