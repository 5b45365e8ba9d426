// The messages of Prometheus remote read, not compressed: requests are read, answers written, as whole samples or as streamed
// chunks.
#ifndef CHRONOLITH_INTEROP_REMOTE_READ_MESSAGE_H_
#define CHRONOLITH_INTEROP_REMOTE_READ_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/types.h"
#include "interop/prometheus_block.h"

namespace chronolith::interop {

// As the protocol numbers them.
enum class RemoteReadForm : std::uint8_t { kSamples = 0, kStreamedChunks = 1 };

struct RemoteReadQuery {
  TimeRange range;  // half-open, where the protocol's is not; empty where its end is before its start
  std::vector<Matcher> matchers;
};

struct RemoteReadRequest {
  RemoteReadForm form = RemoteReadForm::kSamples;  // the first that the client takes and that is known
  std::vector<RemoteReadQuery> queries;
};

inline constexpr std::size_t kRemoteReadQueriesMax = 256;
inline constexpr std::size_t kRemoteReadMatchersMax = 1024;  // of a query

// Hints are passed over. kInvalidArgument: malformed, over the bounds above, or a form is asked for that is not known.
Result<RemoteReadRequest> DecodeRemoteReadRequest(std::string_view message);

// A ReadResponse of samples is written from front to back: a result for each query, in it series, in them what AppendTimeSeries1
// appends, in as many calls as the caller likes. Both give the place of the part, for its end.
std::size_t BeginRemoteReadResult(std::string* out);
std::size_t BeginRemoteReadSeries(std::string* out);
void EndRemoteReadPart(std::size_t place, std::string* out);
// What a begin and its end add to *out at most.
inline constexpr std::size_t kRemoteReadPartBytesMax = 12;

// One frame of a stream: uvarint length | big-endian CRC32C | ChunkedReadResponse of one series, as Prometheus sends them. A series
// may take several. Reusable: Begin keeps the memory. Thread safety: one thread.
class RemoteReadFrame {
 public:
  void Begin(const Labels& labels);
  void Add(const PrometheusChunk& chunk);
  // The frame, until the next Begin.
  std::string_view End(std::size_t query);

  bool empty() const { return data_bytes_ == 0; }
  std::size_t data_bytes() const { return data_bytes_; }  // of the chunks

 private:
  std::string bytes_;  // what stands before the labels is as long as the lengths in it: there is room for the longest
  std::size_t data_bytes_ = 0;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_REMOTE_READ_MESSAGE_H_
