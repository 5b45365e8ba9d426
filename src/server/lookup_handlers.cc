#include "server/lookup_handlers.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "interop/label_json.h"
#include "ops/lookup.h"
#include "ops/series_list.h"
#include "server/api_response.h"

namespace chronolith::server {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;
// Whose labels are in memory together; they are answered in order as long as there are no more.
constexpr std::size_t kSeriesAtOnce = 1 << 14;

std::vector<std::string> WarningsOf(bool truncated, bool partial) {
  std::vector<std::string> warnings;
  if (truncated) warnings.emplace_back("results truncated due to limit");
  if (partial) warnings.emplace_back("shards that are damaged or still being replayed were left out");
  return warnings;
}

// A success, written while it goes, so that no answer stands in memory as text. Thread safety: one thread.
class Writing {
 public:
  explicit Writing(BodyWriter* to) : to_(to) {}

  template <typename Append>
  Status Add(const Append& append) {
    if (!std::exchange(first_, false)) piece_.push_back(',');
    append(&piece_);
    if (piece_.size() < kPieceBytes) return Status::Ok();
    Status s = to_->Write(piece_);
    piece_.clear();
    return s;
  }
  Status End(const std::vector<std::string>& warnings) { return to_->Write(piece_ + "]" + EndOfEnvelope(warnings)); }

 private:
  BodyWriter* const to_;
  std::string piece_ = "{\"status\":\"success\",\"data\":[";
  bool first_ = true;
};

class Lookups {
 public:
  Lookups(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds timeout)
      : storage_(storage), in_flight_(in_flight), timeout_(timeout) {}

  // Piece by piece: ids and the labels of some thousand series are in memory.
  HttpResponse Series(const HttpRequest& request) const {
    Result<ApiParameters> asked = ParseApiParameters(request);
    if (!asked.ok()) return ApiError(asked.status());
    if (asked->selectors.empty()) return ApiError(InvalidArgument("no match[] parameter provided"));
    const auto share = std::make_shared<MemoryShare>(in_flight_);
    ops::SeriesListOptions options{.lookup = OptionsOf(*asked), .at_once = kSeriesAtOnce};
    options.selectors = std::move(asked->selectors);
    options.bounds = {request.cancelled, share.get()};
    HttpResponse response = HttpResponse::Json(200, "");
    response.failure = QueryError;
    response.stream = [storage = storage_, share, options = std::move(options)](BodyWriter& to) {
      Writing writing(&to);
      const auto listed = ops::ListSeries(storage, options, [&](const Labels& labels, const Metadata&) {
        return writing.Add([&](std::string* json) { interop::AppendJsonLabels(labels, json); });
      });
      return listed.ok() ? writing.End(WarningsOf(listed->truncated, listed->partial)) : listed.status();
    };
    return response;
  }
  HttpResponse Names(const HttpRequest& request) const {
    return Strings(request, [this](const auto& selectors, const LookupOptions& options, const WorkBounds& bounds) {
      return ops::LabelNames(storage_, selectors, options, bounds);
    });
  }
  HttpResponse Values(const HttpRequest& request) const {
    const std::string name(request.Segment("name"));
    return Strings(request, [&](const auto& selectors, const LookupOptions& options, const WorkBounds& bounds) {
      return ops::LabelValues(storage_, name, selectors, options, bounds);
    });
  }

 private:
  LookupOptions OptionsOf(const ApiParameters& asked) const {
    LookupOptions options{.range = asked.range, .limit = asked.limit};
    options.deadline = std::chrono::steady_clock::now() + timeout_;
    options.skip_damaged = options.skip_replaying = true;
    return options;
  }

  template <typename Find>
  HttpResponse Strings(const HttpRequest& request, const Find& find) const {
    const Result<ApiParameters> asked = ParseApiParameters(request);
    if (!asked.ok()) return ApiError(asked.status());
    struct Answer {
      explicit Answer(MemoryBudget* in_flight) : share(in_flight) {}
      MemoryShare share;
      Lookup<std::string> found;
    };
    const auto answer = std::make_shared<Answer>(in_flight_);
    auto found = find(asked->selectors, OptionsOf(*asked), {request.cancelled, &answer->share});
    if (!found.ok()) return QueryError(found.status());
    answer->found = std::move(*found);
    HttpResponse response = HttpResponse::Json(200, "");
    response.stream = [answer](BodyWriter& to) {
      Writing writing(&to);
      for (const std::string& one : answer->found.values) {
        Status s = writing.Add([&](std::string* json) { interop::AppendJsonString(one, json); });
        if (!s.ok()) return s;
      }
      return writing.End(WarningsOf(answer->found.truncated, answer->found.partial));
    };
    return response;
  }

  Storage* const storage_;
  MemoryBudget* const in_flight_;
  const std::chrono::milliseconds timeout_;
};

// Who is told of this server as of a Prometheus, as Grafana may be, asks these.
HttpResponse NoPromQl() {
  return ApiError(NotFound("Chronolith evaluates no PromQL: ask a Prometheus whose remote_read is /api/v1/read of this server"));
}

}  // namespace

void AddLookupHandlers(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds timeout, Router* router) {
  const Lookups lookups(storage, in_flight, timeout);
  router->ShapeRefusals("/api/", ShapeApiRefusal);
  for (const char* const method : {"GET", "POST"}) {
    router->Add({method, "/api/v1/series", [lookups](const HttpRequest& r) { return lookups.Series(r); }});
    router->Add({method, "/api/v1/labels", [lookups](const HttpRequest& r) { return lookups.Names(r); }});
    router->Add({method, "/api/v1/label/{name}/values", [lookups](const HttpRequest& r) { return lookups.Values(r); }});
    router->Add({method, "/api/v1/query", [](const HttpRequest&) { return NoPromQl(); }});
    router->Add({method, "/api/v1/query_range", [](const HttpRequest&) { return NoPromQl(); }});
  }
}

}  // namespace chronolith::server
