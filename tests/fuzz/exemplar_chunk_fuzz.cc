// Any bytes as an exemplar chunk: what decodes is encoded to bytes that decode and encode to themselves.
#include "chunk/exemplar_chunk.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ExemplarIterator it(FuzzBytes(data, size));
  ExemplarAppender appender;
  std::uint32_t n = 0;
  for (; n < 5000 && it.Next(); ++n) {
    const std::size_t before = appender.data().size();
    appender.Append(it.exemplar());
    FUZZ_CHECK(appender.data().size() - before <= ExemplarAppender::MaxBytes(it.exemplar()));
    for (const Label& l : it.exemplar().labels) FUZZ_CHECK(l.name.size() <= size);
  }
  ExemplarIterator second(appender.data());
  ExemplarAppender copy;
  while (second.Next()) copy.Append(second.exemplar());
  FUZZ_CHECK(second.status().ok());
  FUZZ_CHECK(copy.data() == appender.data());
  return 0;
}
