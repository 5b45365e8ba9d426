// The data of a real Prometheus that scrapes a real node exporter, taken by the program, compared with what Prometheus answers.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>

#include "tests/tools/cli_test_base.h"
#include "tests/tools/prometheus_peer.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class CliPrometheusImport : public CliTest {
 protected:
  static std::string ScrapeConfiguration(int exporter) {
    return "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
           "storage: {tsdb: {out_of_order_time_window: 1h}}\n"
           "scrape_configs:\n- job_name: node\n  static_configs: [{targets: ['127.0.0.1:" +
           std::to_string(exporter) + "']}]\n";
  }
  // The time of the newest scrape, once there are that many.
  static Timestamp AwaitScrapes(const PeerProcess& prometheus, int scrapes) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    std::string last;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto now = static_cast<Timestamp>(time(nullptr)) * 1000 + 1000;
      const nlohmann::json count = PrometheusQuery(prometheus.port(), "count_over_time(node_load1[10m])", now);
      last = count.dump();
      if (count.size() == 1 && std::stoi(count[0]["value"][1].get<std::string>()) >= scrapes) {
        const nlohmann::json newest = PrometheusQuery(prometheus.port(), "timestamp(node_load1)", now);
        if (newest.size() != 1) continue;  // the last scrape came to nothing
        return static_cast<Timestamp>(std::llround(std::stod(newest[0]["value"][1].get<std::string>()) * 1000));
      }
    }
    ADD_FAILURE() << "no " << scrapes << " scrapes within two minutes; the last count: " << last;
    return 0;
  }
  ProcessResult ImportFrom(const std::string& data, const std::string& db, std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"import", "prometheus", "--db", Path(db), "--format", "json", "--shards", "4", Path(data)};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  PrometheusPoints Stored(const std::string& db) const {
    const ProcessResult exported = Cli({"export", "--db", Path(db), "--to", "jsonl"});
    EXPECT_EQ(exported.exit_code, kOk) << exported.err;
    return JsonLinesPoints(exported.out);
  }
  std::vector<std::string> Dump(const std::string& directory) const {
    const ProcessResult dump = RunProcess({FindProgram("promtool"), "tsdb", "dump", Path(directory)});
    EXPECT_EQ(dump.exit_code, 0) << dump.err;
    std::vector<std::string> lines = Lines(dump.out);
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  // Blocks with 300 series of 1000 samples.
  void MakeBlocks(const std::string& to) {
    std::string text;
    for (int i = 0; i < 300; ++i) {
      const std::string series = "load_total{instance=\"host-" + std::to_string(i) + "\"} ";
      for (int k = 0; k < 1000; ++k) {
        text += series + std::to_string(i * 1000 + k % 37) + " " + std::to_string(1'700'006'400'000 + k * 30'000) + "\n";
      }
    }
    db_ = Path("source");
    ASSERT_EQ(Import(text, {"--input-format", "prometheus"}).exit_code, kOk);
    ASSERT_EQ(Cli({"export", "prometheus-block", "--db", db_, Path(to)}).exit_code, kOk);
  }
  static void Flip(const std::string& path, std::uintmax_t at) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(at));
    const char c = static_cast<char>(file.get() ^ 0x55);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(c);
  }
};

constexpr const char* kEverything = "{__name__=~\".+\"}";

TEST_F(CliPrometheusImport, ARunningPrometheusItsSnapshotItsDeletesAndBackAgain) {
  PeerProcess exporter(NodeExporter(directory_));
  ASSERT_TRUE(exporter.ready()) << exporter.Log();
  PeerProcess prometheus(PrometheusServer(directory_, ScrapeConfiguration(exporter.port())));
  ASSERT_TRUE(prometheus.ready()) << prometheus.Log();

  // While it runs: all that it answered before.
  Timestamp end = AwaitScrapes(prometheus, 15);
  PrometheusPoints answered = PrometheusRange(prometheus.port(), kEverything, end, 60);
  ASSERT_GT(CountSamples(answered), 500u);
  ProcessResult imported = ImportFrom("data", "db");
  ASSERT_EQ(imported.exit_code, kOk) << imported.err;
  EXPECT_GE(Json(imported)["samples"], CountSamples(answered));
  EXPECT_TRUE(Within(Stored("db"), 0, end) == answered);

  // A block of it.
  const HttpAnswer snapshot = HttpCall(prometheus.port(), "POST", "/api/v1/admin/tsdb/snapshot");
  ASSERT_EQ(snapshot.status, 200) << snapshot.body;
  const std::string name = "data/snapshots/" + nlohmann::json::parse(snapshot.body)["data"]["name"].get<std::string>();
  imported = ImportFrom(name, "snapshot_db");
  ASSERT_EQ(imported.exit_code, kOk) << imported.err;
  ASSERT_THAT(Json(imported)["blocks"], SizeIs(1));
  EXPECT_EQ(Json(imported)["log"]["segments"], 0);
  EXPECT_TRUE(Within(Stored("snapshot_db"), 0, end) == answered);
  EXPECT_EQ(Json(imported)["samples"], CountSamples(Stored("snapshot_db")));

  // Deletes, which stand in the log behind what they hide; and the same import again.
  end = AwaitScrapes(prometheus, 20);
  ASSERT_EQ(HttpCall(prometheus.port(), "POST", "/api/v1/admin/tsdb/delete_series?match[]=node_load1").status, 204);
  prometheus.Stop(SIGTERM);
  imported = ImportFrom("data", "after");
  ASSERT_EQ(imported.exit_code, kOk) << imported.err;
  EXPECT_GE(Json(imported)["deleted"], 20);
  EXPECT_EQ(Json(imported)["log"]["torn"], "");
  const PrometheusPoints after = Stored("after");
  ASSERT_EQ(ImportFrom("data", "after").exit_code, kOk);
  EXPECT_TRUE(Stored("after") == after);

  // Back again: line by line what promtool sees in Prometheus' own files.
  ASSERT_EQ(Cli({"export", "prometheus-block", "--db", Path("after"), Path("back")}).exit_code, kOk);
  const std::vector<std::string> dumped = Dump("data");
  ASSERT_GT(dumped.size(), 500u);
  EXPECT_TRUE(Dump("back") == dumped);
}

TEST_F(CliPrometheusImport, DeletesInBlocksAreApplied) {
  MakeBlocks("data");
  PrometheusPoints answered;
  const Timestamp end = 1'700'006'400'000 + 1000 * 30'000;
  {
    PeerProcess prometheus(PrometheusServer(directory_, "global: {}\n"));
    ASSERT_TRUE(prometheus.ready()) << prometheus.Log();
    const std::string target = "/api/v1/admin/tsdb/delete_series?match[]=" + UrlEncoded("load_total{instance=~\"host-.*7\"}") +
                               "&start=1700010000&end=1700020000";
    ASSERT_EQ(HttpCall(prometheus.port(), "POST", target).status, 204);
    answered = PrometheusRange(prometheus.port(), "load_total", end, 600);
    prometheus.Stop(SIGTERM);
  }
  const ProcessResult imported = ImportFrom("data", "db");
  ASSERT_EQ(imported.exit_code, kOk) << imported.err;
  EXPECT_EQ(Json(imported)["deleted"], 30 * 334);  // from 1700010000 to 1700020000, each 30 s, ends included
  EXPECT_EQ(CountSamples(answered), 300u * 1000 - 30 * 334);
  EXPECT_TRUE(Stored("db") == answered);
}

TEST_F(CliPrometheusImport, DamageIsNamedByFileAndTheRestIsTaken) {
  MakeBlocks("data");
  {
    PeerProcess exporter(NodeExporter(directory_));
    ASSERT_TRUE(exporter.ready()) << exporter.Log();
    PeerProcess prometheus(PrometheusServer(directory_, ScrapeConfiguration(exporter.port())));
    ASSERT_TRUE(prometheus.ready()) << prometheus.Log();
    AwaitScrapes(prometheus, 10);
    prometheus.Stop(SIGKILL);
  }
  const ProcessResult whole = ImportFrom("data", "whole");
  ASSERT_EQ(whole.exit_code, kOk) << whole.err;
  const PrometheusPoints all = Stored("whole");
  const std::string block = Json(whole)["blocks"][1]["ulid"];
  const std::string wal = fs::directory_iterator(Path("data/wal"))->path().filename();
  int n = 0;
  const auto damaged = [&](const std::string& file, const std::function<void(const std::string&)>& damage) {
    const std::string copy = "copy" + std::to_string(n), db = "db" + std::to_string(n);
    ++n;
    fs::copy(Path("data"), Path(copy), fs::copy_options::recursive);
    damage(Path(copy + "/" + file));
    const ProcessResult result = ImportFrom(copy, db);
    EXPECT_EQ(result.exit_code, kProblems) << file << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr(file));
    // Nothing that was not there, and other blocks whole.
    const PrometheusPoints rest = Stored(db);
    EXPECT_GT(CountSamples(rest), 200'000u) << file;
    for (const auto& [series, samples] : rest) {
      const auto found = all.find(series);
      ASSERT_NE(found, all.end());
      ASSERT_TRUE(std::includes(found->second.begin(), found->second.end(), samples.begin(), samples.end()));
    }
    fs::remove_all(Path(copy));
    fs::remove_all(Path(db));
  };
  const auto middle = [](const std::string& path) { Flip(path, fs::file_size(path) / 2); };
  for (const std::string file : {"index", "chunks/000001"}) {
    damaged(block + "/" + file, [](const std::string& path) { Flip(path, 300); });
    damaged(block + "/" + file, [](const std::string& path) { fs::resize_file(path, fs::file_size(path) / 2); });
    damaged(block + "/" + file, [](const std::string& path) { fs::remove(path); });
  }
  damaged(block + "/tombstones", [](const std::string& path) { Flip(path, 2); });
  damaged(block + "/meta.json", [](const std::string& path) { fs::resize_file(path, 10); });
  damaged(block + "/meta.json", [](const std::string& path) { fs::remove(path); });
  damaged("wal/" + wal, [](const std::string& path) { Flip(path, 5); });
  damaged("wal/" + wal, middle);
  // A torn end is no damage.
  fs::copy(Path("data"), Path("torn"), fs::copy_options::recursive);
  fs::resize_file(Path("torn/wal/" + wal), fs::file_size(Path("torn/wal/" + wal)) - 3);
  const ProcessResult torn = ImportFrom("torn", "torn_db");
  EXPECT_EQ(torn.exit_code, kOk) << torn.err;
  EXPECT_THAT(torn.err, HasSubstr("torn at its end"));
}

TEST_F(CliPrometheusImport, KilledAnywhereTheSameCommandAddsTheRest) {
  MakeBlocks("data");
  const std::vector<std::string> dumped = Dump("data");
  for (const std::uintmax_t least : {1, 30'000, 100'000}) {
    Subprocess run(Command({"import", "prometheus", "--db", Path("db"), Path("data")}));
    const auto bytes = [&] {
      std::uintmax_t sum = 0;
      std::error_code error;
      for (fs::recursive_directory_iterator it(Path("db"), error), end; !error && it != end; it.increment(error)) {
        std::error_code gone;
        const std::uintmax_t size = it->is_regular_file(gone) ? it->file_size(gone) : 0;
        sum += gone ? 0 : size;
      }
      return sum;
    };
    const auto ended = [] {
      siginfo_t info{};
      return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
    };
    while (bytes() < least && !ended()) {
    }
    run.Kill(SIGKILL);
    run.Wait();
  }
  ASSERT_EQ(ImportFrom("data", "db").exit_code, kOk);
  ASSERT_EQ(Cli({"export", "prometheus-block", "--db", Path("db"), Path("back")}).exit_code, kOk);
  EXPECT_TRUE(Dump("back") == dumped);
}

TEST_F(CliPrometheusImport, WrongUseIsNamedAndADryRunWritesNothing) {
  MakeBlocks("data");
  EXPECT_EQ(Cli({"import", "prometheus", "--db", Path("db")}).exit_code, kUsage);
  EXPECT_EQ(Cli({"import", "prometheus", Path("data")}).exit_code, kUsage);
  EXPECT_EQ(ImportFrom("data", "db", {"--match", "a{"}).exit_code, kUsage);
  const ProcessResult nowhere = ImportFrom("nowhere", "db");
  EXPECT_EQ(nowhere.exit_code, kFailure);
  EXPECT_THAT(nowhere.err, HasSubstr("nowhere"));
  fs::create_directory(Path("empty"));
  EXPECT_THAT(ImportFrom("empty", "other").err, HasSubstr("neither blocks nor"));
  const ProcessResult dry = ImportFrom("data", "db", {"--dry-run"});
  EXPECT_EQ(dry.exit_code, kOk) << dry.err;
  EXPECT_EQ(Json(dry)["samples"], 300'000);
  EXPECT_FALSE(fs::exists(Path("db")));
  const ProcessResult some =
      ImportFrom("data", "db", {"--match", "{instance=\"host-7\"}", "--start", "1700006400000", "--end", "1700006460000"});
  EXPECT_EQ(some.exit_code, kOk) << some.err;
  EXPECT_EQ(Json(some)["samples"], 2);
  EXPECT_THAT(Cli({"series", "--db", Path("db")}).out, Not(HasSubstr("host-8")));
}

}  // namespace
}  // namespace chronolith::testing
