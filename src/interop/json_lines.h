// Series as JSON lines, one object a line: everything that a store holds of a series. Without histograms, exemplars and metadata it
// is the form of VictoriaMetrics' /api/v1/export and /api/v1/import.
//
//   {"metric":{"__name__":"up","job":"node"},"values":[1,0.5],"timestamps":[1700000000000,1700000015000],
//    "metadata":{"type":"gauge","unit":"","help":"..."},
//    "histograms":[{"timestamp":1700000000000,"count":5,"sum":18.4,"schema":0,...}],
//    "exemplars":[{"labels":{"trace_id":"x"},"value":1,"timestamp":1700000000000}]}
//
// Timestamps are milliseconds. Doubles that JSON has no number for are strings: "NaN", "+Inf", "-Inf", "StaleNaN". A histogram is
// an IntHistogram, or with "float":true a FloatHistogram; its members are those of types.h, spans as [offset,length]; empty lists
// and zeros may be left out. A series may take several lines.
#ifndef CHRONOLITH_INTEROP_JSON_LINES_H_
#define CHRONOLITH_INTEROP_JSON_LINES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/types.h"

namespace chronolith::interop {

// Appends lines to a string that the caller empties between calls. Thread safety: one thread at a time.
class JsonLinesWriter {
 public:
  explicit JsonLinesWriter(std::string* out) : out_(out) {}

  // `metadata` is written with the first line.
  void BeginSeries(const Labels& labels, const std::optional<Metadata>& metadata);
  void AddSample(Sample sample);
  void AddHistogram(Timestamp t, const Histogram& histogram);
  void AddExemplar(const Exemplar& exemplar);
  // Writes what is left; a series without any data is written where it has metadata.
  void EndSeries();

 private:
  void WriteLine();
  void Added() {
    if (++points_ >= kPointsOfLine || histograms_.size() > kBytesOfLine) WriteLine();
  }
  static constexpr std::size_t kPointsOfLine = 4096;
  static constexpr std::size_t kBytesOfLine = 256 << 10;

  std::string* out_;
  std::string metric_, metadata_, values_, timestamps_, histograms_, exemplars_;
  std::size_t points_ = 0;
};

// One line. Unknown members are passed by; so is the order of members. kInvalidArgument says what is wrong and at which byte.
// `series.metadata` holds at most one.
Result<TimeSeries> ParseJsonSeries(std::string_view line);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_JSON_LINES_H_
