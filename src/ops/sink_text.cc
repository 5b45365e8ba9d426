#include "ops/sink_text.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "base/posix_file.h"
#include "interop/json_lines.h"
#include "interop/openmetrics_writer.h"
#include "ops/batching_sink.h"
#include "ops/target_path.h"

namespace chronolith::ops {
namespace {

class NullSink final : public RecordSink {
 public:
  Status OnSeries(const RecordPlace&, std::span<const SeriesEntry>) override { return Status::Ok(); }
  void OnForgetSeries() override {}
  Status OnSamples(const RecordPlace&, std::span<const SampleEntry> samples) override { return Count(samples.size()); }
  Status OnHistograms(const RecordPlace&, std::span<const HistogramEntry> histograms) override { return Count(histograms.size()); }
  Status OnExemplars(const RecordPlace&, std::span<const ExemplarEntry> exemplars) override { return Count(exemplars.size()); }
  Status OnMetadata(const RecordPlace&, std::span<const MetadataEntry> metadata) override { return Count(metadata.size()); }
  Status Flush(Delivered* delivered) override {
    delivered->sent += std::exchange(items_, 0);
    return Status::Ok();
  }

 private:
  Status Count(std::size_t items) {
    items_ += items;
    return Status::Ok();
  }
  std::uint64_t items_ = 0;
};

class NullTarget final : public RecordTarget {
 public:
  std::string name() const override { return "null"; }
  bool needs_labels() const override { return false; }
  Status Open(std::string_view) override { return Status::Ok(); }
  Result<std::unique_ptr<RecordSink>> NewSink(ShardId) override {
    return std::unique_ptr<RecordSink>(std::make_unique<NullSink>());
  }
  Status Sync(std::string* position) override {
    position->clear();
    return Status::Ok();
  }
  Status Close() override { return Status::Ok(); }
};

// A file that several threads append to. Thread safety: safe.
class SharedFile {
 public:
  ~SharedFile() {
    if (path_ == "-") (void)fd_.Release();  // is the program's
  }
  Status Open(const std::string& path, int flags) {
    path_ = path;
    if (path == "-") {
      fd_ = FileDescriptor(STDOUT_FILENO);
      return Status::Ok();
    }
    Result<FileDescriptor> fd = OpenFile(path, flags | O_WRONLY);
    if (fd.ok()) fd_ = std::move(*fd);
    return fd.status();
  }
  // What lies behind `size` is cut off. kDataLoss: it is shorter.
  Status CutTo(std::uint64_t size) {
    const MutexLock lock(&mu_);
    const off_t end = ::lseek(fd_.get(), 0, SEEK_END);
    if (end < 0) return ErrnoStatus("cannot seek in " + path_, errno);
    if (static_cast<std::uint64_t>(end) < size) {
      return DataLoss(path_ + " has " + std::to_string(end) + " bytes, but had " + std::to_string(size) +
                      " when the cursor was written; remove both to begin anew");
    }
    if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return ErrnoStatus("cannot cut off " + path_, errno);
    if (::lseek(fd_.get(), static_cast<off_t>(size), SEEK_SET) < 0) return ErrnoStatus("cannot seek in " + path_, errno);
    size_ = size;
    return Status::Ok();
  }
  Status Append(std::string_view text) {
    const MutexLock lock(&mu_);
    size_ += text.size();
    return WriteFully(fd_.get(), text, path_ == "-" ? "stdout" : path_);
  }
  Result<std::uint64_t> Sync() {
    const MutexLock lock(&mu_);
    if (path_ != "-" && ::fdatasync(fd_.get()) != 0) return ErrnoStatus("cannot sync " + path_, errno);
    return size_;
  }

 private:
  std::string path_;
  FileDescriptor fd_;
  Mutex mu_;
  std::uint64_t size_ ABSL_GUARDED_BY(mu_) = 0;
};

std::uint64_t ItemsOf(const TimeSeries& s) {
  return s.samples.size() + s.histograms.size() + s.exemplars.size() + s.metadata.size();
}

class TextSink final : public BatchingSink {
 public:
  TextSink(TextForm form, SharedFile* file) : form_(form), file_(file), json_(&text_), openmetrics_(&text_) {}

 private:
  Status Deliver(std::span<const TimeSeries> batch, Delivered* delivered) override {
    Delivered d;
    for (const TimeSeries& s : batch) form_ == TextForm::kJsonLines ? AddJson(s, &d) : AddOpenMetrics(s, &d);
    const Status s = file_->Append(text_);
    text_.clear();
    if (!s.ok()) return s;
    delivered->sent += d.sent;
    delivered->skipped += d.skipped;
    delivered->refused += d.refused;
    for (const std::string& why : d.reasons) delivered->Refuse(0, why);
    return Status::Ok();
  }

  void AddJson(const TimeSeries& s, Delivered* delivered) {
    json_.BeginSeries(s.labels, s.metadata.empty() ? std::nullopt : std::optional(s.metadata.front()));
    for (const Sample& sample : s.samples) json_.AddSample(sample);
    for (const HistogramSample& h : s.histograms) json_.AddHistogram(h.timestamp, h.histogram);
    for (const Exemplar& e : s.exemplars) json_.AddExemplar(e);
    json_.EndSeries();
    delivered->sent += ItemsOf(s);
  }

  void AddOpenMetrics(const TimeSeries& s, Delivered* delivered) {
    const auto metadata = s.metadata.empty() ? std::nullopt : std::optional(s.metadata.front());
    if (!openmetrics_.BeginSeries(s.labels, metadata)) {
      delivered->Refuse(ItemsOf(s), s.labels.ToString() + ": OpenMetrics has no way to name it");
      return;
    }
    std::size_t exemplar = 0;
    for (const Sample& sample : s.samples) {
      const bool has = exemplar < s.exemplars.size() && s.exemplars[exemplar].timestamp <= sample.timestamp;
      if (!openmetrics_.AddSample(sample, has ? &s.exemplars[exemplar] : nullptr)) {
        ++delivered->skipped;  // a stale marker
        continue;
      }
      exemplar += has ? 1 : 0;
      ++delivered->sent;
    }
    delivered->sent += exemplar + s.metadata.size();
    delivered->skipped += s.exemplars.size() - exemplar + s.histograms.size();
  }

  const TextForm form_;
  SharedFile* const file_;
  std::string text_;
  interop::JsonLinesWriter json_;
  interop::OpenMetricsWriter openmetrics_;
};

class TextTarget final : public RecordTarget {
 public:
  explicit TextTarget(TextTargetOptions options)
      : options_(std::move(options)), beside_(!options_.resumable && options_.path != "-"), partial_(options_.path + ".partial") {}
  ~TextTarget() override {
    std::error_code ignored;
    if (opened_ && !closed_ && beside_) std::filesystem::remove(partial_, ignored);
  }

  std::string name() const override {
    const std::string form = options_.form == TextForm::kJsonLines ? "jsonl:" : "openmetrics:";
    return form + (options_.path == "-" ? "-" : std::filesystem::absolute(options_.path).lexically_normal().string());
  }

  Status Open(std::string_view position) override {
    if (options_.path == "-") {
      if (options_.resumable) return InvalidArgument("a cursor needs a file: nobody can go on with what stdout was given");
      opened_ = true;
      return file_.Open("-", 0);
    }
    if (!position.empty()) return GoOn(position);
    std::error_code error;
    const bool empty = options_.resumable && std::filesystem::file_size(options_.path, error) == 0 && !error;  // a run died at once
    if (!options_.overwrite && !empty && std::filesystem::exists(options_.path, error)) {
      return AlreadyExists(options_.path + " exists; --overwrite replaces it");
    }
    if (Status s = CheckOutsideDatabases(options_.path); !s.ok()) return s;
    if (Status s = file_.Open(beside_ ? partial_ : options_.path, O_CREAT | O_TRUNC); !s.ok()) return s;
    opened_ = true;
    return Status::Ok();
  }
  Result<std::unique_ptr<RecordSink>> NewSink(ShardId) override {
    return std::unique_ptr<RecordSink>(std::make_unique<TextSink>(options_.form, &file_));
  }
  Status Sync(std::string* position) override {
    const Result<std::uint64_t> size = file_.Sync();
    if (!size.ok()) return size.status();
    *position = std::to_string(*size);
    return named_ || beside_ || options_.path == "-" ? Status::Ok() : SyncName();
  }
  Status Close() override {
    if (options_.form == TextForm::kOpenMetrics) {
      std::string end;
      interop::OpenMetricsWriter(&end).Finish();
      if (Status s = file_.Append(end); !s.ok()) return s;
    }
    if (const auto size = file_.Sync(); !size.ok()) return size.status();
    if (beside_ && ::rename(partial_.c_str(), options_.path.c_str()) != 0) return ErrnoStatus("cannot rename " + partial_, errno);
    closed_ = true;
    return options_.path == "-" ? Status::Ok() : SyncName();
  }

 private:
  Status GoOn(std::string_view position) {
    std::uint64_t size = 0;
    const auto parsed = std::from_chars(position.data(), position.data() + position.size(), size);
    if (parsed.ec != std::errc() || parsed.ptr != position.data() + position.size()) {
      return InvalidArgument("the cursor has no position of a file");
    }
    if (Status s = file_.Open(options_.path, 0); !s.ok()) return s;
    opened_ = true;
    return file_.CutTo(size);
  }
  // The name of the file survives a power loss as its bytes do.
  Status SyncName() {
    const std::filesystem::path directory = std::filesystem::path(options_.path).parent_path();
    named_ = true;
    return SyncDirectory(directory.empty() ? "." : directory.string());
  }

  const TextTargetOptions options_;
  const bool beside_;
  const std::string partial_;
  SharedFile file_;
  bool opened_ = false;
  bool closed_ = false;
  bool named_ = false;
};

}  // namespace

std::unique_ptr<RecordTarget> NewNullTarget() { return std::make_unique<NullTarget>(); }
std::unique_ptr<RecordTarget> NewTextTarget(TextTargetOptions options) { return std::make_unique<TextTarget>(std::move(options)); }

}  // namespace chronolith::ops
