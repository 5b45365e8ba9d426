#include "query/select.h"

#include <algorithm>

#include "base/prefetch.h"
#include "query/label_order.h"
#include "query/matching.h"
#include "query/poll.h"
#include "query/series_batch.h"
#include "query/series_cursor.h"

namespace chronolith {
namespace {

// Rows lie in the order of windows and ordinals, not of labels. Each batch passes over all rows of its shards and range, so a scan
// is the faster the fewer batches it takes: they are as large as the bytes allow.
constexpr std::size_t kBatchBytes = 64U << 20;
constexpr std::size_t kBatchSeriesMin = 64;
constexpr std::size_t kBatchSeriesMax = 1U << 16;
constexpr std::size_t kBatchGrowth = 32;
// With no more series than this the first batch takes what a batch may have at least, and learns from it.
constexpr std::size_t kFewSeries = 256;
// What reads more than both is a scan: it does not displace what others have in the block cache.
constexpr std::size_t kCachedSeriesMax = 1024;
constexpr std::uint64_t kCachedBytesMax = 8U << 20;
constexpr std::size_t kBytesOfSeriesMin = 1024;  // what an estimate may miss: rows not flushed, chunks in the head
constexpr std::size_t kLabelsAtOnce = 1U << 12;
// Where memory is counted: of a series that nothing is known of yet, and of what there is, for one batch.
constexpr std::size_t kBytesOfSeries = 16U << 10;
constexpr std::uint64_t kBatchBytesMin = 1U << 20;
constexpr std::uint64_t kBatchesOfAll = 16;

struct Selected {
  Labels labels;
  SeriesAt at;
};

enum class Empty : std::uint8_t { kSkip, kVisit };  // series without samples

class SelectCursor : public SeriesWalk {
 public:
  SelectCursor(std::shared_ptr<const QueryContext> context, std::vector<Selected> series, TimeRange range, Empty empty,
               const SelectOptions& options, const DamagePolicy& damage, std::unique_ptr<MemoryShare> share)
      : context_(std::move(context)),
        series_(std::move(series)),
        range_(range),
        empty_(empty),
        share_(std::move(share)),
        share_of_labels_(share_ == nullptr ? 0 : share_->bytes()),
        batch_bytes_(share_ == nullptr ? kBatchBytes : BatchBytes(share_->limit_bytes())),
        poll_(options.deadline, options.cancelled),
        damage_(damage),
        batch_(context_.get(), ChunkType::kXor, ChunkType::kHistogram),
        samples_(context_->duplicate_policy, &poll_),
        chunks_(context_->duplicate_policy, context_->max_samples_per_chunk, &poll_) {
    batch_size_ = FirstBatchSize();
  }

  bool Next() override {
    status_ = status();  // an error within the series before ends the set
    while (status_.ok()) {
      if (next_ == batch_end_ && !LoadBatch()) return false;
      if (status_ = poll_.After(kWorkOfSeries); !status_.ok()) return false;
      current_ = next_++;
      batch_.PartsOf(current_ - batch_begin_, &parts_);
      batch_.Prefetch(next_ - batch_begin_);  // while the caller decodes this one
      if (next_ < batch_end_) Prefetch(series_[next_].labels.encoded());
      has_samples_ = HasSample();
      if (has_samples_ || (empty_ == Empty::kVisit && status_.ok())) {
        samples_.Reset(&parts_);
        chunks_.Reset(&parts_);
        return true;
      }
    }
    return false;
  }
  const Labels& labels() const override { return series_[current_].labels; }
  SampleIterator& samples() override { return samples_; }
  ChunkIterator& chunks() override { return chunks_; }
  // What went wrong while reading samples or chunks of the current series counts as well.
  Status status() const override {
    if (!status_.ok()) return status_;
    if (Status s = samples_.status(); !s.ok()) return s;
    return chunks_.status();
  }
  bool partial() const override { return damage_.skipped(); }
  bool has_samples() const override { return has_samples_; }

 private:
  static std::size_t BatchBytes(std::uint64_t limit) {
    return static_cast<std::size_t>(std::clamp<std::uint64_t>(limit / kBatchesOfAll, kBatchBytesMin, kBatchBytes));
  }
  std::size_t FirstBatchSize();
  bool TakeRoom();
  bool LoadBatch();
  bool HasSample();

  const std::shared_ptr<const QueryContext> context_;
  const std::vector<Selected> series_;
  const TimeRange range_;
  const Empty empty_;
  const std::unique_ptr<MemoryShare> share_;  // of labels and batch; null: nobody counts
  const std::uint64_t share_of_labels_;
  const std::size_t batch_bytes_;
  std::uint64_t batch_bytes_seen_ = 0;
  Poll poll_;
  DamagePolicy damage_;
  SeriesBatch batch_;
  std::size_t batch_begin_ = 0;  // in series_
  std::size_t batch_end_ = 0;
  std::size_t batch_size_ = kBatchSeriesMin;  // of the next one
  std::size_t bytes_per_series_ = kBytesOfSeries;
  std::size_t next_ = 0;
  std::size_t current_ = 0;
  bool has_samples_ = false;
  SeriesParts parts_;
  SeriesSamples samples_;
  SeriesChunks chunks_;
  Status status_;
};

// Guesses from the bytes on disk. Where few of a shard's series match, a series seems larger than it is, and the first batch is
// smaller than it could be; seeking between far rows, it loses nothing by that.
std::size_t SelectCursor::FirstBatchSize() {
  if (series_.size() <= kFewSeries) return kBatchSeriesMin;
  std::uint64_t bytes = 0;
  for (const ShardReader& shard : context_->shards) bytes += shard.chunks->EstimateBytes(range_);
  if (series_.size() > kCachedSeriesMax && bytes > kCachedBytesMax) batch_.LeaveCache();
  bytes_per_series_ = static_cast<std::size_t>(bytes / series_.size()) + kBytesOfSeriesMin;
  return std::clamp(batch_bytes_ / bytes_per_series_, kBatchSeriesMin, kBatchSeriesMax);
}

// For the next batch, which becomes smaller where there is not enough.
bool SelectCursor::TakeRoom() {
  if (share_ == nullptr) return true;
  batch_size_ = std::min(batch_size_, series_.size() - batch_end_);
  while (!share_->GrowTo(share_of_labels_ + batch_size_ * bytes_per_series_)) {
    if (batch_size_ == 1) {
      status_ = share_->refusal();
      return false;
    }
    batch_size_ /= 2;
  }
  return true;
}

bool SelectCursor::LoadBatch() {
  if (batch_end_ == series_.size() || !TakeRoom()) return false;
  batch_begin_ = batch_end_;
  batch_end_ = std::min(series_.size(), batch_begin_ + batch_size_);
  std::vector<SeriesAt> at;
  at.reserve(batch_end_ - batch_begin_);
  for (std::size_t i = batch_begin_; i < batch_end_; ++i) at.push_back(series_[i].at);
  if (status_ = batch_.Load(at, range_, &poll_, &damage_); !status_.ok()) return false;
  bytes_per_series_ = batch_.bytes() / at.size() + 1;
  const std::size_t most = std::min(kBatchSeriesMax, batch_size_ * kBatchGrowth);
  batch_size_ = std::clamp(batch_bytes_ / bytes_per_series_, kBatchSeriesMin, std::max(most, kBatchSeriesMin));
  if (share_ != nullptr) {
    batch_bytes_seen_ = std::max<std::uint64_t>(batch_bytes_seen_, batch_.bytes());  // a batch keeps its memory for the next one
    const std::uint64_t held = share_of_labels_ + batch_bytes_seen_;
    if (held > share_->bytes()) share_->ForceGrow(held - share_->bytes());  // it is there already
    share_->ShrinkTo(held);
  }
  return true;
}

bool SelectCursor::HasSample() {
  if (parts_.empty()) return false;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (parts_[i].clean() && parts_[i].chunk.meta.samples > 0) return true;
  }
  samples_.Reset(&parts_);
  if (samples_.Next() != ValueType::kNone) return true;
  status_ = samples_.status();
  return false;
}

// Labels of the matched series of all shards, in order.
Status FetchSorted(const QueryContext& context, const std::vector<OrdinalSet>& matched, Poll* poll, DamagePolicy* damage,
                   const WorkBounds& bounds, std::vector<Selected>* selected) {
  std::uint64_t bytes = 0;  // of the labels, where they end up
  std::vector<Labels> all_labels;
  std::vector<SeriesAt> all_at;
  std::vector<Labels> labels;
  for (std::uint32_t k = 0; k < matched.size(); ++k) {
    const std::vector<Ordinal> ordinals = matched[k].ToVector();
    for (std::size_t begin = 0; begin < ordinals.size(); begin += kLabelsAtOnce) {
      if (Status s = poll->Check(); !s.ok()) return s;
      const auto some = std::span(ordinals).subspan(begin, std::min(kLabelsAtOnce, ordinals.size() - begin));
      const Status read = context.shards[k].index->LabelsOf(some, &labels);
      if (!read.ok()) labels.clear();
      if (Status s = damage->Filter(context.shards[k].shard, read); !s.ok()) return s;
      for (std::size_t i = 0; i < labels.size(); ++i) {
        if (labels[i].empty()) continue;  // removed since it matched
        bytes += labels[i].encoded().size() + sizeof(Selected);
        all_labels.push_back(std::move(labels[i]));
        all_at.push_back({k, some[i]});
      }
      // Sorting them takes twice as much again.
      if (Status s = bounds.Take(3 * bytes - bounds.held_bytes()); !s.ok()) return s;
    }
  }
  if (Status s = poll->Check(); !s.ok()) return s;
  selected->reserve(all_labels.size());
  for (const std::uint32_t i : SortedByLabels(all_labels)) selected->push_back({std::move(all_labels[i]), all_at[i]});
  bounds.ShrinkTo(bytes);
  return Status::Ok();
}

// A cursor has its own, as several may be of one piece of work.
std::unique_ptr<MemoryShare> ShareOf(const WorkBounds& bounds) {
  return bounds.share == nullptr ? nullptr : std::unique_ptr<MemoryShare>(new MemoryShare(bounds.share->Another()));
}

// SelectOptions::among.
void KeepAmong(const QueryContext& context, std::span<const SeriesRef> among, std::vector<OrdinalSet>* matched) {
  if (matched->empty()) return;
  std::vector<OrdinalSet> wanted(matched->size());
  std::size_t k = 0;  // ids come mostly in order of shards
  for (const SeriesRef ref : among) {
    const std::size_t before = k;
    while (context.shards[k].shard != ShardOf(ref)) {
      if (++k == wanted.size()) k = 0;
      if (k == before) break;
    }
    if (context.shards[k].shard == ShardOf(ref)) wanted[k].Add(OrdinalOf(ref));
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) (*matched)[i].IntersectWith(wanted[i]);
}

}  // namespace

Result<std::unique_ptr<SeriesSet>> SelectSeries(std::shared_ptr<const QueryContext> context, const std::vector<Matcher>& matchers,
                                                TimeRange range, const SelectOptions& options, const WorkBounds& bounds) {
  if (Status s = CheckRange(range); !s.ok()) return s;
  Poll poll(options.deadline, options.cancelled);
  DamagePolicy damage(options.skip_damaged);
  std::vector<OrdinalSet> matched;
  if (Status s = MatchSeries(*context, matchers, TimeRange{}, options.max_series, &poll, &damage, &matched); !s.ok()) return s;
  if (!options.among.empty()) KeepAmong(*context, options.among, &matched);
  std::vector<Selected> selected;
  std::unique_ptr<MemoryShare> share = ShareOf(bounds);
  if (!range.empty()) {
    if (Status s = FetchSorted(*context, matched, &poll, &damage, {.share = share.get()}, &selected); !s.ok()) return s;
  }
  return std::unique_ptr<SeriesSet>(std::make_unique<SelectCursor>(std::move(context), std::move(selected), range, Empty::kSkip,
                                                                   options, damage, std::move(share)));
}

Result<std::unique_ptr<SeriesWalk>> WalkSeries(std::shared_ptr<const QueryContext> context, std::vector<KnownSeries> series,
                                               TimeRange range, const WorkBounds& bounds) {
  if (Status s = CheckRange(range); !s.ok()) return s;
  DamagePolicy damage(false);
  if (Status s = damage.Begin(context->quarantine, context->partial); !s.ok()) return s;
  std::vector<Selected> selected;
  selected.reserve(series.size());
  for (KnownSeries& known : series) {
    const ShardReader* const reader = ReaderOf(*context, ShardOf(known.ref));
    if (reader == nullptr) return NoShard(ShardOf(known.ref));
    const auto shard = static_cast<std::uint32_t>(reader - context->shards.data());
    selected.push_back({std::move(known.labels), {shard, OrdinalOf(known.ref)}});
  }
  SelectOptions options;
  options.cancelled = bounds.cancelled;
  return std::unique_ptr<SeriesWalk>(std::make_unique<SelectCursor>(std::move(context), std::move(selected), range, Empty::kVisit,
                                                                    options, damage, ShareOf(bounds)));
}

}  // namespace chronolith
