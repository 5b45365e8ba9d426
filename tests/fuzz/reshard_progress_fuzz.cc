// Any bytes as the progress of a reshard, as they are and under a right checksum: what decodes also encodes to the same meaning.
#include <string>

#include "ops/checked_lines.h"
#include "ops/reshard_progress.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

void Check(std::string_view text) {
  const Result<ops::ReshardProgress> progress = ops::DecodeReshardProgress(text);
  if (!progress.ok()) return;
  FUZZ_CHECK(progress->shards >= 1 && progress->shards <= 31 && progress->source.logs.size() <= 31 && progress->series_at_once > 0);
  const Result<ops::ReshardProgress> again = ops::DecodeReshardProgress(ops::EncodeReshardProgress(*progress));
  FUZZ_CHECK(again.ok() && *again == *progress);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  Check(bytes);
  Check(ops::WithEndLine(std::string(bytes.substr(0, bytes.rfind("end ")))));
  return 0;
}
