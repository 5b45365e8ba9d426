// BufferPool: the byte buffers of one shard's open chunks, in size classes, carved from slabs. Freed buffers are used again; slabs
// are returned when the pool dies. Thread safety: none, the shard's append lock guards it.
#ifndef CHRONOLITH_HEAD_BUFFER_POOL_H_
#define CHRONOLITH_HEAD_BUFFER_POOL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace chronolith {

class BufferPool {
 public:
  // 64, 96, 128, 192, ... 49152: each at most half as large again as the one before.
  static constexpr std::array<std::uint32_t, 20> kClassBytes = {64,   96,   128,  192,  256,  384,  512,   768,   1024,  1536,
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

  std::uint64_t used_bytes() const { return used_bytes_; }
  std::uint64_t slab_bytes() const { return slab_bytes_; }

 private:
  void Refill(std::uint8_t size_class) {
    const std::size_t bytes = kClassBytes[size_class];
    const std::size_t n = bytes >= kSlabBytes ? 1 : kSlabBytes / bytes;
    slabs_.emplace_back(new std::uint8_t[n * bytes]);
    slab_bytes_ += n * bytes;
    for (std::size_t i = n; i > 0; --i) free_[size_class].push_back(slabs_.back().get() + (i - 1) * bytes);
  }

  static constexpr std::size_t kSlabBytes = 32 << 10;
  std::array<std::vector<std::uint8_t*>, kClassBytes.size()> free_;
  std::vector<std::unique_ptr<std::uint8_t[]>> slabs_;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t slab_bytes_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_HEAD_BUFFER_POOL_H_
