#include "ops/prometheus_export.h"

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <map>
#include <memory>

#include "base/coding.h"
#include "base/hash.h"
#include "base/posix_file.h"
#include "chunk/histogram_chunk.h"
#include "interop/prometheus_block.h"
#include "ops/file_copy.h"
#include "ops/prometheus_chunks.h"
#include "ops/target_path.h"

namespace chronolith::ops {

namespace {

constexpr std::size_t kMaxBlocks = 100'000;
constexpr std::size_t kDigestBytes = 1 << 20;

// What a window holds, whatever the order of its series and however its chunks are cut.
struct Window {
  std::uint64_t digest = 0;
  std::uint64_t series = 0, samples = 0;
  Timestamp first = kMaxTimestamp, last = kMinTimestamp;

  std::string Ulid(Timestamp start, std::int64_t block_ms) const {
    std::string content;
    PutFixed64(&content, digest);
    PutFixed64(&content, samples);
    PutFixed64(&content, static_cast<std::uint64_t>(start));
    PutFixed64(&content, static_cast<std::uint64_t>(block_ms));
    std::array<std::uint8_t, 10> random;
    const std::uint64_t a = StableHash(content), b = StableHash(content + "2");
    for (std::size_t i = 0; i < random.size(); ++i) {
      random[i] = static_cast<std::uint8_t>(i < 8 ? a >> (8 * i) : b >> (8 * (i - 8)));
    }
    return MakeUlid(std::clamp<Timestamp>(last, 0, (1LL << 48) - 1), random);
  }
};

class BlockExport {
 public:
  BlockExport(const OpsContext& context, Storage* storage, std::string directory, const PrometheusExportOptions& options,
              PrometheusExportReport* report)
      : context_(context), storage_(storage), directory_(std::move(directory)), options_(options), report_(report) {}

  Status Run() {
    if (Status s = Prepare(); !s.ok()) return s;
    auto lock = PathLock::Take(directory_, true, "exports into it");
    if (!lock.ok()) return lock.status();
    auto ids = MatchingIds(storage_, options_.selectors);
    if (!ids.ok()) return ids.status();
    ids_ = std::move(*ids);
    if (Status s = Survey(); !s.ok()) return s;
    std::uint64_t samples = 0;
    for (const auto& [start, window] : windows_) samples += window.samples;
    context_.Begin("write blocks", samples, "samples");
    for (const auto& [start, window] : windows_) {
      if (Status s = OneWindow(start, window); !s.ok()) return s;
    }
    return Status::Ok();
  }

 private:
  Status Prepare() {
    std::error_code error;
    if (std::filesystem::exists(directory_ + "/STORE", error)) {
      return FailedPrecondition(directory_ + " is a Chronolith database; blocks want a directory of their own");
    }
    if (Status s = CheckOutsideDatabases(directory_); !s.ok()) return s;
    std::filesystem::create_directories(directory_ + "/wal", error);
    return error ? ErrnoStatus("cannot create " + directory_ + "/wal", error) : Status::Ok();
  }

  Timestamp WindowOf(Timestamp t) const {
    const std::int64_t n = t / options_.block_ms - (t % options_.block_ms < 0 ? 1 : 0);
    Timestamp start;
    return __builtin_mul_overflow(n, options_.block_ms, &start) ? kMinTimestamp : start;
  }
  TimeRange RangeOf(Timestamp start) const {
    Timestamp end;
    // The window that begins at the first timestamp there is may be cut short.
    const Timestamp regular = start == kMinTimestamp ? (kMinTimestamp / options_.block_ms) * options_.block_ms : start;
    if (start == kMinTimestamp && regular != start) {
      end = regular;
    } else if (__builtin_add_overflow(start, options_.block_ms, &end)) {
      end = kMaxTimestamp;
    }
    return {std::max(start, options_.range.start), std::min(end, options_.range.end)};
  }

  // ---- The first pass: what each window holds.

  Status Survey() {
    context_.Begin("survey", ids_.size(), "series");
    return ScanPieces(storage_, ids_, options_.range, options_.series_at_once, context_.cancelled, [this](SeriesSet* set) {
      while (set->Next()) {
        if (Status s = SurveySeries(set->labels(), &set->samples()); !s.ok()) return s;
        context_.Add(1);
      }
      return set->status();
    });
  }

  Status SurveySeries(const Labels& labels, SampleIterator* samples) {
    std::array<Timestamp, 256> timestamps;
    std::array<double, 256> values;
    Window* window = nullptr;
    TimeRange range{0, 0};
    std::string content;
    const auto end_window = [&] {
      if (window != nullptr) window->digest += StableHash(content);
      window = nullptr;
    };
    const auto enter = [&](Timestamp t) {
      if (window == nullptr || !range.Contains(t)) {
        end_window();
        const Timestamp start = WindowOf(t);
        range = RangeOf(start);
        window = &windows_[start];
        ++window->series;
        content.assign(labels.encoded());
      }
      ++window->samples;
      window->first = std::min(window->first, t);
      window->last = std::max(window->last, t);
      if (content.size() >= kDigestBytes) {
        const std::uint64_t so_far = StableHash(content);
        content.clear();
        PutFixed64(&content, so_far);
      }
      PutFixed64(&content, static_cast<std::uint64_t>(t));
    };
    while (true) {
      const std::size_t n = samples->NextFloats(timestamps.data(), values.data(), values.size());
      for (std::size_t i = 0; i < n; ++i) {
        enter(timestamps[i]);
        PutFixed64(&content, std::bit_cast<std::uint64_t>(values[i]));
      }
      report_->samples += n;
      if (windows_.size() > kMaxBlocks) {
        return InvalidArgument("there would be more than " + std::to_string(kMaxBlocks) +
                               " blocks: choose longer ones, or a shorter range");
      }
      if (n > 0) continue;
      const ValueType type = samples->Next();
      if (type == ValueType::kNone) break;
      if (type == ValueType::kFloat) {
        enter(samples->timestamp());
        PutFixed64(&content, std::bit_cast<std::uint64_t>(samples->value()));
        ++report_->samples;
      } else if (HasCustomBuckets(samples->histogram())) {
        ++report_->left_out;
      } else {
        enter(samples->timestamp());
        const HistogramSample sample{samples->timestamp(), samples->histogram()};
        content.append(EncodeHistograms({&sample, 1}));
        ++report_->histograms;
      }
    }
    end_window();
    return samples->status();
  }

  // ---- The second pass: one window after another.

  Status OneWindow(Timestamp start, const Window& window) {
    PrometheusExportReport::Block block{window.Ulid(start, options_.block_ms), window.first, window.last + 1, window.series,
                                        window.samples};
    std::error_code error;
    if (std::filesystem::exists(directory_ + "/" + block.ulid, error)) {
      block.kept = true;
      context_.Add(window.samples);
      report_->blocks.push_back(block);
      return Status::Ok();
    }
    // Of an export that was killed; nobody else is at it.
    std::filesystem::remove_all(directory_ + "/" + block.ulid + ".tmp-for-creation", error);
    PrometheusBlockWriter::Options options;
    options.ulid = block.ulid;
    options.segment_bytes = options_.segment_bytes;
    options.in_pieces = ids_.size() > options_.series_at_once;
    auto writer = PrometheusBlockWriter::Create(directory_, options);
    if (!writer.ok()) return writer.status();
    const auto visit = [&](SeriesSet* set) {
      while (set->Next()) {
        if (Status s = WriteSeries(set->labels(), &set->chunks(), writer->get()); !s.ok()) return s;
      }
      if (options.in_pieces) (*writer)->EndPiece();
      return set->status();
    };
    if (Status s = ScanPieces(storage_, ids_, RangeOf(start), options_.series_at_once, context_.cancelled, visit); !s.ok())
      return s;
    if (Status s = context_.CheckCancelled(); !s.ok()) return s;
    const auto summary = (*writer)->Finish();
    if (!summary.ok()) return summary.status();
    if (summary->samples != window.samples || summary->series != window.series) {
      return DataLoss("the block of " + std::to_string(start) + " got " + std::to_string(summary->samples) + " samples of " +
                      std::to_string(summary->series) + " series, " + std::to_string(window.samples) + " of " +
                      std::to_string(window.series) + " were expected");
    }
    report_->blocks.push_back(block);
    return Status::Ok();
  }

  // Chunks of floats as they are; histograms as Prometheus encodes them.
  Status WriteSeries(const Labels& labels, ChunkIterator* chunks, PrometheusBlockWriter* writer) {
    data_.clear();
    chunks_.clear();
    std::uint64_t samples = 0;
    const auto keep = [this](const PrometheusChunk& chunk) {
      data_.emplace_back(chunk.data);
      chunks_.push_back(chunk);
      return Status::Ok();
    };
    if (Status s = ForEachPrometheusChunk(chunks, CustomBuckets::kLeaveOut, keep); !s.ok()) return s.WithContext(labels.ToString());
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      chunks_[i].data = data_[i];
      samples += chunks_[i].samples;
    }
    context_.Add(samples);
    return writer->Add(labels, chunks_);
  }

  const OpsContext& context_;
  Storage* const storage_;
  const std::string directory_;
  const PrometheusExportOptions& options_;
  PrometheusExportReport* const report_;
  std::vector<SeriesRef> ids_;
  std::map<Timestamp, Window> windows_;
  std::vector<std::string> data_;  // of chunks_
  std::vector<PrometheusChunk> chunks_;
};

}  // namespace

Status ExportPrometheusBlocks(const OpsContext& context, Storage* storage, const std::string& directory,
                              const PrometheusExportOptions& options, PrometheusExportReport* report) {
  if (options.block_ms <= 0) return InvalidArgument("the duration of a block must be more than 0");
  return BlockExport(context, storage, directory, options, report).Run();
}

}  // namespace chronolith::ops
