// Random native histograms that ValidateHistogram accepts: both kinds, exponential and custom buckets, stale markers.
#ifndef CHRONOLITH_TESTS_CHUNK_RANDOM_HISTOGRAM_H_
#define CHRONOLITH_TESTS_CHUNK_RANDOM_HISTOGRAM_H_

#include <bit>
#include <random>
#include <vector>

#include "chronolith/types.h"

namespace chronolith {

class RandomHistograms {
 public:
  explicit RandomHistograms(std::mt19937_64* rng) : rng_(*rng) {}

  Histogram Next() {
    if (rng_() % 8 == 0) fresh_ = true;
    if (rng_() % 40 == 0) return Stale();
    if (fresh_) {
      fresh_ = false;
      if (rng_() % 2 == 0) {
        last_ = NewInt();
      } else {
        last_ = NewFloat();
      }
    } else {
      std::visit([this](auto& h) { Grow(&h); }, last_);
    }
    return last_;
  }

 private:
  std::vector<BucketSpan> Spans(bool custom, std::uint32_t* buckets) {
    std::vector<BucketSpan> spans(rng_() % 4);
    *buckets = 0;
    for (std::size_t i = 0; i < spans.size(); ++i) {
      spans[i].offset = static_cast<std::int32_t>(rng_() % 5);
      if (i == 0 && !custom) spans[i].offset -= 10;
      spans[i].length = static_cast<std::uint32_t>(rng_() % 9);
      *buckets += spans[i].length;
    }
    return spans;
  }

  template <typename H>
  void Shape(H* h, std::uint32_t* positive, std::uint32_t* negative) {
    const bool custom = rng_() % 4 == 0;
    h->reset_hint = static_cast<CounterResetHint>(rng_() % 4);
    h->schema = custom ? kCustomBucketsSchema : static_cast<std::int32_t>(rng_() % 13) - 4;
    h->positive_spans = Spans(custom, positive);
    *negative = 0;
    if (custom) {
      for (int i = 0; i < 40; ++i) h->custom_values.push_back(i * 0.25 - 3);
    } else {
      h->negative_spans = Spans(false, negative);
      h->zero_threshold = 1e-128;
    }
  }

  Histogram NewInt() {
    IntHistogram h;
    std::uint32_t positive, negative;
    Shape(&h, &positive, &negative);
    h.positive_deltas.resize(positive);
    h.negative_deltas.resize(negative);
    Grow(&h);
    return h;
  }

  Histogram NewFloat() {
    FloatHistogram h;
    std::uint32_t positive, negative;
    Shape(&h, &positive, &negative);
    h.positive_counts.resize(positive);
    h.negative_counts.resize(negative);
    Grow(&h);
    return h;
  }

  void GrowSide(std::vector<std::int64_t>* deltas, std::uint64_t* total) {
    std::int64_t before = 0, before_now = 0;
    for (std::int64_t& d : *deltas) {
      const std::int64_t old = before + d;
      const std::int64_t now = old + static_cast<std::int64_t>(rng_() % 4 == 0 ? rng_() % 1000 : 0);
      before = old;
      d = now - before_now;
      before_now = now;
      *total += static_cast<std::uint64_t>(now);
    }
  }

  void Grow(IntHistogram* h) {
    if (h->schema != kCustomBucketsSchema) h->zero_count += rng_() % 3;
    h->count = h->zero_count;
    GrowSide(&h->positive_deltas, &h->count);
    GrowSide(&h->negative_deltas, &h->count);
    h->sum += static_cast<double>(rng_() % 100000) / 7;
    h->reset_hint = static_cast<CounterResetHint>(rng_() % 4);
  }

  void Grow(FloatHistogram* h) {
    if (h->schema != kCustomBucketsSchema) h->zero_count += static_cast<double>(rng_() % 3);
    for (auto* side : {&h->positive_counts, &h->negative_counts}) {
      for (double& c : *side) c += rng_() % 3 == 0 ? static_cast<double>(rng_() % 1000) / 3 : 0;
    }
    h->count += static_cast<double>(rng_() % 1000);
    h->sum -= static_cast<double>(rng_() % 100000) / 7;
  }

  Histogram Stale() {
    if (rng_() % 2 == 0) {
      IntHistogram h;
      h.sum = std::bit_cast<double>(kStaleNaNBits);
      return h;
    }
    FloatHistogram h;
    h.sum = std::bit_cast<double>(kStaleNaNBits);
    return h;
  }

  std::mt19937_64& rng_;
  Histogram last_;
  bool fresh_ = true;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_CHUNK_RANDOM_HISTOGRAM_H_
