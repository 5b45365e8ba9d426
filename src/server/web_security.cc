#include "server/web_security.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/system/error_code.hpp>
#include <fstream>
#include <functional>
#include <iterator>

namespace chronolith::server {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using ErrorCode = boost::system::error_code;

Status ReadPem(const std::string& path, const char* what, std::string* text) {
  if (path.empty()) return Status::Ok();
  std::ifstream in(path, std::ios::binary);
  text->assign(std::istreambuf_iterator<char>(in), {});
  return in ? Status::Ok() : InvalidArgument("cannot read the " + std::string(what) + " " + path);
}

Result<std::shared_ptr<const TlsMaterial>> ReadMaterial(const TlsConfig& config) {
  auto material = std::make_shared<TlsMaterial>();
  material->config = config;
  Status status = ReadPem(config.cert_file, "certificate", &material->certificate_pem);
  if (status.ok()) status = ReadPem(config.key_file, "key", &material->key_pem);
  if (status.ok()) status = ReadPem(config.client_ca_file, "authorities", &material->client_ca_pem);
  if (!status.ok()) return status;
  return std::shared_ptr<const TlsMaterial>(std::move(material));
}

// OpenSSL's list of what IANA calls so. Suites of TLS 1.3 cannot be chosen in Go, and are passed over.
Status SetCiphers(const std::vector<std::string>& names, SSL_CTX* context) {
  if (names.empty()) return Status::Ok();
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> all(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  if (all == nullptr || SSL_CTX_set_cipher_list(all.get(), "HIGH:!aNULL:!PSK:!SRP") != 1) return ResourceExhausted("no TLS");
  const STACK_OF(SSL_CIPHER)* const ciphers = SSL_CTX_get_ciphers(all.get());
  std::string list;
  for (const std::string& name : names) {
    const SSL_CIPHER* found = nullptr;
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers) && found == nullptr; ++i) {
      const SSL_CIPHER* const cipher = sk_SSL_CIPHER_value(ciphers, i);
      const char* const standard = SSL_CIPHER_standard_name(cipher);
      if (standard != nullptr && name == standard) found = cipher;
    }
    if (found == nullptr) return InvalidArgument("tls_server_config.cipher_suites: there is no " + name);
    if (std::string_view(SSL_CIPHER_get_version(found)) == "TLSv1.3") continue;
    list.append(list.empty() ? "" : ":").append(SSL_CIPHER_get_name(found));
  }
  if (!list.empty() && SSL_CTX_set_cipher_list(context, list.c_str()) != 1) {
    return InvalidArgument("tls_server_config.cipher_suites: none of " + list + " can be used");
  }
  return Status::Ok();
}

Status SetCurves(const std::vector<std::string>& names, SSL_CTX* context) {
  std::string list;
  for (const std::string& name : names) list.append(list.empty() ? "" : ":").append(name);
  if (list.empty() || SSL_CTX_set1_curves_list(context, list.c_str()) == 1) return Status::Ok();
  return InvalidArgument("tls_server_config.curve_preferences: " + list + " cannot be used");
}

// DNS names, e-mail addresses, URIs and IP addresses, as they are written.
std::vector<std::string> AlternativeNamesOf(X509* certificate) {
  std::vector<std::string> names;
  auto* const all = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; all != nullptr && i < sk_GENERAL_NAME_num(all); ++i) {
    int type = 0;
    const auto* const text = static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all, i), &type));
    if (type != GEN_DNS && type != GEN_EMAIL && type != GEN_URI && type != GEN_IPADD) continue;
    const unsigned char* const data = ASN1_STRING_get0_data(text);
    const int n = ASN1_STRING_length(text);
    if (type != GEN_IPADD) {
      names.emplace_back(reinterpret_cast<const char*>(data), static_cast<std::size_t>(n));
      continue;
    }
    char address[INET6_ADDRSTRLEN];
    if ((n == 4 || n == 16) && inet_ntop(n == 4 ? AF_INET : AF_INET6, data, address, sizeof(address)) != nullptr) {
      names.emplace_back(address);
    }
  }
  GENERAL_NAMES_free(all);
  return names;
}

// Whether the chain may go on, of which `context` shows one certificate.
bool IsAllowed(const std::vector<std::string>& allowed, ssl::verify_context& context) {
  X509_STORE_CTX* const store = context.native_handle();
  if (X509_STORE_CTX_get_error_depth(store) != 0) return true;  // an authority
  const std::vector<std::string> names = AlternativeNamesOf(X509_STORE_CTX_get_current_cert(store));
  const bool known = std::find_first_of(names.begin(), names.end(), allowed.begin(), allowed.end()) != names.end();
  if (!known) X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
  return known;
}

Result<std::shared_ptr<ssl::context>> MakeContext(const TlsMaterial& material) {
  const TlsConfig& config = material.config;
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  ErrorCode error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                           ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 | (config.only_tls13 ? ssl::context::no_tlsv1_2 : 0) |
                           (config.only_tls12 ? ssl::context::no_tlsv1_3 : 0) |
                           (config.prefer_server_cipher_suites ? SSL_OP_CIPHER_SERVER_PREFERENCE : 0),
                       error);
  // Idle connections give their buffers back.
  SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  static constexpr unsigned char kSessions[] = "chronolithd";
  SSL_CTX_set_session_id_context(context->native_handle(), kSessions, sizeof(kSessions) - 1);
  context->use_certificate_chain(asio::buffer(material.certificate_pem), error);
  if (error) return InvalidArgument("cannot use the certificate " + config.cert_file + ": " + error.message());
  context->use_private_key(asio::buffer(material.key_pem), ssl::context::pem, error);
  if (error) return InvalidArgument("cannot use the key " + config.key_file + " with " + config.cert_file + ": " + error.message());
  if (!config.client_ca_file.empty()) {
    context->add_certificate_authority(asio::buffer(material.client_ca_pem), error);
    if (error) return InvalidArgument("cannot use the authorities " + config.client_ca_file + ": " + error.message());
  }
  if (Status s = SetCiphers(config.cipher_suites, context->native_handle()); !s.ok()) return s;
  if (Status s = SetCurves(config.curve_preferences, context->native_handle()); !s.ok()) return s;
  using Auth = TlsConfig::ClientAuth;
  if (config.client_auth == Auth::kNone) return context;
  const bool must = config.client_auth == Auth::kRequireAny || config.client_auth == Auth::kRequireAndVerify;
  context->set_verify_mode(ssl::verify_peer | (must ? ssl::verify_fail_if_no_peer_cert : 0), error);
  if (config.client_auth == Auth::kRequest || config.client_auth == Auth::kRequireAny) {
    context->set_verify_callback([](bool, ssl::verify_context&) { return true; }, error);
  } else if (!config.client_allowed_sans.empty()) {
    context->set_verify_callback(
        [allowed = config.client_allowed_sans](bool good, ssl::verify_context& one) { return good && IsAllowed(allowed, one); },
        error);
  }
  return context;
}

std::string StampOf(const std::string& path) {
  struct stat s {};
  if (path.empty() || stat(path.c_str(), &s) != 0) return "-";
  return std::to_string(s.st_mtim.tv_sec) + "." + std::to_string(s.st_mtim.tv_nsec) + "/" + std::to_string(s.st_size) + "/" +
         std::to_string(s.st_ino);
}

// What is asked of who connects: none of it may go without SIGHUP.
std::array<bool, 6> Asked(const WebSecurity& security) {
  using Auth = TlsConfig::ClientAuth;
  static const TlsConfig kNoTls;
  const TlsConfig& tls = security.tls_material != nullptr ? security.tls_material->config : kNoTls;
  const Auth auth = tls.client_auth;
  const bool must = auth == Auth::kRequireAny || auth == Auth::kRequireAndVerify;
  const bool verified = auth == Auth::kVerifyIfGiven || auth == Auth::kRequireAndVerify;
  return {security.users != nullptr, security.tls != nullptr, must, verified, tls.only_tls13, !tls.client_allowed_sans.empty()};
}

bool AsksForLess(const WebSecurity& now, const WebSecurity& before) {
  return !std::ranges::equal(Asked(now), Asked(before), std::greater_equal<>());
}

std::string StampOfAll(const std::string& path) {
  std::string stamp = StampOf(path);
  if (const Result<WebConfig> config = LoadWebConfig(path); config.ok()) {
    for (const std::string* file : {&config->tls.cert_file, &config->tls.key_file, &config->tls.client_ca_file})
      stamp += " " + StampOf(*file);
  }
  return stamp;
}

}  // namespace

Result<std::shared_ptr<const WebSecurity>> LoadWebSecurity(const std::string& path) {
  Result<WebConfig> config = LoadWebConfig(path);
  if (!config.ok()) return config.status();
  auto security = std::make_shared<WebSecurity>();
  if (!config->tls.cert_file.empty()) {
    Result<std::shared_ptr<const TlsMaterial>> material = ReadMaterial(config->tls);
    if (!material.ok()) return material.status().WithContext(path);
    Result<std::shared_ptr<ssl::context>> context = MakeContext(**material);
    if (!context.ok()) return context.status().WithContext(path);
    security->tls = std::move(*context);
    security->tls_material = std::move(*material);
  }
  security->headers = config->headers;
  if (config->asks_for_user()) security->users = std::make_unique<Authenticator>(std::move(*config));
  return std::shared_ptr<const WebSecurity>(std::move(security));
}

Result<std::unique_ptr<WebSecuritySource>> WebSecuritySource::Open(const std::string& path, std::shared_ptr<Logger> logger) {
  std::unique_ptr<WebSecuritySource> source(new WebSecuritySource(path, std::move(logger)));
  source->seen_ = StampOfAll(path);
  Result<std::shared_ptr<const WebSecurity>> security = LoadWebSecurity(path);
  if (!security.ok()) return security.status();
  MutexLock lock(&source->mu_);
  source->security_ = std::move(*security);
  return source;
}

std::shared_ptr<const WebSecurity> WebSecuritySource::Get() const {
  ReaderMutexLock lock(&mu_);
  return security_;
}

void WebSecuritySource::Reload(bool always) {
  const std::string stamp = StampOfAll(path_);
  if (stamp == seen_ && !always) return;
  seen_ = stamp;
  Result<std::shared_ptr<const WebSecurity>> security = LoadWebSecurity(path_);
  if (!security.ok()) {
    if (logger_ != nullptr) logger_->Log(LogLevel::kError, security.status().message() + "; what was loaded before stays");
    return;
  }
  if (!always && AsksForLess(**security, *Get())) {
    if (logger_ != nullptr) {
      logger_->Log(LogLevel::kError, path_ +
                                         " asks for less than before (users, TLS or client certificates): SIGHUP or a restart "
                                         "takes it so; what was loaded before stays");
    }
    return;
  }
  {
    MutexLock lock(&mu_);
    security_ = std::move(*security);
  }
  // Not before: who reads this relies on it that a token which was taken out lets nobody in any more.
  if (logger_ != nullptr) logger_->Log(LogLevel::kInfo, path_ + " was loaded again");
}

}  // namespace chronolith::server
