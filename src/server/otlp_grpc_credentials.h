// What a web configuration means for a port of gRPC: TLS, with certificates that are read again while it is open.
#ifndef CHRONOLITH_SERVER_OTLP_GRPC_CREDENTIALS_H_
#define CHRONOLITH_SERVER_OTLP_GRPC_CREDENTIALS_H_

#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "base/mutex.h"
#include "server/web_security.h"

namespace chronolith::server {

// TLS for connections, each with the newest certificate, key and authorities of `source`; one that is open keeps its own. Whether
// clients are asked for certificates is that of the begin. Through gRPC's C interface, whose C++ one has no such source.
// Must outlive the server that uses it, and `source` must outlive both. Thread safety: safe.
class GrpcTlsCredentials final : public grpc::ServerCredentials {
 public:
  // The newest of `source` has TLS.
  GrpcTlsCredentials(const WebSecuritySource* source, TlsConfig::ClientAuth auth);
  ~GrpcTlsCredentials() override;

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  static grpc_ssl_certificate_config_reload_status Fetch(void* self, grpc_ssl_server_certificate_config** config);
  int AddPortToServer(const std::string& address, grpc_server* server) override;

  const WebSecuritySource* const source_;
  grpc_server_credentials* const credentials_;
  Mutex mu_;
  std::shared_ptr<const TlsMaterial> used_ ABSL_GUARDED_BY(mu_);
};

// kFailedPrecondition: what gRPC cannot keep (min_version: TLS13, cipher_suites and others), and what to do. `tls` may be null.
Status CheckForGrpc(const TlsMaterial* tls);
// Whether a port that was opened for `opened` keeps what `now` asks for. Null: no TLS.
bool KeepsGrpc(const TlsMaterial* opened, const TlsMaterial* now);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_OTLP_GRPC_CREDENTIALS_H_
