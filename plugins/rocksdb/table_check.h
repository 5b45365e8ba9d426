// The bytes at the end of a table file that RocksDB 7.8.3 takes apart without having checked them.
//
// It builds the properties block before it looks at its checksum, since a sequence number in it may have been patched (not in our
// tables). A count of restarts whose top bit is flipped announces a hash index there, and RocksDB built with assertions, as
// Debian's is, aborts the process. The footer has no checksum at all: a flipped bit can turn those of all blocks off, or ask for
// gigabytes.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_TABLE_CHECK_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_TABLE_CHECK_H_

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/table.h>

#include <cstdint>
#include <memory>
#include <string>

namespace chronolith {

// How our tables are written. Others are taken for damaged ones: a flipped bit makes a 4 of a 5, and "no checksums" of XXH3.
inline constexpr std::uint32_t kTableFormatVersion = 5;
inline constexpr rocksdb::ChecksumType kTableChecksum = rocksdb::kXXH3;

// Checks footer, metaindex block and properties block of the table `name`, as a rule with one read of 4 KiB. Corruption names the
// file and what is wrong with it; an error of a read is passed on.
rocksdb::IOStatus CheckTableEnd(const std::string& name, rocksdb::FSRandomAccessFile* file, std::uint64_t file_bytes);

// `env`, but a table file can be opened for reading only where CheckTableEnd is content. So a bad one is to RocksDB a file that it
// cannot open, whenever it opens it: with the instance, for a compaction, a verification or an import. `env` must outlive it.
std::shared_ptr<rocksdb::Env> CheckTables(rocksdb::Env* env);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_TABLE_CHECK_H_
