#include "ops/prometheus_chunks.h"

#include "chunk/histogram_chunk.h"
#include "interop/prometheus_histogram.h"

namespace chronolith::ops {
namespace {

Status Visit(PrometheusHistogramEncoder* histograms, const std::function<Status(const PrometheusChunk&)>& visit) {
  for (const PrometheusHistogramChunk& made : histograms->Finish()) {
    if (Status s = visit({made.encoding, made.min_time, made.max_time, made.samples, made.data}); !s.ok()) return s;
  }
  return Status::Ok();
}

}  // namespace

bool HasCustomBuckets(const Histogram& histogram) {
  return std::visit([](const auto& h) { return h.schema == kCustomBucketsSchema; }, histogram);
}

Status ForEachPrometheusChunk(ChunkIterator* chunks, CustomBuckets custom,
                              const std::function<Status(const PrometheusChunk&)>& visit) {
  PrometheusHistogramEncoder histograms;  // that follow each other
  bool waiting = false;
  while (chunks->Next()) {
    const RawChunk& chunk = chunks->chunk();
    if (chunk.encoding == RawChunk::Encoding::kXor) {
      if (waiting) {
        if (Status s = Visit(&histograms, visit); !s.ok()) return s;
        waiting = false;
      }
      if (Status s = visit({1, chunk.min_time, chunk.max_time, chunk.samples, chunk.data}); !s.ok()) return s;
      continue;
    }
    HistogramIterator in(chunk.data);
    while (in.Next()) {
      if (custom == CustomBuckets::kLeaveOut && HasCustomBuckets(in.sample().histogram)) continue;
      histograms.Add(in.sample().timestamp, in.sample().histogram);
    }
    if (!in.status().ok()) return in.status();
    waiting = true;
  }
  if (!chunks->status().ok()) return chunks->status();
  return waiting ? Visit(&histograms, visit) : Status::Ok();
}

}  // namespace chronolith::ops
