#include "ops/prometheus_import.h"

#include <array>
#include <filesystem>
#include <map>
#include <set>

#include "base/posix_file.h"
#include "chunk/xor_chunk.h"
#include "interop/prometheus_block.h"
#include "interop/prometheus_histogram.h"
#include "interop/prometheus_meta.h"
#include "ops/prometheus_import_parts.h"

namespace chronolith::ops {

namespace {

namespace fs = std::filesystem;

// A block being taken. Series wait for a few others, because new ones are created together.
class BlockImport {
 public:
  BlockImport(PrometheusImportState* state, std::string directory) : state_(state), directory_(std::move(directory)) {}

  // kNotFound: the block went away meanwhile. What is damaged is told, and block() says whether anything was.
  Status Run() {
    PrometheusBlockReader::Options options;
    options.skip_damaged = true;
    options.range = state_->options().range;
    auto reader = PrometheusBlockReader::Open(directory_, options);
    if (!reader.ok()) {
      if (Gone()) return Vanished();
      Damaged(reader.status());
      return Status::Ok();
    }
    block_.whole = true;
    Status s;
    while (s.ok() && (*reader)->Next()) s = OneSeries(reader->get());
    if (!s.ok()) return s;
    if (!(*reader)->problems().empty() && Gone()) return Vanished();
    for (const Status& problem : (*reader)->problems()) Damaged(problem);
    if (!(*reader)->status().ok()) Damaged((*reader)->status());
    return Write();
  }
  PrometheusImportReport::Block* block() { return &block_; }

 private:
  bool Gone() const {
    std::error_code error;
    return !fs::exists(directory_, error);
  }
  Status Vanished() const { return NotFound(directory_ + " went away"); }
  void Damaged(const Status& problem) {
    block_.whole = false;
    state_->Problem(problem);
  }

  Status OneSeries(PrometheusBlockReader* reader) {
    if (!reader->problems().empty() && Gone()) return Vanished();
    for (const Status& problem : reader->problems()) Damaged(problem);
    if (!state_->Matches(reader->labels())) return Status::Ok();
    std::uint64_t taken = 0;
    for (const PrometheusChunk& chunk : reader->chunks()) {
      const Status s = chunk.encoding == 1 ? Floats(chunk, reader->deleted()) : Histograms(chunk, reader->deleted());
      if (!s.ok()) Damaged(s.WithContext(directory_ + ": a chunk of " + reader->labels().ToString()));
      if (!IsFull()) continue;  // a series of a month does not wait for its end
      taken += EndOf(reader->labels());
      if (Status written = Write(); !written.ok()) return written;
    }
    taken += EndOf(reader->labels());
    if (taken > 0) ++block_.series;
    block_.samples += taken;
    if (!IsFull()) return Status::Ok();
    if (Status s = Write(); !s.ok()) return s;
    return state_->context().CheckCancelled();
  }

  // What waits is of these labels from here back to the series before. How much that is.
  std::uint64_t EndOf(const Labels& labels) {
    const auto [samples, histograms] = ends_.empty() ? std::pair<std::size_t, std::size_t>() : ends_.back();
    const std::uint64_t taken = samples_.size() - samples + histograms_.size() - histograms;
    if (taken == 0) return 0;
    labels_.push_back(labels);
    ends_.push_back({samples_.size(), histograms_.size()});
    return taken;
  }
  bool IsFull() const {
    return labels_.size() >= kSeriesAtOnce ||
           samples_.size() + BulkWriter::kHistogramWeight * histograms_.size() >= BulkWriter::kBatch;
  }

  bool Takes(Timestamp t, std::span<const TimeRange> deleted) {
    if (!state_->InRange(t)) return false;
    if (!Hides(deleted, t)) return true;
    ++state_->report()->deleted;
    return false;
  }
  Status Floats(const PrometheusChunk& chunk, std::span<const TimeRange> deleted) {
    std::array<Timestamp, 256> timestamps;
    std::array<double, 256> values;
    in_.Reset(chunk.data);
    const bool all = deleted.empty() && state_->InRange(chunk.min_time) && state_->InRange(chunk.max_time);
    while (const std::size_t n = in_.Decode(timestamps.data(), values.data(), timestamps.size())) {
      for (std::size_t i = 0; i < n; ++i) {
        if (all || Takes(timestamps[i], deleted)) samples_.push_back({timestamps[i], values[i]});
      }
      state_->context().Add(n);
    }
    return in_.status();
  }
  Status Histograms(const PrometheusChunk& chunk, std::span<const TimeRange> deleted) {
    return DecodePrometheusHistograms(chunk.encoding, chunk.data, [&](HistogramSample sample) {
      state_->context().Add(1);
      if (Takes(sample.timestamp, deleted)) histograms_.push_back(std::move(sample));
      return Status::Ok();
    });
  }

  Status Write() {
    BulkWriter* const writer = state_->writer();
    if (Status s = writer->Resolve(labels_, &refs_); !s.ok()) return s;
    std::pair<std::size_t, std::size_t> at{0, 0};
    for (std::size_t i = 0; i < labels_.size(); ++i) {
      for (; at.first < ends_[i].first; ++at.first) {
        const Sample& sample = samples_[at.first];
        if (Status s = writer->Append(refs_[i], sample.timestamp, sample.value); !s.ok()) return s;
      }
      for (; at.second < ends_[i].second; ++at.second) {
        if (Status s = writer->AppendHistogram(refs_[i], std::move(histograms_[at.second])); !s.ok()) return s;
      }
    }
    labels_.clear();
    ends_.clear();
    samples_.clear();
    histograms_.clear();
    return Status::Ok();
  }

  static constexpr std::size_t kSeriesAtOnce = 8 << 10;

  PrometheusImportState* const state_;
  const std::string directory_;
  PrometheusImportReport::Block block_;
  XorIterator in_;
  std::vector<Labels> labels_;
  std::vector<std::pair<std::size_t, std::size_t>> ends_;  // of each in samples_ and histograms_
  std::vector<Sample> samples_;
  std::vector<HistogramSample> histograms_;
  std::vector<SeriesRef> refs_;
};

class Import {
 public:
  Import(PrometheusImportState* state, std::string directory) : state_(state), directory_(std::move(directory)) {}

  Status Run() {
    std::error_code error;
    if (!fs::is_directory(directory_, error)) {
      return error ? ErrnoStatus("cannot read " + directory_, error) : NotFound(directory_ + " is no directory");
    }
    if (fs::exists(directory_ + "/index", error) || fs::exists(directory_ + "/meta.json", error)) {
      Listed block{directory_, fs::path(directory_).filename().string(), {}};
      if (!ReadMeta(&block)) return Status::Ok();
      return OneBlock(block);
    }
    if (Status s = NewBlocks(); !s.ok()) return s;
    const bool any = !known_.empty();
    const Status log = ImportPrometheusLog(state_, directory_, blocks_end_);
    if (log.code() == StatusCode::kNotFound && !any) {
      return NotFound(directory_ + " has neither blocks nor a directory wal: it is not the data of a Prometheus");
    }
    if (!log.ok() && log.code() != StatusCode::kNotFound) return log;
    // What was cut from the log since then is in a block now, and what went away in a larger one.
    constexpr int kRounds = 3;
    for (int round = 0; round < kRounds; ++round) {
      const std::size_t before = known_.size();
      if (Status s = NewBlocks(); !s.ok()) return s;
      if (known_.size() == before) break;
    }
    for (const Listed& block : vanished_) {
      if (!Covered(block.meta)) state_->report()->vanished.push_back(block.ulid);
    }
    return Status::Ok();
  }

 private:
  struct Listed {
    std::string path;
    std::string ulid;
    PrometheusBlockMeta meta;
  };

  // False where the block cannot be taken; that is told, unless the block went away.
  bool ReadMeta(Listed* block) {
    std::error_code error;
    const std::string path = block->path + "/meta.json";
    const auto text = ReadWholeFile(path);
    if (!text.ok() && !fs::exists(block->path, error)) return false;
    auto meta = text.ok() ? ParsePrometheusMeta(*text) : Result<PrometheusBlockMeta>(text.status());
    if (meta.ok()) {
      block->meta = std::move(*meta);
      return true;
    }
    state_->Problem(text.ok() ? meta.status().WithContext(path) : meta.status());
    PrometheusImportReport::Block unread;
    unread.ulid = block->ulid;
    state_->report()->blocks.push_back(unread);
    return false;
  }

  bool Covered(const PrometheusBlockMeta& meta) const {
    return !meta.sources.empty() && std::all_of(meta.sources.begin(), meta.sources.end(),
                                                [this](const std::string& source) { return sources_.contains(source); });
  }

  // Blocks that were not looked at yet, oldest first.
  Status NewBlocks() {
    std::vector<Listed> blocks;
    std::error_code error;
    for (fs::directory_iterator it(directory_, error), end; !error && it != end; it.increment(error)) {
      Listed block{it->path().string(), it->path().filename().string(), {}};
      if (!IsUlid(block.ulid) || !known_.insert(block.ulid).second || !ReadMeta(&block)) continue;
      blocks.push_back(std::move(block));
    }
    if (error) return ErrnoStatus("cannot list " + directory_, error);
    std::sort(blocks.begin(), blocks.end(), [](const Listed& a, const Listed& b) {
      return std::pair(a.meta.min_time, a.ulid) < std::pair(b.meta.min_time, b.ulid);
    });
    for (const Listed& block : blocks) {
      // Made of blocks that are here already, as Prometheus does meanwhile.
      if (!first_ && Covered(block.meta)) continue;
      if (Status s = OneBlock(block); !s.ok()) return s;
    }
    first_ = false;
    return Status::Ok();
  }

  Status OneBlock(const Listed& block) {
    if (!state_->options().range.Overlaps(block.meta.min_time, block.meta.max_time)) return Status::Ok();
    state_->context().Begin("block " + block.ulid, block.meta.samples, "samples");
    BlockImport import(state_, block.path);
    const Status s = import.Run();
    PrometheusImportReport::Block* const taken = import.block();
    taken->ulid = block.ulid;
    taken->start = block.meta.min_time;
    taken->end = block.meta.max_time;
    if (s.code() == StatusCode::kNotFound) {
      vanished_.push_back(block);
      return Status::Ok();
    }
    if (!s.ok()) return s;
    state_->report()->blocks.push_back(*taken);
    if (!taken->whole) return Status::Ok();
    sources_.insert(block.meta.sources.begin(), block.meta.sources.end());
    sources_.insert(block.ulid);
    if (!block.meta.out_of_order) blocks_end_ = std::max(blocks_end_, block.meta.max_time);
    return Status::Ok();
  }

  PrometheusImportState* const state_;
  const std::string directory_;
  bool first_ = true;
  std::set<std::string> known_;    // names of blocks
  std::set<std::string> sources_;  // of blocks that were read whole
  std::vector<Listed> vanished_;
  Timestamp blocks_end_ = kMinTimestamp;
};

}  // namespace

Status ImportPrometheus(const OpsContext& context, Storage* storage, const std::string& directory,
                        const PrometheusImportOptions& options, PrometheusImportReport* report) {
  PrometheusImportState state(context, storage, options, report);
  if (Status s = state.Compile(); !s.ok()) return s;
  std::string path = directory;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  Status s = Import(&state, path).Run();
  const Status finished = state.writer()->Finish();
  report->written = state.writer()->written();
  report->refused = state.writer()->refused();
  report->refusals = state.writer()->reasons();
  return s.ok() ? finished : s;
}

}  // namespace chronolith::ops
