#include "ops/store_copy.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <random>

#include "ops/store_compare.h"
#include "storage/storage_impl.h"
#include "tests/ops/rich_store.h"
#include "tests/support/engines.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

using ::testing::HasSubstr;
using namespace testing_support;

class StoreCopyTest : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Storage> Open(int shards) {
    Options options;
    options.engine = GetParam();
    options.shards = shards;
    return Storage::Open(options, directory_ / ("db" + std::to_string(++stores_))).value();
  }
  StoreCopyReport Copy(Storage* source, Storage* target, StoreCopyOptions options = {}) {
    StoreCopyReport report;
    EXPECT_EQ(CopyStore(context_, source, target, options, &report), Status::Ok());
    return report;
  }
  Status Compare(Storage* a, Storage* b, std::size_t at_once = kCopyAtOnce) {
    StoreCompareOptions options;
    options.series_at_once = at_once;
    return CompareStores(context_, a, b, options, &figures_);
  }

  TempDirectory directory_;
  int stores_ = 0;
  OpsContext context_;
  std::vector<StoreFigures> figures_;
};
INSTANTIATE_TEST_SUITE_P(Engines, StoreCopyTest, AllEngines(), EngineName);

TEST_P(StoreCopyTest, EverythingGoesOverThroughAnyNumbersOfShards) {
  const auto source = Open(16);
  FillRichStore(source.get(), 60, 200);
  const auto few = Open(3);
  const StoreCopyReport report = Copy(source.get(), few.get());
  EXPECT_EQ(report.copied.series, 60u + 12 + 2);
  EXPECT_EQ(report.without_data, 1u) << "the one of which all is deleted";
  EXPECT_EQ(report.copied.samples, 60u * 200 - 30 * 36 + 6);
  EXPECT_EQ(report.copied.histograms, 12u * 40);
  EXPECT_EQ(report.copied.exemplars, 10u + 1) << "those of the odd half are deleted";
  EXPECT_EQ(report.copied.metadata, 15u + 1);
  EXPECT_EQ(Compare(source.get(), few.get()), Status::Ok());
  StoreFigures sum;
  for (const StoreFigures& shard : figures_) {
    EXPECT_GT(shard.series, 0u);
    sum.Add(shard);
  }
  EXPECT_EQ(figures_.size(), 3u);
  EXPECT_EQ(sum, report.copied);

  const auto many = Open(31);
  EXPECT_EQ(Copy(few.get(), many.get(), {.series_at_once = 7, .batch_items = 100}).copied, report.copied);
  for (const std::size_t at_once : {std::size_t{1}, std::size_t{5}, kCopyAtOnce}) {
    EXPECT_EQ(Compare(source.get(), many.get(), at_once), Status::Ok()) << at_once;
  }
}

TEST_P(StoreCopyTest, WhatIsAskedForByIdsInAnyOrderIsWhatIsAskedForByLabels) {
  const auto store = Open(5);
  FillRichStore(store.get(), 400, 3);
  std::vector<SeriesRef> refs = store->SeriesIds({}).value();
  std::shuffle(refs.begin(), refs.end(), std::mt19937_64(7));
  StorageImpl* const by_id = StorageImpl::Of(store.get());
  std::vector<Labels> labels;
  std::vector<std::optional<Metadata>> metadata;
  std::vector<bool> may_have_exemplars;
  ASSERT_EQ(by_id->LabelsOf(refs, &labels), Status::Ok());
  ASSERT_EQ(by_id->MetadataOf(refs, &metadata), Status::Ok());
  ASSERT_EQ(by_id->MayHaveExemplars(refs, {}, nullptr, &may_have_exemplars), Status::Ok());
  int with_metadata = 0;
  int with_exemplars = 0;
  int without = 0;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    EXPECT_EQ(metadata[i], store->SeriesMetadata(labels[i]).value()) << labels[i].ToString();
    const std::vector<Exemplar> exemplars = store->Exemplars(labels[i], {}).value();
    EXPECT_EQ(by_id->ExemplarsOf(refs[i], {}).value().size(), exemplars.size());
    EXPECT_TRUE(may_have_exemplars[i] || exemplars.empty()) << labels[i].ToString();
    with_metadata += metadata[i].has_value() ? 1 : 0;
    with_exemplars += exemplars.empty() ? 0 : 1;
    without += may_have_exemplars[i] ? 0 : 1;
  }
  EXPECT_GT(with_metadata, 50);
  EXPECT_GT(with_exemplars, 10);
  EXPECT_GT(without, 200);
}

TEST_P(StoreCopyTest, GoesOnAtAnyPositionAndTwiceIsTheSame) {
  const auto source = Open(4);
  FillRichStore(source.get(), 20, 120);
  const auto target = Open(2);
  StoreCopyOptions options{.series_at_once = 8, .batch_items = 150};
  Status status = Cancelled("not begun");
  int rounds = 0;
  while (status.code() == StatusCode::kCancelled && ++rounds < 100) {
    // Two batches, of which the second is not noted down.
    std::vector<std::uint64_t> positions;
    options.on_batch = [&](std::uint64_t position) {
      positions.push_back(position);
      return positions.size() == 2 ? Cancelled("here") : Status::Ok();
    };
    StoreCopyReport report;
    status = CopyStore(context_, source.get(), target.get(), options, &report);
    if (status.ok()) break;
    ASSERT_EQ(positions.size(), 2u);
    EXPECT_GT(positions.front(), options.position);
    options.position = positions.front();
  }
  EXPECT_EQ(status, Status::Ok());
  EXPECT_GT(rounds, 6);
  EXPECT_EQ(Compare(source.get(), target.get()), Status::Ok());
}

TEST_P(StoreCopyTest, TheFloorGoesOverAndIsKeptToInTheCopy) {
  Options options;
  options.engine = GetParam();
  options.engines = EngineRegistry::Default();  // memory's stores live in it
  options.shards = 4;
  FillRichStore(Storage::Open(options, directory_ / "expiring").value().get(), 10, 400);
  options.retention_ms = 60 * 60 * 1000;
  const auto source = Storage::Open(options, directory_ / "expiring").value();
  ASSERT_TRUE(source->Compact().ok());
  const Timestamp floor = StorageImpl::Of(source.get())->Floor().value();
  ASSERT_GT(floor, kRichStart);
  const auto copy = Open(7);
  Copy(source.get(), copy.get());
  EXPECT_EQ(StorageImpl::Of(copy.get())->Floor().value(), floor);
  EXPECT_EQ(Compare(source.get(), copy.get()), Status::Ok());
  TimeSeries old;
  old.labels = RichLabels("old", 1);
  old.samples = {{floor - 1, 1}};
  EXPECT_THAT(copy->Write(old).status.message(), HasSubstr("retention floor"));
  const auto without = Open(2);
  EXPECT_THAT(Compare(source.get(), without.get()).message(), HasSubstr("retention floor"));
}

TEST_P(StoreCopyTest, AnyDifferenceIsToldAndTheSeriesNamed) {
  const Labels one = RichLabels("float", 2);
  const Labels histogram = RichLabels("histogram", 0);
  const TimeRange at{kRichStart + 30'000, kRichStart + 30'001};
  const auto write = [](Storage* s, TimeSeries series) { ASSERT_EQ(s->Write(series).status, Status::Ok()); };
  const auto erase = [](Storage* s, const std::string& name, TimeRange range) {
    ASSERT_EQ(s->Delete({Matcher::Equal("__name__", name)}, range).status, Status::Ok());
  };
  struct Row {
    const char* what;
    std::function<void(Storage*)> spoil;
    const char* message;
  };
  const Row kRows[] = {
      {"another value",
       [&](Storage* s) {
         write(s, {.labels = one, .samples = {{at.start, 77}}});
       },
       "another sample in the copy at"},
      {"another bit of a NaN",
       [&](Storage* s) {
         write(s, {.labels = one, .samples = {{kRichStart, std::bit_cast<double>(kStaleNaNBits + 1)}}});
       },
       "another sample in the copy at"},
      {"one sample more",
       [&](Storage* s) {
         write(s, {.labels = one, .samples = {{kRichStart - 1, 1}}});
       },
       "another sample"},
      {"one at the end more",
       [&](Storage* s) {
         write(s, {.labels = one, .samples = {{kRichStart * 2, 1}}});
       },
       "more samples"},
      {"one sample less",
       [&](Storage* s) {
         erase(s, "histogram", {kRichStart + 100 * 30'000, kRichStart * 2});
       },
       "only 40 samples"},
      {"another histogram",
       [&](Storage* s) {
         IntHistogram h = RichIntHistogram(1);
         h.reset_hint = CounterResetHint::kGauge;
         write(s, {.labels = histogram, .histograms = {{kRichStart + 30'000, h}}});
       },
       "another sample in the copy at"},
      {"a series less", [&](Storage* s) { erase(s, "only_exemplars", {}); }, "exemplars in the copy"},
      {"a series more",
       [&](Storage* s) {
         write(s, {.labels = RichLabels("more", 1), .samples = {{kRichStart, 1}}});
       },
       "1 series that the original does not have"},
      {"another exemplar",
       [&](Storage* s) {
         write(s, {.labels = one, .exemplars = {{Labels{{"trace_id", "y"}}, 1, kRichStart}}});
       },
       "other exemplars"},
      {"other metadata",
       [&](Storage* s) {
         write(s, {.labels = one, .metadata = {{MetricType::kInfo, "", "other"}}});
       },
       "other metadata"},
  };
  const auto source = Open(3);
  FillRichStore(source.get(), 6, 60);
  for (const Row& row : kRows) {
    const auto copy = Open(5);
    Copy(source.get(), copy.get());
    ASSERT_EQ(Compare(source.get(), copy.get()), Status::Ok());
    row.spoil(copy.get());
    const Status status = Compare(source.get(), copy.get());
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << row.what;
    EXPECT_THAT(status.message(), HasSubstr(row.message)) << row.what;
  }
  const auto empty = Open(5);
  const Status missing = Compare(source.get(), empty.get());
  EXPECT_THAT(missing.message(), HasSubstr("samples in the copy"));
}

}  // namespace
}  // namespace chronolith::ops
