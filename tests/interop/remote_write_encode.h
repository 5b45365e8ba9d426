// A remote write message of series that a test holds as values.
#ifndef CHRONOLITH_TESTS_INTEROP_REMOTE_WRITE_ENCODE_H_
#define CHRONOLITH_TESTS_INTEROP_REMOTE_WRITE_ENCODE_H_

#include <span>
#include <string>
#include <vector>

#include "chronolith/types.h"
#include "interop/remote_write_message.h"

namespace chronolith::testing {

// Thread safety: one thread. `series` must outlive it.
class ByReference {
 public:
  explicit ByReference(std::span<const TimeSeries> series) : labels_(series.size()) {
    for (std::size_t i = 0; i < series.size(); ++i) {
      interop::AppendRemoteWriteLabels(series[i].labels, &labels_[i]);
      series_.push_back({labels_[i], series[i].samples, series[i].histograms, series[i].exemplars, series[i].metadata});
    }
  }
  std::span<const interop::RemoteWriteSeries> series() const { return series_; }

 private:
  std::vector<std::string> labels_;
  std::vector<interop::RemoteWriteSeries> series_;
};

inline std::string EncodeRemoteWrite(interop::RemoteWriteVersion version, std::span<const TimeSeries> series) {
  std::string message = "what was there before";
  interop::EncodeRemoteWrite(version, ByReference(series).series(), &message);
  return message;
}

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_INTEROP_REMOTE_WRITE_ENCODE_H_
