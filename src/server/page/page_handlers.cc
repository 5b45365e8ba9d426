#include "server/page/page_handlers.h"

#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/page/page.h"
#include "server/page/page_warnings.h"

namespace chronolith::server {
namespace {

using nlohmann::json;

constexpr std::size_t kTop = 10;  // metrics, and labels

HttpResponse Answer(int status, const json& body) {
  HttpResponse response = HttpResponse::Json(status, body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
  response.SetHeader("Cache-Control", "no-store");
  return response;
}

// Four digits are enough to draw, and a third of the bytes.
json Short(double value) {
  if (value == 0) return 0;
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), value, std::chars_format::general, 4).ptr;
  double rounded = value;
  std::from_chars(text, end, rounded);
  return rounded;
}
json Short(const std::optional<double>& value) { return value ? Short(*value) : json(nullptr); }

double Ratio(std::uint64_t hits, std::uint64_t misses) {
  return hits + misses == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(hits + misses);
}

json ShardJson(const ShardStats& shard, const StatusPoint::Shard& rates) {
  json out = {{"shard", shard.shard},
              {"state", !shard.quarantine.empty() ? "quarantined"
                        : shard.serving           ? "serving"
                                                  : "replaying"},
              {"writes", Short(rates.samples_per_second)},
              {"lock_wait", Short(rates.lock_wait)},
              {"ring", shard.ring_bytes_queued},
              {"log", shard.wal_bytes_pinned},
              {"series", shard.series_total},
              {"samples", shard.samples_appended},
              {"memory", shard.head_bytes}};
  if (!shard.quarantine.empty()) out["reason"] = shard.quarantine;
  if (!shard.serving) {
    out["replayed"] = shard.replayed_records;
    out["replay_expected"] = shard.replay_records_expected;
    out["replay_seconds_left"] = Short(shard.replay_seconds_left);
  }
  return out;
}

json ShardsJson(const StorageStats& stats, const std::optional<StatusPoint>& last) {
  json out = json::array();
  for (std::size_t i = 0; i < stats.shards.size(); ++i) {
    const bool known = last && i < last->shards.size();
    out.push_back(ShardJson(stats.shards[i], known ? last->shards[i] : StatusPoint::Shard{}));
  }
  return out;
}

json TotalsJson(const StorageStats& stats, std::uint64_t refused) {
  std::uint64_t series = 0, samples = 0, log = 0, log_backlog = 0, head = 0, rings = 0, postings = 0;
  std::uint64_t hits = 0, misses = 0, label_hits = 0, label_misses = 0, files = 0;
  for (const ShardStats& shard : stats.shards) {
    series += shard.series_total;
    samples += shard.samples_appended;
    log += shard.wal_bytes_pinned;
    log_backlog += shard.wal_archive_backlog_bytes;
    head += shard.head_bytes;
    rings += shard.ring_bytes_queued;
    postings += shard.postings_cache_bytes;
    hits += shard.postings_cache_hits;
    misses += shard.postings_cache_misses;
    label_hits += shard.labels_cache_hits;
    label_misses += shard.labels_cache_misses;
  }
  for (const EngineStats* engine : {&stats.log_engine, &stats.data_engine}) {
    for (const FamilyStats& family : engine->families) files += family.file_bytes;
    files += engine->log_bytes;
  }
  return {
      {"series", series},
      {"samples", samples},
      {"refused", refused},
      {"log_bytes", log},
      {"archive_backlog_bytes", log_backlog},
      {"disk_bytes", files},
      {"memory", {{"used", stats.memory_used_bytes}, {"limit", stats.memory_limit_bytes}, {"head", head}, {"rings", rings}}},
      {"cache",
       {{"postings_hits", Short(Ratio(hits, misses))},
        {"postings_requests", hits + misses},
        {"labels_hits", Short(Ratio(label_hits, label_misses))},
        {"labels_requests", label_hits + label_misses},
        {"bytes", postings},
        {"block_bytes", stats.log_engine.block_cache_bytes + stats.data_engine.block_cache_bytes}}},
      {"checkpoint",
       {{"last_ms", stats.last_checkpoint_ms},
        {"count", stats.checkpoints},
        {"p50", Short(stats.checkpoint_duration.Quantile(0.5))},
        {"p99", Short(stats.checkpoint_duration.Quantile(0.99))}}},
      {"unsynced_bytes", stats.unsynced_bytes},
      {"replay_seconds", Short(stats.replay_seconds)},
      {"scrub",
       {{"running", stats.scrub.running}, {"progress", Short(stats.scrub.progress)}, {"last_ms", stats.scrub.last_full_pass_ms}}}};
}

// Columns rather than points: names are told once.
json HistoryJson(const std::vector<StatusPoint>& points, std::optional<std::size_t> shard) {
  json out = {{"time", json::array()},      {"samples", json::array()},    {"refused", json::array()}, {"write_p50", json::array()},
              {"write_p99", json::array()}, {"select_p99", json::array()}, {"memory", json::array()}};
  for (const StatusPoint& point : points) {
    out["time"].push_back(point.time_ms);
    out["samples"].push_back(Short(point.samples_per_second));
    out["refused"].push_back(Short(point.refused_per_second));
    out["write_p50"].push_back(Short(point.write_p50));
    out["write_p99"].push_back(Short(point.write_p99));
    out["select_p99"].push_back(Short(point.select_p99));
    out["memory"].push_back(Short(point.memory_bytes));
  }
  if (!shard) return out;
  json of_shard = {
      {"shard", *shard}, {"writes", json::array()}, {"lock_wait", json::array()}, {"ring", json::array()}, {"log", json::array()}};
  for (const StatusPoint& point : points) {
    const StatusPoint::Shard at = *shard < point.shards.size() ? point.shards[*shard] : StatusPoint::Shard{};
    of_shard["writes"].push_back(Short(at.samples_per_second));
    of_shard["lock_wait"].push_back(Short(at.lock_wait));
    of_shard["ring"].push_back(Short(at.ring_bytes));
    of_shard["log"].push_back(Short(at.log_bytes));
  }
  out["shard"] = std::move(of_shard);
  return out;
}

// False where the parameter is there and no number.
bool NumberParameter(const HttpRequest& request, std::string_view name, std::optional<std::int64_t>* out) {
  const std::optional<std::string_view> text = request.Query(name);
  if (!text) return true;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < 0) return false;
  *out = value;
  return true;
}

HttpResponse PageState(const PageParts& parts, const HttpRequest& request) {
  std::optional<std::int64_t> since, shard;
  if (!NumberParameter(request, "since", &since) || !NumberParameter(request, "shard", &shard)) {
    return Answer(400, {{"error", "since and shard are numbers: milliseconds since 1970, and a shard's place in the list"}});
  }
  const StorageStats stats = parts.storage->Stats();
  if (shard && *shard >= static_cast<std::int64_t>(stats.shards.size())) {
    return Answer(404, {{"error", "there is no shard in place " + std::to_string(*shard)}});
  }
  const std::int64_t now_ms = parts.history->NowMs();
  const std::optional<StatusPoint> last = parts.history->Last();
  const std::vector<DiskState> disks = DisksOf(parts.directories);
  json out = {
      {"now_ms", now_ms},
      {"started_ms", parts.history->started_ms()},
      {"interval_ms", parts.history->interval().count()},
      {"version", stats.version},
      {"engine", stats.engine},
      {"shards", ShardsJson(stats, last)},
      {"totals", TotalsJson(stats, parts.history->Refused(stats))},
      {"disks", json::array()},
      {"warnings", json::array()},
      {"history", HistoryJson(parts.history->Since(since.value_or(0)), shard ? std::optional<std::size_t>(*shard) : std::nullopt)}};
  for (const DiskState& disk : disks) {
    out["disks"].push_back({{"directory", disk.directory}, {"free", disk.free_bytes}, {"total", disk.total_bytes}});
  }
  for (const PageWarning& warning : WarningsOf(stats, disks, last ? last->refused_per_second : 0, now_ms)) {
    out["warnings"].push_back({{"critical", warning.critical}, {"text", warning.text}, {"advice", warning.advice}});
  }
  return Answer(200, out);
}

HttpResponse Cardinality(LiveCardinality* cardinality, const HttpRequest& request) {
  const Result<std::shared_ptr<const ops::StoreCardinality>> top = cardinality->Get(kTop, request.cancelled);
  if (!top.ok()) return Answer(503, {{"error", top.status().message()}});
  json metrics = json::array(), labels = json::array();
  for (const ops::PairCount& metric : (*top)->metrics) {
    if (metrics.size() < kTop) metrics.push_back({{"name", metric.value}, {"count", metric.series}});
  }
  for (const ops::NameCount& label : (*top)->names_by_values) {
    if (labels.size() < kTop) labels.push_back({{"name", label.name}, {"count", label.values}});
  }
  return Answer(200, {{"metrics", metrics}, {"labels", labels}, {"complete", (*top)->complete}, {"partial", (*top)->partial}});
}

HttpResponse Page() {
  HttpResponse response;
  // Nothing comes from elsewhere, and no text of the store's can become a script: the page puts all of it in as text.
  response.headers = {
      {"Content-Type", "text/html; charset=utf-8"},
      {"Content-Security-Policy",
       "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
      {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "no-referrer"},
      {"Cache-Control", "no-cache"}};
  response.body = kStatusPage;
  return response;
}

}  // namespace

void AddPageHandlers(const PageParts& parts, Router* router) {
  router->Add({.method = "GET", .pattern = "/", .handler = [](const HttpRequest&) { return Page(); }});
  router->Add({.method = "GET", .pattern = "/api/v1/status/page", .handler = [parts](const HttpRequest& request) {
                 return PageState(parts, request);
               }});
  router->Add({.method = "GET",
               .pattern = "/api/v1/status/page/cardinality",
               .handler = [cardinality = parts.cardinality](const HttpRequest& r) { return Cardinality(cardinality, r); }});
}

}  // namespace chronolith::server
