#include "plugins/rocksdb/adapters.h"

#include <absl/container/inlined_vector.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <utility>

#include "plugins/rocksdb/status_conversion.h"

namespace chronolith {
namespace {

using Operands = absl::InlinedVector<std::string_view, 16>;

template <typename Slices>
Operands ToViews(const Slices& slices) {
  Operands views;
  views.reserve(slices.size());
  for (const rocksdb::Slice& slice : slices) views.push_back(ToView(slice));
  return views;
}

class MergeAdapter : public rocksdb::MergeOperator {
 public:
  explicit MergeAdapter(std::shared_ptr<const MergeFunction> merge) : merge_(std::move(merge)), name_(merge_->Name()) {}

  const char* Name() const override { return name_.c_str(); }

  bool FullMergeV2(const MergeOperationInput& in, MergeOperationOutput* out) const override {
    out->new_value.clear();  // cursors hand in the value of the row before
    const Operands operands = ToViews(in.operand_list);
    const std::string_view existing = in.existing_value == nullptr ? std::string_view() : ToView(*in.existing_value);
    return merge_->Merge(ToView(in.key), in.existing_value == nullptr ? nullptr : &existing, operands, &out->new_value);
  }

  // The contract makes a result without an existing value usable as an operand. Damaged operands are left for FullMergeV2 to
  // refuse: here `false` only means that they stay apart.
  bool PartialMergeMulti(const rocksdb::Slice& key, const std::deque<rocksdb::Slice>& operands, std::string* result,
                         rocksdb::Logger*) const override {
    std::string merged;
    if (!merge_->Merge(ToView(key), nullptr, ToViews(operands), &merged)) return false;
    *result = std::move(merged);
    return true;
  }

 private:
  const std::shared_ptr<const MergeFunction> merge_;
  const std::string name_;
};

class FilterAdapter : public rocksdb::CompactionFilter {
 public:
  explicit FilterAdapter(std::shared_ptr<const DropFilter> filter) : filter_(std::move(filter)) {}
  const char* Name() const override { return "chronolith.DropFilter"; }
  bool Filter(int, const rocksdb::Slice& key, const rocksdb::Slice& value, std::string*, bool*) const override {
    return filter_->ShouldDrop(ToView(key), ToView(value));
  }

 private:
  const std::shared_ptr<const DropFilter> filter_;
};

class FilterFactoryAdapter : public rocksdb::CompactionFilterFactory {
 public:
  explicit FilterFactoryAdapter(std::shared_ptr<const DropFilter> filter) : filter_(std::move(filter)), name_(filter_->Name()) {}
  const char* Name() const override { return name_.c_str(); }
  std::unique_ptr<rocksdb::CompactionFilter> CreateCompactionFilter(const rocksdb::CompactionFilter::Context&) override {
    return std::make_unique<FilterAdapter>(filter_);
  }

 private:
  const std::shared_ptr<const DropFilter> filter_;
  const std::string name_;
};

// Warnings of each checkpoint: one part of it finds that another has done so, which it counts.
bool IsHarmless(std::string_view text) {
  return text.find("File Deletions Disabled, but already disabled") != std::string_view::npos ||
         text.find("File Deletions Enable, but not really enabled") != std::string_view::npos;
}

class LoggerAdapter : public rocksdb::Logger {
 public:
  explicit LoggerAdapter(std::shared_ptr<chronolith::Logger> logger)
      : rocksdb::Logger(logger == nullptr ? rocksdb::FATAL_LEVEL : rocksdb::INFO_LEVEL), logger_(std::move(logger)) {}

  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override { Logv(rocksdb::INFO_LEVEL, format, arguments); }
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (logger_ == nullptr || level < GetInfoLogLevel()) return;
    char line[1024];
    const int n = std::vsnprintf(line, sizeof(line), format, arguments);
    if (n <= 0) return;
    std::string_view text(line, std::min<std::size_t>(static_cast<std::size_t>(n), sizeof(line) - 1));
    // Dumps of options come as one event of many lines; a logger receives them one by one.
    const LogLevel of_all = ToLevel(level, text);
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      if (end > 0) logger_->Log(of_all, std::string("rocksdb: ").append(text.substr(0, end)));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

 private:
  // RocksDB's "info" is a running commentary on every flush and compaction. Why an open or a write to its MANIFEST failed is what it
  // returns as well.
  static LogLevel ToLevel(rocksdb::InfoLogLevel level, std::string_view text) {
    for (const std::string_view returned : {"] DB::Open() failed: ", "] Error in committing version edit to MANIFEST"}) {
      if (text.find(returned) != std::string_view::npos) return LogLevel::kDebug;
    }
    if (IsHarmless(text)) return LogLevel::kDebug;
    if (level >= rocksdb::ERROR_LEVEL && level != rocksdb::HEADER_LEVEL) return LogLevel::kError;
    return level == rocksdb::WARN_LEVEL ? LogLevel::kWarning : LogLevel::kDebug;
  }

  const std::shared_ptr<chronolith::Logger> logger_;
};

void StopCompactions(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family) {
  (void)db->SetOptions(family, {{"disable_auto_compactions", "true"}});
}

}  // namespace

std::shared_ptr<rocksdb::MergeOperator> AdaptMerge(std::shared_ptr<const MergeFunction> merge) {
  return merge == nullptr ? nullptr : std::make_shared<MergeAdapter>(std::move(merge));
}

std::shared_ptr<rocksdb::CompactionFilterFactory> AdaptDropFilter(std::shared_ptr<const DropFilter> filter) {
  return filter == nullptr ? nullptr : std::make_shared<FilterFactoryAdapter>(std::move(filter));
}

std::shared_ptr<rocksdb::Logger> AdaptLogger(std::shared_ptr<Logger> logger) {
  return std::make_shared<LoggerAdapter>(std::move(logger));
}

void EventCounter::OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) {
  if (info.condition.cur != rocksdb::WriteStallCondition::kNormal && info.condition.cur != info.condition.prev) stalls_.Add();
}

void EventCounter::OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) {
  background_errors_.Add();
  // A flush syncs the logs that it closes, and reports it as its own error; only the name of the file tells.
  const bool of_log =
      reason == rocksdb::BackgroundErrorReason::kWriteCallback || reason == rocksdb::BackgroundErrorReason::kMemTable;
  if (of_log || NamesLogFile(*error)) NoteLogFailed();
  if (error->IsNoSpace() && reason != rocksdb::BackgroundErrorReason::kCompaction) NoteFullDisk();
  if (!contain_) return;
  if (reason == rocksdb::BackgroundErrorReason::kCompaction) {
    if (error->IsCorruption()) *error = rocksdb::Status::OK();
  } else if (error->severity() < rocksdb::Status::Severity::kHardError) {
    // With paranoid_checks=false, as a quarantine needs it, RocksDB would not stop for a failed flush but try it for ever.
    *error = rocksdb::Status(*error, rocksdb::Status::Severity::kHardError);
  }
}

// Of a full disk the engine recovers itself (RocksDbEngine::ResumeWhereThereIsRoom): RocksDB would look each five seconds, and wait
// until as much is free as its largest memtable may hold, however little it has to write. And of other errors a data instance does
// not recover; where RocksDB believes that it does, closing waits for ever. (It looks at the severity before OnBackgroundError
// raises it.)
void EventCounter::OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status error, bool* auto_recovery) {
  if (contain_ || error.IsNoSpace()) *auto_recovery = false;
}

// Called before OnBackgroundError, on the thread of the compaction, without RocksDB's locks.
void EventCounter::OnCompactionCompleted(rocksdb::DB* db, const rocksdb::CompactionJobInfo& info) {
  if (!contain_ || !info.status.IsCorruption()) return;
  rocksdb::ColumnFamilyHandle* handle = nullptr;
  {
    MutexLock lock(&mu_);
    if (!damage_.emplace(info.cf_name, info.status.ToString()).second) return;
    if (const auto it = handles_.find(info.cf_name); it != handles_.end()) handle = it->second;
  }
  if (handle != nullptr) StopCompactions(db, handle);
}

void EventCounter::SetHandle(rocksdb::DB* db, const std::string& family, rocksdb::ColumnFamilyHandle* handle) {
  bool damaged;
  {
    MutexLock lock(&mu_);
    handles_[family] = handle;
    damaged = damage_.contains(family);
  }
  if (damaged) StopCompactions(db, handle);  // the compaction was faster than the open
}

std::string EventCounter::Damage(const std::string& family) const {
  MutexLock lock(&mu_);
  const auto it = damage_.find(family);
  return it == damage_.end() ? "" : "a compaction met damage: " + it->second;
}

void EventCounter::OnFlushCompleted(rocksdb::DB*, const rocksdb::FlushJobInfo& info) {
  NoteFlushed(info.cf_name, info.largest_seqno);
  MutexLock lock(&mu_);
  ++flushes_;
  flushed_cv_.SignalAll();
}

std::uint64_t EventCounter::flushes() const {
  MutexLock lock(&mu_);
  return flushes_;
}

bool EventCounter::AwaitFlush(std::uint64_t seen, Deadline deadline) {
  MutexLock lock(&mu_);
  while (flushes_ == seen) {
    if (!flushed_cv_.WaitUntil(&mu_, deadline)) return false;
  }
  return true;
}

void EventCounter::NoteFlushed(const std::string& family, std::uint64_t sequence) {
  MutexLock lock(&mu_);
  std::uint64_t& known = flushed_[family];
  known = std::max(known, sequence);
}

std::uint64_t EventCounter::FlushedSequence(const std::string& family) const {
  MutexLock lock(&mu_);
  const auto it = flushed_.find(family);
  return it == flushed_.end() ? 0 : it->second;
}

}  // namespace chronolith
