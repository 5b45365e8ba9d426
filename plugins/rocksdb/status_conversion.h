// rocksdb::Status -> Status, in one place, and string_view <-> Slice.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_STATUS_CONVERSION_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_STATUS_CONVERSION_H_

#include <rocksdb/slice.h>
#include <rocksdb/status.h>

#include <string>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith {

inline rocksdb::Slice ToSlice(std::string_view s) { return {s.data(), s.size()}; }
inline std::string_view ToView(const rocksdb::Slice& s) { return {s.data(), s.size()}; }

// Damage is kDataLoss, a full disk or quota and a throttled writer are kResourceExhausted, the rest by its class. The message is
// RocksDB's, which names the file where there is one.
Status FromRocks(const rocksdb::Status& s);
// RocksDB's words; of a full disk once, where ToString says so in front of what the system says.
std::string Words(const rocksdb::Status& s);
// Whether the message names a log file as what failed: RocksDB puts the path in front of the last colon, or at the end.
bool NamesLogFile(const rocksdb::Status& s);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_STATUS_CONVERSION_H_
