// A copy of a store on which what would change the store is done.
#ifndef CHRONOLITH_OPS_REHEARSAL_H_
#define CHRONOLITH_OPS_REHEARSAL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "format/store_manifest.h"
#include "ops/context.h"
#include "ops/held_store.h"
#include "ops/reader_lock.h"
#include "ops/temporary_directory.h"

namespace chronolith::ops {

// Among temporary files (TMPDIR) or where its user says, and gone with this object: log files and manifests copied, tables as
// symbolic links. An engine opens tables to read them, makes new ones under numbers above all that it finds, and of a link removes
// no more than the link. So it takes the room of the log, and of what is stored of it on the copy, and asks for that beforehand.
// Nobody writes to the source meanwhile, but where a writer may go on; then the copy is of one moment (HoldStore).
// Thread safety: one thread.
class Rehearsal {
 public:
  enum class Writer : std::uint8_t { kIsRefused, kMayGoOn };

  // `log_path` "": where the manifest says; `parent` "": among temporary files. kNotFound: there is no store. kFailedPrecondition:
  // a process has it open for writing, and is none that may go on, or opens it just now. kUnavailable: files of it vanished,
  // another attempt may be faster. kResourceExhausted: there is too little room. kCancelled.
  static Result<std::unique_ptr<Rehearsal>> Prepare(const std::string& source, const std::string& log_path,
                                                    const OpsContext& context, const std::string& parent = "",
                                                    Writer writer = Writer::kIsRefused);

  // A process had it open for writing when it was copied: what is damaged in the copy need not be in the store.
  bool BesideWriter() const { return undisturbed_ == nullptr; }

  const std::string& path() const { return path_; }
  const std::string& log_path() const { return log_path_; }  // for Options::log_path; "": in path()
  // Removes what there is, while a store may still have it open and be writing: as far as can be.
  void Remove() const;
  // A message that names files of the copy, with the source's names.
  std::string OfSource(std::string_view message) const;
  // For the store that opens the copy: hands on what it says with the source's names, behind `prefix`. Not to outlive this object.
  std::shared_ptr<Logger> LoggerOfSource(std::shared_ptr<Logger> logger, std::string prefix) const;
  // Files of the source whose like an open of the copy has cut or rewritten, since they were damaged.
  Result<std::vector<std::string>> RewrittenFiles() const;

 private:
  struct Instance {
    std::string source;
    std::string copy;
  };
  Rehearsal() = default;
  Status Copy(const std::string& source, const std::string& log_path, const OpsContext& context, const std::string& parent,
              Writer writer);
  Status CopyStoreFiles(const OpsContext& context) const;
  Status CopyInstances(const OpsContext& context) const;
  Status CopyHeld(const StoreManifest& manifest, const OpsContext& context);
  Result<std::uint64_t> CopiedBytes() const;
  Status CheckRoom(std::uint64_t copied_bytes) const;
  static Status CopyInstance(const Instance& instance, const OpsContext& context);

  std::unique_ptr<TemporaryDirectory> scratch_;
  std::unique_ptr<ReaderLock> undisturbed_;  // null beside a writer
  HeldTables tables_;                        // beside a writer
  std::string source_;
  std::string path_;
  std::string log_path_;
  std::vector<Instance> instances_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_REHEARSAL_H_
