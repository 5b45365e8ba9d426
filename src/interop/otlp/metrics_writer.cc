#include "interop/otlp/metrics_writer.h"

#include <utility>

#include "base/idle_pool.h"
#include "interop/otlp/contexts.h"
#include "interop/otlp/session.h"

namespace chronolith::interop::otlp {

namespace {

// Of sessions that wait for a request, all together.
constexpr std::size_t kIdleBytes = 64 << 20;

}  // namespace

struct MetricsWriter::Shared {
  Shared(Storage* s, MetricsWriterOptions o) : store(s), options(std::move(o)), contexts(options.cache_bytes) {
    if (options.clock == nullptr) options.clock = Clock::System();
  }

  Storage* const store;
  MetricsWriterOptions options;
  Contexts contexts;
  IdlePool<Session> idle{kIdleBytes};
};

// A session for one call.
class MetricsWriter::Lease {
 public:
  explicit Lease(Shared* shared) : shared_(shared), session_(shared->idle.Take()) {
    if (session_ == nullptr) session_ = std::make_unique<Session>(shared->store, &shared->contexts);
  }
  ~Lease() {
    const std::size_t bytes = session_->held_bytes();
    shared_->idle.Give(std::move(session_), bytes);
  }
  Session* operator->() const { return session_.get(); }

 private:
  Shared* const shared_;
  std::unique_ptr<Session> session_;
};

MetricsWriter::MetricsWriter(Storage* store, MetricsWriterOptions options)
    : shared_(std::make_unique<Shared>(store, std::move(options))) {}

MetricsWriter::~MetricsWriter() = default;

MetricsWritten MetricsWriter::Write(std::string_view request, const WriteOptions& options, MemoryShare* share) {
  const MetricsWriterOptions& o = shared_->options;
  const Timestamp newest = o.future_ms_max == 0 ? kMaxTimestamp : o.clock->NowMs() + o.future_ms_max;
  const Lease lease(shared_.get());
  return lease->Write(request, options, newest, share);
}

void MetricsWriter::ForgetTold() { shared_->contexts.Clear(); }

}  // namespace chronolith::interop::otlp
