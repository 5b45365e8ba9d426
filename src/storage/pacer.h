// Pacer: when the next bytes may be read or written, so that no second takes more than a given number. Pure: time is given to it.
#ifndef CHRONOLITH_STORAGE_PACER_H_
#define CHRONOLITH_STORAGE_PACER_H_

#include <algorithm>
#include <cstdint>

namespace chronolith {

// Thread safety: one thread at a time.
class Pacer {
 public:
  // bytes_per_second 0: no bound. The first `credit_bytes` are for nothing.
  Pacer(std::uint64_t bytes_per_second, std::uint64_t credit_bytes)
      : bytes_per_second_(bytes_per_second), credit_bytes_(credit_bytes) {}

  // `bytes` were read or written up to `now`; returns when to go on. Time that was not used is not made up for.
  std::uint64_t Next(std::uint64_t bytes, std::uint64_t now_ns) {
    if (bytes_per_second_ == 0) return now_ns;
    const std::uint64_t free = std::min(bytes, credit_bytes_);
    credit_bytes_ -= free;
    bytes -= free;
    if (bytes == 0) return std::max(next_ns_, now_ns);
    const double ns = static_cast<double>(bytes) * 1e9 / static_cast<double>(bytes_per_second_);
    next_ns_ = std::max(next_ns_, now_ns) + static_cast<std::uint64_t>(std::min(ns, kNanosMax));
    return next_ns_;
  }

 private:
  static constexpr double kNanosMax = 1e17;  // three years

  const std::uint64_t bytes_per_second_;
  std::uint64_t credit_bytes_;
  std::uint64_t next_ns_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_PACER_H_
