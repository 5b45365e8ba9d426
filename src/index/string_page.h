// StringPage: what a listing of names or values, of which there may be as many as series, takes at a time.
#ifndef CHRONOLITH_INDEX_STRING_PAGE_H_
#define CHRONOLITH_INDEX_STRING_PAGE_H_

#include <cstddef>
#include <functional>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace chronolith {

// Of the strings that are offered, in any order, the least ones behind `after`, distinct, about so many bytes of them, but at least
// one. Thread safety: one thread at a time.
class StringPage {
 public:
  using Strings = std::set<std::string, std::less<>>;

  explicit StringPage(std::string after = {}, std::size_t bytes_max = std::numeric_limits<std::size_t>::max())
      : after_(std::move(after)), bytes_max_(bytes_max) {}

  const std::string& after() const { return after_; }
  // Never of "".
  bool Wants(std::string_view s) const { return s > after_ && !IsBehind(s) && !strings_.contains(s); }
  // Whether it lies behind what the page has room for, and so does all that is greater.
  bool IsBehind(std::string_view s) const { return full_ && s > *strings_.rbegin(); }
  // One that it wants.
  void Add(std::string_view s) {
    strings_.emplace_hint(strings_.end(), s);
    bytes_ += CostOf(s);
    while (strings_.size() > 1 && bytes_ - CostOf(*strings_.rbegin()) >= bytes_max_) {
      bytes_ -= CostOf(*strings_.rbegin());
      strings_.erase(std::prev(strings_.end()));
    }
    full_ = full_ || bytes_ >= bytes_max_;
  }
  // There may be more: the next page begins behind the last of these.
  bool full() const { return full_; }
  const Strings& strings() const { return strings_; }

 private:
  static constexpr std::size_t kNodeBytes = 80;
  static std::size_t CostOf(std::string_view s) { return s.size() + kNodeBytes; }

  std::string after_;
  std::size_t bytes_max_;
  Strings strings_;
  std::size_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_STRING_PAGE_H_
