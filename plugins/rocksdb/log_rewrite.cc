#include "plugins/rocksdb/log_rewrite.h"

#include <algorithm>
#include <memory>
#include <string_view>

#include "base/checksum.h"
#include "base/coding.h"
#include "plugins/rocksdb/log_scan.h"

namespace chronolith {
namespace {

class LogWriter {
 public:
  explicit LogWriter(rocksdb::WritableFile* file) : file_(file) {}

  void Add(std::string_view record) {
    bool first = true;
    do {
      std::size_t room = kLogBlockBytes - at_;
      if (room < kFragmentHeaderBytes) {
        Append(std::string(room, '\0'));
        room = kLogBlockBytes;
      }
      const std::size_t length = std::min(record.size(), room - kFragmentHeaderBytes);
      const bool last = length == record.size();
      std::string fragment(kFragmentHeaderBytes, '\0');
      fragment[6] = static_cast<char>(first ? (last ? kWhole : kFirst) : (last ? kLast : kMiddle));
      fragment.append(record.substr(0, length));
      StoreFixed<std::uint32_t>(fragment.data(), MaskedLogChecksum(std::string_view(fragment).substr(6)));
      StoreFixed<std::uint16_t>(fragment.data() + 4, static_cast<std::uint16_t>(length));
      Append(fragment);
      record.remove_prefix(length);
      first = false;
    } while (!record.empty());
  }
  const rocksdb::Status& status() const { return status_; }

 private:
  void Append(const std::string& bytes) {
    if (status_.ok()) status_ = file_->Append(bytes);
    at_ = (at_ + bytes.size()) % kLogBlockBytes;
  }

  rocksdb::WritableFile* const file_;
  std::size_t at_ = 0;  // in the block
  rocksdb::Status status_;
};

// `strict`: only the end may be damaged.
Status Rewrite(rocksdb::Env* env, const std::string& from, const std::string& to, bool strict, const std::vector<std::string>& more) {
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status s = env->NewWritableFile(to, &file, rocksdb::EnvOptions());
  if (!s.ok()) return IoError("creating '" + to + "': " + s.ToString());
  LogWriter writer(file.get());
  LogScanCallbacks callbacks;
  callbacks.on_record = [&](std::string_view record) { writer.Add(record); };
  bool damaged = false;
  callbacks.on_damage = [&](const DamagedBytes& bytes) { damaged = damaged || !bytes.unwritten || !bytes.ends_file; };
  Status scanned = ScanLogFile(env, from, true, callbacks);
  if (scanned.ok() && strict && damaged) scanned = DataLoss("'" + from + "' is damaged");
  for (const std::string& record : more) writer.Add(record);
  s = writer.status();
  if (s.ok() && scanned.ok()) s = file->Fsync();
  const rocksdb::Status closed = file->Close();
  if (s.ok()) s = closed;
  if (!scanned.ok()) return scanned;
  return s.ok() ? Status::Ok() : IoError("writing '" + to + "': " + s.ToString());
}

}  // namespace

Status CopyIntactRecords(rocksdb::Env* env, const std::string& from, const std::string& to) {
  return Rewrite(env, from, to, false, {});
}

Status CopyWithRecords(rocksdb::Env* env, const std::string& from, const std::string& to, const std::vector<std::string>& more) {
  return Rewrite(env, from, to, true, more);
}

}  // namespace chronolith
