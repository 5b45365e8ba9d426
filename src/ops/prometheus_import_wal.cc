#include <absl/container/flat_hash_map.h>

#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <unordered_map>

#include "base/posix_file.h"
#include "interop/prometheus_record.h"
#include "interop/prometheus_wal.h"
#include "ops/prometheus_import_parts.h"

namespace chronolith::ops {

namespace {

namespace fs = std::filesystem;

// Nothing of a record is of interest but what is overridden.
class IgnoringSink : public PrometheusRecordSink {
 public:
  Status OnSeries(std::uint64_t, Labels) override { return Status::Ok(); }
  Status OnSamples(std::span<const PrometheusSample>) override { return Status::Ok(); }
  Status OnTombstone(std::uint64_t, TimeRange) override { return Status::Ok(); }
  Status OnExemplar(std::uint64_t, Exemplar) override { return Status::Ok(); }
  Status OnMetadata(std::uint64_t, Metadata) override { return Status::Ok(); }
  Status OnHistogram(std::uint64_t, HistogramSample) override { return Status::Ok(); }
};

using Deletes = absl::flat_hash_map<std::uint64_t, std::vector<TimeRange>>;

// Deletes stand behind the samples that they hide: they are read before anything is taken.
class DeletesOfLog : public IgnoringSink {
 public:
  explicit DeletesOfLog(Deletes* deletes) : deletes_(deletes) {}
  Status OnTombstone(std::uint64_t ref, TimeRange range) override {
    (*deletes_)[ref].push_back(range);
    return Status::Ok();
  }

 private:
  Deletes* const deletes_;
};

// Takes what the log holds.
class LogImport : public PrometheusRecordSink {
 public:
  LogImport(PrometheusImportState* state, const Deletes* deletes) : state_(state), deletes_(*deletes) {}

  void SetMinTime(Timestamp t) { min_time_ = t; }

  Status OnSeries(std::uint64_t ref, Labels labels) override {
    const auto [at, is_new] = series_.try_emplace(ref);
    Entry& entry = at->second;
    if (!state_->Matches(labels)) {
      entry = Entry{.ignored = true};
      return Status::Ok();
    }
    // A series that was away for a while gets another reference; its deletes go by the first.
    const auto deletes = deletes_.find(ref);
    if (is_new && deletes != deletes_.end()) {
      std::vector<TimeRange>& all = deleted_[std::string(labels.encoded())];
      all.insert(all.end(), deletes->second.begin(), deletes->second.end());
    }
    const auto deleted = deleted_.empty() ? deleted_.end() : deleted_.find(std::string(labels.encoded()));
    entry.deleted = deleted == deleted_.end() ? nullptr : &deleted->second;
    entry.ref = {};
    entry.waiting = std::make_unique<Waiting>(Waiting{std::move(labels), std::nullopt});
    return Status::Ok();
  }

  Status OnSamples(std::span<const PrometheusSample> samples) override {
    found_.clear();
    for (const PrometheusSample& sample : samples) {
      Entry* const entry = Find(sample.ref, sample.timestamp);
      found_.push_back(entry);
      if (entry != nullptr && entry->waiting != nullptr) unresolved_.push_back(entry);
    }
    if (Status s = Resolve(); !s.ok()) return s;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (found_[i] == nullptr) continue;
      if (Status s = state_->writer()->Append(found_[i]->ref, samples[i].timestamp, samples[i].value); !s.ok()) return s;
    }
    return Status::Ok();
  }
  Status OnTombstone(std::uint64_t, TimeRange) override { return Status::Ok(); }
  Status OnHistogram(std::uint64_t ref, HistogramSample histogram) override {
    Entry* const entry = Find(ref, histogram.timestamp);
    if (entry == nullptr) return Status::Ok();
    if (Status s = ResolveOne(entry); !s.ok()) return s;
    return state_->writer()->AppendHistogram(entry->ref, std::move(histogram));
  }
  Status OnExemplar(std::uint64_t ref, Exemplar exemplar) override {
    Entry* const entry = Find(ref, exemplar.timestamp);
    if (entry == nullptr) return Status::Ok();
    if (Status s = ResolveOne(entry); !s.ok()) return s;
    return state_->writer()->AppendExemplar(entry->ref, std::move(exemplar));
  }
  Status OnMetadata(std::uint64_t ref, Metadata metadata) override {
    const auto found = series_.find(ref);
    if (found == series_.end() || found->second.ignored) return Status::Ok();
    if (found->second.waiting == nullptr) return state_->writer()->SetMetadata(found->second.ref, std::move(metadata));
    found->second.waiting->metadata = std::move(metadata);
    return Status::Ok();
  }

 private:
  // A series is not created before it has something to hold.
  struct Waiting {
    Labels labels;
    std::optional<Metadata> metadata;
  };
  struct Entry {
    SeriesRef ref;
    const std::vector<TimeRange>* deleted = nullptr;
    std::unique_ptr<Waiting> waiting;
    bool ignored = false;
  };

  // Null where the item is not to be taken.
  Entry* Find(std::uint64_t ref, Timestamp t) {
    PrometheusImportReport::Log& log = state_->report()->log;
    const auto found = series_.find(ref);
    if (found == series_.end()) {
      ++log.unknown_refs;
      return nullptr;
    }
    Entry* const entry = &found->second;
    if (entry->ignored || !state_->InRange(t)) return nullptr;
    if (t < min_time_) {
      ++log.in_blocks;
      return nullptr;
    }
    if (entry->deleted == nullptr || !Hides(*entry->deleted, t)) return entry;
    ++state_->report()->deleted;
    return nullptr;
  }

  Status ResolveOne(Entry* entry) {
    if (entry->waiting != nullptr) unresolved_.push_back(entry);
    return Resolve();
  }
  // Gives the unresolved their references; one may be among them several times.
  Status Resolve() {
    if (unresolved_.empty()) return Status::Ok();
    std::vector<Labels> labels;
    for (const Entry* entry : unresolved_) labels.push_back(entry->waiting->labels);
    std::vector<SeriesRef> refs;
    if (Status s = state_->writer()->Resolve(labels, &refs); !s.ok()) return s;
    for (std::size_t i = 0; i < unresolved_.size(); ++i) {
      Entry* const entry = unresolved_[i];
      const std::unique_ptr<Waiting> waiting = std::move(entry->waiting);
      entry->ref = refs[i];
      if (waiting == nullptr || !waiting->metadata) continue;
      if (Status s = state_->writer()->SetMetadata(entry->ref, std::move(*waiting->metadata)); !s.ok()) return s;
    }
    unresolved_.clear();
    return Status::Ok();
  }

  PrometheusImportState* const state_;
  const Deletes& deletes_;
  Timestamp min_time_ = kMinTimestamp;
  absl::flat_hash_map<std::uint64_t, Entry> series_;
  std::unordered_map<std::string, std::vector<TimeRange>> deleted_;  // by labels; entries point into it
  std::vector<Entry*> found_;
  std::vector<Entry*> unresolved_;
};

struct LogFiles {
  std::vector<std::string> segments;  // in order; those of a checkpoint first
  std::vector<std::string> missing;   // what should be among them
  std::uint64_t bytes = 0;
};

std::optional<std::uint64_t> Number(std::string_view text) {
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(n) : std::nullopt;
}

// Segments of a directory by number.
Status List(const std::string& directory, std::map<std::uint64_t, std::string>* segments,
            std::map<std::uint64_t, std::string>* checkpoints) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    constexpr std::string_view kCheckpoint = "checkpoint.";
    if (const auto n = Number(name)) (*segments)[*n] = it->path().string();
    if (!name.starts_with(kCheckpoint) || checkpoints == nullptr) continue;
    if (const auto n = Number(std::string_view(name).substr(kCheckpoint.size()))) (*checkpoints)[*n] = it->path().string();
  }
  return error ? ErrnoStatus("cannot list " + directory, error) : Status::Ok();
}

Status AddInOrder(const std::string& directory, const std::map<std::uint64_t, std::string>& segments, std::uint64_t first,
                  LogFiles* files) {
  std::uint64_t next = first;
  for (const auto& [number, path] : segments) {
    if (number < first) continue;
    if (number != next) {
      files->missing.push_back(directory + ": segments " + std::to_string(next) + " to " + std::to_string(number - 1) +
                               " are missing");
    }
    next = number + 1;
    std::error_code error;
    const std::uintmax_t size = fs::file_size(path, error);
    if (!error) files->bytes += size;
    files->segments.push_back(path);
  }
  return Status::Ok();
}

// The newest checkpoint and what comes behind it, as Prometheus replays.
// `whole`: without a checkpoint it must begin with segment 0; `wbl` is trimmed without one.
Status ListLog(const std::string& directory, bool whole, LogFiles* files) {
  std::map<std::uint64_t, std::string> segments, checkpoints, of_checkpoint;
  if (Status s = List(directory, &segments, &checkpoints); !s.ok()) return s;
  std::uint64_t first = whole || segments.empty() ? 0 : segments.begin()->first;
  if (!checkpoints.empty()) {
    const auto& [number, path] = *checkpoints.rbegin();
    first = number + 1;
    if (Status s = List(path, &of_checkpoint, nullptr); !s.ok()) return s;
    if (Status s = AddInOrder(path, of_checkpoint, 0, files); !s.ok()) return s;
  }
  return AddInOrder(directory, segments, first, files);
}

// Reads a log twice: for its deletes, and for the rest.
class LogReader {
 public:
  LogReader(PrometheusImportState* state, bool tell) : state_(state), tell_(tell) {}

  // kNotFound: a file went away.
  Status Read(const LogFiles& files, PrometheusRecordSink* sink) {
    for (const std::string& path : files.segments) {
      auto segment = PrometheusWalSegment::Open(path);
      if (!segment.ok()) {
        if (segment.status().code() == StatusCode::kNotFound) return segment.status();
        Tell(segment.status());
        continue;
      }
      if (Status s = ReadSegment(segment->get(), path == files.segments.back(), path, sink); !s.ok()) return s;
    }
    return Status::Ok();
  }

 private:
  void Tell(const Status& problem) {
    if (tell_) state_->Problem(problem);
  }

  Status ReadSegment(PrometheusWalSegment* segment, bool last, const std::string& path, PrometheusRecordSink* sink) {
    PrometheusImportReport::Log& log = state_->report()->log;
    std::uint64_t position = 0;
    const auto advance = [&] {
      if (tell_) state_->context().Add(segment->position() - position);
      if (tell_) log.bytes += segment->position() - position;
      position = segment->position();
    };
    for (std::uint64_t n = 0; segment->Next(); ++n) {
      Status damage;
      if (Status s = records_.Read(segment->record(), sink, &damage); !s.ok()) return s;
      if (!damage.ok()) Tell(damage.WithContext(path + ": byte " + std::to_string(segment->offset())));
      if (tell_) ++log.records;
      advance();
      if (n % 64 == 0) {
        if (Status cancelled = state_->context().CheckCancelled(); !cancelled.ok()) return cancelled;
      }
    }
    advance();
    for (const Status& problem : segment->problems()) Tell(problem);
    if (!segment->status().ok()) Tell(segment->status());
    if (tell_) ++log.segments;
    if (segment->torn()) {
      const std::string where = path + ": byte " + std::to_string(segment->position()) + ": the file ends within a record";
      if (!last) Tell(DataLoss(where));
      if (last && tell_) log.torn = where;
    }
    return Status::Ok();
  }

  PrometheusImportState* const state_;
  const bool tell_;  // problems and counts; the other pass sees the same
  PrometheusRecordReader records_;
};

Status ReadLog(PrometheusImportState* state, const std::string& directory, Timestamp min_time) {
  LogFiles files, late;
  if (Status s = ListLog(directory + "/wal", true, &files); !s.ok()) return s;
  const Status has_late = ListLog(directory + "/wbl", false, &late);  // there only where late samples are taken
  Deletes deletes;
  DeletesOfLog find_deletes(&deletes);
  if (Status s = LogReader(state, false).Read(files, &find_deletes); !s.ok()) return s;
  for (const LogFiles* log : {&files, &late}) {
    for (const std::string& missing : log->missing) state->Problem(missing);
  }
  if (!has_late.ok() && has_late.code() != StatusCode::kNotFound) state->Problem(has_late.message());
  state->context().Begin("log", files.bytes + late.bytes, "bytes");
  LogImport import(state, &deletes);
  import.SetMinTime(min_time);
  LogReader reader(state, true);
  if (Status s = reader.Read(files, &import); !s.ok()) return s;
  if (!has_late.ok()) return Status::Ok();
  import.SetMinTime(kMinTimestamp);
  return reader.Read(late, &import);
}

}  // namespace

Status ImportPrometheusLog(PrometheusImportState* state, const std::string& directory, Timestamp min_time) {
  std::error_code error;
  if (!fs::exists(directory + "/wal", error)) return NotFound(directory + "/wal is not there");
  const PrometheusImportReport::Log before = state->report()->log;
  Status s = ReadLog(state, directory, min_time);
  if (s.code() == StatusCode::kNotFound) {
    // Prometheus has made a checkpoint of what was listed.
    state->report()->log = before;
    s = ReadLog(state, directory, min_time);
  }
  if (s.code() == StatusCode::kNotFound) {
    state->Problem(s.WithContext("files of the log go away as they are read; import again"));
    return Status::Ok();
  }
  return s;
}

}  // namespace chronolith::ops
