// A ShardedWAL over the memory engine: a small language to write records, read the log back, hold the engine's calls, and crash.
//
// Records are floor records: their timestamp is the payload that a test recognises.
#ifndef CHRONOLITH_TESTS_WAL_WAL_FIXTURE_H_
#define CHRONOLITH_TESTS_WAL_WAL_FIXTURE_H_

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "plugins/memory/memory_engine.h"
#include "tests/support/gate.h"
#include "wal/sharded_wal.h"

namespace chronolith {

class FixedClock : public Clock {
 public:
  std::int64_t NowMs() const override { return 1'700'000'000'000; }
};

// What a log holds, by LSN: the timestamp of floor records, and of epoch records the negative of the epoch.
using LogContents = std::map<Lsn, std::int64_t>;

class CollectingVisitor : public WalVisitor {
 public:
  Status OnRecord(ShardId, Lsn lsn, const WalRowHeader&, const RecordView& record) override {
    std::int64_t value = 0;
    EpochRecord epoch;
    switch (record.type) {
      case RecordType::kEpoch:
        if (Status status = DecodeEpoch(record.body, &epoch); !status.ok()) return status;
        value = -static_cast<std::int64_t>(epoch.epoch);
        break;
      case RecordType::kFloor:
        if (Status status = DecodeFloor(record.body, &value); !status.ok()) return status;
        break;
      default:
        break;
    }
    if (!contents.emplace(lsn, value).second) return DataLoss("LSN " + std::to_string(lsn) + " was delivered twice");
    return Status::Ok();
  }
  LogContents contents;
};

// The adversary of a test, with the gates hooked in.
struct HostileEngine {
  explicit HostileEngine(AdversarialOptions options = {}) {
    options.on_call = [this](EngineMethod method, const std::string&) {
      if (method == EngineMethod::kWrite) writes.Pass();
      if (method == EngineMethod::kWrite && no_room) return ResourceExhausted("no room");
      if (method == EngineMethod::kSyncLog) syncs.Pass();
      return Status::Ok();
    };
    factory = MakeAdversarialMemoryEngineFactory(std::move(options));
  }
  Gate writes;
  Gate syncs;
  std::atomic<bool> no_room{false};  // writes are refused, behind the gate
  std::shared_ptr<MemoryEngineFactory> factory;
};

struct TestWalOptions {
  std::uint64_t ring_bytes = 256 << 10;
  std::int64_t sync_interval_ms = 0;            // no background sync: a test decides
  std::int64_t backpressure_wait_ms = 240'000;  // nobody is refused because the machine is slow
  std::shared_ptr<LogArchiver> archiver = nullptr;
  std::uint64_t archive_backlog_bytes = 0;
  std::function<void()> on_stalled = nullptr;
};

// One opening of the log at "log". Open may be called again after Close or a crash.
class TestWal {
 public:
  explicit TestWal(HostileEngine* hostile, std::uint32_t shards = 1, TestWalOptions options = {})
      : hostile_(hostile), shards_(shards), options_(options) {}
  ~TestWal() { Close(); }

  // Replays, begins a new epoch and starts the log. `contents` (may be null) receives what there was.
  Status Open(std::vector<LogContents>* contents = nullptr) {
    EngineOptions options;
    options.instance = InstanceRole::kLog;
    for (std::uint32_t i = 0; i < shards_; ++i)
      options.families.push_back({"wal." + std::to_string(i), FamilyRole::kWal, nullptr, nullptr});
    Result<std::unique_ptr<KvEngine>> opened = hostile_->factory->Open("log", options);
    if (!opened.ok()) return opened.status();
    engine = std::move(*opened);
    std::vector<FamilyId> families;
    for (std::uint32_t i = 0; i < shards_; ++i) families.push_back(i);
    wal = std::make_unique<ShardedWAL>(engine.get(), families,
                                       ShardedWALOptions{.ring_bytes = options_.ring_bytes,
                                                         .commit_interval_ms = 1,
                                                         .sync_interval_ms = options_.sync_interval_ms,
                                                         .backpressure_wait_ms = options_.backpressure_wait_ms,
                                                         .clock = std::make_shared<FixedClock>(),
                                                         .archiver = options_.archiver,
                                                         .archive_backlog_bytes = options_.archive_backlog_bytes,
                                                         .on_stalled = options_.on_stalled});
    if (contents != nullptr) contents->assign(shards_, {});
    for (std::uint32_t i = 0; i < shards_; ++i) {
      Result<Epoch> epoch = engine->CurrentEpoch(i);
      if (!epoch.ok()) return epoch.status();
      if (Status status = engine->AcquireEpoch(i, *epoch + 1); !status.ok()) return status;
      CollectingVisitor visitor;
      std::vector<std::pair<Lsn, std::uint64_t>> rows;
      WalEnd end;
      if (Status status = ReadWal(engine.get(), i, i, 0, nullptr, &visitor, &rows, &end); !status.ok()) return status;
      const Lsn next = std::max(end.last_lsn, end.trimmed_to) + 1;
      wal->Restore(i, end, next, *epoch + 1, rows);
      if (contents != nullptr) (*contents)[i] = std::move(visitor.contents);
      std::string record;
      AppendEpochRecord(*epoch + 1, next - 1, &record);
      Write(i, record);
    }
    replayed_ = true;
    wal->Start();
    return wal->WaitSynced(wal->Ticket(), kNoDeadline);
  }

  // Whether Open came as far as its first commit.
  bool replayed() const { return replayed_; }

  void Close() {
    if (wal != nullptr) (void)wal->Stop();
    wal.reset();
    engine.reset();
  }

  // Publishes one record; 0 where there was no room. Any thread.
  Lsn Write(ShardId shard, std::string_view record, Deadline deadline = kNoDeadline, Status* status = nullptr) {
    const Status reserved = wal->Reserve(shard, record.size(), deadline);
    if (status != nullptr) *status = reserved;
    if (!reserved.ok()) return 0;
    MutexLock lock(&append_locks_[shard]);
    return wal->shard(shard).Append(record, 1);
  }
  Lsn Put(ShardId shard, std::int64_t value, Deadline deadline = kNoDeadline, Status* status = nullptr) {
    std::string record;
    AppendFloorRecord(value, &record);
    return Write(shard, record, deadline, status);
  }

  // OnReached as a caller of the log has it: exactly one run of `done`.
  void Watch(CommitToken token, AckLevel level, std::function<void(Status)> done) {
    if (const std::optional<Status> decided = wal->OnReached(token, level, &done)) done(*decided);
  }

  LogContents Read(ShardId shard, WalEnd* end = nullptr) {
    CollectingVisitor visitor;
    WalEnd ignored;
    const Status status = ReadWal(engine.get(), shard, shard, 0, nullptr, &visitor, nullptr, end == nullptr ? &ignored : end);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return std::move(visitor.contents);
  }

  ShardStats Stats(ShardId shard = 0) {
    ShardStats stats;
    wal->FillStats(shard, &stats);
    return stats;
  }

  std::unique_ptr<KvEngine> engine;
  std::unique_ptr<ShardedWAL> wal;

 private:
  HostileEngine* const hostile_;
  const std::uint32_t shards_;
  const TestWalOptions options_;
  bool replayed_ = false;
  std::array<Mutex, 32> append_locks_;
};

// A deadline that has passed already: whoever must wait is refused at once.
inline Deadline Past() { return std::chrono::steady_clock::now() - std::chrono::seconds(1); }

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_WAL_WAL_FIXTURE_H_
