// The file BACKUP of a backup: what it is a copy of, and each of its files. Written last: a directory without it is no backup.
//
// Lines of text, each ended by '\n', fields separated by one blank:
//   chronolith backup 1
//   id ID                                    the directory's name
//   store UUID INCARNATION SHARDS ENGINE
//   taken MILLISECONDS                       since 1970: what was logged until then is in it, nothing that was written later
//   parent ID                                or "-": the backup whose files it shares, by hard links
//   file NAME BYTES CRC32C KIND              any number; CRC32C: 8 hexadecimal digits; KIND: "table" (never changes) or "other"
//   end CRC32C                               of all bytes before this line
// NAME is STORE, or a name in data/ or log/. No name holds blanks or control characters.
#ifndef CHRONOLITH_OPS_BACKUP_MANIFEST_H_
#define CHRONOLITH_OPS_BACKUP_MANIFEST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"

namespace chronolith::ops {

inline constexpr std::string_view kBackupFile = "BACKUP";

struct BackupFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint32_t crc32c = 0;
  bool immutable = false;
  friend bool operator==(const BackupFile&, const BackupFile&) = default;
};

struct BackupManifest {
  std::string id;
  std::string uuid;  // hexadecimal
  std::uint64_t incarnation = 0;
  std::uint32_t shards = 0;
  std::string engine;
  std::int64_t taken_ms = 0;
  std::string parent;  // "": none
  std::vector<BackupFile> files;
  friend bool operator==(const BackupManifest&, const BackupManifest&) = default;

  std::uint64_t bytes() const;
};

// "20261122T010203Z-0007": when it was begun, and a number that grows with each backup of the directory.
std::string BackupId(std::int64_t time_ms, std::uint64_t number);
// The number; 0: this is no id.
std::uint64_t BackupNumber(std::string_view id);

std::string EncodeBackupManifest(const BackupManifest& manifest);
// kDataLoss; kFailedPrecondition: a newer format.
Result<BackupManifest> DecodeBackupManifest(std::string_view text);

// Of the backup in `directory`. kNotFound: it is none, or not complete. Else as above, naming the file.
Result<BackupManifest> ReadBackupManifest(const std::string& directory);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_BACKUP_MANIFEST_H_
