#include "query/series_cursor.h"

#include <algorithm>

namespace chronolith {

void SeriesSamples::Reset(const SeriesParts* parts) {
  parts_ = parts;
  mode_ = Mode::kNextComponent;
  next_part_ = 0;
  histogram_found_ = false;
  ahead_at_ = ahead_end_ = 0;
  status_ = Status::Ok();
}

bool SeriesSamples::Fail(Status status) {
  status_ = std::move(status);
  mode_ = Mode::kEnd;
  return false;
}

void SeriesSamples::OpenComponent() {
  if (next_part_ == parts_->size()) {
    mode_ = Mode::kEnd;
    return;
  }
  const std::size_t begin = next_part_;
  next_part_ = parts_->ComponentEnd(begin);
  if (next_part_ - begin > 1) {
    merged_at_ = 0;
    mode_ = Mode::kMerged;
    if (Status s = merge_.Run(*parts_, begin, next_part_, policy_); !s.ok()) Fail(std::move(s));
    return;
  }
  part_ = &(*parts_)[begin];
  decoded_ = 0;
  if (part_->chunk.meta.type == ChunkType::kXor) {
    mode_ = Mode::kFloats;
    floats_.Reset(part_->chunk.data);
  } else {
    mode_ = Mode::kHistogram;
    histograms_ = HistogramIterator(part_->chunk.data);
  }
}

// 0: the chunk has no more, or is damaged.
std::size_t SeriesSamples::DecodeFloats(Timestamp* timestamps, double* values, std::size_t capacity) {
  for (;;) {
    const std::size_t n = floats_.Decode(timestamps, values, capacity);
    decoded_ += static_cast<std::uint32_t>(n);
    if (n == 0) {
      const ChunkMeta& meta = part_->chunk.meta;
      mode_ = Mode::kNextComponent;
      if (!floats_.ok()) {
        Fail(BadChunk(meta, floats_.status()));
      } else if (decoded_ != meta.samples) {
        Fail(BadChunk(meta,
                      DataLoss("holds " + std::to_string(decoded_) + " samples; its row says " + std::to_string(meta.samples))));
      }
      return 0;
    }
    const std::size_t kept = part_->clean() ? n : RemoveHidden(parts_->HiddenIn(*part_), timestamps, values, n);
    if (kept > 0) return kept;
  }
}

// 0: the next sample is a histogram, or the component has no more.
std::size_t SeriesSamples::CopyMerged(Timestamp* timestamps, double* values, std::size_t capacity) {
  const std::span<const MergedSample> samples = merge_.samples();
  std::size_t n = 0;
  for (; n < capacity && merged_at_ < samples.size(); ++n, ++merged_at_) {
    const MergedSample& s = samples[merged_at_];
    if (s.histogram != kNoHistogram) break;
    timestamps[n] = s.timestamp;
    values[n] = s.value;
  }
  if (merged_at_ == samples.size()) mode_ = Mode::kNextComponent;
  return n;
}

// Floats up to a histogram or the end; 0: mode_ tells which, and Next takes the histogram.
std::size_t SeriesSamples::Decode(Timestamp* timestamps, double* values, std::size_t capacity) {
  std::size_t n = 0;
  while (n < capacity) {
    if (mode_ == Mode::kNextComponent) {
      OpenComponent();
    } else if (mode_ == Mode::kFloats) {
      n += DecodeFloats(timestamps + n, values + n, capacity - n);
    } else if (mode_ == Mode::kMerged) {
      const std::size_t more = CopyMerged(timestamps + n, values + n, capacity - n);
      if (more == 0 && mode_ == Mode::kMerged) break;
      n += more;
    } else if (mode_ == Mode::kHistogram) {
      histogram_found_ = histogram_found_ || FindHistogram();
      if (histogram_found_) break;
    } else {
      break;
    }
  }
  if (Status s = poll_->After(n); !s.ok()) [[unlikely]] {
    Fail(std::move(s));
    return 0;
  }
  return n;
}

std::size_t SeriesSamples::NextFloats(Timestamp* timestamps, double* values, std::size_t capacity) {
  const std::size_t ahead = std::min(capacity, ahead_end_ - ahead_at_);
  if (ahead > 0) {
    std::copy_n(&ahead_timestamps_[ahead_at_], ahead, timestamps);
    std::copy_n(&ahead_values_[ahead_at_], ahead, values);
    ahead_at_ += ahead;
    return ahead;
  }
  return Decode(timestamps, values, capacity);
}

// Moves to the next visible histogram of the chunk; else on to the next component, or to an error.
bool SeriesSamples::FindHistogram() {
  const std::span<const TimeRange> hidden = parts_->HiddenIn(*part_);
  while (histograms_.Next()) {
    ++decoded_;
    if (!IsHidden(hidden, histograms_.sample().timestamp)) return true;
  }
  const ChunkMeta& meta = part_->chunk.meta;
  mode_ = Mode::kNextComponent;
  if (!histograms_.status().ok()) return Fail(BadChunk(meta, histograms_.status()));
  if (decoded_ != meta.samples) return Fail(WrongCount(meta, decoded_));
  return false;
}

// Delivers the histogram that Decode stopped at.
void SeriesSamples::TakeHistogram() {
  if (mode_ == Mode::kHistogram) {
    histogram_found_ = false;
    timestamp_ = histograms_.sample().timestamp;
    histogram_ = &histograms_.sample().histogram;
    return;
  }
  const MergedSample& s = merge_.samples()[merged_at_++];
  timestamp_ = s.timestamp;
  histogram_ = &merge_.histogram(s.histogram);
}

ValueType SeriesSamples::Next() {
  if (ahead_at_ == ahead_end_) {
    ahead_at_ = 0;
    ahead_end_ = Decode(ahead_timestamps_.data(), ahead_values_.data(), ahead_values_.size());
    if (ahead_end_ == 0) {
      if (mode_ == Mode::kEnd) return ValueType::kNone;
      if (Status s = poll_->After(kWorkOfSeries); !s.ok()) {
        Fail(std::move(s));
        return ValueType::kNone;
      }
      TakeHistogram();
      return std::holds_alternative<IntHistogram>(*histogram_) ? ValueType::kIntHistogram : ValueType::kFloatHistogram;
    }
  }
  timestamp_ = ahead_timestamps_[ahead_at_];
  value_ = ahead_values_[ahead_at_++];
  return ValueType::kFloat;
}

void SeriesChunks::Reset(const SeriesParts* parts) {
  parts_ = parts;
  next_part_ = 0;
  encoded_.clear();
  encoded_at_ = 0;
  status_ = Status::Ok();
}

bool SeriesChunks::Next() {
  while (status_.ok()) {
    if (encoded_at_ < encoded_.size()) {
      const EncodedChunk& c = encoded_[encoded_at_++];
      chunk_ = {static_cast<RawChunk::Encoding>(c.type), c.min_time, c.max_time, c.samples, c.data};
      return true;
    }
    if (next_part_ == parts_->size()) return false;
    if (status_ = poll_->After(kWorkOfSeries); !status_.ok()) return false;
    const std::size_t begin = next_part_;
    next_part_ = parts_->ComponentEnd(begin);
    if (const Part& part = (*parts_)[begin]; next_part_ - begin == 1 && part.clean()) {
      const ChunkMeta& meta = part.chunk.meta;
      chunk_ = {static_cast<RawChunk::Encoding>(meta.type), meta.min_time, meta.max_time, meta.samples, part.chunk.data};
      if (meta.type == ChunkType::kXor && IsPacked(chunk_.data)) {
        status_ = Unpack(part.chunk.data, &unpacked_);
        if (!status_.ok()) status_ = BadChunk(meta, status_);
        chunk_.data = unpacked_;
      }
      return status_.ok();
    }
    encoded_.clear();
    encoded_at_ = 0;
    status_ = merge_.Run(*parts_, begin, next_part_, policy_);
    if (status_.ok()) EncodeMerged(merge_, max_samples_, &encoded_);
  }
  return false;
}

}  // namespace chronolith
