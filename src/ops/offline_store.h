// A store's two engine instances, opened to be read, without a store: no replay, no threads but the engine's, nothing written.
#ifndef CHRONOLITH_OPS_OFFLINE_STORE_H_
#define CHRONOLITH_OPS_OFFLINE_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "chronolith/kv_engine.h"
#include "chronolith/options.h"
#include "chronolith/result.h"
#include "format/series_id.h"
#include "format/store_manifest.h"
#include "ops/context.h"
#include "ops/log_in_tables.h"
#include "storage/unfinished.h"

namespace chronolith::ops {

struct OfflineOptions {
  std::shared_ptr<EngineRegistry> engines;  // null: EngineRegistry::Default()
  std::string log_path;                     // where the log has been moved since the manifest was written; "": where that says
  std::uint64_t block_cache_bytes = 16ULL << 20;
  bool quarantine = false;  // opens around damaged files of single families (KvEngine::Damage)
  bool log = true;          // false: the data instance only
  bool data = true;         // false: the log instance only
  // For who can do without: where one instance is lost or damaged as a whole, or another store's, the other is opened all the same,
  // and OfflineStore::log_failure or data_failure says why.
  bool log_may_fail = false;
  bool data_may_fail = false;
  std::shared_ptr<Logger> logger;
  // Of log files that PutLogInTables leaves as they are; 0: kLogHeldPart of the memory limit.
  std::uint64_t log_held_bytes_max = 0;
  // Of the same store, by PutLogInTables: its log is read there. Null: as it is.
  std::shared_ptr<LogInTables> log_in_tables;
};

// OfflineOptions::log_held_bytes_max of who reads a log and needs little beside: a copy takes more time than reading the log does.
constexpr std::uint64_t LogHeldByReader(std::uint64_t memory_limit_bytes) { return memory_limit_bytes / 16 * 9; }

// A log that is too large to be held in memory within the limit of `context`, in tables, for OfflineOptions; null where it is to be
// read as it is (LogInTables::Make), or there is none. kCancelled.
Result<std::shared_ptr<LogInTables>> PutLogInTables(const std::string& path, const OfflineOptions& options,
                                                    const OpsContext& context);

// What is wrong with the log of a shard that OfflineStore::unfinished names.
inline constexpr std::string_view kLogGivenUp = "part of its log was given up by an open that did not come to its end";

// Beside a process that writes, both instances are seen as of the open, the log first: so what a trim has taken from the log is in
// the data. Its memory: the engine's caches, and the rows of the log that are not in its tables (Options::checkpoint_bytes, about
// twice) but where OfflineOptions::log_in_tables has them.
class OfflineStore {
 public:
  // kNotFound: there is no database; kFailedPrecondition: a newer format, an unknown engine, or instances of different copies;
  // kDataLoss names the file that is damaged.
  static Result<std::unique_ptr<OfflineStore>> Open(const std::string& path, const OfflineOptions& options = {});
  ~OfflineStore();

  const std::string& path() const { return path_; }
  const std::string& log_path() const { return log_path_; }
  const StoreManifest& manifest() const { return manifest_; }
  ShardId shards() const { return manifest_.shards; }
  // Shards that the store refuses until a loss that was accepted has been dealt with: what their log ends with is not known.
  const Unfinished& unfinished() const { return unfinished_; }
  // Null where it was not asked for, or log_failure is not ok.
  KvEngine* log() const { return tables_ != nullptr ? tables_->rows() : log_.get(); }
  KvEngine* data() const { return data_.get(); }  // the same with data_failure
  // For what is said of the log's files: checksums (VerifyChecksums) and sizes. Its rows may not be all.
  KvEngine* log_files() const { return tables_ != nullptr ? tables_->files() : log_.get(); }
  // What reading log() takes of memory: its rows that are not in tables, or the cache of those that a copy has there.
  std::uint64_t LogMemoryBytes() const { return log()->BufferedBytes() + (tables_ != nullptr ? cache_bytes_ : 0); }
  // The same files as they are by now, where they are read beside a copy of the rows.
  Result<std::unique_ptr<KvEngine>> OpenLogFiles() const { return tables_->OpenFiles(); }
  bool LogIsCopied() const { return tables_ != nullptr; }
  EngineStats LogStats() const { return tables_ != nullptr ? tables_->Stats() : log_->Stats(); }  // where log() is not null
  const Status& log_failure() const { return log_failure_; }
  const Status& data_failure() const { return data_failure_; }

 private:
  OfflineStore() = default;
  std::string path_;
  std::string log_path_;
  StoreManifest manifest_;
  Unfinished unfinished_;
  std::uint64_t cache_bytes_ = 0;        // of each instance
  std::unique_ptr<KvEngine> log_;        // null with tables_
  std::shared_ptr<LogInTables> tables_;  // may be null
  std::unique_ptr<KvEngine> data_;
  Status log_failure_;
  Status data_failure_;
};

// Whether `recover --accept-data-loss` can give up what keeps the store's log from being opened: bytes of its files are wrong. What
// is missing, or damaged otherwise, only a salvage goes around.
bool LogCanBeGivenUp(const std::string& path, const OfflineOptions& options);

// Whether an open of the store to read would get through its files: the engine takes both instances, and each table of the log can be
// read to its end. Reads those tables, and holds no rows of the log.
bool CanBeOpenedToRead(const std::string& path, const OfflineOptions& options);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_OFFLINE_STORE_H_
