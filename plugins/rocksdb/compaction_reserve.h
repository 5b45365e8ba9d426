// What EngineOptions::compaction_reserve asks for: a compaction ends with "no space" before it takes the last of the disk. RocksDB
// alone looks at the space only once a compaction has met a full disk; and a log that meets one has failed.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_COMPACTION_RESERVE_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_COMPACTION_RESERVE_H_

#include <rocksdb/env.h>
#include <rocksdb/listener.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace chronolith {

// Two halves of one thing: RocksDB tells the listener which files a compaction writes, and writes them through the file system.
struct CompactionReserve {
  std::shared_ptr<rocksdb::Env> env;
  std::shared_ptr<rocksdb::EventListener> listener;
};

// `bytes`: to be left free of the disk; asked, on any thread, for each megabyte. A file up to 64 KiB is always written: else a disk
// that is full of deleted data could not be emptied. `env` must outlive the result.
CompactionReserve MakeCompactionReserve(rocksdb::Env* env, std::function<std::uint64_t()> bytes);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_COMPACTION_RESERVE_H_
