#include "server/export_handler.h"

#include <chrono>
#include <utility>
#include <vector>

#include "ops/context.h"
#include "ops/text_export.h"
#include "server/api_response.h"

namespace chronolith::server {
namespace {

// Whose labels are in memory together.
constexpr std::size_t kSeriesAtOnce = 1 << 12;
constexpr std::uint64_t kTextBytes = 2 << 20;

HttpResponse Export(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds find_timeout, const HttpRequest& request) {
  Result<ApiParameters> asked = ParseApiParameters(request);
  if (!asked.ok()) return ApiError(asked.status());
  if (asked->selectors.empty()) return ApiError(InvalidArgument("no match[] parameter provided"));
  HttpResponse response;
  response.SetHeader("Content-Type", "application/stream+json; charset=utf-8");
  response.failure = QueryError;
  response.stream = [storage, in_flight, find_by = std::chrono::steady_clock::now() + find_timeout, asked = std::move(*asked),
                     cancelled = request.cancelled](BodyWriter& to) {
    MemoryShare share(in_flight);
    if (!share.Grow(kTextBytes)) return share.refusal();
    const ops::TextExportOptions options{.form = ops::TextForm::kJsonLines,
                                         .selectors = asked.selectors,
                                         .range = asked.range,
                                         .series_at_once = kSeriesAtOnce,
                                         .find_by = find_by,
                                         .share = &share};
    ops::TextExportReport report;
    ops::OpsContext context;
    context.cancelled = cancelled;
    return ops::ExportText(
        context, storage, options, [&](std::string_view piece) { return to.Write(piece); }, &report);
  };
  return response;
}

}  // namespace

void AddExportHandler(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds find_timeout, Router* router) {
  for (const char* const method : {"GET", "POST"}) {
    router->Add({method, "/api/v1/export", [=](const HttpRequest& r) { return Export(storage, in_flight, find_timeout, r); }});
  }
}

}  // namespace chronolith::server
