#include "plugins/rocksdb/held_files.h"

#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "plugins/rocksdb/adapters.h"
#include "plugins/rocksdb/file_checksum.h"
#include "plugins/rocksdb/status_conversion.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

constexpr int kNoFile = -1;
constexpr char kProbePath[] = "/instance";

Status SystemError(const std::string& what, int error) {
  const std::string text = what + ": " + std::strerror(error);
  if (error == ENOENT) return NotFound(text);
  if (error == EACCES || error == EPERM) return PermissionDenied(text);
  if (error == EMFILE || error == ENFILE)
    return ResourceExhausted(text + " (each file of the instance is held open: raise `ulimit -n`)");
  return IoError(text);
}

class HeldFile {
 public:
  HeldFile() = default;
  HeldFile(HeldFile&& other) noexcept : fd_(std::exchange(other.fd_, kNoFile)) {}
  HeldFile& operator=(HeldFile&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~HeldFile() {
    if (fd_ != kNoFile) close(fd_);
  }

  static Result<HeldFile> Open(const std::string& path) {
    HeldFile file;
    file.fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file.fd_ < 0) return SystemError("cannot open '" + path + "'", errno);
    return file;
  }
  Result<std::uint64_t> Size() const {
    struct stat info {};
    if (fstat(fd_, &info) != 0) return SystemError("cannot look at a held file", errno);
    return static_cast<std::uint64_t>(info.st_size);
  }
  Result<std::size_t> Read(std::uint64_t offset, std::span<char> buffer) const {
    std::size_t total = 0;
    while (total < buffer.size()) {
      const ssize_t n = pread(fd_, buffer.data() + total, buffer.size() - total, static_cast<off_t>(offset + total));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return SystemError("cannot read a held file", errno);
      if (n == 0) break;
      total += static_cast<std::size_t>(n);
    }
    return total;
  }
  Status Link(const std::string& to) const {
    const std::string name = "/proc/self/fd/" + std::to_string(fd_);
    if (linkat(AT_FDCWD, name.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW) == 0) return Status::Ok();
    return SystemError("cannot link '" + to + "'", errno);
  }

 private:
  int fd_ = kNoFile;
};

// 12 for "000012.log"; 0 for another name.
std::uint64_t NumberOf(const std::string& name, std::string_view prefix, std::string_view suffix) {
  if (name.size() <= prefix.size() + suffix.size() || !name.starts_with(prefix) || !name.ends_with(suffix)) return 0;
  std::uint64_t number = 0;
  const char* const end = name.data() + name.size() - suffix.size();
  const auto parsed = std::from_chars(name.data() + prefix.size(), end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? number : 0;
}

struct LiveTable {
  std::uint64_t bytes = 0;
  std::optional<std::uint32_t> crc32c;
};

// What the MANIFEST lists, by name. RocksDB reads it, in memory; it finds none of the tables there, which it is told to bear.
Result<std::map<std::string, LiveTable>> TablesOf(const std::string& manifest_name, const std::string& manifest) {
  const std::unique_ptr<rocksdb::Env> memory(rocksdb::NewMemEnv(rocksdb::Env::Default()));
  const std::string directory = kProbePath;
  (void)memory->CreateDirIfMissing(directory);
  rocksdb::Status s = rocksdb::WriteStringToFile(memory.get(), manifest, directory + "/" + manifest_name);
  if (s.ok()) s = rocksdb::WriteStringToFile(memory.get(), manifest_name + "\n", directory + "/CURRENT");
  rocksdb::DBOptions options;
  options.env = memory.get();
  options.paranoid_checks = false;
  options.max_open_files = 16;
  options.info_log = AdaptLogger(nullptr);
  std::vector<std::string> families;
  if (s.ok()) s = rocksdb::DB::ListColumnFamilies(options, directory, &families);
  if (!s.ok()) return FromRocks(s);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& family : families) descriptors.emplace_back(family, rocksdb::ColumnFamilyOptions());
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  s = rocksdb::DB::OpenForReadOnly(options, directory, descriptors, &handles, &opened);
  if (!s.ok()) return FromRocks(s);
  const std::unique_ptr<rocksdb::DB> db(opened);
  std::vector<rocksdb::LiveFileMetaData> metadata;
  db->GetLiveFilesMetaData(&metadata);
  std::map<std::string, LiveTable> tables;
  for (const rocksdb::LiveFileMetaData& file : metadata) {
    LiveTable& table = tables[file.name.substr(file.name.rfind('/') + 1)];
    table.bytes = file.size;
    table.crc32c = FileCrc32c(file.file_checksum_func_name, file.file_checksum);
  }
  for (rocksdb::ColumnFamilyHandle* handle : handles) (void)db->DestroyColumnFamilyHandle(handle);
  return tables;
}

class RocksDbHeldFiles : public HeldFiles {
 public:
  explicit RocksDbHeldFiles(const std::string& path) : path_(path) {}

  Status Hold() {
    if (Status s = HoldDirectory(true); !s.ok()) return s;
    if (Status s = HoldManifest(); !s.ok()) return s;
    return HoldDirectory(true);
  }

  Status TakeEnd() override { return HoldDirectory(false); }

  Result<std::vector<InstanceFile>> List() override {
    std::string manifest(manifest_bytes_, '\0');
    const Result<std::size_t> read = manifest_.Read(0, manifest);
    if (!read.ok()) return read.status();
    const auto tables = TablesOf(manifest_name_, manifest);
    if (!tables.ok()) return tables.status().WithContext("reading '" + path_ + "/" + manifest_name_ + "'");
    std::vector<InstanceFile> files;
    files_.clear();
    for (const auto& [name, table] : *tables) {
      const auto held = tables_.find(name);
      if (held == tables_.end()) {
        return Unavailable("'" + path_ + "/" + name + "', which " + manifest_name_ + " lists, is missing");
      }
      files.push_back({name, table.bytes, true, table.crc32c});
      files_.push_back({&held->second, {}});
    }
    const auto add = [&](const std::string& name, std::uint64_t bytes, const HeldFile* file, std::string contents) {
      files.push_back({name, bytes, false, std::nullopt});
      files_.push_back({file, std::move(contents)});
    };
    for (const auto& [name, log] : logs_) add(name, log.bytes, &log.file, {});
    if (!options_name_.empty()) {
      const Result<std::uint64_t> bytes = options_.Size();
      if (!bytes.ok()) return bytes.status();
      add(options_name_, *bytes, &options_, {});
    }
    add(manifest_name_, manifest_bytes_, &manifest_, {});
    add("CURRENT", manifest_name_.size() + 1, nullptr, manifest_name_ + "\n");
    return files;
  }

  Result<std::size_t> Read(std::size_t index, std::uint64_t offset, std::span<char> buffer) const override {
    const Listed& listed = files_.at(index);
    if (listed.file != nullptr) return listed.file->Read(offset, buffer);
    if (offset >= listed.contents.size()) return std::size_t{0};
    return listed.contents.copy(buffer.data(), buffer.size(), offset);
  }

  Status Link(std::size_t index, const std::string& to) const override {
    const Listed& listed = files_.at(index);
    return listed.file != nullptr ? listed.file->Link(to) : Unimplemented("this file is made for the copy");
  }

 private:
  struct Log {
    HeldFile file;
    std::uint64_t bytes = 0;
  };
  struct Listed {
    const HeldFile* file = nullptr;  // null: `contents`
    std::string contents;
  };

  // Takes what is not held yet; a file that goes meanwhile is none. Then the lengths of the logs.
  Status HoldDirectory(bool with_tables) {
    std::error_code error;
    std::uint64_t newest_options = 0;
    for (fs::directory_iterator it(path_, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      const bool log = NumberOf(name, "", ".log") > 0 && !logs_.contains(name);
      const bool table = with_tables && NumberOf(name, "", ".sst") > 0 && !tables_.contains(name);
      const std::uint64_t options = with_tables ? NumberOf(name, "OPTIONS-", "") : 0;
      if (!log && !table && options <= newest_options) continue;
      Result<HeldFile> file = HeldFile::Open(it->path().string());
      if (file.status().code() == StatusCode::kNotFound) continue;
      if (!file.ok()) return file.status();
      if (log) {
        logs_[name].file = std::move(*file);
      } else if (table) {
        tables_[name] = std::move(*file);
      } else {
        options_ = std::move(*file);
        options_name_ = name;
        newest_options = options;
      }
    }
    if (error == std::errc::no_such_file_or_directory) return NotFound("there is no database at '" + path_ + "'");
    if (error) return IoError("listing '" + path_ + "': " + error.message());
    // What is appended to a log after a newer one was listed was there before: the newer one begins when the older one has ended.
    for (auto& [name, log] : logs_) {
      const Result<std::uint64_t> bytes = log.file.Size();
      if (!bytes.ok()) return bytes.status();
      log.bytes = *bytes;
    }
    return Status::Ok();
  }

  Status HoldManifest() {
    for (int attempt = 0; attempt < 10; ++attempt) {
      Result<HeldFile> current = HeldFile::Open(path_ + "/CURRENT");
      if (current.status().code() == StatusCode::kNotFound) return NotFound("there is no database at '" + path_ + "'");
      if (!current.ok()) return current.status();
      std::string name(64, '\0');
      const Result<std::size_t> read = current->Read(0, name);
      if (!read.ok()) return read.status();
      name.resize(*read);
      if (name.empty() || name.back() != '\n') return DataLoss("'" + path_ + "/CURRENT' is damaged");
      name.pop_back();
      if (NumberOf(name, "MANIFEST-", "") == 0) return DataLoss("'" + path_ + "/CURRENT' is damaged");
      Result<HeldFile> manifest = HeldFile::Open(path_ + "/" + name);
      if (manifest.status().code() == StatusCode::kNotFound) continue;  // replaced meanwhile
      if (!manifest.ok()) return manifest.status();
      const Result<std::uint64_t> bytes = manifest->Size();
      if (!bytes.ok()) return bytes.status();
      manifest_ = std::move(*manifest);
      manifest_name_ = name;
      manifest_bytes_ = *bytes;
      return Status::Ok();
    }
    return DataLoss("'" + path_ + "/CURRENT' names a file that is missing");
  }

  const std::string path_;
  std::map<std::string, HeldFile> tables_;
  std::map<std::string, Log> logs_;
  HeldFile manifest_;
  std::string manifest_name_;
  std::uint64_t manifest_bytes_ = 0;
  HeldFile options_;
  std::string options_name_;
  std::vector<Listed> files_;  // as List gave them
};

}  // namespace

Result<std::unique_ptr<HeldFiles>> HoldRocksDbFiles(const std::string& path) {
  auto held = std::make_unique<RocksDbHeldFiles>(path);
  if (Status s = held->Hold(); !s.ok()) return s;
  return std::unique_ptr<HeldFiles>(std::move(held));
}

}  // namespace chronolith
