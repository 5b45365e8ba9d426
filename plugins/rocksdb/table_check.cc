#include "plugins/rocksdb/table_check.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "base/hash.h"

namespace chronolith {
namespace {

using rocksdb::IOStatus;

// Format 5, from the end: magic number (8 bytes), format version (4), 40 bytes with the places of the metaindex block and of the
// index block (varints: offset and size) and zeroes, checksum type (1). Behind each block: compression type (1), checksum (4).
constexpr std::uint64_t kMagic = 0x88e241b785f4cff7ULL;
constexpr std::size_t kHandlesBytes = 40;
constexpr std::size_t kFooterBytes = 1 + kHandlesBytes + 4 + 8;
constexpr std::size_t kTrailerBytes = 5;
constexpr std::uint64_t kTailBytes = 4096;  // holds all three: properties take 1 KiB

struct BlockHandle {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

// The XXH3 of the block, mixed with the compression type behind it.
std::uint32_t BlockChecksum(std::string_view block, char compression) {
  return static_cast<std::uint32_t>(StableHash(block)) ^ (static_cast<unsigned char>(compression) * 0x6b9083d9U);
}

// Where the properties are, by the rows of the metaindex block: shared bytes of the key (always 0), length of the rest and of the
// value, key, value; behind them the offsets of restarts and their count.
bool FindProperties(std::string_view metaindex, BlockHandle* handle) {
  if (metaindex.size() < 4) return false;
  const std::uint64_t restarts = LoadFixed<std::uint32_t>(metaindex.data() + metaindex.size() - 4);
  if (restarts > metaindex.size() / 4 - 1) return false;
  ByteReader rows(metaindex.substr(0, metaindex.size() - 4 * (restarts + 1)));
  while (rows.ok() && !rows.AtEnd()) {
    const std::uint64_t shared = rows.Varint();
    const std::uint64_t key_bytes = rows.Varint();
    const std::uint64_t value_bytes = rows.Varint();
    const std::string_view key = rows.Bytes(key_bytes);
    ByteReader value(rows.Bytes(value_bytes));
    if (shared != 0 || key != "rocksdb.properties") continue;
    *handle = {value.Varint(), value.Varint()};
    return rows.ok() && value.ok();
  }
  return false;
}

class TableTail {
 public:
  TableTail(rocksdb::FSRandomAccessFile* file, std::uint64_t file_bytes)
      : file_(file), file_bytes_(file_bytes), begin_(file_bytes - std::min(file_bytes, kTailBytes)) {}

  // Sets `wrong` where the file is not as it should be.
  IOStatus Check(std::string* wrong) {
    if (file_bytes_ < kFooterBytes) return Wrong("it is too short", wrong);
    if (IOStatus s = Read(begin_, file_bytes_ - begin_, &tail_buffer_, &tail_); !s.ok()) return s;
    if (tail_.size() != file_bytes_ - begin_) return Wrong("it is cut off", wrong);
    const std::string_view footer = tail_.substr(tail_.size() - kFooterBytes);
    ByteReader handles(footer.substr(1, kHandlesBytes));
    const BlockHandle metaindex = {handles.Varint(), handles.Varint()};
    const BlockHandle index = {handles.Varint(), handles.Varint()};
    if (LoadFixed<std::uint64_t>(footer.data() + kFooterBytes - 8) != kMagic ||
        LoadFixed<std::uint32_t>(footer.data() + kFooterBytes - 12) != kTableFormatVersion ||
        static_cast<unsigned char>(footer[0]) != kTableChecksum || !handles.ok() || !IsInside(metaindex) || !IsInside(index)) {
      return Wrong("its footer is damaged", wrong);
    }
    std::string_view block;
    BlockHandle properties;
    if (IOStatus s = ReadBlock(metaindex, &block); !s.ok()) return s;
    if (block.data() == nullptr || !FindProperties(block, &properties) || !IsInside(properties)) {
      return Wrong("its metaindex block is damaged", wrong);
    }
    if (IOStatus s = ReadBlock(properties, &block); !s.ok()) return s;
    return block.data() == nullptr ? Wrong("its properties block is damaged", wrong) : IOStatus::OK();
  }

 private:
  static IOStatus Wrong(const char* what, std::string* wrong) {
    *wrong = what;
    return IOStatus::OK();
  }
  bool IsInside(const BlockHandle& handle) const {
    const std::uint64_t blocks = file_bytes_ - kFooterBytes;
    return handle.offset <= blocks && handle.size <= blocks - handle.offset &&
           blocks - handle.offset - handle.size >= kTrailerBytes;
  }
  IOStatus Read(std::uint64_t at, std::uint64_t bytes, std::vector<char>* buffer, std::string_view* result) const {
    buffer->resize(bytes);
    rocksdb::Slice slice;
    IOStatus s = file_->Read(at, bytes, rocksdb::IOOptions(), &slice, buffer->data(), nullptr);
    *result = {slice.data(), slice.size()};
    return s;
  }
  // Without data where its checksum is wrong. Valid until the next call.
  IOStatus ReadBlock(const BlockHandle& handle, std::string_view* block) {
    std::string_view bytes;
    if (handle.offset >= begin_) {
      bytes = tail_.substr(handle.offset - begin_, handle.size + kTrailerBytes);
    } else if (IOStatus s = Read(handle.offset, handle.size + kTrailerBytes, &block_buffer_, &bytes); !s.ok()) {
      return s;
    }
    *block = bytes.substr(0, handle.size);
    if (bytes.size() != handle.size + kTrailerBytes ||
        LoadFixed<std::uint32_t>(bytes.data() + handle.size + 1) != BlockChecksum(*block, bytes[handle.size])) {
      *block = {};
    }
    return IOStatus::OK();
  }

  rocksdb::FSRandomAccessFile* const file_;
  const std::uint64_t file_bytes_;
  const std::uint64_t begin_;  // of the tail
  std::vector<char> tail_buffer_;
  std::vector<char> block_buffer_;
  std::string_view tail_;
};

class CheckedFileSystem : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "chronolith.CheckedFileSystem"; }

  IOStatus NewRandomAccessFile(const std::string& name, const rocksdb::FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* file, rocksdb::IODebugContext* debug) override {
    IOStatus s = FileSystemWrapper::NewRandomAccessFile(name, options, file, debug);
    if (!s.ok() || !name.ends_with(".sst")) return s;
    std::uint64_t bytes = 0;
    s = GetFileSize(name, options.io_options, &bytes, debug);
    if (s.ok()) s = CheckTableEnd(name, file->get(), bytes);
    if (!s.ok()) file->reset();
    return s;
  }
};

class CheckedEnv : public rocksdb::EnvWrapper {
 public:
  explicit CheckedEnv(rocksdb::Env* env) : EnvWrapper(env) {
    file_system_ = std::make_shared<CheckedFileSystem>(env->GetFileSystem());
    system_clock_ = env->GetSystemClock();
  }
  const char* Name() const override { return "chronolith.CheckedEnv"; }
};

}  // namespace

IOStatus CheckTableEnd(const std::string& name, rocksdb::FSRandomAccessFile* file, std::uint64_t file_bytes) {
  std::string wrong;
  IOStatus s = TableTail(file, file_bytes).Check(&wrong);
  if (!s.ok() || wrong.empty()) return s;
  return IOStatus::Corruption("'" + name + "': " + wrong);
}

std::shared_ptr<rocksdb::Env> CheckTables(rocksdb::Env* env) { return std::make_shared<CheckedEnv>(env); }

}  // namespace chronolith
