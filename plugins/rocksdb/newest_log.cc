#include "plugins/rocksdb/newest_log.h"

#include <sys/vfs.h>

#include <algorithm>
#include <cstdio>

#include "base/coding.h"
#include "plugins/rocksdb/log_check.h"
#include "plugins/rocksdb/log_scan.h"

namespace chronolith {
namespace {

// Tags of a VersionEdit. All fields are varints and strings with their length in front.
enum Tag : std::uint64_t {
  kComparator = 1,
  kLogNumber = 2,
  kNextFileNumber = 3,
  kLastSequence = 4,
  kCompactCursor = 5,
  kDeletedFile = 6,
  kPrevLogNumber = 9,
  kMinLogNumberToKeep = 10,
  kNewFile4 = 103,
  kColumnFamily = 200,
  kColumnFamilyAdd = 201,
  kColumnFamilyDrop = 202,
  kMaxColumnFamily = 203,
  kInAtomicGroup = 300,
  kSafelyIgnored = 1 << 13,  // this bit: a string that may be passed over
};
constexpr std::uint64_t kEndOfNewFile = 1;

void Skip(ByteReader* reader, int varints) {
  for (int i = 0; i < varints; ++i) (void)reader->Varint();
}
void SkipString(ByteReader* reader) { (void)reader->Bytes(reader->Varint()); }

void SkipNewFile(ByteReader* reader) {
  Skip(reader, 3);  // level, number, bytes
  SkipString(reader);
  SkipString(reader);
  Skip(reader, 2);  // sequence numbers
  while (reader->ok() && reader->Varint() != kEndOfNewFile) SkipString(reader);
}

// That a log file must have at least; 0: not known.
std::uint64_t LogNumberNeeded(rocksdb::Env* env, const std::string& path) {
  std::string current;
  if (!rocksdb::ReadFileToString(env, path + "/CURRENT", &current).ok() || !current.ends_with('\n')) return 0;
  current.pop_back();
  std::uint64_t number = 0;
  bool known = true;
  LogScanCallbacks callbacks;
  callbacks.on_record = [&](std::string_view record) { known = known && LargestLogNumber(record, &number); };
  callbacks.on_damage = [&](const DamagedBytes& bytes) { known = known && bytes.ends_file; };  // it may be written to
  return ScanLogFile(env, path + "/" + current, true, callbacks).ok() && known ? number : 0;
}

// RocksDB syncs the directory before it notes a log file there. On btrfs it leaves that out, as the files that it syncs bring their
// own names with them; the log file is not yet one of those, and a power loss may take it.
bool NamesAreSyncedInOrder(const std::string& path) {
  constexpr auto kBtrfs = 0x9123683E;
  struct statfs file_system {};
  return statfs(path.c_str(), &file_system) != 0 || file_system.f_type != kBtrfs;
}

}  // namespace

bool LargestLogNumber(std::string_view record, std::uint64_t* number) {
  ByteReader reader(record);
  while (reader.ok() && !reader.AtEnd()) {
    const std::uint64_t tag = reader.Varint();
    switch (tag) {
      case kLogNumber:
        *number = std::max(*number, reader.Varint());
        break;
      case kNextFileNumber:
      case kLastSequence:
      case kPrevLogNumber:
      case kMinLogNumberToKeep:
      case kColumnFamily:
      case kMaxColumnFamily:
      case kInAtomicGroup:
        Skip(&reader, 1);
        break;
      case kDeletedFile:
        Skip(&reader, 2);
        break;
      case kCompactCursor:
        Skip(&reader, 1);
        SkipString(&reader);
        break;
      case kComparator:
      case kColumnFamilyAdd:
        SkipString(&reader);
        break;
      case kColumnFamilyDrop:
        break;
      case kNewFile4:
        SkipNewFile(&reader);
        break;
      default:
        if ((tag & kSafelyIgnored) == 0) return false;
        SkipString(&reader);
    }
  }
  return reader.ok();
}

std::string LogFileName(std::uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof(name), "%06llu.log", static_cast<unsigned long long>(number));
  return name;
}

// Beside a writer a look at the directory may miss a file that comes and one that goes; then the MANIFEST has a larger number by
// now.
std::uint64_t FirstMissingLog(rocksdb::Env* env, const std::string& path) {
  if (!NamesAreSyncedInOrder(path)) return 0;
  for (std::uint64_t before = 0;;) {
    const std::uint64_t needed = LogNumberNeeded(env, path);
    const Result<std::vector<LogFile>> files = ListLogFiles(path);
    if (!files.ok() || (!files->empty() && files->back().number >= needed)) return 0;
    if (needed == before) return needed;
    before = needed;
  }
}

std::string MissingFrom(const std::string& path, std::uint64_t number) {
  return path + ", whose files from " + LogFileName(number) + " on are missing";
}

}  // namespace chronolith
