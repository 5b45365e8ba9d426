// The receiver's decoder: against the encoder of the sender, and against bytes made by hand.
#include "interop/remote_write_decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>

#include "interop/proto_writer.h"
#include "tests/interop/remote_write_encode.h"

namespace chronolith::interop {
namespace {

using testing::EncodeRemoteWrite;
using ::testing::HasSubstr;

// Everything of a message, as the receiver understands it.
struct Read {
  Status status;
  std::vector<TimeSeries> series;
  std::vector<std::pair<std::string, Metadata>> families;
};

Read ReadAll(RemoteWriteVersion version, std::string_view message) {
  Read read;
  RemoteWriteDecoder decoder(version, message);
  read.status = decoder.Begin();
  for (RemoteWriteBatch batch; read.status.ok();) {
    read.status = decoder.Next(&batch);
    if (!read.status.ok() || batch.empty()) break;
    std::size_t sample = 0, item = 0;
    for (const RemoteWriteBatch::Series& s : batch.series) {
      TimeSeries series;
      std::string encoded;
      if (Status status = NormalizeLabels(version, batch.LabelsOf(s), &encoded); !status.ok()) return read.status = status, read;
      series.labels = Labels::FromEncoded(encoded);
      for (; sample < s.samples_end; ++sample) series.samples.push_back(batch.samples[sample]);
      for (; item < s.items_end; ++item) {
        const RemoteWriteBatch::Item& i = batch.items[item];
        Status status;
        if (i.kind == RemoteWriteBatch::ItemKind::kHistogram) {
          status = DecodeHistogram(i.payload, &series.histograms.emplace_back());
        } else if (i.kind == RemoteWriteBatch::ItemKind::kExemplar) {
          status = DecodeExemplar(version, i.payload, decoder.symbols(), &series.exemplars.emplace_back());
        } else {
          status = DecodeMetadata2(i.payload, decoder.symbols(), &series.metadata.emplace_back());
        }
        if (!status.ok()) return read.status = status, read;
      }
      read.series.push_back(std::move(series));
    }
    for (const std::string_view payload : batch.metadata) {
      auto& [family, metadata] = read.families.emplace_back();
      if (Status status = DecodeMetadata1(payload, &family, &metadata); !status.ok()) return read.status = status, read;
    }
  }
  return read;
}

IntHistogram SomeHistogram() {
  return {.reset_hint = CounterResetHint::kGauge,
          .schema = -2,
          .zero_threshold = 1e-3,
          .zero_count = 7,
          .count = 20,
          .sum = -3.5,
          .positive_spans = {{-5, 2}, {3, 1}},
          .negative_spans = {{0, 1}},
          .positive_deltas = {4, -2, 5},
          .negative_deltas = {2}};
}

std::vector<TimeSeries> SomeSeries() {
  std::vector<TimeSeries> series(3);
  series[0].labels = {{"__name__", "up"}, {"job", "a \"b\""}, {"zone", "\xc3\xa4"}};
  series[0].samples = {{1700000000000, 1.5}, {-5, -0.0}, {0, std::bit_cast<double>(kStaleNaNBits)}};
  series[0].exemplars = {{.labels = {{"trace_id", "abc"}}, .value = 3, .timestamp = 17}};
  series[0].metadata = {{.type = MetricType::kCounter, .unit = "seconds", .help = "How \xe2\x82\xac"}};
  series[1].labels = {{"__name__", "h"}};
  FloatHistogram floats{.schema = kCustomBucketsSchema,
                        .count = 3.5,
                        .sum = 1,
                        .positive_spans = {{0, 2}},
                        .positive_counts = {1.5, 2},
                        .custom_values = {0.5, 1}};
  series[1].histograms = {{100, SomeHistogram()}, {200, floats}};
  series[2].labels = {{"__name__", "up"}, {"job", "c"}};
  series[2].samples = {{1, 2}};
  return series;
}

TEST(RemoteWriteDecoder, ReadsWhatTheSenderWrites) {
  const std::vector<TimeSeries> written = SomeSeries();
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    const Read read = ReadAll(version, EncodeRemoteWrite(version, written));
    ASSERT_TRUE(read.status.ok()) << read.status.ToString();
    ASSERT_EQ(read.series.size(), written.size());
    for (std::size_t i = 0; i < written.size(); ++i) {
      EXPECT_EQ(read.series[i].labels, written[i].labels);
      ASSERT_EQ(read.series[i].samples.size(), written[i].samples.size());
      for (std::size_t k = 0; k < written[i].samples.size(); ++k) {
        EXPECT_EQ(read.series[i].samples[k].timestamp, written[i].samples[k].timestamp);
        EXPECT_EQ(std::bit_cast<std::uint64_t>(read.series[i].samples[k].value),
                  std::bit_cast<std::uint64_t>(written[i].samples[k].value));
      }
      ASSERT_EQ(read.series[i].histograms.size(), written[i].histograms.size());
      for (std::size_t k = 0; k < written[i].histograms.size(); ++k) {
        EXPECT_EQ(read.series[i].histograms[k].timestamp, written[i].histograms[k].timestamp);
        EXPECT_TRUE(read.series[i].histograms[k].histogram == written[i].histograms[k].histogram) << i << " " << k;
      }
      EXPECT_EQ(read.series[i].exemplars, written[i].exemplars);
    }
    if (version == RemoteWriteVersion::k1) {
      ASSERT_EQ(read.families.size(), 1U);
      EXPECT_EQ(read.families[0].first, "up");
      EXPECT_EQ(read.families[0].second, written[0].metadata[0]);
    } else {
      EXPECT_EQ(read.series[0].metadata, written[0].metadata);
    }
  }
}

std::string LabelMessage(std::string_view name, std::string_view value) {
  std::string out;
  ProtoWriter(&out).NestedPair(1, 1, name, 2, value);
  return out;
}

std::string SeriesMessage(const std::string& content) {
  std::string out;
  ProtoWriter(&out).BytesAlways(1, content);
  return out;
}

TEST(RemoteWriteDecoder, LabelsAreSortedAndEmptyOnesDropped) {
  const std::string sample("\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x05", 13);
  struct Case {
    std::string content;
    Labels labels;
  };
  const std::string name = LabelMessage("__name__", "m"), a = LabelMessage("a", "1"), b = LabelMessage("b", "2");
  const Case cases[] = {
      {name + a + b + sample, {{"__name__", "m"}, {"a", "1"}, {"b", "2"}}},
      {b + a + name + sample, {{"__name__", "m"}, {"a", "1"}, {"b", "2"}}},
      {a + sample + name, {{"__name__", "m"}, {"a", "1"}}},  // apart from each other
      {sample + name + b, {{"__name__", "m"}, {"b", "2"}}},
      {name + LabelMessage("x", "") + a, {{"__name__", "m"}, {"a", "1"}}},
      {name + std::string("\x0a\x08\x0a\x01z\x12\x01y\x18\x07", 10), {{"__name__", "m"}, {"z", "y"}}},  // a field to come
  };
  for (const Case& c : cases) {
    const Read read = ReadAll(RemoteWriteVersion::k1, SeriesMessage(c.content));
    ASSERT_TRUE(read.status.ok()) << read.status.ToString();
    ASSERT_EQ(read.series.size(), 1U);
    EXPECT_EQ(read.series[0].labels, c.labels) << read.series[0].labels.ToString();
  }
}

TEST(RemoteWriteDecoder, SeriesWithTheSameLabelsHaveTheSameBytes) {
  const std::string name = LabelMessage("__name__", "m"), a = LabelMessage("a", "1");
  const std::string sample("\x12\x02\x10\x05", 4);
  const std::string message =
      SeriesMessage(name + a + sample) + SeriesMessage(name + a) + SeriesMessage(name + sample + a) + SeriesMessage(a + name);
  RemoteWriteDecoder decoder(RemoteWriteVersion::k1, message);
  RemoteWriteBatch batch;
  ASSERT_TRUE(decoder.Begin().ok());
  ASSERT_TRUE(decoder.Next(&batch).ok());
  ASSERT_EQ(batch.series.size(), 4U);
  EXPECT_EQ(batch.LabelsOf(batch.series[0]), batch.LabelsOf(batch.series[1]));
  EXPECT_EQ(batch.LabelsOf(batch.series[0]), batch.LabelsOf(batch.series[2]));
  EXPECT_NE(batch.LabelsOf(batch.series[0]), batch.LabelsOf(batch.series[3]));
}

TEST(RemoteWriteDecoder, TakesBigMessagesInBatches) {
  std::string message;
  const int n = static_cast<int>(RemoteWriteDecoder::kBatchSeries) * 2 + 5;
  for (int i = 0; i < n; ++i)
    message += SeriesMessage(LabelMessage("__name__", "m" + std::to_string(i)) + std::string("\x12\x02\x10\x05", 4));
  RemoteWriteDecoder decoder(RemoteWriteVersion::k1, message);
  ASSERT_TRUE(decoder.Begin().ok());
  int batches = 0, series = 0;
  for (RemoteWriteBatch batch; decoder.Next(&batch).ok() && !batch.empty(); ++batches) {
    EXPECT_LE(batch.series.size(), RemoteWriteDecoder::kBatchSeries);
    EXPECT_EQ(batch.series.size(), batch.samples.size());
    series += static_cast<int>(batch.series.size());
  }
  EXPECT_EQ(series, n);
  EXPECT_EQ(batches, 3);
}

// What is left of one series of several batches.
struct Pieces {
  Status status;
  int batches = 0;
  std::vector<Sample> samples;
  std::size_t items = 0;
};

Pieces PiecesOf(RemoteWriteVersion version, std::string_view message, const Labels& labels) {
  Pieces all;
  RemoteWriteDecoder decoder(version, message);
  all.status = decoder.Begin();
  for (RemoteWriteBatch batch; all.status.ok(); ++all.batches) {
    all.status = decoder.Next(&batch);
    if (!all.status.ok() || batch.empty()) break;
    EXPECT_LE(batch.samples.size(), RemoteWriteDecoder::kBatchSamples);
    EXPECT_LE(batch.items.size(), RemoteWriteDecoder::kBatchItems);
    std::string encoded;
    for (const RemoteWriteBatch::Series& s : batch.series) {
      EXPECT_TRUE(NormalizeLabels(version, batch.LabelsOf(s), &encoded).ok());
      EXPECT_EQ(Labels::FromEncoded(encoded), labels);
    }
    EXPECT_EQ(batch.series.back().samples_end, batch.samples.size());
    EXPECT_EQ(batch.series.back().items_end, batch.items.size());
    all.samples.insert(all.samples.end(), batch.samples.begin(), batch.samples.end());
    all.items += batch.items.size();
  }
  return all;
}

TEST(RemoteWriteDecoder, ALongSeriesComesInPiecesWithTheSameLabels) {
  TimeSeries series{.labels = {{"__name__", "m"}, {"a", "1"}, {"b", "2"}}};
  const std::size_t samples = 2 * RemoteWriteDecoder::kBatchSamples + 5, exemplars = RemoteWriteDecoder::kBatchItems + 1;
  for (std::size_t i = 0; i < samples; ++i) series.samples.push_back({static_cast<Timestamp>(i), 0.5});
  series.exemplars.assign(exemplars, {.labels = {}, .value = 1, .timestamp = 2});
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    const Pieces all = PiecesOf(version, EncodeRemoteWrite(version, std::vector<TimeSeries>{series}), series.labels);
    ASSERT_TRUE(all.status.ok()) << all.status.ToString();
    EXPECT_EQ(all.batches, 4);
    EXPECT_EQ(all.items, exemplars);
    ASSERT_EQ(all.samples.size(), samples);
    for (std::size_t i = 0; i < samples; ++i) ASSERT_EQ(all.samples[i].timestamp, static_cast<Timestamp>(i));
  }
}

// No encoder writes them so, but they may.
TEST(RemoteWriteDecoder, LabelsOfALongSeriesMayStandBehindItsSamples) {
  const std::size_t n = RemoteWriteDecoder::kBatchSamples + 7;
  std::string samples;
  for (std::size_t i = 0; i < n; ++i) samples += std::string("\x12\x02\x10\x05", 4);
  const std::string message =
      SeriesMessage(LabelMessage("__name__", "m") + samples.substr(0, samples.size() / 2 / 4 * 4) + LabelMessage("a", "1") +
                    samples.substr(samples.size() / 2 / 4 * 4) + LabelMessage("b", "2"));
  const Pieces all = PiecesOf(RemoteWriteVersion::k1, message, {{"__name__", "m"}, {"a", "1"}, {"b", "2"}});
  ASSERT_TRUE(all.status.ok()) << all.status.ToString();
  EXPECT_EQ(all.batches, 2);
  EXPECT_EQ(all.samples.size(), n);
}

TEST(RemoteWriteDecoder, NothingIsTakenOfALongSeriesThatIsMalformedAtItsEnd) {
  std::string samples;
  for (std::size_t i = 0; i < RemoteWriteDecoder::kBatchSamples + 7; ++i) samples += std::string("\x12\x02\x10\x05", 4);
  const std::string message = SeriesMessage(LabelMessage("__name__", "m") + samples + std::string("\x12\x02\x08\x01", 4));
  RemoteWriteDecoder decoder(RemoteWriteVersion::k1, message);
  ASSERT_TRUE(decoder.Begin().ok());
  RemoteWriteBatch batch;
  EXPECT_EQ(decoder.Next(&batch).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(batch.samples.empty());
}

TEST(RemoteWriteDecoder, LabelsOfABatchAreBoundedInBothVersions) {
  std::vector<TimeSeries> series(100);
  for (std::size_t i = 0; i < series.size(); ++i) {
    series[i] = {.labels = {{"__name__", "m"}, {"v", std::string(100 << 10, static_cast<char>('a' + i % 26))}},
                 .samples = {{1, 1}}};
  }
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    const std::string message = EncodeRemoteWrite(version, series);
    RemoteWriteDecoder decoder(version, message);
    ASSERT_TRUE(decoder.Begin().ok());
    std::size_t all = 0;
    for (RemoteWriteBatch batch; decoder.Next(&batch).ok() && !batch.empty();) {
      std::size_t bytes = 0;
      for (const RemoteWriteBatch::Series& s : batch.series) bytes += batch.LabelsOf(s).size();
      EXPECT_LE(bytes, RemoteWriteDecoder::kBatchBytes + RemoteWriteDecoder::kLabelsBytesMax);
      all += batch.series.size();
    }
    EXPECT_EQ(all, series.size());
  }
}

TEST(RemoteWriteDecoder, OneItemIsBoundedBeforeItIsDecoded) {
  std::string labels, encoded;
  for (int i = 0; i < 70; ++i) labels += LabelMessage("n" + std::to_string(i), std::string(4000, 'v'));
  EXPECT_EQ(NormalizeLabels(RemoteWriteVersion::k1, LabelMessage("__name__", "m") + labels, &encoded).code(),
            StatusCode::kInvalidArgument);
  // Empty spans: two bytes each, eight in memory.
  std::string spans;
  for (std::size_t i = 0; i <= kHistogramBytesMax / 2; ++i) spans += std::string("\x5a\x00", 2);
  HistogramSample histogram;
  EXPECT_EQ(DecodeHistogram(spans, &histogram).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(DecodeHistogram(spans.substr(0, kHistogramBytesMax), &histogram).ok());
}

TEST(RemoteWriteDecoder, RefusesWhatIsMalformed) {
  const std::string good1 = EncodeRemoteWrite(RemoteWriteVersion::k1, SomeSeries());
  struct Case {
    const char* what;
    std::string message;
  };
  const Case cases[] = {
      {"a series that is cut off", good1.substr(0, good1.size() - 1)},
      {"a series longer than the message", std::string("\x0a\x7f", 2)},
      {"a length of 2^64 - 1", std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11)},
      {"a varint without an end", std::string("\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 12)},
      {"series as a number", std::string("\x08\x01", 2)},
      {"a group", std::string("\x13\x14", 2)},
      {"field 0", std::string("\x02\x00", 2)},
      {"a sample's value as a number", SeriesMessage(LabelMessage("__name__", "m") + std::string("\x12\x02\x08\x01", 4))},
      {"a value that is cut off", SeriesMessage(LabelMessage("__name__", "m") + std::string("\x12\x03\x09\x01\x01", 5))},
      {"a label as a number", SeriesMessage(std::string("\x08\x01", 2))},
      {"a label's name as a number", SeriesMessage(std::string("\x0a\x02\x08\x01", 4))},
      {"a name twice", SeriesMessage(LabelMessage("__name__", "m") + LabelMessage("a", "1") + LabelMessage("a", "1"))},
      {"no metric name", SeriesMessage(LabelMessage("a", "1"))},
      {"no labels", SeriesMessage("")},
      {"a histogram's count as bytes", SeriesMessage(LabelMessage("__name__", "m") + std::string("\x22\x02\x0a\x00", 4))},
      {"a reset hint of 4", SeriesMessage(LabelMessage("__name__", "m") + std::string("\x22\x02\x70\x04", 4))},
      {"metadata without a family", std::string("\x1a\x02\x08\x01", 4)},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(ReadAll(RemoteWriteVersion::k1, c.message).status.code(), StatusCode::kInvalidArgument) << c.what;
  }
}

TEST(RemoteWriteDecoder, AMessageOfTheOtherVersionIsRefusedRatherThanEmpty) {
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    const RemoteWriteVersion other = version == RemoteWriteVersion::k1 ? RemoteWriteVersion::k2 : RemoteWriteVersion::k1;
    const Status status = ReadAll(version, EncodeRemoteWrite(other, SomeSeries())).status;
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("where the Content-Type says")) << status.message();
  }
  const std::string unknown("\x32\x01x\x38\x05", 5);  // fields 6 and 7, of a version to come
  EXPECT_TRUE(ReadAll(RemoteWriteVersion::k1, unknown).status.ok());
  EXPECT_TRUE(ReadAll(RemoteWriteVersion::k2, unknown).status.ok());
}

// Request{4: symbols, 5: series}
std::string Request2(std::vector<std::string> symbols, const std::vector<std::uint32_t>& refs) {
  std::string out, series;
  ProtoWriter(&series).PackedUint(1, refs);
  ProtoWriter writer(&out);
  for (const std::string& symbol : symbols) writer.BytesAlways(4, symbol);
  writer.BytesAlways(5, series);
  return out;
}

TEST(RemoteWriteDecoder, ChecksReferencesToSymbols) {
  const std::vector<std::string> symbols = {"", "__name__", "m", "a", "1"};
  EXPECT_EQ(ReadAll(RemoteWriteVersion::k2, Request2(symbols, {3, 4, 1, 2})).series.at(0).labels,
            (Labels{{"__name__", "m"}, {"a", "1"}}));
  struct Case {
    std::string message;
    const char* text;
  };
  const std::string long_value(RemoteWriteDecoder::kLabelsBytesMax, 'x');
  const Case cases[] = {
      {Request2(symbols, {1, 2, 3}), "odd number"},           {Request2(symbols, {1, 5}), "beyond the 5"},
      {Request2(symbols, {1, 0xffffffff}), "beyond the 5"},   {Request2({}, {0, 0}), "beyond the 0"},
      {Request2({"x", "__name__", "m"}, {1, 2}), "symbol 0"}, {Request2({"", "__name__", long_value}, {1, 2}), "more than"},
  };
  for (const Case& c : cases) {
    const Read read = ReadAll(RemoteWriteVersion::k2, c.message);
    EXPECT_EQ(read.status.code(), StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(read.status.message(), HasSubstr(c.text));
  }
  // Symbols may stand behind what refers to them.
  const std::string message = Request2(symbols, {1, 2});
  const std::size_t series_at = message.size() - 6;
  EXPECT_EQ(ReadAll(RemoteWriteVersion::k2, message.substr(series_at) + message.substr(0, series_at)).series.size(), 1U);
}

TEST(DecodeExemplar, ChecksReferencesToSymbols) {
  Exemplar exemplar;
  const std::vector<std::string_view> symbols = {"", "trace_id", "abc"};
  EXPECT_TRUE(DecodeExemplar(RemoteWriteVersion::k2, std::string_view("\x0a\x02\x01\x02", 4), symbols, &exemplar).ok());
  EXPECT_EQ(exemplar.labels, (Labels{{"trace_id", "abc"}}));
  for (const std::string_view bad : {std::string_view("\x0a\x01\x01", 3), std::string_view("\x0a\x02\x01\x03", 4)}) {
    EXPECT_EQ(DecodeExemplar(RemoteWriteVersion::k2, bad, symbols, &exemplar).code(), StatusCode::kInvalidArgument);
  }
  Metadata metadata;
  EXPECT_FALSE(DecodeMetadata2(std::string_view("\x18\x03", 2), symbols, &metadata).ok());
  EXPECT_TRUE(DecodeMetadata2(std::string_view("\x08\x63\x18\x02", 4), symbols, &metadata).ok());
  EXPECT_EQ(metadata.type, MetricType::kUnknown);  // of a protocol to come
  EXPECT_EQ(metadata.help, "abc");
}

TEST(DecodeExemplar, RefusesBeforeItCopiesWhatTheStoreWouldNotTake) {
  const std::string most(kExemplarLabelsMax - 1, 'v'), more(kExemplarLabelsMax, 'v');
  const std::vector<std::string_view> symbols = {"", "n", most, more};
  Exemplar exemplar;
  EXPECT_TRUE(DecodeExemplar(RemoteWriteVersion::k2, "\x0a\x02\x01\x02", symbols, &exemplar).ok());
  const auto refused = [&](RemoteWriteVersion version, std::string_view payload) {
    const Status status = DecodeExemplar(version, payload, symbols, &exemplar);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("1024 bytes"));
    EXPECT_TRUE(exemplar.labels.empty());
  };
  refused(RemoteWriteVersion::k2, "\x0a\x02\x01\x03");
  std::string many;  // references that stand for nothing
  ProtoWriter(&many).BytesAlways(1, std::string(100'001, '\0'));
  refused(RemoteWriteVersion::k2, many);
  std::string label;
  ProtoWriter(&label).NestedPair(1, 1, "n", 2, more);
  refused(RemoteWriteVersion::k1, label);
}

TEST(DecodeMetadata, RefusesWhatTheStoreWouldNotTake) {
  const std::string most(kMetadataTextMax, 'h'), more(kMetadataTextMax + 1, 'h');
  const std::vector<std::string_view> symbols = {"", most, more, "u"};
  Metadata metadata;
  EXPECT_TRUE(DecodeMetadata2("\x18\x01", symbols, &metadata).ok());
  for (const char* payload : {"\x18\x02", "\x20\x02", "\x18\x01\x20\x03"}) {
    EXPECT_THAT(DecodeMetadata2(payload, symbols, &metadata).message(), HasSubstr("16384 bytes"));
    EXPECT_EQ(metadata, Metadata{});
  }
  const auto decode1 = [&](const std::string& family, const std::string& help) {
    std::string payload, name;
    ProtoWriter to(&payload);
    to.Bytes(2, family);
    to.Bytes(4, help);
    return DecodeMetadata1(payload, &name, &metadata).message();
  };
  EXPECT_EQ(decode1("m", most), "");
  EXPECT_THAT(decode1("m", more), HasSubstr("16384 bytes"));
  EXPECT_THAT(decode1(more, ""), HasSubstr("16384 bytes"));
}

TEST(RemoteWriteDecoder, BoundsWhatReferencesStandForInAMessage) {
  const std::string value(1000, 'v');
  const std::string one = Request2({"", "__name__", value}, {1, 2});
  const std::string message = one + one.substr(one.size() - 6);  // the same series twice
  for (const std::uint64_t limit : {1'100, 2'100}) {
    RemoteWriteDecoder decoder(RemoteWriteVersion::k2, message, limit);
    ASSERT_TRUE(decoder.Begin().ok());
    RemoteWriteBatch batch;
    const Status status = decoder.Next(&batch);
    EXPECT_EQ(batch.series.size(), limit < 2000 ? 1U : 2U);
    EXPECT_EQ(status.code(), limit < 2000 ? StatusCode::kInvalidArgument : StatusCode::kOk);
    EXPECT_EQ(decoder.Expand(100).code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace chronolith::interop
