#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>

#include "tests/support/directory_image.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class CliExport : public CliTest {
 protected:
  ProcessResult Export(const std::string& form, const std::string& file, std::vector<std::string> more = {},
                       const std::string& db = "") const {
    std::vector<std::string> args = {"export", "--db", db.empty() ? db_ : db, "--to", form, "--format", "json", file};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  // `import` in the words of export's forms.
  static ProcessResult ImportForm(const std::string& form, const std::string& db, const std::string& file) {
    std::vector<std::string> args = {"import"};
    if (form != "openmetrics") args.push_back(form);
    args.insert(args.end(), {"--db", db, "--shards", "3", "--format", "json", file});
    return Cli(args);
  }
};

TEST_F(CliExport, WhatWasExportedAndImportedElsewhereIsExportedAsTheSameBytes) {
  ASSERT_EQ(Import("", {CHRONOLITH_TEST_DATA "/node_exporter.om.gz"}).exit_code, kOk);
  ASSERT_EQ(
      Import("v NaN 1\nv +Inf 2\nv 0.1 5.123\nx{odd=\"a\\\"b\\\\c\\nd, \xc3\xbc\"} 1 1 # {id=\"7\"} 3 0.5\n# EOF\n").exit_code,
      kOk);
  for (const std::string form : {"openmetrics", "jsonl", "csv"}) {
    const ProcessResult first = Export(form, Path("first." + form));
    ASSERT_EQ(first.exit_code, kOk) << first.err;
    EXPECT_EQ(Json(first)["series"], 431);
    EXPECT_EQ(Json(first)["samples"], 2149);
    EXPECT_EQ(Json(first)["bytes"], std::filesystem::file_size(Path("first." + form)));
    const ProcessResult imported = ImportForm(form, Path("db." + form), Path("first." + form));
    ASSERT_EQ(imported.exit_code, kOk) << imported.err;
    EXPECT_EQ(Json(imported)["samples"], 2149);
    EXPECT_EQ(Json(imported)["exemplars"], form == "csv" ? 0 : 1);
    ASSERT_EQ(Export(form, Path("second." + form), {}, Path("db." + form)).exit_code, kOk);
    EXPECT_TRUE(ReadFile(Path("first." + form)) == ReadFile(Path("second." + form))) << form;

    // The same file again changes nothing.
    const ProcessResult again = ImportForm(form, Path("db." + form), Path("first." + form));
    ASSERT_EQ(again.exit_code, kOk) << again.err;
    EXPECT_EQ(Json(again)["new_series"], 0);
    ASSERT_EQ(Export(form, Path("second." + form), {"--overwrite"}, Path("db." + form)).exit_code, kOk);
    EXPECT_TRUE(ReadFile(Path("first." + form)) == ReadFile(Path("second." + form))) << form;
  }
}

TEST_F(CliExport, HistogramsAndStaleMarkersComeThroughJsonLinesAndAreCountedElsewhere) {
  const std::string line =
      R"({"metric":{"__name__":"h"},"values":["StaleNaN"],"timestamps":[3000],"histograms":[{"timestamp":1000,"schema":0,)"
      R"("count":3,"sum":4.5,"zero_threshold":0,"zero_count":1,"positive_spans":[[0,2]],"positive_deltas":[1,0]}]})"
      "\n";
  const ProcessResult imported = ImportForm("jsonl", db_, WriteFile("h.jsonl", line));
  ASSERT_EQ(imported.exit_code, kOk) << imported.err;
  EXPECT_EQ(Json(imported)["histograms"], 1);
  ASSERT_EQ(Export("jsonl", Path("out.jsonl")).exit_code, kOk);
  EXPECT_EQ(ReadFile(Path("out.jsonl")), line);
  const ProcessResult lost = Export("openmetrics", Path("out.om"));
  EXPECT_EQ(lost.exit_code, kProblems);
  EXPECT_EQ(Json(lost)["left_out"]["histograms"], 1);
  EXPECT_EQ(Json(lost)["left_out"]["stale_markers"], 1);
  EXPECT_THAT(lost.err, HasSubstr("1 histograms, 1 stale markers"));
}

TEST_F(CliExport, StdoutSelectorsAndRange) {
  ASSERT_EQ(Import("a{i=\"1\"} 1 1000\na{i=\"2\"} 2 1000\nb 3 1000\nb 4 2000\nc 5 1000\n").exit_code, kOk);
  const ProcessResult out =
      Cli({"export", "--db", db_, "--to", "csv", "--match", "a{i=\"2\"}", "--match", "b", "--start", "1000", "--end", "2000"});
  EXPECT_EQ(out.exit_code, kOk) << out.err;
  EXPECT_EQ(out.out, "series,timestamp,value\n\"a{i=\"\"2\"\"}\",1000,2\nb,1000,3\n");
  EXPECT_THAT(out.err, HasSubstr("exported 2 samples"));
  EXPECT_EQ(Cli({"export", "--db", db_, "--match", "a{"}).exit_code, kUsage);
  EXPECT_EQ(Cli({"export", "--db", db_, "--match", "a{b=~\"(\"}"}).exit_code, kUsage);
  EXPECT_EQ(Cli({"export", "--db", db_, "--to", "xml"}).exit_code, kUsage);
  EXPECT_EQ(Cli({"export", "--db", Path("nowhere")}).exit_code, kFailure);
}

TEST_F(CliExport, AFileIsNotReplacedUnlessAskedForAndNeverHalfWritten) {
  ASSERT_EQ(Import("a 1 1000\n").exit_code, kOk);
  const std::string file = WriteFile("kept.csv", "precious");
  const ProcessResult refused = Export("csv", file);
  EXPECT_EQ(refused.exit_code, kFailure);
  EXPECT_THAT(refused.err, HasSubstr("--overwrite"));
  EXPECT_EQ(ReadFile(file), "precious");
  EXPECT_EQ(Export("csv", file, {"--overwrite"}).exit_code, kOk);
  EXPECT_EQ(ReadFile(file), "series,timestamp,value\na,1000,1\n");
  EXPECT_EQ(Export("csv", Path("no/such/folder.csv")).exit_code, kFailure);
  EXPECT_FALSE(std::filesystem::exists(file + ".partial"));
}

TEST_F(CliExport, BadJsonLinesAreNamedByNumberAndTheRestIsTaken) {
  const std::string good = R"({"metric":{"__name__":"a"},"values":[1],"timestamps":[1000]})";
  const std::string file =
      WriteFile("mixed.jsonl", good + "\n{\"metric\":1}\n\n" + R"({"metric":{"__name__":"b"},"values":[1,2],"timestamps":[1000]})" +
                                   "\n" + R"({"metric":{"__name__":"c"},"values":[1],"timestamps":[2000]})");
  const ProcessResult result = ImportForm("jsonl", db_, file);
  EXPECT_EQ(result.exit_code, kProblems);
  EXPECT_THAT(result.err, HasSubstr(file + ":2: byte 11: expected an object"));
  EXPECT_THAT(result.err, HasSubstr(file + ":4: 2 values, but 1 timestamps"));
  EXPECT_EQ(Json(result)["refused"], 2);
  EXPECT_THAT(Query("{}"), ElementsAre("a,1000,1", "c,2000,1"));
  EXPECT_EQ(Cli({"import", "jsonl", "--strict", "--db", Path("strict"), file}).exit_code, kProblems);
}

TEST_F(CliExport, CsvOfOthersIsReadByNamingItsColumns) {
  const std::string file = WriteFile("rooms.csv",
                                     "at;room;temperature;humidity\n1767225600;hall;21.5;40\n1767225660;hall;;41\n"
                                     "soon;hall;1;1\n1767225720;\"at\"\"tic\";19;nan\n");
  const ProcessResult result = Cli({"import", "csv", "--db", db_, "--format", "json", "--delimiter", ";", "--time-column", "at",
                                    "--time-unit", "s", "--value-column", "temperature", "--value-column", "humidity", file});
  EXPECT_EQ(result.exit_code, kProblems) << result.err;
  EXPECT_THAT(result.err, HasSubstr(file + ":4: column \"at\""));
  EXPECT_EQ(Json(result)["samples"], 5);
  EXPECT_THAT(
      Query("{}"),
      ElementsAre("\"humidity{room=\"\"at\\\"\"tic\"\"}\",1767225720000,NaN", "\"humidity{room=\"\"hall\"\"}\",1767225600000,40",
                  "\"humidity{room=\"\"hall\"\"}\",1767225660000,41", "\"temperature{room=\"\"at\\\"\"tic\"\"}\",1767225720000,19",
                  "\"temperature{room=\"\"hall\"\"}\",1767225600000,21.5"));
  const ProcessResult no_header = ImportForm("csv", db_, WriteFile("none.csv", "1,2,3\n"));
  EXPECT_EQ(no_header.exit_code, kFailure);
  EXPECT_THAT(no_header.err, HasSubstr("no column \"timestamp\""));
}

// ---- Of a log that memory does not hold ----

class CliExportOfALog : public CliExport {
 protected:
  // The log keeps what an import has written last, which is far more than a 64th of kLittle.
  void Fill() {
    std::string text;
    for (int i = 0; i < 4000; ++i)
      text += "n{i=\"" + std::to_string(i % 400) + "\"} " + std::to_string(i) + " " + std::to_string(1700000000000 + i) + "\n";
    ASSERT_EQ(Import(text, {"--input-format", "prometheus", "--batch", "50"}).exit_code, kOk);
    std::filesystem::create_directory(Path("tmp"));
    ASSERT_GT(std::filesystem::file_size(LargestLog(db_ + "/log")), 10'000U);
  }
  // A log of which nothing is stored: the writer was killed.
  void FillUnstored() {
    constexpr int kSeries = 60'000;
    std::string text;
    for (int i = 0; i < kSeries; ++i)
      text += "n{i=\"" + std::to_string(i) + "\",j=\"" + std::to_string(i * 7919 % 100'003) + "\"} 1 1700000000000\n";
    Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "-"}));
    ASSERT_TRUE(writer.Write(text));
    ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= kSeries * 3 / 4; }))
        << writer.err();
    writer.Kill(SIGKILL);
    writer.Wait();
    std::filesystem::create_directory(Path("tmp"));
  }
  // Both verbs, with temporary files in `temporary`.
  std::vector<ProcessResult> ExportBoth(const std::string& limit, const std::string& name,
                                        const std::string& temporary = "tmp") const {
    setenv("TMPDIR", Path(temporary).c_str(), 1);
    std::vector<ProcessResult> results = {
        Export("jsonl", Path(name + ".jsonl"), {"--memory-limit", limit, "-v"}),
        Cli({"export", "prometheus-block", "--db", db_, "--format", "json", "--memory-limit", limit, "-v", Path(name)})};
    unsetenv("TMPDIR");
    for (ProcessResult& result : results) {
      std::string kept;  // without what the engine says
      for (const std::string& line : Lines(result.err)) kept += line.find(" rocksdb: ") == std::string::npos ? line + "\n" : "";
      const bool copied = result.err.find("on a copy: ") != std::string::npos;
      result.err = kept + (copied ? "read from a copy\n" : "");
    }
    return results;
  }
  static constexpr char kLittle[] = "64KiB";
};

TEST_F(CliExportOfALog, ACopyIsStoredAndReadAndGivesTheSame) {
  Fill();
  const auto before = testing_support::LookAtTree(db_);
  const std::vector<ProcessResult> held = ExportBoth("256MiB", "held"), copied = ExportBoth(kLittle, "copied");
  for (std::size_t i = 0; i < held.size(); ++i) {
    EXPECT_EQ(held[i].exit_code, kOk) << held[i].err;
    EXPECT_THAT(held[i].err, ::testing::Not(HasSubstr("read from a copy")));
    EXPECT_EQ(copied[i].exit_code, kOk) << copied[i].err;
    EXPECT_THAT(copied[i].err, HasSubstr("read from a copy"));
  }
  EXPECT_TRUE(ReadFile(Path("held.jsonl")) == ReadFile(Path("copied.jsonl")));
  EXPECT_EQ(Json(held[0])["samples"], 4000);
  EXPECT_EQ(Json(held[1])["blocks"], Json(copied[1])["blocks"]);
  EXPECT_EQ(Json(copied[1])["samples"], 4000);
  EXPECT_TRUE(std::filesystem::is_empty(Path("tmp")));
  EXPECT_TRUE(testing_support::LookAtTree(db_) == before) << "nothing of the database was changed";
}

TEST_F(CliExportOfALog, WithoutRoomForACopyTheDatabaseIsReadWithAWarning) {
  Fill();
  for (const ProcessResult& result : ExportBoth(kLittle, "out", "not/there")) {
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    EXPECT_THAT(result.err, HasSubstr("warning: --memory-limit may be passed"));
    EXPECT_EQ(Json(result)["samples"], 4000);
  }
}

TEST_F(CliExportOfALog, BesideAWriterACopyIsReadToo) {
  Fill();
  Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--batch", "1", "-"}));
  std::string text = "n 1 1700000000000\nn 2 1700000001000\n";
  for (int i = 0; i < 200'000; ++i) text += "# nothing\n";
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 1; })) << writer.err();
  for (const ProcessResult& result : ExportBoth(kLittle, "out")) {
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    EXPECT_THAT(result.err, ::testing::Not(HasSubstr("warning: --memory-limit")));
    EXPECT_THAT(result.err, HasSubstr("read from a copy"));
    EXPECT_GE(Json(result)["samples"], 4001);
  }
  writer.CloseInput();
  EXPECT_EQ(writer.Wait().exit_code, kOk);
}

// Verbs that only look do so where memory does not hold what the log does.
TEST_F(CliExportOfALog, LooksReadACopyWhereMemoryDoesNotHoldTheLog) {
  ASSERT_NO_FATAL_FAILURE(FillUnstored());
  setenv("TMPDIR", Path("tmp").c_str(), 1);
  const auto before = testing_support::LookAtTree(db_);
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"query", "{}"}, {"series"}, {"labels"}, {"values", "i"}, {"delete", "--match", "{}", "--dry-run"}}) {
    SCOPED_TRACE(command[0]);
    const auto run = [&](const std::string& limit) {
      std::vector<std::string> args = {command[0], "--db", db_, "--memory-limit", limit, "-v"};
      args.insert(args.end(), command.begin() + 1, command.end());
      return Cli(args);
    };
    const ProcessResult held = run("256MiB"), copied = run("8MiB");
    EXPECT_EQ(held.exit_code, kOk) << held.err;
    EXPECT_EQ(copied.exit_code, kOk) << copied.err;
    EXPECT_THAT(held.err, ::testing::Not(HasSubstr("on a copy: ")));
    EXPECT_THAT(copied.err, HasSubstr("on a copy: "));
    const auto sorted = [](const ProcessResult& result) {
      std::vector<std::string> lines = Lines(result.out);
      std::sort(lines.begin(), lines.end());  // with less memory they come in more pieces, each in order
      return lines;
    };
    EXPECT_TRUE(sorted(held) == sorted(copied));
    EXPECT_NE(held.out, "");
  }
  unsetenv("TMPDIR");
  EXPECT_TRUE(std::filesystem::is_empty(Path("tmp")));
  EXPECT_TRUE(testing_support::LookAtTree(db_) == before) << "nothing of the database was changed";
}

TEST_F(CliExportOfALog, AnInterruptedLookRemovesItsCopy) {
  ASSERT_NO_FATAL_FAILURE(FillUnstored());
  setenv("TMPDIR", Path("tmp").c_str(), 1);
  Subprocess look(Command({"series", "--db", db_, "--memory-limit", "8MiB"}));
  unsetenv("TMPDIR");
  // It prints more than a pipe holds, and nobody reads on.
  ASSERT_TRUE(look.WaitUntil([](const std::string& out, const std::string&) { return !out.empty(); })) << look.err();
  EXPECT_FALSE(std::filesystem::is_empty(Path("tmp")));
  look.Kill(SIGINT);
  EXPECT_EQ(look.Wait().exit_code, kFailure);
  EXPECT_TRUE(std::filesystem::is_empty(Path("tmp")));
}

TEST_F(CliExportOfALog, DamageIsNamedAsOfTheDatabase) {
  Fill();
  const std::string log = LargestLog(db_ + "/log");
  FlipByte(log, 0.5);
  for (const ProcessResult& result : ExportBoth(kLittle, "out")) {
    EXPECT_EQ(result.exit_code, kFailure);
    EXPECT_THAT(result.err, HasSubstr("log is damaged in " + log + ", bytes "));
    EXPECT_THAT(result.err, ::testing::Not(HasSubstr("chronolith-recover-")));
    EXPECT_FALSE(std::filesystem::exists(Path("out.jsonl")));
  }
  EXPECT_TRUE(std::filesystem::is_empty(Path("tmp")));
}

}  // namespace
}  // namespace chronolith::testing
