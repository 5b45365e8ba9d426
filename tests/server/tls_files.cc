#include "tests/server/tls_files.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace chronolith::testing {
namespace {

template <auto free_it>
struct Free {
  template <typename T>
  void operator()(T* p) const {
    free_it(p);
  }
};

void Check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "%s failed\n", what);
  std::abort();
}

void AddExtension(X509* certificate, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  Check(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, value);
  X509_EXTENSION_free(extension);
}

}  // namespace

void MakeCertificate(const std::string& directory, const std::string& name) {
  const std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>> key(EVP_EC_gen("P-256"));
  const std::unique_ptr<X509, Free<X509_free>> certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), std::rand());
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), subject);
  AddExtension(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(certificate.get(), NID_subject_alt_name, "IP:127.0.0.1");
  Check(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0, "X509_sign");
  const auto write = [&](const std::string& path, auto writer) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    Check(file != nullptr && writer(file) == 1 && std::fclose(file) == 0, path.c_str());
  };
  write(directory + "/" + name + ".key",
        [&](std::FILE* f) { return PEM_write_PrivateKey(f, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  write(directory + "/" + name + ".crt", [&](std::FILE* f) { return PEM_write_X509(f, certificate.get()); });
}

std::string TlsGet(int port, const std::string& path, const std::string& ca_file, const std::string& certificate,
                   const std::string& headers) {
  const std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>> context(SSL_CTX_new(TLS_client_method()));
  Check(SSL_CTX_load_verify_locations(context.get(), ca_file.c_str(), nullptr) == 1, "the client's authority");
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (!certificate.empty()) {
    Check(SSL_CTX_use_certificate_file(context.get(), (certificate + ".crt").c_str(), SSL_FILETYPE_PEM) == 1 &&
              SSL_CTX_use_PrivateKey_file(context.get(), (certificate + ".key").c_str(), SSL_FILETYPE_PEM) == 1,
          "the client's certificate");
  }
  const std::unique_ptr<BIO, Free<BIO_free_all>> bio(BIO_new_ssl_connect(context.get()));
  BIO_set_conn_hostname(bio.get(), ("127.0.0.1:" + std::to_string(port)).c_str());
  if (BIO_do_connect(bio.get()) <= 0) return {};
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + "\r\n";
  if (BIO_write(bio.get(), request.data(), static_cast<int>(request.size())) != static_cast<int>(request.size())) return {};
  std::string answer;
  char buffer[4096];
  for (int n = 0; (n = BIO_read(bio.get(), buffer, sizeof(buffer))) > 0;) answer.append(buffer, static_cast<std::size_t>(n));
  return answer;
}

}  // namespace chronolith::testing
