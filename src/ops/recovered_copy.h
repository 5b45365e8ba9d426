// A copy of a store in which what its log holds is stored, to be read in place of the store.
#ifndef CHRONOLITH_OPS_RECOVERED_COPY_H_
#define CHRONOLITH_OPS_RECOVERED_COPY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "chronolith/options.h"
#include "chronolith/result.h"
#include "chronolith/stats.h"
#include "chronolith/storage.h"
#include "ops/context.h"
#include "ops/rehearsal.h"

namespace chronolith::ops {

// What the log of the store in `path` takes, of which a part may be stored. A store that is only read holds what is not, however
// much that is: a million series, 7 MiB of log or more, take 230 MiB. 0: cannot be told. `log_path` "": where the manifest says;
// `extension`: of its files with that only, such as ".log".
std::uint64_t LogBytes(const std::string& path, const std::string& log_path, const std::string& extension = "");
// Of a memory limit: what a log takes that is still opened as it is. Who only reads holds its rows in memory, and what they say.
inline constexpr std::uint64_t kLogHeldPart = 4;

// Storage::Open of a store that is only read. kResourceExhausted where what only its log holds takes more memory than this.
Result<std::unique_ptr<Storage>> OpenToRead(const Options& options, const std::string& path, std::uint64_t held_bytes_max);

// Of a store that is opened to have stored what its log holds, however much: the memory is for all that takes, the engine's share too.
void FitRecovery(std::uint64_t memory_limit_bytes, Options* options);

// In front of what a store that opens a copy logs.
inline constexpr std::string_view kOnACopy = "on a copy: ";

// Gone with this object, which the store that reads it must not outlive. Who may write to the source meanwhile: as of Rehearsal.
// Memory: within the limit of the context. Thread safety: one thread.
class RecoveredCopy {
 public:
  // The copy, not recovered yet. Errors and `parent` as of Rehearsal::Prepare.
  static Result<std::unique_ptr<RecoveredCopy>> Prepare(const std::string& path, const std::string& log_path,
                                                        const OpsContext& context, const std::string& parent = "",
                                                        Rehearsal::Writer writer = Rehearsal::Writer::kIsRefused);
  // Opens it for writing, stores what its log holds, and closes it. Where that fails its store cannot be opened, is damaged, or the
  // disk is full. Quarantined shards are no error: see found(). Not interrupted by `context` while the log is replayed.
  Status Recover(const OpsContext& context);

  // Its store when the log had been replayed.
  const StorageStats& found() const { return found_; }
  const std::string& path() const { return rehearsal_->path(); }
  bool BesideWriter() const { return rehearsal_->BesideWriter(); }
  // For who opens it: with its log, and a logger that uses the source's names.
  Options OptionsOf(Options options) const;
  // With the source's names in place of those of the copy.
  Status OfSource(const Status& status) const;
  // Rehearsal::Remove.
  void Remove() const { rehearsal_->Remove(); }

 private:
  RecoveredCopy() = default;
  std::unique_ptr<Rehearsal> rehearsal_;
  StorageStats found_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_RECOVERED_COPY_H_
