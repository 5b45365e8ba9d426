// Any bytes as the file of --web.config.file: what is taken holds what it promises, else the message names the file.
#include "server/web_config.h"
#include "tests/fuzz/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chronolith;
  const auto config = server::ParseWebConfig(std::string(FuzzBytes(data, size)), "dir/web.yml");
  if (!config.ok()) {
    FUZZ_CHECK(config.status().code() == StatusCode::kInvalidArgument);
    FUZZ_CHECK(config.status().message().starts_with("dir/web.yml: "));
    return 0;
  }
  FUZZ_CHECK(config->tls.cert_file.empty() == config->tls.key_file.empty());
  FUZZ_CHECK(config->tls.client_ca_file.empty() || config->tls.client_auth != server::TlsConfig::ClientAuth::kNone);
  FUZZ_CHECK(!config->tls.only_tls12 || !config->tls.only_tls13);
  for (const auto& [name, value] : config->headers) FUZZ_CHECK(!value.empty() && value.find_first_of("\r\n") == std::string::npos);
  for (const auto& [user, hash] : config->bcrypt_of_user) FUZZ_CHECK(hash.size() == 60 && hash.starts_with("$2"));
  for (const auto& [user, token] : config->token_of_user) FUZZ_CHECK(token.size() >= 16);
  return 0;
}
