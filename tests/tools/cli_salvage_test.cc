// salvage: damaged copies of a database whose content the test knows. What is in no damaged part is in the new one, what is missing
// is in the list, nothing is made up, and the source stays as it was.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kStart = 1'700'006'400'000;  // the start of a window of two hours
constexpr std::int64_t kWindow = 120 * kMinute;
constexpr int kSeries = 200;
constexpr int kSamples = 200;
constexpr int kLogSamples = 300;

using Contents = std::map<std::string, std::map<std::int64_t, double>>;

class CliSalvage : public CliTest {
 protected:
  // Stored samples of four shards in two windows; then some that only the log has, of new series too.
  void Fill() {
    std::string text = "# TYPE n gauge\n";
    std::mt19937_64 random(1);
    for (int i = 0; i < kSeries; ++i) {
      for (int s = 0; s < kSamples; ++s) {
        text += Name(i) + " " + std::to_string(static_cast<double>(random() % 1'000'000'007) / 7) + " " +
                std::to_string(kStart + s * kMinute) + "\n";
      }
    }
    const ProcessResult stored = Import(text, {"--shards", "4", "--input-format", "prometheus"});
    ASSERT_EQ(stored.exit_code, kOk) << stored.err;
    ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
    Log(0);
    healthy_ = Read(db_);
    ASSERT_GE(healthy_.size(), 0U + kSeries + 50);
    const nlohmann::json verified = Json(Cli({"verify", db_, "--format", "json"}));
    for (const auto& shard : verified["shards"]) shard_series_.push_back(shard["series"]);
  }
  static std::string Name(int i) { return "n{i=\"" + std::to_string(i) + "\",job=\"j" + std::to_string(i % 7) + "\"}"; }
  // Each sample is a write of its own, synced; then the writer is killed.
  void Log(int from, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args = {"import",     "--db",    db_, "--progress", "plain",  "--input-format",
                                     "prometheus", "--batch", "1", "--level",    "synced", "-"};
    args.insert(args.end(), more.begin(), more.end());
    Subprocess writer(Command(args));
    std::string text = "# TYPE n gauge\n";
    for (int s = from; s < from + kLogSamples; ++s) {
      text += Name(s % (kSeries + 50)) + " " + std::to_string(s) + " " + std::to_string(kStart + (1000 + s) * kMinute) + "\n";
    }
    text += "# TYPE last gauge\nlast 1 1700000000000\n";      // the importer writes a sample when it has seen the next
    for (int i = 0; i < 200'000; ++i) text += "# nothing\n";  // and reads in blocks
    ASSERT_TRUE(writer.Write(text));
    ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= kLogSamples; }))
        << writer.err();
    writer.Kill(SIGKILL);
    EXPECT_EQ(writer.Wait().signal, SIGKILL);
  }
  static Contents Read(const std::string& db) {
    const ProcessResult result = Cli({"export", "--db", db, "--to", "jsonl"});
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    Contents contents;
    for (const std::string& line : Lines(result.out)) {
      const nlohmann::json row = nlohmann::json::parse(line);
      std::string name;
      std::string labels;
      for (const auto& [key, value] : row["metric"].items()) {
        if (key == "__name__") {
          name = value;
        } else {
          labels += (labels.empty() ? "" : ",") + key + "=\"" + value.get<std::string>() + "\"";
        }
      }
      auto& points = contents[name + "{" + labels + "}"];
      for (std::size_t i = 0; i < row["values"].size(); ++i) points[row["timestamps"][i]] = row["values"][i];
    }
    return contents;
  }

  // With metadata.
  static std::multiset<std::string> Exported(const std::string& db) {
    const std::vector<std::string> lines = Lines(Cli({"export", "--db", db, "--to", "jsonl"}).out);
    return {lines.begin(), lines.end()};
  }

  std::string Copy(const std::string& name) const {
    fs::copy(db_, Path(name), fs::copy_options::recursive);
    return Path(name);
  }
  // Bytes and times of all files.
  static std::map<std::string, std::pair<std::string, fs::file_time_type>> Tree(const std::string& directory) {
    std::map<std::string, std::pair<std::string, fs::file_time_type>> files;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      files[entry.path()] = {entry.is_regular_file() ? ReadFile(entry.path()) : "", entry.last_write_time()};
    }
    return files;
  }
  static void RemoveManifest(const std::string& instance) {
    for (const auto& entry : fs::directory_iterator(instance)) {
      if (entry.path().filename().string().starts_with("MANIFEST-")) {
        fs::remove(entry.path());
        return;
      }
    }
    ADD_FAILURE() << "no MANIFEST in " << instance;
  }

  // A dry run, which leaves nothing anywhere.
  nlohmann::json DryRun(const std::string& source, int exit_code, const std::vector<std::string>& more) const {
    const std::string temporary = Path("temporary");
    fs::create_directory(temporary);
    const auto before = Tree(directory_);
    std::vector<std::string> args = {"salvage", source, "--dry-run", "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    setenv("TMPDIR", temporary.c_str(), 1);
    const ProcessResult result = Cli(args);
    unsetenv("TMPDIR");
    EXPECT_EQ(result.exit_code, exit_code) << result.out << result.err;
    EXPECT_TRUE(fs::is_empty(temporary));
    EXPECT_TRUE(fs::remove(temporary));
    auto after = Tree(directory_);
    after[temporary] = before.at(temporary);
    EXPECT_TRUE(after == before) << "a dry run wrote";
    return Json(result);
  }
  // Salvages `source`, and checks what holds whatever is damaged. Returns the report.
  nlohmann::json Salvage(const std::string& source, int exit_code, std::vector<std::string> more = {}) {
    nlohmann::json dry = DryRun(source, exit_code, more);
    target_ = Path("target" + std::to_string(++targets_));
    std::vector<std::string> args = {"salvage", source, target_, "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    const auto before = Tree(source);
    const ProcessResult result = Cli(args);
    EXPECT_EQ(result.exit_code, exit_code) << result.out << result.err;
    const nlohmann::json report = Json(result);
    EXPECT_EQ(report["lost_total"] == 0, exit_code == kOk);
    EXPECT_TRUE(Tree(source) == before) << "the source was touched";
    EXPECT_FALSE(fs::exists(target_ + ".salvage"));
    EXPECT_EQ(dry["dry_run"], true);
    dry["dry_run"] = false;
    EXPECT_EQ(dry, report);
    // The same list, in the target.
    const std::vector<std::string> listed = Lines(ReadFile(target_ + "/SALVAGED.jsonl"));
    EXPECT_EQ(listed.size(), report["lost"].size() + 1);
    for (std::size_t i = 0; i < std::min(listed.size(), report["lost"].size()); ++i) {
      EXPECT_EQ(nlohmann::json::parse(listed[i]), report["lost"][i]);
    }
    const ProcessResult verified = Cli({"verify", target_});
    EXPECT_EQ(verified.exit_code, kOk) << verified.out;
    salvaged_ = Read(target_);
    return report;
  }
  // How many samples are missing. Each must be in the list: by `covers`, which sees series, time and one entry.
  template <typename Covers>
  std::size_t Missing(const nlohmann::json& report, const Covers& covers) const {
    std::size_t missing = 0;
    for (const auto& [series, points] : healthy_) {
      const auto found = salvaged_.find(series);
      for (const auto& [t, value] : points) {
        if (found != salvaged_.end() && found->second.contains(t)) {
          EXPECT_EQ(found->second.at(t), value) << series << " at " << t;
          continue;
        }
        ++missing;
        const auto& lost = report["lost"];
        const bool told =
            std::any_of(lost.begin(), lost.end(), [&, s = series, time = t](const auto& l) { return covers(s, time, l); });
        EXPECT_TRUE(told) << series << " at " << t << " is missing and not in the list: " << report.dump();
        if (!told) return missing;
      }
    }
    for (const auto& [series, points] : salvaged_) {
      if (series.find("__salvaged__") != std::string::npos) continue;
      const auto known = healthy_.find(series);
      EXPECT_TRUE(known != healthy_.end()) << series << " was made up";
      for (const auto& [t, value] : points)
        EXPECT_TRUE(known != healthy_.end() && known->second.contains(t)) << series << " at " << t;
    }
    return missing;
  }
  static bool NamesSeriesAndTime(const std::string& series, std::int64_t t, const nlohmann::json& l) {
    constexpr std::int64_t kFirst = std::numeric_limits<std::int64_t>::min();
    if (l["kind"] != "samples" || t < l.value("start_ms", kFirst) ||
        t >= l.value("end_ms", std::numeric_limits<std::int64_t>::max()))
      return false;
    return !l.contains("series") || l["series"] == series;
  }
  std::size_t IncompleteSeries() const {
    std::size_t n = 0;
    for (const auto& [series, points] : healthy_) {
      const auto found = salvaged_.find(series);
      n += found == salvaged_.end() || found->second.size() != points.size() ? 1 : 0;
    }
    return n;
  }
  static std::size_t OfKind(const nlohmann::json& report, const std::string& kind) {
    std::size_t n = 0;
    for (const auto& l : report["lost"]) n += l["kind"] == kind ? 1 : 0;
    return n;
  }

  Contents healthy_;
  Contents salvaged_;
  std::vector<std::size_t> shard_series_;
  std::string target_;
  int targets_ = 0;
};

constexpr auto kNothing = [](const std::string&, std::int64_t, const nlohmann::json&) { return false; };

TEST_F(CliSalvage, OfASoundDatabaseNothingIsLost) {
  Fill();
  const nlohmann::json report = Salvage(db_, kOk);
  EXPECT_EQ(Missing(report, kNothing), 0U);
  EXPECT_GE(report["series"], healthy_.size()) << "one more may have come to the log without its sample";
  const ProcessResult again = Cli({"salvage", db_, target_});
  EXPECT_EQ(again.exit_code, kFailure) << "the target is not empty";
  EXPECT_THAT(again.err, HasSubstr("is not empty"));
  EXPECT_EQ(Cli({"salvage", db_, db_ + "/data/inside"}).exit_code, kUsage);
  EXPECT_EQ(Cli({"salvage", Path("none"), Path("other")}).exit_code, kFailure);
  EXPECT_FALSE(fs::exists(Path("other.salvage")));
  EXPECT_EQ(Cli({"salvage", db_}).exit_code, kUsage);
  EXPECT_EQ(Cli({"salvage", db_, Path("other"), "--dry-run"}).exit_code, kUsage);
  EXPECT_FALSE(fs::exists(Path("other")));
}

TEST_F(CliSalvage, BesideAWriterFilesWouldVanishSoItIsRefused) {
  Fill();
  Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--batch", "1", "-"}));
  std::string text = "# TYPE late gauge\nlate 1 1\nlate 2 2\n";
  for (int i = 0; i < 200'000; ++i) text += "# nothing\n";  // it reads in blocks
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 1; })) << writer.err();
  for (const std::string& target : {Path("target"), std::string("--dry-run")}) {
    const ProcessResult refused = Cli({"salvage", db_, target});
    EXPECT_EQ(refused.exit_code, kFailure);
    EXPECT_THAT(refused.err, HasSubstr("LOCK"));
  }
  EXPECT_FALSE(fs::exists(Path("target")));
  EXPECT_FALSE(fs::exists(Path("target.salvage")));
  EXPECT_EQ(writer.Wait().exit_code, kOk);
}

TEST_F(CliSalvage, AFlippedByteInAChunkTableCostsOneBlock) {
  Fill();
  std::size_t lost_any = 0;
  for (const double where : {0.02, 0.3, 0.7}) {
    SCOPED_TRACE(where);
    const std::string source = Copy("damaged" + std::to_string(where));
    FlipByte(TablesOf(source, "chunk.1").front(), where);
    const nlohmann::json report = Salvage(source, kProblems);
    const std::size_t missing = Missing(report, NamesSeriesAndTime);
    lost_any += missing > 0 ? 1 : 0;
    EXPECT_LT(missing, shard_series_[1] * kSamples / 2);
    EXPECT_LE(IncompleteSeries(), shard_series_[1]);
    std::size_t named = 0;
    for (const auto& l : report["lost"]) {
      EXPECT_EQ(l["shard"], 1) << l.dump();
      named += l.contains("series") ? 1 : 0;
    }
    EXPECT_GT(named, 0U) << report.dump();
  }
  EXPECT_EQ(lost_any, 3U);
}

TEST_F(CliSalvage, AFlippedByteInAnIndexTableCostsNoSamplesThatAreNotListed) {
  Fill();
  const auto healthy = Exported(db_);
  for (const double where : {0.1, 0.4, 0.7, 0.9}) {
    SCOPED_TRACE(where);
    const std::string source = Copy("damaged" + std::to_string(where));
    FlipByte(TablesOf(source, "index.2").front(), where);
    target_ = Path("probe" + std::to_string(where));
    const int exit_code = Cli({"salvage", source, target_}).exit_code;
    // By what is there afterwards, not by what the program says of itself.
    const int expected = Exported(target_) == healthy ? kOk : kProblems;
    EXPECT_EQ(exit_code, expected);
    const nlohmann::json report = Salvage(source, expected);
    const std::size_t missing = Missing(report, [](const std::string&, std::int64_t t, const nlohmann::json& l) {
      return l["kind"] == "labels" && l["start_ms"] <= t && t < l["end_ms"];
    });
    std::size_t told = 0;
    for (const auto& l : report["lost"]) told += l["kind"] == "labels" ? l["samples"].get<std::size_t>() : 0;
    EXPECT_EQ(missing, told);
  }
}

TEST_F(CliSalvage, AFlippedByteInTheLogCostsTheRecordsThatItNames) {
  Fill();
  const std::string source = Copy("damaged");
  FlipByte(LargestLog(source + "/log"), 0.5);
  EXPECT_EQ(Cli({"query", "--db", source, "n"}).exit_code, kFailure) << "others refuse it";
  const nlohmann::json report = Salvage(source, kProblems);
  const std::size_t missing = Missing(report, [](const std::string&, std::int64_t t, const nlohmann::json& l) {
    return l["kind"] == "log" && l.contains("first_lsn") && t >= kStart + 1000 * kMinute;
  });
  EXPECT_LE(missing, 2U);
  std::uint64_t records = 0;
  for (const auto& l : report["lost"]) {
    if (l.contains("last_lsn")) records += l["last_lsn"].get<std::uint64_t>() - l["first_lsn"].get<std::uint64_t>() + 1;
  }
  EXPECT_GE(records, 1U);
  EXPECT_LE(records, 4U);
}

TEST_F(CliSalvage, AMissingChunkTableCostsItsShardOnlyFromItsFirstWindowOn) {
  Fill();
  const std::string source = Copy("damaged");
  const std::string table = TablesOf(source, "chunk.3").front();
  fs::remove(table);
  const nlohmann::json report = Salvage(source, kProblems);
  const std::size_t missing = Missing(report, [](const std::string& series, std::int64_t t, const nlohmann::json& l) {
    return l["shard"] == 3 && NamesSeriesAndTime(series, t, l);
  });
  EXPECT_GT(missing, 0U);
  EXPECT_LE(IncompleteSeries(), shard_series_[3]);
  EXPECT_GE(salvaged_.size(), healthy_.size() - shard_series_[3]);
  EXPECT_EQ(OfKind(report, "file"), 1U);
  std::size_t named = 0;
  for (const auto& l : report["lost"]) {
    EXPECT_THAT(l["what"].get<std::string>(), HasSubstr(fs::path(table).filename().string()));
    if (l["kind"] != "samples") continue;
    EXPECT_GE(l.at("start_ms"), kStart) << "nothing is as old: " << l.dump();
    named += l.contains("series") ? 1 : 0;
  }
  EXPECT_GE(named, shard_series_[3] - 20) << "in the first window, by name: " << report.dump();
}

TEST_F(CliSalvage, ALostDeleteIsListedForWhatItHidIsThereAgain) {
  Fill();
  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  const auto tables = [&] {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(db_ + "/data")) {
      if (entry.path().extension() == ".sst") found.insert(entry.path());
    }
    return found;
  };
  const Contents before = Read(db_);
  const std::set<std::string> old = tables();
  ASSERT_EQ(Cli({"delete", db_, "--match", Name(5), "--yes"}).exit_code, kOk);
  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk) << "it is stored, and trimmed from the log";
  healthy_ = Read(db_);
  ASSERT_LT(healthy_.size(), before.size());
  int removed = 0;
  for (const std::string& table : tables()) {
    const std::string bytes = ReadFile(table);
    if (old.contains(table) || bytes.find("chunk.") == std::string::npos || bytes.find("epoch/") != std::string::npos) continue;
    fs::remove(table);
    ++removed;
  }
  ASSERT_GT(removed, 0);
  const nlohmann::json report = Salvage(db_, kProblems);
  EXPECT_EQ(salvaged_, before);
  ASSERT_EQ(OfKind(report, "deletes"), 1U) << report.dump();
  for (const auto& l : report["lost"]) {
    if (l["kind"] != "deletes") continue;
    EXPECT_TRUE(l.contains("shard"));
    EXPECT_GE(l["first_lsn"], 1);
    EXPECT_GT(l["last_lsn"], 100) << "behind what was written";
  }
}

TEST_F(CliSalvage, AMissingIndexLosesLabelsWhichTheSamplesMayDoWithout) {
  Fill();
  const std::string source = Copy("damaged");
  for (const std::string& table : TablesOf(source, "index.1")) fs::remove(table);
  nlohmann::json report = Salvage(source, kProblems);
  const auto unlabelled = [](const std::string&, std::int64_t t, const nlohmann::json& l) {
    return l["kind"] == "labels" && l["shard"] == 1 && l["start_ms"] <= t && t < l["end_ms"];
  };
  const std::size_t missing = Missing(report, unlabelled);
  EXPECT_GE(missing, shard_series_[1] * kSamples);
  EXPECT_EQ(OfKind(report, "labels"), shard_series_[1]);
  std::size_t told = 0;
  for (const auto& l : report["lost"]) told += l["kind"] == "labels" ? l["samples"].get<std::size_t>() : 0;
  EXPECT_EQ(told, missing);

  report = Salvage(source, kProblems, {"--keep-unlabelled"});
  EXPECT_EQ(report["unlabelled_kept"], shard_series_[1]);
  std::size_t kept = 0;
  for (const auto& [series, points] : salvaged_) kept += series.starts_with("{__salvaged__=\"1-") ? points.size() : 0;
  EXPECT_EQ(kept, missing);
}

TEST_F(CliSalvage, WithoutTheManifestOfAnInstanceItsFilesAreReadByThemselves) {
  Fill();
  const std::string without_log = Copy("log");
  RemoveManifest(without_log + "/log");
  nlohmann::json report = Salvage(without_log, kProblems);
  EXPECT_EQ(Missing(report, kNothing), 0U);
  const std::string without_data = Copy("data");
  RemoveManifest(without_data + "/data");
  report = Salvage(without_data, kProblems);
  EXPECT_EQ(Missing(report, kNothing), 0U);
  EXPECT_EQ(OfKind(report, "file"), 1U);
  // And where nothing is left of one, the other is.
  fs::remove_all(without_log + "/log");
  report = Salvage(without_log, kProblems);
  Missing(report, [](const std::string&, std::int64_t t, const nlohmann::json& l) {
    return l["kind"] == "log" && t >= kStart + 1000 * kMinute;
  });
  EXPECT_GE(salvaged_.size(), 0U + kSeries);
}

TEST_F(CliSalvage, AnInstanceThatIsMissingOrEmptyIsLostAndTheOtherIsTaken) {
  Fill();
  const std::string intact = Copy("intact");
  // All that there is is in the log, in one file.
  const std::string logged = Path("logged");
  db_ = logged;
  ASSERT_NO_FATAL_FAILURE(Log(0, {"--shards", "4"}));
  const Contents in_log = Read(db_);
  ASSERT_GE(in_log.size(), 0U + kSeries + 50);
  healthy_ = in_log;
  const auto of_log = [](const std::string&, std::int64_t, const nlohmann::json& l) { return l["kind"] == "log"; };
  for (const bool removed : {false, true}) {
    SCOPED_TRACE(removed ? "its only file removed" : "its only file emptied");
    const std::string source = Copy(removed ? "removed" : "emptied");
    const std::string log = LargestLog(source + "/log");
    if (removed) {
      fs::remove(log);
    } else {
      fs::resize_file(log, 0);
    }
    EXPECT_EQ(Cli({"verify", source}).exit_code, kProblems);
    const nlohmann::json report = Salvage(source, kProblems);
    EXPECT_TRUE(salvaged_.empty());
    EXPECT_GT(Missing(report, of_log), 0U);
    if (removed) {  // which the MANIFEST beside it tells
      EXPECT_THAT(report["lost"][0]["what"].get<std::string>(), HasSubstr("/log, whose files from "));
      continue;
    }
    EXPECT_THAT(report["lost"][0]["what"].get<std::string>(), HasSubstr("/log is empty: it was lost"));
    ASSERT_EQ(report["lost"].size(), 5U);
    for (int shard = 0; shard < 4; ++shard) EXPECT_EQ(report["lost"][1 + shard]["shard"], shard);
  }
  for (const bool emptied : {false, true}) {
    SCOPED_TRACE(emptied ? "a directory without files" : "no directory");
    const auto lose = [&](const std::string& instance) {
      fs::remove_all(instance);
      if (emptied) fs::create_directory(instance);
    };
    const std::string suffix = emptied ? "-emptied" : "-missing";
    db_ = logged;
    healthy_ = in_log;
    const std::string no_data = Copy("data" + suffix);
    lose(no_data + "/data");
    nlohmann::json report = Salvage(no_data, kProblems);
    EXPECT_EQ(Missing(report, kNothing), 0U);
    EXPECT_THAT(report["lost"][0]["what"].get<std::string>(), HasSubstr(no_data + "/data"));
    db_ = intact;
    healthy_ = Read(db_);
    const std::string no_log = Copy("log" + suffix);
    lose(no_log + "/log");
    report = Salvage(no_log, kProblems);
    EXPECT_GT(Missing(report, of_log), 0U);
    EXPECT_GE(salvaged_.size(), 0U + kSeries);
    EXPECT_THAT(report["lost"][0]["what"].get<std::string>(), HasSubstr(no_log + "/log"));
  }
}

TEST_F(CliSalvage, WithoutSTOREItIsReadFromTheInstances) {
  Fill();
  const std::string source = Copy("damaged");
  const std::string store = ReadFile(source + "/STORE");
  for (const std::string& text : {std::string(), store.substr(0, store.size() - 3), std::string("something else")}) {
    std::ofstream(source + "/STORE", std::ios::binary) << text;
    const nlohmann::json report = Salvage(source, kOk);
    EXPECT_EQ(Missing(report, kNothing), 0U);
    EXPECT_EQ(salvaged_, healthy_);
    ASSERT_EQ(report["notes"].size(), 1U);
    EXPECT_THAT(report["notes"][0].get<std::string>(), HasSubstr("taken from the data instance"));
  }
  fs::remove(source + "/STORE");
  RemoveManifest(source + "/data");
  nlohmann::json report = Salvage(source, kProblems);
  EXPECT_EQ(Missing(report, kNothing), 0U);
  EXPECT_THAT(report["notes"][0].get<std::string>(), HasSubstr("taken from the log instance"));
  // Another database's log beside it is not taken for its own.
  const std::string mixed = Copy("mixed");
  fs::remove(mixed + "/STORE");
  ASSERT_EQ(Cli({"import", "--db", Path("stranger"), "-"}, "m 1 1700000000000\n").exit_code, kOk);
  fs::remove_all(mixed + "/log");
  fs::copy(Path("stranger") + "/log", mixed + "/log", fs::copy_options::recursive);
  const ProcessResult refused = Cli({"salvage", mixed, "--dry-run"});
  EXPECT_EQ(refused.exit_code, kFailure);
  EXPECT_THAT(refused.err, HasSubstr("--log-dir"));
  // With nothing that tells, it says what is needed.
  RemoveManifest(source + "/log");
  const ProcessResult lost = Cli({"salvage", source, "--dry-run"});
  EXPECT_EQ(lost.exit_code, kFailure);
  EXPECT_THAT(lost.err, HasSubstr("every backup of the database has it"));
}

TEST_F(CliSalvage, SeveralDamagesAtOnce) {
  Fill();
  const std::string source = Copy("damaged");
  FlipByte(TablesOf(source, "chunk.0").front(), 0.4);
  fs::remove(TablesOf(source, "chunk.2").front());
  FlipByte(TablesOf(source, "index.3").front(), 0.3);
  FlipByte(LargestLog(source + "/log"), 0.4);
  const nlohmann::json report = Salvage(source, kProblems);
  Missing(report, [](const std::string& series, std::int64_t t, const nlohmann::json& l) {
    return NamesSeriesAndTime(series, t, l) || (l["kind"] == "labels" && l["start_ms"] <= t && t < l["end_ms"]) ||
           (l["kind"] == "log" && l.contains("first_lsn") && t >= kStart + 1000 * kMinute);
  });
  EXPECT_LE(IncompleteSeries(), shard_series_[0] + shard_series_[2] + shard_series_[3] + 2);
}

TEST_F(CliSalvage, KilledAnywhereItLeavesNoTargetAndBeginsAnew) {
  Fill();
  const std::string target = Path("again");
  // More of what it makes is there each time.
  int killed = 0;
  for (std::size_t files = 1; files <= 60; files += 12) {
    Subprocess salvage(Command({"salvage", db_, target}));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!fs::exists(target) && std::chrono::steady_clock::now() < deadline) {
      std::size_t found = 0;
      std::error_code error;
      for (fs::recursive_directory_iterator it(target + ".salvage", error), end; !error && it != end; it.increment(error)) ++found;
      if (found >= files) break;
    }
    salvage.Kill(SIGKILL);
    const ProcessResult ended = salvage.Wait();
    if (ended.signal == SIGKILL && !fs::exists(target)) ++killed;
    if (fs::exists(target)) {  // it was quicker
      EXPECT_EQ(Cli({"verify", target}).exit_code, kOk);
      fs::remove_all(target);
    }
  }
  EXPECT_GE(killed, 1);
  const ProcessResult done = Cli({"salvage", db_, target});
  EXPECT_EQ(done.exit_code, kOk) << done.err;
  EXPECT_EQ(Read(target), healthy_);
  EXPECT_FALSE(fs::exists(target + ".salvage"));
  // What is not its own is not removed.
  fs::create_directories(Path("mine.salvage/precious"));
  EXPECT_EQ(Cli({"salvage", db_, Path("mine")}).exit_code, kFailure);
  EXPECT_TRUE(fs::exists(Path("mine.salvage/precious")));
}

}  // namespace
}  // namespace chronolith::testing
