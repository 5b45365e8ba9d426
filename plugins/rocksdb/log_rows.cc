#include "plugins/rocksdb/log_rows.h"

#include <cstddef>
#include <limits>

#include "base/coding.h"
#include "plugins/rocksdb/status_conversion.h"

namespace chronolith {
namespace {

class Puts : public rocksdb::WriteBatch::Handler {
 public:
  explicit Puts(const OnPut& on_put) : on_put_(on_put) {}
  rocksdb::Status PutCF(std::uint32_t family, const rocksdb::Slice& key, const rocksdb::Slice& value) override {
    if (on_put_) on_put_(family, ToView(key), ToView(value));
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(std::uint32_t, const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
  rocksdb::Status SingleDeleteCF(std::uint32_t, const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
  rocksdb::Status DeleteRangeCF(std::uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override {
    return rocksdb::Status::OK();
  }
  rocksdb::Status MergeCF(std::uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
  rocksdb::Status MarkNoop(bool) override { return rocksdb::Status::OK(); }

 private:
  const OnPut& on_put_;
};

// As many rows, of a family that there never is: replay passes over those, as over what a dropped family left in the log. The
// format is that of rocksdb/write_batch.h: u64 sequence number | u32 rows | each: u8 type, varint family, key, value.
rocksdb::WriteBatch WithoutRows(const rocksdb::WriteBatch& write) {
  constexpr std::size_t kHeaderBytes = 12;
  constexpr char kPutIntoFamily = 5;
  std::string row(1, kPutIntoFamily);
  PutVarint(&row, std::numeric_limits<std::uint32_t>::max());
  row.append(2, '\0');  // an empty key and an empty value
  std::string bytes = write.Data().substr(0, kHeaderBytes);
  for (std::uint32_t i = 0; i < write.Count(); ++i) bytes += row;
  return rocksdb::WriteBatch(std::move(bytes));
}

}  // namespace

rocksdb::Status ForEachPut(const rocksdb::WriteBatch& write, const OnPut& on_put) {
  Puts puts(on_put);
  return write.Iterate(&puts);
}

LogRowsLeftOut::WalProcessingOption LogRowsLeftOut::LogRecordFound(unsigned long long log_number, const std::string&,
                                                                   const rocksdb::WriteBatch& write,
                                                                   rocksdb::WriteBatch* in_its_place, bool* replaced) {
  const auto show = [&](std::uint32_t family, std::string_view key, std::string_view value) {
    const auto oldest = oldest_log_of_family_.find(family);
    if (oldest != oldest_log_of_family_.end() && log_number >= oldest->second) on_put_(family, key, value);
  };
  // One that cannot be taken apart is left for RocksDB to refuse.
  *replaced = ForEachPut(write, on_put_ ? OnPut(show) : OnPut()).ok();
  if (*replaced) *in_its_place = WithoutRows(write);
  return WalProcessingOption::kContinueProcessing;
}

}  // namespace chronolith
