// A store as a plain map: series -> timestamp -> value. What a real one holds after the same operations must equal it.
//
// Which series the index knows is a question of its own: a series stays known after its samples are deleted, until a compaction
// removes it, and whether that one did so is not promised. Such a series "may be there" until a look-up of all has told.
// Thread safety: none.
#ifndef CHRONOLITH_TESTS_MODEL_STORE_MODEL_H_
#define CHRONOLITH_TESTS_MODEL_STORE_MODEL_H_

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "chronolith/options.h"
#include "storage/items.h"

namespace chronolith {

// A value that compares bit for bit: the bits of a float, a hash of the encoding of a histogram.
struct ModelValue {
  bool histogram = false;
  std::uint64_t bits = 0;
  friend bool operator==(const ModelValue&, const ModelValue&) = default;
};
inline ModelValue ValueOf(double value) { return {false, std::bit_cast<std::uint64_t>(value)}; }
inline ModelValue ValueOf(Timestamp t, const Histogram& histogram) {
  return {true, StableHash(EncodeItem(HistogramSample{t, histogram}))};
}
using ModelPoints = std::map<Timestamp, ModelValue>;

// Regular expressions with what they match, said in C++, so that nothing here rests on the matcher under test.
struct ModelPattern {
  std::string_view text;
  bool (*matches)(std::string_view);
};
inline constexpr ModelPattern kModelPatterns[] = {
    {"", [](std::string_view v) { return v.empty(); }},
    {".*", [](std::string_view) { return true; }},
    {".+", [](std::string_view v) { return !v.empty(); }},
    {"1.*", [](std::string_view v) { return v.starts_with('1'); }},
    {".*1", [](std::string_view v) { return v.ends_with('1'); }},
    {"[0-3]", [](std::string_view v) { return v.size() == 1 && v[0] >= '0' && v[0] <= '3'; }},
    {"1|2|13", [](std::string_view v) { return v == "1" || v == "2" || v == "13"; }},
    {"e.*|odd", [](std::string_view v) { return v.starts_with('e') || v == "odd"; }},
    {"x+", [](std::string_view v) { return !v.empty() && v.find_first_not_of('x') == std::string_view::npos; }},
    {"|xx", [](std::string_view v) { return v.empty() || v == "xx"; }},
};

inline bool ModelMatches(const Matcher& matcher, std::string_view value) {
  if (matcher.type == Matcher::Type::kEqual) return value == matcher.value;
  if (matcher.type == Matcher::Type::kNotEqual) return value != matcher.value;
  const auto* pattern = std::find_if(std::begin(kModelPatterns), std::end(kModelPatterns),
                                     [&](const ModelPattern& p) { return p.text == matcher.value; });
  return pattern->matches(value) == (matcher.type == Matcher::Type::kRegex);
}

inline std::string Text(const std::vector<Matcher>& matchers) {
  std::string text = "{";
  for (const Matcher& m : matchers) text += (text.size() > 1 ? "," : "") + m.ToString();
  return text + "}";
}

class StoreModel {
 public:
  enum class Presence : std::uint8_t { kAbsent, kMaybe, kPresent };
  struct Series {
    Labels labels;
    ModelPoints points;
    std::optional<Metadata> metadata;
    Presence presence = Presence::kAbsent;  // in the index
    // Of the series that the reference at hand is of: whether it was removed, and what metadata it had then.
    bool reference_is_old = false;
    std::optional<Metadata> old_metadata;

    void Removed() {
      if (!reference_is_old) old_metadata = metadata;
      reference_is_old = true;
      metadata.reset();
    }
    // Through a reference: the series that comes in the place of a removed one takes its metadata along.
    void Replace() {
      if (reference_is_old && !metadata) metadata = old_metadata;
    }
  };

  StoreModel(DuplicatePolicy policy, const std::vector<Labels>& labels) : policy_(policy), series_(labels.size()) {
    for (std::size_t i = 0; i < labels.size(); ++i) series_[i].labels = labels[i];
  }

  Series& at(std::size_t i) { return series_[i]; }
  const std::vector<Series>& series() const { return series_; }
  Timestamp floor() const { return floor_; }
  Timestamp newest() const { return newest_; }  // of all that was offered

  // True where the store takes it.
  bool Write(std::size_t i, Timestamp t, ModelValue value) {
    newest_ = std::max(newest_, t);
    if (t < floor_) return false;
    const auto [it, inserted] = series_[i].points.try_emplace(t, value);
    if (inserted || it->second == value) return true;
    if (policy_ == DuplicatePolicy::kReject) return false;
    it->second = value;
    return true;
  }

  static bool Matches(const Labels& labels, std::span<const Matcher> matchers) {
    return std::all_of(matchers.begin(), matchers.end(), [&](const Matcher& m) { return ModelMatches(m, labels.Get(m.name)); });
  }
  // Delete wants a matcher that leaves out series without its label.
  static bool MayDelete(std::span<const Matcher> matchers) {
    return std::any_of(matchers.begin(), matchers.end(), [](const Matcher& m) { return !ModelMatches(m, ""); });
  }
  void Delete(std::span<const Matcher> matchers, TimeRange range) {
    for (Series& s : series_) {
      if (Matches(s.labels, matchers)) s.points.erase(s.points.lower_bound(range.start), s.points.lower_bound(range.end));
    }
  }
  void RaiseFloor(Timestamp floor) {
    floor_ = std::max(floor_, floor);
    for (Series& s : series_) s.points.erase(s.points.begin(), s.points.lower_bound(floor_));
  }
  // A compaction may remove what has no data.
  void Compacted() {
    for (Series& s : series_) {
      if (s.points.empty() && s.presence == Presence::kPresent) s.presence = Presence::kMaybe;
    }
  }

  // What Select gives: (series, its samples in the range), in the order of the labels; series without any left out.
  std::vector<std::pair<const Series*, ModelPoints>> Select(std::span<const Matcher> matchers, TimeRange range) const {
    std::vector<std::pair<const Series*, ModelPoints>> selected;
    for (const Series& s : series_) {
      if (!Matches(s.labels, matchers)) continue;
      const auto begin = s.points.lower_bound(range.start);
      const auto end = s.points.lower_bound(range.end);
      if (begin != end) selected.emplace_back(&s, ModelPoints(begin, end));
    }
    std::sort(selected.begin(), selected.end(), [](const auto& a, const auto& b) { return a.first->labels < b.first->labels; });
    return selected;
  }

 private:
  const DuplicatePolicy policy_;
  std::vector<Series> series_;
  Timestamp floor_ = kMinTimestamp;
  Timestamp newest_ = kMinTimestamp;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_MODEL_STORE_MODEL_H_
