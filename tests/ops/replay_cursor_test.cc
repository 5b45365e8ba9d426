#include "ops/replay_cursor.h"

#include <atomic>
#include <filesystem>

#include "interop/json_lines.h"
#include "ops/replay.h"
#include "ops/sink_database.h"
#include "ops/sink_text.h"
#include "tests/ops/replay_store.h"
#include "tests/support/files.h"

namespace chronolith::ops {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ReplayCursor ACursor() {
  return {.store = "00ff",
          .incarnation = 7,
          .target = "jsonl:/a b\n%",
          .selection = "{a=\"\n\"}",
          .position = "",
          .delivered = {{0, 5}, {3, 0xffffffffffffffff}}};
}

TEST(ReplayCursorText, ComesBackAsItWas) {
  const ReplayCursor cursor = ACursor();
  EXPECT_EQ(DecodeCursor(EncodeCursor(cursor)).value(), cursor);
  EXPECT_EQ(DecodeCursor(EncodeCursor({})).value(), ReplayCursor{});
}

TEST(ReplayCursorText, DamageOfAnyByteIsNoticed) {
  const std::string text = EncodeCursor(ACursor());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string flipped = text;
    flipped[i] ^= 1;
    EXPECT_FALSE(DecodeCursor(flipped).ok()) << i;
    EXPECT_FALSE(DecodeCursor(text.substr(0, i)).ok()) << i;
  }
  EXPECT_FALSE(DecodeCursor(text + "x").ok());
  EXPECT_EQ(DecodeCursor("chronolith replay cursor 2\n").status().code(), StatusCode::kFailedPrecondition);
}

class ReplayCursorTest : public ReplayTest {
 protected:
  std::string cursor() const { return dir_ / "cursor"; }
  Result<ReplayReport> Run(RecordTarget* target, LogSelection selection = {}) {
    ReplayOptions options;
    options.selection = std::move(selection);
    options.cursor_path = cursor();
    options.cursor_interval = std::chrono::milliseconds(0);  // at each Flush
    options.threads = 1;
    return Replay(*Offline(), target, options, context_);
  }
};

TEST_F(ReplayCursorTest, AnotherRunGoesOnWhereOneEnded) {
  WriteRound(1000);
  Done();
  CollectingTarget first;
  ASSERT_TRUE(Run(&first).ok());
  EXPECT_EQ(first.heard, written_);
  CollectingTarget nothing;
  const auto idle = Run(&nothing);
  ASSERT_TRUE(idle.ok()) << idle.status().ToString();
  EXPECT_THAT(nothing.heard, IsEmpty());
  EXPECT_EQ(nothing.opened_at, std::to_string(first.syncs));
  EXPECT_TRUE(idle->complete());

  written_.clear();
  WriteRound(2000);
  Done();
  CollectingTarget more;
  ASSERT_TRUE(Run(&more).ok());
  EXPECT_EQ(more.heard, written_) << "series that were told to an earlier run have their labels";
}

TEST_F(ReplayCursorTest, AShardThatFailedGoesOnWhereItFailed) {
  for (Timestamp t = 1000; t <= 5000; t += 1000) WriteRound(t);
  Done();
  CollectingTarget first;
  int calls = 0;
  first.on_samples = [&](const RecordPlace& place) { return place.shard == 2 && ++calls > 3 ? Unavailable("gone") : Status::Ok(); };
  const auto failed = Run(&first);
  ASSERT_TRUE(failed.ok());
  EXPECT_THAT(failed->Failures(), SizeIs(1));
  CollectingTarget second;
  const auto report = Run(&second);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->complete());
  Heard both = first.heard;
  for (const auto& [series, items] : second.heard) both[series].insert(both[series].end(), items.begin(), items.end());
  EXPECT_EQ(both, written_) << "nothing twice, as the failed batch was not flushed";
  for (const auto& [shard, lsns] : second.lsns) EXPECT_TRUE(lsns.empty() || shard == 2) << shard;
}

TEST_F(ReplayCursorTest, ACursorOfSomethingElseIsRefused) {
  WriteRound(1000);
  Done();
  CollectingTarget target;
  ASSERT_TRUE(Run(&target).ok());
  const std::string kept = ReadFile(cursor());
  const auto refused = [&](const ReplayCursor& changed) {
    WriteFile(cursor(), EncodeCursor(changed));
    CollectingTarget another;
    const auto report = Run(&another);
    EXPECT_EQ(report.status().code(), StatusCode::kFailedPrecondition) << report.status().ToString();
    EXPECT_EQ(another.opened_at, "never");
    return report.status().message();
  };
  const auto with = [&](auto change) {
    ReplayCursor c = DecodeCursor(kept).value();
    change(&c);
    return c;
  };
  EXPECT_THAT(refused(with([](ReplayCursor* c) { c->store = "00"; })), HasSubstr("another database"));
  EXPECT_THAT(refused(with([](ReplayCursor* c) { c->incarnation += 1; })), HasSubstr("another copy"));
  EXPECT_THAT(refused(with([](ReplayCursor* c) { c->target = "jsonl:/x"; })), HasSubstr("the target jsonl:/x, not collecting"));
  EXPECT_THAT(refused(with([](ReplayCursor* c) { c->selection = "shard=1"; })), HasSubstr("shard=1"));
  WriteFile(cursor(), kept.substr(0, kept.size() / 2));
  CollectingTarget another;
  EXPECT_EQ(Run(&another).status().code(), StatusCode::kDataLoss);
  WriteFile(cursor(), kept);
  EXPECT_TRUE(Run(&another).ok());
}

TEST_F(ReplayCursorTest, ALogThatWasTrimmedPastTheCursorIsRefused) {
  WriteRound(1000);
  Done();
  CollectingTarget target;
  ASSERT_TRUE(Run(&target).ok());
  WriteRound(2000);
  ASSERT_EQ(Writer()->Checkpoint(), Status::Ok());
  Done();
  CollectingTarget another;
  const auto report = Run(&another);
  EXPECT_EQ(report.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(report.status().message(), AllOf(HasSubstr("has been trimmed up to LSN"), HasSubstr("Remove the cursor")));
  EXPECT_EQ(another.opened_at, "never");
}

TEST_F(ReplayCursorTest, TwoReplaysDoNotShareACursor) {
  WriteRound(1000);
  Done();
  CollectingTarget target;
  bool tried = false;
  target.on_flush = [&] {
    if (std::exchange(tried, true)) return;
    CollectingTarget second;
    const auto report = Run(&second);
    EXPECT_EQ(report.status().code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(second.opened_at, "never");
  };
  ASSERT_TRUE(Run(&target).ok());
  EXPECT_TRUE(tried);
}

TEST_F(ReplayCursorTest, AShardIsToFlushByItsOwnTimeHoweverOftenOthersDo) {
  WriteRound(1000);
  Done();
  CollectingTarget target;
  CursorKeeper keeper(&target, cursor(), std::chrono::hours(1), nullptr);
  const auto store = Offline();
  ASSERT_EQ(keeper.Open(*store, {}), Status::Ok());
  ASSERT_EQ(target.syncs, 1) << "the file was written just now";
  const auto now = std::chrono::steady_clock::now();
  EXPECT_TRUE(keeper.Due(now - std::chrono::hours(1)));
  EXPECT_FALSE(keeper.Due(now));
  ASSERT_EQ(keeper.Flush(0, 1, 1, [] { return Status::Ok(); }), Status::Ok());
  EXPECT_EQ(target.syncs, 1) << "which is not written again before its interval";
}

TEST_F(ReplayCursorTest, AFileIsCutBackToTheCursor) {
  for (const Timestamp t : {1000, 2000}) WriteRound(t);
  Done();
  const std::string file = dir_ / "log.jsonl";
  const auto target = [&] { return NewTextTarget({.path = file, .resumable = true}); };
  ASSERT_TRUE(Run(target().get()).ok());
  const std::string whole = ReadFile(file);
  WriteFile(file, whole + "{\"metric\":{\"half");  // what a run that was killed had written since
  ASSERT_TRUE(Run(target().get()).ok());
  EXPECT_EQ(ReadFile(file), whole);
  WriteFile(file, whole.substr(0, 10));
  EXPECT_THAT(Run(target().get()).status().message(), HasSubstr("had " + std::to_string(whole.size())));
}

class ReplayToDatabase : public ReplayCursorTest {
 protected:
  std::string copy() const { return dir_ / "copy"; }
  std::unique_ptr<RecordTarget> Target() const { return NewDatabaseTarget({.path = copy(), .source = path(), .shards = 3}); }

  static std::string Content(const std::string& path) {
    Options options;
    options.read_only = true;
    const auto store = Storage::Open(options, path).value();
    std::string text;
    interop::JsonLinesWriter lines(&text);
    const auto set = store->Select({}, {}).value();
    while (set->Next()) {
      lines.BeginSeries(set->labels(), store->SeriesMetadata(set->labels()).value());
      for (SampleIterator& samples = set->samples(); true;) {
        const ValueType type = samples.Next();
        if (type == ValueType::kNone) break;
        if (type == ValueType::kFloat) {
          lines.AddSample({samples.timestamp(), samples.value()});
        } else {
          lines.AddHistogram(samples.timestamp(), samples.histogram());
        }
      }
      const std::vector<Exemplar> exemplars = store->Exemplars(set->labels(), {}).value();
      for (const Exemplar& e : exemplars) lines.AddExemplar(e);
      lines.EndSeries();
    }
    return text;
  }

  // Late samples, values that change, deletes of a part and of all, histograms, exemplars, metadata; two openings.
  void WriteAll() {
    for (const Timestamp t : {1000, 5000, 3000, 9000}) WriteRound(t);
    ASSERT_EQ(Writer()->Delete({Matcher::Equal("mod", "1")}, {2000, 6000}).status, Status::Ok());
    Write({.labels = SeriesLabels(1), .samples = {{3000, -1}, {3500, -2}}});
    // A series whose labels are a part of another's.
    Write({.labels = {{"__name__", "m"}, {"i", "5"}}, .samples = {{1000, 1}, {2000, 2}}});
    ASSERT_EQ(Writer()->Delete({Matcher::Equal("i", "5"), Matcher::Equal("mod", "")}, {0, 1500}).status, Status::Ok());
    FloatHistogram f;
    f.count = f.zero_count = 2;
    Write({.labels = {{"__name__", "h"}}, .histograms = {{1000, f}, {2000, f}}});
    Write({.labels = {{"__name__", "h"}}, .samples = {{2000, 7}}});  // replaces the histogram
    Write({.labels = {{"__name__", "h"}}, .samples = {{4000, 7}}});
    Write({.labels = {{"__name__", "h"}}, .histograms = {{4000, f}}});  // replaces the float
    Write({.labels = SeriesLabels(3),
           .exemplars = {{.labels = {{"trace", "x"}}, .value = 1, .timestamp = 9000}},
           .metadata = {{.type = MetricType::kGauge, .unit = "s", .help = "what it is"}}});
    Done();
    WriteRound(4000);
    ASSERT_EQ(Writer()->Delete({Matcher::Equal("i", "9")}, {}).status, Status::Ok());
    Done();
  }
};

TEST_F(ReplayToDatabase, AnswersQueriesAsTheSourceDoes) {
  WriteAll();
  const auto report = Replay(*Offline(), Target().get(), {}, context_);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_TRUE(report->complete());
  EXPECT_EQ(report->Sum().refused + report->Sum().skipped, 0U);
  EXPECT_EQ(report->Sum().sent, report->Read().items());
  EXPECT_EQ(Content(copy()), Content(path()));
  EXPECT_THAT(Content(path()), HasSubstr("\"float\":true"));

  // The same once more changes nothing.
  ASSERT_TRUE(Replay(*Offline(), Target().get(), {}, context_).ok());
  EXPECT_EQ(Content(copy()), Content(path()));
}

TEST_F(ReplayToDatabase, InPiecesByACursorItComesToTheSame) {
  WriteAll();
  for (int run = 0; run < 200; ++run) {
    std::atomic<bool> cancelled{false};
    context_.cancelled = &cancelled;
    ReplayOptions options;
    options.cursor_path = cursor();
    options.cursor_interval = std::chrono::milliseconds(0);
    options.threads = 1;
    options.on_saved = [&](std::uint64_t items) { cancelled = items >= 40; };
    const auto target = Target();
    const auto report = Replay(*Offline(), target.get(), options, context_);
    ASSERT_TRUE(report.ok()) << report.status().ToString();
    if (!report->interrupted) {
      EXPECT_GT(run, 0);
      EXPECT_EQ(Content(copy()), Content(path()));
      return;
    }
  }
  FAIL() << "it did not get on";
}

TEST_F(ReplayToDatabase, RefusalsNameTheSeriesAlsoWhereItsLabelsWereForgotten) {
  const auto target = Target();
  ASSERT_TRUE(target->Open("").ok());
  auto sink = target->NewSink(0);
  ASSERT_TRUE(sink.ok());
  const RecordPlace place{.shard = 0, .lsn = 1};
  const Labels good{{"__name__", "h"}, {"i", "1"}};
  const Labels bad{{"", "x"}};
  const SeriesEntry series[] = {{0, &good}, {1, &bad}};
  ASSERT_TRUE((*sink)->OnSeries(place, series).ok());
  const SampleEntry samples[] = {{.ordinal = 0, .timestamp = 1, .value = 1}, {.ordinal = 1, .timestamp = 1, .value = 1}};
  ASSERT_TRUE((*sink)->OnSamples(place, samples).ok());
  IntHistogram wrong;
  wrong.positive_deltas = {1};  // in no bucket
  const HistogramSample histogram{2, wrong};
  const HistogramEntry entry{0, &histogram};
  ASSERT_TRUE((*sink)->OnHistograms(place, {&entry, 1}).ok());
  (*sink)->OnForgetSeries();
  Delivered d;
  ASSERT_TRUE((*sink)->Flush(&d).ok());
  EXPECT_EQ(d.sent, 1U);
  EXPECT_EQ(d.refused, 2U);
  EXPECT_THAT(d.reasons, ElementsAre(HasSubstr(bad.ToString() + ": "), HasSubstr(good.ToString() + ": ")));

  // Told again, it is the same series.
  ASSERT_TRUE((*sink)->OnSeries(place, {series, 1}).ok());
  ASSERT_TRUE((*sink)->OnSamples(place, {samples, 1}).ok());
  ASSERT_TRUE((*sink)->Flush(&d).ok());
  sink->reset();
  ASSERT_TRUE(target->Close().ok());
  EXPECT_THAT(Content(copy()), AllOf(HasSubstr("\"i\":\"1\""), Not(HasSubstr("\"x\""))));
}

TEST_F(ReplayToDatabase, TheSourceIsNoTarget) {
  WriteRound(1000);
  Done();
  const auto target = NewDatabaseTarget({.path = path(), .source = path()});
  EXPECT_EQ(Replay(*Offline(), target.get(), {}, context_).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chronolith::ops
