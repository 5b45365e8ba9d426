// Any bytes as a histogram chunk: what decodes is encoded to bytes that decode and encode to themselves.
#include <string>
#include <vector>

#include "chunk/histogram_chunk.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  HistogramIterator it(FuzzBytes(data, size));
  HistogramAppender appender;
  std::uint32_t n = 0;
  for (; n < 500 && it.Next(); ++n) {
    const std::size_t before = appender.data().size();
    appender.Append(it.sample().timestamp, it.sample().histogram);
    FUZZ_CHECK(appender.data().size() - before <= HistogramAppender::MaxBytes(it.sample().histogram));
    (void)ValidateHistogram(it.sample().histogram);
  }
  FUZZ_CHECK(n <= it.count() || !it.status().ok());
  HistogramIterator second(appender.data());
  HistogramAppender copy;
  while (second.Next()) copy.Append(second.sample().timestamp, second.sample().histogram);
  FUZZ_CHECK(second.status().ok());
  FUZZ_CHECK(copy.data() == appender.data());
  return 0;
}
