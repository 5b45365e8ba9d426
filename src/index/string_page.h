// StringPage: what a listing of names or values, of which there may be as many as series, takes at a time.
#ifndef CHRONOLITH_INDEX_STRING_PAGE_H_
#define CHRONOLITH_INDEX_STRING_PAGE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/work_bounds.h"

namespace chronolith {

// Of the strings that are offered, in any order, the least ones behind `after`, distinct, about so many bytes of them, but at least
// one. Takes of the share of `bounds` before it grows, and keeps what it has taken, which so is hardly more than that.
// Thread safety: one thread at a time.
class StringPage {
 public:
  using Strings = std::set<std::string, std::less<>>;

  explicit StringPage(std::string after = {}, std::size_t bytes_max = std::numeric_limits<std::size_t>::max(),
                      const WorkBounds& bounds = {})
      : after_(std::move(after)), bytes_max_(bytes_max), bounds_(bounds) {}

  const std::string& after() const { return after_; }
  // Never of "".
  bool Wants(std::string_view s) const { return s > after_ && !IsBehind(s) && !strings_.contains(s); }
  // Whether it lies behind what the page has room for, and so does all that is greater.
  bool IsBehind(std::string_view s) const { return full_ && s > *strings_.rbegin(); }
  // One that it wants.
  void Add(std::string_view s) {
    if (!TakeRoom(CostOf(s))) return;
    strings_.emplace_hint(strings_.end(), s);
    bytes_ += CostOf(s);
    while (strings_.size() > 1 && bytes_ - CostOf(*strings_.rbegin()) >= bytes_max_) {
      bytes_ -= CostOf(*strings_.rbegin());
      strings_.erase(std::prev(strings_.end()));
    }
    full_ = full_ || bytes_ >= bytes_max_;
  }
  // False where it is of no use to offer more; status() tells why. Asked for each pair that there is.
  bool GoesOn() {
    if (++asked_ % kAskedBetweenChecks == 0 && status_.ok()) status_ = bounds_.Check();
    return status_.ok();
  }
  // What the share has refused, or kCancelled: then the page is not whole.
  const Status& status() const { return status_; }
  // Of a full one: becomes the page behind it.
  void Turn() {
    after_ = *strings_.rbegin();
    strings_.clear();
    bytes_ = 0;
    full_ = false;
  }
  // There may be more: the next page begins behind the last of these.
  bool full() const { return full_; }
  const Strings& strings() const { return strings_; }

 private:
  static constexpr std::size_t kNodeBytes = 80;
  static constexpr std::uint64_t kStepBytes = 4 << 10;
  static constexpr std::uint32_t kAskedBetweenChecks = 1024;
  static std::size_t CostOf(std::string_view s) { return s.size() + kNodeBytes; }
  bool TakeRoom(std::size_t bytes) {
    if (!status_.ok()) return false;
    if (bytes_ + bytes <= taken_) return true;
    const std::uint64_t step = std::max<std::uint64_t>(bytes_ + bytes - taken_, kStepBytes);
    status_ = bounds_.Take(step);
    if (status_.ok()) taken_ += step;
    return status_.ok();
  }

  std::string after_;
  std::size_t bytes_max_;
  WorkBounds bounds_;
  Strings strings_;
  std::size_t bytes_ = 0;
  std::uint64_t taken_ = 0;
  bool full_ = false;
  std::uint32_t asked_ = 0;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_STRING_PAGE_H_
