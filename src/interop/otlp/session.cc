#include "interop/otlp/session.h"

#include <absl/cleanup/cleanup.h>
#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "interop/series_limit.h"

namespace chronolith::interop::otlp {
namespace {

constexpr std::int64_t kNanosPerMilli = 1'000'000;
constexpr std::uint64_t kDelta = pb::AGGREGATION_TEMPORALITY_DELTA;
constexpr std::uint64_t kCumulative = pb::AGGREGATION_TEMPORALITY_CUMULATIVE;

bool IsNested(const ProtoField& field, std::uint32_t number) { return field.Is(number, WireType::kLength); }

// What stands above the points: passing over it as over an unknown field would drop points that nobody is told of.
bool IsOtherwise(const ProtoField& field, std::uint32_t number_max) {
  return field.number <= number_max && field.type != WireType::kLength;
}

// A message field that may stand there once.
Status TakeOnce(std::string_view bytes, const char* what, std::string_view* field, bool* given) {
  if (*given) return InvalidArgument(std::string(what) + " is given twice");
  *given = true;
  *field = bytes;
  return Status::Ok();
}

bool MayPass(StatusCode code) {
  return code == StatusCode::kResourceExhausted || code == StatusCode::kUnavailable || code == StatusCode::kDeadlineExceeded ||
         code == StatusCode::kUnknown || code == StatusCode::kIoError || code == StatusCode::kCancelled;
}

// Of the size of a point, and what no size is.
constexpr int kSizeBits = 20;
constexpr std::uint64_t kScattered = (1 << kSizeBits) - 1;

google::protobuf::ArenaOptions StartingWith(std::span<char> block) {
  google::protobuf::ArenaOptions options;
  options.initial_block = block.data();
  options.initial_block_size = block.size();
  return options;
}

}  // namespace

Session::Session(Storage* store, Contexts* contexts)
    : contexts_(contexts), appender_(store->NewAppender()), arena_(StartingWith(arena_block_)) {}

void Session::Reset() {
  rejections_ = {};
  points_ = 0;
  calls_.clear();
  pending_.clear();
  pending_labels_.clear();
  stale_reference_ = false;
  metric_.reset();
  collected_ = counted_ = 0;
}

MetricsWritten Session::Write(std::string_view request, const WriteOptions& options, Timestamp newest, MemoryShare* share) {
  newest_ = newest;
  options_ = &options;
  share_ = share;
  others_ = share == nullptr ? 0 : share->bytes();
  appender_->Rollback();  // of a request that ended in an exception
  const absl::Cleanup unlearn = [this] { Unlearn(); };
  MetricsWritten written;
  for (int attempt = 0; attempt < 2; ++attempt) {
    Reset();
    written.status = TakeRequest(request);
    if (written.status.ok()) written.status = ResolvePending();
    if (!written.status.ok()) {
      appender_->Rollback();
      break;
    }
    written.status = Commit(&written.token);
    if (!written.status.ok() || !stale_reference_) break;
    // A series was gone, with too many others for its reference to lead to a new one. Writing again changes nothing for the rest.
    contexts_->Clear();
  }
  written.points = points_;
  written.rejected = std::min(rejections_.points(), points_);
  written.message = rejections_.Message();
  return written;
}

void Session::LearnSeries(std::uint64_t parent, std::string identity, SeriesRef ref) {
  contexts_->series().Insert(parent, identity, ref);
  collected_ += identity.size();
  learned_.push_back({false, parent, std::move(identity)});
}

void Session::LearnGroup(std::uint64_t parent, std::string identity, const SeriesRefs& refs) {
  contexts_->groups().Insert(parent, identity, refs, refs->size() * sizeof(SeriesRef) + 48);
  collected_ += identity.size();
  learned_.push_back({true, parent, std::move(identity)});
}

void Session::Unlearn() {
  for (const Learned& one : learned_) {
    if (one.group) {
      contexts_->groups().Erase(one.parent, one.identity);
    } else {
      contexts_->series().Erase(one.parent, one.identity);
    }
  }
  learned_.clear();
}

// ---- What stands above the points ----

Status Session::TakeRequest(std::string_view bytes) {
  ProtoField field;
  ProtoReader reader(bytes);
  while (reader.Next(&field)) {
    if (IsOtherwise(field, 1)) return Malformed("request");
    if (!IsNested(field, 1)) continue;
    if (Status s = TakeResourceMetrics(field.bytes); !s.ok()) return s;
  }
  return reader.ok() ? Status::Ok() : Malformed("request");
}

Status Session::TakeResourceMetrics(std::string_view bytes) {
  std::string_view resource_bytes;
  bool given = false;
  ProtoField field;
  ProtoReader header(bytes);
  while (header.Next(&field)) {
    if (IsOtherwise(field, 3)) return Malformed("resource metrics");
    if (!IsNested(field, 1)) continue;
    if (Status s = TakeOnce(field.bytes, "a resource", &resource_bytes, &given); !s.ok()) return s;
  }
  if (!header.ok()) return Malformed("resource metrics");
  const auto resource = contexts_->Resource(resource_bytes);
  if (!resource.ok()) return resource.status();
  latest_ = kMinTimestamp;
  ProtoReader reader(bytes);
  while (reader.Next(&field)) {
    if (!IsNested(field, 2)) continue;
    if (Status s = TakeScopeMetrics(**resource, field.bytes); !s.ok()) return s;
  }
  return TakeTargetInfo(**resource);
}

Status Session::TakeScopeMetrics(const ResourceContext& resource, std::string_view bytes) {
  std::string_view scope_bytes, schema_url;
  bool given = false;
  ProtoField field;
  ProtoReader header(bytes);
  while (header.Next(&field)) {
    if (IsOtherwise(field, 3)) return Malformed("scope metrics");
    if (IsNested(field, 3)) schema_url = field.bytes;
    if (!IsNested(field, 1)) continue;
    if (Status s = TakeOnce(field.bytes, "a scope", &scope_bytes, &given); !s.ok()) return s;
  }
  if (!header.ok()) return Malformed("scope metrics");
  const auto scope = contexts_->Scope(resource, scope_bytes, schema_url);
  if (!scope.ok()) return scope.status();
  ProtoReader reader(bytes);
  while (reader.Next(&field)) {
    if (!IsNested(field, 2)) continue;
    if (Status s = TakeMetric(**scope, field.bytes); !s.ok()) return s;
  }
  return Status::Ok();
}

Status Session::TakeMetric(const ScopeContext& scope, std::string_view bytes) {
  MetricHeader header;
  std::string_view data;
  bool given = false;
  std::uint32_t kind_field = 0;
  ProtoField field;
  ProtoReader reader(bytes);
  while (reader.Next(&field)) {
    if (IsOtherwise(field, pb::Metric::kSummaryFieldNumber)) return Malformed("metric");
    if (field.type != WireType::kLength) continue;
    switch (field.number) {
      case pb::Metric::kNameFieldNumber:
        header.name = field.bytes;
        break;
      case pb::Metric::kDescriptionFieldNumber:
        header.description = field.bytes;
        break;
      case pb::Metric::kUnitFieldNumber:
        header.unit = field.bytes;
        break;
      case pb::Metric::kGaugeFieldNumber:
      case pb::Metric::kSumFieldNumber:
      case pb::Metric::kHistogramFieldNumber:
      case pb::Metric::kExponentialHistogramFieldNumber:
      case pb::Metric::kSummaryFieldNumber:
        kind_field = field.number;
        if (Status s = TakeOnce(field.bytes, "data of a metric", &data, &given); !s.ok()) return s;
        break;
      default:
        break;
    }
  }
  if (!reader.ok()) return Malformed("metric");
  if (!given) return Status::Ok();  // a metric of no kind that this version knows has no points either

  std::uint64_t temporality = 0;
  bool monotonic = false;
  ProtoReader kind(data);
  while (kind.Next(&field)) {
    if (IsOtherwise(field, 1)) return Malformed("data of a metric");
    if (field.Is(pb::Sum::kAggregationTemporalityFieldNumber, WireType::kVarint)) temporality = field.value;
    if (field.Is(pb::Sum::kIsMonotonicFieldNumber, WireType::kVarint)) monotonic = field.value != 0;
  }
  if (!kind.ok()) return Malformed("data of a metric");
  bool has_temporality = true;
  switch (kind_field) {
    case pb::Metric::kSumFieldNumber:
      header.kind = monotonic ? MetricKind::kCounter : MetricKind::kUpDownCounter;
      break;
    case pb::Metric::kHistogramFieldNumber:
      header.kind = MetricKind::kHistogram;
      break;
    case pb::Metric::kExponentialHistogramFieldNumber:
      header.kind = MetricKind::kExponentialHistogram;
      break;
    default:
      header.kind = kind_field == pb::Metric::kGaugeFieldNumber ? MetricKind::kGauge : MetricKind::kSummary;
      has_temporality = false;
  }
  auto metric = contexts_->Metric(scope, header);
  if (!metric.ok()) return metric.status();
  metric_ = std::move(*metric);
  refusal_ = metric_->refusal;
  if (refusal_.empty() && has_temporality && temporality != kCumulative) {
    refusal_ = metric_->name + (temporality == kDelta ? ": delta temporality is not taken, have the exporter prefer cumulative"
                                                      : ": the aggregation temporality is not specified");
  }
  return TakePoints(header.kind, data);
}

Status Session::TakePoints(MetricKind kind, std::string_view data) {
  ProtoField field;
  ProtoReader reader(data);
  while (reader.Next(&field)) {
    if (!IsNested(field, 1)) continue;
    if (points_ == kNoPoint) return InvalidArgument("a request of more than 2^32 points");
    point_ = static_cast<std::uint32_t>(points_++);
    if (!refusal_.empty()) {
      rejections_.Reject(refusal_);
    } else if (field.bytes.size() > kPointBytesMax) {
      Reject("a point takes more than 256 KiB");
    } else if (Status s = TakePoint(kind, field.bytes); !s.ok()) {
      return s;
    } else if (s = CountCollected(); !s.ok()) {
      return s;
    }
  }
  return Status::Ok();  // its fields were walked through before
}

Status Session::TakePoint(MetricKind kind, std::string_view bytes) {
  switch (kind) {
    case MetricKind::kHistogram:
      return TakeHistogram(bytes);
    case MetricKind::kExponentialHistogram:
      return TakeExponential(bytes);
    case MetricKind::kSummary:
      return TakeSummary(bytes);
    case MetricKind::kGauge:
    case MetricKind::kCounter:
    case MetricKind::kUpDownCounter:
      break;
  }
  return TakeNumber(bytes);
}

Status Session::TakeTargetInfo(const ResourceContext& resource) {
  if (!resource.target_info || latest_ == kMinTimestamp) return Status::Ok();
  point_ = kNoPoint;
  SeriesRef ref;
  if (!contexts_->series().Find(0, resource.target_info->encoded(), &ref)) {
    const Result<SeriesRef> found = appender_->Ref(*resource.target_info);
    if (!found.ok()) {
      if (Status s = Refused(found.status()); !s.ok()) return s;
      rejections_.Note("target_info: " + found.status().message());
      return Status::Ok();
    }
    ref = *found;
    LearnSeries(0, std::string(resource.target_info->encoded()), ref);
    SetMetadata(ref, {MetricType::kGauge, "", "Target metadata"});
  }
  Append(ref, latest_, 1);
  return Status::Ok();
}

// ---- Number points ----

Status Session::TakeNumber(std::string_view bytes) {
  std::uint64_t unix_nano = 0, flags = 0;
  std::optional<double> value;
  std::string_view attributes;  // from the begin of the first to the end of the last
  std::uint64_t first_size = 0;
  bool run = false, scattered = false, exemplars = false;
  ProtoField field;
  ProtoReader reader(bytes);
  while (reader.Next(&field)) {
    const bool behind_another = std::exchange(run, IsNested(field, pb::NumberDataPoint::kAttributesFieldNumber));
    if (run) {
      if (attributes.data() == nullptr) {
        attributes = field.bytes;
        first_size = field.bytes.size() + 1;  // 0: there are none
      } else if (behind_another && !scattered) {
        attributes = {attributes.data(), static_cast<std::size_t>(field.bytes.data() + field.bytes.size() - attributes.data())};
      } else {
        scattered = true;
      }
    } else if (field.Is(pb::NumberDataPoint::kTimeUnixNanoFieldNumber, WireType::kFixed64)) {
      unix_nano = field.value;
    } else if (field.Is(pb::NumberDataPoint::kAsDoubleFieldNumber, WireType::kFixed64)) {
      value = field.AsDouble();
    } else if (field.Is(pb::NumberDataPoint::kAsIntFieldNumber, WireType::kFixed64)) {
      value = static_cast<double>(static_cast<std::int64_t>(field.value));
    } else if (field.Is(pb::NumberDataPoint::kFlagsFieldNumber, WireType::kVarint)) {
      flags = field.value;
    } else if (IsNested(field, pb::NumberDataPoint::kExemplarsFieldNumber)) {
      exemplars = true;
    }
  }
  if (!reader.ok()) return Malformed("data point");
  if (scattered) {  // nobody does that, but it is the same series
    identity_.clear();
    AppendAttributes(bytes, pb::NumberDataPoint::kAttributesFieldNumber, &identity_);
    attributes = identity_;
    first_size = kScattered;
  }
  // Where the first ends belongs to the identity: the rest has lengths in front of it.
  const std::uint64_t parent = metric_->id << kSizeBits | first_size;
  Pending point{.time = 0};
  if (!TimeOk(unix_nano, &point.time)) return Status::Ok();
  if ((flags & pb::DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK) != 0) value = std::bit_cast<double>(kStaleNaNBits);
  if (!value) {
    Reject("a point has no value");
    return Status::Ok();
  }
  point.value = *value;
  if (exemplars) {
    arena_.Reset();
    auto* parsed = google::protobuf::Arena::CreateMessage<pb::NumberDataPoint>(&arena_);
    if (!parsed->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed("data point");
    point.exemplars = ExemplarsOf(parsed->exemplars(), point.time);
  }
  SeriesRef ref;
  if (!contexts_->series().Find(parent, attributes, &ref)) {
    point.parent = parent;
    return AddPending(bytes, attributes, std::move(point));
  }
  latest_ = std::max(latest_, point.time);
  Append(ref, point.time, point.value);
  AppendExemplars(ref, std::move(point.exemplars));
  return Status::Ok();
}

Status Session::AddPending(std::string_view bytes, std::string_view identity, Pending pending) {
  arena_.Reset();
  auto* parsed = google::protobuf::Arena::CreateMessage<pb::NumberDataPoint>(&arena_);
  if (!parsed->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed("data point");
  Pairs attributes;
  if (Status s = AppendLabels(parsed->attributes(), &attributes); !s.ok()) {
    Reject(s.message());
    return Status::Ok();
  }
  latest_ = std::max(latest_, pending.time);
  collected_ += kItemBytes + identity.size() + metric_->metadata.unit.size() + metric_->metadata.help.size();
  for (const Exemplar& e : pending.exemplars) collected_ += sizeof(Exemplar) + e.labels.encoded().size();
  pending.metadata = metric_->metadata;
  pending.identity = identity;
  pending.point = point_;
  pending_.push_back(std::move(pending));
  pending_labels_.push_back(LabelsOf(attributes, ""));
  collected_ += pending_labels_.back().encoded().size();
  return pending_.size() < kPendingMax ? Status::Ok() : ResolvePending();
}

Status Session::ResolvePending() {
  if (pending_.empty()) return Status::Ok();
  const std::uint32_t at_hand = point_;
  std::vector<SeriesRef> refs;
  const WriteResult result = appender_->Refs(pending_labels_, &refs);
  if (!result.status.ok() && result.refused.empty()) return result.status;
  for (const Refusal& refusal : result.refused) {
    if (Status s = Refused(refusal.reason); !s.ok()) return s;
    rejections_.Reject(std::string(pending_labels_[refusal.series].Get(kMetricName)) + ": " + refusal.reason.message());
  }
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    Pending& p = pending_[i];
    if (refs[i].id == 0) continue;
    point_ = p.point;
    LearnSeries(p.parent, std::move(p.identity), refs[i]);
    Append(refs[i], p.time, p.value);
    SetMetadata(refs[i], std::move(p.metadata));
    AppendExemplars(refs[i], std::move(p.exemplars));
  }
  pending_.clear();
  pending_labels_.clear();
  point_ = at_hand;
  return Status::Ok();
}

// ---- Shared by the kinds ----

Labels Session::LabelsOf(const Pairs& attributes, std::string_view suffix, std::string_view extra, std::string extra_value) const {
  Pairs over = metric_->labels;
  over.emplace_back(kMetricName, metric_->name + std::string(suffix));
  if (!extra.empty()) over.emplace_back(extra, std::move(extra_value));
  return Merge(attributes, over);
}

bool Session::TimeOk(std::uint64_t unix_nano, Timestamp* time) {
  *time = static_cast<Timestamp>(unix_nano / kNanosPerMilli);
  if (unix_nano != 0 && *time <= newest_) return true;
  Reject(unix_nano == 0 ? "a point has no timestamp" : "a point is too far in the future");
  return false;
}

void Session::Reject(std::string_view reason) { rejections_.Reject(metric_->name + ": " + std::string(reason)); }

Status Session::Refused(const Status& reason) {
  if (MayPass(reason.code()) && !IsSeriesLimit(reason)) return reason;
  if (reason.code() == StatusCode::kNotFound) stale_reference_ = true;
  return Status::Ok();
}

std::vector<Exemplar> Session::ExemplarsOf(const google::protobuf::RepeatedPtrField<pb::Exemplar>& exemplars, Timestamp time) {
  std::vector<Exemplar> taken;
  for (const pb::Exemplar& e : exemplars) {
    if (e.value_case() == pb::Exemplar::VALUE_NOT_SET) continue;
    Exemplar& exemplar = taken.emplace_back();
    exemplar.value = e.value_case() == pb::Exemplar::kAsDouble ? e.as_double() : static_cast<double>(e.as_int());
    exemplar.timestamp = e.time_unix_nano() == 0 ? time : static_cast<Timestamp>(e.time_unix_nano() / kNanosPerMilli);
    Pairs attributes, ids;
    if (!e.trace_id().empty()) ids.emplace_back("trace_id", HexText(e.trace_id()));
    if (!e.span_id().empty()) ids.emplace_back("span_id", HexText(e.span_id()));
    if (Status s = AppendLabels(e.filtered_attributes(), &attributes); !s.ok()) rejections_.Note("exemplar: " + s.message());
    exemplar.labels = Merge(attributes, ids);
  }
  return taken;
}

void Session::AppendExemplars(SeriesRef ref, std::vector<Exemplar> exemplars) {
  for (Exemplar& exemplar : exemplars) AppendExemplar(ref, std::move(exemplar));
}

void Session::AppendExemplar(SeriesRef ref, Exemplar exemplar) {
  collected_ += kItemBytes + exemplar.labels.encoded().size();
  appender_->AppendExemplar(ref, std::move(exemplar));
  calls_.push_back(point_);
}

void Session::SetMetadata(SeriesRef ref, Metadata metadata) {
  collected_ += kItemBytes + metadata.unit.size() + metadata.help.size();
  appender_->SetMetadata(ref, std::move(metadata));
  calls_.push_back(point_);
}

Status Session::ReserveOrCommit() {
  counted_ = collected_ + kCollectedStep;
  if (share_ != nullptr && !share_->GrowTo(others_ + counted_)) return share_->refusal();
  if (collected_ < kCollectedMax) return Status::Ok();
  if (Status s = ResolvePending(); !s.ok()) return s;
  CommitToken covered;  // by that of the last commit
  if (Status s = Commit(&covered); !s.ok()) return s;
  calls_.clear();
  collected_ = counted_ = 0;
  return Status::Ok();
}

Status Session::Commit(CommitToken* token) {
  const WriteResult result = appender_->Commit(*options_);
  *token = result.token;
  // Else the status is the first refusal's: the level was not reached, whatever was refused besides.
  if (!result.status.ok() && (result.refused.empty() || result.status != result.refused.front().reason)) return result.status;
  absl::flat_hash_set<std::uint32_t> rejected;  // a histogram may be refused in several of its series
  for (const Refusal& refusal : result.refused) {
    if (Status s = Refused(refusal.reason); !s.ok()) return s;
    const std::uint32_t point = calls_.at(refusal.series);
    const bool data = refusal.what == Refusal::What::kSeries || refusal.what == Refusal::What::kSample ||
                      refusal.what == Refusal::What::kHistogram;
    if (data && point != kNoPoint && rejected.insert(point).second) {
      rejections_.Reject(refusal.reason.message());
    } else {
      rejections_.Note(refusal.reason.message());
    }
  }
  learned_.clear();
  return Status::Ok();
}

}  // namespace chronolith::interop::otlp
