#include "server/otlp_receiver.h"

#include <google/protobuf/stubs/logging.h>

#include <utility>

namespace chronolith::server {
namespace {

using interop::otlp::MetricsWritten;

prometheus::Counter& PointsCounter(prometheus::Registry* registry, const char* result) {
  return prometheus::BuildCounter()
      .Name("chronolith_otlp_points_total")
      .Help("Data points that came by OTLP: written, rejected for good, or of requests that failed and are sent again.")
      .Register(*registry)
      .Add({{"result", result}});
}

}  // namespace

RpcCode RpcCodeOf(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return RpcCode::kOk;
    case StatusCode::kInvalidArgument:
    case StatusCode::kFailedPrecondition:  // larger than can ever be taken
      return RpcCode::kInvalidArgument;
    case StatusCode::kResourceExhausted:
    case StatusCode::kDeadlineExceeded:  // of the wait for room, or for the log: it is late, not broken
      return RpcCode::kResourceExhausted;
    default:
      return RpcCode::kUnavailable;
  }
}

OtlpReceiver::OtlpReceiver(Storage* storage, const OtlpOptions& options, prometheus::Registry* registry)
    : storage_(storage),
      options_(options),
      writer_(storage, options.writer),
      written_(PointsCounter(registry, "written")),
      rejected_(PointsCounter(registry, "rejected")),
      failed_(PointsCounter(registry, "failed")) {
  google::protobuf::SetLogHandler(nullptr);  // it prints each string that is not UTF-8: a sender could fill the log
}

void OtlpReceiver::Count(const MetricsWritten& written) {
  if (!written.status.ok()) {
    failed_.Increment(static_cast<double>(written.points));
    return;
  }
  if (written.rejected > 0) rejected_.Increment(static_cast<double>(written.rejected));
  written_.Increment(static_cast<double>(written.points - written.rejected));
}

MetricsWritten OtlpReceiver::Write(std::string_view request, AckLevel level, Deadline deadline, MemoryShare* share) {
  MetricsWritten written = writer_.Write(request, {.level = level, .deadline = deadline}, share);
  Count(written);
  return written;
}

void OtlpReceiver::WriteThen(std::string_view request, AckLevel level, Deadline deadline, MemoryShare* share,
                             std::function<void(MetricsWritten)> done) {
  MetricsWritten written = writer_.Write(request, {.level = AckLevel::kQueued, .deadline = deadline}, share);
  if (!written.status.ok() || level == AckLevel::kQueued || written.points == written.rejected) {
    Count(written);
    done(std::move(written));
    return;
  }
  const CommitToken token = written.token;
  storage_->OnReached(token, level, [this, written = std::move(written), done = std::move(done)](Status status) mutable {
    written.status = std::move(status);
    Count(written);
    done(std::move(written));
  });
}

}  // namespace chronolith::server
