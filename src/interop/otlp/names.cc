#include "interop/otlp/names.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace chronolith::interop::otlp {
namespace {

using Words = std::vector<std::string>;

constexpr std::pair<std::string_view, std::string_view> kUnits[] = {
    {"d", "days"},          {"h", "hours"},
    {"min", "minutes"},     {"s", "seconds"},
    {"ms", "milliseconds"}, {"us", "microseconds"},
    {"ns", "nanoseconds"},  {"By", "bytes"},
    {"KiBy", "kibibytes"},  {"MiBy", "mebibytes"},
    {"GiBy", "gibibytes"},  {"TiBy", "tebibytes"},
    {"KBy", "kilobytes"},   {"kBy", "kilobytes"},
    {"MBy", "megabytes"},   {"GBy", "gigabytes"},
    {"TBy", "terabytes"},   {"m", "meters"},
    {"V", "volts"},         {"A", "amperes"},
    {"J", "joules"},        {"W", "watts"},
    {"g", "grams"},         {"Cel", "celsius"},
    {"Hz", "hertz"},        {"1", ""},
    {"%", "percent"},
};
constexpr std::pair<std::string_view, std::string_view> kPerUnits[] = {
    {"s", "second"}, {"m", "minute"}, {"min", "minute"}, {"h", "hour"}, {"d", "day"}, {"w", "week"}, {"mo", "month"}, {"y", "year"},
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetterOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || IsDigit(c); }

// The runs of characters that a name keeps.
Words Split(std::string_view text) {
  Words words;
  bool inside = false;
  for (const char c : text) {
    const bool keep = IsLetterOrDigit(c) || c == ':';
    if (keep && !inside) words.emplace_back();
    if (keep) words.back().push_back(c);
    inside = keep;
  }
  return words;
}

std::string Join(const Words& words) {
  std::string joined;
  for (const std::string& word : words) {
    if (!joined.empty()) joined.push_back('_');
    joined += word;
  }
  return joined;
}

template <typename Table>
std::string_view InWords(std::string_view unit, const Table& table) {
  for (const auto& [symbol, words] : table) {
    if (symbol == unit) return words;
  }
  return unit;
}

std::string_view Trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

struct UnitWords {
  std::string main;
  std::string per;  // "per_second"
};

// What stands in braces is an annotation, not a unit.
UnitWords WordsOf(std::string_view unit) {
  const std::size_t slash = unit.find('/');
  UnitWords words;
  const std::string_view main = Trimmed(unit.substr(0, slash));
  if (main.find_first_of("{}") == std::string_view::npos) words.main = Join(Split(InWords(main, kUnits)));
  if (slash == std::string_view::npos) return words;
  const std::string_view per = Trimmed(unit.substr(slash + 1));
  if (per.find_first_of("{}") != std::string_view::npos) return words;
  words.per = Join(Split(InWords(per, kPerUnits)));
  if (!words.per.empty()) words.per.insert(0, "per_");
  return words;
}

void AddIfNew(std::string word, Words* words) {
  if (!word.empty() && std::find(words->begin(), words->end(), word) == words->end()) words->push_back(std::move(word));
}

void MoveToEnd(std::string_view word, Words* words) {
  words->erase(std::remove(words->begin(), words->end(), word), words->end());
  words->emplace_back(word);
}

}  // namespace

std::string PrometheusMetricName(std::string_view name, std::string_view unit, MetricKind kind) {
  Words words = Split(name);
  if (words.empty()) return {};
  UnitWords suffix = WordsOf(unit);
  AddIfNew(std::move(suffix.main), &words);
  AddIfNew(std::move(suffix.per), &words);
  if (kind == MetricKind::kCounter) MoveToEnd("total", &words);
  if (kind == MetricKind::kGauge && unit == "1") MoveToEnd("ratio", &words);
  std::string joined = Join(words);
  if (IsDigit(joined.front())) joined.insert(joined.begin(), '_');
  return joined;
}

std::string PrometheusUnit(std::string_view unit) {
  const UnitWords words = WordsOf(unit);
  if (words.main.empty() || words.per.empty()) return words.main + words.per;
  return words.main + "_" + words.per;
}

std::string PrometheusLabelName(std::string_view key) {
  // Names with two underscores at either end are Prometheus' own; they keep them.
  const bool reserved = key.size() > 4 && key.starts_with("__") && key.ends_with("__");
  if (reserved) key = key.substr(2, key.size() - 4);
  std::string name;
  for (const char c : key) {
    if (IsLetterOrDigit(c)) {
      name.push_back(c);
    } else if (name.empty() || name.back() != '_') {
      name.push_back('_');
    }
  }
  if (reserved) return "__" + name + "__";
  if (!name.empty() && IsDigit(name.front())) return "key_" + name;
  if (!name.empty() && name.front() == '_') return "key" + name;
  return name;
}

}  // namespace chronolith::interop::otlp
