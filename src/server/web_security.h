// WebSecurity: what a web configuration file says, made ready for connections; and the file watched for changes.
#ifndef CHRONOLITH_SERVER_WEB_SECURITY_H_
#define CHRONOLITH_SERVER_WEB_SECURITY_H_

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "chronolith/env.h"
#include "server/authenticator.h"

namespace chronolith::server {

// The texts of a configuration's files, as they were when it was loaded, for listeners that make their own of them.
struct TlsMaterial {
  TlsConfig config;
  std::string certificate_pem;  // the chain
  std::string key_pem;
  std::string client_ca_pem;  // "": none
};

// Constant but for what the authenticator remembers. Connections hold on to the one that they began with for TLS; who may ask is
// looked up in the newest, for each request.
struct WebSecurity {
  std::shared_ptr<boost::asio::ssl::context> tls;            // null: plain HTTP
  std::shared_ptr<const TlsMaterial> tls_material;           // what `tls` was made of
  std::unique_ptr<Authenticator> users;                      // null: nobody is asked
  std::vector<std::pair<std::string, std::string>> headers;  // of answers that have not their own
};

// kInvalidArgument: file or certificates cannot be used, and why.
Result<std::shared_ptr<const WebSecurity>> LoadWebSecurity(const std::string& path);

// The newest that could be loaded. Thread safety: safe.
class WebSecuritySource {
 public:
  static Result<std::unique_ptr<WebSecuritySource>> Open(const std::string& path, std::shared_ptr<Logger> logger);
  std::shared_ptr<const WebSecurity> Get() const;
  // Loads it again where the file, or one that it names, has changed, or `always`. What cannot be loaded is logged, and the old
  // stays; so does it, unless `always`, where the new one asks for less (no users, no TLS, no certificates of clients): a file that
  // is written in place is empty for a moment, and must not open the server to everybody.
  void Reload(bool always);

 private:
  WebSecuritySource(std::string path, std::shared_ptr<Logger> logger) : path_(std::move(path)), logger_(std::move(logger)) {}

  const std::string path_;
  const std::shared_ptr<Logger> logger_;
  mutable Mutex mu_;
  std::shared_ptr<const WebSecurity> security_ ABSL_GUARDED_BY(mu_);
  std::string seen_;  // of the thread that reloads: times and sizes of the files
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_WEB_SECURITY_H_
