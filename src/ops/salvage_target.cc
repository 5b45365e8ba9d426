// salvage: writing to the new store.
#include <algorithm>
#include <utility>

#include "ops/salvage_parts.h"

namespace chronolith::ops {
namespace {

constexpr std::size_t kBatchItems = 50'000;

struct Refused {
  std::uint64_t samples = 0, histograms = 0, exemplars = 0;
  std::optional<Timestamp> first, last;
  void At(Timestamp t) {
    first = std::min(first.value_or(t), t);
    last = std::max(last.value_or(t), t);
  }
};

Refused WhatIsRefused(const TimeSeries& series, const Refusal& refusal) {
  Refused refused;
  const auto take = [&](const auto& items, Refusal::What what, std::uint64_t* count) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (refusal.what != Refusal::What::kSeries && (refusal.what != what || refusal.item != i)) continue;
      refused.At(items[i].timestamp);
      ++*count;
    }
  };
  take(series.samples, Refusal::What::kSample, &refused.samples);
  take(series.histograms, Refusal::What::kHistogram, &refused.histograms);
  take(series.exemplars, Refusal::What::kExemplar, &refused.exemplars);
  return refused;
}

}  // namespace

Status SalvageTarget::Write(ShardId shard, TimeSeries series) {
  items_ += 1 + series.samples.size() + 8 * series.histograms.size() + series.exemplars.size();
  batch_.push_back(std::move(series));
  shards_.push_back(shard);
  return items_ < kBatchItems ? Status::Ok() : Flush();
}

void SalvageTarget::TellRefused(const Refusal& refusal) {
  const TimeSeries& series = batch_[refusal.series];
  const Refused refused = WhatIsRefused(series, refusal);
  report_->samples -= refused.samples;
  report_->histograms -= refused.histograms;
  report_->exemplars -= refused.exemplars;
  SalvageLoss loss{.kind = LossKind::kRefused,
                   .shard = shards_[refusal.series],
                   .series = series.labels.ToString(),
                   .start = refused.first,
                   .samples = refused.samples + refused.histograms,
                   .what = refusal.reason.message()};
  if (refused.last) loss.end = *refused.last == kMaxTimestamp ? kMaxTimestamp : *refused.last + 1;
  losses_->Add(std::move(loss));
}

Status SalvageTarget::Flush() {
  if (batch_.empty()) return Status::Ok();
  WriteResult result;
  if (storage_ != nullptr) result = storage_->Write(batch_);
  if (!result.ok() && result.refused.empty()) return result.status.WithContext("writing to the new store");
  for (const TimeSeries& series : batch_) {
    report_->samples += series.samples.size();
    report_->histograms += series.histograms.size();
    report_->exemplars += series.exemplars.size();
  }
  for (const Refusal& refusal : result.refused) {
    const StatusCode code = refusal.reason.code();
    if (code != StatusCode::kInvalidArgument && code != StatusCode::kFailedPrecondition && code != StatusCode::kAlreadyExists) {
      return refusal.reason.WithContext("writing to the new store");
    }
    TellRefused(refusal);
  }
  batch_.clear();
  shards_.clear();
  items_ = 0;
  return Status::Ok();
}

}  // namespace chronolith::ops
