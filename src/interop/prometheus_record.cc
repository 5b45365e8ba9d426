#include "interop/prometheus_record.h"

#include <bit>
#include <string>

#include "base/coding.h"

namespace chronolith {
namespace {

std::uint64_t BigEndian64(ByteReader* in) {
  const std::string_view bytes = in->Bytes(8);
  return in->ok() ? LoadBigEndian<std::uint64_t>(bytes.data()) : 0;
}
double Float(ByteReader* in) { return std::bit_cast<double>(BigEndian64(in)); }
std::uint8_t Byte(ByteReader* in) { return in->Fixed<std::uint8_t>(); }

// A number of things that take a byte each at least.
std::uint64_t Count(ByteReader* in) {
  const std::uint64_t n = in->Varint();
  if (n > in->remaining()) in->Fail();
  return in->ok() ? n : 0;
}

Labels ReadLabels(ByteReader* in) {
  std::string encoded;
  for (std::uint64_t n = Count(in); n > 0 && in->ok(); --n) {
    const std::string_view name = in->LengthPrefixed(), value = in->LengthPrefixed();
    if (in->ok()) Labels::AppendEncoded(name, value, &encoded);
  }
  return Labels::FromEncoded(std::move(encoded));
}

// What samples, exemplars and histograms begin with: reference and time of each against the first.
struct Base {
  std::uint64_t ref = 0, time = 0;
  explicit Base(ByteReader* in) : ref(BigEndian64(in)), time(BigEndian64(in)) {}
  std::uint64_t Ref(ByteReader* in) const { return ref + static_cast<std::uint64_t>(in->SignedVarint()); }
  Timestamp Time(ByteReader* in) const { return static_cast<Timestamp>(time + static_cast<std::uint64_t>(in->SignedVarint())); }
};

Status ReadSeries(ByteReader* in, PrometheusRecordSink* sink) {
  while (in->ok() && in->remaining() > 0) {
    const std::uint64_t ref = BigEndian64(in);
    Labels labels = ReadLabels(in);
    if (!in->ok()) break;
    if (Status s = sink->OnSeries(ref, std::move(labels)); !s.ok()) return s;
  }
  return Status::Ok();
}

Status ReadSamples(ByteReader* in, std::vector<PrometheusSample>* samples, PrometheusRecordSink* sink) {
  samples->clear();
  if (in->remaining() == 0) return Status::Ok();
  const Base base(in);
  while (in->ok() && in->remaining() > 0) {
    PrometheusSample s;
    s.ref = base.Ref(in);
    s.timestamp = base.Time(in);
    s.value = Float(in);
    samples->push_back(s);
  }
  return in->ok() ? sink->OnSamples(*samples) : Status::Ok();
}

Status ReadTombstones(ByteReader* in, PrometheusRecordSink* sink) {
  while (in->ok() && in->remaining() > 0) {
    const std::uint64_t ref = BigEndian64(in);
    const Timestamp first = in->SignedVarint(), last = in->SignedVarint();
    if (!in->ok()) break;
    if (Status s = sink->OnTombstone(ref, {first, last == kMaxTimestamp ? last : last + 1}); !s.ok()) return s;
  }
  return Status::Ok();
}

Status ReadExemplars(ByteReader* in, PrometheusRecordSink* sink) {
  if (in->remaining() == 0) return Status::Ok();
  const Base base(in);
  while (in->ok() && in->remaining() > 0) {
    const std::uint64_t ref = base.Ref(in);
    Exemplar exemplar;
    exemplar.timestamp = base.Time(in);
    exemplar.value = Float(in);
    exemplar.labels = ReadLabels(in);
    if (!in->ok()) break;
    if (Status s = sink->OnExemplar(ref, std::move(exemplar)); !s.ok()) return s;
  }
  return Status::Ok();
}

Status ReadMetadata(ByteReader* in, PrometheusRecordSink* sink) {
  while (in->ok() && in->remaining() > 0) {
    const std::uint64_t ref = in->Varint();
    Metadata metadata;
    const std::uint8_t type = Byte(in);  // in the order of MetricType
    if (type <= static_cast<std::uint8_t>(MetricType::kStateSet)) metadata.type = static_cast<MetricType>(type);
    for (std::uint64_t n = Count(in); n > 0 && in->ok(); --n) {
      const std::string_view name = in->LengthPrefixed(), value = in->LengthPrefixed();
      if (name == "UNIT") metadata.unit = value;
      if (name == "HELP") metadata.help = value;
    }
    if (!in->ok()) break;
    if (Status s = sink->OnMetadata(ref, std::move(metadata)); !s.ok()) return s;
  }
  return Status::Ok();
}

void ReadSpans(ByteReader* in, std::vector<BucketSpan>* spans) {
  for (std::uint64_t n = Count(in); n > 0 && in->ok(); --n) {
    const std::int64_t offset = in->SignedVarint();
    const std::uint64_t length = in->Varint();
    if (offset != static_cast<std::int32_t>(offset) || length != static_cast<std::uint32_t>(length)) in->Fail();
    spans->push_back({static_cast<std::int32_t>(offset), static_cast<std::uint32_t>(length)});
  }
}
void ReadBuckets(ByteReader* in, std::vector<std::int64_t>* buckets) {
  for (std::uint64_t n = Count(in); n > 0 && in->ok(); --n) buckets->push_back(in->SignedVarint());
}
void ReadBuckets(ByteReader* in, std::vector<double>* buckets) {
  for (std::uint64_t n = Count(in); n > 0 && in->ok(); --n) buckets->push_back(Float(in));
}

template <typename H>
void ReadHead(ByteReader* in, H* h) {
  const std::uint8_t hint = Byte(in);
  const std::int64_t schema = in->SignedVarint();
  if (hint > static_cast<std::uint8_t>(CounterResetHint::kGauge) || schema != static_cast<std::int32_t>(schema)) in->Fail();
  h->reset_hint = static_cast<CounterResetHint>(hint);
  h->schema = static_cast<std::int32_t>(schema);
  h->zero_threshold = Float(in);
}
void ReadHistogram(ByteReader* in, IntHistogram* h) {
  ReadHead(in, h);
  h->zero_count = in->Varint();
  h->count = in->Varint();
  h->sum = Float(in);
  ReadSpans(in, &h->positive_spans);
  ReadSpans(in, &h->negative_spans);
  ReadBuckets(in, &h->positive_deltas);
  ReadBuckets(in, &h->negative_deltas);
}
void ReadHistogram(ByteReader* in, FloatHistogram* h) {
  ReadHead(in, h);
  h->zero_count = Float(in);
  h->count = Float(in);
  h->sum = Float(in);
  ReadSpans(in, &h->positive_spans);
  ReadSpans(in, &h->negative_spans);
  ReadBuckets(in, &h->positive_counts);
  ReadBuckets(in, &h->negative_counts);
}

template <typename H>
Status ReadHistograms(ByteReader* in, PrometheusRecordSink* sink) {
  if (in->remaining() == 0) return Status::Ok();
  const Base base(in);
  while (in->ok() && in->remaining() > 0) {
    const std::uint64_t ref = base.Ref(in);
    const Timestamp time = base.Time(in);
    H h;
    ReadHistogram(in, &h);
    if (!in->ok()) break;
    if (Status s = sink->OnHistogram(ref, {time, std::move(h)}); !s.ok()) return s;
  }
  return Status::Ok();
}

}  // namespace

Status PrometheusRecordReader::Read(std::string_view record, PrometheusRecordSink* sink, Status* damage) {
  *damage = record.empty() ? DataLoss("an empty record") : Status::Ok();
  if (record.empty()) return Status::Ok();
  ByteReader in(record.substr(1));
  const auto type = static_cast<unsigned char>(record[0]);
  Status s;
  switch (type) {
    case kSeries:
      s = ReadSeries(&in, sink);
      break;
    case kSamples:
      s = ReadSamples(&in, &samples_, sink);
      break;
    case kTombstones:
      s = ReadTombstones(&in, sink);
      break;
    case kExemplars:
      s = ReadExemplars(&in, sink);
      break;
    case kMmapMarkers:
      return Status::Ok();
    case kMetadata:
      s = ReadMetadata(&in, sink);
      break;
    case kHistograms:
      s = ReadHistograms<IntHistogram>(&in, sink);
      break;
    case kFloatHistograms:
      s = ReadHistograms<FloatHistogram>(&in, sink);
      break;
    default:
      *damage = Unimplemented("a record of type " + std::to_string(type) + ", which Prometheus 2.42 does not know");
  }
  if (s.ok() && !in.ok()) {
    *damage = DataLoss("a record of type " + std::to_string(type) + " is malformed near its byte " +
                       std::to_string(in.position() - record.data()));
  }
  return s;
}

}  // namespace chronolith
