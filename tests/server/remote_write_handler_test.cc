// Remote write as a function of a request: what is answered, and what the store holds then.
#include "server/remote_write_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <functional>
#include <thread>

#include "chronolith/engine_registry.h"
#include "interop/proto_writer.h"
#include "interop/remote_compression.h"
#include "plugins/memory/memory_engine.h"
#include "tests/interop/remote_write_encode.h"
#include "tests/support/gate.h"
#include "tests/support/stale_references.h"
#include "tests/support/temp_directory.h"

namespace chronolith::server {
namespace {

using interop::ProtoWriter;
using interop::RemoteWriteVersion;
using testing::EncodeRemoteWrite;
using ::testing::HasSubstr;

constexpr const char* kType1 = "application/x-protobuf";
constexpr const char* kType2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
constexpr std::int64_t kNow = 1'700'000'000'000;

class FixedClock : public Clock {
 public:
  std::int64_t NowMs() const override { return kNow; }
};

std::string HeaderOf(const HttpResponse& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "(none)";
}

IntHistogram SomeHistogram() { return {.zero_count = 2, .count = 5, .sum = 3, .positive_spans = {{0, 1}}, .positive_deltas = {3}}; }

class RemoteWriteHandlerTest : public ::testing::Test {
 protected:
  RemoteWriteHandlerTest() { store_options_.shards = 4; }
  void Open() {
    store_options_.engine = "memory";
    auto storage = Storage::Open(store_options_, dir_ / "db");
    ASSERT_TRUE(storage.ok()) << storage.status().ToString();
    storage_ = std::move(*storage);
    options_.clock = std::make_shared<FixedClock>();
    handler_ = std::make_unique<RemoteWriteHandler>(storage_.get(), options_, &in_flight_, &registry_);
  }
  void TearDown() override {
    handler_.reset();
    EXPECT_EQ(in_flight_.used_bytes(), 0U);
  }
  HttpResponse Post(std::string_view message, const std::string& type = kType1, Pairs more = {}) {
    HttpRequest request{.method = "POST",
                        .headers = {{"Content-Type", type}, {"Content-Encoding", "snappy"}},
                        .body = interop::CompressBlock(message)};
    request.headers.insert(request.headers.end(), more.begin(), more.end());
    return handler_->Handle(request);
  }
  HttpResponse Post(RemoteWriteVersion version, const std::vector<TimeSeries>& series) {
    return Post(EncodeRemoteWrite(version, series), version == RemoteWriteVersion::k1 ? kType1 : kType2);
  }
  // "{labels} t=value ..." of all series, sorted.
  std::vector<std::string> Stored() {
    std::vector<std::string> all;
    auto set = storage_->Select({}, {});
    EXPECT_TRUE(set.ok());
    while ((*set)->Next()) {
      std::string text = (*set)->labels().ToString();
      SampleIterator& samples = (*set)->samples();
      for (ValueType type = samples.Next(); type != ValueType::kNone; type = samples.Next()) {
        text += " " + std::to_string(samples.timestamp()) + "=";
        if (type == ValueType::kFloat) {
          const double value = samples.value();
          text += std::bit_cast<std::uint64_t>(value) == kStaleNaNBits ? "stale" : std::to_string(static_cast<int>(value));
        } else {
          text += std::get<IntHistogram>(samples.histogram()) == SomeHistogram() ? "histogram" : "another histogram";
        }
      }
      all.push_back(text);
    }
    return all;
  }

  const testing_support::TempDirectory dir_;
  Options store_options_;
  RemoteWriteHandlerOptions options_;
  MemoryBudget in_flight_{64 << 20};
  prometheus::Registry registry_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<RemoteWriteHandler> handler_;
};

std::string Counts(const HttpResponse& response) {
  const std::string prefix = "X-Prometheus-Remote-Write-";
  return HeaderOf(response, prefix + "Samples-Written") + " " + HeaderOf(response, prefix + "Histograms-Written") + " " +
         HeaderOf(response, prefix + "Exemplars-Written");
}

TEST_F(RemoteWriteHandlerTest, StoresBothVersionsTwiceTheSame) {
  Open();
  TimeSeries up{.labels = {{"__name__", "up"}, {"job", "node"}},
                .samples = {{kNow - 1000, 1}, {kNow, std::bit_cast<double>(kStaleNaNBits)}}};
  up.exemplars = {{.labels = {{"trace_id", "x"}}, .value = 1, .timestamp = kNow}};
  up.metadata = {{.type = MetricType::kGauge, .unit = "", .help = "Whether it is up."}};
  TimeSeries h{.labels = {{"__name__", "h"}}};
  h.histograms = {{kNow, SomeHistogram()}};
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    for (int round = 0; round < 2; ++round) {  // cold, and from the cache
      const HttpResponse response = Post(version, {up, h});
      EXPECT_EQ(response.status, 204) << response.body;
      EXPECT_EQ(response.body, "");
      EXPECT_EQ(Counts(response), "2 1 1");
    }
  }
  const std::string t = std::to_string(kNow), before = std::to_string(kNow - 1000);
  EXPECT_THAT(Stored(), ::testing::ElementsAre("h " + t + "=histogram", "up{job=\"node\"} " + before + "=1 " + t + "=stale"));
  EXPECT_EQ(storage_->Exemplars(up.labels, {})->size(), 1U);
  const auto metadata = storage_->SeriesMetadata(up.labels);
  ASSERT_TRUE(metadata.ok() && metadata->has_value());
  EXPECT_EQ(**metadata, up.metadata[0]);
}

TEST_F(RemoteWriteHandlerTest, RefusesWhatIsNoRemoteWrite) {
  Open();
  const std::string message = EncodeRemoteWrite(RemoteWriteVersion::k1, {});
  struct Case {
    const char* type;
    const char* encoding;
    int status;
  };
  const Case cases[] = {
      {"application/x-protobuf", "snappy", 204},
      {"application/x-protobuf;proto=prometheus.WriteRequest", "snappy", 204},
      {"application/x-protobuf; proto=io.prometheus.write.v2.Request", "snappy", 204},
      {"Application/X-Protobuf; charset=x; proto=prometheus.WriteRequest", "Snappy", 204},
      {"application/x-protobuf; proto=\"io.prometheus.write.v2.Request\"", "snappy", 204},
      {"application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy", 415},
      {"application/x-protobuf;proto=\"", "snappy", 415},
      {"application/json", "snappy", 415},
      {" ", "snappy", 415},
      {"application/x-protobuf", "gzip", 415},
      {"application/x-protobuf", "identity", 415},
  };
  for (const Case& c : cases) {
    const HttpRequest request{.headers = {{"Content-Type", c.type}, {"Content-Encoding", c.encoding}},
                              .body = interop::CompressBlock(message)};
    const HttpResponse response = handler_->Handle(request);
    EXPECT_EQ(response.status, c.status) << c.type << " " << c.encoding;
    EXPECT_EQ(Counts(response), "0 0 0") << c.type << " " << c.encoding;
  }
  EXPECT_EQ(Post("\x0a\x7f").status, 400);
  HttpRequest request{.headers = {{"Content-Type", kType1}, {"Content-Encoding", "snappy"}}};
  for (const std::string& body :
       {std::string(), std::string("\xff\xff\xff\xff\xff\xff\xff"), std::string("\x05zzz"), std::string("\x80")}) {
    request.body = body;
    const HttpResponse response = handler_->Handle(request);
    EXPECT_EQ(response.status, 400) << body.size();
    EXPECT_EQ(Counts(response), "0 0 0") << body.size();
  }
}

// What the server answers before it asks the handler.
TEST_F(RemoteWriteHandlerTest, RefusalsOfTheServerHaveCountsToo) {
  Open();
  Router router;
  handler_->AddTo(&router);
  HttpResponse refusal = HttpResponse::Text(413, "too large");
  router.Shape({.path = "/api/v1/write"}, &refusal);
  EXPECT_EQ(refusal.status, 413);
  EXPECT_EQ(refusal.body, "too large\n");
  EXPECT_EQ(Counts(refusal), "0 0 0");
}

TEST_F(RemoteWriteHandlerTest, WhatIsNotUtf8IsEscapedInTheRefusal) {
  Open();
  const HttpResponse response =
      Post(RemoteWriteVersion::k1, {{.labels = {{"__name__", "m"}, {"bad", "a\xff\xc3\xa4"}}, .samples = {{kNow, 1}}}});
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("a\\xff\xc3\xa4"));
  EXPECT_EQ(response.body.find('\xff'), std::string::npos);
}

TEST_F(RemoteWriteHandlerTest, LegacyNamesAreThoseOfOlderPrometheus) {
  const auto post = [&](const char* metric, const char* label) {
    return Post(RemoteWriteVersion::k1, {{.labels = {{"__name__", metric}, {label, "x"}}, .samples = {{kNow, 1}}},
                                         {.labels = {{"__name__", "good:name"}}, .samples = {{kNow, 1}}}});
  };
  Open();
  EXPECT_EQ(post("m", "jo-b").status, 204);
  EXPECT_EQ(post("m.x", "job").status, 204);
  options_.names = NameValidation::kLegacy;
  handler_ = std::make_unique<RemoteWriteHandler>(storage_.get(), options_, &in_flight_, &registry_);
  struct Case {
    const char *metric, *label, *error;
  };
  for (const Case& c : {Case{"m", "jo-b", "label name \"jo-b\""}, Case{"m.x", "job", "the metric name \"m.x\""},
                        Case{"m", "a:b", "label name \"a:b\""}, Case{"1m", "job", "the metric name \"1m\""}}) {
    const HttpResponse response = post(c.metric, c.label);
    EXPECT_EQ(response.status, 400) << c.error;
    EXPECT_THAT(response.body, HasSubstr(c.error));
    EXPECT_EQ(Counts(response), "1 0 0") << c.error;
  }
  EXPECT_EQ(post("m", "job").status, 204);
}

// One of them is stored: the other must not count as written.
TEST_F(RemoteWriteHandlerTest, OfASampleAndAHistogramOfOneTimeTheSecondIsRefused) {
  Open();
  TimeSeries both{.labels = {{"__name__", "m"}}, .samples = {{kNow - 1, 1}, {kNow, 1}}};
  both.histograms = {{kNow, SomeHistogram()}, {kNow + 1, SomeHistogram()}};
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    const HttpResponse response = Post(version, {both});
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(Counts(response), "2 1 0");
    EXPECT_THAT(response.body, HasSubstr("the histogram at " + std::to_string(kNow) + " comes with a sample of that time"));
  }
  const std::string stored =
      "m " + std::to_string(kNow - 1) + "=1 " + std::to_string(kNow) + "=1 " + std::to_string(kNow + 1) + "=histogram";
  EXPECT_THAT(Stored(), ::testing::ElementsAre(stored));
  // As two series of one message.
  const TimeSeries histogram{.labels = {{"__name__", "n"}}, .histograms = {{kNow, SomeHistogram()}}};
  const TimeSeries sample{.labels = {{"__name__", "n"}}, .samples = {{kNow, 1}}};
  const HttpResponse response = Post(RemoteWriteVersion::k2, {histogram, sample});
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(Counts(response), "0 1 0");
}

TEST_F(RemoteWriteHandlerTest, AMessageOfTheOtherVersionIsNotTakenForAnEmptyOne) {
  Open();
  const TimeSeries m{.labels = {{"__name__", "m"}}, .samples = {{kNow, 1}}};
  const HttpResponse as1 = Post(EncodeRemoteWrite(RemoteWriteVersion::k2, std::vector<TimeSeries>{m}), kType1);
  const HttpResponse as2 = Post(EncodeRemoteWrite(RemoteWriteVersion::k1, std::vector<TimeSeries>{m}), kType2);
  EXPECT_EQ(as1.status, 400);
  EXPECT_EQ(as2.status, 400);
  EXPECT_EQ(Counts(as1), "0 0 0");
  EXPECT_THAT(as1.body, HasSubstr("where the Content-Type says prometheus.WriteRequest"));
  EXPECT_THAT(as2.body, HasSubstr("where the Content-Type says io.prometheus.write.v2.Request"));
  EXPECT_THAT(Stored(), ::testing::IsEmpty());
}

TEST_F(RemoteWriteHandlerTest, WithoutHeadersItIsVersion1AndSnappy) {
  Open();
  const std::string body = interop::CompressBlock(
      EncodeRemoteWrite(RemoteWriteVersion::k1, std::vector<TimeSeries>{{.labels = {{"__name__", "m"}}, .samples = {{kNow, 1}}}}));
  EXPECT_EQ(handler_->Handle({.body = body}).status, 204);
  EXPECT_THAT(Stored(), ::testing::ElementsAre("m " + std::to_string(kNow) + "=1"));
  EXPECT_EQ(handler_->Handle({.headers = {{"Content-Type", "application/x-protobuf"}}, .body = body}).status, 204);
  EXPECT_EQ(handler_->Handle({.headers = {{"Content-Encoding", "snappy"}}, .body = body}).status, 204);
  EXPECT_EQ(handler_->Handle({.body = "no snappy"}).status, 400);
}

TEST_F(RemoteWriteHandlerTest, LooksAtTheDecodedSizeBeforeItDecodes) {
  options_.decoded_bytes_max = 1000;
  Open();
  EXPECT_EQ(Post(std::string(1001, 'x')).status, 413);
  // A header that promises 4 GiB, and nothing behind it.
  const HttpRequest bomb{.headers = {{"Content-Type", kType1}, {"Content-Encoding", "snappy"}}, .body = "\xff\xff\xff\xff\x0f"};
  EXPECT_EQ(handler_->Handle(bomb).status, 413);
  EXPECT_EQ(Counts(handler_->Handle(bomb)), "0 0 0");
}

TEST_F(RemoteWriteHandlerTest, BoundsWhatReferencesOfItemsStandFor) {
  options_.decoded_bytes_max = 100 << 10;
  Open();
  TimeSeries m{.labels = {{"__name__", "m"}}, .samples = {{kNow, 1}}};
  const Exemplar exemplar{.labels = {{"n", std::string(1000, 'v')}}, .value = 1, .timestamp = kNow};
  m.exemplars.assign(300, exemplar);
  EXPECT_EQ(Post(RemoteWriteVersion::k2, {m}).status, 204);
  m.exemplars.assign(1000, exemplar);
  const HttpResponse response = Post(RemoteWriteVersion::k2, {m});
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("409600 bytes"));
}

TEST_F(RemoteWriteHandlerTest, AnswersOverloadWhereTheMemoryIsTaken) {
  Open();
  in_flight_.ForceReserve(64 << 20);
  const HttpResponse response = Post(std::string(100, 'x'));
  in_flight_.Release(64 << 20);
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(HeaderOf(response, "Retry-After"), "1");
}

TEST_F(RemoteWriteHandlerTest, WhatNeverFitsIsNotTriedAgain) {
  Open();
  const std::string message =
      EncodeRemoteWrite(RemoteWriteVersion::k1, std::vector<TimeSeries>{{.labels = {{"__name__", "m"}}, .samples = {{kNow, 1}}}});
  const std::size_t body = interop::CompressBlock(message).size();
  // The message itself, and then what a batch of it takes, each beside the body.
  for (const std::uint64_t limit : {body + message.size() - 1, body + message.size() + 100}) {
    MemoryBudget small(limit);
    small.ForceReserve(body);  // as the server does, meanwhile
    prometheus::Registry registry;
    RemoteWriteHandler handler(storage_.get(), options_, &small, &registry);
    const HttpResponse response =
        handler.Handle({.method = "POST", .headers = {{"Content-Type", kType1}}, .body = interop::CompressBlock(message)});
    EXPECT_EQ(response.status, 413) << response.body;
    EXPECT_EQ(HeaderOf(response, "Retry-After"), "(none)");
    EXPECT_THAT(response.body, HasSubstr("--max-in-flight-bytes"));
    EXPECT_EQ(small.used_bytes(), body);
  }
  EXPECT_TRUE(Stored().empty());
  EXPECT_EQ(Post(message).status, 204);
}

TEST_F(RemoteWriteHandlerTest, KeepsWhatIsGoodOfARequest) {
  Open();
  std::vector<TimeSeries> series(5);
  series[0] = {.labels = {{"__name__", "good"}}, .samples = {{kNow, 1}}};
  series[1] = {.labels = {{"__name__", "future"}}, .samples = {{kNow + 600'001, 1}, {kNow + 600'000, 2}}};
  series[2] = {.labels = {{"job", "nameless"}}, .samples = {{kNow, 1}}};
  series[3] = {.labels = {{"__name__", "long"}, {"v", std::string(3000, 'v')}}, .samples = {{kNow, 1}}};
  series[4] = {.labels = {{"__name__", "also_good"}}, .samples = {{kNow, 1}}};
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    const HttpResponse response = Post(version, series);
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(Counts(response), "3 0 0");
    EXPECT_THAT(response.body, HasSubstr("3 refused, 3 written"));
    EXPECT_THAT(response.body, HasSubstr("future: the sample at 1700000600001 is too far in the future"));
    EXPECT_THAT(response.body, HasSubstr("no metric name"));
    EXPECT_THAT(response.body, HasSubstr("long{v="));
  }
  const std::string t = std::to_string(kNow);
  EXPECT_THAT(Stored(), ::testing::ElementsAre("also_good " + t + "=1", "future 1700000600000=2", "good " + t + "=1"));
}

// A message of one series of labels alone; the encoder of 1.0 passes such a series over.
std::string Bare(RemoteWriteVersion version, const Labels& labels) {
  if (version == RemoteWriteVersion::k2) return EncodeRemoteWrite(version, std::vector<TimeSeries>{{.labels = labels}});
  std::string series, out;
  interop::AppendRemoteWriteLabels(labels, &series);
  ProtoWriter(&out).BytesAlways(1, series);
  return out;
}

TEST_F(RemoteWriteHandlerTest, ASeriesThatBringsNothingIsNotMade) {
  Open();
  std::vector<TimeSeries> series(3);
  series[0] = {.labels = {{"__name__", "told"}}};
  series[0].metadata = {{.type = MetricType::kGauge, .unit = "", .help = "Help."}};
  series[1] = {.labels = {{"__name__", "traced"}}};  // an exemplar is something
  series[1].exemplars = {{.labels = {{"trace_id", "x"}}, .value = 1, .timestamp = kNow}};
  series[2] = {.labels = {{"__name__", "full"}}, .samples = {{kNow, 1}}};
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    const char* const type = version == RemoteWriteVersion::k1 ? kType1 : kType2;
    for (int round = 0; round < 2; ++round) {
      const HttpResponse bare = Post(Bare(version, {{"__name__", "bare"}, {"round", std::to_string(round)}}), type);
      EXPECT_EQ(bare.status, 204) << bare.body;
      EXPECT_EQ(Counts(bare), "0 0 0");
      const HttpResponse response = Post(version, series);
      EXPECT_EQ(response.status, 204) << response.body;
      EXPECT_EQ(Counts(response), "1 0 1");
    }
    const HttpResponse early =
        Post(version, {{.labels = {{"__name__", "early"}}, .samples = {{kNow + 600'001, 1}, {kNow + 700'000, 2}}}});
    EXPECT_EQ(early.status, 400);
    EXPECT_THAT(early.body, HasSubstr("2 refused, 0 written"));
    const HttpResponse nameless = Post(Bare(version, {{"job", "nameless"}}), type);
    EXPECT_EQ(nameless.status, 400) << type;
    EXPECT_THAT(nameless.body, HasSubstr("no metric name"));
  }
  EXPECT_THAT(storage_->LabelValues("__name__", {}, {})->values, ::testing::ElementsAre("full", "traced"));
}

TEST_F(RemoteWriteHandlerTest, MetadataWithoutSamplesIsKeptOfASeriesThatIsThere) {
  Open();
  TimeSeries m{.labels = {{"__name__", "m"}}};
  ASSERT_TRUE(storage_->Write({.labels = m.labels, .samples = {{kNow, 1}}}).ok());  // the cache has not seen it
  m.metadata = {{.type = MetricType::kGauge, .unit = "", .help = "First."}};
  for (const char* help : {"First.", "Second."}) {  // and then it has
    m.metadata[0].help = help;
    EXPECT_EQ(Post(RemoteWriteVersion::k2, {m}).status, 204);
    const auto found = storage_->SeriesMetadata(m.labels);
    ASSERT_TRUE(found.ok() && found->has_value());
    EXPECT_EQ((*found)->help, help);
  }
}

TEST_F(RemoteWriteHandlerTest, MetadataWithoutSamplesDoesNotWaitForReplay) {
  store_options_.engines = std::make_shared<EngineRegistry>();  // whose factory keeps what the store held
  ASSERT_TRUE(store_options_.engines->Register(MakeMemoryEngineFactory()).ok());
  Open();
  TimeSeries m{.labels = {{"__name__", "m"}}};
  ASSERT_TRUE(storage_->Write({.labels = m.labels, .samples = {{kNow, 1}}}).ok());
  handler_.reset();
  storage_.reset();
  Gate gate;
  gate.Close();
  store_options_.wait_for_replay = false;
  store_options_.on_replay = [&](const ReplayProgress& progress) {
    if (progress.done) gate.Pass();
  };
  Open();
  m.metadata = {{.type = MetricType::kGauge, .unit = "", .help = "Help."}};
  const HttpResponse early = Post(RemoteWriteVersion::k2, {m});
  EXPECT_EQ(early.status, 429);
  EXPECT_THAT(early.body, HasSubstr("still being replayed"));
  gate.Open();
  ASSERT_TRUE(storage_->WaitReady().ok());
  EXPECT_EQ(Post(RemoteWriteVersion::k2, {m}).status, 204);
  EXPECT_TRUE(storage_->SeriesMetadata(m.labels)->has_value());
  handler_.reset();
  storage_.reset();  // before the gate
}

TEST_F(RemoteWriteHandlerTest, SortsLabelsDropsEmptyOnesAndRefusesDoubles) {
  Open();
  const auto message = [](const std::vector<std::pair<const char*, const char*>>& labels) {
    std::string series, out;
    ProtoWriter to(&series);
    for (const auto& [name, value] : labels) to.NestedPair(1, 1, name, 2, value);
    to.Nested(2, [&] { to.Int(2, kNow); });
    ProtoWriter(&out).BytesAlways(1, series);
    return out;
  };
  EXPECT_EQ(Post(message({{"z", "1"}, {"__name__", "m"}, {"empty", ""}})).status, 204);
  EXPECT_EQ(Post(message({{"__name__", "m"}, {"z", "1"}})).status, 204);
  EXPECT_THAT(Stored(), ::testing::ElementsAre("m{z=\"1\"} " + std::to_string(kNow) + "=0"));
  const HttpResponse twice = Post(message({{"__name__", "m"}, {"a", "1"}, {"a", "2"}}));
  EXPECT_EQ(twice.status, 400);
  EXPECT_THAT(twice.body, HasSubstr("\"a\" stands twice"));
  EXPECT_EQ(Post(message({{"__name__", "m"}, {"a", "\xff"}})).status, 400);
  EXPECT_EQ(Stored().size(), 1U);
}

TEST_F(RemoteWriteHandlerTest, ASeriesLimitIsNoReasonToTryAgain) {
  store_options_.max_series = 2;
  Open();
  std::vector<TimeSeries> series;
  for (const char* name : {"a", "b", "c"}) series.push_back({.labels = {{"__name__", name}}, .samples = {{kNow, 1}}});
  const HttpResponse response = Post(RemoteWriteVersion::k1, series);
  EXPECT_EQ(response.status, 400) << response.body;
  EXPECT_EQ(Counts(response), "2 0 0");
}

TEST_F(RemoteWriteHandlerTest, AtTheSeriesLimitAFullDiskIsStillAReasonToTryAgain) {
  std::atomic<bool> full{false};
  AdversarialOptions adversary;
  adversary.on_call = [&](EngineMethod method, const std::string&) {
    return full && method == EngineMethod::kWrite ? ResourceExhausted("the disk is full") : Status::Ok();
  };
  store_options_.engines = std::make_shared<EngineRegistry>();
  ASSERT_TRUE(store_options_.engines->Register(MakeAdversarialMemoryEngineFactory(adversary)).ok());
  store_options_.max_series = 1;
  store_options_.ring_bytes = 64 << 10;
  store_options_.backpressure_wait_ms = 1;
  Open();
  std::vector<TimeSeries> series = {{.labels = {{"__name__", "m"}}}};
  for (int i = 0; i < 1000; ++i) series[0].samples.push_back({kNow - i, 1 / (1.0 + i)});
  ASSERT_EQ(Post(RemoteWriteVersion::k1, series).status, 204);
  full = true;
  const std::string message = EncodeRemoteWrite(RemoteWriteVersion::k1, series);
  HttpResponse response{.status = 204};
  for (int i = 0; i < 1000 && response.status == 204; ++i) {  // until the ring is full
    response = Post(message, kType1, {{"X-Chronolith-Ack-Level", "queued"}});
  }
  full = false;
  EXPECT_EQ(response.status, 429) << response.body;
  EXPECT_THAT(response.body, HasSubstr("ring"));
  handler_.reset();
  storage_.reset();  // before what its engine asks
}

TEST_F(RemoteWriteHandlerTest, TakesTheLevelOfTheRequest) {
  Open();
  const std::string message =
      EncodeRemoteWrite(RemoteWriteVersion::k1, std::vector<TimeSeries>{{.labels = {{"__name__", "m"}}, .samples = {{kNow, 1}}}});
  for (const char* level : {"queued", "logged", "synced"}) {
    EXPECT_EQ(Post(message, kType1, {{"X-Chronolith-Ack-Level", level}}).status, 204) << level;
  }
  std::uint64_t synced = 0;
  for (const ShardStats& shard : storage_->Stats().shards) synced += shard.write_latency[static_cast<int>(AckLevel::kSynced)].count;
  EXPECT_EQ(synced, 1U);
  EXPECT_EQ(Post(message, kType1, {{"X-Chronolith-Ack-Level", "maybe"}}).status, 400);
}

TEST_F(RemoteWriteHandlerTest, MetadataOfAFamilyReachesItsSeriesNewOnesToo) {
  Open();
  const auto bucket = [](const char* le) { return Labels{{"__name__", "lat_bucket"}, {"le", le}}; };
  std::string metadata;
  ProtoWriter to(&metadata);
  to.Nested(3, [&] {
    to.Uint(1, 3);  // a histogram
    to.Bytes(2, "lat");
    to.Bytes(4, "Latency.");
  });
  const auto has = [&](const Labels& labels) {
    const auto found = storage_->SeriesMetadata(labels);
    return found.ok() && found->has_value() && (*found)->help == "Latency." && (*found)->type == MetricType::kHistogram;
  };
  ASSERT_EQ(Post(RemoteWriteVersion::k1, {{.labels = bucket("1"), .samples = {{kNow, 1}}}}).status, 204);
  EXPECT_EQ(Post(metadata).status, 204);  // as Prometheus sends it: alone
  EXPECT_TRUE(has(bucket("1")));
  ASSERT_EQ(Post(RemoteWriteVersion::k1, {{.labels = bucket("2"), .samples = {{kNow, 1}}}}).status, 204);
  EXPECT_FALSE(has(bucket("2")));
  const auto items = [&] {
    std::uint64_t records = 0;
    for (const ShardStats& shard : storage_->Stats().shards) records += shard.wal_records;
    return records;
  };
  EXPECT_EQ(Post(metadata).status, 204);
  EXPECT_TRUE(has(bucket("2")));
  const std::uint64_t told = items();
  EXPECT_EQ(Post(metadata).status, 204);
  EXPECT_EQ(items(), told);  // all have been told
}

std::string MetadataOf(int type, std::string_view family, std::string_view help) {
  std::string message;
  ProtoWriter to(&message);
  to.Nested(3, [&] {
    to.Uint(1, static_cast<std::uint64_t>(type));
    to.Bytes(2, family);
    to.Bytes(4, help);
  });
  return message;
}

TEST_F(RemoteWriteHandlerTest, MetadataThatComesBeforeTheFirstSeriesWaitsForIt) {
  Open();
  const auto help = [&](const Labels& labels) {
    const auto found = storage_->SeriesMetadata(labels);
    return found.ok() && found->has_value() ? (*found)->help : "(none)";
  };
  EXPECT_EQ(Post(MetadataOf(1, "requests_total", "First.")).status, 204);
  EXPECT_EQ(Post(MetadataOf(1, "requests_total", "Requests.")).status, 204);  // the later counts
  EXPECT_EQ(Post(MetadataOf(3, "lat", "Latency.")).status, 204);
  EXPECT_EQ(Post(MetadataOf(2, "other", "A gauge.")).status, 204);
  const Labels total{{"__name__", "requests_total"}}, bucket{{"__name__", "lat_bucket"}, {"le", "1"}},
      no_histogram{{"__name__", "other_bucket"}};
  for (const Labels& labels : {total, no_histogram}) {
    EXPECT_EQ(Post(RemoteWriteVersion::k1, {{.labels = labels, .samples = {{kNow, 1}}}}).status, 204);
  }
  EXPECT_EQ(Post(RemoteWriteVersion::k2, {{.labels = bucket, .samples = {{kNow, 1}}}}).status, 204);
  EXPECT_EQ(help(total), "Requests.");
  EXPECT_EQ(help(bucket), "Latency.");
  EXPECT_EQ(help(no_histogram), "(none)") << "a gauge has no buckets";
  // In one message, metadata in front.
  const std::string both = MetadataOf(2, "late", "Late.") +
                           EncodeRemoteWrite(RemoteWriteVersion::k1,
                                             std::vector<TimeSeries>{{.labels = {{"__name__", "late"}}, .samples = {{kNow, 1}}}});
  EXPECT_EQ(Post(both).status, 204);
  EXPECT_EQ(help({{"__name__", "late"}}), "Late.");
}

TEST_F(RemoteWriteHandlerTest, OfMetadataWithoutSeriesTheLongestUnsentMakesRoom) {
  Open();
  const std::string text(16'000, 'x');
  constexpr int kFamilies = 1000;  // twice what may wait
  for (int i = 0; i < kFamilies; ++i) {
    const HttpResponse response = Post(MetadataOf(2, "m" + std::to_string(i), text));
    EXPECT_EQ(response.status, 204) << response.body;
    EXPECT_EQ(Post(MetadataOf(2, "m0", text)).status, 204);  // as a sender does, again and again
  }
  const auto waited = [&](int i) {
    const Labels labels = {{"__name__", "m" + std::to_string(i)}};
    EXPECT_EQ(Post(RemoteWriteVersion::k1, {{.labels = labels, .samples = {{kNow, 1}}}}).status, 204);
    const auto found = storage_->SeriesMetadata(labels);
    return found.ok() && found->has_value();
  };
  EXPECT_TRUE(waited(0));
  EXPECT_FALSE(waited(1));
  EXPECT_FALSE(waited(kFamilies / 4));
  EXPECT_TRUE(waited(kFamilies - 400));
  EXPECT_TRUE(waited(kFamilies - 1));
}

TEST_F(RemoteWriteHandlerTest, MetadataThatAnOpeningHasLostIsWrittenWhenItComesAgain) {
  Open();
  TimeSeries m{.labels = {{"__name__", "m"}}, .samples = {{kNow, 1}}};
  m.metadata = {{.type = MetricType::kGauge, .unit = "", .help = "Help."}};
  const auto help = [&] {
    const auto found = storage_->SeriesMetadata(m.labels);
    return found.ok() && found->has_value() ? (*found)->help : "(none)";
  };
  const auto lose = [&] {  // as a crash of what was only queued
    ASSERT_TRUE(storage_->Write(std::vector<TimeSeries>{{.labels = m.labels, .metadata = {{.help = "Older."}}}}).ok());
    ASSERT_EQ(help(), "Older.");
  };
  const auto send1 = [&] { ASSERT_EQ(Post(MetadataOf(2, "m", "Help.")).status, 204); };
  const auto send2 = [&] { ASSERT_EQ(Post(RemoteWriteVersion::k2, {m}).status, 204); };
  send2();
  for (const std::function<void()>& send : {std::function<void()>(send1), std::function<void()>(send2)}) {
    send();
    lose();
    send();
    EXPECT_EQ(help(), "Older.") << "told already";
    handler_->ForgetTold();
    send();
    EXPECT_EQ(help(), "Help.");
  }
}

TEST_F(RemoteWriteHandlerTest, WhatIsResolvedAgainIsRefusedOnce) {
  store_options_.shards = 1;
  Open();
  TimeSeries m{.labels = {{"__name__", "m"}}, .samples = {{kNow, 1}}};
  ASSERT_EQ(Post(RemoteWriteVersion::k2, {m}).status, 204);
  testing_support::ExpireReferences(storage_.get(), kNow);
  m.samples = {{kNow + 365LL * 24 * 3600 * 1000, 2}};  // too far in the future, whatever its reference
  m.metadata = {{.type = MetricType::kGauge, .unit = "", .help = "New, with an expired reference."}};
  const HttpResponse response = Post(RemoteWriteVersion::k2, {m});
  EXPECT_EQ(response.status, 400) << response.body;
  EXPECT_THAT(response.body, HasSubstr("1 refused, 0 written"));
}

TEST_F(RemoteWriteHandlerTest, MetadataOfALargeFamilyIsWrittenInPieces) {
  store_options_.shards = 1;
  Open();
  constexpr int kSeries = 9000;  // two commits of 4,096, and one of the rest
  std::vector<TimeSeries> series;
  for (int i = 0; i < kSeries; ++i)
    series.push_back({.labels = {{"__name__", "m"}, {"i", std::to_string(i)}}, .samples = {{kNow, 1}}});
  ASSERT_EQ(Post(RemoteWriteVersion::k1, series).status, 204);
  std::string metadata;
  ProtoWriter to(&metadata);
  to.Nested(3, [&] {
    to.Uint(1, 2);  // a gauge
    to.Bytes(2, "m");
    to.Bytes(4, "Help.");
  });
  const auto commits = [&] { return storage_->Stats().shards[0].write_latency[static_cast<int>(AckLevel::kLogged)].count; };
  const std::uint64_t before = commits();
  EXPECT_EQ(Post(metadata).status, 204);
  EXPECT_EQ(commits() - before, 3U);
  for (int i = 0; i < kSeries; i += 500) {
    const auto found = storage_->SeriesMetadata(series[static_cast<std::size_t>(i)].labels);
    ASSERT_TRUE(found.ok() && found->has_value()) << i;
    EXPECT_EQ((*found)->help, "Help.");
  }
}

TEST_F(RemoteWriteHandlerTest, ASeriesOfAnyLengthIsWrittenWithinTheMemoryOfABatch) {
  constexpr std::size_t kSamples = 300'000;
  std::vector<TimeSeries> series = {{.labels = {{"__name__", "m"}}}};
  for (std::size_t i = 0; i < kSamples; ++i) series[0].samples.push_back({kNow - static_cast<Timestamp>(i), 1});
  const std::string message = EncodeRemoteWrite(RemoteWriteVersion::k1, series);
  MemoryBudget little(message.size() + (8 << 20));  // all of them at once take 30 MiB
  Open();
  handler_ = std::make_unique<RemoteWriteHandler>(storage_.get(), options_, &little, &registry_);
  const HttpResponse response = Post(message);
  EXPECT_EQ(response.status, 204) << response.body;
  EXPECT_EQ(Counts(response), std::to_string(kSamples) + " 0 0");
  EXPECT_EQ(little.used_bytes(), 0U);
  auto set = storage_->Select({}, {});
  ASSERT_TRUE(set.ok() && (*set)->Next());
  std::size_t stored = 0;
  while ((*set)->samples().Next() != ValueType::kNone) ++stored;
  EXPECT_EQ(stored, kSamples);
  EXPECT_FALSE((*set)->Next());
}

TEST_F(RemoteWriteHandlerTest, WhatABatchTakesIsCountedBesideTheMessage) {
  Open();
  // Two bytes each in the message, hundreds in the store's batch.
  std::string items, out;
  for (int i = 0; i < 10'000; ++i) items += std::string("\x1a\x00", 2);
  std::string one;
  ProtoWriter(&one).NestedPair(1, 1, "__name__", 2, "m");
  ProtoWriter(&out).BytesAlways(1, one + items);
  in_flight_.ForceReserve(in_flight_.limit_bytes() - out.size() - (1 << 20));
  const HttpResponse response = Post(out);
  EXPECT_EQ(response.status, 429) << response.body;
  EXPECT_EQ(HeaderOf(response, "Retry-After"), "1");
  EXPECT_EQ(Counts(response), "0 0 0");
  in_flight_.Release(in_flight_.used_bytes());
  EXPECT_NE(Post(out).status, 429);
}

TEST_F(RemoteWriteHandlerTest, WhatRequestsLeaveBehindIsCountedAndBounded) {
  Open();
  const std::string small =
      EncodeRemoteWrite(RemoteWriteVersion::k1, std::vector<TimeSeries>{{.labels = {{"__name__", "m"}}, .samples = {{kNow, 1}}}});
  EXPECT_EQ(handler_->idle_bytes(), 0U);
  ASSERT_EQ(Post(small).status, 204);
  EXPECT_GT(handler_->idle_bytes(), small.size());
  EXPECT_LT(handler_->idle_bytes(), 100U << 10);
  // A small message of many samples, each of two bytes: the buffer says nothing of the rest.
  std::string one, many;
  ProtoWriter(&one).NestedPair(1, 1, "__name__", 2, "m");
  for (int i = 0; i < 60'000; ++i) one += std::string("\x12\x00", 2);
  ProtoWriter(&many).BytesAlways(1, one);
  EXPECT_NE(Post(many).status, 429);
  EXPECT_GT(handler_->idle_bytes(), 60'000 * sizeof(Sample));
  EXPECT_LE(handler_->idle_bytes(), 12U << 20);
  // Too large to be kept.
  const std::string large = small + std::string("\x42\x80\x80\x80\x04", 5) + std::string(8 << 20, 'x');  // an unknown field
  EXPECT_EQ(Post(large).status, 204);
  EXPECT_EQ(handler_->idle_bytes(), 0U);
  ASSERT_EQ(Post(small).status, 204);
}

TEST_F(RemoteWriteHandlerTest, ReferencesThatHaveExpiredAreResolvedOnceMore) {
  store_options_.shards = 1;
  Open();
  TimeSeries m{.labels = {{"__name__", "m"}}, .samples = {{kNow, 1}}};
  m.exemplars = {{.labels = {{"trace_id", "x"}}, .value = 1, .timestamp = kNow}};
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    ASSERT_EQ(Post(version, {m}).status, 204);
    testing_support::ExpireReferences(storage_.get(), kNow);
    ASSERT_TRUE(Stored().empty());
    const HttpResponse response = Post(version, {m});
    EXPECT_EQ(response.status, 204) << response.body;
    EXPECT_EQ(Counts(response), "1 0 1");
    EXPECT_THAT(Stored(), ::testing::ElementsAre("m " + std::to_string(kNow) + "=1"));
    EXPECT_EQ(storage_->Exemplars(m.labels, {})->size(), 1U);
  }
}

// The caches have it for told.
TEST_F(RemoteWriteHandlerTest, MetadataStaysWithSeriesThatAreRemovedAndWrittenAgain) {
  Open();
  TimeSeries m1{.labels = {{"__name__", "m1"}}, .samples = {{kNow, 1}}};
  TimeSeries m2{.labels = {{"__name__", "m2"}}, .samples = {{kNow, 1}}};
  const Metadata of_m2{MetricType::kCounter, "bytes", "Of its series."};
  m2.metadata = {of_m2};
  for (int removal = 0; removal < 3; ++removal) {
    SCOPED_TRACE(removal);
    for (int again = 0; again < 2; ++again) {
      ASSERT_EQ(Post(RemoteWriteVersion::k1, {m1}).status, 204);
      ASSERT_EQ(Post(MetadataOf(2, "m1", "Of its family.")).status, 204);
      ASSERT_EQ(Post(RemoteWriteVersion::k2, {m2}).status, 204);
      EXPECT_EQ(storage_->SeriesMetadata(m1.labels).value(), (Metadata{MetricType::kGauge, "", "Of its family."}));
      EXPECT_EQ(storage_->SeriesMetadata(m2.labels).value(), of_m2);
    }
    ASSERT_TRUE(storage_->Delete({Matcher::Regex("__name__", ".+")}, {}).ok());
    ASSERT_TRUE(storage_->Compact().ok());
    ASSERT_EQ(storage_->SeriesMetadata(m2.labels).status().code(), StatusCode::kNotFound);
  }
}

TEST_F(RemoteWriteHandlerTest, ManyAtOnceLoseNothing) {
  options_.cache_bytes = 64 << 10;  // most series are looked up again each time
  Open();
  constexpr int kThreads = 4, kRounds = 20, kSeries = 300;
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        std::vector<TimeSeries> series;
        for (int s = 0; s < kSeries; ++s) {
          series.push_back({.labels = {{"__name__", "m"}, {"s", std::to_string(s)}}, .samples = {{kNow - t * 1000 - round, 1}}});
        }
        if (Post(round % 2 == 0 ? RemoteWriteVersion::k1 : RemoteWriteVersion::k2, series).status != 204) failed.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed.load(), 0);
  auto set = storage_->Select({}, {});
  ASSERT_TRUE(set.ok());
  int series = 0;
  for (; (*set)->Next(); ++series) {
    int samples = 0;
    while ((*set)->samples().Next() != ValueType::kNone) ++samples;
    EXPECT_EQ(samples, kThreads * kRounds);
  }
  EXPECT_EQ(series, kSeries);
}

}  // namespace
}  // namespace chronolith::server
