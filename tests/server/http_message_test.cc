#include "server/http_message.h"

#include <gtest/gtest.h>

#include "server/router.h"

namespace chronolith::server {
namespace {

TEST(ParseTarget, TakesPathsAndQueriesApart) {
  struct Case {
    const char* target;
    const char* path;
    Pairs query;
  };
  const Case cases[] = {
      {"/", "/", {}},
      {"/a/b?", "/a/b", {}},
      {"/a%20b?x=1&y=%7B%22%7D&x=2", "/a b", {{"x", "1"}, {"y", "{\"}"}, {"x", "2"}}},
      {"/a+b?x=1+2", "/a+b", {{"x", "1 2"}}},
      {"/p?match[]=up%7Bjob%3D%22a%26b%22%7D&&flag", "/p", {{"match[]", "up{job=\"a&b\"}"}, {"flag", ""}}},
      {"/p?a=b=c#fragment", "/p", {{"a", "b=c"}}},
  };
  for (const Case& c : cases) {
    std::string path;
    Pairs query;
    ASSERT_TRUE(ParseTarget(c.target, &path, &query).ok()) << c.target;
    EXPECT_EQ(path, c.path) << c.target;
    EXPECT_EQ(query, c.query) << c.target;
  }
}

TEST(ParseTarget, RefusesWhatIsNoPath) {
  for (const char* target : {"", "*", "http://host/path", "/%", "/%2", "/%zz", "/%00", "/a?x=%", "/a?%1g=1", "?a=b"}) {
    std::string path;
    Pairs query;
    EXPECT_EQ(ParseTarget(target, &path, &query).code(), StatusCode::kInvalidArgument) << target;
  }
}

TEST(HttpRequest, FindsHeadersWhateverTheirCase) {
  const HttpRequest request{.headers = {{"content-TYPE", "a"}, {"Content-Type", "b"}}};
  EXPECT_EQ(request.Header("Content-Type"), "a");
  EXPECT_EQ(request.Header("Content-Typ"), "");
}

TEST(HttpRequest, ParametersOfAFormStandBehindThoseOfTheQuery) {
  HttpRequest request{.query = {{"a", "1"}},
                      .headers = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}},
                      .body = "a=2&b=%41"};
  Pairs all;
  ASSERT_TRUE(request.Parameters(&all).ok());
  EXPECT_EQ(all, (Pairs{{"a", "1"}, {"a", "2"}, {"b", "A"}}));
  request.body = "a=%4";
  EXPECT_EQ(request.Parameters(&all).code(), StatusCode::kInvalidArgument);
  request.headers = {{"Content-Type", "application/json"}};
  ASSERT_TRUE(request.Parameters(&all).ok());
  EXPECT_EQ(all, (Pairs{{"a", "1"}}));
}

HttpHandler Says(const std::string& text) {
  return [text](const HttpRequest&) { return HttpResponse{.body = text}; };
}

TEST(Router, FindsByMethodPathAndSegments) {
  Router router;
  router.Add({.method = "GET", .pattern = "/label/{name}/values", .handler = Says("values")});
  router.Add({.method = "GET", .pattern = "/label/special/values", .handler = Says("special")});
  router.Add({.method = "GET", .pattern = "/series", .handler = Says("get")});
  router.Add({.method = "POST", .pattern = "/series", .handler = Says("post")});
  struct Case {
    const char* method;
    const char* path;
    const char* found;  // "": nothing
    const char* allow;
  };
  const Case cases[] = {
      {"GET", "/label/job/values", "values", ""},
      {"GET", "/label/special/values", "special", ""},
      {"HEAD", "/series", "get", ""},
      {"POST", "/series", "post", ""},
      {"PUT", "/series", "", "POST, GET, HEAD"},
      {"POST", "/label/job/values", "", "GET, HEAD"},
      {"GET", "/label//values", "", ""},
      {"GET", "/label/job/values/", "", ""},
      {"GET", "/label/a/b/values", "", ""},
      {"GET", "/serie", "", ""},
      {"GET", "/", "", ""},
      {"get", "/series", "", "POST, GET, HEAD"},
  };
  for (const Case& c : cases) {
    const Router::Match match = router.Find(c.method, c.path);
    const std::string found = match.route == nullptr ? "" : match.route->handler({}).body;
    EXPECT_EQ(found, c.found) << c.method << " " << c.path;
    EXPECT_EQ(match.allow, c.allow) << c.method << " " << c.path;
  }
  EXPECT_EQ(router.Find("GET", "/label/job/values").segments, (Pairs{{"name", "job"}}));
}

}  // namespace
}  // namespace chronolith::server
