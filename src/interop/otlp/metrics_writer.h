// Takes OTLP's metrics into a store: bytes of an ExportMetricsServiceRequest in, samples, histograms, exemplars and metadata out.
#ifndef CHRONOLITH_INTEROP_OTLP_METRICS_WRITER_H_
#define CHRONOLITH_INTEROP_OTLP_METRICS_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory_share.h"
#include "chronolith/env.h"
#include "chronolith/storage.h"

namespace chronolith::interop::otlp {

struct MetricsWriterOptions {
  // Points further ahead of the clock than this are rejected, in ms; 0: no bound.
  std::int64_t future_ms_max = 10 * 60 * 1000;
  // For what identities were found to mean. Less costs CPU where more series are written than fit: about 200 bytes each.
  std::size_t cache_bytes = 64 << 20;
  std::shared_ptr<Clock> clock;  // null: the system's
};

// Of one request. `status` is ok where what could be taken was, and reached its level; else nothing may be said of any of it:
//   kInvalidArgument    malformed; do not retry. Nothing was taken, but for parts of a large request in front of it
//   kFailedPrecondition likewise: it takes more than all the memory that `share` is of
//   kResourceExhausted  overload: retry all of it, later (writing is idempotent)
//   kUnavailable, kUnknown, kDeadlineExceeded  the log failed or was late: retry as well
struct MetricsWritten {
  Status status;
  std::uint64_t points = 0;    // in the request
  std::uint64_t rejected = 0;  // of them, for good
  CommitToken token;           // of what was taken
  std::string message;         // why; may warn of something where none was rejected. UTF-8
};

// Translates by OpenTelemetry's compatibility rules for Prometheus. Bounds: a point of more than 256 KiB, and the points of a
// resource, scope or metric whose own bytes are more than 64 KiB, are rejected before they are parsed, so that what is parsed takes
// some MiB at most; a request of which more than 4 MiB are collected is committed in parts. Repeated identities are looked up by
// their bytes and cost no translation. Thread safety: Write may be called concurrently; each call in progress has an Appender of
// its own, and they are kept.
class MetricsWriter {
 public:
  // `store` must outlive it.
  MetricsWriter(Storage* store, MetricsWriterOptions options);
  ~MetricsWriter();

  // `share` grows by what is made of the request; null: nobody counts.
  MetricsWritten Write(std::string_view request, const WriteOptions& options, MemoryShare* share);
  // What was written may be lost, as where the store was opened again: of all series metadata is written once more when they come.
  void ForgetTold();

 private:
  struct Shared;
  class Lease;

  const std::unique_ptr<Shared> shared_;
};

}  // namespace chronolith::interop::otlp

#endif  // CHRONOLITH_INTEROP_OTLP_METRICS_WRITER_H_
