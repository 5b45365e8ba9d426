#include "interop/otlp/contexts.h"

#include <simdjson.h>

#include <algorithm>

#include "base/coding.h"

namespace chronolith::interop::otlp {
namespace {

// Parsed, they take some 50 times their bytes at worst.
constexpr std::size_t kHeaderBytesMax = 64 << 10;

std::size_t BytesOf(const Pairs& pairs) {
  std::size_t bytes = pairs.size() * sizeof(Pairs::value_type);
  for (const auto& [name, value] : pairs) bytes += name.size() + value.size();
  return bytes;
}

std::string TooLong(std::string_view what, std::size_t bytes) {
  return std::string(what) + " takes " + std::to_string(bytes) + " bytes, the limit is " + std::to_string(kHeaderBytesMax);
}

// Identifying attributes become job and instance, on every series; the others stand on target_info only.
Status TranslateResource(const pb::Resource& resource, ResourceContext* context) {
  std::string service, space, instance;
  Attributes rest;
  for (const pb::KeyValue& attribute : resource.attributes()) {
    if (attribute.key() == "service.name") {
      service = AnyValueText(attribute.value());
    } else if (attribute.key() == "service.namespace") {
      space = AnyValueText(attribute.value());
    } else if (attribute.key() == "service.instance.id") {
      instance = AnyValueText(attribute.value());
    } else {
      *rest.Add() = attribute;
    }
  }
  if (!service.empty()) context->labels.emplace_back("job", space.empty() ? service : space + "/" + service);
  if (!instance.empty()) context->labels.emplace_back("instance", instance);
  Pairs info;
  if (Status s = AppendLabels(rest, &info); !s.ok()) return s;
  if (info.empty() || context->labels.empty()) return Status::Ok();
  Pairs over = context->labels;
  over.emplace_back(kMetricName, "target_info");
  context->target_info = Merge(info, over);
  return Status::Ok();
}

Status TranslateScope(const pb::InstrumentationScope& scope, std::string_view schema_url, ScopeContext* context) {
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) context->labels.emplace_back(name, value);
  };
  add("otel_scope_name", scope.name());
  add("otel_scope_version", scope.version());
  add("otel_scope_schema_url", schema_url);
  Pairs attributes;
  if (Status s = AppendLabels(scope.attributes(), &attributes); !s.ok()) return s;
  for (auto& [name, value] : attributes) {
    const std::string prefixed = "otel_scope_" + name;
    const bool known =
        std::any_of(context->labels.begin(), context->labels.end(), [&](const auto& l) { return l.first == prefixed; });
    if (!known) context->labels.emplace_back(prefixed, std::move(value));
  }
  return Status::Ok();
}

MetricType TypeOf(MetricKind kind) {
  switch (kind) {
    case MetricKind::kCounter:
      return MetricType::kCounter;
    case MetricKind::kHistogram:
    case MetricKind::kExponentialHistogram:
      return MetricType::kHistogram;
    case MetricKind::kSummary:
      return MetricType::kSummary;
    case MetricKind::kGauge:
    case MetricKind::kUpDownCounter:
      break;
  }
  return MetricType::kGauge;
}

}  // namespace

Contexts::Contexts(std::size_t cache_bytes)
    : resources_(cache_bytes / 16),
      scopes_(cache_bytes / 16),
      metrics_(cache_bytes / 8),
      series_(cache_bytes / 2),
      groups_(cache_bytes / 4) {}

void Contexts::Clear() {
  resources_.Clear();
  scopes_.Clear();
  metrics_.Clear();
  series_.Clear();
  groups_.Clear();
}

Result<std::shared_ptr<const ResourceContext>> Contexts::Resource(std::string_view bytes) {
  std::shared_ptr<const ResourceContext> known;
  if (resources_.Find(0, bytes, &known)) return known;
  auto context = std::make_shared<ResourceContext>();
  context->id = NewId();
  if (bytes.size() > kHeaderBytesMax) {
    context->refusal = TooLong("the resource", bytes.size());
    return std::shared_ptr<const ResourceContext>(std::move(context));
  }
  pb::Resource resource;
  if (!resource.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return InvalidArgument("a resource is malformed");
  if (Status s = TranslateResource(resource, context.get()); !s.ok()) context->refusal = "resource: " + s.message();
  const std::size_t extra = BytesOf(context->labels) + (context->target_info ? context->target_info->encoded().size() : 0);
  known = std::move(context);
  resources_.Insert(0, bytes, known, sizeof(ResourceContext) + extra);
  return known;
}

Result<std::shared_ptr<const ScopeContext>> Contexts::Scope(const ResourceContext& resource, std::string_view bytes,
                                                            std::string_view schema_url) {
  std::string joined;
  std::string_view identity = bytes;
  if (!schema_url.empty()) {
    PutBytes(&joined, schema_url);
    identity = joined.append(bytes);
  }
  // One bit of the parent tells whether the identity begins with a schema.
  const std::uint64_t parent = resource.id << 1 | (schema_url.empty() ? 0 : 1);
  std::shared_ptr<const ScopeContext> known;
  if (scopes_.Find(parent, identity, &known)) return known;
  auto context = std::make_shared<ScopeContext>();
  context->id = NewId();
  context->labels = resource.labels;
  context->refusal = resource.refusal;
  if (context->refusal.empty() && identity.size() > kHeaderBytesMax) context->refusal = TooLong("the scope", identity.size());
  if (!context->refusal.empty()) return std::shared_ptr<const ScopeContext>(std::move(context));
  pb::InstrumentationScope scope;
  if (!scope.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      !simdjson::validate_utf8(schema_url.data(), schema_url.size())) {
    return InvalidArgument("a scope is malformed");
  }
  if (Status s = TranslateScope(scope, schema_url, context.get()); !s.ok()) context->refusal = "scope: " + s.message();
  known = std::move(context);
  scopes_.Insert(parent, identity, known, sizeof(ScopeContext) + BytesOf(known->labels));
  return known;
}

Result<std::shared_ptr<const MetricContext>> Contexts::Metric(const ScopeContext& scope, const MetricHeader& header) {
  std::string identity;
  identity.push_back(static_cast<char>(header.kind));
  PutBytes(&identity, header.name);
  PutBytes(&identity, header.unit);
  identity.append(header.description);
  std::shared_ptr<const MetricContext> known;
  if (metrics_.Find(scope.id, identity, &known)) return known;
  auto context = std::make_shared<MetricContext>();
  context->id = NewId();
  context->refusal = scope.refusal;
  if (context->refusal.empty() && identity.size() > kHeaderBytesMax)
    context->refusal = TooLong("name, unit and description of a metric", identity.size());
  if (!context->refusal.empty()) return std::shared_ptr<const MetricContext>(std::move(context));
  if (!simdjson::validate_utf8(header.name.data(), header.name.size()) ||
      !simdjson::validate_utf8(header.unit.data(), header.unit.size()) ||
      !simdjson::validate_utf8(header.description.data(), header.description.size())) {
    return InvalidArgument("the name, unit or description of a metric is not UTF-8");
  }
  context->name = PrometheusMetricName(header.name, header.unit, header.kind);
  if (context->name.empty()) {
    context->refusal = header.name.empty() ? "a metric has no name"
                                           : "the metric \"" + std::string(header.name) + "\" has no letter or digit in its name";
  }
  context->labels = scope.labels;
  context->metadata = {TypeOf(header.kind), PrometheusUnit(header.unit), std::string(header.description)};
  known = std::move(context);
  const std::size_t extra = BytesOf(known->labels) + known->name.size() + known->metadata.unit.size() + known->metadata.help.size();
  metrics_.Insert(scope.id, identity, known, sizeof(MetricContext) + extra);
  return known;
}

}  // namespace chronolith::interop::otlp
