// The files of a store that a process may be writing to, as they were at one moment, and copies of them.
#ifndef CHRONOLITH_OPS_HELD_STORE_H_
#define CHRONOLITH_OPS_HELD_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/posix_file.h"
#include "chronolith/kv_engine.h"
#include "chronolith/result.h"
#include "chronolith/types.h"
#include "ops/context.h"

namespace chronolith::ops {

struct HeldInstance {
  std::unique_ptr<HeldFiles> held;
  std::vector<InstanceFile> files;  // as HeldFiles::List gave them

  // Of those that are no tables.
  std::uint64_t CopiedBytes() const;
};

struct HeldStore {
  HeldInstance log;
  HeldInstance data;
  Timestamp taken_ms = 0;  // what was written later is not in it
};

// The log, the data, and what was logged meanwhile: so what a trim has taken from the log is in the data, and the log goes as far
// as the data does. Errors of HoldFiles; kUnavailable: hold again.
Result<HeldStore> HoldStore(EngineFactory* factory, const std::string& data, const std::string& log);
// A log alone, with every row that was there when it was called. kUnavailable: log files come and go too fast.
Result<HeldInstance> HoldLog(EngineFactory* factory, const std::string& log);

// The tables to which a copy refers; open for as long as engines open the copy.
using HeldTables = std::vector<FileDescriptor>;
// Into a new directory. Tables as symbolic links to descriptors of this process, which *tables gets: so the copy reads them when
// the writer, or who else, has removed them in `from`. The other files, and tables that are gone already, as bytes.
Status CopyHeldFiles(const HeldInstance& instance, const std::string& from, const std::string& to, const OpsContext& context,
                     HeldTables* tables);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_HELD_STORE_H_
