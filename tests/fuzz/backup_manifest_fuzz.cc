// Any bytes as the description of a backup, as they are and under a right checksum: what decodes also encodes to the same meaning,
// and names no file outside of the backup.
#include <cstdio>
#include <string>

#include "base/checksum.h"
#include "ops/backup_manifest.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

void Check(std::string_view text) {
  const Result<ops::BackupManifest> manifest = ops::DecodeBackupManifest(text);
  if (!manifest.ok()) return;
  for (const ops::BackupFile& file : manifest->files) {
    FUZZ_CHECK(file.name == "STORE" || file.name.starts_with("data/") || file.name.starts_with("log/"));
    FUZZ_CHECK(file.name.rfind('/') == file.name.find('/') && !file.name.ends_with("/.") && !file.name.ends_with("/.."));
  }
  const Result<ops::BackupManifest> again = ops::DecodeBackupManifest(ops::EncodeBackupManifest(*manifest));
  FUZZ_CHECK(again.ok() && *again == *manifest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  Check(bytes);
  const std::size_t end = bytes.rfind("end ");
  std::string sealed(bytes.substr(0, end));
  char line[16];
  std::snprintf(line, sizeof(line), "end %08x\n", Crc32c(sealed));
  Check(sealed + line);
  return 0;
}
