#include "server/metadata_handlers.h"

#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "interop/family_metadata.h"
#include "interop/label_json.h"
#include "interop/selector.h"
#include "interop/value_text.h"
#include "ops/exemplar_scan.h"
#include "ops/metric_metadata.h"
#include "ops/series_scan.h"
#include "server/api_response.h"

namespace chronolith::server {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;

// 0 where it is not there.
Result<std::size_t> NumberOf(const HttpRequest& request, std::string_view name) {
  const std::string_view text = request.Query(name).value_or("");
  std::size_t number = 0;
  if (text.empty()) return number;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return InvalidArgument(std::string(name) + " must be a number");
  return number;
}

void AppendMetadata(const Metadata& metadata, std::string* json) {
  json->append("{\"type\":\"").append(interop::MetricTypeName(metadata.type)).append("\",\"help\":");
  interop::AppendJsonString(metadata.help, json);
  json->append(",\"unit\":");
  interop::AppendJsonString(metadata.unit, json);
  json->push_back('}');
}

Status WriteMetadata(const ops::MetricMetadata& found, BodyWriter* to) {
  std::string json = "{\"status\":\"success\",\"data\":{";
  const char* before_metric = "";
  for (const auto& [metric, all] : found.metrics) {
    json.append(std::exchange(before_metric, ","));
    interop::AppendJsonString(metric, &json);
    const char* before = ":[";
    for (const Metadata& one : all) {
      json.append(std::exchange(before, ","));
      AppendMetadata(one, &json);
    }
    json.push_back(']');
    if (json.size() < kPieceBytes) continue;
    if (Status s = to->Write(json); !s.ok()) return s;
    json.clear();
  }
  std::vector<std::string> warnings;
  if (found.limited) warnings.emplace_back("results truncated due to limit");
  if (found.partial) warnings.emplace_back("shards that are damaged were left out");
  if (!found.complete) warnings.emplace_back("not all metadata was read: there is too much of it");
  return to->Write(json + "}" + EndOfEnvelope(warnings));
}

HttpResponse MetadataOfMetrics(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds timeout,
                               const HttpRequest& request) {
  const Result<std::size_t> limit = NumberOf(request, "limit"), per_metric = NumberOf(request, "limit_per_metric");
  if (!limit.ok()) return ApiError(limit.status());
  if (!per_metric.ok()) return ApiError(per_metric.status());
  struct Answer {
    explicit Answer(MemoryBudget* budget) : share(budget) {}
    MemoryShare share;
    ops::MetricMetadata found;
  };
  const auto answer = std::make_shared<Answer>(in_flight);
  Result<ops::MetricMetadata> found =
      ops::CollectMetricMetadata(storage, {.metric = std::string(request.Query("metric").value_or("")),
                                           .limit = *limit,
                                           .limit_per_metric = *per_metric,
                                           .deadline = std::chrono::steady_clock::now() + timeout,
                                           .bounds = {request.cancelled, &answer->share}});
  if (!found.ok()) return QueryError(found.status());
  answer->found = std::move(*found);
  HttpResponse response = HttpResponse::Json(200, "");
  response.stream = [answer](BodyWriter& to) { return WriteMetadata(answer->found, &to); };
  return response;
}
// Seconds with three digits behind the point.
void AppendSeconds(Timestamp t, std::string* json) {
  const std::uint64_t ms = t < 0 ? -static_cast<std::uint64_t>(t) : static_cast<std::uint64_t>(t);
  char text[32];
  std::snprintf(text, sizeof(text), "%s%llu.%03llu", t < 0 ? "-" : "", static_cast<unsigned long long>(ms / 1000),
                static_cast<unsigned long long>(ms % 1000));
  json->append(text);
}

void AppendExemplars(const Labels& series, const std::vector<Exemplar>& exemplars, std::string* json) {
  json->append("{\"seriesLabels\":");
  interop::AppendJsonLabels(series, json);
  const char* before = ",\"exemplars\":[";
  for (const Exemplar& exemplar : exemplars) {
    json->append(std::exchange(before, ",")).append("{\"labels\":");
    interop::AppendJsonLabels(exemplar.labels, json);
    json->append(",\"value\":\"").append(interop::FormatValue(exemplar.value)).append("\",\"timestamp\":");
    AppendSeconds(exemplar.timestamp, json);
    json->push_back('}');
  }
  json->append("]}");
}

HttpResponse QueryExemplars(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds timeout,
                            const HttpRequest& request) {
  const Result<ApiParameters> asked = ParseApiParameters(request);
  if (!asked.ok()) return ApiError(asked.status());
  Pairs all;
  if (Status s = request.Parameters(&all); !s.ok()) return ApiError(s);
  std::optional<std::vector<Matcher>> selector;
  for (const auto& [name, value] : all) {
    if (name != "query" || selector) continue;
    Result<std::vector<Matcher>> parsed = interop::ParseSelector(value);
    if (!parsed.ok()) {
      return ApiError(
          parsed.status().WithContext("parameter query (a series selector, as http_requests_total{job=\"api\"}, not PromQL)"));
    }
    selector = std::move(*parsed);
  }
  if (!selector) return ApiError(InvalidArgument("no query parameter provided"));
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  const auto share = std::make_shared<MemoryShare>(in_flight);
  auto ids = ops::MatchingIds(storage, {std::move(*selector)}, {.deadline = deadline}, {request.cancelled, share.get()});
  if (!ids.ok()) return QueryError(ids.status());
  HttpResponse response = HttpResponse::Json(200, "");
  response.failure = QueryError;
  response.stream = [storage, share, ids = std::move(ids->values), range = asked->range, deadline,
                     cancelled = request.cancelled](BodyWriter& to) {
    std::string piece = "{\"status\":\"success\",\"data\":[";
    bool first = true;
    const Status status =
        ops::ScanExemplars(storage, ids, range, deadline, cancelled, [&](const Labels& series, const auto& exemplars) {
          if (!std::exchange(first, false)) piece.push_back(',');
          AppendExemplars(series, exemplars, &piece);
          if (piece.size() < kPieceBytes) return Status::Ok();
          Status written = to.Write(piece);
          piece.clear();
          return written;
        });
    if (!status.ok()) return status;
    return to.Write(piece + "]" + EndOfEnvelope({}));
  };
  return response;
}

}  // namespace

void AddMetadataHandlers(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds timeout, Router* router) {
  router->Add({"GET", "/api/v1/metadata", [=](const HttpRequest& r) { return MetadataOfMetrics(storage, in_flight, timeout, r); }});
  for (const char* const method : {"GET", "POST"}) {
    router->Add(
        {method, "/api/v1/query_exemplars", [=](const HttpRequest& r) { return QueryExemplars(storage, in_flight, timeout, r); }});
  }
}

}  // namespace chronolith::server
