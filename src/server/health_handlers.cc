#include "server/health_handlers.h"

#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "chronolith/metrics.h"
#include "server/process_metrics.h"

namespace chronolith::server {
namespace {

// `reasons`: which name files, and what is wrong with them.
nlohmann::json ShardState(const ShardStats& shard, bool reasons) {
  nlohmann::json json = {{"shard", shard.shard}};
  if (!shard.quarantine.empty()) {
    json["state"] = "quarantined";
    if (reasons) json["reason"] = shard.quarantine;
  } else if (!shard.serving) {
    json["state"] = "replaying";
    json["records"] = shard.replayed_records;
    json["records_expected"] = shard.replay_records_expected;
    json["seconds_left"] = shard.replay_seconds_left;
  } else {
    json["state"] = "serving";
  }
  return json;
}

std::string NotReadyReason(const StorageStats& stats, const Status& status, bool reasons) {
  if (stats.log_failed) return "the log failed: nothing is taken until it is opened again";
  if (reasons || status.code() == StatusCode::kResourceExhausted) return status.message();  // of the latter: how far replay is
  return "the store does not serve";
}

HttpResponse Ready(Storage* storage, const HttpRequest& request) {
  const StorageStats stats = storage->Stats();
  // Says why not, or how far it is. What needs all shards is refused until then, too.
  const Status status = storage->WaitReady(std::chrono::steady_clock::now());
  const bool ready = status.ok() && !stats.log_failed;
  nlohmann::json json = {{"ready", ready}, {"shards", nlohmann::json::array()}};
  if (!ready) json["reason"] = NotReadyReason(stats, status, !request.anonymous);
  for (const ShardStats& shard : stats.shards) json["shards"].push_back(ShardState(shard, !request.anonymous));
  HttpResponse response =
      HttpResponse::Json(ready ? 200 : 503, json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  if (!ready) response.SetHeader("Retry-After", "1");
  return response;
}

HttpResponse Metrics(prometheus::Collectable* store, const HttpMetrics& http, prometheus::Registry* registry) {
  std::vector<prometheus::MetricFamily> families = store->Collect();
  http.AddTo(&families);
  AddProcessMetrics(&families);
  if (registry != nullptr) {
    std::vector<prometheus::MetricFamily> more = registry->Collect();
    families.insert(families.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return {.headers = {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}},
          .body = prometheus::TextSerializer().Serialize(families)};
}

}  // namespace

void AddHealthHandlers(Storage* storage, const HttpMetrics* metrics, std::shared_ptr<prometheus::Registry> registry,
                       Router* router) {
  router->Add({.method = "GET",
               .pattern = "/-/healthy",
               .handler = [](const HttpRequest&) { return HttpResponse::Text(200, "Chronolith is healthy."); },
               .body_bytes_max = 0,
               .open_to_all = true,
               .thread = RouteThread::kConnection});
  router->Add({.method = "GET",
               .pattern = "/-/ready",
               .handler = [storage](const HttpRequest& request) { return Ready(storage, request); },
               .body_bytes_max = 0,
               .open_to_all = true,
               .thread = RouteThread::kReserved});
  router->Add({.method = "GET",
               .pattern = "/metrics",
               .handler = [store = MakeCollectable(storage), metrics, registry = std::move(registry)](
                              const HttpRequest&) { return Metrics(store.get(), *metrics, registry.get()); },
               .body_bytes_max = 0,
               .thread = RouteThread::kReserved});
}

}  // namespace chronolith::server
