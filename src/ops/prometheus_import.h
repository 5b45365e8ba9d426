// What a Prometheus has stored, taken into a store: its blocks and its write-ahead log, read-only, also while it runs.
#ifndef CHRONOLITH_OPS_PROMETHEUS_IMPORT_H_
#define CHRONOLITH_OPS_PROMETHEUS_IMPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/storage.h"
#include "ops/bulk_writer.h"
#include "ops/context.h"

namespace chronolith::ops {

struct PrometheusImportOptions {
  std::vector<std::vector<Matcher>> selectors;  // series that match any; none: all
  TimeRange range;
  AckLevel level = AckLevel::kLogged;
};

struct PrometheusImportReport {
  struct Block {
    std::string ulid;  // or the directory's name
    Timestamp start = 0;
    Timestamp end = 0;                      // exclusive
    std::uint64_t series = 0, samples = 0;  // taken; histograms count
    bool whole = false;                     // nothing of it is damaged
  };
  std::vector<Block> blocks;
  struct Log {
    std::uint64_t segments = 0, records = 0, bytes = 0;
    std::uint64_t in_blocks = 0;     // samples passed by because blocks have their time
    std::uint64_t unknown_refs = 0;  // items of series that the log does not name
    std::string torn;                // where its end is torn; "": nowhere
  } log;
  BulkCounts written;
  std::uint64_t deleted = 0;          // samples that tombstones hide
  std::uint64_t refused = 0;          // by the store
  std::vector<std::string> refusals;  // reasons, the first of them
  std::uint64_t problems_total = 0;
  std::vector<std::string> problems;  // what is damaged, by file and byte; the first hundred
  std::vector<std::string> vanished;  // blocks that Prometheus removed meanwhile, and that no other holds
};

// `directory` is that of a Prometheus (its --storage.tsdb.path), or of one block. Its lock is not taken and nothing in it is
// changed. Blocks come first, oldest first, then the log: a checkpoint and the segments behind it, and of the log what no block
// that was read whole has the time of; then blocks that came meanwhile. So nothing is missed that moves from the log to a block,
// and from blocks to larger ones; a log whose files vanish is begun again, once. Where blocks differ at the same time, the later
// one in this order counts.
//
// Damage is in the report and the rest goes on. The same import again changes no sample. `storage` null: everything is read and
// counted. kNotFound: neither blocks nor log; errors of the store; kCancelled: what was taken is there.
//
// Memory: PrometheusBlockReader and BulkWriter; for the log 40 bytes a series, and the labels of series without a sample in the
// range.
Status ImportPrometheus(const OpsContext& context, Storage* storage, const std::string& directory,
                        const PrometheusImportOptions& options, PrometheusImportReport* report);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_PROMETHEUS_IMPORT_H_
