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
      {"http://host:9201/p/q?a=b", "/p/q", {{"a", "b"}}},
      {"HTTPS://host", "/", {}},
      {"http://host?a=/b", "/", {{"a", "/b"}}},
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
  for (const char* target :
       {"", "*", "ftp://host/path", "host:9201", "http:/path", "/%", "/%2", "/%zz", "/%00", "/a?x=%", "/a?%1g=1", "?a=b"}) {
    std::string path;
    Pairs query;
    EXPECT_EQ(ParseTarget(target, &path, &query).code(), StatusCode::kInvalidArgument) << target;
  }
}

TEST(IsFromAnotherSite, KnowsABrowsersRequestForAnothersPage) {
  struct Case {
    const char* method;
    Pairs headers;
    bool is;
  };
  const Case cases[] = {
      {"POST", {}, false},  // no browser
      {"POST", {{"Sec-Fetch-Site", "same-origin"}, {"Origin", "https://proxy"}, {"Host", "behind:9201"}}, false},
      {"POST", {{"Sec-Fetch-Site", "none"}}, false},
      {"POST", {{"sec-fetch-site", "cross-site"}}, true},
      {"PUT", {{"Sec-Fetch-Site", "same-site"}}, true},  // another port of this machine
      {"POST", {{"Sec-Fetch-Site", "anything"}}, true},
      {"GET", {{"Sec-Fetch-Site", "cross-site"}}, false},
      {"HEAD", {{"Origin", "http://elsewhere"}, {"Host", "here:9201"}}, false},
      {"POST", {{"Origin", "http://Here:9201"}, {"Host", "here:9201"}}, false},
      {"POST", {{"Origin", "http://here:9202"}, {"Host", "here:9201"}}, true},
      {"POST", {{"Origin", "null"}, {"Host", "here:9201"}}, true},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(IsFromAnotherSite({.method = c.method, .headers = c.headers}), c.is) << ::testing::PrintToString(c.headers);
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
