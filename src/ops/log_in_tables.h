// A log whose rows a reader would hold in memory: a copy of it has them in tables, and is read in its place.
#ifndef CHRONOLITH_OPS_LOG_IN_TABLES_H_
#define CHRONOLITH_OPS_LOG_IN_TABLES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "chronolith/kv_engine.h"
#include "chronolith/result.h"
#include "ops/context.h"
#include "ops/held_store.h"
#include "ops/temporary_directory.h"

namespace chronolith::ops {

// An engine that only reads puts the rows of an instance's log files into memory, all of them. Here they are stored, in a directory
// that goes with this object: log files copied, tables as symbolic links, which an engine opens to read and never writes to. Both
// engines have all that they need open when Make returns: from then on somebody may write to the source, and they show it as it
// was; and the directory may go. Beside a process that has it open for writing the copy is of a moment after Make began (HoldLog).
// Thread safety: as KvEngine.
class LogInTables {
 public:
  struct Source {
    std::shared_ptr<EngineFactory> factory;
    std::string store;      // whose log it is
    std::string log;        // the directory of the log's instance
    EngineOptions options;  // of it
  };
  struct Place {
    std::string parent;                       // "": among temporary files
    std::uint64_t spare_bytes = 64ULL << 20;  // to be left on its disk, beside the log twice
    std::uint64_t held_bytes_max = 0;         // of log files that are read as they are; 0: kLogHeldPart of the memory limit
  };

  // Null where the log is to be read as it is: its files take no more than Place::held_bytes_max, log files or the manifest are
  // damaged (an end that a crash has torn is not), files are missing, there is too little room, or the copy failed. The context's
  // logger is warned, but where log files are damaged: those an engine refuses to open. A table that cannot be read to its end
  // fails who reads it here as it does in the source, whose file is named. kCancelled.
  // Nothing is left of a copy that was not made.
  static Result<std::shared_ptr<LogInTables>> Make(const Source& source, const OpsContext& context, const Place& place);
  ~LogInTables();

  KvEngine* rows() const { return rows_.get(); }
  // Of the source: its tables, and the checksums of all its files, but none of the rows that are in log files.
  KvEngine* files() const { return files_.get(); }
  // Of files(), with what they leave out: how large the log files are, and of each family about what its rows in them take.
  EngineStats Stats() const;
  // The source's files as they are by now, without the rows in log files.
  Result<std::unique_ptr<KvEngine>> OpenFiles() const;
  // The copy's instance: for who opens it once more, and keeps the source from being written to meanwhile.
  const std::string& path() const { return path_; }

  // Nobody has written to the source since.
  bool IsCurrent() const { return Look(source_.log) == seen_; }
  // The directory, before this object goes: engines that are open read on.
  void Remove() const { scratch_->Remove(); }

 private:
  using Seen = std::map<std::string, std::pair<std::uint64_t, std::int64_t>>;  // bytes and time of change, by name

  LogInTables(const Source& source, std::string parent) : source_(source), parent_(std::move(parent)) {}
  static Seen Look(const std::string& directory);
  EngineOptions Reading() const;
  EngineOptions OfCopy(EngineOptions options) const;
  Result<std::unique_ptr<KvEngine>> OpenWithoutRows(const std::string& path, EngineOptions options,
                                                    const std::string& no_log_files) const;
  Status Copy(const OpsContext& context, std::uint64_t spare_bytes);
  Status CopyQuiet(const OpsContext& context);
  Status CopyHeld(const OpsContext& context, const HeldInstance& held, const std::string& no_log_files);
  Status CheckLogFiles(KvEngine* engine, const OpsContext& context);

  const Source source_;
  const std::string parent_;
  std::unique_ptr<TemporaryDirectory> scratch_;  // outlives the engines
  HeldTables tables_;                            // beside a writer
  std::string path_;
  Seen seen_;
  bool log_is_damaged_ = false;  // or its manifest
  std::unique_ptr<KvEngine> rows_;
  std::unique_ptr<KvEngine> files_;
};

// Stores what only the log files of the instance in `path` hold in its tables: an open for writing. Memory: some 16 MiB of buffers
// beside the engine's own. Its log must be whole (EngineFactory::CheckLog); nobody else has it open.
Status StoreLogRows(EngineFactory* factory, const std::string& path, const EngineOptions& options);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_LOG_IN_TABLES_H_
