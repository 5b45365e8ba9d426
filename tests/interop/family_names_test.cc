#include "interop/family_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace chronolith::interop {
namespace {

using ::testing::ElementsAre;

constexpr MetricType kTypes[] = {MetricType::kUnknown,        MetricType::kCounter, MetricType::kGauge, MetricType::kHistogram,
                                 MetricType::kGaugeHistogram, MetricType::kSummary, MetricType::kInfo,  MetricType::kStateSet};

TEST(FamilyNames, FamilyIsTheNameWithoutWhatItsTypeAdds) {
  const struct {
    std::string_view metric;
    MetricType type;
    std::string_view family;
  } rows[] = {
      {"h_bucket", MetricType::kHistogram, "h"},      {"h_gcount", MetricType::kGaugeHistogram, "h"},
      {"s_sum", MetricType::kSummary, "s"},           {"s", MetricType::kSummary, "s"},
      {"s_bucket", MetricType::kSummary, "s_bucket"}, {"c_total", MetricType::kCounter, "c_total"},
      {"g_count", MetricType::kGauge, "g_count"},     {"_sum", MetricType::kSummary, "_sum"},
      {"h_bucket", MetricType::kUnknown, "h_bucket"}, {"i_info", MetricType::kInfo, "i_info"},
  };
  for (const auto& row : rows) EXPECT_EQ(MetricFamilyOf(row.metric, row.type), row.family);
}

TEST(FamilyNames, SeriesAreNamedByTheFamilyAndEachSuffix) {
  EXPECT_THAT(SeriesNamesOf("h", MetricType::kHistogram), ElementsAre("h", "h_bucket", "h_count", "h_sum"));
  EXPECT_THAT(SeriesNamesOf("h", MetricType::kGaugeHistogram), ElementsAre("h", "h_bucket", "h_gcount", "h_gsum"));
  EXPECT_THAT(SeriesNamesOf("c", MetricType::kCounter), ElementsAre("c", "c_total"));
  EXPECT_THAT(SeriesNamesOf("i", MetricType::kInfo), ElementsAre("i", "i_info"));
  EXPECT_THAT(SeriesNamesOf("g", MetricType::kGauge), ElementsAre("g"));
}

TEST(FamilyNames, EverySeriesOfAFamilyLeadsBackToIt) {
  for (const MetricType type : kTypes) {
    for (const std::string& name : SeriesNamesOf("x", type)) {
      const bool kept = type == MetricType::kCounter || type == MetricType::kInfo;
      EXPECT_EQ(MetricFamilyOf(name, type), kept ? name : "x");
    }
  }
}

TEST(FamilyNames, AllSuffixesAreThoseOfTheTypesAndCreated) {
  std::set<std::string_view> expected = {"_created"};
  for (const MetricType type : kTypes) expected.insert(SampleSuffixes(type).begin(), SampleSuffixes(type).end());
  EXPECT_THAT(AllSampleSuffixes(), ::testing::UnorderedElementsAreArray(expected));
}

}  // namespace
}  // namespace chronolith::interop
