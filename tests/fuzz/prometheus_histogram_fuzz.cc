// Any bytes as a histogram chunk of Prometheus: what decodes is encoded and decoded again to the same samples.
#include <bit>
#include <string>
#include <vector>

#include "chunk/histogram_chunk.h"
#include "interop/prometheus_histogram.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

// Without hints, which follow from chunks.
std::string Meaning(HistogramSample sample) {
  std::visit(
      [](auto& h) {
        h.reset_hint = CounterResetHint::kUnknown;
        if (std::bit_cast<std::uint64_t>(h.sum) != kStaleNaNBits) return;
        h = {};
        h.sum = std::bit_cast<double>(kStaleNaNBits);
      },
      sample.histogram);
  return EncodeHistograms({&sample, 1});
}

void Check(unsigned encoding, std::string_view data) {
  std::vector<std::string> samples, again;
  PrometheusHistogramEncoder encoder;
  const Status s = DecodePrometheusHistograms(encoding, data, [&](const HistogramSample& sample) {
    if (!ValidateHistogram(sample.histogram).ok()) return Status::Ok();
    samples.push_back(Meaning(sample));
    encoder.Add(sample.timestamp, sample.histogram);
    return Status::Ok();
  });
  FUZZ_CHECK(s.ok() || s.code() == StatusCode::kDataLoss || s.code() == StatusCode::kUnimplemented);
  for (const PrometheusHistogramChunk& chunk : encoder.Finish()) {
    const Status whole = DecodePrometheusHistograms(chunk.encoding, chunk.data, [&](const HistogramSample& sample) {
      again.push_back(Meaning(sample));
      return Status::Ok();
    });
    FUZZ_CHECK(whole.ok());
  }
  FUZZ_CHECK(samples == again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;
  const std::string_view bytes = FuzzBytes(data, size);
  Check(data[0] % 4, bytes.substr(1));
  return 0;
}
