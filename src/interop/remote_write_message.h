// The messages of Prometheus remote write: 1.0 (prometheus.WriteRequest) and 2.0 (io.prometheus.write.v2.Request), not compressed.
#ifndef CHRONOLITH_INTEROP_REMOTE_WRITE_MESSAGE_H_
#define CHRONOLITH_INTEROP_REMOTE_WRITE_MESSAGE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "chronolith/types.h"

namespace chronolith::interop {

enum class RemoteWriteVersion : std::uint8_t { k1, k2 };

// What a request carries, counted as the headers X-Prometheus-Remote-Write-*-Written of 2.0 count.
struct RemoteWriteCounts {
  std::uint64_t samples = 0;
  std::uint64_t histograms = 0;
  std::uint64_t exemplars = 0;
  std::uint64_t total() const { return samples + histograms + exemplars; }
  friend bool operator==(const RemoteWriteCounts&, const RemoteWriteCounts&) = default;
};

// A series of a request, by reference.
struct RemoteWriteSeries {
  std::string_view labels;  // of AppendRemoteWriteLabels
  std::span<const Sample> samples;
  std::span<const HistogramSample> histograms;
  std::span<const Exemplar> exemplars;
  std::span<const Metadata> metadata;  // the last is written

  std::uint64_t items() const { return samples.size() + histograms.size() + exemplars.size() + metadata.size(); }
};
RemoteWriteCounts CountsOf(std::span<const RemoteWriteSeries> series);

// Labels as they stand in a request of 1.0, which then copies them as they are: encoded once for all requests.
void AppendRemoteWriteLabels(const Labels& labels, std::string* out);
Labels LabelsOfRemoteWrite(std::string_view labels);

// The fields of a message TimeSeries of 1.0, without tag and length; remote read answers with the same. Metadata has no place in
// it.
void AppendTimeSeries1(const RemoteWriteSeries& series, std::string* out);

// Series in the given order; *out is replaced. Labels are written as they stand: sorted, not empty, which is what the receiver
// wants. Metadata is of a metric family in 1.0, and written once for each family of the request, behind the series; 2.0 has it in
// the series. A series of 2.0 has samples or histograms, not both: where both are given it is written twice. Receivers of 2.0
// refuse a series that has neither.
void EncodeRemoteWrite(RemoteWriteVersion version, std::span<const RemoteWriteSeries> series, std::string* out);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_REMOTE_WRITE_MESSAGE_H_
