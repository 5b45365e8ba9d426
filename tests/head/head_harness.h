// A head with the rest of the world played by simple means: a log of operations, a store of chunks by key, tombstones. Its
// SamplesOf and ExemplarsOf tell what a reader would see: chunks of head and store merged by ChunkMeta::Supersedes.
#ifndef CHRONOLITH_TESTS_HEAD_HEAD_HARNESS_H_
#define CHRONOLITH_TESTS_HEAD_HEAD_HARNESS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "base/hash.h"
#include "head/head_shard.h"

namespace chronolith {

// A sample as bytes: "f" and the bits of a float, or "h" and the hash of an encoded histogram.
inline std::string ValueOf(double value) {
  std::string s(9, 'f');
  StoreFixed(s.data() + 1, std::bit_cast<std::uint64_t>(value));
  return s;
}
inline std::string ValueOf(const Histogram& histogram) {
  const HistogramSample sample{0, histogram};
  return "h" + std::to_string(StableHash(EncodeHistograms({&sample, 1})));  // short, for messages
}
using Samples = std::map<Timestamp, std::string>;

struct DecodedChunk {
  Samples samples;
  std::vector<Exemplar> exemplars;
  std::size_t count = 0;  // samples as they came, duplicates too
  bool ascending = true;
};

inline DecodedChunk DecodeChunk(const Chunk& chunk) {
  DecodedChunk decoded;
  Timestamp last = kMinTimestamp;
  const auto add = [&](Timestamp t, std::string value) {
    decoded.ascending = decoded.ascending && (decoded.count == 0 || t > last);
    last = t;
    ++decoded.count;
    decoded.samples[t] = std::move(value);
  };
  if (chunk.meta.type == ChunkType::kXor) {
    const Result<std::vector<Sample>> samples = DecodeXor(chunk.data);
    EXPECT_TRUE(samples.ok()) << samples.status().ToString();
    if (samples.ok()) {
      for (const Sample& s : *samples) add(s.timestamp, ValueOf(s.value));
    }
  } else if (chunk.meta.type == ChunkType::kHistogram) {
    const Result<std::vector<HistogramSample>> samples = DecodeHistograms(chunk.data);
    EXPECT_TRUE(samples.ok()) << samples.status().ToString();
    if (samples.ok()) {
      for (const HistogramSample& s : *samples) add(s.timestamp, ValueOf(s.histogram));
    }
  } else {
    Result<std::vector<Exemplar>> exemplars = DecodeExemplars(chunk.data);
    EXPECT_TRUE(exemplars.ok()) << exemplars.status().ToString();
    if (exemplars.ok()) decoded.exemplars = std::move(*exemplars);
    decoded.count = decoded.exemplars.size();
  }
  return decoded;
}

// The start of the window of `t`, by wide arithmetic.
inline Timestamp WindowStart(Timestamp t, std::int64_t window_ms) {
  __int128 start = static_cast<__int128>(t) / window_ms * window_ms;
  if (start > t) start -= window_ms;
  return start < kMinTimestamp ? kMinTimestamp : static_cast<Timestamp>(start);
}

struct SamplesOp {
  std::vector<SampleEntry> samples;
};
struct HistogramOp {
  Ordinal ordinal;
  HistogramSample sample;
};
struct ExemplarOp {
  Ordinal ordinal;
  Exemplar exemplar;
};
struct DeleteOp {
  std::vector<Ordinal> ordinals;
  TimeRange range;
};
using HeadOp = std::variant<SamplesOp, HistogramOp, ExemplarOp, DeleteOp>;

class HeadHarness {
 public:
  explicit HeadHarness(HeadOptions options) : options_(options) { NewHead(); }

  HeadShard& head() { return *head_; }
  Lsn last_lsn() const { return static_cast<Lsn>(log_.size()); }

  void Do(HeadOp op) {
    log_.push_back(std::move(op));
    Apply(log_.back(), last_lsn());
  }
  void Append(Ordinal ordinal, Timestamp t, double value) { Do(SamplesOp{{{ordinal, 0, t, value}}}); }

  // ---- Checkpoints: what TakeSlice gives is stored at once ----
  bool checkpointing() const { return checkpointing_; }
  // `end`: the ordinals that the checkpoint's index knows are below.
  void Begin(std::uint64_t end = std::uint64_t{1} << 32) {
    MeasuredLock lock(&head_->mu());
    head_->BeginCheckpoint(end);
    cut_ = last_lsn();
    checkpointing_ = true;
  }
  bool Slice(std::uint64_t budget_bytes) {
    CheckpointSlice slice;
    const bool more = head_->TakeSlice(budget_bytes, &slice);
    for (const ChunkSlice& chunk : slice.chunks) {
      Chunk& stored = stored_[Key(chunk.meta)];
      stored = {chunk.meta, std::string(chunk.data)};
      CheckChunk(stored);
    }
    return more;
  }
  void Finish() {
    head_->FinishCheckpoint();
    applied_ = cut_;
    checkpointing_ = false;
  }
  void Abort() {
    head_->AbortCheckpoint();
    checkpointing_ = false;
  }
  void Checkpoint() {
    Begin();
    while (Slice(1 << 20)) {
    }
    Finish();
  }

  // The process dies and comes back: a new head, with the log behind the last finished checkpoint replayed.
  void Reopen() {
    ++options_.epoch;
    checkpointing_ = false;
    NewHead();
    for (Lsn lsn = applied_ + 1; lsn <= last_lsn(); ++lsn) Apply(log_[lsn - 1], lsn);
  }

  // ---- Reading ----
  std::vector<Chunk> Collected(Ordinal ordinal, TimeRange range = {}, ChunkType from = ChunkType::kXor,
                               ChunkType to = ChunkType::kExemplar) const {
    std::vector<std::vector<Chunk>> chunks;
    head_->Collect({&ordinal, 1}, range, from, to, &chunks);
    return std::move(chunks[0]);
  }
  // Chunks of head and store; the head's version of one that is in both.
  std::vector<Chunk> ChunksOf(Ordinal ordinal) const {
    std::map<ChunkKey, Chunk> chunks;
    for (const auto& [key, chunk] : stored_) {
      if (chunk.meta.ordinal == ordinal) chunks[key] = chunk;
    }
    std::map<ChunkKey, int> seen;
    for (Chunk& chunk : Collected(ordinal)) {
      CheckChunk(chunk);
      EXPECT_EQ(chunk.meta.ordinal, ordinal);
      EXPECT_EQ(++seen[Key(chunk.meta)], 1) << "two chunks of the head with one key";
      EXPECT_TRUE(head_->MayGrow(chunk.meta));
      chunks[Key(chunk.meta)] = std::move(chunk);
    }
    std::vector<Chunk> all;
    for (auto& [key, chunk] : chunks) all.push_back(std::move(chunk));
    return all;
  }
  Samples SamplesOf(Ordinal ordinal) const {
    Samples merged;
    std::map<Timestamp, ChunkMeta> from;
    for (const Chunk& chunk : ChunksOf(ordinal)) {
      for (auto& [t, value] : DecodeChunk(chunk).samples) {
        if (Hidden(chunk.meta, t)) continue;
        const auto it = from.find(t);
        if (it != from.end() && it->second.Supersedes(chunk.meta)) continue;
        from[t] = chunk.meta;
        merged[t] = value;
      }
    }
    return merged;
  }
  std::vector<Exemplar> ExemplarsOf(Ordinal ordinal) const {
    std::vector<Exemplar> all;
    for (const Chunk& chunk : ChunksOf(ordinal)) {
      for (Exemplar& e : DecodeChunk(chunk).exemplars) {
        if (!Hidden(chunk.meta, e.timestamp)) all.push_back(std::move(e));
      }
    }
    return all;
  }
  bool StoredHas(Ordinal ordinal, Timestamp t) const {
    for (const auto& [key, chunk] : stored_) {
      if (chunk.meta.ordinal == ordinal && chunk.meta.type == ChunkType::kXor && chunk.meta.min_time <= t &&
          t <= chunk.meta.max_time && !Hidden(chunk.meta, t) && DecodeChunk(chunk).samples.contains(t)) {
        return true;
      }
    }
    return false;
  }

 private:
  using ChunkKey = std::tuple<Timestamp, Ordinal, Lsn, std::uint32_t, ChunkType>;
  static ChunkKey Key(const ChunkMeta& m) { return {m.window, m.ordinal, m.creation_lsn, m.sequence, m.type}; }

  struct Tomb {
    Lsn lsn;
    std::vector<Ordinal> ordinals;
    TimeRange range;
  };

  void NewHead() {
    head_ = std::make_unique<HeadShard>(options_);
    MeasuredLock lock(&head_->mu());
    head_->EnsureOrdinals(600);
  }

  void Apply(const HeadOp& op, Lsn lsn) {
    MeasuredLock lock(&head_->mu());
    if (const auto* samples = std::get_if<SamplesOp>(&op)) head_->Append(samples->samples, lsn);
    if (const auto* h = std::get_if<HistogramOp>(&op)) head_->AppendHistogram(h->ordinal, h->sample, lsn);
    if (const auto* e = std::get_if<ExemplarOp>(&op)) head_->AppendExemplar(e->ordinal, e->exemplar, lsn);
    if (const auto* d = std::get_if<DeleteOp>(&op)) {
      OrdinalSet ordinals;
      ordinals.AddMany(d->ordinals);
      head_->Cut(ordinals, d->range);
      if (std::none_of(tombs_.begin(), tombs_.end(), [lsn](const Tomb& t) { return t.lsn == lsn; })) {
        tombs_.push_back({lsn, d->ordinals, d->range});
      }
    }
  }

  // A delete hides what was written before it: chunks begun before it.
  bool Hidden(const ChunkMeta& chunk, Timestamp t) const {
    return std::any_of(tombs_.begin(), tombs_.end(), [&](const Tomb& tomb) {
      return tomb.lsn > chunk.creation_lsn && tomb.range.Contains(t) &&
             std::find(tomb.ordinals.begin(), tomb.ordinals.end(), chunk.ordinal) != tomb.ordinals.end();
    });
  }

  void CheckChunk(const Chunk& chunk) const {
    const ChunkMeta& m = chunk.meta;
    const DecodedChunk decoded = DecodeChunk(chunk);
    EXPECT_GT(m.samples, 0U);
    EXPECT_EQ(decoded.count, m.samples) << "meta tells the number";
    EXPECT_LE(m.epoch, options_.epoch);
    EXPECT_LE(m.creation_lsn, last_lsn());
    EXPECT_LT(m.sequence, kCompactedSequence);
    EXPECT_LT(chunk.data.size(), 60000U) << "fits an engine's value";
    if (m.type == ChunkType::kExemplar) {
      Timestamp min = kMaxTimestamp, max = kMinTimestamp;
      for (const Exemplar& e : decoded.exemplars) {
        min = std::min(min, e.timestamp);
        max = std::max(max, e.timestamp);
        EXPECT_EQ(WindowStart(e.timestamp, options_.window_ms), m.window);
      }
      EXPECT_EQ(m.min_time, min);
      EXPECT_EQ(m.max_time, max);
      return;
    }
    ASSERT_FALSE(decoded.samples.empty());
    EXPECT_TRUE(decoded.ascending);
    EXPECT_EQ(m.min_time, decoded.samples.begin()->first);
    EXPECT_EQ(m.max_time, decoded.samples.rbegin()->first);
    EXPECT_EQ(WindowStart(m.min_time, options_.window_ms), m.window);
    EXPECT_EQ(WindowStart(m.max_time, options_.window_ms), m.window) << "chunks never cross windows";
    if (!m.overlay) {
      EXPECT_LE(m.samples, options_.max_samples_per_chunk);
    }
  }

  HeadOptions options_;
  std::unique_ptr<HeadShard> head_;
  std::vector<HeadOp> log_;
  std::map<ChunkKey, Chunk> stored_;
  std::vector<Tomb> tombs_;
  Lsn applied_ = 0;
  Lsn cut_ = 0;
  bool checkpointing_ = false;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_HEAD_HEAD_HARNESS_H_
