// Replay to a Prometheus remote write endpoint, 1.0 or 2.0.
//
// What such a receiver is like, and what becomes of it here:
//  - It takes samples of a series in ascending order only (unless it is set up otherwise), and answers 400 to a request where one
//  is
//    late, another value for a time it has, or older than an hour before the newest sample it has of any series. Prometheus then
//    drops the whole request. So within a request samples are sorted, and a refused request is halved until what is refused
//    stands alone: everything else arrives. A receiver of 2.0 says itself what it kept. Shards are kept together in
//    time (ops/log_pace.h), so that none leaves the others that hour behind.
//  - Prometheus 2.42 takes a sample of the far future, and refuses all others from then on; later versions refuse such a sample.
//  - A request whose answer was lost is sent again. A receiver that had taken it refuses it as late: counted as refused, with a
//  word
//    about it in the reasons.
//  - What it has switched off (native histograms) Prometheus 2.42 answers with 500, which is tried again until the time is up.
//  - It has no deletes: they are left out.
#ifndef CHRONOLITH_OPS_SINK_REMOTE_WRITE_H_
#define CHRONOLITH_OPS_SINK_REMOTE_WRITE_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "chronolith/result.h"
#include "interop/remote_write_client.h"
#include "ops/record_sink.h"

namespace chronolith::ops {

struct RemoteWriteTargetOptions {
  interop::RemoteWriteOptions http;
  // A request is sent where one of these is reached, and at each Flush. Samples, histograms, exemplars and metadata count alike.
  std::size_t items_per_request = 2000;
  std::size_t bytes_per_request = 1 << 20;  // about, before compression
  // So many items refused one after the other end the replay of a shard: nothing is likely to get through. Finding each costs two
  // requests.
  std::uint64_t refused_in_a_row_max = 10'000;
};

// Each sink has a connection of its own with one request in flight: the order of a series is kept. Memory of a sink: labels of the
// series it was told of, encoded once, and one request. Skipped: samples that a later one of the same time replaces within a
// request; with 2.0 exemplars and metadata without a sample of their series in the same request or the next.
//
// kInvalidArgument: the URL or another option is of no use. Nobody is connected to yet. `hooks` are called from the threads of all
// sinks.
Result<std::unique_ptr<RecordTarget>> NewRemoteWriteTarget(RemoteWriteTargetOptions options, const std::atomic<bool>* cancel,
                                                           interop::RemoteWriteHooks hooks = {});

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SINK_REMOTE_WRITE_H_
