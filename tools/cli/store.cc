#include "tools/cli/store.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <cstdio>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

#include "chronolith/file_log_archiver.h"
#include "chronolith/metrics.h"
#include "ops/context.h"
#include "ops/offline_store.h"
#include "ops/writing_store.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/progress.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

namespace {

// Of the memory limit. Of a log that takes more, or whose rows do in memory, a copy is recovered.
constexpr std::uint64_t kLogPart = 64;
constexpr std::uint64_t kHeldPart = 2;  // the rest is for the answer, the log's memtables and the program itself
constexpr char kReadingInterrupted[] = "interrupted while the log was read; nothing was changed";

// A message that is the same as the one before is left out: an open that is tried again meets the same damage.
class StderrLogger : public Logger {
 public:
  explicit StderrLogger(LogLevel least) : least_(least) {}
  void Log(LogLevel level, std::string_view message) override {
    static constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
    if (level < least_ || (least_ > LogLevel::kInfo && IsOfFullDisk(message))) return;
    {
      const std::lock_guard lock(mu_);
      if (message == last_) return;
      last_ = message;
    }
    if (level == LogLevel::kError) NoteLoggedError(message);
    std::fprintf(stderr, "chronolith: %s: %.*s\n", kNames[static_cast<int>(level)], static_cast<int>(message.size()),
                 message.data());
  }

 private:
  // The command that meets it says so, once, and what to do.
  static bool IsOfFullDisk(std::string_view message) {
    const bool ours = message.starts_with("rocksdb: ") || message.starts_with("the log failed") ||
                      message.starts_with("the log waits for room") || message.starts_with("background upkeep: ");
    return ours && ops::IsOfFullDisk(ResourceExhausted(std::string(message)));
  }

  const LogLevel least_;
  std::mutex mu_;
  std::string last_;
};

}  // namespace

void AddStoreFlags(CLI::App* command, StoreFlags* flags, bool positional) {
  command->add_option(positional ? "DIR,--db" : "--db", flags->db, "directory of the database")->required()->option_text("DIR");
  command->add_option("--log-dir", flags->log_dir, "directory of its log, where it is not DIR/log")->option_text("DIR");
  command->add_option("--engine", flags->engine, "storage engine (rocksdb)")->option_text("NAME");
  command->add_flag("-v,--verbose", flags->verbose, "tell on stderr what the store does");
}

void AddMemoryLimit(CLI::App* command, std::uint64_t* bytes) {
  const std::uint64_t preset = *bytes > 0 ? *bytes : Options().memory_limit_bytes;
  command->add_option("--memory-limit", *bytes, "bound on memory, such as 512MiB (" + std::to_string(preset >> 20) + "MiB)")
      ->transform(CLI::AsSizeValue(false))
      ->option_text("BYTES");
}

void AddArchiveFlag(CLI::App* command, StoreFlags* flags) {
  command
      ->add_option("--archive", flags->archive,
                   "directory that keeps what leaves the log, for restores to any moment; made where it is missing. All that write "
                   "to this database must name it")
      ->option_text("ARCHIVE");
}

void AddWriterFlags(CLI::App* command, StoreFlags* flags) {
  AddStoreFlags(command, flags);
  command->add_option("--shards", flags->shards, "shards of a new database, 1 to 31 (16)")
      ->check(CLI::Range(1, 31))
      ->option_text("N");
  AddMemoryLimit(command, &flags->memory_limit);
  command
      ->add_option("--metrics-port", flags->metrics_port,
                   "serve Prometheus metrics on this port of 127.0.0.1 while running; 0: any")
      ->check(CLI::Range(0, 65535))
      ->option_text("PORT");
  AddArchiveFlag(command, flags);
}

Options MakeOptions(const StoreFlags& flags) {
  Options options;
  options.log_path = flags.log_dir;
  options.engine = flags.engine;
  if (flags.shards > 0) options.shards = flags.shards;
  if (flags.memory_limit > 0) options.memory_limit_bytes = ops::StoreMemoryBytes(flags.memory_limit);
  options.logger = std::make_shared<StderrLogger>(flags.verbose ? LogLevel::kDebug : LogLevel::kWarning);
  return options;
}

Result<Options> MakeWriterOptions(const StoreFlags& flags) {
  Options options = MakeOptions(flags);
  options.backpressure_wait_ms = ops::kPatienceMs;
  if (flags.archive.empty()) return options;
  FileLogArchiverOptions archive;
  archive.store = flags.db;
  archive.logger = options.logger;
  Result<std::shared_ptr<LogArchiver>> archiver = OpenFileLogArchiver(flags.archive, archive);
  if (!archiver.ok()) return archiver.status();
  options.log_archiver = std::move(*archiver);
  return options;
}

Status ArchiveAll(const StoreFlags& flags, Storage* storage) {
  if (flags.archive.empty()) return Status::Ok();
  if (Status s = storage->Checkpoint(); !s.ok()) return s.WithContext("archiving the log");
  // What the archive refuses stays in the log, and is no error of the checkpoint's.
  std::uint64_t waiting = 0;
  for (const ShardStats& shard : storage->Stats().shards) waiting += shard.wal_archive_backlog_bytes;
  if (waiting == 0) return Status::Ok();
  return IoError("the archive " + flags.archive + " has not taken " + std::to_string(waiting) +
                 " bytes, which stay in the log (warnings above say why); the next command with --archive gives them again");
}

int FinishWriting(const StoreFlags& flags, Storage* storage, int code) {
  const bool failed = code == kExitFailure;
  const auto tell = [&](const Status& status) {
    const Status told = ops::OfFullDisk(status, flags.db);
    const bool known = failed && (ops::IsOfFullDisk(told) || InterruptFlag()->load());
    return known ? int{kExitFailure} : Fail(told);
  };
  // What the archive lacks stays in the log for the next.
  if (!failed || !InterruptFlag()->load()) {
    if (Status s = ArchiveAll(flags, storage); !s.ok()) code = tell(s);
  }
  if (Status s = storage->Close(); !s.ok()) code = tell(s.WithContext("close"));
  return code;
}

namespace {

Options ReadingOptions(const StoreFlags& flags) {
  Options options = MakeOptions(flags);
  if (flags.memory_limit == 0) options.memory_limit_bytes = ops::StoreMemoryBytes(kToolMemoryBytes);
  options.read_only = true;
  options.create_if_missing = false;
  return options;
}

// What is copied beside a writer may lack what came and went while it was held, as a backup's files.
constexpr int kCopiesMax = 5;

struct CopyAttempt {
  bool beside_writer = false;  // what is wrong may be so only of the copy
  bool refused = false;        // it could not be recovered
  std::string wrong;           // in it; "": nothing
};

// Beside a writer a copy with shards in quarantine is taken only where the one before was `wrong` in the same way, else kDataLoss.
// kFailedPrecondition: the database is being opened by a process that gives up what was lost.
Status ReadOneCopy(const StoreFlags& flags, const Options& options, const ops::OpsContext& context, const std::string& wrong,
                   ReadStore* opened, CopyAttempt* attempt) {
  auto copy = ops::RecoveredCopy::Prepare(flags.db, flags.log_dir, context, "", ops::Rehearsal::Writer::kMayGoOn);
  attempt->beside_writer = copy.status().code() == StatusCode::kUnavailable;
  if (!copy.ok()) return copy.status();
  attempt->beside_writer = (*copy)->BesideWriter();
  {
    const EndsAtOnce interruptible("interrupted while a copy of the log was stored; nothing was changed",
                                   [&copy] { (*copy)->Remove(); });
    if (Status s = (*copy)->Recover(context); !s.ok()) {
      attempt->refused = s.code() != StatusCode::kCancelled && !ops::IsOfFullDisk(s);
      attempt->wrong = s.message();
      return s;
    }
  }
  for (const ShardStats& shard : (*copy)->found().shards) attempt->wrong += shard.quarantine;
  attempt->wrong = (*copy)->OfSource(DataLoss(attempt->wrong)).message();
  if (attempt->beside_writer && attempt->wrong != wrong && !attempt->wrong.empty()) return DataLoss(attempt->wrong);
  auto storage = Storage::Open((*copy)->OptionsOf(options), (*copy)->path());
  if (!storage.ok()) return (*copy)->OfSource(storage.status());
  opened->copy = std::move(*copy);
  opened->storage = std::move(*storage);
  return Status::Ok();
}

// *refused: no copy can be recovered.
Status ReadCopy(const StoreFlags& flags, const Options& options, const ops::OpsContext& context, ReadStore* opened, bool* refused) {
  std::string wrong;
  for (int n = 1;; ++n) {
    CopyAttempt attempt;
    Status s = ReadOneCopy(flags, options, context, wrong, opened, &attempt);
    *refused = attempt.refused && (!attempt.beside_writer || attempt.wrong == wrong);
    const bool passes =
        s.code() == StatusCode::kUnavailable || s.code() == StatusCode::kDataLoss || s.code() == StatusCode::kIoError;
    if (!passes || *refused || !attempt.beside_writer || n == kCopiesMax) return s;
    wrong = attempt.wrong;
  }
}

std::uint64_t LimitOf(const StoreFlags& flags) { return flags.memory_limit == 0 ? kToolMemoryBytes : flags.memory_limit; }

// A copy, or where none can be stored the database itself, whatever that takes: but not to find that it cannot be opened either.
Result<ReadStore> OpenCopyOrAll(const StoreFlags& flags, const Options& options, bool quiet) {
  ReadStore opened;
  ops::OpsContext context;
  WorkProgress progress(quiet);
  context.memory_limit_bytes = LimitOf(flags);
  context.cancelled = InterruptFlag();
  context.progress = &progress;
  if (flags.verbose) context.logger = MakeOptions(flags).logger;  // else the database itself says what it met
  bool refused = false;
  const Status copied = ReadCopy(flags, options, context, &opened, &refused);
  if (opened.storage != nullptr) return opened;
  if (copied.code() == StatusCode::kCancelled) return copied;
  if (refused && !ops::CanBeOpenedToRead(flags.db, {.log_path = flags.log_dir})) return copied;
  auto storage = OpenShowingReplay(options, flags.db);
  if (!storage.ok()) return storage.status();
  opened.storage = std::move(*storage);
  std::fprintf(stderr, "chronolith: warning: --memory-limit may be passed, as no copy of the log could be stored: %s\n",
               copied.message().c_str());
  return opened;
}

}  // namespace

StorageStats ReadStore::Stats() const {
  StorageStats stats = storage->Stats();
  const auto of_source = [this](std::string* text) { *text = OfSource(DataLoss(*text)).message(); };
  for (ShardStats& shard : stats.shards) {
    of_source(&shard.quarantine);
    of_source(&shard.scrub_damage);
  }
  for (EngineStats* engine : {&stats.log_engine, &stats.data_engine}) {
    for (FamilyStats& family : engine->families) of_source(&family.damage);
  }
  return stats;
}

Result<ReadStore> OpenForReading(const StoreFlags& flags) { return OpenForReading(flags, ReadingOptions(flags)); }

Result<ReadStore> OpenForReading(const StoreFlags& flags, const Options& options) {
  if (ops::LogBytes(flags.db, flags.log_dir) <= LimitOf(flags) / ops::kLogHeldPart) {
    ReplayBar bar;
    Options shown = options;
    shown.on_replay = bar.Callback();
    const EndsAtOnce interruptible(kReadingInterrupted);
    auto storage = ops::OpenToRead(shown, flags.db, LimitOf(flags) / kHeldPart);
    if (storage.ok()) {
      ReadStore opened;
      opened.storage = std::move(*storage);
      return opened;
    }
    if (storage.status().code() != StatusCode::kResourceExhausted) return storage.status();
  }
  return OpenCopyOrAll(flags, options, false);
}

Result<ReadStore> OpenForReadingAll(const StoreFlags& flags, bool quiet) {
  const Options options = ReadingOptions(flags);
  if (ops::LogBytes(flags.db, flags.log_dir) > LimitOf(flags) / kLogPart) return OpenCopyOrAll(flags, options, quiet);
  ReadStore opened;
  auto storage = OpenShowingReplay(options, flags.db);
  if (!storage.ok()) return storage.status();
  opened.storage = std::move(*storage);
  return opened;
}

Result<std::unique_ptr<Storage>> OpenShowingReplay(Options options, const std::string& db) {
  // An open may be cut off anywhere, as by a crash.
  const EndsAtOnce interruptible(options.read_only ? kReadingInterrupted
                                                   : "interrupted while the log was replayed; nothing is lost, and the same "
                                                     "command begins anew");
  ReplayBar bar;
  options.on_replay = bar.Callback();
  return Storage::Open(options, db);
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::Start(const StoreFlags& flags, const Storage* storage) {
  if (flags.metrics_port < 0) return std::unique_ptr<MetricsServer>();
  std::unique_ptr<MetricsServer> server(new MetricsServer);
  const std::string address = "127.0.0.1:" + std::to_string(flags.metrics_port);
  try {
    server->exposer_ = std::make_unique<prometheus::Exposer>(address, 1);
    server->collectable_ = MakeCollectable(storage);
    server->exposer_->RegisterCollectable(server->collectable_);
  } catch (const std::exception& e) {
    return IoError("cannot serve metrics on " + address + ": " + e.what());
  }
  std::fprintf(stderr, "metrics: http://127.0.0.1:%d/metrics\n", server->exposer_->GetListeningPorts().at(0));
  return server;
}

MetricsServer::~MetricsServer() = default;

}  // namespace chronolith::cli
