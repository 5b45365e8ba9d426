// PodVector: a growing array of trivially copyable values whose growth neither copies large arrays nor touches pages that hold
// nothing yet (realloc moves page tables, and the untouched tail costs no memory). std::vector would hold old and new at once.
#ifndef CHRONOLITH_INDEX_POD_VECTOR_H_
#define CHRONOLITH_INDEX_POD_VECTOR_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

namespace chronolith {

// Thread safety: as std::vector. Out of memory aborts, as everywhere in this library.
template <typename T>
class PodVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  PodVector() = default;
  PodVector(PodVector&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  PodVector& operator=(PodVector&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  PodVector(const PodVector&) = delete;
  PodVector& operator=(const PodVector&) = delete;
  ~PodVector() { std::free(data_); }

  void push_back(const T& value) {
    if (size_ == capacity_) Grow(size_ + 1);
    data_[size_++] = value;
  }
  void Append(const T* from, std::size_t n) {
    if (n == 0) return;
    if (size_ + n > capacity_) Grow(size_ + n);
    std::memcpy(static_cast<void*>(data_ + size_), from, n * sizeof(T));
    size_ += n;
  }
  // New elements are zero bytes.
  void ResizeZeroed(std::size_t n) {
    if (n > capacity_) Grow(n);
    if (n > size_) std::memset(static_cast<void*>(data_ + size_), 0, (n - size_) * sizeof(T));
    size_ = n;
  }

  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t memory_bytes() const { return size_ * sizeof(T); }

 private:
  void Grow(std::size_t at_least) {
    std::size_t capacity = capacity_ + capacity_ / 2;
    if (capacity < at_least) capacity = at_least;
    if (capacity * sizeof(T) < 64) capacity = (64 + sizeof(T) - 1) / sizeof(T);
    void* grown = std::realloc(static_cast<void*>(data_), capacity * sizeof(T));
    if (grown == nullptr) std::abort();
    data_ = static_cast<T*>(grown);
    capacity_ = capacity;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_POD_VECTOR_H_
