#include "ops/rehearsal.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/posix_file.h"
#include "chronolith/engine_registry.h"
#include "ops/file_copy.h"
#include "storage/store_directory.h"
#include "storage/unfinished.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

Status CopyOne(const std::string& from, const std::string& to, const OpsContext& context) {
  Pace pace(context, 0);
  return CopyFile(from, to, &pace);
}

void ReplaceAll(const std::string& what, const std::string& by, std::string* text) {
  for (std::size_t at = text->find(what); at != std::string::npos; at = text->find(what, at + by.size())) {
    text->replace(at, what.size(), by);
  }
}

class RenamingLogger : public Logger {
 public:
  RenamingLogger(std::shared_ptr<Logger> logger, std::string prefix, const Rehearsal* rehearsal)
      : logger_(std::move(logger)), prefix_(std::move(prefix)), rehearsal_(rehearsal) {}
  void Log(LogLevel level, std::string_view message) override { logger_->Log(level, prefix_ + rehearsal_->OfSource(message)); }

 private:
  const std::shared_ptr<Logger> logger_;
  const std::string prefix_;
  const Rehearsal* const rehearsal_;
};

}  // namespace

Result<std::unique_ptr<Rehearsal>> Rehearsal::Prepare(const std::string& source, const std::string& log_path,
                                                      const OpsContext& context, const std::string& parent, Writer writer) {
  std::unique_ptr<Rehearsal> made(new Rehearsal);
  if (Status s = made->Copy(source, log_path, context, parent, writer); !s.ok()) return s;
  return made;
}

Status Rehearsal::Copy(const std::string& source, const std::string& log_path, const OpsContext& context, const std::string& parent,
                       Writer writer) {
  const Result<StoreManifest> manifest = ReadStoreManifest(source);
  if (!manifest.ok()) return manifest.status();
  auto undisturbed = ReaderLock::Take(source, log_path);
  const bool written = undisturbed.status().code() == StatusCode::kFailedPrecondition && writer == Writer::kMayGoOn;
  if (!undisturbed.ok() && !written) return undisturbed.status();
  if (!written) undisturbed_ = std::move(*undisturbed);
  auto scratch = TemporaryDirectory::Make("recover", parent);
  if (!scratch.ok()) return scratch.status();
  scratch_ = std::move(*scratch);
  source_ = source;
  path_ = scratch_->path() + "/db";
  const std::string log = path_ + "/log";
  if (LogInstancePath(path_, *manifest) != log) log_path_ = log;
  instances_ = {{DataInstancePath(source), DataInstancePath(path_)},
                {log_path.empty() ? LogInstancePath(source, *manifest) : log_path, log}};
  return written ? CopyHeld(*manifest, context) : CopyInstances(context);
}

Status Rehearsal::CopyInstances(const OpsContext& context) const {
  const Result<std::uint64_t> bytes = CopiedBytes();
  if (!bytes.ok()) return bytes.status();
  if (Status s = CheckRoom(*bytes); !s.ok()) return s;
  if (Status s = CopyStoreFiles(context); !s.ok()) return s;
  for (const Instance& instance : instances_) {
    if (Status s = CopyInstance(instance, context); !s.ok()) return s;
  }
  return Status::Ok();
}

Status Rehearsal::CopyHeld(const StoreManifest& manifest, const OpsContext& context) {
  const Result<std::shared_ptr<EngineFactory>> factory = EngineRegistry::Default()->Find(manifest.engine);
  if (!factory.ok()) return factory.status();
  const Instance& data = instances_.front();
  const Instance& log = instances_.back();
  const Result<HeldStore> held = HoldStore(factory->get(), data.source, log.source);
  if (!held.ok()) return held.status();
  // Until it is gone the instances may be between two states.
  std::error_code error;
  if (fs::exists(source_ + "/" + std::string(kUnfinishedFile), error) || error) {
    return FailedPrecondition("an open of " + source_ + " that gives up lost log records has not come to its end");
  }
  if (Status s = CheckRoom(held->log.CopiedBytes() + held->data.CopiedBytes()); !s.ok()) return s;
  if (Status s = CopyStoreFiles(context); !s.ok()) return s;
  if (Status s = CopyHeldFiles(held->data, data.source, data.copy, context, &tables_); !s.ok()) return s;
  return CopyHeldFiles(held->log, log.source, log.copy, context, &tables_);
}

Status Rehearsal::CopyStoreFiles(const OpsContext& context) const {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) return ErrnoStatus("cannot create " + path_, error);
  for (const std::string_view name : {kStoreFile, kUnfinishedFile}) {
    const std::string file = "/" + std::string(name);
    const Status s = CopyOne(source_ + file, path_ + file, context);
    if (!s.ok() && s.code() != StatusCode::kNotFound) return s;
  }
  return Status::Ok();
}

Result<std::uint64_t> Rehearsal::CopiedBytes() const {
  std::uint64_t copied = 0;
  for (const Instance& instance : instances_) {
    std::error_code error;
    if (!fs::exists(instance.source, error) && !error) continue;
    for (const auto& entry : fs::directory_iterator(instance.source, error)) {
      std::error_code failed;
      if (!entry.is_regular_file(failed) || entry.path().extension() == ".sst") continue;
      const std::uintmax_t size = entry.file_size(failed);
      if (!failed) copied += size;
    }
    if (error) return ErrnoStatus("cannot list " + instance.source, error);
  }
  return copied;
}

// For what is copied, as much again for what is stored of it, and the log that opening it begins.
Status Rehearsal::CheckRoom(std::uint64_t copied_bytes) const {
  constexpr std::uint64_t kFresh = 16ULL << 20;
  return scratch_->CheckRoom(2 * copied_bytes + kFresh).WithContext("a copy is recovered");
}

// An instance that is not there is not there in the copy either.
Status Rehearsal::CopyInstance(const Instance& instance, const OpsContext& context) {
  std::error_code error;
  if (!fs::exists(instance.source, error) && !error) return Status::Ok();
  return CopyInstanceFiles(instance.source, instance.copy, context);
}

void Rehearsal::Remove() const { scratch_->Remove(); }

std::string Rehearsal::OfSource(std::string_view message) const {
  std::string text(message);
  for (const Instance& instance : instances_) ReplaceAll(instance.copy, instance.source, &text);
  ReplaceAll(path_, source_, &text);
  return text;
}

std::shared_ptr<Logger> Rehearsal::LoggerOfSource(std::shared_ptr<Logger> logger, std::string prefix) const {
  if (logger == nullptr) return nullptr;
  return std::make_shared<RenamingLogger>(std::move(logger), std::move(prefix), this);
}

Result<std::vector<std::string>> Rehearsal::RewrittenFiles() const {
  std::vector<std::string> files;
  for (const Instance& instance : instances_) {
    std::error_code error;
    if (!fs::exists(instance.copy, error)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(instance.copy, error)) {
      // EngineFactory::CheckLog keeps them as they were in a directory of their own.
      const bool kept = entry.path().parent_path() != instance.copy;
      if (entry.is_regular_file() && kept) files.push_back(instance.source + "/" + entry.path().filename().string());
    }
    if (error) return ErrnoStatus("cannot list " + instance.copy, error);
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace chronolith::ops
