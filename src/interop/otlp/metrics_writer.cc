#include "interop/otlp/metrics_writer.h"

#include <utility>

#include "interop/otlp/contexts.h"
#include "interop/otlp/session.h"

namespace chronolith::interop::otlp {

struct MetricsWriter::Shared {
  Shared(Storage* s, MetricsWriterOptions o) : store(s), options(std::move(o)), contexts(options.cache_bytes) {
    if (options.clock == nullptr) options.clock = Clock::System();
  }

  Storage* const store;
  MetricsWriterOptions options;
  Contexts contexts;
  Mutex mu;
  std::vector<std::unique_ptr<Session>> idle ABSL_GUARDED_BY(mu);
};

// A session for one call; the one that was used last is taken first, as its memory is warm.
class MetricsWriter::Lease {
 public:
  explicit Lease(Shared* shared) : shared_(shared) {
    MutexLock lock(&shared->mu);
    if (shared->idle.empty()) return;
    session_ = std::move(shared->idle.back());
    shared->idle.pop_back();
  }
  ~Lease() {
    MutexLock lock(&shared_->mu);
    shared_->idle.push_back(std::move(session_));
  }
  Session* Get() {
    if (session_ == nullptr) session_ = std::make_unique<Session>(shared_->store, &shared_->contexts);
    return session_.get();
  }

 private:
  Shared* const shared_;
  std::unique_ptr<Session> session_;
};

MetricsWriter::MetricsWriter(Storage* store, MetricsWriterOptions options)
    : shared_(std::make_unique<Shared>(store, std::move(options))) {}

MetricsWriter::~MetricsWriter() = default;

MetricsWritten MetricsWriter::Write(std::string_view request, const WriteOptions& options) {
  const MetricsWriterOptions& o = shared_->options;
  const Timestamp newest = o.future_ms_max == 0 ? kMaxTimestamp : o.clock->NowMs() + o.future_ms_max;
  Lease lease(shared_.get());
  return lease.Get()->Write(request, options, newest);
}

}  // namespace chronolith::interop::otlp
