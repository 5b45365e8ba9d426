// Scrubs over RocksDB's files: a flipped bit in each of them, the store being open, is found and named.
#include <array>

#include "tests/storage/quarantine_fixture.h"

namespace chronolith {
namespace {

class ScrubFiles : public QuarantineTest {
 protected:
  // All of the store, but for what nothing reads.
  std::vector<fs::path> AllFiles() {
    (void)store_->Stats();  // RocksDB removes the manifest of before behind its opening, and is waited for here
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(store_.path())) {
      const std::string name = entry.path().filename().string();
      if (!entry.is_regular_file() || entry.file_size() == 0) continue;
      if (name != "IDENTITY" && !name.starts_with("OPTIONS")) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  ScrubReport MustScrub() {
    Result<ScrubReport> report = store_->Scrub();
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return report.ok() ? *report : ScrubReport();
  }
};

// One pass for all files: the pass that ends stores what it found, and RocksDB may replace some of them.
TEST_F(ScrubFiles, AFlippedBitInAnyFileIsFoundAndNamed) {
  Fill(20);
  std::map<std::string, int> kinds;
  for (int life = 0; life < 3; ++life) {
    store_.Open();
    if (life == 0) Write(1);
    std::map<fs::path, std::uint64_t> flipped;
    for (const fs::path& file : AllFiles()) {
      const std::uint64_t size = fs::file_size(file);
      flipped[file] = std::array<std::uint64_t, 3>{0, size / 2, size - 1}.at(life);
      FlipBitInPlace(file, flipped[file], 3);
    }
    const ScrubReport report = MustScrub();
    EXPECT_TRUE(report.complete);
    EXPECT_GT(store_->Stats().scrub.shared_errors, 0U);
    store_.Close();
    for (const auto& [file, at] : flipped) {
      const std::string name = file.filename().string();
      const bool named = std::any_of(report.problems.begin(), report.problems.end(), [&, &file = file](const ScrubProblem& p) {
        return p.place.ends_with(name) && p.status.message().find(file.string()) != std::string::npos;
      });
      EXPECT_TRUE(named) << file << ", byte " << at;
      if (fs::exists(file)) FlipBitInPlace(file, at, 3);
      const std::string kind = name == "CURRENT" || name == "STORE" ? name
                               : name.starts_with("MANIFEST")       ? "MANIFEST"
                                                                    : file.extension().string();
      ++kinds[file.parent_path().filename().string() + "/" + kind];
    }
  }
  for (const char* kind :
       {"db/STORE", "log/.log", "log/MANIFEST", "log/CURRENT", "data/.log", "data/.sst", "data/MANIFEST", "data/CURRENT"})
    EXPECT_GT(kinds[kind], 0) << kind;
  store_.Open();
  const ScrubReport sound = MustScrub();
  EXPECT_EQ(sound.problems_total, 0U) << sound.problems.front().status.ToString();
  EXPECT_EQ(store_->Stats().scrub.last_pass_problems, 0U);
}

// Each pass stores what it found; a log file that has it must not stay for good.
TEST_F(ScrubFiles, PassesBesideCheckpointsLeaveNoLogFilesBehind) {
  store_.Open();
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(MustScrub().complete);
    Write(1);
    store_.Checkpoint();
  }
  int logs = 0;
  for (const auto& entry : fs::directory_iterator(store_.path() + "/data")) logs += entry.path().extension() == ".log" ? 1 : 0;
  EXPECT_LE(logs, 3);
  store_.Restart();
  EXPECT_NE(store_->Stats().scrub.last_full_pass_ms, 0);
}

TEST_F(ScrubFiles, AQuarantinedShardIsPassedByAndSaidToBe) {
  Fill(20);
  const std::string file = FileOf("chunk.1");
  FlipBitInPlace(file, fs::file_size(file) - 3, 0);  // the magic number: the open meets it
  store_.Open();
  const ScrubReport report = MustScrub();
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(report.problems_total, 0U);
  EXPECT_EQ(report.quarantined, std::vector<std::uint32_t>{1});
}

TEST_F(ScrubFiles, ABadBlockIsToldOfItsShardAndTheShardGoesOn) {
  Fill(2000);
  const std::string file = FileOf("chunk.0");
  FlipBitInPlace(file, fs::file_size(file) / 2, 0);
  store_.Open();
  const ScrubReport report = MustScrub();
  ASSERT_GE(report.problems_total, 2U) << "the file, and the rows that cannot be reached";
  for (const ScrubProblem& p : report.problems) EXPECT_EQ(p.shard, std::optional<std::uint32_t>(0));
  EXPECT_THAT(report.problems[0].place, testing::StartsWith("data/"));
  EXPECT_THAT(report.problems[1].place, HasSubstr("chunk.0"));
  const StorageStats stats = store_->Stats();
  EXPECT_EQ(stats.shards[0].scrub_errors, report.problems_total);
  EXPECT_THAT(stats.shards[0].scrub_damage, HasSubstr(fs::path(file).filename().string()));
  EXPECT_EQ(stats.shards[1].scrub_errors, 0U);
  Write(1);
  store_.Checkpoint();
  EXPECT_EQ(ReadPartly(), Without(0));
  store_.Restart();
  EXPECT_EQ(store_->Stats().scrub.last_pass_problems, report.problems_total);
  EXPECT_THAT(store_->Stats().scrub.last_problems.at(0), HasSubstr(fs::path(file).filename().string()));
}

}  // namespace
}  // namespace chronolith
