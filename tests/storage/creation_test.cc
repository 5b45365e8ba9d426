// Creating a store: cut short anywhere it is taken up again; once it has ended, an instance that is gone is a loss.
#include <filesystem>
#include <fstream>

#include "format/store_manifest.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/files.h"

namespace chronolith {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr Timestamp kT = 1'700'000'000'000;

void ExpectUsable(TestStore* store) {
  store->Write({{"__name__", "n"}}, {{kT, 1}});
  store->Restart();
  EXPECT_EQ(store->Read().size(), 1U);
}

// The machine stops at each call of the engine that creation makes, one after the other, until it ends without having met the
// fault.
TEST(Creation, CutShortAtAnyCallOfTheEngineItIsTakenUpAgain) {
  for (const EngineMethod method : {EngineMethod::kOpen, EngineMethod::kRead, EngineMethod::kWrite, EngineMethod::kAcquireEpoch,
                                    EngineMethod::kSyncLog, EngineMethod::kFlush}) {
    for (const CrashKind crash : {CrashKind::kKill, CrashKind::kPowerLoss}) {
      std::uint64_t faults = 0;
      for (bool met = true;; ++faults) {
        SCOPED_TRACE("method " + std::to_string(static_cast<int>(method)) + ", call " + std::to_string(faults + 1));
        TestStore store("memory");
        store.memory().FailCall(method, faults + 1, IoError("the machine stops here"));
        met = !store.TryOpen().ok();
        store.memory().CrashAll(crash);
        if (!met) break;
        const Status again = store.TryOpen();
        ASSERT_TRUE(again.ok()) << again.ToString();
        ExpectUsable(&store);
        ASSERT_LT(faults, 200U);
      }
      if (method == EngineMethod::kOpen) {
        EXPECT_EQ(faults, 2U) << "two instances";
      }
      if (method == EngineMethod::kWrite) {
        EXPECT_GT(faults, 2U);
      }
      if (method == EngineMethod::kAcquireEpoch) {
        EXPECT_EQ(faults, 12U) << "three families of four shards";
      }
    }
  }
}

class CreationOnDisk : public EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, CreationOnDisk, AllEngines(), EngineName);

TEST_P(CreationOnDisk, WhatStandsAloneIsTheStartOfAStore) {
  store_.Open();
  store_.Close();
  const std::string manifest = ReadFile(store_.path() + "/STORE");
  StoreManifest begun = DecodeManifest(std::string_view(manifest).substr(kStoreMagic.size())).value();
  EXPECT_TRUE(begun.complete);
  begun.complete = false;
  TestStore other(GetParam());
  fs::create_directories(other.path());
  std::ofstream(other.path() + "/STORE", std::ios::binary) << kStoreMagic << EncodeManifest(begun);
  if (!other.is_memory()) fs::create_directory(other.path() + "/data");
  other.Open();
  ExpectUsable(&other);
  EXPECT_EQ(ReadFile(other.path() + "/STORE"), manifest);
}

TEST_P(CreationOnDisk, AStoreWhoseInstancesAreBothGoneIsNoEmptyStore) {
  store_.Open();
  store_.Write({{"__name__", "n"}}, {{kT, 1}});
  store_.Close();
  const auto refused = [&](const Options& options) {
    for (const bool read_only : {false, true}) {
      Options how = options;
      how.read_only = read_only;
      const Status status = Storage::Open(how, store_.path()).status();
      EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
      EXPECT_THAT(status.message(), HasSubstr("lost"));
    }
  };
  if (store_.is_memory()) {
    TestStore without(GetParam());  // another factory: it has none of the instances
    Options options = store_.options();
    options.engines = without.options().engines;
    refused(options);
    refused(options);
    store_.Open();
    EXPECT_EQ(store_.Read().size(), 1U);
    return;
  }
  const std::string aside = store_.directory() / "aside";
  fs::create_directory(aside);
  for (const char* instance : {"log", "data"}) {
    SCOPED_TRACE(instance);
    fs::rename(store_.path() + "/" + instance, aside + "/" + instance);
    refused(store_.options());
    fs::create_directory(store_.path() + "/" + instance);  // a mount point without its disk
    refused(store_.options());
  }
  EXPECT_TRUE(fs::is_empty(store_.path() + "/log")) << "nothing is created in the place of what was lost";
  EXPECT_TRUE(fs::is_empty(store_.path() + "/data"));
  for (const char* instance : {"log", "data"}) {
    fs::remove(store_.path() + "/" + instance);
    fs::rename(aside + "/" + instance, store_.path() + "/" + instance);
  }
  store_.Open();
  EXPECT_EQ(store_.Read().size(), 1U);
}

}  // namespace
}  // namespace chronolith
