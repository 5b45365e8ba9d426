// BufferPool: the byte buffers of one shard's open chunks, in size classes, carved from slabs. Freed buffers are used again; slabs
// that hold none in use are returned by Trim. Thread safety: none, the shard's append lock guards it.
#ifndef CHRONOLITH_HEAD_BUFFER_POOL_H_
#define CHRONOLITH_HEAD_BUFFER_POOL_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace chronolith {

class BufferPool {
 public:
  // 64, 96, 128, 192, ... 49152: each at most half as large again as the one before.
  static constexpr std::array<std::uint32_t, 20> kClassBytes = {64,   96,   128,  192,  256,  384,   512,   768,   1024,  1536,
                                                                2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152};

  // The smallest class of at least `bytes`; bytes <= 49152.
  static std::uint8_t ClassFor(std::uint32_t bytes) {
    std::uint8_t c = 0;
    while (kClassBytes[c] < bytes) ++c;
    return c;
  }

  std::uint8_t* Allocate(std::uint8_t size_class) {
    used_bytes_ += kClassBytes[size_class];
    std::vector<std::uint8_t*>& free = free_[size_class];
    if (free.empty()) Refill(size_class);
    std::uint8_t* const buffer = free.back();
    free.pop_back();
    return buffer;
  }
  void Free(std::uint8_t* buffer, std::uint8_t size_class) {
    used_bytes_ -= kClassBytes[size_class];
    free_[size_class].push_back(buffer);
  }

  // Returns the slabs without a buffer in use, where these are half of all bytes or more. Costs a search for each free buffer.
  void Trim() {
    if (used_bytes_ > slab_bytes_ / 2) return;
    for (std::size_t c = 0; c < kClassBytes.size(); ++c) TrimClass(c);
  }

  std::uint64_t used_bytes() const { return used_bytes_; }
  std::uint64_t slab_bytes() const { return slab_bytes_; }

 private:
  using Slab = std::unique_ptr<std::uint8_t[]>;

  void Refill(std::uint8_t size_class) {
    const std::size_t bytes = kClassBytes[size_class];
    const std::size_t n = BuffersOf(size_class);
    std::vector<Slab>& slabs = slabs_[size_class];
    slabs.emplace_back(new std::uint8_t[n * bytes]);
    slab_bytes_ += n * bytes;
    for (std::size_t i = n; i > 0; --i) free_[size_class].push_back(slabs.back().get() + (i - 1) * bytes);
  }

  void TrimClass(std::size_t size_class) {
    std::vector<Slab>& slabs = slabs_[size_class];
    std::vector<std::uint8_t*>& free = free_[size_class];
    const std::size_t n = BuffersOf(size_class);
    if (free.size() < n) return;
    const std::less<> before;  // of any two pointers
    std::sort(slabs.begin(), slabs.end(), [&](const Slab& a, const Slab& b) { return before(a.get(), b.get()); });
    const auto slab_of = [&](const std::uint8_t* buffer) {
      const auto behind = std::upper_bound(slabs.begin(), slabs.end(), buffer,
                                           [&](const auto* b, const Slab& slab) { return before(b, slab.get()); });
      return static_cast<std::size_t>(behind - slabs.begin()) - 1;
    };
    std::vector<std::size_t> free_of(slabs.size());
    for (const std::uint8_t* const buffer : free) ++free_of[slab_of(buffer)];
    std::erase_if(free, [&](const std::uint8_t* buffer) { return free_of[slab_of(buffer)] == n; });
    free.shrink_to_fit();
    std::size_t kept = 0;
    for (std::size_t i = 0; i < slabs.size(); ++i) {
      if (free_of[i] != n) slabs[kept++] = std::move(slabs[i]);
    }
    slab_bytes_ -= (slabs.size() - kept) * n * kClassBytes[size_class];
    slabs.resize(kept);
  }

  static std::size_t BuffersOf(std::size_t size_class) {
    const std::size_t bytes = kClassBytes[size_class];
    return bytes >= kSlabBytes ? 1 : kSlabBytes / bytes;
  }

  static constexpr std::size_t kSlabBytes = 32 << 10;
  std::array<std::vector<std::uint8_t*>, kClassBytes.size()> free_;
  std::array<std::vector<Slab>, kClassBytes.size()> slabs_;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t slab_bytes_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_HEAD_BUFFER_POOL_H_
