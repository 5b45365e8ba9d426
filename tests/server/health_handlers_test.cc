#include "server/health_handlers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "chronolith/storage.h"
#include "tests/server/page/altered_storage.h"
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

TEST(HealthHandlers, OnlyWhoIsKnownIsToldWhatIsDamaged) {
  const testing_support::TempDirectory dir;
  Options options;
  options.shards = 2;
  options.engine = "memory";
  auto storage = Storage::Open(options, dir / "db");
  ASSERT_TRUE(storage.ok()) << storage.status().ToString();
  AlteredStorage altered(storage->get());
  altered.Alter([](StorageStats* stats) { stats->shards[1].quarantine = "the block /var/lib/x.sst is damaged"; });
  HttpMetrics metrics;
  Router router;
  AddHealthHandlers(&altered, &metrics, nullptr, &router);
  const auto ask = [&](bool anonymous) { return router.Find("GET", "/-/ready").route->handler({.anonymous = anonymous}); };
  EXPECT_EQ(nlohmann::json::parse(ask(false).body)["shards"][1]["reason"], "the block /var/lib/x.sst is damaged");
  const HttpResponse anonymous = ask(true);
  EXPECT_EQ(anonymous.status, 200);
  EXPECT_EQ(nlohmann::json::parse(anonymous.body)["shards"][1], (nlohmann::json{{"shard", 1}, {"state", "quarantined"}}));

  // Why the store as a whole does not serve.
  altered.Alter([](StorageStats* stats) {
    stats->shards[0].serving = false;
    stats->shards[0].replayed_records = 7;
    stats->shards[0].replay_records_expected = 100;
    stats->shards[0].replay_seconds_left = 1.5;
  });
  altered.AnswerReady(Unavailable("cannot open /var/lib/y"));
  EXPECT_EQ(nlohmann::json::parse(ask(false).body)["reason"], "cannot open /var/lib/y");
  EXPECT_EQ(ask(true).status, 503);
  EXPECT_EQ(nlohmann::json::parse(ask(true).body)["reason"], "the store does not serve");
  altered.AnswerReady(ResourceExhausted("still being replayed: shard 0 (7 %)"));
  const nlohmann::json replaying = nlohmann::json::parse(ask(true).body);
  EXPECT_EQ(replaying["reason"], "still being replayed: shard 0 (7 %)");
  EXPECT_EQ(
      replaying["shards"][0],
      (nlohmann::json{{"shard", 0}, {"state", "replaying"}, {"records", 7}, {"records_expected", 100}, {"seconds_left", 1.5}}));
  EXPECT_EQ(replaying["shards"][1]["state"], "quarantined") << "each for itself";
}

}  // namespace
}  // namespace chronolith::server
