// Blocks that the program writes, as promtool and a Prometheus see them.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>

#include "tests/tools/cli_test_base.h"
#include "tests/tools/prometheus_peer.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class CliPrometheusExport : public CliTest {
 protected:
  ProcessResult Blocks(const std::string& to, std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"export", "prometheus-block", "--db", db_, "--format", "json", Path(to)};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  ProcessResult Promtool(std::vector<std::string> args) const {
    args.insert(args.begin(), FindProgram("promtool"));
    return RunProcess(args);
  }
  // The lines of `promtool tsdb dump`, sorted.
  std::vector<std::string> Dump(const std::string& directory) const {
    const ProcessResult dump = Promtool({"tsdb", "dump", Path(directory)});
    EXPECT_EQ(dump.exit_code, 0) << dump.err;
    std::vector<std::string> lines = Lines(dump.out);
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  // What it would print of the database: values in Go's shortest form come from promtool itself, by way of numbers that are short.
  std::vector<std::string> Expected() const {
    const ProcessResult exported = Cli({"export", "--db", db_, "--to", "jsonl"});
    EXPECT_EQ(exported.exit_code, kOk) << exported.err;
    std::vector<std::string> lines;
    for (const std::string& text : Lines(exported.out)) {
      const nlohmann::json line = nlohmann::json::parse(text);
      std::string labels;
      for (const auto& [name, value] : line["metric"].items()) {
        labels += (labels.empty() ? "{" : ", ") + name + "=" + value.dump();
      }
      for (std::size_t i = 0; i < line["values"].size(); ++i) {
        lines.push_back(labels + "} " + line["values"][i].dump() + " " + line["timestamps"][i].dump());
      }
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  // Blocks that have their name.
  std::size_t Complete(const std::string& directory) const {
    std::size_t n = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(Path(directory), error)) {
      n += fs::exists(entry.path() / "meta.json", error) && entry.path().extension().empty() ? 1 : 0;
    }
    return n;
  }
  // 40 series, a sample each 30 s for six hours from the beginning of a window on; values that all print alike.
  void ImportLoad(Timestamp start) {
    std::string text;
    for (int i = 0; i < 40; ++i) {
      const std::string series = "load_total{instance=\"host-" + std::to_string(i) + "\",path=\"/a\\\\b\\\"c\"} ";
      for (int k = 0; k < 720; ++k) text += series + std::to_string(i * 1000 + k) + " " + std::to_string(start + k * 30'000) + "\n";
    }
    ASSERT_EQ(Import(text, {"--input-format", "prometheus"}).exit_code, kOk);
  }
};

constexpr Timestamp kStart = 1'700'006'400'000;

TEST_F(CliPrometheusExport, PromtoolListsDumpsAndAnalyzesTheBlocks) {
  ImportLoad(kStart);
  const ProcessResult result = Blocks("out");
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  const nlohmann::json report = Json(result);
  ASSERT_THAT(report["blocks"], SizeIs(3));
  EXPECT_EQ(report["samples"], 40 * 720);
  const ProcessResult list = Promtool({"tsdb", "list", Path("out")});
  EXPECT_EQ(list.exit_code, 0) << list.err;
  for (const auto& block : report["blocks"]) {
    const std::string ulid = block["ulid"];
    EXPECT_THAT(list.out, HasSubstr(ulid));
    EXPECT_EQ(block["samples"], 40 * 240);
    const ProcessResult analysis = Promtool({"tsdb", "analyze", Path("out"), ulid});
    EXPECT_EQ(analysis.exit_code, 0) << analysis.err;
    EXPECT_THAT(analysis.out, HasSubstr("Series: 40\n"));
  }
  const std::vector<std::string> expected = Expected();
  ASSERT_EQ(expected.size(), 40u * 720);
  EXPECT_TRUE(Dump("out") == expected);

  // Again: nothing to do. Elsewhere, with other cuts: the same samples.
  const ProcessResult again = Blocks("out");
  EXPECT_EQ(again.exit_code, kOk);
  for (const auto& block : Json(again)["blocks"]) EXPECT_EQ(block["kept"], true);
  ASSERT_EQ(Blocks("long", {"--block-duration", "1d"}).exit_code, kOk);
  EXPECT_TRUE(Dump("long") == expected);
  ASSERT_EQ(Blocks("part", {"--match", "{instance=\"host-7\"}", "--start", std::to_string(kStart + 7'200'000), "--end",
                            std::to_string(kStart + 7'260'000)})
                .exit_code,
            kOk);
  EXPECT_THAT(Dump("part"), SizeIs(2));
}

TEST_F(CliPrometheusExport, APrometheusServesTheBlocksAsItsOwn) {
  const Timestamp start = kStart;
  ImportLoad(start);
  ASSERT_EQ(Import("odd{k=\"1\"} NaN " + std::to_string(start) + "\nodd{k=\"2\"} -Inf " + std::to_string(start) +
                       "\nodd{k=\"3\"} 0.1 " + std::to_string(start + 1) + "\n",
                   {"--input-format", "prometheus"})
                .exit_code,
            kOk);
  const std::string histograms =
      R"({"metric":{"__name__":"h"},"values":[],"timestamps":[],"histograms":[)"
      R"({"timestamp":1700006400000,"schema":0,"count":3,"sum":4.5,"zero_threshold":0.001,"zero_count":1,"positive_spans":[[0,2]],"positive_deltas":[1,0]},)"
      R"({"timestamp":1700006410000,"schema":0,"count":7,"sum":9.5,"zero_threshold":0.001,"zero_count":2,"positive_spans":[[0,2]],"positive_deltas":[2,1]}]})";
  const ProcessResult imported = Cli({"import", "jsonl", "--db", db_, WriteFile("h.jsonl", histograms + "\n")});
  ASSERT_EQ(imported.exit_code, kOk) << imported.err;
  ASSERT_EQ(Blocks("data").exit_code, kOk);
  const ProcessResult exported = Cli({"export", "--db", db_, "--to", "jsonl"});
  PrometheusPoints expected = JsonLinesPoints(exported.out);
  expected.erase({{"__name__", "h"}});

  PeerProcess prometheus(PrometheusServer(directory_, "global: {}\n", Path("data")));
  ASSERT_TRUE(prometheus.ready()) << prometheus.Log();
  PrometheusPoints served;
  for (const std::string selector : {"load_total", "odd"}) {
    served.merge(PrometheusRange(prometheus.port(), selector, start + 6 * 3'600'000, 361));
  }
  EXPECT_EQ(CountSamples(served), 40u * 720 + 3);
  EXPECT_TRUE(served == expected);
  const nlohmann::json count = PrometheusQuery(prometheus.port(), "histogram_count(h)", start + 20'000);
  ASSERT_THAT(count, SizeIs(1)) << prometheus.Log();
  EXPECT_EQ(count[0]["value"][1], "7");
  const nlohmann::json sum = PrometheusQuery(prometheus.port(), "histogram_sum(h)", start + 5'000);
  ASSERT_THAT(sum, SizeIs(1));
  EXPECT_EQ(sum[0]["value"][1], "4.5");
}

TEST_F(CliPrometheusExport, KilledAnywhereItGoesOnWithTheSameCommand) {
  ImportLoad(kStart);
  ASSERT_EQ(Blocks("whole", {"--block-duration", "5m"}).exit_code, kOk);
  std::size_t complete = 0;
  for (const std::size_t blocks : {1, 20, 50}) {
    Subprocess run(Command({"export", "prometheus-block", "--db", db_, "--block-duration", "5m", Path("out")}));
    while (Complete("out") < blocks) {  // the test's own time limit ends it
    }
    run.Kill(SIGKILL);
    run.Wait();
    EXPECT_GE(Complete("out"), complete);
    complete = Complete("out");
  }
  const ProcessResult last = Blocks("out", {"--block-duration", "5m"});
  ASSERT_EQ(last.exit_code, kOk) << last.err;
  const nlohmann::json blocks = Json(last)["blocks"];
  EXPECT_THAT(blocks, SizeIs(72));
  const auto kept = std::count_if(blocks.begin(), blocks.end(), [](const auto& b) { return b["kept"] == true; });
  EXPECT_GE(static_cast<std::size_t>(kept), complete);
  EXPECT_TRUE(Dump("out") == Dump("whole"));
  for (const auto& entry : fs::directory_iterator(Path("out"))) EXPECT_EQ(entry.path().extension(), "") << entry.path();
}

TEST_F(CliPrometheusExport, WrongUseIsNamed) {
  ImportLoad(kStart);
  EXPECT_EQ(Cli({"export", "prometheus-block", "--db", db_}).exit_code, kUsage);
  EXPECT_EQ(Cli({"export", "prometheus-block", Path("out")}).exit_code, kUsage);
  EXPECT_EQ(Blocks("out", {"--block-duration", "soon"}).exit_code, kUsage);
  EXPECT_EQ(Blocks("out", {"--block-duration", "0s"}).exit_code, kUsage);
  EXPECT_EQ(Blocks("out", {"--match", "a{"}).exit_code, kUsage);
  const ProcessResult database = Blocks("db");
  EXPECT_EQ(database.exit_code, kFailure);
  EXPECT_THAT(database.err, HasSubstr("is a Chronolith database"));
  EXPECT_THAT(Cli({"export", "prometheus-block", "--help"}).out, HasSubstr("promtool tsdb list"));
}

}  // namespace
}  // namespace chronolith::testing
