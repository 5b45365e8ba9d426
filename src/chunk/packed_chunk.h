// Float chunks as they are stored once they no longer grow: numbers of a fixed scale, their differences in as many bits as those
// of this chunk need. Smaller than the XOR form where values are whole numbers, decimals or steps of one size (counters, sizes,
// seconds; bench/chunk_bench); it goes back to that bit for bit, so remote read and Prometheus blocks get what they had.
// Pure: no I/O, no locks.
//
//   mark: two bytes 0 (an XOR chunk begins with its number of samples, which in a row is never 0)
//   version: u8 = 1, plus 128 where the times are steady: all deltas are equal
//   samples: uvarint, 1..65535
//   time    zigzag varint of the first | uvarint delta to the second (samples > 1) | unless steady: column of the
//           deltas of deltas (samples > 2)
//   scale   u8: order (bits 0-1: 0..2) | decimals << 2 (0..15) | 64: there is an exponent | 128: there are others
//           zigzag varint exponent; without it 0. value = m / 10^decimals * 2^exponent, of which one is 0
//   others  values that have no m (NaN, infinities, -0): uvarint how many, each: uvarint values between it and the one before |
//           its 64 bits, little-endian. Their m is that of the value before (0 at the front).
//   m       order 1: zigzag varint m0, column of the deltas; order 2: m0, delta, column of the deltas of deltas; 0: column of m
//   column  of n numbers: u8 width 0..64, plus 128 where there are patches | zigzag varint base | uvarint patches, each: uvarint
//           numbers between it and the one before, zigzag varint number | (n * width + 7) / 8 bytes: number - base, `width` bits
//           each, least significant first. Or u8 64 + digits a word, 2..32, plus 128 | uvarint radix | base and patches as above |
//           words of as many bits as radix^digits - 1 has, which is below 2^32: number - base, a digit each, the first the highest
//
// Differences are modulo 2^64. Frame of reference with patches: Zukowski et al., "Super-Scalar RAM-CPU Cache Compression" (ICDE
// 2006), PFOR and PFOR-DELTA.
#ifndef CHRONOLITH_CHUNK_PACKED_CHUNK_H_
#define CHRONOLITH_CHUNK_PACKED_CHUNK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "chronolith/result.h"
#include "chunk/xor_chunk.h"

namespace chronolith {

// Whether the payload of a float chunk is packed; else it is XOR.
inline bool IsPacked(std::string_view payload) { return payload.size() > 2 && payload[0] == '\0' && payload[1] == '\0'; }

// The front of a packed chunk, up to the column of times. A row tells all of it in fewer bytes (format/chunk_rows.h).
struct PackedFront {
  bool steady = false;  // the deltas of time are all equal
  std::uint32_t samples = 0;
  Timestamp first = 0;
  std::uint64_t delta = 0;  // to the second sample; 0 where there is none
};
// Takes it off `in`; false where it is malformed.
bool ReadPackedFront(ByteReader* in, PackedFront* front);
void PutPackedFront(const PackedFront& front, std::string* out);

// Packs. Reusable: keeps its memory. Thread safety: one thread at a time.
class FloatPacker {
 public:
  // Replaces *packed. False where it would not take at least a sixteenth less than the XOR chunk, or would not come back bit for
  // bit; *packed is then undefined. 15 to 30 ns a sample (bench/chunk_bench).
  bool Pack(std::string_view xor_chunk, std::string* packed);

 private:
  struct Column {
    unsigned width = 64;  // of a word
    unsigned digits = 1;  // numbers in a word
    std::int64_t base = 0;
    std::int64_t top = 0;  // inclusive; what lies outside of [base, top] is a patch
    std::uint64_t bits = 0;
  };
  static Column Plan(const std::vector<std::int64_t>& numbers);
  static void PlanDigits(std::size_t numbers, Column* column);
  static void Put(const std::vector<std::int64_t>& numbers, const Column& column, std::string* out);

  bool Decode(std::string_view xor_chunk);
  bool ScaleDecimal();
  bool ScaleBinary();
  void PutFrontAndTimes(std::string* out);
  void PutValues(std::string* out);

  std::vector<Timestamp> timestamps_;
  std::vector<double> values_;
  std::vector<std::uint32_t> others_;  // values without m
  std::vector<std::int64_t> numbers_;  // m, later times
  std::vector<std::int64_t> deltas_;
  std::vector<std::int64_t> deltas_of_deltas_;
  unsigned decimals_ = 0;
  int exponent_ = 0;
  std::string again_;
};

// Reads a packed chunk from anywhere: as XorIterator, with the same promises.
class PackedIterator {
 public:
  void Reset(std::string_view packed);
  std::uint32_t count() const { return count_; }
  // As XorIterator::Decode. 1.2 to 4.6 ns a sample (bench/chunk_bench). `values` may be null, in all calls: what Reset
  // takes has a value for each timestamp, whatever its bits.
  std::size_t Decode(Timestamp* timestamps, double* values, std::size_t capacity);
  Status status() const;
  bool ok() const { return !malformed_; }

 private:
  // A column that is read from front to back.
  class Column {
   public:
    // Takes the column of n numbers off `in`; false where it is malformed.
    bool Open(ByteReader* in, std::uint32_t n);
    // The next n numbers; not more than it has.
    void Read(std::uint64_t* numbers, std::size_t n);

   private:
    bool OpenDigits(ByteReader* in);
    std::uint64_t NextBits();
    void ReadBits(std::uint64_t* numbers, std::size_t n);
    void ReadDigits(std::uint64_t* numbers, std::size_t n);

    unsigned width_ = 0;          // of a word
    unsigned digits_ = 1;         // numbers in a word
    std::uint64_t radix_ = 0;     // of digits
    std::uint64_t inverse_ = 0;   // 2^64 / radix^digits, rounded up
    std::uint64_t fraction_ = 0;  // of the word at hand, in 2^-64: what is left of its digits stands behind the point
    unsigned digits_left_ = 0;
    std::uint64_t base_ = 0;
    std::string_view bytes_;
    std::uint64_t bit_ = 0;   // of the next number in bytes_
    std::uint64_t read_ = 0;  // numbers
    ByteReader patches_{{}};
    std::uint64_t patches_left_ = 0;
    std::uint64_t patch_at_ = 0;  // which number the next patch is
  };

  bool Open(std::string_view packed);
  void DecodeTimes(Timestamp* timestamps, std::size_t n);
  void DecodeValues(double* values, std::size_t n);

  Column times_;
  Column numbers_;
  ByteReader others_{{}};
  std::uint64_t others_left_ = 0;
  std::uint64_t other_at_ = 0;  // index of the next value without m
  std::uint32_t count_ = 0;
  std::uint32_t read_ = 0;
  bool steady_ = false;
  unsigned order_ = 0;
  unsigned decimals_ = 0;
  double unit_ = 1;  // 10^decimals or 2^exponent
  std::uint64_t t_ = 0;
  std::uint64_t delta_ = 0;
  std::uint64_t m_ = 0;
  std::uint64_t m_delta_ = 0;
  bool malformed_ = false;
};

// Reads a float chunk of either form. As XorIterator, with the same promises.
class FloatIterator {
 public:
  FloatIterator() = default;
  explicit FloatIterator(std::string_view payload) { Reset(payload); }

  void Reset(std::string_view payload) {
    packed_ = IsPacked(payload);
    if (packed_) {
      unpack_.Reset(payload);
    } else {
      xor_.Reset(payload);
    }
  }
  std::uint32_t count() const { return packed_ ? unpack_.count() : xor_.count(); }
  std::size_t Decode(Timestamp* timestamps, double* values, std::size_t capacity) {
    return packed_ ? unpack_.Decode(timestamps, values, capacity) : xor_.Decode(timestamps, values, capacity);
  }
  bool Next() { return Decode(&sample_.timestamp, &sample_.value, 1) == 1; }
  const Sample& sample() const { return sample_; }
  bool ok() const { return packed_ ? unpack_.ok() : xor_.ok(); }
  Status status() const { return packed_ ? unpack_.status() : xor_.status(); }

 private:
  bool packed_ = false;
  XorIterator xor_;
  PackedIterator unpack_;
  Sample sample_;
};

// The XOR form of a packed chunk; replaces *xor_chunk. kDataLoss. 4 to 8 ns a sample (bench/chunk_bench).
Status Unpack(std::string_view packed, std::string* xor_chunk);

}  // namespace chronolith

#endif  // CHRONOLITH_CHUNK_PACKED_CHUNK_H_
