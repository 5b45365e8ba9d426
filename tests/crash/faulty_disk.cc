#include "tests/crash/faulty_disk.h"

#include <rocksdb/system_clock.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "tests/support/files.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;
using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

constexpr char kShort[] = "injected short write";

std::string Normal(const std::string& path) {
  std::string normal = fs::path(path).lexically_normal().string();
  if (normal.size() > 1 && normal.ends_with('/')) normal.pop_back();
  return normal;
}
std::string DirectoryOf(const std::string& path) { return fs::path(path).parent_path().string(); }

class SequentialFile : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  SequentialFile(FaultyDisk* disk, std::string name, std::unique_ptr<rocksdb::FSSequentialFile> file)
      : FSSequentialFileOwnerWrapper(std::move(file)), disk_(disk), name_(std::move(name)) {}
  IOStatus Read(std::size_t n, const IOOptions& options, Slice* result, char* scratch, IODebugContext* debug) override {
    IOStatus s = disk_->Pass("Read", name_, false);
    return s.ok() ? target()->Read(n, options, result, scratch, debug) : s;
  }

 private:
  FaultyDisk* const disk_;
  const std::string name_;
};

class RandomAccessFile : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  RandomAccessFile(FaultyDisk* disk, std::string name, std::unique_ptr<rocksdb::FSRandomAccessFile> file)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), disk_(disk), name_(std::move(name)) {}
  IOStatus Read(std::uint64_t offset, std::size_t n, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* debug) const override {
    IOStatus s = disk_->Pass("Read", name_, false);
    return s.ok() ? target()->Read(offset, n, options, result, scratch, debug) : s;
  }
  IOStatus MultiRead(rocksdb::FSReadRequest* requests, std::size_t n, const IOOptions& options, IODebugContext* debug) override {
    IOStatus s = disk_->Pass("MultiRead", name_, false);
    return s.ok() ? target()->MultiRead(requests, n, options, debug) : s;
  }

 private:
  FaultyDisk* const disk_;
  const std::string name_;
};

class WritableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WritableFile(FaultyDisk* disk, std::string name, FaultyDisk::NodePtr node, std::unique_ptr<rocksdb::FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)), disk_(disk), name_(std::move(name)), node_(std::move(node)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    IOStatus refused = disk_->Pass("Append", name_, true);
    if (!refused.ok() && !disk_->TakesShortWrite(refused)) return refused;
    const Slice some(data.data(), refused.ok() ? data.size() : data.size() / 2);
    IOStatus s = target()->Append(some, options, debug);
    if (!s.ok()) return s;
    disk_->NoteAppend(node_.get(), some.size());
    return refused;
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus PositionedAppend(const Slice&, std::uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported("PositionedAppend");
  }
  IOStatus PositionedAppend(const Slice&, std::uint64_t, const IOOptions&, const rocksdb::DataVerificationInfo&,
                            IODebugContext*) override {
    return IOStatus::NotSupported("PositionedAppend");
  }
  IOStatus Truncate(std::uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    IOStatus s = disk_->Pass("Truncate", name_, true);
    if (s.ok()) s = target()->Truncate(size, options, debug);
    if (s.ok()) disk_->NoteTruncate(node_.get(), size);
    return s;
  }
  // Preallocation, which in memory costs as much as everything else.
  void PrepareWrite(std::size_t, std::size_t, const IOOptions&, IODebugContext*) override {}
  IOStatus Allocate(std::uint64_t, std::uint64_t, const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    IOStatus refused = disk_->Pass("Close", name_, true);
    IOStatus s = target()->Close(options, debug);
    return refused.ok() ? s : refused;
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override { return SyncWith("Sync", options, debug); }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override { return SyncWith("Fsync", options, debug); }

 private:
  IOStatus SyncWith(const char* what, const IOOptions& options, IODebugContext* debug) {
    const std::uint64_t size = disk_->SizeOf(*node_);
    IOStatus s = disk_->Pass(what, name_, true);
    if (s.ok()) s = target()->Sync(options, debug);
    if (s.ok()) {
      disk_->NoteSync(node_.get(), size);
    } else {
      disk_->NoteFailedSync(node_.get());
    }
    return s;
  }

  FaultyDisk* const disk_;
  const std::string name_;
  const FaultyDisk::NodePtr node_;
};

// Only to sync a file.
class RandomRWFile : public rocksdb::FSRandomRWFileOwnerWrapper {
 public:
  RandomRWFile(FaultyDisk* disk, std::string name, FaultyDisk::NodePtr node, std::unique_ptr<rocksdb::FSRandomRWFile> file)
      : FSRandomRWFileOwnerWrapper(std::move(file)), disk_(disk), name_(std::move(name)), node_(std::move(node)) {}
  IOStatus Write(std::uint64_t, const Slice&, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported("writing in place");
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override { return Fsync(options, debug); }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    const std::uint64_t size = disk_->SizeOf(*node_);
    IOStatus s = disk_->Pass("Fsync", name_, true);
    if (s.ok()) s = target()->Fsync(options, debug);
    if (s.ok()) {
      disk_->NoteSync(node_.get(), size);
    } else {
      disk_->NoteFailedSync(node_.get());
    }
    return s;
  }

 private:
  FaultyDisk* const disk_;
  const std::string name_;
  const FaultyDisk::NodePtr node_;
};

class DirectoryFile : public rocksdb::FSDirectoryWrapper {
 public:
  DirectoryFile(FaultyDisk* disk, std::string name, std::unique_ptr<rocksdb::FSDirectory> directory)
      : FSDirectoryWrapper(std::move(directory)), disk_(disk), name_(std::move(name)) {}
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return FsyncWithDirOptions(options, debug, rocksdb::DirFsyncOptions());
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug, const rocksdb::DirFsyncOptions& how) override {
    IOStatus s = disk_->Pass("Fsync of the directory", name_, true);
    if (s.ok()) s = FSDirectoryWrapper::FsyncWithDirOptions(options, debug, how);
    if (s.ok()) disk_->NoteDirectorySync(name_);
    return s;
  }

 private:
  FaultyDisk* const disk_;
  const std::string name_;
};

// RocksDB's background threads sleep a second after an error. Here nobody waits.
class ImpatientClock : public rocksdb::SystemClockWrapper {
 public:
  ImpatientClock() : SystemClockWrapper(rocksdb::SystemClock::Default()) {}
  const char* Name() const override { return "ImpatientClock"; }
  void SleepForMicroseconds(int micros) override { SystemClockWrapper::SleepForMicroseconds(std::min(micros, 100)); }
};

class DiskEnv : public rocksdb::EnvWrapper {
 public:
  explicit DiskEnv(std::unique_ptr<rocksdb::Env> of_disk) : EnvWrapper(of_disk.get()), of_disk_(std::move(of_disk)) {
    file_system_ = of_disk_->GetFileSystem();
    system_clock_ = std::make_shared<ImpatientClock>();
  }
  const char* Name() const override { return "DiskEnv"; }

 private:
  const std::unique_ptr<rocksdb::Env> of_disk_;
};

// What a power loss could leave of bytes of which the first `synced` are durable.
std::string Torn(std::string bytes, std::size_t synced, bool by_sectors, std::mt19937_64* rng, Leftover leftover) {
  if (leftover == Leftover::kAny) leftover = static_cast<Leftover>((*rng)() % 4);
  if (leftover == Leftover::kSubset && !by_sectors) leftover = Leftover::kPrefix;
  switch (leftover) {
    case Leftover::kNothing:
      bytes.resize(synced);
      return bytes;
    case Leftover::kPrefix:
      bytes.resize(synced + (*rng)() % (bytes.size() - synced + 1));
      return bytes;
    case Leftover::kSubset: {
      bytes.resize(synced + (*rng)() % (bytes.size() - synced + 1));
      const std::size_t unit = (*rng)() % 2 == 0 ? 512 : 4096;
      const std::uint64_t lost_of_8 = 1 + (*rng)() % 8;
      for (std::size_t at = synced / unit * unit; at < bytes.size(); at += unit) {
        if ((*rng)() % 8 >= lost_of_8) continue;
        for (std::size_t i = std::max(at, synced); i < std::min(at + unit, bytes.size()); ++i) bytes[i] = 0;
      }
      return bytes;
    }
    case Leftover::kEverything:
    case Leftover::kAny:
      return bytes;
  }
  return bytes;
}

}  // namespace

FaultyDisk::FaultyDisk(std::string aside) : FileSystemWrapper(rocksdb::FileSystem::Default()), aside_(std::move(aside)) {
  fs::create_directories(aside_);
  // The environment owns nothing of this object.
  env_ =
      std::make_unique<DiskEnv>(rocksdb::NewCompositeEnv(std::shared_ptr<rocksdb::FileSystem>(this, [](rocksdb::FileSystem*) {})));
}
FaultyDisk::~FaultyDisk() { env_.reset(); }

// ---- Power and faults ----

void FaultyDisk::PowerOffAt(std::uint64_t n) {
  const std::lock_guard lock(mu_);
  power_off_at_ = n;
  changes_ = 0;
}
bool FaultyDisk::powered_off() const {
  const std::lock_guard lock(mu_);
  return off_;
}
std::uint64_t FaultyDisk::changes() const {
  const std::lock_guard lock(mu_);
  return changes_;
}
void FaultyDisk::Inject(Fault fault) {
  const std::lock_guard lock(mu_);
  fault_ = fault;
  calls_ = 0;
  failed_call_.clear();
}
std::uint64_t FaultyDisk::calls() const {
  const std::lock_guard lock(mu_);
  return calls_;
}
std::string FaultyDisk::failed_call() const {
  const std::lock_guard lock(mu_);
  return failed_call_;
}

IOStatus FaultyDisk::Pass(const char* what, const std::string& path, bool changes) {
  const std::lock_guard lock(mu_);
  if (changes) {
    ++changes_;
    off_ = off_ || (power_off_at_ > 0 && changes_ >= power_off_at_);
    if (off_) return IOStatus::IOError("the power is off: " + path);
  }
  ++calls_;
  if (fault_.at == 0 || calls_ < fault_.at || (calls_ > fault_.at && !fault_.for_good)) return IOStatus::OK();
  if (failed_call_.empty()) failed_call_ = std::string(what) + " " + path;
  if (changes && fault_.kind == FaultKind::kNoSpace) return IOStatus::NoSpace("injected: " + path);
  return IOStatus::IOError(fault_.kind == FaultKind::kShortWrite ? kShort : "injected", path);
}
bool FaultyDisk::TakesShortWrite(const IOStatus& s) const { return s.ToString().find(kShort) != std::string::npos; }

// ---- What is durable ----

void FaultyDisk::NoteAppend(Node* node, std::uint64_t bytes) {
  const std::lock_guard lock(mu_);
  node->size += bytes;
}
void FaultyDisk::NoteTruncate(Node* node, std::uint64_t size) {
  const std::lock_guard lock(mu_);
  node->size = size;
  node->synced = std::min(node->synced, size);
}
std::uint64_t FaultyDisk::SizeOf(const Node& node) const {
  const std::lock_guard lock(mu_);
  return node.size;
}
void FaultyDisk::NoteSync(Node* node, std::uint64_t size) {
  const std::lock_guard lock(mu_);
  if (!node->lost) node->synced = std::max(node->synced, std::min(size, node->size));
}
void FaultyDisk::NoteFailedSync(Node* node) {
  const std::lock_guard lock(mu_);
  node->lost = true;
}
void FaultyDisk::NoteDirectorySync(const std::string& directory) {
  const std::lock_guard lock(mu_);
  unsynced_.erase(directory);
}

FaultyDisk::NodePtr FaultyDisk::Find(const std::string& path) {
  if (const auto it = names_.find(path); it != names_.end()) return it->second;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return nullptr;
  const std::uint64_t size = fs::file_size(path);
  return names_[path] = std::make_shared<Node>(Node{path, size, size});
}

void FaultyDisk::SetAside(const std::string& path, Node* node) {
  node->real = aside_ + "/" + std::to_string(++set_aside_);
  fs::rename(path, node->real);
}

void FaultyDisk::Record(const std::string& directory, Changes changes) {
  for (const Change& change : changes) names_[change.path] = change.after;
  unsynced_[directory].push_back(std::move(changes));
}

std::map<std::string, FaultyDisk::NodePtr> FaultyDisk::NamesLeft(std::mt19937_64* rng, Leftover leftover) const {
  std::map<std::string, NodePtr> names = names_;
  for (const auto& [directory, all] : unsynced_) {
    for (auto changes = all.rbegin(); changes != all.rend(); ++changes) {
      for (auto change = changes->rbegin(); change != changes->rend(); ++change) names[change->path] = change->before;
    }
    const Leftover how = leftover == Leftover::kAny ? static_cast<Leftover>((*rng)() % 4) : leftover;
    std::size_t first_lost = all.size();
    if (how == Leftover::kNothing) first_lost = 0;
    if (how == Leftover::kPrefix || how == Leftover::kSubset) first_lost = (*rng)() % (all.size() + 1);
    for (std::size_t i = 0; i < first_lost; ++i) {
      for (const Change& change : all[i]) names[change.path] = change.after;
    }
  }
  return names;
}

void FaultyDisk::LosePower(std::mt19937_64* rng, Leftover leftover) {
  const std::lock_guard lock(mu_);
  const std::map<std::string, NodePtr> names = NamesLeft(rng, leftover);
  std::map<const Node*, std::string> torn;  // a node may have several names
  std::map<std::string, const Node*> rewritten;
  for (const auto& [path, node] : names) {
    if (node == nullptr || (node->real == path && node->synced == node->size)) continue;
    rewritten[path] = node.get();
    if (torn.contains(node.get())) continue;
    std::string bytes = ReadFile(node->real);
    bytes.resize(node->size);
    if (node->synced < node->size) {
      const bool by_sectors = path.ends_with(".log");
      bytes = Torn(std::move(bytes), node->synced, by_sectors, rng, leftover);
    }
    torn[node.get()] = std::move(bytes);
  }
  for (const auto& [path, node] : names) {
    if (node == nullptr || rewritten.contains(path)) fs::remove(path);
  }
  for (const auto& [path, node] : rewritten) WriteFile(path, torn[node]);
  ForgetLocked();
}

void FaultyDisk::Forget() {
  const std::lock_guard lock(mu_);
  ForgetLocked();
}

void FaultyDisk::ForgetLocked() {
  for (const auto& entry : fs::directory_iterator(aside_)) fs::remove(entry.path());
  names_.clear();
  unsynced_.clear();
  off_ = false;
  power_off_at_ = 0;
}

// ---- Calls ----

IOStatus FaultyDisk::NewSequentialFile(const std::string& name, const FileOptions& options,
                                       std::unique_ptr<rocksdb::FSSequentialFile>* file, IODebugContext* debug) {
  IOStatus s = Pass("NewSequentialFile", name, false);
  if (s.ok()) s = target()->NewSequentialFile(name, options, file, debug);
  if (s.ok()) *file = std::make_unique<SequentialFile>(this, name, std::move(*file));
  return s;
}

IOStatus FaultyDisk::NewRandomAccessFile(const std::string& name, const FileOptions& options,
                                         std::unique_ptr<rocksdb::FSRandomAccessFile>* file, IODebugContext* debug) {
  IOStatus s = Pass("NewRandomAccessFile", name, false);
  if (s.ok()) s = target()->NewRandomAccessFile(name, options, file, debug);
  if (s.ok()) *file = std::make_unique<RandomAccessFile>(this, name, std::move(*file));
  return s;
}

IOStatus FaultyDisk::NewWritableFile(const std::string& name, const FileOptions& options,
                                     std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) {
  IOStatus s = Pass("NewWritableFile", name, true);
  if (!s.ok()) return s;
  const std::string path = Normal(name);
  const std::lock_guard lock(mu_);
  // One that was there is a file of its own: what it held may come back.
  const NodePtr before = Find(path);
  if (before != nullptr) SetAside(path, before.get());
  s = target()->NewWritableFile(name, options, file, debug);
  if (!s.ok()) return s;
  const auto node = std::make_shared<Node>(Node{path, 0, 0});
  Record(DirectoryOf(path), {{path, before, node}});
  *file = std::make_unique<WritableFile>(this, path, node, std::move(*file));
  return s;
}

IOStatus FaultyDisk::ReopenWritableFile(const std::string& name, const FileOptions& options,
                                        std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) {
  IOStatus s = Pass("ReopenWritableFile", name, true);
  if (!s.ok()) return s;
  const std::string path = Normal(name);
  const std::lock_guard lock(mu_);
  NodePtr node = Find(path);
  s = target()->ReopenWritableFile(name, options, file, debug);
  if (!s.ok()) return s;
  if (node == nullptr) {
    node = std::make_shared<Node>(Node{path, 0, 0});
    Record(DirectoryOf(path), {{path, nullptr, node}});
  }
  *file = std::make_unique<WritableFile>(this, path, node, std::move(*file));
  return s;
}

IOStatus FaultyDisk::ReuseWritableFile(const std::string&, const std::string&, const FileOptions&,
                                       std::unique_ptr<rocksdb::FSWritableFile>*, IODebugContext*) {
  return IOStatus::NotSupported("reusing log files");
}

IOStatus FaultyDisk::NewRandomRWFile(const std::string& name, const FileOptions& options,
                                     std::unique_ptr<rocksdb::FSRandomRWFile>* file, IODebugContext* debug) {
  IOStatus s = Pass("NewRandomRWFile", name, false);
  if (s.ok()) s = target()->NewRandomRWFile(name, options, file, debug);
  if (!s.ok()) return s;
  const std::string path = Normal(name);
  const std::lock_guard lock(mu_);
  const NodePtr node = Find(path);
  if (node == nullptr) std::abort();
  *file = std::make_unique<RandomRWFile>(this, path, node, std::move(*file));
  return s;
}

IOStatus FaultyDisk::NewDirectory(const std::string& name, const IOOptions& options,
                                  std::unique_ptr<rocksdb::FSDirectory>* directory, IODebugContext* debug) {
  IOStatus s = Pass("NewDirectory", name, false);
  if (s.ok()) s = target()->NewDirectory(name, options, directory, debug);
  if (s.ok()) *directory = std::make_unique<DirectoryFile>(this, Normal(name), std::move(*directory));
  return s;
}

IOStatus FaultyDisk::GetChildren(const std::string& name, const IOOptions& options, std::vector<std::string>* children,
                                 IODebugContext* debug) {
  IOStatus s = Pass("GetChildren", name, false);
  return s.ok() ? target()->GetChildren(name, options, children, debug) : s;
}

IOStatus FaultyDisk::GetFileSize(const std::string& name, const IOOptions& options, std::uint64_t* size, IODebugContext* debug) {
  IOStatus s = Pass("GetFileSize", name, false);
  return s.ok() ? target()->GetFileSize(name, options, size, debug) : s;
}

IOStatus FaultyDisk::DeleteFile(const std::string& name, const IOOptions& options, IODebugContext* debug) {
  IOStatus s = Pass("DeleteFile", name, true);
  if (!s.ok()) return s;
  const std::string path = Normal(name);
  const std::lock_guard lock(mu_);
  const NodePtr node = Find(path);
  if (node == nullptr) return target()->DeleteFile(name, options, debug);
  SetAside(path, node.get());
  Record(DirectoryOf(path), {{path, node, nullptr}});
  return s;
}

IOStatus FaultyDisk::RenameFile(const std::string& from, const std::string& to, const IOOptions& options, IODebugContext* debug) {
  IOStatus s = Pass("RenameFile", from, true);
  if (!s.ok()) return s;
  const std::string source = Normal(from);
  const std::string goal = Normal(to);
  const std::lock_guard lock(mu_);
  const NodePtr node = Find(source);
  if (node == nullptr) return target()->RenameFile(from, to, options, debug);
  const NodePtr replaced = Find(goal);
  if (replaced != nullptr) SetAside(goal, replaced.get());
  s = target()->RenameFile(from, to, options, debug);
  if (!s.ok()) return s;
  node->real = goal;
  Record(DirectoryOf(goal), {{source, node, nullptr}, {goal, replaced, node}});
  return s;
}

IOStatus FaultyDisk::LinkFile(const std::string& from, const std::string& to, const IOOptions& options, IODebugContext* debug) {
  IOStatus s = Pass("LinkFile", to, true);
  if (!s.ok()) return s;
  const std::string source = Normal(from);
  const std::string goal = Normal(to);
  const std::lock_guard lock(mu_);
  const NodePtr node = Find(source);
  s = target()->LinkFile(from, to, options, debug);
  if (s.ok()) Record(DirectoryOf(goal), {{goal, nullptr, node}});
  return s;
}

IOStatus FaultyDisk::Truncate(const std::string& name, std::size_t size, const IOOptions& options, IODebugContext* debug) {
  IOStatus s = Pass("Truncate", name, true);
  if (!s.ok()) return s;
  const NodePtr node = [&] {
    const std::lock_guard lock(mu_);
    return Find(Normal(name));
  }();
  s = target()->Truncate(name, size, options, debug);
  if (s.ok() && node != nullptr) NoteTruncate(node.get(), size);
  return s;
}

}  // namespace chronolith
