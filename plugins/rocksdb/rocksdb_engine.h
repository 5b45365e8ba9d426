// The RocksDB engine, which is the default. This folder alone includes RocksDB's headers, and none of its types leaves it.
//
// One KvEngine is one RocksDB instance: every family a column family, all of them behind one log and one write queue. How each
// role is tuned, and why, stands in options_table.cc.
//
// Settings in EngineOptions::extra:
//   wal_recovery_mode  "strict" (default): what a killed process leaves always opens, a record torn at the end of the log is cut,
//                      any other damage refuses the open with kDataLoss and changes nothing.
//                      "tolerate_tail": replays up to the first damaged record and drops what is behind, for ever. For a caller
//                      that has looked at the log and found that only an unsynced tail is affected.
//   wal_dir            of an instance that is only read: a directory in which log files are looked for in place of the instance's.
//                      An empty one leaves out the rows of its log files, which a reader holds in memory; VerifyChecksums reads
//                      the files all the same.
//   tables_of          of a copy, which is there: the directory of the instance that its tables are links to. None of them is
//                      compacted, so it can be opened, also for writing, with tables in it that cannot be read to their end; errors
//                      name the files in that directory.
//   log_rows           "left_out", of an instance that is only read: its log is replayed, which refuses what is damaged, and no row
//                      of it is put into memory.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_ROCKSDB_ENGINE_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_ROCKSDB_ENGINE_H_

#include <memory>

#include "chronolith/kv_engine.h"

namespace rocksdb {
class Env;
}

namespace chronolith {

// The factory named "rocksdb". It has no state: engines do not depend on it.
std::shared_ptr<EngineFactory> MakeRocksDbEngineFactory();

// The same over files of `env`, which must outlive the engines: for tests that stand between an engine and the disk. Directories
// are listed, looked at and made past it; whatever is read, written, synced, named or removed in them goes through it.
std::shared_ptr<EngineFactory> MakeRocksDbEngineFactory(rocksdb::Env* env);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_ROCKSDB_ENGINE_H_
