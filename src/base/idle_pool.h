// IdlePool: objects that are costly to make, kept for whoever needs one next.
#ifndef CHRONOLITH_BASE_IDLE_POOL_H_
#define CHRONOLITH_BASE_IDLE_POOL_H_

#include <cstddef>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace chronolith {

// Holds as many as were in use at the same time, while they take `bytes_max` together. Thread safety: safe.
template <typename T>
class IdlePool {
 public:
  explicit IdlePool(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // The one that was given back last, whose memory is warm; null where there is none.
  std::unique_ptr<T> Take() {
    MutexLock lock(&mu_);
    if (idle_.empty()) return nullptr;
    std::unique_ptr<T> object = std::move(idle_.back().object);
    bytes_ -= idle_.back().bytes;
    idle_.pop_back();
    return object;
  }
  // `bytes`: what the object holds. Callable from a destructor: without memory for its place it is not kept.
  void Give(std::unique_ptr<T> object, std::size_t bytes) noexcept {
    if (object == nullptr) return;
    MutexLock lock(&mu_);
    if (bytes > bytes_max_ - bytes_) return;
    try {
      idle_.push_back({std::move(object), bytes});
      bytes_ += bytes;
    } catch (const std::exception&) {
    }
  }
  std::size_t bytes() const {
    MutexLock lock(&mu_);
    return bytes_;
  }

 private:
  struct Idle {
    std::unique_ptr<T> object;
    std::size_t bytes;
  };

  const std::size_t bytes_max_;
  mutable Mutex mu_;
  std::vector<Idle> idle_ ABSL_GUARDED_BY(mu_);
  std::size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_IDLE_POOL_H_
