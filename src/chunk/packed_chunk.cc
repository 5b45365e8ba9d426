#include "chunk/packed_chunk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>

namespace chronolith {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kSteady = 128;           // with the version
constexpr std::uint8_t kExponent = 64;          // with the scale
constexpr std::uint8_t kOthers = 128;           // with the scale
constexpr std::uint8_t kPatches = 128;          // with a width
constexpr unsigned kDigits = 64;                // with a number of digits
constexpr std::uint64_t kWordMax = 1ULL << 32;  // of digits: up to this their fractions are exact
constexpr std::uint32_t kSamplesMin = 8;        // fewer are not worth the header
constexpr unsigned kDecimalsMax = 12;           // that the packer tries
constexpr std::size_t kDrops = 4;               // patches that a plan considers
constexpr std::uint64_t kPatchBits = 56;        // of one, about
constexpr std::int64_t kExact = 1LL << 53;      // whole numbers below are doubles
constexpr int kExponentMax = 1100;              // beyond any double's
constexpr std::size_t kBatch = 128;
constexpr std::size_t kStackBytes = 8 << 10;  // what a chunk of the default length may take as XOR

constexpr std::array<double, 16> kPowers = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

std::uint64_t Unsigned(std::int64_t v) { return static_cast<std::uint64_t>(v); }
std::int64_t Difference(std::int64_t a, std::int64_t b) { return static_cast<std::int64_t>(Unsigned(a) - Unsigned(b)); }

// A double in whole units: mantissa * 2^exponent. False for NaN, infinities and -0.
struct Parts {
  std::int64_t mantissa = 0;
  int exponent = 0;
};
bool Split(double value, Parts* parts) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const int biased = static_cast<int>(bits >> 52 & 0x7ff);
  if (biased == 0x7ff || bits == 1ULL << 63) return false;
  const std::uint64_t fraction = bits & ((1ULL << 52) - 1);
  const auto mantissa = static_cast<std::int64_t>(biased == 0 ? fraction : fraction | 1ULL << 52);
  parts->mantissa = value < 0 ? -mantissa : mantissa;
  parts->exponent = (biased == 0 ? 1 : biased) - 1075;
  return true;
}

// m with m / 10^decimals == value. False where there is none.
bool Decimal(double value, unsigned decimals, std::int64_t* m) {
  const double scaled = value * kPowers[decimals];
  if (!(std::abs(scaled) < static_cast<double>(kExact))) return false;
  *m = static_cast<std::int64_t>(scaled + std::copysign(0.5, scaled));
  return static_cast<double>(*m) / kPowers[decimals] == value;
}

void Differences(const std::vector<std::int64_t>& numbers, std::vector<std::int64_t>* deltas) {
  deltas->resize(numbers.empty() ? 0 : numbers.size() - 1);
  for (std::size_t i = 0; i < deltas->size(); ++i) (*deltas)[i] = Difference(numbers[i + 1], numbers[i]);
}

}  // namespace

bool ReadPackedFront(ByteReader* in, PackedFront* front) {
  if (in->Fixed<std::uint16_t>() != 0) return false;
  const auto version = in->Fixed<std::uint8_t>();
  if ((version & ~kSteady) != kVersion) return false;
  front->steady = (version & kSteady) != 0;
  const std::uint64_t samples = in->Varint();
  if (samples == 0 || samples > kXorMaxSamples) return false;
  front->samples = static_cast<std::uint32_t>(samples);
  front->first = in->SignedVarint();
  front->delta = samples > 1 ? in->Varint() : 0;
  return in->ok();
}

void PutPackedFront(const PackedFront& front, std::string* out) {
  out->append({'\0', '\0', static_cast<char>(kVersion | (front.steady ? kSteady : 0))});
  PutVarint(out, front.samples);
  PutZigZag(out, front.first);
  if (front.samples > 1) PutVarint(out, front.delta);
}

// ---- Packing ----

// The cheapest of: the whole span, or without some of the lowest and highest numbers.
FloatPacker::Column FloatPacker::Plan(const std::vector<std::int64_t>& numbers) {
  std::array<std::int64_t, kDrops + 1> low, high;
  low.fill(std::numeric_limits<std::int64_t>::max());
  high.fill(std::numeric_limits<std::int64_t>::min());
  for (const std::int64_t number : numbers) {
    if (number < low[kDrops]) {
      std::size_t i = kDrops;
      for (; i > 0 && number < low[i - 1]; --i) low[i] = low[i - 1];
      low[i] = number;
    }
    if (number > high[kDrops]) {
      std::size_t i = kDrops;
      for (; i > 0 && number > high[i - 1]; --i) high[i] = high[i - 1];
      high[i] = number;
    }
  }
  Column best;
  best.bits = std::numeric_limits<std::uint64_t>::max();
  for (std::size_t lows = 0; lows <= kDrops; ++lows) {
    for (std::size_t highs = 0; lows + highs <= kDrops && lows + highs < numbers.size(); ++highs) {
      const std::uint64_t span = Unsigned(high[highs]) - Unsigned(low[lows]);
      const auto width = static_cast<unsigned>(std::bit_width(span));
      const std::uint64_t bits = numbers.size() * width + (lows + highs) * kPatchBits;
      if (bits < best.bits) best = {width, 1, low[lows], high[highs], bits};
    }
  }
  PlanDigits(numbers.size(), &best);
  return best;
}

// Numbers of 21 values take 5 bits each, or 22 bits for 5 of them.
void FloatPacker::PlanDigits(std::size_t numbers, Column* column) {
  if (column->width < 2 || column->width > 12) return;  // the digits of more gain little
  const std::uint64_t radix = Unsigned(column->top) - Unsigned(column->base) + 1;
  const std::uint64_t plain = numbers * column->width;
  std::uint64_t least = plain - plain / 16;
  std::uint64_t power = radix;
  for (unsigned digits = 2; (power *= radix) <= kWordMax; ++digits) {
    const auto width = static_cast<unsigned>(std::bit_width(power - 1));
    const std::uint64_t bits = (numbers + digits - 1) / digits * width;
    if (bits >= least) continue;
    column->bits -= (column->digits == 1 ? plain : least) - bits;
    least = bits;
    column->width = width;
    column->digits = digits;
  }
}

void FloatPacker::Put(const std::vector<std::int64_t>& numbers, const Column& column, std::string* out) {
  const auto is_patch = [&](std::int64_t number) { return number < column.base || number > column.top; };
  const auto patches = static_cast<std::uint64_t>(std::count_if(numbers.begin(), numbers.end(), is_patch));
  const std::uint64_t radix = Unsigned(column.top) - Unsigned(column.base) + 1;
  const unsigned form = column.digits > 1 ? kDigits + column.digits : column.width;
  out->push_back(static_cast<char>(form | (patches > 0 ? kPatches : 0)));
  if (column.digits > 1) PutVarint(out, radix);
  PutZigZag(out, column.base);
  if (patches > 0) PutVarint(out, patches);
  std::size_t behind = 0;
  for (std::size_t i = 0; patches > 0 && i < numbers.size(); ++i) {
    if (!is_patch(numbers[i])) continue;
    PutVarint(out, i - behind);
    PutZigZag(out, numbers[i]);
    behind = i + 1;
  }
  if (column.width == 0) return;
  const std::size_t begin = out->size();
  const std::size_t words = (numbers.size() + column.digits - 1) / column.digits;
  const std::size_t bytes = (words * column.width + 7) / 8;
  out->resize(begin + bytes + 8);  // whole words are stored
  char* to = out->data() + begin;
  std::uint64_t word = 0;
  unsigned used = 0;
  const auto offset = [&](std::size_t i) {
    return i >= numbers.size() || is_patch(numbers[i]) ? 0 : Unsigned(numbers[i]) - Unsigned(column.base);
  };
  for (std::size_t i = 0; i < numbers.size();) {
    std::uint64_t next = offset(i++);
    for (unsigned digit = 1; digit < column.digits; ++digit) next = next * radix + offset(i++);
    word |= next << used;
    used += column.width;
    if (used < 64) continue;
    StoreFixed(to, word);
    to += 8;
    used -= 64;
    word = used == 0 ? 0 : next >> (column.width - used);
  }
  if (used > 0) StoreFixed(to, word);
  out->resize(begin + bytes);
}

bool FloatPacker::Decode(std::string_view xor_chunk) {
  XorIterator it(xor_chunk);
  const std::size_t count = it.count();
  timestamps_.resize(count);
  values_.resize(count);
  std::size_t n = 0;
  while (n < count) {
    const std::size_t more = it.Decode(&timestamps_[n], &values_[n], count - n);
    if (more == 0) break;
    n += more;
  }
  return n == count && it.ok();
}

// False where no number of decimals fits all values, or the numbers would not be smaller than in units of 2^exponent_. What d
// decimals hold d + 1 hold as well, so one pass finds how many all of them take.
bool FloatPacker::ScaleDecimal() {
  decimals_ = 1;
  std::int64_t m = 0;
  Parts parts;
  for (const double value : values_) {
    while (!Decimal(value, decimals_, &m) && Split(value, &parts)) {
      if (++decimals_ > kDecimalsMax || kPowers[decimals_] >= std::ldexp(1, -exponent_)) return false;
    }
  }
  others_.clear();
  m = 0;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (!Split(values_[i], &parts)) {
      others_.push_back(static_cast<std::uint32_t>(i));
    } else if (!Decimal(values_[i], decimals_, &m)) {
      return false;  // too large for as many decimals as another takes
    }
    numbers_[i] = m;
  }
  return true;
}

// The largest power of two that all values are multiples of. False where the numbers would exceed 62 bits.
bool FloatPacker::ScaleBinary() {
  int lowest = kExponentMax;
  int highest = -kExponentMax;
  Parts parts;
  for (const double value : values_) {
    if (!Split(value, &parts) || parts.mantissa == 0) continue;
    const std::uint64_t size = Unsigned(std::abs(parts.mantissa));
    lowest = std::min(lowest, parts.exponent + std::countr_zero(size));
    highest = std::max(highest, parts.exponent + static_cast<int>(std::bit_width(size)));
  }
  decimals_ = 0;
  exponent_ = lowest == kExponentMax ? 0 : lowest;
  if (highest - exponent_ > 62) return false;
  others_.clear();
  std::int64_t m = 0;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (!Split(values_[i], &parts)) {
      others_.push_back(static_cast<std::uint32_t>(i));
    } else if (const int shift = parts.exponent - exponent_; parts.mantissa == 0) {
      m = 0;
    } else {
      m = shift >= 0 ? parts.mantissa * (1LL << shift) : parts.mantissa / (1LL << -shift);
    }
    numbers_[i] = m;
  }
  return true;
}

void FloatPacker::PutFrontAndTimes(std::string* out) {
  Differences(timestamps_, &deltas_);
  Differences(deltas_, &deltas_of_deltas_);
  const Column column = Plan(deltas_of_deltas_);
  const bool steady = column.bits == 0 && column.base == 0;
  PutPackedFront({steady, static_cast<std::uint32_t>(timestamps_.size()), timestamps_[0], Unsigned(deltas_[0])}, out);
  if (!steady) Put(deltas_of_deltas_, column, out);
}

void FloatPacker::PutValues(std::string* out) {
  Differences(numbers_, &deltas_);
  Differences(deltas_, &deltas_of_deltas_);
  const std::array<const std::vector<std::int64_t>*, 3> orders = {&numbers_, &deltas_, &deltas_of_deltas_};
  unsigned order = 0;
  Column column;
  column.bits = std::numeric_limits<std::uint64_t>::max();
  for (unsigned i = 0; i < orders.size(); ++i) {
    const Column planned = Plan(*orders[i]);
    if (planned.bits >= column.bits) continue;
    column = planned;
    order = i;
  }
  const bool exponent = decimals_ == 0 && exponent_ != 0;
  out->push_back(static_cast<char>(order | decimals_ << 2 | (exponent ? kExponent : 0) | (others_.empty() ? 0 : kOthers)));
  if (exponent) PutZigZag(out, exponent_);
  if (!others_.empty()) PutVarint(out, others_.size());
  std::uint32_t behind = 0;
  for (const std::uint32_t i : others_) {
    PutVarint(out, i - behind);
    PutFixed64(out, std::bit_cast<std::uint64_t>(values_[i]));
    behind = i + 1;
  }
  if (order > 0) PutZigZag(out, numbers_[0]);
  if (order > 1) PutZigZag(out, deltas_[0]);
  Put(*orders[order], column, out);
}

bool FloatPacker::Pack(std::string_view xor_chunk, std::string* packed) {
  if (!Decode(xor_chunk) || values_.size() < kSamplesMin) return false;
  numbers_.resize(values_.size());
  // Fractions are decimals more often than not: 0.25, 12.7. Whole numbers have no need of it.
  const bool binary = ScaleBinary();
  if ((!binary || exponent_ < 0) && !ScaleDecimal() && (!binary || !ScaleBinary())) return false;
  packed->clear();
  PutFrontAndTimes(packed);
  PutValues(packed);
  return packed->size() + packed->size() / 16 < xor_chunk.size() && Unpack(*packed, &again_).ok() && again_ == xor_chunk;
}

Status Unpack(std::string_view packed, std::string* xor_chunk) {
  xor_chunk->clear();
  PackedIterator it;
  it.Reset(packed);
  const std::size_t bytes = std::size_t{it.count()} * kXorMaxSampleBytes + 16;
  std::array<std::uint8_t, kStackBytes> few;
  std::unique_ptr<std::uint8_t[]> many;
  if (bytes > few.size()) many = std::make_unique_for_overwrite<std::uint8_t[]>(bytes);
  std::uint8_t* const buffer = many != nullptr ? many.get() : few.data();
  XorAppender appender;
  std::array<Timestamp, kBatch> timestamps;
  std::array<double, kBatch> values;
  while (const std::size_t n = it.Decode(timestamps.data(), values.data(), kBatch)) {
    appender.AppendRun(buffer, timestamps.data(), values.data(), n);
  }
  if (it.ok()) appender.CopyTo(buffer, xor_chunk);
  return it.status();
}

// ---- Reading ----

bool PackedIterator::Column::Open(ByteReader* in, std::uint32_t n) {
  const auto form = in->Fixed<std::uint8_t>();
  width_ = form & ~kPatches;
  digits_ = 1;
  digits_left_ = 0;
  if (width_ > kDigits && !OpenDigits(in)) return false;
  base_ = Unsigned(in->SignedVarint());
  patches_left_ = (form & kPatches) != 0 ? in->Varint() : 0;
  if (!in->ok() || patches_left_ > n) return false;
  patches_ = *in;
  std::uint64_t next = 0;
  for (std::uint64_t i = 0; i < patches_left_; ++i) {
    const std::uint64_t gap = in->Varint();
    in->SignedVarint();
    if (!in->ok() || gap >= n - next) return false;
    next += gap + 1;
  }
  const std::uint64_t words = (std::uint64_t{n} + digits_ - 1) / digits_;
  bytes_ = in->Bytes((words * width_ + 7) / 8);
  bit_ = 0;
  read_ = 0;
  patch_at_ = patches_left_ == 0 ? 0 : patches_.Varint();
  return in->ok();
}

bool PackedIterator::Column::OpenDigits(ByteReader* in) {
  digits_ = width_ - kDigits;
  radix_ = in->Varint();
  if (digits_ < 2 || radix_ < 2) return false;
  std::uint64_t power = 1;
  for (unsigned i = 0; i < digits_; ++i) {
    if (radix_ > kWordMax / power) return false;
    power *= radix_;
  }
  width_ = static_cast<unsigned>(std::bit_width(power - 1));
  inverse_ = ~std::uint64_t{0} / power + 1;
  return true;
}

// The `width_` bits at bit_, wherever in the bytes.
std::uint64_t PackedIterator::Column::NextBits() {
  const std::size_t at = bit_ / 8;
  const unsigned shift = bit_ % 8;
  char bytes[9] = {};
  std::memcpy(bytes, bytes_.data() + at, std::min<std::size_t>(sizeof(bytes), bytes_.size() - at));
  std::uint64_t word = LoadFixed<std::uint64_t>(bytes) >> shift;
  if (shift > 0) word |= std::uint64_t{static_cast<std::uint8_t>(bytes[8])} << (64 - shift);
  bit_ += width_;
  return word & (~std::uint64_t{0} >> (64 - width_));
}

void PackedIterator::Column::ReadBits(std::uint64_t* numbers, std::size_t n) {
  std::size_t i = 0;
  if (width_ <= 56 && bytes_.size() >= 8) {  // then a word at the byte where a number begins holds it
    const std::uint64_t mask = ~std::uint64_t{0} >> (64 - width_);
    const char* const bytes = bytes_.data();
    const std::uint64_t words_end = (bytes_.size() - 8) * 8 + 8;  // of the bits where a whole word can be loaded
    const std::uint64_t whole = bit_ < words_end ? (words_end - bit_ + width_ - 1) / width_ : 0;
    for (const std::size_t end = std::min<std::uint64_t>(n, whole); i < end; ++i, bit_ += width_) {
      numbers[i] = base_ + (LoadFixed<std::uint64_t>(bytes + bit_ / 8) >> bit_ % 8 & mask);
    }
  }
  for (; i < n; ++i) numbers[i] = base_ + NextBits();
}

// word / radix^digits as a fraction of 64 bits: times the radix, what comes before the point is the next digit. Exact, because the
// fraction is too large by less than radix^digits / 2^64, and that, times radix^digits, is below 1.
void PackedIterator::Column::ReadDigits(std::uint64_t* numbers, std::size_t n) {
  const std::uint64_t mask = ~std::uint64_t{0} >> (64 - width_);
  const std::uint64_t radix = radix_;
  for (std::size_t i = 0; i < n;) {
    if (digits_left_ == 0) {
      std::uint64_t word = 0;
      if (const std::size_t at = bit_ / 8; at + 8 <= bytes_.size()) {
        word = LoadFixed<std::uint64_t>(bytes_.data() + at) >> bit_ % 8 & mask;
        bit_ += width_;
      } else {
        word = NextBits();
      }
      fraction_ = word * inverse_;
      digits_left_ = digits_;
    }
    const std::size_t end = std::min<std::size_t>(n, i + digits_left_);
    digits_left_ -= static_cast<unsigned>(end - i);
    std::uint64_t fraction = fraction_;
    for (; i < end; ++i) {
      const auto product = static_cast<unsigned __int128>(fraction) * radix;
      numbers[i] = base_ + static_cast<std::uint64_t>(product >> 64);
      fraction = static_cast<std::uint64_t>(product);
    }
    fraction_ = fraction;
  }
}

void PackedIterator::Column::Read(std::uint64_t* numbers, std::size_t n) {
  if (width_ == 0) {
    std::fill_n(numbers, n, base_);
  } else if (digits_ > 1) {
    ReadDigits(numbers, n);
  } else {
    ReadBits(numbers, n);
  }
  read_ += n;
  while (patches_left_ > 0 && patch_at_ < read_) {
    numbers[patch_at_ - (read_ - n)] = Unsigned(patches_.SignedVarint());
    if (--patches_left_ > 0) patch_at_ += 1 + patches_.Varint();
  }
}

void PackedIterator::Reset(std::string_view packed) {
  count_ = read_ = 0;
  malformed_ = !Open(packed);
  if (malformed_) count_ = 0;
}

bool PackedIterator::Open(std::string_view packed) {
  ByteReader in(packed);
  PackedFront front;
  if (!ReadPackedFront(&in, &front)) return false;
  steady_ = front.steady;
  count_ = front.samples;
  t_ = Unsigned(front.first);
  delta_ = front.delta;
  if (!steady_ && (count_ < 3 || !times_.Open(&in, count_ - 2))) return false;
  const auto scale = in.Fixed<std::uint8_t>();
  order_ = scale & 3;
  decimals_ = scale >> 2 & 15;
  if (order_ > 2 || order_ >= count_ || decimals_ >= kPowers.size()) return false;
  const std::int64_t exponent = (scale & kExponent) != 0 ? in.SignedVarint() : 0;
  if (exponent < -kExponentMax || exponent > kExponentMax || (exponent != 0 && decimals_ > 0)) return false;
  unit_ = decimals_ == 0 ? std::ldexp(1, static_cast<int>(exponent)) : kPowers[decimals_];
  others_left_ = (scale & kOthers) != 0 ? in.Varint() : 0;
  if (!in.ok() || others_left_ > count_) return false;
  others_ = in;
  std::uint64_t next = 0;
  for (std::uint64_t i = 0; i < others_left_; ++i) {
    const std::uint64_t gap = in.Varint();
    in.Fixed<std::uint64_t>();
    if (!in.ok() || gap >= count_ - next) return false;
    next += gap + 1;
  }
  other_at_ = others_left_ == 0 ? 0 : others_.Varint();
  m_ = order_ > 0 ? Unsigned(in.SignedVarint()) : 0;
  m_delta_ = order_ > 1 ? Unsigned(in.SignedVarint()) : 0;
  return numbers_.Open(&in, count_ - order_) && in.AtEnd();
}

void PackedIterator::DecodeTimes(Timestamp* timestamps, std::size_t n) {
  std::size_t i = 0;
  if (read_ == 0) timestamps[i++] = static_cast<Timestamp>(t_);
  if (read_ + i == 1 && i < n) timestamps[i++] = static_cast<Timestamp>(t_ += delta_);
  if (i == n) return;
  if (steady_) {
    for (std::uint64_t k = 1; i < n; ++i, ++k) timestamps[i] = static_cast<Timestamp>(t_ + k * delta_);
    t_ = static_cast<std::uint64_t>(timestamps[n - 1]);
    return;
  }
  std::array<std::uint64_t, kBatch> numbers;
  times_.Read(numbers.data(), n - i);
  for (std::size_t k = 0; i < n; ++i, ++k) {
    delta_ += numbers[k];
    timestamps[i] = static_cast<Timestamp>(t_ += delta_);
  }
}

void PackedIterator::DecodeValues(double* values, std::size_t n) {
  std::array<std::uint64_t, kBatch> m;
  std::size_t i = 0;
  if (order_ > 0 && read_ == 0) m[i++] = m_;
  if (order_ > 1 && read_ + i == 1 && i < n) m[i++] = m_ += m_delta_;
  if (i < n) numbers_.Read(&m[i], n - i);
  if (order_ == 1) {
    for (; i < n; ++i) m[i] = m_ += m[i];
  } else if (order_ == 2) {
    for (; i < n; ++i) m[i] = m_ += m_delta_ += m[i];
  }
  if (decimals_ > 0) {
    for (i = 0; i < n; ++i) values[i] = static_cast<double>(static_cast<std::int64_t>(m[i])) / unit_;
  } else {
    for (i = 0; i < n; ++i) values[i] = static_cast<double>(static_cast<std::int64_t>(m[i])) * unit_;
  }
  while (others_left_ > 0 && other_at_ < read_ + n) {
    values[other_at_ - read_] = others_.Double();
    if (--others_left_ > 0) other_at_ += 1 + others_.Varint();
  }
}

std::size_t PackedIterator::Decode(Timestamp* timestamps, double* values, std::size_t capacity) {
  const std::size_t n = std::min({capacity, std::size_t{count_ - read_}, kBatch});
  if (n == 0) return 0;
  DecodeTimes(timestamps, n);
  if (values != nullptr) DecodeValues(values, n);
  read_ += static_cast<std::uint32_t>(n);
  return n;
}

Status PackedIterator::status() const { return malformed_ ? DataLoss("packed float chunk is malformed") : Status::Ok(); }

}  // namespace chronolith
