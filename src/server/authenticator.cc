#include "server/authenticator.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "server/http_message.h"

namespace chronolith::server {
namespace {

// Splits "Scheme credentials".
std::string_view CredentialsOf(std::string_view header, std::string_view scheme) {
  const std::size_t space = header.find(' ');
  if (space == std::string_view::npos || !EqualIgnoringCase(header.substr(0, space), scheme)) return {};
  header.remove_prefix(space);
  return header.substr(std::min(header.find_first_not_of(' '), header.size()));
}

// nullopt: no base64 of "user:password".
std::optional<std::pair<std::string, std::string>> BasicOf(std::string_view header) {
  const std::string_view text = CredentialsOf(header, "Basic");
  if (text.empty() || text.size() % 4 != 0 || text.size() > 4096) return std::nullopt;
  std::string plain(text.size() / 4 * 3, '\0');
  const int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(plain.data()), reinterpret_cast<const unsigned char*>(text.data()),
                                static_cast<int>(text.size()));
  if (n < 0) return std::nullopt;
  for (std::size_t padding = text.size() - text.find_last_not_of('=') - 1; padding > 0 && !plain.empty(); --padding)
    plain.pop_back();
  const std::size_t colon = plain.find(':');
  if (colon == std::string::npos || plain.find('\0') != std::string::npos) return std::nullopt;
  return std::pair(plain.substr(0, colon), plain.substr(colon + 1));
}

bool BcryptFits(const std::string& password, const std::string& hash) {
  const auto data = std::make_unique<crypt_data>();
  const char* made = crypt_r(password.c_str(), hash.c_str(), data.get());
  return made != nullptr && std::string_view(made).size() == hash.size() && CRYPTO_memcmp(made, hash.data(), hash.size()) == 0;
}

}  // namespace

Authenticator::Authenticator(WebConfig config) : config_(std::move(config)), key_(32, '\0') {
  if (RAND_bytes(reinterpret_cast<unsigned char*>(key_.data()), static_cast<int>(key_.size())) != 1) std::abort();
  for (const auto& [user, token] : config_.token_of_user) user_of_token_[DigestOf("", token)] = user;
  if (!config_.bcrypt_of_user.empty()) dummy_hash_ = config_.bcrypt_of_user.begin()->second;
}

std::string Authenticator::DigestOf(std::string_view user, std::string_view password) const {
  std::string text;
  text.append(user).push_back('\0');
  text.append(password);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       digest, &n);
  return {reinterpret_cast<const char*>(digest), n};
}

// Digests are compared, whose first bytes nobody can choose: the time that takes tells nothing of the secret.
Authenticator::Answer Authenticator::Look(std::string_view header) const {
  using Kind = Answer::Kind;
  if (const std::string_view token = CredentialsOf(header, "Bearer"); !token.empty()) {
    const auto found = user_of_token_.find(DigestOf("", token));
    return found == user_of_token_.end() ? Answer{} : Answer{Kind::kUser, found->second};
  }
  const auto basic = BasicOf(header);
  if (!basic || config_.bcrypt_of_user.empty()) return {};
  const std::string digest = DigestOf(basic->first, basic->second);
  ReaderMutexLock lock(&mu_);
  const auto found = remembered_.find(digest);
  return found == remembered_.end() ? Answer{.kind = Kind::kAskBcrypt} : Answer{Kind::kUser, found->second};
}

Authenticator::Answer Authenticator::Check(std::string_view header) {
  using Kind = Answer::Kind;
  Answer answer = Look(header);
  if (answer.kind != Kind::kAskBcrypt) return answer;
  if (checks_.fetch_add(1) >= kChecksMax) {
    checks_.fetch_sub(1);
    return {.kind = Kind::kBusy};
  }
  const auto basic = BasicOf(header);
  const auto user = config_.bcrypt_of_user.find(basic->first);
  const bool known = user != config_.bcrypt_of_user.end();
  const bool fits = BcryptFits(basic->second, known ? user->second : dummy_hash_) && known;
  checks_.fetch_sub(1);
  if (!fits) return {};
  MutexLock lock(&mu_);
  if (remembered_.size() >= kRememberedMax) remembered_.clear();
  remembered_[DigestOf(basic->first, basic->second)] = basic->first;
  return {Kind::kUser, basic->first};
}

}  // namespace chronolith::server
