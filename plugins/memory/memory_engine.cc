#include "plugins/memory/memory_engine.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "plugins/common/engine_checks.h"

namespace chronolith {
namespace {

class MemoryIterator : public KvIterator {
 public:
  MemoryIterator(const PersistentMap& map, const IterateOptions& options, std::string family)
      : cursor_(map), lower_(options.lower), upper_(options.upper), family_(std::move(family)) {}

  void Seek(std::string_view key) override {
    status_ = Status::Ok();
    cursor_.Seek(std::max<std::string_view>(key, lower_));
    Check();
  }
  void Next() override {
    cursor_.Next();
    Check();
  }
  bool Valid() const override { return valid_; }
  std::string_view key() const override { return cursor_.key(); }
  std::string_view value() const override { return cursor_.value().bytes; }
  Status status() const override { return status_; }

 private:
  void Check() {
    valid_ = cursor_.Valid() && (!upper_ || cursor_.key() < *upper_);
    if (!valid_ || !cursor_.value().damaged) return;
    valid_ = false;
    status_ = DataLoss("a merge failed at a key of family '" + family_ + "'");
  }

  PersistentMap::Cursor cursor_;
  const std::string lower_;
  const std::optional<std::string> upper_;
  const std::string family_;
  bool valid_ = false;
  Status status_;
};

}  // namespace

// One open of a path. Thread safety: as KvEngine. Lock order: the factory's engines_mu_, async_mu_, the instance's
// mutex; never the factory's mu_ with an instance's.
class MemoryEngine : public KvEngine {
 public:
  MemoryEngine(MemoryEngineFactory* factory, std::string path, EngineOptions options, std::shared_ptr<MemoryInstance> instance);
  ~MemoryEngine() override {
    if (!closed_) (void)Close();
  }

  // Binds the families, creating missing ones, and makes the engine known to its factory. To be called once, before it is used.
  Status Start();
  std::size_t CompleteAsync(std::size_t limit);

  std::string_view Name() const override { return "memory"; }
  bool Has(Capability) const override { return true; }
  Limits limits() const override { return {}; }
  Status AcquireEpoch(FamilyId family, Epoch epoch) override;
  Result<Epoch> CurrentEpoch(FamilyId family) override;
  Outcomes Write(std::span<const Batch> batches, const EngineWriteOptions& options) override;
  void WriteAsync(std::span<const Batch> batches, const EngineWriteOptions& options, WriteCallback done) override;
  Status Get(FamilyId family, std::string_view key, std::string* value, ReadTier tier, Deadline deadline) override;
  void MultiGet(FamilyId family, std::span<const std::string_view> keys, std::vector<std::string>* values,
                std::vector<Status>* statuses, Deadline deadline) override;
  Result<std::unique_ptr<KvIterator>> NewIterator(FamilyId family, const IterateOptions& options) override;
  Status Flush(FamilyId family) override { return Flush(std::span(&family, 1)); }
  Status Flush(std::span<const FamilyId> families) override;
  Status SyncLog() override;
  Status ExpireRange(FamilyId family, std::string_view begin, std::string_view end) override;
  Status Compact(FamilyId family, std::string_view begin, std::optional<std::string_view> end) override;
  Result<std::uint64_t> EstimateBytes(FamilyId family, std::string_view begin, std::string_view end) override;
  Status CreateCheckpoint(const std::string& path) override;
  Status ExportFamily(FamilyId family, const std::string& path) override;
  Status ImportFamily(FamilyId family, const std::string& path) override;
  Status VerifyChecksums(FamilyId family, std::string_view after, VerifyVisitor* visitor) override;
  EngineStats Stats() const override;
  Status Close() override;

 private:
  struct Deferred {
    std::vector<Batch> batches;
    EngineWriteOptions options;
    WriteCallback done;
  };

  Status Bind();
  Status Alive() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(instance_->mu) {
    return instance_->incarnation == incarnation_ ? Status::Ok() : IoError("the engine at '" + path_ + "' crashed");
  }
  Status Usable(FamilyId family, bool for_write) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(instance_->mu);
  Outcomes Apply(std::span<const Batch> batches, const EngineWriteOptions& options);
  Status ApplyOne(const Batch& batch, Durability durability, bool unknown) ABSL_EXCLUSIVE_LOCKS_REQUIRED(instance_->mu);
  void FlushOverBudget() ABSL_EXCLUSIVE_LOCKS_REQUIRED(instance_->mu);
  void CrashIf(const Adversary::Verdict& verdict) ABSL_EXCLUSIVE_LOCKS_REQUIRED(instance_->mu) {
    if (verdict.crash && Alive().ok()) instance_->Crash(verdict.kind, adversary_->options().persist_random_prefix, adversary_);
  }
  // The start of every call that is not a write: the adversary's verdict.
  Status Enter(EngineMethod method, Adversary::Verdict* verdict = nullptr);

  MemoryEngineFactory* const factory_;
  const std::shared_ptr<EngineFactory> factory_owner_;
  Adversary* const adversary_;
  const std::string path_;
  const EngineOptions options_;
  const std::shared_ptr<MemoryInstance> instance_;
  std::uint64_t incarnation_ = 0;
  std::vector<MemoryFamily*> families_;  // by FamilyId; what they point to is guarded by instance_->mu
  bool closed_ = true;                   // until Start has succeeded

  Mutex async_mu_;  // held while deferred writes are applied, so that their order holds
  CondVar async_idle_;
  std::deque<Deferred> deferred_ ABSL_GUARDED_BY(async_mu_);
  bool completing_ ABSL_GUARDED_BY(async_mu_) = false;
};

MemoryEngine::MemoryEngine(MemoryEngineFactory* factory, std::string path, EngineOptions options,
                           std::shared_ptr<MemoryInstance> instance)
    : factory_(factory),
      factory_owner_(factory->weak_from_this().lock()),
      adversary_(&factory->adversary_),
      path_(std::move(path)),
      options_(std::move(options)),
      instance_(std::move(instance)) {}

Status MemoryEngine::Start() {
  if (Status s = Bind(); !s.ok()) return s;
  MutexLock lock(&factory_->engines_mu_);
  factory_->engines_.push_back(this);
  return Status::Ok();
}

Status MemoryEngine::Bind() {
  MutexLock lock(&instance_->mu);
  if (!options_.read_only && instance_->writers > 0 && !adversary_->options().allow_several_writers) {
    return FailedPrecondition("'" + path_ + "' is open already");
  }
  for (const auto& [name, family] : instance_->families) {
    const auto listed = [&name = name](const FamilySpec& spec) { return spec.name == name; };
    if (!std::any_of(options_.families.begin(), options_.families.end(), listed)) {
      return FailedPrecondition("'" + path_ + "' holds a family '" + name + "' that was not listed");
    }
  }
  for (const FamilySpec& spec : options_.families) {
    auto& family = instance_->families[spec.name];
    if (family == nullptr) {
      if (options_.read_only) return NotFound("'" + path_ + "' has no family '" + spec.name + "'");
      family = std::make_unique<MemoryFamily>(spec.name);
    }
    family->merge = spec.merge;
    families_.push_back(family.get());
  }
  incarnation_ = instance_->incarnation;
  if (!options_.read_only) ++instance_->writers;
  closed_ = false;
  return Status::Ok();
}

Status MemoryEngine::Enter(EngineMethod method, Adversary::Verdict* verdict) {
  Adversary::Verdict v = adversary_->BeforeCall(method, path_);
  if (v.crash && verdict == nullptr) {
    MutexLock lock(&instance_->mu);
    CrashIf(v);
  }
  if (verdict != nullptr) {
    *verdict = v;
    if (v.crash) return Status::Ok();  // the caller crashes half-way
  }
  return v.status;
}

Status MemoryEngine::Usable(FamilyId family, bool for_write) const {
  if (Status s = Alive(); !s.ok()) return s;
  if (family >= families_.size()) return InvalidArgument("there is no family number " + std::to_string(family));
  if (for_write && options_.read_only) return FailedPrecondition("'" + path_ + "' is open read-only");
  return Status::Ok();
}

Status MemoryEngine::AcquireEpoch(FamilyId family, Epoch epoch) {
  const Status injected = Enter(EngineMethod::kAcquireEpoch);
  if (!injected.ok() && injected.code() != StatusCode::kUnknown) return injected;
  MutexLock lock(&instance_->mu);
  if (Status s = Usable(family, true); !s.ok()) return s;
  MemoryFamily* f = families_[family];
  if (epoch <= f->epoch) {
    return Fenced("family '" + f->name + "' is at epoch " + std::to_string(f->epoch) + ", " + std::to_string(epoch) +
                  " is not newer");
  }
  if (!injected.ok() && adversary_->Below(2) == 0) return injected;
  f->ApplyLate(adversary_, true);  // what is still under way arrives now or never
  f->epoch = epoch;
  return injected;
}

Result<Epoch> MemoryEngine::CurrentEpoch(FamilyId family) {
  MutexLock lock(&instance_->mu);
  if (Status s = Usable(family, false); !s.ok()) return s;
  return families_[family]->epoch;
}

Status MemoryEngine::ApplyOne(const Batch& batch, Durability durability, bool unknown) {
  if (Status s = Usable(batch.family, true); !s.ok()) return s;
  MemoryFamily* f = families_[batch.family];
  if (Status s = CheckBatch(batch, options_.families[batch.family], limits()); !s.ok()) return s;
  if (Status s = CheckEpoch(f->name, batch.epoch, f->epoch); !s.ok()) return s;
  if (!f->late.empty()) f->ApplyLate(adversary_, false);

  // A log instance logs every write, whatever was asked for.
  OwnedBatch owned = CopyBatch(batch);
  if (durability != Durability::kBuffered || options_.instance == InstanceRole::kLog) owned.log_number = ++instance_->log_number;
  if (unknown && adversary_->Below(2) == 0) {
    if (adversary_->options().late_writes) f->late.push_back(std::move(owned));
  } else {
    f->Apply(std::move(owned));
    if (adversary_->Chance(adversary_->options().spontaneous_flush_probability)) f->Flush();
  }
  return unknown ? UnknownOutcome("family '" + f->name + "': the outcome of a write was lost") : Status::Ok();
}

void MemoryEngine::FlushOverBudget() {
  std::uint64_t bytes = 0;
  for (const auto& [name, family] : instance_->families) bytes += family->pending_bytes;
  while (bytes > options_.write_buffer_bytes) {
    const auto largest = std::max_element(instance_->families.begin(), instance_->families.end(), [](const auto& a, const auto& b) {
      return a.second->pending_bytes < b.second->pending_bytes;
    });
    bytes -= largest->second->pending_bytes;
    largest->second->Flush();
  }
}

Outcomes MemoryEngine::Apply(std::span<const Batch> batches, const EngineWriteOptions& options) {
  Adversary::Verdict verdict = adversary_->BeforeCall(EngineMethod::kWrite, path_);
  Outcomes outcomes(batches.size());
  Status refused = verdict.crash || verdict.status.code() == StatusCode::kUnknown ? Status::Ok() : verdict.status;
  if (refused.ok()) refused = CheckDeadline(options.deadline, "write");
  if (!refused.ok()) {
    std::fill(outcomes.begin(), outcomes.end(), refused);
    return outcomes;
  }
  MutexLock lock(&instance_->mu);
  const double doubt = adversary_->options().unknown_write_probability;
  const bool all_unknown = !verdict.status.ok();
  // A group is not atomic, nor are its batches applied in order, except those of one family.
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (options.no_stall && adversary_->Chance(adversary_->options().stall_probability)) {
      outcomes[i] = ResourceExhausted("family '" + options_.families[batches[i].family].name + "' has no room");
      continue;
    }
    outcomes[i] = ApplyOne(batches[i], options.durability, all_unknown || adversary_->Chance(doubt));
  }
  if (options.durability == Durability::kSynced && !all_unknown) instance_->synced_log_number = instance_->log_number;
  FlushOverBudget();
  CrashIf(verdict);
  return outcomes;
}

Outcomes MemoryEngine::Write(std::span<const Batch> batches, const EngineWriteOptions& options) {
  if (adversary_->options().defer_async) (void)CompleteAsync(SIZE_MAX);
  return Apply(batches, options);
}

void MemoryEngine::WriteAsync(std::span<const Batch> batches, const EngineWriteOptions& options, WriteCallback done) {
  if (!adversary_->options().defer_async) return done(Apply(batches, options));
  MutexLock lock(&async_mu_);
  deferred_.push_back({std::vector<Batch>(batches.begin(), batches.end()), options, std::move(done)});
}

std::size_t MemoryEngine::CompleteAsync(std::size_t limit) {
  std::size_t completed = 0;
  async_mu_.Lock();
  while (completing_) async_idle_.Wait(&async_mu_);
  completing_ = true;
  while (completed < limit && !deferred_.empty()) {
    Deferred write = std::move(deferred_.front());
    deferred_.pop_front();
    async_mu_.Unlock();
    write.done(Apply(write.batches, write.options));
    ++completed;
    async_mu_.Lock();
  }
  completing_ = false;
  async_idle_.SignalAll();
  async_mu_.Unlock();
  return completed;
}

Status MemoryEngine::Get(FamilyId family, std::string_view key, std::string* value, ReadTier tier, Deadline deadline) {
  if (Status s = Enter(EngineMethod::kRead); !s.ok()) return s;
  if (Status s = CheckDeadline(deadline, "get"); !s.ok()) return s;
  MutexLock lock(&instance_->mu);
  if (Status s = Usable(family, false); !s.ok()) return s;
  const MemoryFamily* f = families_[family];
  const PersistentMap map = tier == ReadTier::kLatest ? f->live : f->Durable(instance_->synced_log_number);
  const MapValue* row = map.Find(key);
  if (row == nullptr) return NotFound("no such key in family '" + f->name + "'");
  if (row->damaged) return DataLoss("a merge failed at a key of family '" + f->name + "'");
  *value = row->bytes;
  return Status::Ok();
}

void MemoryEngine::MultiGet(FamilyId family, std::span<const std::string_view> keys, std::vector<std::string>* values,
                            std::vector<Status>* statuses, Deadline deadline) {
  values->assign(keys.size(), {});
  statuses->assign(keys.size(), {});
  for (std::size_t i = 0; i < keys.size(); ++i) {
    (*statuses)[i] = Get(family, keys[i], &(*values)[i], ReadTier::kLatest, deadline);
  }
}

Result<std::unique_ptr<KvIterator>> MemoryEngine::NewIterator(FamilyId family, const IterateOptions& options) {
  if (Status s = Enter(EngineMethod::kRead); !s.ok()) return s;
  MutexLock lock(&instance_->mu);
  if (Status s = Usable(family, false); !s.ok()) return s;
  return std::unique_ptr<KvIterator>(std::make_unique<MemoryIterator>(families_[family]->live, options, families_[family]->name));
}

Status MemoryEngine::Flush(std::span<const FamilyId> families) {
  Adversary::Verdict verdict;
  if (Status s = Enter(EngineMethod::kFlush, &verdict); !s.ok()) return s;
  MutexLock lock(&instance_->mu);
  for (const FamilyId family : families) {
    if (Status s = Usable(family, true); !s.ok()) return s;
  }
  // No family waits for another, so a crash may come between any two of them.
  std::size_t left = verdict.crash ? adversary_->Below(families.size() + 1) : families.size();
  for (const std::size_t i : adversary_->Order(families.size())) {
    if (left-- == 0) break;
    families_[families[i]]->Flush();
  }
  CrashIf(verdict);
  return verdict.status;
}

Status MemoryEngine::SyncLog() {
  if (Status s = Enter(EngineMethod::kSyncLog); !s.ok()) return s;
  MutexLock lock(&instance_->mu);
  if (Status s = Alive(); !s.ok()) return s;
  instance_->synced_log_number = instance_->log_number;
  return Status::Ok();
}

Status MemoryEngine::ExpireRange(FamilyId family, std::string_view begin, std::string_view end) {
  if (Status s = Enter(EngineMethod::kExpire); !s.ok()) return s;
  MutexLock lock(&instance_->mu);
  if (Status s = Usable(family, true); !s.ok()) return s;
  if (end < begin) return InvalidArgument("reversed range in family '" + families_[family]->name + "'");
  if (adversary_->hostile() && adversary_->Below(2) == 0) return Status::Ok();  // "or later"
  families_[family]->Flush();
  families_[family]->live.EraseRange(begin, end);
  families_[family]->Flush();
  return Status::Ok();
}

Status MemoryEngine::Compact(FamilyId family, std::string_view begin, std::optional<std::string_view> end) {
  if (Status s = Enter(EngineMethod::kCompact); !s.ok()) return s;
  MutexLock lock(&instance_->mu);
  if (Status s = Usable(family, true); !s.ok()) return s;
  MemoryFamily* f = families_[family];
  if (const DropFilter* filter = options_.families[family].drop_filter.get()) {
    PersistentMap kept = f->live;
    PersistentMap::Cursor cursor(f->live);
    for (cursor.Seek(begin); cursor.Valid() && (!end || cursor.key() < *end); cursor.Next()) {
      if (filter->ShouldDrop(cursor.key(), cursor.value().bytes)) kept.Erase(cursor.key());
    }
    f->live = kept;
  }
  f->Flush();
  return Status::Ok();
}

Result<std::uint64_t> MemoryEngine::EstimateBytes(FamilyId family, std::string_view begin, std::string_view end) {
  MutexLock lock(&instance_->mu);
  if (Status s = Usable(family, false); !s.ok()) return s;
  return families_[family]->durable.Bytes(begin, end);
}

Status MemoryEngine::CreateCheckpoint(const std::string& path) {
  if (Status s = Enter(EngineMethod::kCopy); !s.ok()) return s;
  std::shared_ptr<MemoryInstance> copy;
  {
    MutexLock lock(&instance_->mu);
    if (Status s = Alive(); !s.ok()) return s;
    copy = instance_->Copy(false);
  }
  return factory_->AddInstance(path, std::move(copy));
}

Status MemoryEngine::ExportFamily(FamilyId family, const std::string& path) {
  if (Status s = Enter(EngineMethod::kCopy); !s.ok()) return s;
  PersistentMap rows;
  {
    MutexLock lock(&instance_->mu);
    if (Status s = Usable(family, false); !s.ok()) return s;
    rows = families_[family]->durable;
  }
  MutexLock lock(&factory_->mu_);
  if (!factory_->exports_.emplace(path, std::move(rows)).second) return AlreadyExists("'" + path + "' exists");
  return Status::Ok();
}

Status MemoryEngine::ImportFamily(FamilyId family, const std::string& path) {
  if (Status s = Enter(EngineMethod::kCopy); !s.ok()) return s;
  PersistentMap rows;
  {
    MutexLock lock(&factory_->mu_);
    const auto it = factory_->exports_.find(path);
    if (it == factory_->exports_.end()) return NotFound("there is no family export at '" + path + "'");
    rows = it->second;
  }
  MutexLock lock(&instance_->mu);
  if (Status s = Usable(family, true); !s.ok()) return s;
  MemoryFamily* f = families_[family];
  if (!f->live.empty()) return FailedPrecondition("family '" + f->name + "' is not empty");
  f->live = std::move(rows);
  f->Flush();
  return Status::Ok();
}

// There are no files: a family counts as one, named as it is, and a flipped bit of a row is found by whoever wrote the row.
Status MemoryEngine::VerifyChecksums(FamilyId family, std::string_view after, VerifyVisitor* visitor) {
  if (Status s = Enter(EngineMethod::kRead); !s.ok()) return s;
  std::uint64_t bytes = 0;
  std::string name;
  {
    MutexLock lock(&instance_->mu);
    if (family == kSharedFiles) return Alive();
    if (Status s = Usable(family, false); !s.ok()) return s;
    name = families_[family]->name;
    bytes = families_[family]->durable.Bytes();
  }
  if (bytes == 0 || name <= after) return Status::Ok();
  if (!visitor->OnBytes(bytes)) return Cancelled("verifying family '" + name + "' was stopped");
  visitor->OnFile(name);
  return Status::Ok();
}

EngineStats MemoryEngine::Stats() const {
  EngineStats stats;
  MutexLock lock(&instance_->mu);
  for (const MemoryFamily* f : families_) {
    FamilyStats& s = stats.families.emplace_back();
    s.name = f->name;
    s.buffered_bytes = f->pending_bytes;
    s.file_bytes = f->durable.Bytes();
    s.file_count = f->durable.empty() ? 0 : 1;
    for (const OwnedBatch& batch : f->pending) {
      if (batch.log_number == 0) continue;
      if (s.oldest_log_number == 0) s.oldest_log_number = batch.log_number;
      stats.log_bytes += batch.bytes;
    }
  }
  stats.log_files = stats.log_bytes > 0 ? 1 : 0;
  return stats;
}

Status MemoryEngine::Close() {
  (void)CompleteAsync(SIZE_MAX);
  closed_ = true;
  {
    MutexLock lock(&factory_->engines_mu_);
    std::erase(factory_->engines_, this);
  }
  MutexLock lock(&instance_->mu);
  if (options_.read_only || !Alive().ok()) return Status::Ok();
  if (--instance_->writers > 0) return Status::Ok();
  instance_->Crash(CrashKind::kKill, adversary_->hostile() && adversary_->options().persist_random_prefix, adversary_);
  return Status::Ok();
}

std::shared_ptr<MemoryInstance> MemoryEngineFactory::FindInstance(const std::string& path) {
  MutexLock lock(&mu_);
  const auto it = instances_.find(path);
  return it == instances_.end() ? nullptr : it->second;
}

Status MemoryEngineFactory::AddInstance(const std::string& path, std::shared_ptr<MemoryInstance> instance) {
  MutexLock lock(&mu_);
  if (!instances_.emplace(path, std::move(instance)).second) return AlreadyExists("'" + path + "' exists");
  return Status::Ok();
}

Result<std::unique_ptr<KvEngine>> MemoryEngineFactory::Open(const std::string& path, const EngineOptions& options) {
  if (Status s = CheckFamilies(options); !s.ok()) return s;
  if (Status s = CheckExtra(options, Name(), {}); !s.ok()) return s;
  if (Adversary::Verdict v = adversary_.BeforeCall(EngineMethod::kOpen, path); !v.status.ok()) return v.status;
  std::shared_ptr<MemoryInstance> instance = FindInstance(path);
  if (instance == nullptr) {
    if (options.read_only || !options.create_if_missing) return NotFound("there is no database at '" + path + "'");
    instance = std::make_shared<MemoryInstance>();
    (void)AddInstance(path, instance);
    instance = FindInstance(path);  // another thread may have come first
  }
  if (options.read_only) {
    const std::shared_ptr<MemoryInstance> original = instance;
    MutexLock lock(&original->mu);
    instance = original->Copy(true);
  }
  auto engine = std::make_unique<MemoryEngine>(this, path, options, std::move(instance));
  if (Status s = engine->Start(); !s.ok()) return s;
  return std::unique_ptr<KvEngine>(std::move(engine));
}

Status MemoryEngineFactory::Crash(const std::string& path, CrashKind kind) {
  const std::shared_ptr<MemoryInstance> instance = FindInstance(path);
  if (instance == nullptr) return NotFound("there is no database at '" + path + "'");
  MutexLock lock(&instance->mu);
  instance->Crash(kind, adversary_.hostile() && adversary_.options().persist_random_prefix, &adversary_);
  return Status::Ok();
}

void MemoryEngineFactory::CrashAll(CrashKind kind) {
  std::vector<std::string> paths;
  {
    MutexLock lock(&mu_);
    for (const auto& [path, instance] : instances_) paths.push_back(path);
  }
  for (const std::string& path : paths) (void)Crash(path, kind);
}

std::size_t MemoryEngineFactory::CompleteAsync(std::size_t limit) {
  MutexLock lock(&engines_mu_);
  std::size_t completed = 0;
  for (MemoryEngine* engine : engines_) completed += engine->CompleteAsync(limit - completed);
  return completed;
}

Status MemoryEngineFactory::FlipBit(const std::string& path, const std::string& family, std::string_view key, std::size_t bit) {
  const std::shared_ptr<MemoryInstance> instance = FindInstance(path);
  if (instance == nullptr) return NotFound("there is no database at '" + path + "'");
  MutexLock lock(&instance->mu);
  const auto it = instance->families.find(family);
  if (it == instance->families.end()) return NotFound("there is no family '" + family + "'");
  const MapValue* row = it->second->live.Find(key);
  if (row == nullptr || row->bytes.empty()) return NotFound("there is no value with bits under this key");
  std::string bytes = row->bytes;
  bit %= bytes.size() * 8;
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  it->second->live.Set(key, MakeMapValue(std::move(bytes)));
  it->second->Flush();
  return Status::Ok();
}

std::shared_ptr<EngineFactory> MakeMemoryEngineFactory() { return std::make_shared<MemoryEngineFactory>(); }

std::shared_ptr<MemoryEngineFactory> MakeAdversarialMemoryEngineFactory(AdversarialOptions options) {
  return std::make_shared<MemoryEngineFactory>(std::move(options));
}

}  // namespace chronolith
