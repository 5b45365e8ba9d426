// CheckLog of the RocksDB engine: finds damage in the log files of an instance before RocksDB opens it, lets a LogJudge decide, and
// cuts off a torn tail.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_LOG_CHECK_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_LOG_CHECK_H_

#include <rocksdb/env.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "chronolith/kv_engine.h"
#include "plugins/rocksdb/log_rows.h"

namespace chronolith {

// A damaged instance, opened read-only, without the rows of its log.
struct LogView {
  std::unique_ptr<KvEngine> engine;
  std::map<std::uint32_t, FamilyId> families;  // by RocksDB's number
  // Log files with a lower number are not replayed: their rows are flushed. A power loss may bring such files back, torn as they
  // were.
  std::uint64_t oldest_log = 0;
};

struct LogFile {
  std::uint64_t number = 0;
  std::string name;
  std::uint64_t records = 0;  // as CheckInstanceLog counts them
};
// The log files in the directory, in the order in which RocksDB wrote them.
Result<std::vector<LogFile>> ListLogFiles(const std::string& path);
// 0: there is none, or the directory cannot be read.
std::uint64_t NewestLogNumber(const std::string& path);
// Of all of them, as far as they can be looked at.
std::uint64_t LogFileBytes(const std::string& path);

enum class LogReading : std::uint8_t {
  kStrict,
  kUpToDamage,   // RocksDB refuses that where a table is newer than the damage
  kAroundDamage  // with what it can read behind
};

// Opens the instance; `on_put` (may be null) is shown what is replayed.
using OpenLogView = std::function<Result<LogView>(LogReading, OnPut on_put)>;

// `path` holds a database. env nullptr: the system's. `only_look`: nothing is changed, whatever the judge says, and others may look
// meanwhile. Memory: one write of the log.
Result<std::string> CheckInstanceLog(rocksdb::Env* env, const std::string& path, InstanceRole role, bool only_look, LogJudge* judge,
                                     const OpenLogView& open_view);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_LOG_CHECK_H_
