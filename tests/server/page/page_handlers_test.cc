#include "server/page/page_handlers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "server/page/page_warnings.h"
#include "server/page/refused_items.h"
#include "tests/server/page/altered_storage.h"
#include "tests/storage/quarantine_fixture.h"
#include "tests/support/temp_directory.h"

namespace chronolith::server {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class ManualClock : public Clock {
 public:
  std::int64_t NowMs() const override { return now_ms; }
  std::int64_t now_ms = 100'000'000;
};

class PageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Options options;
    options.engine = "memory";
    options.shards = 4;
    auto opened = Storage::Open(options, dir_ / "db");
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    store_ = std::move(*opened);
    storage_ = std::make_unique<AlteredStorage>(store_.get());
    StatusHistoryOptions history;
    history.points_max = 3;
    history.clock = clock_;
    history_ = std::make_unique<StatusHistory>(storage_.get(), history);
    cardinality_ = std::make_unique<LiveCardinality>(store_.get(), LiveCardinalityOptions{.max_age = std::chrono::seconds(0)});
    AddPageHandlers(
        {.storage = storage_.get(), .history = history_.get(), .cardinality = cardinality_.get(), .directories = {dir_ / "."}},
        &router_);
  }
  void TearDown() override { EXPECT_TRUE(store_->Close().ok()); }

  HttpResponse Get(const std::string& path, Pairs query = {}) {
    HttpRequest request{.method = "GET", .path = path, .query = std::move(query)};
    return router_.Find("GET", path).route->handler(request);
  }
  nlohmann::json State(Pairs query = {}) {
    const HttpResponse response = Get("/api/v1/status/page", std::move(query));
    EXPECT_EQ(response.status, 200) << response.body;
    return nlohmann::json::parse(response.body);
  }
  void Write(int series, const std::string& metric = "up") {
    std::vector<TimeSeries> batch;
    for (int i = 0; i < series; ++i) {
      batch.push_back({.labels = {{"__name__", metric}, {"i", std::to_string(i)}}, .samples = {{++time_, 1.0}}});
    }
    const WriteResult result = store_->Write(batch);
    ASSERT_TRUE(result.status.ok()) << result.status.ToString();
  }
  void TakeAfter(std::int64_t ms) {
    clock_->now_ms += ms;
    history_->Take();
  }

  const testing_support::TempDirectory dir_;
  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  std::unique_ptr<Storage> store_;
  std::unique_ptr<AlteredStorage> storage_;
  std::unique_ptr<StatusHistory> history_;
  std::unique_ptr<LiveCardinality> cardinality_;
  Router router_;
  std::int64_t time_ = 0;
};

TEST_F(PageTest, IsOneFileThatAsksNobodyElse) {
  const HttpResponse page = Get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.headers, ::testing::Contains(::testing::Pair("Content-Type", "text/html; charset=utf-8")));
  EXPECT_THAT(page.headers, ::testing::Contains(::testing::Pair("Content-Security-Policy", HasSubstr("default-src 'none'"))));
  EXPECT_THAT(page.body, AllOf(HasSubstr("<!doctype html>"), HasSubstr("--track:"), HasSubstr("class Chart")));
  // What is put in at build time was.
  EXPECT_THAT(page.body, AllOf(Not(HasSubstr("/*page.css*/")), Not(HasSubstr("/*page.js*/"))));
  EXPECT_THAT(page.body, AllOf(Not(HasSubstr("src=\"http")), Not(HasSubstr("@import")), Not(HasSubstr("innerHTML"))));
}

TEST_F(PageTest, FiguresAreThoseOfTheStore) {
  Write(100);
  const nlohmann::json state = State();
  EXPECT_EQ(state["totals"]["series"], 100);
  EXPECT_EQ(state["totals"]["samples"], 100);
  ASSERT_THAT(state["shards"], SizeIs(4));
  int series = 0;
  for (const auto& shard : state["shards"]) {
    EXPECT_EQ(shard["state"], "serving");
    series += shard["series"].get<int>();
  }
  EXPECT_EQ(series, 100);
  EXPECT_EQ(state["version"], storage_->Stats().version);
  ASSERT_THAT(state["disks"], SizeIs(1));
  EXPECT_GT(state["disks"][0]["total"], 0);
  EXPECT_THAT(state["history"]["time"], IsEmpty());
}

TEST_F(PageTest, RatesAreOfTheTimeBetweenTwoPoints) {
  TakeAfter(0);
  Write(100);
  TakeAfter(5000);
  TakeAfter(5000);
  nlohmann::json history = State({{"shard", "2"}})["history"];
  EXPECT_EQ(history["time"], nlohmann::json::parse("[100005000, 100010000]"));
  EXPECT_EQ(history["samples"], nlohmann::json::parse("[20, 0]"));
  EXPECT_GT(history["write_p99"][0], 0);
  EXPECT_TRUE(history["write_p99"][1].is_null());
  EXPECT_EQ(history["shard"]["shard"], 2);
  EXPECT_NEAR(history["shard"]["writes"][0].get<double>(), static_cast<double>(storage_->Stats().shards[2].samples_appended) / 5,
              1e-9);
  history = State({{"since", "100005000"}})["history"];
  EXPECT_EQ(history["time"], nlohmann::json::parse("[100010000]"));
  EXPECT_FALSE(history.contains("shard"));
}

TEST_F(PageTest, HistoryIsBoundedAndSurvivesAClockThatIsSetBack) {
  for (int i = 0; i < 10; ++i) TakeAfter(5000);
  EXPECT_EQ(State()["history"]["time"], nlohmann::json::parse("[100040000, 100045000, 100050000]"));
  TakeAfter(-100'000);
  EXPECT_THAT(State()["history"]["time"], IsEmpty());
  TakeAfter(5000);
  EXPECT_EQ(State()["history"]["time"], nlohmann::json::parse("[99955000]"));
}

TEST_F(PageTest, CountersThatBeginAnewGiveNoNegativeRates) {
  storage_->Alter([](StorageStats* stats) { stats->shards[1].samples_appended = 1000; });
  TakeAfter(0);
  storage_->Restore();
  storage_->Alter([](StorageStats* stats) { stats->shards[1].samples_appended = 50; });
  TakeAfter(5000);
  EXPECT_EQ(State()["history"]["samples"], nlohmann::json::parse("[10]"));
}

TEST_F(PageTest, WhatOthersThanTheStoreRefuseCountsWhereTheyTell) {
  storage_->Alter([](StorageStats* stats) { stats->shards[1].samples_refused = 7; });
  EXPECT_EQ(State()["totals"]["refused"], 7);
  std::uint64_t refused = 100;
  StatusHistory history(storage_.get(), {.clock = clock_, .refused = [&] { return refused; }});
  history.Take();
  refused = 150;
  clock_->now_ms += 5000;
  history.Take();
  Router router;
  AddPageHandlers({.storage = storage_.get(), .history = &history, .cardinality = cardinality_.get()}, &router);
  const nlohmann::json state = nlohmann::json::parse(router.Find("GET", "/api/v1/status/page").route->handler({}).body);
  EXPECT_EQ(state["totals"]["refused"], 150);
  EXPECT_EQ(state["history"]["refused"], nlohmann::json::parse("[10]"));
  EXPECT_THAT(state["warnings"][0]["text"].get<std::string>(), HasSubstr("10 items a second are refused"));
}

TEST(RefusedItems, AreThoseOfAllReceivers) {
  prometheus::Registry registry;
  EXPECT_EQ(RefusedItems(registry), 0U);
  const auto count = [&](const char* name, const prometheus::Labels& labels, double n) {
    prometheus::BuildCounter().Name(name).Register(registry).Add(labels).Increment(n);
  };
  count("chronolith_remote_write_refused_total", {}, 5);
  count("chronolith_remote_write_written_total", {{"kind", "sample"}}, 1000);
  count("chronolith_otlp_points_total", {{"result", "written"}}, 2000);
  count("chronolith_otlp_points_total", {{"result", "rejected"}}, 30);
  count("chronolith_otlp_points_total", {{"result", "failed"}}, 100);
  EXPECT_EQ(RefusedItems(registry), 135U);
}

TEST_F(PageTest, ParametersThatAreNoneAreRefused) {
  for (const char* bad : {"x", "-1", "1.5", "", "1 ", "99999999999999999999"}) {
    EXPECT_EQ(Get("/api/v1/status/page", {{"since", bad}}).status, 400) << bad;
    EXPECT_EQ(Get("/api/v1/status/page", {{"shard", bad}}).status, 400) << bad;
  }
  const HttpResponse beyond = Get("/api/v1/status/page", {{"shard", "4"}});
  EXPECT_EQ(beyond.status, 404);
  EXPECT_THAT(beyond.body, HasSubstr("place 4"));
}

TEST_F(PageTest, CardinalityNamesTheLargest) {
  Write(30, "many");
  Write(5, "few");
  const HttpResponse response = Get("/api/v1/status/page/cardinality");
  ASSERT_EQ(response.status, 200) << response.body;
  const nlohmann::json top = nlohmann::json::parse(response.body);
  EXPECT_EQ(top["metrics"], nlohmann::json::parse(R"([{"name":"many","count":30},{"name":"few","count":5}])"));
  EXPECT_EQ(top["labels"], nlohmann::json::parse(R"([{"name":"i","count":30},{"name":"__name__","count":2}])"));
  EXPECT_EQ(top["complete"], true);
  EXPECT_EQ(top["partial"], false);
}

TEST_F(PageTest, CardinalityThatCannotBeCountedIsAnErrorAndTriedAnew) {
  int counts = 0;
  LiveCardinality cardinality(
      [&](const auto&) -> Result<ops::StoreCardinality> {
        return ++counts == 1 ? Result<ops::StoreCardinality>(Unavailable("the log failed"))
                             : ops::StoreCardinality{.complete = false};
      },
      {});
  Router router;
  AddPageHandlers({.storage = storage_.get(), .history = history_.get(), .cardinality = &cardinality}, &router);
  const auto ask = [&] { return router.Find("GET", "/api/v1/status/page/cardinality").route->handler({}); };
  const HttpResponse failed = ask();
  EXPECT_EQ(failed.status, 503);
  EXPECT_EQ(nlohmann::json::parse(failed.body)["error"], "the log failed");
  const HttpResponse counted = ask();
  EXPECT_EQ(counted.status, 200);
  EXPECT_EQ(nlohmann::json::parse(counted.body)["complete"], false);
  EXPECT_EQ(counts, 2);
}

TEST_F(PageTest, ANameThatIsNotUtf8IsReplacedNotRefused) {
  storage_->Alter([](StorageStats* stats) { stats->shards[0].quarantine = "file \xff"; });
  EXPECT_EQ(State()["shards"][0]["reason"], "file \xEF\xBF\xBD");
}

// ---- Warnings ----

struct WarningCase {
  const char* name;
  std::function<void(StorageStats*)> how;
  bool critical;
  const char* says;
};

class PageWarningsTest : public PageTest, public ::testing::WithParamInterface<WarningCase> {};

TEST_P(PageWarningsTest, AreSaidInPlainWordsAndEndWithTheirCause) {
  EXPECT_THAT(State()["warnings"], IsEmpty());
  storage_->Alter(GetParam().how);
  const nlohmann::json warnings = State()["warnings"];
  ASSERT_THAT(warnings, SizeIs(1));
  EXPECT_THAT(warnings[0]["text"].get<std::string>(), HasSubstr(GetParam().says));
  EXPECT_EQ(warnings[0]["critical"], GetParam().critical);
  EXPECT_FALSE(warnings[0]["advice"].get<std::string>().empty());
  storage_->Restore();
  EXPECT_THAT(State()["warnings"], IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    All, PageWarningsTest,
    ::testing::Values(
        WarningCase{"LogFailed", [](StorageStats* s) { s->log_failed = true; }, true, "log has failed"},
        WarningCase{"Stopped", [](StorageStats* s) { s->data_engine.writes_stopped = true; }, true, "stopped its writers"},
        WarningCase{"Quarantined", [](StorageStats* s) { s->shards[2].quarantine = "000007.sst is damaged"; }, true,
                    "Shard 2 is quarantined: 000007.sst is damaged"},
        WarningCase{"Replaying",
                    [](StorageStats* s) {
                      s->shards[1].serving = false;
                      s->shards[1].replay_seconds_left = 30;
                    },
                    false, "1 of 4 shards are still replaying the log, for about 30 s more"},
        WarningCase{"Scrub", [](StorageStats* s) { s->shards[3].scrub_damage = "000009.sst"; }, true,
                    "damage in shard 3: 000009.sst"},
        WarningCase{"SharedScrub", [](StorageStats* s) { s->scrub.shared_errors = 1; }, true, "all shards share"},
        WarningCase{"Backlog", [](StorageStats* s) { s->shards[0].wal_archive_backlog_bytes = 300 << 20; }, false,
                    "300 MiB behind"},
        WarningCase{"Gap", [](StorageStats* s) { s->shards[0].wal_archive_gap_bytes = 4096; }, true, "gap of 4.0 KiB"},
        WarningCase{"Unsynced", [](StorageStats* s) { s->unsynced_age_ms = 45'000; }, false, "not synced for 45 s"},
        WarningCase{"Checkpoint",
                    [](StorageStats* s) {
                      s->shards[0].last_lsn = s->shards[0].applied_lsn + 5;
                      s->last_checkpoint_ms = 100'000'000 - 3 * 3'600'000;
                    },
                    false, "checkpoint was 3.0 h ago"},
        WarningCase{"Loss",
                    [](StorageStats* s) {
                      s->losses.push_back({.shard = 1, .lost = {{3, 7}}});
                    },
                    false, "without 5 records"},
        WarningCase{"Memory",
                    [](StorageStats* s) {
                      s->memory_limit_bytes = 1 << 30;
                      s->memory_used_bytes = 1'020'000'000;
                    },
                    false, "973 MiB of 1.0 GiB"}),
    [](const auto& info) { return std::string(info.param.name); });

// With the store's own words.
TEST_F(QuarantineTest, IsToldOnceWithWhatToDo) {
  Fill();
  const std::string path = FileOf("index.2");
  fs::remove(path);
  store_.Open();
  const auto warnings = server::WarningsOf(store_->Stats(), {}, 0, 0);
  ASSERT_THAT(warnings, SizeIs(1));
  EXPECT_THAT(warnings[0].text, AllOf(::testing::StartsWith("Shard 2 is quarantined: family 'index.2': file '" + path),
                                      ::testing::EndsWith("is missing")));
  EXPECT_THAT(warnings[0].advice, AllOf(HasSubstr("neither read nor written"), HasSubstr("put the file back")));
  store_.Close();
}

TEST(PageWarnings, ADiskThatIsNearlyFullIsNamed) {
  const auto on = [](std::uint64_t free, std::uint64_t total) { return WarningsOf({}, {{"/db", free, total}}, 0, 0); };
  constexpr std::uint64_t kGiB = 1 << 30;
  EXPECT_THAT(on(11 * kGiB, 100 * kGiB), IsEmpty());
  EXPECT_THAT(on(9 * kGiB, 2000 * kGiB), IsEmpty());
  ASSERT_THAT(on(7 * kGiB, 100 * kGiB), SizeIs(1));
  EXPECT_THAT(on(7 * kGiB, 100 * kGiB)[0].text, HasSubstr("/db is nearly full: 7.0 GiB of 100 GiB"));
  ASSERT_THAT(on(1 * kGiB, 12 * kGiB), SizeIs(1));
}

TEST(PageWarnings, RefusedSamplesAreTold) {
  const auto warnings = WarningsOf({}, {}, 12, 0);
  ASSERT_THAT(warnings, SizeIs(1));
  EXPECT_THAT(warnings[0].text, HasSubstr("12 items a second are refused"));
}

TEST(PageWarnings, CriticalOnesComeFirstAndManyShardsAreSummedUp) {
  StorageStats stats;
  stats.shards.resize(8);
  for (std::uint32_t i = 0; i < 8; ++i) {
    stats.shards[i].shard = i;
    if (i < 6) stats.shards[i].quarantine = "gone";
  }
  stats.shards[7].serving = false;
  std::vector<bool> critical;
  const auto warnings = WarningsOf(stats, {}, 0, 0);
  for (const PageWarning& warning : warnings) critical.push_back(warning.critical);
  EXPECT_THAT(critical, ElementsAre(true, true, true, true, false));
  EXPECT_THAT(warnings[3].text, HasSubstr("3 more shards"));
}

}  // namespace
}  // namespace chronolith::server
