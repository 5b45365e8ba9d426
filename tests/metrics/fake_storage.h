// A Storage that answers Stats with what it was given, and nothing else.
#ifndef CHRONOLITH_TESTS_METRICS_FAKE_STORAGE_H_
#define CHRONOLITH_TESTS_METRICS_FAKE_STORAGE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chronolith/storage.h"

namespace chronolith {

class FakeStorage : public Storage {
 public:
  explicit FakeStorage(StorageStats stats) : stats_(std::move(stats)) {}

  StorageStats Stats() const override { return stats_; }

  WriteResult Write(std::span<const TimeSeries>, const WriteOptions&) override { return {.status = No()}; }
  std::unique_ptr<Appender> NewAppender() override { return nullptr; }
  Status Wait(CommitToken, AckLevel, Deadline) override { return No(); }
  void OnReached(CommitToken, AckLevel, std::function<void(Status)> done) override { done(No()); }
  Result<Lsn> ReachedLsn(std::uint32_t, AckLevel) const override { return No(); }
  WriteResult Delete(const std::vector<Matcher>&, TimeRange, const WriteOptions&) override { return {.status = No()}; }
  Result<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>&, TimeRange, const SelectOptions&) override { return No(); }
  Result<Lookup<Labels>> Series(const std::vector<Matcher>&, const LookupOptions&) override { return No(); }
  Result<Lookup<std::string>> LabelNames(const std::vector<Matcher>&, const LookupOptions&) override { return No(); }
  Result<Lookup<std::string>> LabelValues(const std::string&, const std::vector<Matcher>&, const LookupOptions&) override {
    return No();
  }
  Result<std::vector<Exemplar>> Exemplars(const Labels&, TimeRange) override { return No(); }
  Result<std::optional<Metadata>> SeriesMetadata(const Labels&) override { return No(); }
  Result<std::vector<SeriesRef>> SeriesIds(const std::vector<Matcher>&) override { return No(); }
  Status Flush() override { return No(); }
  Status Checkpoint() override { return No(); }
  Result<CompactResult> Compact(const CompactOptions&) override { return No(); }
  Status Snapshot(const std::string&) override { return No(); }
  Result<ScrubReport> Scrub(const ScrubOptions&) override { return No(); }
  Status Reopen() override { return No(); }
  Status WaitReady(Deadline) override { return No(); }
  Status Close() override { return No(); }

 private:
  static Status No() { return Unimplemented("this store has only statistics"); }

  StorageStats stats_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_METRICS_FAKE_STORAGE_H_
