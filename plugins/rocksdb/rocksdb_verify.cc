// VerifyChecksums: reading live files while the instance goes on.
//
//   tables     the checksum of the whole file that RocksDB noted in its MANIFEST when it wrote the file: every byte counts, blocks
//              that no cursor reads too, and reading goes piece by piece. Files without one (imported, or of an earlier build) are
//              checked block by block, each in one go.
//   logs       by log_scan.h, as before an open, up to where they ended at a moment at which no write was under way
//   MANIFEST   the same, up to where RocksDB knows it to be written; CURRENT must name it
// No file is kept from being deleted: one that RocksDB does not list any more when it is found missing is no loss.
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/file_checksum.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "plugins/rocksdb/log_check.h"
#include "plugins/rocksdb/log_scan.h"
#include "plugins/rocksdb/newest_log.h"
#include "plugins/rocksdb/rocksdb_impl.h"
#include "plugins/rocksdb/status_conversion.h"

namespace chronolith {
namespace {

constexpr std::size_t kPieceBytes = 256 << 10;
constexpr std::size_t kDamagesNamedMax = 8;  // of one log file

bool IsGone(const rocksdb::Status& s) { return s.IsNotFound() || s.IsPathNotFound(); }

// Numbers in names grow without leading zeroes from a million on.
bool ComesAfter(std::string_view name, std::string_view after) {
  return name.size() != after.size() ? name.size() > after.size() : name > after;
}

// What was found wrong with a file, or that reading it was stopped.
struct Finding {
  Status damage;
  bool stopped = false;
  bool gone = false;
};

Finding Damaged(Status damage, bool gone = false) { return {std::move(damage), false, gone}; }
Finding Stopped() { return {Status::Ok(), true, false}; }

Finding OfWrongSize(std::uint64_t found, std::uint64_t size) {
  return Damaged(DataLoss("has " + std::to_string(found) + " bytes instead of " + std::to_string(size)));
}

// Reads a file to its end, into a checksum where there is one.
Finding CheckTable(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* handle, const rocksdb::SstFileMetaData& file,
                   VerifyVisitor* visitor) {
  rocksdb::Env* const env = db->GetEnv();
  const std::string path = file.db_path + file.name;
  std::unique_ptr<rocksdb::SequentialFile> reader;
  if (rocksdb::Status s = env->NewSequentialFile(path, &reader, rocksdb::EnvOptions()); !s.ok()) {
    return IsGone(s) ? Damaged(DataLoss("is missing"), true) : Damaged(IoError("cannot be opened: " + s.ToString()));
  }
  std::unique_ptr<rocksdb::FileChecksumGenerator> checksum;
  if (const auto& factory = db->GetDBOptions().file_checksum_gen_factory; factory && !file.file_checksum.empty()) {
    checksum = factory->CreateFileChecksumGenerator({path, file.file_checksum_func_name});
  }
  if (!checksum) {
    rocksdb::Options options(db->GetDBOptions(), db->GetOptions(handle));
    rocksdb::ReadOptions read;
    read.readahead_size = 2UL << 20;
    const rocksdb::Status s = rocksdb::VerifySstFileChecksum(options, rocksdb::EnvOptions(), read, path, file.largest_seqno);
    if (!s.ok()) return Damaged(DataLoss(s.ToString()), IsGone(s));
    return visitor->OnBytes(file.size) ? Finding() : Stopped();
  }
  std::vector<char> buffer(kPieceBytes);
  std::uint64_t total = 0;
  while (true) {
    rocksdb::Slice piece;
    if (rocksdb::Status s = reader->Read(buffer.size(), &piece, buffer.data()); !s.ok())
      return Damaged(IoError("cannot be read: " + s.ToString()));
    if (piece.empty()) break;
    checksum->Update(piece.data(), piece.size());
    total += piece.size();
    if (!visitor->OnBytes(piece.size())) return Stopped();
  }
  if (total != file.size) return OfWrongSize(total, file.size);
  checksum->Finalize();
  if (checksum->GetChecksum() != file.file_checksum) return Damaged(DataLoss("does not match its checksum"));
  return {};
}

std::vector<rocksdb::SstFileMetaData> LiveTables(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* handle) {
  rocksdb::ColumnFamilyMetaData metadata;
  db->GetColumnFamilyMetaData(handle, &metadata);
  std::vector<rocksdb::SstFileMetaData> files;
  for (const rocksdb::LevelMetaData& level : metadata.levels) files.insert(files.end(), level.files.begin(), level.files.end());
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.file_number < b.file_number; });
  return files;
}

// How a file of records ends.
enum class LogEnd : std::uint8_t {
  kWhole,   // with a whole record
  kTorn,    // perhaps with what a crash kept from being written, as was found and judged when the instance was opened
  kMoving,  // anyhow: it may be written to, or the log has failed
};

Finding CheckLogFile(rocksdb::Env* env, const std::string& path, std::uint64_t bytes_to_read, LogEnd ends, VerifyVisitor* visitor) {
  std::uint64_t size = 0;
  if (rocksdb::Status s = env->GetFileSize(path, &size); !s.ok()) {
    return IsGone(s) ? Damaged(DataLoss("is missing"), true) : Damaged(IoError("cannot be read: " + s.ToString()));
  }
  if (size < bytes_to_read) return OfWrongSize(size, bytes_to_read);
  std::string places;
  std::size_t count = 0;
  LogScanCallbacks callbacks;
  callbacks.on_record = [](std::string_view) {};
  callbacks.on_damage = [&](const DamagedBytes& bytes) {
    if ((ends != LogEnd::kWhole && bytes.unwritten) || (ends == LogEnd::kMoving && bytes.ends_file)) return;
    if (++count > kDamagesNamedMax) return;
    places.append(places.empty() ? "" : ", ").append(std::to_string(bytes.begin) + " to " + std::to_string(bytes.end));
  };
  callbacks.on_bytes = [&](std::uint64_t bytes) { return visitor->OnBytes(bytes); };
  const Status s = ScanLogFile(env, path, false, callbacks, bytes_to_read);
  if (s.code() == StatusCode::kCancelled) return Stopped();
  if (!s.ok()) return Damaged(s, IsGone(env->FileExists(path)));
  if (count > kDamagesNamedMax) places += " and " + std::to_string(count - kDamagesNamedMax) + " places more";
  return count == 0 ? Finding() : Damaged(DataLoss("is damaged in bytes " + places));
}

}  // namespace

std::vector<TableRange> RocksDbEngine::Tables(FamilyId family) const {
  std::vector<TableRange> tables;
  for (const rocksdb::SstFileMetaData& file : LiveTables(db_.get(), family == kSharedFiles ? default_family_ : Handle(family))) {
    std::string name = file.name.substr(file.name.rfind('/') + 1);
    const auto bad = bad_tables_.find(name);
    const TableState state = bad == bad_tables_.end() ? TableState::kSound : bad->second;
    tables.push_back({std::move(name), file.smallestkey, file.largestkey, state});
  }
  return tables;
}

Status RocksDbEngine::VerifyTables(rocksdb::ColumnFamilyHandle* handle, const std::string& what, bool quarantined,
                                   std::string_view after, VerifyVisitor* visitor) {
  for (const rocksdb::SstFileMetaData& file : LiveTables(db_.get(), handle)) {
    const std::string name = file.name.substr(file.name.rfind('/') + 1);
    const std::string path = file.db_path + file.name;
    if (!ComesAfter(name, after)) continue;
    const Finding found = CheckTable(db_.get(), handle, file, visitor);
    if (found.stopped) return Cancelled("verifying '" + path_ + "' was stopped");
    if (!found.damage.ok()) {
      const auto live = LiveTables(db_.get(), handle);
      const auto same = [&](const rocksdb::SstFileMetaData& f) { return f.file_number == file.file_number; };
      if (std::none_of(live.begin(), live.end(), same)) continue;  // replaced meanwhile
      if (found.gone && options_.read_only && !quarantined)
        return Unavailable("'" + path + "' vanished under the reader: open it again");
      visitor->OnDamage(name, Status(found.damage.code(), what + "file '" + path + "' " + found.damage.message()));
    }
    visitor->OnFile(name);
  }
  return Status::Ok();
}

Status RocksDbEngine::VerifyLogs(std::string_view after, VerifyVisitor* visitor) {
  if (const std::uint64_t missing = after.empty() ? FirstMissingLog(db_->GetEnv(), path_) : 0; missing != 0) {
    const bool log = options_.instance == InstanceRole::kLog;
    visitor->OnDamage(LogFileName(missing),
                      DataLoss("log of " + MissingFrom(path_, missing) +
                               (log ? "" : ": no series and no sample is in them, and an open for writing goes on without them")));
  }
  std::vector<std::pair<LogFile, std::uint64_t>> logs;  // with their sizes
  {
    // Without a write under way every log ends with a whole one.
    MutexLock lock(&epochs_mu_);
    const Result<std::vector<LogFile>> files = ListLogFiles(path_);
    if (!files.ok()) return files.status();
    for (const LogFile& file : *files) {
      std::uint64_t size = 0;
      if (db_->GetEnv()->GetFileSize(path_ + "/" + file.name, &size).ok()) logs.emplace_back(file, size);
    }
  }
  const bool moving = options_.read_only || events_->log_failed();
  for (const auto& [log, size] : logs) {
    const LogEnd ends = moving ? LogEnd::kMoving : log.number < first_own_log_ ? LogEnd::kTorn : LogEnd::kWhole;
    const auto is_needed = [this, number = log.number] {
      std::uint64_t oldest = 0;
      db_->GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &oldest);
      return number >= oldest;
    };
    if (!ComesAfter(log.name, after) || !is_needed()) continue;
    const std::string path = path_ + "/" + log.name;
    const Finding found = CheckLogFile(db_->GetEnv(), path, size, ends, visitor);
    if (found.stopped) return Cancelled("verifying '" + path_ + "' was stopped");
    if (!found.damage.ok()) {
      if (!is_needed()) continue;
      if (found.gone && options_.read_only) return Unavailable("'" + path + "' vanished under the reader: open it again");
      visitor->OnDamage(log.name, Status(found.damage.code(), "log file '" + path + "' " + found.damage.message()));
    }
    visitor->OnFile(log.name);
  }
  return Status::Ok();
}

Status RocksDbEngine::VerifyManifest(std::string_view after, VerifyVisitor* visitor) {
  const auto live = [&](std::uint64_t* size) {
    std::vector<std::string> files;
    std::string name;
    if (!db_->GetLiveFiles(files, size, false).ok()) return name;
    for (const std::string& file : files) {
      if (file.starts_with("/MANIFEST-")) name = file.substr(1);
    }
    return name;
  };
  // RocksDB may begin another one at any time.
  while (true) {
    std::uint64_t size = 0;
    const std::string name = live(&size);
    const std::string path = path_ + "/" + name;
    if (name.empty() || !ComesAfter(name, after)) return Status::Ok();
    Finding found = CheckLogFile(db_->GetEnv(), path, size, options_.read_only ? LogEnd::kMoving : LogEnd::kWhole, visitor);
    if (found.stopped) return Cancelled("verifying '" + path_ + "' was stopped");
    Status current;
    if (!options_.read_only) {  // beside a reader it may be another one by now
      std::string text;
      const rocksdb::Status s = rocksdb::ReadFileToString(db_->GetEnv(), path_ + "/CURRENT", &text);
      if (!s.ok()) current = IsGone(s) ? DataLoss("is missing") : IoError("cannot be read: " + s.ToString());
      if (s.ok() && text != name + "\n") current = DataLoss("does not name '" + name + "'");
    }
    if (std::uint64_t ignored = 0; live(&ignored) != name) continue;
    if (found.gone && options_.read_only) return Unavailable("'" + path + "' vanished under the reader: open it again");
    if (!found.damage.ok()) visitor->OnDamage(name, Status(found.damage.code(), "'" + path + "' " + found.damage.message()));
    if (!current.ok()) visitor->OnDamage("CURRENT", Status(current.code(), "'" + path_ + "/CURRENT' " + current.message()));
    visitor->OnFile(name);
    return Status::Ok();
  }
}

Status RocksDbEngine::VerifyChecksums(FamilyId family, std::string_view after, VerifyVisitor* visitor) {
  if (family != kSharedFiles) {
    if (Status s = CheckExists(family); !s.ok()) return s;
    return VerifyTables(Handle(family), "family '" + options_.families[family].name + "': ", !families_[family].damage.ok(), after,
                        visitor);
  }
  // Logs, then tables, then the MANIFEST.
  const bool logs_done = !after.empty() && !after.ends_with(".log");
  const bool tables_done = logs_done && !after.ends_with(".sst");
  Status s = logs_done ? Status::Ok() : VerifyLogs(after, visitor);
  if (s.ok() && !tables_done) s = VerifyTables(default_family_, "", false, logs_done ? after : "", visitor);
  return s.ok() ? VerifyManifest(tables_done ? after : "", visitor) : s;
}

}  // namespace chronolith
