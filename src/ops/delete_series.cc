#include "ops/delete_series.h"

#include <array>

#include "ops/series_scan.h"

namespace chronolith::ops {
namespace {

Result<std::uint64_t> CountSamples(SampleIterator* samples) {
  std::array<Timestamp, 256> timestamps;
  std::array<double, 256> values;
  std::uint64_t count = 0;
  while (true) {
    const std::size_t floats = samples->NextFloats(timestamps.data(), values.data(), values.size());
    count += floats;
    if (floats > 0) continue;
    if (samples->Next() == ValueType::kNone) break;
    ++count;
  }
  if (!samples->status().ok()) return samples->status();
  return count;
}

}  // namespace

Result<DeleteReport> CountMatching(Storage* storage, const std::vector<std::vector<Matcher>>& selectors, TimeRange range,
                                   const OpsContext& context) {
  const auto ids = MatchingIds(storage, selectors);
  if (!ids.ok()) return ids.status();
  DeleteReport report{.series = ids->size()};
  context.Begin("count", ids->size(), "series");
  const Status status = ScanPieces(storage, *ids, range, kSeriesAtOnce, context.cancelled, [&](SeriesSet* set) -> Status {
    while (set->Next()) {
      const Result<std::uint64_t> samples = CountSamples(&set->samples());
      if (!samples.ok()) return samples.status();
      report.samples += *samples;
      context.Add(1);
    }
    return Status::Ok();
  });
  if (!status.ok()) return status;
  return report;
}

Status DeleteMatching(Storage* storage, const std::vector<std::vector<Matcher>>& selectors, TimeRange range) {
  WriteOptions options;
  options.level = AckLevel::kSynced;
  for (const std::vector<Matcher>& matchers : selectors) {
    const WriteResult deleted = storage->Delete(matchers, range, options);
    if (!deleted.ok()) return deleted.status;
  }
  return Status::Ok();
}

}  // namespace chronolith::ops
