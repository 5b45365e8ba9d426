// What a handler of the server sees of HTTP: a whole request, and a response that is either a string or a stream.
#ifndef CHRONOLITH_SERVER_HTTP_MESSAGE_H_
#define CHRONOLITH_SERVER_HTTP_MESSAGE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronolith/status.h"

namespace chronolith::server {

// Names and values in the order in which they came; names may repeat.
using Pairs = std::vector<std::pair<std::string, std::string>>;

// A request that was read completely and kept within the limits of the server and of its route. Thread safety: one thread.
struct HttpRequest {
  std::string method;  // "GET"; as it was sent, in capitals
  std::string path;    // without the query, percent-decoded: "/api/v1/write"
  Pairs query;         // of the URL, decoded ("+" is a space)
  Pairs headers;       // names as they were sent; compare them with Header
  Pairs segments;      // of the path, named by the route's {name}
  std::string body;    // as it was sent: a Content-Encoding is the handler's to undo
  std::string peer;    // "127.0.0.1:51234"
  std::string user;    // whom the server knows it to be from; "" where it asks nobody
  // Of a route that is open to all (Route::open_to_all), where the server knows users and this is from none of them.
  bool anonymous = false;
  // Set where the server ends and three quarters of the time for that are over: what takes long polls it, and has the rest to
  // answer 503. Outlives the request and its response.
  const std::atomic<bool>* cancelled = nullptr;

  // The first header of that name, whatever its case; "" where there is none.
  std::string_view Header(std::string_view name) const;
  // The first parameter of that name in the query.
  std::optional<std::string_view> Query(std::string_view name) const;
  // Segment {name} of the route; "" where the route has none of that name.
  std::string_view Segment(std::string_view name) const;
  // The parameters of the query, and behind them those of a body of type application/x-www-form-urlencoded: what Prometheus' API
  // takes by GET and POST alike. kInvalidArgument: a malformed escape.
  Status Parameters(Pairs* all) const;
};

// Takes the body of a response piece by piece. Thread safety: one thread, that of the handler.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  // Sends about 64 KiB, then 256 at a time, and holds at most twice that and `piece`: waits while the client is slower. Give it up
  // where the result is not ok: the client went (kCancelled), or took nothing for the server's write timeout (kDeadlineExceeded).
  virtual Status Write(std::string_view piece) = 0;
};

// Thread safety: as a value type.
struct HttpResponse {
  int status = 200;
  Pairs headers;  // without Content-Length, Transfer-Encoding, Connection and Date, which are the server's
  std::string body;
  // Where set: called once, on the thread of the handler after it has returned, to write the body (chunked where the client knows
  // that). What it refers to must outlive that: capture shared pointers. An error before anything was sent becomes an answer 500;
  // later it cuts the connection off, so that nobody takes half an answer for a whole one. Not called for HEAD. Where too many are
  // being sent already, Write fails before anything was sent, and the answer is 503.
  std::function<Status(BodyWriter&)> stream;
  // What such an error before anything was sent becomes instead, where it is set.
  std::function<HttpResponse(const Status&)> failure;

  // `text` with a line end, as text/plain.
  static HttpResponse Text(int status, std::string_view text);
  static HttpResponse Json(int status, std::string body);
  // 429 or 503 with Retry-After.
  static HttpResponse TryLater(int status, std::string_view text, int seconds = 1);

  void SetHeader(std::string name, std::string value) { headers.emplace_back(std::move(name), std::move(value)); }
};

// Called on a worker thread (Route::thread), several at once. May wait for the store; must bound what it holds.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

// "a=b&c" as pairs. kInvalidArgument: a malformed escape.
Status ParseUrlEncoded(std::string_view text, Pairs* out);
// Whether a browser sends this, which may change something, for a page of another site (cross-site request forgery): a form there
// needs no permission from here, and a browser on this machine reaches loopback. Other clients send neither Sec-Fetch-Site nor
// Origin.
bool IsFromAnotherSite(const HttpRequest& request);
// Path and query of a request's target, "/a?b=c" or "http://host/a?b=c". kInvalidArgument: neither, a malformed escape, or one of a
// byte 0.
Status ParseTarget(std::string_view target, std::string* path, Pairs* query);
// "No Content" for 204.
std::string_view ReasonOf(int status);
bool EqualIgnoringCase(std::string_view a, std::string_view b);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_HTTP_MESSAGE_H_
