// TLS, client certificates and users of the gRPC port, with a real client, while the configuration changes.
#include <fstream>
#include <iterator>

#include "tests/server/otlp_grpc_fixture.h"
#include "tests/server/tls_files.h"

namespace chronolith::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// bcrypt of "secret" and of "changed", cost 4.
constexpr const char* kSecret = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
constexpr const char* kChanged = "$2b$04$abcdefghijklmnopqrstuu5XQl64I3WPWSJw.ftK7xXCrRn1r6QJi";
constexpr const char* kBasicSecret = "Basic YWxpY2U6c2VjcmV0";
constexpr const char* kBasicChanged = "Basic YWxpY2U6Y2hhbmdlZA==";

class OtlpGrpcSecurity : public OtlpGrpc {
 protected:
  ~OtlpGrpcSecurity() override { server_.reset(); }  // before what it looks into
  void Configure(const std::string& text) {
    std::ofstream(directory_ / "web.yml") << text;
    if (security_ != nullptr) return security_->Reload(/*always=*/true);
    auto opened = WebSecuritySource::Open(directory_ / "web.yml", nullptr);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    security_ = std::move(*opened);
  }
  void MakeCertificates() {
    for (const char* name : {"server", "client", "other"}) testing::MakeCertificate(directory_.path(), name);
  }
  static std::string Tls(const std::string& more = {}) {
    return "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n" + more;
  }
  std::string Pem(const std::string& name) const {
    std::ifstream in(directory_ / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // Trusts `authority`; shows the certificate `name`, where there is one.
  void ConnectTls(const std::string& authority, const std::string& name = {}) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = Pem(authority + ".crt");
    if (!name.empty()) {
      options.pem_cert_chain = Pem(name + ".crt");
      options.pem_private_key = Pem(name + ".key");
    }
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()), grpc::SslCredentials(options), arguments);
  }
  // Fails at once where there is no connection.
  grpc::Status Ask(const std::string& authorization = {}) {
    grpc::ClientContext context;
    if (!authorization.empty()) context.AddMetadata("authorization", authorization);
    ExportMetricsServiceRequest request;
    AddGauge(&request, "g", 1);
    ExportMetricsServiceResponse response;
    return MetricsService::NewStub(channel_)->Export(&context, request, &response);
  }
  grpc::StatusCode CodeOf(const std::string& authorization = {}) { return Ask(authorization).error_code(); }
};

TEST_F(OtlpGrpcSecurity, AsksForUsersWhichMayChange) {
  Configure(std::string("basic_auth_users: {alice: ") + kSecret + "}\nbearer_tokens: {agent: 0123456789abcdef}\n");
  Start();
  for (const char* wrong : {"", "Basic", kBasicChanged, "Basic Ym9iOnNlY3JldA==", "Bearer 0123456789abcdeX"}) {
    EXPECT_EQ(CodeOf(wrong), grpc::StatusCode::UNAUTHENTICATED) << wrong;
  }
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(CodeOf(kBasicSecret), grpc::StatusCode::OK);
  EXPECT_EQ(CodeOf(kBasicSecret), grpc::StatusCode::OK);  // remembered
  EXPECT_EQ(CodeOf("Bearer 0123456789abcdef"), grpc::StatusCode::OK);
  EXPECT_EQ(Stored().size(), 1U);
  Configure(std::string("basic_auth_users: {alice: ") + kChanged + "}\n");
  EXPECT_EQ(CodeOf(kBasicSecret), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(CodeOf("Bearer 0123456789abcdef"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(CodeOf(kBasicChanged), grpc::StatusCode::OK);
  Configure("");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::OK);
}

TEST_F(OtlpGrpcSecurity, NothingOfAMessageIsReadBeforeItIsKnownWhoseItIs) {
  Configure("bearer_tokens: {agent: 0123456789abcdef}\n");
  Start();
  ExportMetricsServiceResponse response;
  EXPECT_EQ(Export(AllKinds(), &response, GRPC_COMPRESS_NONE, "no such level").error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(OtlpGrpcSecurity, PasswordsAreCheckedByWorkersAndOverloadIsTold) {
  Configure(std::string("basic_auth_users: {alice: ") + kSecret + "}\n");
  Start();
  workers_.Stop();
  const grpc::Status status = Ask(kBasicSecret);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_FALSE(status.error_details().empty());  // RetryInfo
}

TEST_F(OtlpGrpcSecurity, SpeaksTls) {
  MakeCertificates();
  Configure(Tls() + "basic_auth_users: {alice: " + kSecret + "}\n");
  Start();
  EXPECT_EQ(CodeOf(kBasicSecret), grpc::StatusCode::UNAVAILABLE);  // in plain text
  ConnectTls("other");
  EXPECT_EQ(CodeOf(kBasicSecret), grpc::StatusCode::UNAVAILABLE);
  ConnectTls("server");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::UNAUTHENTICATED);
  const grpc::Status status = Ask(kBasicSecret);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(OtlpGrpcSecurity, AsksClientsForTheirCertificates) {
  MakeCertificates();
  Configure(Tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client.crt\n"));
  Start();
  ConnectTls("server");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::UNAVAILABLE);
  ConnectTls("server", "other");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::UNAVAILABLE);
  ConnectTls("server", "client");
  const grpc::Status status = Ask();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(OtlpGrpcSecurity, NewConnectionsHaveTheNewCertificate) {
  MakeCertificates();
  Configure(Tls());
  Start();
  ConnectTls("server");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::OK);
  const auto old = channel_;
  Configure("tls_server_config: {cert_file: other.crt, key_file: other.key}\n");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::OK);  // the connection that is there
  ConnectTls("server");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::UNAVAILABLE);
  ConnectTls("other");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::OK);
  Configure("tls_server_config: {cert_file: other.crt, key_file: server.key}\n");  // cannot be used
  ConnectTls("other");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::OK);
}

TEST_F(OtlpGrpcSecurity, WhatThePortCannotKeepIsRefused) {
  MakeCertificates();
  Configure(Tls("  min_version: TLS13\n"));
  MakeReceiver();
  const auto server = OtlpGrpcServer::Start({}, Parts());
  EXPECT_EQ(server.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(server.status().message(), HasSubstr("min_version"));

  Configure(Tls());
  Start();
  ConnectTls("server");
  EXPECT_EQ(CodeOf(), grpc::StatusCode::OK);
  for (const std::string& changed :
       {Tls("  min_version: TLS13\n"), Tls("  client_auth_type: RequireAnyClientCert\n"), std::string()}) {
    Configure(changed);
    EXPECT_FALSE(server_->KeepsConfiguration()) << changed;
    const grpc::Status status = Ask();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << changed;
    EXPECT_THAT(status.error_message(), HasSubstr("restart"));
  }
  Configure(Tls());
  EXPECT_EQ(CodeOf(), grpc::StatusCode::OK);
}

}  // namespace
}  // namespace chronolith::server
