#include "ops/writing_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "chronolith/engine_registry.h"
#include "plugins/memory/memory_engine.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

TEST(OfFullDisk, NamesTheDirectoryOnceAndLeavesOtherErrorsAlone) {
  const testing_support::TempDirectory dir;
  const std::string words = std::strerror(ENOSPC);
  for (const Status& full : {UnknownOutcome("writing the log of 'x': " + words + ": While appending: " + words),
                             ResourceExhausted("the disk is full: " + words), IoError("cannot write y: " + words)}) {
    const Status told = OfFullDisk(full, dir.path());
    EXPECT_EQ(told.code(), StatusCode::kResourceExhausted);
    EXPECT_TRUE(told.message().starts_with("the disk of " + dir.path() + " is full, ")) << told.ToString();
    EXPECT_TRUE(told.message().ends_with(": free space")) << told.ToString();
    EXPECT_EQ(told.message().find(words), std::string::npos) << told.ToString();
    EXPECT_TRUE(IsOfFullDisk(full));
    EXPECT_TRUE(IsOfFullDisk(told));
  }
  const Status low = ResourceExhausted("the disk of d has 1 bytes left: writes are taken from 2 on: free space");
  EXPECT_EQ(OfFullDisk(low, dir.path()), low);
  EXPECT_TRUE(IsOfFullDisk(low));
  for (const Status& other : {Status::Ok(), IoError("broken"), ResourceExhausted("the memory is used up"), Cancelled("interrupted"),
                              DataLoss("series {error=\"" + words + "\"} differs")}) {
    EXPECT_EQ(OfFullDisk(other, dir.path()), other);
    EXPECT_FALSE(IsOfFullDisk(other));
  }
}

class WritingStore : public ::testing::Test {
 protected:
  Options OptionsOf(std::string log_path = "") {
    AdversarialOptions adversary;
    adversary.on_call = [this](EngineMethod method, const std::string& path) {
      if (!no_room_ || method != EngineMethod::kWrite || path.ends_with("/data")) return Status::Ok();
      refused_ = true;
      return ResourceExhausted("no room");
    };
    Options options;
    options.engine = "memory";
    options.engines = std::make_shared<EngineRegistry>();
    EXPECT_TRUE(options.engines->Register(MakeAdversarialMemoryEngineFactory(adversary)).ok());
    options.shards = 1;
    options.log_path = std::move(log_path);
    return options;
  }

  const testing_support::TempDirectory dir_;
  std::atomic<bool> no_room_{false}, refused_{false};
};

TEST_F(WritingStore, ItsDirectoriesAreThoseOfItsManifest) {
  const std::string db = dir_ / "db";
  EXPECT_EQ(StoreDirectories(db), std::vector<std::string>{db});
  ASSERT_TRUE(Storage::Open(OptionsOf(dir_ / "log"), db).ok());
  EXPECT_EQ(StoreDirectories(db), (std::vector<std::string>{db, dir_ / "log"}));
}

// Its patience is ten minutes.
TEST_F(WritingStore, ACancelledOperationWaitsForNoRoomAndNeitherDoesClose) {
  std::atomic<bool> cancelled{false};
  OpsContext context;
  context.cancelled = &cancelled;
  auto store = OpenToWrite(OptionsOf(), dir_ / "db", context);
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  no_room_ = true;
  Status status;
  std::thread writer([&] {
    status = (*store)->Write(std::vector<TimeSeries>{{.labels = {{"__name__", "m"}}, .samples = {{1, 1.0}}}}).status;
  });
  while (!refused_) std::this_thread::yield();
  cancelled = true;
  writer.join();
  EXPECT_EQ(status.code(), StatusCode::kCancelled) << status.ToString();
  EXPECT_FALSE((*store)->Close().ok());
}

}  // namespace
}  // namespace chronolith::ops
