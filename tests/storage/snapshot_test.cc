// Copies of a store: each is a store of its own, and the parts of two do not make a third.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "format/store_manifest.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr Timestamp kT = 1'700'000'000'000;

StoreManifest ManifestOf(const std::string& path) {
  std::ifstream in(path + "/" + std::string(kStoreFile), std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  const std::string content = bytes.str();
  EXPECT_TRUE(content.starts_with(kStoreMagic)) << path;
  const Result<StoreManifest> manifest = DecodeManifest(std::string_view(content).substr(kStoreMagic.size()));
  EXPECT_TRUE(manifest.ok()) << manifest.status().ToString();
  return manifest.ok() ? *manifest : StoreManifest{};
}

class Snapshots : public EveryEngine {
 protected:
  Snapshots() {
    store_.Open();
    for (int i = 0; i < 20; ++i) store_.Write({{"__name__", "n"}, {"i", std::to_string(i)}}, {{kT, 1.0 * i}});
  }
  std::string Copy(const char* name) {
    const std::string path = store_.directory() / name;
    const Status status = store_->Snapshot(path);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return path;
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, Snapshots, AllEngines(), EngineName);
class SnapshotsOnDisk : public Snapshots {};
INSTANTIATE_TEST_SUITE_P(Engines, SnapshotsOnDisk, EnginesWithDirectories(), EngineName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SnapshotsOnDisk);

TEST_P(Snapshots, EachCopyHasAnIncarnationOfItsOwnAndKnowsItsParent) {
  const StoreManifest base = ManifestOf(store_.path());
  const StoreManifest a = ManifestOf(Copy("a"));
  const std::string path = Copy("b");
  const StoreManifest b = ManifestOf(path);
  EXPECT_EQ(base.incarnation, 1U);
  EXPECT_EQ(base.parent, 0U);
  for (const StoreManifest& copy : {a, b}) {
    EXPECT_EQ(copy.uuid, base.uuid);
    EXPECT_EQ(copy.parent, base.incarnation);
    EXPECT_NE(copy.incarnation, base.incarnation);
  }
  EXPECT_NE(a.incarnation, b.incarnation);

  auto opened = Storage::Open(store_.options(), path);
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  EXPECT_EQ(Read(opened->get()), store_.Read());
  const std::string second = store_.directory() / "second";
  ASSERT_TRUE((*opened)->Snapshot(second).ok());
  EXPECT_EQ(ManifestOf(second).parent, b.incarnation);
}

TEST_P(SnapshotsOnDisk, LogAndDataOfDifferentCopiesAreNotMixed) {
  const std::string a = Copy("a");
  const std::string b = Copy("b");
  store_.Close();
  const struct {
    const char* what;
    std::string log, data;
  } rows[] = {{"log of the copy", a, store_.path()}, {"data of the copy", store_.path(), a}, {"two copies", a, b}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    const std::string mixed = store_.directory() / "mixed";
    for (const std::string& manifest : {row.log, row.data}) {
      fs::create_directory(mixed);
      fs::copy(row.log + "/log", mixed + "/log", fs::copy_options::recursive);
      fs::copy(row.data + "/data", mixed + "/data", fs::copy_options::recursive);
      fs::copy(manifest + "/STORE", mixed);
      const Status status = Storage::Open(store_.options(), mixed).status();
      EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status.ToString();
      EXPECT_THAT(status.message(), HasSubstr("mixed"));
      fs::remove_all(mixed);
    }
  }
  for (const std::string& path : {store_.path(), a, b}) {  // each by itself is whole
    auto opened = Storage::Open(store_.options(), path);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    EXPECT_EQ(Read(opened->get()).size(), 20U);
  }
}

// The identity of the copy goes into its instances after they were copied, its manifest comes last: cut short anywhere, it is no
// store.
TEST(SnapshotFaults, ACopyThatWasCutShortIsNoStoreAndTheStoreGoesOn) {
  TestStore store("memory");
  store.Open();
  store.Write({{"__name__", "n"}}, {{kT, 1}});
  store.Checkpoint();
  const struct {
    EngineMethod method;
    std::uint64_t nth;
  } rows[] = {{EngineMethod::kCopy, 1}, {EngineMethod::kCopy, 2}, {EngineMethod::kOpen, 1}, {EngineMethod::kOpen, 2}};
  int n = 0;
  for (const auto& row : rows) {
    SCOPED_TRACE(n);
    const std::string copy = store.directory() / ("copy" + std::to_string(n++));
    store.memory().FailCall(row.method, row.nth, IoError("no space left"));
    const Status status = store->Snapshot(copy);
    EXPECT_EQ(status.code(), StatusCode::kIoError) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(copy));
    EXPECT_FALSE(fs::exists(copy + "/" + std::string(kStoreFile)));
    Options options = store.options();
    options.create_if_missing = false;
    EXPECT_EQ(Storage::Open(options, copy).status().code(), StatusCode::kNotFound);
    store.Write({{"__name__", "n"}}, {{kT + n, 1}});
  }
  const std::string whole = store.directory() / "whole";
  EXPECT_TRUE(store->Snapshot(whole).ok());
  auto opened = Storage::Open(store.options(), whole);
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  EXPECT_EQ(Read(opened->get()), store.Read());
}

}  // namespace
}  // namespace chronolith
