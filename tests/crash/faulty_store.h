// A tiny store of two shards over a FaultyDisk, in a directory in memory.
#ifndef CHRONOLITH_TESTS_CRASH_FAULTY_STORE_H_
#define CHRONOLITH_TESTS_CRASH_FAULTY_STORE_H_

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "chronolith/storage.h"
#include "plugins/rocksdb/rocksdb_engine.h"
#include "tests/crash/faulty_disk.h"
#include "tests/crash/shard_model.h"
#include "tests/support/temp_directory.h"

namespace chronolith {

// Nothing happens by itself in it: no sync, no checkpoint, no compaction, no commit of what is only queued.
inline Options TinyStoreOptions() {
  Options options;
  options.shards = kModelShards;
  options.window_ms = 2000;
  options.max_samples_per_chunk = 16;
  options.sync_interval_ms = 0;
  options.commit_interval_ms = 3'600'000;
  options.backpressure_wait_ms = 20;  // where a fault leaves the engine without room
  options.checkpoint_interval_ms = 0;
  options.background_compaction = false;
  options.background_threads = 1;
  options.memory_limit_bytes = 64 << 20;
  options.block_cache_bytes = 1 << 20;
  options.postings_cache_bytes = 1 << 20;
  return options;
}

class FaultyStore {
 public:
  FaultyStore() : path_(directory_ / "db"), disk_(directory_ / "aside"), options_(TinyStoreOptions()) {
    options_.engines = std::make_shared<EngineRegistry>();
    if (!options_.engines->Register(MakeRocksDbEngineFactory(disk_.env())).ok()) std::abort();
  }

  FaultyDisk& disk() { return disk_; }
  Options& options() { return options_; }
  const std::string& path() const { return path_; }
  testing_support::TempDirectory& directory() { return directory_; }
  Storage* operator->() { return store_.get(); }
  Storage* get() { return store_.get(); }

  Status Open() {
    auto opened = Storage::Open(options_, path_);
    if (opened.ok()) store_ = std::move(*opened);
    return opened.status();
  }
  Status Close() {
    const Status status = store_->Close();
    store_.reset();
    return status;
  }
  // As a process that ends: what the engine had written stays.
  void Abandon() { store_.reset(); }
  // An empty directory in the place of the store, or the files of another.
  void StartFrom(const std::string& directory) {
    store_.reset();
    disk_.Forget();
    std::filesystem::remove_all(path_);
    if (!directory.empty()) std::filesystem::copy(directory, path_, std::filesystem::copy_options::recursive);
  }

 private:
  testing_support::TempDirectory directory_;
  const std::string path_;
  FaultyDisk disk_;
  Options options_;
  std::unique_ptr<Storage> store_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_CRASH_FAULTY_STORE_H_
