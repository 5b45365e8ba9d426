#include "ops/log_archive_list.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "format/store_manifest.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

class Summing {
 public:
  explicit Summing(ArchiveSummary* summary) : summary_(summary) {}

  Status Read(const ArchiveSegment& segment, bool last, const OpsContext& context) {
    const Result<std::unique_ptr<ArchiveReader>> reader = ArchiveReader::Open(segment.path);
    if (!reader.ok()) return Problem(reader.status());
    const ArchiveHeader& header = (*reader)->header();
    StoreManifest store;
    store.uuid = header.uuid;
    if (summary_->uuid.empty()) {
      summary_->uuid = store.UuidHex();
      summary_->incarnation = header.incarnation;
    } else if (summary_->uuid != store.UuidHex() || summary_->incarnation != header.incarnation) {
      return Problem(DataLoss(segment.path + " is of another store than the files before it"));
    }
    ArchiveBlock block;
    std::uint64_t counted = 0;
    while ((*reader)->Next(&block)) {
      if (Status s = context.CheckCancelled(); !s.ok()) return s;
      context.Add((*reader)->offset() - counted);
      counted = (*reader)->offset();
      for (const ArchivedRow& row : block.rows) Add(row);
      if (block.type == ArchiveBlockType::kGap) AddGap(block.gap);
      if (block.type == ArchiveBlockType::kMark) summary_->mark = block.mark;
    }
    if ((*reader)->status().ok()) return Status::Ok();
    if (last && (*reader)->status().code() == StatusCode::kDataLoss) {
      const Result<bool> torn = (*reader)->IsTornEnd();
      if (!torn.ok()) return torn.status();
      if (*torn) return Status::Ok();  // it is being written, or the next open cuts it off
    }
    return Problem((*reader)->status());
  }

  void Finish() {
    for (auto& [shard, runs] : runs_) summary_->runs.insert(summary_->runs.end(), runs.begin(), runs.end());
  }

 private:
  Status Problem(const Status& status) {
    if (status.code() != StatusCode::kDataLoss && status.code() != StatusCode::kFailedPrecondition) return status;
    summary_->problems.push_back(status.message());
    return Status::Ok();
  }
  void AddGap(const ArchiveGap& gap) {
    if (std::find(summary_->gaps.begin(), summary_->gaps.end(), gap) == summary_->gaps.end()) summary_->gaps.push_back(gap);
  }
  void Add(const ArchivedRow& row) {
    std::vector<ArchivedRun>& runs = runs_[row.shard];
    if (runs.empty() || row.first_lsn > runs.back().last_lsn + 1) {
      runs.push_back({row.shard, row.first_lsn, row.last_lsn, row.write_time_ms, row.write_time_ms});
    }
    ArchivedRun& run = runs.back();
    run.last_lsn = row.last_lsn;
    run.last_ms = row.write_time_ms;
    ++run.rows;
    run.bytes += row.value.size();
  }

  ArchiveSummary* const summary_;
  std::map<ShardId, std::vector<ArchivedRun>> runs_;
};

}  // namespace

Result<ArchiveSummary> ListArchive(const std::string& directory, const OpsContext& context) {
  const Result<std::vector<ArchiveSegment>> segments = ListArchiveSegments(directory);
  if (!segments.ok()) return segments.status();
  if (segments->empty()) return NotFound("nothing was archived in " + directory + " yet");
  ArchiveSummary summary;
  for (const ArchiveSegment& segment : *segments) {
    ++summary.segments;
    summary.bytes += segment.bytes;
  }
  context.Begin("reading the archive", summary.bytes, "bytes");
  Summing summing(&summary);
  for (const ArchiveSegment& segment : *segments) {
    const Status s = summing.Read(segment, &segment == &segments->back(), context);
    if (!s.ok() && s.code() != StatusCode::kNotFound) return s;  // removed meanwhile
  }
  summing.Finish();
  return summary;
}

Result<PrunedArchive> PruneArchive(const std::string& directory, std::int64_t before_ms, bool dry_run) {
  const Result<std::vector<ArchiveSegment>> segments = ListArchiveSegments(directory);
  if (!segments.ok()) return segments.status();
  PrunedArchive pruned;
  std::size_t end = 0;  // what is in front of it goes
  for (std::size_t i = 1; i < segments->size(); ++i) {
    const Result<std::unique_ptr<ArchiveReader>> next = ArchiveReader::Open((*segments)[i].path);
    if (!next.ok()) return next.status();
    std::int64_t newest = std::numeric_limits<std::int64_t>::min();
    for (const ArchiveShardState& state : (*next)->header().shards) newest = std::max(newest, state.write_time_ms);
    if (newest >= before_ms) break;
    end = i;
  }
  for (std::size_t i = 0; i < segments->size(); ++i) {
    const ArchiveSegment& segment = (*segments)[i];
    if (i >= end) {
      ++pruned.segments_left;
      pruned.bytes_left += segment.bytes;
      continue;
    }
    if (!dry_run) {
      if (Status s = RemoveSyncedFile(directory, ArchiveSegmentName(segment.number)); !s.ok()) return s;
    }
    pruned.bytes += segment.bytes;
    pruned.removed.push_back(segment);
  }
  return pruned;
}

}  // namespace chronolith::ops
