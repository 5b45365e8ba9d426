#include <algorithm>
#include <boost/beast/core/error.hpp>
#include <cstdio>
#include <ctime>
#include <exception>
#include <utility>

#include "server/http_session.h"

namespace chronolith::server {
namespace {

namespace http = boost::beast::http;

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[40];
  return {text, std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc)};
}

// A value from a handler must not begin another header.
std::string_view OneLine(std::string_view value) { return value.substr(0, value.find_first_of(std::string_view("\r\n\0", 3))); }

}  // namespace

void HandedOver::Begin() {
  MutexLock lock(&mu_);
  sending_ = true;
}

void HandedOver::End(boost::system::error_code error) {
  MutexLock lock(&mu_);
  sending_ = false;
  if (error == boost::beast::error::timeout) {
    status_ = DeadlineExceeded("the client took nothing for the write timeout");
  } else if (error) {
    status_ = Cancelled("the client has gone: " + error.message());
  }
  sent_.SignalAll();
}

Status HandedOver::Await() {
  MutexLock lock(&mu_);
  while (sending_) sent_.Wait(&mu_);
  return status_;
}

HttpSessionBase::HttpSessionBase(HttpSessionHost* host)
    : host_(host), reserved_(host->parts.in_flight, 0, &host->parts.metrics->body_bytes_in_flight) {
  host_->parts.metrics->connections.Add();
}

void HttpSessionBase::Enter() {
  MutexLock lock(&host_->mu);
  host_->sessions.insert(this);
}

HttpSessionBase::~HttpSessionBase() {
  Forget();
  host_->parts.metrics->connections.Sub(1);
  MutexLock lock(&host_->mu);
  host_->sessions.erase(this);
  host_->ended.SignalAll();
}

void HttpSessionBase::Forget() {
  if (in_request_) host_->parts.metrics->requests_in_flight.Sub(1);
  in_request_ = false;
  Free(&request_);
  Free(&response_);
  route_ = nullptr;
  started_nanos_ = 0;
  reserved_.ShrinkTo(0);
}

std::string HttpSessionBase::HeadOf(const HttpResponse& response, std::optional<std::uint64_t> length, bool chunked) const {
  std::string head = http11_ ? "HTTP/1.1 " : "HTTP/1.0 ";
  head.reserve(256);
  head.append(std::to_string(response.status))
      .append(" ")
      .append(ReasonOf(response.status))
      .append("\r\nDate: ")
      .append(HttpDate());
  for (const auto& [name, value] : response.headers) head.append("\r\n").append(name).append(": ").append(OneLine(value));
  if (length && response.status != 204 && response.status != 304)
    head.append("\r\nContent-Length: ").append(std::to_string(*length));
  if (chunked) head.append("\r\nTransfer-Encoding: chunked");
  if (!keep_alive_) {
    head.append("\r\nConnection: close");
  } else if (!http11_) {
    head.append("\r\nConnection: keep-alive");
  }
  return head.append("\r\n\r\n");
}

std::string HttpSessionBase::FrameOf(std::string piece, bool first, bool last) {
  std::string out;
  if (first) {
    // Where the client does not know chunks the end of the connection is the end of the body.
    if (!http11_ || host_->stopping.load(std::memory_order_relaxed)) keep_alive_ = false;
    out = HeadOf(response_, std::nullopt, http11_);
  }
  if (http11_ && !piece.empty()) {
    char size[20];
    out.append(size, static_cast<std::size_t>(std::snprintf(size, sizeof(size), "%zx\r\n", piece.size())));
    out.append(piece).append("\r\n");
  } else {
    out.append(piece);
  }
  if (http11_ && last) out.append("0\r\n\r\n");
  return out;
}

std::string HttpSessionBase::BodyTakesTooMuch() const {
  return "the body is larger than the " + std::to_string(host_->parts.in_flight->limit_bytes()) +
         " bytes that there are for all requests together; raise that limit (chronolithd: --max-in-flight-bytes)";
}

std::optional<HttpResponse> HttpSessionBase::Admit(const http::request_parser<http::empty_body>& parser) {
  const auto& message = parser.get();
  in_request_ = true;
  host_->parts.metrics->requests_in_flight.Add();
  started_nanos_ = NowNanos();
  http11_ = message.version() >= 11;
  keep_alive_ = parser.keep_alive() && !host_->stopping.load(std::memory_order_relaxed);
  const std::uint64_t length = parser.content_length().value_or(0);
  const bool has_body = length > 0 || parser.chunked();

  // Whatever is refused here leaves the body unread: what comes next could not be told from it.
  std::optional<HttpResponse> refusal;
  request_.cancelled = &host_->cancelled;
  request_.method.assign(message.method_string().data(), message.method_string().size());
  for (const auto& field : message) request_.headers.emplace_back(field.name_string(), field.value());
  if (Status status = ParseTarget({message.target().data(), message.target().size()}, &request_.path, &request_.query);
      !status.ok()) {
    refusal = HttpResponse::Text(400, status.message());
  } else if (Router::Match match = host_->router.Find(request_.method, request_.path); match.route != nullptr) {
    route_ = match.route;
    request_.segments = std::move(match.segments);
  } else if (match.allow.empty()) {
    refusal = HttpResponse::Text(404, "there is nothing at this path");
  } else {
    refusal = HttpResponse::Text(405, "this path takes " + match.allow + " only");
    refusal->SetHeader("Allow", match.allow);
  }
  const std::string_view expect = request_.Header("Expect");
  expects_continue_ = EqualIgnoringCase(expect, "100-continue") && http11_;
  if (!refusal && !expect.empty() && !expects_continue_) refusal = HttpResponse::Text(417, "only Expect: 100-continue is known");
  if (!refusal) {
    const std::uint64_t of_all = host_->options.body_bytes_max;
    const std::uint64_t limit = of_all > 0 ? std::min(of_all, route_->body_bytes_max) : route_->body_bytes_max;
    if (length > limit) {
      refusal = HttpResponse::Text(413, "the body is larger than " + std::to_string(limit) + " bytes");
    } else if (length > host_->parts.in_flight->limit_bytes()) {  // also with nobody else there
      refusal = HttpResponse::Text(413, BodyTakesTooMuch());
    }
  }
  if (refusal && has_body) keep_alive_ = false;
  return refusal;
}

HttpResponse HttpSessionBase::Handle() const {
  try {
    return route_->handler(request_);
  } catch (const std::exception& e) {  // out of memory, and what the standard library throws
    host_->Log(LogLevel::kError, request_.method + " " + route_->pattern + ": " + e.what());
    return HttpResponse::Text(500, "internal error; the server's log names it");
  }
}

}  // namespace chronolith::server
