// The series of a store as blocks of Prometheus' TSDB.
#ifndef CHRONOLITH_OPS_PROMETHEUS_EXPORT_H_
#define CHRONOLITH_OPS_PROMETHEUS_EXPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/storage.h"
#include "ops/context.h"
#include "ops/series_scan.h"

namespace chronolith::ops {

struct PrometheusExportOptions {
  std::vector<std::vector<Matcher>> selectors;  // series that match any; none: all
  TimeRange range;
  std::int64_t block_ms = 2LL * 60 * 60 * 1000;  // blocks begin at its multiples
  // Series whose labels are in memory together; more are read in pieces of so many, which each block's index puts in order.
  std::size_t series_at_once = kSeriesAtOnce;
  std::uint64_t segment_bytes = 512ULL << 20;
};

struct PrometheusExportReport {
  struct Block {
    std::string ulid;
    Timestamp start = 0;                    // of the samples, as in meta.json
    Timestamp end = 0;                      // exclusive
    std::uint64_t series = 0, samples = 0;  // histograms count
    bool kept = false;                      // was there already, from an earlier export of the same samples
  };
  std::vector<Block> blocks;
  std::uint64_t samples = 0, histograms = 0;
  std::uint64_t left_out = 0;  // histograms with custom buckets, which Prometheus 2 would misread in a block
};

// Writes a block for each window of `block_ms` that has samples, ascending, into `directory`, which is made where it is missing,
// with an empty `wal` in it, which promtool looks for. A block's ULID follows from its samples: where a block of this name is
// there, that window was written before and is kept, so that an export that was ended goes on when it is called again. Each block
// has its name when all of it is synced.
//
// The store is read twice: first for what each window holds. Memory: kSeriesAtOnce, that of PrometheusIndexWriter, 8 bytes a
// series. kFailedPrecondition: another process exports into the directory, or it is a database; kInvalidArgument: there would be
// more than 100,000 blocks. After an error or kCancelled the report has the blocks that are complete.
Status ExportPrometheusBlocks(const OpsContext& context, Storage* storage, const std::string& directory,
                              const PrometheusExportOptions& options, PrometheusExportReport* report);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_PROMETHEUS_EXPORT_H_
