#include "plugins/rocksdb/damage.h"

#include <rocksdb/sst_file_reader.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "plugins/rocksdb/adapters.h"
#include "plugins/rocksdb/status_conversion.h"

namespace chronolith {
namespace {

struct Verdict {
  TableState state = TableState::kSound;
  std::string wrong;
};

Verdict LookAtTable(const rocksdb::Options& options, const std::string& file, std::uint64_t size, TableLook look) {
  struct stat info;
  if (stat(file.c_str(), &info) != 0) {
    if (errno == ENOENT) return {TableState::kDamaged, "is missing"};
    return {TableState::kUnreadable, std::string("cannot be read: ") + std::strerror(errno)};
  }
  const auto found = static_cast<std::uint64_t>(info.st_size);
  if (found != size) return {TableState::kDamaged, "has " + std::to_string(found) + " bytes instead of " + std::to_string(size)};
  rocksdb::SstFileReader reader(options);
  rocksdb::Status s = reader.Open(file);
  if (s.ok() && look == TableLook::kWhole) s = reader.VerifyChecksum();
  if (s.ok()) return {};
  return {s.IsCorruption() ? TableState::kDamaged : TableState::kUnreadable, "cannot be read: " + s.ToString()};
}

}  // namespace

void IgnoredErrors::Logv(rocksdb::InfoLogLevel level, const char* format, va_list arguments) {
  if (level == rocksdb::WARN_LEVEL) {
    va_list copy;
    va_copy(copy, arguments);
    char line[512];
    const int n = std::vsnprintf(line, sizeof(line), format, copy);
    va_end(copy);
    // "(ignoring error) dropping 123 bytes; Corruption: ..." and "Ignoring error Corruption: ..." in 7.8.3.
    if (n > 0 && std::strstr(line, "gnoring error") != nullptr) {
      MutexLock lock(&mu_);
      if (line_.empty()) line_ = line;
    }
  }
  next_->Logv(level, format, arguments);
}

Status IgnoredErrors::status() const {
  MutexLock lock(&mu_);
  return line_.empty() ? Status::Ok() : DataLoss("the log is damaged as well: " + line_);
}

std::vector<BadTable> FindBadTables(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family, TableLook look) {
  rocksdb::ColumnFamilyMetaData metadata;
  db->GetColumnFamilyMetaData(family, &metadata);
  rocksdb::Options options(db->GetDBOptions(), db->GetOptions(family));
  options.info_log = AdaptLogger(nullptr);  // a reader of single tables warns of each that no MANIFEST told it its id
  std::vector<BadTable> bad;
  for (const rocksdb::LevelMetaData& level : metadata.levels) {
    for (const rocksdb::SstFileMetaData& file : level.files) {
      Verdict verdict = LookAtTable(options, file.db_path + file.name, file.size, look);
      if (verdict.state == TableState::kSound) continue;
      bad.push_back({family->GetID(), level.level, file.file_number, file.name.substr(file.name.rfind('/') + 1),
                     std::move(verdict.wrong), verdict.state});
    }
  }
  return bad;
}

Status DamageOf(const std::string& path, const std::string& family, const std::vector<BadTable>& bad) {
  if (bad.empty()) return Status::Ok();
  return DataLoss("family '" + family + "': file '" + path + "/" + bad[0].file + "' " + bad[0].wrong);
}

}  // namespace chronolith
