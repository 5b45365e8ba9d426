// chronolithd as a user runs it: the program, its flags, signals and exit codes, with our own replay as the sender.
#include <gmock/gmock.h>
#include <signal.h>

#include <atomic>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/server/server_process.h"
#include "tests/server/tls_files.h"
#include "tests/support/peer_process.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;
using Server = ServerProcess;

class ChronolithdTest : public CliTest {
 protected:
  std::vector<std::string> Args(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"--db", Path("served"), "--listen", "127.0.0.1:0"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  // A database with some of everything that replay sends.
  void Fill(int series, int times) {
    std::string text = "# HELP load Some load.\n# TYPE load gauge\n";
    const std::int64_t start = 1'700'000'000'000;
    for (int i = 0; i < times; ++i) {
      for (int s = 0; s < series; ++s) {
        text += "load{host=\"h " + std::to_string(s) + "\"} " + std::to_string(s + i / 8.0) + " " +
                std::to_string(start + i * 15'000) + "\n";
      }
    }
    const ProcessResult import = Cli({"import", "--db", db_, "--input-format", "prometheus", "--shards", "4", "-"}, text);
    ASSERT_EQ(import.exit_code, kOk) << import.err;
  }
  std::vector<std::string> All(const std::string& db) const {
    const ProcessResult result = Cli({"export", "--db", db, "--to", "csv"});
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    std::vector<std::string> lines = Lines(result.out);
    std::sort(lines.begin(), lines.end());
    return lines;
  }
};

TEST_F(ChronolithdTest, TellsHowItIsUsedAndRefusesWhatItIsNot) {
  const ProcessResult help = RunProcess({CHRONOLITHD, "--help"});
  EXPECT_EQ(help.exit_code, kOk);
  EXPECT_THAT(help.out, HasSubstr("--ack-level"));
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
  EXPECT_THAT(RunProcess({CHRONOLITHD, "--version"}).out, HasSubstr("chronolithd "));
  struct Case {
    std::vector<std::string> args;
    std::string err;
  };
  const Case cases[] = {
      {{}, "--db is required"},
      {Args({"--ack-level", "maybe"}), "--ack-level"},
      {{"--db", db_, "--listen", "nowhere"}, "--listen takes ADDRESS:PORT"},
      {{"--db", db_, "--listen", "127.0.0.1:70000"}, "--listen takes ADDRESS:PORT"},
      {{"--db", db_, "--listen", "some.host:80"}, "numeric address"},
      {Args({"--idle-timeout", "soon"}), "--idle-timeout"},
      {Args({"--name-validation", "some"}), "--name-validation"},
      {Args({"--shards", "32"}), "--shards"},
      {Args({"--memory-limit", "1"}), "--memory-limit must be at least 67108864, not 1"},
      {Args({"--max-labels", "0"}), "--max-labels must be at least 1"},
      {Args({"--retention", "200y"}), "--retention: must be at most a hundred years, not 200y"},
      {Args({"--max-series", "0"}), "--max-series must be at least 1"},
      {Args({"--max-label-name-bytes", "7"}), "--max-label-name-bytes must be at least 8"},
      {Args({"--max-body-bytes", "0"}), "--max-body-bytes must be at least 1"},
      {Args({"--max-series=-1"}), "--max-series is too large, or negative"},
      {Args({"--max-connections=-5"}), "--max-connections is too large, or negative"},
      {Args({"--memory-limit=-1"}), "--memory-limit"},
      {Args({"--max-connections", "0"}), "--max-connections must be at least 1"},
      {Args({"--otlp-http-listen", "localhost:4318"}), "--otlp-http-listen: 'localhost' is not a numeric address"},
      {Args({"--otlp-grpc-listen", "[::1:4317"}), "numeric address"},
      {Args({"--web.config.file", Path("absent.yml")}), "absent.yml"},
      {Args({"--idle-timeout", "1000y"}), "must not be longer than a year"},
      {Args({"--query-timeout", "0"}), "must be longer than 0"},
      {Args({"--query-timeout=-1s"}), "--query-timeout"},
      {Args({"--workers", "0"}), "--workers"},
      {Args({"--workers=-1"}), "--workers"},
      {Args({"--retention=-1d"}), "--retention"},
      {Args({"--series-cache-bytes=-1"}), "--series-cache-bytes"},
      {Args({"--series-cache-bytes", "18446744073709551615"}), "--series-cache-bytes is too large"},
      {Args({"--max-in-flight-bytes", "99999999999999999999"}), "--max-in-flight-bytes"},
      {Args({"--snapshot-dir", WriteFile("file", "")}),
       "--snapshot-dir " + Path("file") + ": " + Path("file") + " is no directory"},
      {Args({"--snapshot-dir", Path("file/below/it")}), Path("file") + " is no directory"},
      {Args({"--snapshot-dir", Path("served/snapshots")}), "it lies in the database"},
      {Args({"--snapshot-dir", Path("served")}), "it lies in the database"},
      {Args({"--port-file", "/dev/null"}), "--port-file /dev/null: it is no file"},
  };
  for (const Case& c : cases) {
    const ProcessResult result = RunProcess(Server::WithProgram(c.args));
    EXPECT_EQ(result.exit_code, kUsage) << c.err;  // a service manager does not try again
    EXPECT_THAT(result.err, HasSubstr(c.err));
    EXPECT_FALSE(std::filesystem::exists(Path("served")) || std::filesystem::exists(db_)) << c.err;
  }
}

TEST_F(ChronolithdTest, ServesUntilItIsTold) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Server server(Args({"--port-file", Path("port")}));
    ASSERT_GT(server.port(), 0) << server.err();
    EXPECT_EQ(ReadFile(Path("port")), std::to_string(server.port()) + "\n");
    EXPECT_EQ(HttpCall(server.port(), "GET", "/-/healthy").status, 200);
    HttpAnswer ready;
    do {  // listens before its shards serve
      ready = HttpCall(server.port(), "GET", "/-/ready");
    } while (ready.status == 503);
    EXPECT_EQ(ready.status, 200);
    EXPECT_EQ(nlohmann::json::parse(ready.body)["shards"].size(), 16U);
    EXPECT_EQ(HttpCall(server.port(), "GET", "/api/v1/write").status, 405);
    EXPECT_EQ(HttpCall(server.port(), "POST", "/api/v1/write", "x").status, 400);
    const HttpAnswer metrics = HttpCall(server.port(), "GET", "/metrics");
    EXPECT_THAT(metrics.body, HasSubstr("chronolith_http_requests_total{handler=\"/api/v1/write\",code=\"400\"} 1\n"));
    EXPECT_THAT(metrics.body, HasSubstr("chronolith_remote_write_written_total{kind=\"sample\"} 0\n"));
    EXPECT_THAT(metrics.body, HasSubstr("chronolith_wal_records_total{shard=\"15\"}"));
    const auto value = [&](const std::string& name) {
      const std::size_t at = metrics.body.find("\n" + name + " ");
      return at == std::string::npos ? -1.0 : std::stod(metrics.body.substr(at + name.size() + 2));
    };
    EXPECT_GT(value("process_cpu_seconds_total"), 0);
    EXPECT_GT(value("process_resident_memory_bytes"), 1 << 20);
    EXPECT_GT(value("process_virtual_memory_bytes"), value("process_resident_memory_bytes"));
    EXPECT_GT(value("process_open_fds"), 5);
    EXPECT_GT(value("process_max_fds"), value("process_open_fds"));
    EXPECT_NEAR(value("process_start_time_seconds"), static_cast<double>(std::time(nullptr)), 600);
    const ProcessResult result = server.Stop(signal);
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    EXPECT_THAT(result.err, HasSubstr("closed"));
    const std::string port = std::to_string(server.port());
    EXPECT_THAT(result.err,
                HasSubstr(" has opened " + Path("served") + "; HTTP on 127.0.0.1:" + port + ", OTLP over gRPC on 127.0.0.1:"));
    EXPECT_THAT(result.err, HasSubstr("info 16 of 16 shards serve: 0 series; replaying the log took "));
  }
}

TEST_F(ChronolithdTest, WarnsWhereAPortIsOpenToOthersAndAsksForNobody) {
  const auto log_of = [&](std::vector<std::string> args) {
    Server server(Args(std::move(args)));
    EXPECT_GT(server.port(), 0) << server.err();
    return server.Stop(SIGTERM).err;
  };
  EXPECT_THAT(log_of({}), ::testing::Not(HasSubstr("whoever reaches")));
  const std::string admin = log_of({"--otlp-grpc-listen", "0.0.0.0:0", "--web.enable-admin-api"});
  EXPECT_THAT(admin, HasSubstr("warning whoever reaches 0.0.0.0:"));
  EXPECT_THAT(admin, HasSubstr("may write and read, delete and copy"));
  WriteFile("web.yml", "bearer_tokens: {agent: 0123456789abcdef}\n");
  EXPECT_THAT(log_of({"--otlp-http-listen", "0.0.0.0:0", "--web.config.file", Path("web.yml")}),
              ::testing::Not(HasSubstr("whoever reaches")));
}

TEST_F(ChronolithdTest, ASnapshotWarnsOfNothing) {
  Server server(Args({"--web.enable-admin-api"}));
  ASSERT_GT(server.port(), 0) << server.err();
  ASSERT_TRUE(server.WaitUntilReady()) << server.err();
  EXPECT_EQ(HttpCall(server.port(), "POST", "/api/v1/admin/tsdb/snapshot").status, 200);
  const ProcessResult result = server.Stop(SIGTERM);
  EXPECT_EQ(result.exit_code, kOk);
  EXPECT_THAT(result.err, ::testing::Not(::testing::ContainsRegex(" (warning|error) ")));
}

TEST_F(ChronolithdTest, ErrorsOnThePathsOfTheApiHaveItsForm) {
  Server server(Args());
  ASSERT_GT(server.port(), 0) << server.err();
  struct Case {
    const char *method, *target;
    int status;
    const char* type;
  };
  for (const Case& c : {Case{"PUT", "/api/v1/series", 405, "bad_data"}, Case{"GET", "/api/v1/series?match[]=%zz", 400, "bad_data"},
                        Case{"GET", "/api/v1/label/%zz/values", 400, "bad_data"}, Case{"GET", "/api/v1/nothing", 404, "not_found"},
                        Case{"POST", "/api/v1/admin/tsdb/delete_series", 403, "unavailable"}}) {
    const HttpAnswer answer = HttpCall(server.port(), c.method, c.target);
    EXPECT_EQ(answer.status, c.status) << c.target;
    const nlohmann::json error = nlohmann::json::parse(answer.body, nullptr, false);
    ASSERT_TRUE(error.is_object()) << answer.body;
    EXPECT_EQ(error["status"], "error") << c.target;
    EXPECT_EQ(error["errorType"], c.type) << c.target;
    EXPECT_NE(error["error"], "") << c.target;
  }
}

TEST_F(ChronolithdTest, TheDatabaseIsLockedWhileItServes) {
  Server server(Args());
  ASSERT_GT(server.port(), 0) << server.err();
  const ProcessResult second = RunProcess(Server::WithProgram(Args()));
  EXPECT_EQ(second.exit_code, kFailure);
  EXPECT_THAT(second.err, HasSubstr("lock"));
}

TEST_F(ChronolithdTest, WhatReplaySendsIsWhatItHolds) {
  Fill(50, 40);
  for (const std::string version : {"1.0", "2.0"}) {
    Server server({"--db", Path("served" + version), "--listen", "127.0.0.1:0"});
    ASSERT_GT(server.port(), 0) << server.err();
    const ProcessResult replay =
        Cli({"replay", "--db", db_, "--target", "remote-write:" + server.url() + "/api/v1/write", "--protocol", version});
    EXPECT_EQ(replay.exit_code, kOk) << replay.err << replay.out;
    EXPECT_EQ(server.Stop(SIGTERM).exit_code, kOk);
    EXPECT_EQ(All(Path("served" + version)), All(db_));
    const ProcessResult verify = Cli({"verify", "--db", Path("served" + version)});
    EXPECT_EQ(verify.exit_code, kOk) << verify.out << verify.err;
  }
}

TEST_F(ChronolithdTest, WhatWasAcknowledgedSurvivesAKill) {
  Fill(50, 40);
  {
    Server server(Args());
    ASSERT_GT(server.port(), 0) << server.err();
    const ProcessResult replay = Cli({"replay", "--db", db_, "--target", "remote-write:" + server.url() + "/api/v1/write"});
    EXPECT_EQ(replay.exit_code, kOk) << replay.err;
    EXPECT_EQ(server.Stop(SIGKILL).signal, SIGKILL);
  }
  Server again(Args());
  ASSERT_GT(again.port(), 0) << again.err();
  // A retry of what was acknowledged changes nothing.
  const ProcessResult replay =
      Cli({"replay", "--db", db_, "--target", "remote-write:" + again.url() + "/api/v1/write", "--until", "2023-11-14T22:14:00Z"});
  EXPECT_EQ(replay.exit_code, kOk) << replay.err;
  EXPECT_EQ(again.Stop(SIGTERM).exit_code, kOk);
  EXPECT_EQ(All(Path("served")), All(db_));
}

// bcrypt of "secret" and of "changed", cost 4.
constexpr const char* kSecret = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
constexpr const char* kChanged = "$2b$04$abcdefghijklmnopqrstuu5XQl64I3WPWSJw.ftK7xXCrRn1r6QJi";

class SecureTest : public ChronolithdTest {
 protected:
  SecureTest() {
    for (const char* name : {"server", "client", "other"}) MakeCertificate(directory_, name);
  }
  // Replaced as a whole, as who edits it should.
  void WriteConfig(const std::string& text) {
    WriteFile("web.new", text);
    std::filesystem::rename(Path("web.new"), Path("web.yml"));
  }
  std::string Tls(const std::string& more = {}) const {
    return "tls_server_config:\n  cert_file: server.crt\n  key_file: " + Path("server.key") + "\n" + more;
  }
  std::string Get(const Server& server, const std::string& path, const std::string& headers = {},
                  const std::string& certificate = {}) {
    const std::string answer =
        TlsGet(server.port(), path, Path("server.crt"), certificate.empty() ? "" : Path(certificate), headers);
    const std::size_t body = answer.find("\r\n\r\n"), length = answer.find("Content-Length: ");
    if (body != std::string::npos && length < body) {
      EXPECT_EQ(answer.size() - body - 4, std::stoul(answer.substr(length + 16))) << path << ": the answer is not whole";
    }
    return answer.substr(0, 12);
  }
};

constexpr const char* kBasicSecret = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n";
constexpr const char* kBasicChanged = "Authorization: Basic YWxpY2U6Y2hhbmdlZA==\r\n";

TEST_F(SecureTest, ServesTlsToUsersOnly) {
  WriteConfig(Tls() + "basic_auth_users: {alice: " + kSecret + "}\nbearer_tokens: {agent: 0123456789abcdef}\n");
  Server server(Args({"--web.config.file", Path("web.yml")}));
  ASSERT_GT(server.port(), 0) << server.err();
  EXPECT_EQ(Get(server, "/-/healthy"), "HTTP/1.1 200");
  EXPECT_EQ(Get(server, "/metrics"), "HTTP/1.1 401");
  EXPECT_EQ(Get(server, "/metrics", kBasicChanged), "HTTP/1.1 401");
  EXPECT_EQ(Get(server, "/metrics", kBasicSecret), "HTTP/1.1 200");
  EXPECT_EQ(Get(server, "/metrics", kBasicSecret), "HTTP/1.1 200");
  EXPECT_EQ(Get(server, "/metrics", "Authorization: Bearer 0123456789abcdef\r\n"), "HTTP/1.1 200");
  EXPECT_EQ(Get(server, "/", kBasicSecret), "HTTP/1.1 200");
  EXPECT_EQ(Get(server, "/metrics", "Authorization: Bearer 0123456789abcdeX\r\n"), "HTTP/1.1 401");
  EXPECT_EQ(TlsGet(server.port(), "/-/healthy", Path("other.crt")), "");  // another server's certificate
  EXPECT_EQ(HttpCall(server.port(), "GET", "/-/healthy").status, 0);      // not without TLS

  Fill(5, 5);
  WriteFile("password", "secret\n");
  const ProcessResult replay =
      Cli({"replay", "--db", db_, "--target", "remote-write:https://127.0.0.1:" + std::to_string(server.port()) + "/api/v1/write",
           "--ca-file", Path("server.crt"), "--user", "alice", "--password-file", Path("password")});
  EXPECT_EQ(replay.exit_code, kOk) << replay.err;
  EXPECT_EQ(server.Stop(SIGTERM).exit_code, kOk);
  EXPECT_EQ(All(Path("served")), All(db_));
}

TEST_F(SecureTest, AsksClientsForTheirCertificates) {
  WriteConfig(Tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client.crt\n"));
  Server server(Args({"--web.config.file", Path("web.yml")}));
  ASSERT_GT(server.port(), 0) << server.err();
  EXPECT_EQ(Get(server, "/metrics", "", "client"), "HTTP/1.1 200");
  EXPECT_EQ(Get(server, "/metrics", "", "other"), "");
  EXPECT_EQ(Get(server, "/metrics"), "");
}

TEST_F(SecureTest, KeepsWhatPrometheusConfigurationSaysOfTls) {
  const std::string verify = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client.crt\n";
  WriteConfig(Tls(verify +
                  "  client_allowed_sans: [agent.example, 127.0.0.1]\n  curve_preferences: [CurveP256]\n"
                  "  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  max_version: TLS12\n") +
              "bearer_tokens: {agent: 0123456789abcdef}\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n");
  Server server(Args({"--web.config.file", Path("web.yml"), "--otlp-grpc-listen", "off"}));
  ASSERT_GT(server.port(), 0) << server.err();
  EXPECT_EQ(Get(server, "/-/healthy", "", "client"), "HTTP/1.1 200");  // whose certificate is for 127.0.0.1
  const std::string answer = TlsGet(server.port(), "/metrics", Path("server.crt"), Path("client"));
  EXPECT_THAT(answer, HasSubstr("\r\nX-Frame-Options: deny\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\nWWW-Authenticate: Bearer"));
  WriteConfig(Tls(verify + "  client_allowed_sans: [agent.example]\n"));
  server.Signal(SIGHUP);
  ASSERT_TRUE(server.WaitForLog("was loaded again")) << server.err();
  EXPECT_EQ(Get(server, "/-/healthy", "", "client"), "");  // another name
  EXPECT_EQ(server.Stop(SIGTERM).exit_code, kOk);

  for (const char* setting : {"  cipher_suites: [TLS_NONE]\n", "  cipher_suites: [TLS_RSA_WITH_NULL_SHA]\n"}) {
    WriteConfig(Tls(setting));
    const ProcessResult result = RunProcess(Server::WithProgram(Args({"--web.config.file", Path("web.yml")})));
    EXPECT_EQ(result.exit_code, kUsage);
    EXPECT_THAT(result.err, HasSubstr("cipher_suites: there is no TLS_"));
  }
  WriteConfig(Tls("  curve_preferences: [X25519]\n"));  // gRPC has no such setting
  const ProcessResult result = RunProcess(Server::WithProgram(Args({"--web.config.file", Path("web.yml")})));
  EXPECT_EQ(result.exit_code, kUsage);
  EXPECT_THAT(result.err, HasSubstr("curve_preferences cannot be kept on gRPC's port"));
}

TEST_F(SecureTest, ReadsItsConfigurationAgain) {
  WriteConfig(Tls() + "basic_auth_users: {alice: " + kSecret + "}\n");
  Server server(Args({"--web.config.file", Path("web.yml")}));
  ASSERT_GT(server.port(), 0) << server.err();
  EXPECT_EQ(Get(server, "/metrics", kBasicSecret), "HTTP/1.1 200");
  WriteConfig(Tls() + "basic_auth_users: {alice: " + kChanged + "}\n");  // noticed by itself
  ASSERT_TRUE(server.WaitForLog("was loaded again")) << server.err();
  EXPECT_EQ(Get(server, "/metrics", kBasicSecret), "HTTP/1.1 401");
  EXPECT_EQ(Get(server, "/metrics", kBasicChanged), "HTTP/1.1 200");
  WriteConfig("basic_auth_users: {alice: plain}\n");
  server.Signal(SIGHUP);
  ASSERT_TRUE(server.WaitForLog("what was loaded before stays")) << server.err();
  EXPECT_EQ(Get(server, "/metrics", kBasicChanged), "HTTP/1.1 200");
  EXPECT_EQ(server.Stop(SIGTERM).exit_code, kOk);
}

TEST_F(SecureTest, CertificatesAreReplacedUnderLoadAndNobodyNotices) {
  constexpr int kTimes = 20, kClients = 2;
  const auto name = [](int i) { return "server" + std::to_string(i); };
  std::string trusted;
  for (int i = 0; i <= kTimes; ++i) {
    MakeCertificate(directory_, name(i));
    trusted += ReadFile(Path(name(i) + ".crt"));
  }
  WriteFile("trusted.crt", trusted);
  const auto install = [&](int i) {
    for (const char* const end : {".crt", ".key"}) {
      std::filesystem::copy_file(Path(name(i) + end), Path("new"));
      std::filesystem::rename(Path("new"), Path(std::string("server") + end));
    }
  };
  install(0);
  WriteConfig(Tls() + "bearer_tokens: {agent: 0123456789abcdef}\n");
  Server server(Args({"--web.config.file", Path("web.yml")}));
  ASSERT_GT(server.port(), 0) << server.err();
  std::atomic<bool> done{false};
  std::atomic<int> served{0}, failed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, port = server.port(), ca = Path("trusted.crt")] {
      while (!done) {  // a connection for each
        const bool ok =
            TlsGet(port, "/api/v1/labels", ca, {}, "Authorization: Bearer 0123456789abcdef\r\n").starts_with("HTTP/1.1 200");
        (ok ? served : failed).fetch_add(1);
      }
    });
  }
  for (int i = 1; i <= kTimes && failed == 0; ++i) {
    install(i);
    server.Signal(SIGHUP);
    while (TlsGet(server.port(), "/-/healthy", Path(name(i) + ".crt")).empty()) {  // until the new one is shown
    }
    const int before = served;
    while (served < before + kClients && failed == 0) std::this_thread::yield();
  }
  done = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0) << server.err();
  EXPECT_GE(served, kTimes * kClients);
  EXPECT_EQ(TlsGet(server.port(), "/-/healthy", Path(name(0) + ".crt")), "");  // who trusts the old one only
  EXPECT_EQ(server.Stop(SIGTERM).exit_code, kOk);
}

TEST_F(SecureTest, RefusesAConfigurationThatItCannotUse) {
  WriteConfig("tls_server_config: {cert_file: server.crt, key_file: other.key}\n");
  const ProcessResult result = RunProcess(Server::WithProgram(Args({"--web.config.file", Path("web.yml")})));
  EXPECT_EQ(result.exit_code, kUsage);
  EXPECT_THAT(result.err, HasSubstr("other.key"));
}

}  // namespace
}  // namespace chronolith::testing
