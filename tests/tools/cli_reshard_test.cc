#include <gmock/gmock.h>

#include <csignal>
#include <filesystem>

#include "chronolith/storage.h"
#include "tests/ops/rich_store.h"
#include "tests/support/directory_image.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;
using testing_support::LookAtTree;
namespace fs = std::filesystem;

class CliReshard : public CliTest {
 protected:
  // With histograms, exemplars, metadata, deletes, late samples; part of it in the log only.
  void Fill(int series = 40, int samples = 200) {
    const auto store = Storage::Open({}, db_).value();
    testing_support::FillRichStore(store.get(), series, samples);
    ASSERT_EQ(store->Close(), Status::Ok());
    content_ = Export(db_);
    ASSERT_GT(content_.size(), 10'000U);
  }
  static std::string Export(const std::string& db) {
    const ProcessResult result = Cli({"export", "--db", db, "--to", "jsonl"});
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return result.out;
  }
  ProcessResult Reshard(const std::string& from, const std::string& to, int shards, std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"reshard", from, to, "--shards", std::to_string(shards), "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  // One that pauses for ever as soon as a part of the copy is synced.
  std::vector<std::string> Slow() const {
    return Command({"reshard", db_, target_, "--shards", "3", "--io-limit", "1", "--progress", "plain"});
  }
  static bool HasSynced(const std::string&, const std::string& err) { return err.find("synced ") != std::string::npos; }

  const std::string target_ = Path("new");
  std::string content_;
};

TEST_F(CliReshard, FromSixteenToThreeToThirtyOneAllIsThere) {
  Fill();
  const auto before = LookAtTree(db_);
  const ProcessResult looked = Reshard(db_, target_, 3, {"--dry-run"});
  ASSERT_EQ(looked.exit_code, kOk) << looked.err;
  EXPECT_FALSE(fs::exists(target_));
  EXPECT_THAT(looked.err, HasSubstr("its log holds"));
  EXPECT_THAT(looked.err, HasSubstr("may need"));
  const ProcessResult three = Reshard(db_, target_, 3);
  ASSERT_EQ(three.exit_code, kOk) << three.err;
  EXPECT_EQ(LookAtTree(db_), before);
  const nlohmann::json dry = Json(looked);
  const nlohmann::json done = Json(three);
  EXPECT_EQ(dry["dry_run"], true);
  EXPECT_EQ(done["dry_run"], false);
  EXPECT_EQ(done["source"]["shards"], 16);
  EXPECT_EQ(done["target"]["shards"].size(), 3U);
  EXPECT_EQ(done["total"], dry["total"]);
  EXPECT_GT(dry["source"]["log_bytes"], 10'000) << "part of it is only there";
  EXPECT_FALSE(done["source"].contains("log_bytes"));
  EXPECT_GT(dry["room_needed"], dry["source"]["log_bytes"]);
  EXPECT_GT(dry["room_free"], dry["room_needed"]);
  std::uint64_t samples = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_EQ(done["target"]["shards"][k]["series"], dry["target"]["shards"][k]["series"]);
    EXPECT_GT(done["target"]["shards"][k]["disk_bytes"], 0);
    EXPECT_GT(dry["target"]["shards"][k]["chunk_bytes"], 0);
    samples += done["target"]["shards"][k]["samples"].get<std::uint64_t>();
  }
  EXPECT_EQ(samples, done["total"]["samples"]);
  EXPECT_EQ(Export(target_), content_);
  const std::string many = Path("many");
  const ProcessResult table = Cli({"reshard", target_ + "/", many, "--shards", "31"});
  ASSERT_EQ(table.exit_code, kOk) << table.err;
  EXPECT_EQ(Lines(table.out).size(), 1U + 31 + 1);
  EXPECT_THAT(table.out, HasSubstr("disk bytes"));
  EXPECT_THAT(table.err, HasSubstr("compared with"));
  EXPECT_EQ(Export(many), content_);
  EXPECT_EQ(Json(Cli({"stat", "--db", many, "--format", "json"}))["shards"].size(), 31U);
  // It is a database like any other.
  EXPECT_EQ(Cli({"import", "--db", many, "--input-format", "prometheus"}, "more 1 1700000000000\n").exit_code, kOk);
  EXPECT_EQ(Cli({"compact", many}).exit_code, kOk);
}

TEST_F(CliReshard, KilledInTheMiddleTimeAndAgainTheSameCommandGoesOn) {
  Fill(60, 5'000);
  std::uint64_t synced = 0;
  for (int i = 0; i < 4; ++i) {
    Subprocess slow(Slow());
    ASSERT_TRUE(slow.WaitUntil(HasSynced)) << slow.err();
    slow.Kill(SIGKILL);
    const ProcessResult killed = slow.Wait();
    ASSERT_EQ(killed.signal, SIGKILL);
    const std::uint64_t now = std::strtoull(killed.err.c_str() + killed.err.find("synced ") + 7, nullptr, 10);
    EXPECT_GT(now, synced) << "it went on where the one before was";
    synced = now;
    EXPECT_FALSE(fs::exists(target_));
    EXPECT_EQ(Export(db_), content_);
  }
  const ProcessResult done = Reshard(db_, target_, 3);
  ASSERT_EQ(done.exit_code, kOk) << done.err;
  EXPECT_EQ(Json(done)["series_resumed"], synced);
  EXPECT_EQ(Export(target_), content_);
  EXPECT_FALSE(fs::exists(target_ + ".resharding"));
}

TEST_F(CliReshard, InterruptedItSaysHowToGoOn) {
  Fill(20, 5'000);
  for (const int signal : {SIGINT, SIGTERM}) {
    Subprocess slow(Slow());
    ASSERT_TRUE(slow.WaitUntil(HasSynced)) << slow.err();
    slow.Kill(signal);
    const ProcessResult result = slow.Wait();
    EXPECT_EQ(result.exit_code, kFailure);
    EXPECT_THAT(result.err, HasSubstr("the same command goes on"));
    EXPECT_EQ(result.out, "");
  }
  EXPECT_EQ(Reshard(db_, target_, 4).exit_code, kFailure) << "to another number of shards";
  const ProcessResult done = Reshard(db_, target_, 4, {"--restart"});
  ASSERT_EQ(done.exit_code, kOk) << done.err;
  EXPECT_EQ(Export(target_), content_);
}

TEST_F(CliReshard, AWriterAndItTurnEachOtherAway) {
  Fill();
  {
    Subprocess slow(Slow());
    ASSERT_TRUE(slow.WaitUntil(HasSynced)) << slow.err();
    const ProcessResult writer = Import("n 1 1700000000000\n", {"--input-format", "prometheus"});
    EXPECT_EQ(writer.exit_code, kFailure);
    EXPECT_THAT(writer.err, HasSubstr("LOCK"));
    EXPECT_EQ(Export(db_), content_) << "readers go on";
    const ProcessResult second = Reshard(db_, target_, 3);
    EXPECT_EQ(second.exit_code, kFailure);
    EXPECT_THAT(second.err, HasSubstr("reshards to " + target_));
  }
  Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "-"}));
  std::string text;
  for (int i = 0; i < 50'000; ++i)
    text += "n{i=\"" + std::to_string(i % 50) + "\"} 1 " + std::to_string(1'700'000'000'000 + i) + "\n";
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 10'000; }));
  const ProcessResult refused = Reshard(db_, target_, 3);
  EXPECT_EQ(refused.exit_code, kFailure);
  EXPECT_THAT(refused.err, HasSubstr(db_ + "/data/LOCK"));
  EXPECT_EQ(Reshard(db_, target_, 3, {"--dry-run"}).exit_code, kOk) << "beside a writer";
  EXPECT_EQ(writer.Wait().exit_code, kOk);
}

TEST_F(CliReshard, ATargetThatExistsADamagedSourceAndWrongArgumentsAreRefused) {
  Fill();
  fs::create_directory(target_);
  const ProcessResult exists = Reshard(db_, target_, 3);
  EXPECT_EQ(exists.exit_code, kFailure);
  EXPECT_THAT(exists.err, HasSubstr(target_ + " exists"));
  fs::remove(target_);
  EXPECT_EQ(Reshard(Path("none"), target_, 3).exit_code, kFailure);
  EXPECT_EQ(Reshard(db_, db_, 3).exit_code, kUsage);
  EXPECT_EQ(Reshard(db_, target_, 32).exit_code, kUsage);
  EXPECT_EQ(Cli({"reshard", db_, target_}).exit_code, kUsage);
  EXPECT_EQ(Cli({"reshard", db_, "--shards", "3"}).exit_code, kUsage);

  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);  // stores what the log holds
  for (const std::string& table : TablesOf(db_, "chunk.5")) fs::remove(table);
  for (const bool dry_run : {true, false}) {
    const ProcessResult damaged =
        Reshard(db_, target_, 3, dry_run ? std::vector<std::string>{"--dry-run"} : std::vector<std::string>());
    EXPECT_EQ(damaged.exit_code, kFailure);
    EXPECT_THAT(damaged.err, HasSubstr("shard 5"));
    EXPECT_THAT(damaged.err, HasSubstr("restore"));
    EXPECT_THAT(damaged.err, HasSubstr("salvage"));
    EXPECT_FALSE(fs::exists(target_));
    EXPECT_FALSE(fs::exists(target_ + ".resharding")) << "nothing is there to go on with";
  }
}

TEST_F(CliReshard, ADamagedLogIsNamedByFileAndBytes) {
  Fill();
  std::string log;
  for (const auto& entry : fs::directory_iterator(db_ + "/log")) {
    const std::string path = entry.path();
    if (path.ends_with(".log") && (log.empty() || entry.file_size() > fs::file_size(log))) log = path;
  }
  std::string bytes = ReadFile(log);
  ASSERT_GT(bytes.size(), 10'000U);
  bytes[bytes.size() / 2] ^= 0x10;
  std::ofstream(log, std::ios::binary) << bytes;
  // Also where it is a copy of it that is recovered.
  for (const char* const limit : {"256MiB", "64KiB"}) {
    const ProcessResult damaged = Reshard(db_, target_, 3, {"--memory-limit", limit});
    EXPECT_EQ(damaged.exit_code, kFailure);
    EXPECT_THAT(damaged.err, HasSubstr("log is damaged in " + log + ", bytes ")) << limit;
    EXPECT_THAT(damaged.err, ::testing::Not(HasSubstr("chronolith-recover-"))) << limit;
    EXPECT_FALSE(fs::exists(target_));
    EXPECT_EQ(ReadFile(log), bytes);
  }
}

}  // namespace
}  // namespace chronolith::testing
