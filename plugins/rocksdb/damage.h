// Finding out which families a damaged file belongs to, and opening around it.
//
// RocksDB refuses an instance with one bad table file as a whole. With paranoid_checks=false it opens, but it also skips damaged
// records of its log then, and says so only in its info log: IgnoredErrors listens there, so that such an open can be given up.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_DAMAGE_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_DAMAGE_H_

#include <rocksdb/db.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/table_ranges.h"
#include "chronolith/status.h"

namespace chronolith {

// Passes everything on to another logger, and keeps the first line that tells of a skipped error. Thread safety: safe.
class IgnoredErrors : public rocksdb::Logger {
 public:
  explicit IgnoredErrors(std::shared_ptr<rocksdb::Logger> next)
      : rocksdb::Logger(std::min(next->GetInfoLogLevel(), rocksdb::WARN_LEVEL)), next_(std::move(next)) {}

  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override { Logv(rocksdb::INFO_LEVEL, format, arguments); }
  void Logv(rocksdb::InfoLogLevel level, const char* format, va_list arguments) override;

  // ok, or kDataLoss with RocksDB's line.
  Status status() const;

 private:
  const std::shared_ptr<rocksdb::Logger> next_;
  mutable Mutex mu_;
  std::string line_ ABSL_GUARDED_BY(mu_);
};

// A table that the MANIFEST lists and that is not as it should be.
struct BadTable {
  std::uint32_t family = 0;  // RocksDB's number
  int level = 0;
  std::uint64_t number = 0;
  std::string file;  // its name, within the directory
  std::string wrong;
  TableState state = TableState::kDamaged;
};

enum class TableLook : std::uint8_t { kAsOpen, kWhole };  // size, footer, index, properties; the blocks of rows as well
std::vector<BadTable> FindBadTables(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family, TableLook look);
// ok, or kDataLoss naming the family, the first of its bad files and what is wrong with it.
Status DamageOf(const std::string& path, const std::string& family, const std::vector<BadTable>& bad);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_DAMAGE_H_
