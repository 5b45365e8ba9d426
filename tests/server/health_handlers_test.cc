#include "server/health_handlers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "chronolith/storage.h"
#include "tests/support/temp_directory.h"

namespace chronolith::server {
namespace {

using ::testing::HasSubstr;

TEST(HealthHandlers, AnswerForAnOpenStore) {
  const testing_support::TempDirectory dir;
  Options options;
  options.shards = 3;
  options.engine = "memory";
  auto storage = Storage::Open(options, dir / "db");
  ASSERT_TRUE(storage.ok()) << storage.status().ToString();
  HttpMetrics metrics;
  metrics.Of("/x")->Observe(204, 1000, 5, 0);
  auto registry = std::make_shared<prometheus::Registry>();
  Router router;
  AddHealthHandlers(storage->get(), &metrics, registry, &router);
  const auto ask = [&](const char* path) { return router.Find("GET", path).route->handler({}); };

  EXPECT_EQ(ask("/-/healthy").status, 200);
  const HttpResponse ready = ask("/-/ready");
  EXPECT_EQ(ready.status, 200);
  const nlohmann::json json = nlohmann::json::parse(ready.body);
  EXPECT_EQ(json["ready"], true);
  ASSERT_EQ(json["shards"].size(), 3U);
  EXPECT_EQ(json["shards"][2], (nlohmann::json{{"shard", 2}, {"state", "serving"}}));
  const HttpResponse text = ask("/metrics");
  EXPECT_THAT(text.body, HasSubstr("chronolith_http_requests_total{handler=\"/x\",code=\"204\"} 1\n"));
  EXPECT_THAT(text.body, HasSubstr("chronolith_wal_records_total"));
  EXPECT_TRUE(router.Find("GET", "/-/healthy").route->open_to_all);
  EXPECT_FALSE(router.Find("GET", "/metrics").route->open_to_all);
}

}  // namespace
}  // namespace chronolith::server
