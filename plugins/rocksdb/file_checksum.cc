#include "plugins/rocksdb/file_checksum.h"

#include "base/checksum.h"
#include "base/coding.h"

namespace chronolith {
namespace {

constexpr char kFunctionName[] = "FileChecksumCrc32c";  // noted with each file: RocksDB's own name for this function

class FileCrc32cGenerator : public rocksdb::FileChecksumGenerator {
 public:
  void Update(const char* data, std::size_t n) override { crc_ = Crc32c({data, n}, crc_); }
  void Finalize() override {
    checksum_.resize(sizeof(crc_));
    StoreBigEndian(checksum_.data(), crc_);
  }
  std::string GetChecksum() const override { return checksum_; }
  const char* Name() const override { return kFunctionName; }

 private:
  std::uint32_t crc_ = 0;
  std::string checksum_;
};

class FileCrc32cGenFactory : public rocksdb::FileChecksumGenFactory {
 public:
  std::unique_ptr<rocksdb::FileChecksumGenerator> CreateFileChecksumGenerator(
      const rocksdb::FileChecksumGenContext& context) override {
    const std::string& wanted = context.requested_checksum_func_name;
    if (!wanted.empty() && wanted != kFunctionName) return nullptr;
    return std::make_unique<FileCrc32cGenerator>();
  }
  const char* Name() const override { return "FileChecksumGenCrc32cFactory"; }
};

}  // namespace

std::shared_ptr<rocksdb::FileChecksumGenFactory> FileCrc32cFactory() { return std::make_shared<FileCrc32cGenFactory>(); }

std::optional<std::uint32_t> FileCrc32c(std::string_view function_name, std::string_view checksum) {
  if (function_name != kFunctionName || checksum.size() != sizeof(std::uint32_t)) return std::nullopt;
  return LoadBigEndian<std::uint32_t>(checksum.data());
}

}  // namespace chronolith
