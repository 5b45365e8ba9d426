// A table of the log that cannot be read, of a database whose log is stored: it costs nothing that is stored, and nothing that
// another shard has logged.
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class CliLogTable : public CliTest {
 protected:
  void Fill() {
    std::string text = "# TYPE n gauge\n";
    for (int i = 0; i < 40; ++i) {
      for (int s = 0; s < 50; ++s) {
        text += "n{i=\"" + std::to_string(i) + "\"} " + std::to_string(i * s) + " " +
                std::to_string(1'700'006'400'000 + s * 60'000) + "\n";
      }
    }
    ASSERT_EQ(Import(text, {"--shards", "4", "--input-format", "prometheus"}).exit_code, kOk);
    ASSERT_EQ(Cli({"compact", db_}).exit_code, kOk);
    healthy_ = Exported(db_);
    ASSERT_EQ(healthy_.size(), 40U);
    for (const auto& entry : fs::directory_iterator(db_ + "/log")) {
      if (entry.path().extension() == ".sst") tables_.push_back(entry.path().filename());
    }
    ASSERT_GE(tables_.size(), 4U);
  }
  static std::vector<std::string> Exported(const std::string& db) {
    std::vector<std::string> lines = Lines(Cli({"export", "--db", db, "--to", "jsonl"}).out);
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  enum class How { kRows, kProperties, kCut, kGone };
  std::string Damaged(const std::string& table, How how) const {
    const std::string source = Path("damaged");
    fs::remove_all(source);
    fs::copy(db_, source, fs::copy_options::recursive);
    const std::string file = source + "/log/" + table;
    if (how == How::kRows) {
      FlipByte(file, 0);
    } else if (how == How::kProperties) {
      FlipByte(file, 0.5);
    } else if (how == How::kCut) {
      fs::resize_file(file, fs::file_size(file) - 10);
    } else {
      fs::remove(file);
    }
    EXPECT_EQ(Cli({"export", "--db", source, "--to", "jsonl"}).exit_code, kFailure) << "others refuse it";
    return source;
  }

  // The tables that were given up.
  static std::vector<std::string> Kept(const std::string& source) {
    std::vector<std::string> kept;
    for (const auto& entry : fs::recursive_directory_iterator(source + "/log")) {
      if (entry.path().parent_path().filename().string().starts_with("damaged-")) kept.push_back(entry.path().filename());
    }
    return kept;
  }
  void ForEachDamage(const std::function<void(const std::string&, How)>& check) const {
    for (const std::string& table : tables_) {
      for (const How how : {How::kRows, How::kProperties, How::kCut, How::kGone}) {
        SCOPED_TRACE(table + ", damage " + std::to_string(static_cast<int>(how)));
        check(table, how);
      }
    }
  }

  std::vector<std::string> healthy_;
  std::vector<std::string> tables_;
};

TEST_F(CliLogTable, SalvageListsWhatItsShardMayHaveLostAndNoMore) {
  Fill();
  ForEachDamage([this](const std::string& table, How how) {
    const std::string source = Damaged(table, how);
    const std::string target = Path("target");
    fs::remove_all(target);
    const ProcessResult result = Cli({"salvage", source, target, "--format", "json"});
    const nlohmann::json report = nlohmann::json::parse(result.out);
    EXPECT_EQ(result.exit_code, report["lost_total"] == 0 ? kOk : kProblems) << result.err;
    EXPECT_LE(report["lost_total"], 1) << report.dump();
    EXPECT_THAT(result.out, Not(HasSubstr("is empty")));
    for (const auto& lost : report["lost"]) {
      EXPECT_EQ(lost["kind"], "log");
      EXPECT_TRUE(lost.contains("shard"));
      EXPECT_THAT(lost["what"].get<std::string>(), HasSubstr(table));
    }
    EXPECT_EQ(Exported(target), healthy_);
    EXPECT_EQ(Cli({"verify", target}).exit_code, kOk);
  });
}

// A sound copy of a log says nothing of what was taken out of it.
TEST_F(CliLogTable, SalvageListsWhatAnInterruptedOpenHadGivenUp) {
  Fill();
  const std::string target = Path("target");
  WriteFile("db/UNFINISHED", "1 1t 3t \n");
  const std::string told = "what was behind the end of its log may be lost: part of its log was given up";
  const ProcessResult dry = Cli({"salvage", db_, "--dry-run"});
  EXPECT_EQ(dry.exit_code, kProblems) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr(told));
  EXPECT_EQ(Cli({"salvage", db_, "--dry-run", "--format", "json"}).exit_code, kProblems);
  const ProcessResult result = Cli({"salvage", db_, target, "--format", "json"});
  EXPECT_EQ(result.exit_code, kProblems) << result.err;
  const nlohmann::json report = nlohmann::json::parse(result.out);
  ASSERT_EQ(report["lost_total"], 2) << report.dump();
  for (const std::size_t i : {0U, 1U}) {
    const nlohmann::json& lost = report["lost"][i];
    EXPECT_EQ(lost["kind"], "log");
    EXPECT_EQ(lost["shard"], i == 0 ? 1 : 3);
    EXPECT_THAT(lost["what"].get<std::string>(), HasSubstr(told));
  }
  EXPECT_EQ(Exported(target), healthy_);
  EXPECT_EQ(Cli({"verify", target}).exit_code, kOk);
}

TEST_F(CliLogTable, RecoverGivesItUpAndKeepsTheFile) {
  Fill();
  ForEachDamage([this](const std::string& table, How how) {
    const std::string source = Damaged(table, how);
    EXPECT_EQ(Cli({"recover", source}).exit_code, kFailure) << "not without being told to";
    const ProcessResult dry = Cli({"recover", source, "--accept-data-loss", "--dry-run"});
    const ProcessResult result = Cli({"recover", source, "--accept-data-loss", "--yes", "--format", "json"});
    EXPECT_EQ(dry.exit_code, result.exit_code) << dry.err;
    ASSERT_TRUE(result.exit_code == kOk || result.exit_code == kProblems) << result.err;
    std::size_t told = 0;
    const nlohmann::json report = nlohmann::json::parse(result.out);
    for (const auto& shard : report["shards"]) {
      EXPECT_EQ(shard["quarantine"], "");
      EXPECT_TRUE(shard["lost"].empty()) << shard.dump();
      told += shard["uncertain_from"] != 0 ? 1 : 0;
    }
    EXPECT_EQ(told, result.exit_code == kOk ? 0U : 1U) << result.out;
    EXPECT_EQ(Exported(source), healthy_);
    EXPECT_EQ(Cli({"recover", source}).exit_code, kOk) << "it is not met again";
    EXPECT_EQ(Cli({"verify", source}).exit_code, kOk);
    EXPECT_EQ(Kept(source), how == How::kGone ? std::vector<std::string>() : std::vector<std::string>{table});
  });
}

// A link to itself: the system gives an error, and says nothing of the bytes.
TEST_F(CliLogTable, AnErrorThatMayPassGivesUpNothing) {
  Fill();
  const std::string source = Damaged(tables_[0], How::kProperties);
  const std::string file = source + "/log/" + tables_[1];
  fs::rename(file, Path("away"));
  fs::create_symlink(file, file);
  for (const char* how : {"--yes", "--dry-run"}) {
    const ProcessResult result = Cli({"recover", source, "--accept-data-loss", how});
    EXPECT_EQ(result.exit_code, kFailure);
    EXPECT_THAT(result.err, HasSubstr(tables_[1]));
  }
  EXPECT_FALSE(fs::exists(source + "/UNFINISHED"));
  EXPECT_TRUE(Kept(source).empty());
  fs::remove(file);
  fs::rename(Path("away"), file);
  EXPECT_NE(Cli({"recover", source, "--accept-data-loss", "--yes"}).exit_code, kFailure);
  EXPECT_EQ(Exported(source), healthy_);
  EXPECT_EQ(Kept(source), std::vector<std::string>{tables_[0]}) << "the other one was whole all the time";
}

}  // namespace
}  // namespace chronolith::testing
