// inspect and cardinality: the figures of stores whose content the test knows.
#include <gmock/gmock.h>

#include <csignal>
#include <map>
#include <set>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kHour = 3'600'000;
constexpr std::int64_t kStart = 1'700'006'400'000;  // the start of a window of two hours

class CliInspect : public CliTest {
 protected:
  static constexpr int kJobs = 3;
  static constexpr int kPods = 40;
  // requests{job,pod} for each pod, up{job} for each job; `hours` samples each, 30 minutes apart for the first hour and so on.
  static std::string Text(int pods, int samples, const std::string& pod_prefix = "pod") {
    std::string text = "# TYPE requests gauge\n";
    for (int i = 0; i < samples; ++i) {
      const std::string time = std::to_string(kStart + i * kHour);
      for (int p = 0; p < pods; ++p) {
        text += "requests{job=\"j" + std::to_string(p % kJobs) + "\",pod=\"" + pod_prefix + std::to_string(p) + "\"} " +
                std::to_string(i + p) + " " + time + "\n";
      }
      for (int j = 0; j < kJobs; ++j) text += "up{job=\"j" + std::to_string(j) + "\"} 1 " + time + "\n";
    }
    return text;
  }
  void Store() const {
    const ProcessResult import = Import(Text(kPods, 6), {"--shards", "4", "--input-format", "prometheus"});
    ASSERT_EQ(import.exit_code, kOk) << import.err;
    ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  }
  // All of `text` is logged, nothing of it stored.
  void LogOnly(const std::string& text, std::uint64_t samples) const {
    Subprocess writer(Command(
        {"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--batch", "1", "--shards", "4", "-"}));
    std::string padded =
        text + "# TYPE last gauge\nlast 1 1700000000000\n";     // the importer writes a sample when it has seen the next
    for (int i = 0; i < 200'000; ++i) padded += "# nothing\n";  // and reads in blocks
    ASSERT_TRUE(writer.Write(padded));
    ASSERT_TRUE(writer.WaitUntil([&](const std::string&, const std::string& err) { return LastLogged(err) >= samples; }))
        << writer.err();
    writer.Kill(SIGKILL);
    EXPECT_EQ(writer.Wait().signal, SIGKILL);
  }
  nlohmann::json Inspect(const std::string& what) const {
    const ProcessResult result = Cli({"inspect", db_, "--what", what, "--format", "json"});
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return Json(result);
  }
  nlohmann::json Cardinality(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"cardinality", db_, "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    const ProcessResult result = Cli(args);
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return Json(result);
  }
  static std::uint64_t Sum(const nlohmann::json& items, const char* key) {
    std::uint64_t sum = 0;
    for (const auto& item : items) sum += item[key].get<std::uint64_t>();
    return sum;
  }
  static std::uint64_t NotStored(const nlohmann::json& inspected) {
    std::uint64_t bytes = 0;
    for (const auto& pin : inspected["pins"]) bytes += pin["reason"] == "not stored" ? pin["bytes"].get<std::uint64_t>() : 0;
    return bytes;
  }
};

TEST_F(CliInspect, TellsSeriesSamplesAndWindowsOfEachShard) {
  Store();
  const nlohmann::json all = Inspect("all");
  ASSERT_EQ(all["shards"].size(), 4U);
  EXPECT_EQ(all["store"]["shards"], 4);
  EXPECT_EQ(Sum(all["shards"], "series"), 0U + kPods + kJobs);
  EXPECT_EQ(Sum(all["shards"], "samples"), 6U * (kPods + kJobs));
  EXPECT_EQ(Sum(all["windows"], "samples"), 6U * (kPods + kJobs));
  ASSERT_EQ(all["windows"].size(), 3U) << "six hours in windows of two";
  EXPECT_EQ(all["windows"][0]["start_ms"], kStart);
  EXPECT_EQ(Sum(all["chunk_sizes"], "chunks"), 3U * (kPods + kJobs));
  EXPECT_EQ(Sum(all["chunk_sizes"], "bytes"), Sum(all["windows"], "bytes"));
  std::set<std::string> kinds;
  for (const auto& file : all["files"]) kinds.insert(file["instance"].get<std::string>() + " " + file["kind"].get<std::string>());
  EXPECT_TRUE(kinds.contains("data table") && kinds.contains("log log") && kinds.contains("data options"));
  bool found = false;
  for (const auto& option : all["options"])
    found = found || (option["families"] == "wal.*" && option["name"] == "write_buffer_size");
  EXPECT_TRUE(found) << "what all shards have alike stands once";
  EXPECT_TRUE(all["problems"].empty());
  EXPECT_EQ(NotStored(all), 0U) << "the log is stored";

  const ProcessResult fast = Cli({"inspect", "--db", db_, "--fast", "--what", "windows", "--format", "csv"});
  EXPECT_EQ(fast.exit_code, kOk) << fast.err;
  EXPECT_EQ(Lines(fast.out, 1).size(), 3U);
}

TEST_F(CliInspect, ACheckpointReleasesWhatIsNotStored) {
  LogOnly(Text(kPods, 6), 6 * (kPods + kJobs));
  const nlohmann::json before = Inspect("summary");
  EXPECT_GT(NotStored(before), 1000U);
  EXPECT_EQ(Sum(before["shards"], "series"), 0U);
  EXPECT_GE(before["log"]["log_files"], 1);
  EXPECT_GE(before["log"]["log_bytes"], before["pinned_bytes"]);
  EXPECT_GE(Sum(before["shards"], "log_records"), 6U * (kPods + kJobs)) << "each sample was a write of its own";
  for (const auto& pin : before["pins"]) {
    EXPECT_GE(pin["since_ms"].get<std::int64_t>(), kStart);
    EXPECT_LE(pin["since_ms"].get<std::int64_t>(), pin["newest_ms"].get<std::int64_t>());
    EXPECT_THAT(pin["released_by"].get<std::string>(), HasSubstr("checkpoint"));
  }
  const ProcessResult table = Cli({"inspect", db_, "--what", "pins"});
  EXPECT_EQ(table.exit_code, kOk) << table.err;
  EXPECT_THAT(table.out, HasSubstr("not stored"));
  EXPECT_THAT(table.out, HasSubstr("released by a checkpoint"));

  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  const nlohmann::json after = Inspect("summary");
  EXPECT_EQ(NotStored(after), 0U) << after.dump();
  EXPECT_GE(Sum(after["shards"], "series"), 0U + kPods + kJobs);
}

TEST_F(CliInspect, AQuarantinedShardKeepsItsLogAndIsNamed) {
  LogOnly(Text(kPods, 6), 6 * (kPods + kJobs));
  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  LogOnly(Text(kPods, 6, "other"), 6 * (kPods + kJobs));
  for (const std::string& table : TablesOf(db_, "chunk.1")) std::filesystem::remove(table);
  const ProcessResult result = Cli({"inspect", db_, "--format", "json"});
  EXPECT_EQ(result.exit_code, kProblems) << result.err;
  EXPECT_THAT(result.err, HasSubstr("shard 1 is quarantined"));
  bool found = false;
  const nlohmann::json inspected = Json(result);
  for (const auto& pin : inspected["pins"]) {
    EXPECT_EQ(pin["shard"] == 1, pin["reason"] == "quarantined") << pin.dump();
    found = found || pin["shard"] == 1;
  }
  EXPECT_TRUE(found);
  const ProcessResult counted = Cli({"cardinality", db_, "--format", "json"});
  EXPECT_EQ(counted.exit_code, kProblems);
  EXPECT_EQ(Json(counted)["problems"].size(), 1U);
}

TEST_F(CliInspect, CardinalityIsThatOfACountByHand) {
  Store();
  const nlohmann::json found = Cardinality();
  EXPECT_EQ(found["series"], kPods + kJobs);
  EXPECT_EQ(found["log_series"], 0);
  EXPECT_EQ(found["label_names"], 3);
  EXPECT_EQ(found["label_pairs"], 2 + kJobs + kPods);
  ASSERT_EQ(found["metrics"].size(), 2U);
  EXPECT_EQ(found["metrics"][0]["value"], "requests");
  EXPECT_EQ(found["metrics"][0]["series"], kPods);
  EXPECT_EQ(found["names_by_values"][0]["name"], "pod");
  EXPECT_EQ(found["names_by_values"][0]["values"], kPods);
  EXPECT_EQ(found["names_by_series"][0]["series"], kPods + kJobs);
  EXPECT_EQ(found["pairs"].size(), 10U);
  EXPECT_EQ(found["pairs"][0]["value"], "requests");
  EXPECT_EQ(found["pairs"][1], (nlohmann::json{{"name", "job"}, {"value", "j0"}, {"series", 14 + 1}}));
  EXPECT_EQ(Sum(found["shards"], "series"), 0U + kPods + kJobs);
  EXPECT_EQ(Sum(found["shards"], "samples"), 6U * (kPods + kJobs));
  std::uint64_t most = 0;
  for (const auto& shard : found["shards"]) most = std::max(most, shard["series"].get<std::uint64_t>());
  EXPECT_NEAR(found["series_skew"].get<double>(), static_cast<double>(most) * 4 / (kPods + kJobs), 1e-9);
  ASSERT_EQ(found["stored_windows"].size(), 3U);
  EXPECT_EQ(found["stored_windows"][0]["new"], kPods + kJobs);
  EXPECT_EQ(found["stored_windows"][1],
            (nlohmann::json{{"start_ms", kStart + 2 * kHour}, {"active", kPods + kJobs}, {"new", 0}, {"last_seen", 0}}));
  EXPECT_EQ(found["stored_windows"][2]["last_seen"], kPods + kJobs);
  EXPECT_EQ(Cardinality({"--top", "3"})["pairs"].size(), 3U);
}

TEST_F(CliInspect, CardinalityCountsSeriesThatOnlyTheLogHasOnce) {
  Store();
  // The same series again, and 40 new ones.
  LogOnly(Text(kPods, 6) + Text(kPods, 6, "new"), 12 * (kPods + kJobs));
  const nlohmann::json found = Cardinality();
  EXPECT_GE(found["series"].get<int>(), 2 * kPods + kJobs);
  EXPECT_LE(found["series"].get<int>(), 2 * kPods + kJobs + 1) << "`last` may have come to the log";
  EXPECT_GE(found["log_series"].get<int>(), kPods);
  EXPECT_EQ(found["metrics"][0]["series"], 2 * kPods);
  EXPECT_EQ(found["names_by_values"][0]["values"], 2 * kPods);
  EXPECT_GE(Sum(found["log_hours"], "created"), 0U + kPods);

  // A bound that holds none of their labels: they are counted as series, and said to be left out.
  const nlohmann::json bounded = Cardinality({"--fast", "--memory-limit", "1"});
  EXPECT_EQ(bounded["series"], found["series"]);
  EXPECT_GT(bounded["log_series_left_out"], 0);

  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  const nlohmann::json stored = Cardinality();
  EXPECT_EQ(stored["log_series"], 0);
  EXPECT_EQ(stored["metrics"][0]["series"], 2 * kPods);
}

TEST_F(CliInspect, LongAndOddLabelsAreCountedApart) {
  const std::string run(700, 'v');  // beyond what a key of the index holds
  std::string text = "# TYPE odd gauge\n";
  for (int i = 0; i < 4; ++i) {
    text += "odd{long=\"" + run + std::to_string(i / 2) + "\",n=\"" + std::to_string(i) + "\"} 1 " + std::to_string(kStart) + "\n";
  }
  text += "odd{n=\"<b>&\\\"'\"} 1 " + std::to_string(kStart) + "\n";
  for (const bool stored : {false, true}) {
    if (stored) {
      ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
    } else {
      LogOnly(text, 5);
    }
    const nlohmann::json found = Cardinality();
    std::map<std::string, int> pairs;
    for (const auto& pair : found["pairs"])
      pairs[pair["name"].get<std::string>() + "=" + pair["value"].get<std::string>()] = pair["series"];
    EXPECT_EQ(pairs["long=" + run + "0"], 2) << found.dump();
    EXPECT_EQ(pairs["long=" + run + "1"], 2);
    EXPECT_EQ(pairs["n=<b>&\"'"], 1);
  }
}

TEST_F(CliInspect, ThePageStandsAloneAndEscapesLabels) {
  const std::string time = " 1 " + std::to_string(kStart) + "\n";
  ASSERT_EQ(Import(Text(kPods, 6) + "odd{n=\"<script>alert('&')</script>\"}" + time, {"--input-format", "prometheus"}).exit_code,
            kOk);
  const auto page = [&] {
    const ProcessResult result = Cli({"inspect", db_, "--html", Path("page.html"), "--overwrite"});
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return ReadFile(Path("page.html"));
  };
  EXPECT_THAT(page(), HasSubstr("No chunk is stored yet"));
  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  const std::string text = page();
  for (const char* foreign : {"http:", "https:", "src=", "href=", "url(", "@import", "<script"}) {
    EXPECT_THAT(text, Not(HasSubstr(foreign)));
  }
  EXPECT_THAT(text, HasSubstr("n = &lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;"));
  for (const char* part : {"Shards", "What keeps the log", "Windows", "Cardinality", "Chunks by size", "prefers-color-scheme:dark",
                           "shard 15", "requests", "2023-11-15 00:00"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_TRUE(text.ends_with("</html>\n"));
  EXPECT_EQ(Cli({"inspect", db_, "--html", Path("no/such/page.html")}).exit_code, kFailure);
}

TEST_F(CliInspect, WorksBesideAWriterAndChangesNothing) {
  Store();
  Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--batch", "1", "-"}));
  std::string text = Text(kPods, 6, "live");
  for (int i = 0; i < 200'000; ++i) text += "# nothing\n";
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 200; })) << writer.err();
  EXPECT_GT(NotStored(Inspect("all")), 0U);
  EXPECT_GT(Cardinality()["log_series"], 0);
  EXPECT_EQ(writer.Wait().exit_code, kOk);
  EXPECT_EQ(Cardinality()["series"], 2 * kPods + kJobs);
}

}  // namespace
}  // namespace chronolith::testing
