// Tables of a copy that are links to those of the instance that it is a copy of.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_LINKED_TABLES_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_LINKED_TABLES_H_

#include <set>
#include <string>

#include "chronolith/status.h"

namespace chronolith {

// So that what is wrong with one is said of the file that somebody can look at, not of a link that is gone by then.
// Thread safety: const access.
class LinkedTables {
 public:
  LinkedTables() = default;
  // The tables in `copy` that are symbolic links now; `source`: the directory to name.
  LinkedTables(const std::string& copy, const std::string& source);

  // With the source's name in place of each link's.
  Status Naming(const Status& status) const;

 private:
  std::string copy_, source_;  // each with a '/' at its end
  std::set<std::string> names_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_LINKED_TABLES_H_
