// A file system for RocksDB that loses power and fails calls. It works on real files and remembers beside them what of it a power
// loss could take: bytes that no sync of their file covered, and names that no sync of their directory covered.
//
// What it takes for durable: the bytes that a file had when a Sync or Fsync of it began; names (created, renamed, linked, removed)
// when their directory was synced. RangeSync and Close make nothing durable. A sync that failed leaves what it should have covered
// lost for ever, as Linux does: a later one that succeeds does not bring it back. Directories themselves are taken for durable.
//
// What of the rest is left is drawn anew for each file and directory: nothing, a prefix, everything, or, of log files, any sectors
// of 512 or 4096 bytes, the others being zeroes. Names are lost from the newest backwards, as a file system with a journal does:
// RocksDB relies on that where it points CURRENT to a new MANIFEST.
#ifndef CHRONOLITH_TESTS_CRASH_FAULTY_DISK_H_
#define CHRONOLITH_TESTS_CRASH_FAULTY_DISK_H_

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace chronolith {

enum class FaultKind : std::uint8_t { kIoError, kShortWrite, kNoSpace };

// The call number `at`, counted from 1, fails; `for_good`: all later ones too. A short write writes half of the bytes; where the
// call is no write, each kind is an error without effect, and reads fail with kIoError.
struct Fault {
  std::uint64_t at = 0;
  FaultKind kind = FaultKind::kIoError;
  bool for_good = false;
};

// What is left of what was not durable.
enum class Leftover : std::uint8_t { kNothing, kPrefix, kSubset, kEverything, kAny };

// Thread safety: safe, but for LosePower, during which no file may be open.
class FaultyDisk : public rocksdb::FileSystemWrapper {
 public:
  // `aside`: a directory of its own, on the same file system, for files that were removed and may come back.
  explicit FaultyDisk(std::string aside);
  ~FaultyDisk() override;
  const char* Name() const override { return "FaultyDisk"; }

  // Valid as long as this object.
  rocksdb::Env* env() { return env_.get(); }

  // The power fails at the `n`-th change from now on (write, sync, name): it and all later ones are errors. 0: never.
  void PowerOffAt(std::uint64_t n);
  bool powered_off() const;
  std::uint64_t changes() const;  // since PowerOffAt
  // Makes the files what a power loss at this moment (or when the power failed) could leave. Afterwards the power is on.
  void LosePower(std::mt19937_64* rng, Leftover leftover = Leftover::kAny);

  // The files are as they are, however they came to be: somebody else has replaced them.
  void Forget();

  void Inject(Fault fault);  // counts calls from now on; at = 0: none
  std::uint64_t calls() const;
  // The first call that failed by Inject, such as "Append /tmp/db/log/000004.log"; empty: none.
  std::string failed_call() const;

  // What the wrapped files call. `what` names the call; `changes`: it is one that a power loss may undo.
  rocksdb::IOStatus Pass(const char* what, const std::string& path, bool changes);
  bool TakesShortWrite(const rocksdb::IOStatus& s) const;

  rocksdb::IOStatus NewSequentialFile(const std::string& name, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewRandomAccessFile(const std::string& name, const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewRandomRWFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSRandomRWFile>* file, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& name, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetChildren(const std::string& name, const rocksdb::IOOptions& options, std::vector<std::string>* children,
                                rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetFileSize(const std::string& name, const rocksdb::IOOptions& options, std::uint64_t* size,
                                rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Truncate(const std::string& name, std::size_t size, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;

  // A file that exists under some name, or did.
  struct Node {
    std::string real;  // where its bytes are
    std::uint64_t size = 0;
    std::uint64_t synced = 0;  // a prefix
    bool lost = false;         // a sync of it failed
  };
  using NodePtr = std::shared_ptr<Node>;
  void NoteAppend(Node* node, std::uint64_t bytes);
  void NoteTruncate(Node* node, std::uint64_t size);
  std::uint64_t SizeOf(const Node& node) const;
  void NoteSync(Node* node, std::uint64_t size);  // of so many bytes
  void NoteFailedSync(Node* node);
  void NoteDirectorySync(const std::string& directory);

 private:
  struct Change {
    std::string path;
    NodePtr before;  // nullptr: no such name
    NodePtr after;
  };
  using Changes = std::vector<Change>;  // happen together

  void ForgetLocked();
  NodePtr Find(const std::string& path);
  void SetAside(const std::string& path, Node* node);
  void Record(const std::string& directory, Changes changes);
  std::map<std::string, NodePtr> NamesLeft(std::mt19937_64* rng, Leftover leftover) const;

  const std::string aside_;
  std::unique_ptr<rocksdb::Env> env_;
  mutable std::mutex mu_;                                 // and everything below
  std::map<std::string, NodePtr> names_;                  // as they are now; of others nothing is known to be lost
  std::map<std::string, std::vector<Changes>> unsynced_;  // by directory
  std::uint64_t set_aside_ = 0;
  std::uint64_t changes_ = 0;
  std::uint64_t power_off_at_ = 0;
  bool off_ = false;
  std::uint64_t calls_ = 0;
  Fault fault_;
  std::string failed_call_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_CRASH_FAULTY_DISK_H_
