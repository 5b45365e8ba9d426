// Any bytes as a log file of RocksDB: every byte is of an intact record, of a damage, or padding; reading for the bytes and reading
// for the damage tell the same; and what is intact, written anew, is intact. Byte 0: bit 0 puts the checksums of fragments right,
// bit 1 lets the bytes begin shortly before the end of the first block, by as much as byte 1 says.
#include <rocksdb/env.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"
#include "plugins/rocksdb/log_scan.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

constexpr std::size_t kBlockBytes = 32 << 10;
constexpr std::size_t kHeaderBytes = 7;
enum : char { kWhole = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

std::uint32_t Masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

void PutFragment(char type, std::string_view payload, std::string* file) {
  std::string covered(1, type);
  covered.append(payload);
  PutFixed32(file, Masked(Crc32c(covered)));
  file->push_back(static_cast<char>(payload.size() & 0xff));
  file->push_back(static_cast<char>(payload.size() >> 8));
  file->append(covered);
}

// As RocksDB does.
void PutRecord(std::string_view record, std::string* file) {
  for (bool first = true;; first = false) {
    std::size_t room = kBlockBytes - file->size() % kBlockBytes;
    if (room < kHeaderBytes) {
      file->append(room, '\0');
      room = kBlockBytes;
    }
    const std::string_view part = record.substr(0, room - kHeaderBytes);
    record.remove_prefix(part.size());
    const char type = record.empty() ? (first ? kWhole : kLast) : (first ? kFirst : kMiddle);
    PutFragment(type, part, file);
    if (record.empty()) return;
  }
}

// Takes each place that could begin a fragment for one.
void PutChecksumsRight(std::size_t from, std::string* file) {
  for (std::size_t at = from; at + kHeaderBytes <= file->size();) {
    const std::size_t room = std::min(kBlockBytes - at % kBlockBytes, file->size() - at);
    if (room < kHeaderBytes) {
      at += room;
      continue;
    }
    const std::size_t length = std::min<std::size_t>(LoadFixed<std::uint16_t>(file->data() + at + 4), room - kHeaderBytes);
    StoreFixed(file->data() + at + 4, static_cast<std::uint16_t>(length));
    StoreFixed(file->data() + at, Masked(Crc32c(std::string_view(*file).substr(at + 6, 1 + length))));
    at += kHeaderBytes + length;
  }
}

class FileOfBytes : public rocksdb::RandomAccessFile {
 public:
  explicit FileOfBytes(std::string_view bytes) : bytes_(bytes) {}
  rocksdb::Status Read(std::uint64_t offset, std::size_t n, rocksdb::Slice* result, char* scratch) const override {
    const std::string_view part = bytes_.substr(std::min<std::uint64_t>(offset, bytes_.size()), n);
    part.copy(scratch, part.size());
    *result = {scratch, part.size()};
    return rocksdb::Status::OK();
  }

 private:
  const std::string_view bytes_;
};

// Every file in it holds the same bytes.
class EnvOfOneFile : public rocksdb::EnvWrapper {
 public:
  explicit EnvOfOneFile(std::string_view bytes) : EnvWrapper(Env::Default()), bytes_(bytes) {}
  rocksdb::Status NewRandomAccessFile(const std::string&, std::unique_ptr<rocksdb::RandomAccessFile>* file,
                                      const rocksdb::EnvOptions&) override {
    *file = std::make_unique<FileOfBytes>(bytes_);
    return rocksdb::Status::OK();
  }
  const char* Name() const override { return "EnvOfOneFile"; }

 private:
  const std::string_view bytes_;
};

struct Scanned {
  std::vector<std::string> records;
  std::vector<DamagedBytes> damages;
};

Scanned Scan(std::string_view file, bool put_together) {
  EnvOfOneFile env(file);
  Scanned scanned;
  LogScanCallbacks callbacks;
  callbacks.on_record = [&](std::string_view record) { scanned.records.emplace_back(record); };
  callbacks.on_damage = [&](const DamagedBytes& bytes) { scanned.damages.push_back(bytes); };
  FUZZ_CHECK(ScanLogFile(&env, "log", put_together, callbacks, file.size()).ok());
  return scanned;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  std::string file;
  if ((data[0] & 2) != 0) PutRecord(std::string(kBlockBytes - 2 * kHeaderBytes - data[1], 'f'), &file);
  const std::size_t from = file.size();
  file.append(FuzzBytes(data, size).substr(2));
  if ((data[0] & 1) != 0) PutChecksumsRight(from, &file);

  const Scanned scanned = Scan(file, true);
  const Scanned checked = Scan(file, false);
  FUZZ_CHECK(checked.records.size() == scanned.records.size() && checked.damages.size() == scanned.damages.size());
  std::uint64_t end = 0;
  std::uint64_t damaged = 0;
  for (std::size_t i = 0; i < scanned.damages.size(); ++i) {
    const DamagedBytes& d = scanned.damages[i];
    const DamagedBytes& c = checked.damages[i];
    FUZZ_CHECK(d.begin == c.begin && d.end == c.end && d.unwritten == c.unwritten && d.ends_file == c.ends_file);
    FUZZ_CHECK(d.begin >= end && d.begin < d.end && d.end <= file.size());
    FUZZ_CHECK(d.ends_file == (d.end == file.size()));
    end = d.end;
    damaged += d.end - d.begin;
  }
  std::uint64_t intact = 0;
  for (const std::string& record : scanned.records) intact += kHeaderBytes + record.size();
  FUZZ_CHECK(intact + damaged <= file.size());
  if (from > 0) FUZZ_CHECK(!scanned.records.empty() && scanned.records[0].size() == from - kHeaderBytes);

  std::string anew;
  for (const std::string& record : scanned.records) PutRecord(record, &anew);
  const Scanned again = Scan(anew, true);
  FUZZ_CHECK(again.records == scanned.records && again.damages.empty());
  return 0;
}
