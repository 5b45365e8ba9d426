// ByteArena: bytes of many small things, in a few large blocks.
#ifndef CHRONOLITH_BASE_BYTE_ARENA_H_
#define CHRONOLITH_BASE_BYTE_ARENA_H_

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace chronolith {

// Append-only memory for bytes; what Copy returns stays where it is until Clear. Thread safety: one thread at a time.
class ByteArena {
 public:
  std::string_view Copy(std::string_view bytes) {
    if (bytes.empty()) return {};
    if (bytes.size() > left_) Grow(bytes.size());
    char* const to = at_;
    std::memcpy(to, bytes.data(), bytes.size());
    at_ += bytes.size();
    left_ -= bytes.size();
    used_ += bytes.size();
    return {to, bytes.size()};
  }
  std::size_t used_bytes() const { return used_; }
  // Forgets everything; keeps the first block for the next use.
  void Clear() {
    if (blocks_.size() > 1) blocks_.resize(1);
    at_ = blocks_.empty() ? nullptr : blocks_[0].get();
    left_ = blocks_.empty() ? 0 : first_size_;
    used_ = 0;
  }

 private:
  static constexpr std::size_t kBlockBytesMin = 64U << 10;
  static constexpr std::size_t kBlockBytesMax = 1U << 20;

  void Grow(std::size_t needed) {
    // Doubling: a point query pays for little, a scan soon takes large blocks.
    const std::size_t wanted = used_ < kBlockBytesMin ? kBlockBytesMin : used_ < kBlockBytesMax ? used_ : kBlockBytesMax;
    const std::size_t size = wanted < needed ? needed : wanted;
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    if (blocks_.size() == 1) first_size_ = size;
    at_ = blocks_.back().get();
    left_ = size;
  }

  std::vector<std::unique_ptr<char[]>> blocks_;
  std::size_t first_size_ = 0;
  char* at_ = nullptr;
  std::size_t left_ = 0;
  std::size_t used_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_BYTE_ARENA_H_
