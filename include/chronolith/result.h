// Result<T>: either a value or the Status that says why there is none.
#ifndef CHRONOLITH_RESULT_H_
#define CHRONOLITH_RESULT_H_

#include <cstdlib>
#include <optional>
#include <utility>

#include "chronolith/status.h"

namespace chronolith {

// Reading the value of a failed Result aborts: check ok() first.
// Thread safety: as a value type.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): `return value;` should read naturally
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (status_.ok()) std::abort();  // an OK Result needs a value
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  T& value() & { return Checked(); }
  const T& value() const& { return const_cast<Result*>(this)->Checked(); }
  T&& value() && { return std::move(Checked()); }

  T& operator*() & { return Checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(Checked()); }
  T* operator->() { return &Checked(); }
  const T* operator->() const { return &value(); }

 private:
  T& Checked() {
    if (!value_) std::abort();
    return *value_;
  }

  Status status_;
  std::optional<T> value_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_RESULT_H_
