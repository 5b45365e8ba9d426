// Copies of a store beside the process that writes to it: of one moment, whatever the writer does with its files meanwhile.
#include "ops/held_store.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "ops/recovered_copy.h"
#include "storage/store_directory.h"
#include "tests/storage/store_fixture.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr Timestamp kT = 1'700'000'000'000;
constexpr int kSeries = 40;

class HeldStoreTest : public ::testing::Test {
 protected:
  HeldStoreTest() : store_("rocksdb") { fs::create_directory(parent()); }

  std::string parent() { return store_.directory() / "parent"; }
  std::string data() const { return DataInstancePath(store_.path()); }
  std::string log() const { return store_.path() + "/log"; }
  static std::shared_ptr<EngineFactory> Factory() { return EngineRegistry::Default()->Find("rocksdb").value(); }

  void Write(int from) {
    for (int s = 0; s < kSeries; ++s) {
      TimeSeries series = MakeSeries({{"__name__", "n"}, {"s", std::to_string(s)}}, {});
      for (int i = from; i < from + 50; ++i) series.samples.push_back({kT + i, 0.37 * i * s});
      ASSERT_TRUE(store_->Write(series).ok());
    }
  }
  // Tables of the data, some more than one that compaction leaves.
  void Fill() {
    store_.Open();
    for (int i = 0; i < 4; ++i) {
      Write(100 * i);
      store_.Checkpoint();
    }
  }
  static std::vector<std::string> Tables(const std::string& directory) {
    std::vector<std::string> tables;
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().extension() == ".sst") tables.push_back(entry.path());
    }
    return tables;
  }
  static std::vector<std::pair<std::string, std::string>> Rows(const std::string& directory, const StoreManifest& manifest) {
    std::vector<std::pair<std::string, std::string>> rows;
    EngineOptions options = DataInstanceOptions(manifest);
    options.read_only = true;
    const auto engine = Factory()->Open(directory, options);
    EXPECT_TRUE(engine.ok()) << engine.status().ToString();
    if (!engine.ok()) return rows;
    for (FamilyId family = 0; family < options.families.size(); ++family) {
      const auto it = (*engine)->NewIterator(family, {}).value();
      for (it->Seek(""); it->Valid(); it->Next()) rows.emplace_back(it->key(), it->value());
      EXPECT_TRUE(it->status().ok()) << it->status().ToString();
    }
    return rows;
  }
  Result<std::unique_ptr<RecoveredCopy>> Prepare(Rehearsal::Writer writer) {
    return RecoveredCopy::Prepare(store_.path(), "", context_, parent(), writer);
  }
  // What the copy shows; empty where it is not whole.
  Contents ReadRecovered(const RecoveredCopy& copy) {
    Options options;
    options.read_only = true;
    options.create_if_missing = false;
    auto opened = Storage::Open(copy.OptionsOf(options), copy.path());
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    return opened.ok() ? chronolith::Read(opened->get()) : Contents();
  }

  TestStore store_;
  OpsContext context_;
};

// Those that lose their names before they are copied, and those that do afterwards.
TEST_F(HeldStoreTest, TablesThatTheWriterRemovesAreReadAllTheSame) {
  Fill();
  store_.Close();  // nothing compacts them meanwhile
  const StoreManifest manifest = ReadStoreManifest(store_.path()).value();
  const auto rows = Rows(data(), manifest);
  ASSERT_THAT(rows, Not(IsEmpty()));
  const Result<HeldStore> held = HoldStore(Factory().get(), data(), log());
  ASSERT_TRUE(held.ok()) << held.status().ToString();
  const std::vector<std::string> tables = Tables(data());
  ASSERT_GT(tables.size(), 2U);
  fs::remove(tables[0]);
  HeldTables open;
  const std::string copy = parent() + "/data";
  ASSERT_EQ(CopyHeldFiles(held->data, data(), copy, context_, &open), Status::Ok());
  EXPECT_EQ(open.size(), tables.size() - 1);
  EXPECT_FALSE(fs::is_symlink(copy + "/" + fs::path(tables[0]).filename().string()));
  for (const std::string& table : tables) fs::remove(table);
  EXPECT_EQ(Rows(copy, manifest), rows);
}

TEST_F(HeldStoreTest, ALogIsHeldWithAllThatWasLogged) {
  Fill();
  Write(1000);
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(log())) bytes += entry.path().extension() == ".log" ? entry.file_size() : 0;
  const Result<HeldInstance> held = HoldLog(Factory().get(), log());
  ASSERT_TRUE(held.ok()) << held.status().ToString();
  std::uint64_t of_logs = 0;
  for (const InstanceFile& file : held->files) of_logs += file.name.ends_with(".log") ? file.bytes : 0;
  EXPECT_EQ(of_logs, bytes);
  EXPECT_GE(held->CopiedBytes(), bytes);
}

TEST_F(HeldStoreTest, ARecoveredCopyHasWhatWasLoggedWhenItWasMade) {
  Fill();
  Write(1000);
  EXPECT_EQ(Prepare(Rehearsal::Writer::kIsRefused).status().code(), StatusCode::kFailedPrecondition);
  const Contents before = store_.Read();
  auto copy = Prepare(Rehearsal::Writer::kMayGoOn);
  ASSERT_TRUE(copy.ok()) << copy.status().ToString();
  EXPECT_TRUE((*copy)->BesideWriter());
  Write(2000);
  store_.Checkpoint();
  store_.Compact();
  ASSERT_EQ((*copy)->Recover(context_), Status::Ok());
  EXPECT_EQ(ReadRecovered(**copy), before);
  const Contents after = store_.Read();
  EXPECT_NE(after, before);
  copy->reset();
  EXPECT_TRUE(fs::is_empty(parent()));
  store_.Restart();
  EXPECT_EQ(store_.Read(), after) << "the copy changed the store";
  store_.Close();
  copy = Prepare(Rehearsal::Writer::kMayGoOn);
  ASSERT_TRUE(copy.ok()) << copy.status().ToString();
  EXPECT_FALSE((*copy)->BesideWriter());
  EXPECT_FALSE(store_.TryOpen().ok()) << "without a writer none may come";
}

TEST_F(HeldStoreTest, NoCopyOfWhatIsNotWholeYet) {
  Fill();
  std::ofstream(store_.path() + "/UNFINISHED") << "x";
  EXPECT_EQ(Prepare(Rehearsal::Writer::kMayGoOn).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(fs::is_empty(parent()));
}

}  // namespace
}  // namespace chronolith::ops
