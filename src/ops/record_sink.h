// What a replay of the log sends its records to.
//
//   RecordTarget          the whole: a file, a database, an endpoint
//     RecordSink          its part for one shard of the source; one thread at a time, several sinks at once
//
// Order: a series lives in one shard, so what concerns it comes through one sink, in the order of the log. Between shards there is
// none, but see RecordTarget::sinks_move_together: a delete is a record in the log of each shard that has such series.
//
// Ownership: all that On* is given is valid during the call only; a sink may collect what it makes of it. Flush ends a batch: what
// was given before is then with the target (a database: logged; an endpoint: answered), and only that is counted and entered into
// the cursor. After a crash a target gets again what it had since the cursor was written, from there on in the same order, so a
// target that keeps the last of two samples with one time comes out the same.
//
// An error from any call ends the shard (other shards go on) and leaves its cursor where it was: for what another run may get
// through. What the target will never take is no error but counted as refused.
#ifndef CHRONOLITH_OPS_RECORD_SINK_H_
#define CHRONOLITH_OPS_RECORD_SINK_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "chronolith/types.h"
#include "format/series_id.h"
#include "format/wal_record.h"

namespace chronolith::ops {

// Where a record stands, and when it was written.
struct RecordPlace {
  ShardId shard = 0;
  Lsn lsn = 0;
  std::uint64_t epoch = 0;  // (epoch, group) orders the records of all shards
  std::uint64_t group = 0;
  std::int64_t write_time_ms = 0;  // of the writer's wall clock, which may have been set back
};

struct SeriesEntry {
  Ordinal ordinal = 0;  // names the series in later calls, of this shard
  const Labels* labels = nullptr;
};
struct HistogramEntry {
  Ordinal ordinal = 0;
  const HistogramSample* sample = nullptr;
};
struct ExemplarEntry {
  Ordinal ordinal = 0;
  const Exemplar* exemplar = nullptr;
};
struct MetadataEntry {
  Ordinal ordinal = 0;
  const Metadata* metadata = nullptr;
};

// Samples, histograms, exemplars, metadata, and each delete record as one.
struct Delivered {
  std::uint64_t sent = 0;            // taken
  std::uint64_t skipped = 0;         // of a kind that the target has no place for
  std::uint64_t refused = 0;         // by the target, for good
  std::vector<std::string> reasons;  // of refusals, the first kReasonsMax; each names a series or says how many

  static constexpr std::size_t kReasonsMax = 10;
  void Refuse(std::uint64_t n, std::string_view why) {
    refused += n;
    if (reasons.size() < kReasonsMax) reasons.emplace_back(why);
  }
};

class RecordSink {
 public:
  virtual ~RecordSink() = default;

  // Before the first call that names one of these series. Not where RecordTarget::needs_labels is false.
  virtual Status OnSeries(const RecordPlace& place, std::span<const SeriesEntry> series) = 0;
  // All series told so far are forgotten, and told again where they are needed: bounds what the sink keeps of labels. What was
  // collected before is still to be flushed.
  virtual void OnForgetSeries() = 0;

  // At least one entry each, as they stand in one record; at most kSamplesPerRecordMax samples. A series may occur several times.
  virtual Status OnSamples(const RecordPlace& place, std::span<const SampleEntry> samples) = 0;
  virtual Status OnHistograms(const RecordPlace& place, std::span<const HistogramEntry> histograms) = 0;
  virtual Status OnExemplars(const RecordPlace& place, std::span<const ExemplarEntry> exemplars) = 0;
  virtual Status OnMetadata(const RecordPlace& place, std::span<const MetadataEntry> metadata) = 0;
  // Hides what of these series was written before, in `range`. Only where RecordTarget::applies_deletes; elsewhere whoever reads
  // the log counts the record as skipped.
  virtual Status OnDelete(const RecordPlace& place, TimeRange range, std::span<const SeriesEntry> series) {
    (void)place, (void)range, (void)series;
    return Status::Ok();
  }

  // Delivers what was given since the last Flush, and adds it to *delivered. At the latest after kBatchItems items, and before
  // OnForgetSeries.
  static constexpr std::size_t kBatchItems = 64 << 10;
  virtual Status Flush(Delivered* delivered) = 0;
};

// Thread safety: NewSink and Sync are called by one thread at a time, Sync while no sink is in Flush.
class RecordTarget {
 public:
  virtual ~RecordTarget() = default;
  // Names it in messages and in the cursor: "jsonl:/backup/log.jsonl". A cursor of another target is refused.
  virtual std::string name() const = 0;
  virtual bool needs_labels() const { return true; }
  // It is to come out like the source: it gets deletes, and not what the source's retention has expired. Otherwise it gets all that
  // was written.
  virtual bool applies_deletes() const { return false; }
  // Of the replay's memory limit, for the target itself; its sinks share what is left with the reader.
  virtual std::uint64_t memory_bytes() const { return 0; }

  // Each sink needs a thread of its own: in On* it may wait until the others have moved on.
  virtual bool sinks_move_together() const { return false; }
  // Told before NewSink: how many sinks there will be.
  virtual void ExpectSinks(std::size_t sinks) { (void)sinks; }

  // Before NewSink. `position` is what Sync said when the cursor was written; "": there is no cursor, begin anew.
  virtual Status Open(std::string_view position) = 0;
  virtual Result<std::unique_ptr<RecordSink>> NewSink(ShardId shard) = 0;
  // What the sinks have flushed survives a power loss from here on. `position` goes into the cursor, for Open.
  virtual Status Sync(std::string* position) = 0;
  // After the last sink is gone: all was sent that was to be. Where it is destroyed without, what is of no use half is removed.
  virtual Status Close() = 0;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_RECORD_SINK_H_
