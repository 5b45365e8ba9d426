// What RocksDB replays of its log, without the rows being put into memory.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_LOG_ROWS_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_LOG_ROWS_H_

#include <rocksdb/wal_filter.h>
#include <rocksdb/write_batch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace chronolith {

// `family`: RocksDB's number.
using OnPut = std::function<void(std::uint32_t family, std::string_view key, std::string_view value)>;

// The puts of a write, in order; `on_put` may be null. An error where RocksDB could not take the write apart either.
rocksdb::Status ForEachPut(const rocksdb::WriteBatch& write, const OnPut& on_put);

// For an open that only reads: writes of the log are shown, and then taken without their rows. RocksDB counts them all the same,
// since by their numbers it tells whether a log file goes on where the one before ends. Thread safety: one thread.
class LogRowsLeftOut : public rocksdb::WalFilter {
 public:
  // `on_put` (may be null): of each write that is replayed, in the order of the log, what RocksDB would put into memory. What
  // the tables of a family have it passes over.
  explicit LogRowsLeftOut(OnPut on_put) : on_put_(std::move(on_put)) {}
  const char* Name() const override { return "chronolith.LogRowsLeftOut"; }
  void ColumnFamilyLogNumberMap(const std::map<std::uint32_t, std::uint64_t>& oldest_log_of_family,
                                const std::map<std::string, std::uint32_t>&) override {
    oldest_log_of_family_ = oldest_log_of_family;
  }
  WalProcessingOption LogRecordFound(unsigned long long log_number, const std::string& log_file, const rocksdb::WriteBatch& write,
                                     rocksdb::WriteBatch* in_its_place, bool* replaced) override;

 private:
  const OnPut on_put_;
  std::map<std::uint32_t, std::uint64_t> oldest_log_of_family_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_LOG_ROWS_H_
