#include "ops/prometheus_import.h"

#include <gmock/gmock.h>

#include <bit>
#include <filesystem>
#include <fstream>
#include <map>

#include "ops/prometheus_export.h"
#include "tests/support/engines.h"
#include "tests/support/prometheus_log_writer.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::ExemplarRecord;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LoggedSample;
using testing::MetadataRecord;
using ::testing::Pair;
using testing::RecordBytes;
using testing::SamplesRecord;
using testing::SegmentBytes;
using testing::SeriesRecord;
using ::testing::SizeIs;
using testing::TombstoneRecord;
using testing_support::TempDirectory;

constexpr Timestamp kHour = 60 * 60 * 1000;
constexpr Timestamp kStart = 1'700'006'400'000;

using Points = std::map<std::string, std::map<Timestamp, double>>;

class PrometheusImportTest : public ::testing::TestWithParam<std::string> {
 protected:
  PrometheusImportTest() { store_ = OpenStore("db"); }

  std::unique_ptr<Storage> OpenStore(const std::string& name) const {
    Options options;
    options.engine = GetParam();
    options.shards = 3;
    return Storage::Open(options, directory_ / name).value();
  }
  void WriteBytes(const std::string& path, const std::string& bytes) const {
    fs::create_directories(fs::path(directory_ / path).parent_path());
    std::ofstream(directory_ / path, std::ios::binary) << bytes;
  }
  // Blocks of two hours in `data`.
  PrometheusExportReport WriteBlocks(const std::vector<TimeSeries>& all) {
    auto source = OpenStore("source");
    for (const TimeSeries& series : all) EXPECT_EQ(source->Write(series).status, Status::Ok());
    PrometheusExportReport report;
    EXPECT_EQ(ExportPrometheusBlocks({}, source.get(), directory_ / "data", {}, &report), Status::Ok());
    return report;
  }
  PrometheusImportReport Import(const PrometheusImportOptions& options = {}, StatusCode expected = StatusCode::kOk) {
    PrometheusImportReport report;
    status_ = ImportPrometheus(context_, store_.get(), directory_ / "data", options, &report);
    EXPECT_EQ(status_.code(), expected) << status_.ToString();
    return report;
  }
  Points Stored() const {
    Points points;
    for (auto set = store_->Select({}, {}).value(); set->Next();) {
      SampleIterator& in = set->samples();
      while (in.Next() == ValueType::kFloat) points[set->labels().ToString()][in.timestamp()] = in.value();
    }
    return points;
  }

  TempDirectory directory_;
  std::unique_ptr<Storage> store_;
  OpsContext context_;
  Status status_;
};
INSTANTIATE_TEST_SUITE_P(Engines, PrometheusImportTest, AllEngines(), EngineName);

const Labels kA{{"__name__", "a"}}, kB{{"__name__", "b"}, {"i", "1"}}, kC{{"__name__", "c"}};

TEST_P(PrometheusImportTest, CheckpointSegmentsAndAllTypesOfRecords) {
  // Segment 3 is before the checkpoint, and not read.
  WriteBytes("data/wal/00000003", SegmentBytes().Add("\x0cgone").bytes);
  WriteBytes("data/wal/checkpoint.00000002/00000000", SegmentBytes().Add("\x0cgone").bytes);
  WriteBytes("data/wal/checkpoint.00000003/00000000",
             SegmentBytes().Add(SeriesRecord({{1, kA}, {2, kB}}), true).Add(SamplesRecord({{1, 1000, 1}, {2, 1000, 2}})).bytes);
  WriteBytes("data/wal/00000004", SegmentBytes()
                                      .Add(SamplesRecord({{2, 2000, 3}, {1, 2000, 4}}), true)
                                      .Add(SeriesRecord({{9, kC}}))
                                      .Add(MetadataRecord(9, 2, "bytes", "Help."))
                                      .bytes);
  RecordBytes histogram(7);
  histogram.Be64(9).Be64(3000).Varint(0).Varint(0).Byte(0).Varint(0).Float(0).Uvarint(1).Uvarint(1).Float(0);
  histogram.Uvarint(0).Uvarint(0).Uvarint(0).Uvarint(0);
  WriteBytes("data/wal/00000005", SegmentBytes()
                                      .Add(histogram.bytes)
                                      .Add(ExemplarRecord(1, 2500, 7, {{"trace", "x"}}))
                                      .Add(RecordBytes(5).Be64(1).Be64(2).bytes)
                                      .bytes);
  const PrometheusImportReport report = Import();
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_EQ(report.log.segments, 3u);
  EXPECT_EQ(report.log.torn, "");
  EXPECT_EQ(report.written.samples, 4u);
  EXPECT_EQ(report.written.histograms, 1u);
  EXPECT_THAT(Stored(), ElementsAre(Pair("a", ElementsAre(Pair(1000, 1), Pair(2000, 4))),
                                    Pair("b{i=\"1\"}", ElementsAre(Pair(1000, 2), Pair(2000, 3)))));
  EXPECT_EQ(store_->SeriesMetadata(kC).value()->unit, "bytes");
  EXPECT_THAT(store_->Exemplars(kA, {}).value(), SizeIs(1));
  // Again: the same.
  const auto before = Stored();
  EXPECT_EQ(Import().written.samples, 4u);
  EXPECT_EQ(Stored(), before);
}

TEST_P(PrometheusImportTest, DeletesOfTheLogHideWhatStandsBeforeThem) {
  WriteBytes("data/wal/00000000", SegmentBytes()
                                      .Add(SeriesRecord({{1, kA}, {2, kB}}))
                                      .Add(SamplesRecord({{1, 1000, 1}, {1, 2000, 2}, {1, 3000, 3}, {2, 2000, 4}}))
                                      .bytes);
  // The series was away for a while, and has another reference since.
  WriteBytes("data/wal/00000001", SegmentBytes()
                                      .Add(SeriesRecord({{5, kA}}))
                                      .Add(SamplesRecord({{5, 4000, 5}}))
                                      .Add(TombstoneRecord(1, 2000, 2500))
                                      .Add(TombstoneRecord(1, 3000, 3000))
                                      .bytes);
  const PrometheusImportReport report = Import();
  EXPECT_EQ(report.deleted, 2u);
  EXPECT_THAT(Stored(), ElementsAre(Pair("a", ElementsAre(Pair(1000, 1), Pair(4000, 5))), Pair("b{i=\"1\"}", SizeIs(1))));
}

TEST_P(PrometheusImportTest, OfTheLogOnlyWhatNoBlockHas) {
  const auto blocks = WriteBlocks({{.labels = kA, .samples = {{kStart, 1}, {kStart + kHour, 2}}}});
  ASSERT_THAT(blocks.blocks, SizeIs(1));
  // Deleted in the block, but still in the log.
  const Timestamp deleted = kStart + 30'000;
  WriteBytes("data/wal/00000000", SegmentBytes()
                                      .Add(SeriesRecord({{1, kA}}))
                                      .Add(SamplesRecord({{1, deleted, 9}, {1, kStart + kHour, 2}, {1, kStart + kHour + 1, 3}}))
                                      .bytes);
  WriteBytes("data/wbl/00000000", SegmentBytes().Add(SamplesRecord({{1, kStart + 5, 7}})).bytes);
  const PrometheusImportReport report = Import();
  EXPECT_EQ(report.log.in_blocks, 2u);
  EXPECT_THAT(Stored()["a"],
              ElementsAre(Pair(kStart, 1), Pair(kStart + 5, 7), Pair(kStart + kHour, 2), Pair(kStart + kHour + 1, 3)));

  // A block that is damaged does not stand for what it has lost.
  fs::resize_file(directory_ / ("data/" + blocks.blocks[0].ulid + "/chunks/000001"), 9);
  store_ = OpenStore("second");
  const PrometheusImportReport damaged = Import();
  EXPECT_EQ(damaged.log.in_blocks, 0u);
  EXPECT_THAT(damaged.problems, SizeIs(1));
  EXPECT_EQ(Stored()["a"].size(), 4u);
}

TEST_P(PrometheusImportTest, SelectorsAndRangeApplyToBothAndCreateNoEmptySeries) {
  WriteBlocks({{.labels = kA, .samples = {{kStart, 1}, {kStart + kHour, 2}}}, {.labels = kB, .samples = {{kStart, 1}}}});
  WriteBytes(
      "data/wal/00000000",
      SegmentBytes()
          .Add(SeriesRecord({{1, kA}, {2, kB}, {3, kC}}))
          .Add(SamplesRecord(
              {{1, kStart + 2 * kHour, 5}, {1, kStart + 3 * kHour, 6}, {2, kStart + 2 * kHour, 5}, {3, kStart + 9 * kHour, 5}}))
          .bytes);
  PrometheusImportOptions options;
  options.selectors = {{Matcher::Equal("__name__", "a")}, {Matcher::Regex("__name__", "c|d")}};
  options.range = {kStart + kHour, kStart + 3 * kHour};
  EXPECT_EQ(Import(options).written.samples, 2u);
  EXPECT_THAT(Stored(), ElementsAre(Pair("a", SizeIs(2))));
  EXPECT_THAT(store_->Series({}).value().values, SizeIs(1));
  options.selectors = {{Matcher::Regex("x", "(")}};
  Import(options, StatusCode::kInvalidArgument);
}

TEST_P(PrometheusImportTest, DamageIsToldByFileAndTheRestIsTaken) {
  const auto blocks = WriteBlocks({{.labels = kA, .samples = {{kStart, 1}, {kStart + 2 * kHour, 2}, {kStart + 4 * kHour, 3}}},
                                   {.labels = kB, .samples = {{kStart, 1}, {kStart + 2 * kHour, 2}, {kStart + 4 * kHour, 3}}}});
  ASSERT_THAT(blocks.blocks, SizeIs(3));
  const auto file = [&](std::size_t block, const std::string& name) { return "data/" + blocks.blocks[block].ulid + "/" + name; };
  const auto flip = [&](const std::string& name, std::streamoff at) {
    std::fstream f(directory_ / name, std::ios::binary | std::ios::in | std::ios::out);
    f.seekg(at);
    const char c = static_cast<char>(f.get() ^ 1);
    f.seekp(at);
    f.put(c);
  };
  flip(file(0, "chunks/000001"), 8 + 4);
  fs::remove(directory_ / file(1, "index"));
  WriteBytes(file(2, "meta.json"), "{");
  SegmentBytes segment;
  segment.Add(SeriesRecord({{1, kC}})).Add(SamplesRecord({{1, kStart + 9 * kHour, 1}}));
  const std::size_t damage = segment.bytes.size() + 7 + 3;
  segment.Add(SamplesRecord({{1, kStart + 9 * kHour + 1, 2}}))
      .EndPage()
      .Add(SamplesRecord({{1, kStart + 9 * kHour + 2, 3}, {77, 1, 1}}));
  WriteBytes("data/wal/00000000", segment.bytes);
  flip("data/wal/00000000", static_cast<std::streamoff>(damage));
  WriteBytes("data/wal/00000002",
             SegmentBytes().Add("\x02junk").Add("\x0cnew").Add(SamplesRecord({{1, kStart + 9 * kHour + 3, 4}})).bytes + "\x01");
  const PrometheusImportReport report = Import();
  EXPECT_THAT(report.problems,
              ElementsAre(HasSubstr(file(2, "meta.json")), HasSubstr(file(0, "chunks/000001") + ": byte 8: it fails its checksum"),
                          HasSubstr(file(1, "index")), HasSubstr("wal: segments 1 to 1 are missing"),
                          HasSubstr("wal/00000000: byte " + std::to_string(damage - 10)),
                          HasSubstr("wal/00000002: byte 0: a record of type 2 is malformed"),
                          HasSubstr("wal/00000002: byte 12: a record of type 12")));
  EXPECT_EQ(report.problems_total, 7u);
  EXPECT_EQ(report.log.unknown_refs, 1u);
  EXPECT_THAT(report.log.torn, HasSubstr("wal/00000002"));
  Points stored = Stored();
  EXPECT_EQ(stored["c"].size(), 3u);
  EXPECT_EQ(stored["a"].size() + stored["b{i=\"1\"}"].size(), 1u);  // one of the first block's chunks
}

TEST_P(PrometheusImportTest, OneBlockByItself) {
  const auto blocks = WriteBlocks({{.labels = kA, .samples = {{kStart, 1}, {kStart + 2 * kHour, 2}}}});
  PrometheusImportReport report;
  ASSERT_EQ(ImportPrometheus(context_, store_.get(), directory_ / ("data/" + blocks.blocks[1].ulid + "/"), {}, &report),
            Status::Ok());
  ASSERT_THAT(report.blocks, SizeIs(1));
  EXPECT_EQ(report.blocks[0].ulid, blocks.blocks[1].ulid);
  EXPECT_THAT(Stored()["a"], SizeIs(1));
}

TEST_P(PrometheusImportTest, WhatIsNoPrometheusIsNamedAndRefusalsAreCounted) {
  Import({}, StatusCode::kNotFound);
  fs::create_directories(directory_ / "data");
  Import({}, StatusCode::kNotFound);
  EXPECT_THAT(status_.message(), HasSubstr("neither blocks nor"));
  const Labels invalid{{"a", "b"}, {"a", "c"}};
  WriteBytes("data/wal/00000000",
             SegmentBytes().Add(SeriesRecord({{1, invalid}, {2, kA}})).Add(SamplesRecord({{1, 1, 1}, {2, 1, 1}, {1, 2, 1}})).bytes);
  const PrometheusImportReport report = Import();
  EXPECT_EQ(report.refused, 2u);
  EXPECT_THAT(report.refusals, ::testing::Each(HasSubstr("label \"a\"")));
  EXPECT_EQ(report.written.samples, 1u);
  // Without a store it is counted.
  store_.reset();
  EXPECT_EQ(Import().written.samples, 3u);
  std::atomic<bool> cancelled = true;
  context_.cancelled = &cancelled;
  Import({}, StatusCode::kCancelled);
}

}  // namespace
}  // namespace chronolith::ops
