// What a compaction takes of the disk, seen from under the engine.
#include <gtest/gtest.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "plugins/rocksdb/rocksdb_engine.h"
#include "tests/support/temp_directory.h"

namespace chronolith {
namespace {

// Counts what is asked for room in front of what is written to table files.
class PreallocationCounter : public rocksdb::FileSystemWrapper {
 public:
  PreallocationCounter() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "PreallocationCounter"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus s = FileSystemWrapper::NewWritableFile(name, options, file, debug);
    if (s.ok() && name.ends_with(".sst")) *file = std::make_unique<File>(std::move(*file), &asked);
    return s;
  }
  std::atomic<int> asked{0};

 private:
  class File : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    File(std::unique_ptr<rocksdb::FSWritableFile> file, std::atomic<int>* asked)
        : FSWritableFileOwnerWrapper(std::move(file)), asked_(asked) {}
    void PrepareWrite(std::size_t, std::size_t, const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { ++*asked_; }

   private:
    std::atomic<int>* const asked_;
  };
};

TEST(CompactionReserve, NothingIsTakenBeforeItIsNeeded) {
  const auto counter = std::make_shared<PreallocationCounter>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(counter);
  const testing_support::TempDirectory directory;
  EngineOptions options;
  options.families.push_back({"chunk", FamilyRole::kChunk});
  options.compaction_reserve = [] { return 1; };
  auto engine = MakeRocksDbEngineFactory(env.get())->Open(directory / "db", options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  const Op op{Op::Type::kPut, "key", "value"};
  const Batch batch{0, "key", 0, {&op, 1}};
  ASSERT_TRUE((*engine)->Write({&batch, 1}, {})[0].ok());
  ASSERT_TRUE((*engine)->Flush(FamilyId{0}).ok());
  const int flushed = counter->asked;
  EXPECT_GT(flushed, 0);
  ASSERT_TRUE((*engine)->Compact(0, "", std::nullopt).ok());
  EXPECT_EQ(counter->asked, flushed);
  EXPECT_TRUE((*engine)->Close().ok());
}

}  // namespace
}  // namespace chronolith
