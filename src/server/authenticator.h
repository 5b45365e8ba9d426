// Authenticator: whose request it is, by basic authentication or a bearer token.
#ifndef CHRONOLITH_SERVER_AUTHENTICATOR_H_
#define CHRONOLITH_SERVER_AUTHENTICATOR_H_

#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "server/web_config.h"

namespace chronolith::server {

// bcrypt takes a tenth of a second on purpose. A password that was right is remembered, as a digest with a random key of the
// process, so that it is paid once; a wrong one pays each time, and no more than two at once are checked: guessing must not take
// all the workers. Thread safety: safe.
class Authenticator {
 public:
  explicit Authenticator(WebConfig config);

  struct Answer {
    enum class Kind : unsigned char { kUser, kNobody, kAskBcrypt, kBusy };
    Kind kind = Kind::kNobody;
    std::string user;
  };
  // At once: kAskBcrypt where it takes a bcrypt. `header`: of Authorization.
  Answer Look(std::string_view header) const;
  // The same, with the bcrypt: on a worker. kBusy: others are being checked.
  Answer Check(std::string_view header);
  // Whether there are passwords to ask for, or tokens only.
  bool knows_passwords() const { return !config_.bcrypt_of_user.empty(); }

 private:
  std::string DigestOf(std::string_view user, std::string_view password) const;

  static constexpr std::size_t kRememberedMax = 1024;
  static constexpr int kChecksMax = 2;
  const WebConfig config_;
  std::string key_;                                   // random
  std::string dummy_hash_;                            // checked for users that do not exist, so that the time tells nothing
  std::map<std::string, std::string> user_of_token_;  // by digest
  std::atomic<int> checks_{0};
  mutable Mutex mu_;
  absl::flat_hash_map<std::string, std::string> remembered_ ABSL_GUARDED_BY(mu_);  // digest -> user
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_AUTHENTICATOR_H_
