#include "ops/sink_database.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/mutex.h"
#include "chronolith/storage.h"
#include "ops/context.h"
#include "ops/target_path.h"
#include "ops/writing_store.h"
#include "storage/storage_impl.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

// Whether the store will say the same the next time.
bool ForGood(StatusCode code) {
  return code == StatusCode::kInvalidArgument || code == StatusCode::kAlreadyExists || code == StatusCode::kNotFound ||
         code == StatusCode::kFailedPrecondition;
}

// Whether it is not for the item that was refused, which is of the store as a whole.
bool OfStore(const Status& status) {
  return status.code() == StatusCode::kResourceExhausted || status.code() == StatusCode::kUnavailable ||
         status.code() == StatusCode::kCancelled;
}

class DatabaseSink final : public RecordSink {
 public:
  DatabaseSink(Storage* store, const std::string& path, Mutex* names)
      : store_(store), path_(path), names_(names), appender_(store->NewAppender()) {}

  Status OnSeries(const RecordPlace&, std::span<const SeriesEntry> series) override {
    for (const SeriesEntry& s : series) {
      if (!refs_.contains(s.ordinal)) told_.insert_or_assign(s.ordinal, *s.labels);
    }
    return Status::Ok();
  }
  void OnForgetSeries() override {
    told_ = {};
    refs_ = {};
  }

  Status OnSamples(const RecordPlace&, std::span<const SampleEntry> samples) override {
    if (Status s = Begin(Kind::kFloats, samples); !s.ok()) return s;
    for (const SampleEntry& s : samples) {
      if (const SeriesRef ref = RefOf(s.ordinal); ref.id != 0) appender_->Append(ref, s.timestamp, s.value);
    }
    return Status::Ok();
  }
  Status OnHistograms(const RecordPlace&, std::span<const HistogramEntry> histograms) override {
    if (Status s = Begin(Kind::kOthers, histograms); !s.ok()) return s;
    for (const HistogramEntry& h : histograms) {
      if (const SeriesRef ref = RefOf(h.ordinal); ref.id != 0)
        appender_->AppendHistogram(ref, h.sample->timestamp, h.sample->histogram);
    }
    return Status::Ok();
  }
  Status OnExemplars(const RecordPlace&, std::span<const ExemplarEntry> exemplars) override {
    if (Status s = Begin(Kind::kOthers, exemplars); !s.ok()) return s;
    for (const ExemplarEntry& e : exemplars) {
      if (const SeriesRef ref = RefOf(e.ordinal); ref.id != 0) appender_->AppendExemplar(ref, *e.exemplar);
    }
    return Status::Ok();
  }
  Status OnMetadata(const RecordPlace&, std::span<const MetadataEntry> metadata) override {
    if (Status s = Begin(Kind::kOthers, metadata); !s.ok()) return s;
    for (const MetadataEntry& m : metadata) {
      if (const SeriesRef ref = RefOf(m.ordinal); ref.id != 0) appender_->SetMetadata(ref, *m.metadata);
    }
    return Status::Ok();
  }

  Status OnDelete(const RecordPlace& place, TimeRange range, std::span<const SeriesEntry> series) override {
    if (Status s = Commit(AckLevel::kQueued); !s.ok()) return s;
    for (const SeriesEntry& s : series) {
      if (Status status = DeleteOne(*s.labels, range); !status.ok()) return status;
    }
    unflushed_.sent += std::exchange(last_delete_, place.lsn) == place.lsn ? 0 : 1;  // a record may come in pieces
    return Status::Ok();
  }

  Status Flush(Delivered* delivered) override {
    if (Status s = Commit(AckLevel::kLogged); !s.ok()) return s;
    if (Status s = store_->Wait(token_, AckLevel::kLogged); !s.ok()) return OfFullDisk(s, path_);
    delivered->sent += unflushed_.sent;
    delivered->skipped += unflushed_.skipped;
    delivered->refused += unflushed_.refused;
    for (const std::string& why : unflushed_.reasons) delivered->Refuse(0, why);
    unflushed_ = {};
    return Status::Ok();
  }

 private:
  // One commit logs its floats before the others: what may stand at one time of one series must not change places.
  enum class Kind { kNone, kFloats, kOthers };

  template <typename Entry>
  Status Begin(Kind kind, std::span<const Entry> entries) {
    if (kind_ != kind && kind_ != Kind::kNone) {
      if (Status s = Commit(AckLevel::kQueued); !s.ok()) return s;
    }
    kind_ = kind;
    new_.clear();
    new_labels_.clear();
    for (const Entry& entry : entries) {
      if (!refs_.try_emplace(entry.ordinal).second) continue;
      auto told = told_.extract(entry.ordinal);
      if (!told) std::abort();  // OnSeries comes first
      new_.push_back(entry.ordinal);
      new_labels_.push_back(std::move(told.mapped()));
    }
    if (new_.empty()) return Status::Ok();
    std::vector<SeriesRef> refs;
    WriteResult result;
    {
      ReaderMutexLock lock(names_);
      result = appender_->Refs(new_labels_, &refs);
    }
    for (const Refusal& refusal : result.refused) {
      if (OfStore(refusal.reason)) return OfFullDisk(refusal.reason, path_);
      if (!ForGood(refusal.reason.code())) return refusal.reason.WithContext(new_labels_[refusal.series].ToString());
      unflushed_.Refuse(0, new_labels_[refusal.series].ToString() + ": " + refusal.reason.message());
    }
    if (!result.ok() && result.refused.empty()) return OfFullDisk(result.status, path_);
    for (std::size_t i = 0; i < new_.size(); ++i) refs_[new_[i]] = refs[i];
    return Status::Ok();
  }

  // Of an item that is about to be appended; 0: it is refused.
  SeriesRef RefOf(Ordinal ordinal) {
    const SeriesRef ref = refs_.find(ordinal)->second;
    if (ref.id == 0) {
      ++unflushed_.refused;
    } else {
      calls_.push_back(ref);
    }
    return ref;
  }

  // The series of a refused item: the store knows it.
  std::string NameOf(const Refusal& refusal) const {
    std::vector<Labels> labels;
    if (refusal.series >= calls_.size()) return "?";
    const SeriesRef ref = calls_[refusal.series];
    const Status s = StorageImpl::Of(store_)->LabelsOf({&ref, 1}, &labels);
    return s.ok() && !labels[0].empty() ? labels[0].ToString() : "series " + std::to_string(ref.id);
  }

  Status Commit(AckLevel level) {
    kind_ = Kind::kNone;
    if (calls_.empty()) return Status::Ok();
    const WriteResult result = appender_->Commit({.level = level});
    token_ = std::max(token_, result.token, [](CommitToken a, CommitToken b) { return a.generation < b.generation; });
    for (const Refusal& refusal : result.refused) {
      if (OfStore(refusal.reason)) return OfFullDisk(refusal.reason, path_);
      if (!ForGood(refusal.reason.code())) return refusal.reason.WithContext(NameOf(refusal));
      const bool told = unflushed_.reasons.size() < Delivered::kReasonsMax;
      unflushed_.Refuse(1, told ? NameOf(refusal) + ": " + refusal.reason.message() : "");
    }
    if (!result.ok() && result.refused.empty()) return OfFullDisk(result.status, path_);
    unflushed_.sent += result.accepted;
    calls_.clear();
    return Status::Ok();
  }

  // Matchers by which no series but this one is found: a missing label equals "".
  Status DeleteOne(const Labels& labels, TimeRange range) {
    std::vector<Matcher> matchers;
    for (const Label& label : labels) matchers.push_back(Matcher::Equal(std::string(label.name), std::string(label.value)));
    if (matchers.empty()) return Status::Ok();
    // A series that another shard's sink creates between the two calls could have a label that no matcher excludes.
    MutexLock lock(names_);
    const auto names = store_->LabelNames(matchers);
    if (!names.ok()) return names.status();
    for (const std::string& name : names->values) {
      if (labels.Get(name).empty()) matchers.push_back(Matcher::Equal(name, ""));
    }
    const WriteResult result = store_->Delete(matchers, range, {.level = AckLevel::kQueued});
    token_ = std::max(token_, result.token, [](CommitToken a, CommitToken b) { return a.generation < b.generation; });
    return OfFullDisk(result.status, path_);
  }

  Storage* const store_;
  const std::string& path_;
  Mutex* const names_;  // of all sinks: held by a delete, shared by whoever makes series
  const std::unique_ptr<Appender> appender_;
  absl::flat_hash_map<Ordinal, Labels> told_;     // and not asked for
  absl::flat_hash_map<Ordinal, SeriesRef> refs_;  // 0: refused
  Kind kind_ = Kind::kNone;
  std::vector<SeriesRef> calls_;  // of the appender, since its last commit
  std::vector<Ordinal> new_;
  std::vector<Labels> new_labels_;
  CommitToken token_;
  Lsn last_delete_ = 0;
  Delivered unflushed_;
};

class DatabaseTarget final : public RecordTarget {
 public:
  explicit DatabaseTarget(DatabaseTargetOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "db:" + std::filesystem::absolute(options_.path).lexically_normal().string(); }
  bool applies_deletes() const override { return true; }
  std::uint64_t memory_bytes() const override { return options_.memory_limit_bytes; }

  Status Open(std::string_view position) override {
    std::error_code ignored;
    if (std::filesystem::equivalent(options_.path, options_.source, ignored)) {
      return InvalidArgument("the target is the database that is read");
    }
    if (Status s = CheckOutsideDatabases(options_.path); !s.ok()) return s;
    // What a cursor counts as delivered is in the store that it was delivered to, and in no other.
    if (!position.empty()) {
      const Result<std::string> found = Identity();
      if (!found.ok()) return found.status().WithContext("the target that the cursor belongs to");
      if (*found != position) {
        return FailedPrecondition("the target " + options_.path + " is another database (" + *found +
                                  ") than the one that the cursor belongs to (" + std::string(position) +
                                  "): begin anew, with another cursor");
      }
    }
    Options options;
    options.create_if_missing = position.empty();
    options.shards = options_.shards;
    options.window_ms = options_.window_ms;
    options.memory_limit_bytes = StoreMemoryBytes(options_.memory_limit_bytes);
    options.scrub_interval_ms = 0;
    options.logger = options_.logger;
    // What the source has taken is taken, whatever limits its host has set.
    options.max_labels_per_series = 1 << 16;
    options.max_label_name_bytes = options.max_label_value_bytes = 1 << 16;
    OpsContext context;
    context.cancelled = options_.cancelled;
    auto store = OpenToWrite(options, options_.path, context);
    if (!store.ok()) return OfFullDisk(store.status(), options_.path).WithContext("target");
    store_ = std::move(*store);
    return Status::Ok();
  }
  Result<std::unique_ptr<RecordSink>> NewSink(ShardId) override {
    return std::unique_ptr<RecordSink>(std::make_unique<DatabaseSink>(store_.get(), options_.path, &names_));
  }
  Status Sync(std::string* position) override {
    Result<std::string> identity = Identity();
    if (!identity.ok()) return identity.status();
    *position = std::move(*identity);
    return OfFullDisk(store_->Flush(), options_.path);
  }
  Status Close() override { return OfFullDisk(store_->Close(), options_.path); }

 private:
  Result<std::string> Identity() const {
    const Result<StoreManifest> manifest = ReadStoreManifest(options_.path);
    if (!manifest.ok()) return manifest.status();
    return manifest->UuidHex() + "/" + std::to_string(manifest->incarnation);
  }

  const DatabaseTargetOptions options_;
  Mutex names_;
  std::unique_ptr<Storage> store_;
};

}  // namespace

std::unique_ptr<RecordTarget> NewDatabaseTarget(DatabaseTargetOptions options) {
  return std::make_unique<DatabaseTarget>(std::move(options));
}

}  // namespace chronolith::ops
