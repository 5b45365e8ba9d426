// A store with some of everything, and what is known of it: for operations that take a whole store somewhere else.
#ifndef CHRONOLITH_TESTS_OPS_RICH_STORE_H_
#define CHRONOLITH_TESTS_OPS_RICH_STORE_H_

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <string>
#include <vector>

#include "chronolith/storage.h"

namespace chronolith::testing_support {

inline constexpr Timestamp kRichStart = 1'699'999'200'000;  // where a window begins

inline Labels RichLabels(const std::string& name, int i) {
  return Labels{{"__name__", name}, {"i", std::to_string(i * 7919 % 10'007)}, {"job", i % 2 == 0 ? "even" : "odd"}};
}

inline IntHistogram RichIntHistogram(int i) {
  IntHistogram h;
  h.reset_hint = static_cast<CounterResetHint>(i % 4);
  h.schema = i % 3;
  h.zero_threshold = 0.001;
  h.zero_count = 2;
  h.count = 9 + static_cast<std::uint64_t>(i % 2);
  h.sum = i % 5 == 0 ? std::numeric_limits<double>::quiet_NaN() : 4.5 * i;
  h.positive_spans = {{0, 2}, {3, 1}};
  h.positive_deltas = {1, 1, i % 2};
  h.negative_spans = {{-1, 1}};
  h.negative_deltas = {2};
  return h;
}

inline FloatHistogram RichFloatHistogram(int i, bool custom) {
  FloatHistogram h;
  h.schema = custom ? kCustomBucketsSchema : 1;
  if (custom) h.custom_values = {0.5, 1, 2.5};
  h.zero_threshold = custom ? 0 : 0.01;
  h.count = 6.5 + i;
  h.sum = -0.0;
  h.positive_spans = {{0, 3}};
  h.positive_counts = {1.5, 2, 3.0 + i};
  return h;
}

// `series` of floats with `samples` each (stale markers, NaNs with a payload, late ones), and some of all other kinds; then
// deletes. All of it is logged, part of it checkpointed.
inline void FillRichStore(Storage* store, int series, int samples) {
  const auto write = [store](const TimeSeries& s) {
    const WriteResult result = store->Write(s);
    ASSERT_EQ(result.status, Status::Ok()) << s.labels.ToString() << ": " << result.status.message();
  };
  constexpr Timestamp kStep = 30'000;
  for (int i = 0; i < series; ++i) {
    TimeSeries s;
    s.labels = RichLabels("float", i);
    for (int k = 0; k < samples; ++k) {
      const bool late = k % 10 == 3;
      if (late) continue;
      s.samples.push_back({kRichStart + k * kStep, k % 97 == 0   ? std::bit_cast<double>(kStaleNaNBits)
                                                   : k % 89 == 0 ? std::bit_cast<double>(0x7ff8000000000abcULL)
                                                                 : i + 0.25 * k});
    }
    if (i % 3 == 0) s.exemplars = {{Labels{{"trace_id", "t" + std::to_string(i)}}, 0.5, kRichStart + 5 * kStep}};
    if (i % 4 == 0) s.metadata = {{MetricType::kCounter, "seconds", "Help \"of\"\n" + std::to_string(i)}};
    write(s);
  }
  ASSERT_EQ(store->Checkpoint(), Status::Ok());
  for (int i = 0; i < series; ++i) {  // late, behind what is stored
    TimeSeries s;
    s.labels = RichLabels("float", i);
    for (int k = 3; k < samples; k += 10) s.samples.push_back({kRichStart + k * kStep, -1.0 * k});
    if (!s.samples.empty()) write(s);
  }
  for (int i = 0; i < 12; ++i) {
    TimeSeries s;
    s.labels = RichLabels("histogram", i);
    for (int k = 0; k < 40; ++k) {
      Histogram h = i % 3 == 0 ? Histogram(RichIntHistogram(i + k)) : Histogram(RichFloatHistogram(k, i % 3 == 1));
      s.histograms.push_back({kRichStart + k * kStep, std::move(h)});
    }
    if (i % 2 == 0) s.samples = {{kRichStart + 100 * kStep, 1}};  // both kinds in one series
    write(s);
  }
  TimeSeries exemplar_only;
  exemplar_only.labels = RichLabels("only_exemplars", 1);
  exemplar_only.exemplars = {{Labels{{"trace_id", "x"}}, std::bit_cast<double>(0x7ff8000000000abcULL), kRichStart + 25 * kStep}};
  write(exemplar_only);
  TimeSeries metadata_only;
  metadata_only.labels = RichLabels("only_metadata", 1);
  metadata_only.metadata = {{MetricType::kGauge, "", "nothing but this"}};
  write(metadata_only);
  TimeSeries gone;
  gone.labels = RichLabels("gone", 1);
  gone.samples = {{kRichStart + 25 * kStep, 1}, {kRichStart + 26 * kStep, 2}};
  write(gone);
  ASSERT_EQ(store->Delete({Matcher::Equal("__name__", "gone")}, {}).status, Status::Ok());
  // In the middle, of half of the series, with their exemplars.
  const TimeRange middle{kRichStart + 4 * kStep, kRichStart + 40 * kStep};
  ASSERT_EQ(store->Delete({Matcher::Equal("__name__", "float"), Matcher::Equal("job", "odd")}, middle).status, Status::Ok());
}

}  // namespace chronolith::testing_support

#endif  // CHRONOLITH_TESTS_OPS_RICH_STORE_H_
