#include "server/http_message.h"

#include <algorithm>

#include "interop/utf8.h"

namespace chronolith::server {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Appends `text` with %XX undone.
Status Unescape(std::string_view text, bool plus_is_space, std::string* out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? interop::HexDigit(text[i + 1]) : -1;
      const int low = high >= 0 ? interop::HexDigit(text[i + 2]) : -1;
      if (low < 0) return InvalidArgument("a '%' of the URL is not followed by two hexadecimal digits");
      out->push_back(static_cast<char>(high << 4 | low));
      i += 2;
    } else {
      out->push_back(text[i] == '+' && plus_is_space ? ' ' : text[i]);
    }
  }
  return Status::Ok();
}

bool HasPrefix(std::string_view text, std::string_view prefix) { return EqualIgnoringCase(text.substr(0, prefix.size()), prefix); }

}  // namespace

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return Lower(x) == Lower(y); });
}

std::string_view HttpRequest::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (EqualIgnoringCase(key, name)) return value;
  }
  return {};
}

std::optional<std::string_view> HttpRequest::Query(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::string_view HttpRequest::Segment(std::string_view name) const {
  for (const auto& [key, value] : segments) {
    if (key == name) return value;
  }
  return {};
}

Status HttpRequest::Parameters(Pairs* all) const {
  *all = query;
  const std::string_view type = Header("Content-Type");
  if (!EqualIgnoringCase(type.substr(0, type.find_first_of("; ")), "application/x-www-form-urlencoded")) return Status::Ok();
  return ParseUrlEncoded(body, all);
}

HttpResponse HttpResponse::Text(int status, std::string_view text) {
  HttpResponse response{.status = status, .headers = {{"Content-Type", "text/plain; charset=utf-8"}}};
  response.body.append(text).push_back('\n');
  return response;
}

HttpResponse HttpResponse::Json(int status, std::string body) {
  return {.status = status, .headers = {{"Content-Type", "application/json"}}, .body = std::move(body)};
}

HttpResponse HttpResponse::TryLater(int status, std::string_view text, int seconds) {
  HttpResponse response = Text(status, text);
  response.SetHeader("Retry-After", std::to_string(seconds));
  return response;
}

Status ParseUrlEncoded(std::string_view text, Pairs* out) {
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    auto& [name, value] = out->emplace_back();
    if (Status status = Unescape(pair.substr(0, equals), true, &name); !status.ok()) return status;
    if (equals == pair.size()) continue;
    if (Status status = Unescape(pair.substr(equals + 1), true, &value); !status.ok()) return status;
  }
  return Status::Ok();
}

Status ParseTarget(std::string_view target, std::string* path, Pairs* query) {
  target = target.substr(0, target.find('#'));
  const bool absolute = HasPrefix(target, "http://") || HasPrefix(target, "https://");
  if (absolute) target.remove_prefix(std::min(target.find_first_of("/?", target.find("//") + 2), target.size()));
  const std::size_t question = std::min(target.find('?'), target.size());
  path->clear();
  query->clear();
  if (Status status = Unescape(target.substr(0, question), false, path); !status.ok()) return status;
  if (absolute && path->empty()) path->push_back('/');
  if (path->empty() || path->front() != '/') return InvalidArgument("the request's target is not a path");
  if (path->find('\0') != std::string::npos) return InvalidArgument("the path has a byte 0");
  return question == target.size() ? Status::Ok() : ParseUrlEncoded(target.substr(question + 1), query);
}

bool IsFromAnotherSite(const HttpRequest& request) {
  if (request.method == "GET" || request.method == "HEAD") return false;
  if (const std::string_view site = request.Header("Sec-Fetch-Site"); !site.empty()) return site != "same-origin" && site != "none";
  const std::string_view origin = request.Header("Origin");  // of browsers before 2023
  if (origin.empty()) return false;
  const std::size_t host = origin.find("://");
  return host == std::string_view::npos || !EqualIgnoringCase(origin.substr(host + 3), request.Header("Host"));
}

std::string_view ReasonOf(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Status";
  }
}

}  // namespace chronolith::server
