#include "interop/prometheus_histogram.h"

#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "base/coding.h"
#include "interop/bit_stream.h"

namespace chronolith {
namespace {

constexpr std::uint8_t kResetHeader = 0b10000000;
constexpr std::uint8_t kGaugeHeader = 0b11000000;
constexpr std::uint32_t kMaxSamples = 65535;
constexpr unsigned kWidths[] = {0, 3, 6, 9, 12, 18, 25, 56, 64};  // by the ones that lead

bool IsStale(double sum) { return std::bit_cast<std::uint64_t>(sum) == kStaleNaNBits; }

// -(2^(n-1) - 1) <= v <= 2^(n-1)
bool Fits(std::int64_t v, unsigned n) { return static_cast<std::uint64_t>(v) + ((1ULL << (n - 1)) - 1) < 1ULL << n; }

void PutPrefix(unsigned ones, BitWriter* to) {
  if (ones == 8) return to->Put(0xff, 8);
  to->Put(((1U << ones) - 1) << 1, ones + 1);
}

void PutVarbit(std::int64_t v, BitWriter* to) {
  unsigned ones = v == 0 ? 0 : 1;
  while (ones > 0 && ones < 8 && !Fits(v, kWidths[ones])) ++ones;
  PutPrefix(ones, to);
  to->Put(static_cast<std::uint64_t>(v), kWidths[ones]);
}

void PutVarbitUnsigned(std::uint64_t v, BitWriter* to) {
  unsigned ones = v == 0 ? 0 : 1;
  while (ones > 0 && ones < 8 && (v >> kWidths[ones]) != 0) ++ones;
  PutPrefix(ones, to);
  to->Put(v, kWidths[ones]);
}

std::uint64_t GetVarbitUnsigned(BitReader* in, unsigned* width) {
  unsigned ones = 0;
  while (ones < 8 && in->Get(1) == 1) ++ones;
  *width = kWidths[ones];
  return in->Get(*width);
}
std::uint64_t GetVarbitUnsigned(BitReader* in) {
  unsigned width = 0;
  return GetVarbitUnsigned(in, &width);
}
std::int64_t GetVarbit(BitReader* in) {
  unsigned width = 0;
  std::uint64_t v = GetVarbitUnsigned(in, &width);
  if (width > 0 && width < 64 && v > 1ULL << (width - 1)) v -= 1ULL << width;
  return static_cast<std::int64_t>(v);
}

void PutZeroThreshold(double threshold, BitWriter* to) {
  int exponent = 0;
  if (threshold == 0) return to->Put(0, 8);
  if (std::frexp(threshold, &exponent) == 0.5 && exponent >= -242 && exponent <= 11) {
    return to->Put(static_cast<std::uint64_t>(exponent + 243), 8);
  }
  to->Put(255, 8);
  to->Put(std::bit_cast<std::uint64_t>(threshold), 64);
}
double GetZeroThreshold(BitReader* in) {
  const auto byte = static_cast<int>(in->Get(8));
  if (byte == 0) return 0;
  return byte == 255 ? std::bit_cast<double>(in->Get(64)) : std::ldexp(0.5, byte - 243);
}

void PutSpans(const std::vector<BucketSpan>& spans, BitWriter* to) {
  PutVarbitUnsigned(spans.size(), to);
  for (const BucketSpan& s : spans) {
    PutVarbitUnsigned(s.length, to);
    PutVarbit(s.offset, to);
  }
}
// Every bucket takes a bit at least: more of them are a lie. `buckets`: how many there are.
std::vector<BucketSpan> GetSpans(BitReader* in, std::size_t* buckets) {
  std::vector<BucketSpan> spans;
  const std::uint64_t n = GetVarbitUnsigned(in);
  if (n > in->left()) in->Fail();
  for (std::uint64_t i = 0; i < n && in->ok(); ++i) {
    const std::uint64_t length = GetVarbitUnsigned(in);
    const std::int64_t offset = GetVarbit(in);
    if (length > in->left() || offset != static_cast<std::int32_t>(offset)) in->Fail();
    if (!in->ok()) break;
    spans.push_back({static_cast<std::int32_t>(offset), static_cast<std::uint32_t>(length)});
    *buckets += length;
    if (*buckets > in->left()) in->Fail();
  }
  return spans;
}

// Bounds of custom buckets: thousandths up to kMostThousandths, which a varbit of 4 bytes takes, and others.
constexpr double kMostThousandths = 33'554'430;
void PutBounds(const std::vector<double>& bounds, BitWriter* to) {
  PutVarbitUnsigned(bounds.size(), to);
  for (const double bound : bounds) {
    const double thousandths = std::round(bound * 1000);
    if (!std::signbit(bound) && thousandths <= kMostThousandths && thousandths / 1000 == bound) {
      PutVarbitUnsigned(static_cast<std::uint64_t>(thousandths) + 1, to);
    } else {
      to->Put(0, 1);
      to->Put(std::bit_cast<std::uint64_t>(bound), 64);
    }
  }
}
std::vector<double> GetBounds(BitReader* in) {
  std::vector<double> bounds;
  const std::uint64_t n = GetVarbitUnsigned(in);
  if (n > in->left()) in->Fail();
  for (std::uint64_t i = 0; i < n && in->ok(); ++i) {
    const std::uint64_t code = GetVarbitUnsigned(in);
    bounds.push_back(code == 0 ? std::bit_cast<double>(in->Get(64)) : static_cast<double>(code - 1) / 1000);
  }
  return bounds;
}

// A number coded as the delta of deltas.
struct Doubly {
  std::uint64_t value = 0, delta = 0;
  void Put(std::uint64_t v, BitWriter* to) {
    const std::uint64_t d = v - value;
    PutVarbit(static_cast<std::int64_t>(d - delta), to);
    delta = d;
    value = v;
  }
  std::uint64_t Get(BitReader* in) {
    delta += static_cast<std::uint64_t>(GetVarbit(in));
    return value += delta;
  }
};

// Absolute counts.
std::vector<double> Counts(const std::vector<double>& counts) { return counts; }
std::vector<std::int64_t> Counts(std::vector<std::int64_t> deltas) {
  std::partial_sum(deltas.begin(), deltas.end(), deltas.begin(), [](std::int64_t a, std::int64_t b) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  });
  return deltas;
}
const auto& Positive(const IntHistogram& h) { return h.positive_deltas; }
const auto& Positive(const FloatHistogram& h) { return h.positive_counts; }
const auto& Negative(const IntHistogram& h) { return h.negative_deltas; }
const auto& Negative(const FloatHistogram& h) { return h.negative_counts; }

template <typename T>
bool AnyFell(const T& before, const T& now) {
  const auto a = Counts(before), b = Counts(now);
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (b[i] < a[i]) return true;
  }
  return false;
}

// With the same layout.
template <typename H>
bool FellBack(const H& before, const H& now) {
  return now.count < before.count || now.zero_count < before.zero_count || AnyFell(Positive(before), Positive(now)) ||
         AnyFell(Negative(before), Negative(now));
}
template <typename H>
bool SameLayout(const H& a, const H& b) {
  return a.schema == b.schema && a.zero_threshold == b.zero_threshold && a.positive_spans == b.positive_spans &&
         a.negative_spans == b.negative_spans && a.custom_values == b.custom_values;
}

}  // namespace

struct PrometheusHistogramEncoder::Chunk {
  PrometheusHistogramChunk made;
  BitWriter bits{std::string(3, '\0')};
  Histogram last;
  bool gauge = false;
  Doubly time, count, zero_count;
  XorCode sum, float_count, float_zero_count;
  std::vector<Doubly> int_buckets;
  std::vector<XorCode> float_buckets;

  template <typename H>
  void PutLayout(const H& h) {
    PutZeroThreshold(h.zero_threshold, &bits);
    PutVarbit(h.schema, &bits);
    PutSpans(h.positive_spans, &bits);
    PutSpans(h.negative_spans, &bits);
    if (h.schema == kCustomBucketsSchema) PutBounds(h.custom_values, &bits);
  }
  static std::uint64_t Raw(double v) { return std::bit_cast<std::uint64_t>(v); }
  // `value` raw, and as what the next one is coded against.
  void First(double value, XorCode* code) {
    bits.Put(Raw(value), 64);
    code->bits = Raw(value);
  }

  void PutFirst(Timestamp t, const IntHistogram& h) {
    PutLayout(h);
    PutVarbit(t, &bits);
    PutVarbitUnsigned(h.count, &bits);
    PutVarbitUnsigned(h.zero_count, &bits);
    count.value = h.count;
    zero_count.value = h.zero_count;
    First(h.sum, &sum);
    for (const auto* buckets : {&h.positive_deltas, &h.negative_deltas}) {
      for (const std::int64_t b : *buckets) {
        PutVarbit(b, &bits);
        int_buckets.push_back({static_cast<std::uint64_t>(b), 0});
      }
    }
  }
  void PutFirst(Timestamp t, const FloatHistogram& h) {
    PutLayout(h);
    PutVarbit(t, &bits);
    First(h.count, &float_count);
    First(h.zero_count, &float_zero_count);
    First(h.sum, &sum);
    for (const auto* buckets : {&h.positive_counts, &h.negative_counts}) {
      for (const double b : *buckets) First(b, &float_buckets.emplace_back());
    }
  }
  void PutNext(const IntHistogram& h) {
    const bool stale = IsStale(h.sum);
    count.Put(stale ? count.value + count.delta : h.count, &bits);
    zero_count.Put(stale ? zero_count.value + zero_count.delta : h.zero_count, &bits);
    sum.Put(h.sum, &bits);
    std::size_t i = 0;
    for (const auto* buckets : {&h.positive_deltas, &h.negative_deltas}) {
      for (const std::int64_t b : *buckets) int_buckets[i++].Put(static_cast<std::uint64_t>(b), &bits);
    }
  }
  void PutNext(const FloatHistogram& h) {
    float_count.Put(h.count, &bits);
    float_zero_count.Put(h.zero_count, &bits);
    sum.Put(h.sum, &bits);
    std::size_t i = 0;
    for (const auto* buckets : {&h.positive_counts, &h.negative_counts}) {
      for (const double b : *buckets) float_buckets[i++].Put(b, &bits);
    }
  }
};

PrometheusHistogramEncoder::PrometheusHistogramEncoder() = default;
PrometheusHistogramEncoder::~PrometheusHistogramEncoder() = default;

namespace {

// Of a histogram that says that its series ended only that counts.
template <typename H>
H Bare(const H& h) {
  if (!IsStale(h.sum)) return h;
  H bare;
  bare.sum = h.sum;
  return bare;
}

}  // namespace

void PrometheusHistogramEncoder::Add(Timestamp timestamp, const Histogram& histogram) {
  std::visit(
      [&]<typename H>(const H& given) {
        const H h = Bare(given);
        const bool stale = IsStale(h.sum), gauge = h.reset_hint == CounterResetHint::kGauge;
        const H* last = chunk_ == nullptr ? nullptr : std::get_if<H>(&chunk_->last);
        bool reset = h.reset_hint == CounterResetHint::kYes;
        bool fits = last != nullptr && chunk_->made.samples < kMaxSamples;
        if (fits && !stale) {
          fits = !IsStale(last->sum) && gauge == chunk_->gauge && SameLayout(*last, h);
          if (fits && !gauge) {
            reset = reset || FellBack(*last, h);
            fits = !reset;
          }
        }
        if (!fits) {
          EndChunk();
          chunk_ = std::make_unique<Chunk>();
          chunk_->gauge = gauge;
          chunk_->made.encoding = std::is_same_v<H, IntHistogram> ? kPrometheusIntHistograms : kPrometheusFloatHistograms;
          chunk_->made.min_time = timestamp;
          (*chunk_->bits.bytes())[2] = static_cast<char>(gauge ? kGaugeHeader : reset ? kResetHeader : 0);
          chunk_->time.value = static_cast<std::uint64_t>(timestamp);
          chunk_->PutFirst(timestamp, h);
        } else {
          chunk_->time.Put(static_cast<std::uint64_t>(timestamp), &chunk_->bits);
          chunk_->PutNext(h);
        }
        chunk_->last = h;
        PrometheusHistogramChunk& made = chunk_->made;
        made.max_time = timestamp;
        StoreBigEndian(chunk_->bits.bytes()->data(), static_cast<std::uint16_t>(++made.samples));
      },
      histogram);
}

void PrometheusHistogramEncoder::EndChunk() {
  if (chunk_ == nullptr) return;
  chunk_->made.data = std::move(*chunk_->bits.bytes());
  done_.push_back(std::move(chunk_->made));
  chunk_ = nullptr;
}

std::vector<PrometheusHistogramChunk> PrometheusHistogramEncoder::Finish() {
  EndChunk();
  return std::exchange(done_, {});
}

namespace {

CounterResetHint HintOf(unsigned char header, std::size_t sample) {
  header &= kGaugeHeader;
  if (header == kGaugeHeader) return CounterResetHint::kGauge;
  if (sample > 0) return CounterResetHint::kNo;
  return header == kResetHeader ? CounterResetHint::kYes : CounterResetHint::kUnknown;
}

// The state of a chunk being read.
struct Decoder {
  BitReader in;
  std::size_t positive = 0, negative = 0;  // buckets
  Doubly time, count, zero_count;
  XorCode sum, float_count, float_zero_count;
  std::vector<Doubly> int_buckets;
  std::vector<XorCode> float_buckets;

  template <typename H>
  H Layout() {
    H h;
    h.zero_threshold = GetZeroThreshold(&in);
    const std::int64_t schema = GetVarbit(&in);
    if ((schema < -4 || schema > 8) && schema != kCustomBucketsSchema) in.Fail();
    h.schema = static_cast<std::int32_t>(schema);
    h.positive_spans = GetSpans(&in, &positive);
    std::size_t all = positive;
    h.negative_spans = GetSpans(&in, &all);
    negative = all - positive;
    if (schema == kCustomBucketsSchema) h.custom_values = GetBounds(&in);
    return h;
  }
  static double First(BitReader* in, XorCode* code) {
    code->bits = in->Get(64);
    return std::bit_cast<double>(code->bits);
  }

  void Read(bool first, IntHistogram* h) {
    if (first) {
      count.value = GetVarbitUnsigned(&in);
      zero_count.value = GetVarbitUnsigned(&in);
      First(&in, &sum);
      if (!in.ok()) return;
      for (std::size_t i = 0; i < positive + negative && in.ok(); ++i) {
        int_buckets.push_back({static_cast<std::uint64_t>(GetVarbit(&in)), 0});
      }
    } else {
      count.Get(&in);
      zero_count.Get(&in);
      sum.Get(&in);
      if (!IsStale(std::bit_cast<double>(sum.bits))) {
        for (Doubly& b : int_buckets) b.Get(&in);
      }
    }
    h->count = count.value;
    h->zero_count = zero_count.value;
    for (std::size_t i = 0; i < int_buckets.size(); ++i) {
      (i < positive ? h->positive_deltas : h->negative_deltas).push_back(static_cast<std::int64_t>(int_buckets[i].value));
    }
  }
  void Read(bool first, FloatHistogram* h) {
    if (first) {
      for (XorCode* code : {&float_count, &float_zero_count, &sum}) First(&in, code);
      for (std::size_t i = 0; i < positive + negative && in.ok(); ++i) First(&in, &float_buckets.emplace_back());
    } else {
      for (XorCode* code : {&float_count, &float_zero_count, &sum}) code->Get(&in);
      if (!IsStale(std::bit_cast<double>(sum.bits))) {
        for (XorCode& b : float_buckets) b.Get(&in);
      }
    }
    h->count = std::bit_cast<double>(float_count.bits);
    h->zero_count = std::bit_cast<double>(float_zero_count.bits);
    for (std::size_t i = 0; i < float_buckets.size(); ++i) {
      (i < positive ? h->positive_counts : h->negative_counts).push_back(std::bit_cast<double>(float_buckets[i].bits));
    }
  }
};

template <typename H>
Status Decode(std::string_view data, const std::function<Status(HistogramSample)>& visit) {
  const auto samples = LoadBigEndian<std::uint16_t>(data.data());
  const auto header = static_cast<unsigned char>(data[2]);
  Decoder d{BitReader(data.substr(3))};
  const H layout = samples == 0 ? H() : d.Layout<H>();
  std::size_t i = 0;
  for (; i < samples && d.in.ok(); ++i) {
    H h = layout;
    if (i == 0) {
      d.time.value = static_cast<std::uint64_t>(GetVarbit(&d.in));
    } else {
      d.time.Get(&d.in);
    }
    d.Read(i == 0, &h);
    if (!d.in.ok()) break;
    h.sum = std::bit_cast<double>(d.sum.bits);
    h = Bare(h);
    h.reset_hint = IsStale(h.sum) ? CounterResetHint::kUnknown : HintOf(header, i);
    if (Status s = visit({static_cast<Timestamp>(d.time.value), std::move(h)}); !s.ok()) return s;
  }
  return d.in.ok() ? Status::Ok() : DataLoss("its histogram " + std::to_string(i) + " is malformed");
}

}  // namespace

Status DecodePrometheusHistograms(unsigned encoding, std::string_view data, const std::function<Status(HistogramSample)>& visit) {
  if (data.size() < 3) return DataLoss("it is shorter than the header of histograms");
  if (encoding == kPrometheusIntHistograms) return Decode<IntHistogram>(data, visit);
  if (encoding == kPrometheusFloatHistograms) return Decode<FloatHistogram>(data, visit);
  return Unimplemented("its encoding is " + std::to_string(encoding) + "; float chunks (1) and native histograms (2, 3) are read");
}

}  // namespace chronolith
