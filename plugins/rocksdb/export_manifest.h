// What RocksDB must be told to import the files of an exported family, as a file "CHRONOLITH_EXPORT" beside them.
//
// All integers are varints, all strings prefixed by their length:
//   "CLEX"  version (1)  comparator  number of files, then of each: name  bytes  level  smallest and largest sequence number
//   CRC32C of all that precedes, fixed 32 bits, little-endian
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_EXPORT_MANIFEST_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_EXPORT_MANIFEST_H_

#include <rocksdb/metadata.h>

#include <string>
#include <string_view>

#include "chronolith/result.h"

namespace chronolith {

inline constexpr char kExportManifestName[] = "CHRONOLITH_EXPORT";

std::string EncodeExportManifest(const rocksdb::ExportImportFilesMetaData& files);
// `directory` becomes the place of the files. kDataLoss for damage, kFailedPrecondition for a newer version.
Result<rocksdb::ExportImportFilesMetaData> DecodeExportManifest(std::string_view bytes, const std::string& directory);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_EXPORT_MANIFEST_H_
