#include "interop/family_metadata.h"

#include <array>
#include <utility>

#include "base/coding.h"
#include "base/hash.h"
#include "interop/family_names.h"
#include "interop/text_scan.h"

namespace chronolith::interop {

namespace {

constexpr std::array<std::pair<std::string_view, MetricType>, 9> kTypes = {{
    {"unknown", MetricType::kUnknown},
    {"counter", MetricType::kCounter},
    {"gauge", MetricType::kGauge},
    {"histogram", MetricType::kHistogram},
    {"gaugehistogram", MetricType::kGaugeHistogram},
    {"summary", MetricType::kSummary},
    {"info", MetricType::kInfo},
    {"stateset", MetricType::kStateSet},
    {"untyped", MetricType::kUnknown},
}};

void TrimBlanks(std::string_view* text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text->empty() && blank(text->front())) text->remove_prefix(1);
  while (!text->empty() && blank(text->back())) text->remove_suffix(1);
}

std::string Unescape(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\\' && i + 1 < text.size() && (text[i + 1] == '\\' || text[i + 1] == 'n' || text[i + 1] == '"')) {
      ++i;
      c = text[i] == 'n' ? '\n' : text[i];
    }
    plain.push_back(c);
  }
  return plain;
}

}  // namespace

bool ParseMetricType(std::string_view word, MetricType* type) {
  for (const auto& [name, value] : kTypes) {
    if (name == word) {
      *type = value;
      return true;
    }
  }
  return false;
}

std::uint64_t FingerprintOf(const Metadata& metadata) {
  std::string bytes(1, static_cast<char>(metadata.type));
  PutBytes(&bytes, metadata.unit);
  PutBytes(&bytes, metadata.help);
  return StableHash(bytes) | 1;
}

std::string_view MetricTypeName(MetricType type) {
  for (const auto& [name, value] : kTypes) {
    if (value == type) return name;
  }
  return "unknown";
}

Status FamilyMetadata::Read(std::string_view keyword, std::string_view rest) {
  if (keyword != "TYPE" && keyword != "HELP" && keyword != "UNIT") return Status::Ok();
  const std::string context = "# " + std::string(keyword);
  TrimBlanks(&rest);
  const std::size_t name = MetricNamePrefix(rest);
  if (name == 0 || (name < rest.size() && rest[name] != ' ' && rest[name] != '\t')) {
    return InvalidArgument(context + ": expected a metric name, got " + Quoted(rest));
  }
  const std::string family(rest.substr(0, name));
  rest.remove_prefix(name);
  TrimBlanks(&rest);
  if (!IsValidUtf8(rest)) return InvalidArgument(context + ": text of " + Quoted(family) + " is not valid UTF-8");

  Metadata update;
  const auto known = families_.find(family);
  if (known != families_.end()) update = known->second;
  if (keyword == "TYPE") {
    if (!ParseMetricType(rest, &update.type))
      return InvalidArgument(context + ": unknown type " + Quoted(rest) + " of " + Quoted(family));
  } else if (keyword == "HELP") {
    update.help = Unescape(rest);
  } else {
    update.unit = std::string(rest);
  }
  if (family != current_) {
    current_ = family;
    changed_ = false;
  }
  if (known == families_.end()) {
    if (families_.size() >= kFamiliesMax) families_.clear();
    families_.emplace(family, std::move(update));
    changed_ = true;  // its series may have been read before it
  } else if (known->second != update) {
    known->second = std::move(update);
    changed_ = true;
  }
  return Status::Ok();
}

FamilyMetadata::Entry FamilyMetadata::Find(std::string_view metric) const {
  auto it = families_.find(std::string(metric));
  for (const std::string_view suffix : AllSampleSuffixes()) {
    if (it != families_.end()) break;
    if (metric.ends_with(suffix)) it = families_.find(std::string(metric.substr(0, metric.size() - suffix.size())));
  }
  if (it == families_.end()) return {};
  return {&it->second, FingerprintOf(it->second)};
}

}  // namespace chronolith::interop
