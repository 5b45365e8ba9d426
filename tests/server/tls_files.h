// Keys and certificates for tests, and a client that asks over TLS.
#ifndef CHRONOLITH_TESTS_SERVER_TLS_FILES_H_
#define CHRONOLITH_TESTS_SERVER_TLS_FILES_H_

#include <string>

namespace chronolith::testing {

// Writes NAME.key and NAME.crt into `directory`: a certificate for 127.0.0.1 that is its own authority.
void MakeCertificate(const std::string& directory, const std::string& name);

// The whole answer to one GET with Connection: close; "" where the handshake or the connection fails. `ca_file` is trusted;
// `certificate`: PREFIX of .crt and .key that the client shows, "" none. `headers`: whole lines with CRLF.
std::string TlsGet(int port, const std::string& path, const std::string& ca_file, const std::string& certificate = {},
                   const std::string& headers = {});

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SERVER_TLS_FILES_H_
