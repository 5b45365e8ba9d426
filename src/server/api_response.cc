#include "server/api_response.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "interop/label_json.h"
#include "interop/remote_compression.h"
#include "interop/selector.h"
#include "interop/time_text.h"
#include "ops/selective.h"

namespace chronolith::server {
namespace {

std::string_view ErrorTypeOf(StatusCode code) {
  switch (code) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
      return "bad_data";
    case StatusCode::kNotFound:
      return "not_found";
    case StatusCode::kDeadlineExceeded:
      return "timeout";
    case StatusCode::kCancelled:
      return "canceled";
    case StatusCode::kResourceExhausted:
    case StatusCode::kUnavailable:
      return "unavailable";
    default:
      return "internal";
  }
}

std::string_view ErrorTypeOf(int http_status) {
  switch (http_status) {
    case 403:
    case 429:
    case 503:
      return "unavailable";
    case 404:
      return "not_found";
    case 408:
      return "timeout";
    default:
      return http_status < 500 ? "bad_data" : "internal";
  }
}

HttpResponse Envelope(int http_status, std::string_view type, std::string_view text) {
  std::string body = "{\"status\":\"error\",\"errorType\":\"";
  body.append(type).append("\",\"error\":");
  interop::AppendJsonString(text, &body);
  body += "}\n";
  return HttpResponse::Json(http_status, std::move(body));
}

template <typename Number>
bool ParseWhole(std::string_view text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

int HttpStatusOf(StatusCode code) {
  switch (code) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
      return 400;
    case StatusCode::kNotFound:
      return 404;
    case StatusCode::kResourceExhausted:
    case StatusCode::kUnavailable:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kCancelled:
      return 503;
    default:
      return 500;
  }
}

HttpResponse ApiError(const Status& status) {
  HttpResponse response = Envelope(HttpStatusOf(status.code()), ErrorTypeOf(status.code()), status.message());
  if (status.code() == StatusCode::kResourceExhausted || status.code() == StatusCode::kUnavailable) {
    response.SetHeader("Retry-After", "1");
  }
  return response;
}

HttpResponse ApiError(int http_status, std::string_view text) { return Envelope(http_status, ErrorTypeOf(http_status), text); }

void ShapeApiRefusal(const HttpRequest&, HttpResponse* refusal) {
  std::string text = std::move(refusal->body);
  while (text.ends_with('\n')) text.pop_back();
  HttpResponse shaped = ApiError(refusal->status, text);
  for (auto& header : refusal->headers) {
    if (!EqualIgnoringCase(header.first, "Content-Type")) shaped.headers.push_back(std::move(header));
  }
  *refusal = std::move(shaped);
}

HttpResponse QueryError(const Status& status) {
  return status.code() == StatusCode::kFailedPrecondition ? Envelope(422, "execution", status.message()) : ApiError(status);
}

HttpResponse TextError(const Status& status) {
  HttpResponse response = HttpResponse::Text(HttpStatusOf(status.code()), status.message());
  if (response.status == 503) response.SetHeader("Retry-After", "1");
  return response;
}

HttpResponse NoMemory(const MemoryShare& share) {
  const std::string why = share.refusal().message();
  return share.hopeless() ? HttpResponse::Text(413, why) : HttpResponse::TryLater(429, why);
}

std::optional<HttpResponse> RefuseSnappy(std::string_view block, std::uint64_t bytes_max, MemoryShare* share,
                                         std::uint64_t* length) {
  const Result<std::uint64_t> claimed = interop::DecodedLength(block, bytes_max);
  if (!claimed.ok()) {
    const bool too_long = claimed.status().code() == StatusCode::kResourceExhausted;
    return HttpResponse::Text(too_long ? 413 : 400, claimed.status().message() + (too_long ? "; raise --max-decoded-bytes" : ""));
  }
  if (!share->Grow(*claimed)) return NoMemory(*share);
  *length = *claimed;
  return std::nullopt;
}

std::string EndOfEnvelope(const std::vector<std::string>& warnings) {
  std::string end;
  for (const std::string& warning : warnings) {
    end += end.empty() ? ",\"warnings\":[" : ",";
    interop::AppendJsonString(warning, &end);
  }
  return end + (end.empty() ? "}\n" : "]}\n");
}

Result<Timestamp> ParseApiTime(std::string_view text) {
  constexpr double kEnd = 0x1p63;  // of milliseconds
  double seconds = 0;
  if (ParseWhole(text, &seconds)) {
    const double ms = std::round(seconds * 1000);
    if (!(std::abs(ms) <= kEnd)) return InvalidArgument("'" + std::string(text) + "' is no time that can be stored");
    return ms == kEnd ? kMaxTimestamp : static_cast<Timestamp>(ms);
  }
  // The first and the last time of Go, which clients of Prometheus send for none.
  if (text == "-292273086-05-16T16:47:06Z") return kMinTimestamp;
  if (text == "292277025-08-18T07:12:54.999999999Z") return kMaxTimestamp;
  const Result<Timestamp> time = interop::ParseTime(text, 0);
  if (!time.ok() || text.find('-') == std::string_view::npos || text.starts_with('-')) {
    return InvalidArgument("'" + std::string(text) + "' is neither seconds since 1970 nor RFC 3339, as 2026-01-31T12:00:00Z");
  }
  return *time;
}

Result<ApiParameters> ParseApiParameters(const HttpRequest& request) {
  Pairs all;
  if (Status s = request.Parameters(&all); !s.ok()) return s;
  ApiParameters made;
  for (const auto& [name, value] : all) {
    const auto bad = [&name = name](const Status& why) { return why.WithContext("parameter " + name); };
    if (name == "match[]") {
      Result<std::vector<Matcher>> selector = interop::ParseSelector(value);
      if (!selector.ok()) return bad(selector.status());
      const Result<bool> selective = ops::IsSelective(*selector);
      if (!selective.ok()) return bad(selective.status());
      if (!*selective) {
        return bad(InvalidArgument("at least one matcher must not match the empty string; {__name__!=\"\"} selects all series"));
      }
      made.selectors.push_back(std::move(*selector));
    } else if (name == "start" || name == "end") {
      if (value.empty()) continue;
      const Result<Timestamp> time = ParseApiTime(value);
      if (!time.ok()) return bad(time.status());
      if (name == "start") made.range.start = *time;
      if (name == "end") made.range.end = *time == kMaxTimestamp ? *time : *time + 1;
    } else if (name == "limit" && !value.empty()) {
      if (!ParseWhole(std::string_view(value), &made.limit)) {
        return bad(InvalidArgument("'" + value + "' is no number of results"));
      }
    }
  }
  if (made.range.end < made.range.start) return InvalidArgument("parameter end lies before start");
  return made;
}

}  // namespace chronolith::server
