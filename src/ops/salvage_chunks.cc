#include "ops/salvage_chunks.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <variant>

#include "chunk/exemplar_chunk.h"
#include "chunk/histogram_chunk.h"
#include "chunk/packed_chunk.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kOrdinalEnd = std::uint64_t{1} << 32;

class Scan {
 public:
  Scan(KvEngine* engine, FamilyId family, std::int64_t window_ms) : engine_(engine), family_(family), window_ms_(window_ms) {}

  // Whether a cursor can be set there: on a row, or on the end.
  bool Readable(Timestamp window, std::uint64_t ordinal) const {
    if (ordinal >= kOrdinalEnd) return Readable(window, 0, 1);
    return Set(ChunkSeriesPrefix(window, static_cast<Ordinal>(ordinal)));
  }
  bool Readable(Timestamp window, std::uint64_t, std::uint64_t windows) const {
    const std::optional<Timestamp> at = Later(window, windows);
    return !at || Set(ChunkWindowPrefix(*at));
  }
  // The start of the window so many windows behind; none: there is none.
  std::optional<Timestamp> Later(Timestamp window, std::uint64_t windows) const {
    const std::uint64_t left = static_cast<std::uint64_t>(kMaxTimestamp) - static_cast<std::uint64_t>(window);
    if (windows > left / static_cast<std::uint64_t>(window_ms_)) return std::nullopt;
    return static_cast<Timestamp>(static_cast<std::uint64_t>(window) + windows * static_cast<std::uint64_t>(window_ms_));
  }

  // Behind a place at which no cursor can be set.
  std::optional<ChunkGap::Place> Next(Timestamp window, std::uint64_t ordinal) const {
    if (!Readable(window, 0, 1)) {
      const std::uint64_t all = (static_cast<std::uint64_t>(kMaxTimestamp) - static_cast<std::uint64_t>(window)) /
                                    static_cast<std::uint64_t>(window_ms_) +
                                1;
      const std::uint64_t windows = FirstGood(1, all, [&](std::uint64_t n) { return Readable(window, 0, n); });
      window = *Later(window, windows - 1);
      ordinal = 0;
    }
    const std::uint64_t found = FirstGood(ordinal, kOrdinalEnd, [&](std::uint64_t o) { return Readable(window, o); });
    if (found < kOrdinalEnd) return ChunkGap::Place{window, found};
    const std::optional<Timestamp> next = Later(window, 1);
    if (!next) return std::nullopt;
    return ChunkGap::Place{*next, 0};
  }

  Result<std::unique_ptr<KvIterator>> At(const std::string& from) const {
    auto it = engine_->NewIterator(family_, {.lower = from, .upper = std::string(1, kChunkKeyTag + 1), .fill_cache = false});
    if (it.ok()) (*it)->Seek(from);
    return it;
  }

 private:
  bool Set(const std::string& from) const {
    const auto it = At(from);
    return it.ok() && (*it)->status().ok();
  }

  KvEngine* const engine_;
  const FamilyId family_;
  const std::int64_t window_ms_;
};

}  // namespace

Status ScanAroundDamage(KvEngine* engine, FamilyId family, std::int64_t window_ms, const std::atomic<bool>* cancelled,
                        const std::function<Status(std::string_view key, std::string_view value)>& row,
                        const std::function<Status(const ChunkGap&)>& gap) {
  const Scan scan(engine, family, window_ms);
  std::string from(1, kChunkKeyTag);
  ChunkGap::Place last{kMinTimestamp / window_ms * window_ms, 0};  // the first whole window
  bool any = false;
  while (true) {
    Result<std::unique_ptr<KvIterator>> it = scan.At(from);
    Status why = it.status();
    if (it.ok()) {
      for (; (*it)->Valid(); (*it)->Next()) {
        if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) return Cancelled("interrupted");
        ChunkMeta meta;
        if (DecodeChunkKey((*it)->key(), &meta)) last = {meta.window, meta.ordinal};
        any = true;
        if (Status s = row((*it)->key(), (*it)->value()); !s.ok()) return s;
      }
      why = (*it)->status();
    }
    if (why.ok()) return why;
    ChunkGap lost{any ? std::optional(last) : std::nullopt, std::nullopt, why};
    lost.end = scan.Next(last.window, last.ordinal);
    if (Status s = gap(lost); !s.ok() || !lost.end) return s;
    if (any && lost.end->window == last.window && lost.end->ordinal <= last.ordinal) return Status::Ok();  // cannot be: no way on
    last = *lost.end;
    from = ChunkSeriesPrefix(last.window, static_cast<Ordinal>(last.ordinal));
  }
}

std::size_t MergeChunks(std::vector<Chunk>* chunks, const TombstoneView& hidden,
                        const std::function<void(const ChunkMeta&, const Status&)>& bad, TimeSeries* series) {
  std::sort(chunks->begin(), chunks->end(), [](const Chunk& a, const Chunk& b) { return b.meta.Supersedes(a.meta); });
  std::map<Timestamp, std::variant<double, Histogram>> points;
  std::vector<TimeRange> scratch;
  for (const Chunk& chunk : *chunks) {
    hidden.HiddenIn(chunk.meta, {}, &scratch);
    const auto visible = [&](Timestamp t) {
      return std::none_of(scratch.begin(), scratch.end(), [t](const TimeRange& r) { return r.Contains(t); });
    };
    Status s;
    if (chunk.meta.type == ChunkType::kXor) {
      FloatIterator it(chunk.data);
      while (it.Next()) {
        if (visible(it.sample().timestamp)) points.insert_or_assign(it.sample().timestamp, it.sample().value);
      }
      s = it.status();
    } else if (chunk.meta.type == ChunkType::kHistogram) {
      HistogramIterator it(chunk.data);
      while (it.Next()) {
        if (visible(it.sample().timestamp)) points.insert_or_assign(it.sample().timestamp, it.sample().histogram);
      }
      s = it.status();
    } else {
      ExemplarIterator it(chunk.data);
      while (it.Next()) {
        if (visible(it.exemplar().timestamp)) series->exemplars.push_back(it.exemplar());
      }
      s = it.status();
    }
    if (!s.ok()) bad(chunk.meta, s);
  }

  for (auto& [t, value] : points) {
    if (const double* number = std::get_if<double>(&value)) {
      series->samples.push_back({t, *number});
    } else {
      series->histograms.push_back({t, std::move(std::get<Histogram>(value))});
    }
  }
  return points.size() + series->exemplars.size();
}

}  // namespace chronolith::ops
