// The file of --web.config.file: TLS and who may ask, in the format of Prometheus' web configuration.
//
//   tls_server_config:
//     cert_file: server.crt          # relative to the file
//     key_file: server.key
//     client_auth_type: RequireAndVerifyClientCert    # and Prometheus' others; NoClientCert
//     client_ca_file: clients.crt
//     client_allowed_sans: [name]    # of the certificate: one of its alternative names must be one of these
//     min_version: TLS12             # or TLS13; also max_version
//     cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]     # of TLS 1.2; those of 1.3 are passed over, as Go does
//     curve_preferences: [X25519, CurveP256, CurveP384, CurveP521]
//     prefer_server_cipher_suites: true
//   http_server_config:
//     headers: {X-Frame-Options: deny}    # added to answers that have not their own
//   basic_auth_users:
//     alice: $2y$10$...              # bcrypt; htpasswd -nBC 10 "" makes it
//   bearer_tokens:                   # not in Prometheus': name: token, of 16 characters or more
//     vmagent: 8d3f...
#ifndef CHRONOLITH_SERVER_WEB_CONFIG_H_
#define CHRONOLITH_SERVER_WEB_CONFIG_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "chronolith/result.h"

namespace chronolith::server {

struct TlsConfig {
  enum class ClientAuth : unsigned char { kNone, kRequest, kRequireAny, kVerifyIfGiven, kRequireAndVerify };
  std::string cert_file;  // "": no TLS
  std::string key_file;
  std::string client_ca_file;
  ClientAuth client_auth = ClientAuth::kNone;
  std::vector<std::string> client_allowed_sans;  // empty: any
  bool only_tls13 = false;
  bool only_tls12 = false;
  std::vector<std::string> cipher_suites;      // as IANA names them; empty: those of OpenSSL
  std::vector<std::string> curve_preferences;  // as OpenSSL names them; likewise
  bool prefer_server_cipher_suites = true;
};

struct WebConfig {
  TlsConfig tls;
  std::map<std::string, std::string> bcrypt_of_user;
  std::map<std::string, std::string> token_of_user;
  std::vector<std::pair<std::string, std::string>> headers;
  bool asks_for_user() const { return !bcrypt_of_user.empty() || !token_of_user.empty(); }
};

// kInvalidArgument names file and key: no YAML, a key that is not known (nobody is safer for a setting that is passed over), a hash
// that is no bcrypt. kNotFound, kPermissionDenied: the file.
Result<WebConfig> LoadWebConfig(const std::string& path);
// Of its text; `path` is for messages, and where the files that it names lie.
Result<WebConfig> ParseWebConfig(const std::string& text, const std::string& path);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_WEB_CONFIG_H_
