// RemoteReadAnswer: the answer to a remote read as samples, which must be whole before it can be compressed.
#ifndef CHRONOLITH_SERVER_REMOTE_READ_ANSWER_H_
#define CHRONOLITH_SERVER_REMOTE_READ_ANSWER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/memory_share.h"
#include "chronolith/series_set.h"
#include "chronolith/status.h"

namespace chronolith::server {

// Some thousand samples are read, written into the message, and forgotten: a series is never held besides. The share grows before
// the message does, by what is held while one is copied into a larger one, and before it is compressed. Thread safety: one thread.
class RemoteReadAnswer {
 public:
  enum class Refusal {
    kNone,
    kTooLarge,  // by itself: it will never be given
    kNoMemory,  // others have taken it
  };

  // What `share` holds already is the caller's.
  RemoteReadAnswer(std::uint64_t bytes_max, MemoryShare* share) : bytes_max_(bytes_max), share_(share), others_(share->bytes()) {}

  // Null: a result without series. Not ok: of no further use; the set's status where there is no refusal.
  Status AddResult(SeriesSet* set);
  // Ends it. The share still stands for it.
  Status Finish(std::string* compressed);

  Refusal refusal() const { return refusal_; }

 private:
  static constexpr std::size_t kPieceSamples = 4096;
  static constexpr std::size_t kPieceHistograms = 16;

  Status AddSeries(SeriesSet* set);
  Status WriteSamples();
  // Room for so many bytes more, and for the ends of the parts that are open.
  Status Room(std::size_t bytes);
  Status Take(std::uint64_t bytes);
  Status TooLarge(std::uint64_t bytes, const char* or_else = "");

  const std::uint64_t bytes_max_;
  MemoryShare* const share_;
  const std::uint64_t others_;
  Refusal refusal_ = Refusal::kNone;
  std::string message_;
  std::string piece_;
  std::vector<Sample> samples_;
  std::vector<HistogramSample> histograms_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_REMOTE_READ_ANSWER_H_
