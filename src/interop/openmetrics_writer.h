// Writes OpenMetrics 1.0 text: what ExpositionParser, Prometheus and promtool read.
#ifndef CHRONOLITH_INTEROP_OPENMETRICS_WRITER_H_
#define CHRONOLITH_INTEROP_OPENMETRICS_WRITER_H_

#include <optional>
#include <string>

#include "chronolith/labels.h"
#include "chronolith/types.h"

namespace chronolith::interop {

// Appends to a string that the caller empties between calls. The lines of a family ("# TYPE", "# HELP", "# UNIT") come before the
// first series of it, and again where another family's series came in between or something of it changed: OpenMetrics wants a
// family's series together, which is the caller's order. Thread safety: one thread at a time.
class OpenMetricsWriter {
 public:
  explicit OpenMetricsWriter(std::string* out) : out_(out) {}

  // False, and nothing is written, where the format has no way to name the series: no metric name, or a name with characters that
  // it does not know.
  bool BeginSeries(const Labels& labels, const std::optional<Metadata>& metadata);
  // A line of the series. False for the stale marker, which the format has no word for. `exemplar` may be null.
  bool AddSample(Sample sample, const Exemplar* exemplar);
  // The end of the text.
  void Finish() { out_->append("# EOF\n"); }

 private:
  std::string* out_;
  std::string series_;  // of the line's begin, with a blank behind
  std::string family_;  // whose lines were written last
  Metadata metadata_;
};

// Seconds with three decimals where there are milliseconds; read back exactly by ParseSeconds.
std::string FormatSeconds(Timestamp t);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_OPENMETRICS_WRITER_H_
