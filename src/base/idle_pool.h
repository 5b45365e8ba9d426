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

// Holds as many as were in use at the same time. Thread safety: safe.
template <typename T>
class IdlePool {
 public:
  // The one that was given back last, whose memory is warm; null where there is none.
  std::unique_ptr<T> Take() {
    MutexLock lock(&mu_);
    if (idle_.empty()) return nullptr;
    std::unique_ptr<T> object = std::move(idle_.back());
    idle_.pop_back();
    return object;
  }
  // Callable from a destructor: without memory for its place the object is not kept.
  void Give(std::unique_ptr<T> object) noexcept {
    if (object == nullptr) return;
    MutexLock lock(&mu_);
    try {
      idle_.push_back(std::move(object));
    } catch (const std::exception&) {
    }
  }
  std::size_t size() const {
    MutexLock lock(&mu_);
    return idle_.size();
  }

 private:
  mutable Mutex mu_;
  std::vector<std::unique_ptr<T>> idle_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_IDLE_POOL_H_
