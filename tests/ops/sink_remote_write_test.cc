// Against a receiver within the test that is as strict as Prometheus 2.42: one bad sample drops the whole request.
#include "ops/sink_remote_write.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include "ops/log_pace.h"
#include "tests/interop/remote_write_decoder.h"
#include "tests/support/http_server.h"

namespace chronolith::ops {
namespace {

using interop::RemoteWriteVersion;
using ::testing::AllOf;
using testing::DecodedRequest;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HttpReply;
using testing::HttpRequest;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

constexpr RecordPlace kPlace{.shard = 3, .lsn = 1};

// Takes ascending samples a series; refuses late ones, other values for a time it has, and the series "bad".
class Receiver {
 public:
  HttpReply Take(const HttpRequest& http) {
    const std::lock_guard lock(mutex_);
    const bool two = http.headers.at("x-prometheus-remote-write-version") == "2.0.0";
    const std::string body = testing::Unsnappy(http.body);
    const DecodedRequest request = two ? testing::DecodeRequest2(body) : testing::DecodeRequest1(body);
    ++requests;
    if (!request.error.empty()) return {.status = 415, .body = request.error};
    if (!replies.empty()) {
      const HttpReply reply = replies.front();
      replies.erase(replies.begin());
      if (reply.kind == HttpReply::Kind::kReset && taken_before_reset) Append(request, two);
      return reply;
    }
    return Append(request, two);
  }

  std::mutex mutex_;
  std::map<std::string, std::vector<Sample>> samples;
  std::map<std::string, std::vector<HistogramSample>> histograms;
  std::map<std::string, std::size_t> exemplars;
  std::map<std::string, Metadata> metadata;  // 1.0: by family
  std::vector<std::size_t> sizes;            // samples of each request that was taken
  std::vector<HttpReply> replies;            // given in place of taking anything, one after the other
  bool taken_before_reset = false;
  int requests = 0;
  Timestamp backward_ms_max = kMaxTimestamp;  // older than the newest sample of all by more is refused

 private:
  HttpReply Append(const DecodedRequest& request, bool two) {
    auto next = samples;
    auto next_histograms = histograms;
    std::string bad;
    std::size_t written = 0, written_histograms = 0, written_exemplars = 0;
    for (const TimeSeries& s : request.series) {
      const std::string name = s.labels.ToString();
      for (const Sample& x : s.samples) {
        std::vector<Sample>& have = next[name];
        newest_ = std::max(newest_, x.timestamp);
        if (x.timestamp < newest_ - backward_ms_max) {
          bad = "out of bounds";
          continue;
        }
        if (name == "bad" || (!have.empty() && have.back().timestamp >= x.timestamp)) {
          bad = "out of order sample";
          continue;
        }
        have.push_back(x);
        ++written;
      }
      for (const HistogramSample& x : s.histograms) next_histograms[name].push_back(x), ++written_histograms;
      written_exemplars += s.exemplars.size();
      if (two && !s.metadata.empty()) metadata[name] = s.metadata[0];
    }
    HttpReply reply{.status = bad.empty() ? 204 : 400, .body = bad};
    if (two) {
      reply.headers = {"X-Prometheus-Remote-Write-Samples-Written: " + std::to_string(written),
                       "X-Prometheus-Remote-Write-Histograms-Written: " + std::to_string(written_histograms),
                       "X-Prometheus-Remote-Write-Exemplars-Written: " + std::to_string(written_exemplars)};
    }
    if (!bad.empty() && !two) return reply;
    samples = next;
    histograms = next_histograms;
    for (const TimeSeries& s : request.series) exemplars[s.labels.ToString()] += s.exemplars.size();
    metadata.insert(request.families.begin(), request.families.end());
    sizes.push_back(written);
    return reply;
  }

  Timestamp newest_ = 0;
};

class RemoteWriteSinkTest : public ::testing::Test {
 protected:
  RemoteWriteSinkTest() : server_([this](const HttpRequest& r) { return receiver_.Take(r); }) {
    setenv("no_proxy", "*", 1);
    options_.http.url = server_.url() + "/api/v1/write";
  }

  void Open() {
    auto target = NewRemoteWriteTarget(options_, nullptr, {.sleep = [](std::int64_t, const std::atomic<bool>*) {}});
    ASSERT_TRUE(target.ok()) << target.status().ToString();
    target_ = std::move(*target);
    ASSERT_TRUE(target_->Open("").ok());
    auto sink = target_->NewSink(3);
    ASSERT_TRUE(sink.ok());
    sink_ = std::move(*sink);
  }
  // Tells the series `ordinal` under a name.
  void Series(Ordinal ordinal, std::string_view name) {
    const Labels labels{{"__name__", name}};
    const SeriesEntry entry{ordinal, &labels};
    ASSERT_TRUE(sink_->OnSeries(kPlace, {&entry, 1}).ok());
  }
  Status Samples(const std::vector<SampleEntry>& samples) { return sink_->OnSamples(kPlace, samples); }
  Delivered Flush() {
    Delivered d;
    const Status s = sink_->Flush(&d);
    EXPECT_TRUE(s.ok()) << s.ToString();
    return d;
  }
  std::vector<Timestamp> Times(const std::string& name) {
    std::vector<Timestamp> times;
    for (const Sample& s : receiver_.samples[name]) times.push_back(s.timestamp);
    return times;
  }

  Receiver receiver_;
  testing::HttpServer server_;
  RemoteWriteTargetOptions options_;
  std::unique_ptr<RecordTarget> target_;
  std::unique_ptr<RecordSink> sink_;
};

SampleEntry At(Ordinal ordinal, Timestamp t, double value = 1) { return {.ordinal = ordinal, .timestamp = t, .value = value}; }

TEST_F(RemoteWriteSinkTest, RequestsAreBoundedAndComeInOrder) {
  options_.items_per_request = 100;
  Open();
  Series(0, "a");
  Series(1, "b");
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(Samples({At(0, i, i), At(1, i, -i)}).ok());
  EXPECT_EQ(receiver_.requests, 9) << "the last hundred waits";
  const Delivered d = Flush();
  EXPECT_EQ(d.sent, 1000U);
  EXPECT_EQ(d.skipped + d.refused, 0U);
  EXPECT_THAT(receiver_.sizes, AllOf(SizeIs(10), Each(100)));
  ASSERT_THAT(receiver_.samples["a"], SizeIs(500));
  for (int i = 0; i < 500; ++i) EXPECT_EQ(receiver_.samples["a"][static_cast<std::size_t>(i)].value, i);
  EXPECT_EQ(Flush().sent, 0U);
  EXPECT_EQ(receiver_.requests, 10) << "nothing is sent twice";
}

TEST_F(RemoteWriteSinkTest, RequestsAreBoundedInBytes) {
  options_.bytes_per_request = 50'000;
  Open();
  for (Ordinal i = 0; i < 100; ++i) {
    Series(i, std::string(5000, 'n') + std::to_string(i));
    ASSERT_TRUE(Samples({At(i, 1)}).ok());
  }
  EXPECT_EQ(Flush().sent, 100U);
  EXPECT_THAT(receiver_.sizes, Each(Le(10U)));
}

TEST_F(RemoteWriteSinkTest, OnlyWhatIsRefusedIsLost) {
  Open();
  for (Ordinal i = 0; i < 20; ++i) Series(i, i == 13 ? "bad" : "s" + std::to_string(i));
  std::vector<SampleEntry> samples;
  for (Timestamp t = 1; t <= 50; ++t) {
    for (Ordinal i = 0; i < 20; ++i) samples.push_back(At(i, t));
  }
  receiver_.samples["s4"] = {{25, 0}};  // has seen half of it
  ASSERT_TRUE(Samples(samples).ok());
  const Delivered d = Flush();
  EXPECT_EQ(d.sent, 18U * 50 + 25);
  EXPECT_EQ(d.refused, 50U + 25);
  EXPECT_THAT(d.reasons, AllOf(SizeIs(Delivered::kReasonsMax), Each(HasSubstr("answers 400: out of order sample"))));
  EXPECT_THAT(d.reasons[0], HasSubstr("s4: "));
  for (Ordinal i = 0; i < 20; ++i) {
    if (i == 13) continue;
    EXPECT_THAT(receiver_.samples["s" + std::to_string(i)], SizeIs(i == 4 ? 26 : 50)) << i;
  }
}

TEST_F(RemoteWriteSinkTest, LateSamplesAreSortedAndTheLastOfOneTimeWins) {
  Open();
  Series(0, "a");
  ASSERT_TRUE(Samples({At(0, 5, 50), At(0, 3, 30), At(0, 5, 51), At(0, 4, 40), At(0, 5, 52), At(0, 6, 60)}).ok());
  const Delivered d = Flush();
  EXPECT_EQ(d.sent, 4U);
  EXPECT_EQ(d.skipped, 2U);
  EXPECT_EQ(d.refused, 0U);
  EXPECT_THAT(Times("a"), ElementsAre(3, 4, 5, 6));
  EXPECT_EQ(receiver_.samples["a"][2].value, 52);
}

TEST_F(RemoteWriteSinkTest, EveryKindIsSent) {
  Open();
  Series(7, "h_bucket");
  IntHistogram ints;
  ints.count = 3;
  ints.positive_spans = {{0, 1}};
  ints.positive_deltas = {3};
  const HistogramSample histogram{10, ints};
  const Exemplar exemplar{.labels = {{"trace_id", "x"}}, .value = 1, .timestamp = 9};
  const Metadata metadata{.type = MetricType::kHistogram, .unit = "", .help = "Help."};
  const HistogramEntry h{7, &histogram};
  const ExemplarEntry e{7, &exemplar};
  const MetadataEntry m{7, &metadata};
  ASSERT_TRUE(sink_->OnMetadata(kPlace, {&m, 1}).ok());
  ASSERT_TRUE(sink_->OnHistograms(kPlace, {&h, 1}).ok());
  ASSERT_TRUE(sink_->OnExemplars(kPlace, {&e, 1}).ok());
  const Delivered d = Flush();
  EXPECT_EQ(d.sent, 3U);
  EXPECT_EQ(d.skipped, 0U);
  ASSERT_THAT(receiver_.histograms["h_bucket"], SizeIs(1));
  EXPECT_EQ(std::get<IntHistogram>(receiver_.histograms["h_bucket"][0].histogram), ints);
  EXPECT_EQ(receiver_.exemplars["h_bucket"], 1U);
  EXPECT_EQ(receiver_.metadata["h"], metadata);
}

TEST_F(RemoteWriteSinkTest, AReceiverOf2SaysItselfWhatItKept) {
  options_.http.version = RemoteWriteVersion::k2;
  Open();
  Series(0, "good");
  Series(1, "bad");
  ASSERT_TRUE(Samples({At(0, 1), At(1, 1), At(0, 2), At(1, 2), At(1, 3)}).ok());
  const Delivered d = Flush();
  EXPECT_EQ(d.sent, 2U);
  EXPECT_EQ(d.refused, 3U);
  EXPECT_EQ(receiver_.requests, 1);
  EXPECT_THAT(Times("good"), ElementsAre(1, 2));
}

TEST_F(RemoteWriteSinkTest, WhatAReceiverOf2DidNotKeepIsFoundAlsoBehindASuccess) {
  options_.http.version = RemoteWriteVersion::k2;
  Open();
  Series(0, "a");
  receiver_.replies = {{.headers = {"X-Prometheus-Remote-Write-Samples-Written: 1"}}};
  ASSERT_TRUE(Samples({At(0, 1), At(0, 2)}).ok());
  const Delivered d = Flush();
  EXPECT_EQ(d.sent, 1U);
  EXPECT_EQ(d.refused, 1U);
}

TEST_F(RemoteWriteSinkTest, MetadataOf2WaitsForASampleOfItsSeries) {
  options_.http.version = RemoteWriteVersion::k2;
  options_.items_per_request = 2;
  Open();
  Series(0, "a");
  Series(1, "b");
  const Metadata metadata{.type = MetricType::kGauge, .unit = "", .help = "Help."};
  const MetadataEntry both[] = {{0, &metadata}, {1, &metadata}};
  ASSERT_TRUE(sink_->OnMetadata(kPlace, both).ok());
  ASSERT_TRUE(Samples({At(0, 1)}).ok());  // the request is full: b, without a sample, is carried, and so is a
  const Delivered d = Flush();
  EXPECT_EQ(receiver_.metadata["a"], metadata);
  EXPECT_EQ(receiver_.metadata.count("b"), 0U);
  EXPECT_EQ(d.sent, 2U);
  EXPECT_EQ(d.skipped, 1U);
}

TEST_F(RemoteWriteSinkTest, ALostAnswerIsNamedWhereTheSecondAttemptIsRefused) {
  receiver_.taken_before_reset = true;
  receiver_.replies = {{.kind = HttpReply::Kind::kReset}};
  Open();
  Series(0, "a");
  ASSERT_TRUE(Samples({At(0, 1), At(0, 2)}).ok());
  const Delivered d = Flush();
  EXPECT_THAT(Times("a"), ElementsAre(1, 2));
  EXPECT_EQ(d.refused, 2U);
  EXPECT_THAT(d.reasons, Each(HasSubstr("it may have been taken then")));
}

TEST_F(RemoteWriteSinkTest, WhereNothingGetsThroughTheReplayEnds) {
  options_.refused_in_a_row_max = 30;
  Open();
  Series(0, "bad");
  std::vector<SampleEntry> samples;
  for (Timestamp t = 1; t <= 1000; ++t) samples.push_back(At(0, t));
  ASSERT_TRUE(Samples(samples).ok());
  Delivered d;
  const Status s = sink_->Flush(&d);
  EXPECT_EQ(s.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(s.message(), HasSubstr("the last 30 items were refused"));
  EXPECT_LT(receiver_.requests, 100);
}

TEST_F(RemoteWriteSinkTest, WhatIsNoRefusalOfContentEndsTheShardAndIsNotCounted) {
  Open();
  Series(0, "a");
  receiver_.replies = {{.status = 401, .body = "who are you?"}};
  ASSERT_TRUE(Samples({At(0, 1)}).ok());
  Delivered d;
  EXPECT_EQ(sink_->Flush(&d).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(d.sent + d.refused + d.skipped, 0U);
  EXPECT_EQ(receiver_.requests, 1);
}

TEST_F(RemoteWriteSinkTest, ForgottenSeriesAreSentWithTheLabelsTheyHad) {
  Open();
  Series(0, "a");
  ASSERT_TRUE(Samples({At(0, 1)}).ok());
  sink_->OnForgetSeries();
  Series(0, "a");
  ASSERT_TRUE(Samples({At(0, 2)}).ok());
  EXPECT_EQ(Flush().sent, 2U);
  EXPECT_THAT(Times("a"), ElementsAre(1, 2));
}

TEST_F(RemoteWriteSinkTest, WhatWaitsForTheNextRequestOutlivesItsForgottenSeries) {
  options_.http.version = RemoteWriteVersion::k2;
  options_.items_per_request = 3;
  Open();
  for (Ordinal i = 0; i < 100; ++i) Series(i, "s" + std::to_string(i));
  const Metadata metadata{.type = MetricType::kGauge, .unit = "", .help = "Help."};
  const MetadataEntry of70{70, &metadata};
  ASSERT_TRUE(sink_->OnMetadata(kPlace, {&of70, 1}).ok());
  ASSERT_TRUE(Samples({At(3, 1), At(5, 1), At(4, 1)}).ok());  // 4 begins the second request
  sink_->OnForgetSeries();
  for (const Ordinal i : {70, 4, 9}) Series(i, "s" + std::to_string(i));
  ASSERT_TRUE(Samples({At(70, 1), At(4, 2), At(9, 1)}).ok());
  const Delivered d = Flush();
  EXPECT_EQ(d.sent, 7U);
  EXPECT_EQ(d.skipped + d.refused, 0U);
  EXPECT_THAT(Times("s4"), ElementsAre(1, 2));
  EXPECT_THAT(Times("s70"), ElementsAre(1));
  EXPECT_THAT(Times("s9"), ElementsAre(1));
  EXPECT_EQ(receiver_.metadata["s70"], metadata);
}

TEST_F(RemoteWriteSinkTest, NoShardRunsAwayFromTheOthers) {
  receiver_.backward_ms_max = LogPace::kAheadMs;
  options_.items_per_request = 10;
  Open();
  ASSERT_TRUE(target_->sinks_move_together());
  target_->ExpectSinks(2);
  auto second = target_->NewSink(4);
  ASSERT_TRUE(second.ok());
  std::unique_ptr<RecordSink> sinks[] = {std::move(sink_), std::move(*second)};
  Delivered delivered[2];
  const auto run = [&](std::size_t k) {
    const Labels labels{{"__name__", k == 0 ? "a" : "b"}};
    const SeriesEntry series{0, &labels};
    EXPECT_TRUE(sinks[k]->OnSeries(kPlace, {&series, 1}).ok());
    for (Timestamp t = 0; t < 1000; ++t) {
      const SampleEntry sample = At(0, t * 60'000 * (k == 0 ? 1 : 7));  // b gets to where a never is
      EXPECT_TRUE(sinks[k]->OnSamples(kPlace, {&sample, 1}).ok());
    }
    EXPECT_TRUE(sinks[k]->Flush(&delivered[k]).ok());
    sinks[k].reset();
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  EXPECT_EQ(delivered[0].sent, 1000U) << delivered[0].reasons.size();
  EXPECT_EQ(delivered[1].sent, 1000U);
}

TEST(RemoteWriteTarget, IsNamedWithoutThePassword) {
  RemoteWriteTargetOptions options;
  options.http.url = "http://user:secret@127.0.0.1:9/api/v1/write";
  auto target = NewRemoteWriteTarget(options, nullptr);
  ASSERT_TRUE(target.ok());
  EXPECT_EQ((*target)->name(), "remote-write:http://127.0.0.1:9/api/v1/write");
  options.http.url = "nonsense";
  EXPECT_EQ(NewRemoteWriteTarget(options, nullptr).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chronolith::ops
