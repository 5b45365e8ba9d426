#include "ops/held_store.h"

#include <fcntl.h>

#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include "chronolith/env.h"
#include "ops/file_copy.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr int kAttemptsMax = 20;

Result<HeldInstance> Listed(std::unique_ptr<HeldFiles> held) {
  Result<std::vector<InstanceFile>> files = held->List();
  if (!files.ok()) return files.status();
  return HeldInstance{std::move(held), std::move(*files)};
}

// Numbers in names grow without leading zeroes from a million on.
std::string NewestLogFile(const std::string& directory) {
  std::string newest;
  std::error_code ignored;
  for (fs::directory_iterator it(directory, ignored), end; !ignored && it != end; it.increment(ignored)) {
    std::string name = it->path().filename().string();
    if (!name.ends_with(".log")) continue;
    if (name.size() > newest.size() || (name.size() == newest.size() && name > newest)) newest = std::move(name);
  }
  return newest;
}

// False: it has no name any more, or there is no such way to a descriptor here.
bool LinkTable(const std::string& from, std::uint64_t bytes, const std::string& to, HeldTables* tables) {
  Result<FileDescriptor> table = OpenFile(from, O_RDONLY);
  if (!table.ok()) return false;
  std::error_code error;
  fs::create_symlink("/proc/self/fd/" + std::to_string(table->get()), to, error);
  if (error) return false;
  if (fs::file_size(to, error) != bytes || error) {
    fs::remove(to, error);
    return false;
  }
  tables->push_back(std::move(*table));
  return true;
}

}  // namespace

std::uint64_t HeldInstance::CopiedBytes() const {
  std::uint64_t bytes = 0;
  for (const InstanceFile& file : files) bytes += file.immutable ? 0 : file.bytes;
  return bytes;
}

Result<HeldStore> HoldStore(EngineFactory* factory, const std::string& data, const std::string& log) {
  Result<std::unique_ptr<HeldFiles>> log_files = factory->HoldFiles(log);
  if (!log_files.ok()) return log_files.status().WithContext("log instance");
  Result<std::unique_ptr<HeldFiles>> data_files = factory->HoldFiles(data);
  if (!data_files.ok()) return data_files.status().WithContext("data instance");
  if (Status s = (*log_files)->TakeEnd(); !s.ok()) return s;
  HeldStore store;
  store.taken_ms = Clock::System()->NowMs();
  for (auto& [held, instance] : {std::pair(&*log_files, &store.log), std::pair(&*data_files, &store.data)}) {
    Result<HeldInstance> listed = Listed(std::move(*held));
    if (!listed.ok()) return listed.status();
    *instance = std::move(*listed);
  }
  return store;
}

Result<HeldInstance> HoldLog(EngineFactory* factory, const std::string& log) {
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    // A log file that came and went while the others were being held, and whose rows are in none of the tables held, is one that
    // came behind the newest.
    const std::string newest = NewestLogFile(log);
    Result<std::unique_ptr<HeldFiles>> held = factory->HoldFiles(log);
    if (!held.ok()) return held.status();
    if (NewestLogFile(log) != newest) continue;
    Result<HeldInstance> listed = Listed(std::move(*held));
    if (listed.ok() || listed.status().code() != StatusCode::kUnavailable) return listed;
  }
  return Unavailable("the files of " + log + " change too fast to be held");
}

Status CopyHeldFiles(const HeldInstance& instance, const std::string& from, const std::string& to, const OpsContext& context,
                     HeldTables* tables) {
  Pace pace(context, 0);
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return ErrnoStatus("cannot create " + to, error);
  for (std::size_t i = 0; i < instance.files.size(); ++i) {
    const InstanceFile& file = instance.files[i];
    const std::string copy = to + "/" + file.name;
    if (file.immutable && LinkTable(from + "/" + file.name, file.bytes, copy, tables)) continue;
    const auto read = [&](std::uint64_t at, std::span<char> buffer) { return instance.held->Read(i, at, buffer); };
    const Result<std::uint32_t> copied = CopyFile(read, file.bytes, copy, &pace);
    if (copied.status().code() == StatusCode::kCancelled) return copied.status();
    if (!copied.ok()) return copied.status().WithContext(from + "/" + file.name);
  }
  return Status::Ok();
}

}  // namespace chronolith::ops
