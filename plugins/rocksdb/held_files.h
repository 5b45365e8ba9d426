// The files of an instance that a process may have open, held so that they can be copied (EngineFactory::HoldFiles).
//
// Everything is append-only or immutable but CURRENT, which the copy gets anew. What is held, in this order:
//   1. log files and tables in the directory
//   2. the MANIFEST that CURRENT names, and its length: this is the moment
//   3. log files and tables that came meanwhile, then the lengths of the logs
// A log file is removed when the MANIFEST says that its rows are in tables, a table when the MANIFEST does not list it any more:
// what the held MANIFEST needs was there at 1, or came between 1 and 2 and is there at 3, unless it was removed that quickly again.
// Then a table is missed by List, and log rows by whoever reads the copy and knows which rows there must be.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_HELD_FILES_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_HELD_FILES_H_

#include <memory>
#include <string>

#include "chronolith/kv_engine.h"

namespace chronolith {

Result<std::unique_ptr<HeldFiles>> HoldRocksDbFiles(const std::string& path);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_HELD_FILES_H_
