#include "ops/replay.h"

#include <atomic>

#include "chronolith/engine_registry.h"
#include "interop/json_lines.h"
#include "interop/selector.h"
#include "ops/sink_text.h"
#include "ops/wal_dump.h"
#include "storage/store_directory.h"
#include "tests/ops/replay_store.h"
#include "tests/support/files.h"

namespace chronolith::ops {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::uint64_t ItemsOf(const Heard& heard) {
  std::uint64_t n = 0;
  for (const auto& [series, items] : heard) n += items.size();
  return n;
}

TEST_F(ReplayTest, EverythingReachesTheTargetSeriesBySeriesInTheOrderOfTheLog) {
  for (const Timestamp t : {1000, 5000, 3000, 3000, 9000}) WriteRound(t);  // late, and twice at one time
  Write({.labels = SeriesLabels(3),
         .exemplars = {{.labels = {{"trace", "x"}}, .value = 1, .timestamp = 9000}},
         .metadata = {{.type = MetricType::kGauge, .help = "what it is"}}});
  IntHistogram h;
  h.count = h.zero_count = 2;
  Write({.labels = {{"__name__", "h"}}, .histograms = {{1000, h}, {2000, h}}});
  ASSERT_EQ(Writer()->Delete({Matcher::Equal("i", "7")}, {0, 4000}).status, Status::Ok());
  written_[SeriesLabels(7).ToString()].emplace_back("d 0 4000");
  WriteRound(2000);
  Done();

  CollectingTarget target;
  const auto report = Replay(*Offline(), &target, {}, context_);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(target.heard, written_);
  EXPECT_TRUE(report->complete() && target.closed);
  EXPECT_EQ(target.opened_at, "");
  const ScanTotals read = report->Read();
  EXPECT_EQ(read.samples, 6U * kSeries);
  EXPECT_EQ(read.histograms, 2U);
  EXPECT_EQ(read.exemplars, 1U);
  EXPECT_EQ(read.metadata, 1U);
  EXPECT_EQ(read.deletes, 1U);
  EXPECT_EQ(read.series, kSeries + 1U);
  EXPECT_EQ(report->Sum().sent, 6U * kSeries + 5);
  for (const ShardReplay& shard : report->shards) EXPECT_EQ(shard.delivered_lsn, shard.read.last_lsn);
  for (const auto& [shard, lsns] : target.lsns) EXPECT_TRUE(std::is_sorted(lsns.begin(), lsns.end()));
}

TEST_F(ReplayTest, SeriesThatWereCreatedBeforeTheLogBeginsKeepTheirLabels) {
  WriteRound(1000);
  ASSERT_EQ(Writer()->Checkpoint(), Status::Ok());
  written_.clear();
  WriteRound(2000);
  Write({.labels = {{"__name__", "new"}}, .samples = {{2000, 1}}});
  Done();
  CollectingTarget target;
  const auto report = Replay(*Offline(), &target, {}, context_);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(target.heard, written_);
  EXPECT_EQ(report->Read().series, 1U);
}

TEST_F(ReplayTest, LabelsThatDoNotFitInMemoryAreForgottenAndToldAgain) {
  WriteRound(1000);
  ASSERT_EQ(Writer()->Checkpoint(), Status::Ok());
  written_.clear();
  for (int i = 0; i < 300; ++i) {
    Write({.labels = {{"__name__", "n"}, {"i", std::to_string(i)}}, .samples = {{1000, 1}}});
    if (i % 100 == 0) WriteRound(2000 + i);
  }
  for (int i = 0; i < 300; ++i) Write({.labels = {{"__name__", "n"}, {"i", std::to_string(i)}}, .samples = {{3000, 2}}});
  Done();
  context_.memory_limit_bytes = 8 << 10;
  CollectingTarget target;
  const auto report = Replay(*Offline(), &target, {}, context_);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(target.heard, written_);
  EXPECT_GT(target.forgets, 4);
}

TEST_F(ReplayTest, ASelectionLeavesOutWhatIsNotMeant) {
  for (Timestamp t = 1000; t <= 10'000; t += 1000) WriteRound(t);
  ASSERT_EQ(Writer()->Delete({Matcher::Equal("mod", "1")}, {2500, 4000}).status, Status::Ok());
  Done();
  const auto store = Offline();
  struct Case {
    LogSelection selection;
    std::uint64_t samples;
    std::uint64_t deletes;  // series
  };
  const auto match = [](const char* text) { return interop::ParseSelector(text).value(); };
  const Case kCases[] = {
      {{.samples = {3000, 5000}}, 2 * kSeries, 10},
      {{.samples = {9000, kMaxTimestamp}}, 2 * kSeries, 0},
      {{.written = {0, 1}}, 0, 0},
      {{.written = {1, kMaxTimestamp}}, 10 * kSeries, 10},
      {{.selectors = {match("m{mod=\"1\"}")}}, 100, 10},
      {{.selectors = {match("m{mod=\"1\"}"), match("{mod=~\"1|2\"}")}}, 200, 10},
      {{.samples = {1000, 2000}, .selectors = {match("{i=\"7\"}")}}, 1, 0},
      {{.selectors = {match("nothing")}}, 0, 0},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.selection.ToString());
    CollectingTarget target;
    const auto report = Replay(*store, &target, {.selection = c.selection}, context_);
    ASSERT_TRUE(report.ok()) << report.status().ToString();
    EXPECT_EQ(report->Read().samples, c.samples);
    EXPECT_EQ(ItemsOf(target.heard), c.samples + c.deletes);
  }
  // By place: from and to are inclusive, and shards that are not named are whole.
  CollectingTarget all;
  ASSERT_TRUE(Replay(*store, &all, {}, context_).ok());
  const std::vector<Lsn> lsns = all.lsns[2];
  ASSERT_GE(lsns.size(), 6U);
  CollectingTarget some;
  LogSelection selection;
  selection.shards = {2};
  selection.from = {{2, lsns[1]}};
  selection.to = {{2, lsns[3]}};
  ASSERT_TRUE(Replay(*store, &some, {.selection = selection}, context_).ok());
  EXPECT_THAT(some.lsns, ElementsAre(std::pair(2U, std::vector<Lsn>(lsns.begin() + 1, lsns.begin() + 4))));
}

TEST_F(ReplayTest, ASelectionThatMakesNoSenseIsRefused) {
  WriteRound(1000);
  Done();
  const auto store = Offline();
  const std::pair<LogSelection, const char*> kCases[] = {
      {{.shards = {4}}, "there is no shard 4"},
      {{.from = {{9, 1}}}, "there is no shard 9"},
      {{.samples = {5, 4}}, "reversed"},
      {{.selectors = {{Matcher::Regex("a", "(")}}}, "a=~"},
  };
  for (const auto& [selection, why] : kCases) {
    CollectingTarget target;
    const auto report = Replay(*store, &target, {.selection = selection}, context_);
    EXPECT_EQ(report.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(report.status().message(), HasSubstr(why));
    EXPECT_EQ(target.opened_at, "never");
  }
}

// Takes the row out of the log of `shard` that begins with the n-th LSN of those that are there.
Lsn TakeRowOut(const std::string& path, ShardId shard, std::size_t n) {
  const StoreManifest manifest = ReadStoreManifest(path).value();
  EngineOptions options = LogInstanceOptions(manifest);
  options.create_if_missing = false;
  const auto engine =
      EngineRegistry::Default()->Find(manifest.engine).value()->Open(LogInstancePath(path, manifest), options).value();
  std::vector<std::pair<Lsn, std::uint64_t>> rows;
  WalEnd end;
  EXPECT_TRUE(ReadWal(engine.get(), WalFamily(shard), shard, 0, nullptr, nullptr, &rows, &end).ok());
  const Lsn lsn = rows.at(n).first;
  const std::string key = WalKey(lsn);
  const Op op{.type = Op::Type::kDelete, .key = key};
  const Batch batch{
      .family = WalFamily(shard), .atomicity_key = key, .epoch = engine->CurrentEpoch(WalFamily(shard)).value(), .ops = {&op, 1}};
  EXPECT_EQ(engine->Write({&batch, 1}, {}).at(0), Status::Ok());
  EXPECT_EQ(engine->Close(), Status::Ok());
  return lsn;
}

TEST_F(ReplayTest, AHoleIsToldAndOnlyItsShardEndsThere) {
  for (Timestamp t = 1000; t <= 10'000; t += 1000) WriteRound(t);
  Done();
  const Lsn lost = TakeRowOut(path(), 2, 5);
  const auto store = Offline();
  CollectingTarget stops;
  const auto stopped = Replay(*store, &stops, {}, context_);
  ASSERT_TRUE(stopped.ok());
  EXPECT_THAT(stopped->Problems(), ElementsAre(AllOf(HasSubstr("shard 2: the log of shard 2 lacks LSN " + std::to_string(lost)),
                                                     HasSubstr("--skip-damaged"))));
  EXPECT_THAT(stopped->Failures(), IsEmpty());
  EXPECT_EQ(stopped->shards[2].delivered_lsn, lost - 1) << "what stands before it is delivered";

  CollectingTarget passes;
  const auto passed = Replay(*store, &passes, {.pass_damage = true}, context_);
  ASSERT_TRUE(passed.ok());
  EXPECT_THAT(passed->Problems(), SizeIs(1));
  EXPECT_EQ(passed->shards[2].delivered_lsn, passed->shards[2].read.last_lsn);
  for (const auto& [series, items] : written_) {
    const bool lacks = passes.heard[series] != items;
    if (lacks) {
      EXPECT_EQ(passes.heard[series].size(), items.size() - 1) << series;
    }
  }
  const std::uint64_t missing = ItemsOf(written_) - ItemsOf(passes.heard);
  EXPECT_GT(missing, 0U);
  EXPECT_LT(ItemsOf(stops.heard), ItemsOf(passes.heard));
}

TEST_F(ReplayTest, SamplesWhoseSeriesRecordIsLostAreRefusedAndCounted) {
  Write({.labels = SeriesLabels(0), .samples = {{1000, 1}}});
  for (Timestamp t = 2000; t <= 5000; t += 1000) Write({.labels = SeriesLabels(0), .samples = {{t, 1}}});
  Done();
  ShardId shard = 0;
  ASSERT_TRUE(DumpLog(*Offline(), {}, context_, [&](const DumpedRecord& r, const LabelsIn&) {
                if (r.record->type == RecordType::kSeries) shard = r.shard;
                return Status::Ok();
              }).ok());
  TakeRowOut(path(), shard, 1);  // behind that of the epoch: the series and its first sample
  CollectingTarget target;
  const auto report = Replay(*Offline(), &target, {.pass_damage = true}, context_);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(target.heard, IsEmpty());
  EXPECT_EQ(report->Sum().refused, 4U);
  EXPECT_THAT(report->Sum().reasons.at(0), HasSubstr("the record of its creation is lost"));
  EXPECT_THAT(report->Problems(), SizeIs(1));
}

TEST_F(ReplayTest, ATargetThatFailsInOneShardGetsTheOthers) {
  for (const Timestamp t : {1000, 2000}) WriteRound(t);
  Done();
  CollectingTarget target;
  target.on_samples = [](const RecordPlace& place) { return place.shard == 1 ? Unavailable("nobody is there") : Status::Ok(); };
  const auto report = Replay(*Offline(), &target, {}, context_);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->Failures(), ElementsAre("shard 1: nobody is there"));
  EXPECT_THAT(report->Problems(), IsEmpty());
  EXPECT_FALSE(target.closed) << "it is not whole";
  for (const ShardReplay& shard : report->shards) {
    if (shard.shard != 1) {
      EXPECT_EQ(shard.delivered_lsn, shard.read.last_lsn);
    }
  }
  EXPECT_LT(report->shards[1].delivered_lsn, report->shards[1].read.last_lsn);
}

TEST_F(ReplayTest, AnInterruptedReplaySaysSo) {
  WriteRound(1000);
  Done();
  const std::atomic<bool> cancelled{true};
  context_.cancelled = &cancelled;
  CollectingTarget target;
  const auto report = Replay(*Offline(), &target, {.items_per_second = 1}, context_);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->interrupted);
  EXPECT_THAT(report->Failures(), ElementsAre(HasSubstr("reading the log was stopped")));
  EXPECT_FALSE(target.closed);
}

TEST_F(ReplayTest, DeletesAreSkippedWhereTheTargetHasNone) {
  WriteRound(1000);
  ASSERT_EQ(Writer()->Delete({Matcher::Equal("i", "7")}, {}).status, Status::Ok());
  Done();
  CollectingTarget target;
  target.deletes = false;
  const auto report = Replay(*Offline(), &target, {}, context_);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(target.heard, written_);
  EXPECT_EQ(report->Sum().skipped, 1U);
  EXPECT_EQ(report->Sum().sent, 0U + kSeries);
}

TEST_F(ReplayTest, WhatRetentionHasExpiredIsNotSentToATargetThatIsToComeOutLikeTheSource) {
  WriteRound(1000);
  WriteRound(100'000'000);
  Done();
  Options options;
  options.retention_ms = 3'600'000;
  writer_ = Storage::Open(options, path()).value();
  ASSERT_TRUE(Writer()->Compact().ok());
  WriteRound(100'001'000);
  Done();
  for (const bool like_the_source : {true, false}) {
    CollectingTarget target;
    target.deletes = like_the_source;
    ASSERT_TRUE(Replay(*Offline(), &target, {}, context_).ok());
    for (const auto& [series, items] : target.heard) {
      for (const std::string& item : items) {
        EXPECT_FALSE(like_the_source && item.starts_with("s 1000 ")) << series;
      }
    }
  }
}

TEST_F(ReplayTest, NullAsksForNoLabelsAndCounts) {
  for (const Timestamp t : {1000, 2000}) WriteRound(t);
  Done();
  const auto target = NewNullTarget();
  const auto report = Replay(*Offline(), target.get(), {}, context_);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->Sum().sent, 2U * kSeries);
  EXPECT_EQ(report->Read().samples, 2U * kSeries);
}

TEST_F(ReplayTest, LinesOfJsonHoldWhatTheLogHolds) {
  for (const Timestamp t : {1000, 3000, 2000}) WriteRound(t);
  IntHistogram h;
  h.count = h.zero_count = 2;
  Write({.labels = {{"__name__", "h"}},
         .histograms = {{1000, h}},
         .exemplars = {{.labels = {{"t", "x"}}, .value = 1, .timestamp = 5}},
         .metadata = {{.type = MetricType::kHistogram, .help = "help"}}});
  Done();
  const std::string file = dir_ / "log.jsonl";
  const auto target = NewTextTarget({.path = file});
  const auto report = Replay(*Offline(), target.get(), {}, context_);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  Heard found;
  std::istringstream lines(ReadFile(file));
  for (std::string line; std::getline(lines, line);) {
    const TimeSeries series = interop::ParseJsonSeries(line).value();
    auto& heard = found[series.labels.ToString()];
    for (const Sample& s : series.samples) heard.push_back("s " + std::to_string(s.timestamp) + " " + std::to_string(s.value));
    for (const HistogramSample& s : series.histograms) heard.push_back("h " + std::to_string(s.timestamp));
    for (const Exemplar& e : series.exemplars) heard.push_back("e " + std::to_string(e.timestamp));
    for (const Metadata& m : series.metadata) heard.push_back("m " + m.help);
  }
  EXPECT_EQ(found, written_);
  EXPECT_EQ(report->Sum().sent, ItemsOf(written_));

  const auto again = Replay(*Offline(), NewTextTarget({.path = file}).get(), {}, context_);
  EXPECT_EQ(again.status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(Replay(*Offline(), NewTextTarget({.path = file, .overwrite = true}).get(), {}, context_).ok());
}

TEST_F(ReplayTest, AFileThatDidNotBecomeWholeIsNotThere) {
  WriteRound(1000);
  Done();
  const std::atomic<bool> cancelled{true};
  context_.cancelled = &cancelled;
  {
    const auto target = NewTextTarget({.path = dir_ / "out"});
    ASSERT_TRUE(Replay(*Offline(), target.get(), {}, context_)->interrupted);
  }
  EXPECT_FALSE(std::filesystem::exists(dir_ / "out"));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "out.partial"));
}

TEST_F(ReplayTest, OpenMetricsLeavesOutAndRefusesWhatItHasNoWordFor) {
  IntHistogram h;
  h.count = h.zero_count = 2;
  Write({.labels = {{"__name__", "a"}},
         .samples = {{1000, 1}, {2000, std::bit_cast<double>(kStaleNaNBits)}, {3000, 2}},
         .exemplars = {{.labels = {{"t", "x"}}, .value = 1, .timestamp = 500}},
         .metadata = {{.type = MetricType::kGauge, .help = "what it is"}}});
  Write({.labels = {{"__name__", "b"}}, .histograms = {{1000, h}}});
  Write({.labels = {{"no", "name"}}, .samples = {{1000, 1}}});
  Done();
  const std::string file = dir_ / "log.txt";
  const auto report = Replay(*Offline(), NewTextTarget({.form = TextForm::kOpenMetrics, .path = file}).get(), {}, context_);
  ASSERT_TRUE(report.ok());
  const std::string text = ReadFile(file);
  EXPECT_THAT(text, HasSubstr("# HELP a what it is\n"));
  EXPECT_THAT(text, HasSubstr("a 1 1 # {t=\"x\"} 1"));
  EXPECT_TRUE(text.ends_with("# EOF\n")) << text;
  EXPECT_EQ(report->Sum().refused, 1U);
  EXPECT_THAT(report->Sum().reasons, ElementsAre(HasSubstr("{no=\"name\"}")));
  EXPECT_EQ(report->Sum().skipped, 2U) << "the stale marker and the histogram";
}

TEST_F(ReplayTest, ADumpShowsEveryRecordOnceAndDensely) {
  for (const Timestamp t : {1000, 2000}) WriteRound(t);
  ASSERT_EQ(Writer()->Delete({Matcher::Equal("i", "7")}, {0, 1500}).status, Status::Ok());
  Done();
  const auto store = Offline();
  std::map<ShardId, Lsn> last;
  std::uint64_t samples = 0;
  std::vector<std::string> deleted;
  const auto report = DumpLog(*store, {.labels = true}, context_, [&](const DumpedRecord& dumped, const LabelsIn& labels) {
    const ScannedRecord& r = *dumped.record;
    EXPECT_EQ(r.place.lsn, ++last[dumped.shard]);
    samples += r.samples.size();
    for (const SampleEntry& s : r.samples) EXPECT_EQ(labels(s.ordinal)->Get("__name__"), "m");
    EXPECT_TRUE(r.samples.empty() || dumped.min_time() == dumped.max_time());
    for (const Ordinal o : r.ordinals) deleted.push_back(labels(o)->ToString());
    EXPECT_GT(r.place.write_time_ms, 0);
    return Status::Ok();
  });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(samples, 2U * kSeries);
  EXPECT_THAT(deleted, ElementsAre(SeriesLabels(7).ToString()));
  EXPECT_THAT(last, SizeIs(kShards));
  std::uint64_t total = 0;
  for (const auto& [shard, lsn] : last) total += lsn;
  EXPECT_EQ(report->records, total);
  EXPECT_FALSE(report->limited);

  std::uint64_t taken = 0;
  const auto limited = DumpLog(*store, {.limit = 3}, context_, [&](const DumpedRecord&, const LabelsIn&) {
    ++taken;
    return Status::Ok();
  });
  ASSERT_TRUE(limited.ok());
  EXPECT_TRUE(limited->limited);
  EXPECT_EQ(taken, 3U);
}

TEST_F(ReplayTest, ADumpHasALineWhereRecordsAreLost) {
  for (Timestamp t = 1000; t <= 10'000; t += 1000) WriteRound(t);
  Done();
  const Lsn lost = TakeRowOut(path(), 1, 4);
  std::vector<Lsn> losses;
  Lsn behind = 0;
  const auto report = DumpLog(*Offline(), {}, context_, [&](const DumpedRecord& dumped, const LabelsIn&) {
    if (dumped.loss != nullptr) losses.push_back(dumped.loss->first);
    if (dumped.record != nullptr && dumped.shard == 1) behind = dumped.record->place.lsn;
    return Status::Ok();
  });
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(losses, ElementsAre(lost));
  EXPECT_THAT(report->problems, SizeIs(1));
  EXPECT_GT(behind, lost);
}

}  // namespace
}  // namespace chronolith::ops
