// Scrubs over RocksDB's files: a flipped bit in each of them, the store being open, is found and named.
#include "tests/storage/quarantine_fixture.h"

namespace chronolith {
namespace {

class ScrubFiles : public QuarantineTest {
 protected:
  // All of the store, but for what nothing reads.
  std::vector<fs::path> AllFiles() {
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

TEST_F(ScrubFiles, AFlippedBitInAnyFileIsFoundAndNamed) {
  Fill(20);
  store_.Open();
  Write(1);
  std::map<std::string, int> kinds;
  for (const fs::path& file : AllFiles()) {
    const std::string name = file.filename().string();
    const std::string kind = name == "CURRENT" || name == "STORE" ? name
                             : name.starts_with("MANIFEST")       ? "MANIFEST"
                                                                  : file.extension().string();
    for (const std::uint64_t at : {std::uint64_t{0}, fs::file_size(file) / 2, fs::file_size(file) - 1}) {
      SCOPED_TRACE(file.string() + ", byte " + std::to_string(at));
      FlipBitInPlace(file, at, 3);
      const ScrubReport report = MustScrub();
      EXPECT_TRUE(report.complete);
      EXPECT_GE(report.problems_total, 1U);
      const bool named = std::any_of(report.problems.begin(), report.problems.end(), [&](const ScrubProblem& p) {
        return p.place.ends_with(name) && p.status.message().find(file.string()) != std::string::npos;
      });
      EXPECT_TRUE(named);
      FlipBitInPlace(file, at, 3);
    }
    ++kinds[file.parent_path().filename().string() + "/" + kind];
  }
  for (const char* kind :
       {"db/STORE", "log/.log", "log/MANIFEST", "log/CURRENT", "data/.log", "data/.sst", "data/MANIFEST", "data/CURRENT"})
    EXPECT_GT(kinds[kind], 0) << kind;
  const ScrubReport sound = MustScrub();
  EXPECT_EQ(sound.problems_total, 0U) << sound.problems.front().status.ToString();
  EXPECT_EQ(store_->Stats().scrub.last_pass_problems, 0U);
  EXPECT_GT(store_->Stats().scrub.shared_errors, 0U);
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
