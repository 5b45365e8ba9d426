// Labels: the sorted set of (name, value) pairs that identifies a series, and the matchers that select series by it.
#ifndef CHRONOLITH_LABELS_H_
#define CHRONOLITH_LABELS_H_

#include <compare>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronolith/export.h"

namespace chronolith {

inline constexpr std::string_view kMetricName = "__name__";

struct Label {
  std::string_view name;
  std::string_view value;
  friend bool operator==(const Label&, const Label&) = default;
};

// A label set held in one contiguous string, so that hashing and comparing read one run of memory:
//   repeat: uvarint length of name | name | uvarint length of value | value          (uvarint: LEB128, as in Protocol Buffers)
// Names are expected in ascending byte order without duplicates. The constructors that take pairs sort by name; they keep
// duplicate, empty or otherwise invalid names, which every write refuses with a Status that names the label.
// Views that iteration yields live as long as the Labels object and are invalidated by assignment.
// Thread safety: as a value type.
class CHRONOLITH_EXPORT Labels {
 public:
  class CHRONOLITH_EXPORT const_iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Label;
    using difference_type = std::ptrdiff_t;
    using pointer = const Label*;
    using reference = const Label&;

    const_iterator() = default;
    const_iterator(const char* at, const char* end) : next_(at), end_(end) { ++*this; }
    const Label& operator*() const { return label_; }
    const Label* operator->() const { return &label_; }
    const_iterator& operator++();
    const_iterator operator++(int) {
      const_iterator old = *this;
      ++*this;
      return old;
    }
    friend bool operator==(const const_iterator& a, const const_iterator& b) { return a.at_ == b.at_; }

   private:
    Label label_;
    const char* at_ = nullptr;  // first byte of label_; end_ when past the last
    const char* next_ = nullptr;
    const char* end_ = nullptr;
  };

  Labels() = default;
  Labels(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs);
  explicit Labels(std::vector<std::pair<std::string, std::string>> pairs);

  // Takes `encoded` (the form described above) as it is; malformed bytes end the iteration early and are refused by writes.
  static Labels FromEncoded(std::string encoded);
  // Appends one pair to an encoded label set; for producers that already have names in order.
  static void AppendEncoded(std::string_view name, std::string_view value, std::string* encoded);

  const_iterator begin() const;
  const_iterator end() const;
  bool empty() const { return encoded_.empty(); }
  std::size_t size() const;  // O(labels)

  // The value of `name`, or "" where it is missing: in the data model the two are the same.
  std::string_view Get(std::string_view name) const;

  std::string_view encoded() const { return encoded_; }

  // {a="1",b="2"} with Prometheus' escapes; the metric name stands before the brace.
  std::string ToString() const;

  // Order of Prometheus: label by label, name before value; a prefix sorts first.
  friend CHRONOLITH_EXPORT std::strong_ordering operator<=>(const Labels& a, const Labels& b);
  friend bool operator==(const Labels& a, const Labels& b) { return a.encoded_ == b.encoded_; }

 private:
  std::string encoded_;
};

// Selects series by one label. Prometheus semantics: a missing label equals the empty string; regular expressions are RE2 and
// match the whole value.
struct CHRONOLITH_EXPORT Matcher {
  enum class Type : unsigned char { kEqual, kNotEqual, kRegex, kNotRegex };

  Type type = Type::kEqual;
  std::string name;
  std::string value;

  static Matcher Equal(std::string name, std::string value) { return {Type::kEqual, std::move(name), std::move(value)}; }
  static Matcher NotEqual(std::string name, std::string value) { return {Type::kNotEqual, std::move(name), std::move(value)}; }
  static Matcher Regex(std::string name, std::string value) { return {Type::kRegex, std::move(name), std::move(value)}; }
  static Matcher NotRegex(std::string name, std::string value) { return {Type::kNotRegex, std::move(name), std::move(value)}; }

  std::string ToString() const;  // name=~"value"
  friend bool operator==(const Matcher&, const Matcher&) = default;
};

}  // namespace chronolith

#endif  // CHRONOLITH_LABELS_H_
