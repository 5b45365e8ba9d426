#include "server/export_handler.h"

#include <utility>
#include <vector>

#include "ops/context.h"
#include "ops/text_export.h"
#include "server/api_response.h"

namespace chronolith::server {
namespace {

HttpResponse Export(Storage* storage, const HttpRequest& request) {
  Result<ApiParameters> asked = ParseApiParameters(request);
  if (!asked.ok()) return ApiError(asked.status());
  if (asked->selectors.empty()) return ApiError(InvalidArgument("no match[] parameter provided"));
  for (const std::vector<Matcher>& selector : asked->selectors) {
    // Tells of a wrong expression while there is a status to tell it with.
    if (const auto one = storage->Series(selector, {.range = {}, .limit = 1}); !one.ok()) return ApiError(one.status());
  }
  HttpResponse response;
  response.SetHeader("Content-Type", "application/stream+json; charset=utf-8");
  response.stream = [storage, asked = std::move(*asked), cancelled = request.cancelled](BodyWriter& to) {
    const ops::TextExportOptions options{.form = ops::TextForm::kJsonLines, .selectors = asked.selectors, .range = asked.range};
    ops::TextExportReport report;
    ops::OpsContext context;
    context.cancelled = cancelled;
    return ops::ExportText(
        context, storage, options, [&](std::string_view piece) { return to.Write(piece); }, &report);
  };
  return response;
}

}  // namespace

void AddExportHandler(Storage* storage, Router* router) {
  for (const char* const method : {"GET", "POST"}) {
    router->Add({method, "/api/v1/export", [storage](const HttpRequest& r) { return Export(storage, r); }});
  }
}

}  // namespace chronolith::server
