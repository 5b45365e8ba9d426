#include "interop/otlp/exponential.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>
#include <vector>

namespace chronolith::interop::otlp {
namespace {

namespace pb = ::opentelemetry::proto::metrics::v1;

constexpr std::int32_t kSchemaMin = -4;
constexpr std::int32_t kSchemaMax = 8;
// As Prometheus does: a gap of so many empty buckets is cheaper than another span.
constexpr std::int64_t kGapMax = 2;

struct Side {
  std::vector<BucketSpan> spans;
  std::vector<std::int64_t> deltas;
};

// Takes buckets in ascending order.
class SideBuilder {
 public:
  explicit SideBuilder(Side* side) : side_(side) {}

  void Add(std::int64_t index, std::int64_t count) {
    if (side_->spans.empty()) {
      side_->spans.push_back({static_cast<std::int32_t>(index), 0});
    } else if (const std::int64_t gap = index - next_; gap > kGapMax) {
      side_->spans.push_back({static_cast<std::int32_t>(gap), 0});
    } else {
      for (std::int64_t i = 0; i < gap; ++i) Put(0);
    }
    Put(count);
    next_ = index + 1;
  }

 private:
  void Put(std::int64_t count) {
    ++side_->spans.back().length;
    side_->deltas.push_back(count - last_);
    last_ = count;
  }

  Side* side_;
  std::int64_t next_ = 0;  // index behind the last bucket
  std::int64_t last_ = 0;
};

// Adds the counts to `total`.
Status Convert(const char* name, const pb::ExponentialHistogramDataPoint::Buckets& buckets, int scale_down, Side* side,
               std::uint64_t* total) {
  const std::int64_t offset = buckets.offset();
  if (offset + buckets.bucket_counts_size() >= std::numeric_limits<std::int32_t>::max()) {
    return InvalidArgument(std::string(name) + " buckets end beyond 32-bit indices");
  }
  SideBuilder builder(side);
  std::int64_t at = 0;
  std::uint64_t count = 0;  // of bucket `at`, so far
  for (int i = 0; i < buckets.bucket_counts_size(); ++i) {
    const std::uint64_t add = buckets.bucket_counts(i);
    if (add == 0) continue;
    if (__builtin_add_overflow(*total, add, total) ||
        *total > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return InvalidArgument("the bucket counts do not fit 63 bits in sum");
    }
    const std::int64_t index = ((offset + i) >> scale_down) + 1;
    if (count != 0 && index != at) {
      builder.Add(at, static_cast<std::int64_t>(count));
      count = 0;
    }
    at = index;
    count += add;
  }
  if (count != 0) builder.Add(at, static_cast<std::int64_t>(count));
  return Status::Ok();
}

}  // namespace

Result<IntHistogram> NativeHistogram(const pb::ExponentialHistogramDataPoint& point) {
  if (point.scale() < kSchemaMin) {
    return InvalidArgument("scale " + std::to_string(point.scale()) + " is below -4, the coarsest that native histograms have");
  }
  IntHistogram histogram;
  histogram.schema = std::min(point.scale(), kSchemaMax);
  histogram.zero_threshold = point.zero_threshold() > 0 ? point.zero_threshold() : kDefaultZeroThreshold;
  if ((point.flags() & pb::DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK) != 0) {
    histogram.sum = std::bit_cast<double>(kStaleNaNBits);
    return histogram;
  }
  // Indices have 32 bits: shifting them by more than that leaves their sign, as a shift by 63 does.
  const int scale_down = static_cast<int>(std::min<std::int64_t>(63, static_cast<std::int64_t>(point.scale()) - histogram.schema));
  std::uint64_t total = point.zero_count();
  Side positive, negative;
  if (Status s = Convert("positive", point.positive(), scale_down, &positive, &total); !s.ok()) return s;
  if (Status s = Convert("negative", point.negative(), scale_down, &negative, &total); !s.ok()) return s;
  if (total != point.count()) {
    return InvalidArgument("count is " + std::to_string(point.count()) + ", the buckets hold " + std::to_string(total));
  }
  histogram.count = point.count();
  histogram.zero_count = point.zero_count();
  histogram.sum = point.has_sum() ? point.sum() : 0;
  histogram.positive_spans = std::move(positive.spans);
  histogram.positive_deltas = std::move(positive.deltas);
  histogram.negative_spans = std::move(negative.spans);
  histogram.negative_deltas = std::move(negative.deltas);
  return histogram;
}

}  // namespace chronolith::interop::otlp
