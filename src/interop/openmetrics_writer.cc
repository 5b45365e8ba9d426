#include "interop/openmetrics_writer.h"

#include <array>
#include <bit>
#include <string_view>

#include "interop/family_metadata.h"
#include "interop/text_scan.h"
#include "interop/value_text.h"

namespace chronolith::interop {

namespace {

// The name of the family that series named `metric` belong to.
std::string_view FamilyOf(std::string_view metric, MetricType type) {
  static constexpr std::array<std::string_view, 2> kCounter = {"_total", "_created"};
  static constexpr std::array<std::string_view, 6> kHistogram = {"_bucket", "_sum", "_count", "_created", "_gcount", "_gsum"};
  static constexpr std::array<std::string_view, 1> kInfo = {"_info"};
  const auto strip = [metric](const auto& suffixes) {
    for (const std::string_view suffix : suffixes) {
      if (metric.size() > suffix.size() && metric.ends_with(suffix)) return metric.substr(0, metric.size() - suffix.size());
    }
    return metric;
  };
  switch (type) {
    case MetricType::kCounter:
      return strip(kCounter);
    case MetricType::kHistogram:
    case MetricType::kGaugeHistogram:
    case MetricType::kSummary:
      return strip(kHistogram);
    case MetricType::kInfo:
      return strip(kInfo);
    default:
      return metric;
  }
}

void AppendEscaped(std::string_view text, std::string* out) {
  for (const char c : text) {
    if (c == '\\' || c == '"') out->push_back('\\');
    if (c == '\n') {
      out->append("\\n");
    } else {
      out->push_back(c);
    }
  }
}

bool Expressible(const Labels& labels) {
  const std::string_view metric = labels.Get(kMetricName);
  if (metric.empty() || MetricNamePrefix(metric) != metric.size()) return false;
  for (const Label& label : labels) {
    if (LabelNamePrefix(label.name) != label.name.size()) return false;
  }
  return true;
}

}  // namespace

std::string FormatSeconds(Timestamp t) {
  const std::uint64_t magnitude = t < 0 ? 0 - static_cast<std::uint64_t>(t) : static_cast<std::uint64_t>(t);
  std::string text = (t < 0 ? "-" : "") + std::to_string(magnitude / 1000);
  if (const std::uint64_t ms = magnitude % 1000; ms != 0) {
    text.push_back('.');
    text.append({static_cast<char>('0' + ms / 100), static_cast<char>('0' + ms / 10 % 10), static_cast<char>('0' + ms % 10)});
  }
  return text;
}

bool OpenMetricsWriter::BeginSeries(const Labels& labels, const std::optional<Metadata>& metadata) {
  if (!Expressible(labels)) return false;
  series_ = labels.ToString();
  series_.push_back(' ');
  if (!metadata) return true;
  const std::string_view family = FamilyOf(labels.Get(kMetricName), metadata->type);
  if (family == family_ && *metadata == metadata_) return true;
  family_ = family;
  metadata_ = *metadata;
  const std::string name = " " + family_ + " ";
  out_->append("# TYPE").append(name).append(MetricTypeName(metadata->type)).push_back('\n');
  if (!metadata->unit.empty()) out_->append("# UNIT").append(name).append(metadata->unit).push_back('\n');
  if (!metadata->help.empty()) {
    out_->append("# HELP").append(name);
    AppendEscaped(metadata->help, out_);
    out_->push_back('\n');
  }
  return true;
}

bool OpenMetricsWriter::AddSample(Sample sample, const Exemplar* exemplar) {
  if (std::bit_cast<std::uint64_t>(sample.value) == kStaleNaNBits) return false;
  out_->append(series_).append(FormatValue(sample.value)).append(" ").append(FormatSeconds(sample.timestamp));
  if (exemplar != nullptr) {
    const std::string labels = exemplar->labels.ToString();
    out_->append(" # ").append(labels).append(" ").append(FormatValue(exemplar->value));
    out_->append(" ").append(FormatSeconds(exemplar->timestamp));
  }
  out_->push_back('\n');
  return true;
}

}  // namespace chronolith::interop
