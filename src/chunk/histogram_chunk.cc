#include "chunk/histogram_chunk.h"

#include <bit>
#include <type_traits>

namespace chronolith {
namespace {

constexpr std::uint8_t kLayoutFollows = 1;
constexpr std::uint8_t kInteger = 0;
constexpr std::uint8_t kFloat = 1;

template <typename H>
constexpr bool kIsInt = std::is_same_v<H, IntHistogram>;

const std::vector<std::int64_t>& Positive(const IntHistogram& h) { return h.positive_deltas; }
const std::vector<std::int64_t>& Negative(const IntHistogram& h) { return h.negative_deltas; }
const std::vector<double>& Positive(const FloatHistogram& h) { return h.positive_counts; }
const std::vector<double>& Negative(const FloatHistogram& h) { return h.negative_counts; }
template <typename H>
auto& MutablePositive(H& h) {
  return const_cast<std::remove_const_t<std::remove_reference_t<decltype(Positive(h))>>&>(Positive(h));
}
template <typename H>
auto& MutableNegative(H& h) {
  return const_cast<std::remove_const_t<std::remove_reference_t<decltype(Negative(h))>>&>(Negative(h));
}

// By bits: a NaN equals itself, and 0 is not -0.
bool SameBits(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

bool SameBits(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!SameBits(a[i], b[i])) return false;
  }
  return true;
}

template <typename H>
bool SameLayout(const H& a, const H& b) {
  return a.schema == b.schema && SameBits(a.zero_threshold, b.zero_threshold) && a.positive_spans == b.positive_spans &&
         a.negative_spans == b.negative_spans && Positive(a).size() == Positive(b).size() &&
         Negative(a).size() == Negative(b).size() && SameBits(a.custom_values, b.custom_values);
}

// One column's value as 64 bits, and the difference of two: subtraction for integers, XOR for doubles.
std::uint64_t Raw(std::uint64_t v) { return v; }
std::uint64_t Raw(std::int64_t v) { return static_cast<std::uint64_t>(v); }
std::uint64_t Raw(double v) { return std::bit_cast<std::uint64_t>(v); }

template <typename T>
void PutDifference(T now, T before, std::string* to) {
  if constexpr (std::is_same_v<T, double>) {
    PutXorBytes(to, Raw(now) ^ Raw(before));
  } else {
    PutZigZag(to, static_cast<std::int64_t>(Raw(now) - Raw(before)));
  }
}

template <typename T>
void ReadDifference(ByteReader* in, T* value) {
  if constexpr (std::is_same_v<T, double>) {
    *value = std::bit_cast<double>(Raw(*value) ^ ReadXorBytes(in));
  } else {
    *value = static_cast<T>(Raw(*value) + static_cast<std::uint64_t>(in->SignedVarint()));
  }
}

// `before` is null behind a layout: the column is coded against zeros.
template <typename T>
void PutBuckets(const std::vector<T>& now, const std::vector<T>* before, std::string* to) {
  const auto at = [before](std::size_t i) { return before != nullptr ? (*before)[i] : T{}; };
  for (std::size_t i = 0; i < now.size();) {
    PutDifference(now[i], at(i), to);
    if (Raw(now[i]) != Raw(at(i))) {
      ++i;
      continue;
    }
    const std::size_t first = i++;
    while (i < now.size() && Raw(now[i]) == Raw(at(i))) ++i;
    PutVarint(to, i - first - 1);
  }
}

template <typename T>
void ReadBuckets(ByteReader* in, std::vector<T>* values) {
  for (std::size_t i = 0; i < values->size() && in->ok();) {
    const std::uint64_t before = Raw((*values)[i]);
    ReadDifference(in, &(*values)[i]);
    const bool still = Raw((*values)[i]) == before;
    ++i;
    if (!still) continue;
    const std::uint64_t more = in->Varint();
    if (more > values->size() - i) {
      in->Fail();
      return;
    }
    i += more;
  }
}

void PutSpans(const std::vector<BucketSpan>& spans, std::string* to) {
  PutVarint(to, spans.size());
  for (const BucketSpan& s : spans) {
    PutZigZag(to, s.offset);
    PutVarint(to, s.length);
  }
}

template <typename H>
void PutLayout(const H& h, std::string* to) {
  to->push_back(static_cast<char>(kIsInt<H> ? kInteger : kFloat));
  PutZigZag(to, h.schema);
  PutFixed64(to, Raw(h.zero_threshold));
  PutSpans(h.positive_spans, to);
  PutSpans(h.negative_spans, to);
  PutVarint(to, Positive(h).size());
  PutVarint(to, Negative(h).size());
  PutVarint(to, h.custom_values.size());
  for (const double v : h.custom_values) PutFixed64(to, Raw(v));
}

// Reads a number of things of which at most `limit` may be; fails beyond, so that nobody allocates by a damaged number.
std::size_t ReadBounded(ByteReader* in, std::size_t limit) {
  const std::uint64_t n = in->Varint();
  if (n > limit) in->Fail();
  return in->ok() ? n : 0;
}

std::int32_t ReadInt32(ByteReader* in) {
  const std::int64_t v = in->SignedVarint();
  if (v != static_cast<std::int32_t>(v)) in->Fail();
  return static_cast<std::int32_t>(v);
}

void ReadSpans(ByteReader* in, std::vector<BucketSpan>* spans) {
  spans->resize(ReadBounded(in, kMaxHistogramSpans));
  for (BucketSpan& s : *spans) {
    s.offset = ReadInt32(in);
    const std::uint64_t length = in->Varint();
    if (length > UINT32_MAX) in->Fail();
    s.length = static_cast<std::uint32_t>(length);
  }
}

template <typename H>
void ReadLayout(ByteReader* in, Histogram* out) {
  H h;
  h.schema = ReadInt32(in);
  h.zero_threshold = in->Double();
  ReadSpans(in, &h.positive_spans);
  ReadSpans(in, &h.negative_spans);
  MutablePositive(h).resize(ReadBounded(in, kMaxHistogramBuckets));
  MutableNegative(h).resize(ReadBounded(in, kMaxHistogramBuckets));
  h.custom_values.resize(ReadBounded(in, kMaxHistogramCustomValues));
  for (double& v : h.custom_values) v = in->Double();
  *out = std::move(h);
}

template <typename H>
void PutSample(const H& h, const H* before, TimeCodec* time, Timestamp t, std::string* to) {
  to->push_back(static_cast<char>((before == nullptr ? kLayoutFollows : 0) | static_cast<int>(h.reset_hint) << 1));
  if (before == nullptr) PutLayout(h, to);
  time->Put(t, to);
  PutDifference(h.count, before != nullptr ? before->count : 0, to);
  PutDifference(h.zero_count, before != nullptr ? before->zero_count : 0, to);
  PutDifference(h.sum, before != nullptr ? before->sum : 0.0, to);
  PutBuckets(Positive(h), before != nullptr ? &Positive(*before) : nullptr, to);
  PutBuckets(Negative(h), before != nullptr ? &Negative(*before) : nullptr, to);
}

}  // namespace

HistogramAppender::HistogramAppender() { StoreCountedHeader(kHistogramChunkVersion, 0, &data_); }

void HistogramAppender::Append(Timestamp timestamp, const Histogram& histogram) {
  std::visit(
      [&](const auto& h) {
        using H = std::remove_cvref_t<decltype(h)>;
        const H* before = count_ == 0 ? nullptr : std::get_if<H>(&last_);
        if (before != nullptr && !SameLayout(h, *before)) before = nullptr;
        PutSample(h, before, &time_, timestamp, &data_);
      },
      histogram);
  last_ = histogram;
  StoreCountedHeader(kHistogramChunkVersion, ++count_, &data_);
}

std::size_t HistogramAppender::MaxBytes(const Histogram& histogram) {
  return std::visit(
      [](const auto& h) {
        // A bucket is at most a varint of 10 bytes; a lone zero among others costs 2.
        const std::size_t buckets = Positive(h).size() + Negative(h).size();
        const std::size_t spans = h.positive_spans.size() + h.negative_spans.size();
        return 2 + 5 + 8 + 5 * 10 + 4 * kMaxVarint64Bytes + spans * 10 + buckets * 10 + h.custom_values.size() * 8;
      },
      histogram);
}

std::string HistogramAppender::Take() {
  std::string chunk = std::move(data_);
  *this = HistogramAppender();
  return chunk;
}

HistogramIterator::HistogramIterator(std::string_view chunk) : in_(chunk) {
  status_ = ReadCountedHeader("histogram chunk", kHistogramChunkVersion, &in_, &count_);
}

bool HistogramIterator::ReadSample() {
  const auto tag = in_.Fixed<std::uint8_t>();
  if ((tag & ~7) != 0) return false;
  const bool layout = (tag & kLayoutFollows) != 0;
  if (layout) {
    const auto kind = in_.Fixed<std::uint8_t>();
    if (kind == kInteger) {
      ReadLayout<IntHistogram>(&in_, &sample_.histogram);
    } else if (kind == kFloat) {
      ReadLayout<FloatHistogram>(&in_, &sample_.histogram);
    } else {
      return false;
    }
  } else if (read_ == 0) {
    return false;
  }
  sample_.timestamp = time_.Read(&in_);
  std::visit(
      [&](auto& h) {
        h.reset_hint = static_cast<CounterResetHint>(tag >> 1);
        ReadDifference(&in_, &h.count);
        ReadDifference(&in_, &h.zero_count);
        ReadDifference(&in_, &h.sum);
        ReadBuckets(&in_, &MutablePositive(h));
        ReadBuckets(&in_, &MutableNegative(h));
      },
      sample_.histogram);
  return in_.ok();
}

bool HistogramIterator::Next() {
  if (!status_.ok() || read_ == count_) return false;
  if (!ReadSample()) {
    status_ =
        DataLoss("histogram chunk: sample " + std::to_string(read_) + " of " + std::to_string(count_) + " is cut off or malformed");
    return false;
  }
  ++read_;
  return true;
}

std::string EncodeHistograms(std::span<const HistogramSample> samples) {
  HistogramAppender appender;
  for (const HistogramSample& s : samples) appender.Append(s.timestamp, s.histogram);
  return appender.Take();
}

Result<std::vector<HistogramSample>> DecodeHistograms(std::string_view chunk) {
  HistogramIterator it(chunk);
  std::vector<HistogramSample> samples;
  while (it.Next()) samples.push_back(it.sample());
  if (!it.status().ok()) return it.status();
  return samples;
}

}  // namespace chronolith
