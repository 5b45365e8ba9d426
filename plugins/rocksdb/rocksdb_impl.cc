#include "plugins/rocksdb/rocksdb_impl.h"

#include <absl/container/inlined_vector.h>
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/transaction_log.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/checksum.h"
#include "base/coding.h"
#include "base/failpoint.h"
#include "plugins/common/engine_checks.h"
#include "plugins/rocksdb/log_check.h"
#include "plugins/rocksdb/status_conversion.h"

namespace chronolith {
namespace {

constexpr char kEpochVersion = 1;
constexpr std::uint64_t kEmptyMemtableBytes = 64 << 10;
constexpr std::uint64_t kResumeBytes = 1 << 20;  // beside the rows: blocks of indexes and filters, MANIFEST, a new log file

Status ReadError(const rocksdb::Status& s, const LinkedTables& linked, const std::string& family) {
  return linked.Naming(FromRocks(s)).WithContext("family '" + family + "'");
}

class RocksDbIterator : public KvIterator {
 public:
  // `linked` must outlive it.
  RocksDbIterator(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family, const IterateOptions& options, std::string name,
                  const LinkedTables* linked)
      : lower_(options.lower), upper_(options.upper.value_or("")), family_(std::move(name)), linked_(linked) {
    lower_slice_ = lower_;
    upper_slice_ = upper_;
    rocksdb::ReadOptions read;
    read.total_order_seek = true;
    read.fill_cache = options.fill_cache;
    if (!lower_.empty()) read.iterate_lower_bound = &lower_slice_;
    if (options.upper) read.iterate_upper_bound = &upper_slice_;
    empty_ = options.upper && upper_ <= lower_;  // RocksDB wants its bounds in order
    if (!empty_) it_.reset(db->NewIterator(read, family));
  }

  void Seek(std::string_view key) override {
    if (!empty_) it_->Seek(ToSlice(std::max<std::string_view>(key, lower_)));
  }
  void Next() override { it_->Next(); }
  bool Valid() const override { return !empty_ && it_->Valid(); }
  std::string_view key() const override { return ToView(it_->key()); }
  std::string_view value() const override { return ToView(it_->value()); }
  Status status() const override {
    return empty_ || it_->status().ok() ? Status::Ok() : ReadError(it_->status(), *linked_, family_);
  }

 private:
  const std::string lower_;
  const std::string upper_;
  const std::string family_;
  const LinkedTables* const linked_;
  rocksdb::Slice lower_slice_;  // the iterator keeps pointers to these two
  rocksdb::Slice upper_slice_;
  bool empty_ = false;
  std::unique_ptr<rocksdb::Iterator> it_;
};

// The batch takes copies of the bytes; an operation cannot fail but for lack of memory.
void AddOp(const Op& op, rocksdb::ColumnFamilyHandle* family, rocksdb::WriteBatch* to) {
  switch (op.type) {
    case Op::Type::kPut:
      (void)to->Put(family, ToSlice(op.key), ToSlice(op.value));
      break;
    case Op::Type::kDelete:
      (void)to->Delete(family, ToSlice(op.key));
      break;
    case Op::Type::kMerge:
      (void)to->Merge(family, ToSlice(op.key), ToSlice(op.value));
      break;
    case Op::Type::kDeleteRange:
      if (op.key < op.value) (void)to->DeleteRange(family, ToSlice(op.key), ToSlice(op.value));
      break;
  }
}

}  // namespace

std::string EpochKey(std::string_view family) { return std::string("epoch/").append(family); }

std::string EncodeEpoch(std::string_view family, Epoch epoch) {
  std::string value(1, kEpochVersion);
  PutFixed64(&value, epoch);
  PutFixed32(&value, Crc32c(value, Crc32c(EpochKey(family))));
  return value;
}

Result<Epoch> DecodeEpoch(std::string_view family, std::string_view value) {
  const std::string context = "epoch of family '" + std::string(family) + "'";
  if (!value.empty() && value[0] > kEpochVersion) {
    return FailedPrecondition(context + " has format version " + std::to_string(value[0]) + ", newer than this build");
  }
  if (value.size() != 13 || value[0] != kEpochVersion ||
      LoadFixed<std::uint32_t>(value.data() + 9) != Crc32c(value.substr(0, 9), Crc32c(EpochKey(family)))) {
    return DataLoss(context + " is damaged");
  }
  return LoadFixed<std::uint64_t>(value.data() + 1);
}

std::unique_ptr<rocksdb::WriteBatch> WriteBatchPool::Take(std::size_t reserve_bytes) {
  {
    MutexLock lock(&mu_);
    if (!free_.empty()) {
      auto batch = std::move(free_.back());
      free_.pop_back();
      return batch;
    }
  }
  return std::make_unique<rocksdb::WriteBatch>(reserve_bytes);
}

void WriteBatchPool::Return(std::unique_ptr<rocksdb::WriteBatch> batch) {
  if (batch->Data().capacity() > kBytesMax) return;
  batch->Clear();
  MutexLock lock(&mu_);
  if (free_.size() < kBatchesMax) free_.push_back(std::move(batch));
}

RocksDbEngine::RocksDbEngine(std::string path, EngineOptions options, OpenedInstance opened)
    : path_(std::move(path)),
      options_(std::move(options)),
      resources_(std::move(opened.resources)),
      events_(std::move(opened.events)),
      linked_(std::move(opened.linked)),
      db_(std::move(opened.db)),
      first_own_log_(options_.read_only ? std::numeric_limits<std::uint64_t>::max() : NewestLogNumber(path_)),
      default_family_(opened.default_family),
      families_(new Family[opened.families.size()]) {
  for (std::size_t i = 0; i < opened.families.size(); ++i) {
    families_[i].handle = opened.families[i];
    events_->SetHandle(db_.get(), options_.families[i].name, opened.families[i]);
  }
  for (BadTable& table : opened.bad_tables) bad_tables_[std::move(table.file)] = table.state;
  for (std::size_t i = 0; i < opened.damage.size(); ++i) families_[i].damage = std::move(opened.damage[i]);
}

RocksDbEngine::~RocksDbEngine() {
  if (!closed_) (void)Close();
}

Status RocksDbEngine::Close() {
  closed_ = true;
  rocksdb::CancelAllBackgroundWork(db_.get(), true);
  retired_.push_back(default_family_);
  for (std::size_t i = 0; i < options_.families.size(); ++i) retired_.push_back(families_[i].handle);
  Status result;
  for (rocksdb::ColumnFamilyHandle* handle : retired_) {
    if (rocksdb::Status s = db_->DestroyColumnFamilyHandle(handle); !s.ok() && result.ok()) result = FromRocks(s);
  }
  if (rocksdb::Status s = db_->Close(); !s.ok() && result.ok()) result = FromRocks(s);
  return result.WithContext("closing '" + path_ + "'");
}

Status RocksDbEngine::CheckExists(FamilyId family) const {
  if (family >= options_.families.size()) return InvalidArgument("there is no family number " + std::to_string(family));
  return Status::Ok();
}

Status RocksDbEngine::Damage(FamilyId family) const {
  if (Status s = CheckExists(family); !s.ok()) return s;
  return families_[family].damage;
}

Status RocksDbEngine::CheckFamily(FamilyId family, bool for_write) const {
  if (Status s = CheckExists(family); !s.ok()) return s;
  if (!families_[family].damage.ok()) [[unlikely]]
    return families_[family].damage;
  if (for_write && options_.read_only) return FailedPrecondition("'" + path_ + "' is open read-only");
  return Status::Ok();
}

Status RocksDbEngine::LoadEpochs() {
  for (std::size_t i = 0; i < options_.families.size(); ++i) {
    const std::string& name = options_.families[i].name;
    std::string value;
    const rocksdb::Status s = db_->Get(rocksdb::ReadOptions(), default_family_, EpochKey(name), &value);
    if (s.IsNotFound()) continue;
    if (!s.ok()) return FromRocks(s);
    Result<Epoch> epoch = DecodeEpoch(name, value);
    if (!epoch.ok()) return epoch.status();
    families_[i].epoch = *epoch;
  }
  return Status::Ok();
}

Status RocksDbEngine::AcquireEpoch(FamilyId family, Epoch epoch) {
  if (Status s = CheckFamily(family, true); !s.ok()) return s;
  const std::string& name = options_.families[family].name;
  MutexLock lock(&epochs_mu_);
  const Epoch current = families_[family].epoch;
  if (epoch <= current) {
    return Fenced("family '" + name + "' is at epoch " + std::to_string(current) + ", " + std::to_string(epoch) + " is not newer");
  }
  if (events_->log_failed()) return IoError("the log of '" + path_ + "' failed before: reopen it");
  rocksdb::WriteOptions write;
  write.sync = true;
  const rocksdb::Status s = db_->Put(write, default_family_, EpochKey(name), EncodeEpoch(name, epoch));
  if (!s.ok()) return FailedWrite(s, true);
  families_[family].epoch = epoch;
  epochs_unflushed_ = true;
  return Status::Ok();
}

Result<Epoch> RocksDbEngine::CurrentEpoch(FamilyId family) {
  if (Status s = CheckExists(family); !s.ok()) return s;
  return families_[family].epoch.load();
}

Status RocksDbEngine::CheckOne(const Batch& batch) const {
  if (Status s = CheckFamily(batch.family, true); !s.ok()) return s;
  const FamilySpec& family = options_.families[batch.family];
  if (Status s = CheckBatch(batch, family, Limits{}); !s.ok()) return s;
  return CheckEpoch(family.name, batch.epoch, families_[batch.family].epoch.load(std::memory_order_relaxed));
}

// A log write that failed may be on disk all the same, and RocksDB's later behaviour is undefined enough that only a reopen helps.
Status RocksDbEngine::FailedWrite(const rocksdb::Status& s, bool logged) {
  if (s.IsIncomplete()) return FromRocks(s);  // refused before anything was done
  // After a flush that met a full disk RocksDB refuses what it is to write before it touches the log, with the error of the flush.
  // Where it was the log that met it, the listener was told before this, and the error names the log file.
  const bool refused = s.IsNoSpace() && !events_->log_failed() && !NamesLogFile(s);
  // Else Resume came between the listener and the error that it was told of.
  if (refused && !events_->out_of_space()) events_->NoteFullDisk();
  if (!logged || refused) return FromRocks(s);
  events_->NoteLogFailed();
  return UnknownOutcome("writing the log of '" + path_ + "': " + Words(s));
}

// RocksDB's own budget only starts flushes; it lets writers run ahead of them without bound (and where told to hold them, it also
// counts memtables that are flushed already but still read by a cursor, so that a forgotten cursor stops the instance).
Status RocksDbEngine::MakeRoom(std::uint64_t bytes, bool no_stall) {
  // Each family owns a first arena block, also when it is empty.
  const std::uint64_t budget = std::max<std::uint64_t>(options_.write_buffer_bytes, options_.families.size() * kEmptyMemtableBytes);
  if (unchecked_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes < budget / 16) return Status::Ok();
  unchecked_bytes_.store(0, std::memory_order_relaxed);
  while (true) {
    std::uint64_t total = 0;
    std::uint64_t largest_bytes = 0;
    FamilyId largest = 0;
    for (FamilyId i = 0; i < options_.families.size(); ++i) {
      std::uint64_t unflushed = 0;
      db_->GetIntProperty(Handle(i), rocksdb::DB::Properties::kCurSizeAllMemTables, &unflushed);
      total += unflushed;
      if (unflushed > largest_bytes) largest = i;
      largest_bytes = std::max(largest_bytes, unflushed);
    }
    if (total <= budget + budget / 4) return Status::Ok();
    write_stalls_.Add();
    if (no_stall) {
      unchecked_bytes_.store(budget, std::memory_order_relaxed);  // the next write looks again
      rocksdb::FlushOptions flush;
      flush.wait = false;
      flush.allow_write_stall = true;
      (void)db_->Flush(flush, Handle(largest));
      return ResourceExhausted("'" + path_ + "' holds " + std::to_string(total) + " bytes of unflushed rows, the budget is " +
                               std::to_string(budget));
    }
    if (Status s = Flush(std::span<const FamilyId>(&largest, 1)); !s.ok()) return s;
  }
}

std::uint64_t RocksDbEngine::UnflushedBytes() const {
  const std::string past_all(Limits{}.key_bytes_max, '\xff');
  std::uint64_t total = 0;
  const auto add = [&](rocksdb::ColumnFamilyHandle* handle) {
    std::uint64_t rows = 0;
    std::uint64_t bytes = 0;
    db_->GetApproximateMemTableStats(handle, {rocksdb::Slice(), past_all}, &rows, &bytes);
    total += bytes;
  };
  add(default_family_);
  for (FamilyId i = 0; i < options_.families.size(); ++i) add(Handle(i));
  return total;
}

// RocksDB flushes all families before it takes writes again. What is too little for that it would fill and leave, again and again,
// and the log on the same disk would meet its end meanwhile: so it is not tried. Rows of the log are trimmed as a rule, and a flush
// leaves those out.
Status RocksDbEngine::ResumeWhereThereIsRoom() {
  if (!events_->out_of_space()) [[likely]]
    return Status::Ok();
  MutexLock lock(&resume_mu_);
  if (!events_->out_of_space() || events_->log_failed()) return Status::Ok();
  std::uint64_t free = 0;
  const std::uint64_t wanted = kResumeBytes + (options_.instance == InstanceRole::kData ? UnflushedBytes() : 0);
  if (db_->GetEnv()->GetFreeSpace(path_, &free).ok() && free < wanted) {
    return ResourceExhausted("the disk of '" + path_ + "' is full: " + std::to_string(free) + " bytes are left, " +
                             std::to_string(wanted) + " are needed to store what was taken");
  }
  const std::uint64_t full_disks = events_->full_disks();
  const rocksdb::Status s = db_->Resume();
  if (s.ok()) events_->NoteResumed(full_disks);  // where another was met meanwhile, the next caller tries again
  return FromRocks(s).WithContext("going on after a full disk");
}

Status RocksDbEngine::WriteGroup(std::span<const Batch> batches, const Outcomes& checked, const EngineWriteOptions& options,
                                 std::uint64_t bytes) {
  const rocksdb::WriteOptions write = MakeWriteOptions(options_.instance, options.durability, options.no_stall);
  if (!write.disableWAL && events_->log_failed()) {
    return IoError("the log of '" + path_ + "' failed before: reopen it");
  }
  if (events_->out_of_space()) [[unlikely]] {
    if (options.no_stall) return ResourceExhausted("'" + path_ + "' takes no writes since a flush met a full disk");
    if (Status s = ResumeWhereThereIsRoom(); !s.ok()) return s;
  }
  if (Status s = MakeRoom(bytes, options.no_stall); !s.ok()) return s;
  std::unique_ptr<rocksdb::WriteBatch> group = batches_.Take(bytes);
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (!checked[i].ok()) continue;
    Family& family = families_[batches[i].family];
    if (write.disableWAL && !family.unlogged.load(std::memory_order_relaxed)) family.unlogged = true;
    rocksdb::ColumnFamilyHandle* handle = family.handle.load(std::memory_order_relaxed);
    for (const Op& op : batches[i].ops) AddOp(op, handle, group.get());
  }
  Status result;
  if (group->Count() > 0) {
    if (rocksdb::Status s = db_->Write(write, group.get()); !s.ok()) result = FailedWrite(s, !write.disableWAL);
    // After the write: a sync that resets the mark in between then covers it.
    if (!write.disableWAL && !write.sync && !log_dirty_) log_dirty_ = true;
  }
  batches_.Return(std::move(group));
  return result;
}

Outcomes RocksDbEngine::Write(std::span<const Batch> batches, const EngineWriteOptions& options) {
  Outcomes outcomes(batches.size());
  if (Status s = CheckDeadline(options.deadline, "write"); !s.ok()) {
    std::fill(outcomes.begin(), outcomes.end(), s);
    return outcomes;
  }
  ReaderMutexLock lock(&epochs_mu_);
  std::uint64_t bytes = 0;
  bool any = false;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    outcomes[i] = CheckOne(batches[i]);
    if (!outcomes[i].ok()) continue;
    any = true;
    bytes += BatchBytes(batches[i]);
  }
  if (!any) return outcomes;
  if (const Status s = WriteGroup(batches, outcomes, options, bytes); !s.ok()) {
    for (Status& outcome : outcomes) {
      if (outcome.ok()) outcome = s;
    }
  }
  return outcomes;
}

void RocksDbEngine::WriteAsync(std::span<const Batch> batches, const EngineWriteOptions& options, WriteCallback done) {
  done(Write(batches, options));
}

rocksdb::ReadOptions RocksDbEngine::MakeReadOptions(Deadline deadline) const {
  rocksdb::ReadOptions read;
  if (deadline != kNoDeadline) {
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - std::chrono::steady_clock::now());
    read.deadline = std::chrono::microseconds(db_->GetEnv()->NowMicros()) + left;
  }
  return read;
}

Status RocksDbEngine::Get(FamilyId family, std::string_view key, std::string* value, ReadTier tier, Deadline deadline) {
  if (Status s = CheckDeadline(deadline, "get"); !s.ok()) return s;
  if (Status s = CheckFamily(family, false); !s.ok()) return s;
  rocksdb::ReadOptions read = MakeReadOptions(deadline);
  if (tier == ReadTier::kDurable && !options_.read_only) {
    // RocksDB's persisted tier knows whether a row was logged, not whether the log was synced, and it ignores the memtables of all
    // families once any family has taken an unlogged row. So the log is synced first, and families whose rows are all logged are
    // read in full. In a family that mixes both kinds, logged rows are seen when they are flushed.
    if (log_dirty_) {
      if (Status s = SyncLog(); !s.ok()) return s;
    }
    if (families_[family].unlogged) read.read_tier = rocksdb::kPersistedTier;
  }
  const rocksdb::Status s = db_->Get(read, Handle(family), ToSlice(key), value);
  if (s.ok()) return Status::Ok();
  if (s.IsNotFound()) return NotFound("no such key in family '" + options_.families[family].name + "'");
  return ReadError(s, linked_, options_.families[family].name);
}

void RocksDbEngine::MultiGet(FamilyId family, std::span<const std::string_view> keys, std::vector<std::string>* values,
                             std::vector<Status>* statuses, Deadline deadline) {
  values->resize(keys.size());
  statuses->assign(keys.size(), {});
  Status refused = CheckDeadline(deadline, "multi-get");
  if (refused.ok()) refused = CheckFamily(family, false);
  if (!refused.ok()) {
    std::fill(statuses->begin(), statuses->end(), refused);
    return;
  }
  absl::InlinedVector<rocksdb::Slice, 32> slices;
  for (const std::string_view key : keys) slices.push_back(ToSlice(key));
  std::vector<rocksdb::PinnableSlice> found(keys.size());
  std::vector<rocksdb::Status> results(keys.size());
  db_->MultiGet(MakeReadOptions(deadline), Handle(family), keys.size(), slices.data(), found.data(), results.data());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (results[i].ok()) {
      (*values)[i].assign(found[i].data(), found[i].size());
    } else {
      (*values)[i].clear();
      (*statuses)[i] = ReadError(results[i], linked_, options_.families[family].name);
    }
  }
}

Result<std::unique_ptr<KvIterator>> RocksDbEngine::NewIterator(FamilyId family, const IterateOptions& options) {
  if (Status s = CheckFamily(family, false); !s.ok()) return s;
  return std::unique_ptr<KvIterator>(
      std::make_unique<RocksDbIterator>(db_.get(), Handle(family), options, options_.families[family].name, &linked_));
}

// In RocksDB 7.8.3 a flush after DB::Resume does not wait any more: it returns OK while the rows are in memory only, and they may
// never leave it (ErrorHandler::is_db_stopped_, which the waiting looks at, is not taken back; in 7.8.3 db/error_handler.cc and
// DBImpl::WaitForFlushMemTables).
Status RocksDbEngine::FlushAndWait(rocksdb::ColumnFamilyHandle* handle, std::uint64_t sequence) {
  constexpr std::chrono::milliseconds kAskAgain{100};  // whether an error has stopped RocksDB: then it refuses the next flush
  rocksdb::FlushOptions flush;
  flush.wait = true;
  flush.allow_write_stall = true;  // waiting until no stall is near could wait for ever under load
  while (true) {
    if (rocksdb::Status s = db_->Flush(flush, handle); !s.ok()) {
      if (s.IsNoSpace() && !events_->out_of_space()) events_->NoteFullDisk();
      return FromRocks(s);
    }
    std::uint64_t seen = 0;
    do {
      seen = events_->flushes();
      std::uint64_t in_memory = 0;
      db_->GetIntProperty(handle, rocksdb::DB::Properties::kNumImmutableMemTable, &in_memory);
      if (in_memory == 0 || events_->FlushedSequence(handle->GetName()) >= sequence) return Status::Ok();
    } while (events_->AwaitFlush(seen, std::chrono::steady_clock::now() + kAskAgain));
  }
}

Status RocksDbEngine::Flush(std::span<const FamilyId> families) {
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  for (const FamilyId family : families) {
    if (Status s = CheckFamily(family, true); !s.ok()) return s;
    handles.push_back(Handle(family));
  }
  if (Status s = ResumeWhereThereIsRoom(); !s.ok()) return s;
  // Rows that lie unflushed in the family of the epochs, or in one that is hardly ever written, would pin the log for ever. After
  // an open there may be some.
  const bool with_epochs = epochs_unflushed_.exchange(false);
  if (with_epochs) {
    handles.push_back(default_family_);
    for (std::size_t i = 0; i < options_.families.size(); ++i) {
      const auto family = static_cast<FamilyId>(i);
      const bool listed = std::find(families.begin(), families.end(), family) != families.end();
      if (options_.families[i].role == FamilyRole::kMeta && !listed && families_[i].damage.ok()) handles.push_back(Handle(family));
    }
  }
  const std::uint64_t sequence = db_->GetLatestSequenceNumber();
  CHRONOLITH_FAILPOINT("flush.begin");
  for (rocksdb::ColumnFamilyHandle* const handle : handles) {
    if (Status s = FlushAndWait(handle, sequence); !s.ok()) {
      if (with_epochs) epochs_unflushed_ = true;
      return s.WithContext("flushing '" + path_ + "'");
    }
  }
  CHRONOLITH_FAILPOINT("flush.done");
  for (const FamilyId family : families) events_->NoteFlushed(options_.families[family].name, sequence);
  return Status::Ok();
}

Status RocksDbEngine::SyncLog() {
  if (options_.read_only) return FailedPrecondition("'" + path_ + "' is open read-only");
  if (events_->log_failed()) return IoError("the log of '" + path_ + "' failed before: reopen it");
  MutexLock lock(&sync_mu_);  // one that finds nothing to do must not return before the one that does it
  if (!log_dirty_.exchange(false)) return events_->log_failed() ? IoError("the log of '" + path_ + "' failed") : Status::Ok();
  const rocksdb::Status s = db_->FlushWAL(true);
  if (s.ok()) return Status::Ok();
  events_->NoteLogFailed();
  return FromRocks(s).WithContext("syncing the log of '" + path_ + "'");
}

Status RocksDbEngine::ExpireRange(FamilyId family, std::string_view begin, std::string_view end) {
  if (Status s = CheckFamily(family, true); !s.ok()) return s;
  if (end < begin) return InvalidArgument("reversed range in family '" + options_.families[family].name + "'");
  const rocksdb::Slice from = ToSlice(begin);
  const rocksdb::Slice to = ToSlice(end);
  return FromRocks(rocksdb::DeleteFilesInRange(db_.get(), Handle(family), &from, &to, false));
}

Status RocksDbEngine::Compact(FamilyId family, std::string_view begin, std::optional<std::string_view> end) {
  if (Status s = CheckFamily(family, true); !s.ok()) return s;
  if (Status s = ResumeWhereThereIsRoom(); !s.ok()) return s;
  rocksdb::CompactRangeOptions compact;
  compact.exclusive_manual_compaction = false;
  compact.allow_write_stall = true;
  // Also rows that lie at the last level already must meet the drop filter.
  compact.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  const rocksdb::Slice from = ToSlice(begin);
  const rocksdb::Slice to = end ? ToSlice(*end) : rocksdb::Slice();
  const rocksdb::Status s = db_->CompactRange(compact, Handle(family), begin.empty() ? nullptr : &from, end ? &to : nullptr);
  CHRONOLITH_FAILPOINT("compact.engine_done");
  return FromRocks(s).WithContext("compacting family '" + options_.families[family].name + "'");
}

Result<std::uint64_t> RocksDbEngine::EstimateBytes(FamilyId family, std::string_view begin, std::string_view end) {
  if (Status s = CheckFamily(family, false); !s.ok()) return s;
  if (end <= begin) return std::uint64_t{0};
  const rocksdb::Range range(ToSlice(begin), ToSlice(end));
  std::uint64_t bytes = 0;
  rocksdb::SizeApproximationOptions what;
  what.include_files = true;
  if (rocksdb::Status s = db_->GetApproximateSizes(what, Handle(family), &range, 1, &bytes); !s.ok()) return FromRocks(s);
  return bytes;
}

void RocksDbEngine::LogStats(EngineStats* stats) const {
  rocksdb::VectorLogPtr logs;
  if (!db_->GetSortedWalFiles(logs).ok()) return;
  for (const auto& log : logs) {
    stats->log_bytes += log->SizeFileBytes();
    ++stats->log_files;
  }
  if (options_.read_only) return;  // which rows were flushed is known to who writes
  for (FamilyStats& family : stats->families) {
    if (family.buffered_bytes == 0) continue;
    // The rows behind the flushed ones begin in the last log that starts at or before them.
    const std::uint64_t first_unflushed = events_->FlushedSequence(family.name) + 1;
    for (const auto& log : logs) {
      if (family.oldest_log_number == 0 || log->StartSequence() <= first_unflushed) family.oldest_log_number = log->LogNumber();
    }
  }
}

EngineStats RocksDbEngine::Stats() const {
  EngineStats stats;
  for (std::size_t i = 0; i < options_.families.size(); ++i) {
    rocksdb::ColumnFamilyHandle* handle = Handle(static_cast<FamilyId>(i));
    FamilyStats& family = stats.families.emplace_back();
    family.name = options_.families[i].name;
    // An empty memtable owns an arena block too: bytes without rows are not buffered rows.
    std::uint64_t active = 0;
    std::uint64_t sealed = 0;
    std::uint64_t readers = 0;
    db_->GetIntProperty(handle, rocksdb::DB::Properties::kNumEntriesActiveMemTable, &active);
    db_->GetIntProperty(handle, rocksdb::DB::Properties::kNumEntriesImmMemTables, &sealed);
    if (active + sealed > 0) {
      db_->GetIntProperty(handle, rocksdb::DB::Properties::kCurSizeAllMemTables, &family.buffered_bytes);
    }
    rocksdb::ColumnFamilyMetaData files;
    db_->GetColumnFamilyMetaData(handle, &files);
    family.file_bytes = files.size;
    family.file_count = files.file_count;
    db_->GetIntProperty(handle, rocksdb::DB::Properties::kEstimateTableReadersMem, &readers);
    family.damage = families_[i].damage.ok() ? events_->Damage(family.name) : families_[i].damage.message();
    stats.table_reader_bytes += readers;
  }
  LogStats(&stats);
  stats.block_cache_bytes = resources_.block_cache->GetUsage();
  stats.write_stalls = events_->stalls() + write_stalls_.Get();
  stats.background_errors = events_->background_errors();
  std::uint64_t stopped = 0;
  db_->GetIntProperty(rocksdb::DB::Properties::kIsWriteStopped, &stopped);
  stats.writes_stopped = stopped != 0;
  return stats;
}

}  // namespace chronolith
