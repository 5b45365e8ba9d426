// Any bytes as a segment of Prometheus' log, and as one record of it. Nothing is read that is not there, and no histogram has more
// buckets than bytes.
#include <string>

#include "interop/prometheus_record.h"
#include "interop/prometheus_wal.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

class Counting : public PrometheusRecordSink {
 public:
  explicit Counting(std::size_t bytes) : bytes_(bytes) {}
  Status OnSeries(std::uint64_t, Labels labels) override { return Check(labels.encoded().size()); }
  Status OnSamples(std::span<const PrometheusSample> samples) override { return Check(samples.size()); }
  Status OnTombstone(std::uint64_t, TimeRange) override { return Check(0); }
  Status OnExemplar(std::uint64_t, Exemplar exemplar) override { return Check(exemplar.labels.encoded().size()); }
  Status OnMetadata(std::uint64_t, Metadata metadata) override { return Check(metadata.unit.size() + metadata.help.size()); }
  Status OnHistogram(std::uint64_t, HistogramSample histogram) override {
    return Check(std::visit([](const auto& h) { return h.positive_spans.size() + h.negative_spans.size(); }, histogram.histogram));
  }

 private:
  Status Check(std::size_t n) {
    FUZZ_CHECK(n <= bytes_);
    return Status::Ok();
  }
  const std::size_t bytes_;
};

void ReadRecord(std::string_view record) {
  Counting counting(record.size());
  Status damage;
  FUZZ_CHECK(PrometheusRecordReader().Read(record, &counting, &damage).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  ReadRecord(bytes);
  PrometheusWalSegment segment("fuzz", [bytes](std::uint64_t at, std::size_t n, std::string* to) {
    to->assign(at < bytes.size() ? bytes.substr(at, n) : std::string_view());
    return Status::Ok();
  });
  while (segment.Next()) ReadRecord(segment.record());
  FUZZ_CHECK(segment.position() <= size);
  return 0;
}
