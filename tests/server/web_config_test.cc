#include "server/web_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "server/authenticator.h"
#include "server/web_security.h"
#include "tests/server/tls_files.h"
#include "tests/support/temp_directory.h"

namespace chronolith::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// bcrypt of "secret", cost 4.
constexpr const char* kHash = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

class WebConfigTest : public ::testing::Test {
 protected:
  Result<WebConfig> Load(const std::string& text) {
    std::ofstream(dir_ / "web.yml") << text;
    return LoadWebConfig(dir_ / "web.yml");
  }
  const testing_support::TempDirectory dir_;
};

TEST_F(WebConfigTest, ReadsPrometheusFormat) {
  const auto config = Load(std::string("tls_server_config:\n  cert_file: a.crt\n  key_file: /keys/a.key\n  client_ca_file: ca.crt\n"
                                       "  client_auth_type: RequireAndVerifyClientCert\n  min_version: TLS13\n"
                                       "basic_auth_users:\n  alice: ") +
                           kHash + "\nbearer_tokens:\n  agent: 0123456789abcdef\n");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->tls.cert_file, dir_ / "a.crt");
  EXPECT_EQ(config->tls.key_file, "/keys/a.key");
  EXPECT_EQ(config->tls.client_auth, TlsConfig::ClientAuth::kRequireAndVerify);
  EXPECT_TRUE(config->tls.only_tls13);
  EXPECT_EQ(config->bcrypt_of_user.at("alice"), kHash);
  EXPECT_EQ(config->token_of_user.at("agent"), "0123456789abcdef");
  const auto more = Load(
      "tls_server_config:\n  cert_file: a.crt\n  key_file: a.key\n  client_auth_type: RequireAndVerifyClientCert\n"
      "  client_ca_file: ca.crt\n  client_allowed_sans: [agent.example, 10.0.0.1]\n  max_version: TLS12\n"
      "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [X25519, CurveP256]\n"
      "  prefer_server_cipher_suites: false\n"
      "http_server_config:\n  http2: true\n  headers: {X-Frame-Options: deny}\n");
  ASSERT_TRUE(more.ok()) << more.status().ToString();
  EXPECT_TRUE(more->tls.only_tls12);
  EXPECT_EQ(more->tls.client_allowed_sans, (std::vector<std::string>{"agent.example", "10.0.0.1"}));
  EXPECT_EQ(more->tls.curve_preferences, (std::vector<std::string>{"X25519", "P-256"}));
  EXPECT_EQ(more->tls.cipher_suites.size(), 1U);
  EXPECT_FALSE(more->tls.prefer_server_cipher_suites);
  EXPECT_EQ(more->headers, (std::vector<std::pair<std::string, std::string>>{{"X-Frame-Options", "deny"}}));
  const auto empty = Load("");
  ASSERT_TRUE(empty.ok());
  EXPECT_FALSE(empty->asks_for_user());
}

TEST_F(WebConfigTest, RefusesWhatItDoesNotUnderstand) {
  struct Case {
    const char* text;
    const char* why;
  };
  const Case cases[] = {
      {"tls_server_config: {cert_file: a}", "key_file is missing"},
      {"tls_server_config: {cert_file: a, key_file: b, ciphers: [x]}", "tls_server_config.ciphers is not known"},
      {"tls_server_config: {cert_file: a, key_file: b, cipher_suites: x}", "cipher_suites is no list"},
      {"tls_server_config: {cert_file: a, key_file: b, cipher_suites: [[x]]}", "cipher_suites is no list of texts"},
      {"tls_server_config: {cert_file: a, key_file: b, curve_preferences: [P-256]}", "none that is called P-256"},
      {"tls_server_config: {cert_file: a, key_file: b, prefer_server_cipher_suites: perhaps}", "neither true nor false"},
      {"tls_server_config: {cert_file: a, key_file: b, client_allowed_sans: [x]}", "verifies no certificate"},
      {"tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert, client_allowed_sans: [x]}",
       "verifies no certificate"},
      {"tls_server_config: {cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12}", "lies before min_version"},
      {"tls_server_config: {cert_file: a, key_file: b, max_version: TLS11}", "max_version must be"},
      {"http_server_config: {headers: {Server: x}}", "headers.Server is not known"},
      {"http_server_config: {headers: {X-Frame-Options: \"a\\r\\nX: y\"}}", "no line of text"},
      {"http_server_config: {headers: [x]}", "headers is no mapping"},
      {"tls_server_config: {cert_file: a, key_file: b, client_auth_type: Maybe}", "client_auth_type"},
      {"tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}", "client_ca_file is missing"},
      {"tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}", "asks no client"},
      {"tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}", "min_version"},
      {"tls_server_config: [a]", "tls_server_config is no mapping"},
      {"basic_auth_users: {alice: secret}", "basic_auth_users.alice is no bcrypt"},
      {"basic_auth_users: [alice]", "basic_auth_users is no mapping"},
      {"basic_auth_users: {alice: [x]}", "basic_auth_users.alice is no text"},
      {"bearer_tokens: {agent: short}", "bearer_tokens.agent is shorter"},
      {"basic_auth: {alice: x}", "basic_auth is not known"},
      {"- a", "the file is no mapping"},
      {"a: [", "web.yml"},
  };
  for (const Case& c : cases) {
    const auto config = Load(c.text);
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(config.status().message(), HasSubstr(c.why)) << c.text;
  }
  EXPECT_EQ(LoadWebConfig(dir_ / "none").status().code(), StatusCode::kNotFound);
}

// Asks, at each line of the log, whom the configuration lets in by then.
class AskingLogger final : public Logger {
 public:
  void Log(LogLevel, std::string_view message) override {
    lines.emplace_back(message);
    const Authenticator& users = *source->Get()->users;
    before.push_back(users.Look("Bearer before01234567890").user);
    after.push_back(users.Look("Bearer after01234567890").user);
  }
  WebSecuritySource* source = nullptr;
  std::vector<std::string> lines, before, after;
};

TEST_F(WebConfigTest, IsSaidToBeLoadedWhenItIsInForce) {
  const auto logger = std::make_shared<AskingLogger>();
  ASSERT_TRUE(Load("bearer_tokens: {old: before01234567890}").ok());
  const auto source = WebSecuritySource::Open(dir_ / "web.yml", logger);
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  logger->source = source->get();
  ASSERT_TRUE(Load("bearer_tokens: {new: after01234567890}").ok());
  (*source)->Reload(/*always=*/true);
  ASSERT_FALSE(Load("bearer_tokens: {worse: short}").ok());
  (*source)->Reload(/*always=*/true);
  EXPECT_THAT(logger->lines, ElementsAre(HasSubstr("was loaded again"), HasSubstr("what was loaded before stays")));
  EXPECT_THAT(logger->before, ElementsAre("", ""));
  EXPECT_THAT(logger->after, ElementsAre("new", "new"));
}

// As a file that is written in place looks half-way, and as one looks that gives something up: only who asks for it gets it.
TEST_F(WebConfigTest, AChangeByItselfTakesNoProtectionAway) {
  testing::MakeCertificate(dir_.path(), "a");
  const std::string users = "bearer_tokens: {agent: 0123456789abcdef}\n";
  const std::string tls = "tls_server_config:\n  cert_file: a.crt\n  key_file: a.key\n";
  const std::string clients = tls + "  client_ca_file: a.crt\n  client_auth_type: ";
  struct Case {
    std::string before, now;
    bool taken;
  };
  const Case cases[] = {
      {users, "", false},
      {tls + users, tls, false},
      {tls + users, users, false},
      {tls, "", false},
      {tls + "  min_version: TLS13\n", tls, false},
      {clients + "RequireAndVerifyClientCert\n", tls, false},
      {clients + "RequireAndVerifyClientCert\n", clients + "RequireAnyClientCert\n", false},
      {clients + "RequireAndVerifyClientCert\n", clients + "VerifyClientCertIfGiven\n", false},
      {clients + "VerifyClientCertIfGiven\n", clients + "RequestClientCert\n", false},
      {clients + "RequireAndVerifyClientCert\n  client_allowed_sans: [agent]\n", clients + "RequireAndVerifyClientCert\n", false},
      {"", users, true},
      {users, tls + users, true},
      {users, users + "# the same\n", true},
      {tls + users, clients + "RequireAndVerifyClientCert\n" + users, true},
      {clients + "RequestClientCert\n", tls, true},
  };
  for (const Case& c : cases) {
    ASSERT_TRUE(Load(c.before).ok()) << c.before;
    const auto source = WebSecuritySource::Open(dir_ / "web.yml", nullptr);
    ASSERT_TRUE(source.ok()) << source.status().ToString();
    const auto before = (*source)->Get();
    ASSERT_TRUE(Load(c.now).ok()) << c.now;
    (*source)->Reload(/*always=*/false);
    EXPECT_EQ((*source)->Get() != before, c.taken) << c.before << " -> " << c.now;
    (*source)->Reload(/*always=*/true);
    EXPECT_NE((*source)->Get(), before) << c.before << " -> " << c.now;
  }
}

TEST(Authenticator, KnowsUsersAndRemembersThem) {
  using Kind = Authenticator::Answer::Kind;
  WebConfig config;
  config.bcrypt_of_user["alice"] = kHash;
  config.token_of_user["agent"] = "0123456789abcdef";
  Authenticator users(config);
  const std::string good = "Basic YWxpY2U6c2VjcmV0", wrong = "Basic YWxpY2U6d3Jvbmc=", nobody = "Basic Ym9iOnNlY3JldA==";
  EXPECT_EQ(users.Look(good).kind, Kind::kAskBcrypt);
  EXPECT_EQ(users.Check(good).user, "alice");
  EXPECT_EQ(users.Look(good).user, "alice");  // without a bcrypt
  for (const std::string& header : {wrong, nobody}) {
    EXPECT_EQ(users.Check(header).kind, Kind::kNobody);
    EXPECT_EQ(users.Look(header).kind, Kind::kAskBcrypt);
  }
  EXPECT_EQ(users.Look("bearer 0123456789abcdef").user, "agent");
  for (const char* header : {"", "Basic", "Basic ", "Basic ====", "Basic !!!!", "Basic YWxpY2U=", "Bearer 0123456789abcdeg",
                             "Bearer ", "Digest YWxpY2U6c2VjcmV0", "Basic YWxpY2U6c2VjcmV0AA"}) {
    EXPECT_EQ(users.Check(header).kind, Kind::kNobody) << header;
  }
}

}  // namespace
}  // namespace chronolith::server
