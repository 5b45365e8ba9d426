#include "server/router.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace chronolith::server {
namespace {

bool IsName(std::string_view segment) { return segment.size() > 2 && segment.front() == '{' && segment.back() == '}'; }

// The next segment of a path that begins with '/'.
std::string_view TakeSegment(std::string_view* path) {
  path->remove_prefix(1);
  const std::string_view segment = path->substr(0, path->find('/'));
  path->remove_prefix(segment.size());
  return segment;
}

bool Fits(std::string_view pattern, std::string_view path, Pairs* segments) {
  segments->clear();
  while (!pattern.empty() && !path.empty()) {
    const std::string_view wanted = TakeSegment(&pattern);
    const std::string_view given = TakeSegment(&path);
    if (IsName(wanted) && !given.empty()) {
      segments->emplace_back(wanted.substr(1, wanted.size() - 2), given);
    } else if (wanted != given) {
      return false;
    }
  }
  return pattern.empty() && path.empty();
}

}  // namespace

void Router::Add(Route route) {
  const bool known = std::any_of(routes_.begin(), routes_.end(),
                                 [&](const Route& r) { return r.method == route.method && r.pattern == route.pattern; });
  if (known || !route.pattern.starts_with('/') || route.handler == nullptr) std::abort();
  // Those without names first: what fits first is taken.
  const bool plain = route.pattern.find('{') == std::string::npos;
  if (plain) {
    routes_.push_front(std::move(route));
  } else {
    routes_.push_back(std::move(route));
  }
}

void Router::ShapeRefusals(std::string prefix, RefusalShape shape) { shapes_.emplace_back(std::move(prefix), std::move(shape)); }

void Router::Shape(const HttpRequest& request, HttpResponse* refusal) const {
  const std::pair<std::string, RefusalShape>* longest = nullptr;
  for (const auto& shape : shapes_) {
    if (!request.path.starts_with(shape.first)) continue;
    if (longest == nullptr || shape.first.size() > longest->first.size()) longest = &shape;
  }
  if (longest != nullptr) longest->second(request, refusal);
}

Router::Match Router::Find(std::string_view method, std::string_view path) const {
  Match match;
  for (const Route& route : routes_) {
    if (!Fits(route.pattern, path, &match.segments)) continue;
    if (route.method == method || (route.method == "GET" && method == "HEAD")) {
      match.route = &route;
      match.allow.clear();
      return match;
    }
    if (!match.allow.empty()) match.allow += ", ";
    match.allow += route.method == "GET" ? "GET, HEAD" : route.method;
  }
  match.segments.clear();
  return match;
}

}  // namespace chronolith::server
