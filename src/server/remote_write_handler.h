// POST /api/v1/write: Prometheus remote write, 1.0 and 2.0.
//
//  * 415: another Content-Type than application/x-protobuf (2.0: ;proto=io.prometheus.write.v2.Request), or another
//    Content-Encoding than snappy; a header that is not there is 1.0, and snappy
//  * 413: compressed or, by the header of the snappy block, decoded larger than the limits; nothing was decoded. Or it takes more
//    memory than there is for all requests: a part may have been written
//  * 400: malformed; or a part was refused, for good: the rest was written
//  * 429: a bound was reached (memory, rings, disk), 503: the log failed; send all of it again, which changes nothing that was
//    written
//  * 204: all was written, and has reached the level: --ack-level, or the request's header X-Chronolith-Ack-Level: queued, logged,
//    synced
//
// Every answer says in X-Prometheus-Remote-Write-{Samples,Histograms,Exemplars}-Written what was written.
#ifndef CHRONOLITH_SERVER_REMOTE_WRITE_HANDLER_H_
#define CHRONOLITH_SERVER_REMOTE_WRITE_HANDLER_H_

#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/idle_pool.h"
#include "base/memory_share.h"
#include "server/remote_writer.h"
#include "server/router.h"

namespace chronolith::server {

struct RemoteWriteHandlerOptions {
  AckLevel level = AckLevel::kLogged;
  std::uint64_t body_bytes_max = 32ULL << 20;
  std::uint64_t decoded_bytes_max = 32ULL << 20;
  std::uint64_t cache_bytes = 64ULL << 20;  // of series that were seen; about 400 bytes each
  NameValidation names = NameValidation::kUtf8;
  std::int64_t future_ms_max = 10 * 60 * 1000;
  std::shared_ptr<Clock> clock;  // null: the system's
};

// "queued", "logged", "synced"
bool ParseAckLevel(std::string_view word, AckLevel* level);

// Thread safety: Handle is safe. Must outlive the server, and end before the storage is closed.
class RemoteWriteHandler {
 public:
  // `in_flight`: counts what is decoded. `registry`: gets the handler's families.
  RemoteWriteHandler(Storage* storage, const RemoteWriteHandlerOptions& options, MemoryBudget* in_flight,
                     prometheus::Registry* registry);

  void AddTo(Router* router);
  HttpResponse Handle(const HttpRequest& request);
  // After the store was opened again: metadata that was only queued may be lost, so all is written again as it comes.
  void ForgetTold() { shared_.ForgetTold(); }
  // What is kept of past requests for the next ones; kIdleBytes at most.
  std::size_t idle_bytes() const { return idle_.bytes(); }

 private:
  // A writer and a buffer for what it decodes.
  struct Context {
    explicit Context(RemoteWriterShared* shared) : writer(shared) {}
    RemoteWriter writer;
    std::unique_ptr<char[]> buffer;
    std::size_t buffer_bytes = 0;
  };
  // As many as there are requests at the same time, so at most one a worker.
  std::unique_ptr<Context> Take();
  void GiveBack(std::unique_ptr<Context> context);
  HttpResponse Write(interop::RemoteWriteVersion version, AckLevel level, std::string_view compressed, MemoryShare* share);
  static constexpr std::size_t kIdleBytes = 64 << 20;

  const RemoteWriteHandlerOptions options_;
  MemoryBudget* const in_flight_;
  RemoteWriterShared shared_;
  IdlePool<Context> idle_{kIdleBytes};
  prometheus::Counter &samples_, &histograms_, &exemplars_, &refused_, &hits_, &misses_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_REMOTE_WRITE_HANDLER_H_
