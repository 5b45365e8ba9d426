#include "chunk/xor_chunk.h"

#include <algorithm>

#include "base/coding.h"

namespace chronolith {
namespace {

// The 64 bits from bit `pos` on; reads 9 bytes.
inline std::uint64_t Peek64(const std::uint8_t* base, std::uint64_t pos) {
  const std::uint8_t* p = base + pos / 8;
  const unsigned shift = pos % 8;
  std::uint64_t word;
  std::memcpy(&word, p, sizeof(word));
  return __builtin_bswap64(word) << shift | static_cast<std::uint64_t>(p[8]) >> (8 - shift);
}

// At least 57 bits from bit `pos` on, left-aligned; reads 8 bytes.
inline std::uint64_t Peek57(const std::uint8_t* base, std::uint64_t pos) {
  std::uint64_t word;
  std::memcpy(&word, base + pos / 8, sizeof(word));
  return __builtin_bswap64(word) << (pos % 8);
}

// `raw` has `width` bits; values above 2^(width-1) are negative, that one itself is not.
inline std::uint64_t SignExtendDod(std::uint64_t raw, unsigned width) {
  return raw > (1ULL << (width - 1)) ? raw - (1ULL << width) : raw;
}

// Reads a delta of deltas that is not 0, given `w`, the bits from `*pos` on.
inline std::uint64_t ReadDod(const std::uint8_t* base, std::uint64_t w, std::uint64_t* pos) {
  if ((w >> 62) == 0b10) {
    *pos += 16;
    return SignExtendDod(w << 2 >> 50, 14);
  }
  if ((w >> 61) == 0b110) {
    *pos += 20;
    return SignExtendDod(w << 3 >> 47, 17);
  }
  if ((w >> 60) == 0b1110) {
    *pos += 24;
    return SignExtendDod(w << 4 >> 44, 20);
  }
  const std::uint64_t dod = Peek64(base, *pos + 4);
  *pos += 68;
  return dod;
}

}  // namespace

void XorAppender::PutVarintBytes(std::uint8_t* buffer, std::uint64_t value) {
  while (value >= 0x80) {
    Put<Store::kWholeWords>(buffer, (value & 0x7f) | 0x80, 8);
    value >>= 7;
  }
  Put<Store::kWholeWords>(buffer, value, 8);
}

void XorAppender::AppendFirst(std::uint8_t* buffer, Timestamp timestamp, std::uint64_t value_bits) {
  if (count == 0) {
    PutVarintBytes(buffer, ZigZag(timestamp));
    Put<Store::kWholeWords>(buffer, value_bits, 64);
    v = value_bits;
  } else {
    delta = static_cast<std::uint64_t>(timestamp) - static_cast<std::uint64_t>(t);
    PutVarintBytes(buffer, delta);
    PutValue<Store::kWholeWords>(buffer, 0, 0, value_bits);
  }
  t = timestamp;
  ++count;
}

void XorAppender::AppendRun(std::uint8_t* buffer, const Timestamp* timestamps, const double* values, std::size_t n) {
  std::size_t i = 0;
  for (; i < n && count < 2; ++i) Append(buffer, timestamps[i], values[i]);
  XorAppender at = *this;  // in registers: the buffer's bytes might be its members
  for (; i < n; ++i) at.AppendLater<Store::kAlways>(buffer, timestamps[i], std::bit_cast<std::uint64_t>(values[i]));
  *this = at;
}

void XorAppender::CopyTo(const std::uint8_t* buffer, std::string* out) const {
  const std::size_t begin = out->size();
  const std::size_t words = bits / 64 * 8;
  const std::size_t tail = size() - words;
  out->reserve(begin + words + 8);
  if (words != 0) out->append(reinterpret_cast<const char*>(buffer), words);
  char last[8];
  StoreBigEndian(last, pending);
  out->append(last, tail);
  StoreBigEndian(out->data() + begin, count);
  if (bits % 8 == 0 && EndsWithWholeBytes(std::string_view(*out).substr(begin))) out->push_back('\0');
}

// Whether the last value was written as whole bytes: behind such a one, at the end of a byte, Prometheus' bit writer has already
// begun the next byte. That it did not write an XOR of 0 last is not in the state; to look costs a decode, for one chunk in dozens.
bool XorAppender::EndsWithWholeBytes(std::string_view chunk) const {
  if (count < 2) return count == 1;
  if (leading == 0xff || (leading + trailing) % 8 != 0) return false;
  XorIterator it(chunk);
  Timestamp t_before[64];
  double v_before[64];
  for (std::size_t left = count - 1; left > 0;) {
    const std::size_t n = it.Decode(t_before, v_before, std::min<std::size_t>(left, 64));
    left -= n;
    if (left == 0) return std::bit_cast<std::uint64_t>(v_before[n - 1]) != v;
  }
  return false;
}

void XorIterator::Reset(std::string_view chunk) {
  base_ = reinterpret_cast<const std::uint8_t*>(chunk.data());
  end_ = chunk.size() * 8;
  pos_ = 16;
  read_ = 0;
  leading_ = trailing_ = width_ = 0;
  in_tail_ = false;
  malformed_ = chunk.size() < 2;
  count_ = malformed_ ? 0 : LoadBigEndian<std::uint16_t>(chunk.data());
}

Status XorIterator::status() const {
  if (!malformed_) return Status::Ok();
  if (count_ == 0) return DataLoss("float chunk is shorter than its header");
  return DataLoss("float chunk: sample " + std::to_string(read_) + " of " + std::to_string(count_) + " is cut off or malformed");
}

bool XorIterator::DecodeFirst(Timestamp* t, double* v) {
  const char* at = reinterpret_cast<const char*>(base_) + 2;
  const char* limit = reinterpret_cast<const char*>(base_) + end_ / 8;
  std::uint64_t raw = 0;
  at = DecodeVarint(at, limit, &raw);
  if (at == nullptr || limit - at < 8) return false;
  t_ = static_cast<std::uint64_t>(UnZigZag(raw));
  v_ = LoadBigEndian<std::uint64_t>(at);
  pos_ = static_cast<std::uint64_t>(at + 8 - reinterpret_cast<const char*>(base_)) * 8;
  *t = static_cast<Timestamp>(t_);
  *v = std::bit_cast<double>(v_);
  return true;
}

// Sample 1 differs from the later ones only in its time: put the delta in place and let DecodeRun read a '0' before the value.
bool XorIterator::DecodeSecond(Timestamp* t, double* v) {
  const char* limit = reinterpret_cast<const char*>(base_) + end_ / 8;
  const char* at = DecodeVarint(reinterpret_cast<const char*>(base_) + pos_ / 8, limit, &delta_);
  if (at == nullptr) return false;
  // The value's code is copied one bit to the right, behind the '0'.
  std::uint8_t bytes[2 * kSlack] = {};
  const std::size_t n = std::min<std::size_t>(static_cast<std::size_t>(limit - at), kSlack - 1);
  for (std::size_t i = 0; i < n; ++i) {
    const auto byte = static_cast<std::uint8_t>(at[i]);
    bytes[i] = static_cast<std::uint8_t>(bytes[i] | byte >> 1);
    bytes[i + 1] = static_cast<std::uint8_t>(byte << 7);
  }
  const std::uint8_t* base = base_;
  const std::uint64_t end = end_;
  base_ = bytes;
  pos_ = 0;
  end_ = n * 8 + 1;
  const bool ok = DecodeRun(kSlack * 8, t, v, 1) == 1;
  base_ = base;
  end_ = end;
  pos_ += static_cast<std::uint64_t>(at - reinterpret_cast<const char*>(base)) * 8 - 1;
  return ok;
}

// Moves the rest of the chunk, at most kSlack bytes, before a run of zeros, and goes on there.
void XorIterator::EnterTail() {
  const std::size_t from = pos_ / 8;
  const std::size_t n = end_ / 8 - from;
  std::memset(tail_, 0, sizeof(tail_));
  std::memcpy(tail_, base_ + from, n);
  base_ = tail_;
  pos_ -= from * 8;
  end_ = n * 8;
  in_tail_ = true;
}

// Decodes samples of index 1 and up that begin before bit `pos_limit`, where kSlack readable bytes follow the limit. Stops early,
// with malformed_ set, at a malformed sample. State is held in locals: with it in members the stores to the outputs would force
// reloads. The position grows by amounts that the branch predictor knows, so the loads of successive samples overlap.
std::size_t XorIterator::DecodeRun(std::uint64_t pos_limit, Timestamp* timestamps, double* values, std::size_t capacity) {
  const std::uint8_t* const base = base_;
  std::uint64_t pos = pos_, t = t_, delta = delta_, v = v_;
  unsigned leading = leading_, trailing = trailing_, width = width_;
  const std::uint64_t end = end_;
  std::size_t n = 0;
  while (n < capacity && pos < pos_limit) {
    std::uint64_t w = Peek57(base, pos);
    std::uint64_t next = pos;
    if ((w >> 62) == 0) {
      // Regular and constant: take the whole run of such samples, two bits each.
      const unsigned zeros = w == 0 ? 56 : std::min(56U, static_cast<unsigned>(std::countl_zero(w)));
      const std::size_t run = std::min<std::size_t>(zeros / 2, capacity - n);
      if (pos + 2 * run > end) {
        // Only in the tail. The samples that are whole count; then comes the cut.
        if (pos + 2 > end) break;
        next = pos + 2;
        t += delta;
        timestamps[n] = static_cast<Timestamp>(t);
        values[n++] = std::bit_cast<double>(v);
        pos = next;
        continue;
      }
      for (std::size_t i = 0; i < run; ++i) {
        t += delta;
        timestamps[n + i] = static_cast<Timestamp>(t);
        values[n + i] = std::bit_cast<double>(v);
      }
      n += run;
      pos += 2 * run;
      continue;
    }
    std::uint64_t new_delta = delta;
    if ((w >> 63) == 0) {
      next += 1;
      w <<= 1;
    } else {
      new_delta += ReadDod(base, w, &next);
      w = Peek57(base, next);
    }
    std::uint64_t new_v = v;
    if ((w >> 63) == 0) {
      next += 1;
    } else if ((w >> 62) == 0b10) {
      if (width == 0) break;
      // Time bit, control bits and the window are in `w` already where it is narrow.
      const std::uint64_t x = width <= 54 ? w << 2 >> (64 - width) : Peek64(base, next + 2) >> (64 - width);
      new_v ^= x << trailing;
      next += 2 + width;
    } else {
      const unsigned lead = (w >> 57) & 31;
      const unsigned raw_width = (w >> 51) & 63;
      const unsigned new_width = raw_width == 0 ? 64 : raw_width;
      if (lead + new_width > 64) break;
      leading = lead;
      width = new_width;
      trailing = 64 - lead - new_width;
      new_v ^= Peek64(base, next + 13) >> (64 - width) << trailing;
      next += 13 + width;
    }
    if (next > end) break;
    delta = new_delta;
    t += delta;
    v = new_v;
    pos = next;
    timestamps[n] = static_cast<Timestamp>(t);
    values[n++] = std::bit_cast<double>(v);
  }
  malformed_ = n < capacity && pos < pos_limit;
  pos_ = pos, t_ = t, delta_ = delta, v_ = v;
  leading_ = leading, trailing_ = trailing, width_ = width;
  return n;
}

std::size_t XorIterator::Decode(Timestamp* timestamps, double* values, std::size_t capacity) {
  if (malformed_) return 0;
  capacity = std::min<std::size_t>(capacity, count_ - read_);
  std::size_t n = 0;
  while (n < capacity && read_ < 2) {
    if (!(read_ == 0 ? DecodeFirst(timestamps, values) : DecodeSecond(timestamps + n, values + n))) {
      malformed_ = true;
      return n;
    }
    ++n;
    ++read_;
  }
  while (n < capacity) {
    if (!in_tail_ && pos_ / 8 + kSlack >= end_ / 8) EnterTail();
    // In the tail a sample may begin at the very end of the bytes only to be found cut off.
    const std::uint64_t limit = in_tail_ ? end_ + 1 : end_ - kSlack * 8;
    const std::size_t got = DecodeRun(limit, timestamps + n, values + n, capacity - n);
    n += got;
    read_ += static_cast<std::uint32_t>(got);
    if (malformed_) break;
  }
  return n;
}

std::string EncodeXor(std::span<const Sample> samples) {
  XorAppender appender;
  std::vector<std::uint8_t> buffer(256);
  for (const Sample& s : samples.first(std::min<std::size_t>(samples.size(), kXorMaxSamples))) {
    if (!appender.HasRoom(static_cast<std::uint32_t>(buffer.size()))) buffer.resize(buffer.size() * 2);
    appender.Append(buffer.data(), s.timestamp, s.value);
  }
  std::string out;
  appender.CopyTo(buffer.data(), &out);
  return out;
}

Result<std::vector<Sample>> DecodeXor(std::string_view chunk) {
  XorIterator it(chunk);
  std::vector<Sample> samples;
  // A damaged header must not make us allocate: two bits a sample is the least.
  samples.reserve(std::min<std::size_t>(it.count(), chunk.size() * 4));
  Timestamp t[128];
  double v[128];
  while (const std::size_t n = it.Decode(t, v, 128)) {
    for (std::size_t i = 0; i < n; ++i) samples.push_back({t[i], v[i]});
  }
  if (!it.ok()) return it.status();
  return samples;
}

}  // namespace chronolith
