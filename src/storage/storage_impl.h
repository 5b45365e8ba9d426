// StorageImpl: the public Storage over a Core, which Reopen replaces.
//
// life_mu_ is held shared by every operation and exclusively by Reopen and Close: so nothing runs on a Core that is going away. A
// SeriesSet takes it for each step that reads engines, and reports kUnavailable when the store was reopened under it.
#ifndef CHRONOLITH_STORAGE_STORAGE_IMPL_H_
#define CHRONOLITH_STORAGE_STORAGE_IMPL_H_

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fork_guard.h"
#include "base/mutex.h"
#include "chronolith/storage.h"
#include "query/select.h"
#include "storage/core.h"
#include "storage/writer.h"

namespace chronolith {

// What every call answers in a child process.
Status UsedAfterFork();
WriteResult RefusedAfterFork();

class StorageImpl : public Storage {
 public:
  StorageImpl(const Options& options, std::string path, std::shared_ptr<Core> core);
  ~StorageImpl() override;

  WriteResult Write(std::span<const TimeSeries> series, const WriteOptions& options) override;
  std::unique_ptr<Appender> NewAppender() override;
  Status Wait(CommitToken token, AckLevel level, Deadline deadline) override;
  void OnReached(CommitToken token, AckLevel level, std::function<void(Status)> done) override;
  Result<Lsn> ReachedLsn(std::uint32_t shard, AckLevel level) const override;
  WriteResult Delete(const std::vector<Matcher>& matchers, TimeRange range, const WriteOptions& options) override;

  Result<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& matchers, TimeRange range,
                                            const SelectOptions& options) override;
  Result<Lookup<Labels>> Series(const std::vector<Matcher>& matchers, const LookupOptions& options) override;
  Result<Lookup<std::string>> LabelNames(const std::vector<Matcher>& matchers, const LookupOptions& options) override;
  Result<Lookup<std::string>> LabelValues(const std::string& name, const std::vector<Matcher>& matchers,
                                          const LookupOptions& options) override;
  Result<std::vector<Exemplar>> Exemplars(const Labels& series, TimeRange range) override;
  Result<std::optional<Metadata>> SeriesMetadata(const Labels& series) override;
  Result<std::vector<SeriesRef>> SeriesIds(const std::vector<Matcher>& matchers) override;

  Status Flush() override;
  Status Checkpoint() override;
  Result<CompactResult> Compact(const CompactOptions& options) override;
  Status Snapshot(const std::string& path) override;
  Result<ScrubReport> Scrub(const ScrubOptions& options) override;
  Status Reopen() override;
  Status WaitReady(Deadline deadline) override;
  StorageStats Stats() const override;
  Status Close() override;

  // ---- For src/ops, which reads stores series by series, by their ids (by_id.cc) ----
  // What Storage::Open returns is one.
  static StorageImpl* Of(Storage* storage) { return static_cast<StorageImpl*>(storage); }
  // Storage::Open; kResourceExhausted where a store that is only read would hold more than so many bytes of its log.
  static Result<std::unique_ptr<Storage>> OpenWithin(const Options& options, const std::string& path, std::uint64_t held_bytes_max);
  // Writes, checkpoints and Close wait no longer for memory or for room on a disk once `*cancelled` is set: kCancelled, and what
  // was not logged is lost. It outlives the store. Until a Reopen.
  void HeedCancel(const std::atomic<bool>* cancelled);
  // SeriesIds of what options say, but for their limit.
  Result<Lookup<SeriesRef>> MatchingIds(const std::vector<Matcher>& matchers, const LookupOptions& options,
                                        const WorkBounds& bounds = {});
  // Of what is public, with bounds.
  Status WaitReady(Deadline deadline, const std::atomic<bool>* cancelled);
  Result<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& matchers, TimeRange range, const SelectOptions& options,
                                            const WorkBounds& bounds);
  // Of each, in order; empty where there is no such series. Waits for replay, or passes shards by that do not serve yet.
  Status LabelsOf(std::span<const SeriesRef> refs, std::vector<Labels>* labels, bool skip_replaying = false);
  // All series (query/select.h). Shards that are quarantined or still being replayed are left out.
  Result<bool> VisitLabels(Deadline deadline, const std::atomic<bool>* cancelled, const VisitSeries& visit);
  // Names of labels (`name` null) or values of the label `name`, of the series that match any of `selectors`: one by one, or as a
  // list (query/select.h).
  Result<ListEnd> VisitLabelStrings(const std::string* name, std::span<const std::vector<Matcher>> selectors,
                                    const LookupOptions& options, const VisitString& visit);
  Result<Lookup<std::string>> LabelStrings(const std::string* name, std::span<const std::vector<Matcher>> selectors,
                                           const LookupOptions& options, const WorkBounds& bounds);
  // Of all shards that serve.
  Result<HeadExtent> HeadExtents() const;
  // As Exemplars and SeriesMetadata, but the labels of stored series are not taken into memory to find them.
  Result<std::vector<Exemplar>> ExemplarsOf(SeriesRef ref, TimeRange range);
  Status MetadataOf(std::span<const SeriesRef> refs, std::vector<std::optional<Metadata>>* metadata);
  // Which of them may have exemplars in the range (query/select.h).
  Status MayHaveExemplars(std::span<const SeriesRef> refs, TimeRange range, const std::atomic<bool>* cancelled,
                          std::vector<bool>* may);
  // query/select.h says. The store must be neither closed nor reopened before the cursor has gone.
  Result<std::unique_ptr<SeriesWalk>> Walk(std::vector<KnownSeries> series, TimeRange range, const WorkBounds& bounds);
  // The retention floor, kMinTimestamp: there is none. Raise: logged and synced in all shards; to a lower one does nothing.
  Result<Timestamp> Floor();
  Status RaiseFloor(Timestamp floor);

 private:
  friend class AppenderImpl;
  friend class GuardedSeriesSet;

  struct Live {
    std::shared_ptr<Core> core;
    std::uint64_t generation = 0;
    std::uint64_t token_base = 0;  // tokens of earlier cores are at or below it
  };
  bool EndCallbacks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(reopen_mu_) ABSL_LOCKS_EXCLUDED(life_mu_);
  void Install(std::shared_ptr<Core> core) ABSL_EXCLUSIVE_LOCKS_REQUIRED(life_mu_);
  Core& core() const ABSL_SHARED_LOCKS_REQUIRED(life_mu_);
  // What a query reads: all shards, for which it waits, or those that serve already.
  Result<std::shared_ptr<QueryContext>> Readers(Deadline deadline, bool skip_replaying,
                                                const std::atomic<bool>* cancelled = nullptr) const
      ABSL_SHARED_LOCKS_REQUIRED(life_mu_);
  Status LogDelete(Shard* shard, const OrdinalSet& ordinals, TimeRange range, Deadline deadline)
      ABSL_SHARED_LOCKS_REQUIRED(life_mu_);
  Result<SeriesRef> FindSeries(const Labels& labels) ABSL_SHARED_LOCKS_REQUIRED(life_mu_);
  CommitToken ToPublic(CommitToken token) const ABSL_SHARED_LOCKS_REQUIRED(life_mu_);
  Status ToInternal(CommitToken* token) const ABSL_SHARED_LOCKS_REQUIRED(life_mu_);

  // Writers that single writes borrow, so that they do not allocate.
  std::unique_ptr<Writer> BorrowWriter();
  void ReturnWriter(std::unique_ptr<Writer> writer);

  const ForkGuard fork_;
  const Options options_;
  const std::string path_;
  Mutex reopen_mu_;  // one Reopen or Close at a time; before life_mu_
  mutable Mutex life_mu_;
  Live live_ ABSL_GUARDED_BY(life_mu_);
  bool closed_ ABSL_GUARDED_BY(life_mu_) = false;
  std::vector<Core::HandedOut> handed_out_ ABSL_GUARDED_BY(life_mu_);  // by the core that Reopen closed
  Status reopen_failure_ ABSL_GUARDED_BY(life_mu_);  // not ok: the core is closed, and Reopen could not open another
  struct alignas(kCacheLine) Slot {
    std::atomic<Writer*> writer{nullptr};
  };
  std::array<Slot, 16> writers_;
  DurationCell select_latency_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_STORAGE_IMPL_H_
