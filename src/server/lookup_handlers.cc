#include "server/lookup_handlers.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "interop/label_json.h"
#include "server/api_response.h"

namespace chronolith::server {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;

// What several selectors found, as one.
template <typename T, typename Find>
Result<Lookup<T>> Unite(const std::vector<std::vector<Matcher>>& selectors, std::uint64_t limit, const Find& find) {
  Lookup<T> all;
  bool first = true;
  for (const std::vector<Matcher>& selector : selectors) {
    Result<Lookup<T>> found = find(selector);
    if (!found.ok()) return found.status();
    all.truncated |= found->truncated;
    all.partial |= found->partial;
    if (std::exchange(first, false)) {
      all.values = std::move(found->values);
      continue;
    }
    std::vector<T> both;
    both.reserve(all.values.size() + found->values.size());
    std::set_union(std::make_move_iterator(all.values.begin()), std::make_move_iterator(all.values.end()),
                   std::make_move_iterator(found->values.begin()), std::make_move_iterator(found->values.end()),
                   std::back_inserter(both));
    all.values = std::move(both);
  }
  if (limit > 0 && all.values.size() > limit) {
    all.values.resize(limit);
    all.truncated = true;
  }
  return all;
}

void AppendJson(const std::string& text, std::string* json) { interop::AppendJsonString(text, json); }
void AppendJson(const Labels& labels, std::string* json) { interop::AppendJsonLabels(labels, json); }

// Writes the results while it goes, so that no answer stands in memory as text.
template <typename T>
HttpResponse Answer(Result<Lookup<T>> found) {
  if (!found.ok()) return ApiError(found.status());
  std::vector<std::string> warnings;
  if (found->truncated) warnings.emplace_back("results truncated due to limit");
  if (found->partial) warnings.emplace_back("shards that are damaged or still being replayed were left out");
  auto results = std::make_shared<const std::vector<T>>(std::move(found->values));
  HttpResponse response = HttpResponse::Json(200, "");
  response.stream = [results = std::move(results), end = "]" + EndOfEnvelope(warnings)](BodyWriter& to) {
    std::string piece = "{\"status\":\"success\",\"data\":[";
    bool first = true;
    for (const T& one : *results) {
      if (!std::exchange(first, false)) piece.push_back(',');
      AppendJson(one, &piece);
      if (piece.size() < kPieceBytes) continue;
      if (Status s = to.Write(piece); !s.ok()) return s;
      piece.clear();
    }
    return to.Write(piece + end);
  };
  return response;
}

class Lookups {
 public:
  Lookups(Storage* storage, std::chrono::milliseconds timeout) : storage_(storage), timeout_(timeout) {}

  HttpResponse Series(const HttpRequest& request) const {
    return Run<Labels>(request, /*needs_selector=*/true, [this](const std::vector<Matcher>& m, const LookupOptions& options) {
      return storage_->Series(m, options);
    });
  }
  HttpResponse Names(const HttpRequest& request) const {
    return Run<std::string>(request, false, [this](const std::vector<Matcher>& m, const LookupOptions& options) {
      return storage_->LabelNames(m, options);
    });
  }
  HttpResponse Values(const HttpRequest& request) const {
    const std::string name(request.Segment("name"));
    return Run<std::string>(request, false, [&](const std::vector<Matcher>& m, const LookupOptions& options) {
      return storage_->LabelValues(name, m, options);
    });
  }

 private:
  template <typename T, typename Find>
  HttpResponse Run(const HttpRequest& request, bool needs_selector, const Find& find) const {
    Result<ApiParameters> asked = ParseApiParameters(request);
    if (!asked.ok()) return ApiError(asked.status());
    if (asked->selectors.empty()) {
      if (needs_selector) return ApiError(InvalidArgument("no match[] parameter provided"));
      asked->selectors.emplace_back();  // everything
    }
    LookupOptions options{.range = asked->range, .limit = asked->limit};
    options.deadline = std::chrono::steady_clock::now() + timeout_;
    options.skip_damaged = options.skip_replaying = true;
    return Answer(Unite<T>(asked->selectors, asked->limit, [&](const std::vector<Matcher>& m) { return find(m, options); }));
  }

  Storage* const storage_;
  const std::chrono::milliseconds timeout_;
};

// Who is told of this server as of a Prometheus, as Grafana may be, asks these.
HttpResponse NoPromQl() {
  return ApiError(NotFound("Chronolith evaluates no PromQL: ask a Prometheus whose remote_read is /api/v1/read of this server"));
}

}  // namespace

void AddLookupHandlers(Storage* storage, std::chrono::milliseconds timeout, Router* router) {
  const Lookups lookups(storage, timeout);
  for (const char* const method : {"GET", "POST"}) {
    router->Add({method, "/api/v1/series", [lookups](const HttpRequest& r) { return lookups.Series(r); }});
    router->Add({method, "/api/v1/labels", [lookups](const HttpRequest& r) { return lookups.Names(r); }});
    router->Add({method, "/api/v1/label/{name}/values", [lookups](const HttpRequest& r) { return lookups.Values(r); }});
    router->Add({method, "/api/v1/query", [](const HttpRequest&) { return NoPromQl(); }});
    router->Add({method, "/api/v1/query_range", [](const HttpRequest&) { return NoPromQl(); }});
  }
}

}  // namespace chronolith::server
