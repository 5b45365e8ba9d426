#include <algorithm>
#include <boost/asio/post.hpp>
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

// What a proxy in front may understand otherwise (RFC 9112, 6.1): then what one takes for the end of a body is in the middle of the
// other's, and a client writes requests in the name of others.
std::optional<HttpResponse> RefuseCoding(const http::fields& message, bool http11) {
  const auto coding = message.find(http::field::transfer_encoding);
  if (coding == message.end()) return std::nullopt;
  if (!http11) return HttpResponse::Text(400, "HTTP/1.0 has no Transfer-Encoding");
  const std::string_view value(coding->value().data(), coding->value().size());
  if (EqualIgnoringCase(value, "chunked")) return std::nullopt;
  constexpr std::size_t kChunked = 7;
  const bool chunked_at_last = EqualIgnoringCase(value.substr(value.size() - std::min(value.size(), kChunked)), "chunked");
  return HttpResponse::Text(chunked_at_last ? 501 : 400, "no Transfer-Encoding but chunked is known");
}

// A value from a handler must not begin another header.
std::string_view OneLine(std::string_view value) { return value.substr(0, value.find_first_of(std::string_view("\r\n\0", 3))); }

}  // namespace

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
  executor_ = {};  // before the end is told: the strand reaches into the io_context, which may be gone right behind that
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
  if (host_->parts.security != nullptr) {
    for (const auto& [name, value] : host_->parts.security->Get()->headers) {
      const bool own = std::any_of(response.headers.begin(), response.headers.end(),
                                   [&name = name](const auto& header) { return EqualIgnoringCase(header.first, name); });
      if (!own) head.append("\r\n").append(name).append(": ").append(value);
    }
  }
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
  std::optional<HttpResponse> coding = RefuseCoding(message, http11_);
  const bool ambiguous = coding.has_value();
  request_.cancelled = &host_->cancelled;
  request_.method.assign(message.method_string().data(), message.method_string().size());
  for (const auto& field : message) request_.headers.emplace_back(field.name_string(), field.value());
  if (ambiguous) {
    refusal = std::move(coding);
  } else if (Status status = ParseTarget({message.target().data(), message.target().size()}, &request_.path, &request_.query);
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
  if (!refusal && http11_ && message.count(http::field::host) != 1) {
    refusal = HttpResponse::Text(400, "the header must name one Host");
  }
  if (!refusal && IsFromAnotherSite(request_)) {
    refusal = HttpResponse::Text(403, "a page of another site asks for this in the name of its reader");
  }
  if (refusal && (has_body || ambiguous)) keep_alive_ = false;
  return refusal;
}

void HttpSessionBase::Post(std::function<void()> task) {
  boost::asio::post(executor_, [self = shared_from_this(), task = std::move(task)] { task(); });
}

// ---- Who asks ----

void HttpSessionBase::Authorize() {
  std::shared_ptr<const WebSecurity> security = host_->parts.security != nullptr ? host_->parts.security->Get() : nullptr;
  if (security == nullptr || security->users == nullptr) return BeginBody();
  Authenticator::Answer answer = security->users->Look(request_.Header("Authorization"));
  if (answer.kind != Authenticator::Answer::Kind::kAskBcrypt) return OnAuthorized(std::move(answer));
  Unlimited();
  auto work = [self = shared_from_this(), security = std::move(security)] {
    Authenticator::Answer found = security->users->Check(self->request_.Header("Authorization"));
    self->Post([session = self.get(), found = std::move(found)] { session->OnAuthorized(found); });
  };
  if (!host_->parts.workers->TrySubmit(std::move(work))) OnAuthorized({.kind = Authenticator::Answer::Kind::kBusy});
}

void HttpSessionBase::OnAuthorized(Authenticator::Answer answer) {
  if (answer.kind == Authenticator::Answer::Kind::kUser) {
    request_.user = std::move(answer.user);
    return BeginBody();
  }
  if (route_->open_to_all) {
    request_.anonymous = true;
    return BeginBody();
  }
  CloseUnlessBodyless();
  if (answer.kind == Authenticator::Answer::Kind::kBusy)
    return Overloaded("passwords of others are being checked, or all workers are busy");
  HttpResponse response = HttpResponse::Text(401, "a user name and password, or a token, is needed here");
  const std::shared_ptr<const WebSecurity> security = host_->parts.security->Get();
  const bool tokens_only = security->users != nullptr && !security->users->knows_passwords();
  response.SetHeader("WWW-Authenticate",
                     tokens_only ? "Bearer realm=\"chronolith\"" : "Basic realm=\"chronolith\", charset=\"UTF-8\"");
  Refuse(std::move(response));
}

// For an answer that leaves the body unread.
void HttpSessionBase::CloseUnlessBodyless() {
  if (!header_->is_done()) keep_alive_ = false;
}

void HttpSessionBase::Overloaded(std::string_view why) {
  Refuse(HttpResponse::TryLater(429, why));
}

void HttpSessionBase::Observe(std::uint64_t response_bytes) {
  if (response_.status == 429) host_->parts.metrics->overloaded.Add();  // of the session or of a handler
  host_->MetricsOf(route_)->Observe(response_.status, started_nanos_ == 0 ? 0 : NowNanos() - started_nanos_, request_bytes_,
                                    response_bytes);
}

HttpResponse HttpSessionBase::Handle() const {
  try {
    return route_->handler(request_);
  } catch (const std::exception& e) {  // out of memory, and what the standard library throws
    host_->Log(LogLevel::kError, request_.method + " " + route_->pattern + ": " + e.what());
    HttpResponse response = HttpResponse::Text(500, "internal error; the server's log names it");
    host_->router.Shape(request_, &response);
    return response;
  }
}

}  // namespace chronolith::server
