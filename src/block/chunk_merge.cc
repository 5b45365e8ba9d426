#include "block/chunk_merge.h"

#include <algorithm>
#include <numeric>

#include "chunk/histogram_chunk.h"

namespace chronolith {
namespace {

bool Before(const MergedSample& a, const MergedSample& b) {
  return a.timestamp != b.timestamp ? a.timestamp < b.timestamp : a.rank < b.rank;
}

}  // namespace

Status BadChunk(const ChunkMeta& meta, const Status& why) {
  return why.WithContext("chunk of ordinal " + std::to_string(meta.ordinal) + " in window " + std::to_string(meta.window) +
                         ", creation LSN " + std::to_string(meta.creation_lsn) + ", sequence " + std::to_string(meta.sequence));
}

Status WrongCount(const ChunkMeta& meta, std::uint64_t found) {
  return BadChunk(meta, DataLoss("holds " + std::to_string(found) + " samples; its row says " + std::to_string(meta.samples)));
}

void SortExemplars(std::vector<Exemplar>* exemplars) {
  const auto bits = [](const Exemplar& e) { return std::bit_cast<std::uint64_t>(e.value); };
  std::sort(exemplars->begin(), exemplars->end(), [&](const Exemplar& a, const Exemplar& b) {
    if (a.timestamp != b.timestamp) return a.timestamp < b.timestamp;
    const auto order = a.labels <=> b.labels;
    return order != 0 ? order < 0 : bits(a) < bits(b);
  });
  const auto equal = [&](const Exemplar& a, const Exemplar& b) {
    return a.timestamp == b.timestamp && bits(a) == bits(b) && a.labels == b.labels;
  };
  exemplars->erase(std::unique(exemplars->begin(), exemplars->end(), equal), exemplars->end());
}

Status ChunkMerge::AddFloats(const SeriesParts& parts, const Part& part, std::uint32_t rank) {
  const ChunkMeta& meta = part.chunk.meta;
  floats_.Reset(part.chunk.data);
  const std::size_t count = floats_.count();
  timestamps_.resize(count);
  values_.resize(count);
  std::size_t n = 0;
  while (n < count) {
    const std::size_t more = floats_.Decode(&timestamps_[n], &values_[n], count - n);
    if (more == 0) break;
    n += more;
  }
  if (!floats_.ok()) return BadChunk(meta, floats_.status());
  if (n != meta.samples) return WrongCount(meta, n);
  const std::size_t kept = part.clean() ? n : RemoveHidden(parts.HiddenIn(part), timestamps_.data(), values_.data(), n);
  hidden_ += n - kept;
  runs_.push_back(samples_.size());
  for (std::size_t i = 0; i < kept; ++i) samples_.push_back({timestamps_[i], values_[i], kNoHistogram, rank});
  return Status::Ok();
}

Status ChunkMerge::AddHistograms(const SeriesParts& parts, const Part& part, std::uint32_t rank) {
  const ChunkMeta& meta = part.chunk.meta;
  HistogramIterator it(part.chunk.data);
  const std::span<const TimeRange> hidden = parts.HiddenIn(part);
  runs_.push_back(samples_.size());
  std::uint32_t n = 0;
  for (; it.Next(); ++n) {
    const HistogramSample& sample = it.sample();
    if (IsHidden(hidden, sample.timestamp)) {
      ++hidden_;
      continue;
    }
    samples_.push_back({sample.timestamp, 0, static_cast<std::uint32_t>(histograms_.size()), rank});
    histograms_.push_back(sample);
  }
  if (!it.status().ok()) return BadChunk(meta, it.status());
  if (n != meta.samples) return WrongCount(meta, n);
  return Status::Ok();
}

// Merges the sorted runs pair by pair, then keeps the first sample of each timestamp.
void ChunkMerge::JoinLanes(DuplicatePolicy policy) {
  // A chunk is sorted; should one not be, its run is put in order here rather than believed.
  runs_.push_back(samples_.size());
  for (std::size_t i = 0; i + 1 < runs_.size(); ++i) {
    const auto begin = samples_.begin() + static_cast<std::ptrdiff_t>(runs_[i]);
    const auto end = samples_.begin() + static_cast<std::ptrdiff_t>(runs_[i + 1]);
    // Within a chunk the later of two equal timestamps came later.
    if (policy == DuplicatePolicy::kLastWins &&
        std::adjacent_find(begin, end, [](const auto& a, const auto& b) { return a.timestamp >= b.timestamp; }) != end) {
      std::reverse(begin, end);
    }
    if (!std::is_sorted(begin, end, Before)) std::stable_sort(begin, end, Before);
  }
  // Runs that follow one another in time are one: in-order chunks beside one overlay make two runs, not dozens.
  std::size_t kept_runs = 0;
  for (std::size_t i = 0; i + 1 < runs_.size(); ++i) {
    const std::size_t at = runs_[i];
    const bool follows = at == 0 || (at < samples_.size() && Before(samples_[at - 1], samples_[at]));
    if (i == 0 || !follows) runs_[kept_runs++] = at;
  }
  runs_[kept_runs++] = samples_.size();
  runs_.resize(kept_runs);
  while (runs_.size() > 2) {
    scratch_.resize(samples_.size());
    std::vector<std::size_t> merged;
    auto out = scratch_.begin();
    for (std::size_t i = 0; i + 1 < runs_.size(); i += 2) {
      merged.push_back(static_cast<std::size_t>(out - scratch_.begin()));
      const auto at = [&](std::size_t run) {
        return samples_.begin() + static_cast<std::ptrdiff_t>(runs_[std::min(run, runs_.size() - 1)]);
      };
      out = std::merge(at(i), at(i + 1), at(i + 1), at(i + 2), out, Before);
    }
    merged.push_back(samples_.size());
    samples_.swap(scratch_);
    runs_ = std::move(merged);
  }
  const auto same_time = [](const MergedSample& a, const MergedSample& b) { return a.timestamp == b.timestamp; };
  samples_.erase(std::unique(samples_.begin(), samples_.end(), same_time), samples_.end());
}

Status ChunkMerge::Run(const SeriesParts& parts, std::size_t begin, std::size_t end, DuplicatePolicy policy) {
  samples_.clear();
  histograms_.clear();
  runs_.clear();
  hidden_ = 0;
  std::vector<std::uint32_t> order(end - begin);
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const ChunkMeta& x = parts[begin + a].chunk.meta;
    const ChunkMeta& y = parts[begin + b].chunk.meta;
    return policy == DuplicatePolicy::kLastWins ? x.Supersedes(y) : y.Supersedes(x);
  });
  ranks_.resize(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) ranks_[order[i]] = static_cast<std::uint32_t>(i);

  // Time order puts chunks that follow one another side by side, unless something overlaps them.
  for (std::size_t i = begin; i < end; ++i) {
    const Part& part = parts[i];
    const std::uint32_t rank = ranks_[i - begin];
    const Status s = part.chunk.meta.type == ChunkType::kXor ? AddFloats(parts, part, rank) : AddHistograms(parts, part, rank);
    if (!s.ok()) return s;
  }
  JoinLanes(policy);
  return Status::Ok();
}

namespace {

EncodedChunk EncodeFloats(std::span<const MergedSample> samples) {
  std::vector<std::uint8_t> buffer(samples.size() * kXorMaxSampleBytes + 16);
  XorAppender appender;
  for (const MergedSample& s : samples) appender.Append(buffer.data(), s.timestamp, s.value);
  EncodedChunk chunk;
  chunk.type = ChunkType::kXor;
  chunk.min_time = samples.front().timestamp;
  chunk.max_time = samples.back().timestamp;
  chunk.samples = static_cast<std::uint32_t>(samples.size());
  appender.CopyTo(buffer.data(), &chunk.data);
  return chunk;
}

// Takes samples from the front until the chunk is full.
EncodedChunk EncodeHistogramRun(const ChunkMerge& merge, std::span<const MergedSample> samples) {
  HistogramAppender appender;
  for (const MergedSample& s : samples) {
    const Histogram& histogram = merge.histogram(s.histogram);
    if (appender.count() > 0 && appender.data().size() + HistogramAppender::MaxBytes(histogram) > kHistogramChunkBytes) break;
    appender.Append(s.timestamp, histogram);
  }
  EncodedChunk chunk;
  chunk.type = ChunkType::kHistogram;
  chunk.samples = appender.count();
  chunk.min_time = samples.front().timestamp;
  chunk.max_time = samples[chunk.samples - 1].timestamp;
  chunk.data = appender.Take();
  return chunk;
}

}  // namespace

void EncodeMerged(const ChunkMerge& merge, std::uint32_t max_samples, std::vector<EncodedChunk>* chunks) {
  const std::span<const MergedSample> samples = merge.samples();
  for (std::size_t i = 0; i < samples.size();) {
    const bool histogram = samples[i].histogram != kNoHistogram;
    std::size_t end = i + 1;
    while (end < samples.size() && end - i < max_samples && (samples[end].histogram != kNoHistogram) == histogram) ++end;
    const std::span<const MergedSample> run = samples.subspan(i, end - i);
    chunks->push_back(histogram ? EncodeHistogramRun(merge, run) : EncodeFloats(run));
    i += chunks->back().samples;
  }
}

}  // namespace chronolith
