#include "ops/prometheus_export.h"

#include <gmock/gmock.h>

#include <bit>
#include <filesystem>
#include <fstream>
#include <map>

#include "chunk/xor_chunk.h"
#include "interop/prometheus_block.h"
#include "interop/prometheus_histogram.h"
#include "tests/support/engines.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_support::TempDirectory;

constexpr Timestamp kHour = 60 * 60 * 1000;
constexpr Timestamp kStart = 1'700'006'400'000;  // begins a window of two hours

class PrometheusExportTest : public ::testing::TestWithParam<std::string> {
 protected:
  PrometheusExportTest() {
    Options options;
    options.engine = GetParam();
    options.shards = 3;
    store_ = Storage::Open(options, directory_ / "db").value();
  }
  void Write(const TimeSeries& series) { ASSERT_EQ(store_->Write(series).status, Status::Ok()); }
  // 50 series, a sample a minute for five hours.
  void WriteLoad() {
    for (int i = 0; i < 50; ++i) {
      TimeSeries series{.labels = {{"__name__", "load"}, {"i", std::to_string(i * 7919 % 10'007)}}};
      for (Timestamp t = kStart; t < kStart + 5 * kHour; t += 60'000)
        series.samples.push_back({t, i + static_cast<double>(t % 97)});
      Write(series);
    }
  }
  Status Export(const std::string& to, const PrometheusExportOptions& options, PrometheusExportReport* report) {
    return ExportPrometheusBlocks(context_, store_.get(), directory_ / to, options, report);
  }

  TempDirectory directory_;
  std::unique_ptr<Storage> store_;
  OpsContext context_;
};
INSTANTIATE_TEST_SUITE_P(Engines, PrometheusExportTest, AllEngines(), EngineName);

using Points = std::map<std::string, std::vector<std::pair<Timestamp, std::uint64_t>>>;

// Adds the floats of a block, and checks that it is in order.
void ReadBlock(const std::string& block, Points* points) {
  auto reader = PrometheusBlockReader::Open(block);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  Labels before;
  while ((*reader)->Next()) {
    ASSERT_LT(before, (*reader)->labels());
    before = (*reader)->labels();
    for (const PrometheusChunk& c : (*reader)->chunks()) {
      if (c.encoding != 1) continue;
      const auto samples = DecodeXor(c.data);
      ASSERT_TRUE(samples.ok());
      for (const Sample& s : *samples)
        (*points)[before.ToString()].emplace_back(s.timestamp, std::bit_cast<std::uint64_t>(s.value));
    }
  }
  ASSERT_EQ((*reader)->status(), Status::Ok());
}

TEST_P(PrometheusExportTest, EachWindowIsABlockWithEachSampleOnceWhateverThePieces) {
  WriteLoad();
  Points expected;
  for (auto set = store_->Select({}, {}).value(); set->Next();) {
    SampleIterator& in = set->samples();
    while (in.Next() != ValueType::kNone) {
      expected[set->labels().ToString()].emplace_back(in.timestamp(), std::bit_cast<std::uint64_t>(in.value()));
    }
  }
  PrometheusExportReport whole, pieces;
  ASSERT_EQ(Export("whole", {}, &whole), Status::Ok());
  ASSERT_EQ(Export("pieces", {.series_at_once = 7, .segment_bytes = 5000}, &pieces), Status::Ok());
  EXPECT_TRUE(fs::exists(directory_ / ("pieces/" + pieces.blocks[0].ulid + "/chunks/000002")));
  for (const auto& [name, report] : {std::pair("whole", &whole), std::pair("pieces", &pieces)}) {
    ASSERT_EQ(report->blocks.size(), 3u);
    Points points;
    for (std::size_t i = 0; i < 3; ++i) {
      const auto& block = report->blocks[i];
      EXPECT_EQ(block.ulid, whole.blocks[i].ulid);
      EXPECT_EQ(block.start, kStart + static_cast<Timestamp>(i) * 2 * kHour);
      EXPECT_EQ(block.end, std::min(block.start + 2 * kHour, kStart + 5 * kHour) - 60'000 + 1);
      EXPECT_EQ(block.series, 50u);
      EXPECT_FALSE(block.kept);
      ReadBlock(directory_ / (std::string(name) + "/" + block.ulid), &points);
    }
    EXPECT_EQ(points, expected);
    EXPECT_EQ(report->samples, 50u * 300);
  }
}

TEST_P(PrometheusExportTest, WhatIsThereIsKeptAndWhatWasKilledIsMadeAnew) {
  WriteLoad();
  PrometheusExportReport first, second, third;
  ASSERT_EQ(Export("out", {}, &first), Status::Ok());
  // As kill -9 within the second block leaves it.
  const std::string second_block = directory_ / ("out/" + first.blocks[1].ulid);
  fs::rename(second_block, second_block + ".tmp-for-creation");
  fs::remove(second_block + ".tmp-for-creation/meta.json");
  ASSERT_EQ(Export("out", {}, &second), Status::Ok());
  EXPECT_THAT((std::vector{second.blocks[0].kept, second.blocks[1].kept, second.blocks[2].kept}), ElementsAre(true, false, true));
  EXPECT_TRUE(fs::exists(second_block + "/meta.json"));
  EXPECT_FALSE(fs::exists(second_block + ".tmp-for-creation"));

  // A window that has another sample is another block; merging and storing chunks makes no difference.
  Write({.labels = {{"__name__", "late"}}, .samples = {{kStart + 3 * kHour, 1}}});
  ASSERT_EQ(store_->Checkpoint(), Status::Ok());
  ASSERT_TRUE(store_->Compact().ok());
  ASSERT_EQ(Export("out", {}, &third), Status::Ok());
  EXPECT_THAT((std::vector{third.blocks[0].kept, third.blocks[1].kept, third.blocks[2].kept}), ElementsAre(true, false, true));
}

TEST_P(PrometheusExportTest, SelectorsRangesAndDurations) {
  WriteLoad();
  PrometheusExportOptions options;
  options.selectors = {{Matcher::Equal("i", "0")}, {Matcher::Equal("i", "7919")}};
  options.range = {kStart + kHour, kStart + 4 * kHour};
  options.block_ms = kHour;
  PrometheusExportReport report;
  ASSERT_EQ(Export("out", options, &report), Status::Ok());
  ASSERT_EQ(report.blocks.size(), 3u);
  EXPECT_EQ(report.samples, 2u * 180);
  EXPECT_EQ(report.blocks[0].start, kStart + kHour);
  EXPECT_EQ(report.blocks[2].end, kStart + 4 * kHour - 60'000 + 1);
  options.block_ms = 1;
  TimeSeries many{.labels = {{"__name__", "m"}}};
  for (Timestamp t = 0; t < 100'001; ++t) many.samples.push_back({t, 0});
  Write(many);
  const Status s = Export("many", {.block_ms = 1}, &report);
  EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(s.message(), HasSubstr("more than 100000 blocks"));
}

TEST_P(PrometheusExportTest, TimesBefore1970AndAtTheEndsOfTimeHaveTheirWindow) {
  Write(
      {.labels = {{"__name__", "old"}}, .samples = {{kMinTimestamp, 1}, {-2 * kHour, 2}, {-1, 3}, {0, 4}, {kMaxTimestamp - 1, 5}}});
  PrometheusExportReport report;
  ASSERT_EQ(Export("out", {}, &report), Status::Ok());
  ASSERT_EQ(report.blocks.size(), 4u);
  EXPECT_EQ(report.blocks[1].start, -2 * kHour);
  EXPECT_EQ(report.blocks[1].end, 0);
  Points points;
  for (const auto& block : report.blocks) ReadBlock(directory_ / ("out/" + block.ulid), &points);
  EXPECT_EQ(points["old"].size(), 5u);
}

TEST_P(PrometheusExportTest, HistogramsAreWrittenAndThoseWithCustomBucketsCounted) {
  IntHistogram h;
  h.count = 3;
  h.sum = 4.5;
  h.zero_count = 1;
  h.positive_spans = {{0, 2}};
  h.positive_deltas = {1, 0};
  FloatHistogram f;
  f.count = 2;
  f.positive_spans = {{0, 1}};
  f.positive_counts = {2};
  IntHistogram custom;
  custom.schema = kCustomBucketsSchema;
  custom.custom_values = {1};
  custom.count = 1;
  custom.positive_spans = {{0, 1}};
  custom.positive_deltas = {1};
  Write({.labels = {{"__name__", "h"}},
         .samples = {{kStart + 20, 7}},
         .histograms = {{kStart, h}, {kStart + 10, h}, {kStart + 30, f}, {kStart + 40, custom}}});
  Write({.labels = {{"__name__", "only_custom"}}, .histograms = {{kStart, custom}}});
  PrometheusExportReport report;
  ASSERT_EQ(Export("out", {}, &report), Status::Ok());
  EXPECT_EQ(report.histograms, 3u);
  EXPECT_EQ(report.left_out, 2u);
  ASSERT_EQ(report.blocks.size(), 1u);
  auto reader = PrometheusBlockReader::Open(directory_ / ("out/" + report.blocks[0].ulid)).value();
  ASSERT_TRUE(reader->Next());
  std::vector<int> encodings;
  std::vector<Histogram> histograms;
  for (const PrometheusChunk& c : reader->chunks()) {
    encodings.push_back(c.encoding);
    if (c.encoding == 1) continue;
    ASSERT_EQ(
        DecodePrometheusHistograms(c.encoding, c.data,
                                   [&](HistogramSample s) { return histograms.push_back(std::move(s.histogram)), Status::Ok(); }),
        Status::Ok());
  }
  EXPECT_THAT(encodings, ElementsAre(2, 1, 3));
  ASSERT_EQ(histograms.size(), 3u);
  EXPECT_EQ(std::get<IntHistogram>(histograms[0]), h);
  EXPECT_EQ(std::get<FloatHistogram>(histograms[2]), f);
  EXPECT_FALSE(reader->Next());
}

TEST_P(PrometheusExportTest, RefusesDatabasesAndASecondExportAndStopsWhenCancelled) {
  WriteLoad();
  PrometheusExportReport report;
  if (GetParam() == "rocksdb") {
    EXPECT_THAT(Export("db", {}, &report).message(), HasSubstr("is a Chronolith database"));
  }
  std::atomic<bool> cancelled = true;
  context_.cancelled = &cancelled;
  EXPECT_EQ(Export("out", {}, &report).code(), StatusCode::kCancelled);
  for (const auto& entry : fs::directory_iterator(directory_ / "out")) EXPECT_EQ(entry.path().filename(), "wal");
  std::ofstream(directory_ / "file") << "x";
  context_.cancelled = nullptr;
  EXPECT_EQ(Export("file", {}, &report).code(), StatusCode::kIoError);
}

}  // namespace
}  // namespace chronolith::ops
