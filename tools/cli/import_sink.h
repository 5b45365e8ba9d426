// Takes what the readers of text read into a store, in batches.
#ifndef CHRONOLITH_TOOLS_CLI_IMPORT_SINK_H_
#define CHRONOLITH_TOOLS_CLI_IMPORT_SINK_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "chronolith/storage.h"
#include "interop/openmetrics.h"

namespace chronolith::cli {

struct RefusedLine {
  std::string file;
  std::uint64_t line = 0;
  std::string reason;
};

// Collects items until a batch is full, then resolves new series together, appends and commits. What the store refuses is reported
// with the line it came from. After a fatal error (the log failed, ...) nothing more is written: look at fatal().
// Thread safety: one thread; the counters may be read from others.
class ImportSink : public interop::ExpositionSink {
 public:
  // `storage` null: nothing is written, what would be is counted. `refusals_kept`: so many are kept for the summary, and printed on
  // stderr as they come; all are counted.
  ImportSink(Storage* storage, AckLevel level, std::size_t batch, std::size_t refusals_kept);

  // The lines that follow come from this file. Flush before the last one's end.
  void SetFile(std::string name) { file_ = std::move(name); }
  // Writes what was collected.
  void Flush();

  Result<std::uint64_t> OnSeries(const Labels& labels) override;
  Status OnMetadata(std::uint64_t series, std::uint64_t line, const Metadata& metadata) override;
  Status OnSample(std::uint64_t series, std::uint64_t line, Sample sample) override;
  Status OnExemplar(std::uint64_t series, std::uint64_t line, Exemplar exemplar) override;
  Status OnHistogram(std::uint64_t series, std::uint64_t line, HistogramSample histogram);
  void OnForgetSeries() override;
  void OnRefused(std::uint64_t line, const Status& reason) override;

  const Status& fatal() const { return fatal_; }
  std::uint64_t samples() const { return samples_.load(std::memory_order_relaxed); }  // acknowledged at the level
  std::uint64_t histograms() const { return histograms_; }
  std::uint64_t exemplars() const { return exemplars_; }
  std::uint64_t metadata() const { return metadata_; }
  std::uint64_t refused() const { return refused_; }  // items: lines, or the exemplar or metadata of a line
  const std::vector<RefusedLine>& refusals() const { return refusals_; }

 private:
  struct Item {
    std::uint64_t series = 0;  // index in refs_
    std::uint64_t line = 0;
    std::variant<Sample, HistogramSample, Exemplar, Metadata> what;
  };

  Status Add(Item item);
  void Count(const Item& item);
  void Resolve();
  std::vector<const Item*> AppendAll();

  std::unique_ptr<Appender> appender_;
  const AckLevel level_;
  const std::size_t batch_;
  const std::size_t refusals_kept_;

  std::string file_;
  std::vector<Labels> new_series_;  // the last ones of refs_, not yet resolved
  std::vector<SeriesRef> refs_;
  std::unordered_map<std::uint64_t, Status> refused_series_;
  std::vector<Item> items_;

  Status fatal_;
  std::atomic<std::uint64_t> samples_{0};
  std::uint64_t histograms_ = 0;
  std::uint64_t exemplars_ = 0;
  std::uint64_t metadata_ = 0;
  std::uint64_t refused_ = 0;
  std::vector<RefusedLine> refusals_;
};

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_IMPORT_SINK_H_
