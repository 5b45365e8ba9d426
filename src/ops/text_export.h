// The series of a store as text.
#ifndef CHRONOLITH_OPS_TEXT_EXPORT_H_
#define CHRONOLITH_OPS_TEXT_EXPORT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "chronolith/storage.h"
#include "ops/context.h"
#include "ops/series_scan.h"

namespace chronolith::ops {

enum class TextForm : std::uint8_t {
  kOpenMetrics,  // floats without stale markers, exemplars where a sample follows them, metadata
  kJsonLines,    // everything (interop/json_lines.h)
  kCsv,          // series,timestamp,value: floats
};

struct TextExportOptions {
  TextForm form = TextForm::kOpenMetrics;
  std::vector<std::vector<Matcher>> selectors;  // series that match any; none: all
  TimeRange range;
  // Series whose labels are in memory together. They come out in order of labels; beyond, in pieces of so many, each in order.
  std::size_t series_at_once = kSeriesAtOnce;
  // Until when the series must be found, which waits for shards that are still being replayed.
  Deadline find_by = kNoDeadline;
  MemoryShare* share = nullptr;  // counts ids and labels, and a part of its budget each batch of chunks; null: nobody counts
};

struct TextExportReport {
  std::uint64_t series = 0, samples = 0, histograms = 0, exemplars = 0, bytes = 0;
  // What the form cannot express.
  struct LeftOut {
    std::uint64_t series = 0, histograms = 0, stale_markers = 0, exemplars = 0;
    std::uint64_t total() const { return series + histograms + stale_markers + exemplars; }
  } left_out;
};

// Hands the text to `write` in pieces of about 1 MiB. An error of `write` or of the store ends it, kCancelled as well; the report
// says what was handed over. Memory: kSeriesAtOnce in series_scan.h says.
Status ExportText(const OpsContext& context, Storage* storage, const TextExportOptions& options,
                  const std::function<Status(std::string_view)>& write, TextExportReport* report);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_TEXT_EXPORT_H_
