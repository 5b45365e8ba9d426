// salvage as a whole: killed at each of its steps, and dry. What it makes of each kind of damage is seen through the program
// (tests/tools/cli_salvage_test.cc).
#include "ops/salvage.h"

#include <gmock/gmock.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "ops/salvage_list.h"
#include "ops/salvage_parts.h"
#include "tests/ops/rich_store.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/subprocess.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class SalvageTest : public ::testing::Test {
 protected:
  SalvageTest() : store_("rocksdb") { store_.options().shards = 3; }

  // A store that lacks a table with rows of a shard's chunks.
  void FillAndDamage() {
    store_.Open();
    testing_support::FillRichStore(store_.get(), 40, 300);
    store_.Checkpoint();
    store_.Close();
    source_ = store_.path();
    target_ = store_.directory() / "target";
    scratch_ = target_ + ".salvage";
    fs::path largest;
    for (const auto& entry : fs::directory_iterator(source_ + "/data")) {
      if (entry.path().extension() != ".sst") continue;
      if (largest.empty() || entry.file_size() > fs::file_size(largest)) largest = entry.path();
    }
    fs::remove(largest);
  }
  using Tree = std::map<std::string, std::pair<std::string, fs::file_time_type>>;
  Tree LookAt(const std::string& directory) const {
    Tree files;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      std::ostringstream text;
      if (entry.is_regular_file()) text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      files[entry.path()] = {text.str(), entry.last_write_time()};
    }
    return files;
  }
  static std::vector<std::string> Text(const SalvageReport& report) {
    std::vector<std::string> text = {SummaryJson(report)};
    for (const SalvageLoss& loss : report.losses) text.push_back(LossJson(loss));
    return text;
  }
  static Contents ContentsOf(const std::string& path) {
    Options options;
    options.read_only = true;
    options.create_if_missing = false;
    const auto store = Storage::Open(options, path);
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    return store.ok() ? Read(store->get()) : Contents();
  }

  TestStore store_;
  std::string source_, target_, scratch_;
};

TEST_F(SalvageTest, KilledAtAnyPlaceItLeavesNothingOrAWholeStoreWithItsList) {
  FillAndDamage();
  const Tree before = LookAt(source_);
  const Result<SalvageReport> reference = Salvage(source_, target_, {}, {});
  ASSERT_TRUE(reference.ok()) << reference.status().ToString();
  ASSERT_GT(reference->losses_total, 0U);
  const auto contents = ContentsOf(target_);
  fs::remove_all(target_);

  std::set<std::string> places;
  std::size_t with_target = 0;
  bool done = false;
  for (int place = 1; !done; ++place) {
    ASSERT_LT(place, 1000);
    const auto ended = chronolith::testing::RunProcess({CHRONOLITH_KILLED_SALVAGE, source_, target_, std::to_string(place)});
    std::istringstream lines(ended.err);
    std::string last;
    for (std::string line; std::getline(lines, line);) places.insert(last = line);
    SCOPED_TRACE(last);
    done = ended.signal != SIGKILL;
    ASSERT_EQ(ended.exit_code, done ? 0 : -1) << ended.err;
    if (fs::exists(target_)) {
      ++with_target;
      const Result<SalvageReport> list = ReadSalvageList(target_ + "/" + kSalvageListName);
      ASSERT_TRUE(list.ok()) << list.status().ToString();
      EXPECT_EQ(Text(*list), Text(*reference));
    }
    if (!done && fs::exists(scratch_)) {
      const Result<SalvageReport> again = Salvage(source_, target_, {}, {});
      ASSERT_TRUE(again.ok()) << again.status().ToString();
      EXPECT_EQ(Text(*again), Text(*reference));
    }
    EXPECT_EQ(ContentsOf(target_), contents);
    EXPECT_FALSE(fs::exists(scratch_));
    EXPECT_EQ(LookAt(source_), before);
    fs::remove_all(target_);
  }
  EXPECT_EQ(places, (std::set<std::string>{"opening what is left", "salvaging", "rows", "storing what was salvaged", "finishing",
                                           "step 1", "step 2", "step 3"}));
  EXPECT_EQ(with_target, 3U) << "killed behind the last two steps, and not at all";
}

TEST_F(SalvageTest, ATargetThatIsInUseIsNotTakenForWhatARunLeft) {
  FillAndDamage();
  ASSERT_TRUE(Salvage(source_, target_, {}, {}).ok());
  const Tree made = LookAt(target_);
  Result<SalvageReport> again = Salvage(source_, target_, {}, {});
  EXPECT_EQ(again.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(again.status().message(), HasSubstr(target_ + "/" + kSalvageListName));
  // A scratch directory of another source's salvage, and one that is none.
  fs::create_directories(scratch_);
  std::ofstream(scratch_ + "/SALVAGE") << "/somewhere/else\n";
  EXPECT_EQ(Salvage(source_, target_, {}, {}).status().code(), StatusCode::kFailedPrecondition);
  fs::remove(scratch_ + "/SALVAGE");
  EXPECT_EQ(Salvage(source_, target_, {}, {}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(LookAt(target_), made);
}

// As one leaves it that is killed before its last step.
TEST_F(SalvageTest, OnlyTheSameSalvageIsTakenForDone) {
  FillAndDamage();
  const Result<SalvageReport> first = Salvage(source_, target_, {.keep_unlabelled = true}, {});
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  const Tree made = LookAt(target_);
  fs::create_directories(scratch_);
  std::ofstream(scratch_ + "/SALVAGE") << source_ << "\n";
  const auto refused = [&](const SalvageOptions& options) {
    const Result<SalvageReport> other = Salvage(source_, target_, options, {});
    EXPECT_EQ(other.status().code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(other.status().message(), HasSubstr(target_ + " is not empty"));
    EXPECT_EQ(LookAt(target_), made);
  };
  refused({});
  refused({.log_path = source_ + "/log", .keep_unlabelled = true});
  fs::rename(source_, source_ + ".away");
  store_.Open();  // another database of that name
  store_.Close();
  refused({.keep_unlabelled = true});
  fs::remove_all(source_);
  fs::rename(source_ + ".away", source_);
  const Result<SalvageReport> same = Salvage(source_, target_, {.keep_unlabelled = true}, {});
  ASSERT_TRUE(same.ok()) << same.status().ToString();
  EXPECT_EQ(Text(*same), Text(*first));
  EXPECT_FALSE(fs::exists(scratch_));
  EXPECT_EQ(LookAt(target_), made);
}

TEST_F(SalvageTest, ADryRunSaysTheSameAndWritesNothing) {
  FillAndDamage();
  const Tree before = LookAt(store_.directory().path());
  const Result<SalvageReport> dry = Salvage(source_, "", {.dry_run = true}, {});
  ASSERT_TRUE(dry.ok()) << dry.status().ToString();
  EXPECT_EQ(LookAt(store_.directory().path()), before);
  const Result<SalvageReport> wet = Salvage(source_, target_, {}, {});
  ASSERT_TRUE(wet.ok()) << wet.status().ToString();
  EXPECT_EQ(Text(*dry), Text(*wet));
  EXPECT_EQ(Salvage(source_, target_, {.dry_run = true}, {}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Salvage(source_, "", {}, {}).status().code(), StatusCode::kInvalidArgument);
}

TEST(SalvageList, ReadsBackWhatItWrote) {
  SalvageReport report;
  report.source = "a \"path\"";
  report.source_store = "0123.4";
  report.log_path = "b";
  report.keep_unlabelled = true;
  report.samples = 7;
  report.losses_total = 2;
  report.notes = {"one", "\xc3\xa4"};
  report.losses = {{.kind = LossKind::kSamples,
                    .shard = 0,
                    .series = "n{i=\"1\"}",
                    .first_ordinal = 0,
                    .last_ordinal = 4'000'000'000,
                    .start = kMinTimestamp,
                    .end = kMaxTimestamp,
                    .samples = 3,
                    .what = "line\nbreak"},
                   {.kind = LossKind::kLog, .shard = 3, .first_lsn = 1, .last_lsn = ~std::uint64_t{0}, .what = ""}};
  const std::string path = ::testing::TempDir() + "/salvage_list_" + std::to_string(getpid());
  const std::string losses = LossJson(report.losses[0]) + "\n" + LossJson(report.losses[1]) + "\n";
  const std::string summary = "{" + SummaryJson(report) + "}\n";
  const auto read = [&](const std::string& text) {
    std::ofstream(path) << text;
    return ReadSalvageList(path);
  };
  const Result<SalvageReport> back = read(losses + summary);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(SummaryJson(*back), SummaryJson(report));
  ASSERT_EQ(back->losses.size(), 2U);
  EXPECT_EQ(LossJson(back->losses[0]), LossJson(report.losses[0]));
  EXPECT_EQ(LossJson(back->losses[1]), LossJson(report.losses[1]));
  for (const std::string& bad : {losses, std::string(), summary + losses, losses + "{\"kind\":\"odd\",\"what\":\"\"}\n" + summary,
                                 losses + "{\"kind\":\"log\",\"shard\":\"x\"}\n" + summary, losses + "{\"keep_unlabelled\":1}\n",
                                 summary.substr(0, summary.size() - 5)}) {
    EXPECT_EQ(read(bad).status().code(), StatusCode::kDataLoss) << bad;
    EXPECT_THAT(read(bad).status().message(), HasSubstr(path));
  }
  fs::remove(path);
  EXPECT_EQ(ReadSalvageList(path).status().code(), StatusCode::kNotFound);
}

// What a new store refuses is told, and not counted as written.
TEST(SalvageTargetTest, RefusedIsNotWritten) {
  TestStore store("memory");
  store.options().max_label_value_bytes = 4;
  store.Open();
  SalvageReport report;
  LossList losses(&report);
  SalvageTarget target(store.get(), &report, &losses);
  ASSERT_TRUE(target.Write(2, {.labels = {{"__name__", "good"}}, .samples = {{1, 1}, {2, 2}}}).ok());
  ASSERT_TRUE(target.Write(2, {.labels = {{"__name__", "too_long"}}, .samples = {{5, 1}, {3, 2}, {9, 3}}}).ok());
  ASSERT_TRUE(target.Flush().ok());
  EXPECT_EQ(report.samples, 2U);
  ASSERT_EQ(report.losses_total, 1U);
  EXPECT_EQ(report.losses[0].kind, LossKind::kRefused);
  EXPECT_EQ(report.losses[0].shard, 2U);
  EXPECT_EQ(report.losses[0].samples, 3U);
  EXPECT_EQ(report.losses[0].start, 3);
  EXPECT_EQ(report.losses[0].end, 10);
  EXPECT_THAT(report.losses[0].series, HasSubstr("too_long"));
}

}  // namespace
}  // namespace chronolith::ops
