// VerifyChecksums of the RocksDB engine: every byte of every live file counts, and nothing that is merely being written or removed
// is taken for damage. Bits are flipped in the files of an engine that is open.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "plugins/rocksdb/rocksdb_engine.h"
#include "tests/contract/engine_fixture.h"
#include "tests/support/directory_image.h"
#include "tests/support/files.h"
#include "tests/support/verify_files.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

class RocksDbVerify : public testing::Test {
 protected:
  static EngineOptions Options(InstanceRole role) {
    EngineOptions options;
    options.instance = role;
    options.write_buffer_bytes = 16UL << 20;
    options.families = {{"meta", FamilyRole::kMeta, nullptr, nullptr}, {"index", FamilyRole::kIndex, nullptr, nullptr}};
    return options;
  }
  void Open(InstanceRole role) {
    engine_.reset();
    auto opened = factory_->Open(path_, Options(role));
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    engine_ = std::move(*opened);
  }
  // Rows [from, to) of a family, of some hundred different bytes each.
  void Write(FamilyId family, int from, int to, Durability durability = Durability::kLogged) {
    for (int i = from; i < to; ++i) {
      const std::string key = std::to_string(100'000 + i);
      std::string value;
      for (std::uint64_t x = static_cast<std::uint64_t>(i) + 1; value.size() < 300 + static_cast<std::size_t>(i % 7) * 400;) {
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        value.append(reinterpret_cast<const char*>(&x), sizeof(x));
      }
      const Op op = PutOp(key, value);
      const Batch batch{family, key, 0, std::span(&op, 1)};
      ASSERT_TRUE(engine_->Write(std::span(&batch, 1), {.durability = durability}).at(0).ok());
    }
  }
  std::vector<std::string> Files(const std::string& extension) const {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (entry.path().extension() == extension) files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  std::string Manifest() const {
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (entry.path().filename().string().starts_with("MANIFEST")) return entry.path().string();
    }
    return "";
  }
  // Each of some bytes of the file, the first and the last among them, is found out and named while it is wrong.
  void ExpectFound(FamilyId family, const std::string& path, std::uint64_t step) {
    SCOPED_TRACE(path);
    const std::uint64_t size = fs::file_size(path);
    ASSERT_GT(size, 0U);
    const std::string name = fs::path(path).filename().string();
    std::vector<std::uint64_t> places = {size - 1};
    for (std::uint64_t at = 0; at < size; at += step) places.push_back(at);
    for (const std::uint64_t at : places) {
      const int bit = static_cast<int>(at % 8);
      FlipBitInPlace(path, at, bit);
      Verification found;
      EXPECT_EQ(found.Run(engine_.get(), family).code(), StatusCode::kDataLoss) << "byte " << at << " of " << size;
      ASSERT_EQ(found.damages.size(), 1U) << "byte " << at << " of " << size;
      EXPECT_EQ(found.damages[0].first, name);
      EXPECT_NE(found.damages[0].second.message().find(path), std::string::npos) << found.damages[0].second.message();
      FlipBitInPlace(path, at, bit);
    }
    const Status sound = VerifyFiles(engine_.get(), family);
    EXPECT_TRUE(sound.ok()) << sound.ToString();
  }

  TempDirectory directory_;
  const std::string path_ = directory_ / "db";
  const std::shared_ptr<EngineFactory> factory_ = MakeRocksDbEngineFactory();
  std::unique_ptr<KvEngine> engine_;
};

TEST_F(RocksDbVerify, AnyByteOfATableCounts) {
  Open(InstanceRole::kData);
  Write(1, 0, 40, Durability::kBuffered);
  ASSERT_TRUE(engine_->Flush(1).ok());
  ASSERT_EQ(Files(".sst").size(), 1U);
  ExpectFound(1, Files(".sst")[0], 97);
  EXPECT_TRUE(VerifyFiles(engine_.get(), 0).ok());
}

TEST_F(RocksDbVerify, AnyByteOfWhatFamiliesShareCounts) {
  Open(InstanceRole::kLog);
  ASSERT_TRUE(engine_->AcquireEpoch(1, 1).ok());
  const FamilyId family = 1;
  ASSERT_TRUE(engine_->Flush(std::span(&family, 1)).ok());  // of the epochs too, whose rows are in no family of ours
  const std::vector<std::string> tables = Files(".sst");
  ASSERT_EQ(tables.size(), 1U);
  ExpectFound(kSharedFiles, tables[0], 53);
  ExpectFound(kSharedFiles, path_ + "/CURRENT", 1);
  ExpectFound(kSharedFiles, Manifest(), 3);
}

TEST_F(RocksDbVerify, AnyByteOfTheLogCountsUpToItsLastWrite) {
  Open(InstanceRole::kLog);
  for (int life = 0; life < 3; ++life) {
    Write(1, life * 50, life * 50 + 50);
    if (life < 2) Open(InstanceRole::kLog);
  }
  const std::vector<std::string> logs = Files(".log");
  ASSERT_EQ(logs.size(), 3U);  // of three openings
  for (const std::string& log : logs) ExpectFound(kSharedFiles, log, 1201);
  fs::resize_file(logs[2], fs::file_size(logs[2]) - 1);
  EXPECT_EQ(VerifyFiles(engine_.get(), kSharedFiles).code(), StatusCode::kDataLoss);
}

TEST_F(RocksDbVerify, AllDamagedFilesAreTold) {
  Open(InstanceRole::kData);
  ASSERT_TRUE(engine_->Compact(1, "", std::nullopt).ok());
  for (int i = 0; i < 3; ++i) {
    Write(1, i, i + 1, Durability::kBuffered);
    ASSERT_TRUE(engine_->Flush(1).ok());
  }
  const std::vector<std::string> tables = Files(".sst");
  ASSERT_EQ(tables.size(), 3U);
  FlipBitInPlace(tables[0], 10, 3);
  fs::resize_file(tables[1], fs::file_size(tables[1]) - 1);
  fs::remove(tables[2]);
  Verification found;
  EXPECT_EQ(found.Run(engine_.get(), 1).code(), StatusCode::kDataLoss);
  ASSERT_EQ(found.damages.size(), 3U);
  EXPECT_NE(found.damages[0].second.message().find("checksum"), std::string::npos);
  EXPECT_NE(found.damages[1].second.message().find("bytes instead of"), std::string::npos);
  EXPECT_NE(found.damages[2].second.message().find("is missing"), std::string::npos);
}

TEST_F(RocksDbVerify, WhatIsBeingWrittenIsNoDamage) {
  Open(InstanceRole::kLog);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 0; !stop; ++i) {
      Write(1, i, i + 1);
      const bool flushed = i % 64 != 63 || engine_->Flush(1).ok();
      const bool compacted = i % 512 != 511 || engine_->Compact(1, "", std::nullopt).ok();
      EXPECT_TRUE(flushed && compacted);
    }
  });
  std::set<std::string> files;
  for (int i = 0; i < 2000 && files.size() < 60; ++i) {
    Verification found;
    for (const FamilyId family : {FamilyId{1}, kSharedFiles}) {
      const Status s = found.Run(engine_.get(), family);
      EXPECT_TRUE(s.ok()) << s.ToString();
    }
    files.insert(found.files.begin(), found.files.end());
  }
  stop = true;
  writer.join();
  EXPECT_GE(files.size(), 3U);
}

TEST_F(RocksDbVerify, FilesThatAreReplacedMeanwhileAreNoDamage) {
  Open(InstanceRole::kData);
  for (int i = 0; i < 3; ++i) {
    Write(1, i * 10, i * 10 + 10, Durability::kBuffered);
    ASSERT_TRUE(engine_->Flush(1).ok());
  }
  const std::vector<std::string> before = Files(".sst");
  ASSERT_EQ(before.size(), 3U);
  Verification found;
  bool compacted = false;
  found.go_on = [&] {
    if (compacted) return true;
    compacted = true;
    return engine_->Compact(1, "", std::nullopt).ok();
  };
  const Status s = found.Run(engine_.get(), 1);
  EXPECT_TRUE(s.ok()) << s.ToString();
  EXPECT_EQ(found.files.size(), 1U);
  for (const std::string& file : before) EXPECT_FALSE(fs::exists(file)) << "it was kept";
}

TEST_F(RocksDbVerify, WhatAKillTearsOffIsNoDamageOfALogButWhatIsGoneOfAnOwnOneIs) {
  Open(InstanceRole::kLog);
  Write(1, 0, 10);
  const std::string first = Files(".log").at(0);
  const std::string killed = directory_ / "killed";
  testing_support::CopyAtOneMoment(path_, killed);
  fs::remove(killed + "/LOCK");
  fs::resize_file(first, fs::file_size(first) - 3);
  EXPECT_EQ(VerifyFiles(engine_.get(), kSharedFiles).code(), StatusCode::kDataLoss);
  const std::string torn = killed + "/" + fs::path(first).filename().string();
  fs::resize_file(torn, fs::file_size(torn) - 3);
  auto reopened = factory_->Open(killed, Options(InstanceRole::kLog));
  ASSERT_TRUE(reopened.ok()) << reopened.status().ToString();
  ASSERT_TRUE(fs::exists(torn));
  const Status s = VerifyFiles(reopened->get(), kSharedFiles);
  EXPECT_TRUE(s.ok()) << s.ToString();
  FlipBitInPlace(torn, 200, 1);
  EXPECT_EQ(VerifyFiles(reopened->get(), kSharedFiles).code(), StatusCode::kDataLoss);
}

TEST_F(RocksDbVerify, LargeFilesAreReadInPiecesAndStopBetweenThem) {
  Open(InstanceRole::kData);
  Write(1, 0, 2000, Durability::kBuffered);
  ASSERT_TRUE(engine_->Flush(1).ok());
  Verification all;
  ASSERT_TRUE(all.Run(engine_.get(), 1).ok());
  EXPECT_EQ(all.bytes, fs::file_size(Files(".sst").at(0)));
  EXPECT_GT(all.bytes, 1U << 20);
  EXPECT_LE(all.largest_piece, 256U << 10);
  Verification some;
  some.go_on = [&] { return some.bytes < 500'000; };
  EXPECT_EQ(some.Run(engine_.get(), 1).code(), StatusCode::kCancelled);
  EXPECT_LT(some.bytes, 800'000U);
}

TEST_F(RocksDbVerify, FilesWithoutAChecksumOfTheirOwnAreCheckedBlockByBlock) {
  Open(InstanceRole::kData);
  Write(1, 0, 40, Durability::kBuffered);
  ASSERT_TRUE(engine_->ExportFamily(1, directory_ / "export").ok());
  const std::string other = directory_ / "other";
  auto importer = factory_->Open(other, Options(InstanceRole::kData));
  ASSERT_TRUE(importer.ok());
  ASSERT_TRUE((*importer)->ImportFamily(1, directory_ / "export").ok());
  EXPECT_TRUE(VerifyFiles(importer->get(), 1).ok());
  for (const auto& entry : fs::directory_iterator(other)) {
    if (entry.path().extension() == ".sst") FlipBitInPlace(entry.path().string(), 500, 2);
  }
  EXPECT_EQ(VerifyFiles(importer->get(), 1).code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace chronolith
