// Two processes on one database, and processes that are killed.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class CliLive : public CliTest {
 protected:
  // Lines whose values tell their place: sample i of the feed is series i % 100, time and value i / 100.
  static std::string Feed(int from, int to) {
    std::string text;
    for (int i = from; i < to; ++i) {
      text += "live{s=\"" + std::to_string(i % 100) + "\"} " + std::to_string(i / 100) + " " +
              std::to_string(1'700'000'000'000 + i / 100) + "\n";
    }
    return text;
  }
  std::vector<std::string> ImportCommand() const {
    return Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "-"});
  }
  // Every row of a query over the feed; fails where a value is not the one that was sent.
  std::size_t CheckedRows() const {
    const std::vector<std::string> rows = Query("live");
    for (const std::string& row : rows) {
      const std::size_t value = row.rfind(',');
      const std::size_t time = row.rfind(',', value - 1);
      EXPECT_EQ(std::stoll(row.substr(time + 1)) - 1'700'000'000'000, std::stoll(row.substr(value + 1))) << row;
    }
    return rows.size();
  }
};

std::string HttpGet(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request = "GET " + path + " HTTP/1.0\r\nHost: localhost\r\n\r\n";
    if (write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
      char buffer[4096];
      for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) answer.append(buffer, static_cast<std::size_t>(n));
    }
  }
  close(fd);
  return answer;
}

TEST_F(CliLive, ReadersSeeWhatAWriterHasLogged) {
  Subprocess writer(ImportCommand());
  ASSERT_TRUE(writer.Write(Feed(0, 50'000)));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 20'000; }))
      << writer.err();
  const std::uint64_t logged = LastLogged(writer.err());
  EXPECT_GE(CheckedRows(), logged);

  ASSERT_TRUE(writer.Write(Feed(50'000, 100'000)));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 70'000; }))
      << writer.err();
  EXPECT_GE(CheckedRows(), LastLogged(writer.err()));
  EXPECT_EQ(Cli({"stat", "--db", db_}).exit_code, kOk);

  const ProcessResult ended = writer.Wait();
  EXPECT_EQ(ended.exit_code, kOk) << ended.err;
  EXPECT_EQ(LastLogged(ended.err), 0U + 100'000);
  EXPECT_EQ(CheckedRows(), 100'000U);
}

TEST_F(CliLive, ASecondWriterIsTurnedAway) {
  Subprocess writer(ImportCommand());
  ASSERT_TRUE(writer.Write(Feed(0, 20'000)));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) > 0; }));
  const ProcessResult second = Import("a 1 1\n");
  EXPECT_EQ(second.exit_code, kFailure);
  EXPECT_THAT(second.err, HasSubstr(db_));
  EXPECT_EQ(writer.Wait().exit_code, kOk);
  EXPECT_EQ(CheckedRows(), 20'000U);
}

TEST_F(CliLive, WhatAKilledImportHadLoggedIsThere) {
  std::uint64_t total = 0;
  for (int round = 0; round < 3; ++round) {
    Subprocess writer(ImportCommand());
    const int from = round * 100'000;
    ASSERT_TRUE(writer.Write(Feed(from, from + 60'000)));
    ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 30'000; }))
        << writer.err();
    writer.Kill(SIGKILL);
    const ProcessResult ended = writer.Wait();
    EXPECT_EQ(ended.signal, SIGKILL);
    total += LastLogged(ended.err);
    EXPECT_GE(CheckedRows(), total) << "round " << round;
  }
  // And the database still takes writes.
  const std::size_t before = CheckedRows();
  EXPECT_EQ(Import(Feed(400'000, 400'100)).exit_code, kOk);
  EXPECT_EQ(CheckedRows(), before + 100);
}

TEST_F(CliLive, WhatAKilledBenchHadLoggedIsThere) {
  Subprocess writer(
      Command({"bench", "write", "--db", db_, "--series", "2000", "--duration", "60", "--values", "walk", "--progress", "plain"}));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 500'000; }))
      << writer.err();
  writer.Kill(SIGKILL);
  const std::uint64_t logged = LastLogged(writer.Wait().err);
  auto read = Json(Cli({"bench", "read", "--db", db_, "--json"}));
  EXPECT_GE(read["samples"].get<std::uint64_t>(), logged);
  EXPECT_EQ(read["series"], 2000);
}

TEST_F(CliLive, ServesMetricsWhileItRuns) {
  std::vector<std::string> command = ImportCommand();
  command.insert(command.end() - 1, {"--metrics-port", "0"});
  Subprocess writer(command);
  ASSERT_TRUE(writer.Write(Feed(0, 20'000)));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) > 0; })) << writer.err();
  const std::size_t at = writer.err().find("http://127.0.0.1:");
  ASSERT_NE(at, std::string::npos) << writer.err();
  const std::string metrics = HttpGet(std::atoi(writer.err().c_str() + at + 17), "/metrics");
  EXPECT_THAT(metrics, HasSubstr("200 OK"));
  EXPECT_THAT(metrics, HasSubstr("# TYPE chronolith_"));
  EXPECT_THAT(metrics, HasSubstr("shard=\"0\""));
  EXPECT_EQ(writer.Wait().exit_code, kOk);
}

}  // namespace
}  // namespace chronolith::testing
