// Answers of the HTTP API as Prometheus forms them, and the parameters that its calls share.
#ifndef CHRONOLITH_SERVER_API_RESPONSE_H_
#define CHRONOLITH_SERVER_API_RESPONSE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory_share.h"
#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/types.h"
#include "server/http_message.h"

namespace chronolith::server {

// 400, 404, 500, 503 (with Retry-After where it is of use).
int HttpStatusOf(StatusCode code);

// {"status":"error","errorType":"bad_data","error":"..."} with the HTTP status of `status`.
HttpResponse ApiError(const Status& status);
// The same of a status of HTTP.
HttpResponse ApiError(int http_status, std::string_view text);
// Gives it to what the server refuses before a handler is asked (Router::ShapeRefusals).
void ShapeApiRefusal(const HttpRequest& request, HttpResponse* refusal);
// Of a query: 422 "execution", as Prometheus has for those that are too large, where it takes more memory than there is at all
// (kFailedPrecondition).
HttpResponse QueryError(const Status& status);
// The same status as plain text, for protocols without an envelope.
HttpResponse TextError(const Status& status);

// What `share` refused last: 429, other requests have it; or 413, it will never be there.
HttpResponse NoMemory(const MemoryShare& share);
// Lets a snappy block be decoded: `share` has grown by its *length. Else the answer: 400, 413 beyond `bytes_max` or
// all the memory there is, 429.
std::optional<HttpResponse> RefuseSnappy(std::string_view block, std::uint64_t bytes_max, MemoryShare* share,
                                         std::uint64_t* length);

// What stands behind the data of a success: ,"warnings":[...]} or }.
std::string EndOfEnvelope(const std::vector<std::string>& warnings);

// match[], start, end and limit; any other parameter is passed over, as Prometheus does.
struct ApiParameters {
  std::vector<std::vector<Matcher>> selectors;  // of each match[]
  TimeRange range;                              // `end` of the request is inclusive
  std::uint64_t limit = 0;                      // 0: none
};
// Of query and form. kInvalidArgument names the parameter.
Result<ApiParameters> ParseApiParameters(const HttpRequest& request);

// Seconds since 1970 with a fraction, or RFC 3339. kInvalidArgument.
Result<Timestamp> ParseApiTime(std::string_view text);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_API_RESPONSE_H_
