#include "plugins/rocksdb/repair.h"

#include <rocksdb/db.h>

#include <vector>

#include "plugins/rocksdb/adapters.h"
#include "plugins/rocksdb/status_conversion.h"

namespace chronolith {

Status RepairTables(rocksdb::Env* env, const std::string& path, const EngineOptions& options, const EngineSettings& settings) {
  const InstanceResources resources = MakeResources(options, settings);
  rocksdb::DBOptions db_options = MakeDbOptions(options, settings, resources);
  db_options.env = env;
  db_options.info_log = AdaptLogger(options.logger);
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  families.emplace_back(rocksdb::kDefaultColumnFamilyName, MakeDefaultFamilyOptions(resources));
  for (const FamilySpec& family : options.families) {
    rocksdb::ColumnFamilyOptions tuned = MakeFamilyOptions(options, family, resources);
    tuned.merge_operator = AdaptMerge(family.merge);
    families.emplace_back(family.name, tuned);
  }
  const rocksdb::Status s = rocksdb::RepairDB(path, db_options, families);
  return s.ok() ? Status::Ok() : FromRocks(s).WithContext("repairing '" + path + "'");
}

}  // namespace chronolith
