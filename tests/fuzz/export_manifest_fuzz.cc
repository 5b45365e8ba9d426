// Any bytes as what the RocksDB engine keeps beside RocksDB's own files, as they are and under a right checksum: the manifest of an
// exported family, and the epoch row of a family. What decodes encodes to the same meaning.
#include "base/checksum.h"
#include "base/coding.h"
#include "plugins/rocksdb/export_manifest.h"
#include "plugins/rocksdb/rocksdb_impl.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

void CheckManifest(std::string_view bytes) {
  const auto files = DecodeExportManifest(bytes, "directory");
  if (!files.ok()) {
    FUZZ_CHECK(files.status().message().find("directory") != std::string::npos);
    return;
  }
  const auto again = DecodeExportManifest(EncodeExportManifest(*files), "directory");
  FUZZ_CHECK(again.ok() && again->db_comparator_name == files->db_comparator_name && again->files.size() == files->files.size());
  for (std::size_t i = 0; i < files->files.size(); ++i) {
    const auto& a = files->files[i];
    const auto& b = again->files[i];
    FUZZ_CHECK(a.name == b.name && a.db_path == "directory" && a.size == b.size && a.level == b.level);
    FUZZ_CHECK(a.smallest_seqno == b.smallest_seqno && a.largest_seqno == b.largest_seqno);
  }
}

void CheckEpochRow(std::string_view bytes) {
  if (const Result<Epoch> epoch = DecodeEpoch("f", bytes); epoch.ok()) FUZZ_CHECK(EncodeEpoch("f", *epoch) == bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  std::string sealed(bytes);
  PutFixed32(&sealed, Crc32c(bytes));
  CheckManifest(bytes);
  CheckManifest(sealed);
  std::string row(bytes.substr(0, 9));
  PutFixed32(&row, Crc32c(row, Crc32c(EpochKey("f"))));
  CheckEpochRow(bytes);
  CheckEpochRow(row);
  return 0;
}
