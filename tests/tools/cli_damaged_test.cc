// Reading commands on damaged databases: figures of what could not be read whole are marked, nothing passes half for a whole, and
// the log can be read without the data.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <random>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kStart = 1'700'006'400'000;  // the start of a window of two hours
constexpr int kStored = 2000;                       // series in the tables, trimmed from the log
constexpr int kLogged = 300;                        // series that only the log has, and as many stored ones that it speaks of, too
constexpr int kEvery = 6;                           // which: every sixth
constexpr int kSamples = 24;                        // of each stored series, ten minutes apart: two windows
constexpr int kLoggedSamples = 2;                   // of each series that the log speaks of

class CliDamaged : public CliTest {
 protected:
  static std::string Name(int i) { return "n{i=\"" + std::to_string(i) + "\",job=\"j" + std::to_string(i % 7) + "\"}"; }
  // Four shards.
  void Fill() const {
    std::mt19937_64 random(1);
    std::string text = "# TYPE n gauge\n";
    for (int i = 0; i < kStored; ++i) {
      for (int s = 0; s < kSamples; ++s) {
        text += Name(i) + " " + std::to_string(static_cast<double>(random() % 1'000'000'007) / 7) + " " +
                std::to_string(kStart + s * 10 * kMinute) + "\n";
      }
    }
    const ProcessResult stored = Import(text, {"--shards", "4", "--input-format", "prometheus"});
    ASSERT_EQ(stored.exit_code, kOk) << stored.err;
    ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
    text = "# TYPE n gauge\n";
    for (int s = 0; s < kLoggedSamples; ++s) {
      for (int i = 0; i < 2 * kLogged; ++i) {
        text += Name(i < kLogged ? i * kEvery : kStored + i - kLogged) + " " + std::to_string(s) + " " +
                std::to_string(kStart + (1000 + s) * kMinute) + "\n";
      }
    }
    const ProcessResult logged = Import(text, {"--input-format", "prometheus"});
    ASSERT_EQ(logged.exit_code, kOk) << logged.err;
  }
  std::string Copy(const std::string& name) const {
    fs::copy(db_, Path(name), fs::copy_options::recursive);
    return Path(name);
  }
  static std::vector<std::string> Sorted(const std::string& text) {
    std::vector<std::string> lines = Lines(text);
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  // The line of a table that begins with `first` as a cell of its own.
  static std::string Row(const std::string& table, const std::string& first) {
    for (const std::string& line : Lines(table)) {
      if (line.starts_with(first + " ")) return line;
    }
    return "";
  }
  // Checks that of all shards only shard 1 is marked.
  static void ExpectMarked(const nlohmann::json& report, const std::string& state, const std::string& part) {
    EXPECT_EQ(report["complete"], false);
    ASSERT_EQ(report["shards"].size(), 4U);
    for (const auto& shard : report["shards"]) {
      const bool damaged = shard["shard"] == 1;
      EXPECT_EQ(shard["state"], damaged ? state : "ok");
      EXPECT_EQ(shard["complete"], !damaged);
      ASSERT_EQ(shard["errors"].size(), damaged ? 1U : 0U) << shard.dump();
      if (!damaged) continue;
      EXPECT_EQ(shard["errors"][0]["part"], part);
      EXPECT_NE(shard["errors"][0]["error"], "");
    }
    EXPECT_EQ(report["problems"].size(), 1U);
  }
};

TEST_F(CliDamaged, ABadBlockOfChunksMarksItsShard) {
  Fill();
  const nlohmann::json sound = Json(Cli({"inspect", db_, "--format", "json"}));
  EXPECT_EQ(sound["complete"], true);
  FlipByte(TableOf(db_, "chunk.1"), 0.4);

  const ProcessResult inspected = Cli({"inspect", db_, "--format", "json"});
  EXPECT_EQ(inspected.exit_code, kProblems);
  ExpectMarked(Json(inspected), "damaged: chunks", "chunks");
  for (int i = 0; i < 4; ++i) {
    const auto samples = Json(inspected)["shards"][i]["samples"].get<std::uint64_t>();
    if (i == 1) {
      EXPECT_LT(samples, sound["shards"][i]["samples"]);
    } else {
      EXPECT_EQ(samples, sound["shards"][i]["samples"]);
    }
  }
  const ProcessResult table = Cli({"inspect", db_});
  EXPECT_EQ(table.exit_code, kProblems);
  EXPECT_THAT(Row(table.out, "0"), HasSubstr(" ok "));
  EXPECT_THAT(Row(table.out, "1"), HasSubstr("damaged: chunks"));
  EXPECT_THAT(table.out, HasSubstr("lower bounds: not all of shard 1 could be read"));
  EXPECT_THAT(Cli({"inspect", db_, "--what", "windows"}).out, HasSubstr("lower bounds: not all of shard 1 could be read"));
  EXPECT_THAT(Lines(Cli({"inspect", db_, "--format", "csv"}).out).at(2), HasSubstr("1,damaged: chunks,"));

  const ProcessResult counted = Cli({"cardinality", db_, "--format", "json"});
  EXPECT_EQ(counted.exit_code, kProblems);
  const nlohmann::json cardinality = Json(counted);
  ExpectMarked(cardinality, "damaged: chunks", "chunks");
  EXPECT_EQ(cardinality["series"], kStored + kLogged) << "the index is whole";
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  for (const auto& hour : cardinality["hours"]) {
    first += hour["first_seen"].get<std::uint64_t>();
    last += hour["last_seen"].get<std::uint64_t>();
  }
  EXPECT_EQ(first, cardinality["stored_windows"][0]["new"]) << "a lower bound";
  EXPECT_EQ(last, kStored - sound["shards"][1]["series"].get<std::uint64_t>()) << "of shard 1 nobody knows which chunk is the last";
  const ProcessResult text = Cli({"cardinality", db_});
  EXPECT_THAT(text.out, ::testing::StartsWith("at least "));
  EXPECT_THAT(Row(text.out, "1"), HasSubstr("damaged: chunks"));

  const ProcessResult compacted = Cli({"compact", db_, "--dry-run", "--format", "json"});
  EXPECT_EQ(compacted.exit_code, kProblems);
  const nlohmann::json compact = Json(compacted);
  EXPECT_EQ(compact["total"]["complete"], false);
  for (const auto& shard : compact["shards"]) {
    EXPECT_EQ(shard["complete"], shard["shard"] != 1);
    EXPECT_EQ(shard["state"], shard["shard"] != 1 ? "ok" : "damaged");
    EXPECT_EQ(shard["damage"] == "", shard["shard"] != 1);
  }
  const ProcessResult plan = Cli({"compact", db_, "--dry-run"});
  EXPECT_THAT(Row(plan.out, "0"), ::testing::EndsWith(" ok"));
  EXPECT_THAT(Row(plan.out, "1"), ::testing::EndsWith(" damaged"));
  EXPECT_THAT(Row(plan.out, "total"), ::testing::EndsWith(" damaged"));
  EXPECT_THAT(plan.out, HasSubstr("and so do the totals"));
}

TEST_F(CliDamaged, ThePageMarksDamagedShardsAndLowerBounds) {
  Fill();
  const auto page = [&](int exit_code) {
    const ProcessResult result = Cli({"inspect", db_, "--html", Path("page.html"), "--overwrite"});
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    return ReadFile(Path("page.html"));
  };
  EXPECT_THAT(page(kOk), Not(::testing::AnyOf(HasSubstr("damaged"), HasSubstr("≥ "))));
  const std::string chunks = ReadFile(TableOf(db_, "chunk.1"));
  FlipByte(TableOf(db_, "chunk.1"), 0.4);
  for (const char* part : {"shard 1 damaged", "Problems", "lower bounds", "≥ "}) EXPECT_THAT(page(kProblems), HasSubstr(part));
  std::ofstream(TableOf(db_, "chunk.1"), std::ios::binary) << chunks;
  EXPECT_THAT(page(kOk), Not(HasSubstr("damaged")));
  // Only the cardinality of the page reads postings.
  FlipByte(TableOf(db_, "index.1"), 0.85);
  for (const char* part : {"shard 1 damaged", "shard 1, index", "≥ "}) EXPECT_THAT(page(kProblems), HasSubstr(part));
}

TEST_F(CliDamaged, ABadBlockOfTheIndexMarksItsShard) {
  Fill();
  FlipByte(TableOf(db_, "index.1"), 0.85);  // postings
  const ProcessResult counted = Cli({"cardinality", db_, "--format", "json"});
  EXPECT_EQ(counted.exit_code, kProblems) << counted.err;
  ExpectMarked(Json(counted), "damaged: index", "index");
  EXPECT_THAT(Row(Cli({"cardinality", db_}).out, "1"), HasSubstr("damaged: index"));
  EXPECT_THAT(Lines(Cli({"cardinality", db_, "--format", "csv"}).out).back(), Not(HasSubstr("damaged")));
  EXPECT_THAT(Cli({"cardinality", db_, "--format", "csv"}).out, HasSubstr(",damaged: index"));
}

// A compaction reads all of the index to write it anew, so its dry run reads it, too. What cardinality and inspect do not need they
// name.
TEST_F(CliDamaged, TheDryRunOfACompactionMeetsWhatTheCompactionMeets) {
  Fill();
  for (const char* family : {"index.1", "chunk.1"}) {
    for (const double where : {0.05, 0.3, 0.55, 0.7}) {
      SCOPED_TRACE(std::string(family) + " at " + std::to_string(where));
      const std::string db = Copy("hit");
      FlipByte(TableOf(db, family), where);
      const ProcessResult looked = Cli({"compact", db, "--dry-run", "--format", "json"});
      EXPECT_EQ(looked.exit_code, kProblems) << looked.err;
      for (const auto& shard : Json(looked)["shards"]) EXPECT_EQ(shard["state"], shard["shard"] == 1 ? "damaged" : "ok");
      EXPECT_EQ(Json(looked)["total"]["state"], "damaged");
      EXPECT_EQ(Cli({"compact", db}).exit_code, kProblems);
      fs::remove_all(db);
    }
  }
  for (const char* command : {"inspect", "cardinality"}) {
    for (const bool fast : {false, true}) {
      std::vector<std::string> args = {command, db_};
      if (fast) args.emplace_back("--fast");
      const std::string table = Cli(args).out;
      args.insert(args.end(), {"--format", "json"});
      const nlohmann::json unverified = Json(Cli(args))["not_verified"];
      EXPECT_THAT(table, HasSubstr("`chronolith verify` reads all"));
      EXPECT_GE(unverified.size(), 2U);
      EXPECT_EQ(unverified[1], fast ? "chunks" : "samples in chunks");
      for (const auto& part : unverified) EXPECT_THAT(table, HasSubstr(part.get<std::string>()));
    }
  }
}

TEST_F(CliDamaged, PinsDoNotSayThatAllIsStoredOfAShardThatCannotBeRead) {
  Fill();
  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  EXPECT_THAT(Cli({"inspect", db_, "--what", "pins"}).out, HasSubstr("all is stored"));
  fs::remove(TableOf(db_, "index.1"));
  const ProcessResult pins = Cli({"inspect", db_, "--what", "pins"});
  EXPECT_EQ(pins.exit_code, kProblems);
  EXPECT_THAT(pins.out, Not(HasSubstr("all is stored")));
  EXPECT_THAT(pins.out, HasSubstr("Not all of shard 1 could be read"));
  EXPECT_EQ(Json(Cli({"inspect", db_, "--what", "pins", "--format", "json"}))["complete"], false);
  EXPECT_EQ(Cli({"inspect", db_, "--html", Path("page.html"), "--overwrite"}).exit_code, kProblems);
  EXPECT_THAT(ReadFile(Path("page.html")), Not(HasSubstr("all is stored")));
  EXPECT_THAT(ReadFile(Path("page.html")), HasSubstr("Not all of shard 1 could be read"));
}

// Whatever is hit: the answer is that of the sound database, or the exit code says that it is not.
TEST_F(CliDamaged, NoReadingCommandPassesHalfForAWhole) {
  Fill();
  const std::vector<std::vector<std::string>> kCommands = {
      {"query", "--db", "", "{}", "--format", "csv"},
      {"query", "--db", "", "{job=\"j3\"}", "--format", "json"},
      {"export", "--db", "", "--to", "jsonl"},
      {"series", "--db", ""},
      {"series", "--db", "", "{job=\"j3\"}", "--metadata"},
      {"labels", "--db", ""},
      {"values", "--db", "", "i"},
      {"values", "--db", "", "job", "--format", "json"},
      {"cardinality", "", "--format", "json"},
      {"compact", "", "--dry-run", "--format", "json"},
      {"delete", "", "--match", "{job=\"j3\"}", "--dry-run"},
      {"reshard", "", Path("resharded"), "--shards", "2", "--dry-run"},
      {"dump-wal", "", "--records", "--quiet"},
      {"replay", "", "--target", "jsonl:-", "--progress", "none"},
  };
  const auto run = [](std::vector<std::string> command, const std::string& db) {
    std::replace(command.begin(), command.end(), std::string(), db);
    return Cli(command);
  };
  std::vector<std::vector<std::string>> sound;
  for (const auto& command : kCommands) {
    const ProcessResult result = run(command, db_);
    ASSERT_EQ(result.exit_code, kOk) << command[0] << result.err;
    sound.push_back(Sorted(result.out));  // replay's shards end in any order
  }
  int wrong = 0;
  for (const char* family : {"index.1", "chunk.2"}) {
    for (const double where : {0.05, 0.3, 0.55, 0.85}) {
      const std::string db = Copy(family + std::to_string(where));
      FlipByte(TableOf(db, family), where);
      for (std::size_t i = 0; i < kCommands.size(); ++i) {
        SCOPED_TRACE(std::string(family) + " at " + std::to_string(where) + ": " + ::testing::PrintToString(kCommands[i]));
        const ProcessResult result = run(kCommands[i], db);
        ASSERT_THAT(result.exit_code, ::testing::AnyOf(kOk, kFailure, kProblems)) << result.err;
        if (result.exit_code == kOk) {
          EXPECT_TRUE(Sorted(result.out) == sound[i]);
          continue;
        }
        ++wrong;
        EXPECT_THAT(result.err, ::testing::AnyOf(HasSubstr(family), HasSubstr("shard " + std::string(1, family[6])))) << result.out;
        EXPECT_TRUE(result.exit_code == kProblems || kCommands[i][0] == "reshard" ||
                    result.err.find("chronolith verify") != std::string::npos)
            << result.err;
      }
      fs::remove_all(db);
    }
  }
  EXPECT_GE(wrong, 8) << "the damage was hardly met";
}

TEST_F(CliDamaged, LabelsOutOfABadBlockCostReplayTheirSeriesOnly) {
  Fill();
  const nlohmann::json whole = Json(Cli({"replay", db_, "--target", "jsonl:" + Path("whole"), "--format", "json"}));
  FlipByte(TableOf(db_, "index.1"), 0.3);  // labels
  const ProcessResult result = Cli({"replay", db_, "--target", "jsonl:" + Path("part"), "--format", "json"});
  EXPECT_EQ(result.exit_code, kProblems) << result.err;
  const nlohmann::json part = Json(result);
  EXPECT_EQ(part["items"], whole["items"]);
  EXPECT_GT(part["refused"], 0);
  EXPECT_EQ(part["sent"].get<int>() + part["refused"].get<int>(), whole["sent"]) << "all others are sent";
  EXPECT_GT(part["shards"][1]["sent"], 0);
  EXPECT_THAT(result.err, HasSubstr("its creation is not in the log"));
  const ProcessResult dump = Cli({"dump-wal", db_, "--records", "--quiet"});
  EXPECT_EQ(dump.exit_code, kProblems);
  EXPECT_THAT(dump.err, HasSubstr("shard 1: of "));
}

// An operator whose data disk is gone, or whose MANIFEST is, reads the log.
TEST_F(CliDamaged, TheLogIsReadWithoutTheData) {
  Fill();
  const nlohmann::json whole = Json(Cli({"replay", db_, "--target", "jsonl:" + Path("whole"), "--format", "json"}));
  const std::vector<std::string> records = Lines(Cli({"dump-wal", db_}).out);
  const nlohmann::json before = Json(Cli({"inspect", db_, "--format", "json"}));
  const std::map<std::string, std::function<void(const std::string&)>> kDamage = {
      {"gone", [](const std::string& data) { fs::remove_all(data); }},
      {"empty", [](const std::string& data) { fs::remove_all(data), fs::create_directory(data); }},
      {"without CURRENT", [](const std::string& data) { fs::remove(data + "/CURRENT"); }},
      {"with a cut MANIFEST",
       [](const std::string& data) {
         for (const auto& entry : fs::directory_iterator(data)) {
           if (entry.path().filename().string().starts_with("MANIFEST-")) fs::resize_file(entry.path(), 40);
         }
       }},
  };
  for (const auto& [name, damage] : kDamage) {
    SCOPED_TRACE(name);
    const std::string db = Copy(name);
    damage(db + "/data");
    const ProcessResult checked = Cli({"replay", db, "--format", "json"});
    EXPECT_EQ(checked.exit_code, kProblems) << checked.err;
    EXPECT_EQ(Json(checked)["items"], whole["items"]) << "all of it decodes";
    EXPECT_EQ(Json(checked)["complete"], false);
    EXPECT_THAT(checked.err, HasSubstr("data instance"));
    EXPECT_THAT(checked.err, HasSubstr("Only the log was read"));

    const ProcessResult result = Cli({"replay", db, "--target", "jsonl:" + Path("part"), "--overwrite", "--format", "json"});
    EXPECT_EQ(result.exit_code, kProblems) << result.err;
    const nlohmann::json part = Json(result);
    EXPECT_EQ(part["items"], whole["items"]);
    EXPECT_EQ(part["sent"].get<int>() + part["refused"].get<int>(), whole["sent"]) << "each item is sent or counted";
    EXPECT_EQ(part["refused"], part["sent"]) << "half of the series are older than the log";
    std::size_t sent = 0;
    for (const std::string& line : Lines(ReadFile(Path("part")))) {
      const nlohmann::json row = nlohmann::json::parse(line);
      EXPECT_GE(std::stoi(row["metric"]["i"].get<std::string>()), kStored) << line;
      sent += row["values"].size();
    }
    EXPECT_EQ(sent, 0U + kLogged * kLoggedSamples);

    const ProcessResult matched = Cli({"replay", db, "--match", "n{job=\"j1\"}"});
    EXPECT_EQ(matched.exit_code, kProblems);
    EXPECT_THAT(matched.err, HasSubstr("nobody can tell whether they match"));

    const ProcessResult copied = Cli({"replay", db, "--target", "db:" + Path(name + " copy")});
    EXPECT_EQ(copied.exit_code, kProblems) << copied.err;
    EXPECT_EQ(Lines(Cli({"series", "--db", Path(name + " copy")}).out).size(), 0U + kLogged);

    const ProcessResult dump = Cli({"dump-wal", db});
    EXPECT_EQ(dump.exit_code, kProblems);
    EXPECT_EQ(Lines(dump.out), records);
    EXPECT_THAT(dump.err, HasSubstr("Only the log was read"));
    const ProcessResult content = Cli({"dump-wal", db, "--records", "--quiet"});
    EXPECT_EQ(content.exit_code, kProblems);
    EXPECT_THAT(content.err, HasSubstr("series that its records name the labels are not known"));
    EXPECT_THAT(content.out, HasSubstr("    " + Name(kStored) + " 1 @ "));
    EXPECT_THAT(content.out, HasSubstr("    series "));

    const ProcessResult inspected = Cli({"inspect", db, "--format", "json"});
    EXPECT_EQ(inspected.exit_code, kProblems) << inspected.err;
    nlohmann::json now = Json(inspected);
    EXPECT_EQ(now["complete"], false);
    EXPECT_EQ(now["problems"].size(), 1U) << "once, not for each shard";
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(now["shards"][i]["state"], "quarantined");
      for (const char* key : {"log_rows", "first_lsn", "last_lsn", "log_bytes", "trimmed_to"})
        EXPECT_EQ(now["shards"][i][key], before["shards"][i][key]) << key;
    }
    const ProcessResult pins = Cli({"inspect", db, "--what", "pins"});
    EXPECT_EQ(pins.exit_code, kProblems);
    EXPECT_THAT(pins.out, HasSubstr("quarantined"));
    EXPECT_THAT(Cli({"inspect", db}).out, HasSubstr("data: could not be opened"));
    const ProcessResult refused = Cli({"cardinality", db});
    EXPECT_EQ(refused.exit_code, kFailure);
    for (const std::string& err : {inspected.err, refused.err}) {
      EXPECT_THAT(err, HasSubstr("The log is sound"));
      EXPECT_THAT(err, HasSubstr("chronolith salvage"));
    }
    EXPECT_EQ(Cli({"inspect", db, "--html", Path("page.html"), "--overwrite"}).exit_code, kFailure);
    const ProcessResult opened = Cli({"stat", db});
    EXPECT_EQ(opened.exit_code, kFailure);
    EXPECT_THAT(opened.err, HasSubstr("else `chronolith salvage`"));
    fs::remove_all(db);
  }
}

// And one whose log disk is gone sees what is stored.
TEST_F(CliDamaged, TheDataIsInspectedWithoutTheLog) {
  Fill();
  const nlohmann::json before = Json(Cli({"inspect", db_, "--format", "json"}));
  const std::map<std::string, std::function<void(const std::string&)>> kDamage = {
      {"gone", [](const std::string& log) { fs::remove_all(log); }},
      {"without CURRENT", [](const std::string& log) { fs::remove(log + "/CURRENT"); }},
      {"with a flipped byte", [](const std::string& log) { FlipByte(LargestLog(log), 0.1); }},
  };
  for (const auto& [name, damage] : kDamage) {
    SCOPED_TRACE(name);
    const std::string db = Copy(name);
    damage(db + "/log");
    const ProcessResult inspected = Cli({"inspect", db, "--format", "json"});
    EXPECT_EQ(inspected.exit_code, kProblems) << inspected.err;
    const nlohmann::json now = Json(inspected);
    EXPECT_EQ(now["complete"], false);
    EXPECT_EQ(now["problems"].size(), 1U) << "once, not for each shard";
    EXPECT_EQ(now["pins"].size(), 0U);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(now["shards"][i]["state"], "damaged: log");
      for (const char* key : {"series", "chunks", "samples", "applied_lsn"})
        EXPECT_EQ(now["shards"][i][key], before["shards"][i][key]) << key;
    }
    EXPECT_THAT(Cli({"inspect", db}).out, HasSubstr("log: could not be opened"));
    EXPECT_THAT(Cli({"inspect", db, "--what", "pins"}).out, HasSubstr("The log could not be opened"));
    const ProcessResult counted = Cli({"cardinality", db, "--format", "json"});
    EXPECT_EQ(counted.exit_code, kProblems) << counted.err;
    EXPECT_EQ(Json(counted)["series"], kStored);
    EXPECT_EQ(Json(counted)["complete"], false);
    EXPECT_EQ(Json(counted)["problems"].size(), 1U);
    for (const std::string& err : {inspected.err, counted.err}) {
      EXPECT_THAT(err, HasSubstr("Only the data was read"));
      EXPECT_THAT(err, HasSubstr("chronolith salvage"));
    }
    EXPECT_EQ(Cli({"inspect", db, "--html", Path("page.html"), "--overwrite"}).exit_code, kProblems);
    fs::remove_all(db);
  }
  fs::remove_all(db_ + "/log");
  fs::remove_all(db_ + "/data");
  EXPECT_EQ(Cli({"inspect", db_}).exit_code, kFailure) << "nothing is left to read";
}

TEST_F(CliDamaged, DataOfAnotherDatabaseNamesNoSeries) {
  Fill();
  ASSERT_EQ(
      Cli({"import", "--db", Path("other"), "--shards", "4", "--input-format", "prometheus", "-"}, "m 1 1700000000000\n").exit_code,
      kOk);
  fs::remove_all(db_ + "/data");
  fs::copy(Path("other") + "/data", db_ + "/data", fs::copy_options::recursive);
  const ProcessResult result = Cli({"replay", db_, "--target", "jsonl:-"});
  EXPECT_EQ(result.exit_code, kProblems) << result.err;
  EXPECT_THAT(result.err, HasSubstr("log and data of different copies were mixed"));
  EXPECT_EQ(Lines(result.out).size(), 0U + kLogged);
}

TEST_F(CliDamaged, WhatIsLostIsNamedWithWhatToDo) {
  Fill();
  const std::vector<std::vector<std::string>> kCommands = {
      {"inspect", ""}, {"cardinality", ""},    {"replay", ""}, {"dump-wal", ""},
      {"stat", ""},    {"series", "--db", ""}, {"verify", ""}, {"archive", "add-log", Path("archive"), "--db", ""}};
  const auto errors = [&](const std::string& db, int from) {
    std::vector<std::string> all;
    for (auto command = kCommands.begin() + from; command != kCommands.end(); ++command) {
      std::vector<std::string> args = *command;
      std::replace(args.begin(), args.end(), std::string(), db);
      const ProcessResult result = Cli(args);
      EXPECT_THAT(result.exit_code, ::testing::AnyOf(kFailure, kProblems)) << args[0] << result.out;
      all.push_back(args[0] + ": " + result.err + result.out);
    }
    return all;
  };
  const std::string no_manifest = Copy("no manifest");
  fs::remove(no_manifest + "/STORE");
  for (const std::string& error : errors(no_manifest, 0)) {
    EXPECT_THAT(error, HasSubstr("no file " + no_manifest + "/STORE"));
    EXPECT_THAT(error, HasSubstr("chronolith salvage"));
  }
  for (const char* content : {"", "CHRONOLITH STORE", "something else"}) {
    std::ofstream(no_manifest + "/STORE", std::ios::binary | std::ios::trunc) << content;
    for (const std::string& error : errors(no_manifest, 0)) {
      EXPECT_THAT(error, HasSubstr(no_manifest + "/STORE"));
      EXPECT_THAT(error, HasSubstr("chronolith salvage"));
    }
  }
  EXPECT_THAT(Cli({"series", "--db", Path("nothing")}).err, Not(HasSubstr("salvage"))) << "there never was one";

  const std::string no_log = Copy("no log");
  fs::remove_all(no_log + "/log");
  const std::string cut_log = Copy("cut log");
  for (const auto& entry : fs::directory_iterator(cut_log + "/log")) {
    if (entry.path().filename().string().starts_with("MANIFEST-")) fs::resize_file(entry.path(), 40);
  }
  for (const std::string& db : {no_log, cut_log}) {
    for (const std::string& error : errors(db, 0)) {
      EXPECT_THAT(error, HasSubstr(db + "/log"));
      EXPECT_THAT(error, HasSubstr("it was lost, or its disk is not mounted"));
      EXPECT_TRUE(error.starts_with("archive") || error.find("chronolith salvage") != std::string::npos) << error;
    }
  }
}

// Which shards an acceptance of losses did not come to the end of is in the file UNFINISHED; all where that is damaged.
TEST_F(CliDamaged, ALogWhoseEndWasGivenUpIsMarked) {
  Fill();
  WriteFile("db/UNFINISHED", "something else");
  for (const char* command : {"inspect", "cardinality"}) {
    const ProcessResult result = Cli({command, db_, "--format", "json"});
    EXPECT_EQ(result.exit_code, kProblems) << result.err;
    for (const auto& shard : Json(result)["shards"]) EXPECT_EQ(shard["state"], "damaged: log");
  }
  for (const char* command : {"replay", "dump-wal"}) {
    const ProcessResult result = Cli({command, db_});
    EXPECT_EQ(result.exit_code, kProblems) << command;
    EXPECT_THAT(result.err, HasSubstr("shard 3: part of its log was given up"));
  }
}

// A read-only open is tried several times, since files may vanish under it.
TEST_F(CliDamaged, TheSameWarningIsNotRepeated) {
  Fill();
  FlipByte(LargestLog(db_ + "/log"), 0.1);
  const ProcessResult result = Cli({"stat", db_});
  EXPECT_EQ(result.exit_code, kFailure);
  std::vector<std::string> lines = Lines(result.err);
  EXPECT_GE(lines.size(), 2U);
  EXPECT_EQ(std::adjacent_find(lines.begin(), lines.end()), lines.end()) << result.err;
  EXPECT_THAT(lines.back(), HasSubstr("chronolith: error: "));
}

TEST_F(CliDamaged, SeriesAreBornAndDieInTheHourOfTheirFirstAndLastSample) {
  std::string text = "# TYPE n gauge\n";
  // Born each hour h: h + 1 series, of which each lives for three hours; over windows, and a checkpoint in between.
  constexpr int kHours = 9;
  const auto samples = [](int from, int to) {
    std::string lines = "# TYPE n gauge\n";
    for (int born = 0; born < kHours; ++born) {
      for (int i = 0; i <= born; ++i) {
        for (int m = born * 60; m < (born + 3) * 60; m += 7) {
          if (m < from || m >= to) continue;
          lines += "n{born=\"" + std::to_string(born) + "\",i=\"" + std::to_string(i) + "\"} 1 " +
                   std::to_string(kStart + m * kMinute) + "\n";
        }
      }
    }
    return lines;
  };
  for (const auto& [from, to] : {std::pair{0, 333}, std::pair{333, 100'000}}) {
    ASSERT_EQ(Import(samples(from, to), {"--shards", "4", "--input-format", "prometheus"}).exit_code, kOk);
    ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  }
  const auto check = [&] {
    const nlohmann::json found = Json(Cli({"cardinality", db_, "--format", "json"}));
    std::map<std::int64_t, std::pair<int, int>> hours;
    for (const auto& hour : found["hours"]) {
      EXPECT_EQ((hour["start_ms"].get<std::int64_t>() - kStart) % (60 * kMinute), 0);
      hours[(hour["start_ms"].get<std::int64_t>() - kStart) / (60 * kMinute)] = {hour["first_seen"], hour["last_seen"]};
    }
    std::map<std::int64_t, std::pair<int, int>> expected;
    for (int born = 0; born < kHours; ++born) {
      expected[born].first = born + 1;
      expected[born + 2].second = born + 1;
    }
    EXPECT_EQ(hours, expected);
  };
  check();
  ASSERT_EQ(Cli({"compact", db_}).exit_code, kOk);
  check();
  std::string hours = Cli({"cardinality", db_, "--hours", "2"}).out;
  hours.erase(0, hours.find("hour (of stored samples)"));
  EXPECT_THAT(hours, HasSubstr("The last 2 of 11 such hours"));
  EXPECT_THAT(hours, Not(HasSubstr("2023-11-15 08:00")));
  EXPECT_THAT(hours, HasSubstr("2023-11-15 09:00"));
  EXPECT_THAT(hours, HasSubstr("2023-11-15 10:00"));
}

}  // namespace
}  // namespace chronolith::testing
