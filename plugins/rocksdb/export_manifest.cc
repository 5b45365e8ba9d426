#include "plugins/rocksdb/export_manifest.h"

#include "base/checksum.h"
#include "base/coding.h"

namespace chronolith {
namespace {

constexpr std::string_view kMagic = "CLEX";
constexpr std::uint64_t kVersion = 1;

}  // namespace

std::string EncodeExportManifest(const rocksdb::ExportImportFilesMetaData& files) {
  std::string bytes(kMagic);
  PutVarint(&bytes, kVersion);
  PutBytes(&bytes, files.db_comparator_name);
  PutVarint(&bytes, files.files.size());
  for (const rocksdb::LiveFileMetaData& file : files.files) {
    PutBytes(&bytes, file.name);
    PutVarint(&bytes, file.size);
    PutVarint(&bytes, static_cast<std::uint64_t>(file.level));
    PutVarint(&bytes, file.smallest_seqno);
    PutVarint(&bytes, file.largest_seqno);
  }
  PutFixed32(&bytes, Crc32c(bytes));
  return bytes;
}

Result<rocksdb::ExportImportFilesMetaData> DecodeExportManifest(std::string_view bytes, const std::string& directory) {
  const std::string name = "'" + directory + "/" + kExportManifestName + "'";
  if (bytes.size() < kMagic.size() + 4 || !bytes.starts_with(kMagic)) return DataLoss(name + " is not an export");
  const std::string_view body = bytes.substr(0, bytes.size() - 4);
  ByteReader reader(body.substr(kMagic.size()));
  const std::uint64_t version = reader.Varint();
  if (reader.ok() && version > kVersion) {
    return FailedPrecondition(name + " has format version " + std::to_string(version) + ", newer than this build");
  }
  if (LoadFixed<std::uint32_t>(bytes.data() + body.size()) != Crc32c(body)) return DataLoss(name + ": wrong checksum");
  rocksdb::ExportImportFilesMetaData files;
  files.db_comparator_name = reader.LengthPrefixed();
  const std::uint64_t count = reader.Varint();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    rocksdb::LiveFileMetaData& file = files.files.emplace_back();
    file.name = reader.LengthPrefixed();
    file.db_path = directory;
    file.size = reader.Varint();
    file.level = static_cast<int>(reader.Varint());
    file.smallest_seqno = reader.Varint();
    file.largest_seqno = reader.Varint();
  }
  if (!reader.AtEnd()) return DataLoss(name + " is malformed");
  return files;
}

}  // namespace chronolith
