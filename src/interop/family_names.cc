#include "interop/family_names.h"

#include <array>

namespace chronolith::interop {
namespace {

using Suffix = std::string_view;
constexpr std::array<Suffix, 3> kHistogram = {"_bucket", "_count", "_sum"};
constexpr std::array<Suffix, 3> kGaugeHistogram = {"_bucket", "_gcount", "_gsum"};
constexpr std::array<Suffix, 2> kSummary = {"_count", "_sum"};
constexpr std::array<Suffix, 1> kCounter = {"_total"};
constexpr std::array<Suffix, 1> kInfo = {"_info"};
constexpr std::array<Suffix, 8> kAll = {"_total", "_created", "_bucket", "_sum", "_count", "_info", "_gcount", "_gsum"};

}  // namespace

std::span<const std::string_view> SampleSuffixes(MetricType type) {
  switch (type) {
    case MetricType::kHistogram:
      return kHistogram;
    case MetricType::kGaugeHistogram:
      return kGaugeHistogram;
    case MetricType::kSummary:
      return kSummary;
    case MetricType::kCounter:
      return kCounter;
    case MetricType::kInfo:
      return kInfo;
    case MetricType::kUnknown:
    case MetricType::kGauge:
    case MetricType::kStateSet:
      break;
  }
  return {};
}

std::span<const std::string_view> AllSampleSuffixes() { return kAll; }

std::string_view MetricFamilyOf(std::string_view metric, MetricType type) {
  if (type == MetricType::kCounter || type == MetricType::kInfo) return metric;
  for (const std::string_view suffix : SampleSuffixes(type)) {
    if (metric.size() > suffix.size() && metric.ends_with(suffix)) return metric.substr(0, metric.size() - suffix.size());
  }
  return metric;
}

std::vector<std::string> SeriesNamesOf(std::string_view family, MetricType type) {
  std::vector<std::string> names = {std::string(family)};
  for (const std::string_view suffix : SampleSuffixes(type)) names.push_back(std::string(family).append(suffix));
  return names;
}

}  // namespace chronolith::interop
