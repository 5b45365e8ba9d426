// Ctrl-C and SIGTERM at each command that may take long, and what is left behind.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class CliInterrupt : public CliTest {
 protected:
  // Its end, with stdin still open.
  static ProcessResult EndOf(Subprocess* process) {
    EXPECT_FALSE(process->WaitUntil([](const std::string&, const std::string&) { return false; }));
    return process->Wait();
  }

  // 8,000 series whose labels, names of labels and values are each more than pipes and buffers hold.
  void Fill() const {
    const std::string wide(120, 'x');
    std::string text;
    for (int i = 0; i < 8'000; ++i) {
      const std::string n = std::to_string(i);
      text += "m{id=\"" + wide + n + "\",l" + n + wide + "=\"1\"} " + n + " 1700000000000\n";
    }
    ASSERT_EQ(Import(text, {"--input-format", "prometheus"}).exit_code, kOk);
  }
  std::string InTerminal(const std::vector<std::string>& args) const {
    std::string command = std::string("exec ") + CHRONOLITH_CLI;  // a shell that waits would say 130 for any Ctrl-C
    for (const std::string& arg : args) command += " '" + arg + "'";
    return command;
  }
};

struct Form {
  std::vector<std::string> flags;
  std::string before;  // three samples a{} 1000 1, 2000 2, 3000 3
  std::string cut;     // the beginning of a fourth, which would be another one
  std::string rest;
};

const Form kForms[] = {
    {{}, "a 1 1000\na 2 2000\na 3 3000\n", "a 4 4", "000\n"},
    {{"jsonl"},
     "{\"metric\":{\"__name__\":\"a\"},\"values\":[1,2],\"timestamps\":[1000,2000]}\n"
     "{\"metric\":{\"__name__\":\"a\"},\"values\":[3],\"timestamps\":[3000]}\n",
     "{\"metric\":{\"__name__\":\"a\"},\"values\":[4],",
     "\"timestamps\":[4000]}\n"},
    {{"csv"}, "series,timestamp,value\na,1000,1\na,2000,2\na,3000,3\n", "a,4000,4", "5\n"},
};

TEST_F(CliInterrupt, AnImportThatWaitsForItsInputEndsAndTakesNoHalfLine) {
  for (const int signal : {SIGINT, SIGTERM}) {
    for (const Form& form : kForms) {
      const std::string db = Path("db" + std::to_string(signal) + (form.flags.empty() ? "" : form.flags[0]));
      std::vector<std::string> args = {"import"};
      args.insert(args.end(), form.flags.begin(), form.flags.end());
      args.insert(args.end(), {"--db", db, "--batch", "1", "--progress", "plain", "--format", "json"});
      if (form.flags.empty()) args.insert(args.end(), {"--input-format", "prometheus"});
      Subprocess import(Command(args));
      ASSERT_TRUE(import.Write(form.before + form.cut));
      // The last one waits for its batch: the end writes it.
      ASSERT_TRUE(import.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 2; }))
          << import.err();
      import.Kill(signal);
      const ProcessResult ended = EndOf(&import);
      EXPECT_EQ(ended.exit_code, kFailure) << ended.err;
      EXPECT_THAT(ended.err, HasSubstr("interrupted behind line "));
      EXPECT_THAT(ended.err, HasSubstr("of stdin"));
      EXPECT_EQ(Json(ended)["interrupted"], true);
      EXPECT_EQ(Json(ended)["samples"], 3);

      const auto query = [&] { return Lines(Cli({"query", "--db", db, "--format", "csv", "{}"}).out, 1); };
      EXPECT_THAT(query(), ElementsAre("a,1000,1", "a,2000,2", "a,3000,3"));
      const ProcessResult again = Cli(args, form.before + form.cut + form.rest);
      EXPECT_EQ(again.exit_code, kOk) << again.err;
      EXPECT_EQ(Json(again)["interrupted"], false);
      EXPECT_THAT(query(), SizeIs(4));
    }
  }
}

TEST_F(CliInterrupt, TheSameImportAgainChangesNothing) {
  const std::string text =
      "# TYPE a histogram\n# HELP a Of things.\n"
      "a_bucket{le=\"+Inf\"} 8 10 # {trace_id=\"KOO5S4\"} 0.054 9.5\na_count 8 10\na_sum 3 10\n# EOF\n";
  ASSERT_EQ(Import(text).exit_code, kOk);
  const auto all = [this] {
    return Cli({"export", "--db", db_, "--to", "jsonl"}).out + Cli({"series", "--db", db_, "--metadata"}).out;
  };
  const std::string once = all();
  ASSERT_THAT(once, HasSubstr("KOO5S4"));
  const ProcessResult again = Import(text);
  EXPECT_EQ(again.exit_code, kOk) << again.err;
  EXPECT_EQ(Json(again)["new_series"], 0);
  EXPECT_EQ(all(), once);
}

TEST_F(CliInterrupt, AnImportOfANamedPipeWithoutAWriterEnds) {
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  Subprocess import(Command({"import", "--db", db_, "--progress", "plain", Path("pipe")}));
  ASSERT_TRUE(import.WaitUntil([](const std::string&, const std::string& err) { return err.find("logged 0") != err.npos; }))
      << import.err();
  import.Kill(SIGINT);
  const ProcessResult ended = EndOf(&import);
  EXPECT_EQ(ended.exit_code, kFailure) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("line 0 of " + Path("pipe")));
}

TEST_F(CliInterrupt, ACutOffFileGivesNoHalfLineToTheDatabase) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "a{i=\"" + std::to_string(i) + "\"} " + std::to_string(i) + " 1700000000000\n";
  const std::string zipped = ReadFile(WriteGzip("whole.gz", text));
  for (const std::size_t missing : {9U, 100U, 1'000U}) {
    const std::string cut = WriteFile("cut.gz", zipped.substr(0, zipped.size() - missing));
    EXPECT_EQ(Import("", {"--input-format", "prometheus", cut, WriteFile("next", "b 1 1700000000000\n")}).exit_code, kFailure);
    for (const std::string& row : Query("{}")) EXPECT_THAT(row, HasSubstr(",1700000000000,"));
    EXPECT_THAT(Query("b"), SizeIs(1)) << "the file behind it is taken";
  }
}

TEST_F(CliInterrupt, CommandsThatPrintEndInTheMiddle) {
  Fill();
  const std::vector<std::vector<std::string>> kCommands = {
      {"query", "--db", db_, "{}"},
      {"query", "--db", db_, "{}", "--format", "json"},
      {"series", "--db", db_},
      {"labels", "--db", db_},
      {"values", "--db", db_, "id"},
      {"export", "--db", db_, "--to", "jsonl"},
      {"dump-wal", db_, "--records", "--format", "json"},
      {"replay", db_, "--target", "jsonl:-"},
  };
  for (const int signal : {SIGINT, SIGTERM}) {
    for (const auto& args : kCommands) {
      // It waits for its reader, who has not taken all.
      Subprocess process(Command(args));
      ASSERT_TRUE(process.WaitUntil([](const std::string& out, const std::string&) { return !out.empty(); })) << args[0];
      process.Kill(signal);
      const ProcessResult ended = process.Wait();
      EXPECT_EQ(ended.exit_code, kFailure) << args[0] << ended.err;
      EXPECT_THAT(ended.err, HasSubstr("interrupted; what was printed is not all")) << args[0];
    }
  }
}

TEST_F(CliInterrupt, TheSecondOneEndsItAtOnce) {
  Fill();
  Subprocess query(Command({"query", "--db", db_, "{}"}));
  ASSERT_TRUE(query.WaitUntil([](const std::string& out, const std::string&) { return !out.empty(); }));
  // Asleep, it waits for somebody to take what it prints, and cannot come to its end.
  const std::string stat = "/proc/" + std::to_string(query.pid()) + "/stat";
  while (ReadFile(stat).find(") S ") == std::string::npos) {
  }
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(query.pid()), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0) {
    query.Kill(SIGINT);
  }
  EXPECT_EQ(query.Wait().signal, SIGINT);
}

TEST_F(CliInterrupt, AtAQuestionNothingIsDone) {
  ASSERT_EQ(Import("a 1 1700000000000\n", {"--input-format", "prometheus"}).exit_code, kOk);
  for (const auto& args : std::vector<std::vector<std::string>>{
           {"delete", db_, "--match", "a"}, {"compact", db_, "--retention", "1d"}, {"recover", db_, "--accept-data-loss"}}) {
    Subprocess asked({"/usr/bin/script", "-qec", InTerminal(args), "/dev/null"});
    ASSERT_TRUE(asked.WaitUntil([](const std::string& out, const std::string&) { return out.find("[y/N]") != out.npos; }))
        << args[0] << asked.out();
    ASSERT_TRUE(asked.Write("\x03"));
    const ProcessResult ended = EndOf(&asked);
    EXPECT_EQ(ended.exit_code, kFailure) << args[0] << ended.out;
    EXPECT_THAT(ended.out, HasSubstr("interrupted; nothing was done")) << args[0];
  }
  EXPECT_THAT(Query("a"), SizeIs(1));
}

// Wherever it is cut off, the log still has what was not stored, and temporary files are gone.
TEST_F(CliInterrupt, ARecoveryIsSimplyRunAgain) {
  Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "-"}));
  std::string text;
  for (int i = 0; i < 300'000; ++i)
    text += "n{i=\"" + std::to_string(i % 1000) + "\"} 1 " + std::to_string(1'700'000'000'000 + i) + "\n";
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 250'000; }));
  writer.Kill(SIGKILL);
  (void)writer.Wait();
  const std::size_t rows = Query("n").size();
  EXPECT_GE(rows, 250'000U);
  std::filesystem::create_directory(Path("tmp"));
  setenv("TMPDIR", Path("tmp").c_str(), 1);
  for (const auto& more : std::vector<std::vector<std::string>>{{"--dry-run"}, {}}) {
    for (const int signal : {SIGINT, SIGTERM}) {
      std::vector<std::string> args = {"recover", db_, "-v"};
      args.insert(args.end(), more.begin(), more.end());
      Subprocess recover(Command(args));
      ASSERT_TRUE(recover.WaitUntil([](const std::string&, const std::string& err) { return !err.empty(); })) << recover.err();
      recover.Kill(signal);
      const ProcessResult ended = recover.Wait();
      if (ended.exit_code != kOk) {  // it may have been quicker
        EXPECT_EQ(ended.exit_code, kFailure) << ended.signal << ended.err;
        EXPECT_THAT(ended.err, HasSubstr("interrupted; "));
        EXPECT_THAT(ended.out, IsEmpty());
      }
      EXPECT_TRUE(std::filesystem::is_empty(Path("tmp"))) << ended.err;
    }
  }
  unsetenv("TMPDIR");
  EXPECT_EQ(Query("n").size(), rows);
  EXPECT_EQ(Cli({"recover", db_}).exit_code, kOk);
  EXPECT_EQ(Query("n").size(), rows);
  EXPECT_EQ(Cli({"verify", db_}).exit_code, kOk);
}

}  // namespace
}  // namespace chronolith::testing
