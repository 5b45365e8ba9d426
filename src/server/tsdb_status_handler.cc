#include "server/tsdb_status_handler.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory_share.h"
#include "server/api_response.h"

namespace chronolith::server {
namespace {

using nlohmann::json;

constexpr std::size_t kLimit = 10;
constexpr std::size_t kLimitMax = 10'000;
constexpr std::uint64_t kEntryBytes = 512;  // of a list, as an object and as text

Result<std::size_t> LimitOf(const HttpRequest& request) {
  const std::string_view text = request.Query("limit").value_or("");
  if (text.empty()) return kLimit;
  std::size_t limit = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (error != std::errc() || end != text.data() + text.size() || limit < 1 || limit > kLimitMax) {
    return InvalidArgument("limit must be a number from 1 to " + std::to_string(kLimitMax));
  }
  return limit;
}

// {"name":...,"value":...} of each of the first `limit`.
template <typename T, typename NameOf>
json List(const std::vector<T>& counts, std::size_t limit, const NameOf& name_of, std::uint64_t T::*count) {
  json list = json::array();
  for (const T& one : counts) {
    if (list.size() == limit) break;
    list.push_back({{"name", name_of(one)}, {"value", one.*count}});
  }
  return list;
}

template <typename T>
std::uint64_t BytesOf(const std::vector<T>& counts, std::size_t limit) {
  return std::min(counts.size(), limit) * kEntryBytes;
}

HttpResponse TsdbStatus(LiveCardinality* cardinality, MemoryBudget* in_flight, const HttpRequest& request) {
  const Result<std::size_t> limit = LimitOf(request);
  if (!limit.ok()) return ApiError(limit.status());
  const Result<std::shared_ptr<const ops::StoreCardinality>> counted = cardinality->Get(*limit, request.cancelled);
  if (!counted.ok()) return QueryError(counted.status());
  const ops::StoreCardinality& all = **counted;
  MemoryShare share(in_flight);  // until the answer is text, which the server counts
  if (!share.Grow(BytesOf(all.metrics, *limit) + BytesOf(all.pairs, *limit) + BytesOf(all.names_by_values, *limit) +
                  BytesOf(all.names_by_bytes, *limit))) {
    return QueryError(share.refusal());
  }
  const auto name = [](const auto& one) { return one.name; };
  const json data = {
      {"headStats",
       {{"numSeries", all.series},
        {"numLabelPairs", all.label_pairs},
        {"chunkCount", all.head_chunks},
        {"minTime", all.head_min_time},
        {"maxTime", all.head_max_time}}},
      {"seriesCountByMetricName",
       List(
           all.metrics, *limit, [](const ops::PairCount& p) { return p.value; }, &ops::PairCount::series)},
      {"labelValueCountByLabelName", List(all.names_by_values, *limit, name, &ops::NameCount::values)},
      {"memoryInBytesByLabelName", List(all.names_by_bytes, *limit, name, &ops::LabelBytes::bytes)},
      {"seriesCountByLabelValuePair",
       List(
           all.pairs, *limit, [](const ops::PairCount& p) { return p.name + "=" + p.value; }, &ops::PairCount::series)}};
  std::vector<std::string> warnings;
  if (all.partial) warnings.emplace_back("shards that are damaged or still being replayed were left out");
  if (!all.complete) warnings.emplace_back("not all series were counted: there are too many for the time, or too many label names");
  return HttpResponse::Json(200, "{\"status\":\"success\",\"data\":" + data.dump(-1, ' ', false, json::error_handler_t::replace) +
                                     EndOfEnvelope(warnings));
}

}  // namespace

void AddTsdbStatusHandler(LiveCardinality* cardinality, MemoryBudget* in_flight, Router* router) {
  router->Add({"GET", "/api/v1/status/tsdb", [=](const HttpRequest& r) { return TsdbStatus(cardinality, in_flight, r); }});
}

}  // namespace chronolith::server
