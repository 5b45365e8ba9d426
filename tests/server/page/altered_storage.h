// A Storage that gives everything on to another, and whose figures a test may alter: states that take damage, or a long log, to
// reach.
#ifndef CHRONOLITH_TESTS_SERVER_PAGE_ALTERED_STORAGE_H_
#define CHRONOLITH_TESTS_SERVER_PAGE_ALTERED_STORAGE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "chronolith/storage.h"

namespace chronolith::server {

// Thread safety: safe.
class AlteredStorage : public Storage {
 public:
  explicit AlteredStorage(Storage* storage) : storage_(storage) {}

  // Applied to what Stats answers from now on, after earlier ones.
  void Alter(std::function<void(StorageStats*)> how) {
    MutexLock lock(&mu_);
    how_.push_back(std::move(how));
  }
  // What WaitReady answers from now on.
  void AnswerReady(Status status) {
    MutexLock lock(&mu_);
    ready_ = std::move(status);
  }
  void Restore() {
    MutexLock lock(&mu_);
    how_.clear();
    ready_.reset();
  }
  StorageStats Stats() const override {
    StorageStats stats = storage_->Stats();
    MutexLock lock(&mu_);
    for (const auto& how : how_) how(&stats);
    return stats;
  }

  WriteResult Write(std::span<const TimeSeries> series, const WriteOptions& o) override { return storage_->Write(series, o); }
  std::unique_ptr<Appender> NewAppender() override { return storage_->NewAppender(); }
  Status Wait(CommitToken token, AckLevel level, Deadline deadline) override { return storage_->Wait(token, level, deadline); }
  void OnReached(CommitToken token, AckLevel level, std::function<void(Status)> done) override {
    storage_->OnReached(token, level, std::move(done));
  }
  Result<Lsn> ReachedLsn(std::uint32_t shard, AckLevel level) const override { return storage_->ReachedLsn(shard, level); }
  WriteResult Delete(const std::vector<Matcher>& m, TimeRange range, const WriteOptions& o) override {
    return storage_->Delete(m, range, o);
  }
  Result<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& m, TimeRange range, const SelectOptions& o) override {
    return storage_->Select(m, range, o);
  }
  Result<Lookup<Labels>> Series(const std::vector<Matcher>& m, const LookupOptions& o) override { return storage_->Series(m, o); }
  Result<Lookup<std::string>> LabelNames(const std::vector<Matcher>& m, const LookupOptions& o) override {
    return storage_->LabelNames(m, o);
  }
  Result<Lookup<std::string>> LabelValues(const std::string& name, const std::vector<Matcher>& m, const LookupOptions& o) override {
    return storage_->LabelValues(name, m, o);
  }
  Result<std::vector<Exemplar>> Exemplars(const Labels& series, TimeRange range) override {
    return storage_->Exemplars(series, range);
  }
  Result<std::optional<Metadata>> SeriesMetadata(const Labels& series) override { return storage_->SeriesMetadata(series); }
  Result<std::vector<SeriesRef>> SeriesIds(const std::vector<Matcher>& m) override { return storage_->SeriesIds(m); }
  Status Flush() override { return storage_->Flush(); }
  Status Checkpoint() override { return storage_->Checkpoint(); }
  Result<CompactResult> Compact(const CompactOptions& o) override { return storage_->Compact(o); }
  Status Snapshot(const std::string& path) override { return storage_->Snapshot(path); }
  Result<ScrubReport> Scrub(const ScrubOptions& o) override { return storage_->Scrub(o); }
  Status Reopen() override { return storage_->Reopen(); }
  Status WaitReady(Deadline deadline) override {
    {
      MutexLock lock(&mu_);
      if (ready_) return *ready_;
    }
    return storage_->WaitReady(deadline);
  }
  Status Close() override { return storage_->Close(); }

 private:
  Storage* const storage_;
  mutable Mutex mu_;
  std::vector<std::function<void(StorageStats*)>> how_ ABSL_GUARDED_BY(mu_);
  std::optional<Status> ready_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_TESTS_SERVER_PAGE_ALTERED_STORAGE_H_
