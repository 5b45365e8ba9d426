// Whether the newest log files of an instance are still there. RocksDB replays those that it finds, and takes what is missing
// behind them for the end of the log.
//
// Its MANIFEST says for each family from which log file on its rows are only there: the file that was begun before the family was
// last flushed, or, where an open found nothing to replay for it, one below the file that this open began. A log file is removed
// when every family names a later one. So one with at least the largest of these numbers is there at any time, and its loss shows;
// but for a crash between the beginning of a log file and the end of the flush for which it was begun.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_NEWEST_LOG_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_NEWEST_LOG_H_

#include <rocksdb/env.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith {

// The number from which on log files are missing, by the MANIFEST that CURRENT names: none has it or a larger one. 0: none is
// missing, or the two cannot be read, which others tell, or it cannot be known (btrfs).
std::uint64_t FirstMissingLog(rocksdb::Env* env, const std::string& path);
// "000015.log"
std::string LogFileName(std::uint64_t number);
// For a message: "/db/log, whose files from 000015.log on are missing".
std::string MissingFrom(const std::string& path, std::uint64_t number);

// The largest log number in a record of a MANIFEST (a VersionEdit of RocksDB 7.8). False where it does not decode.
bool LargestLogNumber(std::string_view record, std::uint64_t* number);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_NEWEST_LOG_H_
