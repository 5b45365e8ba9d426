// Bits, most significant first, as in Prometheus' chunks. For streams where speed does not count; floats have chunk/xor_chunk.h.
#ifndef CHRONOLITH_INTEROP_BIT_STREAM_H_
#define CHRONOLITH_INTEROP_BIT_STREAM_H_

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace chronolith {

// Appends behind whole bytes that are there. Thread safety: as a value.
class BitWriter {
 public:
  explicit BitWriter(std::string bytes) : bytes_(std::move(bytes)) {}
  // The lowest n bits of `bits`, n up to 64.
  void Put(std::uint64_t bits, unsigned n) {
    while (n > 0) {
      if (free_ == 0) {
        bytes_.push_back('\0');
        free_ = 8;
      }
      const unsigned now = n < free_ ? n : free_;
      const auto piece = static_cast<unsigned>(bits >> (n - now)) & ((1U << now) - 1);
      bytes_.back() = static_cast<char>(static_cast<unsigned char>(bytes_.back()) | piece << (free_ - now));
      free_ -= now;
      n -= now;
    }
  }
  std::string* bytes() { return &bytes_; }

 private:
  std::string bytes_;
  unsigned free_ = 0;  // bits of the last byte
};

// After the first read past the end all reads give 0 and ok() is false. Thread safety: as a value.
class BitReader {
 public:
  explicit BitReader(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t Get(unsigned n) {
    if (n > left()) ok_ = false;
    if (!ok_) return 0;
    std::uint64_t bits = 0;
    while (n > 0) {
      const unsigned have = 8 - at_ % 8;
      const unsigned now = n < have ? n : have;
      const unsigned byte = static_cast<unsigned char>(bytes_[at_ / 8]);
      bits = bits << now | (byte >> (have - now) & ((1U << now) - 1));
      at_ += now;
      n -= now;
    }
    return bits;
  }
  std::uint64_t left() const { return bytes_.size() * 8 - at_; }
  bool ok() const { return ok_; }
  void Fail() { ok_ = false; }

 private:
  std::string_view bytes_;
  std::uint64_t at_ = 0;  // bits
  bool ok_ = true;
};

// The XOR code of a double against the one before.
struct XorCode {
  std::uint64_t bits = 0;   // of the last value
  unsigned leading = 0xff;  // the window; 0xff: none yet
  unsigned trailing = 0;

  void Put(double value, BitWriter* to) {
    const auto now = std::bit_cast<std::uint64_t>(value);
    const std::uint64_t x = now ^ bits;
    bits = now;
    if (x == 0) return to->Put(0, 1);
    const unsigned lead = static_cast<unsigned>(std::countl_zero(x)) > 31 ? 31 : static_cast<unsigned>(std::countl_zero(x));
    const auto trail = static_cast<unsigned>(std::countr_zero(x));
    if (leading != 0xff && lead >= leading && trail >= trailing) {
      to->Put(0b10, 2);
    } else {
      leading = lead;
      trailing = trail;
      to->Put(0b11, 2);
      to->Put(lead, 5);
      to->Put(64 - lead - trail, 6);  // 64 as 0
    }
    to->Put(x >> trailing, 64 - leading - trailing);
  }

  double Get(BitReader* in) {
    if (in->Get(1) == 1) {
      if (in->Get(1) == 1) {
        leading = static_cast<unsigned>(in->Get(5));
        const auto width = static_cast<unsigned>(in->Get(6));
        const unsigned used = leading + (width == 0 ? 64 : width);
        if (used > 64) in->Fail();
        trailing = used > 64 ? 0 : 64 - used;
      } else if (leading == 0xff) {
        leading = 0;  // as Prometheus takes it
      }
      bits ^= in->Get(64 - leading - trailing) << trailing;
    }
    return std::bit_cast<double>(bits);
  }
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_BIT_STREAM_H_
