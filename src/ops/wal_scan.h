// Reads the log of one shard through the reader that recovery uses, decodes its records and hands on those that are selected.
#ifndef CHRONOLITH_OPS_WAL_SCAN_H_
#define CHRONOLITH_OPS_WAL_SCAN_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "ops/context.h"
#include "ops/log_labels.h"
#include "ops/offline_store.h"
#include "ops/record_sink.h"
#include "wal/sharded_wal.h"

namespace chronolith::ops {

// What of a log is meant. Everything by default.
struct LogSelection {
  std::vector<ShardId> shards;                  // empty: all
  std::map<ShardId, Lsn> from;                  // inclusive; a shard that is not named: from its beginning
  std::map<ShardId, Lsn> to;                    // inclusive
  TimeRange samples;                            // by time of samples, histograms and exemplars; deletes are cut to it
  TimeRange written;                            // by write time of the row, as the writer's clock said
  std::vector<std::vector<Matcher>> selectors;  // series that match any; none: all

  // kInvalidArgument: a shard that the store does not have, a bad regular expression, a reversed range.
  Status Check(ShardId shards_of_store) const;
  std::vector<ShardId> ShardsOf(ShardId shards_of_store) const;
  // In one line, the same for the same selection: what a cursor is for.
  std::string ToString() const;
};

// One record, and of what it holds what is selected. Valid during the call.
struct ScannedRecord {
  RecordPlace place;
  RecordType type = RecordType::kEpoch;
  std::size_t bytes = 0;                       // with its header, not compressed
  std::span<const SeriesRecordEntry> series;   // kSeries
  std::span<const SampleEntry> samples;        // kSamples
  std::span<const HistogramEntry> histograms;  // kItems
  std::span<const ExemplarEntry> exemplars;    // kItems
  std::span<const MetadataEntry> metadata;     // kItems
  std::span<const Ordinal> ordinals;           // kDelete, kRemoveSeries
  TimeRange range;                             // kDelete
  Timestamp floor = kMinTimestamp;             // kFloor
  EpochRecord epoch;                           // kEpoch
};

// What was handed on, and what was not.
struct ScanTotals {
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;  // of rows, as stored
  std::uint64_t records = 0;
  std::uint64_t series = 0;  // created
  std::uint64_t samples = 0;
  std::uint64_t histograms = 0;
  std::uint64_t exemplars = 0;
  std::uint64_t metadata = 0;
  std::uint64_t deletes = 0;         // records
  std::uint64_t removed = 0;         // series
  std::uint64_t left_out = 0;        // samples and items that are not selected
  std::uint64_t unlabelled = 0;      // of left_out: of series whose labels are lost, so that nobody can tell whether they match
  std::uint64_t removed_series = 0;  // of left_out: of series that were removed since, their labels with them
  Lsn first_lsn = 0;                 // of the records that were read within from and to; 0: none
  Lsn last_lsn = 0;
  Lsn trimmed_to = 0;
  Lsn log_end = 0;  // of all that was read, or is trimmed
  std::uint64_t items() const { return samples + histograms + exemplars + metadata + deletes; }
};

class RecordReceiver {
 public:
  virtual ~RecordReceiver() = default;
  // An error ends the scan and is returned.
  virtual Status OnRecord(const ScannedRecord& record) = 0;
  // All up to this LSN was handed on, or is not selected.
  virtual Status OnRowEnd(Lsn last) {
    (void)last;
    return Status::Ok();
  }
  // Records that are lost, before what lies behind them. An error ends the scan and is returned.
  virtual Status OnLoss(const WalLoss& loss) = 0;
};

// `labels` is told of the series records on the way, also of those that are not selected; Open was called. Records are counted as
// progress. Memory: one row, and 1 bit or so a series where there are selectors. kDataLoss: damage that the reader cannot pass.
Status ScanLog(const OfflineStore& store, ShardId shard, const LogSelection& selection, LogLabels* labels,
               const OpsContext& context, RecordReceiver* receiver, ScanTotals* totals);

// How many records the log of a shard holds, about: for progress.
std::uint64_t LogRecordsOf(const OfflineStore& store, ShardId shard);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_WAL_SCAN_H_
