#include "block/chunk_compactor.h"

#include <algorithm>
#include <limits>

#include "base/failpoint.h"
#include "chunk/exemplar_chunk.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kSliceBytes = 4ULL << 20;
// A run of small chunks ends here; one component of overlapping chunks may be larger.
constexpr std::uint64_t kRunBytes = 1ULL << 20;
// Beyond this a component is left to the readers: its replacement would not fit a batch.
constexpr std::uint64_t kComponentBytes = 6ULL << 20;
constexpr Lsn kAllApplied = std::numeric_limits<Lsn>::max() - 1;
constexpr std::size_t kNotedOrdinalsMax = 1U << 16;
constexpr std::size_t kSmallBytes = kHistogramChunkBytes / 2;

std::string_view View(const ChunkKey& key) { return {key.data(), key.size()}; }

bool Overlap(const ChunkMeta& a, const ChunkMeta& b) { return a.min_time <= b.max_time && b.min_time <= a.max_time; }

}  // namespace

ChunkCompactor::ChunkCompactor(ChunkStore* store, const ChunkCompactOptions& options, Lsn trimmed_to,
                               const std::function<bool(const ChunkMeta&)>& in_head, CompactFigures* figures)
    : store_(store),
      options_(options),
      trimmed_to_(trimmed_to),
      in_head_(in_head),
      figures_(figures),
      max_samples_(store->options_.max_samples_per_chunk),
      writer_(store->engine_, store->options_.family, store->options_.epoch) {}

Status ChunkCompactor::Run(const std::function<Status()>& between) {
  {
    MutexLock lock(&store_->rows_mu_);
    droppable_ = store_->tombstones_.View().UpTo(std::min(trimmed_to_, store_->state_.applied_lsn));
  }
  // Windows below the floor are Expire's.
  const Timestamp floor = std::max(options_.floor, store_->tombstones_.floor());
  std::string from = ChunkWindowPrefix(WindowOf(floor, store_->options_.window_ms));
  for (bool done = false; !done;) {
    if (Status s = CompactSlice(&from, std::string(1, kChunkKeyTag + 1), &done); !s.ok()) return s;
    CHRONOLITH_FAILPOINT("compact.slice_written");
    if (Status s = between ? between() : Status::Ok(); !s.ok()) return s;
  }
  if (options_.with_data != nullptr) options_.with_data->AddMany(with_data_);
  return options_.dry_run ? Status::Ok() : DropTombstones();
}

Result<bool> ChunkCompactor::RunWindow(Timestamp window, const std::function<bool()>& stop) {
  droppable_ = store_->tombstones_.View().UpTo(0);  // none
  std::string from = ChunkWindowPrefix(window);
  const std::string to = ChunkWindowPrefix(window + 1);
  for (bool done = false; !done;) {
    if (stop()) return false;
    if (Status s = CompactSlice(&from, to, &done); !s.ok()) return s;
    CHRONOLITH_FAILPOINT("compact.window_slice_written");
  }
  return true;
}

Status ChunkCompactor::CompactSlice(std::string* from, const std::string& to, bool* done) {
  MutexLock lock(&store_->rows_mu_);
  arena_.Clear();
  entries_.clear();
  applied_lsn_ = options_.all_applied ? kAllApplied : store_->state_.applied_lsn;
  tombstones_ = store_->tombstones_.View().UpTo(applied_lsn_);
  tombstones_.RaiseFloor(options_.floor);
  Result<std::unique_ptr<KvIterator>> made = store_->NewIterator(*from, to, false);
  if (!made.ok()) return made.status();
  KvIterator& it = **made;
  std::string buffer;
  for (it.Seek(*from); it.Valid(); it.Next()) {
    Entry entry;
    ChunkMeta& meta = entry.chunk.meta;
    if (!DecodeChunkKey(it.key(), &meta)) return BadChunkKey(it.key());
    if (!entries_.empty() && (meta.ordinal != entries_[0].chunk.meta.ordinal || meta.window != entries_[0].chunk.meta.window)) {
      if (Status s = CompactSeries(); !s.ok()) return s;
      const bool window_ends = meta.window != entries_[0].chunk.meta.window;
      if (window_ends) ++figures_->windows;
      entries_.clear();
      if (window_ends || arena_.used_bytes() > kSliceBytes) {
        *from = ChunkSeriesPrefix(meta.window, meta.ordinal);
        return writer_.Flush();
      }
    }
    std::string_view payload;
    if (Status s = DecodeChunkValue(it.key(), it.value(), &meta, &payload, &buffer); !s.ok()) return s;
    entry.chunk.data = arena_.Copy(payload);
    entry.row_bytes = it.key().size() + it.value().size();
    entry.settled = meta.creation_lsn <= applied_lsn_ && !in_head_(meta);
    ++figures_->rows_before;
    ++figures_->rows_after;
    figures_->bytes_before += entry.row_bytes;
    figures_->bytes_after += entry.row_bytes;
    entries_.push_back(entry);
  }
  if (Status s = it.status(); !s.ok()) return s;
  if (!entries_.empty()) {
    if (Status s = CompactSeries(); !s.ok()) return s;
    ++figures_->windows;
  }
  *done = true;
  return writer_.Flush();
}

Status ChunkCompactor::CompactSeries() {
  Status s = MergeSeries();
  if (s.ok()) NoteData();
  return s;
}

Status ChunkCompactor::MergeSeries() {
  for (const ChunkType type : {ChunkType::kXor, ChunkType::kHistogram, ChunkType::kExemplar}) {
    if (Status s = CompactType(type); !s.ok()) return s;
  }
  NoteBlocked();
  // Deletes that no Replace has taken along.
  return options_.dry_run ? Status::Ok() : writer_.EndGroup(ChunkWindowPrefix(entries_[0].chunk.meta.window));
}

Status ChunkCompactor::CompactType(ChunkType type) {
  CollectParts(type);
  if (parts_.empty()) return Status::Ok();
  for (const Run_& run : FindRuns(type)) {
    if (KeepsPrecedence(run)) {
      if (Status s = MergeRun(run, type); !s.ok()) return s;
      continue;
    }
    // Perhaps its components one by one; at least what is hidden goes.
    for (std::size_t i = run.begin; i < run.end;) {
      Run_ component{i, parts_.ComponentEnd(i), false};
      component.overlapping = component.end - component.begin > 1;
      i = component.end;
      if (component.overlapping && KeepsPrecedence(component)) {
        if (Status s = MergeRun(component, type); !s.ok()) return s;
        continue;
      }
      for (std::size_t p = component.begin; p < component.end; ++p) {
        if (Status s = MergeRun({p, p + 1, false}, type); !s.ok()) return s;
      }
    }
  }
  return Status::Ok();
}

// Chunks that are hidden as a whole go at once.
void ChunkCompactor::CollectParts(ChunkType type) {
  parts_.Clear();
  for (Entry& entry : entries_) {
    if (entry.chunk.meta.type != type || !entry.settled || entry.gone) continue;
    const std::size_t before = parts_.size();
    parts_.Add(entry.chunk, tombstones_, TimeRange{});
    if (parts_.size() != before) continue;
    figures_->samples_deleted += entry.chunk.meta.samples;
    DeleteRow(&entry);
  }
  parts_.Sort();
}

// Consecutive components, each small or in need of rewriting, with nothing else between them in time.
std::vector<ChunkCompactor::Run_> ChunkCompactor::FindRuns(ChunkType type) const {
  std::vector<Run_> runs;
  std::uint64_t run_bytes = 0;
  Timestamp run_end = 0;
  bool open = false;  // whether the last run may be extended
  for (std::size_t i = 0; i < parts_.size();) {
    Run_ component{i, parts_.ComponentEnd(i), false};
    i = component.end;
    component.overlapping = component.end - component.begin > 1;
    std::uint64_t bytes = 0;
    bool clean = true;
    Timestamp max_time = kMinTimestamp;
    for (std::size_t p = component.begin; p < component.end; ++p) {
      bytes += parts_[p].chunk.data.size();
      clean = clean && parts_[p].clean();
      max_time = std::max(max_time, parts_[p].chunk.meta.max_time);
    }
    const ChunkSlice& first = parts_[component.begin].chunk;
    const bool small = first.meta.samples < max_samples_ / 2 && first.data.size() < kSmallBytes;
    if (bytes > kComponentBytes || (!component.overlapping && clean && !small)) {
      open = false;
      continue;
    }
    if (open && run_bytes + bytes <= kRunBytes && !SomethingBetween(run_end, first.meta.min_time, type)) {
      runs.back().end = component.end;
      runs.back().overlapping |= component.overlapping;
      run_bytes += bytes;
    } else {
      runs.push_back(component);
      run_bytes = bytes;
      open = true;
    }
    run_end = max_time;
  }
  return runs;
}

// A chunk that would come to lie inside of the span of a merged one.
bool ChunkCompactor::SomethingBetween(Timestamp after, Timestamp before, ChunkType type) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) {
    const ChunkMeta& m = e.chunk.meta;
    const bool counts = (m.type == ChunkType::kExemplar) == (type == ChunkType::kExemplar);
    return counts && !e.gone && m.min_time > after && m.max_time < before;
  });
}

ChunkMeta ChunkCompactor::OutputMeta(const Run_& run) const {
  ChunkMeta output = parts_[run.begin].chunk.meta;
  for (std::size_t i = run.begin; i < run.end; ++i) {
    const ChunkMeta& input = parts_[i].chunk.meta;
    output.creation_lsn = std::max(output.creation_lsn, input.creation_lsn);
    output.epoch = std::max(output.epoch, input.epoch);
  }
  output.overlay = false;
  output.sequence = FreeSequence(output.creation_lsn);
  return output;
}

bool ChunkCompactor::KeepsPrecedence(const Run_& run) const {
  if (run.end - run.begin == 1) return true;                                   // rewritten in place
  if (parts_[run.begin].chunk.meta.type == ChunkType::kExemplar) return true;  // there is none
  const ChunkMeta output = OutputMeta(run);
  for (const Entry& other : entries_) {
    const ChunkMeta& stays = other.chunk.meta;
    if (other.gone || stays.type == ChunkType::kExemplar) continue;
    if (stays.type == output.type && other.settled) continue;  // in this run, or apart from it in time
    for (std::size_t i = run.begin; i < run.end; ++i) {
      const ChunkMeta& input = parts_[i].chunk.meta;
      // What the head holds may span more of the window by now.
      if (other.settled && !Overlap(input, stays)) continue;
      if (input.Supersedes(stays) != output.Supersedes(stays) || stays.Supersedes(input) != stays.Supersedes(output)) return false;
    }
  }
  return true;
}

Status ChunkCompactor::MergeRun(const Run_& run, ChunkType type) {
  const bool lone = run.end - run.begin == 1;
  if (lone && parts_[run.begin].clean()) return Status::Ok();
  std::vector<EncodedChunk> encoded;
  std::uint64_t hidden = 0;
  // A lone chunk stays one, also if it is larger than chunks are made today.
  const std::uint32_t max_samples = lone ? std::max(max_samples_, parts_[run.begin].chunk.meta.samples) : max_samples_;
  if (type == ChunkType::kExemplar) {
    if (Status s = MergeExemplars(run, max_samples, &encoded, &hidden); !s.ok()) return s;
  } else {
    if (Status s = merge_.Run(parts_, run.begin, run.end, store_->options_.duplicate_policy); !s.ok()) return s;
    hidden = merge_.hidden();
    EncodeMerged(merge_, max_samples, &encoded);
  }
  // Nothing to gain: chunks that end early for their size, or whose spans only seem to be hidden. Exemplars may share a timestamp
  // across chunks, which is no reason to write them again and again.
  const bool overlapping = run.overlapping && type != ChunkType::kExemplar;
  if (hidden == 0 && !overlapping && encoded.size() >= run.end - run.begin) {
    for (std::size_t i = run.begin; i < run.end; ++i) EntryOf(parts_[i]).verified = true;
    return Status::Ok();
  }
  if (lone && encoded.size() > 1) return Status::Ok();  // cannot be: fewer samples in fewer bytes; the readers go on filtering
  figures_->samples_deleted += hidden;
  if (!lone) return Replace(run, std::move(encoded));
  if (!encoded.empty()) return RewriteInPlace(&EntryOf(parts_[run.begin]), encoded[0]);
  DeleteRow(&EntryOf(parts_[run.begin]));
  return Status::Ok();
}

// As the row stores it.
std::string_view ChunkCompactor::Packed(const EncodedChunk& chunk) {
  return chunk.type == ChunkType::kXor && packer_.Pack(chunk.data, &packed_) ? packed_ : std::string_view(chunk.data);
}

// The same chunk with fewer samples: same key, same precedence.
Status ChunkCompactor::RewriteInPlace(Entry* entry, const EncodedChunk& encoded) {
  ChunkMeta& meta = entry->chunk.meta;
  meta.min_time = encoded.min_time;
  meta.max_time = encoded.max_time;
  meta.samples = encoded.samples;
  entry->chunk.data = arena_.Copy(encoded.data);
  entry->verified = true;
  const ChunkKey key = EncodeChunkKey(meta);
  if (Status s = EncodeChunkValue(View(key), meta, Packed(encoded), &value_); !s.ok()) return s;
  figures_->bytes_after += key.size() + value_.size();
  figures_->bytes_written += key.size() + value_.size();
  figures_->bytes_after -= std::exchange(entry->row_bytes, key.size() + value_.size());
  if (options_.dry_run) return Status::Ok();
  writer_.Put(View(key), value_);
  return writer_.EndGroup(ChunkWindowPrefix(meta.window));
}

Status ChunkCompactor::MergeExemplars(const Run_& run, std::uint32_t max_samples, std::vector<EncodedChunk>* encoded,
                                      std::uint64_t* hidden) {
  std::vector<Exemplar> exemplars;
  for (std::size_t i = run.begin; i < run.end; ++i) {
    ExemplarIterator it(parts_[i].chunk.data);
    while (it.Next()) {
      if (IsHidden(parts_.HiddenIn(parts_[i]), it.exemplar().timestamp)) {
        ++*hidden;
      } else {
        exemplars.push_back(it.exemplar());
      }
    }
    if (!it.status().ok()) return BadChunk(parts_[i].chunk.meta, it.status());
  }
  SortExemplars(&exemplars);
  ExemplarAppender appender;
  EncodedChunk chunk;
  chunk.type = ChunkType::kExemplar;
  for (std::size_t i = 0; i < exemplars.size(); ++i) {
    if (appender.count() == 0) chunk.min_time = exemplars[i].timestamp;
    appender.Append(exemplars[i]);
    chunk.max_time = exemplars[i].timestamp;
    const bool last = i + 1 == exemplars.size();
    if (!last && appender.count() < max_samples &&
        appender.data().size() + ExemplarAppender::MaxBytes(exemplars[i + 1]) <= kHistogramChunkBytes) {
      continue;
    }
    chunk.samples = appender.count();
    chunk.data = appender.Take();
    encoded->push_back(chunk);
  }
  return Status::Ok();
}

// Above that of every chunk of the series with this LSN, of any type: so the outputs of a merge have one and the same precedence
// over each of them. Gone rows count as well: a batch must not put and delete one key.
std::uint32_t ChunkCompactor::FreeSequence(Lsn creation_lsn) const {
  std::uint32_t sequence = kCompactedSequence;
  for (const Entry& e : entries_) {
    if (e.chunk.meta.creation_lsn == creation_lsn) sequence = std::max(sequence, e.chunk.meta.sequence + 1);
  }
  return sequence;
}

Status ChunkCompactor::Replace(const Run_& run, std::vector<EncodedChunk> encoded) {
  store_->replacements_.fetch_add(1, std::memory_order_release);  // before the rows: see ChunkStore::changes
  ChunkMeta meta = OutputMeta(run);
  std::vector<Entry> outputs;
  for (EncodedChunk& chunk : encoded) {
    meta.min_time = chunk.min_time;
    meta.max_time = chunk.max_time;
    meta.samples = chunk.samples;
    const ChunkKey key = EncodeChunkKey(meta);
    if (Status s = EncodeChunkValue(View(key), meta, Packed(chunk), &value_); !s.ok()) return s;
    if (!options_.dry_run) writer_.Put(View(key), value_);
    ++figures_->rows_after;
    figures_->bytes_after += key.size() + value_.size();
    figures_->bytes_written += key.size() + value_.size();
    Entry entry;
    entry.chunk = {meta, arena_.Copy(chunk.data)};
    entry.row_bytes = key.size() + value_.size();
    entry.settled = true;
    entry.verified = true;
    outputs.push_back(entry);
    ++meta.sequence;
  }
  for (std::size_t i = run.begin; i < run.end; ++i) DeleteRow(&EntryOf(parts_[i]));
  CHRONOLITH_FAILPOINT("compact.replace");
  entries_.insert(entries_.end(), outputs.begin(), outputs.end());
  if (options_.dry_run) return Status::Ok();
  return writer_.EndGroup(ChunkWindowPrefix(meta.window));
}

// Joins the group of rows that is being written.
void ChunkCompactor::DeleteRow(Entry* entry) {
  entry->gone = true;
  --figures_->rows_after;
  figures_->bytes_after -= entry->row_bytes;
  if (!options_.dry_run) writer_.Delete(View(EncodeChunkKey(entry->chunk.meta)));
}

ChunkCompactor::Entry& ChunkCompactor::EntryOf(const Part& part) {
  return *std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.chunk.meta.SameChunk(part.chunk.meta); });
}

void ChunkCompactor::NoteData() {
  if (options_.with_data == nullptr) return;
  const TimeRange visible{tombstones_.floor(), kMaxTimestamp};
  const bool any = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) {
    const ChunkMeta& m = e.chunk.meta;
    return !e.gone && m.type != ChunkType::kExemplar && visible.Overlaps(m.min_time, m.max_time);
  });
  if (!any) return;
  with_data_.push_back(entries_[0].chunk.meta.ordinal);
  if (with_data_.size() < kNotedOrdinalsMax) return;
  options_.with_data->AddMany(with_data_);
  with_data_.clear();
}

void ChunkCompactor::NoteBlocked() {
  for (const auto& tombstone : droppable_.list()) {
    for (const Entry& e : entries_) {
      const ChunkMeta& m = e.chunk.meta;
      if (e.gone || e.verified || m.creation_lsn >= tombstone->lsn || !tombstone->ordinals.Contains(m.ordinal)) continue;
      // What the head holds may span more of the window by now.
      const Timestamp first = e.settled ? m.min_time : m.window;
      const Timestamp last = e.settled ? m.max_time : std::max(m.max_time, m.window + (store_->options_.window_ms - 1));
      if (tombstone->range.Overlaps(first, last)) blocked_.insert(tombstone->lsn);
    }
  }
}

Status ChunkCompactor::DropTombstones() {
  MutexLock lock(&store_->rows_mu_);
  std::vector<Lsn> dropped;
  for (const auto& tombstone : droppable_.list()) {
    if (blocked_.contains(tombstone->lsn)) continue;
    for (const ChunkFamilyRow& row : EncodeTombstone(*tombstone)) writer_.Delete(row.key);
    if (Status s = writer_.EndGroup(std::string_view(&kTombstoneKeyTag, 1)); !s.ok()) return s;
    dropped.push_back(tombstone->lsn);
  }
  CHRONOLITH_FAILPOINT("compact.tombstones_drop");
  if (Status s = writer_.Flush(); !s.ok()) return s;
  CHRONOLITH_FAILPOINT("compact.tombstones_dropped");
  for (const Lsn lsn : dropped) {
    store_->tombstones_.Drop(lsn);
    store_->stored_tombstones_.erase(lsn);
  }
  return Status::Ok();
}

Result<bool> ChunkStore::CompactWindow(Timestamp window, const std::function<bool(const ChunkMeta&)>& in_head,
                                       const std::function<bool()>& stop) {
  CompactFigures figures;
  Result<bool> done = ChunkCompactor(this, {}, 0, in_head, &figures).RunWindow(window, stop);
  if (done.ok() && !*done) return done;
  MutexLock lock(&rows_mu_);
  untidy_.erase(window);
  return done.ok() ? done : Named(done.status());
}

Status ChunkStore::Compact(const ChunkCompactOptions& options, Lsn trimmed_to, const std::function<bool(const ChunkMeta&)>& in_head,
                           CompactFigures* figures, const std::function<Status()>& between) {
  // What is stored in windows that the pass has passed is counted anew.
  std::map<Timestamp, std::uint64_t> before;
  if (!options.dry_run) {
    MutexLock lock(&rows_mu_);
    before = std::exchange(untidy_, {});
  }
  const Status status = ChunkCompactor(this, options, trimmed_to, in_head, figures).Run(between);
  if (!status.ok()) {
    MutexLock lock(&rows_mu_);
    for (const auto& [window, bytes] : before) untidy_[window] += bytes;
  }
  return Named(status);
}

}  // namespace chronolith
