// Segments and records of Prometheus' log, and meta.json.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "interop/prometheus_meta.h"
#include "interop/prometheus_record.h"
#include "interop/prometheus_wal.h"
#include "tests/contract/seed.h"
#include "tests/support/prometheus_log_writer.h"

namespace chronolith {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RecordBytes;
using testing::SegmentBytes;
using ::testing::SizeIs;

struct Read {
  std::vector<std::string> records;
  std::vector<std::string> problems;
  bool torn = false;
};

Read ReadSegment(const std::string& bytes) {
  PrometheusWalSegment segment("seg", [&bytes](std::uint64_t at, std::size_t n, std::string* to) {
    to->assign(at < bytes.size() ? bytes.substr(at, n) : "");
    return Status::Ok();
  });
  Read read;
  while (segment.Next()) read.records.emplace_back(segment.record());
  EXPECT_EQ(segment.status(), Status::Ok());
  for (const Status& s : segment.problems()) read.problems.push_back(s.message());
  read.torn = segment.torn();
  return read;
}

TEST(PrometheusWalSegment, RecordsOfAllSizesComeBackAcrossPages) {
  std::mt19937_64 rng(TestSeed());
  std::vector<std::string> records;
  SegmentBytes segment;
  for (const std::size_t size : {0, 1, 100, 32760, 32761, 32762, 70'000, 5, 32754, 1, 200'000}) {
    for (const bool compressed : {false, true}) {
      std::string record(size, '\0');
      for (char& c : record) c = static_cast<char>(rng() % 3 == 0 ? rng() : 'x');
      segment.Add(record, compressed);
      records.push_back(std::move(record));
    }
    if (rng() % 3 == 0) segment.EndPage();
  }
  const Read read = ReadSegment(segment.bytes);
  EXPECT_TRUE(read.records == records);
  EXPECT_THAT(read.problems, IsEmpty());
  EXPECT_FALSE(read.torn);
}

TEST(PrometheusWalSegment, ATornEndIsToldAndNothingBeforeItIsLost) {
  const std::string long_record(40'000, 'r');
  const std::string bytes = SegmentBytes().Add("first").Add(long_record).bytes;
  const std::size_t first_ends = 7 + 5;
  for (std::size_t cut = 0; cut < bytes.size(); cut += cut < 100 || cut > 32'700 ? 1 : 97) {
    const Read read = ReadSegment(bytes.substr(0, cut));
    ASSERT_EQ(read.torn, cut != 0 && cut != first_ends) << cut;
    ASSERT_EQ(read.records.size(), cut >= first_ends ? 1u : 0u) << cut;
    ASSERT_THAT(read.problems, IsEmpty()) << cut;
  }
}

TEST(PrometheusWalSegment, BehindDamageItGoesOnWithTheNextPage) {
  SegmentBytes segment;
  segment.Add("a").Add("b").EndPage().Add("c").Add(std::string(40'000, 'd')).Add("e");
  std::string bytes = segment.bytes;
  bytes[8 + 7] ^= 1;  // "b"
  Read read = ReadSegment(bytes);
  EXPECT_THAT(read.records, ElementsAre("a", "c", std::string(40'000, 'd'), "e"));
  EXPECT_THAT(read.problems, ElementsAre("seg: byte 8: a fragment fails its checksum"));
  bytes = segment.bytes;
  bytes[32768 + 8 + 100] ^= 1;  // within the first fragment of d: the rest of it is passed by
  read = ReadSegment(bytes);
  EXPECT_THAT(read.records, ElementsAre("a", "b", "c", "e"));
  EXPECT_THAT(read.problems, SizeIs(1));
}

TEST(PrometheusWalSegment, AFlippedByteIsNeverReadAsAnotherRecord) {
  SegmentBytes segment;
  for (int i = 0; i < 40; ++i)
    segment.Add("record " + std::to_string(i) + std::string(static_cast<std::size_t>(i), 'x'), i % 2 == 0);
  const Read whole = ReadSegment(segment.bytes);
  ASSERT_THAT(whole.records, SizeIs(40));
  for (std::size_t i = 0; i < segment.bytes.size(); ++i) {
    for (const int bit : {1, 2, 4, 8, 16, 32, 64, 128}) {
      std::string bytes = segment.bytes;
      bytes[i] = static_cast<char>(bytes[i] ^ bit);
      const Read read = ReadSegment(bytes);
      ASSERT_LE(read.records.size(), 40u);
      // The type and compression bits of a fragment are under no checksum: all that a lie about them can do is to drop a record,
      // or to give its bytes as they stand.
      for (const std::string& record : read.records) {
        const bool known = std::find(whole.records.begin(), whole.records.end(), record) != whole.records.end();
        ASSERT_TRUE(known || bit == 8) << "byte " << i << " bit " << bit;
      }
    }
  }
}

TEST(PrometheusWalSegment, OddFragmentsAreNamed) {
  const struct {
    const char* says;
    std::string bytes;
  } rows[] = {
      {"without its beginning", SegmentBytes().Fragment(3, "x").bytes},
      {"without its beginning", SegmentBytes().Fragment(4, "x").bytes},
      {"begins within another", SegmentBytes().Fragment(2, "x").Fragment(1, "y").bytes},
      {"unknown type", SegmentBytes().Fragment(5, "x").bytes},
      {"unknown type", SegmentBytes().Fragment(33, "x").bytes},
      {"compressed with zstd", SegmentBytes().Fragment(17, "x").bytes},
      {"cannot be uncompressed", SegmentBytes().Fragment(9, "not snappy").bytes},
      {"cannot be uncompressed", SegmentBytes().Fragment(9, "\xff\xff\xff\xff\x0f").bytes},  // says that it has 4 GiB
      {"not zeros", std::string(100, '\0') + "x"},
      {"beyond its page", std::string("\x01\x7f\xff\0\0\0\0", 7) + std::string(32761, 'x')},
  };
  for (const auto& row : rows) {
    const Read read = ReadSegment(row.bytes);
    EXPECT_THAT(read.records, IsEmpty()) << row.says;
    ASSERT_THAT(read.problems, SizeIs(1)) << row.says;
    EXPECT_THAT(read.problems[0], HasSubstr(row.says));
  }
}

// What a record says, as text.
class Told : public PrometheusRecordSink {
 public:
  Status OnSeries(std::uint64_t ref, Labels labels) override {
    return Tell("series " + std::to_string(ref) + " " + labels.ToString());
  }
  Status OnSamples(std::span<const PrometheusSample> samples) override {
    for (const auto& s : samples)
      Line("sample " + std::to_string(s.ref) + " " + std::to_string(s.timestamp) + " " + std::to_string(s.value));
    return Status::Ok();
  }
  Status OnTombstone(std::uint64_t ref, TimeRange range) override {
    return Tell("delete " + std::to_string(ref) + " " + std::to_string(range.start) + ".." + std::to_string(range.end));
  }
  Status OnExemplar(std::uint64_t ref, Exemplar e) override {
    return Tell("exemplar " + std::to_string(ref) + " " + std::to_string(e.timestamp) + " " + e.labels.ToString());
  }
  Status OnMetadata(std::uint64_t ref, Metadata m) override {
    return Tell("metadata " + std::to_string(ref) + " " + std::to_string(static_cast<int>(m.type)) + " " + m.unit + " " + m.help);
  }
  Status OnHistogram(std::uint64_t ref, HistogramSample h) override {
    histograms.push_back(h.histogram);
    return Tell("histogram " + std::to_string(ref) + " " + std::to_string(h.timestamp));
  }
  std::vector<std::string> lines;
  std::vector<Histogram> histograms;

 private:
  void Line(std::string line) { lines.push_back(std::move(line)); }
  Status Tell(std::string line) { return Line(std::move(line)), Status::Ok(); }
};

std::string HistogramRecord(bool floats) {
  RecordBytes r(floats ? 8 : 7);
  r.Be64(9).Be64(1000).Varint(-2).Varint(5).Byte(2).Varint(-1).Float(0.5);
  if (floats) {
    r.Float(1).Float(4);
  } else {
    r.Uvarint(1).Uvarint(4);
  }
  r.Float(6.5).Uvarint(1).Varint(-3).Uvarint(2).Uvarint(0).Uvarint(2);
  if (floats) {
    r.Float(1).Float(2);
  } else {
    r.Varint(1).Varint(1);
  }
  return r.Uvarint(0).bytes;
}

TEST(PrometheusRecordReader, EveryTypeIsRead) {
  const std::string records[] = {
      testing::SeriesRecord({{1, {{"__name__", "a"}}}, {300, {{"__name__", "b"}, {"x", "y"}}}}),
      testing::SamplesRecord({{300, 5000, 1.5}, {1, 4999, -2}, {301, 5001, 0}}),
      testing::TombstoneRecord(7, -10, 20),
      testing::ExemplarRecord(300, 5000, 3, {{"trace", "1"}}),
      RecordBytes(5).Be64(1).Be64(2).bytes,
      testing::MetadataRecord(300, 1, "seconds", "How long."),
      HistogramRecord(false),
      HistogramRecord(true),
  };
  Told told;
  PrometheusRecordReader reader;
  Status damage;
  for (const std::string& record : records) {
    ASSERT_EQ(reader.Read(record, &told, &damage), Status::Ok());
    ASSERT_EQ(damage, Status::Ok());
  }
  EXPECT_THAT(told.lines, ElementsAre("series 1 a", "series 300 b{x=\"y\"}", "sample 300 5000 1.500000", "sample 1 4999 -2.000000",
                                      "sample 301 5001 0.000000", "delete 7 -10..21", "exemplar 300 5000 {trace=\"1\"}",
                                      "metadata 300 1 seconds How long.", "histogram 7 1005", "histogram 7 1005"));
  const auto& h = std::get<IntHistogram>(told.histograms[0]);
  EXPECT_EQ(h.reset_hint, CounterResetHint::kNo);
  EXPECT_EQ(h.schema, -1);
  EXPECT_EQ(h.count, 4u);
  EXPECT_EQ(h.positive_spans, (std::vector<BucketSpan>{{-3, 2}}));
  EXPECT_THAT(h.positive_deltas, ElementsAre(1, 1));
  EXPECT_THAT(std::get<FloatHistogram>(told.histograms[1]).positive_counts, ElementsAre(1, 2));

  // Cut anywhere: an error, or the items that stood before.
  for (const std::string& record : records) {
    for (std::size_t cut = 2; cut < record.size(); ++cut) {
      Told of_cut;
      ASSERT_EQ(reader.Read(record.substr(0, cut), &of_cut, &damage), Status::Ok());
      ASSERT_LE(of_cut.lines.size(), 3u);
      // A cut between two items leaves whole ones.
      const bool between = record[0] <= 2 || cut == 17;
      ASSERT_TRUE(!damage.ok() || record[0] == 5 || between) << int(record[0]) << " cut to " << cut;
    }
  }
  ASSERT_EQ(reader.Read("", &told, &damage), Status::Ok());
  EXPECT_EQ(damage.code(), StatusCode::kDataLoss);
  ASSERT_EQ(reader.Read("\x0c whatever", &told, &damage), Status::Ok());
  EXPECT_EQ(damage.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(damage.message(), HasSubstr("type 12"));
}

TEST(PrometheusMeta, WhatPrometheusWritesIsRead) {
  const auto meta = ParsePrometheusMeta(
      R"({"ulid":"01M7XYP651V6Q47154WRE9NB6J","minTime":-5,"maxTime":7200000,"stats":{"numSamples":12,"numSeries":3},)"
      R"("compaction":{"level":2,"sources":["01A","01B"],"parents":[{"ulid":"01A","minTime":0,"maxTime":1}],)"
      R"("hints":["from-out-of-order"]},"version":1,"thanos":{"labels":{}}})");
  ASSERT_TRUE(meta.ok()) << meta.status().ToString();
  EXPECT_EQ(meta->min_time, -5);
  EXPECT_EQ(meta->max_time, 7'200'000);
  EXPECT_EQ(meta->samples, 12u);
  EXPECT_THAT(meta->sources, ElementsAre("01A", "01B"));
  EXPECT_TRUE(meta->out_of_order);
  for (const char* bad :
       {"", "{", "[]", "{}", R"({"ulid":"x","minTime":1,"version":1})", R"({"ulid":"x","maxTime":1,"version":1})",
        R"({"ulid":1,"minTime":1,"maxTime":2,"version":1})", R"({"ulid":"x","minTime":"a","maxTime":2,"version":1})",
        R"({"ulid":"x","minTime":1.5,"maxTime":2,"version":1})", R"({"ulid":"x","minTime":1,"maxTime":2,"version":1} x)",
        R"({"ulid":"x","minTime":1,"maxTime":2,"version":1,"compaction":{"sources":[1]}})"}) {
    EXPECT_FALSE(ParsePrometheusMeta(bad).ok()) << bad;
  }
  EXPECT_EQ(ParsePrometheusMeta(R"({"ulid":"x","minTime":1,"maxTime":2,"version":2})").status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_TRUE(IsUlid("01M7XYP651V6Q47154WRE9NB6J"));
  for (const char* name :
       {"", "wal", "01M7XYP651V6Q47154WRE9NB6J.tmp-for-deletion", "01M7XYP651V6Q47154WRE9NB6I", "01m7xyp651v6q47154wre9nb6j"}) {
    EXPECT_FALSE(IsUlid(name)) << name;
  }
}

}  // namespace
}  // namespace chronolith
