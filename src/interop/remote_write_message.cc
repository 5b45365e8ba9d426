#include "interop/remote_write_message.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <bit>
#include <utility>
#include <variant>
#include <vector>

#include "base/coding.h"
#include "interop/family_names.h"
#include "interop/proto_writer.h"

namespace chronolith::interop {
namespace {

// Field numbers of both versions; what they share has the same numbers.
namespace request1 {
constexpr int kSeries = 1, kMetadata = 3;
}
namespace request2 {
constexpr int kSymbols = 4, kSeries = 5;
}
namespace series1 {
constexpr int kLabels = 1, kSamples = 2, kExemplars = 3, kHistograms = 4;
}
namespace series2 {
constexpr int kLabelRefs = 1, kSamples = 2, kHistograms = 3, kExemplars = 4, kMetadata = 5;
}
namespace label {
constexpr int kName = 1, kValue = 2;
}
namespace sample {
constexpr int kValue = 1, kTimestamp = 2;
}
namespace exemplar {
constexpr int kLabels = 1, kValue = 2, kTimestamp = 3;
}
namespace metadata1 {
constexpr int kType = 1, kFamily = 2, kHelp = 4, kUnit = 5;
}
namespace metadata2 {
constexpr int kType = 1, kHelpRef = 3, kUnitRef = 4;
}
namespace histogram {
constexpr int kCountInt = 1, kCountFloat = 2, kSum = 3, kSchema = 4, kZeroThreshold = 5, kZeroCountInt = 6, kZeroCountFloat = 7,
              kNegativeSpans = 8, kNegativeDeltas = 9, kNegativeCounts = 10, kPositiveSpans = 11, kPositiveDeltas = 12,
              kPositiveCounts = 13, kResetHint = 14, kTimestamp = 15, kCustomValues = 16;
constexpr int kSpanOffset = 1, kSpanLength = 2;
}  // namespace histogram

// MetricType's order is that of the protocol's enum.
int TypeNumber(MetricType type) { return static_cast<int>(type); }
static_assert(static_cast<int>(MetricType::kCounter) == 1 && static_cast<int>(MetricType::kGauge) == 2 &&
              static_cast<int>(MetricType::kHistogram) == 3 && static_cast<int>(MetricType::kGaugeHistogram) == 4 &&
              static_cast<int>(MetricType::kSummary) == 5 && static_cast<int>(MetricType::kInfo) == 6 &&
              static_cast<int>(MetricType::kStateSet) == 7);

// Samples are most of a message, and short: written without the detours of Nested.
void WriteSample(std::string* out, int field, const Sample& s) {
  constexpr char kValueTag = sample::kValue << 3 | 1, kTimestampTag = sample::kTimestamp << 3;
  char bytes[2 + 1 + sizeof(double) + 1 + kMaxVarint64Bytes];
  char* at = bytes + 2;
  if (const auto value = std::bit_cast<std::uint64_t>(s.value); value != 0) {
    *at++ = kValueTag;
    StoreFixed(at, value);
    at += sizeof(value);
  }
  if (s.timestamp != 0) {
    *at++ = kTimestampTag;
    at = EncodeVarint(at, static_cast<std::uint64_t>(s.timestamp));
  }
  bytes[0] = static_cast<char>(field << 3 | 2);
  bytes[1] = static_cast<char>(at - bytes - 2);
  out->append(bytes, static_cast<std::size_t>(at - bytes));
}

void WriteSpans(ProtoWriter* to, int field, std::span<const BucketSpan> spans) {
  for (const BucketSpan& span : spans) {
    to->Nested(field, [&] {
      to->Sint(histogram::kSpanOffset, span.offset);
      to->Uint(histogram::kSpanLength, span.length);
    });
  }
}

void WriteHistogram(ProtoWriter* to, int field, const HistogramSample& s) {
  to->Nested(field, [&] {
    const auto* const ints = std::get_if<IntHistogram>(&s.histogram);
    const auto* const floats = std::get_if<FloatHistogram>(&s.histogram);
    if (ints != nullptr) to->UintAlways(histogram::kCountInt, ints->count);
    if (floats != nullptr) to->DoubleAlways(histogram::kCountFloat, floats->count);
    std::visit(
        [&](const auto& h) {
          to->Double(histogram::kSum, h.sum);
          to->Sint(histogram::kSchema, h.schema);
          to->Double(histogram::kZeroThreshold, h.zero_threshold);
        },
        s.histogram);
    if (ints != nullptr) {
      to->UintAlways(histogram::kZeroCountInt, ints->zero_count);
      WriteSpans(to, histogram::kNegativeSpans, ints->negative_spans);
      to->PackedSint(histogram::kNegativeDeltas, ints->negative_deltas);
      WriteSpans(to, histogram::kPositiveSpans, ints->positive_spans);
      to->PackedSint(histogram::kPositiveDeltas, ints->positive_deltas);
    } else {
      to->DoubleAlways(histogram::kZeroCountFloat, floats->zero_count);
      WriteSpans(to, histogram::kNegativeSpans, floats->negative_spans);
      to->PackedDouble(histogram::kNegativeCounts, floats->negative_counts);
      WriteSpans(to, histogram::kPositiveSpans, floats->positive_spans);
      to->PackedDouble(histogram::kPositiveCounts, floats->positive_counts);
    }
    std::visit(
        [&](const auto& h) {
          to->Uint(histogram::kResetHint, static_cast<std::uint64_t>(h.reset_hint));
          to->Int(histogram::kTimestamp, s.timestamp);
          to->PackedDouble(histogram::kCustomValues, h.custom_values);
        },
        s.histogram);
  });
}

// As iterating over them does, but in registers: remote read writes them as often as chunks.
void WriteLabels(ProtoWriter* to, int field, const Labels& labels) {
  for (ByteReader in(labels.encoded()); in.remaining() > 0;) {
    const std::string_view name = in.LengthPrefixed();
    const std::string_view value = in.LengthPrefixed();
    if (!in.ok()) return;
    to->NestedPair(field, label::kName, name, label::kValue, value);
  }
}

// Calls `take` with each of what AppendRemoteWriteLabels wrote.
template <typename Take>
void ForEachLabel(std::string_view labels, Take take) {
  for (ByteReader fields(labels); fields.remaining() > 0 && fields.ok();) {
    fields.Varint();  // series1::kLabels
    Label l;
    for (ByteReader pair(fields.LengthPrefixed()); pair.remaining() > 0 && pair.ok();) {
      const bool name = pair.Varint() >> 3 == label::kName;
      (name ? l.name : l.value) = pair.LengthPrefixed();
    }
    take(l);
  }
}

std::string_view MetricOf(std::string_view labels) {
  std::string_view metric;
  ForEachLabel(labels, [&](const Label& l) {
    if (l.name == kMetricName) metric = l.value;
  });
  return metric;
}

void Encode1(std::span<const RemoteWriteSeries> series, std::string* out) {
  ProtoWriter to(out);
  for (const RemoteWriteSeries& s : series) {
    if (s.samples.empty() && s.histograms.empty() && s.exemplars.empty()) continue;
    to.Nested(request1::kSeries, [&] { AppendTimeSeries1(s, out); });
  }
  absl::flat_hash_set<std::string_view> families;  // views into the labels of `series`
  for (const RemoteWriteSeries& s : series) {
    if (s.metadata.empty()) continue;
    const Metadata& m = s.metadata.back();
    const std::string_view metric = MetricOf(s.labels);
    const std::string_view family = MetricFamilyOf(metric, m.type);
    if (metric.empty() || !families.insert(family).second) continue;
    to.Nested(request1::kMetadata, [&] {
      to.Uint(metadata1::kType, static_cast<std::uint64_t>(TypeNumber(m.type)));
      to.Bytes(metadata1::kFamily, family);
      to.Bytes(metadata1::kHelp, m.help);
      to.Bytes(metadata1::kUnit, m.unit);
    });
  }
}

// The strings of a request of 2.0, each once; number 0 is "".
class Symbols {
 public:
  explicit Symbols(std::string* out) : to_(out) { Ref(""); }

  std::uint32_t Ref(std::string_view text) {
    const auto [at, added] = refs_.try_emplace(text, static_cast<std::uint32_t>(refs_.size()));
    if (added) to_.BytesAlways(request2::kSymbols, text);
    return at->second;
  }
  void AppendRefs(const Label& label, std::vector<std::uint32_t>* refs) {
    refs->push_back(Ref(label.name));
    refs->push_back(Ref(label.value));
  }

 private:
  ProtoWriter to_;
  absl::flat_hash_map<std::string_view, std::uint32_t> refs_;  // views into the series
};

void Encode2(std::span<const RemoteWriteSeries> series, std::string* out) {
  std::string body;
  Symbols symbols(out);
  ProtoWriter to(&body);
  std::vector<std::uint32_t> refs;
  const auto write = [&](const RemoteWriteSeries& s, std::span<const Sample> samples, std::span<const HistogramSample> histograms,
                         std::span<const Exemplar> exemplars) {
    to.Nested(request2::kSeries, [&] {
      refs.clear();
      ForEachLabel(s.labels, [&](const Label& l) { symbols.AppendRefs(l, &refs); });
      to.PackedUint(series2::kLabelRefs, refs);
      for (const Sample& x : samples) WriteSample(&body, series2::kSamples, x);
      for (const HistogramSample& x : histograms) WriteHistogram(&to, series2::kHistograms, x);
      for (const Exemplar& x : exemplars) {
        to.Nested(series2::kExemplars, [&] {
          refs.clear();
          for (const Label& l : x.labels) symbols.AppendRefs(l, &refs);
          to.PackedUint(exemplar::kLabels, refs);
          to.Double(exemplar::kValue, x.value);
          to.Int(exemplar::kTimestamp, x.timestamp);
        });
      }
      if (s.metadata.empty()) return;
      const Metadata& m = s.metadata.back();
      to.Nested(series2::kMetadata, [&] {
        to.Uint(metadata2::kType, static_cast<std::uint64_t>(TypeNumber(m.type)));
        to.Uint(metadata2::kHelpRef, symbols.Ref(m.help));
        to.Uint(metadata2::kUnitRef, symbols.Ref(m.unit));
      });
    });
  };
  for (const RemoteWriteSeries& s : series) {
    if (s.samples.empty() || s.histograms.empty()) {
      write(s, s.samples, s.histograms, s.exemplars);
    } else {
      write(s, s.samples, {}, s.exemplars);
      write(s, {}, s.histograms, {});
    }
  }
  out->append(body);
}

}  // namespace

void AppendTimeSeries1(const RemoteWriteSeries& series, std::string* out) {
  ProtoWriter to(out);
  out->append(series.labels);
  for (const Sample& x : series.samples) WriteSample(out, series1::kSamples, x);
  for (const Exemplar& x : series.exemplars) {
    to.Nested(series1::kExemplars, [&] {
      WriteLabels(&to, exemplar::kLabels, x.labels);
      to.Double(exemplar::kValue, x.value);
      to.Int(exemplar::kTimestamp, x.timestamp);
    });
  }
  for (const HistogramSample& x : series.histograms) WriteHistogram(&to, series1::kHistograms, x);
}

RemoteWriteCounts CountsOf(std::span<const RemoteWriteSeries> series) {
  RemoteWriteCounts counts;
  for (const RemoteWriteSeries& s : series) {
    counts.samples += s.samples.size();
    counts.histograms += s.histograms.size();
    counts.exemplars += s.exemplars.size();
  }
  return counts;
}

void AppendRemoteWriteLabels(const Labels& labels, std::string* out) {
  ProtoWriter to(out);
  WriteLabels(&to, series1::kLabels, labels);
}

Labels LabelsOfRemoteWrite(std::string_view labels) {
  std::string encoded;
  ForEachLabel(labels, [&](const Label& l) { Labels::AppendEncoded(l.name, l.value, &encoded); });
  return Labels::FromEncoded(std::move(encoded));
}

void EncodeRemoteWrite(RemoteWriteVersion version, std::span<const RemoteWriteSeries> series, std::string* out) {
  out->clear();
  version == RemoteWriteVersion::k1 ? Encode1(series, out) : Encode2(series, out);
}

}  // namespace chronolith::interop
