#include "head/head_shard.h"

#include <algorithm>
#include <cstring>

namespace chronolith {
namespace {

constexpr std::size_t kPrefetchAhead = 12;        // entries; a memory access is about as long as this many appends
constexpr std::size_t kOverlaySamplesMax = 1000;  // an encoded overlay stays below an engine's value
constexpr std::size_t kHistogramChunkBytes = 32 << 10;
constexpr std::size_t kHistogramOverlayMax = 16;  // samples; each may be large
constexpr std::size_t kExemplarChunkBytes = 16 << 10;
constexpr std::size_t kCollectSlice = 64;  // series a reader copies under one hold of the lock

}  // namespace

Timestamp HeadShard::WindowOf(Timestamp t) const {
  const std::int64_t w = options_.window_ms;
  std::int64_t n = t / w;
  if (t % w < 0) --n;
  Timestamp start;
  return __builtin_mul_overflow(n, w, &start) ? kMinTimestamp : start;
}

Timestamp HeadShard::WindowEnd(Timestamp window) const {
  // The lowest window may be cut short by the type; WindowOf tells its start as kMinTimestamp.
  if (window == kMinTimestamp) return WindowOf(kMinTimestamp + options_.window_ms);
  Timestamp end;
  return __builtin_add_overflow(window, options_.window_ms, &end) ? kMaxTimestamp : end;
}

void HeadShard::EnsureOrdinals(std::uint64_t end) {
  const std::size_t pages = (end + kPageEntries - 1) >> kPageBits;
  for (; pages_.size() < pages; ++page_count_) pages_.push_back(std::make_unique<Entry[]>(kPageEntries));
}

void HeadShard::AddPage(std::size_t page) {
  if (page >= pages_.size()) pages_.resize(page + 1);
  pages_[page] = std::make_unique<Entry[]>(kPageEntries);
  ++page_count_;
}

void HeadShard::MarkDirty(Entry* e, Ordinal ordinal) {
  e->dirty = 1;
  e->released = 0;
  dirty_.push_back(ordinal);
}

void HeadShard::NoteNewest(Entry* e, Timestamp t) {
  if (!e->seen || t > e->open.t) {
    e->open.t = t;
    e->seen = 1;
  }
  if (t > newest_.load(std::memory_order_relaxed)) newest_.store(t, std::memory_order_relaxed);
}

// ---- Floats ----

void HeadShard::Append(std::span<const SampleEntry> samples, Lsn lsn) {
  Timestamp newest = newest_.load(std::memory_order_relaxed);
  const std::size_t n = samples.size();
  for (std::size_t i = 0; i < n; ++i) {
    if (i + kPrefetchAhead < n) __builtin_prefetch(&At(samples[i + kPrefetchAhead].ordinal), 1);
    const SampleEntry& s = samples[i];
    Entry& e = At(s.ordinal);
    if (s.timestamp > e.open.t && s.timestamp < e.window_end && e.open.count < options_.max_samples_per_chunk &&
        e.open.HasRoom(e.capacity)) [[likely]] {
      e.open.Append(BytesOf(e), s.timestamp, s.value);
      if (!e.dirty) MarkDirty(&e, s.ordinal);
    } else {
      AppendSlow(&e, s, lsn);
    }
    newest = std::max(newest, s.timestamp);
  }
  newest_.store(newest, std::memory_order_relaxed);
  appended_.Add(n);
  CountMemory();
}

void HeadShard::AppendSlow(Entry* e, const SampleEntry& s, Lsn lsn) {
  if (!e->dirty) MarkDirty(e, s.ordinal);
  if (e->seen && s.timestamp <= e->open.t) {
    AppendOverlay(e, s, lsn);
    return;
  }
  if (e->open.count > 0 && (s.timestamp >= e->window_end || e->open.count >= options_.max_samples_per_chunk))
    CloseOpen(e, s.ordinal);
  if (e->open.count == 0) {
    if (e->cold) {  // a float after histograms: its chunk must come later than theirs
      CloseHistograms(e, &ColdOf(e, s.ordinal));
    }
    const Creation creation = NextCreation(*e, e->cold ? &ColdOf(e, s.ordinal) : nullptr, lsn);
    if (e->buffer == nullptr) {
      e->size_class = 0;
      e->buffer = pool_.Allocate(0);
      e->capacity = static_cast<std::uint16_t>(BufferPool::kClassBytes[0] - sizeof(OpenHeader));
    }
    *HeaderOf(*e) = {creation.lsn, s.timestamp, creation.sequence, 0};
    e->open = XorAppender{};
    e->window_end = WindowEnd(WindowOf(s.timestamp));
    e->seen = 1;
  }
  if (!e->open.HasRoom(e->capacity)) Grow(e);
  e->open.Append(BytesOf(*e), s.timestamp, s.value);
}

void HeadShard::Grow(Entry* e) {
  const auto size_class = static_cast<std::uint8_t>(e->size_class + 1);
  std::uint8_t* const buffer = pool_.Allocate(size_class);
  std::memcpy(buffer, e->buffer, BufferPool::kClassBytes[e->size_class]);
  pool_.Free(e->buffer, e->size_class);
  e->buffer = buffer;
  e->size_class = size_class;
  e->capacity = static_cast<std::uint16_t>(BufferPool::kClassBytes[size_class] - sizeof(OpenHeader));
}

ChunkMeta HeadShard::OpenMeta(const Entry& e, Ordinal ordinal) const {
  const OpenHeader& header = *HeaderOf(e);
  ChunkMeta meta;
  meta.window = WindowOf(header.min_time);
  meta.ordinal = ordinal;
  meta.creation_lsn = header.creation;
  meta.sequence = header.sequence;
  meta.epoch = options_.epoch;
  meta.min_time = header.min_time;
  meta.max_time = e.open.t;
  meta.samples = e.open.count;
  return meta;
}

void HeadShard::CloseOpen(Entry* e, Ordinal ordinal) {
  Chunk chunk{OpenMeta(*e, ordinal), {}};
  chunk.data.reserve(e->open.size() + 8);
  e->open.CopyTo(BytesOf(*e), &chunk.data);
  const Timestamp newest = e->open.t;
  e->open = XorAppender{};
  e->open.t = newest;
  e->window_end = kMinTimestamp;
  PushClosed(e, std::move(chunk));
}

void HeadShard::PushClosed(Entry* e, Chunk chunk) {
  if (closed_base_ + static_cast<std::uint32_t>(closed_.size()) == 0) {  // the number 0 means none
    closed_.push_back({});
    closed_bytes_ += sizeof(Closed) + closed_.back().chunk.data.capacity();
  }
  closed_bytes_ += sizeof(Closed) + chunk.data.capacity();
  closed_.push_back({std::move(chunk), e->closed});
  e->closed = closed_base_ + static_cast<std::uint32_t>(closed_.size() - 1);
}

// ---- What is rare ----

ColdSeries& HeadShard::ColdOf(Entry* e, Ordinal ordinal) {
  std::unique_ptr<ColdSeries>& cold = cold_[ordinal];
  if (!cold) cold = std::make_unique<ColdSeries>();
  e->cold = 1;
  return *cold;
}

const ColdSeries* HeadShard::FindCold(const Entry& e, Ordinal ordinal) const {
  if (!e.cold) return nullptr;
  const auto it = cold_.find(ordinal);
  return it == cold_.end() ? nullptr : it->second.get();
}

HeadShard::Creation HeadShard::NextCreation(const Entry& e, ColdSeries* cold, Lsn lsn) {
  newest_creation_.store(lsn, std::memory_order_release);  // LSNs ascend under the append lock
  std::uint32_t sequence = 0;
  if (e.buffer != nullptr && HeaderOf(e)->creation == lsn) sequence = HeaderOf(e)->sequence + 1;
  if (cold != nullptr) {
    if (cold->last_creation == lsn) sequence = std::max(sequence, cold->last_sequence + 1);
    cold->last_creation = lsn;
    cold->last_sequence = sequence;
  }
  return {lsn, sequence};
}

ChunkMeta HeadShard::BeginCold(Entry* e, ColdSeries* cold, Ordinal ordinal, ChunkType type, bool overlay, Timestamp t, Lsn lsn) {
  const Creation creation = NextCreation(*e, cold, lsn);
  ChunkMeta meta;
  meta.window = WindowOf(t);
  meta.ordinal = ordinal;
  meta.creation_lsn = creation.lsn;
  meta.sequence = creation.sequence;
  meta.type = type;
  meta.overlay = overlay;
  meta.epoch = options_.epoch;
  meta.min_time = meta.max_time = t;
  return meta;
}

void HeadShard::AppendOverlay(Entry* e, const SampleEntry& s, Lsn lsn) {
  ColdSeries& cold = ColdOf(e, s.ordinal);
  const Timestamp window = WindowOf(s.timestamp);
  // One overlay a window is open: between equal timestamps of two types the later overlay decides.
  if (const auto other = cold.histograms.find(window); other != cold.histograms.end()) {
    PushClosed(e, EncodeOverlay(other->second, options_.duplicate_policy));
    cold.histograms.erase(other);
  }
  auto it = cold.floats.find(window);
  if (it != cold.floats.end() && it->second.samples.size() >= kOverlaySamplesMax) {
    PushClosed(e, EncodeOverlay(it->second, options_.duplicate_policy));
    cold.floats.erase(it);
    it = cold.floats.end();
  }
  if (it == cold.floats.end()) {
    it = cold.floats.emplace(window, Overlay<Sample>{}).first;
    it->second.meta = BeginCold(e, &cold, s.ordinal, ChunkType::kXor, true, s.timestamp, lsn);
  }
  it->second.Add({s.timestamp, s.value});
  out_of_order_.Add();
  CountCold(&cold);
}

void HeadShard::AppendHistogram(Ordinal ordinal, const HistogramSample& sample, Lsn lsn) {
  Entry* const e = &At(ordinal);
  if (!e->dirty) MarkDirty(e, ordinal);
  ColdSeries& cold = ColdOf(e, ordinal);
  const Timestamp window = WindowOf(sample.timestamp);
  appended_.Add();
  if (e->seen && sample.timestamp <= e->open.t) {
    if (const auto other = cold.floats.find(window); other != cold.floats.end()) {
      PushClosed(e, EncodeOverlay(other->second, options_.duplicate_policy));
      cold.floats.erase(other);
    }
    auto it = cold.histograms.find(window);
    if (it != cold.histograms.end()) {
      std::size_t bytes = HistogramAppender::MaxBytes(sample.histogram);
      for (const HistogramSample& s : it->second.samples) bytes += HistogramAppender::MaxBytes(s.histogram);
      if (it->second.samples.size() >= kHistogramOverlayMax || bytes > kHistogramChunkBytes) {
        PushClosed(e, EncodeOverlay(it->second, options_.duplicate_policy));
        cold.histograms.erase(it);
        it = cold.histograms.end();
      }
    }
    if (it == cold.histograms.end()) {
      it = cold.histograms.emplace(window, Overlay<HistogramSample>{}).first;
      it->second.meta = BeginCold(e, &cold, ordinal, ChunkType::kHistogram, true, sample.timestamp, lsn);
    }
    it->second.Add(sample);
    out_of_order_.Add();
    CountCold(&cold);
    CountMemory();
    return;
  }
  if (e->open.count > 0) CloseOpen(e, ordinal);
  if (cold.open_histograms) {
    const OpenHistograms& open = *cold.open_histograms;
    if (open.meta.window != window || open.appender.count() >= options_.max_samples_per_chunk ||
        open.appender.data().size() + HistogramAppender::MaxBytes(sample.histogram) > kHistogramChunkBytes) {
      CloseHistograms(e, &cold);
    }
  }
  if (!cold.open_histograms) {
    cold.open_histograms.emplace();
    cold.open_histograms->meta = BeginCold(e, &cold, ordinal, ChunkType::kHistogram, false, sample.timestamp, lsn);
  }
  OpenHistograms& open = *cold.open_histograms;
  open.appender.Append(sample.timestamp, sample.histogram);
  open.meta.max_time = sample.timestamp;
  open.meta.samples = open.appender.count();
  NoteNewest(e, sample.timestamp);
  CountCold(&cold);
  CountMemory();
}

void HeadShard::CloseHistograms(Entry* e, ColdSeries* cold) {
  if (!cold->open_histograms) return;
  PushClosed(e, {cold->open_histograms->meta, cold->open_histograms->appender.Take()});
  cold->open_histograms.reset();
}

void HeadShard::AppendExemplar(Ordinal ordinal, const Exemplar& exemplar, Lsn lsn) {
  Entry* const e = &At(ordinal);
  if (!e->dirty) MarkDirty(e, ordinal);
  ColdSeries& cold = ColdOf(e, ordinal);
  if (cold.open_exemplars && (cold.open_exemplars->meta.window != WindowOf(exemplar.timestamp) ||
                              cold.open_exemplars->appender.data().size() >= kExemplarChunkBytes)) {
    CloseExemplars(e, &cold);
  }
  if (!cold.open_exemplars) {
    cold.open_exemplars.emplace();
    cold.open_exemplars->meta = BeginCold(e, &cold, ordinal, ChunkType::kExemplar, false, exemplar.timestamp, lsn);
  }
  OpenExemplars& open = *cold.open_exemplars;
  open.appender.Append(exemplar);
  open.meta.min_time = std::min(open.meta.min_time, exemplar.timestamp);
  open.meta.max_time = std::max(open.meta.max_time, exemplar.timestamp);
  open.meta.samples = open.appender.count();
  CountCold(&cold);
  CountMemory();
}

void HeadShard::CloseExemplars(Entry* e, ColdSeries* cold) {
  if (!cold->open_exemplars) return;
  PushClosed(e, {cold->open_exemplars->meta, cold->open_exemplars->appender.Take()});
  cold->open_exemplars.reset();
}

// Closes overlays and exemplars, so that what came late does not stay in memory.
void HeadShard::SealLate(Entry* e, ColdSeries* cold) {
  for (const auto& [window, overlay] : cold->floats) PushClosed(e, EncodeOverlay(overlay, options_.duplicate_policy));
  for (const auto& [window, overlay] : cold->histograms) PushClosed(e, EncodeOverlay(overlay, options_.duplicate_policy));
  cold->floats.clear();
  cold->histograms.clear();
  CloseExemplars(e, cold);
}

void HeadShard::Cut(const OrdinalSet& ordinals, TimeRange range) {
  for (const Ordinal ordinal : ordinals.ToVector()) {
    if (Find(ordinal) == nullptr) continue;  // removed since it was selected
    Entry* const e = &At(ordinal);
    // Up to the window's end, not to the newest sample: what comes later, in the range, must not join a chunk that the delete
    // hides.
    if (e->open.count > 0 && range.Overlaps(HeaderOf(*e)->min_time, e->window_end - 1)) CloseOpen(e, ordinal);
    if (!e->cold) continue;
    ColdSeries& cold = ColdOf(e, ordinal);
    SealLate(e, &cold);
    if (cold.open_histograms) {
      const ChunkMeta& meta = cold.open_histograms->meta;
      if (range.Overlaps(meta.min_time, WindowEnd(meta.window) - 1)) CloseHistograms(e, &cold);
    }
    CountCold(&cold);
  }
}

// ---- Checkpoint ----

void HeadShard::BeginCheckpoint(std::uint64_t end) {
  taken_end_ = end;
  taken_.swap(dirty_);
  taken_at_ = 0;
  closed_taken_ = 0;
  closed_at_ = 0;
}

bool HeadShard::TakeSlice(std::uint64_t budget_bytes, CheckpointSlice* slice) {
  *slice = {};
  MeasuredLock lock(&mu_);
  // Open chunks first: one that is closed meanwhile is then among the closed ones, which are counted when these are done.
  const std::size_t until = std::min(taken_.size(), taken_at_ + 2048);  // bounds the hold of the lock also for tiny chunks
  for (; taken_at_ < until && slice->bytes < budget_bytes; ++taken_at_) {
    const Ordinal ordinal = taken_[taken_at_];
    Entry& e = At(ordinal);
    e.dirty = 0;
    if (e.open.count > 0) {
      std::string data;
      e.open.CopyTo(BytesOf(e), &data);
      slice->AddCopy(OpenMeta(e, ordinal), std::move(data));
    }
    if (e.cold) {
      ColdSeries& cold = ColdOf(&e, ordinal);
      SealLate(&e, &cold);
      CountCold(&cold);
      if (cold.open_histograms) {
        slice->AddCopy(cold.open_histograms->meta, cold.open_histograms->appender.data());
      } else {
        EraseCold(ordinal);
        e.cold = 0;
      }
    }
  }
  if (taken_at_ == taken_.size() && closed_taken_ == 0) closed_taken_ = closed_.size();
  if (taken_at_ < taken_.size() || !slice->chunks.empty()) return true;
  for (; closed_at_ < closed_taken_ && slice->bytes < budget_bytes; ++closed_at_) {
    const Chunk& chunk = closed_[closed_at_].chunk;
    if (chunk.meta.samples == 0 || chunk.meta.ordinal >= taken_end_) continue;
    slice->Add(chunk.meta, chunk.data);
  }
  return !slice->chunks.empty();
}

void HeadShard::FinishCheckpoint() {
  MeasuredLock lock(&mu_);
  std::vector<Chunk> left;  // of series that came after the cut
  for (std::size_t i = 0; i < closed_taken_; ++i) {
    Chunk& chunk = closed_.front().chunk;
    closed_bytes_ -= sizeof(Closed) + chunk.data.capacity();
    if (chunk.meta.samples > 0 && chunk.meta.ordinal >= taken_end_) left.push_back(std::move(chunk));
    closed_.pop_front();
    ++closed_base_;
  }
  for (Chunk& chunk : left) {
    const Ordinal ordinal = chunk.meta.ordinal;
    PushClosed(&At(ordinal), std::move(chunk));
  }
  taken_.clear();
  taken_.shrink_to_fit();
  closed_taken_ = closed_at_ = taken_at_ = 0;
  CountMemory();
}

void HeadShard::AbortCheckpoint() {
  MeasuredLock lock(&mu_);
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    Entry& e = At(taken_[i]);
    if (i < taken_at_ && e.dirty) continue;  // copied, changed again, and listed again
    e.dirty = 1;
    dirty_.push_back(taken_[i]);
  }
  taken_.clear();
  closed_taken_ = closed_at_ = taken_at_ = 0;
}

std::vector<Ordinal> HeadShard::ReleaseIdle(Timestamp before) {
  std::vector<Ordinal> released;
  std::size_t pages;
  {
    MeasuredReaderLock lock(&mu_);
    pages = pages_.size();
  }
  for (std::size_t page = 0; page < pages; ++page) {
    MeasuredLock lock(&mu_);
    for (std::uint32_t i = 0; i < kPageEntries && pages_[page] != nullptr; ++i) {
      Entry& e = pages_[page][i];
      const auto ordinal = static_cast<Ordinal>(page << kPageBits | i);
      if (!e.seen || e.dirty || e.released || e.open.t >= before || ClosedAt(e.closed, ordinal) != nullptr) continue;
      if (e.buffer != nullptr) pool_.Free(e.buffer, e.size_class);
      if (e.cold) EraseCold(ordinal);
      const Timestamp newest = e.open.t;
      e = Entry{};
      e.open.t = newest;
      e.seen = 1;
      e.released = 1;
      released.push_back(ordinal);
    }
  }
  if (!released.empty()) {
    MeasuredLock lock(&mu_);
    pool_.Trim();
    CountMemory();
  }
  return released;
}

void HeadShard::Forget(std::uint64_t end, std::span<const Ordinal> live) {
  std::vector<bool> used(end >> kPageBits);
  for (const Ordinal ordinal : live) {
    if ((ordinal >> kPageBits) < used.size()) used[ordinal >> kPageBits] = true;
  }
  for (std::size_t page = 0; page < used.size(); ++page) {
    if (used[page]) continue;
    MeasuredLock lock(&mu_);
    if (page >= pages_.size()) break;
    const auto first = static_cast<Ordinal>(page << kPageBits);
    bool idle = pages_[page] != nullptr;
    for (std::uint32_t i = 0; i < kPageEntries && idle; ++i) idle = !pages_[page][i].dirty && !HasData(first + i);
    if (!idle) continue;
    for (std::uint32_t i = 0; i < kPageEntries; ++i) {
      const Entry& e = pages_[page][i];
      if (e.buffer != nullptr) pool_.Free(e.buffer, e.size_class);
      if (e.cold) EraseCold(first + i);
    }
    pages_[page].reset();
    --page_count_;
    CountMemory();
  }
}

// ---- Reading ----

const HeadShard::Closed* HeadShard::ClosedAt(std::uint32_t index, Ordinal ordinal) const {
  const std::uint32_t position = index - closed_base_;
  if (index == 0 || position >= closed_.size()) return nullptr;
  const Closed& closed = closed_[position];
  return closed.chunk.meta.ordinal == ordinal ? &closed : nullptr;  // else a number from before the counter wrapped
}

void HeadShard::CollectOne(const Entry& e, Ordinal ordinal, TimeRange range, ChunkType from, ChunkType to,
                           std::vector<Chunk>* chunks) const {
  const auto wanted = [&](const ChunkMeta& m) { return m.type >= from && m.type <= to && range.Overlaps(m.min_time, m.max_time); };
  for (const Closed* c = ClosedAt(e.closed, ordinal); c != nullptr; c = ClosedAt(c->previous, ordinal)) {
    if (wanted(c->chunk.meta)) chunks->push_back(c->chunk);
  }
  if (e.open.count > 0) {
    const ChunkMeta meta = OpenMeta(e, ordinal);
    if (wanted(meta)) {
      chunks->push_back({meta, {}});
      e.open.CopyTo(BytesOf(e), &chunks->back().data);
    }
  }
  const ColdSeries* cold = FindCold(e, ordinal);
  if (cold == nullptr) return;
  for (const auto& [window, overlay] : cold->floats) {
    if (wanted(overlay.meta)) chunks->push_back(EncodeOverlay(overlay, options_.duplicate_policy));
  }
  for (const auto& [window, overlay] : cold->histograms) {
    if (wanted(overlay.meta)) chunks->push_back(EncodeOverlay(overlay, options_.duplicate_policy));
  }
  if (cold->open_histograms && wanted(cold->open_histograms->meta)) {
    chunks->push_back({cold->open_histograms->meta, cold->open_histograms->appender.data()});
  }
  if (cold->open_exemplars && wanted(cold->open_exemplars->meta)) {
    chunks->push_back({cold->open_exemplars->meta, cold->open_exemplars->appender.data()});
  }
}

void HeadShard::Collect(std::span<const Ordinal> ordinals, TimeRange range, ChunkType type_from, ChunkType type_to,
                        std::vector<std::vector<Chunk>>* chunks) const {
  chunks->resize(ordinals.size());
  for (std::vector<Chunk>& of_series : *chunks) of_series.clear();
  for (std::size_t begin = 0; begin < ordinals.size(); begin += kCollectSlice) {
    const std::size_t end = std::min(ordinals.size(), begin + kCollectSlice);
    MeasuredReaderLock lock(&mu_);
    for (std::size_t i = begin; i < end; ++i) {
      if (const Entry* e = Find(ordinals[i])) CollectOne(*e, ordinals[i], range, type_from, type_to, &(*chunks)[i]);
    }
  }
}

template <typename Stop>
bool HeadShard::AnyChunk(const Entry& e, Ordinal ordinal, const Stop& stop) const {
  if (e.open.count > 0 && stop(OpenMeta(e, ordinal))) return true;
  for (const Closed* c = ClosedAt(e.closed, ordinal); c != nullptr; c = ClosedAt(c->previous, ordinal)) {
    if (stop(c->chunk.meta)) return true;
  }
  const ColdSeries* cold = FindCold(e, ordinal);
  if (cold == nullptr) return false;
  const auto of_overlay = [&](const auto& at) { return stop(at.second.meta); };
  return std::any_of(cold->floats.begin(), cold->floats.end(), of_overlay) ||
         std::any_of(cold->histograms.begin(), cold->histograms.end(), of_overlay) ||
         (cold->open_histograms && stop(cold->open_histograms->meta)) || (cold->open_exemplars && stop(cold->open_exemplars->meta));
}

// A page under one hold of the lock.
template <typename Visit>
void HeadShard::EachEntry(const Visit& visit) const {
  std::size_t pages;
  {
    MeasuredReaderLock lock(&mu_);
    pages = pages_.size();
  }
  for (std::size_t page = 0; page < pages; ++page) {
    MeasuredReaderLock lock(&mu_);
    for (std::uint32_t i = 0; i < kPageEntries && pages_[page] != nullptr; ++i) {
      visit(pages_[page][i], static_cast<Ordinal>(page << kPageBits | i));
    }
  }
}

void HeadShard::OrdinalsWithData(TimeRange range, OrdinalSet* ordinals) const {
  std::vector<Ordinal> found;
  EachEntry([&](const Entry& e, Ordinal ordinal) ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    const bool has = AnyChunk(
        e, ordinal, [&](const ChunkMeta& m) { return m.type != ChunkType::kExemplar && range.Overlaps(m.min_time, m.max_time); });
    if (has) found.push_back(ordinal);
  });
  ordinals->AddMany(found);
}

HeadExtent HeadShard::Extent() const {
  HeadExtent extent;
  EachEntry([&](const Entry& e, Ordinal ordinal) ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    AnyChunk(e, ordinal, [&](const ChunkMeta& m) {
      ++extent.chunks;
      if (m.type == ChunkType::kExemplar) return false;
      extent.min_time = std::min(extent.min_time, m.min_time);
      extent.max_time = std::max(extent.max_time, m.max_time);
      return false;
    });
  });
  return extent;
}

bool HeadShard::HasData(Ordinal ordinal) const {
  const Entry* e = Find(ordinal);
  return e != nullptr && AnyChunk(*e, ordinal, [](const ChunkMeta&) { return true; });
}

bool HeadShard::MayGrow(const ChunkMeta& chunk) const {
  MeasuredReaderLock lock(&mu_);
  const Entry* e = Find(chunk.ordinal);
  if (e == nullptr) return false;
  std::vector<Chunk> mine;
  CollectOne(*e, chunk.ordinal, {}, chunk.type, chunk.type, &mine);
  return std::any_of(mine.begin(), mine.end(), [&](const Chunk& c) { return c.meta.SameChunk(chunk); });
}

Timestamp HeadShard::NewestOf(Ordinal ordinal) const {
  const Entry* e = Find(ordinal);
  return e != nullptr && e->seen ? e->open.t : kMinTimestamp;
}

bool HeadShard::FindSample(Ordinal ordinal, Timestamp t, double* value) const {
  const Entry* e = Find(ordinal);
  if (e == nullptr || !e->seen || t > e->open.t) return false;
  std::vector<Chunk> chunks;
  CollectOne(*e, ordinal, {t, t + 1}, ChunkType::kXor, ChunkType::kXor, &chunks);
  for (const Chunk& chunk : chunks) {
    for (XorIterator it(chunk.data); it.Next() && it.sample().timestamp <= t;) {
      if (it.sample().timestamp == t) {
        *value = it.sample().value;
        return true;
      }
    }
  }
  return false;
}

// To be called after a change of what is open in `cold`.
void HeadShard::CountCold(ColdSeries* cold) {
  const std::uint64_t bytes = cold->OpenBytes();
  cold_bytes_ += bytes - cold->counted_bytes;
  cold->counted_bytes = bytes;
}

void HeadShard::EraseCold(Ordinal ordinal) {
  const auto it = cold_.find(ordinal);
  if (it == cold_.end()) return;
  cold_bytes_ -= it->second->counted_bytes;
  cold_.erase(it);
}

void HeadShard::CountMemory() {
  memory_bytes_.store(
      page_count_ * kPageEntries * sizeof(Entry) + pool_.slab_bytes() + closed_bytes_ + cold_bytes_ + dirty_.capacity() * 4,
      std::memory_order_relaxed);
}

void HeadShard::FillStats(ShardStats* stats) const {
  stats->samples_appended = appended_.Get();
  stats->samples_out_of_order = out_of_order_.Get();
  stats->head_bytes = memory_bytes();
  stats->locks.push_back(mu_.WriteStats("append"));
  stats->locks.push_back(mu_.ReadStats("append_read"));
}

}  // namespace chronolith
