// Histograms, exponential histograms and summaries.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "base/coding.h"
#include "interop/otlp/exponential.h"
#include "interop/otlp/session.h"

namespace chronolith::interop::otlp {
namespace {

using google::protobuf::Arena;
using google::protobuf::RepeatedField;

constexpr int kBucketsMax = 1024;
constexpr int kQuantilesMax = 256;
// Of series that are looked for together: the point's attributes stand in the labels of each of its buckets.
constexpr std::size_t kGroupLabelBytes = 1 << 20;

// Without an exponent, as Prometheus' translation writes bounds and quantiles: "0.005", "1000000".
std::string DecimalText(double value) {
  char text[400];
  const auto end = std::to_chars(text, text + sizeof(text), value, std::chars_format::fixed);
  return {text, end.ptr};
}

void AppendDouble(double value, std::string* identity) { PutFixed64(identity, std::bit_cast<std::uint64_t>(value)); }

bool HasNoValue(std::uint32_t flags) { return (flags & pb::DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK) != 0; }

std::string WrongBuckets(const pb::HistogramDataPoint& point) {
  const auto& bounds = point.explicit_bounds();
  const auto& counts = point.bucket_counts();
  if (bounds.size() > kBucketsMax) return std::to_string(bounds.size()) + " bounds, the limit is " + std::to_string(kBucketsMax);
  if (counts.size() != bounds.size() + 1 && (!counts.empty() || !bounds.empty())) {
    return std::to_string(counts.size()) + " bucket counts for " + std::to_string(bounds.size()) + " bounds";
  }
  for (int i = 0; i < bounds.size(); ++i) {
    if (std::isnan(bounds[i]) || (i > 0 && !(bounds[i - 1] < bounds[i]))) return "the bounds do not ascend";
  }
  if (counts.empty() || HasNoValue(point.flags())) return {};
  std::uint64_t total = 0;
  for (const std::uint64_t count : counts) {
    if (__builtin_add_overflow(total, count, &total)) return "the bucket counts do not fit 64 bits in sum";
  }
  if (total != point.count()) return "count is " + std::to_string(point.count()) + ", the buckets hold " + std::to_string(total);
  return {};
}

}  // namespace

void AppendAttributes(std::string_view point, std::uint32_t number, std::string* identity) {
  std::string attributes;
  ProtoField field;
  ProtoReader reader(point);
  while (reader.Next(&field)) {
    if (field.Is(number, WireType::kLength)) PutBytes(&attributes, field.bytes);
  }
  PutBytes(identity, attributes);
}

Result<SeriesRefs> Session::CreateGroup(std::size_t n, const std::function<Labels(std::size_t)>& labels_of,
                                        std::string_view identity) {
  std::vector<SeriesRef> refs, some;
  std::vector<Labels> labels;
  while (refs.size() < n) {
    labels.clear();
    for (std::size_t bytes = 0; refs.size() + labels.size() < n && bytes < kGroupLabelBytes;) {
      labels.push_back(labels_of(refs.size() + labels.size()));
      bytes += labels.back().encoded().size();
    }
    const WriteResult result = appender_->Refs(labels, &some);
    if (!result.status.ok() && result.refused.empty()) return result.status;
    for (const Refusal& refusal : result.refused) {
      if (Status s = Refused(refusal.reason); !s.ok()) return s;
    }
    if (!result.refused.empty()) {
      Reject(result.refused.front().reason.message());
      return SeriesRefs();
    }
    refs.insert(refs.end(), some.begin(), some.end());
  }
  for (const SeriesRef ref : refs) {
    SetMetadata(ref, metric_->metadata);
    if (Status s = CountCollected(); !s.ok()) return s;
  }
  auto group = std::make_shared<const std::vector<SeriesRef>>(std::move(refs));
  LearnGroup(metric_->id, std::string(identity), group);
  return SeriesRefs(std::move(group));
}

Status Session::TakeHistogram(std::string_view bytes) {
  arena_.Reset();
  auto* point = Arena::CreateMessage<pb::HistogramDataPoint>(&arena_);
  if (!point->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed("histogram point");
  Timestamp time = 0;
  if (!TimeOk(point->time_unix_nano(), &time)) return Status::Ok();
  if (const std::string wrong = WrongBuckets(*point); !wrong.empty()) {
    Reject(wrong);
    return Status::Ok();
  }
  // A last bound of +Inf is the bucket that comes anyway.
  int bounds = point->explicit_bounds_size();
  if (bounds > 0 && std::isinf(point->explicit_bounds(bounds - 1)) && point->explicit_bounds(bounds - 1) > 0) --bounds;

  identity_.clear();
  AppendAttributes(bytes, pb::HistogramDataPoint::kAttributesFieldNumber, &identity_);
  for (int i = 0; i < bounds; ++i) AppendDouble(point->explicit_bounds(i), &identity_);
  const bool stale = HasNoValue(point->flags());
  // Of values that may be negative there is no sum, and then no series for it.
  const bool with_sum = point->has_sum() || stale;
  identity_.push_back(with_sum ? 1 : 0);
  SeriesRefs refs;
  if (!contexts_->groups().Find(metric_->id, identity_, &refs)) {
    Pairs attributes;
    if (Status s = AppendLabels(point->attributes(), &attributes); !s.ok()) {
      Reject(s.message());
      return Status::Ok();
    }
    const auto buckets = static_cast<std::size_t>(bounds);
    const auto labels_of = [&](std::size_t i) {
      if (i > buckets) return LabelsOf(attributes, i == buckets + 1 ? "_count" : "_sum");
      const std::string le = i == buckets ? "+Inf" : DecimalText(point->explicit_bounds(static_cast<int>(i)));
      return LabelsOf(attributes, "_bucket", "le", le);
    };
    Result<SeriesRefs> created = CreateGroup(buckets + (with_sum ? 3 : 2), labels_of, identity_);
    if (!created.ok()) return created.status();
    if (*created == nullptr) return Status::Ok();
    refs = std::move(*created);
  }
  latest_ = std::max(latest_, time);
  const auto append = [&](std::size_t i, double value) {
    Append((*refs)[i], time, stale ? std::bit_cast<double>(kStaleNaNBits) : value);
  };
  std::uint64_t below = 0;
  std::size_t series = 0;
  for (; series < static_cast<std::size_t>(bounds); ++series) {
    if (!stale) below += point->bucket_counts(static_cast<int>(series));
    append(series, static_cast<double>(below));
  }
  append(series, static_cast<double>(point->count()));
  append(series + 1, static_cast<double>(point->count()));
  if (with_sum) append(series + 2, point->sum());
  for (Exemplar& exemplar : ExemplarsOf(point->exemplars(), time)) {
    const auto first = point->explicit_bounds().begin();
    const auto bucket = std::lower_bound(first, first + bounds, exemplar.value) - first;
    AppendExemplar((*refs)[static_cast<std::size_t>(bucket)], std::move(exemplar));
  }
  return Status::Ok();
}

Status Session::TakeExponential(std::string_view bytes) {
  arena_.Reset();
  auto* point = Arena::CreateMessage<pb::ExponentialHistogramDataPoint>(&arena_);
  if (!point->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed("exponential histogram point");
  Timestamp time = 0;
  if (!TimeOk(point->time_unix_nano(), &time)) return Status::Ok();
  Result<IntHistogram> histogram = NativeHistogram(*point);
  if (!histogram.ok()) {
    Reject(histogram.status().message());
    return Status::Ok();
  }
  identity_.clear();
  AppendAttributes(bytes, pb::ExponentialHistogramDataPoint::kAttributesFieldNumber, &identity_);
  SeriesRefs refs;
  if (!contexts_->groups().Find(metric_->id, identity_, &refs)) {
    Pairs attributes;
    if (Status s = AppendLabels(point->attributes(), &attributes); !s.ok()) {
      Reject(s.message());
      return Status::Ok();
    }
    Result<SeriesRefs> created = CreateGroup(
        1, [&](std::size_t) { return LabelsOf(attributes, ""); }, identity_);
    if (!created.ok()) return created.status();
    if (*created == nullptr) return Status::Ok();
    refs = std::move(*created);
  }
  latest_ = std::max(latest_, time);
  collected_ += kItemBytes + 16 * (histogram->positive_deltas.size() + histogram->negative_deltas.size());
  appender_->AppendHistogram(refs->front(), time, std::move(*histogram));
  calls_.push_back(point_);
  AppendExemplars(refs->front(), ExemplarsOf(point->exemplars(), time));
  return Status::Ok();
}

Status Session::TakeSummary(std::string_view bytes) {
  arena_.Reset();
  auto* point = Arena::CreateMessage<pb::SummaryDataPoint>(&arena_);
  if (!point->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed("summary point");
  Timestamp time = 0;
  if (!TimeOk(point->time_unix_nano(), &time)) return Status::Ok();
  if (point->quantile_values_size() > kQuantilesMax) {
    Reject(std::to_string(point->quantile_values_size()) + " quantiles, the limit is " + std::to_string(kQuantilesMax));
    return Status::Ok();
  }
  identity_.clear();
  AppendAttributes(bytes, pb::SummaryDataPoint::kAttributesFieldNumber, &identity_);
  for (const auto& at : point->quantile_values()) AppendDouble(at.quantile(), &identity_);
  SeriesRefs refs;
  if (!contexts_->groups().Find(metric_->id, identity_, &refs)) {
    Pairs attributes;
    if (Status s = AppendLabels(point->attributes(), &attributes); !s.ok()) {
      Reject(s.message());
      return Status::Ok();
    }
    for (const auto& at : point->quantile_values()) {
      if (at.quantile() >= 0 && at.quantile() <= 1) continue;
      Reject("a quantile is not between 0 and 1");
      return Status::Ok();
    }
    const auto quantiles = static_cast<std::size_t>(point->quantile_values_size());
    const auto labels_of = [&](std::size_t i) {
      if (i >= quantiles) return LabelsOf(attributes, i == quantiles ? "_count" : "_sum");
      return LabelsOf(attributes, "", "quantile", DecimalText(point->quantile_values(static_cast<int>(i)).quantile()));
    };
    Result<SeriesRefs> created = CreateGroup(quantiles + 2, labels_of, identity_);
    if (!created.ok()) return created.status();
    if (*created == nullptr) return Status::Ok();
    refs = std::move(*created);
  }
  latest_ = std::max(latest_, time);
  const bool stale = HasNoValue(point->flags());
  const auto append = [&](std::size_t i, double value) {
    Append((*refs)[i], time, stale ? std::bit_cast<double>(kStaleNaNBits) : value);
  };
  std::size_t series = 0;
  for (const auto& at : point->quantile_values()) append(series++, at.value());
  append(series, static_cast<double>(point->count()));
  append(series + 1, point->sum());
  return Status::Ok();
}

}  // namespace chronolith::interop::otlp
