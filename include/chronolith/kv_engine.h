// KvEngine: the contract between Chronolith and the ordered key-value store under it. Start here to write a storage engine;
// plugins/README.md walks through one, and tests/contract holds the suite that every engine passes.
//
// The contract asks only for what both an embedded LSM tree and a distributed object store can give:
//  * keys are ordered bytewise within a family; families are independent of each other;
//  * a Batch names one family and one atomicity key and is atomic; a group of batches is not, and each batch has its own outcome;
//  * an outcome can be unknown, therefore callers write idempotent rows;
//  * one writer a family: a write carries an epoch, and one older than the family's is refused with kFenced;
//  * everything is bounded: see Limits, and the deadline of each call.
// What goes beyond (merge, checkpoint, ...) is a Capability: an engine declares it, Chronolith has a fallback for each.
#ifndef CHRONOLITH_KV_ENGINE_H_
#define CHRONOLITH_KV_ENGINE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/env.h"
#include "chronolith/export.h"
#include "chronolith/result.h"
#include "chronolith/status.h"

namespace chronolith {

// What a family is for; engines choose buffer sizes, compression and filters by it.
enum class FamilyRole : std::uint8_t { kWal, kIndex, kChunk, kMeta };

// An associative fold of operands into a value. Called on engine threads: must not throw, block or call the engine.
class CHRONOLITH_EXPORT MergeFunction {
 public:
  virtual ~MergeFunction();
  virtual std::string_view Name() const = 0;  // persisted by some engines: a change of format needs a new name
  // `existing` is null where the key has no value. Operands are oldest first. False means damaged input: the read fails with
  // kDataLoss. With no `existing` the result must itself be usable as an operand of a later merge.
  virtual bool Merge(std::string_view key, const std::string_view* existing, std::span<const std::string_view> operands,
                     std::string* result) const = 0;
};

// Lets an engine drop rows when it rewrites them (compaction). Called on engine threads, concurrently.
class CHRONOLITH_EXPORT DropFilter {
 public:
  virtual ~DropFilter();
  virtual std::string_view Name() const = 0;
  virtual bool ShouldDrop(std::string_view key, std::string_view value) const = 0;
};

struct FamilySpec {
  std::string name;  // unique within the instance, e.g. "wal.3"
  FamilyRole role = FamilyRole::kMeta;
  std::shared_ptr<const MergeFunction> merge;     // null: the family takes no Merge
  std::shared_ptr<const DropFilter> drop_filter;  // null: nothing is dropped
};

// Which promise an instance is opened for. A log instance logs every write; a data instance may keep kBuffered writes in memory
// until Flush and is rebuilt from the log after a crash.
enum class InstanceRole : std::uint8_t { kLog, kData };

struct EngineOptions {
  InstanceRole instance = InstanceRole::kData;
  std::vector<FamilySpec> families;  // FamilyId is the index in this list; missing ones are created, unlisted ones refused
  bool create_if_missing = true;
  bool read_only = false;  // may be opened beside a live writer; sees what the writer had flushed or logged when it was opened
  std::uint64_t write_buffer_bytes = 64ULL << 20;  // unflushed rows of all families together
  std::uint64_t block_cache_bytes = 32ULL << 20;
  int background_threads = 2;
  std::shared_ptr<Logger> logger;  // null: silent
  // Data instances only: damage to files that belong to single families does not refuse the open; KvEngine::Damage tells of it. An
  // engine that cannot tell whose a damaged file is refuses as ever, and so does damage to what families share.
  bool quarantine = false;
  // Bytes of its disk that compactions leave free, for the log: one that would take them fails, as on a full disk. Asked, on any
  // thread, while one writes. Null: none. Engines without compactions ignore it.
  std::function<std::uint64_t()> compaction_reserve;
  std::map<std::string, std::string> extra;  // engine-specific settings; an unknown key is refused by name
};

using FamilyId = std::uint32_t;
using Epoch = std::uint64_t;
using Deadline = std::chrono::steady_clock::time_point;
inline constexpr Deadline kNoDeadline = Deadline::max();

// How far a write has come when it is acknowledged.
enum class Durability : std::uint8_t {
  kBuffered,  // in the engine's memory; lost by a crash unless Flush of its family returned before
  kLogged,    // in the engine's log: survives kill -9 of this process
  kSynced,    // on stable storage: survives power loss
};

struct Op {
  enum class Type : std::uint8_t { kPut, kDelete, kMerge, kDeleteRange };
  Type type = Type::kPut;
  std::string_view key;    // kDeleteRange: begin, inclusive
  std::string_view value;  // kDeleteRange: end, exclusive
};

// All operations of a batch become visible, and durable, together or not at all; later operations win over earlier ones.
// Views must stay valid until Write returns, or until the callback of WriteAsync runs.
struct Batch {
  FamilyId family = 0;
  std::string_view atomicity_key;  // a distributed engine places the batch by it; rows of one batch must share its placement
  Epoch epoch = 0;                 // 0: not fenced (families that never called AcquireEpoch)
  std::span<const Op> ops;
};

// One entry a batch, in order: ok, or kFenced / kResourceExhausted / kInvalidArgument / kIoError (not applied), or kUnknown
// (may or may not be applied, now or later until the epoch is raised).
using Outcomes = std::vector<Status>;
using WriteCallback = std::function<void(const Outcomes&)>;

struct EngineWriteOptions {
  Durability durability = Durability::kBuffered;
  Deadline deadline = kNoDeadline;
  // kResourceExhausted at once instead of waiting while the engine throttles writers, or could only write after it has made room on
  // its disk. The log writes so: a batch that is refused is written again, unchanged, until it is taken.
  bool no_stall = false;
};

enum class ReadTier : std::uint8_t {
  kLatest,   // everything acknowledged
  kDurable,  // only what survives power loss now; needs Capability::kReadDurable
};

struct IterateOptions {
  std::string lower;                 // inclusive; "" is the first key
  std::optional<std::string> upper;  // exclusive; none is past the last key
  bool fill_cache = true;            // false for scans that should not displace hot blocks
};

// A forward cursor over one family, seeing the family as it was when the cursor was made.
// key() and value() are valid until the next call of Seek or Next. Thread safety: one thread at a time.
// Lifetime: every cursor must be destroyed before its engine.
class CHRONOLITH_EXPORT KvIterator {
 public:
  virtual ~KvIterator();
  virtual void Seek(std::string_view key) = 0;  // first row at or after `key`, within the bounds
  virtual void Next() = 0;
  virtual bool Valid() const = 0;  // false at the end and after an error: then look at status()
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual Status status() const = 0;
};

enum class Capability : std::uint8_t {
  kMerge,         // Op::kMerge                                   else: read, fold, put
  kReadDurable,   // ReadTier::kDurable                           else: the writer tracks its Flush calls
  kCheckpoint,    // CreateCheckpoint                             else: copy through iterators
  kExportImport,  // ExportFamily, ImportFamily                   else: copy through iterators
  kVerify,        // VerifyChecksums                              else: read everything
  kExpire,        // ExpireRange drops at once                    else: drop filter and DeleteRange
};

struct Limits {
  std::uint64_t key_bytes_max = 1ULL << 10;
  std::uint64_t value_bytes_max = 64ULL << 10;
  std::uint64_t batch_bytes_max = 8ULL << 20;
};

struct FamilyStats {
  std::string name;
  std::uint64_t buffered_bytes = 0;  // not yet flushed
  std::uint64_t file_bytes = 0;
  std::uint64_t file_count = 0;
  std::uint64_t oldest_log_number = 0;  // 0: pins no log file
  // What is known to be damaged, found at open (KvEngine::Damage) or met by a compaction later: the family is not compacted any
  // more until it is opened again. "": nothing.
  std::string damage;
};

struct EngineStats {
  std::vector<FamilyStats> families;
  std::uint64_t log_bytes = 0;  // log files on disk, pinned ones included
  std::uint64_t log_files = 0;
  std::uint64_t block_cache_bytes = 0;
  std::uint64_t table_reader_bytes = 0;  // index and filter blocks outside the cache
  std::uint64_t write_stalls = 0;        // times the engine slowed or stopped writers, since open
  std::uint64_t background_errors = 0;
  bool writes_stopped = false;
};

// The files that the families of an instance share, such as its logs and manifests; for VerifyChecksums only.
inline constexpr FamilyId kSharedFiles = ~FamilyId{0};

// Told by VerifyChecksums how it goes, from the thread that called it and without locks of the engine.
class CHRONOLITH_EXPORT VerifyVisitor {
 public:
  virtual ~VerifyVisitor();
  // So many more bytes have been read; at most some 256 KiB, but for files that the engine can only check as a whole. May wait, so as
  // to pace the reading. False stops the verification.
  virtual bool OnBytes(std::uint64_t bytes) = 0;
  // The file has been read to its end.
  virtual void OnFile(std::string_view file) = 0;
  // kDataLoss (bytes are wrong, or gone) or kIoError (the device does not give them), naming the file. May come several times a file.
  virtual void OnDamage(std::string_view file, const Status& damage) = 0;
};

// Thread safety: all methods may be called concurrently, except Close. Writes of one family with one epoch are applied in the
// order in which they were submitted, also asynchronous ones.
class CHRONOLITH_EXPORT KvEngine {
 public:
  virtual ~KvEngine();

  virtual std::string_view Name() const = 0;
  virtual bool Has(Capability capability) const = 0;
  virtual Limits limits() const = 0;

  // With EngineOptions::quarantine: ok, or kDataLoss where files of the family were found missing, cut or unreadable at open; the
  // message names one, and what is wrong with it. The same until Close. Such a family is left alone, in memory and on disk: every
  // other call that names it answers this status, but for CurrentEpoch, VerifyChecksums and Stats.
  virtual Status Damage(FamilyId family) const;

  // Makes `epoch` the family's, durably (synced). kFenced where the family already has this epoch or a later one; the message
  // names it. From then on a batch with an older epoch is kFenced and changes nothing.
  virtual Status AcquireEpoch(FamilyId family, Epoch epoch) = 0;
  virtual Result<Epoch> CurrentEpoch(FamilyId family) = 0;  // 0: never acquired

  // Applies each batch. The outcomes have one entry a batch. Oversized keys, values or batches are kInvalidArgument and leave the
  // other batches alone.
  virtual Outcomes Write(std::span<const Batch> batches, const EngineWriteOptions& options) = 0;
  // As Write, without waiting; `done` runs exactly once, on any thread, possibly before this returns, and must not block.
  virtual void WriteAsync(std::span<const Batch> batches, const EngineWriteOptions& options, WriteCallback done) = 0;

  // kNotFound where the key has no value.
  virtual Status Get(FamilyId family, std::string_view key, std::string* value, ReadTier tier = ReadTier::kLatest,
                     Deadline deadline = kNoDeadline) = 0;
  // values and statuses are resized to keys.size().
  virtual void MultiGet(FamilyId family, std::span<const std::string_view> keys, std::vector<std::string>* values,
                        std::vector<Status>* statuses, Deadline deadline = kNoDeadline) = 0;
  virtual Result<std::unique_ptr<KvIterator>> NewIterator(FamilyId family, const IterateOptions& options) = 0;

  // Persists all kBuffered rows of the family written before the call (survives power loss). Waits until done.
  virtual Status Flush(FamilyId family) = 0;
  // The same for several families, which engines may do at once.
  virtual Status Flush(std::span<const FamilyId> families) = 0;
  // Makes every kLogged write acknowledged before the call kSynced. After an error: never retry, reopen.
  virtual Status SyncLog() = 0;

  // Drops rows of [begin, end), now or later; rows may stay readable until a compaction: readers must filter.
  virtual Status ExpireRange(FamilyId family, std::string_view begin, std::string_view end) = 0;
  // Rewrites the rows of [begin, end) ("" and none: all), applying the drop filter and folding merges.
  virtual Status Compact(FamilyId family, std::string_view begin, std::optional<std::string_view> end) = 0;
  // Bytes on disk of [begin, end), estimated.
  virtual Result<std::uint64_t> EstimateBytes(FamilyId family, std::string_view begin, std::string_view end) = 0;

  // A consistent copy of the whole instance in the new directory `path`, with hard links where possible, synced.
  virtual Status CreateCheckpoint(const std::string& path) = 0;
  // One family's flushed rows as files in the new directory `path`; ImportFamily fills an empty family from it.
  virtual Status ExportFamily(FamilyId family, const std::string& path) = 0;
  virtual Status ImportFamily(FamilyId family, const std::string& path) = 0;
  // Reads the files of the family that are live when it is called, or those that families share, checks every byte against its
  // checksum and goes on behind what is damaged. Files are read in an order of the engine's; those up to `after`, a name that OnFile
  // had, are left out: to go on where an earlier verification stopped. Files may come and go meanwhile; bytes that are being written are not looked at.
  // ok: all was read, whatever was found. kCancelled: the visitor stopped it. kUnavailable: a file vanished under a reader beside a
  // live writer.
  virtual Status VerifyChecksums(FamilyId family, std::string_view after, VerifyVisitor* visitor) = 0;

  virtual EngineStats Stats() const = 0;
  // Memory of rows that are not flushed, roughly; asked for each megabyte of writes. By default the sum of what Stats says.
  virtual std::uint64_t BufferedBytes() const;

  // Stops background work and releases the directory. Must be the last call. kBuffered rows that were not flushed are lost.
  virtual Status Close() = 0;
};

// A place of an instance's log whose bytes are not those that were written.
struct LogDamage {
  std::string place;       // file and bytes, for messages
  bool unwritten = false;  // as if never on the disk: the file ends within a write, or a sector or the end of a page is zeroes
  bool synced = false;     // the engine knows that the file had been synced
  bool ends_file = false;  // nothing intact follows in its file
  bool ends_log = false;   // nothing intact follows at all
};

// Decides about a damaged log, by what its rows say of each other: an engine can tell that a write is damaged, but not whether it was
// acknowledged. Calls come in this order, from one thread; views are valid during the call.
class CHRONOLITH_EXPORT LogJudge {
 public:
  virtual ~LogJudge();
  // `stored`: the instance read-only, without what only its log holds. Outlives the calls.
  virtual Status Begin(KvEngine* stored) = 0;
  // Each put into a listed family that the engine replays, in the order of the log: up to the first damage which stops the engine,
  // and where that is `synced` perhaps some of what is behind it. It may be stored, too.
  virtual void OnReplayed(FamilyId family, std::string_view key, std::string_view value);
  // After all that is replayed: each intact put into a listed family, and each damage, in the order of the log.
  virtual void OnRow(FamilyId family, std::string_view key, std::string_view value) = 0;
  virtual void OnDamage(const LogDamage& damage) = 0;
  // The damage (counted from 0) that is a torn tail: the log may be cut off before it. None: there is nothing to cut. An error: the
  // log must not be opened.
  virtual Result<std::optional<std::size_t>> Decide() = 0;
  // After Decide has said that there is nothing to cut: true where all damaged bytes are to be taken out of the log, and what is intact
  // behind them kept.
  virtual bool GivesUpDamage() const;
};

// A file of an instance, as a copy of the instance has it.
struct InstanceFile {
  std::string name;                     // within the instance's directory
  std::uint64_t bytes = 0;              // so many are of the copy; one that is appended to may have more by now
  bool immutable = false;               // never written to again, and no other file of the same instance ever has its name
  std::optional<std::uint32_t> crc32c;  // of all its bytes, as they were written; where the engine knows
};

// The files of an instance as they were at one moment, held open: a writer, in whatever process, may go on and remove them, and
// they are read all the same. Thread safety: Read may be called concurrently.
class CHRONOLITH_EXPORT HeldFiles {
 public:
  virtual ~HeldFiles();
  // Takes in what has been logged between HoldFiles and now. Quick. Before List.
  virtual Status TakeEnd() = 0;
  // What a copy consists of. Opened with these files the instance is what a crash at the moment of HoldFiles would have left, and
  // after TakeEnd what one then would have. kUnavailable: a file that belongs to them is not there; hold again, it may have come and
  // gone meanwhile.
  virtual Result<std::vector<InstanceFile>> List() = 0;
  // Of List's file number `index`: fills `buffer` from `offset` on, and returns how much there was; less only at the file's end.
  virtual Result<std::size_t> Read(std::size_t index, std::uint64_t offset, std::span<char> buffer) const = 0;
  // Gives it another name, on the same file system. Fails where it has none any more.
  virtual Status Link(std::size_t index, const std::string& to) const = 0;
};

// Opens instances of one kind of engine; registered by name in an EngineRegistry.
class CHRONOLITH_EXPORT EngineFactory {
 public:
  virtual ~EngineFactory();
  virtual std::string_view Name() const = 0;
  // `path` names a directory, or whatever the engine takes for one. kFailedPrecondition where another writer has it open.
  virtual Result<std::unique_ptr<KvEngine>> Open(const std::string& path, const EngineOptions& options) = 0;
  // To be called before an instance is opened for writing. Reads its log, locked against other writers, and returns "" where all of it
  // is intact. Else it asks `judge`, whose error is returned with nothing changed. Where the judge sees a torn tail that Open would
  // refuse, or whose bytes are wrong, the log is cut off before it; the files concerned are kept, as they were, in a directory whose
  // path is returned. What is merely missing at the end is left for Open to pass over. Where the judge gives the damage up, the files
  // are kept in the same way and then replaced, one by one, by what is intact in them.
  // kUnimplemented: the engine cannot; then Open's refusal stands.
  virtual Result<std::string> CheckLog(const std::string& path, const EngineOptions& options, LogJudge* judge);
  // The files of the instance at `path`, whether or not a process has it open, without opening or changing it; one file descriptor
  // each. kUnimplemented: its instances are not files.
  virtual Result<std::unique_ptr<HeldFiles>> HoldFiles(const std::string& path);
};

}  // namespace chronolith

#endif  // CHRONOLITH_KV_ENGINE_H_
