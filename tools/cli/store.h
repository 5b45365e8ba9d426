// Opening a store for a command, and the metrics port of long-running ones.
#ifndef CHRONOLITH_TOOLS_CLI_STORE_H_
#define CHRONOLITH_TOOLS_CLI_STORE_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "chronolith/result.h"
#include "chronolith/storage.h"
#include "ops/recovered_copy.h"

namespace prometheus {
class Collectable;
class Exposer;
}  // namespace prometheus

namespace chronolith::cli {

struct StoreFlags {
  std::string db;
  std::string log_dir;
  std::string engine = "rocksdb";
  bool verbose = false;
  // Of commands that write:
  int shards = 0;                  // 0: the default of Options
  std::uint64_t memory_limit = 0;  // of the process; 0: of readers kToolMemoryBytes, else the default of Options for the store
  int metrics_port = -1;           // -1: none; 0: any free one
  std::string archive;             // "": what leaves the log is gone
};

// `positional`: the directory may also be given without --db.
void AddStoreFlags(CLI::App* command, StoreFlags* flags, bool positional = false);
// What a tool takes where --memory-limit does not say.
inline constexpr std::uint64_t kToolMemoryBytes = 256ULL << 20;
// Shows what *bytes is as the default.
void AddMemoryLimit(CLI::App* command, std::uint64_t* bytes);
void AddArchiveFlag(CLI::App* command, StoreFlags* flags);
// AddStoreFlags and what only writers take: --shards, --memory-limit, --metrics-port, --archive.
void AddWriterFlags(CLI::App* command, StoreFlags* flags);

// Options from the flags; warnings go to stderr.
Options MakeOptions(const StoreFlags& flags);
// The same for a command that writes: with the log archive.
Result<Options> MakeWriterOptions(const StoreFlags& flags);
// Where there is an archive: stores what the log holds, so that the archive has it, too. Before the end of a command that wrote.
Status ArchiveAll(const StoreFlags& flags, Storage* storage);
// The end of a command that wrote and would exit with `code`: ArchiveAll, unless it was interrupted, and Close. Tells what fails,
// but not again what a command that has failed has told: that the disk is full, or that it was interrupted. Returns the exit code.
int FinishWriting(const StoreFlags& flags, Storage* storage, int code);
// Shows on stderr how replay goes.
Result<std::unique_ptr<Storage>> OpenShowingReplay(Options options, const std::string& db);

// A store that is read, within the memory limit.
struct ReadStore {
  std::unique_ptr<ops::RecoveredCopy> copy;  // may be null; goes behind the store
  std::unique_ptr<Storage> storage;

  // For who may be cut off while it reads.
  std::function<void()> CleanUp() const {
    return [this] {
      if (copy != nullptr) copy->Remove();
    };
  }
  // With the names of the database in place of those of the copy.
  StorageStats Stats() const;
  Status OfSource(const Status& status) const { return copy == nullptr ? status : copy->OfSource(status); }
};
// Read-only: works beside a process that writes. kNotFound where there is no database. Whatever of the log is not stored is held:
// where that takes more than half of the memory limit, or the log more than a quarter, a copy is recovered among temporary files
// and read instead; beside a writer one of what was logged by then, else writers are refused while it is there. Where none can be
// stored the database itself is read, with a warning, if it can be opened at all.
Result<ReadStore> OpenForReading(const StoreFlags& flags);
// The same with options of one's own, read_only among them.
Result<ReadStore> OpenForReading(const StoreFlags& flags, const Options& options);
// The same for who reads all of it, which takes more memory: with a copy where the log is more than a 64th of the memory limit.
Result<ReadStore> OpenForReadingAll(const StoreFlags& flags, bool quiet);

// Serves the store's metrics on http://127.0.0.1:port/metrics. Must be destroyed before the store is closed.
class MetricsServer {
 public:
  // Null where flags ask for none. The address goes to stderr.
  static Result<std::unique_ptr<MetricsServer>> Start(const StoreFlags& flags, const Storage* storage);
  ~MetricsServer();

 private:
  MetricsServer() = default;
  std::shared_ptr<prometheus::Collectable> collectable_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_STORE_H_
