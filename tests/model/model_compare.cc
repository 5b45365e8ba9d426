// What a store shows against what its model says.
#include <cstdio>
#include <set>

#include "chunk/histogram_chunk.h"
#include "chunk/xor_chunk.h"
#include "tests/model/model_run.h"

namespace chronolith {
namespace {

std::string Text(ModelValue value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%s %016llx", value.histogram ? "histogram" : "float",
                static_cast<unsigned long long>(value.bits));
  return text;
}

// By Next, by NextFloats, or decoded from the raw chunks.
ModelPoints PointsOf(SeriesSet* set, std::uint64_t form) {
  ModelPoints points;
  const auto add = [&points](Timestamp t, ModelValue value) {
    EXPECT_TRUE(points.empty() || points.rbegin()->first < t) << "timestamps do not ascend at " << t;
    points.emplace_hint(points.end(), t, value);
  };
  if (form == 2) {
    ChunkIterator& chunks = set->chunks();
    while (chunks.Next()) {
      if (chunks.chunk().encoding == RawChunk::Encoding::kXor) {
        const auto samples = DecodeXor(chunks.chunk().data);
        EXPECT_TRUE(samples.ok()) << samples.status().ToString();
        for (const Sample& s : *samples) add(s.timestamp, ValueOf(s.value));
      } else {
        const auto samples = DecodeHistograms(chunks.chunk().data);
        EXPECT_TRUE(samples.ok()) << samples.status().ToString();
        for (const HistogramSample& s : *samples) add(s.timestamp, ValueOf(s.timestamp, s.histogram));
      }
    }
    EXPECT_TRUE(chunks.status().ok()) << chunks.status().ToString();
    return points;
  }
  SampleIterator& samples = set->samples();
  for (;;) {
    if (form == 1) {
      Timestamp t[7];
      double v[7];
      const std::size_t n = samples.NextFloats(t, v, std::size(t));
      for (std::size_t i = 0; i < n; ++i) add(t[i], ValueOf(v[i]));
      if (n > 0) continue;
    }
    const ValueType type = samples.Next();
    if (type == ValueType::kNone) break;
    add(samples.timestamp(),
        type == ValueType::kFloat ? ValueOf(samples.value()) : ValueOf(samples.timestamp(), samples.histogram()));
  }
  EXPECT_TRUE(samples.status().ok()) << samples.status().ToString();
  return points;
}

void Explain(const Labels& labels, const ModelPoints& found, const ModelPoints& expected) {
  for (const auto& [t, value] : expected) {
    const auto at = found.find(t);
    if (at == found.end()) {
      ADD_FAILURE() << labels.ToString() << " lacks " << t;
    } else if (at->second != value) {
      ADD_FAILURE() << labels.ToString() << " at " << t << " has " << Text(at->second) << " instead of " << Text(value);
    }
  }
  for (const auto& [t, value] : found) {
    if (!expected.contains(t)) ADD_FAILURE() << labels.ToString() << " has too much: " << t << " " << Text(value);
  }
}

}  // namespace

void ModelRun::Compare() {
  CompareSelect(store_.get(), AnyMatchers(3), OneIn(50) ? TimeRange{} : AnyRange(6 * kWindowMs, 3 * kWindowMs), Below(3));
  const std::uint64_t r = Below(4);
  if (r == 0) CompareSeries(AnyMatchers(3), OneIn(2) ? TimeRange{} : AnyRange(6 * kWindowMs, 3 * kWindowMs));
  if (r == 1) CompareNames(AnyMatchers(3));
  if (r == 2) CompareValues(OneIn(2) ? "some" : "id", AnyMatchers(3));
}

void ModelRun::CompareAll() {
  CompareSelect(store_.get(), {}, {}, Below(3));
  CompareSeries({}, {});
  CompareNames({});
  CompareValues("id", {});
  CompareMetadata();
}

void ModelRun::CompareSelect(Storage* store, const std::vector<Matcher>& matchers, TimeRange range, std::uint64_t form) {
  ++mix_.count[form == 2 ? ModelMix::kChunks : ModelMix::kSelect];
  const bool failed_before = testing::Test::HasFailure();
  const auto expected = model_.Select(matchers, range);
  auto set = store->Select(matchers, range);
  ASSERT_TRUE(set.ok()) << Text(matchers) << ": " << set.status().ToString();
  std::size_t at = 0;
  while ((*set)->Next()) {
    const ModelPoints found = PointsOf(set->get(), form);
    mix_.count[ModelMix::kSamplesRead] += found.size();
    while (at < expected.size() && expected[at].first->labels < (*set)->labels()) {
      ADD_FAILURE() << expected[at++].first->labels.ToString() << " is missing";
    }
    if (at == expected.size() || expected[at].first->labels != (*set)->labels()) {
      ADD_FAILURE() << (*set)->labels().ToString() << " should not be there, or not here";
      continue;
    }
    if (found != expected[at].second) Explain((*set)->labels(), found, expected[at].second);
    ++at;
  }
  EXPECT_TRUE((*set)->status().ok()) << (*set)->status().ToString();
  for (; at < expected.size(); ++at) ADD_FAILURE() << expected[at].first->labels.ToString() << " is missing";
  if (!failed_before && testing::Test::HasFailure()) {
    ADD_FAILURE() << "by " << Text(matchers) << " from " << range.start << " to " << range.end << ", form " << form;
  }
}

// All of time: exactly what the index knows. A range: what has a sample in it, and perhaps more, as chunks go.
void ModelRun::CompareSeries(const std::vector<Matcher>& matchers, TimeRange range) {
  ++mix_.count[ModelMix::kSeries];
  const bool all_of_time = range == TimeRange{};
  LookupOptions options{.range = range};
  if (all_of_time && !matchers.empty() && OneIn(4)) options.limit = 1 + Below(5);
  const auto found = store_->Series(matchers, options);
  ASSERT_TRUE(found.ok()) << Text(matchers) << ": " << found.status().ToString();
  EXPECT_TRUE(std::is_sorted(found->values.begin(), found->values.end()));
  const std::set<Labels> values(found->values.begin(), found->values.end());
  EXPECT_EQ(values.size(), found->values.size()) << "a series twice";
  std::size_t matching = 0;
  for (std::size_t i = 0; i <= kSeries; ++i) {
    StoreModel::Series& series = model_.at(i);
    const bool there = values.contains(series.labels);
    const auto point = series.points.lower_bound(range.start);
    const bool has_data = point != series.points.end() && point->first < range.end;
    const bool matches = StoreModel::Matches(series.labels, matchers);
    matching += there ? 1 : 0;
    if (there) {
      EXPECT_TRUE(matches && series.presence != StoreModel::Presence::kAbsent)
          << series.labels.ToString() << " by " << Text(matchers);
    } else if (matches && (all_of_time ? series.presence == StoreModel::Presence::kPresent : has_data)) {
      // Left out by the limit: then it comes after all that are there.
      EXPECT_TRUE(found->truncated && *values.rbegin() < series.labels) << series.labels.ToString() << " by " << Text(matchers);
    }
    if (all_of_time && matchers.empty() && series.presence == StoreModel::Presence::kMaybe) {
      series.presence = there ? StoreModel::Presence::kPresent : StoreModel::Presence::kAbsent;
      if (!there) series.Removed();
    }
  }
  EXPECT_EQ(matching, values.size()) << "series that nobody wrote";
  EXPECT_EQ(found->truncated && options.limit == 0, false);
  if (options.limit != 0) {
    EXPECT_LE(values.size(), options.limit);
  }
}

void ModelRun::CompareNames(const std::vector<Matcher>& matchers) {
  ++mix_.count[ModelMix::kLabelNames];
  const auto found = store_->LabelNames(matchers);
  ASSERT_TRUE(found.ok()) << Text(matchers) << ": " << found.status().ToString();
  std::set<std::string> must;
  std::set<std::string> may;
  for (const StoreModel::Series& series : model_.series()) {
    if (series.presence == StoreModel::Presence::kAbsent || !StoreModel::Matches(series.labels, matchers)) continue;
    for (const Label& label : series.labels) {
      may.emplace(label.name);
      if (series.presence == StoreModel::Presence::kPresent) must.emplace(label.name);
    }
  }
  const std::set<std::string> values(found->values.begin(), found->values.end());
  EXPECT_TRUE(std::includes(values.begin(), values.end(), must.begin(), must.end())) << "names are missing by " << Text(matchers);
  EXPECT_TRUE(std::includes(may.begin(), may.end(), values.begin(), values.end())) << "names too many by " << Text(matchers);
  EXPECT_TRUE(std::is_sorted(found->values.begin(), found->values.end()) && values.size() == found->values.size());
}

void ModelRun::CompareValues(const std::string& name, const std::vector<Matcher>& matchers) {
  ++mix_.count[ModelMix::kLabelValues];
  const auto found = store_->LabelValues(name, matchers);
  ASSERT_TRUE(found.ok()) << Text(matchers) << ": " << found.status().ToString();
  std::set<std::string> must;
  std::set<std::string> may;
  for (const StoreModel::Series& series : model_.series()) {
    const std::string_view value = series.labels.Get(name);
    if (value.empty() || series.presence == StoreModel::Presence::kAbsent || !StoreModel::Matches(series.labels, matchers))
      continue;
    may.emplace(value);
    if (series.presence == StoreModel::Presence::kPresent) must.emplace(value);
  }
  const std::set<std::string> values(found->values.begin(), found->values.end());
  EXPECT_TRUE(std::includes(values.begin(), values.end(), must.begin(), must.end())) << "values are missing by " << Text(matchers);
  EXPECT_TRUE(std::includes(may.begin(), may.end(), values.begin(), values.end())) << "values too many by " << Text(matchers);
  EXPECT_TRUE(std::is_sorted(found->values.begin(), found->values.end()) && values.size() == found->values.size());
}

void ModelRun::CompareMetadata() {
  ++mix_.count[ModelMix::kMetadata];
  for (const StoreModel::Series& series : model_.series()) {
    const auto found = store_->SeriesMetadata(series.labels);
    if (series.presence == StoreModel::Presence::kAbsent) {
      EXPECT_EQ(found.status().code(), StatusCode::kNotFound) << series.labels.ToString();
    } else if (series.presence == StoreModel::Presence::kPresent) {
      EXPECT_TRUE(found.ok()) << found.status().ToString();
      EXPECT_TRUE(!found.ok() || *found == series.metadata) << series.labels.ToString();
    }
  }
}

}  // namespace chronolith
