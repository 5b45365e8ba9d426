#include "storage/storage_impl.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/failpoint.h"
#include "base/hash.h"
#include "index/compiled_matcher.h"
#include "storage/appender_impl.h"

namespace chronolith {
namespace {

// Write counts items through all series; a caller wants (series, item).
void LocateRefusals(std::span<const TimeSeries> series, std::vector<Refusal>* refused) {
  for (Refusal& r : *refused) {
    if (r.what == Refusal::What::kSeries) continue;
    std::size_t left = r.series;
    for (std::size_t i = 0; i < series.size(); ++i) {
      const std::size_t sizes[] = {series[i].samples.size(), series[i].histograms.size(), series[i].exemplars.size(),
                                   series[i].metadata.size()};
      const std::size_t n = sizes[static_cast<std::size_t>(r.what) - 1];
      if (left < n) {
        r.series = i;
        r.item = left;
        break;
      }
      left -= n;
    }
  }
}

std::vector<Refusal> RefuseEach(std::span<const TimeSeries> series, const Status& reason) {
  std::vector<Refusal> refused;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const auto each = [&](std::size_t n, Refusal::What what) {
      for (std::size_t item = 0; item < n; ++item) refused.push_back({i, what, item, reason});
    };
    each(series[i].samples.size(), Refusal::What::kSample);
    each(series[i].histograms.size(), Refusal::What::kHistogram);
    each(series[i].exemplars.size(), Refusal::What::kExemplar);
    each(series[i].metadata.size(), Refusal::What::kMetadata);
  }
  return refused;
}

// The store is there now: opening it again must neither refuse that nor create another where it went away.
Options ForReopening(Options options) {
  options.error_if_exists = false;
  options.create_if_missing = false;
  return options;
}

}  // namespace

Status UsedAfterFork() {
  return FailedPrecondition("the store was opened before fork() and belongs to the parent process: open it after the fork");
}

WriteResult RefusedAfterFork() {
  WriteResult result;
  result.status = UsedAfterFork();
  return result;
}

Storage::~Storage() = default;
Appender::~Appender() = default;

Result<std::unique_ptr<Storage>> Storage::Open(const Options& options, const std::string& path) {
  return StorageImpl::OpenWithin(options, path, std::numeric_limits<std::uint64_t>::max());
}

Result<std::unique_ptr<Storage>> StorageImpl::OpenWithin(const Options& options, const std::string& path,
                                                         std::uint64_t held_bytes_max) {
  Result<std::unique_ptr<Core>> core = Core::Open(options, path, nullptr, held_bytes_max);
  if (!core.ok()) return core.status();
  return std::unique_ptr<Storage>(new StorageImpl(options, path, std::move(*core)));
}

StorageImpl::StorageImpl(const Options& options, std::string path, std::shared_ptr<Core> core)
    : options_(ForReopening(core->options())), path_(std::move(path)) {
  (void)options;
  MutexLock lock(&life_mu_);
  Install(std::move(core));
}

StorageImpl::~StorageImpl() {
  if (fork_.InChild()) {  // its threads and locks are the parent's: leave everything alone
    new Live(std::move(live_));
    return;
  }
  (void)Close();
  for (Slot& slot : writers_) delete slot.writer.load();
}

void StorageImpl::Install(std::shared_ptr<Core> core) {
  live_.core = std::move(core);
  ++live_.generation;
}

Core& StorageImpl::core() const {
  if (closed_) std::abort();  // the programmer used a closed store
  return *live_.core;
}

Result<std::shared_ptr<QueryContext>> StorageImpl::Readers(Deadline deadline, bool skip_replaying,
                                                           const std::atomic<bool>* cancelled) const {
  const Core& c = core();
  if (!reopen_failure_.ok()) return reopen_failure_;
  if (!skip_replaying) {
    if (Status status = c.AwaitAll(deadline, cancelled); !status.ok()) return status;
  }
  auto query = std::make_shared<QueryContext>();
  query->shards.reserve(c.size());
  std::string damaged;
  for (std::size_t i = 0; i < c.size(); ++i) {
    const Shard& shard = c.shard(i);
    if (!shard.serving.load(std::memory_order_acquire)) {
      query->partial = true;
    } else if (!shard.quarantine.ok()) {
      damaged.append(damaged.empty() ? "" : "; ").append(shard.quarantine.message());
    } else {
      query->shards.push_back({shard.id, shard.index.get(), shard.head.get(), shard.chunks.get()});
    }
  }
  if (!damaged.empty()) query->quarantine = DataLoss(std::move(damaged));
  query->duplicate_policy = options_.duplicate_policy;
  query->max_samples_per_chunk = options_.max_samples_per_chunk;
  query->pin = live_.core;
  return query;
}

// ---- Tokens ----

CommitToken StorageImpl::ToPublic(CommitToken token) const { return {token.generation + live_.token_base}; }

Status StorageImpl::ToInternal(CommitToken* token) const {
  if (token->generation <= live_.token_base && token->generation != 0) {
    return Unavailable("the store was reopened after this write; whether it survived can only be read");
  }
  token->generation -= std::min(token->generation, live_.token_base);
  return Status::Ok();
}

Status StorageImpl::Wait(CommitToken token, AckLevel level, Deadline deadline) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (token.generation == 0) return Status::Ok();
  if (Status status = ToInternal(&token); !status.ok()) return status;
  return core().wal().Wait(token, level, deadline);
}

void StorageImpl::OnReached(CommitToken token, AckLevel level, std::function<void(Status)> done) {
  if (fork_.InChild()) return done(UsedAfterFork());
  std::optional<Status> decided;
  {
    ReaderMutexLock lock(&life_mu_);
    if (const Status status = ToInternal(&token); !status.ok()) {
      decided = status;
    } else {
      decided = core().wal().OnReached(token, level, &done);
    }
  }
  if (decided) done(*decided);  // without the lock: it may call this store
}

Result<Lsn> StorageImpl::ReachedLsn(std::uint32_t shard, AckLevel level) const {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (shard >= core().size()) {
    return InvalidArgument("shard " + std::to_string(shard) + " does not exist, the store has " + std::to_string(core().size()));
  }
  if (Status status = core().Await(core().shard(shard), std::chrono::steady_clock::now()); !status.ok()) return status;
  const WALShard& wal = core().wal().shard(shard);
  return level == AckLevel::kQueued ? wal.last_lsn() : level == AckLevel::kLogged ? wal.logged_lsn() : wal.synced_lsn();
}

// ---- Writing ----

std::unique_ptr<Writer> StorageImpl::BorrowWriter() {
  const auto start = static_cast<std::size_t>(std::hash<std::thread::id>()(std::this_thread::get_id()) >> 4);
  for (std::size_t i = 0; i < writers_.size(); ++i) {
    std::atomic<Writer*>& slot = writers_[(start + i) % writers_.size()].writer;
    if (slot.load(std::memory_order_relaxed) == nullptr) continue;
    if (Writer* writer = slot.exchange(nullptr, std::memory_order_acquire)) return std::unique_ptr<Writer>(writer);
  }
  return std::make_unique<Writer>();
}

void StorageImpl::ReturnWriter(std::unique_ptr<Writer> writer) {
  const auto start = static_cast<std::size_t>(std::hash<std::thread::id>()(std::this_thread::get_id()) >> 4);
  for (std::size_t i = 0; i < writers_.size(); ++i) {
    std::atomic<Writer*>& slot = writers_[(start + i) % writers_.size()].writer;
    if (slot.load(std::memory_order_relaxed) != nullptr) continue;
    Writer* none = nullptr;
    if (slot.compare_exchange_strong(none, writer.get(), std::memory_order_release)) {
      (void)writer.release();
      return;
    }
  }
}

WriteResult StorageImpl::Write(std::span<const TimeSeries> series, const WriteOptions& options) {
  if (fork_.InChild()) return RefusedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  Core& c = core();
  WriteResult result;
  if (c.options().read_only) {
    result.status = FailedPrecondition("the store is open read-only");
    return result;
  }
  if (c.wal().failed()) {
    result.status = c.wal().failure();
    return result;
  }
  // Memory first: a writer that is refused for want of it must not have grown the index.
  const Status admitted = c.Admit(options.deadline);
  if (!admitted.ok()) {
    result.status = admitted;
    result.refused = RefuseEach(series, admitted);
    result.token = ToPublic(c.wal().Ticket());
    return result;
  }
  std::unique_ptr<Writer> writer = BorrowWriter();
  std::vector<Refusal> refused;
  writer->ResolveSeries(&c, series, options.deadline, &refused);
  std::uint32_t sample = 0;
  std::uint32_t histogram = 0;
  std::uint32_t exemplar = 0;
  std::uint32_t metadata = 0;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const SeriesRef ref = writer->resolved(i);
    if (ref.id == 0) {  // refused as a whole
      sample += static_cast<std::uint32_t>(series[i].samples.size());
      histogram += static_cast<std::uint32_t>(series[i].histograms.size());
      exemplar += static_cast<std::uint32_t>(series[i].exemplars.size());
      metadata += static_cast<std::uint32_t>(series[i].metadata.size());
      continue;
    }
    for (const Sample& s : series[i].samples) writer->AddSample(ref, s.timestamp, s.value, sample++);
    for (const HistogramSample& h : series[i].histograms) writer->AddItem(ref, h, histogram++);
    for (const Exemplar& e : series[i].exemplars) writer->AddItem(ref, e, exemplar++);
    for (const Metadata& m : series[i].metadata) writer->AddItem(ref, m, metadata++);
  }
  result = writer->Commit(&c, options, admitted);
  LocateRefusals(series, &result.refused);
  if (!refused.empty()) {
    if (result.status.ok()) result.status = refused.front().reason;
    result.refused.insert(result.refused.begin(), refused.begin(), refused.end());
  }
  result.token = ToPublic(result.token);
  ReturnWriter(std::move(writer));
  return result;
}

std::unique_ptr<Appender> StorageImpl::NewAppender() { return std::make_unique<AppenderImpl>(this); }

Status StorageImpl::LogDelete(Shard* shard, const OrdinalSet& ordinals, TimeRange range, Deadline deadline) {
  const std::vector<Ordinal> all = ordinals.ToVector();
  for (std::span<const Ordinal> left = all; !left.empty();) {
    const std::span<const Ordinal> some = left.first(OrdinalsThatFit(left));
    left = left.subspan(some.size());
    Tombstone tombstone;
    tombstone.range = range;
    tombstone.ordinals.AddMany(some);
    std::string record;
    AppendDeleteRecord(range, EncodeOrdinals(tombstone.ordinals), &record);
    Core& c = core();
    if (Status status = c.wal().Reserve(shard->id, record.size(), deadline); !status.ok()) return status;
    MeasuredLock lock(&shard->head->mu());
    CHRONOLITH_FAILPOINT("delete.publish");
    tombstone.lsn = shard->wal->Append(record, 1);
    CHRONOLITH_FAILPOINT("delete.published");
    shard->head->Cut(tombstone.ordinals, range);
    shard->chunks->tombstones().Add(std::move(tombstone));
    CHRONOLITH_FAILPOINT("delete.applied");
  }
  return Status::Ok();
}

WriteResult StorageImpl::Delete(const std::vector<Matcher>& matchers, TimeRange range, const WriteOptions& options) {
  if (fork_.InChild()) return RefusedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  Core& c = core();
  WriteResult result;
  const auto refuse = [&](Status status) {
    result.status = std::move(status);
    return result;
  };
  if (c.options().read_only) return refuse(FailedPrecondition("the store is open read-only"));
  if (c.wal().failed()) return refuse(c.wal().failure());
  if (range.start > range.end)
    return refuse(
        InvalidArgument("the range is reversed: start " + std::to_string(range.start) + " > end " + std::to_string(range.end)));
  std::vector<CompiledMatcher> compiled;
  if (Status s = CompiledMatcher::CompileAll(matchers, &compiled); !s.ok()) return refuse(std::move(s));
  const bool selective = std::any_of(compiled.begin(), compiled.end(), [](const CompiledMatcher& m) { return !m.MatchesEmpty(); });
  if (!selective) return refuse(InvalidArgument("Delete needs at least one matcher that does not match the empty string"));
  if (Status ready = c.AwaitAll(options.deadline); !ready.ok()) return refuse(ready);
  if (!c.quarantine().ok()) return refuse(c.quarantine());  // what of it matches cannot be told
  if (range.empty()) return result;
  for (std::size_t i = 0; i < c.size(); ++i) {
    Shard& shard = c.shard(i);
    Result<OrdinalSet> ordinals = shard.index->Select(compiled);
    if (!ordinals.ok()) return refuse(ordinals.status());
    if (ordinals->empty()) continue;
    if (Status status = LogDelete(&shard, *ordinals, range, options.deadline); !status.ok()) return refuse(status);
    result.accepted += ordinals->size();
  }
  const CommitToken token = c.wal().Ticket();
  c.wal().NotifyQueued();
  result.status = c.wal().Wait(token, options.level, options.deadline);
  result.token = ToPublic(token);
  return result;
}

// ---- Reading ----

// Steps a query's SeriesSet under the store's life lock.
class GuardedSeriesSet : public SeriesSet {
 public:
  GuardedSeriesSet(StorageImpl* store, std::uint64_t generation, std::unique_ptr<SeriesSet> inner)
      : store_(store), generation_(generation), inner_(std::move(inner)) {}

  bool Next() override {
    ReaderMutexLock lock(&store_->life_mu_);
    if (store_->live_.generation != generation_) {
      status_ = Unavailable("the store was reopened; select again");
      return false;
    }
    return inner_->Next();
  }
  const Labels& labels() const override { return inner_->labels(); }
  SampleIterator& samples() override { return inner_->samples(); }
  ChunkIterator& chunks() override { return inner_->chunks(); }
  Status status() const override { return status_.ok() ? inner_->status() : status_; }
  bool partial() const override { return inner_->partial(); }

 private:
  StorageImpl* const store_;
  const std::uint64_t generation_;
  std::unique_ptr<SeriesSet> inner_;
  Status status_;
};

Result<std::unique_ptr<SeriesSet>> StorageImpl::Select(const std::vector<Matcher>& matchers, TimeRange range,
                                                       const SelectOptions& options) {
  return Select(matchers, range, options, {});
}

Result<std::unique_ptr<SeriesSet>> StorageImpl::Select(const std::vector<Matcher>& matchers, TimeRange range,
                                                       const SelectOptions& options, const WorkBounds& bounds) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(options.deadline, options.skip_replaying, options.cancelled);
  if (!readers.ok()) return readers.status();
  ScopedTimer timer(&select_latency_);
  Result<std::unique_ptr<SeriesSet>> inner = SelectSeries(*readers, matchers, range, options, bounds);
  if (!inner.ok()) return inner.status();
  return std::unique_ptr<SeriesSet>(new GuardedSeriesSet(this, live_.generation, std::move(*inner)));
}

Result<Lookup<Labels>> StorageImpl::Series(const std::vector<Matcher>& matchers, const LookupOptions& options) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  const Result<std::shared_ptr<QueryContext>> readers = Readers(options.deadline, options.skip_replaying);
  if (!readers.ok()) return readers.status();
  return LookupSeries(**readers, matchers, options);
}

Result<Lookup<std::string>> StorageImpl::LabelNames(const std::vector<Matcher>& matchers, const LookupOptions& options) {
  return LabelStrings(nullptr, {&matchers, 1}, options, {});
}

Result<Lookup<std::string>> StorageImpl::LabelValues(const std::string& name, const std::vector<Matcher>& matchers,
                                                     const LookupOptions& options) {
  return LabelStrings(&name, {&matchers, 1}, options, {});
}

Result<SeriesRef> StorageImpl::FindSeries(const Labels& labels) {
  const SeriesKey key{StableHash(labels.encoded()), labels.encoded()};
  Shard& shard = core().ShardFor(key.hash);
  if (Status status = core().Await(shard, kNoDeadline); !status.ok()) return status;
  if (const std::optional<Ordinal> ordinal = shard.index->FindResident(key)) return MakeSeriesRef(shard.id, *ordinal);
  std::vector<std::optional<Ordinal>> found;
  if (Status status = shard.index->FindStored({&key, 1}, &found); !status.ok()) return status;
  if (!found[0]) return NotFound("there is no series " + labels.ToString());
  return MakeSeriesRef(shard.id, *found[0]);
}

Result<std::vector<Exemplar>> StorageImpl::Exemplars(const Labels& series, TimeRange range) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (!reopen_failure_.ok()) return reopen_failure_;
  Result<SeriesRef> ref = FindSeries(series);
  if (!ref.ok()) return ref.status();
  const Result<std::shared_ptr<QueryContext>> readers = Readers(kNoDeadline, true);  // its shard serves: it was found there
  if (!readers.ok()) return readers.status();
  return SelectExemplars(**readers, ShardOf(*ref), OrdinalOf(*ref), range);
}

Result<std::optional<Metadata>> StorageImpl::SeriesMetadata(const Labels& series) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (!reopen_failure_.ok()) return reopen_failure_;
  Result<SeriesRef> ref = FindSeries(series);
  if (!ref.ok()) return ref.status();
  return core().shard(ShardOf(*ref)).index->MetadataOf(OrdinalOf(*ref));
}

Result<std::vector<SeriesRef>> StorageImpl::SeriesIds(const std::vector<Matcher>& matchers) {
  Result<Lookup<SeriesRef>> found = MatchingIds(matchers, {});
  if (!found.ok()) return found.status();
  return std::move(found->values);
}

// ---- Upkeep ----

Status StorageImpl::Flush() {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (core().options().read_only) return Status::Ok();
  return core().wal().WaitSynced(core().wal().Ticket(), kNoDeadline);
}

Status StorageImpl::Checkpoint() {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (Status status = core().AwaitAll(kNoDeadline); !status.ok()) return status;
  if (Status status = core().Checkpoint(); !status.ok()) return status;
  return core().ApplyRetention();
}

Result<CompactResult> StorageImpl::Compact(const CompactOptions& options) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (!reopen_failure_.ok()) return reopen_failure_;
  if (Status status = core().AwaitAll(kNoDeadline); !status.ok()) return status;
  return core().Compact(options);
}

Status StorageImpl::Snapshot(const std::string& path) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (!reopen_failure_.ok()) return reopen_failure_;
  if (Status status = core().AwaitAll(kNoDeadline); !status.ok()) return status;
  return core().Snapshot(path);
}

Result<ScrubReport> StorageImpl::Scrub(const ScrubOptions& options) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);  // Reopen and Close end the pass before they want it
  if (!reopen_failure_.ok()) return reopen_failure_;
  if (Status status = core().AwaitAll(kNoDeadline, options.cancelled); !status.ok()) {
    return status.code() == StatusCode::kCancelled ? Result<ScrubReport>(ScrubReport()) : status;
  }
  return core().scrubber().Run(options);
}

// Who waits for replay holds the life lock, so that ends first. Callbacks call this store, so its log must have run the last one
// before the life lock is taken for good. False: it is closed.
bool StorageImpl::EndCallbacks() {
  std::shared_ptr<Core> core;
  {
    ReaderMutexLock lock(&life_mu_);
    if (closed_) return false;
    core = live_.core;
  }
  core->EndWaits();
  core->wal().EndCallbacks();
  core->scrubber().End();
  return true;
}

Status StorageImpl::Reopen() {
  if (fork_.InChild()) return UsedAfterFork();
  MutexLock reopening(&reopen_mu_);
  {
    // On a full disk opening would fail, and what can be read now could not any more.
    ReaderMutexLock lock(&life_mu_);
    if (!closed_ && reopen_failure_.ok()) {
      if (Status room = live_.core->DiskRoom(); !room.ok()) return room;
    }
  }
  if (!EndCallbacks()) return FailedPrecondition("the store is closed");
  MutexLock lock(&life_mu_);
  Core& before = *live_.core;
  if (reopen_failure_.ok()) {
    handed_out_ = before.HandedOutOrdinals();
    live_.token_base += before.wal().Ticket().generation;
    (void)before.Close();  // after a log error closing fails as well: the log decides what survived
  }
  Result<std::unique_ptr<Core>> core = Core::Open(options_, path_, &handed_out_);
  if (!core.ok()) {
    // Readers and writers meet a clear error instead of closed engines, until a later Reopen succeeds.
    reopen_failure_ = Unavailable("the store could not be reopened, another try may: " + core.status().ToString());
    ++live_.generation;
    before.wal().Fail(core.status());
    return core.status();
  }
  reopen_failure_ = Status::Ok();
  Install(std::move(*core));
  return Status::Ok();
}

void StorageImpl::HeedCancel(const std::atomic<bool>* cancelled) {
  ReaderMutexLock lock(&life_mu_);
  if (!closed_) core().HeedCancel(cancelled);
}

Status StorageImpl::WaitReady(Deadline deadline) { return WaitReady(deadline, nullptr); }

Status StorageImpl::WaitReady(Deadline deadline, const std::atomic<bool>* cancelled) {
  if (fork_.InChild()) return UsedAfterFork();
  ReaderMutexLock lock(&life_mu_);
  if (!reopen_failure_.ok()) return reopen_failure_;
  return core().AwaitAll(deadline, cancelled);
}

StorageStats StorageImpl::Stats() const {
  ReaderMutexLock lock(&life_mu_);
  StorageStats stats;
  core().FillStats(&stats);
  stats.select_latency = select_latency_.Snapshot();
  stats.version = CHRONOLITH_VERSION;
  return stats;
}

Status StorageImpl::Close() {
  if (fork_.InChild()) return UsedAfterFork();
  MutexLock reopening(&reopen_mu_);
  if (!EndCallbacks()) return Status::Ok();
  MutexLock lock(&life_mu_);
  closed_ = true;
  return live_.core->Close();
}

}  // namespace chronolith
