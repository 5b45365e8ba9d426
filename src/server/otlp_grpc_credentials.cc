#include "server/otlp_grpc_credentials.h"

#include <grpc/grpc.h>

#include <string>
#include <utility>
#include <vector>

namespace chronolith::server {
namespace {

grpc_ssl_client_certificate_request_type RequestOf(TlsConfig::ClientAuth auth) {
  switch (auth) {
    case TlsConfig::ClientAuth::kNone:
      return GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    case TlsConfig::ClientAuth::kRequest:
      return GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY;
    case TlsConfig::ClientAuth::kRequireAny:
      return GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_BUT_DONT_VERIFY;
    case TlsConfig::ClientAuth::kVerifyIfGiven:
      return GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
    case TlsConfig::ClientAuth::kRequireAndVerify:
      break;
  }
  return GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
}

// The settings that a port of gRPC cannot keep.
std::vector<std::string> BeyondGrpc(const TlsConfig& config) {
  const std::pair<const char*, bool> all[] = {{"min_version: TLS13", config.only_tls13},
                                              {"max_version: TLS12", config.only_tls12},
                                              {"cipher_suites", !config.cipher_suites.empty()},
                                              {"curve_preferences", !config.curve_preferences.empty()},
                                              {"client_allowed_sans", !config.client_allowed_sans.empty()}};
  std::vector<std::string> set;
  for (const auto& [setting, is_set] : all) {
    if (is_set) set.emplace_back(setting);
  }
  return set;
}

}  // namespace

GrpcTlsCredentials::GrpcTlsCredentials(const WebSecuritySource* source, TlsConfig::ClientAuth auth)
    : source_(source),
      credentials_(grpc_ssl_server_credentials_create_with_options(
          grpc_ssl_server_credentials_create_options_using_config_fetcher(RequestOf(auth), &Fetch, this))) {}

GrpcTlsCredentials::~GrpcTlsCredentials() { grpc_server_credentials_release(credentials_); }

grpc_ssl_certificate_config_reload_status GrpcTlsCredentials::Fetch(void* self, grpc_ssl_server_certificate_config** config) {
  auto* const that = static_cast<GrpcTlsCredentials*>(self);
  const std::shared_ptr<const TlsMaterial> newest = that->source_->Get()->tls_material;
  MutexLock lock(&that->mu_);
  // Where the configuration gave TLS up, the port keeps it: calls are refused.
  if (newest == nullptr || newest == that->used_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const grpc_ssl_pem_key_cert_pair pair{newest->key_pem.c_str(), newest->certificate_pem.c_str()};
  // gRPC wants authorities also where nothing is verified.
  const std::string& authorities = newest->client_ca_pem.empty() ? newest->certificate_pem : newest->client_ca_pem;
  *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
  that->used_ = newest;
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

int GrpcTlsCredentials::AddPortToServer(const std::string& address, grpc_server* server) {
  return grpc_server_add_http2_port(server, address.c_str(), credentials_);
}

Status CheckForGrpc(const TlsMaterial* tls) {
  const std::vector<std::string> beyond = tls != nullptr ? BeyondGrpc(tls->config) : std::vector<std::string>();
  if (beyond.empty()) return Status::Ok();
  return FailedPrecondition("tls_server_config." + beyond.front() +
                            " cannot be kept on gRPC's port, whose library has no such setting: leave it out, or turn the port off "
                            "(--otlp-grpc-listen off)");
}

bool KeepsGrpc(const TlsMaterial* opened, const TlsMaterial* now) {
  if (opened == nullptr || now == nullptr) return opened == now;
  return opened->config.client_auth == now->config.client_auth && BeyondGrpc(now->config).empty();
}

}  // namespace chronolith::server
