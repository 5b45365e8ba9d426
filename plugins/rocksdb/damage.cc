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

// "" where the file is as it should be.
std::string WhatIsWrong(const rocksdb::Options& options, const std::string& file, std::uint64_t size) {
  struct stat info;
  if (stat(file.c_str(), &info) != 0)
    return errno == ENOENT ? "is missing" : std::string("cannot be read: ") + std::strerror(errno);
  const auto found = static_cast<std::uint64_t>(info.st_size);
  if (found != size) return "has " + std::to_string(found) + " bytes instead of " + std::to_string(size);
  const rocksdb::Status s = rocksdb::SstFileReader(options).Open(file);
  return s.ok() ? "" : "cannot be read: " + s.ToString();
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

std::vector<BadTable> FindBadTables(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family) {
  rocksdb::ColumnFamilyMetaData metadata;
  db->GetColumnFamilyMetaData(family, &metadata);
  rocksdb::Options options(db->GetDBOptions(), db->GetOptions(family));
  options.info_log = AdaptLogger(nullptr);  // a reader of single tables warns of each that no MANIFEST told it its id
  std::vector<BadTable> bad;
  for (const rocksdb::LevelMetaData& level : metadata.levels) {
    for (const rocksdb::SstFileMetaData& file : level.files) {
      std::string wrong = WhatIsWrong(options, file.db_path + file.name, file.size);
      if (wrong.empty()) continue;
      bad.push_back({family->GetID(), level.level, file.file_number, file.name.substr(file.name.rfind('/') + 1), std::move(wrong)});
    }
  }
  return bad;
}

Status DamageOf(const std::string& path, const std::string& family, const std::vector<BadTable>& bad) {
  if (bad.empty()) return Status::Ok();
  return DataLoss("family '" + family + "': file '" + path + "/" + bad[0].file + "' " + bad[0].wrong);
}

}  // namespace chronolith
