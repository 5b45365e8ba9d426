// After an error of the log: nothing more is acknowledged until Reopen, which brings back what was logged. And other ways to open a
// store a second time: a reader beside a live writer, a snapshot.
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr Timestamp kT = 1'700'000'000'000;

Labels Named(std::string_view name) { return {{"__name__", name}}; }

class Reopening : public testing::Test {
 protected:
  Reopening() : store_("memory") {
    store_.options().commit_interval_ms = 100'000;  // what is queued stays queued
    store_.Open();
  }
  // The next write of the log's engine fails, and with it the log.
  void BreakTheLog() {
    store_.memory().FailCall(EngineMethod::kWrite, 1, IoError("injected: the disk is gone"));
    const WriteResult result = store_->Write(MakeSeries(Named("unlucky"), {{kT, 1}}));
    EXPECT_EQ(result.status.code(), StatusCode::kUnavailable) << result.status.ToString();
    EXPECT_THAT(result.status.message(), HasSubstr("the disk is gone"));
  }
  TestStore store_;
};

TEST_F(Reopening, NothingIsAcknowledgedUntilThen) {
  store_.Write(Named("before"), {{kT, 1}});
  auto appender = store_->NewAppender();
  const SeriesRef ref = appender->Ref(Named("before")).value();
  BreakTheLog();
  EXPECT_TRUE(store_->Stats().log_failed);
  for (const AckLevel level : {AckLevel::kQueued, AckLevel::kLogged, AckLevel::kSynced}) {
    EXPECT_EQ(store_->Write(MakeSeries(Named("after"), {{kT, 1}}), {.level = level}).status.code(), StatusCode::kUnavailable);
    appender->Append(ref, kT + 1, 1);
    const WriteResult result = appender->Commit({.level = level});
    EXPECT_EQ(result.status.code(), StatusCode::kUnavailable);
    EXPECT_EQ(result.accepted, 0U);
  }
  EXPECT_EQ(appender->Ref(Named("new")).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Delete({Matcher::Equal("__name__", "before")}, {}).status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Checkpoint().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Flush().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Compact().status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Snapshot(store_.directory() / "copy").code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_.Read({Matcher::Equal("__name__", "before")}).size(), 1U) << "reading goes on";

  const Status reopened = store_->Reopen();
  ASSERT_TRUE(reopened.ok()) << reopened.ToString();
  EXPECT_FALSE(store_->Stats().log_failed);
  EXPECT_EQ(store_.Read(), (Contents{{Named("before").ToString(), {{kT, Shown(1)}}}}));
  appender->Append(ref, kT + 2, 2);
  const WriteResult result = appender->Commit();
  EXPECT_TRUE(result.ok()) << result.status.ToString();
  store_.Write(Named("after"), {{kT, 1}});
  appender.reset();
  store_.Kill();
  EXPECT_EQ(store_.Read(), (Contents{{Named("before").ToString(), {{kT, Shown(1)}, {kT + 2, Shown(2)}}},
                                     {Named("after").ToString(), {{kT, Shown(1)}}}}));
}

TEST_F(Reopening, AnErrorOfASyncIsFinalToo) {
  store_.Write(Named("a"), {{kT, 1}});
  store_.memory().FailCall(EngineMethod::kSyncLog, 1, IoError("injected: fdatasync"));
  EXPECT_EQ(store_->Flush().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Write(MakeSeries(Named("a"), {{kT + 1, 1}})).status.code(), StatusCode::kUnavailable)
      << "an fdatasync is never retried";
  ASSERT_TRUE(store_->Reopen().ok());
  store_.Write(Named("a"), {{kT + 2, 1}}, AckLevel::kSynced);
  EXPECT_EQ(store_.Read()[Named("a").ToString()].count(kT), 1U);
}

TEST_F(Reopening, TokensFromBeforeTellTheTruth) {
  const CommitToken reached = store_->Write(MakeSeries(Named("a"), {{kT, 1}}), {.level = AckLevel::kSynced}).token;
  const CommitToken queued = store_->Write(MakeSeries(Named("b"), {{kT, 1}}), {.level = AckLevel::kQueued}).token;
  EXPECT_TRUE(store_->Wait(reached, AckLevel::kSynced).ok());
  BreakTheLog();
  EXPECT_EQ(store_->Wait(queued, AckLevel::kLogged).code(), StatusCode::kUnavailable);
  ASSERT_TRUE(store_->Reopen().ok());
  EXPECT_EQ(store_->Wait(queued, AckLevel::kLogged).code(), StatusCode::kUnavailable);
  Status told;
  store_->OnReached(queued, AckLevel::kLogged, [&](Status status) { told = std::move(status); });
  EXPECT_EQ(told.code(), StatusCode::kUnavailable);
  const WriteResult fresh = store_->Write(MakeSeries(Named("c"), {{kT, 1}}), {.level = AckLevel::kQueued});
  EXPECT_GT(fresh.token.generation, queued.generation);
  EXPECT_TRUE(store_->Wait(fresh.token, AckLevel::kSynced).ok());
}

// A reference whose series' record was lost must not write into the series that is created next, nor into nothing.
TEST_F(Reopening, OldReferencesNeverPointToAnotherSeries) {
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    auto appender = store_->NewAppender();
    std::vector<SeriesRef> lost;
    for (int i = 0; i < 20; ++i) {
      lost.push_back(appender->Ref(Named("lost" + std::to_string(round) + "_" + std::to_string(i))).value());  // queued only
    }
    BreakTheLog();
    ASSERT_TRUE(store_->Reopen().ok());
    for (int again = 0; again < 2; ++again) {
      auto fresh = store_->NewAppender();
      for (int i = 0; i < 20; ++i) {
        const std::string name = "fresh" + std::to_string(round) + std::to_string(again) + "_" + std::to_string(i);
        const SeriesRef ref = fresh->Ref(Named(name)).value();
        for (const SeriesRef old : lost) EXPECT_NE(ref, old);
        fresh->Append(ref, kT, 1);
      }
      ASSERT_TRUE(fresh->Commit().ok());
      for (const SeriesRef old : lost) appender->Append(old, kT + 1, 666);
      const WriteResult result = appender->Commit();
      EXPECT_EQ(result.status.code(), StatusCode::kNotFound) << result.status.ToString();
      EXPECT_EQ(result.refused.size(), lost.size());
      EXPECT_EQ(result.accepted, 0U);
      if (again == 0) {
        ASSERT_TRUE(store_->Reopen().ok());  // the hole is below the newest ordinal now
      }
    }
  }
  for (const auto& [labels, points] : store_.Read()) EXPECT_EQ(points, (Points{{kT, Shown(1)}})) << labels;
}

TEST_F(Reopening, ReferencesToRemovedSeriesStayHarmless) {
  auto appender = store_->NewAppender();
  const SeriesRef gone = appender->Ref(Named("gone")).value();
  store_.Write(Named("gone"), {{kT, 1}});
  ASSERT_TRUE(store_->Delete({Matcher::Equal("__name__", "gone")}, {}).ok());
  store_.Compact();
  store_.Checkpoint();
  ASSERT_TRUE(store_->Reopen().ok());
  appender->Append(gone, kT + 1, 2);
  const WriteResult result = appender->Commit();
  // The series is created again, or the reference is refused; a sample that nobody can find would be lost in silence.
  if (result.ok()) {
    EXPECT_EQ(store_.Read(), (Contents{{Named("gone").ToString(), {{kT + 1, Shown(2)}}}}));
  } else {
    EXPECT_EQ(result.status.code(), StatusCode::kNotFound) << result.status.ToString();
    EXPECT_EQ(result.refused.size(), 1U);
  }
}

TEST_F(Reopening, LabelsOfWhatExpiredBeforeAreKeptForReferences) {
  auto appender = store_->NewAppender();
  const SeriesRef gone = appender->Ref(Named("gone")).value();
  store_.Write(Named("gone"), {{kT, 1}});
  ASSERT_TRUE(store_->Delete({Matcher::Equal("__name__", "gone")}, {}).ok());
  store_.Compact();
  ASSERT_TRUE(store_->Reopen().ok());
  store_.Compact();
  store_.Compact();
  appender->Append(gone, kT + 1, 2);
  const WriteResult result = appender->Commit();
  EXPECT_TRUE(result.ok()) << result.status.ToString();
  EXPECT_EQ(store_.Read(), (Contents{{Named("gone").ToString(), {{kT + 1, Shown(2)}}}}));
}

// Whichever write fails meanwhile, that of the removal's record too: then the series is there again.
TEST(ReopeningAfterARemoval, ASeriesWhoseRemovalWasLostIsWrittenTo) {
  int lost = 0;
  for (std::uint64_t k = 1;; ++k) {
    SCOPED_TRACE("write " + std::to_string(k));
    ASSERT_LT(k, 100U);
    TestStore store("memory");
    store.options().shards = 1;
    store.options().commit_interval_ms = 100'000;
    store.Open();
    store.Write(Named("gone"), {{kT, 1}});
    ASSERT_TRUE(store->Delete({Matcher::Equal("__name__", "gone")}, {}).ok());
    store.memory().FailCall(EngineMethod::kWrite, k, IoError("injected: the disk is gone"));
    if (store->Compact().ok()) break;
    const StorageStats stats = store->Stats();
    ASSERT_TRUE(store->Reopen().ok());
    if (stats.shards[0].series_removed == 1 && store->SeriesIds({}).value().size() == 1) ++lost;
    store.Write(Named("gone"), {{kT + 1, 2}});
    EXPECT_EQ(store.Read(), (Contents{{Named("gone").ToString(), {{kT + 1, Shown(2)}}}}));
  }
  EXPECT_GT(lost, 0) << "no write that failed carried the removal";
}

TEST_F(Reopening, AFailedReopenCanBeRepeated) {
  store_.Write(Named("a"), {{kT, 1}});
  BreakTheLog();
  store_.memory().FailCall(EngineMethod::kOpen, 1, IoError("injected: no directory"));
  const Status failed = store_->Reopen();
  EXPECT_EQ(failed.code(), StatusCode::kIoError) << failed.ToString();
  EXPECT_EQ(store_->Write(MakeSeries(Named("a"), {{kT + 1, 1}})).status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Select({}, {}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Series({}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->LabelNames({}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->LabelValues("a", {}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Exemplars(Named("a"), {}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->SeriesMetadata(Named("a")).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->SeriesIds({}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Delete({Matcher::Equal("a", "b")}, {}).status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Checkpoint().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Compact({.dry_run = true}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Snapshot(store_.directory() / "copy").code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Flush().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(store_->Stats().log_failed);
  const Status again = store_->Reopen();
  ASSERT_TRUE(again.ok()) << again.ToString();
  EXPECT_EQ(store_.Read().size(), 1U);
  store_.Restart();
  EXPECT_EQ(store_.Read().size(), 1U);
}

class OpenTwice : public EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, OpenTwice, AllEngines(), EngineName);
class OpenTwiceOnDisk : public OpenTwice {};
INSTANTIATE_TEST_SUITE_P(Engines, OpenTwiceOnDisk, EnginesWithDirectories(), EngineName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OpenTwiceOnDisk);

TEST_P(OpenTwice, AFailedReopenServesNobodyAndHarmsNothing) {
  store_.Open();
  store_.Write(Named("a"), {{kT, 1}});
  // The manifest is away for a moment, so that opening fails.
  const std::string manifest = store_.path() + "/STORE";
  std::filesystem::rename(manifest, store_.directory() / "away");
  EXPECT_FALSE(store_->Reopen().ok());
  EXPECT_GT(store_->Stats().memory_used_bytes, 0U);  // without the engines, which are closed
  EXPECT_EQ(store_->Select({}, {}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Write(MakeSeries(Named("a"), {{kT + 1, 1}})).status.code(), StatusCode::kUnavailable);
  std::filesystem::rename(store_.directory() / "away", manifest);
  const Status again = store_->Reopen();
  ASSERT_TRUE(again.ok()) << again.ToString();
  EXPECT_EQ(store_.Read().size(), 1U);
}

TEST_P(OpenTwice, ReopeningAHealthyStoreLosesNothing) {
  store_.Open();
  for (int i = 0; i < 50; ++i) store_.Write(Named("s" + std::to_string(i)), {{kT, 1}}, AckLevel::kQueued);
  auto set = store_->Select({}, {});
  ASSERT_TRUE(set.ok());
  ASSERT_TRUE((*set)->Next());
  ASSERT_TRUE(store_->Reopen().ok());
  EXPECT_FALSE((*set)->Next());
  EXPECT_EQ((*set)->status().code(), StatusCode::kUnavailable);
  set->reset();
  EXPECT_EQ(store_.Read().size(), 50U);
}

TEST_P(OpenTwice, AStoreThatHadToBeNewCanBeReopened) {
  store_.options().error_if_exists = true;
  store_.Open();
  store_.Write(Named("a"), {{kT, 1}});
  const Status status = store_->Reopen();
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(store_.Read().size(), 1U);
}

TEST_P(OpenTwiceOnDisk, AReaderBesideALiveWriterSeesWhatWasLogged) {
  store_.options().commit_interval_ms = 100'000;
  store_.Open();
  store_.Write(Named("stored"), {{kT, 1}});
  store_.Checkpoint();
  store_.Write(Named("logged"), {{kT, 1}});
  Options options = store_.options();
  options.read_only = true;
  {
    store_.Write(Named("queued"), {{kT, 1}}, AckLevel::kQueued);
    auto reader = Storage::Open(options, store_.path());
    ASSERT_TRUE(reader.ok()) << reader.status().ToString();
    const Contents seen = {{Named("stored").ToString(), {{kT, Shown(1)}}}, {Named("logged").ToString(), {{kT, Shown(1)}}}};
    EXPECT_EQ(Read(reader->get()), seen);
    EXPECT_EQ((*reader)->LabelValues("__name__", {}).value().values.size(), 2U);
    EXPECT_EQ((*reader)->Write(MakeSeries(Named("x"), {{kT, 1}})).status.code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ((*reader)->Delete({Matcher::Equal("__name__", "stored")}, {}).status.code(), StatusCode::kFailedPrecondition);
    // The writer goes on, files change; the reader keeps what it has.
    for (int i = 0; i < 20; ++i) store_.Write(Named("stored"), {{kT + 1 + i, 1}});
    store_.Checkpoint();
    store_.Compact();
    EXPECT_EQ(Read(reader->get()), seen);
    EXPECT_TRUE((*reader)->Close().ok());
  }
  auto later = Storage::Open(options, store_.path());
  ASSERT_TRUE(later.ok()) << later.status().ToString();
  EXPECT_EQ(Read(later->get()), store_.Read());
  later->reset();
  store_.Restart();
  EXPECT_EQ(store_.Read().size(), 3U);
}

TEST_P(OpenTwice, ASnapshotIsADatabaseOfItsOwn) {
  store_.Open();
  for (int i = 0; i < 30; ++i) store_.Write(Named("s" + std::to_string(i)), {{kT, 1.0 * i}, {kT + 1, 2.0 * i}});
  store_.Checkpoint();
  ASSERT_TRUE(store_->Delete({Matcher::Equal("__name__", "s3")}, {kT, kT + 1}).ok());
  store_.Write(Named("s4"), {{kT + 5, 5}}, AckLevel::kQueued);
  const std::string copy = store_.directory() / "copy";
  const Status snapshot = store_->Snapshot(copy);
  ASSERT_TRUE(snapshot.ok()) << snapshot.ToString();
  const Contents at_snapshot = store_.Read();
  store_.Write(Named("later"), {{kT, 1}});
  store_.Compact();
  {
    auto opened = Storage::Open(store_.options(), copy);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    EXPECT_EQ(Read(opened->get()), at_snapshot);
    EXPECT_TRUE((*opened)->Write(MakeSeries(Named("only in the copy"), {{kT, 1}})).ok());
    EXPECT_TRUE((*opened)->Compact().ok());
    EXPECT_TRUE((*opened)->Close().ok());
  }
  {
    auto again = Storage::Open(store_.options(), copy);
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    EXPECT_EQ(Read(again->get()).size(), at_snapshot.size() + 1);
  }
  EXPECT_EQ(store_.Read().size(), at_snapshot.size() + 1);
  EXPECT_EQ(store_.Read().count(Named("only in the copy").ToString()), 0U);

  const Status exists = store_->Snapshot(copy);
  EXPECT_EQ(exists.code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(exists.message(), HasSubstr(copy));
  store_.Restart();
  EXPECT_EQ(store_.Read().size(), at_snapshot.size() + 1);
}

TEST_P(OpenTwice, AnEmptyStoreCanBeCopied) {
  store_.Open();
  const std::string copy = store_.directory() / "copy";
  ASSERT_TRUE(store_->Snapshot(copy).ok());
  auto opened = Storage::Open(store_.options(), copy);
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  EXPECT_THAT(Read(opened->get()), IsEmpty());
}

}  // namespace
}  // namespace chronolith
