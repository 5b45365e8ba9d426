// Any bytes as the cursor of a replay, as they are and under a right checksum: what decodes also encodes to the same meaning.
#include <string>

#include "ops/checked_lines.h"
#include "ops/replay_cursor.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

void Check(std::string_view text) {
  const Result<ops::ReplayCursor> cursor = ops::DecodeCursor(text);
  if (!cursor.ok()) return;
  const Result<ops::ReplayCursor> again = ops::DecodeCursor(ops::EncodeCursor(*cursor));
  FUZZ_CHECK(again.ok() && *again == *cursor);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  Check(bytes);
  Check(ops::WithEndLine(std::string(bytes.substr(0, bytes.rfind("end ")))));
  return 0;
}
