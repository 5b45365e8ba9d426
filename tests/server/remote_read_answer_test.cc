// What an answer of samples holds while it is made: figures of the budget, and how far a cursor was read.
#include "server/remote_read_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "tests/interop/remote_write_decoder.h"

namespace chronolith::server {
namespace {

using Refusal = RemoteReadAnswer::Refusal;

// Does not compress.
double ValueAt(std::uint64_t at) { return std::bit_cast<double>((at * 0x9e3779b97f4a7c15) >> 2); }

// `length` floats or histograms. Counts what is read of it, and what the budget says meanwhile.
class Counting : public SampleIterator {
 public:
  Counting(std::uint64_t length, bool histograms, const MemoryBudget* budget)
      : length_(length), histograms_(histograms), budget_(budget) {
    IntHistogram h{.count = 1, .positive_spans = {{0, 1000}}};
    for (int i = 0; i < 1000; ++i) h.positive_deltas.push_back((i % 2 == 0 ? 1 : -1) * (1LL << 60));
    histogram_ = h;
  }
  ValueType Next() override {
    if (!Step()) return ValueType::kNone;
    return histograms_ ? ValueType::kIntHistogram : ValueType::kFloat;
  }
  Timestamp timestamp() const override { return static_cast<Timestamp>(read); }
  double value() const override { return ValueAt(read); }
  const Histogram& histogram() const override { return histogram_; }
  Status status() const override { return Status::Ok(); }
  std::size_t NextFloats(Timestamp* timestamps, double* values, std::size_t capacity) override {
    std::size_t n = 0;
    for (; !histograms_ && n < capacity && Step(); ++n) {
      timestamps[n] = timestamp();
      values[n] = value();
    }
    return n;
  }

  std::uint64_t read = 0, used_max = 0;

 private:
  bool Step() {
    used_max = std::max(used_max, budget_->used_bytes());
    if (read == length_) return false;
    ++read;
    return true;
  }

  const std::uint64_t length_;
  const bool histograms_;
  const MemoryBudget* const budget_;
  Histogram histogram_;
};

class OneSeries : public SeriesSet {
 public:
  OneSeries(std::uint64_t length, bool histograms, const MemoryBudget& budget) : counting(length, histograms, &budget) {}
  bool Next() override { return !std::exchange(begun_, true); }
  const Labels& labels() const override { return labels_; }
  SampleIterator& samples() override { return counting; }
  ChunkIterator& chunks() override { std::abort(); }
  Status status() const override { return Status::Ok(); }

  Counting counting;

 private:
  const Labels labels_{{"__name__", "m"}};
  bool begun_ = false;
};

constexpr std::uint64_t kMiB = 1 << 20;

TEST(RemoteReadAnswer, HoldsAllSamplesOfAllResults) {
  MemoryBudget budget(64 * kMiB);
  MemoryShare share(&budget);
  RemoteReadAnswer answer(64 * kMiB, &share);
  OneSeries floats(10'000, false, budget), histograms(50, true, budget);
  ASSERT_TRUE(answer.AddResult(&floats).ok());
  ASSERT_TRUE(answer.AddResult(nullptr).ok());
  ASSERT_TRUE(answer.AddResult(&histograms).ok());
  std::string compressed;
  ASSERT_TRUE(answer.Finish(&compressed).ok());
  EXPECT_GE(budget.used_bytes(), compressed.capacity());
  EXPECT_LT(budget.used_bytes(), compressed.size() + 1000) << "no more than the answer";
  const testing::DecodedRequest got = testing::DecodeReadResponse(testing::Unsnappy(compressed));
  ASSERT_EQ(got.error, "");
  ASSERT_EQ(got.series.size(), 2U);
  ASSERT_EQ(got.series[0].samples.size(), 10'000U);
  for (std::size_t i = 0; i < 10'000; ++i) {
    ASSERT_EQ(got.series[0].samples[i].timestamp, static_cast<Timestamp>(i + 1));
    ASSERT_EQ(got.series[0].samples[i].value, ValueAt(i + 1));
  }
  EXPECT_EQ(got.series[1].histograms.size(), 50U);
}

TEST(RemoteReadAnswer, ASeriesIsCountedWhileItIsRead) {
  for (const bool histograms : {false, true}) {
    MemoryBudget budget(8 * kMiB);
    MemoryShare share(&budget);
    RemoteReadAnswer answer(64 * kMiB, &share);
    OneSeries endless(1ULL << 40, histograms, budget);
    const Status status = answer.AddResult(&endless);
    EXPECT_EQ(answer.refusal(), Refusal::kTooLarge) << status.ToString();
    EXPECT_THAT(status.message(), ::testing::HasSubstr("8388608 bytes of memory: ask for less"));
    // A sample takes 14 bytes at least, a histogram 10,000.
    EXPECT_LT(endless.counting.read, 8 * kMiB / (histograms ? 10'000 : 14));
    EXPECT_GT(endless.counting.used_max, kMiB);
  }
}

TEST(RemoteReadAnswer, ItsOwnBoundAndWhatOthersTookAreToldApart) {
  MemoryBudget budget(64 * kMiB);
  {
    MemoryShare share(&budget);
    RemoteReadAnswer answer(kMiB, &share);
    OneSeries endless(1ULL << 40, false, budget);
    EXPECT_FALSE(answer.AddResult(&endless).ok());
    EXPECT_EQ(answer.refusal(), Refusal::kTooLarge);
  }
  EXPECT_EQ(budget.used_bytes(), 0U);
  MemoryShare others(&budget), share(&budget);
  ASSERT_TRUE(others.Grow(60 * kMiB));
  RemoteReadAnswer answer(64 * kMiB, &share);
  OneSeries endless(1ULL << 40, false, budget);
  EXPECT_FALSE(answer.AddResult(&endless).ok());
  EXPECT_EQ(answer.refusal(), Refusal::kNoMemory);
}

TEST(RemoteReadAnswer, MessageAndCompressedAnswerAreCountedTogether) {
  constexpr std::uint64_t kSamples = 500'000;  // 7 MiB
  MemoryBudget plenty(256 * kMiB);
  MemoryShare share(&plenty);
  RemoteReadAnswer answer(64 * kMiB, &share);
  OneSeries set(kSamples, false, plenty);
  ASSERT_TRUE(answer.AddResult(&set).ok());
  const std::uint64_t message = plenty.used_bytes();
  std::string compressed;
  ASSERT_TRUE(answer.Finish(&compressed).ok());
  ASSERT_GT(compressed.size(), 6 * kMiB);

  // Room for the message, and nearly as much for what it is compressed to.
  MemoryBudget tight(message + compressed.size() - 1);
  MemoryShare tight_share(&tight);
  RemoteReadAnswer refused(64 * kMiB, &tight_share);
  OneSeries again(kSamples, false, tight);
  ASSERT_TRUE(refused.AddResult(&again).ok());
  EXPECT_FALSE(refused.Finish(&compressed).ok());
  EXPECT_EQ(refused.refusal(), Refusal::kTooLarge);
}

TEST(RemoteReadAnswer, WhatTheShareHeldBeforeStaysTheCallers) {
  MemoryBudget budget(64 * kMiB);
  MemoryShare share(&budget);
  ASSERT_TRUE(share.Grow(5000));
  RemoteReadAnswer answer(64 * kMiB, &share);
  std::string compressed;
  ASSERT_TRUE(answer.AddResult(nullptr).ok());
  ASSERT_TRUE(answer.Finish(&compressed).ok());
  EXPECT_EQ(share.bytes(), 5000 + compressed.capacity());
}

}  // namespace
}  // namespace chronolith::server
